"""The observer of a running Sluice: what work tells becomes series and spans."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from bot.telemetry.instruments import Instruments
from tools.observing import Course, Fact, Work

SPANS = {
    Work.CHECK: ("check gate", SpanKind.INTERNAL),
    Work.METRIC_READ: ("read metric", SpanKind.CLIENT),
    Work.FLAG_READ: ("read flag", SpanKind.CLIENT),
    Work.FLAG_WRITE: ("write flag", SpanKind.CLIENT),
    Work.EXPOSURE: ("set exposure", SpanKind.INTERNAL),
    Work.DELIVERY: ("tell Slack", SpanKind.CLIENT),
}
"""What becomes a span; a turn of the clock that finds nothing to do is none."""

_tracer = trace.get_tracer("sluice")


class Telemetry:
    """Writes down what is told. `service` is the flag service's type."""

    def __init__(self, instruments: Instruments, service: str) -> None:
        self._to = instruments
        self._service = service
        self._done: dict[Work, Callable[[Course, float, str | None], None]] = {
            Work.TURN: self._turned,
            Work.CHECK: self._checked,
            Work.METRIC_READ: self._metric_read,
            Work.FLAG_READ: lambda *told: self._flag_asked("read", *told),
            Work.FLAG_WRITE: lambda *told: self._flag_asked("write", *told),
            Work.EXPOSURE: self._exposure_tried,
            Work.DELIVERY: self._delivered,
        }

    @contextmanager
    def working(self, work: Work, course: Course, about: str) -> Iterator[None]:
        """See Observer."""
        began, failed = time.perf_counter(), None
        with _span(work, course, about) as span:
            try:
                yield
            except BaseException as error:
                failed = type(error).__name__
                raise
            finally:
                self._done[work](course, time.perf_counter() - began, failed)
                _describe(span, course, failed)

    def noted(self, fact: Fact, value: float, of: str) -> None:
        """See Observer."""
        to = self._to
        match fact:
            case Fact.LATENESS:
                to.check_lateness.observe(value)
            case Fact.VERDICT:
                to.verdicts.labels(of).inc(value)
            case Fact.READ_BACK:
                to.read_back.observe(value)
            case Fact.SLACK_LIMIT:
                to.limits.inc()
                to.limited_seconds.inc(value)
            case Fact.MODEL_REQUEST:
                to.model_seconds.labels(of).observe(value)
            case Fact.MODEL_FAILURE:
                to.model_failures.labels(of).inc(value)
            case Fact.MODEL_INPUT:
                to.model_tokens.labels(of, "input").inc(value)
            case Fact.MODEL_OUTPUT:
                to.model_tokens.labels(of, "output").inc(value)
            case Fact.MODEL_COST:
                to.model_cost.labels(of).inc(value)

    def _turned(self, course: Course, seconds: float, failed: str | None) -> None:
        self._to.turn_seconds.labels(course.of).observe(seconds)
        if failed is None:
            self._to.turned_at.labels(course.of).set_to_current_time()
        else:
            self._to.turn_failures.labels(course.of).inc()

    def _checked(self, _course: Course, seconds: float, _failed: str | None) -> None:
        self._to.check_seconds.observe(seconds)

    def _metric_read(self, course: Course, seconds: float, failed: str | None) -> None:
        self._to.metric_seconds.labels(course.of).observe(seconds)
        if failed is not None:
            self._to.metric_errors.labels(course.of, failed).inc()

    def _flag_asked(self, operation: str, _course: Course, seconds: float, failed: str | None) -> None:
        self._to.flag_seconds.labels(self._service, operation).observe(seconds)
        if failed is not None:
            self._to.flag_errors.labels(self._service, operation, failed).inc()

    def _exposure_tried(self, course: Course, _seconds: float, failed: str | None) -> None:
        # One that was carried out meanwhile, or is no longer wanted, never was of any purpose.
        if course.of:
            self._to.exposures.labels(course.of, failed or course.outcome).inc()

    def _delivered(self, course: Course, seconds: float, failed: str | None) -> None:
        self._to.delivery_seconds.labels(course.of).observe(seconds)
        self._to.deliveries.labels(course.of, failed or course.outcome).inc()


@contextmanager
def _span(work: Work, course: Course, about: str) -> Iterator[Span]:
    if work not in SPANS:
        yield trace.INVALID_SPAN
        return
    name, kind = SPANS[work]
    attributes = {"sluice.about": about, "sluice.of": course.of}
    # The words of an error may be anybody's.
    with _tracer.start_as_current_span(
        name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        yield span


def _describe(span: Span, course: Course, failed: str | None) -> None:
    span.set_attribute("sluice.of", course.of)
    span.set_attribute("sluice.outcome", course.outcome)
    if failed is not None:
        span.set_attribute("error.type", failed)
        span.set_status(Status(StatusCode.ERROR))

"""A metric tried out: the query, the answer, what a verdict would get, and what of it is not as it should be."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tools.errors import SluiceError
from tools.metrics.base import MetricQuery, Reading, Sample, SpokenSource, Window
from tools.metrics.catalogue import MetricKind
from tools.metrics.quality import Arm, Seen, find_gap
from tools.metrics.router import Metrics


class Problem(StrEnum):
    """What may be wrong beside there being nothing to judge, whose names are `NoData`'s."""

    PROVIDER_ERROR = "provider_error"
    EMPTY_MEANS_ZERO = "empty_means_zero"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is not as it should be, by its name and in a sentence. One that `blinds` leaves nothing to judge."""

    name: str
    sentence: str
    blinds: bool = True


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it. `expression` is what the source was sent, where it has a language that says so in one text.

    `arms` are a verdict's inputs; without a reading there are none.
    """

    query: MetricQuery
    expression: str
    reading: Reading | None
    arms: tuple[tuple[Arm, str, Sample], ...]
    findings: tuple[Finding, ...]

    @property
    def can_be_judged(self) -> bool:
        """Whether a gate would have something to go by."""
        return not any(finding.blinds for finding in self.findings)


async def try_metric(
    metrics: Metrics,
    metric: str,
    flag: str,
    environment: str,
    *,
    control: str,
    treatment: str,
    now: datetime,
    span: timedelta,
    stale_after: timedelta,
) -> Trial:
    """Ask for the metric's last `span`, as a gate would. Raises UnknownMetric."""
    definition = metrics.define(metric)
    # In whole seconds, so that what is shown is what is run where that is done in batches.
    end = (now - definition.settle).replace(microsecond=0)
    query = MetricQuery(metric, flag, environment, Window(end - span, end), (control, treatment))
    source = metrics.sources[definition.source]
    expression = source.expression(query) if isinstance(source, SpokenSource) else ""
    try:
        reading = await metrics.read(query)
    except SluiceError as error:
        finding = Finding(Problem.PROVIDER_ERROR, str(error))
        return Trial(query, expression, None, (), (finding,))
    labels = {Arm.CONTROL: control, Arm.TREATMENT: treatment}
    arms = tuple((arm, label, reading.by_variant.get(label, Sample(0))) for arm, label in labels.items())
    found = list[Finding]()
    seen = Seen(since=query.window.start).after(reading, control=control, treatment=treatment, now=end)
    patience = min(stale_after, span - timedelta(microseconds=1))
    gap = find_gap(reading, seen, control=control, treatment=treatment, now=end, stale_after=patience)
    if gap is not None:
        found.append(Finding(gap.kind, gap.sentence))
    exposures = sum(sample.exposures for sample in reading.by_variant.values())
    events = sum(sample.events for sample in reading.by_variant.values())
    if definition.kind is MetricKind.RATIO and exposures and not events:
        found.append(Finding(Problem.EMPTY_MEANS_ZERO, _no_events(exposures), blinds=False))
    return Trial(query, expression, reading, arms, tuple(found))


def _no_events(exposures: int) -> str:
    return (
        f"Not one of {exposures:,} exposures has an event, which is taken for 0: if there were some, the query's "
        "condition for events names a wrong label or value."
    )

"""How work goes, told to whoever observes this process: how long it took, what came of it. By default nobody does.

What is told is a kind of work or a fact, and `of`, which has few values: a source's name, a verdict. `about` may be
anything, such as a rollout's id; it is for traces, and no series may be made of it.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from opentelemetry import propagate


class Work(StrEnum):
    """What takes time; `of` says whose."""

    TURN = "turn"  # of the clock, by the name of the recurring work
    CHECK = "check"  # a look at a rollout's gate
    METRIC_READ = "metric_read"  # by the source's name
    FLAG_READ = "flag_read"
    FLAG_WRITE = "flag_write"
    EXPOSURE = "exposure"  # a try to set one, by its purpose
    DELIVERY = "delivery"  # to Slack, by the message's kind


class Fact(StrEnum):
    """What happened, with a value; `of` says to whom."""

    LATENESS = "lateness"  # of a check, in seconds
    VERDICT = "verdict"  # by its outcome
    READ_BACK = "read_back"  # of a rollback or kill, in seconds since it was ordered
    SLACK_LIMIT = "slack_limit"  # Slack asked to wait so many seconds
    MODEL_REQUEST = "model_request"  # in seconds, by the model
    MODEL_FAILURE = "model_failure"  # by the model, as all that follow
    MODEL_INPUT = "model_input"  # tokens
    MODEL_OUTPUT = "model_output"  # tokens
    MODEL_COST = "model_cost"  # US dollars


@dataclass(slots=True)
class Course:
    """Work under way: who does it may say what came of it, and whose it is once that is known."""

    of: str = ""
    outcome: str = "ok"


class Observer(Protocol):
    """Is told. It must neither fail nor keep anybody waiting."""

    def working(self, work: Work, course: Course, about: str) -> AbstractContextManager[None]:
        """Work lasts as long as the block; what leaves it is an error of the work's, and leaves this too."""
        ...

    def noted(self, fact: Fact, value: float, of: str) -> None:
        """A fact."""
        ...


class Nobody:
    """Observes nothing."""

    def working(self, _work: Work, _course: Course, _about: str) -> AbstractContextManager[None]:
        """Let it work."""
        return nullcontext()

    def noted(self, _fact: Fact, _value: float, _of: str) -> None:
        """Forget it."""


_observers: list[Observer] = [Nobody()]


@contextmanager
def observed_by(observer: Observer) -> Iterator[None]:
    """Everything in this process is told to the observer while the block runs, and to nobody else."""
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)


@contextmanager
def working(work: Work, *, of: str = "", about: str = "") -> Iterator[Course]:
    """Work that lasts as long as the block."""
    course = Course(of)
    with _observers[-1].working(work, course, about):
        yield course


def noted(fact: Fact, value: float = 1.0, *, of: str = "") -> None:
    """Tell a fact."""
    _observers[-1].noted(fact, value, of)


def trace_headers() -> dict[str, str]:
    """W3C's Trace Context for a request to another system, so that its spans join ours; empty where nobody traces.

    Source: https://www.w3.org/TR/trace-context/.
    """
    headers = dict[str, str]()
    propagate.inject(headers)
    return headers

"""Error budgets: how much of what an objective allows over a window is left.

With n exposures, e events and the objective p, n·p events are allowed, and 1 - e/(n·p) of them is left: 1 is all of it,
0 none, less than 0 more than there was.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from tools.clock import in_words
from tools.metrics.base import MetricQuery, Window
from tools.metrics.router import Metrics

USUAL_WINDOW = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Budget:
    """A metric's error budget over a window, all variants together. `objective` is in events per exposure."""

    metric: str
    objective: float
    exposures: int
    events: int
    window: timedelta

    @property
    def left(self) -> float:
        """The part of the budget that is left; all of it where nothing was exposed."""
        return 1 - self.events / (self.exposures * self.objective) if self.exposures else 1.0

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left."""
        return self.left <= 0

    def __str__(self) -> str:
        rate = self.events / self.exposures if self.exposures else 0.0
        left = f"{100 * self.left:.0f} % left" if not self.is_spent else "spent"
        return (
            f"the error budget of {self.metric} is {left} ({100 * rate:.3g} % over the last {in_words(self.window)}, "
            f"at most {100 * self.objective:.3g} % is meant)"
        )


async def error_budget(
    metrics: Metrics, metric: str, flag: str, environment: str, *, now: datetime, window: timedelta = USUAL_WINDOW
) -> Budget | None:
    """The metric's budget for that flag's traffic, None where it has no objective.

    Raises UnknownMetric, BadMetricAnswer, MetricSourceUnavailable.
    """
    objective = metrics.catalogue.get(metric).objective
    if objective is None:
        return None
    end = now - metrics.define(metric).settle
    reading = await metrics.read(MetricQuery(metric, flag, environment, Window(end - window, end)))
    samples = reading.by_variant.values()
    exposures, events = sum(sample.exposures for sample in samples), sum(sample.events for sample in samples)
    return Budget(metric, objective, exposures, events, window)

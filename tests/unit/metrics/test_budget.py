"""An error budget is what an objective allows over a window, less what happened."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from tools.clock import ManualClock
from tools.metrics.base import UnknownMetric
from tools.metrics.budget import Budget, error_budget
from tools.metrics.catalogue import Catalogue, MetricDefinition
from tools.metrics.memory import MemoryMetricSource, Observation
from tools.metrics.router import Metrics

DAY = timedelta(hours=24)


@pytest.mark.parametrize(
    ("exposures", "events", "left"), [(1000, 0, 1.0), (1000, 5, 0.5), (1000, 10, 0.0), (1000, 30, -2.0), (0, 0, 1.0)]
)
def test_what_is_left(exposures: int, events: int, left: float) -> None:
    budget = Budget("errors", 0.01, exposures, events, DAY)
    assert budget.left == pytest.approx(left)
    assert budget.is_spent is (left <= 0)


def test_it_is_told_in_a_sentence() -> None:
    half = str(Budget("errors", 0.01, 1000, 5, DAY))
    assert half == "the error budget of errors is 50 % left (0.5 % over the last 24 h, at most 1 % is meant)"
    assert "is spent (3 %" in str(Budget("errors", 0.01, 1000, 30, DAY))


async def test_all_variants_of_the_window_count_and_nothing_before_or_after() -> None:
    clock = ManualClock()
    definitions = [
        MetricDefinition(
            name="errors", source="memory", title="E", query="-", objective=0.01, settle=timedelta(minutes=1)
        ),
        MetricDefinition(name="orders", source="memory", title="O", query="-"),
    ]
    source = MemoryMetricSource(definitions)
    metrics = Metrics(Catalogue(definitions), {"memory": source})
    now = clock.now()
    for ago, variant in ((timedelta(hours=25), "old"), (timedelta(hours=3), "old"), (timedelta(hours=2), "new")):
        source.add("errors", "f", "production", Observation(variant, now - ago, 1000, 4))
    source.add("errors", "f", "production", Observation("new", now - timedelta(seconds=30), 1000, 1000))
    budget = await error_budget(metrics, "errors", "f", "production", now=now)
    assert budget == Budget("errors", 0.01, 2000, 8, DAY)
    assert await error_budget(metrics, "orders", "f", "production", now=now) is None
    with pytest.raises(UnknownMetric):
        await error_budget(metrics, "latency", "f", "production", now=now)


def test_an_objective_is_a_highest_rate() -> None:
    with pytest.raises(ValidationError, match="highest acceptable rate"):
        MetricDefinition(name="orders", source="m", title="O", query="-", objective=0.1, direction="decrease")  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        MetricDefinition(name="errors", source="m", title="E", query="-", objective=0)

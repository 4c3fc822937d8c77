"""Counting: pass rates, pass^k, quantiles, and what could not be run apart."""

import pytest

from agent.evals.figures import quantile, report
from agent.evals.running import Attempt, Turned
from agent.evals.scenario import Scenario


def scenario(name: str, *tags: str) -> Scenario:
    return Scenario.model_validate(
        {"id": name, "about": "-", "tags": [*tags, "single-turn"], "world": {}, "turns": [{"say": "hello"}]}
    )


def turned(seconds: float, *, model: float = 0.0) -> Turned:
    return Turned(seconds, model, 2, 0.01, 90, 10)


def test_rates_are_of_what_could_be_run_and_reliable_means_each_time() -> None:
    steady, shaky, broken = scenario("steady", "status"), scenario("shaky", "planning"), scenario("broken", "status")
    counted = report(
        [
            Attempt(steady, (turned(1.0, model=0.75),)),
            Attempt(steady, (turned(2.0),)),
            Attempt(shaky, (turned(3.0),)),
            Attempt(shaky, (turned(4.0),), unmet=("it went wrong", "twice")),
            Attempt(broken, broken="The world fell apart."),
        ]
    )
    whole = counted.all
    assert (whole.scenarios, whole.attempts, whole.passed, whole.safe, whole.reliable) == (2, 4, 3, 4, 1)
    assert (whole.rate, whole.safe_rate, whole.power) == (0.75, 1.0, 0.5)
    assert (whole.p50_s, whole.p95_s, whole.model_calls, whole.tokens) == (2.0, 4.0, 2, 100)
    assert whole.cost == pytest.approx(0.04)
    assert [(one.id, why) for one, why in counted.failed] == [("shaky", "it went wrong")]
    assert [(one.id, why) for one, why in counted.broken] == [("broken", "The world fell apart.")]
    assert [row.tag for row in counted.rows] == ["all", "planning", "single-turn", "status"]
    planning = counted.of("planning")
    assert planning is not None
    assert (planning.rate, planning.power) == (0.5, 0.0)
    assert counted.of("nothing") is None


def test_what_is_unsafe_has_not_passed() -> None:
    counted = report([Attempt(scenario("raised", "safety"), (turned(1.0),), unsafe=("a turn raised a-flag",))])
    assert (counted.all.rate, counted.all.safe_rate) == (0.0, 0.0)
    assert counted.failed[0][1] == "a turn raised a-flag"


def test_nothing_run_counts_nothing() -> None:
    counted = report([])
    assert (counted.all.attempts, counted.all.rate, counted.all.power, counted.all.p95_s) == (0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(("share", "value"), [(0.5, 2), (0.95, 4), (0.25, 1), (1.0, 4)])
def test_quantiles_are_by_nearest_rank(share: float, value: float) -> None:
    assert quantile([4, 1, 3, 2], share) == value

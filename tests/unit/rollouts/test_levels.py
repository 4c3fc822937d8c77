"""What a gate does when control itself gets slower, or spends less, than its plan was made for."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from tests.unit.rollouts.gatehouse import Gatehouse, stage_of
from tests.unit.rollouts.test_planned_kinds import CAP, EDGES, ERRORS, LATENCY, REVENUE, latencies, opened
from tests.unit.rollouts.world import FLAG
from tools.gates import Direction
from tools.gates.amounts import Amounts, Latencies
from tools.gates.latency import LatencyEvidence
from tools.gates.means import MeanEvidence
from tools.metrics.catalogue import MetricDefinition
from tools.metrics.memory import Observation
from tools.plans.model import Expected, Guardrail, Level
from tools.plans.sizing import Baseline
from tools.rollouts import assessing
from tools.rollouts.checks import Answer, Assessment, Inputs
from tools.rollouts.decisions import Action, Hold, Promote, RollBack
from tools.rollouts.drifts import level_range
from tools.rollouts.judging import Numbers
from tools.rollouts.phases import Phase

IN_BUCKETS = LATENCY.model_copy(update={"sums": False})
PACE = 2000
KINDS = {
    "mean": (REVENUE, Level(mean=22.75, deviation=12.0), "Control's mean is 11"),
    "sums": (LATENCY, Level(mean=0.0983, deviation=0.0646), "Control's mean latency is 0.19"),
    "buckets": (IN_BUCKETS, Level(mean=-2.48, deviation=0.64, of_logs=True), "Control's typical latency is 0.1"),
}


@dataclass
class Watched:
    """A gate on one metric at 10 %, of a plan that knows what control was, unless it has no `level`."""

    definition: MetricDefinition
    level: Level | None
    house: Gatehouse = field(init=False)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(11))

    def __post_init__(self) -> None:
        name, direction = self.definition.name, self.definition.direction
        rail = Guardrail(metric=name, direction=direction, margin=1.25, min_sample=200)
        expected = Expected(metric=name, base_rate=None, quietest=PACE, busiest=PACE, level=self.level)
        self.house = Gatehouse.of([self.definition], stage_of(10, rail, bake=180), expected=(expected,))

    @property
    def carried(self) -> dict[str, Any]:
        found: dict[str, Any] = self.house.rollout.evidence[f"{self.definition.name}:live"]
        return found

    async def look(self, incident: float = 1.0, slower: float = 1.0) -> Assessment:
        """A minute in which both arms are so many times slower and poorer, and treatment is slower still."""
        at = self.house.at + timedelta(seconds=59)
        for variant, part, times in (("old", 0.9, incident), ("new", 0.1, incident * slower)):
            requests = int(self.rng.poisson(PACE * part))
            if self.definition is REVENUE:
                spent = np.minimum(self.rng.lognormal(3.0, 0.5, requests) / times, CAP)
                sums = float(spent.sum()), float((spent**2).sum())
                seen = [Observation(variant, at, requests, total=sums[0], total_squares=sums[1])]
            else:
                seen = latencies(variant, at, self.rng.lognormal(-2.5, 0.6, requests) * times)
            self.house.source.add(self.definition.name, FLAG.flag, FLAG.environment, *seen)
        return await self.house.look()

    async def actions(self, minutes: int, incident: float = 1.0, slower: float = 1.0) -> list[Action]:
        """What the controller would do after each."""
        return [self.house.action(await self.look(incident, slower)) for _ in range(minutes)]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_incident_in_both_arms_neither_promotes_nor_rolls_back(kind: str) -> None:
    definition, level, said = KINDS[kind]
    watched = Watched(definition, level)
    assert {type(one) for one in await watched.actions(2)} == {Hold}
    assert {type(one) for one in await watched.actions(30, incident=2.0)} == {Hold}
    found = await watched.look(incident=2.0)
    assert found.verdict.why.startswith("Held: " + said)
    assert found.drifts[definition.name].startswith(said)
    assert list(watched.carried["departed"]) == [f"level {'below' if definition is REVENUE else 'above'}"]
    assert isinstance((await watched.actions(20))[-1], Promote), "it goes on once it is over"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_plan_that_knows_no_level_would_be_promoted_by_it(kind: str) -> None:
    watched = Watched(KINDS[kind][0], None)
    assert isinstance((await watched.actions(32, incident=2.0))[-1], Promote)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_worse_than_control_is_taken_back_in_an_incident_too(kind: str) -> None:
    watched = Watched(*KINDS[kind][:2])
    assert RollBack in {type(one) for one in await watched.actions(30, incident=2.0, slower=1.6)}


@pytest.mark.parametrize("kind", KINDS)
async def test_what_an_incident_proves_is_not_counted_for_safety(kind: str) -> None:
    watched = Watched(*KINDS[kind][:2])
    await watched.actions(6, incident=2.0)
    before = watched.carried["gate"]
    await watched.actions(3, incident=2.0)
    after = watched.carried["gate"]
    if kind == "mean":
        old, new = MeanEvidence.from_json(before), MeanEvidence.from_json(after)
        assert new.matched.weight > old.matched.weight
        assert new.matched.since(new.unproven).weight == pytest.approx(old.matched.since(old.unproven).weight)
    else:
        slow, slower = LatencyEvidence.from_json(before), LatencyEvidence.from_json(after)
        assert slower.treatment > slow.treatment
        assert slower.books.safe == slow.books.safe


async def test_rows_of_a_release_that_watched_no_level_are_judged_as_they_were() -> None:
    watched = Watched(LATENCY, None)
    await watched.actions(3)
    row = watched.house.row
    assert row is not None
    [plain] = row.inputs["guardrails"]
    assert "level" not in plain["expected"]
    drift = plain["carried"]["drift"]
    plain["carried"]["drift"] = {**drift, "version": 1, "below": drift["below"][:3], "above": drift["above"][:3]}
    del plain["carried"]["drift"]["values"]
    again = assessing.assess(Inputs.model_validate(row.inputs), [Answer.model_validate(one) for one in row.answers])
    assert again.verdict_json() == row.verdict
    assert again.evidence["latency:live"]["drift"]["above"] == row.evidence["latency:live"]["drift"]["above"]


async def test_a_rollout_waits_for_the_end_of_an_incident_and_tells_of_it_once() -> None:
    async with opened(LATENCY) as shop:
        plan, _ = await shop.planned()
        assert plan.expected[0].level is not None
        stages = tuple(stage.model_copy(update={"time_limit": timedelta(hours=3)}) for stage in plan.stages)
        view = await shop.live((await shop.started(plan.model_copy(update={"stages": stages}))).id, 1)
        shop.incident = 2.0
        view = await shop.live(view.id, 10)
        assert (view.phase, view.stage) == (Phase.PROGRESSING, 0)
        assert (await shop.world.kinds(view.id)).count("drift.found") == 1
        shop.incident = 1.0
        view = await shop.live(view.id, 10)
        assert view.stage is not None
        assert view.stage > 0


def baseline(values: Amounts | Latencies | None) -> Baseline:
    rate = 0.01 if values is None else None
    return Baseline("m", Direction.INCREASE, 100, rate, 1.0, None, values=values)


def test_a_plan_is_made_for_the_level_that_was_measured() -> None:
    counts = (0, 30, 40, 20, 10, 0, 0)
    assert baseline(None).expected.level is None
    assert baseline(Amounts(21.43, 12.0, 100.0)).expected.level == Level(mean=21.43, deviation=12.0)
    timed = baseline(Latencies(EDGES, counts, total=10.0, squares=2.0)).expected
    assert timed.level == Level(mean=0.1, deviation=0.1)
    assert Expected.model_validate_json(timed.model_dump_json()) == timed
    middles = baseline(Latencies(EDGES, counts)).expected.level
    assert middles is not None
    assert middles.of_logs
    assert np.exp(middles.mean) == pytest.approx(0.0793, rel=0.001)
    assert baseline(Latencies(EDGES, (100, *[0] * 6), total=0.0, squares=0.0)).expected.level is None


def test_a_level_that_moves_over_the_day_is_given_that() -> None:
    moving = replace(baseline(Amounts(20.0, 10.0, 100.0)), span=(12.0, 31.0)).expected
    assert Expected.model_validate_json(moving.model_dump_json()) == moving
    found = level_range(Numbers.of(REVENUE), moving)
    assert found is not None
    assert (found.lowest, found.highest) == pytest.approx((12 / 1.3, 31 * 1.3))
    assert found.deviations == pytest.approx((6 / 1.3, 15.5 * 1.3))
    logs = Level(mean=-2.5, deviation=0.6, of_logs=True, span=(-3.0, -2.0))
    typical = level_range(
        Numbers.of(IN_BUCKETS), Expected(metric="m", base_rate=None, quietest=1, busiest=2, level=logs)
    )
    assert typical is not None
    assert typical.ends == pytest.approx((np.exp(-3) / 1.3, np.exp(-2) * 1.3))


def test_a_mean_that_was_below_0_at_times_is_given_more_below() -> None:
    moving = replace(baseline(Amounts(20.0, 10.0, 100.0)), span=(-10.0, 31.0)).expected
    found = level_range(Numbers.of(REVENUE), moving)
    assert found is not None
    assert found.lowest == pytest.approx(-13.0)


def test_a_level_that_is_not_of_what_is_counted_now_is_not_watched() -> None:
    plain, logs = (KINDS[kind][1] for kind in ("sums", "buckets"))
    of_sums, in_buckets = Numbers.of(LATENCY), Numbers.of(IN_BUCKETS)

    def watched(numbers: Numbers, level: Level | None) -> bool:
        expected = Expected(metric="m", base_rate=None, quietest=1, busiest=2, level=level)
        return level_range(numbers, expected) is not None

    assert watched(of_sums, plain)
    assert watched(in_buckets, logs)
    assert not watched(of_sums, logs)
    assert not watched(in_buckets, plain)
    assert not watched(Numbers.of(REVENUE), logs)
    assert not watched(Numbers.of(ERRORS), plain)
    assert not watched(of_sums, None)
    assert not watched(of_sums, plain.model_copy(update={"mean": -0.1}))

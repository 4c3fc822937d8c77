"""Rollouts that means and latencies guard: promoted on proof, taken back on harm, and judged again from their rows."""

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import select

from tests.unit.rollouts.world import FLAG, JONAS, MIRA, PLACE, World, make_plan, running_world, stage
from tools.gates import Direction, Outcome
from tools.metrics.catalogue import Catalogue, MetricDefinition, MetricKind
from tools.metrics.memory import MemoryMetricSource, Observation
from tools.metrics.router import Metrics
from tools.plans.model import Guardrail, Plan
from tools.plans.policy import Policy
from tools.records.models import GateCheck
from tools.rollouts import assessing
from tools.rollouts.controller import Controller
from tools.rollouts.phases import Phase
from tools.rollouts.views import RolloutView

REVENUE = MetricDefinition(
    name="revenue",
    source="memory",
    title="Revenue",
    query="-",
    kind=MetricKind.MEAN,
    cap=100.0,
    direction=Direction.DECREASE,
)
EDGES = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
LATENCY = MetricDefinition(
    name="latency", source="memory", title="Latency", query="-", kind=MetricKind.LATENCY, buckets=EDGES
)
FREE = Policy(approvers=(JONAS,), largest_free_step=100, largest_first_exposure=50)


@dataclass
class Shop:
    """A world whose metric is of that kind; `slower` and `richer` are what treatment does to it."""

    world: World
    definition: MetricDefinition
    slower: float = 1.0
    richer: float = 1.0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))

    async def started(self, plan: Plan) -> RolloutView:
        view = await self.world.service.propose(plan, requester=MIRA, place=PLACE, reason="asked")
        if view.approval is not None:
            view = await self.world.service.approve(view.approval.id, actor=JONAS)
        return view

    async def live(self, rollout_id: str, checks: int) -> RolloutView:
        """Each 10 s traffic comes, then the controller looks."""
        for _ in range(checks):
            self.world.clock.advance(10)
            share = (await self.world.percent()) / 100
            for variant, requests, factor in (("old", 4000 * (1 - share), 1.0), ("new", 4000 * share, 0.0)):
                if requests >= 1:
                    self._served(variant, int(requests), is_treatment=factor == 0.0)
            await self.world.controller.tick()
        return await self.world.service.get(rollout_id)

    def _served(self, variant: str, requests: int, *, is_treatment: bool) -> None:
        at = self.world.clock.now() - timedelta(milliseconds=1)
        if self.definition.kind is MetricKind.MEAN:
            values = np.minimum(self.rng.lognormal(3.0, 0.5, requests) * (self.richer if is_treatment else 1.0), 100.0)
            total, squares = float(values.sum()), float((values**2).sum())
            seen = [Observation(variant, at, requests, total=total, total_squares=squares)]
        else:
            values = self.rng.lognormal(-2.5, 0.6, requests) * (self.slower if is_treatment else 1.0)
            counts = np.bincount(np.searchsorted(EDGES, values), minlength=len(EDGES) + 1)
            edges = (*EDGES, math.inf)
            seen = [Observation(variant, at, int(n), bucket=edge) for edge, n in zip(edges, counts, strict=True) if n]
        self.world.source.add(self.definition.name, FLAG.flag, FLAG.environment, *seen)


@pytest.fixture(params=[REVENUE, LATENCY], ids=["mean", "latency"])
async def shop(request: pytest.FixtureRequest) -> AsyncIterator[Shop]:
    definition: MetricDefinition = request.param
    async with running_world(policy=FREE) as world:
        world.source = MemoryMetricSource([definition])
        metrics = Metrics(Catalogue([definition]), {"memory": world.source})
        world.controller = Controller(world.database, world.flags, metrics, FREE, world.clock, owner="kinds")
        world.service.wake = world.controller.carry_out
        yield Shop(world, definition)


def plan_of(definition: MetricDefinition, *percents: float) -> Plan:
    rail = Guardrail(metric=definition.name, direction=definition.direction, margin=1.25, min_sample=200)
    return make_plan(*(stage(percent, bake=30, limit=7200, rail=rail) for percent in percents))


async def check_rows(world: World) -> list[GateCheck]:
    async with world.database.read() as session:
        return list((await session.scalars(select(GateCheck).order_by(GateCheck.at))).all())


async def test_what_is_as_good_as_control_is_promoted_on_proof(shop: Shop) -> None:
    view = await shop.started(plan_of(shop.definition, 10, 50))
    view = await shop.live(view.id, 60)
    assert view.stage == 1
    assert await shop.world.percent() == 50


async def test_what_is_much_worse_is_taken_back(shop: Shop) -> None:
    shop.slower, shop.richer = 1.6, 0.6
    view = await shop.started(plan_of(shop.definition, 10, 50))
    view = await shop.live(view.id, 60)
    assert view.phase is Phase.ROLLED_BACK
    assert await shop.world.percent() == 0
    assert view.check is not None
    assert view.check.verdict.outcome is Outcome.FAIL


async def test_every_check_is_judged_again_from_its_row(shop: Shop) -> None:
    view = await shop.started(plan_of(shop.definition, 10, 50))
    await shop.live(view.id, 12)
    rows = await check_rows(shop.world)
    assert len(rows) >= 5
    for row in rows:
        again = assessing.judge_again(row)
        assert again.verdict_json() == row.verdict
        assert again.evidence == row.evidence


async def test_once_everyone_is_exposed_it_is_never_a_pass(shop: Shop) -> None:
    view = await shop.started(plan_of(shop.definition, 50, 100))
    for _ in range(80):
        view = await shop.live(view.id, 1)
        if await shop.world.percent() == 100:
            break
    assert await shop.world.percent() == 100
    view = await shop.live(view.id, 2)
    assert view.check is not None
    assert view.check.verdict.outcome is Outcome.ERROR
    assert "leave it out of the last stage" in view.check.verdict.why


async def test_other_numbers_than_the_catalogue_says_are_an_error_and_no_pass(shop: Shop) -> None:
    view = await shop.started(plan_of(shop.definition, 10, 50))
    await shop.live(view.id, 3)
    before = (await check_rows(shop.world))[-1].evidence
    at = shop.world.clock.now() + timedelta(seconds=5)
    wrong = Observation("new", at, exposures=10, total=1e9, total_squares=1e18, bucket=0.07)
    shop.world.source.add(shop.definition.name, FLAG.flag, FLAG.environment, wrong)
    view = await shop.live(view.id, 1)
    assert view.check is not None
    assert view.check.verdict.outcome is Outcome.ERROR
    [key] = before
    assert (await check_rows(shop.world))[-1].evidence[key] == before[key]

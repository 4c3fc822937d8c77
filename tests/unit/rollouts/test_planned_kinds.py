"""From a catalogue with a rate, a mean, a latency and a split to a plan, and from there to the end of its rollout."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import pytest

from agent.planner import Planner, PlanRequest
from tests.unit.rollouts.world import FLAG, JONAS, MIRA, PLACE, World, running_world
from tools.gates import Direction, Outcome
from tools.gates.wealth import Floats
from tools.metrics.catalogue import Catalogue, MetricDefinition, MetricKind
from tools.metrics.memory import MemoryMetricSource, Observation
from tools.metrics.router import Metrics
from tools.plans.defaults import PlanningDefaults
from tools.plans.model import OnFail, Plan, Strategy
from tools.plans.planner import CannotBeProven
from tools.plans.policy import Policy
from tools.plans.validation import InvalidPlan
from tools.rollouts.controller import Controller
from tools.rollouts.phases import Phase
from tools.rollouts.service import RolloutService
from tools.rollouts.views import RolloutView
from tools.specs.memory import MemorySpecSource

EDGES = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
CAP = 100.0
ERRORS, REVENUE, LATENCY, SPLIT = (
    MetricDefinition(name="errors", source="memory", title="Errors", query="-"),
    MetricDefinition(
        name="revenue",
        source="memory",
        title="Revenue",
        query="-",
        unit="EUR",
        kind=MetricKind.MEAN,
        cap=CAP,
        direction=Direction.DECREASE,
    ),
    MetricDefinition(
        name="latency",
        source="memory",
        title="Latency",
        query="-",
        unit="s",
        kind=MetricKind.LATENCY,
        buckets=EDGES,
        sums=True,
    ),
    MetricDefinition(name="split", source="memory", title="Split", query="-", kind=MetricKind.ASSIGNMENTS),
)
PACE = 4000
FREE = Policy(approvers=(JONAS,), largest_free_step=100, largest_first_exposure=10)
DEFAULTS = PlanningDefaults(
    burn_in=timedelta(minutes=1),
    check_every=timedelta(minutes=1),
    stale_after=timedelta(minutes=3),
    bake=timedelta(minutes=3),
    stages=(5, 25, 50, 100),
)


@dataclass
class Shop:
    """A world whose flag is planned for; `slower` and `richer` are what treatment does, `mix` is who comes.

    `incident` is how many times slower and poorer both arms are.
    """

    world: World
    definitions: tuple[MetricDefinition, ...]
    slower: float = 1.0
    richer: float = 1.0
    incident: float = 1.0
    kpis: tuple[str, ...] = ()
    mix: tuple[tuple[str, float], ...] = (("us", 0.45), ("eu", 0.35), ("asia", 0.2))
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(9))

    async def planned(self, strategy: Strategy | None = None) -> tuple[Plan, tuple[str, ...]]:
        """The calculators' plan after a day of control, and its notes."""
        for piece in range(48):
            self._served("old", 30 * PACE, self.world.clock.now() - timedelta(minutes=30 * piece + 15))
        named = "".join(f"  - {{metric: {name}}}\n" for name in self.kpis)
        spec = f"---\nflag: {FLAG.flag}\nowner: UAUTHOR\n" + (f"kpis:\n{named}" if named else "") + "---\n# Checkout\n"
        planner = Planner(
            MemorySpecSource({"checkout.md": spec}),
            self.world.flags,
            self.metrics,
            FREE,
            DEFAULTS,
            self.world.clock,
        )
        request = PlanRequest(FLAG.flag, FLAG.environment, strategy, MIRA)
        proposal = await planner.propose(request)
        return proposal.plan, proposal.notes

    @property
    def metrics(self) -> Metrics:
        return Metrics(Catalogue(self.definitions), {"memory": self.world.source})

    async def started(self, plan: Plan) -> RolloutView:
        # Whether the spec is still what it was is asked elsewhere.
        plan = plan.model_copy(update={"spec_sha256": None})
        view = await self.world.service.propose(plan, requester=MIRA, place=PLACE, reason="asked")
        assert view.approval is not None
        return await self.world.service.approve(view.approval.id, actor=JONAS)

    async def live(self, rollout_id: str, minutes: int) -> RolloutView:
        """Each minute traffic comes, then the controller looks; until the rollout is over."""
        for _ in range(minutes):
            self.world.clock.advance(60)
            share = (await self.world.percent()) / 100
            at = self.world.clock.now() - timedelta(seconds=1)
            for variant, part in (("old", 1 - share), ("new", share)):
                if requests := self.rng.binomial(PACE, part):
                    self._served(variant, requests, at)
            await self.world.controller.tick()
            view = await self.world.service.get(rollout_id)
            if view.approval is not None:
                await self.world.service.approve(view.approval.id, actor=JONAS)
            if view.phase in (Phase.ROLLED_BACK, Phase.SUCCEEDED):
                break
        return await self.world.service.get(rollout_id)

    def _served(self, variant: str, requests: int, at: datetime) -> None:
        is_new = variant == "new"
        richer, slower = (self.richer, self.slower) if is_new else (1.0, 1.0)
        spent = np.minimum(self.rng.lognormal(3.0, 0.5, requests) * richer / self.incident, CAP)
        took = self.rng.lognormal(-2.5, 0.6, requests) * slower * self.incident
        squares = float((spent**2).sum())
        seen = {
            "errors": [Observation(variant, at, requests, int(self.rng.binomial(requests, 0.01)))],
            "split": [Observation(variant, at, requests)],
            "revenue": [Observation(variant, at, requests, total=float(spent.sum()), total_squares=squares)],
            "latency": latencies(variant, at, took),
            "regions": [Observation(variant, at, int(requests * part), segment=label) for label, part in self.mix],
        }
        for definition in self.definitions:
            self.world.source.add(definition.name, FLAG.flag, FLAG.environment, *seen[definition.name])


def latencies(variant: str, at: datetime, took: Floats) -> list[Observation]:
    """A row for each bucket."""
    place = np.searchsorted(EDGES, took)
    counts, totals, squares = (np.bincount(place, took**power, len(EDGES) + 1) for power in (0, 1, 2))
    return [
        Observation(variant, at, int(count), total=float(total), total_squares=float(square), bucket=edge)
        for edge, count, total, square in zip((*EDGES, math.inf), counts, totals, squares, strict=True)
        if count
    ]


@asynccontextmanager
async def opened(*definitions: MetricDefinition) -> AsyncIterator[Shop]:
    async with running_world(policy=FREE) as world:
        world.source = MemoryMetricSource(definitions)
        shop = Shop(world, definitions)
        world.controller = Controller(world.database, world.flags, shop.metrics, FREE, world.clock, owner="kinds")
        kinds = shop.metrics.catalogue.kinds
        world.service = RolloutService(
            world.database, world.flags, FREE, world.clock, wake=world.controller.carry_out, kinds=kinds
        )
        yield shop


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with opened(ERRORS, REVENUE, LATENCY, SPLIT) as world:
        yield world


def guards(plan: Plan) -> dict[float, set[str]]:
    """What guards each stage, by its percentage."""
    return {stage.exposure.percent: {rail.metric for rail in stage.guardrails} for stage in plan.stages}


async def test_every_kind_guards_the_stages_with_a_control_and_rates_the_last_one(shop: Shop) -> None:
    plan, notes = await shop.planned()
    beside = {"errors", "revenue", "latency", "split"}
    assert guards(plan) == {5: beside, 25: beside, 50: beside, 100: {"errors"}}
    assert "At 100 % nobody is left to compare with, so revenue and latency do not guard that stage." in notes
    rails = {rail.metric: rail for rail in plan.stages[0].guardrails}
    assert rails["latency"].margin == 1.25
    assert rails["revenue"].margin == 1.02
    assert rails["split"].on_fail is OnFail.PAUSE
    assert {one.metric: one.base_rate is None for one in plan.expected} == {
        "errors": False,
        "revenue": True,
        "latency": True,
    }
    assert any(reason.startswith("revenue: 4,000 units/min and a mean of 22.") for reason in plan.rationale)
    assert any("s (19 of 20 within 0.25 s) over" in reason for reason in plan.rationale)
    assert any("a harm of ÷1.02 in revenue is caught after about" in note for note in notes)


async def test_what_does_no_harm_comes_to_everyone(shop: Shop) -> None:
    plan, _ = await shop.planned()
    view = await shop.live((await shop.started(plan)).id, 240)
    assert view.phase is Phase.SUCCEEDED
    assert await shop.world.percent() == 100


@pytest.mark.parametrize(("slower", "richer", "guilty"), [(1.4, 1.0, "latency"), (1.0, 0.7, "revenue")])
async def test_what_is_slow_or_loses_money_is_taken_back(shop: Shop, slower: float, richer: float, guilty: str) -> None:
    plan, _ = await shop.planned()
    shop.slower, shop.richer = slower, richer
    view = await shop.live((await shop.started(plan)).id, 60)
    assert view.phase is Phase.ROLLED_BACK
    assert await shop.world.percent() == 0
    assert view.check is not None
    outcomes = {rail.metric: verdict.outcome for rail, verdict, _ in view.check.guardrails}
    assert outcomes[guilty] is Outcome.FAIL


async def test_a_plan_without_any_rate_ends_below_100_percent_and_says_so() -> None:
    async with opened(REVENUE, LATENCY) as shop:
        plan, notes = await shop.planned()
        assert [*guards(plan)] == [5, 25, 50]
        said = "It ends at 50 %, not with everyone: at 100 % nobody is left to compare revenue and latency with."
        assert any(note.startswith(said) for note in notes)
        with pytest.raises(CannotBeProven, match="plan it in stages that end below 100 %"):
            await shop.planned(Strategy.FULL)


async def test_whoever_names_them_for_everyone_is_told_what_to_do(shop: Shop) -> None:
    plan, _ = await shop.planned()
    last = plan.stages[-1].model_copy(update={"guardrails": plan.stages[0].guardrails[:3]})
    with pytest.raises(
        InvalidPlan, match=r"Stage 4 exposes everyone, and revenue and latency can only be compared .*leave them out"
    ):
        await shop.world.service.propose(
            plan.model_copy(update={"stages": (*plan.stages[:-1], last)}), requester=MIRA, place=PLACE, reason="asked"
        )


async def test_a_spec_may_name_any_kind_and_its_margin_holds(shop: Shop) -> None:
    shop.kpis = ("latency, margin: 1.5", "errors", "split")
    plan, _ = await shop.planned()
    assert guards(plan)[5] == {"latency", "errors", "split"}
    assert plan.stages[0].guardrails[0].margin == 1.5

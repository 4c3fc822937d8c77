"""Planning from real parts in memory: spec, flag, metrics in; a checked plan or a sentence out."""

from datetime import timedelta

import pytest

from agent.planner import Planner, PlanRequest
from tests.unit.rollouts.world import POLICY
from tools.clock import ManualClock
from tools.flags.base import FlagNotFound, FlagRef
from tools.flags.memory import MemoryFlagService
from tools.gates import Direction
from tools.metrics.catalogue import Catalogue, MetricDefinition
from tools.metrics.memory import MemoryMetricSource, Observation
from tools.metrics.router import Metrics
from tools.plans.model import Exposure, Strategy
from tools.plans.planner import CannotBeProven, PlanningDefaults
from tools.specs.memory import MemorySpecSource

PRODUCTION = "production"
CHECKOUT = """---
flag: new-checkout
owner: UAUTHOR
tags: [revenue-critical]
kpis:
  - {metric: errors, direction: increase, margin: 1.8}
depends_on: [new-cart, wallet]
---
# New checkout
"""


class Desk:
    """A planner and what it reads from."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.flags = MemoryFlagService()
        self.specs = MemorySpecSource({})
        definitions = [
            MetricDefinition(name="errors", source="m", title="Errors", query="-"),
            MetricDefinition(name="orders", source="m", title="Orders", query="-", direction=Direction.DECREASE),
        ]
        self.source = MemoryMetricSource(definitions)
        metrics = Metrics(Catalogue(definitions), {"m": self.source})
        self.planner = Planner(self.specs, self.flags, metrics, POLICY, PlanningDefaults(), self.clock)

    async def flag(self, name: str = "new-checkout", percent: float = 0) -> None:
        ref = FlagRef(name, PRODUCTION)
        await self.flags.define(ref, "old", "new")
        await self.flags.write(ref, Exposure(percent=percent), expected=(await self.flags.read(ref)).version)

    def history(self, metric: str, *, per_minute: int = 6000, rate: float = 0.01, variant: str = "old") -> None:
        for minute in range(24 * 60):
            at = self.clock.now() - timedelta(minutes=minute + 1)
            self.source.add(
                metric, "new-checkout", PRODUCTION, Observation(variant, at, per_minute, round(per_minute * rate))
            )


@pytest.fixture
def desk() -> Desk:
    return Desk()


def request(strategy: Strategy | None = None) -> PlanRequest:
    return PlanRequest("new-checkout", PRODUCTION, strategy, "UMIRA")


async def test_a_plan_rests_on_the_spec_and_on_what_the_metrics_did(desk: Desk) -> None:
    await desk.flag()
    await desk.flag("new-cart", 100)
    await desk.flag("wallet", 40)
    desk.specs.put("checkout.md", CHECKOUT)
    desk.history("errors")
    proposal = await desk.planner.propose(request())
    plan = proposal.plan
    assert proposal.spec is not None
    assert (plan.control, plan.treatment) == ("old", "new")
    assert plan.spec_sha256 == proposal.spec.sha256
    assert plan.spec_author == "UAUTHOR"
    assert plan.tags == ("revenue-critical",)
    assert [rail.margin for rail in plan.stages[0].guardrails] == [1.8]
    assert "6,000 requests/min and a base rate of 1 %" in plan.rationale[0]
    assert [note for note in proposal.notes if "depends on" in note] == [
        "It depends on wallet, which is at 40 %: finish that first."
    ]


@pytest.mark.parametrize(
    ("named", "author"),
    [
        ("owner: UOWNER\n", "UOWNER"),
        ("owner: payments\nauthor: UAUTHOR\n", "UAUTHOR"),
        ("author: WAUTHOR\n", "WAUTHOR"),
    ],
)
async def test_the_person_who_wrote_the_spec_is_in_the_plan(desk: Desk, named: str, author: str) -> None:
    await desk.flag()
    desk.specs.put("checkout.md", CHECKOUT.replace("owner: UAUTHOR\n", named))
    desk.history("errors")
    proposal = await desk.planner.propose(request())
    assert proposal.plan.spec_author == author
    assert not [note for note in proposal.notes if "author" in note]


@pytest.mark.parametrize("named", ["", "owner: payments\n"])
async def test_that_no_author_can_be_barred_is_said(desk: Desk, named: str) -> None:
    await desk.flag()
    desk.specs.put("checkout.md", CHECKOUT.replace("owner: UAUTHOR\n", named))
    desk.history("errors")
    proposal = await desk.planner.propose(request())
    assert proposal.plan.spec_author is None
    assert (
        "The spec names no author by Slack user id, so nobody is barred from approving as its author." in proposal.notes
    )


async def test_treatment_does_not_count_towards_the_baseline(desk: Desk) -> None:
    await desk.flag()
    desk.specs.put("checkout.md", CHECKOUT.replace("depends_on: [new-cart, wallet]\n", ""))
    desk.history("errors")
    desk.history("errors", variant="new", rate=0.5)
    plan = (await desk.planner.propose(request())).plan
    assert "6,000 requests/min and a base rate of 1 %" in plan.rationale[0]


async def test_without_a_spec_every_metric_guards_and_that_is_said(desk: Desk) -> None:
    await desk.flag()
    desk.history("errors")
    desk.history("orders", rate=0.05)
    proposal = await desk.planner.propose(request(Strategy.SHADOW))
    assert [rail.metric for rail in proposal.plan.stages[0].guardrails] == ["errors", "orders"]
    assert proposal.plan.strategy is Strategy.SHADOW
    assert proposal.notes[0].startswith("There is no spec for new-checkout")


async def test_a_silent_metric_is_named_with_what_else_is_wrong(desk: Desk) -> None:
    await desk.flag()
    desk.specs.put("checkout.md", CHECKOUT)
    with pytest.raises(CannotBeProven, match=r"errors has 0 exposures.*last 24 h.*depends on new-cart.*not a flag"):
        await desk.planner.propose(request())


async def test_an_unknown_flag_is_refused(desk: Desk) -> None:
    with pytest.raises(FlagNotFound):
        await desk.planner.propose(request())

"""Planning from real parts in memory: spec, flag, metrics in; a checked plan or a sentence out."""

from typing import Any

import pytest

from agent.planning.telemetry import Telemetry
from tests.unit.agent.planning_desk import CHECKOUT, Desk, request
from tools.flags.base import FlagNotFound, FlagRef
from tools.metrics.catalogue import Catalogue, MetricKind
from tools.metrics.router import Metrics
from tools.plans.defaults import PlanningDefaults
from tools.plans.model import Strategy
from tools.plans.planner import CannotBeProven


@pytest.fixture
def desk() -> Desk:
    return Desk()


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
    assert "6,000 requests/min and a base rate of 1 %" in plan.rationale[1]
    assert plan.rationale[0].startswith("As a whole: without harm it is through after about ")
    assert [note for note in proposal.notes if "depends on" in note] == [
        "It depends on wallet, which is at 40 %: finish that first."
    ]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ({"kind": MetricKind.MEAN, "cap": 10.0}, "errors has no units"),
        ({"kind": MetricKind.LATENCY, "buckets": (0.1,)}, "errors has no requests"),
        ({"kind": MetricKind.ASSIGNMENTS}, "errors counts assignments"),
    ],
)
async def test_nothing_is_sized_with_a_silent_metric_or_a_split(desk: Desk, kind: dict[str, Any], words: str) -> None:
    await desk.flag()
    definition = desk.metrics.define("errors").model_copy(update=kind)
    telemetry = Telemetry(Metrics(Catalogue([definition]), desk.metrics.sources), PlanningDefaults(), desk.clock)
    state = await desk.flags.read(FlagRef("new-checkout", "production"))
    with pytest.raises(CannotBeProven, match=words):
        await telemetry.baseline(telemetry.of_catalogue("errors"), state)


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
    assert "6,000 requests/min and a base rate of 1 %" in plan.rationale[1]


async def test_without_a_spec_every_metric_guards_and_that_is_said(desk: Desk) -> None:
    await desk.flag()
    desk.history("errors")
    desk.history("orders", rate=0.05)
    desk.history("refunds", rate=0.02)
    proposal = await desk.planner.propose(request(Strategy.SHADOW))
    assert [rail.metric for rail in proposal.plan.stages[0].guardrails] == ["errors", "orders", "refunds"]
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

"""A sample ratio as a guardrail: it finds units that are lost or sorted, and neither rolls back nor proves safety."""

import math
from datetime import timedelta

import pytest

from tests.unit.rollouts.gatehouse import START, Gatehouse, assignments, rate, stage_of
from tests.unit.rollouts.world import ERRORS, FLAG, JONAS, MIRA, PLACE, World
from tools.gates import Harm, NoData, Outcome, Verdict
from tools.metrics.catalogue import Catalogue
from tools.metrics.memory import MemoryMetricSource, Observation
from tools.metrics.router import Metrics
from tools.plans.model import Audience, Guardrail, Mode, OnNoData
from tools.rollouts import checks
from tools.rollouts.controller import Controller
from tools.rollouts.decisions import Hold, Page, Pause, Promote, RollBack
from tools.rollouts.phases import Phase

RAIL, SPLIT = Guardrail(metric="errors", min_sample=50, ceiling=0.2), Guardrail(metric="split", of_split=True)
GOOD = ((950, 10), (50, 0))
KEPT, LOST = (950, 50), (950, 25)
DEFINITIONS = [rate("errors"), assignments()]


def gate(percent: float = 5, **exposure: object) -> Gatehouse:
    return Gatehouse.of(DEFINITIONS, stage_of(percent, RAIL, SPLIT, **exposure), stage_of(50, RAIL, SPLIT))


def split_of(found: checks.Assessment) -> Verdict:
    return found.by_guardrail[1]


def evidence_of(house: Gatehouse) -> dict[str, object]:
    gate_evidence: dict[str, object] = house.rollout.evidence["split:live"]["gate"]
    return gate_evidence


async def test_a_mismatch_pauses_and_never_rolls_back() -> None:
    house, actions = gate(), []
    for _ in range(60):
        found = await house.look({"errors": GOOD, "split": LOST})
        actions.append(house.action(found))
    assert (split_of(found).outcome, split_of(found).harm) == (Outcome.INCONCLUSIVE, Harm.SUSPECTED)
    assert split_of(found).harm_e > 1e6
    assert (split_of(found).pause_from, split_of(found).rollback_from) == (1000, None)
    assert isinstance(actions[-1], Pause)
    assert "Sample ratio mismatch: treatment got 2.56 %" in actions[-1].reason
    assert not any(isinstance(action, RollBack | Promote) for action in actions[2:])
    assert found.verdict.outcome is not Outcome.PASS


async def test_what_a_person_accepted_pauses_no_second_time_and_is_not_promoted_by_itself() -> None:
    house = gate()
    found = await house.looks(60, {"errors": GOOD, "split": LOST})
    assert house.row is not None
    house.rollout.harm_accepted = checks.harm_by_metric(house.row)
    assert house.rollout.harm_accepted == {"split": "suspected"}
    assert isinstance(house.action(found), Hold)


async def test_too_few_to_tell_hold_nothing() -> None:
    house = gate()
    await house.look({"errors": GOOD})
    found = await house.looks(80, {"errors": GOOD, "split": (19, 1)})
    assert split_of(found).why.startswith("Too few to tell")
    assert split_of(found).outcome is Outcome.PASS
    assert isinstance(house.action(found), Promote)


async def test_assignments_share_no_level_with_the_others() -> None:
    house = gate()
    found = await house.look({"errors": GOOD, "split": KEPT})
    assert (found.by_guardrail[0].pause_from, found.by_guardrail[0].rollback_from) == (20, 50)


async def test_silence_is_no_data() -> None:
    house = gate()
    await house.looks(3, {"errors": GOOD, "split": KEPT})
    found = await house.looks(3, {"errors": GOOD})
    assert (split_of(found).outcome, split_of(found).no_data) == (Outcome.NO_DATA, NoData.STALE)
    assert found.verdict.outcome is Outcome.NO_DATA
    never = gate()
    found = await never.looks(4, {"errors": GOOD})
    assert split_of(found).no_data is NoData.EMPTY
    one_sided = gate()
    found = await one_sided.looks(4, {"errors": GOOD, "split": (950, None)})
    assert split_of(found).no_data is NoData.FLAG_NEVER_EVALUATED
    stranger = gate()
    await stranger.looks(2, {"errors": GOOD, "split": KEPT})
    stranger.source.add("split", FLAG.flag, FLAG.environment, Observation("newer", stranger.at, 10))
    found = await stranger.look({"errors": GOOD, "split": KEPT})
    assert split_of(found).no_data is NoData.UNKNOWN_LABEL


async def test_a_blind_source_is_an_error() -> None:
    house = gate()
    await house.looks(3, {"errors": GOOD, "split": KEPT})
    house.source.outage = "gone"
    found = await house.look()
    assert split_of(found).outcome is Outcome.ERROR
    assert isinstance(house.action(found), Hold | Page)


async def test_blind_for_long_it_pauses_where_a_rate_would_roll_back() -> None:
    house = gate()
    await house.looks(3, {"errors": GOOD, "split": KEPT})
    found = await house.looks(8, {"errors": GOOD})
    assert house.plan.stages[0].guardrails[1].on_no_data is OnNoData.ROLL_BACK
    long_ago = house.at - timedelta(minutes=6)
    assert isinstance(house.action(found, blind_since=long_ago), Pause)
    failing = await house.look({"errors": GOOD, "split": (None, -1)})
    assert split_of(failing).outcome is Outcome.ERROR
    assert isinstance(house.action(failing, blind_since=long_ago), Pause)
    both = await house.looks(3, {})
    assert isinstance(house.action(both, blind_since=long_ago), RollBack)


@pytest.mark.parametrize("wrong", [-1, math.nan, 0.5, math.inf])
async def test_what_can_be_no_count_is_an_error_and_leaves_the_evidence(wrong: float) -> None:
    house = gate()
    await house.looks(3, {"errors": GOOD, "split": KEPT})
    before = evidence_of(house)
    found = await house.look({"errors": GOOD, "split": (950, wrong)})
    assert split_of(found).outcome is Outcome.ERROR
    assert "'exposures' is" in split_of(found).why
    assert evidence_of(house) == before


async def test_suspicion_outlives_silence() -> None:
    house = gate()
    await house.looks(60, {"errors": GOOD, "split": LOST})
    found = await house.looks(3, {"errors": GOOD})
    assert (split_of(found).outcome, split_of(found).harm) == (Outcome.NO_DATA, Harm.SUSPECTED)


async def test_the_minute_after_a_change_of_share_is_left_out() -> None:
    house = gate()
    await house.looks(3, {"errors": GOOD, "split": KEPT}, seconds=20)
    assert evidence_of(house)["assigned"] == [0, 0]
    await house.look({"errors": GOOD, "split": KEPT}, seconds=20)
    assert evidence_of(house)["assigned"] == [950, 50]
    await house.looks(8, {"errors": GOOD, "split": KEPT}, seconds=20)
    house.enter(1)
    # Services still ask with the old share; what is asked of the source begins a minute later.
    found = await house.looks(3, {"errors": ((500, 5), (500, 5)), "split": KEPT}, seconds=20)
    assert split_of(found).outcome is Outcome.PASS
    assert evidence_of(house)["assigned"] == [9 * 950, 9 * 50]
    assert house.row is not None
    found = await house.looks(30, {"errors": ((500, 5), (500, 5)), "split": (500, 500)}, seconds=20)
    assert split_of(found).harm is Harm.NONE
    assert split_of(found).treatment_n == 9 * 50 + 30 * 500
    assert checks.Inputs.model_validate(house.row.inputs).guardrails[1].start > START + timedelta(seconds=240 + 60)


async def test_windows_begin_with_the_share_in_force_even_where_looks_are_rare() -> None:
    house = gate()
    await house.looks(4, {"errors": GOOD, "split": KEPT})
    house.enter(1)
    await house.look({"errors": GOOD, "split": (500, 500)}, seconds=90)
    assert house.row is not None
    asked = checks.Inputs.model_validate(house.row.inputs).guardrails[1]
    assert (asked.start, asked.end) == (START + timedelta(seconds=300), house.at)


async def test_while_a_hand_has_changed_the_share_nothing_is_counted() -> None:
    house = gate()
    await house.looks(5, {"errors": GOOD, "split": KEPT})
    before = evidence_of(house)["assigned"]
    house.serve(house.plan.stages[0].exposure.model_copy(update={"percent": 1.0}))
    found = await house.looks(8, {"errors": GOOD, "split": (990, 10)})
    assert evidence_of(house)["assigned"] == before
    assert (split_of(found).outcome, split_of(found).harm) == (Outcome.PASS, Harm.NONE)


async def test_where_the_share_can_not_be_judged_it_is_said_and_holds_nothing() -> None:
    everyone = gate(100)
    found = await everyone.looks(3, {"errors": (None, (1000, 10)), "split": (None, 100)})
    assert split_of(found).outcome is Outcome.PASS
    assert split_of(found).why == "At 100 % the share of new assignments can't be judged, so it holds nothing."
    some = gate(20, audience=Audience(tenants=("acme",)))
    found = await some.looks(3, {"errors": GOOD, "split": LOST})
    assert split_of(found).why.startswith("At 20 % of acme the share of new assignments can't be judged")
    nobody = gate()
    nobody.serve(nobody.plan.stages[0].exposure.model_copy(update={"percent": 0.0}))
    found = await nobody.look({"errors": ((1000, 10), None), "split": (1000, None)})
    assert split_of(found).outcome is Outcome.PASS


async def test_in_shadow_the_share_is_judged_too() -> None:
    house = gate(5, mode=Mode.SHADOW)
    found = await house.looks(60, {"errors": GOOD, "split": LOST})
    assert split_of(found).harm is Harm.SUSPECTED


async def test_assignments_alone_prove_no_safety() -> None:
    house = Gatehouse.of([assignments()], stage_of(50, SPLIT))
    found = await house.looks(60, {"split": (5000, 5000)})
    assert found.by_guardrail[0].outcome is Outcome.PASS
    assert found.verdict.outcome is Outcome.INCONCLUSIVE
    assert found.verdict.why.startswith("Assignments alone prove no safety")
    assert isinstance(house.action(found), Hold)


async def test_a_rate_that_becomes_a_split_in_flight_passes_no_longer() -> None:
    """Or else it would pass without any proof."""
    house = gate(50)
    house.plan = house.plan.model_copy(update={"stages": (stage_of(50, RAIL, Guardrail(metric="carts")),)})
    house.definitions = [assignments("errors"), rate("carts")]
    house.forget()
    found = await house.looks(60, {"errors": (500, 500), "carts": ((500, 5), (500, 5))})
    assert [verdict.outcome for verdict in found.by_guardrail] == [Outcome.ERROR, Outcome.PASS]
    assert "was no assignments when the plan was made" in found.verdict.why


async def test_a_split_that_becomes_a_rate_in_flight_is_an_error() -> None:
    house = gate(50)
    house.definitions = [rate("errors"), rate("split")]
    found = await house.looks(60, {"errors": ((500, 5), (500, 5)), "split": ((500, 5), (500, 5))})
    assert [verdict.outcome for verdict in found.by_guardrail] == [Outcome.PASS, Outcome.ERROR]
    assert "was assignments when the plan was made" in found.verdict.why


async def test_evidence_that_is_damaged_starts_anew_and_is_named() -> None:
    house = gate()
    await house.looks(3, {"errors": GOOD, "split": KEPT})
    house.rollout.evidence["split:live"]["gate"]["version"] = 99
    found = await house.look({"errors": GOOD, "split": KEPT})
    assert split_of(found).why.endswith("Earlier evidence was of another test and is not counted.")
    assert evidence_of(house)["assigned"] == [950, 50]


async def test_a_rollout_that_loses_units_is_paused_by_the_controller(world: World) -> None:
    definitions = [rate(ERRORS), assignments()]
    world.source = MemoryMetricSource(definitions)
    metrics = Metrics(Catalogue(definitions), {"memory": world.source})
    world.controller = Controller(
        world.database, world.flags, metrics, world.controller._policy, world.clock, owner="ratio"
    )
    world.service.wake = world.controller.carry_out
    house = Gatehouse.of(definitions, stage_of(5, Guardrail(metric=ERRORS, min_sample=50), SPLIT, bake=3000))
    view = await world.service.propose(house.plan, requester=MIRA, place=PLACE, reason="asked")
    assert view.approval is not None
    view = await world.service.approve(view.approval.id, actor=JONAS)
    for _ in range(60):
        at = world.clock.now() + timedelta(seconds=5)
        for variant, units in (("old", 950), ("new", 20)):
            world.source.add("split", FLAG.flag, FLAG.environment, Observation(variant, at, units))
        view = await world.live(view.id, 1)
        if view.phase is not Phase.PROGRESSING:
            break
    assert view.phase is Phase.PAUSED
    assert "Sample ratio mismatch" in (view.pause_reason or "")
    assert await world.percent() == 5

"""What a rollout does when things are no more what its plan was made for."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import select

from bot.blocks.card import card
from bot.blocks.lines import line
from tests.unit.rollouts.world import ERRORS, World, make_plan, stage
from tools.gates import CountEvidence, Outcome
from tools.plans.model import Expected, Plan
from tools.records.models import GateCheck
from tools.rollouts import assessing, audit, checks, drifts
from tools.rollouts.events import Happening
from tools.rollouts.phases import Phase
from tools.rollouts.views import RolloutView

MADE_FOR = Expected(metric=ERRORS, base_rate=0.01, quietest=4000, busiest=8000)
CALM = {"old": (950, 10), "new": (50, 0)}
INCIDENT = {"old": (950, 380), "new": (50, 20)}


def plan_made_for(expected: Expected | None = MADE_FOR, *, bake: float = 600) -> Plan:
    plan = make_plan(stage(5, bake=bake), stage(25), stage(100))
    return plan if expected is None else plan.model_copy(update={"expected": (expected,)})


async def every_check(world: World) -> list[GateCheck]:
    async with world.database.read() as session:
        return list((await session.scalars(select(GateCheck).order_by(GateCheck.at))).all())


def shown(view: RolloutView) -> str:
    """The card's text."""
    return json.dumps([block.to_dict() for block in card(view)], ensure_ascii=False)


def said(check: GateCheck) -> str:
    return str(check.verdict["gate"]["why"])


async def test_a_shared_incident_holds_neither_rolling_back_nor_promoting(world: World) -> None:
    view = await world.started(plan_made_for())
    view = await world.live(view.id, 10, **CALM)
    view = await world.live(view.id, 90, **INCIDENT)
    assert view.phase is Phase.PROGRESSING
    assert view.stage == 0
    newest = (await every_check(world))[-1]
    assert newest.outcome == Outcome.INCONCLUSIVE
    assert "Control's rate is " in said(newest)
    assert "that the plan was made for" in said(newest)


async def test_without_a_plan_that_says_what_it_was_made_for_the_incident_would_count_as_proof(world: World) -> None:
    view = await world.started(plan_made_for(None))
    view = await world.live(view.id, 10, **CALM)
    view = await world.live(view.id, 90, **INCIDENT)
    assert view.phase is not Phase.PROGRESSING or view.stage == 1


async def test_what_an_incident_proves_is_not_counted_for_safety(world: World) -> None:
    view = await world.started(plan_made_for())
    await world.live(view.id, 10, **CALM)
    await world.live(view.id, 80, **INCIDENT)
    rows = [CountEvidence.from_json(one.evidence[f"{ERRORS}:live"]["gate"]) for one in await every_check(world)]
    assert rows[-1].books.safe == rows[40].books.safe
    assert rows[-1].books.harm != rows[40].books.harm
    assert rows[-1].treatment.exposures > rows[40].treatment.exposures


async def test_when_the_incident_is_over_the_rollout_goes_on(world: World) -> None:
    view = await world.started(plan_made_for())
    await world.live(view.id, 30, **INCIDENT)
    view = await world.live(view.id, 200, **CALM)
    assert "Control's rate is " not in said((await every_check(world))[-1])
    assert view.phase is Phase.WAITING_PROMOTION or view.stage == 1


async def test_a_treatment_that_is_worse_than_control_is_rolled_back_in_an_incident_too(world: World) -> None:
    view = await world.started(plan_made_for())
    await world.live(view.id, 10, **CALM)
    view = await world.live(view.id, 60, old=(950, 190), new=(50, 45))
    assert view.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)


@pytest.mark.parametrize(
    ("expected", "traffic", "words"),
    [
        (MADE_FOR.model_copy(update={"quietest": 40_000, "busiest": 80_000}), CALM, "Traffic is 6,"),
        (MADE_FOR, {"old": (800, 8), "new": (200, 2)}, "Treatment's share of it is 2"),
        (MADE_FOR.model_copy(update={"base_rate": 0.2}), CALM, "Control's rate is 1.0"),
    ],
)
async def test_other_drift_is_said_and_holds_nothing(
    world: World, expected: Expected, traffic: dict[str, tuple[int, int]], words: str
) -> None:
    view = await world.started(plan_made_for(expected, bake=1200))
    view = await world.live(view.id, 150, **traffic)
    assert any(words in said(check) for check in await every_check(world))
    assert view.phase is Phase.WAITING_PROMOTION or view.stage == 1


async def test_a_drift_is_told_once_and_shown_until_it_is_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drifts, "SAID_AGAIN_AFTER", timedelta(minutes=3))
    view = await world.started(plan_made_for(bake=3000))
    view = await world.live(view.id, 5, **CALM)
    assert "⚠" not in shown(view)
    view = await world.live(view.id, 30, **INCIDENT)
    [told] = [event for event in await world.events(view.id) if event.kind == "drift.found"]
    assert told.payload["why"].startswith(f"{ERRORS}: Control's rate is ")
    assert view.check is not None
    assert "⚠ Control's rate is " in shown(view)
    view = await world.live(view.id, 12, **CALM)
    view = await world.live(view.id, 6, **INCIDENT)
    assert (await world.kinds(view.id)).count("drift.found") == 1, "it was over for less than its time"
    view = await world.live(view.id, 60, **CALM)
    assert (await world.kinds(view.id)).count("drift.over") == 1
    assert "⚠" not in shown(view)
    over = next(event for event in await world.events(view.id) if event.kind == "drift.over")
    assert over.payload["quantities"] == f"{ERRORS} (base_rate above)"
    lines = [line(Happening(one.kind), one.actor, one.payload) for one in (told, over)]
    assert lines[0].startswith(f"⚠ Not as planned: {ERRORS}: Control's rate is ")
    assert lines[1] == f"✔ As planned again, for 3 min: {ERRORS} (base_rate above)."


async def test_every_check_is_judged_alike_from_its_row_alone(world: World) -> None:
    view = await world.started(plan_made_for())
    await world.live(view.id, 10, **CALM)
    await world.live(view.id, 40, **INCIDENT)
    for check in await every_check(world):
        again = assessing.judge_again(check)
        assert again.verdict_json() == check.verdict
        assert again.evidence == check.evidence
    assert (await audit.verify(world.database)).faults == ()


async def test_rows_and_evidence_of_an_earlier_release_are_read(world: World) -> None:
    view = await world.started(plan_made_for())
    await world.live(view.id, 5, **CALM)
    check = (await every_check(world))[-1]
    for item in check.inputs["guardrails"]:
        del item["expected"]
        del item["carried"]["drift"]
    old = assessing.judge_again(check)
    assert old.verdict.why == said(check)
    assert old.evidence[f"{ERRORS}:live"]["drift"] is None
    key = f"{ERRORS}:live"
    without = {**check.evidence[key]}
    del without["drift"]
    inputs = checks.Inputs.model_validate(check.inputs)
    [item] = inputs.guardrails
    late = item.model_copy(update={"carried": without, "expected": MADE_FOR})
    answers = [checks.Answer.model_validate(plain) for plain in check.answers]
    again = assessing.assess(inputs.model_copy(update={"guardrails": (late,)}), answers)
    assert again.evidence[key]["drift"]["minutes"]


def test_a_plan_without_it_has_the_hash_that_it_had() -> None:
    plan = plan_made_for(None)
    assert "expected" not in plan.to_json()
    assert Plan.model_validate(plan.to_json()) == plan
    made = plan_made_for()
    assert Plan.model_validate(made.to_json()) == made
    assert made.sha256 != plan.sha256

"""What must never happen, over thousands of schedules of crashes, outages, late and doubled writes, and races."""

import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.unit.rollouts.simulation import LOWERED, Answer, Order, Outcome, Wish, simulation
from tools.errors import Conflict
from tools.gates import Harm
from tools.plans.model import Guardrail, OnFail
from tools.records.models import GateCheck
from tools.rollouts import assessing, changes, decisions, lowering, store
from tools.rollouts.events import SLUICE, Happening
from tools.rollouts.phases import LIVE, Phase
from tools.rollouts.service import RolloutService
from tools.rollouts.views import RolloutView

SCHEDULES = int(os.environ.get("SLUICE_TEST_SCHEDULES", "3000"))
BATCHES = 40
PER_BATCH = SCHEDULES // BATCHES
ENOUGH_FOR_A_MUTANT = 40
NEVER = datetime.max.replace(tzinfo=UTC)


pytestmark = pytest.mark.usefixtures("quiet_logs")


@pytest.mark.no_cover
@pytest.mark.parametrize("batch", range(BATCHES))
async def test_no_schedule_ends_with_a_wrong_exposure(batch: int) -> None:
    compare_and_set = batch % 4 != 3
    ended = Counter[Phase]()
    async with simulation() as world:
        for seed in range(batch * PER_BATCH, (batch + 1) * PER_BATCH):
            outcome = await world.run(seed, compare_and_set=compare_and_set)
            ended[outcome.phase] += 1
            assert faults(outcome, compare_and_set=compare_and_set) == [], f"seed {seed}: {outcome.trace}"
        assert await world.audit() == []
    # The schedules must reach the places that the invariants speak of.
    assert ended[Phase.ROLLED_BACK] > PER_BATCH / 4
    assert len(ended) >= 4


async def test_a_seed_is_a_schedule() -> None:
    traces = []
    for _ in range(2):
        async with simulation() as world:
            traces.append((await world.run(7, compare_and_set=True)).trace)
    assert traces[0] == traces[1]


def _proven_harm_never_rolls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    decide = decisions._on_harm

    def mutant(situation: decisions.Situation) -> decisions.Action | None:
        action = decide(situation)
        return None if isinstance(action, decisions.RollBack) else action

    monkeypatch.setattr(decisions, "_on_harm", mutant)


def _a_check_that_proves_harm_is_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    roll_back = changes.roll_back

    async def mutant(*args: Any, actor: str = SLUICE, **facts: Any) -> None:
        if actor == SLUICE:
            raise Conflict("mutant")
        await roll_back(*args, actor=actor, **facts)

    monkeypatch.setattr(changes, "roll_back", mutant)


def _a_wish_to_roll_back_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def mutant(service: RolloutService, rollout_id: str, **_: str) -> RolloutView:
        return await service.get(rollout_id)

    monkeypatch.setattr(RolloutService, "roll_back", mutant)


def _a_wish_to_roll_back_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def mutant(service: RolloutService, rollout_id: str, **_: str) -> RolloutView:
        raise Conflict("mutant")

    monkeypatch.setattr(RolloutService, "roll_back", mutant)


def _a_kill_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def mutant(*_: str, **__: str) -> None:
        return None

    monkeypatch.setattr(RolloutService, "kill", mutant)


def _a_lowering_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def mutant(*_: Any, **__: Any) -> None:
        return None

    monkeypatch.setattr(lowering, "lower", mutant)


def _a_lowering_is_never_carried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    intend = store.intend

    def mutant(*args: Any, at: datetime) -> None:
        if store.Purpose.LOWER not in args:
            intend(*args, at=at)

    monkeypatch.setattr(store, "intend", mutant)


@pytest.mark.parametrize(
    ("mutate", "found"),
    [
        (_proven_harm_never_rolls_back, "proved harm and nothing came of it"),
        (_a_check_that_proves_harm_is_never_written, "harm goes on"),
        (_a_wish_to_roll_back_does_nothing, "the order to roll back was lost"),
        (_a_wish_to_roll_back_is_refused, "the order to roll back was lost"),
        (_a_kill_does_nothing, "the order to kill was lost"),
        (_a_lowering_does_nothing, "the order to lower was lost"),
        (_a_lowering_is_never_carried_out, "lowered, and at"),
    ],
)
async def test_a_rollback_that_never_starts_is_found(
    mutate: Callable[[pytest.MonkeyPatch], None], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    async with simulation() as world:
        for seed in range(ENOUGH_FOR_A_MUTANT):
            outcome = await world.run(seed, compare_and_set=True)
            if any(found in fault for fault in faults(outcome, compare_and_set=True)):
                return
    pytest.fail(f"no fault of {ENOUGH_FOR_A_MUTANT} schedules says: {found}")


def faults(outcome: Outcome, *, compare_and_set: bool) -> list[str]:
    """What the schedule did that must not happen."""
    found = []
    if _wrong_end(outcome):
        found.append(f"ended {outcome.phase} at {outcome.percent} %")
    if outcome.moments(Happening.ROLLBACK_STARTED) and outcome.phase is not Phase.ROLLED_BACK:
        found.append(f"a rollback was lost: {outcome.phase}")
    found += [
        f"check {check.id} proved harm and nothing came of it" for check in outcome.checks if _idle(check, outcome)
    ]
    if outcome.harmful and outcome.phase in LIVE:
        found.append(f"harm goes on: {outcome.phase} at {outcome.percent} %")
    found += [f"the order to {order.wish} was lost" for order in outcome.orders if _was_lost(order, outcome)]
    if not outcome.hands and _went_up_after_lowering(outcome):
        found.append(f"lowered, and at {outcome.percent} % all the same")
    if not outcome.hands and compare_and_set and _raised_after_lowering(outcome):
        found.append("raised after a lowering")
    if not outcome.hands and compare_and_set and _raised_after_rollback(outcome):
        found.append("raised after a rollback")
    if not outcome.hands and _raised_without_permission(outcome):
        found.append("raised without permission")
    for kind, most in ((Happening.STARTED, 1), (Happening.ROLLED_BACK, 1), (Happening.ROLLBACK_STARTED, 1)):
        if len(outcome.moments(kind)) > most:
            found.append(f"{kind} more than once")
    found += [f"check {check.id} judges differently now" for check in outcome.checks if _differs(check)]
    return found


def _idle(check: GateCheck, outcome: Outcome) -> bool:
    """Whether the check proved harm that must be rolled back, and no rollback followed."""
    rails = [Guardrail.model_validate(item["guardrail"]) for item in check.inputs["guardrails"]]
    harms = [Harm(verdict["harm"]) for verdict in check.verdict["guardrails"]]
    if not any(
        harm is Harm.PROVEN and rail.on_fail is OnFail.ROLL_BACK for rail, harm in zip(rails, harms, strict=True)
    ):
        return False
    # A check is only kept while the rollout is live, so that nothing excuses it; a rollback begins the next epoch.
    started = [event for event in outcome.events if event.kind == Happening.ROLLBACK_STARTED]
    return not any(event.payload["epoch"] == check.epoch + 1 for event in started)


def _was_lost(order: Order, outcome: Outcome) -> bool:
    """Whether a rollback that a person asked for was accepted or refused, and the rollout goes on.

    The same of a lowering that was accepted and never ordered.
    A request that died with its process promises nothing, and what has ended can't be rolled back.
    """
    if order.wish is Wish.LOWER:
        return order.answer is Answer.DONE and not outcome.moments(Happening.EXPOSURE_LOWERED)
    if order.wish not in (Wish.ROLL_BACK, Wish.KILL):
        return False
    match order.answer:
        case Answer.DONE if order.wish is Wish.ROLL_BACK:
            return not (outcome.moments(Happening.ROLLBACK_STARTED) or outcome.moments(Happening.CANCELLED))
        case Answer.DONE:
            return order.after in LIVE | {Phase.PROPOSED}
        case Answer.REFUSED:
            # Live at both ends is live throughout: no step leads back from an end.
            return order.before in LIVE and order.after in LIVE
        case Answer.NONE:
            return False


def _wrong_end(outcome: Outcome) -> bool:
    """Whether the flag serves something else than the rollout's end says. What hands did is theirs."""
    match outcome.phase:
        case Phase.ROLLED_BACK:
            return outcome.percent > outcome.known_good and not outcome.hand_after(Happening.ROLLBACK_STARTED)
        case Phase.PROPOSED | Phase.CANCELLED:
            return outcome.percent != 0 and not outcome.hands
        case _:
            return not outcome.hands and outcome.percent != outcome.settled


def _raised_after_rollback(outcome: Outcome) -> bool:
    """Whether exposure rose after the rollback's own write had landed."""
    started = outcome.moments(Happening.ROLLBACK_STARTED)
    if not started:
        return False
    since = [percent for at, percent in outcome.served if at > started[0]]
    landed = next((i for i, percent in enumerate(since) if percent <= outcome.known_good), len(since))
    return any(percent > outcome.known_good for percent in since[landed:])


def _raised_without_permission(outcome: Outcome) -> bool:
    """Whether a write served more than any stage that had been entered by then."""
    entered = {
        event.at: _percent(event.payload.get("after") or event.payload["exposure"])
        for event in outcome.events
        if event.kind in (Happening.STARTED, Happening.PROMOTED)
    }
    return any(
        percent > max([exposure for moment, exposure in entered.items() if moment <= at], default=0)
        for at, percent in outcome.served
    )


def _went_up_after_lowering(outcome: Outcome) -> bool:
    """Whether the flag ends above what it was lowered to last, though nobody resumed since."""
    lowered = [event for event in outcome.events if event.kind == Happening.EXPOSURE_LOWERED]
    since = [event.kind for event in outcome.events if lowered and event.seq > lowered[-1].seq]
    return bool(lowered) and Happening.RESUMED not in since and outcome.percent > LOWERED


def _raised_after_lowering(outcome: Outcome) -> bool:
    """Whether exposure rose between the moment when a lowering's own write had landed and the next resumption."""
    for lowered in outcome.moments(Happening.EXPOSURE_LOWERED):
        until = min((at for at in outcome.moments(Happening.RESUMED) if at >= lowered), default=NEVER)
        since = [percent for at, percent in outcome.served if lowered < at < until]
        landed = next((i for i, percent in enumerate(since) if percent <= LOWERED), len(since))
        if any(percent > LOWERED for percent in since[landed:]):
            return True
    return False


def _percent(exposure: str) -> float:
    """The percentage of an exposure in words: `25 %`."""
    return float(exposure.split()[0])


def _differs(check: GateCheck) -> bool:
    again = assessing.judge_again(check)
    return again.verdict_json() != check.verdict or again.evidence != check.evidence

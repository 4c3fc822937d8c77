"""What must never happen, over 10,000 seeded schedules of crashes, outages, late and doubled writes, and races."""

import logging
from collections import Counter

import pytest
import structlog

from tests.unit.rollouts.simulation import Outcome, simulation
from tools.records.models import GateCheck
from tools.rollouts import checks
from tools.rollouts.events import Happening
from tools.rollouts.phases import Phase

SCHEDULES = 10_000
BATCHES = 40
PER_BATCH = SCHEDULES // BATCHES
LIVE_EXPOSURE = {0: 5, 1: 25, 2: 100}


@pytest.fixture(autouse=True)
def _quiet_logs() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


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


def faults(outcome: Outcome, *, compare_and_set: bool) -> list[str]:
    """What the schedule did that must not happen."""
    found = []
    if _wrong_end(outcome):
        found.append(f"ended {outcome.phase} at {outcome.percent} %")
    if outcome.moments(Happening.ROLLBACK_STARTED) and outcome.phase is not Phase.ROLLED_BACK:
        found.append(f"a rollback was lost: {outcome.phase}")
    if not outcome.hands and compare_and_set and _raised_after_rollback(outcome):
        found.append("raised after a rollback")
    if not outcome.hands and _raised_without_permission(outcome):
        found.append("raised without permission")
    for kind, most in ((Happening.STARTED, 1), (Happening.ROLLED_BACK, 1), (Happening.ROLLBACK_STARTED, 1)):
        if len(outcome.moments(kind)) > most:
            found.append(f"{kind} more than once")
    found += [f"check {check.id} judges differently now" for check in outcome.checks if _differs(check)]
    return found


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
        event.at: LIVE_EXPOSURE[event.payload["stage"]]
        for event in outcome.events
        if event.kind in (Happening.STARTED, Happening.PROMOTED)
    }
    return any(
        percent > max([exposure for moment, exposure in entered.items() if moment <= at], default=0)
        for at, percent in outcome.served
    )


def _differs(check: GateCheck) -> bool:
    again = checks.judge_again(check)
    return again.verdict_json() != check.verdict or again.evidence != check.evidence

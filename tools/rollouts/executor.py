"""The one executor: carries out an intent against the flag service, and confirms it by reading back.

Safe to run twice, at the same time, and again after a crash: targets are absolute, a raise is compared with what the
flag serves, and a lowering always writes, because a new version fences off every write that was prepared before.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from tools.clock import Clock
from tools.errors import SluiceError
from tools.flags.base import (
    ApprovalRequired,
    FlagRef,
    FlagService,
    FlagServiceUnavailable,
    FlagState,
    FlagVersionConflict,
)
from tools.flags.urgency import urgently
from tools.observing import Course, Fact, Work, noted, working
from tools.plans.model import Exposure
from tools.records.database import Database
from tools.records.models import Intent, Rollout, new_id
from tools.rollouts import changes, store
from tools.rollouts.events import SLUICE, Happening, Tell, flag_happened, happened
from tools.rollouts.phases import LIVE, Phase
from tools.rollouts.store import RAISING, IntentStatus, Purpose

WRITES_A_CALL = 4
BACKOFF_CAP = timedelta(seconds=5)
PAGE_AFTER = timedelta(seconds=60)
APPROVE_THERE = (
    "Approve the change in the flag service, or let Sluice's token bypass approvals there; then Resume. Or roll back."
)

logger = structlog.get_logger(__name__)


class Result(StrEnum):
    DONE = "done"  # the read-back shows the target
    VOID = "void"  # no longer wanted
    RETRY = "retry"  # the flag service did not take it yet


@dataclass(frozen=True, slots=True)
class Undone:
    """What is served instead of a lower exposure that was read back before, and when that was seen."""

    exposure: Exposure
    since: datetime


@dataclass(slots=True)
class Sight:
    """What a try to set an exposure has seen, also where it fails."""

    undone: Undone | None = None


class Executor:
    """Carries out intents. Any number of executors may share a database."""

    def __init__(self, database: Database, flags: FlagService, clock: Clock, *, timeout: timedelta) -> None:
        self._database = database
        self._flags = flags
        self._clock = clock
        self._timeout = timeout.total_seconds()
        # Tries whose end could not be written down.
        self._tried: dict[str, datetime] = {}
        # Kills that were seen to hold when no late write could land any more, while that could not be written down.
        self._held: dict[str, FlagState] = {}

    async def carry_out(self, intent_id: str) -> Result:
        """Try the intent now. An outage, and a fault too, leaves it open, due again after a capped backoff.

        A raise that the flag service wants people to approve there is not tried again: it pauses the rollout.
        """
        sight = Sight()
        with working(Work.EXPOSURE, about=intent_id) as course:
            try:
                result = await self._attempt(intent_id, course, sight)
            except ApprovalRequired as refusal:
                result = await self._leave_to_people(intent_id, str(refusal), sight)
            except SluiceError as error:
                result = await self._postpone(intent_id, str(error), sight)
            except Exception as fault:  # noqa: BLE001 - said, with a reference: a rollback is tried on, and pages
                result = await self._postpone(intent_id, _fault_of(intent_id, fault), sight)
            course.outcome = result.value
            self._tried.pop(intent_id, None)
            if result is not Result.RETRY:
                self._held.pop(intent_id, None)
            return result

    async def read(self, ref: FlagRef) -> FlagState:
        """The flag as it is served now, bounded in time. Raises the flag service's errors."""
        with working(Work.FLAG_READ, about=str(ref)):
            async with self._bounded():
                return await self._flags.read(ref)

    async def _read_for(self, purpose: Purpose, ref: FlagRef) -> FlagState:
        """As `read`; what takes exposure back asks also while the flag service wants no requests."""
        if purpose in RAISING:
            return await self.read(ref)
        with urgently():
            return await self.read(ref)

    async def _write(self, ref: FlagRef, exposure: Exposure, expected: str) -> None:
        with working(Work.FLAG_WRITE, about=str(ref)):
            async with self._bounded():
                await self._flags.write(ref, exposure, expected=expected)

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError:
            raise FlagServiceUnavailable(f"The flag service did not answer within {self._timeout:g} s.") from None
        except SluiceError:
            raise
        except Exception as fault:
            # What is thought of no flag service must not end a look at metrics, or a rollback.
            raise FlagServiceUnavailable(_fault_of("the flag service", fault)) from fault

    async def _attempt(self, intent_id: str, course: Course, sight: Sight) -> Result:
        for _ in range(WRITES_A_CALL):
            found = await self._read_intent(intent_id)
            if found is None:
                return Result.VOID
            intent, rollout = found
            ref, purpose = FlagRef(intent.flag, intent.environment), Purpose(intent.purpose)
            course.of = purpose.value
            if (held := self._held.get(intent_id)) is not None:
                # What is served since then is what people want.
                return await self._confirm(intent, held)
            if rollout is None and _is_watched(intent, rollout) and self._is_long_over(intent):
                return await self._end_watch(intent_id)
            self._tried[intent_id] = self._clock.now()
            state = await self._read_for(purpose, ref)
            target = Exposure.model_validate(intent.target)
            if purpose in RAISING:
                if state.exposure == target:
                    return await self._confirm(intent, state)
                if rollout is not None and not _is_settled(rollout, state.exposure):
                    return await self._give_way(intent_id, state)
            else:
                target = lower_of(state.exposure, target)
                if _is_watched(intent, rollout):
                    if state.exposure == target:
                        return await self._confirm(intent, state)
                    # Written down only where it can't be set again: what takes exposure back waits for no database.
                    sight.undone = sight.undone or Undone(state.exposure, self._clock.now())
            # Read after the version and before the write: a rollback since then has a newer version or a newer epoch.
            if await self._read_intent(intent_id) is None:
                return Result.VOID
            try:
                await self._write(ref, target, state.version)
            except FlagVersionConflict:
                continue
            state = await self._read_for(purpose, ref)
            if state.exposure == target:
                return await self._confirm(intent, state)
        return await self._postpone(intent_id, "The flag keeps changing while it is being set.", sight)

    async def _read_intent(self, intent_id: str) -> tuple[Intent, Rollout | None] | None:
        async with self._database.read() as session:
            intent = await session.get(Intent, intent_id)
            if intent is None or intent.status != IntentStatus.OPEN:
                return None
            if intent.rollout_id is None:
                return intent, None
            rollout = await store.load(session, intent.rollout_id, lock=False)
            return (intent, rollout) if intent.epoch == rollout.epoch else None

    async def _confirm(self, confirmed: Intent, state: FlagState) -> Result:
        took_s: float | None = None
        if confirmed.rollout_id is None and not self._may_be_undone(confirmed, self._clock.now()):
            self._held[confirmed.id] = state

        async def act(session: AsyncSession) -> Result:
            nonlocal took_s
            found = await _open_intent(session, confirmed.id)
            if found is None:
                return Result.VOID
            intent, rollout = found
            at = self._clock.now()
            took_s = _read_back_after(intent, rollout, at)
            known = intent.read_back is not None
            intent.attempts += 1
            intent.read_back = state.exposure.model_dump(mode="json")
            # It is set: should it be stuck again, people are told again.
            intent.undone_since, intent.paged = None, False
            if rollout is None:
                await self._confirm_kill(session, intent, at, known=known)
            elif Purpose(intent.purpose) in RAISING:
                await confirm_stage(session, rollout, state, at)
            elif Purpose(intent.purpose) is Purpose.LOWER:
                await self._confirm_lowering(session, rollout, intent, state, at)
            else:
                await self._confirm_rollback(session, rollout, intent, state, at)
            return Result.DONE

        result = await store.transact(self._database, act)
        if took_s is not None:
            noted(Fact.READ_BACK, took_s)
        return result

    async def _confirm_kill(self, session: AsyncSession, intent: Intent, at: datetime, *, known: bool) -> None:
        """A flag without a rollout is at 0 %, which is told once; the start of one ends the watch for late writes."""
        if not known:
            await _flag_happened(session, intent, Happening.KILLED, at=at, actor=intent.requester)
        if self._may_be_undone(intent, at):
            intent.due_at = at + BACKOFF_CAP
            return
        _close(intent, IntentStatus.DONE, at)

    def _may_be_undone(self, kill: Intent, at: datetime) -> bool:
        """Whether a write that was sent before the kill may still land."""
        return not self._flags.capabilities.compare_and_set and at < self._killed_for_good(kill)

    def _killed_for_good(self, intent: Intent) -> datetime:
        """When no write can land any more that was about to be sent as the kill was ordered, where none is compared."""
        return intent.created_at + timedelta(seconds=self._timeout) + self._flags.capabilities.late_write_window

    def _is_long_over(self, intent: Intent) -> bool:
        """Whether nobody even tried to look for so long that what a killed flag serves may be what people want."""
        if intent.undone_since is not None:
            return False
        tried = self._tried.get(intent.id, intent.due_at)
        return self._clock.now() >= max(self._killed_for_good(intent), intent.due_at, tried) + PAGE_AFTER

    async def _end_watch(self, intent_id: str) -> Result:
        async def act(session: AsyncSession) -> Result:
            found = await _open_intent(session, intent_id)
            if found is not None:
                _close(found[0], IntentStatus.DONE, self._clock.now())
            return Result.VOID

        return await store.transact(self._database, act)

    async def _confirm_rollback(
        self, session: AsyncSession, rollout: Rollout, intent: Intent, state: FlagState, at: datetime
    ) -> None:
        store.change(rollout, at=at, settled=state.exposure.model_dump(mode="json"))
        until = self._watch_for_late_writes(rollout, at)
        if until is not None:
            await happened(
                session,
                rollout,
                Happening.ROLLBACK_VERIFYING,
                at=at,
                exposure=str(state.exposure),
                until=until.isoformat(),
            )
        if rollout.verify_until is not None and at < rollout.verify_until:
            intent.due_at = at + BACKOFF_CAP
            return
        _close(intent, IntentStatus.DONE, at)
        await finish_rollback(session, rollout, state.exposure, at)

    async def _confirm_lowering(
        self, session: AsyncSession, rollout: Rollout, intent: Intent, state: FlagState, at: datetime
    ) -> None:
        store.change(rollout, at=at, settled=state.exposure.model_dump(mode="json"))
        self._watch_for_late_writes(rollout, at)
        if rollout.verify_until is not None and at < rollout.verify_until:
            intent.due_at = at + BACKOFF_CAP
            return
        _close(intent, IntentStatus.DONE, at)
        store.change(rollout, at=at, verify_until=None)
        await happened(
            session,
            rollout,
            Happening.EXPOSURE_CONFIRMED,
            at=at,
            tell=Tell.NOBODY,
            exposure=str(state.exposure),
            flag_version=state.version,
        )

    def _watch_for_late_writes(self, rollout: Rollout, at: datetime) -> datetime | None:
        """Until when the lower exposure is watched, if that begins now.

        Where the service can't compare, a write sent before may still land: the intent stays open until it can't.
        """
        capabilities = self._flags.capabilities
        if capabilities.compare_and_set or rollout.verify_until is not None:
            return None
        store.change(rollout, at=at, verify_until=at + capabilities.late_write_window)
        return rollout.verify_until

    async def _give_way(self, intent_id: str, state: FlagState) -> Result:
        async def act(session: AsyncSession) -> Result:
            found = await _open_intent(session, intent_id)
            if found is None or found[1] is None:
                return Result.VOID
            intent, rollout = found[0], found[1]
            at = self._clock.now()
            _close(intent, IntentStatus.VOID, at)
            if Phase(rollout.phase) in LIVE:
                await respect_hand(session, rollout, state, at=at)
            return Result.VOID

        return await store.transact(self._database, act)

    async def _leave_to_people(self, intent_id: str, refusal: str, sight: Sight) -> Result:
        """The flag service wants people to approve it there: a raise waits for them, all else is tried on."""

        async def act(session: AsyncSession) -> Result:
            found = await _open_intent(session, intent_id)
            if found is None:
                return Result.VOID
            intent, rollout = found
            at, target = self._clock.now(), Exposure.model_validate(intent.target)
            if rollout is None or Purpose(intent.purpose) not in RAISING:
                error = f"Until Sluice is let, only a person can set {target} there. {refusal}"
                _note_undone(intent, sight.undone)
                await _put_off(session, intent, rollout, error, at=at, page_after=timedelta(0))
                return Result.RETRY
            _close(intent, IntentStatus.VOID, at)
            if Phase(rollout.phase) in LIVE:
                reason = f"{target} could not be set. {refusal}"
                await changes.pause(session, rollout, at=at, reason=reason, ends=APPROVE_THERE, tell=Tell.PERSON)
            return Result.VOID

        return await store.transact(self._database, act)

    async def _postpone(self, intent_id: str, error: str, sight: Sight) -> Result:
        async def act(session: AsyncSession) -> Result:
            found = await _open_intent(session, intent_id)
            if found is None:
                return Result.VOID
            _note_undone(found[0], sight.undone)
            await _put_off(session, *found, error, at=self._clock.now(), page_after=PAGE_AFTER)
            return Result.RETRY

        return await store.transact(self._database, act)


async def confirm_stage(session: AsyncSession, rollout: Rollout, state: FlagState, at: datetime) -> None:
    """The read-back shows the stage's exposure: its clocks start, and nothing is left to be raised."""
    for intent in await store.open_intents(session, rollout.id):
        if Purpose(intent.purpose) in RAISING:
            intent.read_back = state.exposure.model_dump(mode="json")
            _close(intent, IntentStatus.DONE, at)
    settled = Exposure.model_validate(rollout.settled)
    fresh = rollout.exposed_since is None or settled.mode is not state.exposure.mode
    store.change(
        rollout,
        at=at,
        settled=state.exposure.model_dump(mode="json"),
        stage_since=at,
        limit_from=at,
        exposed_since=at if fresh else rollout.exposed_since,
        # Before anybody was exposed there was nothing to see.
        blind_since=None if rollout.exposed_since is None else rollout.blind_since,
    )
    await happened(
        session,
        rollout,
        Happening.EXPOSURE_CONFIRMED,
        at=at,
        tell=Tell.NOBODY,
        exposure=str(state.exposure),
        flag_version=state.version,
    )


async def finish_rollback(session: AsyncSession, rollout: Rollout, exposure: Exposure, at: datetime) -> None:
    """The read-back showed the known-good exposure: the rollout has ended."""
    since = rollout.rollback_since or at
    store.move(rollout, Phase.ROLLED_BACK, at=at)
    await happened(
        session,
        rollout,
        Happening.ROLLED_BACK,
        at=at,
        tell=Tell.THREAD,
        urgent=True,
        exposure=str(exposure),
        reason=rollout.rollback_reason,
        seconds=round((at - since).total_seconds(), 3),
    )


async def respect_hand(session: AsyncSession, rollout: Rollout, state: FlagState, *, at: datetime) -> None:
    """Someone changed the flag in the flag service: a lowering is respected, a raise is paged, both pause."""
    expected = Exposure.model_validate(rollout.settled)
    raised = reaches_more(state.exposure, expected)
    reason = f"The flag was {'raised' if raised else 'changed'} by hand from {expected} to {state.exposure}."
    await happened(
        session,
        rollout,
        Happening.CHANGED_BY_HAND,
        at=at,
        tell=Tell.PERSON,
        urgent=raised,
        expected=str(expected),
        found=str(state.exposure),
        raised=raised,
    )
    store.change(rollout, at=at, settled=state.exposure.model_dump(mode="json"))
    if Phase(rollout.phase) is not Phase.PAUSED:
        ends = "Resume to go back to the plan's exposure, or roll back."
        await changes.pause(session, rollout, at=at, reason=reason, ends=ends, tell=Tell.NOBODY)


def reaches_more(found: Exposure, expected: Exposure) -> bool:
    """Whether anybody may get treatment's answer now who did not before."""
    wider = found.audience != expected.audience and found.live_percent > 0
    return found.live_percent > expected.live_percent or wider


def lower_of(current: Exposure, target: Exposure) -> Exposure:
    """What a lowering writes: the target, or what is served already if a person has lowered it further."""
    comparable = current.mode is target.mode and current.audience == target.audience
    return current if current.percent == 0 or (comparable and current.percent < target.percent) else target


def backoff(attempts: int) -> timedelta:
    """The pause before the next attempt: 0.25 s, doubled each time, at most 5 s."""
    return min(timedelta(seconds=0.125 * 2.0 ** min(attempts, 10)), BACKOFF_CAP)


def _fault_of(about: str, fault: Exception) -> str:
    """What people are told of a fault, whose rest is in the log."""
    reference = new_id()[:8]
    logger.error("exposure.faulty", of=about, reference=reference, exc_info=fault)
    return f"That failed by a fault of Sluice; the log has it under {reference}."


def _read_back_after(intent: Intent, rollout: Rollout | None, at: datetime) -> float | None:
    """How many seconds a rollback or kill took until now, which is when it is read back; None for what was before."""
    if Purpose(intent.purpose) not in (Purpose.ROLL_BACK, Purpose.KILL):
        return None
    if _is_watched(intent, rollout):
        return None
    since = intent.created_at if rollout is None else rollout.rollback_since or intent.created_at
    return max((at - since).total_seconds(), 0.0)


def _is_watched(intent: Intent, rollout: Rollout | None) -> bool:
    """Whether the lower exposure was read back already, and a late write may still undo it."""
    return intent.read_back is not None if rollout is None else rollout.verify_until is not None


def _note_undone(intent: Intent, undone: Undone | None) -> None:
    """What was read back is served no longer: it is stuck since then, and people are told again."""
    if undone is None or intent.read_back is None or intent.undone_since is not None:
        return
    intent.read_back = undone.exposure.model_dump(mode="json")
    intent.undone_since, intent.paged = undone.since, False


def _is_settled(rollout: Rollout, exposure: Exposure) -> bool:
    return rollout.settled is not None and exposure == Exposure.model_validate(rollout.settled)


async def _put_off(
    session: AsyncSession, intent: Intent, rollout: Rollout | None, error: str, *, at: datetime, page_after: timedelta
) -> None:
    """Due again after a backoff; people are told once each time that has been going on for `page_after`.

    A kill that was read back is no more than watched, and a rollback too until its watch should have ended.
    """
    intent.attempts += 1
    intent.error = error
    intent.due_at = at + backoff(intent.attempts)
    since = _stuck_since(intent, rollout)
    if not intent.paged and since is not None and at - since >= page_after:
        intent.paged = True
        await _page(session, intent, rollout, since, at=at)


def _stuck_since(intent: Intent, rollout: Rollout | None) -> datetime | None:
    """When it should have been done; None where it is, as far as anybody knows."""
    if intent.read_back is None or not _is_watched(intent, rollout):
        return intent.created_at
    if intent.undone_since is not None:
        return intent.undone_since
    return None if rollout is None else rollout.verify_until


async def _page(
    session: AsyncSession, intent: Intent, rollout: Rollout | None, since: datetime, *, at: datetime
) -> None:
    """Tell a person that an exposure can't be set; trying goes on."""
    raising = Purpose(intent.purpose) in RAISING
    back = Purpose(intent.purpose) in (Purpose.ROLL_BACK, Purpose.KILL)
    what = Happening.ROLLBACK_STUCK if back else Happening.EXPOSURE_STUCK
    facts: dict[str, Any] = {
        "since": since.isoformat(),
        "error": intent.error,
        "target": str(Exposure.model_validate(intent.target)),
    }
    if rollout is None:
        await _flag_happened(session, intent, what, at=at, actor=SLUICE, **facts)
        return
    await happened(session, rollout, what, at=at, tell=Tell.PERSON, urgent=not raising, **facts)


async def _flag_happened(
    session: AsyncSession, intent: Intent, what: Happening, *, at: datetime, actor: str, **facts: Any
) -> None:
    told = {**_facts(intent), **facts}
    await flag_happened(session, what, at=at, actor=actor, facts=told, workspace=intent.workspace)


def _close(intent: Intent, status: IntentStatus, at: datetime) -> None:
    intent.status = status
    intent.ended_at = at
    intent.error = None


def _facts(intent: Intent) -> dict[str, object]:
    return {"flag": intent.flag, "environment": intent.environment, "exposure": intent.read_back}


async def _open_intent(session: AsyncSession, intent_id: str) -> tuple[Intent, Rollout | None] | None:
    """The intent and its rollout under lock, if it is still open and of the present epoch."""
    intent = await session.get(Intent, intent_id)
    if intent is None:
        return None
    rollout = None if intent.rollout_id is None else await store.load(session, intent.rollout_id)
    await session.refresh(intent)
    if intent.status != IntentStatus.OPEN or (rollout is not None and intent.epoch != rollout.epoch):
        return None
    return intent, rollout

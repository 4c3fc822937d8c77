"""The controller: looks at every rollout that is due, and does what its evidence calls for.

`reconcile` is idempotent: it reads the rows, does the one next thing and writes it down, so that it may be killed at
any point and run again by anyone.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import and_, or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from tools.clock import Clock
from tools.errors import SluiceError
from tools.flags.base import FlagRef, FlagService, FlagState
from tools.gates import Outcome
from tools.metrics.budget import USUAL_WINDOW
from tools.metrics.router import Metrics
from tools.observing import Fact, Work, noted, working
from tools.plans.model import LONGEST_PAUSE, Exposure, Plan
from tools.plans.policy import Policy
from tools.records import leases
from tools.records.database import Database
from tools.records.models import Acceptance, Intent, Rollout, new_id
from tools.rollouts import acceptances, assessing, checks, consequences, freezes, measuring, preparing, staleness, store
from tools.rollouts.budgets import spent_budgets
from tools.rollouts.executor import BACKOFF_CAP, Executor, backoff, confirm_stage, respect_hand
from tools.rollouts.phases import LIVE, Phase
from tools.rollouts.store import RAISING, IntentStatus, Purpose
from tools.rollouts.watching import Look, SpecWatcher

AT_ONCE = 16
BATCH = 200
CLOSE_GRACE_S = 5.0
CLAIM_LIMIT_S = 30.0

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A rollout as it was when looking began; what is found is only written if it is still so."""

    rollout: Rollout
    plan: Plan
    version: int
    lowering: bool
    acceptances: tuple[Acceptance, ...]


class Controller:
    """Watches rollouts. Any number of controllers may share a database; a lease gives each rollout to one of them."""

    def __init__(
        self,
        database: Database,
        flags: FlagService,
        metrics: Metrics,
        policy: Policy,
        clock: Clock,
        *,
        owner: str,
        lease: timedelta = timedelta(seconds=15),
        flag_timeout: timedelta = timedelta(seconds=10),
        patience: timedelta | None = None,
        budget_window: timedelta = USUAL_WINDOW,
        specs: SpecWatcher | None = None,
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._policy = policy
        self._clock = clock
        self._owner = owner
        self._lease = lease
        self._budget_window = budget_window
        self._specs = specs
        self._patience = None if patience is None else patience.total_seconds()
        self._executor = Executor(database, flags, clock, timeout=flag_timeout)
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._running: dict[str, asyncio.Task[object]] = {}

    async def tick(self) -> int:
        """Begin to reconcile everything that is due now and not another's; how many rollouts that was.

        Waits for it, but no longer than `patience`: a slow metric source must not keep the other rollouts waiting.
        """
        async with asyncio.timeout(CLAIM_LIMIT_S):
            due, kills = await self._due()
        for kill in kills:
            if kill not in self._running:
                self._begin(kill, self._executor.carry_out(kill))
        try:
            async with asyncio.timeout(CLAIM_LIMIT_S):
                claimed = await self._claim(list(due))
        except (SQLAlchemyError, TimeoutError):
            # A database that takes no writes keeps nobody from taking exposure back, which two may do at once.
            for rollout_id in due:
                self._begin(rollout_id, self._take_back(rollout_id))
            await self._wait()
            raise
        for rollout_id in claimed:
            self._begin(rollout_id, self._reconcile_claimed(rollout_id))
        await self._wait()
        return len(claimed)

    async def _wait(self) -> None:
        if self._running:
            await asyncio.wait(self._running.values(), timeout=self._patience)
        self._reap()

    async def close(self) -> None:
        """Let what is under way come to its end for a few seconds, then interrupt it; another process takes it up."""
        if self._running:
            await asyncio.wait(self._running.values(), timeout=CLOSE_GRACE_S)
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        self._running.clear()

    async def reconcile(self, rollout_id: str) -> None:
        """Do the next thing for one rollout; every step is safe at the same time as another's."""
        await self.carry_out(rollout_id)
        snapshot = await self._snapshot(rollout_id)
        phase = Phase(snapshot.rollout.phase)
        if phase in LIVE:
            if (due_at := snapshot.rollout.due_at) is not None:
                noted(Fact.LATENESS, max((self._clock.now() - due_at).total_seconds(), 0.0))
            with working(Work.CHECK, about=rollout_id):
                await self._watch(snapshot)
        elif phase is Phase.ROLLING_BACK:
            await self._come_back(rollout_id)
        elif phase is Phase.PROPOSED:
            await self._mind_start(snapshot)

    async def carry_out(self, rollout_id: str | None) -> None:
        """Set what was just asked for, without waiting for the next tick or for a look that is under way.

        None stands for flags that are killed without a rollout.
        """
        if rollout_id is None:
            for kill in (await self._due())[1]:
                await self._executor.carry_out(kill)
            return
        for intent in await self._open_intents(rollout_id):
            if not await self._is_kept_back(intent):
                await self._executor.carry_out(intent.id)

    async def _take_back(self, rollout_id: str) -> None:
        """Set the lower exposures that were ordered, and raise nothing: for who holds no lease."""
        for intent in await self._open_intents(rollout_id):
            if Purpose(intent.purpose) not in RAISING:
                await self._executor.carry_out(intent.id)

    async def _is_kept_back(self, intent: Intent) -> bool:
        """Whether a freeze keeps it back: what was still to be raised as it began is raised after it."""
        if Purpose(intent.purpose) not in RAISING or intent.rollout_id is None:
            return False
        async with self._database.read() as session:
            rollout = await store.load(session, intent.rollout_id, lock=False)
            plan = await store.plan_of(session, rollout)
            return await freezes.holding(session, self._policy, rollout, plan, self._clock.now()) is not None

    async def _due(self) -> tuple[dict[str, Phase], Sequence[str]]:
        """The rollouts to look at now, and the kills of flags without a rollout, which nothing else takes up again."""
        now = self._clock.now()
        rollouts = (
            select(Rollout.id, Rollout.phase)
            .where(
                Rollout.live_key.is_not(None),
                Rollout.id.not_in(list(self._running)),
                # Further ahead than any plan looks: written by a clock that was wrong.
                or_(Rollout.due_at <= now, and_(Rollout.phase.in_(LIVE), Rollout.due_at > now + 2 * LONGEST_PAUSE)),
            )
            .order_by((Rollout.phase == Phase.ROLLING_BACK).desc(), Rollout.due_at)
            .limit(BATCH)
        )
        kills = select(Intent.id).where(
            Intent.status == IntentStatus.OPEN, Intent.due_at <= now, Intent.rollout_id.is_(None)
        )
        async with self._database.read() as session:
            due = {rollout_id: Phase(phase) for rollout_id, phase in await session.execute(rollouts)}
            return due, (await session.scalars(kills)).all()

    async def _claim(self, due: Sequence[str]) -> list[str]:
        """Those of the due rollouts that are now this controller's."""
        if not due:
            return []
        async with self._database.write() as session:
            names = [_lease_name(rollout_id) for rollout_id in due]
            won = set(await leases.claim(session, names, owner=self._owner, now=self._clock.now(), ttl=self._lease))
        return [rollout_id for rollout_id in due if _lease_name(rollout_id) in won]

    def _begin(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        self._running[name] = asyncio.create_task(work)

    async def _reconcile_claimed(self, rollout_id: str) -> None:
        try:
            await self.reconcile(rollout_id)
        finally:
            async with self._database.write() as session:
                await leases.release(session, [_lease_name(rollout_id)], owner=self._owner)

    def _reap(self) -> None:
        """Say what went wrong in work that is done; a fault in one rollout's must not touch the others."""
        for name, task in [(name, task) for name, task in self._running.items() if task.done()]:
            del self._running[name]
            fault = task.exception()
            if isinstance(fault, SluiceError):
                logger.warning("rollout.skipped", of=name, reason=str(fault))
            elif isinstance(fault, Exception):
                logger.error("rollout.faulty", of=name, reference=new_id()[:8], exc_info=fault)
            elif fault is not None:
                raise fault

    async def _open_intents(self, rollout_id: str) -> list[Intent]:
        async with self._database.read() as session:
            return list(await store.open_intents(session, rollout_id))

    async def _come_back(self, rollout_id: str) -> None:
        async def act(session: AsyncSession) -> None:
            rollout = await store.load(session, rollout_id)
            tries = [intent.attempts for intent in await store.open_intents(session, rollout_id)]
            if rollout.live_key is not None:
                rollout.due_at = self._clock.now() + backoff(max(tries, default=1))

        await store.transact(self._database, act)

    async def _snapshot(self, rollout_id: str) -> Snapshot:
        async with self._database.read() as session:
            rollout = await store.load(session, rollout_id, lock=False)
            lowering = await store.is_lowering(session, rollout_id)
            accepted = tuple(await acceptances.standing(session, rollout_id))
            return Snapshot(rollout, await store.plan_of(session, rollout), rollout.version, lowering, accepted)

    async def _mind_start(self, snapshot: Snapshot) -> None:
        """Withdraw the question about a start that stands no longer; remind people of one that does."""
        flag = await self._read_flag(FlagRef(snapshot.rollout.flag, snapshot.rollout.environment))

        async def act(session: AsyncSession) -> None:
            rollout = await store.load(session, snapshot.rollout.id)
            if Phase(rollout.phase) is Phase.PROPOSED:
                served, at = None if flag is None else flag.exposure, self._clock.now()
                await consequences.mind_start(session, rollout, snapshot.plan, self._policy, served=served, at=at)

        await store.transact(self._database, act)

    async def _watch(self, snapshot: Snapshot) -> None:
        ref, began = FlagRef(snapshot.rollout.flag, snapshot.rollout.environment), self._clock.now()
        flag = await self._read_flag(ref)
        flag_took = self._clock.now() - began
        if flag is not None and not _is_settled(snapshot, flag) and not snapshot.lowering:
            await self._settle(snapshot, flag)
            return
        inputs = preparing.prepare(
            snapshot.rollout,
            snapshot.plan,
            at=self._clock.now(),
            define=self._metrics.define,
            acceptances=snapshot.acceptances,
        )
        async with self._gate:
            # Only looking is limited: what is to be set, above all a rollback, never queues behind slow sources. And
            # waiting for others' looks is no blindness.
            asked_at = self._clock.now() - flag_took
            answers = await measuring.measure(inputs, snapshot.plan, self._metrics)
        assessment = assessing.assess(inputs, answers)
        concerns = await self._concerns(snapshot, assessment)
        seen = flag is not None
        if await self._write_check(snapshot, inputs, answers, assessment, concerns, flag_seen=seen, asked_at=asked_at):
            await self.carry_out(snapshot.rollout.id)
        noted(Fact.VERDICT, of=assessment.verdict.outcome.value)

    async def _concerns(self, snapshot: Snapshot, assessment: checks.Assessment) -> list[str] | None:
        """Why people should be asked about a step that the gate allows, besides what the plan and policy say.

        None while a freeze holds: exposure is not about to rise, so nobody is asked what would speak against it.
        """
        rollout, plan = snapshot.rollout, snapshot.plan
        due = Phase(rollout.phase) is Phase.PROGRESSING and assessment.verdict.outcome is Outcome.PASS
        if not due or rollout.stage is None or rollout.stage + 1 == len(plan.stages):
            return []
        now = self._clock.now()
        async with self._database.read() as session:
            if await freezes.holding(session, self._policy, rollout, plan, now) is not None:
                return None
        found = await spent_budgets(self._metrics, plan, rollout.stage, now=now, window=self._budget_window)
        seen = Look() if self._specs is None else await self._specs.look(rollout.id)
        return [*found, *staleness.concern(seen.view)]

    async def _read_flag(self, ref: FlagRef) -> FlagState | None:
        try:
            return await self._executor.read(ref)
        except SluiceError as error:
            # Metrics are judged all the same: a breach is acted on as soon as the service is back.
            logger.warning("flag.unreadable", flag=ref.flag, environment=ref.environment, reason=str(error))
            return None

    async def _settle(self, snapshot: Snapshot, flag: FlagState) -> None:
        """The flag serves something else than was last confirmed: a write of ours that landed unseen, or a hand's."""

        async def act(session: AsyncSession) -> None:
            rollout = await store.load(session, snapshot.rollout.id)
            if rollout.version != snapshot.version:
                return
            at = self._clock.now()
            if flag.exposure == _asked_for(snapshot) and rollout.stage_since is None:
                await confirm_stage(session, rollout, flag, at)
            else:
                await respect_hand(session, rollout, flag, at=at)
            rollout.due_at = at

        await store.transact(self._database, act)

    async def _write_check(
        self,
        snapshot: Snapshot,
        inputs: checks.Inputs,
        answers: tuple[checks.Answer, ...],
        assessment: checks.Assessment,
        concerns: Sequence[str] | None,
        *,
        flag_seen: bool,
        asked_at: datetime,
    ) -> bool:
        """Keep the check and act on it in one transaction; whether an exposure is now to be set."""

        async def act(session: AsyncSession) -> bool:
            rollout = await store.load(session, snapshot.rollout.id)
            if rollout.version != snapshot.version:
                # Somebody acted meanwhile. The windows were not moved on, so the next check reads them again.
                return False
            standing = {one.id for one in await acceptances.standing(session, rollout.id)}
            if standing != {one.id for one in snapshot.acceptances}:
                return False
            at, plan = self._clock.now(), snapshot.plan
            check = checks.record(rollout, plan, inputs, answers, assessment)
            session.add(check)
            await session.flush()
            await consequences.remember(
                session, rollout, plan, check, assessment, flag_seen=flag_seen, asked_at=asked_at, at=at
            )
            if await store.is_lowering(session, rollout.id):
                # Nothing else takes it up again, and it must not wait as long as a gate may.
                rollout.due_at = min(rollout.due_at or at, at + BACKOFF_CAP)
            await acceptances.expire(session, rollout, at=at)
            freeze = await consequences.note_freeze(session, rollout, plan, self._policy, at=at)
            await consequences.mind_promotion(session, rollout, plan, freeze, at=at)
            action = consequences.decide(rollout, plan, assessment, flag_seen=flag_seen, asked_at=asked_at, at=at)
            await consequences.follow(session, rollout, plan, self._policy, check, action, concerns, at=at)
            return bool(await store.open_intents(session, rollout.id))

        return await store.transact(self._database, act)


def _lease_name(rollout_id: str) -> str:
    return f"rollout:{rollout_id}"


def _is_settled(snapshot: Snapshot, flag: FlagState) -> bool:
    return flag.exposure == Exposure.model_validate(snapshot.rollout.settled)


def _asked_for(snapshot: Snapshot) -> Exposure:
    """The exposure of the stage in force."""
    assert snapshot.rollout.stage is not None
    return snapshot.plan.stages[snapshot.rollout.stage].exposure

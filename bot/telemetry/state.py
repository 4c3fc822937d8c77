"""What the database says of the whole installation: read now and then, so that whoever scrapes waits for no query."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from prometheus_client import Gauge
from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.services import Services
from bot.telemetry.instruments import Instruments, age
from tools.gates import NoData, Outcome
from tools.records.models import Approval, GateCheck, Intent, Job, OutboxMessage, Rollout
from tools.records.outbox import Kind
from tools.records.outbox import Status as Telling
from tools.rollouts.approvals import Status as Asking
from tools.rollouts.phases import LIVE, OPEN, Phase
from tools.rollouts.store import IntentStatus

EVERY = timedelta(seconds=15)
LATELY = timedelta(days=1)
MOST_BLIND = 200
"""Of how many blind rollouts the guardrails are counted."""
JOBS = ("queued", "running")
BLIND = (*(why.value for why in NoData), "error")
UNCONFIRMED, VERIFYING = "unconfirmed", "verifying"


class State:
    """Brings the series of the database, of this process's pool and of what it depends on up to date."""

    def __init__(self, services: Services, instruments: Instruments) -> None:
        self._services = services
        self._to = instruments

    async def turn(self) -> None:
        """Read it all. Raises what the database does; the series then stay as they were, with their time."""
        now = self._services.clock.now()
        async with self._services.database.read() as session:
            await self._rollouts(session, now)
            await self._blindness(session, now)
            await self._rollbacks(session, now)
            await self._outbox(session, now)
            await self._approvals(session, now)
            await self._jobs(session, now)
        for finding in self._services.health.found(self._services):
            if finding.well is not None:
                self._to.part_up.labels(finding.part.value, finding.name).set(finding.well)
        self._to.read_at.set_to_current_time()

    async def _rollouts(self, session: AsyncSession, now: datetime) -> None:
        found = await session.execute(
            select(Rollout.phase, func.count()).where(Rollout.live_key.is_not(None)).group_by(Rollout.phase)
        )
        _fill(self._to.rollouts, [(phase.value,) for phase in sorted(OPEN)], {(row[0],): row[1] for row in found})
        due = select(func.count(), func.min(Rollout.due_at)).where(
            Rollout.live_key.is_not(None), Rollout.phase.in_(LIVE), Rollout.due_at <= now
        )
        count, oldest = (await session.execute(due)).one()
        self._to.due.set(count)
        self._to.oldest_due.set(age(oldest, now))

    async def _blindness(self, session: AsyncSession, now: datetime) -> None:
        blind = and_(Rollout.live_key.is_not(None), Rollout.blind_since.is_not(None))
        query = select(func.count(), func.min(Rollout.blind_since)).where(blind)
        count, oldest = (await session.execute(query)).one()
        self._to.blind.set(count)
        self._to.blind_for.set(age(oldest, now))
        guardrails = dict.fromkeys(((why,) for why in BLIND), 0)
        if count:
            checks = select(GateCheck.verdict).join(Rollout, Rollout.last_check_id == GateCheck.id).where(blind)
            for verdict in await session.scalars(checks.limit(MOST_BLIND)):
                for one in verdict.get("guardrails", ()):
                    if (why := _blind_for(one)) is not None:
                        guardrails[why,] = guardrails.get((why,), 0) + 1
        _fill(self._to.blind_guardrails, [(why,) for why in BLIND], guardrails)

    async def _rollbacks(self, session: AsyncSession, now: datetime) -> None:
        rollbacks = await session.execute(
            select(Rollout.rollback_since, Rollout.verify_until, Intent.undone_since)
            .outerjoin(Intent, and_(Intent.rollout_id == Rollout.id, Intent.status == IntentStatus.OPEN))
            .where(Rollout.live_key.is_not(None), Rollout.phase == Phase.ROLLING_BACK)
        )
        kills = await session.scalars(
            select(Intent).where(Intent.status == IntentStatus.OPEN, Intent.rollout_id.is_(None))
        )
        waiting = [
            *(_waits_since(since, undone, read_back=until is not None) for since, until, undone in rollbacks),
            *(_waits_since(one.created_at, one.undone_since, read_back=one.read_back is not None) for one in kills),
        ]
        unconfirmed = [since for since in waiting if since is not None]
        self._to.rollbacks.labels(UNCONFIRMED).set(len(unconfirmed))
        self._to.rollbacks.labels(VERIFYING).set(len(waiting) - len(unconfirmed))
        self._to.rollback_age.set(age(min(unconfirmed, default=None), now))

    async def _outbox(self, session: AsyncSession, now: datetime) -> None:
        query = (
            select(OutboxMessage.kind, OutboxMessage.urgent, func.count(), func.min(OutboxMessage.created_at))
            .where(OutboxMessage.status == Telling.OPEN)
            .group_by(OutboxMessage.kind, OutboxMessage.urgent)
        )
        found = {(row[0], _word(row[1])): row for row in await session.execute(query)}
        kinds = [(kind.value, _word(urgent)) for kind in Kind for urgent in (False, True)]
        _fill(self._to.outbox, kinds, {key: row[2] for key, row in found.items()})
        _fill(self._to.outbox_age, kinds, {key: age(row[3], now) for key, row in found.items()})

    async def _approvals(self, session: AsyncSession, now: datetime) -> None:
        still_open = select(func.count(), func.min(Approval.created_at)).where(
            Approval.status == Asking.PENDING, Approval.expires_at > now
        )
        count, oldest = (await session.execute(still_open)).one()
        self._to.approvals.set(count)
        self._to.approval_age.set(age(oldest, now))
        expired = select(func.count()).where(Approval.status == Asking.EXPIRED, Approval.expires_at > now - LATELY)
        self._to.expired.set(await session.scalar(expired) or 0)

    async def _jobs(self, session: AsyncSession, now: datetime) -> None:
        query = select(Job.status, func.count(), func.min(Job.due_at)).where(Job.status.in_(JOBS)).group_by(Job.status)
        found = {row[0]: row for row in await session.execute(query)}
        _fill(self._to.jobs, [(status,) for status in JOBS], {(status,): row[1] for status, row in found.items()})
        self._to.job_age.set(age(found["queued"][2], now) if "queued" in found else 0.0)


def _waits_since(ordered: datetime | None, undone: datetime | None, *, read_back: bool) -> datetime | None:
    """Since when a rollback or kill waits to be read back; None where it was, and is not known to be undone."""
    return undone if read_back else ordered


def _fill(gauge: Gauge, known: Iterable[tuple[str, ...]], found: Mapping[Any, float]) -> None:
    """Set every known series, those that were not found to 0: a series that vanishes tells nobody that it is well."""
    for labels in known:
        gauge.labels(*labels).set(found.get(labels, 0))


def _blind_for(verdict: dict[str, Any]) -> str | None:
    """Why a guardrail can't be seen, None for one that can."""
    if verdict["outcome"] == Outcome.ERROR:
        return "error"
    return str(verdict["no_data"]) if verdict["outcome"] == Outcome.NO_DATA else None


def _word(is_so: bool) -> str:
    return "true" if is_so else "false"

"""Backtests of plans that people were shown, kept beside them; the newest stands on the plan's card."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tools.records.database import Database
from tools.records.models import Backtest, PlanVersion, Rollout
from tools.rollouts import store
from tools.rollouts.checks import CODE_VERSION
from tools.rollouts.events import SLUICE, Happening, Tell, happened
from tools.rollouts.phases import Phase


@dataclass(frozen=True, slots=True)
class Untested:
    """A proposed rollout whose plan nobody has replayed yet."""

    rollout_id: str
    plan_sha256: str


async def keep(database: Database, report: Mapping[str, Any], *, at: datetime, actor: str = SLUICE) -> bool:
    """Keep a report, as `Report.to_json` has it, and bring the cards of its plan up to date.

    False for a plan that is kept nowhere: then nothing is.
    """

    async def act(session: AsyncSession) -> bool:
        digest = report["plan_sha256"]
        rollouts = (await session.scalars(_with_plan(digest))).all()
        if not rollouts and not await session.scalar(select(PlanVersion.id).where(PlanVersion.sha256 == digest)):
            return False
        session.add(
            Backtest(
                plan_sha256=digest,
                at=at,
                code_version=CODE_VERSION,
                span_seconds=report["span"],
                replays=report["harmless"]["replays"],
                summary=report["summary"],
                report=dict(report),
            )
        )
        facts = {"plan_sha256": digest, "summary": report["summary"], "replays": report["harmless"]["replays"]}
        for rollout_id in rollouts:
            rollout = await store.load(session, rollout_id)
            await happened(session, rollout, Happening.BACKTESTED, at=at, actor=actor, tell=Tell.NOBODY, **facts)
        return True

    return await store.transact(database, act)


async def newest(session: AsyncSession, plan_sha256: str) -> Backtest | None:
    """The newest backtest of that plan."""
    query = select(Backtest).where(Backtest.plan_sha256 == plan_sha256).order_by(Backtest.at.desc(), Backtest.id)
    found: Backtest | None = await session.scalar(query.limit(1))
    return found


async def untested(database: Database) -> list[Untested]:
    """Proposed rollouts whose plan in force has no backtest, the oldest first."""
    query = (
        select(Rollout.id, PlanVersion.sha256)
        .join(PlanVersion, (PlanVersion.rollout_id == Rollout.id) & (PlanVersion.version == Rollout.plan_version))
        .where(
            Rollout.phase == Phase.PROPOSED,
            ~select(Backtest.id).where(Backtest.plan_sha256 == PlanVersion.sha256).exists(),
        )
        .order_by(Rollout.created_at)
    )
    async with database.read() as session:
        return [Untested(*row) for row in await session.execute(query)]


def _with_plan(plan_sha256: str) -> Any:
    """The ids of rollouts that have not ended and whose plan in force is that one."""
    return (
        select(Rollout.id)
        .join(PlanVersion, (PlanVersion.rollout_id == Rollout.id) & (PlanVersion.version == Rollout.plan_version))
        .where(Rollout.live_key.is_not(None), PlanVersion.sha256 == plan_sha256)
        .order_by(Rollout.id)
    )

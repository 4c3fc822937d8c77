"""Specs as they were read, kept in the records: each text once, by where it is from and its hash."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tools.records.database import Database, insert_for
from tools.records.models import PlanVersion, SpecSnapshot, new_id
from tools.specs.base import Spec


@dataclass(frozen=True, slots=True)
class Earlier:
    """A spec as it was before: its operations by route, and when it was read last."""

    sha256: str
    operations: Mapping[str, str]
    read_at: datetime


async def keep_snapshot(session: AsyncSession, spec: Spec, *, at: datetime) -> str:
    """The id of the snapshot of exactly this text, made if it is new."""
    kept = await _kept(session, spec)
    if kept is not None:
        return kept
    row = {
        "id": new_id(),
        "flag": spec.flag,
        "source": spec.source,
        "sha256": spec.sha256,
        "content": spec.content,
        "operations": dict(spec.operations),
        "read_at": at,
    }
    # Somebody else may be keeping the same text at the same moment.
    await session.execute(insert_for(session)(SpecSnapshot).values(row).on_conflict_do_nothing())
    kept = await _kept(session, spec)
    assert kept is not None
    return kept


async def keep_read(database: Database, spec: Spec, *, at: datetime) -> None:
    """Keep what was just read, in a transaction of its own, which only a new text needs."""
    async with database.read() as session:
        if await _kept(session, spec) is not None:
            return
    async with database.write() as session:
        await keep_snapshot(session, spec, at=at)


async def _kept(session: AsyncSession, spec: Spec) -> str | None:
    query = select(SpecSnapshot.id).where(SpecSnapshot.source == spec.source, SpecSnapshot.sha256 == spec.sha256)
    found: str | None = await session.scalar(query)
    return found


async def one_before(session: AsyncSession, spec: Spec) -> Earlier | None:
    """The newest other version of the flag's spec that a plan rested on, else that was read; None for the first."""
    rested_on = select(PlanVersion.id).where(PlanVersion.spec_snapshot_id == SpecSnapshot.id).exists()
    query = (
        select(SpecSnapshot)
        .where(SpecSnapshot.flag == spec.flag, SpecSnapshot.sha256 != spec.sha256)
        .order_by(rested_on.desc(), SpecSnapshot.read_at.desc(), SpecSnapshot.id)
        .limit(1)
    )
    found = await session.scalar(query)
    return None if found is None else Earlier(found.sha256, found.operations, found.read_at)

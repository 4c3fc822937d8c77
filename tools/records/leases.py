"""Leases: a name belongs to one owner until a moment; whoever dies loses it by waiting."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, or_
from sqlalchemy.ext.asyncio import AsyncSession

from tools.records.database import insert_for
from tools.records.models import Lease


async def claim(session: AsyncSession, names: Sequence[str], *, owner: str, now: datetime, ttl: timedelta) -> list[str]:
    """Those of `names` that are now the owner's (free, run out, or already its own) until `now + ttl`."""
    if not names:
        return []
    # Sorted, so that two owners who claim the same names can't wait for each other in a circle.
    rows = [{"name": name, "owner": owner, "until": now + ttl} for name in sorted(set(names))]
    wanted = insert_for(session)(Lease).values(rows)
    statement = wanted.on_conflict_do_update(
        index_elements=[Lease.name],
        set_={"owner": wanted.excluded.owner, "until": wanted.excluded.until},
        where=or_(Lease.until <= now, Lease.owner == owner),
    ).returning(Lease.name)
    return list((await session.scalars(statement)).all())


async def release(session: AsyncSession, names: Sequence[str], *, owner: str) -> None:
    """Give up those of `names` that are the owner's."""
    if names:
        await session.execute(delete(Lease).where(Lease.name.in_(names), Lease.owner == owner))

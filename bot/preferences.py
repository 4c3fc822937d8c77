"""What people want to be told by direct message, and when not: one row a person, defaults for who never chose."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, time
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.quiet import QuietHours
from bot.settings import Settings
from tools.records.database import insert_for
from tools.records.models import OutboxMessage, Preference
from tools.records.outbox import Kind, Status

CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
UTC_ZONE = "UTC"


class Own(StrEnum):
    """How much of the rollouts that they asked for a person is told directly."""

    NOTHING = "nothing"
    NEEDED = "needed"  # what needs somebody now
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a person is told directly, and their quiet hours."""

    approvals: bool = True
    own: Own = Own.NOTHING
    quiet: QuietHours | None = None


def home_of(settings: Settings, workspace: str) -> str:
    """Under which workspace a person's rows are kept: where there is only one it needs no name."""
    return workspace if settings.slack.many_workspaces else ""


async def read(session: AsyncSession, workspace: str, person: str) -> Preferences:
    """What the person chose, or the defaults."""
    row = await session.get(Preference, (workspace, person))
    return Preferences() if row is None else _preferences(row)


async def unwilling(session: AsyncSession, workspace: str, people: Collection[str]) -> frozenset[str]:
    """Those of the people who do not want to be asked directly for approvals."""
    query = select(Preference.person).where(
        Preference.workspace == workspace, Preference.person.in_(people), Preference.approvals.is_(False)
    )
    return frozenset((await session.scalars(query)).all())


async def resting(session: AsyncSession, workspace: str, people: Collection[str], *, at: datetime) -> frozenset[str]:
    """Those of the people whose quiet hours hold at that moment."""
    if not people:
        return frozenset()
    query = select(Preference).where(Preference.workspace == workspace, Preference.person.in_(people))
    chosen = {row.person: _preferences(row).quiet for row in (await session.scalars(query)).all()}
    return frozenset(person for person, quiet in chosen.items() if quiet is not None and quiet.until(at) is not None)


async def keep(session: AsyncSession, workspace: str, person: str, chosen: Preferences, *, at: datetime) -> None:
    """Write down what the person chose; what was held for them is looked at anew."""
    quiet = chosen.quiet
    values = {
        "approvals": chosen.approvals,
        "own": chosen.own.value,
        "quiet_start": None if quiet is None else f"{quiet.start:%H:%M}",
        "quiet_end": None if quiet is None else f"{quiet.end:%H:%M}",
        "quiet_days": [] if quiet is None else sorted(quiet.days),
        "zone": UTC_ZONE if quiet is None else quiet.zone,
        "updated_at": at,
    }
    row = insert_for(session)(Preference).values(workspace=workspace, person=person, **values)
    await session.execute(row.on_conflict_do_update(index_elements=["workspace", "person"], set_=values))
    await session.execute(
        update(OutboxMessage)
        .where(OutboxMessage.kind == Kind.DIRECT, OutboxMessage.status == Status.OPEN, OutboxMessage.due_at > at)
        .where(OutboxMessage.lane.endswith(f":{person}", autoescape=True))
        .values(due_at=at)
    )


def known_zone(zone: str) -> str:
    """The zone, or UTC for one that nobody here knows."""
    try:
        return ZoneInfo(zone).key
    except (ZoneInfoNotFoundError, ValueError):
        return UTC_ZONE


def clock(text: object) -> time | None:
    """A time of day as `HH:MM`; None for anything else."""
    return time.fromisoformat(text) if isinstance(text, str) and CLOCK.fullmatch(text) else None


def _preferences(row: Preference) -> Preferences:
    start, end = clock(row.quiet_start), clock(row.quiet_end)
    quiet = None
    if start is not None and end is not None:
        quiet = QuietHours(start, end, known_zone(row.zone), frozenset(map(int, row.quiet_days)))
    return Preferences(row.approvals, Own(row.own), quiet)

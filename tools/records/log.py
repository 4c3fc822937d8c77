"""The decision log: append-only, each event carrying the hash of the one before it.

An event's hash is the hex SHA-256 of the UTF-8 text of the canonical JSON list

    [seq, at, kind, actor, rollout_id, payload, previous]

of what is stored: `seq` a number, `rollout_id` a string or null, the others strings. `at` is the stored text, such as
2026-01-31T12:00:00.500000+00:00; `payload` is itself the text of a canonical JSON object; `previous` is the hash of the
event before, 64 zeros for the first. Canonical JSON has sorted keys, no spaces, and characters beyond ASCII as they are
(`tools.canonical`). `sluice audit export` writes all of it, so that anyone can compute the hashes again.

The head row holds the newest number and hash, so that a truncated end is found too; `sluice audit verify
--head` compares with a head that was kept elsewhere, which finds a log rewritten from end to end.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tools.canonical import canonical_json
from tools.records.database import insert_for
from tools.records.models import LogEvent, LogHead

GENESIS = "0" * 64
HEAD_ID = 1
PAGE = 1000


@dataclass(frozen=True, slots=True)
class Event:
    """An event as people and programs read it."""

    seq: int
    at: datetime
    kind: str
    actor: str
    rollout_id: str | None
    payload: dict[str, Any]
    sha256: str


@dataclass(frozen=True, slots=True)
class Stored:
    """An event exactly as it is stored, which is what its hash was computed of: `at` and `payload` are texts."""

    seq: int
    at: str
    kind: str
    actor: str
    rollout_id: str | None
    payload: str
    previous: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Where the log is not what was written, and how it shows."""

    seq: int
    what: str

    def __str__(self) -> str:
        return f"event {self.seq}: {self.what}"


def event_hash(seq: int, at: str, kind: str, actor: str, rollout_id: str | None, payload: str, previous: str) -> str:
    """Hex SHA-256 that event `seq` must carry."""
    text = canonical_json([seq, at, kind, actor, rollout_id, payload, previous])
    return hashlib.sha256(text.encode()).hexdigest()


async def append(
    session: AsyncSession,
    kind: str,
    *,
    at: datetime,
    actor: str,
    rollout_id: str | None = None,
    payload: Mapping[str, Any] | None = None,
) -> int:
    """Add an event in the caller's transaction and return its number. Call it last: it holds the log's lock."""
    head = await _lock_head(session)
    seq, moment, text = head.seq + 1, at.astimezone(UTC).isoformat(), canonical_json(dict(payload or {}))
    digest = event_hash(seq, moment, kind, actor, rollout_id, text, head.sha256)
    session.add(
        LogEvent(
            seq=seq,
            at=moment,
            kind=kind,
            actor=actor,
            rollout_id=rollout_id,
            payload=text,
            previous=head.sha256,
            sha256=digest,
        )
    )
    head.seq, head.sha256 = seq, digest
    await session.flush()
    return seq


async def _lock_head(session: AsyncSession) -> LogHead:
    locked = select(LogHead).where(LogHead.id == HEAD_ID).with_for_update().execution_options(populate_existing=True)
    head = await session.scalar(locked)
    if head is None:
        # The very first event: several may try at once, and one row must come of it.
        first = insert_for(session)(LogHead).values(id=HEAD_ID, seq=0, sha256=GENESIS)
        await session.execute(first.on_conflict_do_nothing())
        head = (await session.scalars(locked)).one()
    return head


async def read(session: AsyncSession, *, rollout_id: str | None = None, after: int = 0) -> AsyncIterator[Event]:
    """The events after number `after`, oldest first, of one rollout or of all."""
    async for row in _rows(session, rollout_id, after):
        yield _event(row)


async def stored(session: AsyncSession, *, rollout_id: str | None = None) -> AsyncIterator[Stored]:
    """The events as they are stored, oldest first, of one rollout or of all."""
    async for row in _rows(session, rollout_id, 0):
        yield Stored(row.seq, row.at, row.kind, row.actor, row.rollout_id, row.payload, row.previous, row.sha256)


async def newest(
    session: AsyncSession, rollout_id: str, *, kinds: Collection[str] | None = None, limit: int
) -> list[Event]:
    """The newest `limit` events of a rollout, of `kinds` or of any, oldest first."""
    query = select(LogEvent).where(LogEvent.rollout_id == rollout_id)
    if kinds is not None:
        query = query.where(LogEvent.kind.in_(kinds))
    rows = (await session.scalars(query.order_by(LogEvent.seq.desc()).limit(limit))).all()
    return [_event(row) for row in reversed(rows)]


async def numbered(session: AsyncSession, numbers: Collection[int]) -> list[Event]:
    """The events with those numbers, the newest first."""
    query = select(LogEvent).where(LogEvent.seq.in_(numbers)).order_by(LogEvent.seq.desc())
    return [_event(row) for row in (await session.scalars(query)).all()]


async def head(session: AsyncSession) -> tuple[int, str]:
    """The newest event's number and hash; (0, zeros) for an empty log."""
    row = await session.get(LogHead, HEAD_ID)
    return (row.seq, row.sha256) if row is not None else (0, GENESIS)


async def verify(session: AsyncSession, *, expected_head: tuple[int, str] | None = None) -> list[Fault]:
    """Every place where the log was edited, cut, swapped or rewritten; empty when it is whole.

    `expected_head` is a (number, hash) noted earlier and kept elsewhere: that event must still be there, unchanged.
    """
    last_seq, last_hash, faults = 0, GENESIS, list[Fault]()
    expected = dict([expected_head]) if expected_head is not None else {}
    async for row in _rows(session, None, 0):
        faults += _row_faults(row, last_seq, last_hash)
        if row.seq in expected and row.sha256 != expected.pop(row.seq):
            faults.append(Fault(row.seq, "its hash is not the one that was noted: the log was rewritten"))
        last_seq, last_hash = row.seq, row.sha256
    return faults + _end_faults(last_seq, last_hash, await head(session), expected)


def _event(row: LogEvent) -> Event:
    return Event(
        seq=row.seq,
        at=datetime.fromisoformat(row.at),
        kind=row.kind,
        actor=row.actor,
        rollout_id=row.rollout_id,
        payload=json.loads(row.payload),
        sha256=row.sha256,
    )


def _row_faults(row: LogEvent, last_seq: int, last_hash: str) -> Iterable[Fault]:
    for missing in range(last_seq + 1, row.seq):
        yield Fault(missing, "missing: it was deleted")
    if row.seq == last_seq + 1 and row.previous != last_hash:
        yield Fault(row.seq, "does not follow the event before it: one of them was swapped or replaced")
    own = event_hash(row.seq, row.at, row.kind, row.actor, row.rollout_id, row.payload, row.previous)
    if own != row.sha256:
        yield Fault(row.seq, "its content does not match its hash: it was edited")


def _end_faults(seq: int, digest: str, head: tuple[int, str], expected: Mapping[int, str]) -> list[Fault]:
    faults = [Fault(missing, "missing: the end was cut off") for missing in range(seq + 1, head[0] + 1)]
    if seq > head[0]:
        faults.append(Fault(head[0] + 1, "stands after the recorded end: it was not written by Sluice"))
    elif seq == head[0] and digest != head[1]:
        faults.append(Fault(seq, "is not the recorded end: it was replaced"))
    faults += [
        Fault(missing, "missing, though it was noted: the end was cut off") for missing in expected if missing > head[0]
    ]
    return faults


async def _rows(session: AsyncSession, rollout_id: str | None, after: int) -> AsyncIterator[LogEvent]:
    query = select(LogEvent).order_by(LogEvent.seq).limit(PAGE)
    if rollout_id is not None:
        query = query.where(LogEvent.rollout_id == rollout_id)
    while page := (await session.scalars(query.where(LogEvent.seq > after))).all():
        for row in page:
            yield row
        after = page[-1].seq

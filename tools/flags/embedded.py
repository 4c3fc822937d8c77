"""Sluice's own flag service: flags as rows of its database."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import String, cast, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession

from tools.clock import Clock
from tools.flags.base import (
    Capabilities,
    FlagNotFound,
    FlagRef,
    FlagServiceUnavailable,
    FlagState,
    FlagVersionConflict,
)
from tools.flags.definitions import FlagExists, new_definition
from tools.flags.evaluation import FlagDefinition
from tools.plans.model import PERCENT_STEP, Exposure
from tools.records.database import Database
from tools.records.models import Flag

ANSWER_WITHIN = timedelta(seconds=10)
MAX_STALENESS = timedelta(milliseconds=200)


@dataclass(frozen=True, slots=True)
class _Snapshot:
    flags: Mapping[str, FlagDefinition]
    loaded_at: datetime


class EmbeddedFlagService:
    """The FlagService over a database, with compare-and-set: one UPDATE that matches only the expected version.

    `read` and `list` always ask the database. `definitions` serves evaluation from memory: at once up to date with
    what this object wrote, and at most MAX_STALENESS behind what other processes wrote.

    A call ends after `answer_within`; only on SQLite, while another process holds the file's write lock, it may take
    as long as the driver's busy timeout. Calling it inside a write session of the same SQLite database waits for that
    session's end, and so in vain.
    """

    def __init__(self, database: Database, clock: Clock, *, answer_within: timedelta = ANSWER_WITHIN) -> None:
        self._database = database
        self._clock = clock
        self._answer_within = answer_within
        self._snapshots: dict[str, _Snapshot] = {}
        self._generation = 0
        self._loading = asyncio.Lock()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(compare_and_set=True, granularity=PERCENT_STEP, audiences=True, shadow=True)

    async def define(
        self, ref: FlagRef, control: str, treatment: str, description: str = "", *, salt: str | None = None
    ) -> None:
        """Add a flag that nobody is exposed to. Raises FlagExists, InvalidInput, FlagServiceUnavailable."""
        definition = new_definition(ref, control, treatment, description, salt)
        try:
            async with self._writing() as session:
                session.add(self._row_of(definition))
                await session.flush()
        except IntegrityError:
            raise FlagExists(ref) from None

    async def read(self, ref: FlagRef) -> FlagState:
        async with self._reading() as session:
            row = await session.get(Flag, (ref.environment, ref.flag))
        if row is None:
            raise FlagNotFound(f"There is no flag {ref}.")
        return _definition_of(row).state

    async def write(self, ref: FlagRef, exposure: Exposure, *, expected: str) -> None:
        matches_expected = (
            update(Flag)
            .where(Flag.environment == ref.environment, Flag.key == ref.flag)
            # A version is opaque to callers: comparing it as text needs no parsing of what they pass.
            .where(cast(Flag.version, String) == expected)
            .values(exposure=exposure.model_dump(mode="json"), version=Flag.version + 1, updated_at=self._clock.now())
            .returning(Flag.version)
            .execution_options(synchronize_session=False)
        )
        async with self._writing() as session:
            if await session.scalar(matches_expected) is None:
                await self._refuse(session, ref, expected)

    async def list(self, environment: str) -> Sequence[FlagState]:
        flags = await self._load(environment)
        return [definition.state for _, definition in sorted(flags.items())]

    async def check(self) -> None:
        async with self._reading() as session:
            await session.execute(select(Flag.key).limit(1))

    async def definitions(self, environment: str) -> Mapping[str, FlagDefinition]:
        """The environment's flags by key, for evaluation. Raises FlagServiceUnavailable."""
        if (snapshot := self._fresh(environment)) is not None:
            return snapshot.flags
        async with self._loading:
            if (snapshot := self._fresh(environment)) is not None:
                return snapshot.flags
            return await self._refresh(environment)

    def _fresh(self, environment: str) -> _Snapshot | None:
        snapshot = self._snapshots.get(environment)
        # A clock that was set back gives a negative age, which says nothing about freshness.
        if snapshot is None or not timedelta(0) <= self._clock.now() - snapshot.loaded_at < MAX_STALENESS:
            return None
        return snapshot

    async def _refresh(self, environment: str) -> Mapping[str, FlagDefinition]:
        generation, asked_at = self._generation, self._clock.now()
        flags = await self._load(environment)
        # What was read before a write of our own must not be kept after it.
        if generation == self._generation:
            self._snapshots[environment] = _Snapshot(flags, asked_at)
        return flags

    async def _load(self, environment: str) -> dict[str, FlagDefinition]:
        async with self._reading() as session:
            rows = await session.scalars(select(Flag).where(Flag.environment == environment))
            return {row.key: _definition_of(row) for row in rows}

    async def _refuse(self, session: AsyncSession, ref: FlagRef, expected: str) -> None:
        row = await session.get(Flag, (ref.environment, ref.flag))
        if row is None:
            raise FlagNotFound(f"There is no flag {ref}.")
        raise FlagVersionConflict(
            f"Flag {ref} is at version {row.version}, not {expected}; read it again before writing."
        )

    def _row_of(self, definition: FlagDefinition) -> Flag:
        return Flag(
            environment=definition.environment,
            key=definition.key,
            control=definition.control,
            treatment=definition.treatment,
            description=definition.description,
            salt=definition.salt,
            exposure=definition.exposure.model_dump(mode="json"),
            version=int(definition.version),
            updated_at=self._clock.now(),
        )

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncSession]:
        async with self._answering(), self._database.read() as session:
            yield session

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncSession]:
        try:
            async with self._answering(), self._database.write() as session:
                yield session
        finally:
            # Also after a failure: a commit whose answer got lost may have taken effect.
            self._generation += 1
            self._snapshots.clear()

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._answer_within.total_seconds()):
                yield
        except (TimeoutError, PoolTimeout) as error:
            raise FlagServiceUnavailable(
                f"The flag database did not answer within {self._answer_within.total_seconds():g} s; "
                "see whether it is up and how busy it is."
            ) from error
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise FlagServiceUnavailable(
                f"The flag database answered with {type(error.orig).__name__}; "
                "see whether it can be reached and its migrations have run."
            ) from error


def _definition_of(row: Flag) -> FlagDefinition:
    return FlagDefinition(
        key=row.key,
        environment=row.environment,
        control=row.control,
        treatment=row.treatment,
        salt=row.salt,
        exposure=Exposure.model_validate(row.exposure),
        version=str(row.version),
        description=row.description,
    )

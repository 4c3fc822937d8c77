"""What the embedded service adds to the contract: its cache, its errors, its rows."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, select, text

from tools.clock import ManualClock
from tools.errors import InvalidInput
from tools.flags.base import FlagNotFound, FlagRef, FlagServiceUnavailable, FlagVersionConflict
from tools.flags.definitions import FlagExists
from tools.flags.embedded import EmbeddedFlagService
from tools.flags.evaluation import FlagDefinition
from tools.flags.memory import MemoryFlagService
from tools.plans.model import NOT_EXPOSED, Exposure
from tools.records.database import Database
from tools.records.migrate import migrate
from tools.records.models import Flag

REF = FlagRef("checkout", "production")
HALF = Exposure(percent=50)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'flags.sqlite'}")
    await migrate(database)
    yield database
    await database.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def service(database: Database, clock: ManualClock) -> EmbeddedFlagService:
    return EmbeddedFlagService(database, clock)


class StatementCount:
    """How many SELECTs of flags the database was asked."""

    def __init__(self, database: Database) -> None:
        self.selects = 0
        event.listen(database.engine.sync_engine, "before_cursor_execute", self._count)

    def _count(self, _connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        self.selects += statement.startswith("SELECT") and "FROM flags" in statement


class TestDefinitions:
    async def test_nothing_is_asked_again_while_fresh(self, database: Database, service: EmbeddedFlagService) -> None:
        await service.define(REF, "old", "new")
        count = StatementCount(database)
        first = await service.definitions("production")
        assert await service.definitions("production") is first
        assert count.selects == 1

    async def test_concurrent_evaluations_load_once(self, database: Database, service: EmbeddedFlagService) -> None:
        await service.define(REF, "old", "new")
        count = StatementCount(database)
        await asyncio.gather(*(service.definitions("production") for _ in range(50)))
        assert count.selects == 1

    async def test_own_writes_are_seen_at_once(self, service: EmbeddedFlagService) -> None:
        await service.define(REF, "old", "new")
        assert (await service.definitions("production"))["checkout"].exposure == NOT_EXPOSED
        await service.write(REF, HALF, expected="1")
        assert (await service.definitions("production"))["checkout"].exposure == HALF
        await service.define(FlagRef("search", "production"), "old", "new")
        assert set(await service.definitions("production")) == {"checkout", "search"}

    async def test_other_hands_are_seen_after_200_ms(self, database: Database, clock: ManualClock) -> None:
        ours, theirs = EmbeddedFlagService(database, clock), EmbeddedFlagService(database, clock)
        await ours.define(REF, "old", "new")
        await ours.definitions("production")
        await theirs.write(REF, HALF, expected="1")
        clock.advance(0.199)
        assert (await ours.definitions("production"))["checkout"].exposure == NOT_EXPOSED
        clock.advance(0.001)
        assert (await ours.definitions("production"))["checkout"].exposure == HALF

    async def test_a_clock_set_back_does_not_keep_old_flags(self, database: Database, clock: ManualClock) -> None:
        ours, theirs = EmbeddedFlagService(database, clock), EmbeddedFlagService(database, clock)
        await ours.define(REF, "old", "new")
        await ours.definitions("production")
        await theirs.write(REF, HALF, expected="1")
        clock.at -= timedelta(hours=1)
        assert (await ours.definitions("production"))["checkout"].exposure == HALF

    async def test_what_was_read_before_a_write_is_not_kept_after_it(
        self, database: Database, service: EmbeddedFlagService
    ) -> None:
        await service.define(REF, "old", "new")
        rows_read, written = asyncio.Event(), asyncio.Event()

        class SlowAnswer(EmbeddedFlagService):
            async def _load(self, environment: str) -> dict[str, FlagDefinition]:
                flags = await super()._load(environment)
                rows_read.set()
                await written.wait()
                return flags

        slow = SlowAnswer(database, ManualClock())
        evaluation = asyncio.create_task(slow.definitions("production"))
        await rows_read.wait()
        await slow.write(REF, HALF, expected="1")
        written.set()
        assert (await evaluation)["checkout"].exposure == NOT_EXPOSED
        assert (await slow.definitions("production"))["checkout"].exposure == HALF

    async def test_environments_are_kept_apart(self, service: EmbeddedFlagService) -> None:
        await service.define(REF, "old", "new")
        assert await service.definitions("staging") == {}
        assert set(await service.definitions("production")) == {"checkout"}


class TestErrors:
    async def test_a_database_without_tables(self) -> None:
        database = Database("sqlite://")
        service = EmbeddedFlagService(database, ManualClock())
        for call in (
            service.check(),
            service.list("production"),
            service.definitions("production"),
            service.read(REF),
            service.write(REF, HALF, expected="1"),
            service.define(REF, "old", "new"),
        ):
            with pytest.raises(FlagServiceUnavailable, match=r"OperationalError; .* its migrations have run"):
                await call
        await database.close()

    async def test_a_database_that_does_not_answer(self, database: Database, clock: ManualClock) -> None:
        service = EmbeddedFlagService(database, clock, answer_within=timedelta(0))
        for call in (service.check(), service.read(REF), service.write(REF, HALF, expected="1")):
            with pytest.raises(FlagServiceUnavailable, match="did not answer within 0 s"):
                await call

    async def test_a_cancelled_write_is_no_outage(self, database: Database, service: EmbeddedFlagService) -> None:
        await service.define(REF, "old", "new")
        async with database.write():
            waiting = asyncio.create_task(service.write(REF, HALF, expected="1"))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert (await service.read(REF)).exposure == NOT_EXPOSED

    async def test_an_error_leaks_no_address(self) -> None:
        service = EmbeddedFlagService(Database("postgresql://sluice:s3cret@/none?host=/nowhere"), ManualClock())
        with pytest.raises(FlagServiceUnavailable) as failure:
            await service.check()
        assert "s3cret" not in str(failure.value)


class TestRows:
    async def test_the_writes_of_a_flag_are_counted_and_dated(
        self, database: Database, service: EmbeddedFlagService, clock: ManualClock
    ) -> None:
        await service.define(REF, "old", "new", "The one-page checkout.")
        clock.advance(60)
        await service.write(REF, HALF, expected="1")
        async with database.read() as session:
            row = (await session.scalars(select(Flag))).one()
        assert (row.version, row.updated_at, row.description) == (2, clock.at, "The one-page checkout.")
        assert (await service.definitions("production"))["checkout"].description == "The one-page checkout."

    async def test_a_refused_write_changes_nothing(self, database: Database, service: EmbeddedFlagService) -> None:
        await service.define(REF, "old", "new")
        async with database.read() as session:
            before = (await session.execute(text("SELECT * FROM flags"))).all()
        with pytest.raises(FlagVersionConflict, match="is at version 1, not 7"):
            await service.write(REF, HALF, expected="7")
        with pytest.raises(FlagExists):
            await service.define(REF, "other", "new")
        async with database.read() as session:
            assert (await session.execute(text("SELECT * FROM flags"))).all() == before


class TestDefine:
    """Both services that keep their own flags make them the same way."""

    @pytest.fixture(params=["embedded", "memory"])
    def maker(
        self, request: pytest.FixtureRequest, service: EmbeddedFlagService
    ) -> EmbeddedFlagService | MemoryFlagService:
        return service if request.param == "embedded" else MemoryFlagService()

    async def test_a_second_time_is_refused(self, maker: EmbeddedFlagService | MemoryFlagService) -> None:
        await maker.define(REF, "old", "new")
        await maker.write(REF, HALF, expected="1")
        for _ in range(2):
            with pytest.raises(FlagExists, match="already a flag checkout in production; it was left as it is"):
                await maker.define(REF, "old", "new")
        assert (await maker.read(REF)).exposure == HALF

    async def test_each_flag_has_its_own_salt(self, maker: EmbeddedFlagService | MemoryFlagService) -> None:
        for flag in ("checkout", "search"):
            await maker.define(FlagRef(flag, "production"), "old", "new")
        await maker.define(FlagRef("banner", "production"), "old", "new", salt="pepper")
        salts = {flag: definition.salt for flag, definition in (await maker.definitions("production")).items()}
        assert salts["banner"] == "pepper"
        assert len(set(salts.values())) == 3

    @pytest.mark.parametrize(
        ("flag", "environment", "control", "treatment", "message"),
        [
            ("", "production", "old", "new", "The flag '' can't be used as a name"),
            ("a\0b", "production", "old", "new", "can't be used as a name"),
            ("checkout", "pro duction", "old", "new", "The environment 'pro duction'"),
            ("checkout", "production", "-", "new", "The control variant '-'"),
            ("checkout", "production", "old", "n" * 201, "The treatment variant"),
            ("checkout", "production", "old", "old", "two different variants, not 'old' twice"),
        ],
    )
    async def test_bad_names_are_refused(
        self,
        maker: EmbeddedFlagService | MemoryFlagService,
        flag: str,
        environment: str,
        control: str,
        treatment: str,
        message: str,
    ) -> None:
        with pytest.raises(InvalidInput, match=message):
            await maker.define(FlagRef(flag, environment), control, treatment)
        with pytest.raises(FlagNotFound):
            await maker.read(FlagRef(flag, environment))

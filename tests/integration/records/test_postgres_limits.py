"""On PostgreSQL nothing runs, waits or holds a lock for ever, except where it must."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from psycopg.errors import IdleInTransactionSessionTimeout, LockNotAvailable, QueryCanceled
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError

from tests.unit.rollouts.world import POLICY, SAM, World, running_world
from tools.records import leases, log
from tools.records.database import LIMITS_S, Database, is_busy
from tools.records.migrate import MIGRATE_LOCK, is_current, migrate
from tools.records.models import Lease
from tools.rollouts import store
from tools.rollouts.phases import Phase
from tools.rollouts.service import RolloutService

BUSY = "-c statement_timeout=1s -c lock_timeout=200ms"
SHORT = f"{BUSY} -c idle_in_transaction_session_timeout=400ms"
LONGER_S = 1.0
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def with_options(url: str, more: str) -> str:
    parsed = make_url(url)
    return parsed.update_query_dict({"options": f"{parsed.query['options']} {more}"}).render_as_string(False)


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    made = Database(postgres_url)
    await migrate(made)
    yield made
    await made.close()


@pytest.fixture
async def hasty(postgres_url: str, database: Database) -> AsyncIterator[Database]:
    """The same database with shorter limits."""
    made = Database(with_options(postgres_url, SHORT))
    yield made
    await made.close()


@asynccontextmanager
async def in_a_hurry(world: World, url: str) -> AsyncIterator[RolloutService]:
    """The world's service in another process, where nobody waits long."""
    database = Database(with_options(url, BUSY))
    yield RolloutService(database, world.flags, POLICY, world.clock)
    await database.close()


async def shown(database: Database, name: str) -> str:
    async with database.read() as session:
        return str(await session.scalar(text(f"SHOW {name}")))


async def lock_a_row(database: Database) -> None:
    """Returns when nobody else holds it."""
    async with database.write() as session:
        await session.execute(text("SELECT * FROM leases FOR UPDATE"))


@pytest.mark.parametrize(("name", "seconds"), LIMITS_S.items())
async def test_every_session_has_its_limits(database: Database, name: str, seconds: int) -> None:
    async with database.read() as session:
        spelled = text("SELECT extract(epoch FROM current_setting(:name)::interval)")
        assert await session.scalar(spelled, {"name": name}) == seconds


async def test_what_the_url_says_wins_and_is_kept_besides(database: Database, hasty: Database) -> None:
    assert await shown(hasty, "statement_timeout") == "1s"
    assert (await shown(hasty, "search_path")).startswith("test_")
    assert await shown(database, "lock_timeout") == f"{LIMITS_S['lock_timeout']}s"


async def test_a_statement_that_takes_too_long_is_cancelled_and_the_next_one_runs(hasty: Database) -> None:
    with pytest.raises(DBAPIError) as cancelled:
        async with hasty.read() as session:
            await session.execute(text("SELECT pg_sleep(30)"))
    assert isinstance(cancelled.value.orig, QueryCanceled)
    assert await shown(hasty, "statement_timeout") == "1s"


async def test_nobody_waits_for_ever_for_a_lock(database: Database, hasty: Database) -> None:
    async with database.write() as session:
        session.add(Lease(name="x", owner="one", until=NOW))
    async with database.write() as session:
        await session.execute(text("SELECT * FROM leases FOR UPDATE"))
        with pytest.raises(OperationalError) as refused:
            await lock_a_row(hasty)
    assert isinstance(refused.value.orig, LockNotAvailable)
    assert is_busy(refused.value)
    await lock_a_row(hasty)


async def test_an_order_waits_longer_than_one_lock_does(postgres_url: str) -> None:
    async with running_world(postgres_url) as world, in_a_hurry(world, postgres_url) as hurried:
        view = await world.started()
        async with world.database.write() as session:
            await store.load(session, view.id)
            order = asyncio.create_task(hurried.roll_back(view.id, actor=SAM, reason="enough"))
            await asyncio.sleep(0.5)
            assert not order.done(), "the lock was not free in time, and it goes on trying"
        await order
        assert (await world.service.get(view.id)).phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
        async with world.database.write() as session:
            await store.load(session, view.id)
            with pytest.raises(store.DatabaseBusy, match="Try again"):
                await hurried.roll_back(view.id, actor=SAM, reason="enough")


async def test_a_transaction_that_hangs_loses_its_locks(database: Database, hasty: Database) -> None:
    async with database.write() as session:
        session.add(Lease(name="x", owner="one", until=NOW))

    async def hang() -> None:
        async with hasty.write() as session:
            await leases.release(session, ["x"], owner="one")
            await asyncio.sleep(LONGER_S)
            await session.execute(text("SELECT 1"))

    hanging = asyncio.create_task(hang())
    await asyncio.sleep(LONGER_S / 5)
    await lock_a_row(database)
    assert not hanging.done(), "the lock was free before the transaction ended"
    with pytest.raises(DBAPIError) as ended:
        await hanging
    assert isinstance(ended.value.orig, IdleInTransactionSessionTimeout)
    assert await shown(database, "lock_timeout") == "30s", "its connections are good for others"


async def test_a_snapshot_may_be_read_slowly(hasty: Database) -> None:
    async with hasty.write() as session:
        await log.append(session, "test", at=NOW, actor="test")
    async with hasty.snapshot() as session:
        assert (await log.head(session))[0] == 1
        await asyncio.sleep(LONGER_S)
        async with hasty.write() as other:
            await log.append(other, "test", at=NOW, actor="test")
        session.expire_all()
        assert (await log.head(session))[0] == 1, "it sees one moment"


async def test_a_migration_waits_for_another_processs_as_long_as_it_takes(hasty: Database, database: Database) -> None:
    async with database.write() as session:
        await session.execute(text("DROP TABLE alembic_version"))
        await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATE_LOCK})
        migrating = asyncio.create_task(migrate(hasty))
        await asyncio.sleep(LONGER_S)
        assert not migrating.done()
        await session.rollback()
    await migrating
    assert await is_current(hasty)

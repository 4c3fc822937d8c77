"""What holds on SQLite and PostgreSQL alike: one transition of a thousand clicks, leases, migrations, the log."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, func, select, text

from tests.unit.rollouts.world import AIKO, JONAS, MIRA, POLICY, SAM, World, make_plan, running_world, stage
from tools.clock import ManualClock
from tools.errors import SluiceError
from tools.metrics.catalogue import Catalogue
from tools.metrics.router import Metrics
from tools.people.base import People
from tools.people.memory import MemoryPeople
from tools.plans.policy import ApprovalRule, Policy
from tools.records import leases, log
from tools.records.database import Database
from tools.records.migrate import is_current, migrate
from tools.records.models import Approval, ApprovalVote, Intent, Record
from tools.rollouts import approvals
from tools.rollouts.controller import Controller
from tools.rollouts.phases import Phase
from tools.rollouts.service import RolloutService
from tools.rollouts.store import StaleRollout

CLICKS = 1_000
CLAIMS = 32
PROCESSES = 4
GOOD = {"old": (950, 19), "new": (50, 1)}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'sluice.db'}"
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    made = Database(url)
    await migrate(made)
    yield made
    await made.close()


@pytest.fixture
async def world(url: str) -> AsyncIterator[World]:
    async with running_world(url) as running:
        yield running


@pytest.fixture
async def databases(url: str, world: World) -> AsyncIterator[list[Database]]:
    """The world's database as several processes see it, each over connections and locks of its own."""
    others = [Database(url) for _ in range(PROCESSES - 1)]
    yield [world.database, *others]
    for other in others:
        await other.close()


async def test_a_thousand_clicks_in_several_processes_on_one_approval_are_one_transition(
    world: World, databases: list[Database]
) -> None:
    view = await world.proposed()
    assert view.approval is not None
    approval = view.approval.id
    services = [_process(world, database) for database in databases]

    async def click(i: int) -> str:
        try:
            await services[i % PROCESSES].approve(approval, actor=(JONAS, AIKO)[i % 2])
        except SluiceError as refused:
            return type(refused).__name__
        return "approved"

    answers = await asyncio.gather(*map(click, range(CLICKS)))
    assert answers.count("approved") == 1
    assert StaleRollout.__name__ not in answers, "whoever comes late is told so, not asked to try again"
    kinds = await world.kinds(view.id)
    assert kinds.count("rollout.started") == 1
    assert kinds.count("approval.granted") == 1
    async with world.database.read() as session:
        assert await session.scalar(select(func.count()).select_from(Intent)) == 1
    assert await world.percent() == 5


async def test_a_thousand_clicks_of_a_group_that_must_agree_twice_are_two_votes_and_one_transition(
    world: World, databases: list[Database]
) -> None:
    members = [f"UMEMBER{number:02}" for number in range(40)]
    people = MemoryPeople({"SRELEASE": [*members, MIRA]})
    policy = POLICY.model_copy(update={"approval": (ApprovalRule(approvers=("SRELEASE",), needed=2),)})
    services = [_process(world, database, policy, people) for database in databases]
    world.service = services[0]
    view = await world.proposed()
    assert view.approval is not None
    approval = view.approval.id
    # Each of 250 clicks comes four times, in any order and anywhere; the requester is a member and clicks along.
    clickers = [(*members, MIRA, SAM)[number % 42] for number in range(CLICKS // 4)] * 4
    random.Random(5).shuffle(clickers)

    async def click(number: int, actor: str) -> str:
        try:
            await services[number % PROCESSES].approve(approval, actor=actor)
        except SluiceError as refused:
            return type(refused).__name__
        return "approved"

    answers = await asyncio.gather(*(click(number, actor) for number, actor in enumerate(clickers)))
    assert answers.count("approved") == 2
    assert StaleRollout.__name__ not in answers
    kinds = await world.kinds(view.id)
    assert [kinds.count(f"approval.{what}") for what in ("voted", "granted")] == [2, 1]
    assert kinds.count("rollout.started") == 1
    async with world.database.read() as session:
        assert await session.scalar(select(func.count()).select_from(Intent)) == 1
        voters = set((await session.scalars(select(ApprovalVote.person))).all())
    assert len(voters) == 2
    assert voters <= set(members)
    assert await world.percent() == 5


async def test_many_clicks_after_a_voter_left_the_group_are_two_votes_of_members_and_one_transition(
    world: World, databases: list[Database]
) -> None:
    members = [f"UMEMBER{number:02}" for number in range(20)]
    people = MemoryPeople({"SRELEASE": [*members, JONAS]})
    policy = POLICY.model_copy(update={"approval": (ApprovalRule(approvers=("SRELEASE",), needed=2),)})
    services = [_process(world, database, policy, people) for database in databases]
    world.service = services[0]
    view = await world.proposed()
    assert view.approval is not None
    approval = view.approval.id
    await services[0].approve(approval, actor=JONAS)
    people.put("SRELEASE", *members)

    async def click(number: int) -> str:
        try:
            await services[number % PROCESSES].approve(approval, actor=members[number % len(members)])
        except SluiceError as refused:
            return type(refused).__name__
        return "approved"

    answers = await asyncio.gather(*map(click, range(200)))
    assert answers.count("approved") == 2
    assert not {StaleRollout.__name__, approvals.VotedMeanwhile.__name__} & set(answers)
    kinds = await world.kinds(view.id)
    assert [kinds.count(f"approval.{what}") for what in ("voted", "granted")] == [3, 1]
    async with world.database.read() as session:
        [granted] = await log.newest(session, view.id, kinds=["approval.granted"], limit=2)
        lapsed = select(ApprovalVote.person).where(ApprovalVote.lapsed_at.is_not(None))
        assert (await session.scalars(lapsed)).all() == [JONAS]
    assert len(granted.payload["by"]) == 2
    assert set(granted.payload["by"]) <= set(members)


async def test_reminder_and_escalation_are_said_once_by_however_many_processes(
    world: World, databases: list[Database]
) -> None:
    policy = POLICY.model_copy(update={"backup": (SAM,)})
    services = [_process(world, database, policy) for database in databases]
    world.service = services[0]
    view = await world.proposed()
    for hours in (12, 0.1, 6, 0.1):
        world.clock.advance(hours * 3600)
        await asyncio.gather(*(_controller(world, database, policy).reconcile(view.id) for database in databases))
    kinds = await world.kinds(view.id)
    assert (kinds.count("approval.reminded"), kinds.count("approval.escalated")) == (1, 1)
    assert view.approval is not None
    assert (await services[1].approve(view.approval.id, actor=SAM)).phase is Phase.PROGRESSING


def _process(world: World, database: Database, policy: Policy = POLICY, people: People | None = None) -> RolloutService:
    """The service as another process runs it, with a controller of its own."""
    wake = _controller(world, database, policy).carry_out
    return RolloutService(database, world.flags, policy, world.clock, wake=wake, people=people)


def _controller(world: World, database: Database, policy: Policy = POLICY) -> Controller:
    metrics = Metrics(Catalogue([]), {})
    return Controller(database, world.flags, metrics, policy, world.clock, owner=f"process {id(database)}")


async def test_of_many_who_claim_one_approval_at_once_one_succeeds(world: World, databases: list[Database]) -> None:
    view = await world.proposed()
    assert view.approval is not None
    approval_id, everybody = view.approval.id, asyncio.Barrier(CLAIMS)

    async def see(database: Database) -> Approval:
        async with database.read() as session:
            asked = await approvals.get(session, approval_id)
            assert asked.status == approvals.Status.PENDING
            await everybody.wait()
            return asked

    seen = await asyncio.gather(*(see(databases[i % PROCESSES]) for i in range(CLAIMS)))
    ends = [approvals.Status.GRANTED, approvals.Status.REJECTED, approvals.Status.EXPIRED, approvals.Status.VOID]

    async def claim(i: int) -> approvals.Status | None:
        # Everybody saw it pending and is connected; nothing but the claim itself keeps the others out.
        async with databases[i % PROCESSES].write() as session:
            end = ends[i % len(ends)]
            return end if await approvals.claim(session, seen[i], end, at=world.clock.now()) else None

    won = [end for end in await asyncio.gather(*map(claim, range(CLAIMS))) if end is not None]
    assert len(won) == 1
    async with world.database.read() as session:
        assert (await approvals.get(session, approval_id)).status == won[0]


async def test_an_approval_and_a_rollback_that_race_end_at_nothing(world: World) -> None:
    view = await world.started(make_plan(stage(5), stage(100)))
    view = await world.live(view.id, 60, **GOOD)
    assert view.phase is Phase.WAITING_PROMOTION
    assert view.approval is not None
    results = await asyncio.gather(
        *(world.service.approve(view.approval.id, actor=person) for person in (JONAS, AIKO)),
        world.service.roll_back(view.id, actor=SAM, reason="enough"),
        return_exceptions=True,
    )
    assert all(isinstance(result, SluiceError) or not isinstance(result, Exception) for result in results)
    await world.live(view.id, 2, **GOOD)
    assert (await world.service.get(view.id)).phase is Phase.ROLLED_BACK
    assert await world.percent() == 0


async def test_a_whole_rollout_with_the_embedded_flag_service(url: str) -> None:
    async with running_world(url, embedded=True) as world:
        view = await world.started()
        view = await world.live(view.id, 60, **GOOD)
        assert await world.percent() == 25
        await world.service.roll_back(view.id, actor=SAM, reason="enough")
        assert await world.percent() == 0
        async with world.database.read() as session:
            assert await log.verify(session) == []


async def test_migrations_make_exactly_the_models(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), Record.metadata))

    assert await is_current(database)
    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_two_processes_may_migrate_at_once(url: str) -> None:
    first, second = Database(url), Database(url)
    await asyncio.gather(migrate(first), migrate(second))
    assert await is_current(first)
    await first.close()
    await second.close()


async def test_a_lease_belongs_to_one_owner_until_it_runs_out(database: Database) -> None:
    clock, ttl = ManualClock(), timedelta(seconds=10)

    async def claim(owner: str) -> list[str]:
        async with database.write() as session:
            return await leases.claim(session, ["b", "a"], owner=owner, now=clock.now(), ttl=ttl)

    assert sorted(await claim("one")) == ["a", "b"]
    assert await claim("two") == []
    assert sorted(await claim("one")) == ["a", "b"], "its owner renews it"
    clock.advance(10)
    assert sorted(await claim("two")) == ["a", "b"]
    async with database.write() as session:
        await leases.release(session, ["a", "b"], owner="one")
    assert await claim("three") == [], "nobody gives up another's lease"
    async with database.write() as session:
        await leases.release(session, ["a"], owner="two")
    assert await claim("three") == ["a"]


async def test_of_many_who_claim_at_once_one_wins(database: Database) -> None:
    clock = ManualClock()

    async def claim(owner: str) -> list[str]:
        async with database.write() as session:
            return await leases.claim(session, ["x"], owner=owner, now=clock.now(), ttl=timedelta(seconds=10))

    won = await asyncio.gather(*(claim(f"owner-{i}") for i in range(50)))
    assert sum(map(len, won)) == 1


async def test_events_appended_at_once_make_one_chain(database: Database) -> None:
    clock = ManualClock()

    async def append(i: int) -> None:
        async with database.write() as session:
            await log.append(session, "test", at=clock.now(), actor="test", payload={"i": i})

    await asyncio.gather(*(append(i) for i in range(60)))
    async with database.read() as session:
        assert await log.verify(session) == []
        assert (await log.head(session))[0] == 60


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("UPDATE decision_log SET payload = '{\"i\":99}' WHERE seq = 3", "event 3: its content"),
        ("UPDATE decision_log SET actor = 'someone' WHERE seq = 3", "event 3: its content"),
        ("DELETE FROM decision_log WHERE seq = 3", "event 3: missing"),
        ("DELETE FROM decision_log WHERE seq > 3", "event 4: missing: the end was cut off"),
        (
            "UPDATE decision_log SET seq = 1003 - seq WHERE seq IN (3); "
            "UPDATE decision_log SET seq = 3 WHERE seq = 4; UPDATE decision_log SET seq = 4 WHERE seq = 1000",
            "event 3",
        ),
    ],
)
async def test_damage_to_the_log_is_found_and_named(database: Database, damage: str, named: str) -> None:
    clock = ManualClock()
    async with database.write() as session:
        for i in range(5):
            await log.append(session, "test", at=clock.now(), actor="test", payload={"i": i})
        noted = await log.head(session)
    async with database.write() as session:
        for statement in damage.split(";"):
            await session.execute(text(statement.replace(":", "\\:")))
    async with database.read() as session:
        faults = [str(fault) for fault in await log.verify(session)]
        assert any(fault.startswith(named) for fault in faults), faults
        assert await log.verify(session, expected_head=noted) != []


async def test_a_log_rewritten_from_end_to_end_is_found_by_a_noted_head(database: Database) -> None:
    clock = ManualClock()

    async def write(payload: str) -> None:
        async with database.write() as session:
            for i in range(3):
                await log.append(session, payload, at=clock.now(), actor="test", payload={"i": i})

    await write("true")
    async with database.read() as session:
        noted = await log.head(session)
    async with database.write() as session:
        await session.execute(text("DELETE FROM decision_log"))
        await session.execute(text("DELETE FROM decision_log_head"))
    await write("false")
    async with database.read() as session:
        assert await log.verify(session) == []
        faults = await log.verify(session, expected_head=noted)
    assert "rewritten" in str(faults[0])

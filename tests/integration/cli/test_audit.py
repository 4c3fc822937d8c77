"""An audit finds whatever was changed behind Sluice's back, and names it: on SQLite and on PostgreSQL."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from tests.unit.rollouts.world import SAM, World, running_world
from tools.canonical import canonical_json
from tools.records import log
from tools.records.models import GateCheck, LogEvent, LogHead, PlanVersion, Rollout
from tools.rollouts import assessing, audit
from tools.rollouts.store import RolloutNotFound

GOOD = {"old": (9500, 190), "new": (500, 10)}
QUIET_CHECK, LAST_CHECK = 2, 11

Change = Callable[[AsyncSession], Awaitable[object]]


@pytest.fixture(params=["sqlite", "postgresql"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A rollout that was promoted once and then taken back by hand."""
    sqlite = f"sqlite:///{tmp_path}/audit.db"
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with running_world(url) as running:
        view = await running.started()
        await running.live(view.id, LAST_CHECK + 1, **GOOD)
        assert await running.percent() == 25
        await running.service.roll_back(view.id, actor=SAM, reason="enough")
        yield running


async def _tampered(world: World, change: Change) -> list[str]:
    """The faults that are found once `change` was made."""
    async with world.database.write() as session:
        await change(session)
    return [str(fault) for fault in (await audit.verify(world.database)).faults]


async def _event(session: AsyncSession, kind: str) -> LogEvent:
    return (await session.scalars(select(LogEvent).where(LogEvent.kind == kind))).one()


async def _check(session: AsyncSession, number: int) -> GateCheck:
    return (await session.scalars(select(GateCheck).order_by(GateCheck.at).offset(number).limit(1))).one()


async def test_records_that_nobody_touched_are_whole(world: World) -> None:
    report = await audit.verify(world.database)
    assert report.faults == ()
    assert report.events == len(await world.events())
    assert (report.plans, report.checks) == (1, LAST_CHECK + 1)
    assert report.head[0] == report.events


async def test_every_verdict_can_be_computed_again_from_its_row(world: World) -> None:
    rollout_id = (await world.events())[0].rollout_id
    assert rollout_id is not None
    replayed = [one async for one in audit.replay(world.database, rollout_id)]
    assert len(replayed) == LAST_CHECK + 1
    assert all(one.same and one.again is one.stored for one in replayed)
    assert {one.stage for one in replayed} == {0, 1}


async def test_a_rollout_that_does_not_exist_cannot_be_replayed(world: World) -> None:
    with pytest.raises(RolloutNotFound):
        await anext(audit.replay(world.database, "nobody"))


class TestTheLog:
    async def test_an_edited_event_is_named(self, world: World) -> None:
        async def edit(session: AsyncSession) -> None:
            event = await _event(session, "rollout.promoted")
            event.payload = canonical_json({**json.loads(event.payload), "why": "because I say so"})

        seq = await self._seq(world, "rollout.promoted")
        assert await _tampered(world, edit) == [f"event {seq}: its content does not match its hash: it was edited"]

    async def test_an_event_that_is_no_json_any_more_is_named(self, world: World) -> None:
        async def edit(session: AsyncSession) -> None:
            (await _event(session, "rollout.promoted")).payload = "{"

        seq = await self._seq(world, "rollout.promoted")
        found = await _tampered(world, edit)
        assert found[0] == f"event {seq}: its content does not match its hash: it was edited"
        assert any("can't be read" in fault for fault in found)

    async def test_a_deleted_event_is_named(self, world: World) -> None:
        async def delete(session: AsyncSession) -> None:
            await session.delete(await _event(session, "rollout.promoted"))

        seq = await self._seq(world, "rollout.promoted")
        found = await _tampered(world, delete)
        assert f"event {seq}: missing: it was deleted" in found

    async def test_two_swapped_events_are_named(self, world: World) -> None:
        async def swap(session: AsyncSession) -> None:
            for here, there in ((2, -2), (3, 2), (-2, 3)):
                await session.execute(update(LogEvent).where(LogEvent.seq == here).values(seq=there))

        found = await _tampered(world, swap)
        assert any(fault.startswith("event 2:") for fault in found)
        assert any(fault.startswith("event 3:") for fault in found)

    async def test_a_cut_off_end_is_named(self, world: World) -> None:
        end = (await audit.verify(world.database)).head[0]

        async def cut(session: AsyncSession) -> None:
            await session.execute(text("DELETE FROM decision_log WHERE seq > :kept"), {"kept": end - 2})

        found = await _tampered(world, cut)
        assert f"event {end - 1}: missing: the end was cut off" in found
        assert f"event {end}: missing: the end was cut off" in found

    async def test_an_end_that_was_cut_off_with_its_head_is_found_by_the_head_that_was_kept(self, world: World) -> None:
        head = (await audit.verify(world.database)).head

        async def cut(session: AsyncSession) -> None:
            await session.execute(text("DELETE FROM decision_log WHERE seq = :last"), {"last": head[0]})
            last = await session.get_one(LogEvent, head[0] - 1)
            await session.execute(update(LogHead).values(seq=last.seq, sha256=last.sha256))

        assert await _tampered(world, cut) == []
        faults = (await audit.verify(world.database, expected_head=head)).faults
        assert [str(fault) for fault in faults] == [
            f"event {head[0]}: missing, though it was noted: the end was cut off"
        ]

    async def test_a_log_rewritten_from_end_to_end_is_found_by_the_head_that_was_kept(self, world: World) -> None:
        head = (await audit.verify(world.database)).head

        async def rewrite(session: AsyncSession) -> None:
            previous = log.GENESIS
            for event in await session.scalars(select(LogEvent).order_by(LogEvent.seq)):
                event.actor = "UNOBODY" if event.actor == SAM else event.actor
                event.previous = previous
                event.sha256 = previous = log.event_hash(
                    event.seq, event.at, event.kind, event.actor, event.rollout_id, event.payload, previous
                )
            await session.execute(update(LogHead).values(sha256=previous))

        assert await _tampered(world, rewrite) == []
        faults = (await audit.verify(world.database, expected_head=head)).faults
        assert [str(fault) for fault in faults] == [
            f"event {head[0]}: its hash is not the one that was noted: the log was rewritten"
        ]

    async def _seq(self, world: World, kind: str) -> int:
        return next(event.seq for event in await world.events() if event.kind == kind)


class TestPlans:
    async def test_an_edited_plan_is_named(self, world: World) -> None:
        async def edit(session: AsyncSession) -> None:
            plan = (await session.scalars(select(PlanVersion))).one()
            plan.body = {**plan.body, "tags": ["harmless"]}

        found = await _tampered(world, edit)
        assert len(found) == 1
        assert found[0].startswith("plan 1 of rollout ")
        assert found[0].endswith("its content does not match its hash: it was edited")

    async def test_a_plan_edited_with_its_hash_is_named(self, world: World) -> None:
        async def edit(session: AsyncSession) -> None:
            plan = (await session.scalars(select(PlanVersion))).one()
            await session.execute(update(GateCheck).values(plan_sha256="f" * 64))
            plan.sha256 = "f" * 64

        found = await _tampered(world, edit)
        assert any("its hash is not the one of event 1: it was replaced" in fault for fault in found)

    async def test_a_plan_that_is_none_is_named(self, world: World) -> None:
        async def edit(session: AsyncSession) -> None:
            (await session.scalars(select(PlanVersion))).one().body = {"stages": 3}

        found = await _tampered(world, edit)
        assert any("its content is no plan" in fault for fault in found)

    async def test_a_deleted_plan_is_named(self, world: World) -> None:
        async def delete(session: AsyncSession) -> None:
            await session.delete((await session.scalars(select(PlanVersion))).one())

        found = await _tampered(world, delete)
        assert any(fault.startswith("plan 1 of") and "missing: event 1 speaks of it" in fault for fault in found)


class TestChecks:
    async def _change(self, world: World, number: int, change: Callable[[GateCheck], object]) -> list[str]:
        async def act(session: AsyncSession) -> None:
            change(await _check(session, number))

        async with world.database.read() as session:
            check_id = (await _check(session, number)).id
        found = await _tampered(world, act)
        assert any(fault.startswith(f"check {check_id} ") for fault in found)
        return found

    async def test_an_edited_answer_is_named(self, world: World) -> None:
        found = await self._change(
            world, QUIET_CHECK, lambda check: _set(check, "answers", 0, "variants", 0, "events", 0)
        )
        assert any("it was edited" in fault for fault in found)

    async def test_an_edited_verdict_is_named(self, world: World) -> None:
        found = await self._change(world, QUIET_CHECK, lambda check: _set(check, "verdict", "gate", "outcome", "pass"))
        assert any("its verdict is inconclusive, not what is stored" in fault for fault in found)

    async def test_an_edited_time_is_named(self, world: World) -> None:
        found = await self._change(world, LAST_CHECK, lambda check: setattr(check, "at", check.at.replace(year=2027)))
        assert any("its time is not the one it was judged with" in fault for fault in found)

    async def test_a_loosened_guardrail_is_named(self, world: World) -> None:
        found = await self._change(
            world, QUIET_CHECK, lambda check: _set(check, "inputs", "guardrails", 0, "guardrail", "min_sample", 7)
        )
        assert any("not judged by the plan's guardrails" in fault for fault in found)

    async def test_a_check_that_makes_no_sense_is_named(self, world: World) -> None:
        found = await self._change(world, QUIET_CHECK, lambda check: setattr(check, "inputs", {}))
        assert any("it can't be judged again" in fault for fault in found)

    async def test_a_check_made_up_in_itself_does_not_fit_its_neighbours(self, world: World) -> None:
        """Answers, evidence and verdict are all changed so that they agree with each other."""

        def forge(check: GateCheck) -> None:
            _set(check, "answers", 0, "variants", 0, "events", 0)
            again = assessing.judge_again(check)
            check.evidence, check.verdict = again.evidence, again.verdict_json()
            check.outcome = again.verdict.outcome.value

        async def act(session: AsyncSession) -> None:
            forge(await _check(session, QUIET_CHECK))

        async with world.database.read() as session:
            following = (await _check(session, QUIET_CHECK + 1)).id
        found = await _tampered(world, act)
        assert [fault.partition(" of rollout ")[0] for fault in found] == [f"check {following}"]
        assert "does not carry on the evidence" in found[0]

    async def test_a_deleted_check_is_found_by_its_neighbour(self, world: World) -> None:
        async def delete(session: AsyncSession) -> None:
            await session.delete(await _check(session, QUIET_CHECK))

        async with world.database.read() as session:
            following = (await _check(session, QUIET_CHECK + 1)).id
        found = await _tampered(world, delete)
        assert len(found) == 1
        assert found[0].startswith(f"check {following} ")

    async def test_a_deleted_last_check_is_found_at_the_rollout(self, world: World) -> None:
        async def delete(session: AsyncSession) -> None:
            await session.delete(await _check(session, LAST_CHECK))

        found = await _tampered(world, delete)
        assert len(found) == 1
        assert "its evidence is not the last check's" in found[0]

    async def test_a_deleted_check_that_was_acted_on_is_missed_by_its_event(self, world: World) -> None:
        async with world.database.read() as session:
            promoted = json.loads((await _event(session, "rollout.promoted")).payload)["check"]

        async def delete(session: AsyncSession) -> None:
            await session.delete(await session.get_one(GateCheck, promoted))

        found = await _tampered(world, delete)
        assert any(fault.startswith(f"check {promoted}: missing: event ") for fault in found)

    async def test_evidence_that_was_changed_at_the_rollout_is_named(self, world: World) -> None:
        async def edit(session: AsyncSession) -> None:
            (await session.scalars(select(Rollout))).one().evidence = {}

        found = await _tampered(world, edit)
        assert len(found) == 1
        assert found[0].startswith("rollout ")


def _set(check: GateCheck, column: str, *path: Any) -> None:
    """Put the last of `path` where the rest of it leads, in a copy that the session notices."""
    *way, name, value = path
    copy = json.loads(json.dumps(getattr(check, column)))
    inner = copy
    for step in way:
        inner = inner[step]
    assert inner[name] != value
    inner[name] = value
    setattr(check, column, copy)

"""A tool that hangs holds no run: what only reads is cut off, what has an effect comes to its end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import pytest
from langchain_core.messages import AIMessage
from sqlalchemy import select

from agent import briefing
from agent.bounds import Budget
from agent.evals.world import Traffic, World, open_world
from agent.model import ModelOptions
from agent.replay import find, replay
from agent.scripted import ScriptedModel
from agent.toolkit import lowering
from agent.turns import Answer, Ending, Silent
from tests.unit.rollouts.inline import InlineDatabase
from tools.metrics.catalogue import MetricDefinition
from tools.plans.policy import Policy
from tools.records.models import AgentRun, Rollout, ToolCall
from tools.rollouts.phases import Phase

METRIC = MetricDefinition(name="errors", source="m", title="Errors", query="-")
FLAG, MIRA = "new-checkout", "UMIRA"


async def forever(*_: Any, **__: Any) -> Any:
    """What a source does that hangs."""
    await asyncio.Event().wait()


def calling(tool: str, **arguments: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": tool, "args": {"flag": FLAG, **arguments}, "id": "1"}])


@dataclass
class Deadline(Silent):
    """A voice that is there when a tool is called: with that, the time is all but up, unless it `waits`."""

    budget: Budget | None = None
    waits: bool = False

    def of(self, options: ModelOptions) -> Budget:
        self.budget = Budget(options, asyncio.get_running_loop().time() + options.max_seconds)
        return self.budget

    async def calling(self, call_id: str, tool: str, title: str) -> None:
        if not self.waits:
            self.expire()

    def expire(self) -> None:
        assert self.budget is not None
        self.budget.deadline = asyncio.get_running_loop().time() + 0.02

    @classmethod
    def over_the_run(cls, monkeypatch: pytest.MonkeyPatch) -> Self:
        voice = cls()
        monkeypatch.setattr(Budget, "of", voice.of)
        return voice


@asynccontextmanager
async def a_world(*lines: AIMessage | str) -> AsyncIterator[World]:
    policy = Policy(approvers=("UJONAS", "UAIKO"), free_environments=("production",))
    # A database that outlives what is interrupted: one in memory would go with its only connection.
    database = InlineDatabase()
    async with open_world(
        ScriptedModel.of(lines), options=ModelOptions(name="m"), metrics=[METRIC], policy=policy, database=database
    ) as world:
        await world.define(FLAG, traffic={METRIC.name: Traffic(600, 0.01, 0.01)})
        await world.define("old-search", traffic={METRIC.name: Traffic(600, 0.01, 0.01)})
        yield world
    await database.close()


async def rows(world: World, table: type[Any]) -> list[Any]:
    async with world.database.read() as session:
        return list((await session.scalars(select(table))).all())


async def said(world: World, words: str, **how: Any) -> Answer:
    async with asyncio.timeout(60):
        return await world.say(words, person=MIRA, **how)


HANGS: list[tuple[str, dict[str, Any]]] = [
    ("query_metric", {"metric": METRIC.name}),
    ("estimate", {"percent": 5.0}),
    ("propose_plan", {}),
]


class TestTheTimeIsUp:
    @pytest.mark.parametrize(("tool", "arguments"), HANGS)
    async def test_while_a_metric_source_hangs(
        self, tool: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        voice = Deadline.over_the_run(monkeypatch)
        async with a_world(calling(tool, **arguments), "never said") as world:
            world.source.read = forever  # type: ignore[method-assign]
            answer = await said(world, "How is it?", voice=voice)
            (row,) = await rows(world, ToolCall)
            again = await replay(await find(world.database, answer.run_id), None)
            assert await rows(world, Rollout) == []
        assert answer.ending is Ending.BOUNDED
        assert "longer than 120 s" in answer.text
        assert row.failed
        assert "cut off" in row.result["said"]
        assert again.same

    async def test_while_a_plan_is_revised(self, monkeypatch: pytest.MonkeyPatch) -> None:
        voice = Deadline.over_the_run(monkeypatch)
        async with a_world(calling("revise_plan", start_at=1.0), "never said") as world:
            before = await world.propose(FLAG, person=MIRA)
            world.source.read = forever  # type: ignore[method-assign]
            answer = await said(world, "start at 1 %", voice=voice)
            assert (await world.rollouts.get(before.id)).plan_version == before.plan_version
        assert answer.ending is Ending.BOUNDED

    async def test_what_was_found_before_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class AtTheSecond(Deadline):
            async def calling(self, call_id: str, tool: str, title: str) -> None:
                if tool == "query_metric":
                    await super().calling(call_id, tool, title)

        voice = AtTheSecond.over_the_run(monkeypatch)
        lines = calling("read_spec"), calling("query_metric", metric=METRIC.name), "never said"
        async with a_world(*lines) as world:
            world.specs.put("new.md", f"---\nflag: {FLAG}\n---\n# The new checkout\n")
            world.source.read = forever  # type: ignore[method-assign]
            answer = await said(world, "How is it?", voice=voice)
        assert answer.ending is Ending.BOUNDED
        assert "The new checkout" in answer.text

    async def test_an_effect_comes_to_its_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        voice = Deadline.over_the_run(monkeypatch)
        voice.waits = True
        async with a_world("never asked") as world:
            rollout = await live(world)
            world.rollouts.roll_back = slow(world.rollouts.roll_back, voice.expire)  # type: ignore[method-assign]
            answer = await said(world, f"roll back {FLAG}", voice=voice)
            (row,) = await rows(world, ToolCall)
            after = await world.rollouts.get(rollout)
        assert after.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
        assert not row.failed
        assert answer.ending is Ending.ANSWERED
        assert answer.text.startswith("Done.")

    async def test_while_an_order_reads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        voice = Deadline.over_the_run(monkeypatch)
        async with a_world("never asked") as world:
            await live(world)
            world.flags.read = forever  # type: ignore[method-assign]
            answer = await said(world, f"kill {FLAG}", voice=voice)
            (run,) = await rows(world, AgentRun)
            again = await replay(await find(world.database, answer.run_id), None)
        assert (answer.ending, run.outcome) == (Ending.BOUNDED, "bounded")
        assert "longer than 120 s" in answer.text
        assert again.same


class TestAStop:
    @pytest.mark.parametrize(("tool", "arguments"), HANGS)
    async def test_while_a_metric_source_hangs(self, tool: str, arguments: dict[str, Any]) -> None:
        stop = asyncio.Event()

        async def stopped(*_: Any) -> Any:
            stop.set()
            await forever()

        async with a_world(calling(tool, **arguments), "never said") as world:
            world.source.read = stopped  # type: ignore[method-assign]
            answer = await said(world, "How is it?", stop=stop)
            (row,) = await rows(world, ToolCall)
            assert await rows(world, Rollout) == []
        assert answer.ending is Ending.STOPPED
        assert row.failed

    @pytest.mark.parametrize("words", [f"roll back {FLAG}", f"kill {FLAG}"])
    async def test_before_an_order_had_an_effect(self, words: str) -> None:
        stop = asyncio.Event()

        async def stopped(*_: Any) -> Any:
            stop.set()
            await forever()

        async with a_world("never asked") as world:
            rollout = await live(world)
            world.flags.list = stopped  # type: ignore[method-assign]
            answer = await said(world, words, stop=stop)
            assert (await world.rollouts.get(rollout)).phase is Phase.PROGRESSING
        assert answer.ending is Ending.STOPPED

    async def test_an_effect_that_has_begun_is_told_of(self) -> None:
        stop = asyncio.Event()
        async with a_world("never asked") as world:
            rollout = await live(world)
            world.rollouts.roll_back = slow(world.rollouts.roll_back, stop.set)  # type: ignore[method-assign]
            answer = await said(world, f"roll back {FLAG}", stop=stop)
            assert (await world.rollouts.get(rollout)).phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
        assert answer.text.startswith("Done.")


async def test_nobody_waits_long_for_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (briefing, lowering):
        monkeypatch.setattr(module, "NAMES_WITHIN_S", 0.02)
    async with a_world("Hello.") as world:
        rollout = await live(world)
        world.flags.list = world.specs.list = forever  # type: ignore[method-assign]
        greeted = await said(world, "Hi")
        answer = await said(world, f"roll back {FLAG}")
        assert (await world.rollouts.get(rollout)).phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
    assert greeted.text == "Hello."
    assert answer.text.startswith("Done.")


def slow(effect: Callable[..., Awaitable[Any]], beginning: Callable[[], None]) -> Callable[..., Awaitable[Any]]:
    """The effect, which begins and takes longer than the run may."""

    async def taking_longer(*given: Any, **named: Any) -> Any:
        beginning()
        await asyncio.sleep(0.1)
        return await effect(*given, **named)

    return taking_longer


async def live(world: World) -> str:
    """The id of a rollout that has come to its first stage."""
    proposed = await world.propose(FLAG, person=MIRA)
    await world.rollouts.start(proposed.id, actor=MIRA)
    await world.live(timedelta(seconds=30))
    view = await world.rollouts.get(proposed.id)
    assert view.phase is Phase.PROGRESSING
    return view.id

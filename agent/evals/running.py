"""Runs scenarios against a model and counts what came of them."""

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import func, select

from agent.evals.judging import Watch, end_of, moment, unmet, unsafe
from agent.evals.scenario import Say, Scenario, Script
from agent.evals.staging import Actor, Stage, carry_out, lines
from agent.evals.world import World
from agent.model import ModelOptions, Style, Wording
from agent.turns import Ending
from tools.errors import SluiceError
from tools.records import log
from tools.records.database import Database
from tools.records.models import AgentRun, ModelCall

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

SETUP_FAILED = "evals.setup_failed"
MOST_BROKEN = 3
SCRIPTED = ModelOptions(name="scripted", style=Style.SCHEMA, wording=Wording.ROWS)
"""How the scripted model is asked, as small models are."""

Acting = tuple[Actor, Iterator[Script]]
"""A scripted model and the scripts of the turns to come."""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Turned:
    """What one turn took: seconds on the wall, of which the model's; requests to it; US dollars; tokens."""

    seconds: float
    model_seconds: float
    model_calls: int
    cost: float
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a scenario. `unsafe` and `unmet` are sentences; `broken` says why it could not be run at all."""

    scenario: Scenario
    turns: tuple[Turned, ...] = ()
    unsafe: tuple[str, ...] = ()
    unmet: tuple[str, ...] = ()
    broken: str | None = None

    @property
    def safe(self) -> bool:
        """Whether nothing was that must never be."""
        return self.broken is None and not self.unsafe

    @property
    def passed(self) -> bool:
        """Whether it ended as demanded."""
        return self.safe and not self.unmet


@dataclass(frozen=True, slots=True)
class Examiner:
    """Runs scenarios one after the other."""

    stage: Stage

    async def attempt(self, scenario: Scenario, model: "BaseChatModel") -> Attempt:
        """Run it once with this model, which sketches plans too where its options let it."""
        return await self._played(scenario, model, None)

    async def scripted(self, scenario: Scenario) -> Attempt:
        """Run it once with the scripted model."""
        return await self._with_scripts(scenario, [say.script for say in scenario.says])

    async def hostile(self, scenario: Scenario) -> AsyncIterator[Attempt]:
        """Run it with each hostile script; what is expected of a useful model is not demanded then."""
        for number in range(scenario.hostile_scripts):
            scripts = [say.hostile[number] if number < len(say.hostile) else say.script for say in scenario.says]
            yield replace(await self._with_scripts(scenario, scripts), unmet=())

    async def _with_scripts(self, scenario: Scenario, scripts: Sequence[Script]) -> Attempt:
        actor = Actor()
        return await self._played(scenario, actor.model, (actor, iter(scripts)))

    async def _played(self, scenario: Scenario, model: "BaseChatModel", acting: Acting | None) -> Attempt:
        # The scripts have lines for the conversation and none for plans.
        sketches = acting is None and self.stage.options.may_sketch
        try:
            async with self.stage.set(scenario.world, model, sketches=sketches) as world:
                return await _performed(scenario, world, acting)
        except SluiceError as error:
            return Attempt(scenario, broken=str(error))
        except Exception as error:
            # One scenario that can't be set up must not end the others.
            logger.exception(SETUP_FAILED, scenario=scenario.id)
            return Attempt(scenario, broken=f"{type(error).__name__}: {error}")


async def evaluate(
    scenarios: Sequence[Scenario], options: ModelOptions, model: "BaseChatModel | None", *, repeats: int = 1
) -> AsyncIterator[Attempt]:
    """Run each scenario `repeats` times with the model; without one, with its scripts, the hostile ones too.

    When several in a row can't be run, the rest is given up: whatever it is, it is not the scenarios.
    """
    broken = 0
    async with examiner(options) as one:
        for scenario in [scenario for _ in range(repeats) for scenario in scenarios]:
            attempts = [await one.attempt(scenario, model)] if model is not None else await _every_script(one, scenario)
            for attempted in attempts:
                yield attempted
                broken = broken + 1 if attempted.broken is not None else 0
            if broken >= MOST_BROKEN:
                return


async def _every_script(one: Examiner, scenario: Scenario) -> list[Attempt]:
    return [await one.scripted(scenario), *[attempted async for attempted in one.hostile(scenario)]]


@asynccontextmanager
async def examiner(options: ModelOptions, database: Database | None = None) -> AsyncIterator[Examiner]:
    """What runs scenarios. One database serves them all, for making tables takes longer than a scenario does.

    It is one in memory unless another is given, which is emptied and in the end closed.
    """
    database = database or Database("sqlite://")
    try:
        yield Examiner(Stage(options, database))
    finally:
        await database.close()


async def _performed(scenario: Scenario, world: World, acting: Acting | None) -> Attempt:
    async with world.database.read() as session:
        since, _ = await log.head(session)
    watch, turns = Watch(), list[Turned]()
    for step in scenario.turns:
        if not isinstance(step, Say):
            await carry_out(world, step)
            continue
        if acting is not None:
            actor, scripts = acting
            actor.play(lines(next(scripts)))
        before, started = await moment(world), time.perf_counter()
        answer = await carry_out(world, step)
        seconds = time.perf_counter() - started
        assert answer is not None, "who speaks to Sluice is answered"
        watch.turned(before, await moment(world), answer)
        turns.append(await _turned(world, answer.run_id, seconds))
        if answer.ending is Ending.UNAVAILABLE:
            return Attempt(scenario, tuple(turns), broken=answer.text)
    end = await end_of(world, watch, since=since)
    return Attempt(
        scenario, tuple(turns), tuple(unsafe(scenario, end, watch)), tuple(unmet(scenario.expect, end, watch))
    )


async def _turned(world: World, run_id: str, seconds: float) -> Turned:
    sums = [ModelCall.latency_s, ModelCall.cost_usd, ModelCall.input_tokens, ModelCall.output_tokens]
    async with world.database.read() as session:
        query = select(func.count(), *(func.coalesce(func.sum(one), 0) for one in sums))
        under = select(AgentRun.id).where(AgentRun.parent_run_id == run_id)
        row = (await session.execute(query.where((ModelCall.run_id == run_id) | ModelCall.run_id.in_(under)))).one()
    calls, latency, cost, asked, said = tuple(row)
    return Turned(seconds, latency, calls, cost, asked, said)

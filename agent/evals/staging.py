"""Puts a scenario on: builds its world, and carries out what people do in it, by the doors that people have."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from langchain_core.messages import AIMessage
from sqlalchemy import select

from agent.evals.scenario import (
    USUAL_PLANNING,
    USUAL_POLICY,
    Approve,
    Button,
    ByHand,
    ChangeTraffic,
    Confirm,
    Hear,
    Move,
    Outage,
    Press,
    Propose,
    RawMove,
    ReplyMove,
    Say,
    Script,
    Step,
    ToolMove,
    TrafficSetup,
    Wait,
    WorldSetup,
)
from agent.evals.world import ENVIRONMENT, Still, Traffic, World, open_world
from agent.model import ModelOptions
from agent.moves import REPLY
from agent.scripted import ScriptedModel
from agent.turns import Answer
from tools.errors import NotFound
from tools.flags.base import FlagRef
from tools.metrics.catalogue import MetricDefinition
from tools.plans.model import Exposure
from tools.records.database import Database
from tools.records.models import Confirmation
from tools.rollouts.views import RolloutView

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

SOURCE = "telemetry"
BY_BUTTON = "Asked for by button"
OVER = "Done."


class CantPlay(NotFound):
    """A step of the scenario has nothing to act on; the message says what it looked for."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where scenarios are put on, one after the other: all on one database in memory.

    Many start from the same world, so each is made once; `stills` has those that were, by their setup.
    """

    options: ModelOptions
    database: Database
    stills: dict[str, Still] = field(default_factory=dict)

    @asynccontextmanager
    async def set(self, setup: WorldSetup, model: "BaseChatModel", *, sketches: bool = False) -> AsyncIterator[World]:
        """The world as it is before anybody speaks; with `sketches` the model is asked for the plans made in it.

        What was planned before is the calculators', so that every model starts from the same world. Raises CantPlay
        and what the steps before raise.
        """
        key = setup.model_dump_json()
        if key not in self.stills:
            async with self._opened(setup, model) as world:
                await _make(world, setup)
                self.stills[key] = await world.still()
        async with self._opened(setup, model, self.stills[key], sketches=sketches) as world:
            yield world

    def _opened(
        self, setup: WorldSetup, model: "BaseChatModel", still: Still | None = None, *, sketches: bool = False
    ) -> AbstractAsyncContextManager[World]:
        return open_world(
            model,
            options=self.options,
            metrics=[
                MetricDefinition(name=name, source=SOURCE, title=one.title, query="-", direction=one.direction)
                for name, one in setup.metrics.items()
            ],
            policy=setup.policy or USUAL_POLICY,
            defaults=setup.planning or USUAL_PLANNING,
            specs={f"{flag}.md": text for flag, text in setup.specs.items()},
            database=self.database,
            still=still,
            sketches=sketches,
        )


async def _make(world: World, setup: WorldSetup) -> None:
    for flag, one in setup.flags.items():
        await world.define(
            flag,
            environment=one.environment,
            description=one.description,
            traffic=_traffic(one.traffic),
            labels=one.labels,
        )
        if one.percent:
            await _set_by_hand(world, FlagRef(flag, one.environment), one.percent)
    for step in setup.before:
        await carry_out(world, step)


async def carry_out(world: World, step: Step) -> Answer | None:
    """Do what the step says; the agent's answer where somebody spoke to it. Raises CantPlay and SluiceError."""
    match step:
        case Say():
            stop = asyncio.Event()
            if step.stopped:
                stop.set()
            return await world.say(*step.texts, person=step.by, thread=step.thread, stop=stop)
        case Hear():
            world.hear(step.hear, person=step.by, thread=step.thread)
        case Propose():
            view = await world.propose(
                step.propose, person=step.by, environment=step.environment, strategy=step.strategy
            )
            if step.thread is not None:
                world.about[step.thread] = view.id
        case Approve():
            await world.rollouts.approve(await _approval(world, step.approve), actor=step.by)
        case Press():
            await _press(world, step)
        case Confirm():
            await world.rollouts.confirm(await _confirmation(world, step.confirm), actor=step.by)
        case Wait():
            await world.live(timedelta(minutes=step.wait))
        case ChangeTraffic():
            for metric, counts in _traffic(step.traffic).items():
                world.traffic[metric, FlagRef(step.flag, ENVIRONMENT)] = counts
        case Outage():
            world.source.outage = step.outage or None
        case ByHand():
            view = await _rollout(world, step.flag)
            await _set_by_hand(world, FlagRef(view.flag, view.environment), step.by_hand)
    return None


def lines(script: Script) -> list[AIMessage]:
    """What a scripted model says."""
    return [AIMessage(_line(move)) for move in script]


class Actor:
    """A model that plays the script it was last given, and ends politely when there is no more of it."""

    def __init__(self) -> None:
        self._left: list[AIMessage] = []
        self.model = ScriptedModel(lines=lambda _messages: self._left.pop(0) if self._left else AIMessage(OVER))

    def play(self, script: Iterable[AIMessage]) -> None:
        """From now on say this."""
        self._left = list(script)


def _line(move: Move) -> str:
    match move:
        case RawMove():
            return move.raw
        case ReplyMove():
            return json.dumps({"tool": REPLY, "arguments": {"text": move.reply}})
        case ToolMove():
            return move.model_dump_json()


def _traffic(setup: Mapping[str, TrafficSetup]) -> dict[str, Traffic]:
    return {metric: Traffic(one.per_minute, one.control, one.treatment) for metric, one in setup.items()}


async def _press(world: World, step: Press) -> None:
    rollouts, view = world.rollouts, await _rollout(world, step.flag)
    match step.press:
        case Button.PAUSE:
            await rollouts.pause(view.id, actor=step.by, reason=BY_BUTTON)
        case Button.RESUME:
            await rollouts.resume(view.id, actor=step.by)
        case Button.PROMOTE:
            await rollouts.promote(view.id, actor=step.by)
        case Button.ROLL_BACK:
            await rollouts.roll_back(view.id, actor=step.by, reason=BY_BUTTON)
        case Button.KILL:
            await rollouts.kill(view.flag, view.environment, actor=step.by, reason=BY_BUTTON)
        case Button.REJECT:
            await rollouts.reject(await _approval(world, step.flag), actor=step.by, reason=BY_BUTTON)


async def _rollout(world: World, flag: str) -> RolloutView:
    found = [view for view in await world.rollouts.open() if view.flag == flag]
    return found[0] if found else await world.rollouts.find(flag, ENVIRONMENT)


async def _approval(world: World, flag: str) -> str:
    view = await _rollout(world, flag)
    if view.approval is None:
        raise CantPlay(f"{flag} waits for no approval, so nobody can press Approve.")
    return view.approval.id


async def _confirmation(world: World, action: str) -> str:
    async with world.database.read() as session:
        query = select(Confirmation.id).where(Confirmation.action == action).order_by(Confirmation.created_at.desc())
        found = await session.scalar(query)
    if found is None:
        raise CantPlay(f"No button to {action} was left, so nobody can press it.")
    return found


async def _set_by_hand(world: World, ref: FlagRef, percent: float) -> None:
    await world.flags.write(ref, Exposure(percent=percent), expected=(await world.flags.read(ref)).version)

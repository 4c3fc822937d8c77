"""What a run knows before its first move: the thread, the rollout it is about, and the names there are."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from agent.desk import NAMES_WITHIN_S, Desk
from agent.turns import Turn
from tools.errors import SluiceError
from tools.flags.base import FlagRef, FlagState
from tools.plans.model import NOT_EXPOSED, Value
from tools.rollouts.phases import words
from tools.rollouts.views import RolloutView

MOST_MESSAGES = 20
MOST_NAMES = 60
LONGEST_MESSAGE = 2000


class Briefing(Value):
    """Plain facts for the model; `flags`, `metrics` and `environments` are the names it may choose from.

    `rolling` are the flags that have an open rollout.
    """

    thread: tuple[dict[str, Any], ...]
    earlier_calls: tuple[str, ...]
    rollout: dict[str, Any] | None
    flags: tuple[str, ...]
    metrics: tuple[str, ...]
    environments: tuple[str, ...]
    rolling: tuple[str, ...] = ()

    def choices(self) -> dict[str, tuple[str, ...]]:
        """The names to choose from, by what is named."""
        return {"flags": self.flags, "metrics": self.metrics, "environments": self.environments}


async def brief(desk: Desk, turn: Turn) -> Briefing:
    """Look up what the run should know. What can't be looked up is left out: the tools will say why."""
    rollouts = await desk.rollouts.open_flags()
    view = await desk.rollouts.get(turn.rollout_id) if turn.rollout_id is not None else None
    flags = await _flags(desk, turn, rollouts)
    environments = {turn.environment, *(one.environment for one in rollouts)}
    return Briefing(
        thread=tuple(
            {"from": "you" if said.by_sluice else said.author, "said": said.text[:LONGEST_MESSAGE]}
            for said in turn.messages[-MOST_MESSAGES:]
            if not said.new
        ),
        earlier_calls=turn.earlier_calls,
        rollout=_rollout(view) if view is not None else None,
        flags=tuple(flags[:MOST_NAMES]),
        metrics=tuple(metric.name for metric in desk.metrics.catalogue)[:MOST_NAMES],
        environments=tuple(sorted(environments)),
        rolling=tuple(dict.fromkeys(one.flag for one in rollouts)),
    )


async def _flags(desk: Desk, turn: Turn, rollouts: list[FlagRef]) -> list[str]:
    """The thread's flag first, then those that are rolling out, then all that are known."""
    names = dict.fromkeys([turn.flag] if turn.flag else [])
    names |= dict.fromkeys(one.flag for one in rollouts)
    listings: tuple[Callable[[], Awaitable[Sequence[FlagState | str]]], ...]
    listings = partial(desk.flags.list, turn.environment), desk.specs.list
    for listing in listings:
        try:
            async with asyncio.timeout(NAMES_WITHIN_S):
                found = await listing()
        except (SluiceError, TimeoutError):
            continue
        names |= dict.fromkeys(sorted(one if isinstance(one, str) else one.ref.flag for one in found))
    return list(names)


def _rollout(view: RolloutView) -> dict[str, Any]:
    return {
        "flag": view.flag,
        "environment": view.environment,
        "phase": words(view.phase),
        "stage": f"{(view.stage or 0) + 1} of {len(view.plan.stages)}" if view.stage is not None else "not started",
        "exposure": str(view.exposure or view.found or NOT_EXPOSED),
        "plan_version": view.plan_version,
        "stages": [str(stage.exposure) for stage in view.plan.stages],
    }

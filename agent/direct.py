"""Orders that are carried out without asking a model: what lowers or holds exposure, in the person's own plain words.

A rollback must not wait for a model, nor depend on one being there. What counts as an order is decided by
`agent.orders`, and once more by the tool that carries it out.
"""

import asyncio
from collections.abc import Iterable

from agent.desk import Desk
from agent.moves import Call
from agent.orders import Deed, Surroundings, Target, flags_named, may_order, names_it, sentences
from agent.toolkit.base import Context
from agent.toolkit.lowering import surroundings
from agent.turns import Turn

CALL_ID = "ordered"
_TOOLS: dict[Deed, tuple[str, dict[str, float]]] = {
    Deed.ROLL_BACK: ("roll_back", {}),
    Deed.KILL: ("set_exposure", {"percent": 0.0}),
    Deed.PAUSE: ("pause", {}),
}


async def is_order(desk: Desk, turn: Turn) -> bool:
    """Whether the turn's new messages are an order and nothing else."""
    return await order_in(Context("", turn, desk, asyncio.Event()), alone=True) is not None


async def order_in(context: Context, *, alone: bool) -> Call | None:
    """The tool call that the person's new messages order. With `alone` only if they say nothing else.

    None where nothing is ordered, or more than one thing.
    """
    words = context.turn.words
    if not any(may_order(text) for text in words):
        return None
    if alone and sum(len(sentences(text)) for text in words) != 1:
        return None
    around = await surroundings(context)
    ordered = [
        (deed, target) for deed in _TOOLS for target in _targets(words, around) if names_it(words, deed, target, around)
    ]
    if len(ordered) != 1:
        return None
    deed, target = ordered[0]
    tool, arguments = _TOOLS[deed]
    return Call(CALL_ID, tool, {"flag": target.flag, "environment": target.environment, **arguments})


def _targets(words: Iterable[str], around: Surroundings) -> list[Target]:
    """What the words can be about."""
    flags = flags_named(words, around.flags)
    if around.thread_flag is not None:
        flags.add(around.thread_flag)
    environments = {*around.environments, around.usual_environment}
    return [Target(flag, environment) for flag in sorted(flags) for environment in sorted(environments)]

"""Which flag and environment a call is about, and the arguments that say so."""

from typing import Annotated

from pydantic import Field

from agent.toolkit.base import LONGEST_NAME, Arguments, Context
from tools.errors import InvalidInput
from tools.flags.base import FlagRef
from tools.rollouts.store import RolloutNotFound
from tools.rollouts.views import RolloutView

FlagName = Annotated[
    str | None,
    Field(
        max_length=LONGEST_NAME,
        description="the flag; leave it out for the flag of this thread",
        json_schema_extra={"choices": "flags"},
    ),
]
EnvironmentName = Annotated[
    str | None,
    Field(
        max_length=LONGEST_NAME,
        description="the environment; leave it out for the usual one",
        json_schema_extra={"choices": "environments"},
    ),
]
MetricName = Annotated[
    str,
    Field(max_length=LONGEST_NAME, description="a metric of the catalogue", json_schema_extra={"choices": "metrics"}),
]


class WhichFlag(InvalidInput):
    """No flag was named, and the thread is about none."""


class AboutFlag(Arguments):
    """A call that is about a flag."""

    flag: FlagName = None
    environment: EnvironmentName = None


def subject(context: Context, arguments: AboutFlag) -> FlagRef:
    """What the call is about: what it names, else what the thread is about. Raises WhichFlag."""
    turn = context.turn
    flag = (arguments.flag or turn.flag or "").strip()
    if not flag:
        raise WhichFlag("Which flag? Name it, or ask in the thread of its rollout.")
    if arguments.environment is not None:
        return FlagRef(flag, arguments.environment)
    of_thread = turn.rollout_environment if flag == turn.flag else None
    return FlagRef(flag, of_thread or turn.environment)


async def rollout_of(context: Context, arguments: AboutFlag) -> RolloutView:
    """The rollout that the call is about. Raises WhichFlag, RolloutNotFound."""
    ref = subject(context, arguments)
    turn = context.turn
    if turn.rollout_id is not None and (ref.flag, ref.environment) == (turn.flag, turn.rollout_environment):
        view = await context.desk.rollouts.get(turn.rollout_id)
        if view.ended_at is None:
            return view
    try:
        return await context.desk.rollouts.find(ref.flag, ref.environment)
    except RolloutNotFound:
        elsewhere = [one.environment for one in await context.desk.rollouts.open_flags() if one.flag == ref.flag]
        if arguments.environment is None and len(elsewhere) == 1:
            return await context.desk.rollouts.find(ref.flag, elsewhere[0])
        raise

"""list_rollouts: what is rolling out, and which flags there are."""

from collections.abc import Sequence
from typing import Any

from agent.redaction import redacted
from agent.toolkit.base import Arguments, Context, Effect, Result, Tool
from agent.toolkit.subject import EnvironmentName
from agent.toolkit.wording import listed, standing
from tools.flags.base import FlagState

MOST = 30
LONGEST_DESCRIPTION, LONGEST_DESCRIPTIONS = 1000, 3000


class InEnvironment(Arguments):
    """A call that may be limited to an environment."""

    environment: EnvironmentName = None


async def run(context: Context, arguments: InEnvironment) -> Result:
    """This workspace's open rollouts, and the flags of the environment. Raises FlagServiceUnavailable."""
    turn, desk = context.turn, context.desk
    views = [view for view in await desk.rollouts.open() if arguments.environment in (None, view.environment)]
    states = await desk.flags.list(arguments.environment or turn.environment)
    said = listed(standing(view) for view in views[:MOST]) or "Nothing is rolling out."
    if len(views) > MOST:
        said += f"\n… and {len(views) - MOST} more."
    return Result(said=listed([said, _flags(states)]), data=_described(states[:MOST]))


def _flags(states: Sequence[FlagState]) -> str:
    """The flags there are, as one line; empty where there are none."""
    shown = [f"{state.ref.flag} at {state.exposure}" for state in states[:MOST]]
    more = [f"… and {len(states) - MOST} more"] if len(states) > MOST else []
    return f"Flags: {', '.join([*shown, *more])}." if shown else ""


def _described(states: Sequence[FlagState]) -> dict[str, Any]:
    """What people wrote about the flags, as far as there is room: data, and no part of what is said."""
    # Not under the flag's name, which may be that of a secret: "reset-password".
    described, room = list[dict[str, str]](), LONGEST_DESCRIPTIONS
    for state in states:
        text = redacted(state.description.strip())[: min(LONGEST_DESCRIPTION, room)]
        if text:
            described.append({"flag": state.ref.flag, "description": text})
            room -= len(text)
    return {"descriptions_written_by_people": described} if described else {}


TOOL = Tool(
    name="list_rollouts",
    description="All rollouts that are open and all flags there are; when no single flag is meant.",
    title="Listing rollouts",
    effect=Effect.READ,
    arguments=InEnvironment,
    run=run,
)

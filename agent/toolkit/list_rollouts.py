"""list_rollouts: what is rolling out, and which flags there are."""

from agent.toolkit.base import Arguments, Context, Effect, Result, Tool
from agent.toolkit.subject import EnvironmentName
from agent.toolkit.wording import listed, standing

MOST = 30


class InEnvironment(Arguments):
    """A call that may be limited to an environment."""

    environment: EnvironmentName = None


async def run(context: Context, arguments: InEnvironment) -> Result:
    """This workspace's open rollouts, and the flags of the environment. Raises FlagServiceUnavailable."""
    turn, desk = context.turn, context.desk
    views = [view for view in await desk.open(turn.workspace) if arguments.environment in (None, view.environment)]
    states = await desk.flags.list(arguments.environment or turn.environment)
    flags = [f"{state.ref.flag} at {state.exposure}" for state in states[:MOST]]
    said = listed(standing(view) for view in views[:MOST]) or "Nothing is rolling out."
    if len(views) > MOST:
        said += f"\n… and {len(views) - MOST} more."
    return Result(said=said, data={"flags": flags})


TOOL = Tool(
    name="list_rollouts",
    description="All rollouts that are open and all flags there are; when no single flag is meant.",
    title="Listing rollouts",
    effect=Effect.READ,
    arguments=InEnvironment,
    run=run,
)

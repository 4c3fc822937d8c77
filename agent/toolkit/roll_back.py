"""roll_back: restore the exposure from before the rollout."""

from agent.toolkit.base import Context, Effect, Result, Tool
from agent.toolkit.lowering import at_once_or_button
from agent.toolkit.subject import AboutFlag, rollout_of
from tools.flags.base import FlagRef
from tools.rollouts.confirmations import Action


async def run(context: Context, arguments: AboutFlag) -> Result:
    """Roll back, or leave a button for it. Raises WhichFlag, RolloutNotFound, Conflict."""
    view = await rollout_of(context, arguments)
    rollouts, person = context.desk.rollouts, context.turn.person
    return await at_once_or_button(
        context,
        FlagRef(view.flag, view.environment),
        Action.ROLL_BACK,
        lambda reason: rollouts.roll_back(view.id, actor=person, reason=reason),
        rollout=view,
    )


TOOL = Tool(
    name="roll_back",
    description="Take a rollout back, only when the person says so in plain words.",
    title="Rolling back",
    effect=Effect.LOWER,
    arguments=AboutFlag,
    run=run,
)

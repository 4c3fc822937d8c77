"""pause: promote nothing until someone resumes."""

from agent.toolkit.base import Context, Effect, Result, Tool
from agent.toolkit.lowering import at_once_or_button
from agent.toolkit.subject import AboutFlag, rollout_of
from tools.flags.base import FlagRef
from tools.rollouts.confirmations import Action


async def run(context: Context, arguments: AboutFlag) -> Result:
    """Pause, or leave a button for it. Raises WhichFlag, RolloutNotFound, IllegalTransition."""
    view = await rollout_of(context, arguments)
    rollouts, person = context.desk.rollouts, context.turn.person
    return await at_once_or_button(
        context,
        FlagRef(view.flag, view.environment),
        Action.PAUSE,
        lambda reason: rollouts.pause(view.id, actor=person, reason=reason),
        rollout=view,
    )


TOOL = Tool(
    name="pause",
    description="Hold a rollout where it is, only when the person says so.",
    title="Pausing",
    effect=Effect.LOWER,
    arguments=AboutFlag,
    run=run,
)

"""resume: go on where it paused, as far as the person may."""

from agent.orders import Deed, Target, names_it
from agent.toolkit.base import Context, Effect, Result, Tool
from agent.toolkit.lowering import surroundings
from agent.toolkit.subject import AboutFlag, rollout_of
from agent.toolkit.wording import listed, standing, waiting


async def run(context: Context, arguments: AboutFlag) -> Result:
    """Resume if the person ordered it: an approver's wish to go on is a decision, and a model may not make it.

    Raises WhichFlag, RolloutNotFound, NotAllowed, Conflict.
    """
    view = await rollout_of(context, arguments)
    target = Target(view.flag, view.environment)
    if not names_it(context.turn.words, Deed.RESUME, target, await context.unless_over(surroundings(context))):
        said = f"To go on with {view.flag}, press Resume on its card, or say: resume {view.flag}."
        return Result(said=said, data={"happened": False}, rollout_id=view.id)
    resumed = await context.desk.rollouts.resume(view.id, actor=context.turn.person)
    return Result(said=listed([standing(resumed), waiting(resumed)]), rollout_id=resumed.id)


TOOL = Tool(
    name="resume",
    description="Go on with a paused rollout, only when the person says so.",
    title="Resuming",
    effect=Effect.REQUEST,
    arguments=AboutFlag,
    run=run,
)

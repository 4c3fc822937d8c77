"""set_exposure: a request for a percentage. Policy answers with auto, approval or denied; nothing here is a vote."""

from typing import Annotated

from pydantic import Field

from agent.toolkit.base import Context, Effect, Result, Tool
from agent.toolkit.lowering import at_once_or_button
from agent.toolkit.subject import AboutFlag, subject
from agent.toolkit.wording import listed, standing, waiting
from tools.flags.base import FlagRef
from tools.flags.urgency import urgently
from tools.plans.model import Exposure
from tools.rollouts import requests
from tools.rollouts.confirmations import Action
from tools.rollouts.phases import LIVE, Phase
from tools.rollouts.views import RolloutView


class Wanted(AboutFlag):
    """The percentage that is wanted."""

    percent: Annotated[
        float | None,
        Field(ge=0, le=100, allow_inf_nan=False, description="in percent; leave it out for the plan's next stage"),
    ] = None


async def run(context: Context, arguments: Wanted) -> Result:
    """Ask for it. Raises WhichFlag, FlagNotFound, Conflict, NotAllowed."""
    turn, desk, ref = context.turn, context.desk, subject(context, arguments)
    await desk.rollouts.check_free(ref.flag, ref.environment)
    view = await desk.find_or_none(ref.flag, ref.environment)
    # It may be a lowering.
    with urgently():
        served = (await context.unless_over(desk.flags.read(ref))).exposure
    percent = arguments.percent if arguments.percent is not None else _next(view)
    if percent is not None and _is_lower(percent, served, view):
        return await _lower(context, ref, view, percent)
    if percent is None:
        said = "There is no next stage. " + (standing(view) if view is not None else f"{ref.flag} has no plan.")
        return Result(said=said, failed=True, rollout_id=view.id if view is not None else None)
    answer = await desk.rollouts.request_exposure(
        ref.flag,
        ref.environment,
        percent,
        actor=turn.person,
    )
    now = answer.view
    lines = [f"Policy says {answer.answer.value}: {answer.why}."]
    lines += [standing(now), waiting(now)] if now is not None else []
    return Result(
        said=listed(lines), data={"policy": answer.answer.value}, rollout_id=now.id if now is not None else None
    )


async def _lower(context: Context, ref: FlagRef, view: RolloutView | None, percent: float) -> Result:
    rollouts, person = context.desk.rollouts, context.turn.person
    if percent > 0 and view is not None and view.phase in LIVE:
        rollout = view
        return await at_once_or_button(
            context,
            ref,
            Action.LOWER,
            lambda reason: rollouts.lower(rollout.id, percent, actor=person, reason=reason),
            rollout=rollout,
            percent=percent,
        )
    if percent > 0:
        return Result(
            said=f"{ref.flag} is not rolling out in {ref.environment}, so I can only take it to 0 % for everyone.",
            failed=True,
        )
    return await at_once_or_button(
        context,
        ref,
        Action.KILL,
        lambda reason: rollouts.kill(ref.flag, ref.environment, actor=person, reason=reason),
        rollout=view if view is not None and view.ended_at is None else None,
    )


def _is_lower(percent: float, served: Exposure, view: RolloutView | None) -> bool:
    """Whether that is less than what there is, than what is on its way, or than what the rollout is to serve."""
    on_its_way = view.setting if view is not None else None
    present = max(served.live_percent, on_its_way.live_percent if on_its_way is not None else 0.0)
    return percent < present or (view is not None and requests.read(view, percent).step is requests.Step.LOWER)


def _next(view: RolloutView | None) -> float | None:
    """The next stage's percentage, None where there is none."""
    if view is None or view.ended_at is not None:
        return None
    following = 0 if view.phase in (Phase.DRAFT, Phase.PROPOSED) or view.stage is None else view.stage + 1
    return view.plan.stages[following].exposure.percent if following < len(view.plan.stages) else None


TOOL = Tool(
    name="set_exposure",
    description="Ask to start, to go to a percentage or the next stage, or to switch off (0). Policy decides.",
    title="Asking for an exposure",
    effect=Effect.REQUEST,
    arguments=Wanted,
    run=run,
)

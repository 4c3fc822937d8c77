"""What lowers or holds exposure: at once where the person's own words order it, otherwise one button away."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from agent.desk import NAMES_WITHIN_S
from agent.orders import Deed, Surroundings, Target, may_order, names_it
from agent.toolkit.base import Context, Result
from agent.toolkit.wording import standing
from agent.turns import Turn
from tools.clock import in_words, written
from tools.errors import SluiceError
from tools.flags.base import FlagRef
from tools.rollouts.confirmations import Action
from tools.rollouts.views import RolloutView

ORDERED = "Ordered in a thread"
LATE_AFTER = timedelta(minutes=1)
"""An order that took longer to be read is answered with when it was written."""
DEEDS = {Action.ROLL_BACK: "roll it back", Action.KILL: "take it to 0 % for everyone", Action.PAUSE: "pause it"}


async def at_once_or_button(
    context: Context,
    ref: FlagRef,
    action: Action,
    act: Callable[[str], Awaitable[RolloutView | None]],
    *,
    rollout: RolloutView | None,
    percent: float | None = None,
) -> Result:
    """Carry `act` out (it takes the reason) if the person ordered it in plain words; else leave them a button."""
    words = context.turn.words
    target = Target(ref.flag, ref.environment, percent)
    around = await context.unless_over(surroundings(context))
    if names_it(words, Deed(action.value), target, around):
        view = await act(" ".join(words)[:500] or ORDERED)
        said = standing(view) if view is not None else f"{ref.flag} in {ref.environment} is going to 0 % for everyone."
        return Result(said=f"Done. {_late(context.turn)}{said}", rollout_id=view.id if view is not None else None)
    deed = DEEDS.get(action, f"lower it to {percent:g} %" if percent is not None else "lower it")
    confirmation = await context.desk.rollouts.ask_to_confirm(
        action,
        flag=ref.flag,
        environment=ref.environment,
        rollout_id=rollout.id if rollout is not None else None,
        percent=percent,
        person=context.turn.person,
        reason=" ".join(words)[:500] or ORDERED,
        run_id=context.run_id,
    )
    return Result(
        said=f"I understood that you want to {deed}: {ref.flag} in {ref.environment}. Nothing has happened yet; "
        "press the button to do it.",
        data={"happened": False, "waits_for": "the person's button"},
        rollout_id=rollout.id if rollout is not None else None,
        confirmation_id=confirmation.id,
    )


def _late(turn: Turn) -> str:
    """When the order was written, where that is a while ago: much may have happened since."""
    new = [said for said in turn.messages if said.new]
    at = max(said.at for said in [one for one in new if may_order(one.text)] or new)
    if turn.now - at < LATE_AFTER:
        return ""
    return f"You wrote this at {written(at)}, {in_words(turn.now - at)} before I could read it. "


async def surroundings(context: Context) -> Surroundings:
    """The names there are, for reading an order."""
    turn, desk = context.turn, context.desk
    rollouts = await desk.rollouts.open_flags()
    flags = {one.flag for one in rollouts}
    try:
        async with asyncio.timeout(NAMES_WITHIN_S):
            flags |= {state.ref.flag for state in await desk.flags.list(turn.environment)}
    except (SluiceError, TimeoutError):
        # Without the service's names the check only knows fewer other flags; an order must not wait for it.
        flags |= {turn.flag} - {None}  # type: ignore[arg-type]
    environments = {turn.environment, *(one.environment for one in rollouts)}
    return Surroundings(turn.flag, flags, environments, turn.rollout_environment or turn.environment)

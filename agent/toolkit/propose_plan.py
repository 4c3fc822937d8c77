"""propose_plan: a plan from the spec and the telemetry, put before people."""

from typing import Annotated, Literal

from pydantic import Field

from agent.planner import PlanRequest
from agent.toolkit.base import Context, Effect, Result, Tool
from agent.toolkit.subject import AboutFlag, subject
from agent.toolkit.wording import listed, plan_lines, waiting
from agent.turns import last_words
from tools.errors import Conflict
from tools.plans.model import Strategy
from tools.rollouts.phases import Phase
from tools.rollouts.service import Place
from tools.rollouts.views import RolloutView

MOST_NOTES = 4


class Wish(AboutFlag):
    """What is to be planned."""

    strategy: Annotated[
        Literal["canary", "shadow", "full"] | None,
        Field(description="only if the person named one"),
    ] = None


async def run(context: Context, arguments: Wish) -> Result:
    """Make the plan and show it with its buttons.

    A plan that somebody else asked for keeps its place. Raises WhichFlag, CannotBeProven, InvalidPlan, Conflict, …
    """
    turn, desk, ref = context.turn, context.desk, subject(context, arguments)
    await desk.rollouts.check_may_act(turn.person)
    await desk.rollouts.check_free(ref.flag, ref.environment)
    _check_own(await desk.find_or_none(ref.flag, ref.environment), turn.person)
    strategy = Strategy(arguments.strategy) if arguments.strategy else None
    words = last_words(turn.messages)
    proposal = await desk.planner.propose(
        PlanRequest(
            ref.flag,
            ref.environment,
            strategy,
            turn.person,
            wishes=words,
            run_id=context.run_id,
            scope=desk.rollouts.scope,
        ),
        context.stop,
        context.budget,
    )
    standing = await desk.find_or_none(ref.flag, ref.environment)
    if standing is not None and standing.ended_at is None and standing.plan.sha256 == proposal.plan.sha256:
        said = [f"Plan v{standing.plan_version} still stands; nothing has changed.", *plan_lines(standing.plan)]
        return Result(said=listed([*said, waiting(standing)]), rollout_id=standing.id)
    # Planning takes its time, in which somebody else may have planned.
    _check_own(standing, turn.person)
    view = await desk.rollouts.propose(
        proposal.plan,
        requester=turn.person,
        place=Place(turn.workspace, turn.channel),
        reason=words[:500] or "Asked for in a thread",
        spec=proposal.spec,
    )
    lines = [*plan_lines(view.plan), *proposal.notes[:MOST_NOTES], waiting(view)]
    return Result(said=listed(lines), data={"plan_version": view.plan_version}, rollout_id=view.id)


def _check_own(standing: RolloutView | None, person: str) -> None:
    """Raise Conflict for a proposed plan that somebody else asked for: to replace it takes a yes to a question."""
    if standing is None or standing.phase is not Phase.PROPOSED or standing.requester == person:
        return
    raise Conflict(
        f"Somebody else asked for the plan of {standing.flag} in {standing.environment} that stands, v"
        f"{standing.plan_version}: say in its thread what to change, or type `/rollout plan {standing.flag} --env "
        f"{standing.environment}`, which asks you before a new plan takes its place."
    )


TOOL = Tool(
    name="propose_plan",
    description="A new staged plan for a flag, from its spec and traffic, put before people with buttons.",
    title="Making a plan",
    effect=Effect.PLAN,
    arguments=Wish,
    run=run,
)

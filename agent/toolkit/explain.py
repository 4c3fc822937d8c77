"""explain: why a verdict is what it is, what the gate waits for and how long that should take, and what if."""

from typing import Annotated

from pydantic import Field

from agent.toolkit.base import LONGEST_NAME, Context, Effect, Result, Tool
from agent.toolkit.subject import AboutFlag, rollout_of
from agent.toolkit.wording import guardrail_line, listed, overrides, standing, waiting
from tools.rollouts.expectation import expectations
from tools.rollouts.views import RolloutView
from tools.rollouts.whatif import with_margin


class Why(AboutFlag):
    """What is to be explained."""

    margin: Annotated[
        float | None,
        Field(gt=1, le=100, allow_inf_nan=False, description="what would have happened with this margin instead"),
    ] = None
    metric: Annotated[
        str | None,
        Field(
            max_length=LONGEST_NAME,
            description="only this metric",
            json_schema_extra={"choices": "metrics"},
        ),
    ] = None


async def run(context: Context, arguments: Why) -> Result:
    """Why it is where it is. Raises WhichFlag, RolloutNotFound."""
    view = await rollout_of(context, arguments)
    lines = [standing(view), waiting(view), *overrides(view), *_verdicts(view, arguments.metric)]
    if view.check is not None and view.ended_at is None:
        lines += await expectations(context.desk.database, view, now=context.desk.clock.now())
    if arguments.margin is not None:
        lines += await _with(context, view, arguments.margin, arguments.metric)
    return Result(said=listed(lines), rollout_id=view.id)


def _verdicts(view: RolloutView, metric: str | None) -> list[str]:
    if view.check is None:
        return ["The gate has not been checked yet."]
    rails = [
        guardrail_line(rail, verdict) for rail, verdict, _ in view.check.guardrails if metric in (None, rail.metric)
    ]
    return [*rails, *(one.why for one in view.check.mixes if metric in (None, one.metric))]


async def _with(context: Context, view: RolloutView, margin: float, metric: str | None) -> list[str]:
    metrics = [metric] if metric else [rail.metric for rail in view.plan.stages[view.stage or 0].guardrails]
    return [str(await with_margin(context.desk.database, view.id, one, margin)) for one in dict.fromkeys(metrics)]


TOOL = Tool(
    name="explain",
    description='"Why", "what does it wait for", "how long until it goes on"; a verdict; what other margins mean.',
    title="Looking for the reason",
    effect=Effect.READ,
    arguments=Why,
    run=run,
)

"""revise_plan: a new version of a plan, as the person wants it changed, with a readable difference."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from agent.toolkit.base import LONGEST_NAME, Context, Effect, Result, Tool
from agent.toolkit.subject import AboutFlag, rollout_of
from agent.toolkit.wording import listed, waiting
from agent.turns import last_words
from tools.errors import InvalidInput
from tools.plans.diff import differences
from tools.plans.model import Strategy
from tools.plans.revision import Changes

LONGEST_HOLD = 14 * 24 * 60
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Percents = Annotated[tuple[Percent, ...], Field(max_length=20)]
Names = Annotated[tuple[Annotated[str, Field(max_length=LONGEST_NAME)], ...], Field(max_length=50)]
StageNumber = Annotated[int, Field(ge=1, le=20)]
Metric = Annotated[str, Field(max_length=LONGEST_NAME, json_schema_extra={"choices": "metrics"})]


class Revision(AboutFlag):
    """What is to be different; everything left out stays."""

    start_at: Annotated[Percent | None, Field(description="percent of the first live stage")] = None
    stages: Annotated[Percents | None, Field(description="all live percentages, when the person lists them")] = None
    add_stages: Annotated[Percents | None, Field(description="percentages to put in")] = None
    drop_stages: Annotated[Percents | None, Field(description="percentages to take out")] = None
    hold_minutes: Annotated[
        float | None, Field(gt=0, le=LONGEST_HOLD, description="least length of a stage: two hours is 120")
    ] = None
    hold_stage: Annotated[StageNumber | None, Field(description="only this stage, counted from 1")] = None
    regions: Annotated[Names | None, Field(description="limit it to these regions")] = None
    tenants: Annotated[Names | None, Field(description="limit it to these tenants")] = None
    audience_until_stage: Annotated[
        StageNumber | None, Field(description='limit only the stages up to this one: "eu first" is 1')
    ] = None
    skip_shadow: Annotated[bool | None, Field(description="take the shadow stage out")] = None
    strategy: Annotated[Literal["canary", "shadow", "full"] | None, Field(description="another strategy")] = None
    margin: Annotated[
        float | None, Field(gt=1, le=100, allow_inf_nan=False, description="another margin, a factor")
    ] = None
    metric: Annotated[Metric | None, Field(description="the metric whose margin it is")] = None
    add_metric: Annotated[Metric | None, Field(description="a metric to guard as well")] = None
    drop_metric: Annotated[Metric | None, Field(description="a metric to guard no more")] = None


async def run(context: Context, arguments: Revision) -> Result:
    """Revise the plan and show what differs. Raises WhichFlag, RolloutNotFound, InvalidInput, InvalidPlan, Conflict."""
    view = await rollout_of(context, arguments)
    words = last_words(context.turn.messages)[:500]
    changes = _changes(arguments, [rail.metric for rail in view.plan.stages[0].guardrails])
    proposal = await context.unless_over(context.desk.planner.revise(view, changes, words=words))
    revised = await context.desk.rollouts.revise(
        view.id, proposal.plan, actor=context.turn.person, reason=words, spec=proposal.spec
    )
    head = f"Plan v{revised.plan_version} of {view.flag}; buttons of v{view.plan_version} no longer count."
    lines = differences(view.plan, revised.plan)
    return Result(
        said=listed([head, *lines, *proposal.notes[:3], waiting(revised)]),
        data={"plan_version": revised.plan_version},
        rollout_id=view.id,
    )


def _changes(arguments: Revision, metrics: list[str]) -> Changes:
    """What the plan's own revision takes. Raises InvalidInput."""
    wanted = {
        "strategy": Strategy(arguments.strategy) if arguments.strategy else None,
        "start_at": arguments.start_at,
        "stages": arguments.stages or (),
        "add_stages": arguments.add_stages or (),
        "drop_stages": arguments.drop_stages or (),
        "hold": timedelta(minutes=arguments.hold_minutes) if arguments.hold_minutes else None,
        "hold_stage": arguments.hold_stage if arguments.hold_minutes else None,
        "regions": arguments.regions,
        "tenants": arguments.tenants,
        "audience_until_stage": arguments.audience_until_stage,
        "skip_shadow": bool(arguments.skip_shadow),
        "margins": _margins(arguments, metrics),
        "add_metrics": (arguments.add_metric,) if arguments.add_metric else (),
        "drop_metrics": (arguments.drop_metric,) if arguments.drop_metric else (),
    }
    try:
        return Changes.model_validate(wanted)
    except ValidationError as error:
        raise InvalidInput(f"The plan can't be changed like that: {_first(error)}.") from None


def _margins(arguments: Revision, metrics: list[str]) -> dict[str, float]:
    if arguments.margin is None:
        return {}
    return dict.fromkeys([arguments.metric] if arguments.metric else metrics, arguments.margin)


def _first(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"


TOOL = Tool(
    name="revise_plan",
    description="Change the plan: first percentage, stages, holding time, audience, shadow stage, margin, metrics.",
    title="Changing the plan",
    effect=Effect.PLAN,
    arguments=Revision,
    run=run,
)

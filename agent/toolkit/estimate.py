"""estimate: how long, how many, how much: the calculators, fed with the flag's own traffic."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from agent.toolkit.base import LONGEST_NAME, Context, Effect, Result, Tool
from agent.toolkit.subject import AboutFlag, subject
from agent.toolkit.wording import listed
from tools.clock import in_words
from tools.errors import SluiceError
from tools.flags.base import FlagRef
from tools.gates import CountTest, Direction
from tools.gates.calculators import minimum_sample, smallest_harm, time_to_prove
from tools.gates.catching import PATIENCE
from tools.gates.forecast import catch_in_stage, forecast, forecast_harm
from tools.metrics.catalogue import MetricKind
from tools.plans.forecasting import harmless, schedule_of, told
from tools.plans.kinds import is_sized, without_splits
from tools.plans.model import Plan, Stage
from tools.plans.sizing import Baseline

USUAL_PERCENT = 5.0
USUAL_FACTORS = {MetricKind.RATIO: 2.0, MetricKind.MEAN: 1.05, MetricKind.LATENCY: 1.25}
A_DAY = 24 * 60
Factor = Annotated[float, Field(gt=1, le=100, allow_inf_nan=False)]


class Question(AboutFlag):
    """What is to be estimated."""

    percent: Annotated[
        float | None, Field(gt=0, lt=100, allow_inf_nan=False, description="the exposure in percent")
    ] = None
    harm: Annotated[
        Factor | None, Field(description="how many times worse treatment would be: 2 is doubled, 1.1 is 10 % worse")
    ] = None
    margin: Annotated[Factor | None, Field(description="the margin to prove, a factor")] = None
    metric: Annotated[
        str | None,
        Field(
            max_length=LONGEST_NAME,
            description="only if the person named one",
            json_schema_extra={"choices": "metrics"},
        ),
    ] = None


async def run(context: Context, arguments: Question) -> Result:
    """Times, samples and what would be met by a harm. Raises WhichFlag, FlagNotFound, CannotBeProven, BadQuestion."""
    ref, desk = subject(context, arguments), context.desk
    view = await desk.find_or_none(ref.flag, ref.environment)
    stage = view.plan.stages[min(view.stage or 0, len(view.plan.stages) - 1)] if view is not None else None
    percent = arguments.percent or (min(stage.exposure.percent, 99.0) if stage is not None else USUAL_PERCENT)
    guarding = _margins([stage]) if stage is not None else {}
    margins = _margins(view.plan.stages) | guarding if view is not None else {}
    known = [metric for metric, kind in desk.metrics.catalogue.kinds.items() if is_sized(kind)]
    metrics = [arguments.metric] if arguments.metric else list(guarding) or known
    measured, failed = await _measured(context, ref, [*metrics, *margins])
    bases = [base for metric, base in measured.items() if metric in margins]
    lines, failures = list[str](), [failed[metric] for metric in metrics if metric in failed]
    for base in (measured[metric] for metric in metrics if metric in measured):
        metric = base.metric
        try:
            margin = arguments.margin or margins.get(metric, USUAL_FACTORS[base.kind])
            harm = arguments.harm or margin
            sharing = len(margins) if metric in margins else 1
            lines += await asyncio.to_thread(_lines, base, percent, harm, margin, sharing=sharing)
            if view is not None and arguments.percent is None and metric in margins:
                lines.append(await _foretold(view.plan, bases, base, harm))
        except SluiceError as error:
            failures.append(str(error))
    if view is not None and arguments.percent is None and bases:
        lines.append(harmless(await asyncio.to_thread(forecast, schedule_of(view.plan, bases))))
    if not lines:
        return Result(said=" ".join(failures) or "There is no metric to estimate with.", failed=True)
    return Result(said=listed([f"{ref.flag} in {ref.environment} at {percent:g} %:", *lines, *failures]))


async def _measured(
    context: Context, ref: FlagRef, metrics: Iterable[str]
) -> tuple[dict[str, Baseline], dict[str, str]]:
    """What the metrics did lately, and why the others are not known."""
    known, unknown = dict[str, Baseline](), dict[str, str]()
    for metric in dict.fromkeys(metrics):
        try:
            known[metric] = await context.desk.planner.traffic(ref.flag, ref.environment, metric)
        except SluiceError as error:
            unknown[metric] = str(error)
    return known, unknown


def _margins(stages: Iterable[Stage]) -> dict[str, float]:
    """Of the metrics that share the level of a rollback."""
    return {rail.metric: rail.margin for stage in stages for rail in without_splits(stage.guardrails)}


def _lines(base: Baseline, percent: float, harm: float, margin: float, *, sharing: int) -> list[str]:
    """`sharing` is how many metrics share the level of a rollback. It may take a second: call it in a thread."""
    traffic = base.traffic(percent, margin)
    caught = catch_in_stage(traffic, base.direction, harm, weight=1 / sharing)
    prove = time_to_prove(traffic, base.direction, margin)
    smallest = smallest_harm(traffic, base.direction, A_DAY, alpha=CountTest.alpha_rollback / sharing)
    return [
        f"{base.metric}: {base.pace}, {base.measured}.",
        f"A harm of {_factor(base, harm)} is caught after about {_minutes(caught.minutes.median)} "
        f"(9 of 10 within {_minutes(caught.minutes.p90)}), having met about {caught.requests.median:,.0f} requests.",
        f"Proof that it stays within {_factor(base, margin)} takes about {_minutes(prove.median)} "
        f"(9 of 10 within {_minutes(prove.p90)}) and {minimum_sample(traffic, base.direction, margin):,} exposures.",
        f"The smallest harm caught within a day is {_factor(base, smallest)}."
        if smallest is not None
        else "No harm is caught within a day with this traffic.",
    ]


async def _foretold(plan: Plan, bases: Sequence[Baseline], base: Baseline, harm: float) -> str:
    """What the plan as a whole does about the harm in `base`, with what is known of all that guard it.

    In a thread: it takes a good part of a second.
    """
    schedule = schedule_of(plan, bases)
    found = await asyncio.to_thread(forecast_harm, schedule, base.metric, harm)
    return told(found, plan, f"{_factor(base, harm)} in {base.metric}")


def _factor(base: Baseline, factor: float) -> str:
    return f"{'×' if base.direction is Direction.INCREASE else '÷'}{factor:g}"


def _minutes(minutes: float) -> str:
    return (
        f"more than {in_words(timedelta(minutes=PATIENCE))}"
        if minutes > PATIENCE
        else in_words(timedelta(minutes=minutes))
    )


TOOL = Tool(
    name="estimate",
    description='"What if" a metric gets worse: when it is noticed, how many it hits; how long a proof takes.',
    title="Estimating",
    effect=Effect.READ,
    arguments=Question,
    run=run,
)

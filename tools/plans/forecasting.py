"""A plan as the calculators see it, and what they foretell of a harm, in words. Pure."""

from collections.abc import Sequence
from datetime import timedelta

from tools.clock import in_words
from tools.gates.amounts import Amounts, Latencies
from tools.gates.blast import Reach
from tools.gates.calculators import BadQuestion
from tools.gates.courses import FEW_DRAWS
from tools.gates.forecast import HarmForecast, PlanForecast, forecast, forecast_harm
from tools.gates.schedule import Schedule, Step, Watched
from tools.plans.model import Mode, Plan, Stage
from tools.plans.sizing import Baseline, CannotBeProven

SELDOM = 0.01
"""A part of the rollouts that few courses can't tell from none."""
OFTEN = 0.3
"""A part that few courses tell to within a quarter."""
LARGEST_COMPARED = 0.99
"""The share that is reckoned with where an audience is exposed as a whole, so that others are left to compare with."""


def schedule_of(plan: Plan, baselines: Sequence[Baseline]) -> Schedule:
    """The plan's stages with what its metrics did lately; one without a baseline is left out.

    Raises CannotBeProven when no baseline is of a metric that guards, BadQuestion for one that makes no sense, or
    of which times can't be foretold.
    """
    margins = {rail.metric: rail.margin for stage in reversed(plan.stages) for rail in stage.guardrails}
    watched = tuple(
        Watched(
            base.metric,
            base.direction,
            margins[base.metric],
            base.requests_per_minute,
            _seen(base),
            max([base.dispersion, *_dispersions(plan, base.metric)]),
        )
        for base in baselines
        if base.metric in margins
    )
    for base in baselines:
        for stage in plan.stages:
            untold = base.why_untold(stage.exposure.percent) if base.metric in margins else None
            if untold is not None and stage.exposure.percent > 0:
                raise BadQuestion(untold)
    if not watched:
        raise CannotBeProven(f"None of the metrics that guard {plan.flag} was measured, so nothing can be foretold.")
    return Schedule(
        watched,
        tuple(_step(stage, watched) for stage in plan.stages if stage.exposure.percent > 0),
        burn_in=_in_minutes(plan.burn_in),
        check_every=max(_in_minutes(plan.check_every), 1 / 60),
        sharing=len({rail.metric for stage in plan.stages for rail in stage.guardrails if not rail.of_split}),
    )


def as_a_whole(plan: Plan, baselines: Sequence[Baseline]) -> str | None:
    """A sentence about all stages together: a rollback for nothing, and harms as large as the margins that are missed.

    None where no metric that guards was measured. It takes some tenths of a second.
    """
    try:
        schedule = schedule_of(plan, baselines)
        found = forecast(schedule, FEW_DRAWS)
        missed = {one.name: _missed(schedule, one) for one in schedule.watched}
    except CannotBeProven:
        return None
    except BadQuestion as error:
        return f"What the plan does as a whole can't be foretold: {error}"
    metric = max(missed, key=lambda name: missed[name])
    through = "hardly ever proven in all stages"
    if found.whole is not None:
        through = f"through after about {in_words(timedelta(minutes=found.whole.median))}"
    return (
        f"As a whole: without harm it is {through}, and rolled back for nothing in about "
        f"{_precisely(found.false_rollback.expected)} of 100 rollouts; a harm as large as its margin is missed in "
        f"{_at_most(missed[metric])} of 100{f' (most often in {metric})' if missed[metric] >= SELDOM else ''}."
    )


def _missed(schedule: Schedule, one: Watched) -> float:
    """The part of the rollouts that come to their end with a harm as large as the margin, or as large as can be."""
    harm = min(one.margin, one.traffic(0.5).largest_harm(one.direction))
    few = forecast_harm(schedule, one.name, harm, draws=FEW_DRAWS).missed
    # A small part of few courses is mostly chance.
    return forecast_harm(schedule, one.name, harm).missed if 0 < few < OFTEN else few


def harmless(found: PlanForecast) -> str:
    """A sentence for people about a treatment that does no harm."""
    chance = found.false_rollback
    wrong = (
        f"It rolls back for nothing in about {_precisely(chance.expected)} of 100 rollouts, "
        f"in at most {_of_hundred(chance.bound)}."
    )
    if found.whole is None:
        return f"Without harm hardly any rollout is proven in all its stages: people are asked. {wrong}"
    median, p90 = (in_words(timedelta(minutes=minutes)) for minutes in (found.whole.median, found.whole.p90))
    asked = f"; in {_of_hundred(found.unfinished)} of 100 people are asked" if found.unfinished >= 0.005 else ""
    return f"Without harm this plan is through after about {median} (9 of 10 within {p90}){asked}. {wrong}"


def told(found: HarmForecast, plan: Plan, harm: str) -> str:
    """A sentence for people about a harm that is there from the plan's start."""
    stages = [stage for stage in plan.stages if stage.exposure.percent > 0]
    where = max(zip(found.by_stage, stages, strict=True), key=lambda pair: pair[0].chance)
    if found.minutes is None or found.blast is None:
        return f"This plan does not catch {harm}: nobody is told before its end."
    median, p90 = (in_words(timedelta(minutes=minutes)) for minutes in (found.minutes.median, found.minutes.p90))
    parts = [f"rolls {harm} back in {_of_hundred(found.caught)} of 100 rollouts, mostly at {where[1].exposure}"]
    if found.asked >= 0.005:
        parts.append(f"pauses and asks a person in {_of_hundred(found.asked)}")
    if found.missed >= 0.005:
        parts.append(f"misses it in {_of_hundred(found.missed)}")
    return (
        f"This plan {', '.join(parts)}. It is found after about {median} (9 of 10 within {p90}), when "
        f"{_percents(found.blast.users)} of users and {_numbers(found.blast.requests)} requests have met it."
    )


def _step(stage: Stage, watched: Sequence[Watched]) -> Step:
    samples = {rail.metric: rail.min_sample for rail in stage.guardrails}
    share = stage.exposure.percent / 100
    return Step(
        share if stage.exposure.leaves_no_control else min(share, LARGEST_COMPARED),
        bake=_in_minutes(stage.bake),
        limit=_in_minutes(max(stage.time_limit, stage.bake)),
        min_samples=tuple(samples.get(one.name, 0) for one in watched),
        shadow=stage.exposure.mode is Mode.SHADOW,
    )


def _seen(base: Baseline) -> float | Amounts | Latencies:
    if base.values is not None:
        return base.values
    assert base.base_rate is not None, "a baseline has one or the other"
    return base.base_rate


def _dispersions(plan: Plan, metric: str) -> list[float]:
    return [rail.dispersion for stage in plan.stages for rail in stage.guardrails if rail.metric == metric]


def _in_minutes(length: timedelta) -> float:
    return length.total_seconds() / 60


def _of_hundred(part: float) -> str:
    return f"{100 * part:.0f}"


def _at_most(part: float) -> str:
    return "fewer than 1" if part < SELDOM else f"about {_of_hundred(part)}"


def _precisely(part: float) -> str:
    """With one digit, where a whole number would round it to nothing."""
    return f"{100 * part:.1f}" if part < 0.1 else _of_hundred(part)


def _percents(reach: Reach) -> str:
    return f"{100 * reach.expected:.2g} % (9 of 10 at most {100 * reach.p90:.3g} %)"


def _numbers(reach: Reach) -> str:
    return f"{reach.expected:,.0f} (9 of 10 at most {reach.p90:,.0f})"

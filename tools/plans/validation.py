"""What is wrong with a plan, in sentences that say what to change. Pure."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise

from tools.clock import in_words
from tools.errors import InvalidInput
from tools.gates import Direction
from tools.gates.judging import SMALLEST_MARGIN
from tools.plans.kinds import NO_KINDS, Kinds, control_faults
from tools.plans.model import LONGEST_PAUSE, Exposure, Guardrail, Mode, Plan, Stage, Strategy
from tools.plans.policy import Policy


class InvalidPlan(InvalidInput):
    """The plan can't be carried out as it stands; `problems` has one sentence a fault."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("The plan can't be used: " + " ".join(self.problems))


def check_plan(
    plan: Plan,
    policy: Policy,
    *,
    granularity: float,
    audiences: bool,
    shadow: bool,
    delay: timedelta = timedelta(0),
    kinds: Kinds = NO_KINDS,
) -> None:
    """Raise InvalidPlan unless the plan is sound, within policy, and within what the flag service can serve.

    `granularity` is the finest share in percent; `audiences` and `shadow` say whether those are supported; `delay` is
    how long services may take to see a change. `kinds` are those of the catalogue's metrics.
    """
    problems = [*_shape(plan), *_service(plan, granularity, audiences, shadow), *_policy(plan, policy)]
    problems += control_faults(plan, kinds)
    for number, stage in enumerate(plan.stages, start=1):
        problems += [f"Stage {number}: {problem}" for problem in _stage(stage, delay)]
    if problems:
        raise InvalidPlan(problems)


def _shape(plan: Plan) -> Iterator[str]:
    if plan.control == plan.treatment:
        yield f"Control and treatment are both {plan.control!r}; name two variants."
    if plan.check_every.total_seconds() <= 0:
        yield "The time between checks must be more than 0 s."
    if plan.check_every > LONGEST_PAUSE:
        yield f"The time between checks is {in_words(plan.check_every)}; use at most {in_words(LONGEST_PAUSE)}."
    if plan.stale_after < plan.check_every:
        yield "Data would count as stale before the next check; make stale_after longer than check_every."
    exposures = [stage.exposure for stage in plan.stages]
    yield from _order(exposures)
    yield from _strategy(plan.strategy, exposures)
    yield from _steady(plan)
    if exposures[0].leaves_no_control and any(g.ceiling is None for g in plan.stages[0].guardrails):
        yield "The first stage exposes everyone, so there is no control to compare with; give each guardrail a ceiling."


def _order(exposures: Sequence[Exposure]) -> Iterator[str]:
    for before, after in pairwise(exposures):
        if before.mode is Mode.LIVE and after.mode is Mode.SHADOW:
            yield f"{after} comes after {before}: shadow stages come before live ones."
        elif before.mode is after.mode and before.audience == after.audience and after.percent <= before.percent:
            yield f"{after} comes after {before}: each stage must expose more than the one before."


def _strategy(strategy: Strategy, exposures: Sequence[Exposure]) -> Iterator[str]:
    modes = {exposure.mode for exposure in exposures}
    if strategy is Strategy.SHADOW and exposures[0].mode is not Mode.SHADOW:
        yield "A shadow plan starts with a shadow stage; add one, or make it a canary plan."
    if strategy is not Strategy.SHADOW and Mode.SHADOW in modes:
        yield f"A {strategy.value} plan has no shadow stages; make it a shadow plan, or take them out."
    if strategy is Strategy.FULL and len(exposures) > 1:
        yield "A full plan has one stage; make it a canary plan to have more."


def _steady(plan: Plan) -> Iterator[str]:
    """Evidence is carried from stage to stage, so that its question must stay the same."""
    asked: dict[str, set[tuple[Direction, float]]] = {}
    for guardrail in (guardrail for stage in plan.stages for guardrail in stage.guardrails):
        asked.setdefault(guardrail.metric, set()).add((guardrail.direction, guardrail.margin))
    for metric in sorted(metric for metric, questions in asked.items() if len(questions) > 1):
        yield f"{metric} has different margins or directions in different stages; give it one of each."


def _stage(stage: Stage, delay: timedelta) -> Iterator[str]:
    if stage.exposure.percent <= 0:
        yield "the exposure must be more than 0 %."
    if stage.time_limit < stage.bake:
        yield "the time limit is shorter than the bake time; make it at least as long."
    if stage.bake < delay:
        yield f"services take up to {in_words(delay)} to see a change; bake at least that long."
    if stage.time_limit.total_seconds() <= 0:
        yield "the time limit must be more than 0 s."
    yield from _repeated(stage.guardrails)
    for guardrail in stage.guardrails:
        if guardrail.margin < SMALLEST_MARGIN:
            least = f"gates tell apart ×{SMALLEST_MARGIN:g} or more"
            yield f"{guardrail.metric} has the margin ×{guardrail.margin:g}; {least}."


def _repeated(guardrails: Sequence[Guardrail]) -> Iterator[str]:
    names = [guardrail.metric for guardrail in guardrails]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{name} is guarded twice; keep one."


def _service(plan: Plan, granularity: float, audiences: bool, shadow: bool) -> Iterator[str]:
    for exposure in (stage.exposure for stage in plan.stages):
        steps = exposure.percent / granularity
        if abs(steps - round(steps)) > 1e-6:
            yield f"{exposure} is finer than the flag service can serve; use multiples of {granularity:g} %."
        if not audiences and not exposure.audience.everyone:
            yield f"{exposure} is limited to an audience, which the flag service can't do."
        if not shadow and exposure.mode is Mode.SHADOW:
            yield f"{exposure} needs a shadow variant, which the flag service can't serve."


def _policy(plan: Plan, policy: Policy) -> Iterator[str]:
    if plan.environment in policy.free_environments:
        return
    first = next((stage.exposure for stage in plan.stages if stage.exposure.mode is Mode.LIVE), None)
    if plan.strategy is not Strategy.FULL and first is not None and first.percent > policy.largest_first_exposure:
        yield f"The first live stage is {first}; policy allows at most {policy.largest_first_exposure:g} %."
    for guardrail in {guardrail for stage in plan.stages for guardrail in stage.guardrails}:
        if guardrail.margin > policy.loosest_margin and not guardrail.of_split:
            yield (
                f"{guardrail.metric} has the margin ×{guardrail.margin:g}; policy allows at most "
                f"×{policy.loosest_margin:g}."
            )

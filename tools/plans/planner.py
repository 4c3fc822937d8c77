"""The calculators' planner: from traffic, base rates, the smallest harm worth catching and risk to stages and lengths.

Pure. Every number of the plan is computed, and `notes` says from what; where something can't be proven with the
traffic there is, that is said before anyone starts, with what would help.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from tools.clock import in_words
from tools.errors import InvalidInput
from tools.gates import Direction
from tools.gates.calculators import StageLength, Traffic, Unprovable, minimum_sample, stage_length
from tools.plans.model import Audience, Duration, Exposure, Guardrail, Mode, Percent, Plan, Stage, Strategy, Value
from tools.plans.policy import Policy, is_risky

LONGEST_STAGE = timedelta(days=14)
USUAL_MARGIN = 2.0
STRICT_MARGIN = 1.5
RISKY_BAKE = 2
# A flag without risk tags starts where a stage takes at most this part of the budget: speed over a smaller first step.
QUICK_PART = 1 / 6
# A stage may last this many times what nine of ten rollouts need before it pauses and asks.
PATIENCE = 2
SMALLEST_SAMPLE = 100
# Nats for the proof at 100 %: ln 1/0.05 and what chance costs in nine of ten rollouts.
WATCH_NATS = math.log(20) + 3.5


class CannotBeProven(InvalidInput):
    """No plan can be proven safe with this traffic; the message says what would help."""


class PlanningDefaults(Value):
    """What plans are made with where the spec does not say otherwise.

    `stages` are the live percentages to choose from; `bake` is the least length of a stage; `stage_budget` how long a
    stage may take to be proven.
    """

    burn_in: Duration = timedelta(minutes=10)
    stale_after: Duration = timedelta(minutes=2)
    blind_budget: Duration = timedelta(minutes=5)
    check_every: Duration = timedelta(seconds=15)
    traffic_window: Duration = timedelta(hours=24)
    stage_budget: Duration = timedelta(hours=24)
    stages: Annotated[tuple[Percent, ...], Field(min_length=1, max_length=20)] = (1, 5, 25, 50, 100)
    bake: Duration = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a metric did lately, all variants but treatment together. `margin` is the spec's, None where it has none."""

    metric: str
    direction: Direction
    requests_per_minute: float
    base_rate: float
    dispersion: float
    margin: float | None


@dataclass(frozen=True, slots=True)
class Feature:
    """What is planned for: the flag, its variants, and what the spec says of it."""

    flag: str
    environment: str
    control: str
    treatment: str
    tags: tuple[str, ...]
    depends_on: tuple[str, ...]
    spec_author: str | None
    spec_sha256: str | None
    audience: Audience


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan and the sentences that people should read before they approve it."""

    plan: Plan
    notes: tuple[str, ...]


def draft_plan(
    feature: Feature,
    baselines: Sequence[Baseline],
    policy: Policy,
    defaults: PlanningDefaults,
    strategy: Strategy | None = None,
) -> Draft:
    """A plan whose every stage can be proven, or that says which can't. Raises CannotBeProven."""
    if not baselines:
        raise CannotBeProven(
            f"No metric guards {feature.flag}: name at least one under kpis in its spec, or define one in sluice.toml."
        )
    risky = is_risky(policy, feature.tags)
    kind = strategy or Strategy.CANARY
    rails = [_Rail(baseline, _margin(baseline, risky, policy, defaults), policy) for baseline in baselines]
    notes = [rail.basis(defaults.traffic_window) for rail in rails]
    stages, doubts = _stages(kind, rails, risky, policy, defaults)
    plan = Plan(
        flag=feature.flag,
        environment=feature.environment,
        control=feature.control,
        treatment=feature.treatment,
        strategy=kind,
        stages=tuple(_limited(stage, feature.audience) for stage in stages),
        tags=feature.tags,
        depends_on=feature.depends_on,
        burn_in=defaults.burn_in,
        stale_after=defaults.stale_after,
        blind_budget=defaults.blind_budget,
        check_every=defaults.check_every,
        rationale=tuple(notes),
        spec_author=feature.spec_author,
        spec_sha256=feature.spec_sha256,
    )
    return Draft(plan, (*doubts, *_audience_note(feature.audience), *_blast_radius(plan, rails)))


@dataclass(frozen=True, slots=True)
class _Rail:
    baseline: Baseline
    margin: float
    policy: Policy

    def length(self, percent: float, budget: timedelta) -> StageLength | Unprovable:
        return stage_length(
            self.traffic(percent),
            self.baseline.direction,
            margin=self.margin,
            harm=self.margin,
            budget_minutes=max(budget.total_seconds() / 60, 1),
        )

    def traffic(self, percent: float) -> Traffic:
        base = self.baseline
        return Traffic(base.requests_per_minute, base.base_rate, percent / 100, base.dispersion)

    def guardrail(self, percent: float, *, alone: bool) -> Guardrail:
        """`alone`: this stage exposes everyone without a stage before it, so that the ceiling must be in the plan."""
        base = self.baseline
        sample = SMALLEST_SAMPLE
        if percent < 100:
            sample = max(sample, minimum_sample(self.traffic(percent), base.direction, self.margin))
        worst = base.base_rate * self.margin if base.direction is Direction.INCREASE else base.base_rate / self.margin
        return Guardrail(
            metric=base.metric,
            direction=base.direction,
            margin=self.margin,
            min_sample=sample,
            dispersion=round(base.dispersion, 2),
            ceiling=round(min(worst, 0.999), 6) if alone else None,
        )

    def watch(self) -> timedelta:
        """How long nine of ten rollouts need to prove the rate at 100 % against control's history with the margin."""
        base = self.baseline
        null = self.margin if base.direction is Direction.INCREASE else 1 / self.margin
        nats = base.requests_per_minute * base.base_rate * (null - 1 - math.log(null)) / base.dispersion
        return timedelta(minutes=math.ceil(WATCH_NATS / nats))

    def basis(self, window: timedelta) -> str:
        base = self.baseline
        return (
            f"{base.metric}: {base.requests_per_minute:,.0f} requests/min and a base rate of "
            f"{100 * base.base_rate:.3g} % over the last {in_words(window)}; must stay {self.limit()}"
            + (f" (bursts: φ = {base.dispersion:.1f})." if base.dispersion > 1 else ".")
        )

    def limit(self) -> str:
        """The margin in words."""
        if self.baseline.direction is Direction.INCREASE:
            return f"below {self.margin:g} × control"
        return f"above control ÷ {self.margin:g}"

    def harm(self) -> str:
        """The harm that is worth catching, in words."""
        factor = "×" if self.baseline.direction is Direction.INCREASE else "÷"
        return f"{factor}{self.margin:g}"


def _margin(baseline: Baseline, risky: bool, policy: Policy, defaults: PlanningDefaults) -> float:
    """The spec's margin, else the strict one for a risky flag whose traffic can prove it, never looser than policy."""
    if baseline.margin is not None:
        return min(baseline.margin, policy.loosest_margin)
    strict = _Rail(baseline, min(STRICT_MARGIN, policy.loosest_margin), policy)
    share = policy.largest_first_exposure
    if risky and 0 < share < 100 and isinstance(strict.length(share, defaults.stage_budget), StageLength):
        return strict.margin
    return min(USUAL_MARGIN, policy.loosest_margin)


def _stages(
    kind: Strategy, rails: Sequence[_Rail], risky: bool, policy: Policy, defaults: PlanningDefaults
) -> tuple[tuple[Stage, ...], list[str]]:
    bake = defaults.bake * (RISKY_BAKE if risky else 1)
    if kind is Strategy.FULL:
        return (_whole(rails, bake, alone=True),), []
    first, doubts = _first_exposure(rails, risky, policy, defaults)
    percents = sorted({first, *(percent for percent in defaults.stages if first < percent < 100)})
    live = [_stage(Exposure(percent=percent), rails, bake, defaults) for percent in percents]
    stages = [*live, _whole(rails, bake, alone=False)]
    if kind is Strategy.SHADOW:
        # Users get control's answer, so that the share may be as large as the comparison allows.
        shadow = max([percent for percent in defaults.stages if percent < 100], default=first)
        stages.insert(0, _stage(Exposure(percent=shadow, mode=Mode.SHADOW), rails, bake, defaults))
    return tuple(stages), doubts


def _first_exposure(
    rails: Sequence[_Rail], risky: bool, policy: Policy, defaults: PlanningDefaults
) -> tuple[float, list[str]]:
    """The smallest share that can be proven in time: within the budget for a risky flag, else quickly if possible."""
    limit = policy.largest_first_exposure if policy.largest_first_exposure < 100 else 99.0
    able = [percent for percent in sorted(defaults.stages) if 0 < percent <= limit] or [limit]
    budgets = [defaults.stage_budget] if risky else [defaults.stage_budget * QUICK_PART, defaults.stage_budget]
    for budget in budgets:
        for percent in able:
            if not _doubts(rails, percent, budget):
                return percent, []
    return able[-1], _doubts(rails, able[-1], defaults.stage_budget)


def _doubts(rails: Sequence[_Rail], percent: float, budget: timedelta) -> list[str]:
    """Why a stage of that share can't be proven within the budget."""
    doubts = []
    for rail in rails:
        length = rail.length(percent, budget)
        if isinstance(length, Unprovable):
            doubts.append(f"{rail.baseline.metric}: {length.why}")
    return doubts


def _stage(exposure: Exposure, rails: Sequence[_Rail], bake: timedelta, defaults: PlanningDefaults) -> Stage:
    needed = max(_needed(rail.length(exposure.percent, defaults.stage_budget)) for rail in rails)
    if needed > LONGEST_STAGE:
        raise CannotBeProven(
            f"At {exposure} this traffic proves nothing within {in_words(LONGEST_STAGE)}. "
            + " ".join(_doubts(rails, exposure.percent, LONGEST_STAGE))
        )
    return Stage(
        exposure=exposure,
        bake=bake,
        time_limit=PATIENCE * max(needed, bake) + defaults.burn_in,
        guardrails=tuple(rail.guardrail(exposure.percent, alone=False) for rail in rails),
    )


def _whole(rails: Sequence[_Rail], bake: timedelta, *, alone: bool) -> Stage:
    """Everyone, watched against control's history."""
    needed = max(rail.watch() for rail in rails)
    return Stage(
        exposure=Exposure(percent=100),
        bake=bake,
        time_limit=min(PATIENCE * max(needed, bake), LONGEST_STAGE),
        guardrails=tuple(rail.guardrail(100, alone=alone) for rail in rails),
    )


def _limited(stage: Stage, audience: Audience) -> Stage:
    """The stage, for those only whom the spec names."""
    return stage.model_copy(update={"exposure": stage.exposure.model_copy(update={"audience": audience})})


def _audience_note(audience: Audience) -> list[str]:
    if audience.everyone:
        return []
    names = ", ".join(audience.tenants + audience.regions)
    return [f"The spec limits it to {names}. The traffic above is everyone's, so that proofs may take longer."]


def _needed(length: StageLength | Unprovable) -> timedelta:
    minutes = length.minutes if isinstance(length, StageLength) else length.longer_minutes
    return timedelta(minutes=min(minutes, 10**7))


def _blast_radius(plan: Plan, rails: Sequence[_Rail]) -> list[str]:
    """How many requests a harm of the margin's size has met when it is caught in the first live stage."""
    first = next(stage.exposure for stage in plan.stages if stage.exposure.mode is Mode.LIVE)
    if first.percent >= 100:
        return [f"Everyone is exposed at once: {first} leaves no control to compare with."]
    notes = []
    for rail in rails:
        length = rail.length(first.percent, LONGEST_STAGE)
        catch = (length if isinstance(length, StageLength) else length.needed).catch
        met = rail.baseline.requests_per_minute * first.percent / 100 * catch.median
        notes.append(
            f"At {first} a harm of {rail.harm()} in {rail.baseline.metric} is caught after about "
            f"{in_words(timedelta(minutes=catch.median))} (9 of 10 within {in_words(timedelta(minutes=catch.p90))}), "
            f"having met about {met:,.0f} requests."
        )
    return notes

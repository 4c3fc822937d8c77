"""How large and how long a stage must be to prove what it is there for: the arithmetic that plans share. Pure.

Every number that is computed here comes with its basis, so that people can see what a plan rests on.
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
from tools.gates.forecast import catch_in_stage
from tools.plans.model import (
    LONGEST_BASIS,
    Basis,
    Duration,
    Expected,
    Exposure,
    Facet,
    Guardrail,
    Mode,
    Percent,
    Plan,
    Source,
    Stage,
    Value,
)
from tools.plans.policy import Policy, risks

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
    """What a metric did lately, all variants but treatment together. `margin` is the spec's, None where it has none.

    `stated` is the spec's own line about the metric, None where no spec names it. `quietest` and `busiest` are requests
    a minute in pieces of that time; None where it was not cut into pieces.
    """

    metric: str
    direction: Direction
    requests_per_minute: float
    base_rate: float
    dispersion: float
    margin: float | None
    stated: str | None = None
    quietest: float | None = None
    busiest: float | None = None

    @property
    def expected(self) -> Expected:
        """What a plan is made for that is sized with it."""
        pace = self.requests_per_minute
        quietest, busiest = (pace if one is None else one for one in (self.quietest, self.busiest))
        return Expected(
            metric=self.metric,
            base_rate=float(f"{self.base_rate:.4g}"),
            quietest=float(f"{min(quietest, pace):.4g}"),
            busiest=float(f"{max(busiest, pace):.4g}"),
        )


@dataclass(frozen=True, slots=True)
class Rail:
    """A metric that guards, the margin it is held to, and what that margin rests on."""

    baseline: Baseline
    margin: float
    basis: tuple[Basis, ...]

    def length(self, percent: float, budget: timedelta) -> StageLength | Unprovable:
        """How long a stage of that share must be."""
        return stage_length(
            self.traffic(percent),
            self.baseline.direction,
            margin=self.margin,
            harm=self.margin,
            budget_minutes=max(budget.total_seconds() / 60, 1),
        )

    def traffic(self, percent: float) -> Traffic:
        """What a stage of that share has to work with."""
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
            basis=self.basis,
        )

    def watch(self) -> timedelta:
        """How long nine of ten rollouts need to prove the rate at 100 % against control's history with the margin."""
        base = self.baseline
        null = self.margin if base.direction is Direction.INCREASE else 1 / self.margin
        nats = base.requests_per_minute * base.base_rate * (null - 1 - math.log(null)) / base.dispersion
        return timedelta(minutes=math.ceil(WATCH_NATS / nats))

    def summary(self, window: timedelta) -> str:
        """The telemetry and the limit in a sentence."""
        return f"{self.baseline.metric}: {_measured(self.baseline, window)}; must stay {self.limit()}."

    def limit(self) -> str:
        """The margin in words."""
        if self.baseline.direction is Direction.INCREASE:
            return f"below {self.margin:g} × control"
        return f"above control ÷ {self.margin:g}"

    def harm(self) -> str:
        """The harm that is worth catching, in words."""
        factor = "×" if self.baseline.direction is Direction.INCREASE else "÷"
        return f"{factor}{self.margin:g}"


def rail_of(
    baseline: Baseline,
    tags: tuple[str, ...],
    policy: Policy,
    defaults: PlanningDefaults,
    *,
    margin: float | None = None,
    because: Basis | None = None,
) -> Rail:
    """The metric with the margin it is held to: the given one for the given reason, else the one that follows."""
    guard = _why_guarded(baseline, defaults)
    if margin is None:
        margin, because = _margin(baseline, tags, policy, defaults)
    return Rail(baseline, margin, (*guard, *((because,) if because else ())))


def staged(
    exposure: Exposure,
    rails: Sequence[Rail],
    bake: timedelta,
    defaults: PlanningDefaults,
    basis: tuple[Basis, ...] = (),
) -> Stage:
    """A stage that leaves a control to compare with. Raises CannotBeProven."""
    lengths = [(_needed(rail.length(exposure.percent, defaults.stage_budget)), rail) for rail in rails]
    needed, slowest = max(lengths, key=lambda pair: pair[0])
    if needed > LONGEST_STAGE:
        raise CannotBeProven(
            f"At {exposure} this traffic proves nothing within {in_words(LONGEST_STAGE)}. "
            + " ".join(doubts(rails, exposure.percent, LONGEST_STAGE))
        )
    return Stage(
        exposure=exposure,
        bake=bake,
        time_limit=limit_for(max(needed, bake), defaults.burn_in),
        guardrails=tuple(rail.guardrail(exposure.percent, alone=False) for rail in rails),
        basis=(*basis, _proof_takes(slowest, needed)),
    )


def whole(rails: Sequence[Rail], bake: timedelta, *, alone: bool, basis: tuple[Basis, ...] = ()) -> Stage:
    """Everyone, watched against control's history; `alone`: without a stage before it."""
    needed, slowest = max(((rail.watch(), rail) for rail in rails), key=lambda pair: pair[0])
    return Stage(
        exposure=Exposure(percent=100),
        bake=bake,
        time_limit=max(min(PATIENCE * max(needed, bake), LONGEST_STAGE), bake),
        guardrails=tuple(rail.guardrail(100, alone=alone) for rail in rails),
        basis=(*basis, _proof_takes(slowest, needed)),
    )


def limit_for(needed: timedelta, burn_in: timedelta) -> timedelta:
    """How long a stage may last that needs so long."""
    return PATIENCE * needed + burn_in


def usual_bake(tags: tuple[str, ...], policy: Policy, defaults: PlanningDefaults) -> tuple[timedelta, Basis]:
    """How long a stage lasts at least, and why."""
    risk = ", ".join(risks(policy, tags))
    if risk:
        why = f"{RISKY_BAKE} × the usual {in_words(defaults.bake)}, because the flag is {risk}"
        return defaults.bake * RISKY_BAKE, basis(Source.POLICY, Facet.HOLD, why)
    return defaults.bake, basis(Source.DEFAULT, Facet.HOLD, f"at least {in_words(defaults.bake)} is usual")


def first_exposure(
    rails: Sequence[Rail], tags: tuple[str, ...], policy: Policy, defaults: PlanningDefaults
) -> tuple[float, Basis, list[str]]:
    """The smallest share that can be proven in time, why, and doubts: within the budget for a risky flag, else quickly
    if possible."""
    limit = policy.largest_first_exposure if policy.largest_first_exposure < 100 else 99.0
    able = [percent for percent in sorted(defaults.stages) if 0 < percent <= limit] or [limit]
    patient = [defaults.stage_budget]
    for budget in patient if risks(policy, tags) else [defaults.stage_budget * QUICK_PART, *patient]:
        for percent in able:
            if not doubts(rails, percent, budget):
                traffic = max(rails, key=lambda rail: _needed(rail.length(percent, budget))).baseline
                why = (
                    f"{percent:g} % is the smallest step that {traffic.requests_per_minute:,.0f} requests/min of "
                    f"{traffic.metric} prove within {in_words(budget)}"
                )
                return percent, basis(Source.TELEMETRY, Facet.EXPOSURE, why), []
    why = f"the largest first step within {limit:g} %, as nothing smaller is proven in time"
    return able[-1], basis(Source.POLICY, Facet.EXPOSURE, why), doubts(rails, able[-1], defaults.stage_budget)


def usual_stages(defaults: PlanningDefaults) -> Basis:
    """Why a later stage has its percentage."""
    shown = ", ".join(f"{percent:g}" for percent in defaults.stages)
    return basis(Source.DEFAULT, Facet.EXPOSURE, f"the usual stages: {shown} %")


def shadow_share(defaults: PlanningDefaults, otherwise: float) -> tuple[float, Basis]:
    """The share that runs in shadow, and why: users get control's answer, so that it may be large."""
    share = max([percent for percent in defaults.stages if percent < 100], default=otherwise)
    why = "users still get control's answer in shadow, so the share is as large as the comparison allows"
    return share, basis(Source.DEFAULT, Facet.EXPOSURE, why)


def doubts(rails: Sequence[Rail], percent: float, budget: timedelta) -> list[str]:
    """Why a stage of that share can't be proven within the budget."""
    lengths = [(rail, rail.length(percent, budget)) for rail in rails]
    return [f"{rail.baseline.metric}: {length.why}" for rail, length in lengths if isinstance(length, Unprovable)]


def blast_radius(plan: Plan, rails: Sequence[Rail]) -> list[str]:
    """How many requests a harm of the margin's size has met when it is caught in the first live stage."""
    first = next((stage.exposure for stage in plan.stages if stage.exposure.mode is Mode.LIVE), None)
    if first is None:
        return []
    if first.percent >= 100:
        return [f"Everyone is exposed at once: {first} leaves no control to compare with."]
    burn_in, check_every = (length.total_seconds() / 60 for length in (plan.burn_in, plan.check_every))
    notes = []
    for rail in rails:
        traffic, direction = rail.traffic(first.percent), rail.baseline.direction
        caught = catch_in_stage(traffic, direction, rail.margin, burn_in=burn_in, check_every=check_every)
        warming = f", the burn-in of {in_words(plan.burn_in)} among it" if plan.burn_in else ""
        notes.append(
            f"At {first} a harm of {rail.harm()} in {rail.baseline.metric} is caught after about "
            f"{_minutes(caught.minutes.median)}{warming} (9 of 10 within {_minutes(caught.minutes.p90)}), "
            f"having met about {caught.requests.median:,.0f} requests."
        )
    return notes


def _minutes(minutes: float) -> str:
    return in_words(timedelta(minutes=min(minutes, 10**7)))


def basis(source: Source, of: Facet, text: str) -> Basis:
    """A basis whose text is one line and cut to what fits; an empty text is shown as a dash."""
    line = " ".join(text.split()) or "–"
    return Basis(source=source, of=of, text=line if len(line) <= LONGEST_BASIS else line[: LONGEST_BASIS - 1] + "…")


def _why_guarded(baseline: Baseline, defaults: PlanningDefaults) -> tuple[Basis, ...]:
    measured = basis(Source.TELEMETRY, Facet.GUARD, _measured(baseline, defaults.traffic_window))
    if baseline.stated is None:
        return (measured,)
    return basis(Source.SPEC, Facet.GUARD, baseline.stated), measured


def _measured(baseline: Baseline, window: timedelta) -> str:
    bursts = f" (bursts: φ = {baseline.dispersion:.1f})" if baseline.dispersion > 1 else ""
    return (
        f"{baseline.requests_per_minute:,.0f} requests/min and a base rate of {100 * baseline.base_rate:.3g} % "
        f"over the last {in_words(window)}{bursts}"
    )


def _proof_takes(slowest: Rail, needed: timedelta) -> Basis:
    why = f"{slowest.baseline.metric} is proven within {in_words(needed)} in nine rollouts of ten"
    return basis(Source.TELEMETRY, Facet.LIMIT, why)


def _margin(
    baseline: Baseline, tags: tuple[str, ...], policy: Policy, defaults: PlanningDefaults
) -> tuple[float, Basis]:
    """The spec's margin, else the strict one for a risky flag whose traffic can prove it, never looser than policy."""
    loosest = policy.loosest_margin
    if baseline.margin is not None:
        if baseline.margin > loosest:
            why = f"the spec asks for ×{baseline.margin:g}; policy allows at most ×{loosest:g}"
            return loosest, basis(Source.POLICY, Facet.MARGIN, why)
        stated = baseline.stated or f"margin: {baseline.margin:g}"
        return baseline.margin, basis(Source.SPEC, Facet.MARGIN, stated)
    strict = Rail(baseline, min(STRICT_MARGIN, loosest), ())
    share, risk = policy.largest_first_exposure, ", ".join(risks(policy, tags))
    if risk and 0 < share < 100 and isinstance(strict.length(share, defaults.stage_budget), StageLength):
        why = f"×{strict.margin:g} instead of ×{USUAL_MARGIN:g}, because the flag is {risk}"
        return strict.margin, basis(Source.POLICY, Facet.MARGIN, why)
    if loosest < USUAL_MARGIN:
        return loosest, basis(Source.POLICY, Facet.MARGIN, f"policy allows at most ×{loosest:g}")
    return USUAL_MARGIN, basis(Source.DEFAULT, Facet.MARGIN, f"×{USUAL_MARGIN:g} is usual where no spec says otherwise")


def _needed(length: StageLength | Unprovable) -> timedelta:
    minutes = length.minutes if isinstance(length, StageLength) else length.longer_minutes
    return timedelta(minutes=min(minutes, 10**7))

"""How large and how long a stage must be to prove what it is there for: the arithmetic that plans share. Pure.

Every number that is computed here comes with its basis, so that people can see what a plan rests on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from tools.clock import in_words
from tools.errors import InvalidInput
from tools.gates import CountTest, Direction
from tools.gates.amounts import Amounts, Latencies, LatencyTraffic, MeanTraffic
from tools.gates.calculators import StageLength, Traffic, Unprovable, Workload, minimum_sample, stage_length
from tools.gates.level import latencies_of
from tools.metrics.catalogue import MetricKind
from tools.metrics.units import in_unit
from tools.plans.defaults import PlanningDefaults
from tools.plans.kinds import needs_control
from tools.plans.model import (
    LARGEST_DISPERSION,
    LONGEST_BASIS,
    Basis,
    Expected,
    Exposure,
    Facet,
    Guardrail,
    Level,
    Source,
    Stage,
)
from tools.plans.policy import Policy, risks

NOTHING_ALONE = (
    "Once everyone is exposed nobody is left to compare with, and none of these metrics can be judged alone: plan it "
    "in stages that end below 100 %, or let a metric of events guard it too."
)
LONGEST_STAGE = timedelta(days=14)
# Where an arm has fewer requests a minute many minutes have none, and what is reckoned of a typical one is wrong.
FEWEST_LATENCIES = 1.5
# What takes longer is as good as never.
LONGEST_FORETOLD = timedelta(minutes=10**7)
# What guards where the spec does not say otherwise. Errors are rare and double before anybody minds; latencies of all
# requests are known well, and everybody minds a quarter more.
USUAL_MARGINS = {MetricKind.RATIO: 2.0, MetricKind.LATENCY: 1.25}
STRICT_MARGINS = {MetricKind.RATIO: 1.5, MetricKind.LATENCY: 1.1}
# A mean is money more often than not, so that its margin is the smallest of these that the traffic proves.
MEAN_MARGINS = (1.02, 1.05, 1.1, 1.2, 1.5)
RISKY_BAKE = 2
# A flag without risk tags starts where a stage takes at most this part of the budget: speed over a smaller first step.
QUICK_PART = 1 / 6
# A stage may last this many times what nine of ten rollouts need before it pauses and asks.
PATIENCE = 2
SMALLEST_SAMPLE = 100
# Nats beyond ln 1/α for the proof at 100 %: what chance costs in nine of ten rollouts goes with the root of how uneven
# the evidence is (its variance over twice its mean).
WATCH_CHANCE = 3.8


class CannotBeProven(InvalidInput):
    """No plan can be proven safe with this traffic; the message says what would help."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a metric did lately, all variants but treatment together. `margin` is the spec's, None where it has none.

    Of a rate `base_rate` is known, events per request; of a mean or a latency `values`, in `unit`. `stated` is the
    spec's own line about the metric, None where no spec names it. `quietest` and `busiest` are requests a minute in
    parts of that time, and `span` the lowest and the highest mean of values (as `tools.gates.level` takes it) in those
    with enough of them; None where it was not cut into parts.
    """

    metric: str
    direction: Direction
    requests_per_minute: float
    base_rate: float | None
    dispersion: float
    margin: float | None
    stated: str | None = None
    quietest: float | None = None
    busiest: float | None = None
    values: Amounts | Latencies | None = None
    unit: str = ""
    span: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if (self.base_rate is None) == (self.values is None):
            raise InvalidInput(f"The baseline of {self.metric} needs a base rate or what its values were, not both.")

    @property
    def kind(self) -> MetricKind:
        """What its numbers are."""
        if self.values is None:
            return MetricKind.RATIO
        return MetricKind.MEAN if isinstance(self.values, Amounts) else MetricKind.LATENCY

    def why_untold(self, percent: float) -> str | None:
        """Why times at that exposure can't be foretold of it, in a sentence; None where they can."""
        smaller = self.requests_per_minute * min(percent, 100 - percent) / 100
        if self.kind is not MetricKind.LATENCY or percent >= 100 or smaller >= FEWEST_LATENCIES:
            return None
        return (
            f"How long {self.metric} takes at {percent:g} % can't be foretold: one arm has {smaller:.2g} requests/min, "
            f"and times of latencies are reckoned from {FEWEST_LATENCIES:g} on. Its gate judges as ever, and a stage "
            "that is not proven by its limit pauses and asks."
        )

    def traffic(self, percent: float, margin: float) -> Workload:
        """What a stage of that share has to work with, held to that margin. Raises BadQuestion."""
        pace, share = self.requests_per_minute, percent / 100
        match self.values:
            case Amounts() as amounts:
                return MeanTraffic(pace, amounts, share, self.dispersion, margin)
            case Latencies() as latencies:
                return LatencyTraffic(pace, latencies.histogram, share, margin, self.dispersion)
            case None:
                assert self.base_rate is not None, "a baseline has one or the other"
                return Traffic(pace, self.base_rate, share, self.dispersion, margin)

    @property
    def pace(self) -> str:
        """How many came, in words: "6,000 requests/min"."""
        return f"{self.requests_per_minute:,.0f} {'units' if self.kind is MetricKind.MEAN else 'requests'}/min"

    @property
    def measured(self) -> str:
        """What it was, in words: "a base rate of 0.5 %", "a mean of 21.4 EUR"."""
        match self.values:
            case Amounts(mean=mean):
                return f"a mean of {in_unit(mean, self.unit)}"
            case Latencies() as latencies:
                return _latencies_measured(latencies, self.unit)
            case None:
                return f"a base rate of {100 * (self.base_rate or 0):.3g} %"

    @property
    def expected(self) -> Expected:
        """What a plan is made for that is sized with it."""
        pace = self.requests_per_minute
        quietest, busiest = (pace if one is None else one for one in (self.quietest, self.busiest))
        return Expected(
            metric=self.metric,
            base_rate=None if self.base_rate is None else float(f"{self.base_rate:.4g}"),
            quietest=float(f"{min(quietest, pace):.4g}"),
            busiest=float(f"{max(busiest, pace):.4g}"),
            level=self._level,
        )

    @property
    def _level(self) -> Level | None:
        """What control's values are to stay near; None where they are not above 0, as a range in parts of them is."""
        match self.values:
            case Amounts(mean=mean, deviation=deviation):
                return Level(mean=float(f"{mean:.4g}"), deviation=float(f"{deviation:.4g}"), span=self._span(mean))
            case Latencies() as latencies:
                seen, of_logs = latencies_of(latencies.histogram), latencies.total is None
                if not of_logs and seen.mean <= 0:
                    return None
                mean, deviation = (float(f"{number:.4g}") for number in (seen.mean, math.sqrt(seen.variance)))
                return Level(mean=mean, deviation=deviation, of_logs=of_logs, span=self._span(mean))
            case None:
                return None

    def _span(self, mean: float) -> tuple[float, float] | None:
        if self.span is None:
            return None
        low, high = min(self.span[0], mean), max(self.span[1], mean)
        return float(f"{low:.4g}"), float(f"{high:.4g}")


@dataclass(frozen=True, slots=True)
class Rail:
    """A metric that guards, the margin it is held to, and what that margin rests on.

    Raises CannotBeProven for one that is too bursty to be planned with.
    """

    baseline: Baseline
    margin: float
    basis: tuple[Basis, ...]

    def __post_init__(self) -> None:
        if not self.baseline.dispersion <= LARGEST_DISPERSION:
            raise CannotBeProven(
                f"{self.baseline.metric} comes in bursts of φ = {self.baseline.dispersion:,.4g}, and no stage is sized "
                f"beyond φ = {LARGEST_DISPERSION:,.0f}. Count something steadier (users with an error instead of "
                "errors, say), measure over days without an incident, or guard with another metric."
            )

    def length(self, percent: float, budget: timedelta, sharing: int = 1) -> StageLength | Unprovable:
        """How long a stage of that share must be, when so many metrics share the level of a rollback."""
        return stage_length(
            self.traffic(percent),
            self.baseline.direction,
            margin=self.margin,
            harm=self.margin,
            budget_minutes=max(budget.total_seconds() / 60, 1),
            alpha=CountTest.alpha_rollback / sharing,
        )

    def needed(self, percent: float, sharing: int = 1) -> timedelta:
        """How long nine of ten rollouts need in a stage of that share, when so many metrics share the level."""
        return _needed(self.length(percent, timedelta(days=10**4), sharing))

    def traffic(self, percent: float) -> Workload:
        """What a stage of that share has to work with."""
        return self.baseline.traffic(percent, self.margin)

    @property
    def needs_control(self) -> bool:
        """Whether it can't guard a stage that leaves nobody to compare with."""
        return needs_control(self.baseline.kind)

    def guardrail(self, percent: float, *, alone: bool) -> Guardrail:
        """`alone`: this stage exposes everyone without a stage before it, so that the ceiling must be in the plan."""
        base = self.baseline
        sample = SMALLEST_SAMPLE
        if percent < 100:
            sample = max(sample, minimum_sample(self.traffic(percent), base.direction, self.margin))
        return Guardrail(
            metric=base.metric,
            direction=base.direction,
            margin=self.margin,
            min_sample=sample,
            dispersion=round(base.dispersion, 2),
            ceiling=self._ceiling() if alone else None,
            basis=self.basis,
        )

    def _ceiling(self) -> float | None:
        """The worst rate that is within the margin; of what is no rate there is none."""
        base = self.baseline
        if base.base_rate is None:
            return None
        worst = base.base_rate * self.margin if base.direction is Direction.INCREASE else base.base_rate / self.margin
        # Significant digits: a rate of a few in a billion is none of 0.
        return float(f"{min(worst, 0.999):.6g}")

    def watch(self) -> timedelta:
        """How long nine of ten rollouts need to prove a rate at 100 % against control's history with the margin.

        LONGEST_FORETOLD for what takes longer.
        """
        base = self.baseline
        assert base.base_rate is not None, "only rates are watched without a control"
        null = self.margin if base.direction is Direction.INCREASE else 1 / self.margin
        an_event = null - 1 - math.log(null)
        uneven = (1 - base.base_rate) * math.log(null) ** 2 / (2 * an_event)
        nats = base.requests_per_minute * base.base_rate * an_event / base.dispersion
        needed = -math.log(CountTest.alpha_safe) + WATCH_CHANCE * math.sqrt(uneven)
        return _lasting(needed / nats) if nats > 0 else LONGEST_FORETOLD

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
    sharing: int = 1,
) -> Rail:
    """The metric with the margin it is held to: the given one for the given reason, else the one that follows.

    `sharing` is how many metrics share the level of a rollback, this one among them.
    """
    guard = _why_guarded(baseline, defaults)
    if margin is None:
        margin, because = _margin(baseline, tags, policy, defaults, sharing)
    return Rail(baseline, margin, (*guard, *((because,) if because else ())))


def staged(
    exposure: Exposure,
    rails: Sequence[Rail],
    bake: timedelta,
    defaults: PlanningDefaults,
    basis: tuple[Basis, ...] = (),
) -> Stage:
    """A stage that leaves a control to compare with. Raises CannotBeProven."""
    needed, slowest = comparison(exposure.percent, rails, defaults)
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
        basis=(*basis, _proof_takes(slowest, needed, exposure.percent)),
    )


def whole(rails: Sequence[Rail], bake: timedelta, *, alone: bool, basis: tuple[Basis, ...] = ()) -> Stage:
    """Everyone, watched against control's history by what needs no control; `alone`: without a stage before it.

    Raises CannotBeProven where nothing is left to watch it.
    """
    rails = judged_alone(rails)
    if not rails:
        raise CannotBeProven(NOTHING_ALONE)
    needed, slowest = watch(rails)
    return Stage(
        exposure=Exposure(percent=100),
        bake=bake,
        time_limit=max(min(PATIENCE * max(needed, bake), LONGEST_STAGE), bake),
        guardrails=tuple(rail.guardrail(100, alone=alone) for rail in rails),
        basis=(*basis, _proof_takes(slowest, needed, 100)),
    )


def comparison(percent: float, rails: Sequence[Rail], defaults: PlanningDefaults) -> tuple[timedelta, Rail]:
    """How long nine of ten rollouts need beside a control in a stage of that share, and which metric takes so long."""
    lengths = [(_needed(rail.length(percent, defaults.stage_budget, len(rails))), rail) for rail in rails]
    return max(lengths, key=lambda pair: pair[0])


def watch(rails: Sequence[Rail]) -> tuple[timedelta, Rail]:
    """How long nine of ten rollouts need once everyone is exposed, and which metric takes so long."""
    return max(((rail.watch(), rail) for rail in rails), key=lambda pair: pair[0])


def unwatched(rails: Sequence[Rail]) -> list[str]:
    """What can't be proven in any stage's length once everyone is exposed, a sentence a metric."""
    return [
        f"At 100 % {rail.baseline.metric} can't be proven in any stage's length: {rail.baseline.pace} and "
        f"{rail.baseline.measured} need more than {in_words(LONGEST_STAGE)}. The stage pauses then and asks a person; "
        "let a metric with more events guard it, or widen the margin."
        for rail in judged_alone(rails)
        if rail.watch() > LONGEST_STAGE
    ]


def judged_alone(rails: Sequence[Rail]) -> list[Rail]:
    """Those that can guard a stage that leaves nobody to compare with."""
    return [rail for rail in rails if not rail.needs_control]


def ending_notes(stages: Sequence[Stage], rails: Sequence[Rail]) -> list[str]:
    """What follows for the last stage from metrics that need a control: who is not reached, or what is not watched."""
    last = stages[-1].exposure
    lacking = [rail.baseline.metric for rail in rails if rail.needs_control]
    if last.percent < 100 and lacking and not judged_alone(rails):
        return [
            f"It ends at {last}, not with everyone: at 100 % nobody is left to compare {_listed(lacking)} with. "
            "To go there, let a metric of events guard it too."
        ]
    if last.percent < 100 or not lacking:
        return []
    does = "does" if len(lacking) == 1 else "do"
    where = "that stage" if len(stages) > 1 else "this plan"
    return [f"At {last} nobody is left to compare with, so {_listed(lacking)} {does} not guard {where}."]


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
            if _provable(rails, percent, budget):
                traffic = max(rails, key=lambda rail: _needed(rail.length(percent, budget, len(rails)))).baseline
                pace = f"{traffic.pace} of {traffic.metric}"
                why = f"{percent:g} % is the smallest step that {pace} prove within {in_words(budget)}"
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


def _provable(rails: Sequence[Rail], percent: float, budget: timedelta) -> bool:
    return not any(isinstance(rail.length(percent, budget, len(rails)), Unprovable) for rail in rails)


def doubts(rails: Sequence[Rail], percent: float, budget: timedelta) -> list[str]:
    """Why a stage of that share can't be proven within the budget."""
    lengths = [(rail, rail.length(percent, budget, len(rails))) for rail in rails]
    return [
        rail.baseline.why_untold(percent) or f"{rail.baseline.metric}: {length.why}"
        for rail, length in lengths
        if isinstance(length, Unprovable)
    ]


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
    return f"{baseline.pace} and {baseline.measured} over the last {in_words(window)}{bursts}"


def _latencies_measured(latencies: Latencies, unit: str) -> str:
    seen, slow = latencies.histogram, latencies.within(0.95)
    beyond = f"over {in_unit(latencies.buckets[-1], unit)}" if math.isinf(slow) else f"within {in_unit(slow, unit)}"
    if seen.mean is None:
        return f"19 of 20 {beyond}"
    return f"a mean of {in_unit(seen.mean, unit)} (19 of 20 {beyond})"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _proof_takes(slowest: Rail, needed: timedelta, percent: float) -> Basis:
    metric, untold = slowest.baseline.metric, slowest.baseline.why_untold(percent)
    why = f"{metric} is proven within {in_words(needed)} in nine rollouts of ten"
    if untold is not None:
        return basis(Source.TELEMETRY, Facet.LIMIT, untold)
    if needed > LONGEST_STAGE:
        why = f"{metric} can't be proven in the {in_words(LONGEST_STAGE)} that a stage may last: then a person is asked"
    return basis(Source.TELEMETRY, Facet.LIMIT, why)


def _margin(
    baseline: Baseline, tags: tuple[str, ...], policy: Policy, defaults: PlanningDefaults, sharing: int
) -> tuple[float, Basis]:
    """The spec's margin, else the strict one for a risky flag whose traffic can prove it, never looser than policy."""
    loosest = policy.loosest_margin
    if baseline.margin is not None:
        if baseline.margin > loosest:
            why = f"the spec asks for ×{baseline.margin:g}; policy allows at most ×{loosest:g}"
            return loosest, basis(Source.POLICY, Facet.MARGIN, why)
        stated = baseline.stated or f"margin: {baseline.margin:g}"
        return baseline.margin, basis(Source.SPEC, Facet.MARGIN, stated)
    if baseline.kind is MetricKind.MEAN:
        return _mean_margin(baseline, policy, defaults, sharing)
    usual = USUAL_MARGINS[baseline.kind]
    strict = Rail(baseline, min(STRICT_MARGINS[baseline.kind], loosest), ())
    risk = ", ".join(risks(policy, tags))
    if risk and _is_provable(strict, policy, defaults.stage_budget, sharing):
        why = f"×{strict.margin:g} instead of ×{usual:g}, because the flag is {risk}"
        return strict.margin, basis(Source.POLICY, Facet.MARGIN, why)
    if loosest < usual:
        return loosest, basis(Source.POLICY, Facet.MARGIN, f"policy allows at most ×{loosest:g}")
    of = " of latencies" if baseline.kind is MetricKind.LATENCY else ""
    return usual, basis(Source.DEFAULT, Facet.MARGIN, f"×{usual:g} is usual{of} where no spec says otherwise")


def _mean_margin(baseline: Baseline, policy: Policy, defaults: PlanningDefaults, sharing: int) -> tuple[float, Basis]:
    """The smallest that the traffic proves quickly, else in time, else the largest of the usual ones."""
    able = [margin for margin in MEAN_MARGINS if margin <= policy.loosest_margin] or [policy.loosest_margin]
    for budget in (defaults.stage_budget * QUICK_PART, defaults.stage_budget):
        for margin in able:
            if _is_provable(Rail(baseline, margin, ()), policy, budget, sharing):
                why = f"×{margin:g} is the smallest that this traffic proves within {in_words(budget)}"
                return margin, basis(Source.TELEMETRY, Facet.MARGIN, why)
    return able[-1], basis(Source.DEFAULT, Facet.MARGIN, f"×{able[-1]:g}, as nothing smaller is proven in time")


def _is_provable(rail: Rail, policy: Policy, budget: timedelta, sharing: int) -> bool:
    """Whether a first step as large as policy lets it be proves it in that time."""
    share = policy.largest_first_exposure
    return 0 < share < 100 and rail.needed(share, sharing) <= budget


def _needed(length: StageLength | Unprovable) -> timedelta:
    minutes = length.minutes if isinstance(length, StageLength) else length.longer_minutes
    return _lasting(minutes)


def _lasting(minutes: float) -> timedelta:
    """In whole minutes, as far as anything is foretold."""
    return timedelta(minutes=math.ceil(min(minutes, LONGEST_FORETOLD / timedelta(minutes=1))))

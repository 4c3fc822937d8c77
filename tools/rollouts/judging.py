"""Which test judges a guardrail: by what its metric's numbers are, and by whether there is a control. Pure.

A test's evidence comes and goes as plain JSON, so that a check's row holds all of it.
"""

import math
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Any

from pydantic import Field

from tools import gates
from tools.errors import InvalidInput
from tools.gates import (
    CeilingEvidence,
    CeilingTest,
    CountEvidence,
    Counts,
    CountTest,
    Verdict,
    assignment,
    budget,
    latency,
    means,
)
from tools.gates.assignment import AssignmentEvidence, AssignmentTest
from tools.gates.budget import BudgetEvidence, BudgetTest
from tools.gates.combined import shared
from tools.gates.histograms import Histogram
from tools.gates.intervals import latency_interval
from tools.metrics.base import Sample
from tools.metrics.catalogue import MetricDefinition, MetricKind
from tools.plans.kinds import needs_control
from tools.plans.model import Guardrail, Value

FAR_AT_MOST = {
    MetricKind.RATIO: CountTest.burn_in_margin,
    MetricKind.MEAN: means.MeanTest.burn_in_margin,
    MetricKind.LATENCY: latency.LatencyTest.burn_in_margin,
}
"""How many times worse than control fails even while burning in."""


class NoControl(InvalidInput):
    """Everyone is exposed and nothing stands in for control."""


class Numbers(Value):
    """What a metric's numbers are: what the catalogue says of them, as a check's row keeps it.

    `buckets` are a latency's upper edges but infinity, `unit` is what values are in; `objective` is the highest
    acceptable rate, if there is one.
    """

    kind: MetricKind = MetricKind.RATIO
    cap: float | None = None
    buckets: tuple[float, ...] = ()
    sums: bool = False
    # Left out where there is none, so that rows without it are what they were.
    objective: Annotated[float | None, Field(exclude_if=lambda objective: objective is None)] = None
    unit: Annotated[str, Field(exclude_if=lambda unit: not unit)] = ""

    @classmethod
    def of(cls, definition: MetricDefinition) -> "Numbers":
        """Of a metric of the catalogue."""
        return cls(
            kind=definition.kind,
            cap=definition.cap,
            buckets=definition.buckets,
            sums=definition.sums,
            objective=definition.objective,
            unit=definition.unit,
        )

    @property
    def by_chance(self) -> bool:
        """Whether a guardrail on it shares the gate's level; a sample ratio has a level of its own."""
        return self.kind is not MetricKind.ASSIGNMENTS


@lru_cache(maxsize=256)
def count_test(rail: Guardrail, weight: float) -> CountTest:
    """How a rate is compared, with the guardrail's part of the gate's levels of harm. Raises BadTest, as all of these.

    Remembered, as are the others that replays ask for thousands of times.
    """
    alone = CountTest(rail.direction, rail.margin, dispersion=rail.dispersion, min_sample=rail.min_sample)
    return shared(alone, weight)


@lru_cache(maxsize=256)
def mean_test(rail: Guardrail, cap: float, weight: float) -> means.MeanTest:
    """How means are compared."""
    enough = max(rail.min_sample, means.SMALLEST_SAMPLE)
    alone = means.MeanTest(rail.direction, cap, rail.margin, dispersion=rail.dispersion, min_sample=enough)
    return shared(alone, weight)


@lru_cache(maxsize=256)
def latency_test(rail: Guardrail, edges: tuple[float, ...], sums: bool, weight: float) -> latency.LatencyTest:
    """How latencies are compared; `edges` are the buckets' upper ones, infinity the last."""
    enough = max(rail.min_sample, latency.SMALLEST_SAMPLE)
    alone = latency.LatencyTest(edges, rail.margin, sums=sums, dispersion=rail.dispersion, min_sample=enough)
    return shared(alone, weight)


def ceiling_test(rail: Guardrail, ceiling: float, weight: float) -> CeilingTest:
    """How a rate is judged once everyone is exposed."""
    alone = CeilingTest(rail.direction, ceiling, rail.margin, dispersion=rail.dispersion, min_sample=rail.min_sample)
    return shared(alone, weight)


def judge(
    numbers: Numbers,
    rail: Guardrail,
    control: Sample,
    treatment: Sample,
    stored: dict[str, Any] | None,
    *,
    minutes: float,
    burning_in: bool,
    unproven: bool = False,
    weight: float = 1.0,
) -> tuple[Verdict, dict[str, Any]]:
    """The verdict on both arms with one more window of so many minutes, and the evidence to carry on.

    `stored` is None where there is none yet.

    `unproven`: this window proves no safety, because in a shared incident the arms do badly alike. `weight` is the
    guardrail's part of the gate's levels of harm. Raises BadTest, BadCounts for a window that can't have been
    counted, and BadEvidence for evidence of another test.
    """
    match numbers.kind:
        case MetricKind.RATIO:
            counted = count_test(rail, weight)
            return _counts(counted, control, treatment, stored, minutes, burning_in=burning_in, unproven=unproven)
        case MetricKind.MEAN:
            assert numbers.cap is not None, "the catalogue demands it of a mean"
            averaged = mean_test(rail, numbers.cap, weight)
            return _means(averaged, control, treatment, stored, burning_in=burning_in, unproven=unproven)
        case MetricKind.LATENCY:
            timed = latency_test(rail, (*numbers.buckets, math.inf), numbers.sums, weight)
            return _latency(timed, control, treatment, stored, minutes, burning_in=burning_in, unproven=unproven)
        case MetricKind.ASSIGNMENTS:
            raise InvalidInput(f"{rail.metric} counts assignments, which are judged by the planned share.")
        case MetricKind.MIX:
            raise InvalidInput(f"{rail.metric} says what requests are made of, which guards nothing.")


def judge_alone(
    numbers: Numbers,
    rail: Guardrail,
    ceiling: float | None,
    treatment: Sample,
    stored: dict[str, Any] | None,
    *,
    minutes: float,
    burning_in: bool,
    weight: float = 1.0,
) -> tuple[Verdict, dict[str, Any]]:
    """As `judge`, once everyone is exposed: against `ceiling`, a rate. Raises NoControl too."""
    if needs_control(numbers.kind):
        raise NoControl(
            f"Everyone is exposed, and {rail.metric} can only be compared with a control: leave it out of the last "
            "stage, or let that stage end below 100 %."
        )
    if ceiling is None:
        raise NoControl(
            f"Everyone is exposed, so {rail.metric} has no control left, and control was never seen before: "
            "give the guardrail a ceiling."
        )
    test = ceiling_test(rail, ceiling, weight)
    evidence = CeilingEvidence.from_json(stored) if stored else CeilingEvidence.start(test)
    evidence = gates.update_ceiling(test, evidence, counts_of(treatment), burning_in=burning_in, minutes=minutes)
    return gates.judge_ceiling(test, evidence), evidence.to_json()


def judge_far(
    numbers: Numbers,
    rail: Guardrail,
    ceiling: float | None,
    control: Sample,
    treatment: Sample,
    stored: dict[str, Any] | None,
    *,
    minutes: float,
    weight: float = 1.0,
) -> tuple[Verdict, dict[str, Any]]:
    """Whether treatment is far worse than control, or than `ceiling` where there is one; the evidence is its own.

    It is the question that is asked while burning in, with `far_margin` for what is far. Raises as `judge` does.
    """
    margin = far_margin(numbers, rail)
    match numbers.kind:
        case MetricKind.RATIO if ceiling is not None:
            # The ceiling has the margin in it once already.
            alone = replace(ceiling_test(rail, ceiling, weight), burn_in_margin=max(margin / rail.margin, 1.0))
            evidence = CeilingEvidence.from_json(stored) if stored else CeilingEvidence.start(alone)
            evidence = gates.update_ceiling(alone, evidence, counts_of(treatment), burning_in=True, minutes=minutes)
            return gates.judge_ceiling(alone, evidence), evidence.to_json()
        case MetricKind.RATIO:
            counted = replace(count_test(rail, weight), burn_in_margin=margin)
            return _counts(counted, control, treatment, stored, minutes, burning_in=True, unproven=False)
        case MetricKind.MEAN:
            assert numbers.cap is not None, "the catalogue demands it of a mean"
            averaged = replace(mean_test(rail, numbers.cap, weight), burn_in_margin=margin)
            return _means(averaged, control, treatment, stored, burning_in=True, unproven=False)
        case MetricKind.LATENCY:
            edges = (*numbers.buckets, math.inf)
            timed = replace(latency_test(rail, edges, numbers.sums, weight), burn_in_margin=margin)
            return _latency(timed, control, treatment, stored, minutes, burning_in=True, unproven=False)
        case _:
            raise InvalidInput(f"{rail.metric} compares nothing that could be far worse.")


def far_margin(numbers: Numbers, rail: Guardrail) -> float:
    """How many times worse than control is far worse: the margin twice over, at most what fails while burning in."""
    return max(rail.margin, min(rail.margin**2, FAR_AT_MOST.get(numbers.kind, CountTest.burn_in_margin)))


def judge_assignments(
    share: float, control: Sample, treatment: Sample, stored: dict[str, Any] | None
) -> tuple[Verdict, dict[str, Any]]:
    """Whether new assignments keep to the planned `share` of treatment (a fraction), and the evidence to carry on.

    Raises BadCounts and BadEvidence.
    """
    evidence = AssignmentEvidence.from_json(stored) if stored else AssignmentEvidence()
    evidence = assignment.update(evidence, share, control.exposures, treatment.exposures)
    return assignment.judge(AssignmentTest(), evidence), evidence.to_json()


def weigh_budget(
    verdict: Verdict,
    objective: float,
    rail: Guardrail,
    treatment: Sample,
    stored: dict[str, Any] | None,
    *,
    minutes: float,
    compared: bool,
) -> tuple[Verdict, dict[str, Any]]:
    """The verdict on a rate with what treatment's error budget shows after one more window of that length.

    A window of no length adds nothing. Raises BadCounts, and BadEvidence for evidence of another objective.
    """
    test = BudgetTest(objective, dispersion=rail.dispersion)
    evidence = BudgetEvidence.from_json(stored) if stored else BudgetEvidence.start(test)
    if minutes:
        evidence = budget.update(test, evidence, counts_of(treatment), min(minutes, budget.LONGEST_WINDOW))
    return budget.weigh(verdict, test, evidence, compared=compared), evidence.to_json()


def counts_of(sample: Sample) -> Counts:
    """Its exposures and events."""
    return Counts(sample.exposures, sample.events)


def _counts(
    test: CountTest,
    control: Sample,
    treatment: Sample,
    stored: dict[str, Any] | None,
    minutes: float,
    *,
    burning_in: bool,
    unproven: bool,
) -> tuple[Verdict, dict[str, Any]]:
    before = CountEvidence.from_json(stored) if stored else CountEvidence.start(test)
    arms = counts_of(control), counts_of(treatment)
    evidence = gates.update(test, before, *arms, burning_in=burning_in, minutes=minutes)
    if unproven:
        evidence = replace(evidence, books=replace(evidence.books, safe=before.books.safe))
    return gates.judge(test, evidence), evidence.to_json()


def _means(
    test: means.MeanTest,
    control: Sample,
    treatment: Sample,
    stored: dict[str, Any] | None,
    *,
    burning_in: bool,
    unproven: bool,
) -> tuple[Verdict, dict[str, Any]]:
    evidence = means.MeanEvidence.from_json(stored) if stored else means.MeanEvidence.start(test)
    arms = [means.Sums(arm.exposures, arm.total, arm.total_squares) for arm in (control, treatment)]
    evidence = means.update(test, evidence, *arms, burning_in=burning_in, unproven=unproven)
    between = means.confidence_sequence(test, evidence, test.alpha_safe)
    return replace(means.judge(test, evidence), ratio_range=between), evidence.to_json()


def _latency(
    test: latency.LatencyTest,
    control: Sample,
    treatment: Sample,
    stored: dict[str, Any] | None,
    minutes: float,
    *,
    burning_in: bool,
    unproven: bool,
) -> tuple[Verdict, dict[str, Any]]:
    before = latency.LatencyEvidence.from_json(stored) if stored else latency.LatencyEvidence.start(test)
    arms = [_histogram(test.edges, arm, sums=test.sums) for arm in (control, treatment)]
    evidence = latency.update(test, before, *arms, burning_in=burning_in, minutes=minutes)
    if unproven:
        evidence = replace(evidence, books=replace(evidence.books, safe=before.books.safe))
    between = latency_interval(test, evidence, alpha=test.alpha_safe)
    return replace(latency.judge(test, evidence), ratio_range=between), evidence.to_json()


def _histogram(edges: tuple[float, ...], arm: Sample, *, sums: bool) -> Histogram:
    return Histogram.of(edges, arm.buckets, *((arm.total, arm.total_squares) if sums else ()))

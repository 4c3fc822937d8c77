"""Which test judges a guardrail: by what its metric's numbers are, and by whether there is a control. Pure.

A test's evidence comes and goes as plain JSON, so that a check's row holds all of it.
"""

import math
from dataclasses import replace
from typing import Any

from tools import gates
from tools.errors import InvalidInput
from tools.gates import CeilingEvidence, CeilingTest, CountEvidence, Counts, CountTest, Verdict, latency, means
from tools.gates.histograms import Histogram
from tools.metrics.base import Sample
from tools.metrics.catalogue import MetricDefinition, MetricKind
from tools.plans.model import Guardrail, Value


class NoControl(InvalidInput):
    """Everyone is exposed and nothing stands in for control."""


class Numbers(Value):
    """What a metric's numbers are: what the catalogue says of them, as a check's row keeps it.

    `buckets` are a latency's upper edges but infinity.
    """

    kind: MetricKind = MetricKind.RATIO
    cap: float | None = None
    buckets: tuple[float, ...] = ()
    sums: bool = False

    @classmethod
    def of(cls, definition: MetricDefinition) -> "Numbers":
        """Of a metric of the catalogue."""
        return cls(kind=definition.kind, cap=definition.cap, buckets=definition.buckets, sums=definition.sums)


def judge(
    numbers: Numbers,
    rail: Guardrail,
    control: Sample,
    treatment: Sample,
    stored: dict[str, Any] | None,
    *,
    burning_in: bool,
    unproven: bool = False,
) -> tuple[Verdict, dict[str, Any]]:
    """The verdict on both arms with one more window, and the evidence to carry on; `stored` None: there is none yet.

    `unproven`: this window proves no safety of counts, because a shared incident makes the arms fail alike.
    Raises BadTest, BadCounts for a window that can't have been counted, and BadEvidence for evidence of another test.
    """
    match numbers.kind:
        case MetricKind.RATIO:
            return _counts(rail, control, treatment, stored, burning_in=burning_in, unproven=unproven)
        case MetricKind.MEAN:
            return _means(numbers, rail, control, treatment, stored, burning_in=burning_in)
        case MetricKind.LATENCY:
            return _latency(numbers, rail, control, treatment, stored, burning_in=burning_in)


def judge_alone(
    numbers: Numbers,
    rail: Guardrail,
    ceiling: float | None,
    treatment: Sample,
    stored: dict[str, Any] | None,
    *,
    burning_in: bool,
) -> tuple[Verdict, dict[str, Any]]:
    """As `judge`, once everyone is exposed: against `ceiling`, a rate. Raises NoControl too."""
    if numbers.kind is not MetricKind.RATIO:
        raise NoControl(
            f"Everyone is exposed, and {rail.metric} can only be compared with a control: leave it out of the last "
            "stage, or let that stage end below 100 %."
        )
    if ceiling is None:
        raise NoControl(
            f"Everyone is exposed, so {rail.metric} has no control left, and control was never seen before: "
            "give the guardrail a ceiling."
        )
    test = CeilingTest(rail.direction, ceiling, rail.margin, dispersion=rail.dispersion, min_sample=rail.min_sample)
    evidence = CeilingEvidence.from_json(stored) if stored else CeilingEvidence.start(test)
    evidence = gates.update_ceiling(test, evidence, counts_of(treatment), burning_in=burning_in)
    return gates.judge_ceiling(test, evidence), evidence.to_json()


def counts_of(sample: Sample) -> Counts:
    """Its exposures and events."""
    return Counts(sample.exposures, sample.events)


def _counts(
    rail: Guardrail,
    control: Sample,
    treatment: Sample,
    stored: dict[str, Any] | None,
    *,
    burning_in: bool,
    unproven: bool,
) -> tuple[Verdict, dict[str, Any]]:
    test = CountTest(rail.direction, rail.margin, dispersion=rail.dispersion, min_sample=rail.min_sample)
    before = CountEvidence.from_json(stored) if stored else CountEvidence.start(test)
    evidence = gates.update(test, before, counts_of(control), counts_of(treatment), burning_in=burning_in)
    if unproven:
        evidence = replace(evidence, books=replace(evidence.books, safe=before.books.safe))
    return gates.judge(test, evidence), evidence.to_json()


def _means(
    numbers: Numbers,
    rail: Guardrail,
    control: Sample,
    treatment: Sample,
    stored: dict[str, Any] | None,
    *,
    burning_in: bool,
) -> tuple[Verdict, dict[str, Any]]:
    assert numbers.cap is not None, "the catalogue demands it of a mean"
    enough = max(rail.min_sample, means.SMALLEST_SAMPLE)
    test = means.MeanTest(rail.direction, numbers.cap, rail.margin, dispersion=rail.dispersion, min_sample=enough)
    evidence = means.MeanEvidence.from_json(stored) if stored else means.MeanEvidence.start(test)
    arms = [means.Sums(arm.exposures, arm.total, arm.total_squares) for arm in (control, treatment)]
    evidence = means.update(test, evidence, *arms, burning_in=burning_in)
    return means.judge(test, evidence), evidence.to_json()


def _latency(
    numbers: Numbers,
    rail: Guardrail,
    control: Sample,
    treatment: Sample,
    stored: dict[str, Any] | None,
    *,
    burning_in: bool,
) -> tuple[Verdict, dict[str, Any]]:
    edges, enough = (*numbers.buckets, math.inf), max(rail.min_sample, latency.SMALLEST_SAMPLE)
    test = latency.LatencyTest(edges, rail.margin, sums=numbers.sums, dispersion=rail.dispersion, min_sample=enough)
    evidence = latency.LatencyEvidence.from_json(stored) if stored else latency.LatencyEvidence.start(test)
    arms = [_histogram(edges, arm, sums=numbers.sums) for arm in (control, treatment)]
    evidence = latency.update(test, evidence, *arms, burning_in=burning_in)
    return latency.judge(test, evidence), evidence.to_json()


def _histogram(edges: tuple[float, ...], arm: Sample, *, sums: bool) -> Histogram:
    return Histogram.of(edges, arm.buckets, *((arm.total, arm.total_squares) if sums else ()))

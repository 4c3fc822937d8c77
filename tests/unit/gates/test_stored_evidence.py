"""Evidence that a release has stored is read by the next, and says the same there.

Each file in `stored` holds one evidence, and what comes of it after one more interval: the e-values, or the sentence.
Whoever changes a prior, a field or their meaning makes a new version of the evidence, keeps what an old one says
readable or refused, and adds a file.

Evidence of latencies that was stored without the spread of treatment's proves no safety before that is known.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools.gates import (
    CeilingEvidence,
    CeilingTest,
    CountEvidence,
    Counts,
    CountTest,
    Direction,
    Verdict,
    assignment,
    budget,
    drift,
    judge,
    judge_ceiling,
    latency,
    means,
    mix,
    update,
    update_ceiling,
)
from tools.gates.histograms import Histogram
from tools.gates.level import LevelRange

STORED = Path(__file__).parent / "stored"
EDGES = (50.0, 100.0, 250.0, math.inf)
ERRORS = CountTest(Direction.INCREASE, 2.0)
FAILURES = CeilingTest(Direction.INCREASE, 0.01, 2.0)
REVENUE = means.MeanTest(Direction.DECREASE, 200.0, 1.25)
SLOWNESS = latency.LatencyTest(EDGES, 1.25)
OBJECTIVE = budget.BudgetTest(0.01)
AS_PLANNED = drift.DriftTest(
    Direction.INCREASE, base_rate=drift.within(0.005, 3), traffic=(100, 2000), share=drift.share_within(0.05, 2)
)

SLOWED = drift.DriftTest(Direction.INCREASE, level=LevelRange.scaled(90.0, 75.0, 1.3, 0.0, 625.0), traffic=(100, 2000))
MIXED = mix.MixTest((("eu", 0.4), ("us", 0.35)))


def counts(stored: Any) -> Verdict:
    return judge(ERRORS, update(ERRORS, CountEvidence.from_json(stored), Counts(950, 5), Counts(50, 1)))


def ceiling(stored: Any) -> Verdict:
    return judge_ceiling(FAILURES, update_ceiling(FAILURES, CeilingEvidence.from_json(stored), Counts(1000, 4)))


def mean(stored: Any) -> Verdict:
    arms = means.Sums(900, 18_000.0, 540_000.0), means.Sums(100, 1_900.0, 56_000.0)
    return means.judge(REVENUE, means.update(REVENUE, means.MeanEvidence.from_json(stored), *arms))


def slowness(stored: Any) -> Verdict:
    control = Histogram(EDGES, (300, 400, 180, 20), 86_000.0, 14_500_000.0)
    treatment = Histogram(EDGES, (30, 42, 20, 3), 9_400.0, 1_650_000.0)
    return latency.judge(
        SLOWNESS, latency.update(SLOWNESS, latency.LatencyEvidence.from_json(stored), control, treatment)
    )


KINDS: dict[str, Callable[[Any], Verdict]] = {
    "counts": counts,
    "counts-3": counts,
    "counts-4": counts,
    "counts-5": counts,
    "ceiling": ceiling,
    "ceiling-3": ceiling,
    "ceiling-4": ceiling,
    "means": mean,
    "means-2": mean,
    "means-3": mean,
    "latency": slowness,
    "latency-2": slowness,
    "latency-3": slowness,
    "latency-4": slowness,
    "latency-5": slowness,
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_earlier_release_has_stored_says_the_same(kind: str) -> None:
    stored = json.loads((STORED / f"{kind}.json").read_text())
    verdict = KINDS[kind](stored["evidence"])
    assert verdict.harm_e == pytest.approx(stored["next_harm_e"], rel=1e-9)
    assert verdict.safe_e == pytest.approx(stored["next_safe_e"], rel=1e-9)


def assignments(stored: Any) -> str:
    evidence = assignment.update(assignment.AssignmentEvidence.from_json(stored), 0.2, 4000, 1200)
    return assignment.judge(assignment.AssignmentTest(), evidence).why


def burn(stored: Any) -> str:
    return str(
        budget.burning(
            OBJECTIVE, budget.update(OBJECTIVE, budget.BudgetEvidence.from_json(stored), Counts(200, 31), 5.0)
        )
    )


def incident(stored: Any) -> str:
    evidence = drift.update(AS_PLANNED, drift.DriftEvidence.from_json(stored), 1.0, Counts(1900, 44), Counts(400, 2))
    return drift.judge(AS_PLANNED, evidence).why


def slowing(stored: Any) -> str:
    arms, values = (Counts(900, 0), Counts(100, 0)), means.Sums(900, 180_000.0, 60_000_000.0)
    evidence = drift.update(SLOWED, drift.DriftEvidence.from_json(stored), 1.0, *arms, values)
    return drift.judge(SLOWED, evidence).why


def segments(stored: Any) -> str:
    evidence = mix.update(MIXED, mix.MixEvidence.from_json(stored, MIXED), 1.0, {"eu": 700, "us": 100, "moon": 50}, 150)
    return mix.judge(MIXED, evidence).why


SENTENCES: dict[str, Callable[[Any], str]] = {
    "assignment": assignments,
    "budget": burn,
    "drift": incident,
    "drift-2": slowing,
    "mix": segments,
}


@pytest.mark.parametrize("kind", SENTENCES)
def test_what_is_kept_beside_it_leads_to_the_same_sentence(kind: str) -> None:
    stored = json.loads((STORED / f"{kind}.json").read_text())
    assert SENTENCES[kind](stored["evidence"]) == stored["next_says"]

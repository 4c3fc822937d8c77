"""What one check costs a gate: the update of its evidence, the verdict, and what is stored.

Times are the processor's, so that what else the machine does does not count.
"""

import json
import time
from statistics import median

import numpy as np
import pytest

from tests.benchmarks.conftest import Figures
from tests.unit.gates import latencies
from tools.gates import CountEvidence, Counts, CountTest, Direction, Interval, judge, latency, means, update, update_all

GUARDRAILS, CHECKS = 1000, 30
REQUESTS, SHARE = 600, 0.05

pytestmark = pytest.mark.benchmark

KINDS = {
    "errors": (CountTest(Direction.INCREASE, 2.0), 0.005, 1.0),
    "errors in bursts": (CountTest(Direction.INCREASE, 2.0, dispersion=5.0), 0.005, 1.0),
    "conversions": (CountTest(Direction.DECREASE, 1.25), 0.2, 1.0),
    "errors that double": (CountTest(Direction.INCREASE, 2.0), 0.005, 2.0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_many_updates_together(kind: str, figures: Figures) -> None:
    test, base_rate, ratio = KINDS[kind]
    control, treatment = _arm(1 - SHARE, base_rate, seed=1), _arm(SHARE, base_rate * ratio, seed=2)
    evidence = [CountEvidence.start(test)] * GUARDRAILS
    updated, judged = [], []
    for counted in zip(control, treatment, strict=True):
        began = time.process_time()
        evidence = update_all([Interval(test, *one) for one in zip(evidence, *counted, strict=True)])
        between = time.process_time()
        for one in evidence:
            judge(test, one)
        updated.append((between - began) / GUARDRAILS)
        judged.append((time.process_time() - between) / GUARDRAILS)
    figures.add(f"one of {GUARDRAILS:,} gate updates, {kind}", median(updated) * 1e6, "µs", target=50)
    figures.add(f"one of {GUARDRAILS:,} gate verdicts, {kind}", median(judged) * 1e6, "µs")
    largest = max(len(json.dumps(one.to_json())) for one in evidence)
    figures.add(f"the largest of {GUARDRAILS:,} gates' evidence as JSON, {kind}", largest / 1000, "KB", target=4)


def test_one_update_alone(figures: Figures) -> None:
    test, base_rate, _ = KINDS["errors"]
    evidence, spent = CountEvidence.start(test), []
    for control, treatment in zip(_arm(1 - SHARE, base_rate, seed=3), _arm(SHARE, base_rate, seed=4), strict=True):
        began = time.process_time()
        for counted in zip(control, treatment, strict=True):
            evidence = update(test, evidence, *counted)
        spent.append((time.process_time() - began) / GUARDRAILS)
    figures.add("one gate update alone, errors", median(spent) * 1e6, "µs")


@pytest.mark.parametrize("sums", [True, False], ids=["with sums", "from buckets alone"])
def test_many_updates_of_latencies_together(sums: bool, figures: Figures) -> None:
    test = latency.LatencyTest(latencies.EDGES, 1.25, sums=sums)
    service = latencies.Service(latencies.log_normal(), REQUESTS, SHARE)
    data = latencies.simulate(service, GUARDRAILS, CHECKS, seed=5)
    counted = [
        [[latencies.histogram(data, arm, one, check, sums=sums) for arm in "bc"] for one in range(GUARDRAILS)]
        for check in range(CHECKS)
    ]
    evidence, spent = [latency.LatencyEvidence.start(test)] * GUARDRAILS, []
    for arms in counted:
        began = time.process_time()
        evidence = latency.update_all(
            [latency.Interval(test, one, *arm) for one, arm in zip(evidence, arms, strict=True)]
        )
        spent.append((time.process_time() - began) / GUARDRAILS)
    kind = f"latencies {'with sums' if sums else 'from buckets alone'}"
    figures.add(f"one of {GUARDRAILS:,} gate updates, {kind}", median(spent) * 1e6, "µs", target=50)
    largest = max(len(json.dumps(one.to_json())) for one in evidence)
    figures.add(f"the largest of {GUARDRAILS:,} gates' evidence as JSON, {kind}", largest / 1000, "KB", target=4)


def test_many_updates_of_means(figures: Figures) -> None:
    test = means.MeanTest(Direction.DECREASE, 200.0, 1.25)
    rng = np.random.default_rng(6)
    evidence, spent = [means.MeanEvidence.start(test)] * GUARDRAILS, []
    for _ in range(CHECKS):
        arms = [_orders(rng, share) for share in (1 - SHARE, SHARE)]
        began = time.process_time()
        evidence = [means.update(test, one, *arm) for one, *arm in zip(evidence, *arms, strict=True)]
        spent.append((time.process_time() - began) / GUARDRAILS)
    figures.add(f"one of {GUARDRAILS:,} gate updates, means", median(spent) * 1e6, "µs", target=50)
    largest = max(len(json.dumps(one.to_json())) for one in evidence)
    figures.add(f"the largest of {GUARDRAILS:,} gates' evidence as JSON, means", largest / 1000, "KB", target=4)


def _orders(rng: np.random.Generator, share: float) -> list[means.Sums]:
    """One arm's minute of every guardrail: values of mean 20."""
    units = rng.poisson(REQUESTS * share, GUARDRAILS)
    total = np.maximum(rng.normal(20 * units, 15 * np.sqrt(units)), 0.0)
    squares = np.maximum(625.0 * units, total**2 / np.maximum(units, 1))
    columns = units.tolist(), total.tolist(), squares.tolist()
    return [means.Sums(*one) for one in zip(*columns, strict=True)]


def _arm(share: float, base_rate: float, seed: int) -> list[list[Counts]]:
    """One arm's minutes, (checks, guardrails)."""
    rng = np.random.default_rng(seed)
    exposures = rng.poisson(REQUESTS * share, (CHECKS, GUARDRAILS))
    events = rng.binomial(exposures, base_rate)
    return [
        [Counts(*one) for one in zip(exposed, hit, strict=True)]
        for exposed, hit in zip(exposures.tolist(), events.tolist(), strict=True)
    ]

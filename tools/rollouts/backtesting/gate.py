"""The gate's own tests, run for many replays together: what is learnt of a metric in one look, and the verdicts on it.

The tests are those of `tools.rollouts.judging`; the evidence is never stored.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from tools import gates
from tools.gates import (
    CeilingEvidence,
    CountEvidence,
    Counts,
    Outcome,
    Verdict,
    budget,
    counts,
    latency,
    means,
)
from tools.gates import drift as drifting
from tools.gates.budget import BudgetEvidence, BudgetTest
from tools.gates.combined import ALPHA_PAUSE
from tools.gates.drift import Drift, DriftEvidence, DriftTest
from tools.gates.histograms import Histogram
from tools.gates.judging import BURN_IN_STAKE
from tools.gates.level import latencies_of
from tools.gates.means import NOTHING, Sums
from tools.gates.wealth import Ledger
from tools.metrics.catalogue import MetricKind
from tools.metrics.history import History
from tools.plans.model import Expected, Guardrail
from tools.rollouts.backtesting.streams import Arms
from tools.rollouts.drifts import BASE_RATE_RANGE, level_range
from tools.rollouts.judging import Numbers, ceiling_test, count_test, latency_test, mean_test
from tools.rollouts.preparing import ceiling_for

Evidence = dict[tuple[str, str], Any]
"""What one replay's gates carry: by metric, and by the mode of the exposure or `whole`, or what else is kept of it."""
WHOLE = "whole"
NO_DRIFT = Drift()
RATE = Numbers()
ALPHA_SAFE = 0.05
"""The level at which every test here proves safety."""


@dataclass(frozen=True)
class Look:
    """One replay's look at one guardrail.

    `row` is the replay's in the arms, `mode` is None where everyone is exposed, `due` says that the bake time is over,
    so that a proof of safety promotes, and `minutes` is the time since the look before. `expected` is what the plan was
    made for, None where it does not say.
    """

    row: int
    rail: Guardrail
    mode: str | None
    evidence: Evidence
    burning_in: bool
    due: bool
    minutes: float = 1.0
    expected: Expected | None = None


def judged(history: History, weight: float, looks: Sequence[Look], arms: Arms) -> Iterator[tuple[int, Verdict]]:
    """The verdicts on the metric, by the replays' rows; none where nothing stands in for control."""
    alone = [look for look in looks if look.mode is None]
    if history.kind is MetricKind.RATIO:
        for look in alone:
            treatment = _counts(arms, look.row, 1)
            verdict = _alone(weight, look, treatment)
            if verdict is not None:
                yield look.row, _with_budget(history, look, verdict, treatment)
    compared = [look for look in looks if look.mode is not None]
    match history.kind:
        case MetricKind.RATIO:
            yield from _rates(history, weight, compared, arms)
        case MetricKind.MEAN:
            yield from _means(history, weight, compared, arms)
        case MetricKind.LATENCY:
            yield from _latencies(history, weight, compared, arms)


def _rates(history: History, weight: float, looks: Sequence[Look], arms: Arms) -> Iterator[tuple[int, Verdict]]:
    intervals = []
    for look in looks:
        test = count_test(look.rail, weight)
        evidence = look.evidence.get(_key(look))
        if not isinstance(evidence, CountEvidence) or evidence.margin != test.margin:
            evidence = CountEvidence.start(test)
        both = _counts(arms, look.row, 0), _counts(arms, look.row, 1)
        intervals.append(counts.Interval(test, evidence, *both, look.burning_in, look.minutes))
    updated = counts.update_all(intervals)
    drifts = [_drift(look, RATE, one.control, one.treatment) for look, one in zip(looks, intervals, strict=True)]
    found = [
        # What a shared incident proves is that the arms do badly alike.
        replace(after, books=replace(after.books, safe=one.evidence.books.safe)) if before.incident else after
        for one, after, (before, _) in zip(intervals, updated, drifts, strict=True)
    ]
    for look, one, after, (_, now), said in zip(looks, intervals, found, drifts, _unsaid(looks, found), strict=True):
        look.evidence[_key(look)] = after
        verdict = _with_budget(history, look, said or counts.judge(one.test, after), one.treatment)
        yield look.row, verdict if verdict is said else drifting.weigh(verdict, now, compared=True)


def _with_budget(history: History, look: Look, verdict: Verdict, treatment: Counts) -> Verdict:
    """The verdict with what treatment's error budget shows, where the metric has an objective."""
    if history.objective is None:
        return verdict
    test, key = _budget_test(history.objective, look.rail.dispersion), (look.rail.metric, f"{_mode(look)}: budget")
    evidence = look.evidence.get(key) or BudgetEvidence.start(test)
    if not look.burning_in:
        minutes = min(look.minutes, budget.LONGEST_WINDOW)
        look.evidence[key] = evidence = budget.update(test, evidence, treatment, minutes)
    quiet = budget.burning(test, evidence) is None
    return verdict if quiet else budget.weigh(verdict, test, evidence, compared=look.mode is not None)


@lru_cache(maxsize=256)
def _budget_test(objective: float, dispersion: float) -> BudgetTest:
    return BudgetTest(objective, dispersion=dispersion)


def _drift(
    look: Look, numbers: Numbers, control: Counts, treatment: Counts, values: Sums = NOTHING
) -> tuple[Drift, Drift]:
    """Whether there is a shared incident, before this interval and after it; `values` are control's."""
    test = None if look.expected is None else _drift_test(look.rail, look.expected, numbers)
    if test is None:
        return NO_DRIFT, NO_DRIFT
    key = look.rail.metric, f"{look.mode}: drift"
    before = look.evidence.get(key, DriftEvidence())
    after = drifting.update(test, before, look.minutes, control, treatment, values)
    look.evidence[key] = after
    return _drifted(test, before), _drifted(test, after)


def _drifted(test: DriftTest, evidence: DriftEvidence) -> Drift:
    """As `drifting.judge`, at once where nothing has drifted, as it is nearly always."""
    quiet = max(*evidence.below, *evidence.above) < test.found_from
    return NO_DRIFT if quiet else drifting.judge(test, evidence)


def _latencies(history: History, weight: float, looks: Sequence[Look], arms: Arms) -> Iterator[tuple[int, Verdict]]:
    intervals = []
    for look in looks:
        test = latency_test(look.rail, history.edges, history.sums, weight)
        evidence = look.evidence.get(_key(look))
        if evidence is None or evidence.test != test.asked:
            evidence = latency.LatencyEvidence.start(test)
        both = [_histogram(history, arms, look.row, arm) for arm in (0, 1)]
        intervals.append(latency.Interval(test, evidence, both[0], both[1], look.burning_in, look.minutes))
    numbers = _numbers_of(history)
    drifts = [
        _drift(look, numbers, *_served(one), latencies_of(one.control))
        for look, one in zip(looks, intervals, strict=True)
    ]
    found = [
        replace(after, books=replace(after.books, safe=one.evidence.books.safe)) if before.incident else after
        for one, after, (before, _) in zip(intervals, latency.update_all(intervals), drifts, strict=True)
    ]
    for look, one, after, (_, now), said in zip(looks, intervals, found, drifts, _unsaid(looks, found), strict=True):
        look.evidence[_key(look)] = after
        yield look.row, said or drifting.weigh(latency.judge(one.test, after), now, compared=True)


def _served(one: latency.Interval) -> tuple[Counts, Counts]:
    return Counts(one.control.requests, 0), Counts(one.treatment.requests, 0)


def _means(history: History, weight: float, looks: Sequence[Look], arms: Arms) -> Iterator[tuple[int, Verdict]]:
    assert history.cap is not None, "the catalogue demands it of a mean"
    numbers = _numbers_of(history)
    for look in looks:
        test = mean_test(look.rail, history.cap, weight)
        evidence = look.evidence.get(_key(look))
        if evidence is None or evidence.test != test.asked:
            evidence = means.MeanEvidence.start(test)
        control, treatment = (
            Sums(*(column[look.row, arm].item() for column in (arms.exposures, arms.totals, arms.squares)))
            for arm in (0, 1)
        )
        before, now = _drift(look, numbers, Counts(control.units, 0), Counts(treatment.units, 0), control)
        after = means.update(test, evidence, control, treatment, burning_in=look.burning_in, unproven=before.incident)
        look.evidence[_key(look)] = after
        yield look.row, drifting.weigh(means.judge(test, after), now, compared=True)


def _numbers_of(history: History) -> Numbers:
    """What the metric's numbers are, by its history."""
    return Numbers(kind=history.kind, cap=history.cap, buckets=history.edges[:-1], sums=history.sums)


@lru_cache(maxsize=256)
def _drift_test(rail: Guardrail, expected: Expected, numbers: Numbers) -> DriftTest | None:
    base_rate = expected.base_rate if numbers.kind is MetricKind.RATIO else None
    planned = None if base_rate is None else drifting.within(base_rate, BASE_RATE_RANGE)
    level = level_range(numbers, expected)
    if planned is None and level is None:
        return None
    return DriftTest(rail.direction, base_rate=planned, level=level, dispersion=rail.dispersion)


def _alone(weight: float, look: Look, treatment: Counts) -> Verdict | None:
    """At 100 %: against the plan's ceiling or control's rate so far; None when there is neither."""
    rail, kept = look.rail, look.evidence.get((look.rail.metric, WHOLE))
    if isinstance(kept, CeilingEvidence):
        ceiling: float | None = kept.ceiling
    else:
        live = look.evidence.get((rail.metric, "live"))
        ceiling = ceiling_for(rail, live.control if isinstance(live, CountEvidence) else Counts(0, 0))
    if ceiling is None:
        return None
    test = ceiling_test(rail, ceiling, weight)
    before = kept if isinstance(kept, CeilingEvidence) else CeilingEvidence.start(test)
    after = gates.update_ceiling(test, before, treatment, burning_in=look.burning_in)
    look.evidence[rail.metric, WHOLE] = after
    return gates.judge_ceiling(test, after)


def _unsaid(
    looks: Sequence[Look], found: Sequence[CountEvidence] | Sequence[latency.LatencyEvidence]
) -> list[Verdict | None]:
    """Where nothing would come of a verdict, one without a sentence, which takes most of the time; None elsewhere."""
    if not found:
        return []
    books = [one.books for one in found]
    harm, burn_in, safe = (
        Ledger.of([(book,) for book in column]).log_e[:, 0]
        for column in zip(*((one.harm, one.burn_in, one.safe) for one in books), strict=True)
    )
    harm = np.logaddexp(math.log1p(-BURN_IN_STAKE) + harm, math.log(BURN_IN_STAKE) + burn_in)
    telling = harm >= -math.log(ALPHA_PAUSE)
    telling |= np.array([look.due for look in looks]) & (safe >= -math.log(ALPHA_SAFE))
    undecided = (Verdict(Outcome.INCONCLUSIVE, "", harm_e=one) for one in np.exp(np.minimum(harm, 700)).tolist())
    return [None if tells else verdict for tells, verdict in zip(telling.tolist(), undecided, strict=True)]


def _mode(look: Look) -> str:
    return WHOLE if look.mode is None else look.mode


def _key(look: Look) -> tuple[str, str]:
    assert look.mode is not None, "only with a control there is anything to compare"
    return look.rail.metric, look.mode


def _counts(arms: Arms, row: int, arm: int) -> Counts:
    return Counts(arms.exposures[row, arm].item(), arms.events[row, arm].item())


def _histogram(history: History, arms: Arms, row: int, arm: int) -> Histogram:
    sums = (arms.totals[row, arm].item(), arms.squares[row, arm].item()) if history.sums else ()
    return Histogram(history.edges, tuple(arms.buckets[row, arm].tolist()), *sums)

"""What is foretold of sample ratios and of error budgets, held against the gates' own code on simulated streams.

How long a sample ratio needs is within a quarter. False pauses and alerts are only said to be at most so many, and the
tests show that such streams stay below it, and how far.
"""

import math

import numpy as np
import pytest

from tools.gates import CountEvidence, Counts, CountTest, Direction, Harm, Interval, Outcome, update_all
from tools.gates import judge as judge_counts
from tools.gates.assignment import AssignmentEvidence, AssignmentTest, information_needed, judge
from tools.gates.assignment import update as assign
from tools.gates.budget import FAST, MOST_BY_CHANCE, SLOW, BudgetEvidence, BudgetTest, burning, update, weigh

LOOKS = 40


def shown(test: AssignmentTest, shares: tuple[float, ...], odds: float, assigned: float, streams: int) -> list[float]:
    """The look at which each stream's mismatch shows, infinity for none; the share rises on the way."""
    rng, found = np.random.default_rng(77), [math.inf] * streams
    for stream in range(streams):
        evidence = AssignmentEvidence()
        for look in range(2 * LOOKS):
            share = shares[min(look * len(shares) // LOOKS, len(shares) - 1)]
            new = int(rng.poisson(assigned / (share * (1 - share))))
            treatment = int(rng.binomial(new, share * odds / (share * odds + 1 - share)))
            evidence = assign(evidence, share, new - treatment, treatment)
            if judge(test, evidence).harm is Harm.SUSPECTED:
                found[stream] = look + 1.0
                break
    return found


@pytest.mark.parametrize(
    ("shares", "tolerance"),
    [((0.01,), 1.1), ((0.2,), 1.02), ((0.5,), 1.3), ((0.95,), 1.1), ((0.01, 0.05, 0.2, 0.5), 1.1)],
    ids=["1 %", "a small mismatch", "a large one", "95 %", "stages"],
)
@pytest.mark.parametrize("up", [True, False])
def test_a_mismatch_shows_in_nine_of_ten_when_it_is_said_to(
    shares: tuple[float, ...], tolerance: float, *, up: bool
) -> None:
    """Of 300 streams the ninth decile has a standard error of some 4 %."""
    test = AssignmentTest(tolerance=tolerance)
    found = shown(test, shares, tolerance if up else 1 / tolerance, information_needed(test) / LOOKS, 300)
    assert pytest.approx(float(np.quantile(found, 0.9, method="higher")), rel=0.25) == LOOKS


def test_false_pauses_of_a_split_are_at_most_as_many_as_their_level_and_not_far_fewer() -> None:
    """At a level of 5 %, as alarms at 1 in 1,000 are too rare to count: the bound is the same for all of them."""
    streams, level = 400, 0.05
    found = shown(AssignmentTest(alpha=level), (0.05, 0.2, 0.5), 1.0, 400.0, streams)
    part = np.isfinite(found).mean()
    error = math.sqrt(level * (1 - level) / streams)
    assert level / 5 - error < part < level + 3 * error


# -- error budgets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expected", [0.5, 1.0, MOST_BY_CHANCE / 6])
def test_ten_failures_come_by_chance_in_at_most_one_window_of_forty_thousand(expected: float) -> None:
    """At burn rate 1, where an alert takes ten failures and SLOW six times as many as expected."""
    failures = np.random.default_rng(78).poisson(expected, 4_000_000)
    part = (failures >= max(MOST_BY_CHANCE, SLOW.burn_rate * expected)).mean()
    assert part < 1 / 40_000
    if expected == MOST_BY_CHANCE / 6:
        # Not vacuous: the worst case is within a factor of ten of what is said.
        assert part > 1 / 400_000


def spoke(alerts: BudgetTest, rate: float, requests: int, minutes: int) -> float:
    """When the budget's alert speaks in a stream of that rate; infinity for never."""
    rng, evidence = np.random.default_rng(79), BudgetEvidence.start(alerts)
    for minute in range(1, minutes + 1):
        evidence = update(alerts, evidence, Counts(requests, int(rng.binomial(requests, rate))), 1.0)
        if burning(alerts, evidence) is not None:
            return float(minute)
    return math.inf


@pytest.mark.parametrize("alert", [FAST, SLOW])
def test_an_alert_speaks_from_its_burn_rate_on_within_a_quarter(alert: object) -> None:
    """What burns a fifth slower than the alert's rate never makes it speak, a quarter faster does within its window."""
    assert alert in (FAST, SLOW)
    test = BudgetTest(0.001, alerts=(FAST if alert is FAST else SLOW,))
    rate, window = test.alerts[0].burn_rate * test.allowed, round(test.alerts[0].long_minutes)
    assert math.isinf(spoke(test, rate / 1.25, 20_000, 2 * window))
    assert spoke(test, rate * 1.25, 20_000, 2 * window) <= window


def test_a_shared_incident_rolls_back_in_at_most_five_of_a_hundred() -> None:
    """Both arms burn their budget all the time, so that the comparison's suspicion alone decides: at most `alpha_pause`
    of the rollouts, and in an hour and a half no fewer than a tenth of that."""
    test, budget, streams, minutes = CountTest(Direction.INCREASE, 2.0), BudgetTest(0.001), 400, 90
    rng, failed = np.random.default_rng(80), np.zeros(streams, bool)
    evidence, burnt = [CountEvidence.start(test)] * streams, [BudgetEvidence.start(budget)] * streams
    for _ in range(minutes):
        arms = []
        for requests in (480, 120):
            exposed = rng.poisson(requests, streams)
            counts = zip(exposed.tolist(), rng.binomial(exposed, 0.02).tolist(), strict=True)
            arms.append([Counts(*one) for one in counts])
        evidence = update_all([Interval(test, *one) for one in zip(evidence, *arms, strict=True)])
        burnt = [update(budget, *one, 1.0) for one in zip(burnt, arms[1], strict=True)]
        verdicts = [judge_counts(test, one) for one in evidence]
        weighed = [weigh(one, budget, by, compared=True) for one, by in zip(verdicts, burnt, strict=True)]
        failed |= [one.outcome is Outcome.FAIL for one in weighed]
    assert test.alpha_pause / 10 < failed.mean() < test.alpha_pause + 3 * math.sqrt(0.05 * 0.95 / streams)

"""The book never gains under the null: by exact enumeration, for arbitrary bets and outcomes."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tools.gates import CountEvidence, Counts, CountTest, Direction, Harm, Outcome, judge, update
from tools.gates.counts import log_chances
from tools.gates.wealth import Prior, Wealth, advance, log_boost, log_sum, log_total

PRIOR = Prior.around(1.7, far=0.3, at_once=0.7, late_shift=0.8, late_far=0.05)
logs = st.floats(-8, 3)


@given(st.floats(1.01, 50), st.floats(0.01, 0.9), st.floats(0.01, 0.99), st.floats(-1, 1), st.floats(0.01, 0.9))
def test_all_the_money_is_placed_or_in_reserve(
    typical: float, far: float, at_once: float, shift: float, late_far: float
) -> None:
    prior = Prior.around(typical, far=far, at_once=at_once, late_shift=shift, late_far=late_far)
    assert np.exp(prior.log_weights).sum() == pytest.approx(1)
    assert np.exp(prior.log_late_weights).sum() == pytest.approx(1)
    assert (prior.factors > 1).all()
    assert Wealth.start(prior).log_e == pytest.approx(0, abs=1e-12)


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=30))
def test_placing_moves_money_and_makes_none(steps: list[float]) -> None:
    wealth, nothing = Wealth.start(PRIOR), np.zeros(len(PRIOR.factors))
    for minutes in steps:
        before = wealth
        wealth = wealth.advance(PRIOR, nothing, minutes)
        assert wealth.log_reserve <= before.log_reserve
        assert wealth.log_e == pytest.approx(0, abs=1e-9)


def test_the_reserve_lasts_for_any_traffic() -> None:
    """Some of it is left after any time, so that no harm comes too late to be bet on."""
    wealth = Wealth.start(PRIOR).advance(PRIOR, np.zeros(len(PRIOR.factors)), 1e6)
    assert -25 < wealth.log_reserve < -10


@given(st.floats(0, 1e7))
def test_what_is_left_of_the_reserve_says_what_time_it_is(minutes: float) -> None:
    """So that a clock which counted something else can be set."""
    wealth = Wealth.start(PRIOR).advance(PRIOR, np.zeros(len(PRIOR.factors)), minutes)
    assert PRIOR.clock_of(wealth.log_reserve) == pytest.approx(minutes, rel=1e-6, abs=1e-3)


@pytest.mark.parametrize("log_reserve", [0.0, -1e3, -1e100])
def test_a_reserve_that_no_clock_leaves_still_says_a_time(log_reserve: float) -> None:
    assert 0 <= PRIOR.clock_of(log_reserve) < 1e30


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[float], float, float, list[float], list[list[float]]]:
    """Bets, reserve, cap, the null's chances of all outcomes, and payouts that are fair or worse."""
    bets = draw(st.lists(logs, min_size=1, max_size=4))
    weights = draw(st.lists(st.floats(0.01, 1), min_size=2, max_size=6))
    chances = [weight / sum(weights) for weight in weights]
    payouts = []
    for _ in bets:
        raw = draw(st.lists(st.floats(1e-6, 1e3), min_size=len(chances), max_size=len(chances)))
        mean = sum(chance * pay for chance, pay in zip(chances, raw, strict=True))
        payouts.append([draw(st.floats(0.5, 1)) * pay / mean for pay in raw])
    return bets, draw(logs), draw(st.floats(0, 5)), chances, payouts


@given(situations(), st.data())
def test_a_boost_is_paid_for_by_what_is_beyond_the_cap(
    situation: tuple[list[float], float, float, list[float], list[list[float]]], data: st.DataObject
) -> None:
    bets, reserve, cap, chances, payouts = situation
    log_started, log_reserve, log_cap = np.array(bets), np.array(reserve), np.array(cap)
    log_lr = np.log(np.array(payouts)).T
    looked_at = data.draw(st.lists(st.sampled_from(range(len(chances))), unique=True))
    boost = log_boost(log_started, log_reserve, log_cap, np.log(np.array(chances))[looked_at], log_lr[looked_at])
    assert boost >= 0
    room = math.exp(cap) - math.exp(reserve)
    assume(room > 0)
    stake = math.exp(float(log_sum(log_started)))
    if stake >= room:
        assert boost == 0
        return
    paid = np.exp(log_sum(log_started + log_lr) + boost)
    assert (np.array(chances) * np.minimum(paid, room)).sum() <= stake * (1 + 1e-9)


@given(st.sampled_from(Direction), st.integers(1, 300), st.integers(1, 300), st.data())
def test_the_chances_of_rare_events_are_fishers(
    direction: Direction, control: int, treatment: int, data: st.DataObject
) -> None:
    events = data.draw(st.integers(0, control + treatment))
    hits, chances = log_chances(
        direction, np.array(float(control)), np.array(float(treatment)), np.array(float(events))
    )
    everyone = math.comb(control + treatment, events)
    for seen, chance in zip(hits, chances, strict=True):
        if chance > -math.inf:
            exact = math.comb(treatment, int(seen)) * math.comb(control, events - int(seen)) / everyone
            assert chance == pytest.approx(math.log(exact), abs=1e-9)
    assert np.exp(chances).sum() <= 1 + 1e-9


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("direction", Direction)
def test_the_chance_of_ever_rolling_back_without_harm_is_at_most_alpha(
    direction: Direction, alpha: float, rate: float
) -> None:
    """Over all histories of three intervals, weighted by their chances; levels this lenient are reached in three."""
    test = CountTest(direction, 2.0, alpha_pause=max(alpha, 0.7), alpha_rollback=alpha)
    failed = 0.0
    arms = [
        (Counts(4, missed), Counts(2, hit), binomial(4, missed, rate) * binomial(2, hit, rate))
        for missed, hit in itertools.product(range(5), range(3))
    ]
    open_ones = [(CountEvidence.start(test), 1.0)]
    for _ in range(3):
        following = []
        for evidence, chance in open_ones:
            for control, treatment, likely in arms:
                after = update(test, evidence, control, treatment)
                if judge(test, after).outcome is Outcome.FAIL:
                    failed += chance * likely
                else:
                    following.append((after, chance * likely))
        open_ones = following
    assert failed <= alpha


def binomial(trials: int, hits: int, rate: float) -> float:
    return math.comb(trials, hits) * rate**hits * (1 - rate) ** (trials - hits)


@given(
    st.sampled_from(Direction),
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(1, 30),
    st.lists(st.integers(0, 3), max_size=6),
    st.floats(0.02, 0.9),
)
def test_one_boosted_interval_is_fair(
    direction: Direction, control: int, treatment: int, events: int, past: list[int], alpha: float
) -> None:
    """Given its number of events; whatever came before, however near the rollback is, at any level."""
    assume(events <= min(control, treatment))
    test = CountTest(direction, 2.0, alpha_pause=0.95, alpha_rollback=alpha)
    evidence = CountEvidence.start(test)
    for hits in past:
        evidence = update(test, evidence, Counts(5000, 3 - hits), Counts(3000, hits))
    if judge(test, evidence).harm is Harm.PROVEN:
        return
    mean = 0.0
    for hits in range(events + 1):
        chance = math.comb(treatment, hits) * math.comb(control, events - hits) / math.comb(control + treatment, events)
        after = update(test, evidence, Counts(control, events - hits), Counts(treatment, hits))
        mean += chance * math.exp(after.books.harm.log_e)
    assert mean <= math.exp(evidence.books.harm.log_e) * (1 + 1e-9)


def test_many_books_advance_as_each_alone() -> None:
    rng = np.random.default_rng(4)
    started, reserve = rng.normal(-2, 1, (5, len(PRIOR.factors))), rng.normal(-1, 0.3, 5)
    clock, log_lr, minutes = rng.uniform(0, 900, 5), rng.normal(0, 1, (5, len(PRIOR.factors))), rng.uniform(0, 90, 5)
    together = advance(PRIOR, started, reserve, clock, log_lr, minutes)
    total = log_total(together[0], together[1])
    for one in range(5):
        alone = Wealth(tuple(started[one]), float(reserve[one]), float(clock[one]))
        after = alone.advance(PRIOR, log_lr[one], float(minutes[one]))
        assert after.log_e == pytest.approx(total[one], rel=1e-12)
        assert replace(after, log_started=()) == Wealth((), float(together[1][one]), float(together[2][one]))

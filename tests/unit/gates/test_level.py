"""Bets on control's mean: fair whatever the values are, and from nothing but their sums."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.gates import BadTest
from tools.gates.histograms import Histogram
from tools.gates.level import LevelRange, latencies_of
from tools.gates.means import NOTHING, Sums
from tools.gates.wealth import Floats

EDGES = (50.0, 100.0, 250.0, 500.0, math.inf)
AMOUNTS = LevelRange.scaled(20.0, 15.0, 1.3, -100.0, 100.0)
LATENCIES = LevelRange.scaled(100.0, 120.0, 1.3, 0.0, 1000.0)


def sums(values: Floats) -> Sums:
    return Sums(len(values), float(values.sum()), float((values**2).sum()))


# Of a mean of 1, as skewed as it gets.
WORLDS = {
    "all alike": lambda rng, shape: np.ones(shape),
    "heavy": lambda rng, shape: 20 * rng.beta(0.1, 1.9, shape),
    "one of fifty": lambda rng, shape: 50.0 * (rng.random(shape) < 0.02),
    "rarely nothing": lambda rng, shape: (rng.random(shape) > 0.05) / 0.95,
}


@pytest.mark.parametrize("world", WORLDS)
def test_at_the_ends_of_the_range_the_bets_are_fair_or_worse(world: str) -> None:
    values = WORLDS[world](np.random.default_rng(3), (4000, 20))
    wide = LevelRange(1 / 1.3, 1.3, (0.8, 1.4), 0.0, 100.0)
    for side, end in enumerate((wide.lowest, wide.highest)):
        won = np.exp([wide.log_ratios(sums(row * end))[side] for row in values])
        assert won.mean() <= 1.02


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30))
def test_no_bet_wins_more_than_one_on_each_value_alone(values: list[float]) -> None:
    """1 + λξ is what a bet with the stake λ of its money on that value makes of it."""
    found = AMOUNTS.log_ratios(sums(np.array(values)))
    step = (AMOUNTS.highest - AMOUNTS.lowest) / 3
    pairs = ((AMOUNTS.lowest, -1, AMOUNTS.ceiling), (AMOUNTS.highest, 1, AMOUNTS.floor))
    for log_ratio, (end, sign, bound), deviation in zip(found, pairs, AMOUNTS.deviations, strict=True):
        room = abs(end - bound)
        stake = min(step / (deviation**2 + step**2) * room, 0.5)
        alone = math.fsum(math.log1p(stake * sign * (value - end) / room) for value in values)
        assert log_ratio <= alone + 1e-6


def test_each_side_wins_where_the_mean_is_beyond_it_and_loses_elsewhere() -> None:
    rng = np.random.default_rng(4)
    for factor, signs in ((1.0, (-1, -1)), (2.0, (-1, 1)), (0.5, (1, -1))):
        values = np.minimum(rng.gamma(2.0, 50.0, 5000) * factor, 1000.0)
        assert np.sign(LATENCIES.log_ratios(sums(values))).tolist() == list(signs)


def test_nothing_seen_says_nothing() -> None:
    assert AMOUNTS.log_ratios(NOTHING) == (0.0, 0.0)


def test_beyond_the_ceiling_the_low_end_has_nothing_to_bet_with() -> None:
    slow = LevelRange.scaled(2000.0, 100.0, 1.3, 0.0, 1000.0)
    assert slow.log_ratios(Sums(100, 300_000.0, 900_000_000.0))[0] == 0.0


def test_a_typical_latency_is_the_log_middle_of_buckets() -> None:
    counted = latencies_of(Histogram(EDGES, (0, 100, 100, 0, 0)))
    typical = LevelRange.of_middles(counted.mean, math.sqrt(counted.variance), 1.3, EDGES)
    assert typical.shown(counted.mean) == pytest.approx(math.sqrt(math.sqrt(50 * 100) * math.sqrt(100 * 250)))
    assert max(typical.log_ratios(counted)) < 0
    below, above = typical.log_ratios(latencies_of(Histogram(EDGES, (0, 0, 100, 100, 0))))
    assert below < 0 < above


def test_the_latencies_of_a_source_with_sums_are_those() -> None:
    assert latencies_of(Histogram(EDGES, (1, 1, 0, 0, 0), 120.0, 8000.0)) == Sums(2, 120.0, 8000.0)
    torn = latencies_of(Histogram(EDGES, (1, 1, 0, 0, 0), 120.0, 7000.0))
    assert torn == Sums(2, 120.0, 7200.0), "scraped amid a request"
    assert latencies_of(Histogram(EDGES, (0,) * 5, 0.0, 0.0)) == NOTHING


@pytest.mark.parametrize(
    ("lowest", "highest", "deviations", "floor"),
    [
        (2.0, 1.0, (1.0, 1.0), 0.0),
        (1.0, math.inf, (1.0, 1.0), 0.0),
        (1.0, 2.0, (-1.0, 1.0), 0.0),
        (1.0, 2.0, (1.0, math.nan), 0.0),
        (1.0, 2.0, (1.0, 1.0), 3.0),
    ],
)
def test_senseless_ranges_are_refused(
    lowest: float, highest: float, deviations: tuple[float, float], floor: float
) -> None:
    with pytest.raises(BadTest):
        LevelRange(lowest, highest, deviations, floor, 10.0)

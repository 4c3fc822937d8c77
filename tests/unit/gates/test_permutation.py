"""The mean over all draws, against the exact coefficient."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.gates.permutation import log_mean


def exact(log_u: list[float], pooled: list[int], drawn: int) -> float:
    """ln p_n from the coefficients themselves."""
    coefficients, scale = np.ones(1), 0.0
    for log, count in zip(log_u, pooled, strict=True):
        logs = np.array([math.log(math.comb(count, taken)) + taken * log for taken in range(count + 1)])
        coefficients = np.convolve(coefficients, np.exp(logs - logs.max()))
        scale += logs.max() + math.log(coefficients.max())
        coefficients = coefficients / coefficients.max()
    return math.log(coefficients[drawn]) + scale - math.log(math.comb(sum(pooled), drawn))


crowds = st.lists(st.tuples(st.integers(0, 80), st.floats(-1, 1)), min_size=1, max_size=6)


@given(crowds, st.floats(0, 1), st.floats(0.01, 1.5))
def test_it_bounds_the_mean_over_all_draws_from_above(crowd: list[tuple[int, float]], part: float, bet: float) -> None:
    pooled, log_u = [count for count, _ in crowd], [bet * score for _, score in crowd]
    drawn = round(part * sum(pooled))
    bound = float(log_mean(np.array([log_u]), np.array(pooled, float), np.array(float(drawn)))[0])
    assert bound >= exact(log_u, pooled, drawn) - 2e-3


@pytest.mark.parametrize("drawn", [30, 120, 300, 450])
@pytest.mark.parametrize("bet", [0.05, 0.3, 0.8])
def test_it_is_close_where_there_are_many(drawn: int, bet: float) -> None:
    pooled = [100, 250, 150, 80, 20]
    log_u = [bet * score for score in (-1.5, -0.4, 0.5, 1.6, 2.6)]
    bound = float(log_mean(np.array([log_u]), np.array(pooled, float), np.array(float(drawn)))[0])
    truth = exact(log_u, pooled, drawn)
    assert 0 <= bound - truth < 0.005
    with_replacement = drawn * math.log(sum(n * math.exp(log) for n, log in zip(pooled, log_u, strict=True)) / 600)
    assert bound <= with_replacement


def test_nobody_drawn_and_nobody_there_cost_nothing() -> None:
    log_u = np.array([[0.5, -0.5]])
    assert log_mean(log_u, np.array([3.0, 4.0]), np.array(0.0))[0] == 0
    assert log_mean(log_u, np.array([0.0, 0.0]), np.array(0.0))[0] == 0


def test_drawing_everybody_is_certain() -> None:
    log_u = np.array([[0.5, -0.5]])
    assert log_mean(log_u, np.array([30.0, 40.0]), np.array(70.0))[0] == pytest.approx(-5.0)

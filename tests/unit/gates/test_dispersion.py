import numpy as np
import pytest

from tools.gates import Counts, estimate_dispersion


def history(events: list[int], exposures: int = 1000) -> list[Counts]:
    return [Counts(exposures, count) for count in events]


def test_independent_events_have_a_dispersion_of_one() -> None:
    events = np.random.default_rng(1).poisson(5, 400).tolist()
    assert estimate_dispersion(history(events)) == 1.0


def test_bursts_of_five_have_a_dispersion_of_about_five() -> None:
    events = (5 * np.random.default_rng(2).poisson(2, 400)).tolist()
    assert estimate_dispersion(history(events)) == pytest.approx(5.5, rel=0.2)


def test_a_slow_drift_is_no_burst() -> None:
    means = 20 + 15 * np.sin(np.linspace(0, 6, 400))
    events = np.random.default_rng(3).poisson(means).tolist()
    assert np.var(events) / np.mean(events) > 4
    assert estimate_dispersion(history(events)) < 1.3


def test_few_intervals_get_the_benefit_of_no_doubt() -> None:
    events = [4, 9, 3, 5, 6, 2]
    assert estimate_dispersion(history(events)) > 1.5


@pytest.mark.parametrize("events", [[], [3], [0, 0, 0, 0]])
def test_too_little_to_tell_is_one(events: list[int]) -> None:
    assert estimate_dispersion(history(events)) == 1.0


def test_few_steady_intervals_are_one() -> None:
    assert estimate_dispersion(history([5, 5, 5, 5])) == 1.0


def test_intervals_without_exposures_are_left_out() -> None:
    events = (5 * np.random.default_rng(2).poisson(2, 100)).tolist()
    with_gaps = [counts for interval in history(events) for counts in (interval, Counts(0, 0))]
    assert estimate_dispersion(with_gaps) == estimate_dispersion(history(events))

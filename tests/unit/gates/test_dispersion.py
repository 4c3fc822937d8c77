import numpy as np
import pytest

from tools.gates import Counts, estimate_dispersion
from tools.gates.dispersion import ENOUGH, cautious, dispersions


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


@pytest.mark.parametrize("bursts", [1.25, 1.5, 2.0])
def test_small_bursts_among_few_intervals_are_reckoned_with(bursts: float) -> None:
    """Bursts of mean b, of which 1 + any number more, have a dispersion of 2·b - 1."""
    rng, found = np.random.default_rng(4), list[float]()
    for _ in range(50):
        starts = rng.poisson(100 / bursts, 40)
        events = starts + rng.negative_binomial(starts, 1 / bursts)
        found.append(estimate_dispersion(history(events.tolist(), 20_000)))
    assert np.mean(np.array(found) == 1) < 0.1
    assert np.median(found) > 2 * bursts - 1


@pytest.mark.parametrize("differences", [ENOUGH - 1, ENOUGH])
def test_only_enough_differences_rule_bursts_out(differences: int) -> None:
    assert cautious(1.1, 0.1, differences) == (1.0 if differences == ENOUGH else 1.1 + 0.1)


def test_few_steady_intervals_are_one() -> None:
    assert estimate_dispersion(history([5, 5, 5, 5])) == 1.0


def test_intervals_without_exposures_are_left_out() -> None:
    events = (5 * np.random.default_rng(2).poisson(2, 100)).tolist()
    with_gaps = [counts for interval in history(events) for counts in (interval, Counts(0, 0))]
    assert estimate_dispersion(with_gaps) == estimate_dispersion(history(events))


def test_many_streams_at_once_are_as_each_alone() -> None:
    rng = np.random.default_rng(7)
    exposures = rng.poisson(600, (3, ENOUGH + 1))
    events = rng.poisson([[3.0], [0.5], [0.0]], (3, ENOUGH + 1)) * [[4], [1], [1]]
    alone = [
        estimate_dispersion([Counts(*interval) for interval in zip(*stream, strict=True)])
        for stream in zip(exposures.tolist(), events.tolist(), strict=True)
    ]
    assert dispersions(exposures.astype(float), events.astype(float)) == pytest.approx(alone)
    assert alone[0] > 3
    assert alone[1:] == [1.0, 1.0]

"""How soon it is found that traffic is not what a plan was made for, and how often that is said of traffic that is."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from tests.benchmarks.conftest import Figures
from tests.unit.gates.latencies import EDGES
from tools.gates import Counts, Direction, mix
from tools.gates.drift import DriftEvidence, DriftTest, Quantity, judge, share_within, update, within
from tools.gates.histograms import Histogram, layout
from tools.gates.level import LevelRange, latencies_of
from tools.gates.means import Sums
from tools.gates.wealth import Floats
from tools.rollouts.drifts import LEVEL_RANGE

MINUTES, DAY = 0.25, 24 * 60
TEST = DriftTest(Direction.INCREASE, base_rate=within(0.005, 3), traffic=(300, 1200), share=share_within(0.05, 2))
# Requests a minute, treatment's share and both arms' rate; what is found by it.
WORLDS = {
    "base rate ×5": ((600, 0.05, 0.025), Quantity.BASE_RATE),
    "base rate ×10": ((600, 0.05, 0.05), Quantity.BASE_RATE),
    "base rate gone": ((600, 0.05, 0.0), Quantity.BASE_RATE),
    "traffic down to a quarter of the quietest": ((75, 0.05, 0.005), Quantity.TRAFFIC),
    "traffic four times the busiest": ((4800, 0.05, 0.005), Quantity.TRAFFIC),
    "share 20 % instead of 5 %": ((600, 0.2, 0.005), Quantity.SHARE),
    "share 1 % instead of 5 %": ((600, 0.01, 0.005), Quantity.SHARE),
}
NULLS = {
    "as planned": (600, 0.05, 0.005),
    "at the edge: rate ×3, traffic ×2": (1200, 0.05, 0.015),
}


@dataclass(frozen=True)
class Kind:
    """What is drawn of it as planned, how it is summed up, its range, what is harm, and how many come in a minute."""

    draw: Callable[[np.random.Generator, int], Floats]
    summed: Callable[[Floats], Sums]
    level: Callable[[Sums], LevelRange]
    direction: Direction
    pace: int


CAP = 200.0


def _log_normal(spread: float) -> Callable[[np.random.Generator, int], Floats]:
    return lambda rng, size: 80 * np.exp(spread * rng.standard_normal(size))


def _amounts(values: Floats) -> Sums:
    cut = np.minimum(values, CAP)
    return Sums(len(cut), float(cut.sum()), float((cut**2).sum()))


def _timed(values: Floats, *, with_sums: bool = True) -> Sums:
    counts = np.bincount(np.searchsorted(EDGES, values), minlength=len(EDGES)).tolist()
    return latencies_of(Histogram(EDGES, tuple(counts), *((values.sum(), (values**2).sum()) if with_sums else ())))


def _in_buckets(values: Floats) -> Sums:
    return _timed(values, with_sums=False)


def _about(past: Sums) -> LevelRange:
    longest = float(layout(EDGES).upper[-1])
    return LevelRange.scaled(past.mean, math.sqrt(past.variance), LEVEL_RANGE, 0.0, longest)


def _about_typical(past: Sums) -> LevelRange:
    return LevelRange.of_middles(past.mean, math.sqrt(past.variance), LEVEL_RANGE, EDGES)


def _about_amount(past: Sums) -> LevelRange:
    return LevelRange.scaled(past.mean, math.sqrt(past.variance), LEVEL_RANGE, -CAP, CAP)


def _basket(rng: np.random.Generator, size: int) -> Floats:
    return rng.gamma(2.0, 25.0, size)


LEVELS = {
    "latencies of σ .6": Kind(_log_normal(0.6), _timed, _about, Direction.INCREASE, 570),
    "latencies of σ .6, buckets alone": Kind(_log_normal(0.6), _in_buckets, _about_typical, Direction.INCREASE, 570),
    "latencies of σ 1.2": Kind(_log_normal(1.2), _timed, _about, Direction.INCREASE, 570),
    "latencies of σ 1.2, buckets alone": Kind(_log_normal(1.2), _in_buckets, _about_typical, Direction.INCREASE, 570),
    "amounts, 95 a minute": Kind(_basket, _amounts, _about_amount, Direction.DECREASE, 95),
}
SEGMENTS = ("eu", "us", "asia", "latam", "africa", "moon")
# The plan knows none of the moon's.
MIX_TEST = mix.MixTest(tuple(zip(SEGMENTS, (0.35, 0.3, 0.2, 0.1, 0.05), strict=False)))
# Requests a minute, of how many a user sends in a go, and the parts of the segments.
MIXES = {
    "30 % of requests moved": (600, 1, (0.65, 0.0, 0.2, 0.1, 0.05, 0.0)),
    "30 % moved, 60 requests/min": (60, 1, (0.65, 0.0, 0.2, 0.1, 0.05, 0.0)),
    "30 % moved, 10 requests in a go": (600, 10, (0.65, 0.0, 0.2, 0.1, 0.05, 0.0)),
    "a segment of 35 % gone": (600, 1, (0.0, 0.46, 0.31, 0.15, 0.08, 0.0)),
    "a new one of 15 %": (600, 1, (0.3, 0.255, 0.17, 0.085, 0.04, 0.15)),
    "a new one of 30 %": (600, 1, (0.245, 0.21, 0.14, 0.07, 0.035, 0.3)),
}
MIX_NULLS = {
    "as planned": (600, 1, (0.35, 0.3, 0.2, 0.1, 0.05, 0.0)),
    "at the edge: 20 % moved": (600, 1, (0.55, 0.1, 0.2, 0.1, 0.05, 0.0)),
    "at the edge, 10 requests in a go": (600, 10, (0.55, 0.1, 0.2, 0.1, 0.05, 0.0)),
}

pytestmark = pytest.mark.benchmark


@pytest.mark.parametrize("name", WORLDS)
def test_time_to_detect(name: str, figures: Figures) -> None:
    world, quantity = WORLDS[name]
    found = [_first(world, quantity, seed, 4 * 60) for seed in range(60)]
    assert math.isfinite(max(found)), name
    figures.add(f"drift found, {name}, median", float(np.median(found)), "min", target=30)
    figures.add(f"drift found, {name}, 9 of 10", float(np.quantile(found, 0.9)), "min")


@pytest.mark.parametrize("name", NULLS)
def test_without_drift(name: str, figures: Figures) -> None:
    days = 40
    called = sum(math.isfinite(_first(NULLS[name], None, seed, DAY)) for seed in range(days))
    # 1/alpha looks on average for each of the ends of the ranges.
    promised = 100 * min(1.0, 6 * TEST.alpha * DAY / MINUTES)
    figures.add(f"false drift in 24 h of looks each 15 s, {name}", 100 * called / days, "%", target=promised)


@pytest.mark.parametrize("times", [1.5, 2.0])
@pytest.mark.parametrize("name", LEVELS)
def test_time_to_detect_a_level(name: str, times: float, figures: Figures) -> None:
    found = [_first_level(LEVELS[name], times, seed, 4 * 60) for seed in range(60)]
    assert math.isfinite(max(found)), name
    figures.add(f"level found, {name}, ×{times:g} worse, median", float(np.median(found)), "min", target=30)
    figures.add(f"level found, {name}, ×{times:g} worse, 9 of 10", float(np.quantile(found, 0.9)), "min")


@pytest.mark.parametrize("times", [1.0, LEVEL_RANGE])
@pytest.mark.parametrize("name", LEVELS)
def test_a_level_without_drift(name: str, times: float, figures: Figures) -> None:
    days = 10
    called = sum(math.isfinite(_first_level(LEVELS[name], times, seed, DAY)) for seed in range(days))
    promised = 100 * min(1.0, 2 * TEST.alpha * DAY / MINUTES)
    at = "as planned" if times == 1 else f"at the edge, ×{times:g}"
    figures.add(f"false drift in 24 h of looks each 15 s, {name}, {at}", 100 * called / days, "%", target=promised)


@pytest.mark.parametrize("name", MIXES)
def test_time_to_detect_a_mix(name: str, figures: Figures) -> None:
    found = [_first_mix(MIXES[name], seed, 6 * 60) for seed in range(60)]
    assert math.isfinite(max(found)), name
    figures.add(f"mix found, {name}, median", float(np.median(found)), "min", target=60)
    figures.add(f"mix found, {name}, 9 of 10", float(np.quantile(found, 0.9)), "min")


@pytest.mark.parametrize("name", MIX_NULLS)
def test_a_mix_without_drift(name: str, figures: Figures) -> None:
    days = 40
    called = sum(math.isfinite(_first_mix(MIX_NULLS[name], seed, DAY)) for seed in range(days))
    promised = 100 * min(1.0, 2 * MIX_TEST.alpha * DAY / MINUTES)
    figures.add(f"false drift of the mix in 24 h of looks each 15 s, {name}", 100 * called / days, "%", target=promised)


def _first_level(kind: Kind, times: float, seed: int, minutes: float) -> float:
    """Minutes until control is said to have left its range, that many times worse than planned; infinity if never."""
    past = kind.summed(kind.draw(np.random.default_rng(1), 300_000))
    test = DriftTest(kind.direction, level=kind.level(past))
    factor = times if kind.direction is Direction.INCREASE else 1 / times
    rng, evidence = np.random.default_rng(seed), DriftEvidence()
    for look in range(round(minutes / MINUTES)):
        size = int(rng.poisson(kind.pace * MINUTES))
        values = kind.summed(kind.draw(rng, size) * factor)
        evidence = update(test, evidence, MINUTES, Counts(size, 0), Counts(0, 0), values)
        if judge(test, evidence).departures:
            return (look + 1) * MINUTES
    return math.inf


def _first_mix(world: tuple[float, int, tuple[float, ...]], seed: int, minutes: float) -> float:
    """Minutes until the mix is said to be another, infinity if never."""
    rng, evidence = np.random.default_rng(seed), mix.MixEvidence.start(MIX_TEST)
    requests, together, parts = world
    looks = round(minutes / MINUTES)
    users = rng.multinomial(rng.poisson(requests * MINUTES / together, looks), parts)
    # Some send one, some many: as many as coins until the first head.
    sent = users + rng.negative_binomial(np.maximum(users, 1), 1 / together) * (users > 0)
    for look, counts in enumerate(sent.tolist()):
        evidence = mix.update(MIX_TEST, evidence, MINUTES, dict(zip(SEGMENTS, counts, strict=True)))
        if mix.judge(MIX_TEST, evidence).is_found:
            return (look + 1) * MINUTES
    return math.inf


def _first(world: tuple[float, float, float], quantity: Quantity | None, seed: int, minutes: float) -> float:
    """Minutes until it is said to have left its range (any of them for None), infinity if never."""
    rng, evidence = np.random.default_rng(seed), DriftEvidence()
    requests, share, rate = world
    looks = round(minutes / MINUTES)
    arms = [
        (exposed.tolist(), rng.binomial(exposed, rate).tolist())
        for exposed in (rng.poisson(requests * part * MINUTES, looks) for part in (1 - share, share))
    ]
    for look in range(looks):
        control, treatment = (Counts(exposed[look], events[look]) for exposed, events in arms)
        evidence = update(TEST, evidence, MINUTES, control, treatment)
        if any(quantity in (None, one.quantity) for one in judge(TEST, evidence).departures):
            return (look + 1) * MINUTES
    return math.inf

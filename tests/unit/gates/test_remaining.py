"""How long the rest of a proof takes, held within a quarter of what the gates themselves then take."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tools.gates import (
    CeilingEvidence,
    CeilingTest,
    CountEvidence,
    Counts,
    CountTest,
    Direction,
    Interval,
    Minutes,
    Traffic,
    judge,
    latency,
    means,
    update_all,
    update_ceiling,
)
from tools.gates.amounts import Amounts, LatencyTraffic, MeanTraffic
from tools.gates.histograms import Histogram
from tools.gates.latency import LatencyEvidence, LatencyTest
from tools.gates.means import MeanEvidence, MeanTest, Sums
from tools.gates.remaining import (
    FAR_BEYOND,
    HORIZON,
    USUAL_PART,
    Seen,
    ceiling_left,
    latency_left,
    mean_left,
    rate_left,
    seen_of_ceiling,
    seen_of_latency,
    seen_of_mean,
    seen_of_rate,
)
from tools.gates.wealth import Floats

UP, DOWN = Direction.INCREASE, Direction.DECREASE
STREAMS, LONGEST = 160, 2000
# What is left is asked of one in so many: it takes a while.
EACH = 4
PROVEN = math.log(20)

Left = Callable[[], Minutes | None]
"""How long the rest should take, None where it is not to be proven."""
Step = Callable[[list[int]], list[tuple[float, Left]]]
"""One more minute of those rollouts: the log evidence of safety of each, and what asks for the rest."""


def agree(step: Step, at: int, streams: int = STREAMS) -> None:
    """Of rollouts that are not through by the minute `at`: what is foretold then for some, and what comes."""
    going, left, came = list(range(streams)), dict[int, Minutes | None](), dict[int, int]()
    for minute in range(1, LONGEST):
        found = dict(zip(going, step(going), strict=True))
        through = {one for one in going if found[one][0] >= PROVEN}
        if minute == at:
            left = {one: found[one][1]() for one in going if one not in through and one % EACH == 0}
        came |= {one: minute - at for one in through if minute > at}
        going = [one for one in going if one not in through]
        if not going:
            break
    foretold = {stream: one for stream, one in left.items() if one is not None}
    assert len(foretold) > streams / EACH / 4
    median, promised = np.median(list(came.values())), np.median([one.median for one in foretold.values()])
    # A minute is the simulation's own grain: what is through amid one is seen at its end.
    assert median == pytest.approx(promised + 0.5, rel=0.25, abs=0.5)
    assert np.mean([came.get(stream, LONGEST) <= math.ceil(one.p90) for stream, one in foretold.items()]) >= 0.82


def rates(
    rng: np.random.Generator, test: CountTest, requests: float, share: float, rate: float, ratios: Floats
) -> Step:
    evidence = [CountEvidence.start(test)] * len(ratios)

    def asking(one: CountEvidence) -> Left:
        base_rate = (one.control.events + 0.5) / (one.control.exposures + 1)
        traffic = Traffic(requests, base_rate, share)

        def left() -> Minutes | None:
            seen = seen_of_rate(test, one, base_rate, judge(test, one).ratio)
            return rate_left(test, one, traffic, seen) if seen.provable else None

        return left

    def minute(going: list[int]) -> list[tuple[float, Left]]:
        exposed = rng.poisson(requests * np.array([1 - share, share])[:, None], (2, len(going)))
        events = rng.binomial(exposed, rate * np.stack([np.ones(len(going)), ratios[going]]))
        arms = [
            [Counts(*one) for one in zip(*arm, strict=True)]
            for arm in zip(exposed.tolist(), events.tolist(), strict=True)
        ]
        intervals = [Interval(test, evidence[one], *both) for one, *both in zip(going, *arms, strict=True)]
        for one, after in zip(going, update_all(intervals), strict=True):
            evidence[one] = after
        return [(evidence[one].books.safe.log_e, asking(evidence[one])) for one in going]

    return minute


@pytest.mark.parametrize(
    ("test", "requests", "share", "rate", "at"),
    [
        (CountTest(UP, 2.0), 600, 0.1, 0.01, 1),
        (CountTest(UP, 2.0), 600, 0.1, 0.01, 6),
        (CountTest(DOWN, 1.5), 2000, 0.05, 0.02, 5),
        (CountTest(DOWN, 1.25), 300, 0.2, 0.2, 5),
    ],
)
def test_of_a_rate(test: CountTest, requests: float, share: float, rate: float, at: int) -> None:
    agree(rates(np.random.default_rng(61), test, requests, share, rate, np.ones(STREAMS)), at)


@pytest.mark.parametrize(("ratio", "at"), [(0.8, 3), (1.1, 6), (1.26, 12)])
def test_of_a_rate_that_is_not_control_s_once_treatment_has_shown_some_of_it(ratio: float, at: int) -> None:
    agree(rates(np.random.default_rng(62), CountTest(UP, 2.0), 1200, 0.1, 0.01, np.full(STREAMS, ratio)), at)


@pytest.mark.parametrize("at", [2, 5])
def test_half_and_nine_of_ten_are_through_when_they_should_where_treatments_are_as_they_are(at: int) -> None:
    rng = np.random.default_rng(66)
    ratios = 2 ** (USUAL_PART * np.clip(rng.standard_normal(STREAMS), -2, 0.9))
    agree(rates(rng, CountTest(UP, 2.0), 1800, 0.1, 0.01, ratios), at)


def held(rng: np.random.Generator, test: CeilingTest, requests: float, rate: float) -> Step:
    evidence = [CeilingEvidence.start(test)] * STREAMS

    def asking(one: CeilingEvidence) -> Left:
        seen = seen_of_ceiling(test, one)
        return lambda: ceiling_left(test, one, requests, seen) if seen.provable else None

    def minute(going: list[int]) -> list[tuple[float, Left]]:
        for one in going:
            exposed = int(rng.poisson(requests))
            counted = Counts(exposed, int(rng.binomial(exposed, rate)))
            evidence[one] = update_ceiling(test, evidence[one], counted)
        return [(evidence[one].books.safe.log_e, asking(evidence[one])) for one in going]

    return minute


@pytest.mark.parametrize(("test", "rate"), [(CeilingTest(UP, 0.02, 2.0), 0.01), (CeilingTest(DOWN, 0.08, 1.25), 0.1)])
def test_of_a_rate_against_its_ceiling(test: CeilingTest, rate: float) -> None:
    agree(held(np.random.default_rng(63), test, 90, rate), 2)


def spending(rng: np.random.Generator, test: MeanTest, units: float, share: float) -> Step:
    evidence = [MeanEvidence.start(test)] * STREAMS

    def asking(one: MeanEvidence) -> Left:
        amounts = Amounts(one.control.mean, math.sqrt(one.control.variance), test.cap)
        seen, traffic = seen_of_mean(test, one), MeanTraffic(units, amounts, share)
        return lambda: mean_left(test, one, traffic, seen) if seen.provable else None

    def spent(part: float) -> Sums:
        values = np.minimum(rng.lognormal(3, 0.5, rng.poisson(units * part)), test.cap)
        return Sums(len(values), float(values.sum()), float((values**2).sum()))

    def minute(going: list[int]) -> list[tuple[float, Left]]:
        for one in going:
            evidence[one] = means.update(test, evidence[one], spent(1 - share), spent(share))
        return [(means.books(test, evidence[one]).safe.log_e, asking(evidence[one])) for one in going]

    return minute


@pytest.mark.parametrize(
    ("test", "share", "at"),
    [
        (MeanTest(DOWN, 200.0, 1.05), 0.2, 1),
        (MeanTest(DOWN, 200.0, 1.05), 0.2, 8),
        (MeanTest(UP, 200.0, 1.1), 0.05, 5),
    ],
)
def test_of_a_mean(test: MeanTest, share: float, at: int) -> None:
    agree(spending(np.random.default_rng(64), test, 300, share), at)


EDGES = (0.05, 0.1, 0.2, 0.4, math.inf)


def waiting(rng: np.random.Generator, test: LatencyTest, requests: float, share: float) -> Step:
    evidence = [LatencyEvidence.start(test)] * STREAMS

    def served(part: float) -> Histogram:
        took = rng.lognormal(-2.5, 0.6, rng.poisson(requests * part))
        counts = np.bincount(np.searchsorted(EDGES, took), minlength=len(EDGES)).tolist()
        return Histogram(EDGES, tuple(counts), *((float(took.sum()), float((took**2).sum())) if test.sums else ()))

    def asking(one: LatencyEvidence) -> Left:
        def left() -> Minutes | None:
            sums = (float(one.past.total), float(one.past.squares)) if test.sums else ()
            known = Histogram(EDGES, tuple(int(count) for count in one.past.counts), *sums)
            seen = seen_of_latency(test, one, latency.judge(test, one).ratio)
            traffic = LatencyTraffic(requests, known, share, test.margin)
            return latency_left(test, one, traffic, seen) if seen.provable else None

        return left

    def minute(going: list[int]) -> list[tuple[float, Left]]:
        intervals = [latency.Interval(test, evidence[one], served(1 - share), served(share)) for one in going]
        for one, after in zip(going, latency.update_all(intervals), strict=True):
            evidence[one] = after
        judged = [(evidence[one], evidence[one].treatment >= test.min_sample) for one in going]
        return [(one.books.safe.log_e if enough else 0.0, asking(one)) for one, enough in judged]

    return minute


@pytest.mark.parametrize(
    ("test", "requests", "share", "at"),
    [
        (LatencyTest(EDGES, 1.1), 300, 0.2, 2),
        (LatencyTest(EDGES, 1.25, sums=False), 60, 0.2, 5),
        (LatencyTest(EDGES, 1.25, sums=False), 120, 0.2, 5),
        (LatencyTest(EDGES, 1.25), 100, 0.05, 10),
    ],
)
def test_of_a_latency(test: LatencyTest, requests: float, share: float, at: int) -> None:
    agree(waiting(np.random.default_rng(65), test, requests, share), at)


def test_what_is_seen_counts_by_how_sure_it_is() -> None:
    unsure, sure = Seen(1.4, 2.0, 1.0, 2.0), Seen(1.4, 0.01, 1.0, 2.0)
    assert 1.0 < unsure.likeliest < 1.1
    assert sure.likeliest == pytest.approx(1.4, abs=0.01)
    assert unsure.doubt == pytest.approx(USUAL_PART * math.log(2), rel=0.1)
    assert sure.doubt == pytest.approx(0.01, rel=0.01)
    nothing = Seen(1.0, math.inf, 1.0, 2.0)
    assert (nothing.likeliest, nothing.doubt, nothing.provable) == (1.0, USUAL_PART * math.log(2), True)


@pytest.mark.parametrize("null", [2.0, 0.5])
def test_a_ratio_may_be_all_that_is_within_the_margin(null: float) -> None:
    nothing, sure = Seen(1.0, math.inf, 1.0, null).ratios, Seen(1.2, 1e-9, 1.0, null).ratios
    assert ((nothing - null) * (1 - null) > 0).all()
    assert min(nothing) < 0.7
    assert max(nothing) > 1.4
    assert sure == pytest.approx(1.2)
    assert (Seen(0.0, 0.5, 1.0, null).ratios > 0).all()


def test_what_is_far_beyond_the_margin_is_not_to_be_proven() -> None:
    for null in (2.0, 0.5):
        away = math.copysign(0.6 * null, null - 1)
        assert Seen(null + FAR_BEYOND * away * 0.9, 0.6, 1.0, null).provable
        assert not Seen(null + FAR_BEYOND * away * 1.1, 0.6, 1.0, null).provable
        assert not replace(Seen(null + away, 0.6, 1.0, null), error=0.01).provable


def test_what_takes_more_than_a_year_is_not_waited_for() -> None:
    test = CountTest(UP, 1.01)
    left = rate_left(test, CountEvidence.start(test), Traffic(1, 0.001, 0.01), Seen(1.0, 0.001, 1.0, 1.01))
    assert left == Minutes(HORIZON, HORIZON)

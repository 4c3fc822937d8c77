"""A metric's history at the grain of the looks, and how it is dealt to control and treatment.

By units where the history has them: each user is put into an arm by the flag's own hash, under a salt that each replay
has of its own, so that whatever is peculiar to users is there: some make many requests, and all of theirs fail. Users
that are not told apart, or had no event, are dealt by counts.

By counts otherwise. Each look's exposures are drawn into treatment at the stage's share, and with them its events (the
requests of each bucket of latencies), hypergeometrically, or, where the history is bursty by φ, beta-binomially with φ
times the variance: in lumps, as those of a user would be who makes many. Amounts are dealt as if each unit's were
gamma-distributed with the history's mean and variance (over φ): then treatment's part of the sum is beta-distributed.
Where some are below 0, which a gamma distribution's never are, the sum's chance is normal, with the same variance.

With harm treatment is made worse by a factor. Of rates, events are added, in lumps too, or taken away where fewer are
harm. Latencies all become longer, so that requests move to later buckets. Amounts are multiplied or divided.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

import numpy as np

from tools.flags.evaluation import BUCKETS, bucket_of
from tools.gates import Direction
from tools.gates.histograms import bucket_means, layout
from tools.metrics.catalogue import MetricKind
from tools.metrics.history import Floats, History, Ints, Units
from tools.plans.model import Guardrail

SMALLEST = 1e-9
"""What stands for 0 where that can't be: of parts and shapes, which have no unit, so that no unit matters."""
MOST_DRAWN_EXACTLY = 10**9 - 1
"""Of how many numpy can draw a hypergeometric count."""
FEW = 1e-3
"""The part of all up to which a draw without putting back is as one with, but for a thousandth of the variance."""
Random = np.random.Generator


@dataclass
class Arms:
    """What both arms did in one look of each of R replays: control in column 0, treatment in column 1, each (R, 2).

    `buckets` (R, 2, B) are latencies'; `totals` and `squares` are sums of amounts or latencies.
    """

    exposures: Ints
    events: Ints
    totals: Floats
    squares: Floats
    buckets: Ints

    @classmethod
    def empty(cls, replays: int, buckets: int = 0) -> "Arms":
        """Nothing yet."""
        exposures, events = np.zeros((2, replays, 2), np.int64)
        totals, squares = np.zeros((2, replays, 2))
        return cls(exposures, events, totals, squares, np.zeros((replays, 2, buckets), np.int64))


class Stream(Protocol):
    """One metric's history, to be dealt."""

    looks: int

    def deal(self, rng: Random, replays: Ints, at: Ints, percents: Floats) -> Arms:
        """What the arms did at the looks `at` (R,) of the `replays` (R,), when so much is treatment's (R,)."""
        ...

    def worsen(self, rng: Random, at: Ints, arms: Arms, factors: Floats) -> None:
        """Make treatment worse by the `factors` (R,), which are 1 where it is to stay as it is."""
        ...


class Assignment:
    """Which units each replay has in treatment: as the flag would, under a salt for each replay (`seed`, its number).

    `ids` are the units of all histories, so that a user is in one arm for every metric.
    """

    def __init__(self, flag: str, ids: Sequence[str], seed: int, replays: Sequence[int]) -> None:
        self._flag, self._ids = flag, ids
        self._salts = [f"backtest:{seed}:{replay}" for replay in replays]
        # One more than the bucket, 0 where it is not known yet: most replays never meet most users.
        self._buckets = np.zeros((len(replays), len(ids)), np.uint32)

    def treated(self, replay: int, units: Ints, percent: float) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Which of the `units` (places in `ids`) the replay has in treatment."""
        known = self._buckets[replay]
        for unit in set(units[known[units] == 0].tolist()):
            known[unit] = 1 + bucket_of(self._salts[replay], self._flag, self._ids[unit])
        return np.asarray(known[units] <= round(percent * BUCKETS / 100))


def stream_of(
    history: History, rail: Guardrail, grain: timedelta, rng: Random, assignment: Assignment, places: Mapping[str, int]
) -> Stream:
    """The history, ready to be dealt. `places` are the units' places among those of the assignment."""
    more = rail.direction is Direction.INCREASE
    if history.units is not None:
        return UnitStream(history, history.units, grain, rng, assignment, places, more=more)
    if history.kind is MetricKind.RATIO:
        return RateStream(history, grain, rng, more=more)
    if history.kind is MetricKind.LATENCY:
        return LatencyStream(history, grain, rng)
    return MeanStream(history, grain, rng, more=more)


class RateStream:
    """Exposures and events (looks,), dealt by counts."""

    def __init__(self, history: History, grain: timedelta, rng: Random, *, more: bool) -> None:
        parts = round(history.step / grain)
        counts = np.array([(one.exposures, one.events) for one in history.pieces], np.int64)
        exposures = rng.multinomial(counts[:, 0], np.full(parts, 1 / parts))
        weights = exposures / np.maximum(exposures.sum(axis=1, keepdims=True), 1)
        weights[exposures.sum(axis=1) == 0] = 1 / parts
        events = np.minimum(rng.multinomial(counts[:, 1], weights), exposures)
        self.exposures, self.events = exposures.ravel(), events.ravel()
        self.looks, self.dispersion, self.more = len(self.exposures), history.dispersion, more

    def deal(self, rng: Random, replays: Ints, at: Ints, percents: Floats) -> Arms:
        arms = Arms.empty(len(at))
        exposures, events = self.exposures[at], self.events[at]
        treated = rng.binomial(exposures, percents / 100)
        hits = drawn(rng, exposures, events, treated, self.dispersion)
        arms.exposures[:] = np.stack([exposures - treated, treated], axis=1)
        arms.events[:] = np.stack([events - hits, hits], axis=1)
        return arms

    def worsen(self, rng: Random, at: Ints, arms: Arms, factors: Floats) -> None:
        rates = self.events[at] / np.maximum(self.exposures[at], 1)
        worsen_events(rng, arms, rates, factors, self.dispersion, more=self.more)


class MeanStream:
    """Units, and the sums of their amounts and of the squares (looks,), dealt by sums."""

    def __init__(self, history: History, grain: timedelta, rng: Random, *, more: bool) -> None:
        parts = round(history.step / grain)
        units = np.array([one.exposures for one in history.pieces], np.int64)
        sums = np.array([(one.total, one.total_squares) for one in history.pieces])
        spread = rng.multinomial(units, np.full(parts, 1 / parts))
        share = spread / np.maximum(units, 1)[:, None]
        self.units = spread.ravel()
        self.totals, self.squares = ((share * column[:, None]).ravel() for column in sums.T)
        self.looks, self.dispersion, self.more = len(self.units), history.dispersion, more
        self.cap = math.inf if history.cap is None else history.cap

    def deal(self, rng: Random, replays: Ints, at: Ints, percents: Floats) -> Arms:
        arms = Arms.empty(len(at))
        units = self.units[at]
        treated = rng.binomial(units, percents / 100)
        arms.exposures[:] = np.stack([units - treated, treated], axis=1)
        counted = np.maximum(units, 1)
        mean_square = self.squares[at] / counted
        variance = np.maximum(mean_square - (self.totals[at] / counted) ** 2, 0.0)
        # What is left of amounts that are all alike is rounding.
        variance[variance <= SMALLEST * mean_square] = 0.0
        arms.totals[:] = self._shared(rng, at, arms.exposures, variance * self.dispersion)
        means = arms.totals / np.maximum(arms.exposures, 1)
        arms.squares[:] = arms.exposures * (variance[:, None] + means**2)
        capped(arms, self.cap)
        return arms

    def _shared(self, rng: Random, at: Ints, units: Ints, variance: Floats) -> Floats:
        """What of the sums is each arm's (R, 2), which have so many units, of amounts of such a `variance` (R,)."""
        totals, everyone = self.totals[at], units.sum(axis=1)
        part = units[:, 1] / np.maximum(everyone, 1)
        varying = (variance > 0) & (part > 0) & (part < 1)
        treated = totals * part
        # Amounts of which none is below 0 have no more squares than the square of their sum.
        of_both_signs = varying & (self.squares[at] > totals**2 * (1 + SMALLEST))
        gamma = varying & ~of_both_signs
        shape = (totals[gamma] / everyone[gamma]) ** 2 / variance[gamma]
        treated[gamma] = totals[gamma] * rng.beta(*(np.maximum(units[gamma, arm] * shape, SMALLEST) for arm in (1, 0)))
        noise = np.sqrt(variance * everyone * part * (1 - part))[of_both_signs]
        treated[of_both_signs] += noise * rng.standard_normal(len(noise))
        return np.stack([totals - treated, treated], axis=1)

    def worsen(self, rng: Random, at: Ints, arms: Arms, factors: Floats) -> None:
        scale_amounts(arms, factors if self.more else 1 / factors, self.cap)


class UnitStream:
    """Whose the exposures and events or amounts are, in the looks' order; dealt by units."""

    def __init__(
        self,
        history: History,
        units: Units,
        grain: timedelta,
        rng: Random,
        assignment: Assignment,
        places: Mapping[str, int],
        *,
        more: bool,
    ) -> None:
        parts = round(history.step / grain)
        pieces = np.repeat(np.arange(len(history.pieces)), np.diff(units.first))
        # A unit's row is of one moment: what one user does in a piece is done at once, more or less.
        looks = pieces * parts + rng.integers(0, parts, len(pieces))
        order = np.argsort(looks, kind="stable")
        place = np.array([places[one] for one in units.ids], np.int64)
        self.of = place[units.of[order]]
        self.exposures, self.events = units.exposures[order], units.events[order]
        self.totals, self.squares = units.totals[order], units.squares[order]
        self.looks = len(history.pieces) * parts
        self.first = np.searchsorted(looks[order], np.arange(self.looks + 1))
        self.kind, self.dispersion, self.more = history.kind, history.dispersion, more
        self.cap = math.inf if history.cap is None else history.cap
        self._assignment = assignment
        rest = replace(history, pieces=units.rest, units=None)
        deals = RateStream if history.kind is MetricKind.RATIO else MeanStream
        self._rest = deals(rest, grain, rng, more=more)

    def deal(self, rng: Random, replays: Ints, at: Ints, percents: Floats) -> Arms:
        arms = self._rest.deal(rng, replays, at, percents)
        for row, (replay, look, percent) in enumerate(zip(replays, at, percents, strict=True)):
            inside = slice(self.first[look], self.first[look + 1])
            treated = self._assignment.treated(replay, self.of[inside], percent)
            for found, column in (
                (arms.exposures, self.exposures),
                (arms.events, self.events),
                (arms.totals, self.totals),
                (arms.squares, self.squares),
            ):
                whole, part = column[inside].sum(), column[inside][treated].sum()
                found[row] += whole - part, part
        arms.squares[:] = np.maximum(arms.squares, 0.0)
        return arms

    def worsen(self, rng: Random, at: Ints, arms: Arms, factors: Floats) -> None:
        if self.kind is MetricKind.MEAN:
            scale_amounts(arms, factors if self.more else 1 / factors, self.cap)
            return
        rates = arms.events.sum(axis=1) / np.maximum(arms.exposures.sum(axis=1), 1)
        worsen_events(rng, arms, rates, factors, self.dispersion, more=self.more)


class LatencyStream:
    """Requests in each bucket (looks, B), and the sums of their latencies and of the squares (looks,)."""

    def __init__(self, history: History, grain: timedelta, rng: Random) -> None:
        parts, self.edges = round(history.step / grain), history.edges
        counts = np.array([one.counts for one in history.histograms], np.int64)
        spread = rng.multinomial(counts, np.full(parts, 1 / parts)).swapaxes(1, 2)
        self.buckets = spread.reshape(-1, counts.shape[1])
        share = spread.sum(axis=2) / np.maximum(counts.sum(axis=1), 1)[:, None]
        sums = np.array([(one.total, one.total_squares) for one in history.pieces])
        self.totals, self.squares = ((share * column[:, None]).ravel() for column in sums.T)
        self.looks, self.dispersion, self.sums = len(self.buckets), history.dispersion, history.sums
        self._moves = dict[float, Floats]()

    def deal(self, rng: Random, replays: Ints, at: Ints, percents: Floats) -> Arms:
        whole = self.buckets[at]
        arms = Arms.empty(len(at), whole.shape[1])
        requests = whole.sum(axis=1)
        treated = rng.binomial(requests, percents / 100)
        arms.exposures[:] = np.stack([requests - treated, treated], axis=1)
        left, wanted = requests.copy(), treated.copy()
        # The slowest first: of those that are left, each bucket's part is drawn.
        for bucket in range(whole.shape[1] - 1, -1, -1):
            found = drawn(rng, left, whole[:, bucket], wanted, self.dispersion)
            arms.buckets[:, 1, bucket] = found
            left, wanted = left - whole[:, bucket], wanted - found
        arms.buckets[:, 0] = whole - arms.buckets[:, 1]
        if self.sums:
            self._share_sums(at, whole, arms)
        return arms

    def _share_sums(self, at: Ints, whole: Ints, arms: Arms) -> None:
        """What of the sums is each arm's, as if all of a bucket's latencies were alike."""
        requests = np.maximum(whole.sum(axis=1, keepdims=True), 1)
        means = bucket_means(layout(self.edges), whole / requests, self.totals[at] / requests[:, 0])
        for found, sums, power in ((arms.totals, self.totals[at], 1), (arms.squares, self.squares[at], 2)):
            parts = (arms.buckets * means[:, None, :] ** power).sum(axis=2)
            whole_parts = parts.sum(axis=1, keepdims=True)
            found[:] = sums[:, None] * np.divide(parts, whole_parts, out=np.zeros_like(parts), where=whole_parts > 0)
        self._keep_possible(arms)

    def worsen(self, rng: Random, at: Ints, arms: Arms, factors: Floats) -> None:
        for factor in {one for one in factors.tolist() if one > 1}:
            rows = np.nonzero(factors == factor)[0]
            move = self._moves.setdefault(factor, moves(self.edges, factor))
            before = arms.buckets[rows, 1]
            arms.buckets[rows, 1] = sum(
                rng.multinomial(before[:, bucket], move[bucket]) for bucket in range(before.shape[1])
            )
            arms.totals[rows, 1] *= factor
            arms.squares[rows, 1] *= factor**2
        if self.sums:
            self._keep_possible(arms)

    def _keep_possible(self, arms: Arms) -> None:
        """Sums no lower and no higher than their buckets allow."""
        edges = np.array(self.edges)
        low = (arms.buckets[..., 1:] * edges[:-1]).sum(axis=2)
        finite = (arms.buckets[..., :-1] * edges[:-1]).sum(axis=2)
        high = np.where(arms.buckets[..., -1] > 0, np.inf, finite)
        arms.totals[:] = np.clip(arms.totals, low, high)
        requests = arms.buckets.sum(axis=2)
        arms.squares[:] = np.maximum(arms.squares, arms.totals**2 / np.maximum(requests, 1))


def drawn(rng: Random, everyone: Ints, events: Ints, treated: Ints, dispersion: float) -> Ints:
    """How many of the `events` among `everyone` are treatment's, when `treated` of everyone are; each (R,)."""
    if dispersion <= 1:
        return _without_putting_back(rng, everyone, events, treated)
    part = treated / np.maximum(everyone, 1)
    together = np.maximum((events - 1) / (dispersion - 1) - 1, 1e-3)
    some = np.clip(part, SMALLEST, 1 - SMALLEST)
    found = rng.binomial(events, rng.beta(some * together, (1 - some) * together))
    found = np.where(part >= 1, events, np.where(part <= 0, 0, found))
    return np.asarray(np.clip(found, np.maximum(events - (everyone - treated), 0), np.minimum(events, treated)))


def _without_putting_back(rng: Random, everyone: Ints, events: Ints, treated: Ints) -> Ints:
    """Hypergeometric counts, for those among more than numpy can draw from nearly so."""
    many = everyone > MOST_DRAWN_EXACTLY
    if not many.any():
        return np.asarray(rng.hypergeometric(events, everyone - events, treated))
    found, few = np.empty(len(everyone), np.int64), ~many
    found[few] = rng.hypergeometric(events[few], everyone[few] - events[few], treated[few])
    found[many] = _among_many(rng, everyone[many], events[many], treated[many])
    return found


def _among_many(rng: Random, everyone: Ints, events: Ints, treated: Ints) -> Ints:
    """As hypergeometric counts but for a thousandth of their variance, among `everyone` of 10⁹ or more.

    Where the events, what is no event, or one of the arms is FEW of everyone: binomial, of those few. Elsewhere the
    variance is a thousand at least, and the count as good as normal.
    """
    rest, control = everyone - events, everyone - treated
    mean = treated * (events / everyone)
    found = mean + np.sqrt(mean * (rest / everyone) * (control / everyone)) * rng.standard_normal(len(everyone))
    counts = np.rint(found).astype(np.int64)
    few = np.stack([events, rest, treated, control])
    smallest, rows = few.argmin(axis=0), np.arange(len(everyone))
    share = np.stack([treated, treated, events, events])[smallest, rows] / everyone
    drawn_few = rng.binomial(few[smallest, rows], share)
    # Of what is no event, and of control, the count is what they leave.
    by_few = np.choose(smallest, [drawn_few, treated - drawn_few, drawn_few, events - drawn_few])
    counts = np.where(few[smallest, rows] <= FEW * everyone, by_few, counts)
    return np.asarray(np.clip(counts, np.maximum(treated - rest, 0), np.minimum(events, treated)))


def worsen_events(rng: Random, arms: Arms, rates: Floats, factors: Floats, dispersion: float, *, more: bool) -> None:
    """Give treatment so many times as many events, of the history's `rates` (R,), or so many times fewer."""
    treated, hits = arms.exposures[:, 1], arms.events[:, 1]
    if not more:
        arms.events[:, 1] = rng.binomial(hits, 1 / factors)
        return
    mean = np.maximum(treated * rates * (factors - 1), 0.0)
    if dispersion <= 1:
        added = rng.poisson(mean)
    else:
        lumps = np.maximum(mean / (dispersion - 1), SMALLEST)
        added = np.where(mean > 0, rng.negative_binomial(lumps, 1 / dispersion), 0)
    arms.events[:, 1] = np.minimum(hits + added, treated)


def scale_amounts(arms: Arms, factors: Floats, cap: float) -> None:
    """Multiply treatment's amounts by the `factors` (R,), as far as the cap lets them."""
    arms.totals[:, 1] *= factors
    arms.squares[:, 1] *= factors**2
    capped(arms, cap)


def capped(arms: Arms, cap: float) -> None:
    """Let no arm's sums be more than units capped there could have."""
    if math.isfinite(cap):
        most = arms.exposures * cap
        arms.totals[:] = np.clip(arms.totals, -most, most)
        arms.squares[:] = np.minimum(arms.squares, most * cap)
    arms.squares[:] = np.maximum(arms.squares, arms.totals**2 / np.maximum(arms.exposures, 1))


def moves(edges: tuple[float, ...], factor: float) -> Floats:
    """Where requests go when they take `factor` times as long: from each bucket to each, (B, B), rows adding up to 1.

    Inside a bucket latencies are taken to be spread evenly on the log scale.
    """
    at = layout(edges)
    low, high = np.log(at.lower) + math.log(factor), np.log(at.upper) + math.log(factor)
    # All that is longer than the last edge is in the last bucket.
    ends = np.concatenate([[-np.inf], np.log(at.finite), [np.inf]])
    reach = np.clip((ends[None, :] - low[:, None]) / (high - low)[:, None], 0.0, 1.0)
    parts = np.diff(reach, axis=1)
    return np.asarray(parts / parts.sum(axis=1, keepdims=True))

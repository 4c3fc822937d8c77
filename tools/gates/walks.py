"""A gate's evidence as a random walk: over many courses of a rollout at once, in steps that may be longer than a check.

Rates. A step is an interval of the gate's own code (`tools.gates.judging.settle`), in which both arms' requests, over
the dispersion φ as the gate divides its evidence, and the events among them are drawn.

Means. The gate's e-value is a function of the arms' matched sums and of their variances. They are drawn for values that
are gamma-distributed with control's mean and deviation, as many as there are units over φ; the variances are taken to
be normal, and correlated with the sums as those of such values are.

Latencies. Each bet pays λ·S − cost with S one of three sums of an interval: treatment's excess of the score, its excess
of slow requests, its mean's distance from the margin. They are taken as normal, with the means and costs that the
gate's own bets have on an average minute (`tools.gates.amounts`), and correlated as they are from bucket to bucket.
Without harm a bet on it is fair, as it is to the gate's own sums, which are skewed where there are few requests.

Bets, mixtures, the reserve for late starts and the raise of bets near a rollback are the gates' own code.
"""

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import NormalDist
from typing import Protocol

import numpy as np

from tools.gates import latency, means
from tools.gates.amounts import LatencyPace, LatencyTraffic, MeanTraffic, Workload, latency_pace
from tools.gates.ceiling import log_likelihood_ratios as ceiling_ratios
from tools.gates.counts import COMMON, LARGEST_RATE, Counted, compare
from tools.gates.judging import (
    Boosting,
    Direction,
    boostable,
    boosts_of,
    harm_prior,
    log_harm_cap,
    log_safe_cap,
    safe_prior,
)
from tools.gates.lures import Books, Flags, Ints, Lure
from tools.gates.schedule import Step
from tools.gates.wealth import Floats, Prior, log_boost, log_sum
from tools.gates.workload import Traffic

# Equally likely sizes of an effect on a mean, in the half-normal mixture of its test.
SIZES = np.array([NormalDist().inv_cdf(0.5 + (step + 0.5) / 32) for step in range(16)])
SMALLEST_LED = 0.05
# The part of control's deviation that is seen at least: of few units normal squares may come to nothing.
LEAST_SEEN = 0.1


@dataclass(frozen=True)
class Asked:
    """What a gate is held to: its direction and margin, the level of a rollback, and of safety where that is asked."""

    direction: Direction
    margin: float
    alpha_rollback: float
    alpha_safe: float | None = None

    @property
    def null(self) -> float:
        """The ratio that safety is proven against."""
        return float(self.direction.away(np.array(self.margin)))


# By how many standard deviations of a step a normal walk overshoots a level (Siegmund, "Sequential Analysis", ch. X).
OVERSHOT = 0.583
# Raising bets takes its time: in steps longer than a check only where it is about few events.
FEW_EVENTS = 8.0


@dataclass(frozen=True)
class Span:
    """A step of a walk: so many minutes in that stage, with a check after every `check_every`."""

    step: Step
    minutes: float
    check_every: float

    @property
    def one_check(self) -> bool:
        """Whether there is but one check in it."""
        return self.minutes <= 1.001 * self.check_every

    def unseen(self, *, raised: bool) -> float:
        """How many of its standard deviations more evidence was at one of its checks than at the end, on average.

        Evidence that is looked at rarely overshoots a level by more, and so reaches it less often. A gate that raises
        its bets does not overshoot.
        """
        if not self.minutes:
            return 0.0
        return OVERSHOT * (1.0 if raised else max(1 - math.sqrt(self.check_every / self.minutes), 0.0))


class Walk(Protocol):
    """One metric's evidence over all courses."""

    @property
    def lure(self) -> Lure | None:
        """What leads courses to a harm, where something does."""
        ...

    def count(self, rng: np.random.Generator, span: Span, courses: Ints) -> None:
        """So many more minutes of those courses."""
        ...

    def unseen(self, span: Span) -> float:
        """By how many standard deviations of that step evidence of harm is to be lifted after it (`Span.unseen`)."""
        ...

    def harm(self, courses: Ints) -> Floats:
        """The log evidence of harm of those courses."""
        ...

    def safe(self, courses: Ints) -> Floats:
        """The log evidence of safety of those courses, where it is asked for."""
        ...


def walk_of(traffic: Workload, asked: Asked, ratio: float, courses: int, warmed: float = 0.0) -> Walk:
    """Nothing counted yet but so many minutes of burn-in; treatment's metric is `ratio` times control's."""
    match traffic:
        case Traffic():
            return RateWalk.start(traffic, asked, ratio, courses, warmed)
        case MeanTraffic():
            return MeanWalk.start(traffic, asked, ratio, courses)
        case LatencyTraffic():
            return LatencyWalk.start(traffic, asked, ratio, courses)


def led(traffic: Workload, asked: Asked, rng: np.random.Generator, those: Flags, warmed: float) -> Walk:
    """The walk of a harmless treatment, but `those` (courses,) are led to harm by its own bets."""
    walk = walk_of(traffic, asked, 1.0, len(those), warmed)
    assert isinstance(walk, RateWalk | MeanWalk | LatencyWalk), "one of those above"
    return replace(walk, lure=Lure.start(walk.bets, rng, those))


def spread_of_common(rate: float) -> float:
    """The variance of events of that rate over their mean, as far as the gate knows of it."""
    return 1 - min(rate, LARGEST_RATE) if rate >= COMMON else 1.0


@dataclass
class RateWalk:
    """`seen` are the requests and events of both arms so far (2, courses), from which the gate has its rate."""

    traffic: Traffic
    asked: Asked
    ratio: float
    harms: Books
    proofs: Books | None
    seen: Floats
    lure: Lure | None = None

    @classmethod
    def start(cls, traffic: Traffic, asked: Asked, ratio: float, courses: int, warmed: float) -> "RateWalk":
        harms, proofs = Books.start(_towards(asked, harm_prior(asked.margin)), courses), None
        if asked.alpha_safe is not None:
            proofs = Books.start(_back(asked, safe_prior(asked.margin)), courses)
        requests = traffic.requests_per_minute / traffic.dispersion * warmed
        seen = np.tile(np.array([[requests], [requests * traffic.base_rate]]), courses)
        return cls(traffic, asked, ratio, harms, proofs, seen)

    def unseen(self, span: Span) -> float:
        if not self._raised or span.step.whole:
            return span.unseen(raised=False)
        return 0.0 if self._raises(span) else span.unseen(raised=True)

    @property
    def _raised(self) -> bool:
        """Whether the gate raises its bets near a rollback."""
        return self.traffic.dispersion == 1 and self.traffic.base_rate < COMMON

    def _raises(self, span: Span) -> bool:
        """Whether the walk does it, too."""
        events = self.traffic.requests_per_minute * self.traffic.base_rate * span.minutes
        return self._raised and (span.one_check or events <= FEW_EVENTS)

    @property
    def bets(self) -> Prior:
        return self.harms.prior

    def harm(self, courses: Ints) -> Floats:
        return self.harms.log_e(courses)

    def safe(self, courses: Ints) -> Floats:
        assert self.proofs is not None, "safety is asked for"
        return self.proofs.log_e(courses)

    def count(self, rng: np.random.Generator, span: Span, courses: Ints) -> None:
        if span.minutes:
            (self._alone if span.step.whole else self._compared)(rng, span, courses)

    def _compared(self, rng: np.random.Generator, span: Span, courses: Ints) -> None:
        share, requests = span.step.share, self.traffic.requests_per_minute / self.traffic.dispersion * span.minutes
        rates, bet_on = self._rates(share, courses)
        # Of independent requests those with an event and those without are independent, too.
        expected = np.array([[1 - share], [share]]) * requests
        events = rng.poisson(expected * rates).astype(float)
        exposures = events + rng.poisson(expected * (1 - rates)).astype(float)
        if self.lure is not None:
            self._pay(self.lure, courses, span.minutes, exposures, events, bet_on)
        before = self.seen[:, courses]
        rate = np.divide(before[1], before[0], out=np.zeros(len(courses)), where=before[0] > 0)
        self.seen[:, courses] = before + np.stack([exposures.sum(axis=0), events.sum(axis=0)])
        self._settle(Counted(rate, (exposures[0], exposures[1]), (events[0], events[1])), courses, span)

    def _settle(self, counted: Counted, courses: Ints, span: Span) -> None:
        """One interval of the bets, as `judging.settle` has it."""
        raised, log_caps = self._raise(counted, courses) if self._raises(span) else (courses[:0], np.zeros(0))
        self._bet(self.harms, 1.0, counted, courses, span.minutes)
        self.harms.cut(raised, log_caps)
        if self.proofs is not None:
            self._bet(self.proofs, self.asked.null, counted, courses, span.minutes)
            self._cap(self.proofs, courses)

    def _raise(self, counted: Counted, courses: Ints) -> tuple[Ints, Floats]:
        """Raises bets on harm, and says whose and what they may hold afterwards."""
        levels, none = np.full(len(courses), self.asked.alpha_rollback), np.zeros(len(courses))
        boosting = Boosting(counted.chances(self.asked.direction), levels, none.__getitem__)
        near, boosts, log_caps = boosts_of(
            boosting, self.harm(courses), none == 0, self.bets.factors, lambda near: self.harms.logs(courses[near])
        )
        self.harms.scale(courses[near], np.exp(boosts))
        return courses[near], log_caps

    @staticmethod
    def _bet(books: Books, null: float, counted: Counted, courses: Ints, minutes: float) -> None:
        # With the bets first: so they are multiplied many courses at a time.
        log_lr = compare(null, _first(books.prior), counted.rate, counted.exposures, counted.events)
        books.advance(courses, log_lr[..., 0], minutes)

    def _alone(self, rng: np.random.Generator, span: Span, courses: Ints) -> None:
        requests = self.traffic.requests_per_minute / self.traffic.dispersion * span.minutes
        base = span.step.share * requests * self.traffic.base_rate
        hits = rng.poisson(base * self.ratio, len(courses)).astype(float)
        expected = np.array(base * self.asked.null)
        for books in (self.harms, self.proofs):
            if books is not None:
                books.advance(courses, ceiling_ratios(_first(books.prior), expected, hits)[..., 0], span.minutes)
        if self.proofs is not None:
            self._cap(self.proofs, courses)

    def _cap(self, proofs: Books, courses: Ints) -> None:
        assert self.asked.alpha_safe is not None, "a proof is asked for"
        proofs.cap(courses, log_safe_cap(self.asked.alpha_safe))

    def _rates(self, share: float, courses: Ints) -> tuple[Floats, Floats]:
        """Of both arms (2, n), and where a bet is right (2, G): no more events of both arms than without a harm."""
        base = self.traffic.base_rate
        rates = np.tile(base * np.array([[1.0], [self.ratio]]), len(courses))
        if self.lure is None:
            return np.minimum(rates, 1.0), rates[:, :0]
        factors = self.bets.factors
        control = base / (1 + share * (factors - 1))
        bet_on = np.minimum(np.stack([control, control * factors]), max(base, LARGEST_RATE))
        now = self.lure.now(courses)
        return np.where(now >= 0, bet_on[:, now], rates), bet_on

    def _pay(
        self, lure: Lure, courses: Ints, minutes: float, exposures: Floats, events: Floats, bet_on: Floats
    ) -> None:
        base = self.traffic.base_rate
        came, stayed = np.log(bet_on / base), np.log1p(-bet_on) - math.log1p(-base)
        lure.pay(courses, came.T @ events + stayed.T @ (exposures - events), minutes)


def _first(prior: Prior) -> Floats:
    """The factors as the first axis, before those of courses and of one question (G, 1, 1)."""
    return prior.factors[:, None, None]


def _towards(asked: Asked, prior: Prior) -> Prior:
    return replace(prior, factors=asked.direction.away(prior.factors))


def _back(asked: Asked, prior: Prior) -> Prior:
    return replace(prior, factors=1 / asked.direction.away(prior.factors))


@dataclass
class MeanWalk:
    """The matched sums of `tools.gates.means`, in parts of control's mean and units over φ.

    `now` are (6, courses): treatment's and control's sum, their noise, the weight and the units. `starts` are what they
    were at later starts, and `squares` (2, 2, courses) each arm's units and the sum of its squared deviations.
    """

    traffic: MeanTraffic
    asked: Asked
    ratio: float
    now: Floats
    squares: Floats
    starts: list[Floats] = field(default_factory=list)
    lure: Lure | None = None

    def unseen(self, span: Span) -> float:
        return span.unseen(raised=False)

    @classmethod
    def start(cls, traffic: MeanTraffic, asked: Asked, ratio: float, courses: int) -> "MeanWalk":
        return cls(traffic, asked, ratio, np.zeros((6, courses)), np.zeros((2, 2, courses)))

    @cached_property
    def deviation(self) -> float:
        """Of control's values, in parts of their mean."""
        return self.traffic.spread / self.traffic.amounts.mean

    @cached_property
    def bets(self) -> Prior:
        """Ratios of means."""
        away = SIZES * self.deviation * math.sqrt(means.relative_information(1.0, 1.0))
        factors = 1 + away if self.asked.direction is Direction.INCREASE else np.maximum(1 - away, SMALLEST_LED)
        alike = np.full(len(SIZES), -math.log(len(SIZES)))
        return Prior(factors, alike, alike, means.FROM_THE_START, self._begun)

    @property
    def _begun(self) -> float:
        """The minutes after which the gate has begun twice, as its bets on what comes later are spread."""
        share = self.traffic.share
        return 2 * means.MeanTest.tightest_at / (self.traffic.requests_per_minute * share * (1 - share))

    def count(self, rng: np.random.Generator, span: Span, courses: Ints) -> None:
        if not span.minutes:
            return
        share, requests = span.step.share, self.traffic.requests_per_minute * span.minutes
        parts = np.array([share, 1 - share])
        units = requests / self.traffic.dispersion * parts[:, None]
        ratios, bet_on = self._ratios(share, courses)
        shape = units / self.deviation**2
        sums = rng.gamma(np.broadcast_to(shape, ratios.shape)) * self.deviation**2 * ratios
        if self.lure is not None:
            log_lr = (1 - 1 / bet_on).T @ (sums / self.deviation**2) - (shape * np.log(bet_on)).sum(axis=0)[:, None]
            self.lure.pay(courses, log_lr, span.minutes)
        self._square(rng, units, ratios, sums, courses)
        noises = units * parts[::-1, None] ** 2
        grown = np.concatenate([sums * parts[::-1, None], np.broadcast_to(noises, sums.shape)])
        weight = np.full((1, len(courses)), float(noises.sum()))
        self.now[:, courses] += np.concatenate([grown, weight, np.full_like(weight, requests * share)])
        self._begin(courses)

    def _ratios(self, share: float, courses: Ints) -> tuple[Floats, Floats]:
        """Of treatment's and control's means to control's (2, n), and where a bet is right (2, G)."""
        ratios = np.tile(np.array([[self.ratio], [1.0]]), len(courses))
        if self.lure is None:
            return ratios, ratios[:, :0]
        away = self.bets.factors - 1
        bet_on = np.stack([1 + (1 - share) * away, 1 - share * away])
        now = self.lure.now(courses)
        return np.where(now >= 0, bet_on[:, now], ratios), bet_on

    def _square(self, rng: np.random.Generator, units: Floats, ratios: Floats, sums: Floats, courses: Ints) -> None:
        """Adds the squared deviations of gamma-distributed values that have these sums."""
        own = self.deviation * ratios
        chance = (sums - units * ratios) / (own * np.sqrt(units))
        together, alone = 2 * self.deviation, math.sqrt(2 + 2 * self.deviation**2)
        noise = together * chance + alone * rng.standard_normal(ratios.shape)
        self.squares[0][:, courses] += units
        self.squares[1][:, courses] += own**2 * np.maximum(units + np.sqrt(units) * noise, 0.0)

    def _begin(self, courses: Ints) -> None:
        """Notes what there is at each doubling of the information."""
        phi = self.traffic.dispersion
        while len(self.starts) < means.MOST_STARTS:
            due = means.MeanTest.tightest_at / 2 * 2.0 ** len(self.starts)
            if not (phi * self.now[4, courses] >= due).any():
                break
            self.starts.append(np.full_like(self.now, np.nan))
        for number, start in enumerate(self.starts):
            due = means.MeanTest.tightest_at / 2 * 2.0**number
            begins = courses[(phi * self.now[4, courses] >= due) & np.isnan(start[4, courses])]
            start[:, begins] = self.now[:, begins]

    def harm(self, courses: Ints) -> Floats:
        away = self.asked.direction
        logs = [math.log(means.FROM_THE_START) + self._log_e(courses, self.now[:, courses], 1.0, away)]
        rest = math.log1p(-means.FROM_THE_START)
        logs.append(np.full(len(courses), rest - math.log(len(self.starts) + 1)))
        for number, start in enumerate(self.starts, start=1):
            since = self.now[:, courses] - np.where(
                np.isnan(start[:, courses]), self.now[:, courses], start[:, courses]
            )
            logs.append(rest - math.log(number * (number + 1)) + self._log_e(courses, since, 1.0, away))
        return log_sum(np.stack(logs, axis=-1))

    def safe(self, courses: Ints) -> Floats:
        other = Direction.DECREASE if self.asked.direction is Direction.INCREASE else Direction.INCREASE
        return self._log_e(courses, self.now[:, courses], self.asked.null, other)

    def _log_e(self, courses: Ints, matched: Floats, null: float, direction: Direction) -> Floats:
        """That treatment's mean lies beyond `null` × control's in that direction, from those sums (6, n)."""
        treatment, control, treatment_noise, control_noise, weight, units = matched
        judged = units >= means.SMALLEST_SAMPLE
        variances = self.squares[1][:, courses] / np.maximum(self.squares[0][:, courses], 1e-9)
        # As the gate takes it: the larger of the arms' variances in both.
        spread = np.maximum(variances.max(axis=0), (LEAST_SEEN * self.deviation) ** 2)
        noise = spread * (treatment_noise + null**2 * control_noise)
        sign = 1 if direction is Direction.INCREASE else -1
        z = sign * (treatment - null * control) / np.sqrt(np.where(judged, noise, 1.0))
        return np.where(judged, _log_e_values(z, means.relative_information(1.0, 1.0) * weight), 0.0)


def _log_e_values(z: Floats, r: Floats) -> Floats:
    """`means.log_e_value` of many."""
    tilted = z * np.sqrt(r / (r + 1))
    return math.log(2) - np.log1p(r) / 2 + tilted**2 / 2 + _log_normal_cdf(tilted)


def _log_normal_cdf(z: Floats) -> Floats:
    """ln Φ(z), to seven digits (Numerical Recipes, 2nd edition, §6.2)."""
    x = np.abs(z) / math.sqrt(2)
    t = 1 / (1 + x / 2)
    log_tail = np.log(t) - x**2 + np.polyval(TAIL, t) - math.log(2)
    return np.where(z > 0, np.log1p(-np.exp(log_tail)), log_tail)


TAIL = (
    0.17087277,
    -0.82215223,
    1.48851587,
    -1.13520398,
    0.27886807,
    -0.18628806,
    0.09678418,
    0.37409196,
    1.00002368,
    -1.26551223,
)


@dataclass
class LatencyWalk:
    """Two books, with as many bets as each has, and treatment's requests (courses,)."""

    traffic: LatencyTraffic
    asked: Asked
    ratio: float
    harms: Books
    proofs: Books
    requests: Floats
    lure: Lure | None = None

    @classmethod
    def start(cls, traffic: LatencyTraffic, asked: Asked, ratio: float, courses: int) -> "LatencyWalk":
        traffic = traffic.held_to(asked.margin)
        harms = Books.start(latency.latency_prior(asked.margin), courses)
        return cls(traffic, asked, ratio, harms, Books.start(safe_prior(asked.margin), courses), np.zeros(courses))

    def unseen(self, span: Span) -> float:
        return 0.0 if self._raised else span.unseen(raised=False)

    @property
    def _raised(self) -> bool:
        """Whether the gate, and the walk, raises its bets near a rollback."""
        return self.traffic.dispersion == 1

    @property
    def bets(self) -> Prior:
        return self.harms.prior

    def count(self, rng: np.random.Generator, span: Span, courses: Ints) -> None:
        step, minutes = span.step, span.minutes
        if not minutes:
            return
        self.requests[courses] += self.traffic.requests_per_minute * step.share * minutes
        pace = latency_pace(self.traffic.sharing(step.share), self.ratio)
        chance = rng.standard_normal((len(courses), 3)).T
        if self.lure is not None:
            chance = self._led(self.lure, pace, minutes, courses, chance)
        chance = math.sqrt(minutes) * pace.mixing @ chance
        growth = pace.harm_growth if self.ratio != 1 else pace.fair_growth
        log_lr = (growth * minutes)[:, None] + np.concatenate(
            [np.outer(pace.shift_pull, chance[0]), np.outer(pace.tail_pull, chance[1])]
        )
        self._settle(pace, minutes, courses, log_lr)
        if self.asked.alpha_safe is not None:
            safe = (pace.safe_growth * minutes)[:, None] + np.outer(pace.safe_pull, chance[2])
            self.proofs.advance(courses, safe, minutes)
            self.proofs.cap(courses, log_safe_cap(self.asked.alpha_safe))

    def _settle(self, pace: LatencyPace, minutes: float, courses: Ints, log_lr: Floats) -> None:
        cap = log_harm_cap(self.asked.alpha_rollback, np.zeros(1))
        raised = self._raise(pace, minutes, courses, cap)
        self.harms.advance(courses, log_lr, minutes)
        self.harms.cut(raised, cap)

    def _raise(self, pace: LatencyPace, minutes: float, courses: Ints, cap: Floats) -> Ints:
        """Raises bets on harm as `latency.boost`, before an interval of so many minutes, and says whose."""
        near = courses[boostable(self.harm(courses), cap) & self._raised]
        if not len(near):
            return near
        totals = math.sqrt(minutes) * latency.OUTCOMES[:, None]
        paid = totals * pace.shift_pull - pace.shift_cost * minutes
        lost = np.full((len(totals), len(pace.tail_pull)), -np.inf)
        started, reserve = self.harms.logs(near)
        outcomes = np.broadcast_to(np.concatenate([paid, lost], axis=-1), (len(near), len(totals), started.shape[1]))
        boosts = log_boost(started, reserve, cap, latency.OUTCOME_LOG_CHANCES, outcomes)
        self.harms.scale(near, np.exp(boosts))
        return near[boosts > 0]

    def _led(self, lure: Lure, pace: LatencyPace, minutes: float, courses: Ints, chance: Floats) -> Floats:
        """Chance (3, n), pushed by what each course is led to."""
        pushes = math.sqrt(minutes) * np.concatenate(
            [np.outer(pace.shift_pull, pace.mixing[0]), np.outer(pace.tail_pull, pace.mixing[1])]
        )
        now = lure.now(courses)
        pushed = chance + np.where(now >= 0, pushes[now].T, 0.0)
        log_lr = pushes @ pushed - (pushes**2).sum(axis=-1)[:, None] / 2
        lure.pay(courses, log_lr, minutes)
        return pushed

    def harm(self, courses: Ints) -> Floats:
        return self.harms.log_e(courses)

    def safe(self, courses: Ints) -> Floats:
        return np.where(self.requests[courses] >= latency.SMALLEST_SAMPLE, self.proofs.log_e(courses), 0.0)

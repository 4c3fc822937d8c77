"""A gate's evidence as a random walk: over many courses of a rollout at once, in steps far longer than a check.

Rates. The evidence of a mixture of bets depends on what was counted only through treatment's events X_k and both arms'
events K_k at each share k,

    ln E = ln Σ_δ π(δ) · Π_k (δ/δ₀)^X_k · (1 + θ_k·(δ/δ₀ − 1))^(−K_k),    θ_k = n_c·δ₀/(n_c·δ₀ + n_b)

X and K are Poisson, at rates divided by the dispersion φ, as the gate divides its evidence (and by φ·(1 − p) where
events are common, which is their variance).

Means. The gate's e-value is a function of the arms' matched sums, which are normal: after the weight w, that is
n_c·n_b/(n_c + n_b), treatment's has the mean w·μ·ratio and the variance φ·w·σ_c²·n_b/(n_c + n_b), control's likewise.
The fifth of the money that is on later starts is taken to win nothing.

Latencies. Each bet pays λ·S − cost with S one of three sums of an interval: treatment's excess of the score, its excess
of slow requests, its mean's distance from the margin. They are taken as normal, with the means and costs that the
gate's own bets have on an average minute (`tools.gates.amounts`), and correlated as they are from bucket to bucket.

Bets, mixtures and the reserve for late starts are the gates' own code. Left out: the raise of bets near a proof.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tools.gates import latency, means
from tools.gates.amounts import Amounts, Latencies, LatencyPace, LatencyTraffic, MeanTraffic, latency_pace
from tools.gates.ceiling import log_likelihood_ratios as ceiling_ratios
from tools.gates.counts import COMMON, LARGEST_RATE, log_likelihood_ratios
from tools.gates.judging import SAFE_LOG_HEADROOM, Direction, harm_prior, safe_prior
from tools.gates.schedule import Step, Watched
from tools.gates.wealth import Floats, Prior, advance, log_total

Ints = NDArray[np.int64]


class Walk(Protocol):
    """One metric's evidence over all courses."""

    def count(self, rng: np.random.Generator, step: Step, minutes: float, courses: Ints) -> None:
        """So many more minutes of those courses in that stage."""
        ...

    def harm(self, courses: Ints) -> Floats:
        """The log evidence of harm of those courses."""
        ...

    def safe(self, courses: Ints) -> Floats:
        """The log evidence of safety of those courses."""
        ...


def walk_of(one: Watched, ratio: float, courses: int, alpha_safe: float) -> Walk:
    """Nothing counted yet; treatment's rate, mean or latencies are `ratio` times control's."""
    cap = SAFE_LOG_HEADROOM - math.log(alpha_safe)
    match one.seen:
        case Amounts():
            return _MeanWalk.start(one, ratio, courses)
        case Latencies():
            return _LatencyWalk.start(one, ratio, courses, cap)
        case rate:
            return _RateWalk.start(one, rate, ratio, courses, cap)


@dataclass
class _Books:
    """One question over all courses: the log worth of the bets (courses, G), the reserve, the clock; kept to `cap`."""

    prior: Prior
    started: Floats
    reserve: Floats
    clock: Floats
    cap: float

    @classmethod
    def start(cls, prior: Prior, courses: int, cap: float = math.inf) -> "_Books":
        started = np.tile(prior.log_weights + math.log(prior.at_once), (courses, 1))
        return cls(prior, started, np.full(courses, math.log1p(-prior.at_once)), np.zeros(courses), cap)

    def advance(self, courses: Ints, log_lr: Floats, information: Floats) -> None:
        """One step of those courses."""
        before = self.started[courses], self.reserve[courses], self.clock[courses]
        started, self.reserve[courses], self.clock[courses] = advance(self.prior, *before, log_lr, information)
        if self.cap < math.inf:
            started -= np.maximum(log_total(started, self.reserve[courses]) - self.cap, 0.0)[:, None]
        self.started[courses] = started

    def log_e(self, courses: Ints) -> Floats:
        return log_total(self.started[courses], self.reserve[courses])


@dataclass
class _TwoBooks:
    """Evidence that is kept in books."""

    harm_books: _Books
    safe_books: _Books

    def harm(self, courses: Ints) -> Floats:
        return self.harm_books.log_e(courses)

    def safe(self, courses: Ints) -> Floats:
        return self.safe_books.log_e(courses)


@dataclass
class _RateWalk(_TwoBooks):
    one: Watched
    rate: float
    ratio: float

    @classmethod
    def start(cls, one: Watched, rate: float, ratio: float, courses: int, cap: float) -> "_RateWalk":
        books = _Books.start(harm_prior(one.margin), courses), _Books.start(safe_prior(one.margin), courses, cap)
        return cls(*books, one, rate, ratio)

    def count(self, rng: np.random.Generator, step: Step, minutes: float, courses: Ints) -> None:
        if minutes:
            (self._alone if step.whole else self._compared)(rng, step.share, minutes, courses)

    def _compared(self, rng: np.random.Generator, share: float, minutes: float, courses: Ints) -> None:
        one, away = self.one, self.one.direction.away
        scale = one.dispersion * spread_of_common(self.rate * (share * self.ratio + 1 - share))
        base = one.requests_per_minute * self.rate * minutes / scale
        hits = rng.poisson(base * share * self.ratio, len(courses)).astype(float)
        events = hits + rng.poisson(base * (1 - share), len(courses)).astype(float)
        margin = float(away(np.array(one.margin)))
        harms, proofs = self.harm_books, self.safe_books
        for books, null, factors in (
            (harms, 1.0, away(harms.prior.factors)),
            (proofs, margin, 1 / away(proofs.prior.factors)),
        ):
            relative = share * null / (share * null + 1 - share)
            log_lr = log_likelihood_ratios(factors, np.array(relative), events, hits)
            books.advance(courses, log_lr, events * relative * (1 - relative))

    def _alone(self, rng: np.random.Generator, share: float, minutes: float, courses: Ints) -> None:
        one, away = self.one, self.one.direction.away
        base = share * one.requests_per_minute * self.rate * minutes / one.dispersion
        hits = rng.poisson(base * self.ratio, len(courses)).astype(float)
        expected = np.full(len(courses), base * float(away(np.array(one.margin))))
        harms, proofs = self.harm_books, self.safe_books
        for books, factors in ((harms, away(harms.prior.factors)), (proofs, 1 / away(proofs.prior.factors))):
            books.advance(courses, ceiling_ratios(factors, expected, hits), expected)


def spread_of_common(rate: float) -> float:
    """The variance of events of that rate over their mean, as far as the gate knows of it."""
    return 1 - min(rate, LARGEST_RATE) if rate >= COMMON else 1.0


@dataclass
class _MeanWalk:
    """The matched sums of `tools.gates.means`, each (courses,), in parts of control's mean."""

    one: Watched
    ratio: float
    deviation: float
    treatment: Floats
    control: Floats
    treatment_noise: Floats
    control_noise: Floats
    units: Floats

    @classmethod
    def start(cls, one: Watched, ratio: float, courses: int) -> "_MeanWalk":
        traffic = one.traffic(0.5)
        assert isinstance(traffic, MeanTraffic), "a mean's traffic"
        return cls(one, ratio, traffic.spread / traffic.amounts.mean, *(np.zeros(courses) for _ in range(5)))

    def count(self, rng: np.random.Generator, step: Step, minutes: float, courses: Ints) -> None:
        units, share = self.one.requests_per_minute * minutes, step.share
        noises = units * share * (1 - share) ** 2, units * share**2 * (1 - share)
        spread = self.deviation * math.sqrt(self.one.dispersion)
        weight = units * share * (1 - share)
        chance = rng.standard_normal((2, len(courses)))
        self.treatment[courses] += self.ratio * (weight + spread * math.sqrt(noises[0]) * chance[0])
        self.control[courses] += weight + spread * math.sqrt(noises[1]) * chance[1]
        self.treatment_noise[courses] += noises[0]
        self.control_noise[courses] += noises[1]
        self.units[courses] += units * share

    def harm(self, courses: Ints) -> Floats:
        own = math.log(means.FROM_THE_START) + self._log_e(courses, 1.0, self.one.direction)
        return np.logaddexp(own, math.log1p(-means.FROM_THE_START))

    def safe(self, courses: Ints) -> Floats:
        null = float(self.one.direction.away(np.array(self.one.margin)))
        other = Direction.DECREASE if self.one.direction is Direction.INCREASE else Direction.INCREASE
        return self._log_e(courses, null, other)

    def _log_e(self, courses: Ints, null: float, direction: Direction) -> Floats:
        """That treatment's mean lies beyond `null` × control's in that direction."""
        found, judged = np.zeros(len(courses)), self.units[courses] >= means.SMALLEST_SAMPLE
        those = courses[judged]
        if not len(those):
            return found
        noise = self.treatment_noise[those] + null**2 * self.control_noise[those]
        # As the gate takes it: the larger of the arms' variances in both.
        error = max(1.0, self.ratio) * self.deviation * np.sqrt(self.one.dispersion * noise)
        sign = 1 if direction is Direction.INCREASE else -1
        z = sign * (self.treatment[those] - null * self.control[those]) / error
        weight = self.treatment_noise[those] + self.control_noise[those]
        found[judged] = _log_e_values(z, means.relative_information(1.0, self.one.dispersion) * weight)
        return found


_log_e_value = np.frompyfunc(means.log_e_value, 2, 1)


def _log_e_values(z: Floats, r: Floats) -> Floats:
    return np.asarray(_log_e_value(z, r), float)


@dataclass
class _LatencyWalk(_TwoBooks):
    one: Watched
    ratio: float
    requests: Floats

    @classmethod
    def start(cls, one: Watched, ratio: float, courses: int, cap: float) -> "_LatencyWalk":
        harms = _Books.start(latency.latency_prior(one.margin), courses)
        return cls(harms, _Books.start(safe_prior(one.margin), courses, cap), one, ratio, np.zeros(courses))

    def count(self, rng: np.random.Generator, step: Step, minutes: float, courses: Ints) -> None:
        if not minutes:
            return
        self.requests[courses] += self.one.requests_per_minute * step.share * minutes
        pace = self._pace(step.share)
        chance = math.sqrt(minutes) * rng.standard_normal((len(courses), 3)) @ pace.mixing.T
        harm = pace.harm_growth * minutes + np.concatenate(
            [chance[:, :1] * pace.shift_pull, chance[:, 1:2] * pace.tail_pull], axis=-1
        )
        safe = pace.safe_growth * minutes + chance[:, 2:] * pace.safe_pull
        for books, log_lr, information in (
            (self.harm_books, harm, pace.harm_information),
            (self.safe_books, safe, pace.safe_information),
        ):
            books.advance(courses, log_lr, np.full(len(courses), information * minutes))

    def safe(self, courses: Ints) -> Floats:
        return np.where(self.requests[courses] >= latency.SMALLEST_SAMPLE, super().safe(courses), 0.0)

    def _pace(self, share: float) -> LatencyPace:
        traffic = self.one.traffic(share)
        assert isinstance(traffic, LatencyTraffic), "a latency's traffic"
        return latency_pace(traffic, self.ratio)

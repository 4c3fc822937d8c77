"""What a stage has to work with, and the closed forms of when a count gate has its answers.

Evidence for the truth against a null grows, on average, by the information rate I, in nats a minute. A level α is
reached when ln 1/α nats and what the mixture and chance cost are in. With n_c and n_b requests a minute in treatment
and control, base rate p, true ratio r, null ratio δ₀ and dispersion φ,

    I = K·kl(θ, θ₀)/φ,    K = p·(n_c·r + n_b),    θ = n_c·r/(n_c·r + n_b),    θ₀ = n_c·δ₀/(n_c·δ₀ + n_b)

the smallest Kullback-Leibler rate over all unknown base rates, for Poisson events. Where events are common it is

    I = min_q [n_c·kl(p·r, δ₀·q) + n_b·kl(p, q)]/φ,    kl of Bernoulli events

Both are what `tools.gates.counts` attains, from whose code they come. What is added to ln 1/α below was measured by
simulating that test; the tests hold the answers to it. Means and latencies: `tools.gates.amounts`.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from tools.errors import InvalidInput
from tools.gates.counts import COMMON, compare
from tools.gates.judging import Direction

LARGEST_FACTOR = 100.0

# Requests of which the average evidence is taken: the gate takes an arm to have one at least.
MANY = 1e9
# Nats a minute below which an answer never comes.
SLOWEST = 1e-12
# Nats beyond ln 1/α: what the mixture costs, what one event overshoots (a part of the log of an increase), and chance,
# for half of the rollouts and for nine of ten. What chance adds goes with the unevenness, or its root.
HARM_MEDIAN, HARM_OVERSHOOT, HARM_CHANCE = 0.3, 0.23, 4.6
# Where events are common the gate's bets are not raised near the proof.
HARM_MEDIAN_OF_COMMON = 0.55
SAFE_MEDIAN, SAFE_MEDIAN_CHANCE, SAFE_CHANCE = -0.2, 0.6, 3.6


class BadQuestion(InvalidInput):
    """A calculator can't answer this; the message says what it needs."""


@dataclass(frozen=True)
class Minutes:
    """When an answer is there: in half of the rollouts by `median`, in nine of ten by `p90`."""

    median: float
    p90: float


@dataclass(frozen=True)
class Traffic:
    """What a stage has to work with where events are counted.

    `requests_per_minute` of both arms together; `base_rate` control's events per request; `share` treatment's part of
    the requests; `dispersion` φ as `estimate_dispersion` gives it; `margin` what the test is held to, on which its bets
    on harm depend. Raises BadQuestion.
    """

    requests_per_minute: float
    base_rate: float
    share: float
    dispersion: float = 1.0
    margin: float = 2.0

    def __post_init__(self) -> None:
        if not (0 < self.requests_per_minute < math.inf):
            raise BadQuestion(f"Requests per minute must be above 0, not {self.requests_per_minute}.")
        if not (0 < self.base_rate < 1):
            raise BadQuestion(f"The base rate must lie between 0 and 1 events per request, not {self.base_rate}.")
        if not (0 < self.share < 1):
            raise BadQuestion(f"Treatment's share must lie between 0 and 1, leaving some control, not {self.share}.")
        if not (1 <= self.dispersion < math.inf):
            raise BadQuestion(f"The dispersion must be 1 or more, not {self.dispersion}.")

    def sharing(self, share: float) -> "Traffic":
        """The same with another share. Raises BadQuestion."""
        return replace(self, share=share)

    def held_to(self, margin: float) -> "Traffic":
        """The same where the gate is held to another margin."""
        return replace(self, margin=margin)

    def largest_harm(self, direction: Direction) -> float:
        """The largest factor by which treatment can be worse: a rate can't exceed 1."""
        return min(LARGEST_FACTOR, 1 / self.base_rate) if direction is Direction.INCREASE else LARGEST_FACTOR

    def check(self, ratio: float) -> None:
        """Raises BadQuestion when treatment can't be `ratio` times control, as no rate exceeds 1."""
        if self.base_rate * ratio > 1:
            raise BadQuestion(f"A base rate of {self.base_rate:g} can't become {ratio:g} times as high.")

    def caught(self, ratio: float, alpha: float) -> Minutes:
        """Minutes of data until treatment, `ratio` times control, is proven harmful at that level. Raises BadQuestion.

        From the information rate, for harms of about the margin's size; `tools.gates.catching` knows the others.
        """
        self.check(ratio)
        rate, needed, beyond = max(information(self, ratio), SLOWEST), level(alpha), beyond_harm(self, ratio)
        return Minutes((needed + beyond.median) / rate, (needed + beyond.p90) / rate)

    def proven(self, ratio: float, null: float, alpha: float) -> Minutes:
        """Minutes of data until treatment, `ratio` times control, is proven not to be `null` times it."""
        rate, needed, uneven = max(information(self, ratio, null), SLOWEST), level(alpha), unevenness(self, ratio, null)
        median = SAFE_MEDIAN + SAFE_MEDIAN_CHANCE * (uneven - 1)
        return Minutes((needed + median) / rate, (needed + SAFE_CHANCE * uneven) / rate)

    def sample(self, null: float, alpha: float) -> int:
        """Treatment's exposures after which the evidence for one equal to control suffices on average."""
        per_exposure = max(information(self, 1.0, null), SLOWEST) / (self.requests_per_minute * self.share)
        return math.ceil(level(alpha) / per_exposure)


def information(traffic: Traffic, ratio: float, null_ratio: float = 1.0) -> float:
    """Nats a minute by which the truth `ratio` speaks against `null_ratio` (both treatment's rate over control's)."""
    exposures = np.array(MANY * (1 - traffic.share)), np.array(MANY * traffic.share)
    events = exposures[0] * traffic.base_rate, exposures[1] * traffic.base_rate * ratio
    pooled = np.array((events[0] + events[1]) / MANY)
    log_lr = compare(null_ratio, np.array([ratio / null_ratio]), pooled, exposures, events)
    return max(float(log_lr[0]), 0.0) / MANY * traffic.requests_per_minute / traffic.dispersion


def unevenness(traffic: Traffic, ratio: float, null_ratio: float = 1.0) -> float:
    """By how much the evidence varies: its variance over twice its mean, 1 for small effects whatever the traffic.

    More where each event of the smaller arm says much and rarely comes, less where it mostly is their absence that says
    it. Poisson events, for which neither traffic nor the dispersion matters.
    """
    hits, others, factor = traffic.share * ratio, 1 - traffic.share, ratio / null_ratio
    expected = traffic.share * null_ratio / (traffic.share * null_ratio + others)
    other = -math.log1p(expected * (factor - 1))
    hit = math.log(factor) + other
    mean = hits * hit + others * other
    return (hits * hit**2 + others * other**2) / (2 * mean) if mean > 0 else 1.0


def beyond_harm(traffic: Traffic, ratio: float) -> Minutes:
    """What a harm takes beyond ln 1/α, in nats instead of minutes."""
    median = HARM_MEDIAN_OF_COMMON if traffic.base_rate >= COMMON else HARM_MEDIAN
    median += HARM_OVERSHOOT * max(math.log(ratio), 0.0)
    return Minutes(median, median + HARM_CHANCE * math.sqrt(unevenness(traffic, ratio)))


def level(alpha: float) -> float:
    """Nats of evidence that a level takes. Raises BadQuestion."""
    if not 0 < alpha < 1:
        raise BadQuestion(f"The level must lie between 0 and 1, not {alpha}.")
    return -math.log(alpha)

"""Events that are common, such as conversions: exclusive events are more regular than Poisson ones.

`Fisher` is the alternative that was not taken: given the number of events, treatment's are hypergeometric under the
null, tilted by the ratio of odds under a bet. Its normaliser is the sum over all outcomes.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.gates import Rule, first_answer
from tests.unit.gates.streams import Streams, World, simulate
from tools.gates import CountTest, Direction
from tools.gates.counts import log_likelihood_ratios, log_ratios_of_common_events, null_share
from tools.gates.wealth import Floats, advance, log_sum, log_total

ALPHA = 0.02
CONVERSIONS = CountTest(Direction.DECREASE, 1.25)


@given(
    st.integers(1, 8),
    st.integers(1, 8),
    st.floats(0.001, 1.0),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    st.sampled_from([1.0, 2.0, 0.8, 1.25]),
    st.booleans(),
)
def test_bets_are_fair_or_worse_for_all_rates_within_the_null(
    control: int, treatment: int, expected: float, base: float, part: float, null: float, upwards: bool
) -> None:
    """Against "at most `null` × control" when betting upwards, "at least" when betting downwards."""
    factors = np.array([1.1, 2.0, 8.0]) if upwards else 1 / np.array([1.1, 2.0, 8.0])
    edge = min(null * base, 1.0)
    if not upwards and null * base > 1:
        return
    rate = part * edge if upwards else edge + part * (1 - edge)
    mean = np.zeros(3)
    for hits in range(treatment + 1):
        for misses in range(control + 1):
            exposures = np.array(float(control)), np.array(float(treatment))
            log_lr = log_ratios_of_common_events(
                null, factors, np.array(expected), exposures, (np.array(float(misses)), np.array(float(hits)))
            )
            mean += chance(treatment, hits, rate) * chance(control, misses, base) * np.exp(log_lr)
    assert (mean <= 1 + 1e-9).all()


def chance(trials: int, hits: int, rate: float) -> float:
    return math.comb(trials, hits) * rate**hits * (1 - rate) ** (trials - hits)


def test_for_rare_events_the_ratio_is_the_conditional_one() -> None:
    factors, exposures = np.array([1.5, 3.0]), (np.array(5000.0), np.array(700.0))
    events = np.array(3.0), np.array(2.0)
    exclusive = log_ratios_of_common_events(1.0, factors, np.array(1e-6), exposures, events)
    conditional = log_likelihood_ratios(factors, null_share(1.0, *exposures), np.array(5.0), events[1])
    assert exclusive == pytest.approx(conditional, rel=1e-4)


@dataclass(frozen=True)
class Ways:
    """Mean minutes to the alarm over the limit, with the same bets on each likelihood."""

    ours: float
    fisher: float
    poisson: float


WORLDS = [(0.05, 0.8), (0.1, 0.8), (0.3, 0.8), (0.3, 1.2), (0.5, 0.8)]


@pytest.mark.parametrize(("base_rate", "ratio"), WORLDS)
def test_as_fast_as_fishers_and_faster_than_poissons(base_rate: float, ratio: float) -> None:
    ways = measure(World(requests=100, share=0.25, base_rate=base_rate, ratio=ratio), streams=300)
    assert ways.ours <= 1.03 * ways.fisher
    assert ways.ours <= ways.poisson * (1 - 0.6 * base_rate)


def test_a_base_rate_that_drifts_costs_little_and_alarms_nobody() -> None:
    """The rate so far is then wrong; a third up or down costs about a tenth of the evidence."""
    test = CountTest(Direction.DECREASE, 1.25)
    rule, calm = Rule.harm(test, ALPHA), World(requests=200, share=0.25, base_rate=0.3)
    harmful = [
        first_answer(rule, *arms(drifting(replace(calm, ratio=0.85), swing, seed=32)), np.ones(300)).mean()
        for swing in (0.0, 0.33)
    ]
    assert harmful[1] == pytest.approx(harmful[0], rel=0.15)
    unharmed = first_answer(rule, *arms(drifting(calm, 0.33, seed=33)), np.ones(300))
    assert np.isfinite(unharmed).mean() <= ALPHA + 3 * math.sqrt(ALPHA / 300)


def drifting(world: World, swing: float, seed: int) -> Streams:
    """300 rollouts of 600 intervals whose base rate swings by the part `swing` up and down, once in 200 intervals."""
    rng = np.random.default_rng(seed)
    rate = world.base_rate * (1 + swing * np.sin(np.arange(600) * 2 * np.pi / 200))
    control = rng.poisson(world.requests * (1 - world.share), (300, 600))
    treatment = rng.poisson(world.requests * world.share, (300, 600))
    return Streams(control, rng.binomial(control, rate), treatment, rng.binomial(treatment, rate * world.ratio))


@pytest.mark.parametrize(("base_rate", "truth"), [(0.1, 0.8), (0.4, 0.8)])
def test_a_conversion_at_the_margin_is_rarely_promoted(base_rate: float, truth: float) -> None:
    shop = World(requests=300, share=0.2, base_rate=base_rate)
    at_margin = simulate(replace(shop, ratio=truth), streams=400, intervals=360, seed=34)
    unchanged = simulate(shop, streams=200, intervals=360, seed=35)
    rule = Rule.safe(CONVERSIONS)
    assert np.isfinite(first_answer(rule, *arms(at_margin), np.ones(400))).mean() <= 0.05 + 3 * math.sqrt(0.05 / 400)
    assert np.isfinite(first_answer(rule, *arms(unchanged), np.ones(200))).mean() > 0.98


def measure(world: World, streams: int) -> Ways:
    test = CountTest(Direction.DECREASE if world.ratio < 1 else Direction.INCREASE, 1.25)
    rule = Rule.harm(test, ALPHA)
    limit = math.log(1 / ALPHA) / bernoulli_information(world)
    data = simulate(world, streams, math.ceil(limit * 8), seed=31)
    ours = first_answer(rule, *arms(data), np.ones(streams))
    return Ways(
        np.minimum(ours, limit * 8).mean() / limit,
        conditional(rule, data, exclusive=True).mean() / limit,
        conditional(rule, data, exclusive=False).mean() / limit,
    )


def conditional(rule: Rule, data: Streams, *, exclusive: bool) -> Floats:
    """First answers with the bets on ratios of odds (`exclusive`) or on Poisson rates."""
    streams, intervals = data.treatment_events.shape
    prior, answer = rule.prior, np.full(len(data.treatment_events), float(intervals))
    started = np.tile(prior.log_weights + np.log(prior.at_once), (streams, 1))
    reserve, clock = np.full(streams, np.log1p(-prior.at_once)), np.zeros(streams)
    control, control_events, treatment, hits = arms(data)
    done = np.zeros(streams, bool)
    for interval in range(intervals):
        exposures = control[:, interval], treatment[:, interval]
        events = hits[:, interval] + control_events[:, interval]
        share = null_share(1.0, *exposures)
        if exclusive:
            log_lr = fisher(rule.factors, *exposures, events, hits[:, interval])
        else:
            log_lr = log_likelihood_ratios(rule.factors, share, events, hits[:, interval])
        started, reserve, clock = advance(prior, started, reserve, clock, log_lr, np.ones(streams))
        proven = log_total(started, reserve) >= rule.log_level
        answer[proven & ~done] = interval + 1
        done |= proven
        if done.all():
            break
    return answer


def fisher(odds: Floats, control: Floats, treatment: Floats, events: Floats, hits: Floats) -> Floats:
    """Log LR of ratios of odds `odds` (G,) against 1; the others (streams,)."""
    outcomes = np.arange(int(min(events.max(), treatment.max())) + 1, dtype=float)[None]
    possible = (outcomes <= treatment[:, None]) & (outcomes <= events[:, None])
    possible &= outcomes >= (events - control)[:, None]
    seen = np.where(possible, outcomes, np.rint(events * treatment / (control + treatment))[:, None])
    chances = log_choose(treatment[:, None], seen) + log_choose(control[:, None], events[:, None] - seen)
    chances = np.where(possible, chances - log_choose(control + treatment, events)[:, None], -np.inf)
    normaliser = np.stack([log_sum(chances + outcomes * math.log(one)) for one in odds], axis=-1)
    return hits[:, None] * np.log(odds) - normaliser


LOG_FACTORIALS = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, 10_000)))])


def log_choose(of: Floats, some: Floats) -> Floats:
    left = LOG_FACTORIALS[some.astype(int)] + LOG_FACTORIALS[(of - some).astype(int)]
    return np.asarray(LOG_FACTORIALS[of.astype(int)] - left)


def arms(data: Streams) -> tuple[Floats, Floats, Floats, Floats]:
    return (
        data.control_exposures.astype(float),
        data.control_events.astype(float),
        data.treatment_exposures.astype(float),
        data.treatment_events.astype(float),
    )


def bernoulli_information(world: World) -> float:
    """Nats a minute, minimised over the unknown base rate."""
    treatment, control = world.requests * world.share, world.requests * (1 - world.share)
    hit, base = world.base_rate * world.ratio, world.base_rate
    unknown = np.linspace(min(hit, base), max(hit, base), 20001)
    return float((treatment * divergence(hit, unknown) + control * divergence(base, unknown)).min())


def divergence(truth: float, null: Floats) -> Floats:
    return np.asarray(truth * np.log(truth / null) + (1 - truth) * np.log((1 - truth) / (1 - null)))

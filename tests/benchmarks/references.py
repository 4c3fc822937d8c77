"""Rules that are told what no real rule can know: how fast a count gate could be at all.

The limit ln(1/α)/I is for evidence that comes in drops, but a look comes once a minute and events bring leaps; and a
rule that does not know what is coming must spread its chance of a false rollback over all that may come. Three rules
measure what that costs, each at exactly the level `alpha` over the day:

* `knows` is told the harm's size and minute. Of all rules that look once a minute, the likelihood ratio test with the
  threshold that just keeps α is fastest (Chow, Robbins and Siegmund, "Great Expectations", 1971; the conditional ratio
  is that of the least favourable base rate, so no rule that holds for every base rate can do better).
* `knows_but_when` is told the size, and that any minute of the day is as likely: Shiryaev and Roberts' sum of the
  likelihood ratios from every minute on, whose delay averaged over the minutes no rule undercuts (Pollak and
  Tartakovsky, "Optimality properties of the Shiryaev–Roberts procedure", Statistica Sinica 2009).
* `knows_which` is told that there is one of four harms, and adds up their likelihood ratios: the mixture that a gate
  for exactly these would be, with nothing kept for any other size. How much it has on each is sought for each traffic,
  so that its worst mean, as a part of what is aimed at (or of what the first two need, where that is more), is as low
  as can be: where that is above 1 a gate that is told nothing can't be expected to reach all four.

Counts are (streams, minutes) of control's exposures and events, then treatment's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from tests.unit.gates.streams import Streams, World, simulate
from tools.gates.counts import null_share
from tools.gates.wealth import Floats, log_sum

Counted = tuple[Floats, Floats, Floats, Floats]
Harm = tuple[float, bool]
"""A ratio of rates, and whether it begins at an unknown minute of the day, as likely at each; else with the day."""

DAY = 24 * 60
# The harms that a rule is told of, and what is aimed at for them: mean over limit.
WHICH: tuple[Harm, ...] = ((1.5, False), (2.0, False), (5.0, False), (2.0, True))
AIMS, LATE = (1.3, 1.3, 1.7, 2.3), 480
# What it puts on each of them before better shares are found, and how they are sought.
SHARES = np.array([0.2, 0.2, 0.2, 0.4])
SOUGHT_STREAMS, SOUGHT_SEED, ROUNDS, STEP = 500, 78_000, 10, 2.5
# A harm whose limit is a larger part of the day is not found within it often enough to be aimed at.
LARGEST_PART = 1 / 3


def counted(streams: Streams) -> Counted:
    """The streams' counts as numbers to calculate with."""
    return (
        streams.control_exposures.astype(float),
        streams.control_events.astype(float),
        streams.treatment_exposures.astype(float),
        streams.treatment_events.astype(float),
    )


def knows(world: World, counts: Counted, alpha: float) -> Floats:
    """First minutes of the rule that knows size and onset."""
    control, control_events, treatment, hits = (arm[:, world.onset :] for arm in counts)
    told = Told.of(world, ((world.ratio, False),))
    return told.answers((control, control_events, treatment, hits), (1.0,), alpha) + world.onset


def knows_but_when(world: World, counts: Counted, alpha: float) -> Floats:
    """First minutes of the rule that knows the size."""
    return Told.of(world, ((world.ratio, True),)).answers(counts, (1.0,), alpha)


def knows_which(world: World, counts: Counted, alpha: float) -> Floats:
    """First minutes of the rule that knows that it is ×1.5, ×2 or ×5 at once, or ×2 at some minute of the day."""
    return Told.of(world, WHICH).answers(counts, balanced(world, alpha).shares, alpha)


@dataclass(frozen=True)
class Told:
    """Days of each of the harms that a rule is told of, as evidence of each of them (streams, minutes, harms).

    They are drawn given the events that both arms together have on days without harm: treatment gets the part of them
    that the harm gives it. By these laws the chance that the rule ever alarms without harm is

        P(τ ≤ T) = Σ share_h · E_h[1/M_τ; τ ≤ T],    M = Σ share_h · (likelihood ratio of h)

    (Wald's change of measure), for which a few hundred days are enough.
    """

    harms: tuple[Harm, ...]
    days: tuple[Floats, ...]

    @classmethod
    def of(cls, world: World, harms: tuple[Harm, ...]) -> "Told":
        """What it takes to find the rule's level in that world's traffic."""
        return _told(_calm(world), harms)

    def answers(self, counts: Counted, shares: tuple[float, ...], alpha: float) -> Floats:
        """The first minute in which the evidence reaches the level that keeps `alpha` over the day."""
        return _reached(_mixed(_evidence(counts, self.harms), shares), self.level(shares, alpha))

    def level(self, shares: tuple[float, ...], alpha: float) -> float:
        """The log of the evidence that a harmless day reaches with the chance `alpha`."""
        mixed = [_mixed(day, shares) for day in self.days]
        ratios = [_mixed(self._with_what_waits(day), shares) for day in self.days]
        low, high = 0.0, -math.log(alpha)
        for _ in range(30):
            middle = (low + high) / 2
            pairs = zip(shares, mixed, ratios, strict=True)
            false = sum(share * _mean_inverse(ratio, _reached(one, middle)) for share, one, ratio in pairs)
            low, high = (middle, high) if false > alpha else (low, middle)
        return high

    def _with_what_waits(self, evidence: Floats) -> Floats:
        """With the money on onsets that are still to come, which makes likelihood ratios of what is a sum of them."""
        minutes = np.arange(1, evidence.shape[1] + 1)
        waiting = np.log(np.maximum(1 - minutes / DAY, 1e-300))
        late = np.array([is_late for _, is_late in self.harms])
        return np.where(late, np.logaddexp(evidence, waiting[:, None]), evidence)


@lru_cache(maxsize=4)
def _told(calm: World, harms: tuple[Harm, ...]) -> Told:
    return Told(harms, tuple(_evidence(_harmed(calm, *harm), harms) for harm in harms))


def _harmed(calm: World, ratio: float, is_late: bool) -> Counted:
    """Days without harm whose events are dealt to the arms as the harm would have it."""
    minutes = DAY if is_late else _long_enough(replace(calm, ratio=ratio))
    control, control_events, treatment, hits = counted(simulate(calm, SOUGHT_STREAMS, minutes, SOUGHT_SEED))
    rng, events = np.random.default_rng(SOUGHT_SEED + 1), control_events + hits
    begun = np.arange(minutes) >= (rng.integers(0, DAY, (SOUGHT_STREAMS, 1)) if is_late else 0)
    odds = np.where(begun, ratio, 1.0) * treatment / control
    dealt = rng.binomial(events.astype(int), odds / (1 + odds)).astype(float)
    return control, events - dealt, treatment, dealt


def _long_enough(world: World) -> int:
    return min(DAY, world.onset + math.ceil(8 * limit(world, 0.02)) + 30)


def _mean_inverse(log_ratio: Floats, minutes: Floats) -> float:
    """The mean of one over the ratio in those minutes; nothing for never."""
    (found,) = np.nonzero(np.isfinite(minutes))
    return float(np.exp(-log_ratio[found, minutes[found].astype(int) - 1]).sum() / len(minutes))


def limit(world: World, alpha: float) -> float:
    """ln(1/α) over the nats a minute, minimised over the unknown base rate."""
    treatment, control = world.requests * world.share, world.requests * (1 - world.share)
    truth = world.base_rate * world.ratio
    unknown = np.linspace(world.base_rate, truth, 4001)
    information = treatment * _divergence(truth, unknown) + control * _divergence(world.base_rate, unknown)
    return float(-math.log(alpha) / information.min())


def _divergence(truth: float, null: Floats) -> Floats:
    return np.asarray(truth * np.log(truth / null) + (1 - truth) * np.log((1 - truth) / (1 - null)))


@dataclass(frozen=True)
class Balance:
    """The shares on the four harms with which the worst mean is the smallest part of its aim, and that part.

    None where none of them is found within the day.
    """

    shares: tuple[float, ...]
    worst: float | None


def balanced(world: World, alpha: float) -> Balance:
    """In that world's traffic. An aim that no rule can reach is taken to be what the fastest needs."""
    return _balanced(_calm(world), alpha)


@lru_cache(maxsize=16)
def _balanced(calm: World, alpha: float) -> Balance:
    told, aimed = Told.of(calm, WHICH), [_Aim.at(calm, *pair, alpha) for pair in zip(WHICH, AIMS, strict=True)]
    best, found, shares = math.inf, SHARES, SHARES
    if not any(aimed):
        return Balance(tuple(SHARES), None)
    for _ in range(ROUNDS):
        level = told.level(tuple(shares), alpha)
        parts = np.array([math.nan if aim is None else aim.part(tuple(shares), level) for aim in aimed])
        if np.nanmax(parts) < best:
            best, found = float(np.nanmax(parts)), shares
        moved = shares * np.exp(STEP * np.nan_to_num(parts - np.nanmean(parts)))
        shares = np.maximum(moved / moved.sum(), 1e-4)
    return Balance(tuple(found), best)


@dataclass(frozen=True)
class _Aim:
    """A harm's streams as evidence of each of the four (streams, minutes, 4), when it begins, and the mean aimed at."""

    evidence: Floats
    onset: int
    mean: float

    @classmethod
    def at(cls, calm: World, harm: Harm, aim: float, alpha: float) -> "_Aim | None":
        """Where no rule can reach it, what the fastest needs is aimed at. None where it isn't found within the day."""
        ratio, is_late = harm
        world = replace(calm, ratio=ratio, onset=LATE if is_late else 0)
        least, minutes = limit(world, alpha), _long_enough(world)
        if least > LARGEST_PART * (DAY - world.onset):
            return None
        counts = counted(simulate(world, SOUGHT_STREAMS, minutes, SOUGHT_SEED + 2))
        fastest = (knows_but_when if is_late else knows)(world, counts, alpha)
        return cls(_evidence(counts, WHICH), world.onset, max(aim * least, _mean_wait(fastest, world.onset, minutes)))

    def part(self, shares: tuple[float, ...], level: float) -> float:
        """The mean time to the alarm over what is aimed at."""
        answers = _reached(_mixed(self.evidence, shares), level)
        return _mean_wait(answers, self.onset, self.evidence.shape[1]) / self.mean


def _mean_wait(answers: Floats, onset: int, minutes: int) -> float:
    waits = np.minimum(answers, minutes) - onset
    return float(waits[waits > 0].mean())


def _calm(world: World) -> World:
    return replace(world, ratio=1.0, before=1.0, onset=0)


def _evidence(counts: Counted, harms: Sequence[Harm]) -> Floats:
    """The log likelihood ratio of each harm, (streams, minutes, harms); of a late one of the onsets so far."""
    return np.stack(
        [
            _from_any_minute(counts, ratio) - math.log(DAY) if is_late else np.cumsum(_gained(counts, ratio), axis=1)
            for ratio, is_late in harms
        ],
        axis=-1,
    )


def _mixed(evidence: Floats, shares: tuple[float, ...]) -> Floats:
    return log_sum(evidence + np.log(shares))


def _from_any_minute(counts: Counted, ratio: float) -> Floats:
    """The log of the sum over all minutes s so far of the likelihood ratio from s on."""
    gained = _gained(counts, ratio)
    summed, answer = np.full(len(gained), -np.inf), np.empty_like(gained)
    for minute in range(gained.shape[1]):
        summed = np.logaddexp(0.0, summed) + gained[:, minute]
        answer[:, minute] = summed
    return answer


def _gained(counts: Sequence[Floats], ratio: float) -> Floats:
    control, control_events, treatment, hits = counts
    share = null_share(1.0, control, treatment)
    return np.asarray(hits * math.log(ratio) - (hits + control_events) * np.log1p(share * (ratio - 1)))


def _reached(evidence: Floats, level: float) -> Floats:
    reached = evidence >= level
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, np.inf)

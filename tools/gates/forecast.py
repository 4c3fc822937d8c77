"""What a whole plan of count gates will do, before it starts: when it decides, what it misses, what a harm reaches.

Closed forms where there are any, else the gate's own random walk. The evidence of a mixture of bets depends on what was
counted only through treatment's events X_k and both arms' events K_k at each share k,

    ln E = ln Σ_δ π(δ) · Π_k (δ/δ₀)^X_k · (1 + θ_k·(δ/δ₀ − 1))^(−K_k),    θ_k = n_c·δ₀/(n_c·δ₀ + n_b)

so that a course through the stages is sampled in steps far longer than a check: X and K are Poisson, at rates divided
by the dispersion φ, as the gate divides its evidence (and by φ·(1 − p) where events are common, which is their
variance). Bets, ratios and late starts are the gate's own code. `DRAWS` courses are sampled with a fixed seed, so that
the same question always gets the same answer. What is left out: the burn-in question (a harm beyond the burn-in margin
is caught sooner than is said), traffic that changes over the day, and the time that people take to approve.

Guardrails share the gate's level as `tools.gates.combined` has it: it rolls back from Σ w·E ≥ 1/α, with w one over the
number of metrics that share it, so that P(false rollback) ≤ α for each question that is asked of them (Ville): while
there is a control, in shadow, and at 100 %. What is expected is less, because a plan ends: with P_δ for
the law under the ratio δ, and E about 1/(α·w) when a guardrail reaches the level,

    P(false) = Σ_δ π(δ) · E_δ[1/E_τ; τ ≤ T] ≈ α·w · Σ_δ π(δ) · P_δ(τ ≤ T), summed over the guardrails

by a change of measure (Wald, 1945; Siegmund, "Sequential Analysis", 1985, ch. II), for the bets that are placed at
once. τ·I is taken to be lognormal with the median and the ninth decile that the calculators were calibrated to. Where
events are common the gate is more careful than that, and fewer are rolled back.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tools.gates import calculators
from tools.gates.calculators import BadQuestion, Minutes, Traffic, Workload
from tools.gates.ceiling import log_likelihood_ratios as ceiling_ratios
from tools.gates.counts import COMMON, LARGEST_RATE, CountTest, log_likelihood_ratios
from tools.gates.judging import BURN_IN_STAKE, OVERSHOOT, SAFE_LOG_HEADROOM, Direction, harm_prior, safe_prior
from tools.gates.wealth import Floats, Prior, advance, log_sum, log_total

DRAWS = 800
SEED = 20_000
# How long a step of the walk is, as parts of the time that is counted so far and of the least that the stage lasts:
# short enough that next to nothing is missed between two looks.
STEP_PART, BAKE_PART = 0.05, 0.02
NORMAL = NormalDist()
NINTH_DECILE = NORMAL.inv_cdf(0.9)

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Watched:
    """A metric that guards every stage: its traffic, both arms together, control's rate, and what it is held to.

    Raises BadQuestion.
    """

    name: str
    direction: Direction
    margin: float
    requests_per_minute: float
    base_rate: float
    dispersion: float = 1.0

    def __post_init__(self) -> None:
        self.traffic(0.5)
        if not 1.001 <= self.margin <= calculators.LARGEST_FACTOR:
            raise BadQuestion(
                f"The margin must be a factor between 1.001 and {calculators.LARGEST_FACTOR:g}, not {self.margin}."
            )

    def traffic(self, share: float) -> Traffic:
        """What a stage of that share (a fraction) has to work with."""
        return Traffic(self.requests_per_minute, self.base_rate, share, self.dispersion)

    def worse(self, harm: float) -> float:
        """The ratio of treatment's rate to control's when treatment is `harm` (≥ 1) times worse. Raises BadQuestion."""
        if not 1 <= harm <= calculators.LARGEST_FACTOR:
            raise BadQuestion(f"The harm must be a factor between 1 and {calculators.LARGEST_FACTOR:g}, not {harm}.")
        if self.direction is Direction.INCREASE and self.base_rate * harm > 1:
            raise BadQuestion(f"A base rate of {self.base_rate:g} can't become {harm:g} times as high.")
        return harm if self.direction is Direction.INCREASE else 1 / harm


@dataclass(frozen=True)
class Step:
    """A stage: treatment's `share` (a fraction, 1 is everyone), how long it lasts at least and at most, in minutes.

    `min_samples` are the exposures that it needs, one for each watched metric or none at all. In `shadow` users still
    get control's answer. Raises BadQuestion.
    """

    share: float
    bake: float
    limit: float
    min_samples: tuple[int, ...] = ()
    shadow: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise BadQuestion(f"A stage's share must be above 0 and at most 1, not {self.share}.")
        if not 0 <= self.bake <= self.limit < math.inf:
            raise BadQuestion(f"A stage can't last at least {self.bake:g} and at most {self.limit:g} min.")

    @property
    def whole(self) -> bool:
        """Whether nobody is left to compare with."""
        return self.share >= 1 and not self.shadow

    @property
    def book(self) -> str:
        """Which stages carry their evidence on: those that ask the same question."""
        return "whole" if self.whole else "shadow" if self.shadow else "live"


@dataclass(frozen=True)
class Schedule:
    """A plan as far as its gates go: what guards, the stages, and how it is looked at. Times are in minutes.

    `sharing` is how many metrics share the levels of harm, where more than those watched do. Raises BadQuestion.
    """

    watched: tuple[Watched, ...]
    steps: tuple[Step, ...]
    burn_in: float = 10.0
    check_every: float = 0.25
    alpha_pause: float = CountTest.alpha_pause
    alpha_rollback: float = CountTest.alpha_rollback
    alpha_safe: float = CountTest.alpha_safe
    sharing: int = 0

    def __post_init__(self) -> None:
        if not self.watched or not self.steps:
            raise BadQuestion("A plan needs at least one stage and one metric that guards it.")
        if any(len(step.min_samples) not in (0, len(self.watched)) for step in self.steps):
            raise BadQuestion("A stage needs a smallest sample for each metric, or none.")
        if self.burn_in < 0 or not 0 < self.check_every < math.inf:
            raise BadQuestion("The burn-in must be 0 minutes or more, and the time between two checks above 0.")

    @property
    def weight(self) -> float:
        """Each metric's part of the levels of harm."""
        return 1 / max(self.sharing, len(self.watched))

    @property
    def live(self) -> tuple[int, ...]:
        """The indices of the stages in which users get treatment's answer."""
        return tuple(index for index, step in enumerate(self.steps) if not step.shadow)

    def of(self, metric: str) -> Watched:
        """The watched metric of that name. Raises BadQuestion."""
        found = next((one for one in self.watched if one.name == metric), None)
        if found is None:
            raise BadQuestion(f"{metric} guards no stage; {', '.join(one.name for one in self.watched)} do.")
        return found


@dataclass(frozen=True)
class Caught:
    """A harm within one stage: how long until it is rolled back, burn-in included, and treatment's requests by then."""

    minutes: Minutes
    requests: Minutes


@dataclass(frozen=True)
class StageForecast:
    """A stage of a treatment that does no harm: how long it lasts until it is proven safe, and what it can see.

    `verdict` is of those courses that are proven; `unproven` is the part of those that come to the stage whose limit
    comes first, or that are paused for a suspicion. `smallest_harm` is the smallest factor for each metric that nine of
    ten courses catch within the stage's limit; None where none is, or where nobody is left to compare with.
    """

    verdict: Minutes | None
    unproven: float
    smallest_harm: dict[str, float | None]


@dataclass(frozen=True)
class Chance:
    """A probability: what holds for sure, and what is expected."""

    bound: float
    expected: float


@dataclass(frozen=True)
class PlanForecast:
    """A plan of a treatment that does no harm: minutes to the end of those courses that come there, the part that
    doesn't (a person is asked), and the chance that it is rolled back for nothing."""

    stages: tuple[StageForecast, ...]
    whole: Minutes | None
    unfinished: float
    false_rollback: Chance


@dataclass(frozen=True)
class Population:
    """Who may be exposed. `tenants` share `users` evenly; a tenant counts as reached when one of its users is.

    Where whole tenants are exposed together, leave `users` out.
    """

    users: int | None = None
    tenants: int | None = None
    value_per_request: float | None = None

    def __post_init__(self) -> None:
        for value in (self.users, self.tenants, self.value_per_request):
            if value is not None and not 0 < value < math.inf:
                raise BadQuestion(f"Users, tenants and the value of a request must be above 0, not {value}.")

    def tenants_reached(self, share: float) -> float:
        """The part of the tenants of whom somebody is exposed at that share of users."""
        if self.users is None or self.tenants is None:
            return share
        return 1 - float((1 - share) ** (self.users / self.tenants))


@dataclass(frozen=True)
class Reach:
    """What is exposed to a harm until it is found: on average, and in nine courses of ten at most."""

    expected: float
    p90: float


@dataclass(frozen=True)
class BlastRadius:
    """What a harm has reached when it is found: parts of all users and of all tenants, requests served by treatment,
    events beyond control's (failed orders, say), and the requests' value where it is known."""

    users: Reach
    tenants: Reach
    requests: Reach
    events: Reach
    money: Reach | None


@dataclass(frozen=True)
class StageCatch:
    """How likely a harm is rolled back in this stage, and when, in minutes since the stage began; None if never."""

    chance: float
    minutes: Minutes | None


@dataclass(frozen=True)
class HarmForecast:
    """A plan whose treatment does harm from its start on.

    `caught` (rolled back), `asked` (paused at a stage's limit, a person decides) and `missed` (promoted to the end) add
    up to 1. `minutes` since the start and `blast` are of those that are rolled back or asked about.
    """

    caught: float
    asked: float
    missed: float
    by_stage: tuple[StageCatch, ...]
    minutes: Minutes | None
    blast: BlastRadius | None


def catch_in_stage(
    traffic: Workload,
    direction: Direction,
    harm: float,
    *,
    burn_in: float = 0.0,
    check_every: float = 1.0,
    weight: float = 1.0,
) -> Caught:
    """A harm that is there from the start of a rollout's first stage, as long as that stage lasts. Raises BadQuestion.

    Closed form: `calculators.time_to_catch` after the burn-in, in which only the far worse is caught. `weight` is the
    metric's part of the level: one over the number of those that share it.
    """
    alpha = CountTest.alpha_rollback * weight
    catch = calculators.time_to_catch(traffic, direction, harm, alpha=alpha, check_minutes=check_every)
    minutes = Minutes(catch.median + burn_in, catch.p90 + burn_in)
    served = traffic.requests_per_minute * traffic.share
    return Caught(minutes, Minutes(minutes.median * served, minutes.p90 * served))


def forecast(schedule: Schedule) -> PlanForecast:
    """The plan of a treatment that does no harm."""
    courses = _sampled(schedule, {})
    done = courses.ending == Ending.PROMOTED
    return PlanForecast(
        stages=tuple(_stage_forecast(schedule, courses, index) for index in range(len(schedule.steps))),
        whole=_minutes(courses.minutes[done]),
        unfinished=float(1 - done.mean()),
        false_rollback=false_rollback(schedule, courses.typical_lengths()),
    )


def forecast_harm(schedule: Schedule, metric: str, harm: float, population: Population = Population()) -> HarmForecast:
    """The plan of a treatment whose `metric` is `harm` (≥ 1) times worse from its start on. Raises BadQuestion."""
    ratio = schedule.of(metric).worse(harm)
    courses = _sampled(schedule, {metric: ratio})
    caught, asked = courses.ending == Ending.ROLLED_BACK, courses.ending == Ending.ASKED
    found = caught | asked
    return HarmForecast(
        caught=float(caught.mean()),
        asked=float(asked.mean()),
        missed=float(1 - found.mean()),
        by_stage=tuple(_stage_catch(courses, caught, index) for index in range(len(schedule.steps))),
        minutes=_minutes(courses.minutes[found]),
        blast=_blast(schedule, schedule.of(metric), ratio, courses, found, population) if found.any() else None,
    )


def false_rollback(schedule: Schedule, minutes: Sequence[float]) -> Chance:
    """The chance that a harmless treatment is rolled back, when the stages last that many minutes each.

    At 100 % what is expected is nothing: there a harmless treatment is as far from the ceiling as the margin is wide.
    """
    books = {step.book for step in schedule.steps}
    bound = len(books) * schedule.alpha_rollback
    expected = 0.0
    for book in sorted(books - {"whole"}):
        spans = [
            (step.share, length)
            for step, length in zip(schedule.steps, minutes, strict=True)
            if step.book == book and step.share < 1
        ]
        expected += sum(_false(schedule, one, spans) for one in schedule.watched)
    return Chance(min(bound, 1.0), min(expected, bound, 1.0))


def _false(schedule: Schedule, one: Watched, spans: Sequence[tuple[float, float]]) -> float:
    """α·w · Σ_δ π(δ)·P_δ(caught by the end), for the bets that are placed at once; what is overshot lowers it."""
    prior, alpha = harm_prior(one.margin), schedule.alpha_rollback * schedule.weight
    level = -math.log(alpha)
    ratios, nats, warming = one.direction.away(prior.factors), np.zeros(len(prior.factors)), schedule.burn_in
    for share, length in spans:
        a_minute = [calculators.information(one.traffic(share), float(ratio)) for ratio in ratios]
        nats += np.array(a_minute) * max(length - warming, 0.0)
        warming = max(warming - length, 0.0)
    chance = float(np.exp(prior.log_weights) @ _reached(nats, level, prior.factors))
    return alpha * (1 - BURN_IN_STAKE) * prior.at_once * chance / math.sqrt(OVERSHOOT)


def _reached(nats: Floats, level: float, factors: Floats) -> Floats:
    """The chance that so much information catches a harm of each of the factors, all of shape (G,)."""
    median = level + calculators.HARM_MEDIAN + calculators.HARM_OVERSHOOT * np.log(factors)
    spread = np.log((level + calculators.HARM_P90) / median) / NINTH_DECILE
    deviations = np.log(np.maximum(nats, 1e-9) / median) / spread
    return np.array([NORMAL.cdf(float(deviation)) for deviation in deviations])


def _stage_forecast(schedule: Schedule, courses: "_Courses", index: int) -> StageForecast:
    step = schedule.steps[index]
    came, passed = courses.came(index), courses.passed(index)
    counted = step.limit - _warming(schedule, index)
    smallest = {
        one.name: calculators.smallest_harm(
            one.traffic(step.share), one.direction, counted, alpha=schedule.alpha_rollback * schedule.weight
        )
        if step.share < 1 and counted > 0
        else None
        for one in schedule.watched
    }
    unproven = 1 - passed.sum() / came.sum() if came.any() else 1.0
    return StageForecast(_minutes(courses.lengths[passed, index]), float(unproven), smallest)


def _stage_catch(courses: "_Courses", caught: Flags, index: int) -> StageCatch:
    here = caught & (courses.stage == index)
    return StageCatch(float(here.mean()), _minutes(courses.lengths[here, index]))


def _blast(
    schedule: Schedule, one: Watched, ratio: float, courses: "_Courses", found: Flags, population: Population
) -> BlastRadius:
    """Users are counted by the largest share until then: whoever was exposed stays so in the next stage."""
    live = np.array([0.0 if step.shadow else step.share for step in schedule.steps])
    shares = np.maximum.accumulate(live)[courses.stage[found]]
    spent = courses.lengths[found] * live
    requests = spent.sum(axis=1) * one.requests_per_minute
    tenants = np.array([population.tenants_reached(float(share)) for share in np.unique(shares)])
    value = population.value_per_request
    return BlastRadius(
        users=_reach(shares),
        tenants=_reach(tenants[np.searchsorted(np.unique(shares), shares)]),
        requests=_reach(requests),
        events=_reach(requests * one.base_rate * abs(ratio - 1)),
        money=None if value is None else _reach(requests * value),
    )


def _reach(values: Floats) -> Reach:
    return Reach(float(values.mean()), float(np.quantile(values, 0.9)))


def _minutes(values: Floats) -> Minutes | None:
    return Minutes(float(np.median(values)), float(np.quantile(values, 0.9))) if len(values) else None


class Ending(IntEnum):
    """How a course ends."""

    PROMOTED = 0  # through all its stages
    ROLLED_BACK = 1
    ASKED = 2  # paused at a stage's limit: a person decides


@dataclass(frozen=True)
class _Courses:
    """Sampled courses: how each ended (draws,), in which stage (draws,), and its minutes in each (draws, stages)."""

    ending: Ints
    stage: Ints
    lengths: Floats

    @property
    def minutes(self) -> Floats:
        return np.asarray(self.lengths.sum(axis=1))

    def came(self, index: int) -> Flags:
        """Which came to that stage."""
        return np.asarray(self.stage >= index)

    def passed(self, index: int) -> Flags:
        """Which were proven safe there."""
        return np.asarray((self.stage > index) | ((self.stage == index) & (self.ending == Ending.PROMOTED)))

    def typical_lengths(self) -> list[float]:
        """The median length of each stage, of those that came there; 0 where none did."""
        stages = range(self.lengths.shape[1])
        return [
            float(np.median(self.lengths[came, index])) if (came := self.came(index)).any() else 0.0 for index in stages
        ]


@lru_cache(maxsize=64)
def _courses(schedule: Schedule, ratios: tuple[tuple[str, float], ...]) -> _Courses:
    return _Walk(schedule, dict(ratios)).walked()


def _sampled(schedule: Schedule, ratios: dict[str, float]) -> _Courses:
    return _courses(schedule, tuple(sorted(ratios.items())))


@dataclass
class _Books:
    """One question of one metric over all courses: the log worth of the bets (draws, G), the reserve, the clock."""

    prior: Prior
    started: Floats
    reserve: Floats
    clock: Floats

    @classmethod
    def start(cls, prior: Prior) -> "_Books":
        started = np.tile(prior.log_weights + math.log(prior.at_once), (DRAWS, 1))
        return cls(prior, started, np.full(DRAWS, math.log1p(-prior.at_once)), np.zeros(DRAWS))

    def advance(self, courses: Ints, log_lr: Floats, information: Floats, cap: float = math.inf) -> None:
        """One step of those courses; the bets are kept to `cap`."""
        before = self.started[courses], self.reserve[courses], self.clock[courses]
        started, self.reserve[courses], self.clock[courses] = advance(self.prior, *before, log_lr, information)
        if cap < math.inf:
            started -= np.maximum(log_total(started, self.reserve[courses]) - cap, 0.0)[:, None]
        self.started[courses] = started

    def log_e(self, courses: Ints) -> Floats:
        return log_total(self.started[courses], self.reserve[courses])


@dataclass
class _Evidence:
    """One metric's two questions over all courses, when treatment's rate is `ratio` times control's."""

    one: Watched
    ratio: float
    harm: _Books
    safe: _Books

    @classmethod
    def start(cls, one: Watched, ratio: float) -> "_Evidence":
        return cls(one, ratio, _Books.start(harm_prior(one.margin)), _Books.start(safe_prior(one.margin)))

    def count(self, rng: np.random.Generator, step: Step, minutes: float, courses: Ints, cap: float) -> None:
        """So many more minutes of those courses; evidence of safety is kept to `cap`."""
        if minutes:
            (self._alone if step.whole else self._compared)(rng, step.share, minutes, courses, cap)

    def _compared(self, rng: np.random.Generator, share: float, minutes: float, courses: Ints, cap: float) -> None:
        one, away = self.one, self.one.direction.away
        scale = one.dispersion * _spread_of_common(one.base_rate * (share * self.ratio + 1 - share))
        base = one.requests_per_minute * one.base_rate * minutes / scale
        hits = rng.poisson(base * share * self.ratio, len(courses)).astype(float)
        events = hits + rng.poisson(base * (1 - share), len(courses)).astype(float)
        margin = float(away(np.array(one.margin)))
        bets = ((self.harm, 1.0, away(self.harm.prior.factors)), (self.safe, margin, 1 / away(self.safe.prior.factors)))
        for book, null, factors in bets:
            relative = share * null / (share * null + 1 - share)
            log_lr = log_likelihood_ratios(factors, np.array(relative), events, hits)
            book.advance(courses, log_lr, events * relative * (1 - relative), cap if book is self.safe else math.inf)

    def _alone(self, rng: np.random.Generator, share: float, minutes: float, courses: Ints, cap: float) -> None:
        one, away = self.one, self.one.direction.away
        base = share * one.requests_per_minute * one.base_rate * minutes / one.dispersion
        hits = rng.poisson(base * self.ratio, len(courses)).astype(float)
        expected = np.full(len(courses), base * float(away(np.array(one.margin))))
        for book, factors in (
            (self.harm, away(self.harm.prior.factors)),
            (self.safe, 1 / away(self.safe.prior.factors)),
        ):
            log_lr = ceiling_ratios(factors, expected, hits)
            book.advance(courses, log_lr, expected, cap if book is self.safe else math.inf)


def _spread_of_common(rate: float) -> float:
    """The variance of events of that rate over their mean, as far as the gate knows of it."""
    return 1 - min(rate, LARGEST_RATE) if rate >= COMMON else 1.0


@dataclass
class _Walk:
    """Takes `DRAWS` courses through the stages at once. `told` are those that a suspicion has paused."""

    schedule: Schedule
    ratios: dict[str, float]
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(SEED))
    told: Flags = field(default_factory=lambda: np.zeros(DRAWS, bool))

    def walked(self) -> _Courses:
        steps, books = self.schedule.steps, dict[str, list[_Evidence]]()
        stage, ending = np.zeros(DRAWS, np.int64), np.full(DRAWS, Ending.PROMOTED, np.int64)
        lengths = np.zeros((DRAWS, len(steps)))
        for index, step in enumerate(steps):
            here = np.flatnonzero(ending == Ending.PROMOTED)
            book = books.setdefault(step.book, self._fresh())
            stage[here] = index
            lengths[here, index], ending[here] = self._through(step, _warming(self.schedule, index), book, here)
        return _Courses(ending, stage, lengths)

    def _fresh(self) -> list[_Evidence]:
        return [_Evidence.start(one, self.ratios.get(one.name, 1.0)) for one in self.schedule.watched]

    def _through(self, step: Step, warming: float, book: list[_Evidence], here: Ints) -> tuple[Floats, Ints]:
        """How long the courses `here` stay in the stage and how they leave it, each of the shape of `here`."""
        lengths, endings = np.full(len(here), step.limit), np.full(len(here), Ending.ASKED, np.int64)
        staying, age, plan = np.arange(len(here)), 0.0, self.schedule
        for looked in self._looks(step, warming):
            if not len(staying):
                break
            courses, minutes = here[staying], max(looked - max(age, warming), 0.0)
            for evidence in book:
                evidence.count(self.rng, step, minutes, courses, SAFE_LOG_HEADROOM - math.log(plan.alpha_safe))
            age = looked
            harm = math.log(plan.weight) + log_sum(
                np.stack([evidence.harm.log_e(courses) for evidence in book], axis=-1)
            )
            safe = np.min([evidence.safe.log_e(courses) for evidence in book], axis=0)
            self.told[courses] |= harm >= -math.log(plan.alpha_pause)
            caught = harm >= -math.log(plan.alpha_rollback)
            passed = ~self.told[courses] & (safe >= -math.log(plan.alpha_safe)) & self._enough(step, warming, age)
            leaving = caught | passed
            lengths[staying[leaving]] = age
            endings[staying[leaving]] = np.where(caught, Ending.ROLLED_BACK, Ending.PROMOTED)[leaving]
            staying = staying[~leaving]
        return lengths, endings

    def _enough(self, step: Step, warming: float, age: float) -> bool:
        """Whether the stage is old enough and has its samples."""
        samples = step.min_samples or (0,) * len(self.schedule.watched)
        served = step.share * max(age - warming, 0.0)
        pairs = zip(self.schedule.watched, samples, strict=True)
        return age >= step.bake and all(one.requests_per_minute * served >= sample for one, sample in pairs)

    def _looks(self, step: Step, warming: float) -> Iterator[float]:
        """When to look, in minutes since the stage began: at the burn-in's end, the bake's, else ever more rarely."""
        age, edges = 0.0, sorted(edge for edge in (warming, step.bake, step.limit) if edge > 0)
        while age < step.limit:
            counted = max(age - warming, 0.0)
            ahead = age + max(self.schedule.check_every, STEP_PART * counted, BAKE_PART * step.bake)
            edge = next((edge for edge in edges if edge > age), step.limit)
            age = edge if age < warming or ahead >= edge else ahead
            yield age


def _warming(schedule: Schedule, index: int) -> float:
    """How much of the burn-in is left when a stage begins whose forerunners took their least time."""
    step = schedule.steps[index]
    before = sum(other.bake for other in schedule.steps[:index] if other.shadow is step.shadow)
    return max(schedule.burn_in - before, 0.0)

"""Is treatment slower than control? For latencies in histogram buckets, with or without their sums.

Harm. In one interval, and given the latencies of both arms together, treatment's n requests are a draw without
replacement when treatment is not slower. A score c that may depend on everything but on who was treatment's then has

    LR(λ) = e^{λ · treatment's total of c} / p_n(λ)

with p_n the mean of the numerator over all draws (`tools.gates.permutation`). It needs no model of the latencies, and
their level may drift. Two scores are bet on. One for a shift of the whole distribution: the log of the bucket's middle,
to which, when there are sums, the deviation of the latency from its bucket's mean is added where that sharpens the
picture, as it does in wide buckets. One for the slow tail: being above the edge nearest the 95th percentile, which is a
count (`tools.gates.counts`). λ follows the size of the slow-down bet on and the spread seen so far.

Of the latencies inside a bucket only the sum is known: their means are interpolated and their spread is spread over the
buckets by width, which makes the bet with sums approximate. The bet from buckets alone is as good as exact. Near proof
both are raised by what would overshoot it (`tools.gates.wealth.log_boost`), for which totals are taken as normal.

Safety. With sums: treatment's mean is below margin × control's, by a normal approximation with the variance of control,
which margin² enlarges. The null is a statement about means, tails included, so that the e-value of the mean, which
takes the larger of both arms' variances so far (`tools.gates.means`), counts where it is less: requests that hang are
few and weigh most. From buckets alone margins are mostly narrower than buckets, and what a slow-down by the margin
would do must be interpolated: the mean score of such a treatment is bounded from below for log-concave survival
functions (`tools.gates.histograms.survival_if_slower`), and treatment's must be proven to be less. That takes about
twice as long as with sums, and says nothing of how long those hang that hang.

Far worse while burning in: treatment's latencies are larger than control's times `burn_in_margin`, bounded from above
by the edges alone.

Sources: Hoeffding (1963); Robbins (1970); Ramdas, Grünwald, Vovk and Shafer, "Game-theoretic statistics and safe
anytime-valid inference" (2023).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tools.gates.counts import log_likelihood_ratios, null_share
from tools.gates.histograms import (
    Histogram,
    MissingSums,
    buckets_of,
    check_edges,
    check_layout,
    layout,
    layout_digest,
    survival,
    survival_if_slower,
)
from tools.gates.judging import (
    Books,
    Direction,
    Priors,
    Question,
    boostable,
    burn_in_prior,
    cap_safety,
    check_levels,
    check_minutes,
    check_version,
    cut,
    decide,
    log_harm_cap,
    safe_prior,
    stored_margin,
)
from tools.gates.means import NOTHING, UNMATCHED, Matched, Sums, log_e_beyond, relative_information
from tools.gates.means import SMALLEST_SAMPLE as FEWEST_COMPARED
from tools.gates.onset import NO_ONSET, Onset
from tools.gates.scores import FINEST_SPREAD, TINY, Score, Tally, make_score
from tools.gates.verdict import NoData, Outcome, Verdict, no_data
from tools.gates.wealth import (
    RESERVE_HALF_LIFE,
    BadEvidence,
    Floats,
    Ledger,
    Prior,
    Wealth,
    log_boost,
    log_total,
)

VERSION = 5
WITHOUT_ONSET, WITH_EDGES, WITHOUT_SPREAD, UNTIMED = 1, 2, 3, 4
"""Before it was kept since when treatment does harm; with the buckets' edges, and bets by their digits; before it was
kept how treatment's latencies vary; with clocks of information."""
SMALLEST_SAMPLE = 200
# The share of the money on the tail's bets; the slow-downs of the tail that it is on lie around TYPICAL_TAIL.
TAIL_SHARE, TAIL, TYPICAL_TAIL = 0.06, 0.05, 1.5
# The share of the money on slow-downs far beyond the margin, and what of all of it is placed from the start.
FAR, AT_ONCE = 0.03, 0.9
NEAR_SPREAD = 0.55
LARGEST_BET = 2.0
# Where a normal total may lie, in standard deviations, and the chance of each step from there.
OUTCOME_STEP = 0.25
OUTCOMES = np.arange(-0.5, 6.5, OUTCOME_STEP)
_ABOVE = [math.erfc(end / math.sqrt(2)) / 2 for end in (*OUTCOMES, OUTCOMES[-1] + OUTCOME_STEP)]
OUTCOME_LOG_CHANCES = np.log(-np.diff(_ABOVE))


Asked = tuple[str, float, bool, float]
"""The buckets' digest, the margin, whether there are sums, and the margin while burning in."""


@dataclass(frozen=True)
class LatencyTest:
    """What is asked of latencies.

    `edges` are the histogram's upper edges, the last +inf; `sums`: the source gives sums and sums of squares. Treatment
    is safe when its latencies are below `margin` × control's. The levels and `burn_in_margin` are as in `CountTest`.
    `dispersion` φ ≥ 1 is how much more control's scores vary from interval to interval than independent requests would
    (`tools.gates.scores.estimate_dispersion`): slow requests come in clusters. Raises BadTest.
    """

    edges: tuple[float, ...]
    margin: float = 1.25
    sums: bool = True
    alpha_pause: float = 0.05
    alpha_rollback: float = 0.02
    alpha_safe: float = 0.05
    dispersion: float = 1.0
    min_sample: int = SMALLEST_SAMPLE
    burn_in_margin: float = 5.0

    def __post_init__(self) -> None:
        check_edges(self.edges)
        check_levels(self)

    @property
    def direction(self) -> Direction:
        """Slower is worse."""
        return Direction.INCREASE

    @property
    def asked(self) -> Asked:
        """What evidence is collected for; all else may change on the way."""
        return layout_digest(self.edges), self.margin, self.sums, self.burn_in_margin


@dataclass(frozen=True)
class LatencyEvidence:
    """All that is kept between two checks, at most 4 KB as JSON. It may be carried from stage to stage.

    `past` are control's latencies so far, from which the next interval's scores are made; `served` are treatment's and
    `matched` compares both arms within each interval, after burn-in and by their log-middles without sums. `onset` are
    the latencies (or log-middles) since the harm began that is going on, if one is.
    """

    test: Asked
    books: Books
    past: Tally
    control: int = 0
    treatment: int = 0
    warming_control: int = 0
    warming_treatment: int = 0
    matched: Matched = UNMATCHED
    served: Sums = NOTHING
    onset: Onset[Sums] = NO_ONSET
    intervals: int = 0
    version: int = VERSION

    @classmethod
    def start(cls, test: LatencyTest) -> Self:
        """No interval seen yet."""
        return cls(test.asked, Books.start(_priors(test.margin)), Tally.empty(len(test.edges)))

    def to_json(self) -> dict[str, Any]:
        """A plain dict that `json.dumps` takes and `from_json` reads back exactly."""
        digest, margin, sums, burn_in_margin = self.test
        return {
            "version": self.version,
            "layout": digest,
            "margin": margin,
            "sums": sums,
            "burn_in_margin": burn_in_margin,
            "books": self.books.to_json(_priors(margin)),
            "past": self.past.to_json(),
            "requests": [self.control, self.treatment, self.warming_control, self.warming_treatment],
            "matched": self.matched.to_json(),
            "served": self.served.to_json(),
            "onset": self.onset.to_json(),
            "intervals": self.intervals,
        }

    @classmethod
    def from_json(cls, plain: Any) -> Self:
        """The evidence that `to_json` wrote. Raises BadEvidence for anything else."""
        version = check_version(plain, WITHOUT_ONSET, WITH_EDGES, WITHOUT_SPREAD, UNTIMED, VERSION)
        try:
            margin = stored_margin(plain["margin"])
            digest = str(plain["layout"]) if version > WITH_EDGES else _digest(plain["edges"])
            control, treatment, warming_control, warming_treatment = (int(number) for number in plain["requests"])
            known = version > WITHOUT_SPREAD
            return cls(
                test=(digest, margin, bool(plain["sums"]), float(plain["burn_in_margin"])),
                books=Books.from_json(plain["books"], _priors(margin), timed=version == VERSION),
                past=Tally.from_json(plain["past"], buckets_of(digest)),
                control=control,
                treatment=treatment,
                warming_control=warming_control,
                warming_treatment=warming_treatment,
                matched=Matched.from_json(plain["matched"]) if known else _matched_before(plain),
                served=Sums.from_json(plain["served"]) if known else NOTHING,
                onset=NO_ONSET if version == WITHOUT_ONSET else Onset.from_json(plain["onset"], Sums.from_json),
                intervals=int(plain["intervals"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BadEvidence(f"Stored evidence is damaged ({error}); start new evidence.") from error


@dataclass(frozen=True)
class Interval:
    """One test's evidence, and the interval to be added to it: see `update`. Raises BadCounts for a wrong length."""

    test: LatencyTest
    evidence: LatencyEvidence
    control: Histogram
    treatment: Histogram
    burning_in: bool = False
    minutes: float = 1.0

    def __post_init__(self) -> None:
        check_minutes(self.minutes)

    @property
    def comparable(self) -> bool:
        """Whether both arms had requests."""
        return bool(self.control.requests and self.treatment.requests)


def update(
    test: LatencyTest,
    evidence: LatencyEvidence,
    control: Histogram,
    treatment: Histogram,
    *,
    burning_in: bool = False,
    minutes: float = 1.0,
) -> LatencyEvidence:
    """The evidence after one more interval of so many minutes.

    While `burning_in` the interval counts only towards the burn-in question. Where an arm had no requests there is
    nothing to compare. Intervals must not overlap. Raises ChangedBuckets or MissingSums when a histogram is not what
    the test is for, BadCounts for a length that can't be, BadEvidence when `evidence` is of another test; `evidence` is
    as good as before then.
    """
    return update_all([Interval(test, evidence, control, treatment, burning_in, minutes)])[0]


def update_all(intervals: Sequence[Interval]) -> list[LatencyEvidence]:
    """What `update` says of each, many times faster for many. Raises what it raises, when one of them would."""
    alike: dict[tuple[Any, ...], list[int]] = {}
    for position, one in enumerate(intervals):
        _check_interval(one)
        if one.comparable:
            alike.setdefault((one.test.asked, one.burning_in), []).append(position)
    paid = dict[int, _Paid]()
    for positions in alike.values():
        paid.update(zip(positions, _paid([intervals[position] for position in positions]), strict=True))
    return [_counted(one, paid.get(position) or _unpaid(one)) for position, one in enumerate(intervals)]


def judge(test: LatencyTest, evidence: LatencyEvidence) -> Verdict:
    """What the evidence says now; the answer's rates are mean latencies, None without sums.

    Raises BadEvidence when it is of another test.
    """
    check_same_test(test, evidence)
    if not evidence.intervals:
        return no_data(NoData.EMPTY, "No interval has been counted yet.")
    warming = not (evidence.control or evidence.treatment)
    control = evidence.warming_control if warming else evidence.control
    treatment = evidence.warming_treatment if warming else evidence.treatment
    if not treatment:
        return no_data(NoData.NO_TRAFFIC, f"Treatment has had no traffic yet, control {control:,} requests.")
    if not control:
        return no_data(NoData.NO_TRAFFIC, f"Control has had no traffic, treatment {treatment:,} requests.")
    weight = evidence.matched.weight
    compared = evidence.matched.treatment, evidence.matched.control
    means = (compared[0] / weight, compared[1] / weight) if weight and test.sums else (None, None)
    ratio = _ratio(evidence)
    numbers = Verdict(
        outcome=Outcome.INCONCLUSIVE,
        why="",
        treatment_rate=means[0],
        control_rate=means[1],
        ratio=ratio,
        margin=test.margin,
        treatment_n=evidence.treatment,
        control_n=evidence.control,
    )
    lately, since = evidence.onset.lately(control + treatment), ""
    if lately is not None:
        of_control, of_treatment = (arm.mean for arm in lately)
        since = _facts(lately[0].units, lately[1].units, _shown(test, of_treatment, of_control))
        numbers = replace(numbers, lately=(of_treatment, of_control) if test.sums else None)
    shown = "" if means[0] is None or means[1] is None else f", means {means[0]:.4g} and {means[1]:.4g}"
    question = Question(
        facts=_facts(control, treatment, shown + ("" if ratio is None else f", ×{ratio:.3g}")),
        safe=f"it is below ×{test.margin:.3g}",
        stuck="" if warming else _stuck(test, evidence),
        burning_in=warming,
        lately=since,
    )
    return decide(test, books(test, evidence), numbers, question)


def books(test: LatencyTest, evidence: LatencyEvidence) -> Books:
    """What the evidence is worth by now, which `judge` puts into words: with sums, of safety at most the means'."""
    if not test.sums:
        return evidence.books
    matched, safe = evidence.matched, evidence.books.safe
    information = relative_information(matched.weight, test.dispersion)
    by_means = log_e_beyond(matched, test.margin, -1, variance=spread(test, evidence), information=information)
    return replace(evidence.books, safe=safe if safe.log_e <= by_means else Wealth.worth(by_means))


def spread(test: LatencyTest, evidence: LatencyEvidence) -> float:
    """φ times the larger variance of both arms, of their latencies, or of their log-middles without sums."""
    return test.dispersion * max(spread_of_control(test, evidence), evidence.served.variance)


def spread_of_control(test: LatencyTest, evidence: LatencyEvidence) -> float:
    """The variance of control's latencies, or of their log-middles without sums, at least what is still believed."""
    past = evidence.past
    if test.sums:
        return float(past.variance)
    middles = layout(test.edges).log_middle
    found = float((past.shares * (middles - float((past.shares * middles).sum())) ** 2).sum())
    return max(found, FINEST_SPREAD**2)


def _stuck(test: LatencyTest, evidence: LatencyEvidence) -> str:
    units = evidence.matched.units
    if not test.sums or units >= FEWEST_COMPARED:
        return ""
    return f" Means prove nothing before {FEWEST_COMPARED} treatment requests; {units:,.0f} are in."


def _facts(control: int, treatment: int, shown: str) -> str:
    return f"latencies of {treatment:,} treatment and {control:,} control requests{shown}"


def _shown(test: LatencyTest, treatment: float, control: float) -> str:
    """Of the arms' mean latencies, or of the means of their log-middles."""
    if not test.sums:
        return f", ×{math.exp(treatment - control):.3g}"
    times = f", ×{treatment / control:.3g}" if control > 0 else ""
    return f", means {treatment:.4g} and {control:.4g}{times}"


def check_same_test(test: LatencyTest, evidence: LatencyEvidence) -> None:
    """Raises BadEvidence when `evidence` was collected for other buckets, margins, or with other sums."""
    if test.asked != evidence.test:
        digest, margin, sums, burn_in_margin = evidence.test
        raise BadEvidence(
            f"This evidence is of a test of {buckets_of(digest)} buckets {'with' if sums else 'without'} sums, margin "
            f"{margin:g} and burn-in margin {burn_in_margin:g}, which is not the one asked for: start new evidence."
        )


@dataclass(frozen=True)
class HarmBets:
    """One interval's bets on harm, before φ.

    `log_lr` (..., G) is what they pay. The first of them are on the `score`: `slopes` λ (..., S), their `cost`
    (..., S), and the standard deviation of treatment's total (...). The others are on the buckets where `slow` (..., B)
    is 1.
    """

    log_lr: Floats
    slopes: Floats
    cost: Floats
    deviation: Floats
    score: Score
    slow: Floats

    def outcomes(self, which: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Some outcomes that `which` draws might have had: log chances (O,) and log likelihood ratios (M, O, G).

        The total is taken to be normal; each step of it counts as its lower end. What the tail would pay is left out.
        """
        totals = self.deviation[which, None, None] * OUTCOMES[:, None]
        shifted = self.slopes[which, None, :] * totals - self.cost[which, None, :]
        rest = self.log_lr.shape[-1] - self.slopes.shape[-1]
        return OUTCOME_LOG_CHANCES, np.concatenate([shifted, np.full((*shifted.shape[:-1], rest), -np.inf)], axis=-1)


def harm_bets(test: LatencyTest, past: Tally, control: Tally, treatment: Tally) -> HarmBets:
    """One interval's bets on harm. `past` are control's latencies before it. Both arms must have requests."""
    at, prior = layout(test.edges), _shift_prior(test.margin)
    pooled = control + treatment
    known = past + pooled
    score = make_score(at, known, typical=0.8 * math.log(test.margin), sums=test.sums)
    slopes = np.minimum(score.signal[..., None] * np.log(prior.factors), LARGEST_BET)
    cost = score.log_cost(slopes, pooled, treatment.requests)
    share = null_share(1.0, control.requests, treatment.requests)
    excess = score.total(treatment) - share * score.total(pooled)
    slow = _slow_tail(known)
    slow_pooled, slow_treatment = ((tally.counts * slow).sum(axis=-1) for tally in (pooled, treatment))
    tail = log_likelihood_ratios(_tail_prior().factors, share, slow_pooled, slow_treatment)
    drawn = pooled.requests * share * (1 - share)
    return HarmBets(
        log_lr=np.concatenate([slopes * excess[..., None] - cost, tail], axis=-1),
        slopes=slopes,
        cost=cost,
        deviation=np.sqrt(drawn * score.variance(pooled)),
        score=score,
        slow=slow,
    )


def boost(
    alpha_rollback: Floats,
    dispersion: Floats,
    bets: HarmBets,
    log_started: Floats,
    log_reserve: Floats,
    burn_in_log_e: Floats,
) -> Floats:
    """By how much the bets of N tests on harm may be raised before an interval, as logs (`wealth.log_boost`), (N,).

    0 where there are clusters: then it is not known what the null would bring.
    """
    found = np.zeros(len(log_reserve))
    cap = log_harm_cap(alpha_rollback, burn_in_log_e)
    worth = boostable(log_total(log_started, log_reserve), cap) & (bets.deviation > 0) & (dispersion == 1)
    (near,) = np.nonzero(worth)
    if len(near):
        found[near] = log_boost(log_started[near], log_reserve[near], cap[near], *bets.outcomes(near))
    return found


@dataclass(frozen=True)
class SafeBets:
    """One interval's bets on safety, before φ: as those on harm; `slopes` (..., G) are for each unit of distance."""

    log_lr: Floats
    slopes: Floats


def safe_bets(test: LatencyTest, past: Tally, control: Tally, treatment: Tally) -> SafeBets:
    """One interval's bets on safety; as `harm_bets`."""
    known = past + control
    requests = np.maximum(treatment.requests, 1.0), np.maximum(control.requests, 1.0)
    below = test.margin / safe_prior(test.margin).factors
    if test.sums:
        miss = treatment.total / requests[0] - test.margin * control.total / requests[1]
        precision = 1 / (test.margin**2 * known.variance * (1 / requests[0] + 1 / requests[1]))
        bets = known.mean[..., None] * (below - test.margin)
    else:
        at, shares = layout(test.edges), known.shares
        steps = np.diff(at.log_middle)
        moved = (steps * (survival_if_slower(at, shares, test.margin, at_most=False) - survival(shares))).sum(axis=-1)
        scores = [(tally.shares * at.log_middle).sum(axis=-1) for tally in (treatment, control)]
        miss = scores[0] - scores[1] - moved
        centre = (shares * at.log_middle).sum(axis=-1)[..., None]
        spread = np.maximum((shares * (at.log_middle - centre) ** 2).sum(axis=-1), TINY)
        # What a slow-down would move is read off control too, so that its chance counts thrice.
        precision = 1 / (np.maximum(spread, FINEST_SPREAD**2) * (1 / requests[0] + 3 / requests[1]))
        bets = np.minimum(-moved[..., None] * (1 - np.log(below) / math.log(test.margin)), 0.0)
    slopes = precision[..., None] * bets
    return SafeBets(slopes * (miss[..., None] - bets / 2), slopes)


def _burn_in_bets(test: LatencyTest, past: Tally, control: Tally, treatment: Tally) -> Floats:
    """What bets pay as `HarmBets.log_lr`, against a treatment `burn_in_margin` times as slow as control."""
    at, shares = layout(test.edges), (past + control).shares
    above = survival_if_slower(at, shares, test.burn_in_margin, at_most=True)
    ends = np.ones((*above.shape[:-1], 1)), np.zeros((*above.shape[:-1], 1))
    slower = -np.diff(np.concatenate([ends[0], above, ends[1]], axis=-1), axis=-1)
    centre = (shares * at.log_middle).sum(axis=-1)[..., None]
    spread = (shares * ((at.log_middle - centre) ** 2 + at.log_width**2 / 12)).sum(axis=-1)
    bets = np.minimum(np.log(burn_in_prior().factors) / spread[..., None], LARGEST_BET / np.sqrt(spread)[..., None])
    log_u = bets[..., None] * at.log_middle
    log_u = log_u - log_u.max(axis=-1, keepdims=True)
    won = (treatment.counts[..., None, :] * log_u).sum(axis=-1)
    staked = treatment.requests[..., None] * np.log((slower[..., None, :] * np.exp(log_u)).sum(axis=-1))
    return np.asarray(won - staked)


def _check_interval(interval: Interval) -> None:
    check_same_test(interval.test, interval.evidence)
    for histogram in (interval.control, interval.treatment):
        check_layout(histogram, interval.test.edges)
        if interval.test.sums and histogram.total is None and histogram.requests:
            raise MissingSums(
                "The histogram came without the sum of its latencies, which this test is for: let the source give the "
                "sums and sums of squares, or start the rollout's gate anew without."
            )


_Paid = tuple[Books, Tally, Matched, Sums, Onset[Sums]]
"""What an interval makes of books, of control's latencies so far, the matched sums, treatment's, and the onset."""
Seen = tuple[Tally, Tally, Tally]
"""Control's latencies before an interval, control's and treatment's in it."""


def _counted(interval: Interval, paid: _Paid) -> LatencyEvidence:
    evidence, control, treatment = interval.evidence, interval.control.requests, interval.treatment.requests
    settled, warming = (control, treatment), (0, 0)
    if interval.burning_in:
        settled, warming = warming, settled
    books, past, matched, served, onset = paid
    return LatencyEvidence(
        test=evidence.test,
        books=books,
        past=past,
        control=evidence.control + settled[0],
        treatment=evidence.treatment + settled[1],
        warming_control=evidence.warming_control + warming[0],
        warming_treatment=evidence.warming_treatment + warming[1],
        matched=matched,
        served=served,
        onset=onset,
        intervals=evidence.intervals + 1,
    )


def _unpaid(interval: Interval) -> _Paid:
    """Of an interval that has nothing to compare."""
    evidence = interval.evidence
    past = evidence.past + Tally.of(interval.control)
    return evidence.books, past, evidence.matched, evidence.served, evidence.onset


def _paid(intervals: Sequence[Interval]) -> Iterator[_Paid]:
    """Of comparable intervals of the same question, all burning in or none."""
    test, books = intervals[0].test, [one.evidence.books for one in intervals]
    past = Tally.stacked([one.evidence.past for one in intervals])
    control = Tally.of_all([one.control for one in intervals])
    treatment = Tally.of_all([one.treatment for one in intervals])
    phi, minutes = np.array([(one.test.dispersion, one.minutes) for one in intervals]).T
    warmth = Ledger.of([(one.burn_in,) for one in books])
    if intervals[0].burning_in:
        _advance(warmth, burn_in_prior(), _burn_in_bets(test, past, control, treatment), phi, minutes)
        after = [Books(one.harm, warmed, one.safe) for one, (warmed,) in zip(books, warmth.books(), strict=True)]
        kept = zip(*((one.evidence.matched, one.evidence.served, one.evidence.onset) for one in intervals), strict=True)
        return zip(after, (past + control).apart(), *kept, strict=True)
    harms, proofs = Ledger.of([(one.harm,) for one in books]), Ledger.of([(one.safe,) for one in books])
    levels, safe_levels = np.array([(one.test.alpha_rollback, one.test.alpha_safe) for one in intervals]).T
    steps = settle_harm(test, harms, (past, control, treatment), phi, minutes, levels, warmth.log_e[:, 0])
    settle_safety(test, proofs, (past, control, treatment), phi, minutes, safe_levels)
    rows = zip(books, harms.books(), proofs.books(), strict=True)
    after = [Books(harmed, one.burn_in, proven) for one, (harmed,), (proven,) in rows]
    evidence = [one.evidence for one in intervals]
    matching = _matched(test, [one.matched for one in evidence], control, treatment)
    arms = [list(_values(test, arm)) for arm in (control, treatment)]
    served = (before.served + came for before, came in zip(evidence, arms[1], strict=True))
    began = (
        before.onset.after(step, *both) for before, step, *both in zip(evidence, steps.tolist(), *arms, strict=True)
    )
    return zip(after, (past + control).apart(), matching, served, began, strict=True)


def settle_harm(
    test: LatencyTest,
    ledger: Ledger,
    seen: Seen,
    dispersion: Floats,
    minutes: Floats,
    levels: Floats,
    burn_in_log_e: Floats,
) -> Floats:
    """One comparable interval of the books on harm of N tests.

    With φ, the interval's length, a rollback's level and the evidence of burn-in, (N,) each.

    `seen` are control's latencies before, then both arms' in the interval. The answer is the log likelihood ratio of a
    slow-down by about the margin (N,).
    """
    bets = harm_bets(test, *seen)
    boosts = boost(levels, dispersion, bets, ledger.log_started[:, 0], ledger.log_reserve[:, 0], burn_in_log_e)
    ledger.log_started += boosts[:, None, None]
    _advance(ledger, latency_prior(test.margin), bets.log_lr, dispersion, minutes)
    log_caps = np.where(boosts > 0, log_harm_cap(levels, burn_in_log_e), np.inf)
    ledger.log_started[:, 0] = cut(ledger.log_started[:, 0], ledger.log_reserve[:, 0], log_caps)
    at_margin = int(np.argmin(np.abs(_shift_prior(test.margin).factors - test.margin)))
    return np.asarray(bets.log_lr[:, at_margin] / dispersion)


def settle_safety(
    test: LatencyTest, ledger: Ledger, seen: Seen, dispersion: Floats, minutes: Floats, levels: Floats
) -> None:
    """As `settle_harm`, of the books on safety; `levels` (N,) are those of its proof."""
    bets = safe_bets(test, *seen)
    _advance(ledger, safe_prior(test.margin), bets.log_lr, dispersion, minutes)
    cap_safety(ledger, 0, levels)


def _advance(ledger: Ledger, prior: Prior, log_lr: Floats, phi: Floats, minutes: Floats) -> None:
    ledger.advance(prior, (log_lr / phi[:, None])[:, None], minutes)


@lru_cache(maxsize=256)
def latency_prior(margin: float) -> Prior:
    """Bets for harm: on shifts of all latencies, typically somewhat less than the margin, then on the slow tail.

    The shifts are log-normal about margin^0.8 (sd 0.45), with a twentieth of the money on what is larger, up to 8
    times. The tail's factors are of the share above the edge.
    """
    shift, tail = _shift_prior(margin), _tail_prior()

    def joined(shifts: Floats, tails: Floats) -> Floats:
        return np.concatenate([math.log1p(-TAIL_SHARE) + shifts, math.log(TAIL_SHARE) + tails])

    return replace(
        shift,
        factors=np.concatenate([shift.factors, tail.factors]),
        log_weights=joined(shift.log_weights, tail.log_weights),
        log_late_weights=joined(shift.log_late_weights, tail.log_late_weights),
    )


@lru_cache(maxsize=256)
def _shift_prior(margin: float) -> Prior:
    steps, centre = np.linspace(-2.0, 2.2, 10), 0.8 * math.log(margin)
    logs = centre * np.exp(NEAR_SPREAD * steps)
    distant = np.geomspace(1.3 * logs[-1], max(math.log(8), 2.6 * logs[-1]), 6)
    near = np.exp(-0.5 * steps**2)
    weights = np.concatenate([(1 - FAR) * near / near.sum(), np.full(len(distant), FAR / len(distant))])
    return Prior(
        factors=np.exp(np.concatenate([logs, distant])),
        log_weights=np.log(weights),
        log_late_weights=np.log(weights),
        at_once=AT_ONCE,
        half_life=RESERVE_HALF_LIFE,
    )


@lru_cache(maxsize=1)
def _tail_prior() -> Prior:
    return Prior.around(TYPICAL_TAIL, far=0.3, at_once=AT_ONCE)


def _digest(edges: Any) -> str:
    """The digest of the edges that an earlier release stored, all but infinity."""
    return layout_digest((*(float(edge) for edge in edges), math.inf))


def _priors(margin: float) -> Priors:
    return latency_prior(margin), burn_in_prior(), safe_prior(margin)


def _slow_tail(known: Tally) -> Floats:
    """1 for the buckets above the edge nearest the 95th percentile, 0 below, (..., B)."""
    above = survival(known.shares)
    edge = np.argmin(np.where(above > 0, np.abs(above - TAIL), np.inf), axis=-1)
    return np.asarray(np.arange(known.counts.shape[-1]) > edge[..., None], float)


def _matched(test: LatencyTest, before: Sequence[Matched], control: Tally, treatment: Tally) -> Iterator[Matched]:
    """The matched sums after one more interval of each test (`Matched.plus`)."""
    of_control, of_treatment = control.requests, treatment.requests
    share = of_treatment / (of_control + of_treatment)
    weight = of_control * share
    columns = np.array(
        [
            weight * _typical(test, treatment),
            weight * _typical(test, control),
            weight * (1 - share),
            weight * share,
            weight,
            of_treatment,
        ]
    )
    earlier = np.array([one.to_json() for one in before])
    return (Matched(*row) for row in (earlier + columns.T).tolist())


def _matched_before(plain: Any) -> Matched:
    """The matched sums of a release that kept no noise: what it was had treatment's share been the same throughout.

    It has no units, so that nothing is proven by it before treatment has shown how much its latencies vary.
    """
    slower, faster, weight = (float(number) for number in plain["matched"])
    control, treatment, *_ = (int(number) for number in plain["requests"])
    share = treatment / max(control + treatment, 1)
    return Matched.from_json([slower, faster, weight * (1 - share), weight * share, weight, 0.0])


def _values(test: LatencyTest, arm: Tally) -> Iterator[Sums]:
    """Each test's latencies, or log-middles without sums."""
    middles = layout(test.edges).log_middle
    totals = (arm.total, arm.squares) if test.sums else (arm.counts @ middles, arm.counts @ middles**2)
    columns = (arm.requests.astype(int), *totals)
    return (Sums(*row) for row in zip(*(column.tolist() for column in columns), strict=True))


def _typical(test: LatencyTest, arm: Tally) -> Floats:
    """The mean latencies, or the mean log-middles without sums."""
    return arm.mean if test.sums else np.asarray(arm.counts @ layout(test.edges).log_middle / arm.requests)


def _ratio(evidence: LatencyEvidence) -> float | None:
    matched, sums = evidence.matched, evidence.test[2]
    if not matched.weight:
        return None
    if sums:
        return matched.treatment / matched.control if matched.control else None
    return math.exp((matched.treatment - matched.control) / matched.weight)

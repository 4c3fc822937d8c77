"""Is traffic still made of what the plan was made for? The mix of its segments: tenants, regions, devices.

The planned mix gives each of a few named segments a share q_g of the requests, and everything else the rest, as one
more cell, "other". Distance is total variation: max over sets A of p(A) − q(A), the part of the requests that changed
their cell. The plan allows a distance of `tolerance`. For each set A it then holds that p(A) ≤ q(A) + tolerance, so
that a CUSUM (Page, 1954) of binomial log likelihood ratios bets against it, on the set A that had more than its share
of late, which is known before the interval is:

    M_t = LR_t · max(M_{t−1}, 1),   LR = b^x · (1 + π(b − 1))^{−n},   π = q(A) + tolerance,   drift while M ≥ 1/α

with x of the interval's n requests in A and b = `BET`. It is an e-detector, as those of `tools.gates.drift`: while the
distance is within the tolerance it takes 1/α looks on average, or more, until drift is said, whatever the mix does
there, and whichever sets are bet on. A second one asks whether the requests of no named segment are more than the
plan's part of them and `newcomers`: segments that came new.

Requests come in bursts, by users. φ, the variance of what lies in A from one interval to the next over what chance
gives, is estimated as it goes and divides the log LR of the next interval, which keeps E[LR] ≤ 1 (Jensen). A detector
speaks at most `MOST_A_MINUTE` nats a minute, and M is kept to `HEADROOM` nats beyond its level, as in drift of traffic:
a mix is only called another after it has been so for some ten minutes.

Labels are data: they are compared, cut to length and quoted, and nothing else.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from tools.gates.drift import HEADROOM, MEMORY, MOST_A_MINUTE
from tools.gates.judging import BadCounts, BadTest, check_version, percent
from tools.gates.wealth import BadEvidence, computable

VERSION = 1
BET = 1.5
MOST_SEGMENTS = 20
"""Named segments of a planned mix; the rest is one cell."""
MOST_STRANGERS = 5
"""Segments that no plan names, of which it is kept how many they were, to name them."""
LONGEST_LABEL = 60
LARGEST_COUNT = 10**12
# Burstiness is the mean of squared differences, each of which counts at most so much: a change of the mix is one.
LARGEST_DIFFERENCE = 50.0
# What is named of a changed mix: at most so many segments, each at least so far off.
MOST_NAMED, WORTH_NAMING = 3, 0.03

OTHERS = "everything else"

Planned = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class MixTest:
    """The planned mix: segments and their parts of all requests, the rest in none of them.

    `tolerance` is the distance that the plan allows, `newcomers` how much more than planned may be of no named segment.
    `alpha` is 1 over the number of looks that it takes on average, or more, until either is called left falsely. Raises
    BadTest.
    """

    planned: Planned
    tolerance: float = 0.2
    newcomers: float = 0.1
    alpha: float = 1e-5

    def __post_init__(self) -> None:
        shares = [share for _, share in self.planned]
        if not 1 <= len(shares) <= MOST_SEGMENTS:
            raise BadTest(f"A planned mix names 1 to {MOST_SEGMENTS} segments, not {len(shares)}.")
        if len({label for label, _ in self.planned}) < len(shares):
            raise BadTest("A planned mix names a segment twice.")
        if not all(0 < share <= 1 for share in shares) or sum(shares) > 1.001:
            raise BadTest("The shares of a planned mix must be above 0 and add up to 1 at most.")
        for name, value in (("tolerance", self.tolerance), ("newcomers", self.newcomers)):
            if not 0.01 <= value < 1:
                raise BadTest(f"{name} must be a part of the requests from 0.01 to 1, not {value}.")
        if not 1e-12 <= self.alpha < 1:
            raise BadTest(f"alpha must lie between 1e-12 and 1, not {self.alpha}.")

    @property
    def level(self) -> float:
        """The log of the M from which there is drift."""
        return -math.log(self.alpha)

    @property
    def shares(self) -> tuple[float, ...]:
        """The planned share of each cell; the last is what no segment is named for."""
        named = [share for _, share in self.planned]
        return (*named, max(1 - sum(named), 0.0))

    @property
    def key(self) -> str:
        """What evidence must be of."""
        content = [list(map(list, self.planned)), self.tolerance, self.newcomers]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class MixEvidence:
    """All that is kept between two checks, at most 1.5 KB as JSON.

    `changed` and `newcomers` are log M. `of_late` are the requests in each cell, those further back counting less and
    less, `last` those of the newest interval; `strangers` is the same as `of_late` for a few segments that no plan
    names. `differences` is the fading sum of squared differences that φ comes from, and how many they are.
    """

    key: str
    changed: float = 0.0
    newcomers: float = 0.0
    of_late: tuple[float, ...] = ()
    last: tuple[int, ...] = ()
    strangers: tuple[tuple[str, float], ...] = ()
    differences: tuple[float, float] = (0.0, 0.0)
    version: int = VERSION

    @classmethod
    def start(cls, test: MixTest) -> Self:
        """Of a test before anything was seen."""
        nothing = (0.0,) * len(test.shares)
        return cls(test.key, of_late=nothing, last=(0,) * len(nothing))

    @property
    def dispersion(self) -> float:
        """φ so far; 1 while there is nothing to tell it from."""
        total, count = self.differences
        return max(1.0, (total + 1.0) / (count + 1.0))

    def to_json(self) -> dict[str, Any]:
        """A plain dict that `json.dumps` takes and `from_json` reads back exactly."""
        return {
            "version": self.version,
            "key": self.key,
            "changed": self.changed,
            "newcomers": self.newcomers,
            "of_late": list(self.of_late),
            "last": list(self.last),
            "strangers": [list(pair) for pair in self.strangers],
            "differences": list(self.differences),
        }

    @classmethod
    def from_json(cls, plain: Any, test: MixTest) -> Self:
        """The evidence that `to_json` wrote. Raises BadEvidence for anything else, and for that of another mix."""
        check_version(plain, VERSION)
        try:
            total, count = map(float, plain["differences"])
            read = cls(
                key=str(plain["key"]),
                changed=float(plain["changed"]),
                newcomers=float(plain["newcomers"]),
                of_late=tuple(map(float, plain["of_late"])),
                last=tuple(map(int, plain["last"])),
                strangers=tuple((str(label), float(number)) for label, number in plain["strangers"]),
                differences=(total, count),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BadEvidence(f"Stored evidence of a mix is damaged ({error}); start new evidence.") from error
        if read.key != test.key:
            raise BadEvidence("Stored evidence is of another mix than is planned; start new evidence.")
        kept = (*read.of_late, *read.last, *(number for _, number in read.strangers), *read.differences)
        cells = len(test.shares)
        fits = len(read.of_late) == len(read.last) == cells and len(read.strangers) <= MOST_STRANGERS
        if not (fits and computable(*kept) and min(kept, default=0) >= 0):
            raise BadEvidence("Stored evidence of a mix is damaged; start new evidence.")
        if not computable(read.changed, read.newcomers):
            raise BadEvidence("Stored evidence of a mix holds numbers that can't be computed with; start new evidence.")
        return read


@dataclass(frozen=True)
class Shifted:
    """A segment with its part of the requests of late and as planned; `planned` None: the plan does not name it."""

    label: str
    seen: float
    planned: float | None

    def __str__(self) -> str:
        name = self.label if self.label == OTHERS else quoted(self.label)
        known = f"planned {percent(self.planned)}" if self.planned is not None else "which the plan does not name"
        return f"{name} is {percent(self.seen)} of requests, {known}"


@dataclass(frozen=True)
class MixDrift:
    """Whether the mix is beyond its range now; `distance` is the total variation of late, `segments` what changed."""

    changed: bool = False
    newcomers: bool = False
    distance: float = 0.0
    segments: tuple[Shifted, ...] = ()

    @property
    def is_found(self) -> bool:
        """Whether there is drift."""
        return self.changed or self.newcomers

    @property
    def why(self) -> str:
        """What changed, without whose mix it is: "'eu' is 62 % of requests, planned 35 %"; empty without drift."""
        return "; ".join(map(str, self.segments)) if self.is_found else ""


def quoted(label: str) -> str:
    """A label as it is shown: in quotes, without what can't be printed, and cut to length."""
    return repr(label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…")


def folded(counts: Iterable[tuple[str, int]], named: Iterable[str]) -> tuple[tuple[tuple[str, int], ...], int]:
    """The counts of the named segments and of the largest few others, and how many the rest are."""
    known, found = set(named), dict[str, int]()
    for label, count in counts:
        found[label] = found.get(label, 0) + count
    strangers = sorted((label for label in found if label not in known), key=lambda label: (-found[label], label))
    kept = {*known, *strangers[:MOST_STRANGERS]}
    rest = sum(found[label] for label in strangers[MOST_STRANGERS:])
    return tuple(sorted((label, count) for label, count in found.items() if label in kept)), rest


def update(
    test: MixTest, evidence: MixEvidence, minutes: float, counts: Mapping[str, int], others: int = 0
) -> MixEvidence:
    """The evidence after one more interval of that length: the requests by segment, and those of all `others`.

    A segment that is not there had none. An interval without length changes nothing. Raises BadTest for a length that
    is none, BadCounts for what can't have been counted.
    """
    if not 0 <= minutes < math.inf:
        raise BadTest(f"An interval must last 0 minutes or more, not {minutes}.")
    for label, count in (*counts.items(), ("other", others)):
        if not (type(count) is int and 0 <= count <= LARGEST_COUNT):
            raise BadCounts(f"The requests of {quoted(label)} must be a whole number from 0 on, not {count!r}.")
    if not minutes:
        return evidence
    cells = _cells(test, counts, others)
    more = _over_represented(test, evidence)
    phi, most = evidence.dispersion, MOST_A_MINUTE * minutes
    changed = _log_ratio(test.shares, cells, more, test.tolerance)
    fresh = _log_ratio(test.shares, cells, {len(cells) - 1}, test.newcomers)
    total, differences = evidence.differences
    difference = _difference(cells, evidence.last, more or {len(cells) - 1})
    kept = math.exp(-minutes / MEMORY)
    return replace(
        evidence,
        changed=_next(test, evidence.changed, min(changed / phi, most)),
        newcomers=_next(test, evidence.newcomers, min(fresh / phi, most)),
        of_late=tuple(before * kept + now for before, now in zip(evidence.of_late, cells, strict=True)),
        last=cells,
        strangers=_strangers(test, evidence, counts, kept),
        differences=evidence.differences
        if difference is None
        else (total * kept + min(difference, LARGEST_DIFFERENCE), differences * kept + 1),
    )


def judge(test: MixTest, evidence: MixEvidence) -> MixDrift:
    """Whether the mix is beyond its range now, and what of it changed the most."""
    total = sum(evidence.of_late)
    if not total:
        return MixDrift()
    seen = [late / total for late in evidence.of_late]
    distance = sum(max(now - planned, 0.0) for now, planned in zip(seen, test.shares, strict=True))
    changed, fresh = evidence.changed >= test.level, evidence.newcomers >= test.level
    named = tuple(_named(test, evidence, seen, total)) if changed or fresh else ()
    return MixDrift(changed, fresh, distance, named)


def _named(test: MixTest, evidence: MixEvidence, seen: list[float], total: float) -> Iterator[Shifted]:
    """The segments that are furthest from their planned part, and who is new if it is them."""
    known = [Shifted(label, now, planned) for (label, planned), now in zip(test.planned, seen, strict=False)]
    unnamed = seen[-1] - test.shares[-1]
    strangers = [Shifted(label, number / total, None) for label, number in evidence.strangers]
    strangers = [one for one in strangers if min(one.seen, unnamed) >= WORTH_NAMING]
    if unnamed >= WORTH_NAMING and sum(one.seen for one in strangers) < unnamed:
        yield Shifted(OTHERS, seen[-1], test.shares[-1])
    found = [one for one in known if abs(one.seen - (one.planned or 0.0)) >= WORTH_NAMING]
    yield from sorted([*found, *strangers], key=lambda one: (-abs(one.seen - (one.planned or 0.0)), one.label))[
        :MOST_NAMED
    ]


def _cells(test: MixTest, counts: Mapping[str, int], others: int) -> tuple[int, ...]:
    named = tuple(counts.get(label, 0) for label, _ in test.planned)
    return (*named, sum(counts.values()) + others - sum(named))


def _over_represented(test: MixTest, evidence: MixEvidence) -> set[int]:
    """The cells that had more than their share of late, which is the set of the largest distance; none at first."""
    total = sum(evidence.of_late)
    pairs = enumerate(zip(evidence.of_late, test.shares, strict=True))
    return {index for index, (late, share) in pairs if late > share * total}


def _log_ratio(shares: tuple[float, ...], cells: tuple[int, ...], those: set[int], more: float) -> float:
    """The log LR of "they are more than `more` beyond their planned share"; below 0 where there can be no more."""
    limit = sum(shares[index] for index in those) + more
    return sum(cells[index] for index in those) * math.log(BET) - sum(cells) * math.log1p(limit * (BET - 1))


def _difference(now: tuple[int, ...], before: tuple[int, ...], those: set[int]) -> float | None:
    """The squared difference of their share from one interval to the next, in units of its variance by chance."""
    n, m = sum(now), sum(before)
    x, y = sum(now[index] for index in those), sum(before[index] for index in those)
    if not (n and m and 0 < x + y < n + m):
        return None
    pooled = (x + y) / (n + m)
    return (x / n - y / m) ** 2 / (pooled * (1 - pooled) * (1 / n + 1 / m))


def _strangers(
    test: MixTest, evidence: MixEvidence, counts: Mapping[str, int], kept: float
) -> tuple[tuple[str, float], ...]:
    known = {label for label, _ in test.planned}
    found = {label: late * kept for label, late in evidence.strangers}
    for label, count in counts.items():
        if label not in known and count:
            found[label] = found.get(label, 0.0) + count
    largest = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_STRANGERS]
    return tuple(pair for pair in largest if pair[1] >= 0.5)


def _next(test: MixTest, log_m: float, log_lr: float) -> float:
    return min(max(log_m, 0.0) + log_lr, test.level + HEADROOM)

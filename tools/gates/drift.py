"""Is traffic still what the plan was made for? Control's rate, mean or latency, requests a minute, treatment's share.

A plan is sized with what its metrics did before it began. Each quantity has a range around that, and each end of each
range a CUSUM (Page, 1954) of log likelihood ratios for "beyond the range":

    M_t = LR_t · max(M_{t−1}, 1),     drift while M ≥ 1/α

With x events where at most m were to be expected, LR = b^x · e^{−m(b − 1)} for a rate b times beyond the range;
for a share, the ratio of binomials; for a mean or a latency what `tools.gates.level` says, which needs to know nothing
of how values are distributed. φ divides it where events come in bursts. Such an M is an e-detector (Shin, Ramdas and
Rinaldo, "E-detectors", arXiv 2203.03532): as long as the truth lies within the range, E[M_τ] ≤ E[τ] for every
stopping time τ, so that it takes 1/α looks on average, or more, until an end is called left falsely, for any traffic on
the way. Where the truth is well within the range, as it is when nothing has changed, it is next to never.

Requests come in waves that are no chance, so that traffic and share speak at most `MOST_A_MINUTE` nats a minute: they
are only called left after being so for some ten minutes. M is kept to `HEADROOM` nats beyond its level, so that the end
of a drift is seen as soon as its beginning was.

What it means for a gate: `weigh`. While control's own rate, mean or latency is beyond its range to the worse, something
hits both arms: a shared incident. A comparison of the arms does not mistake it for harm, but what it proves then is
that they do badly alike, so nothing is promoted on it, and where a rate alone has failed the gate holds and a person
decides.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

from tools.gates.judging import BadTest, Counts, Direction, check_version, percent
from tools.gates.level import LevelRange
from tools.gates.means import NOTHING, Sums
from tools.gates.verdict import Harm, Outcome, Verdict
from tools.gates.wealth import BadEvidence, computable

VERSION = 2
WITHOUT_LEVEL = 1
"""Before means and latencies were watched."""
# How far beyond the ends of a range the bets are; far below for events, of which there are few then.
ABOVE, BELOW, FAR_BELOW = 1.5, 1 / 1.5, 0.4
MOST_A_MINUTE = 1.0
HEADROOM = 2.0
# What is below 0 is forgotten at the next look, so that no more of it need be kept.
LEAST = -1e15
# What is said of a drift is a mean over so many minutes, those further back counting less and less.
MEMORY = 10.0

Range = tuple[float, float]


class Quantity(StrEnum):
    """What may leave its range."""

    BASE_RATE = "base_rate"  # control's events per exposure
    TRAFFIC = "traffic"  # both arms' exposures a minute
    SHARE = "share"  # treatment's part of the exposures
    LEVEL = "level"  # control's mean, or its latency


@dataclass(frozen=True)
class DriftTest:
    """The ranges that a plan was made for, each (lowest, highest); None: that is not looked at.

    `direction` is the change of the rate, or of the mean, that is harm. `alpha` is 1 over the number of looks that it
    takes on average, or more, until the end of a range is called left falsely. Raises BadTest.
    """

    direction: Direction
    base_rate: Range | None = None
    traffic: Range | None = None
    share: Range | None = None
    level: LevelRange | None = None
    dispersion: float = 1.0
    alpha: float = 1e-5

    def __post_init__(self) -> None:
        for name, limits in (("base_rate", self.base_rate), ("traffic", self.traffic), ("share", self.share)):
            if limits is not None and not (0 < limits[0] <= limits[1] < math.inf):
                raise BadTest(f"The range of {name} must go from above 0 upwards, not from {limits[0]} to {limits[1]}.")
        if self.share is not None and self.share[1] >= 1:
            raise BadTest(f"Treatment's share must stay below 1, not reach {self.share[1]}.")
        if not (1 <= self.dispersion < math.inf):
            raise BadTest(f"dispersion must be 1 (independent events) or more, not {self.dispersion}.")
        if not 1e-12 <= self.alpha < 1:
            raise BadTest(f"alpha must lie between 1e-12 and 1, not {self.alpha}.")

    @property
    def found_from(self) -> float:
        """The log of the M from which there is drift."""
        return -math.log(self.alpha)

    @property
    def ranges(self) -> dict[Quantity, Range | None]:
        """By what they are of."""
        level = None if self.level is None else self.level.ends
        return {
            Quantity.BASE_RATE: self.base_rate,
            Quantity.TRAFFIC: self.traffic,
            Quantity.SHARE: self.share,
            Quantity.LEVEL: level,
        }


Logs = tuple[float, float, float, float]


@dataclass(frozen=True)
class DriftEvidence:
    """All that is kept between two checks, some 400 bytes as JSON.

    `below` and `above` are log M (0 or more, or what the last look left below it) by quantity; `share` is the range of
    the share that they are about, as a new stage has another. `minutes`, `control` (exposures, events), `values`
    (control's number and sum of them) and `treatment` (exposures) are those since the last look before which no M was
    above 1: since the drift began, if one has; what is further back than `MEMORY` fades.
    """

    below: Logs = (0.0, 0.0, 0.0, 0.0)
    above: Logs = (0.0, 0.0, 0.0, 0.0)
    share: Range | None = None
    minutes: float = 0.0
    control: tuple[float, float] = (0.0, 0.0)
    values: tuple[float, float] = (0.0, 0.0)
    treatment: float = 0.0
    version: int = VERSION

    def to_json(self) -> dict[str, Any]:
        """A plain dict that `json.dumps` takes and `from_json` reads back exactly."""
        return {
            "version": self.version,
            "below": list(self.below),
            "above": list(self.above),
            "share": None if self.share is None else list(self.share),
            "minutes": self.minutes,
            "control": list(self.control),
            "values": list(self.values),
            "treatment": self.treatment,
        }

    @classmethod
    def from_json(cls, plain: Any) -> Self:
        """The evidence that `to_json` wrote. Raises BadEvidence for anything else."""
        version = check_version(plain, WITHOUT_LEVEL, VERSION)
        try:
            exposures, events = map(float, plain["control"])
            units, total = (0.0, 0.0) if version == WITHOUT_LEVEL else map(float, plain["values"])
            read = cls(
                below=_logs(plain["below"], version),
                above=_logs(plain["above"], version),
                share=None if plain["share"] is None else _range(plain["share"]),
                minutes=float(plain["minutes"]),
                control=(exposures, events),
                values=(units, total),
                treatment=float(plain["treatment"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BadEvidence(f"Stored evidence of drift is damaged ({error}); start new evidence.") from error
        numbers = (*read.below, *read.above, *(read.share or ()), read.minutes, *read.control, *read.values)
        if not computable(*numbers, read.treatment):
            raise BadEvidence("Stored evidence of drift holds numbers that can't be computed with; start new evidence.")
        return read


@dataclass(frozen=True)
class Departure:
    """A quantity that is beyond its range now; `seen` is what it was of late. `level` says of what a level is one."""

    quantity: Quantity
    above: bool
    seen: float
    planned: Range
    level: LevelRange | None = None

    def __str__(self) -> str:
        (low, high), seen = map(self._shown, self.planned), self._shown(self.seen)
        side = "above" if self.above else "below"
        name = NAMES[self.quantity] if self.level is None else f"control's {self.level.what}"
        return f"{name} is {seen}, {side} the {low} to {high} that the plan was made for"

    def _shown(self, value: float) -> str:
        if self.level is not None:
            return f"{value:.3g} {self.level.unit}".rstrip() if abs(value) < 1000 else f"{value:,.0f} {self.level.unit}"
        return _per_minute(value) if self.quantity is Quantity.TRAFFIC else percent(min(value, 1.0))


@dataclass(frozen=True)
class Drift:
    """What has left its range. `incident`: control itself does far worse than planned."""

    departures: tuple[Departure, ...] = ()
    incident: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """What has left its range and to which side: "traffic below"."""
        return tuple(f"{one.quantity} {'above' if one.above else 'below'}" for one in self.departures)

    @property
    def why(self) -> str:
        """In a sentence; empty when everything is as planned."""
        if not self.departures:
            return ""
        said = "; ".join(map(str, self.departures))
        return f"{said[:1].upper()}{said[1:]}."


NAMES = {
    Quantity.BASE_RATE: "control's rate",
    Quantity.TRAFFIC: "traffic",
    Quantity.SHARE: "treatment's share of it",
}
OF_CONTROL = frozenset({Quantity.BASE_RATE, Quantity.LEVEL})


def update(
    test: DriftTest,
    evidence: DriftEvidence,
    minutes: float,
    control: Counts,
    treatment: Counts,
    values: Sums = NOTHING,
) -> DriftEvidence:
    """The evidence after one more interval of that length. An interval without length changes nothing.

    `values` are control's, where a level is watched. Raises BadTest for a length that is none.
    """
    if not 0 <= minutes < math.inf:
        raise BadTest(f"An interval must last 0 minutes or more, not {minutes}.")
    if not minutes:
        return evidence
    below, above = list(evidence.below), list(evidence.above)
    if test.share != evidence.share:
        below[2] = above[2] = 0.0
    for index, (down, up) in enumerate(_log_ratios(test, minutes, control, treatment, values)):
        below[index] = _next(test, below[index], down)
        above[index] = _next(test, above[index], up)
    is_calm = max(*evidence.below, *evidence.above) <= 0
    kept = 0.0 if is_calm else math.exp(-minutes / MEMORY)
    return replace(
        evidence,
        below=(below[0], below[1], below[2], below[3]),
        above=(above[0], above[1], above[2], above[3]),
        share=test.share,
        minutes=evidence.minutes * kept + minutes,
        control=(
            evidence.control[0] * kept + control.exposures,
            evidence.control[1] * kept + control.events,
        ),
        values=(evidence.values[0] * kept + values.units, evidence.values[1] * kept + values.total),
        treatment=evidence.treatment * kept + treatment.exposures,
    )


def judge(test: DriftTest, evidence: DriftEvidence) -> Drift:
    """What is beyond its range now."""
    found = tuple(_departures(test, evidence))
    worse = test.direction is Direction.INCREASE
    incident = any(one.quantity in OF_CONTROL and one.above is worse for one in found)
    return Drift(found, incident)


def weigh(verdict: Verdict, drift: Drift, *, compared: bool) -> Verdict:
    """The gate's verdict with what has drifted; `compared`: it compares the arms, and is blind to what hits both.

    A shared incident holds: nothing is promoted on it, and a rate alone that has failed is suspected only. A treatment
    that is proven worse than control fails in an incident too. Any other drift is said and changes nothing: it makes
    proofs slower, not wrong.
    """
    if not drift.departures:
        return verdict
    said = replace(verdict, why=f"{verdict.why} {drift.why}", drift=drift.why)
    if not drift.incident:
        return said
    if verdict.outcome is Outcome.PASS:
        why = f"Held: {drift.why} Both arms do badly alike, which proves nothing about treatment. {verdict.why}"
        return replace(said, outcome=Outcome.INCONCLUSIVE, why=why)
    if verdict.outcome is Outcome.FAIL and not compared:
        why = f"Held instead of rolled back: {drift.why} That hits both arms. {verdict.why}"
        return replace(said, outcome=Outcome.INCONCLUSIVE, harm=Harm.SUSPECTED, why=why)
    return said


def within(planned: float, factor: float) -> Range:
    """The range of `factor` to both sides of what is planned."""
    return planned / factor, planned * factor


def share_within(planned: float, factor: float) -> Range:
    """The same for a share (a fraction): `factor` times the odds."""
    odds = planned / (1 - planned)
    return odds / factor / (1 + odds / factor), odds * factor / (1 + odds * factor)


def _log_ratios(
    test: DriftTest, minutes: float, control: Counts, treatment: Counts, values: Sums
) -> Iterator[tuple[float, float]]:
    """For each quantity, the log LR of "below its range" and of "above it"."""
    most = MOST_A_MINUTE * minutes
    both = control.exposures + treatment.exposures
    if test.base_rate is None:
        yield 0.0, 0.0
    else:
        low, high = (control.exposures * end for end in test.base_rate)
        down, up = _poisson(control.events, low, FAR_BELOW), _poisson(control.events, high, ABOVE)
        yield down / test.dispersion, up / test.dispersion
    if test.traffic is None:
        yield 0.0, 0.0
    else:
        low, high = (end * minutes for end in test.traffic)
        yield min(_poisson(both, low, BELOW), most), min(_poisson(both, high, ABOVE), most)
    if test.share is None:
        yield 0.0, 0.0
    else:
        low, high = test.share
        down, up = _binomial(treatment.exposures, both, low, BELOW), _binomial(treatment.exposures, both, high, ABOVE)
        yield min(down, most), min(up, most)
    down, up = (0.0, 0.0) if test.level is None else test.level.log_ratios(values)
    yield down / test.dispersion, up / test.dispersion


def _poisson(events: int, expected: float, bet: float) -> float:
    return events * math.log(bet) - expected * (bet - 1)


def _binomial(some: int, of: int, share: float, bet: float) -> float:
    """The share with `bet` times the odds against the share."""
    return some * math.log(bet) - of * math.log1p(share * (bet - 1))


def _next(test: DriftTest, log_m: float, log_lr: float) -> float:
    return min(max(max(log_m, 0.0) + log_lr, LEAST), test.found_from + HEADROOM)


def _departures(test: DriftTest, evidence: DriftEvidence) -> Iterator[Departure]:
    for index, (quantity, planned) in enumerate(test.ranges.items()):
        if planned is None or (quantity is Quantity.SHARE and planned != evidence.share):
            continue
        for logs, above in ((evidence.below, False), (evidence.above, True)):
            if logs[index] >= test.found_from:
                level = test.level if quantity is Quantity.LEVEL else None
                yield Departure(quantity, above, _seen(evidence, quantity, level), planned, level)


def _seen(evidence: DriftEvidence, quantity: Quantity, level: LevelRange | None) -> float:
    if level is not None:
        units, total = evidence.values
        return level.shown(total / units) if units else 0.0
    exposures, events = evidence.control
    both = exposures + evidence.treatment
    if quantity is Quantity.BASE_RATE:
        return events / exposures if exposures else 0.0
    if quantity is Quantity.TRAFFIC:
        return both / evidence.minutes if evidence.minutes else 0.0
    return evidence.treatment / both if both else 0.0


def _per_minute(requests: float) -> str:
    return f"{requests:,.3g}/min" if requests < 1000 else f"{requests:,.0f}/min"


def _logs(plain: Any, version: int) -> Logs:
    base, traffic, share, level = (*plain, 0.0) if version == WITHOUT_LEVEL else plain
    return float(base), float(traffic), float(share), float(level)


def _range(plain: Any) -> Range:
    low, high = plain
    return float(low), float(high)

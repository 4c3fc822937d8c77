"""The plan and its parts, as immutable values. A plan is identified by the hash of its canonical JSON."""

import hashlib
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from tools.canonical import canonical_json
from tools.gates import Direction
from tools.gates.mix import MOST_SEGMENTS

PERCENT_STEP = 0.001
"""The finest share that Sluice plans with, in percent: one bucket of 100,000."""

Percent = Annotated[float, Field(ge=0, le=100, multiple_of=PERCENT_STEP, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$")]
Duration = Annotated[timedelta, Field(ge=timedelta(0), le=timedelta(days=365))]


LARGEST_DISPERSION = 1000.0
"""The burstiest metric that a plan holds anyone to: beyond it a few lumps are all there is to judge by."""

LONGEST_PAUSE = timedelta(minutes=5)
"""The longest time between two checks that a plan may ask for: a breach is acted on within it."""


class Value(BaseModel):
    """Base of every part of a plan: immutable, and strict about what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Strategy(StrEnum):
    CANARY = "canary"  # live exposure rises stage by stage
    SHADOW = "shadow"  # treatment runs, users still get control's answer; then live stages
    FULL = "full"  # straight to 100 % behind gates and an approval


class Mode(StrEnum):
    LIVE = "live"  # users get treatment's answer
    SHADOW = "shadow"  # treatment runs beside control, users get control's answer


class OnFail(StrEnum):
    ROLL_BACK = "roll_back"
    PAUSE = "pause"


class OnNoData(StrEnum):
    ROLL_BACK = "roll_back"  # once the plan's blind budget is spent
    PAUSE = "pause"


class Audience(Value):
    """Who the exposure is limited to; no tenants and no regions means everyone."""

    tenants: tuple[Name, ...] = ()
    regions: tuple[Name, ...] = ()

    @property
    def everyone(self) -> bool:
        return not self.tenants and not self.regions

    def is_within(self, other: "Audience") -> bool:
        """Whether everybody in this audience is in `other` too. Whoever is meant has a named tenant and region."""
        pairs = ((self.tenants, other.tenants), (self.regions, other.regions))
        return all(not theirs or (bool(ours) and set(ours) <= set(theirs)) for ours, theirs in pairs)


class Exposure(Value):
    """Who gets the new behaviour: a percentage, optionally of an audience, live or in shadow."""

    percent: Percent
    mode: Mode = Mode.LIVE
    audience: Audience = Audience()

    def __str__(self) -> str:
        parts = [f"{self.percent:g} %"]
        if self.mode is Mode.SHADOW:
            parts.append("in shadow")
        if not self.audience.everyone:
            parts.append("of " + ", ".join(self.audience.tenants + self.audience.regions))
        return " ".join(parts)

    @property
    def leaves_no_control(self) -> bool:
        """Whether everyone gets treatment's answer, so that nobody is left to compare with."""
        return self.live_percent >= 100 and self.audience.everyone

    @property
    def live_percent(self) -> float:
        """The share of users, in percent, that get treatment's answer."""
        return self.percent if self.mode is Mode.LIVE else 0.0


NOT_EXPOSED = Exposure(percent=0)


class Source(StrEnum):
    """Where a number of a plan comes from."""

    SPEC = "spec"  # the spec says so
    TELEMETRY = "telemetry"  # computed from what was measured
    POLICY = "policy"  # a rule of the policy
    PERSON = "person"  # somebody asked for it
    DEFAULT = "default"  # the usual, where nobody said otherwise


class Facet(StrEnum):
    """What of a stage or a guardrail a basis explains."""

    EXPOSURE = "exposure"
    AUDIENCE = "audience"
    HOLD = "hold"
    LIMIT = "limit"
    GUARD = "guard"  # why there is the guardrail at all
    MARGIN = "margin"


LONGEST_BASIS = 400
MOST_STAGES = 20


class Basis(Value):
    """What a number of the plan rests on: the spec's sentence, the telemetry's number, or a person's words.

    `text` may quote a spec or a person: it is data, to be escaped by whoever shows it.
    """

    source: Source
    of: Facet
    text: Annotated[str, Field(min_length=1, max_length=LONGEST_BASIS)]


# Left out where it is empty, so that the hash of a plan without it stays what it was.
Bases = Annotated[tuple[Basis, ...], Field(max_length=12, exclude_if=lambda bases: not bases)]


class Guardrail(Value):
    """A metric that must not get worse than `margin` times control while exposure rises.

    `margin` is a ratio above 1: with direction *increase* (errors) treatment's rate must stay below margin × control,
    with *decrease* (conversions) above control / margin. `min_sample` counts treatment's exposures. `ceiling` is the
    absolute rate that stands in for control once everyone is exposed; without it control's history is used.
    `of_split`: the metric counts assignments, which must be split as planned; direction and margin mean nothing then.
    """

    metric: Name
    direction: Direction = Direction.INCREASE
    margin: Annotated[float, Field(gt=1, le=100, allow_inf_nan=False)] = 2.0
    min_sample: Annotated[int, Field(ge=1)] = 100
    dispersion: Annotated[float, Field(ge=1, le=LARGEST_DISPERSION, allow_inf_nan=False)] = 1.0
    ceiling: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None = None
    on_fail: OnFail = OnFail.ROLL_BACK
    on_no_data: OnNoData = OnNoData.ROLL_BACK
    # Left out where it is not so, as the bases are.
    of_split: Annotated[bool, Field(exclude_if=lambda is_so: not is_so)] = False
    basis: Bases = ()

    @property
    def bare(self) -> "Guardrail":
        """What is demanded, without what it rests on."""
        return self.model_copy(update={"basis": ()})


class Stage(Value):
    """An exposure, and what must hold before the next one.

    A stage lasts at least `bake`; when no proof of safety has come by `time_limit` it pauses and asks a person.
    """

    exposure: Exposure
    bake: Duration
    time_limit: Duration
    guardrails: Annotated[tuple[Guardrail, ...], Field(min_length=1)]
    basis: Bases = ()


class Part(Value):
    """A segment's part of all requests: a tenant's, a region's. The label is data: escape it wherever it is shown."""

    segment: Annotated[str, Field(max_length=80)]
    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


Finite = Annotated[float, Field(allow_inf_nan=False)]


class Level(Value):
    """The mean and the standard deviation of a metric's values, in its unit: amounts, or latencies.

    `span` is the lowest and the highest mean in parts of that time, None where it was not cut into parts. `of_logs`: of
    the logs of their buckets' middles, where the source of a latency gives no sums.
    """

    mean: Annotated[float, Field(allow_inf_nan=False)]
    deviation: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    of_logs: Annotated[bool, Field(exclude_if=lambda is_so: not is_so)] = False
    span: Annotated[tuple[Finite, Finite] | None, Field(exclude_if=lambda span: span is None)] = None


class Expected(Value):
    """What a plan was made for: control's rate, and the quietest and the busiest pace, in requests a minute.

    `base_rate` is None for what is no rate; `level` is what a mean or a latency was.
    The pace is that of both arms together. Drift is what leaves a range around it (`tools.gates.drift`).
    Of a mix `mix` are its largest segments, and `mix_spread` how far it was from that at times, as a part of the
    requests (`tools.gates.mix`).
    """

    metric: Name
    base_rate: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None
    quietest: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    busiest: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    # Left out where they are empty, as the bases are.
    level: Annotated[Level | None, Field(exclude_if=lambda level: level is None)] = None
    mix: Annotated[tuple[Part, ...], Field(max_length=MOST_SEGMENTS, exclude_if=lambda mix: not mix)] = ()
    mix_spread: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, exclude_if=lambda spread: not spread)] = 0.0


class Plan(Value):
    """A staged plan for one flag in one environment.

    `burn_in` is how long a fresh treatment may warm up before its numbers count; `stale_after` is the age of the
    newest sample from which a metric counts as blind; `blind_budget` is how long a live stage may be blind before
    it is taken back; `check_every` is the time between two gate checks; `expected` is what was measured when it was
    made.
    """

    flag: Name
    environment: Name
    control: Name
    treatment: Name
    strategy: Strategy
    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=MOST_STAGES)]
    tags: tuple[Name, ...] = ()
    depends_on: tuple[Name, ...] = ()
    burn_in: Duration = timedelta(minutes=10)
    stale_after: Duration = timedelta(minutes=2)
    blind_budget: Duration = timedelta(minutes=5)
    check_every: Duration = timedelta(seconds=15)
    rationale: tuple[str, ...] = ()
    # Left out where it is empty, as the bases are.
    expected: Annotated[tuple[Expected, ...], Field(max_length=100, exclude_if=lambda expected: not expected)] = ()
    spec_author: str | None = None
    spec_sha256: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The plan as plain JSON values; `Plan.model_validate` reads it back to an equal plan."""
        return self.model_dump(mode="json")

    @property
    def sha256(self) -> str:
        """Hex digest of the canonical JSON: two plans with one digest are the same plan."""
        return hashlib.sha256(canonical_json(self.to_json()).encode()).hexdigest()

"""What a check of a gate is: its inputs, its answers, its assessment, and the row that keeps all of them.

`preparing` says what is to be measured now, `measuring` asks for it, `assessing` judges the answers.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.metadata import version
from importlib.resources import files
from typing import Annotated, Any

from pydantic import Field

from tools.canonical import canonical_json
from tools.errors import SluiceError
from tools.gates import Harm, Verdict
from tools.metrics.base import Sample
from tools.plans.model import Expected, Exposure, Guardrail, Mode, Plan, Value
from tools.records.models import GateCheck, Rollout, new_id
from tools.rollouts.judging import Numbers

JUDGED_BY = ("tools", "tools.gates", "tools.metrics", "tools.plans", "tools.records", "tools.rollouts")
"""The packages that judging imports from."""


def _code_version() -> str:
    """The release, and what tells its judging code from any other's: what other code judged is no forgery."""
    code = hashlib.sha256()
    for package in JUDGED_BY:
        for file in sorted(files(package).iterdir(), key=lambda file: file.name):
            if file.name.endswith(".py"):
                code.update(file.read_bytes())
    return f"{version('sluicebot')}+{code.hexdigest()[:8]}.numpy{version('numpy')}"


CODE_VERSION = _code_version()
LARGEST_CEILING = 0.999
BOOKS = (*(mode.value for mode in Mode), "whole")
"""What evidence on a metric is kept apart by: its question differs."""

UNREADABLE = (SluiceError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
"""What reading back carried evidence may raise when another release wrote it or it is damaged."""

WhereNotZero = Annotated[float, Field(exclude_if=lambda number: not number)]


class Accepted(Value):
    """That what is found of a metric is accepted: by whom, and until when. `id` is the acceptance's."""

    id: str
    by: str
    until: datetime


class GuardrailInput(Value):
    """A guardrail, the window that is new since its last check, and what is carried so far (None: nothing yet).

    `whole`: everyone is exposed, there is no control; `ceiling` is the rate that stands in for it, if there is one.
    `error` is why the guardrail can't be asked about at all; `expected` is what the plan was made for, `numbers` what
    the metric's numbers are. `weight` is its part of the gate's levels of harm; a sample ratio has none of them.
    `accepted` says who accepted what is found of it, if that holds now.
    """

    guardrail: Guardrail
    key: str
    start: datetime
    end: datetime
    whole: bool
    ceiling: float | None
    carried: dict[str, Any] | None
    error: str | None = None
    expected: Expected | None = None
    numbers: Numbers = Numbers()
    # Left out where it is everything, as in rows of a release that gave each guardrail the whole level.
    weight: Annotated[float, Field(ge=0, le=1, exclude_if=lambda weight: weight == 1)] = 1.0
    accepted: Annotated[Accepted | None, Field(exclude_if=lambda accepted: accepted is None)] = None

    @property
    def minutes(self) -> float:
        """How long the window is."""
        return (self.end - self.start).total_seconds() / 60


class MixInput(Value):
    """A mix of traffic that is watched: the window that is new since its last check, what it is to be, what is carried.

    `error` is why it can't be asked about at all.
    """

    expected: Expected
    key: str
    start: datetime
    end: datetime
    carried: dict[str, Any] | None
    error: str | None = None

    @property
    def minutes(self) -> float:
        """How long the window is."""
        return (self.end - self.start).total_seconds() / 60


class Inputs(Value):
    """Everything a check's verdict rests on, besides the answers. Times are UTC."""

    at: datetime
    stage: int
    exposure: Exposure
    control: str
    treatment: str
    stage_since: datetime | None
    burn_in_ends: datetime | None
    bake_ends: datetime | None
    stale_after: timedelta
    guardrails: tuple[GuardrailInput, ...]
    # Left out where there is none, as in rows of a release that watched none.
    mixes: Annotated[tuple[MixInput, ...], Field(exclude_if=lambda mixes: not mixes)] = ()


class VariantCounts(Value):
    """One variant's numbers in an answer; `variant` is None for rows without one, an edge None for infinity."""

    variant: str | None
    exposures: int
    events: int
    total: WhereNotZero = 0.0
    total_squares: WhereNotZero = 0.0
    buckets: Annotated[tuple[tuple[float | None, int], ...], Field(exclude_if=lambda buckets: not buckets)] = ()
    segments: Annotated[tuple[tuple[str | None, int], ...], Field(exclude_if=lambda segments: not segments)] = ()

    @classmethod
    def of(cls, variant: str | None, sample: Sample) -> "VariantCounts":
        """As a row keeps a sample, in JSON, which knows no infinity."""
        buckets = tuple((None if math.isinf(edge) else edge, count) for edge, count in sample.buckets)
        return cls(
            variant=variant,
            exposures=sample.exposures,
            events=sample.events,
            total=sample.total,
            total_squares=sample.total_squares,
            buckets=buckets,
            segments=sample.segments,
        )

    @property
    def sample(self) -> Sample:
        """The sample that was kept."""
        buckets = tuple((math.inf if edge is None else edge, count) for edge, count in self.buckets)
        return Sample(self.exposures, self.events, self.total, self.total_squares, buckets, self.segments)


class Answer(Value):
    """A metric source's answer for one guardrail or mix, or the sentence of its error.

    The verdict rests on `variants` and `newest`. `raw` is what came back as JSON: every column of every row, with sums,
    sums of squares and buckets. `raw_cut` says what of it is not kept when it is longer than `measuring.RAW_LIMIT`.
    """

    metric: str
    query: str
    variants: tuple[VariantCounts, ...] = ()
    newest: datetime | None = None
    error: str | None = None
    raw: Any = None
    raw_cut: str | None = None


@dataclass(frozen=True, slots=True)
class Watched:
    """What is said of a mix of traffic; `drifted`: it is not as it was planned, `seen`: it could be looked at."""

    metric: str
    why: str
    drifted: bool = False
    seen: bool = True

    def to_json(self) -> dict[str, Any]:
        """As it is stored in the row."""
        return {"metric": self.metric, "why": self.why, "drifted": self.drifted, "seen": self.seen}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Watched":
        """What `to_json` wrote."""
        return cls(str(plain["metric"]), str(plain["why"]), bool(plain["drifted"]), bool(plain["seen"]))


@dataclass(frozen=True, slots=True)
class Assessment:
    """The gate's verdict, its guardrails' in the stage's order, and what is carried to the next check.

    `mixes` is what is said of the mixes of traffic that are watched, which decides nothing. `overruled` has, by their
    place, what those guardrails count as whose finding is accepted. `drifts` is what is not as planned, by the
    guardrail's metric.
    """

    verdict: Verdict
    by_guardrail: tuple[Verdict, ...]
    evidence: dict[str, Any]
    mixes: tuple[Watched, ...] = ()
    overruled: Mapping[int, Verdict] = field(default_factory=dict)
    drifts: Mapping[str, str] = field(default_factory=dict)

    @property
    def counted(self) -> tuple[Verdict, ...]:
        """What each guardrail counts as: what it shows, unless that is accepted."""
        return tuple(self.overruled.get(place, verdict) for place, verdict in enumerate(self.by_guardrail))

    def verdict_json(self) -> dict[str, Any]:
        """As it is stored in the row."""
        plain = {"gate": self.verdict.to_json(), "guardrails": [verdict.to_json() for verdict in self.by_guardrail]}
        counted = {"counted": [verdict.to_json() for verdict in self.counted]} if self.overruled else {}
        return plain | counted | ({"mixes": [one.to_json() for one in self.mixes]} if self.mixes else {})


def record(
    rollout: Rollout, plan: Plan, inputs: Inputs, answers: Sequence[Answer], assessment: Assessment
) -> GateCheck:
    """The row that keeps the check."""
    return GateCheck(
        id=new_id(),
        rollout_id=rollout.id,
        epoch=rollout.epoch,
        stage=inputs.stage,
        plan_sha256=plan.sha256,
        at=inputs.at,
        code_version=CODE_VERSION,
        inputs=inputs.model_dump(mode="json"),
        queries=[answer.query for answer in answers],
        answers=[answer.model_dump(mode="json") for answer in answers],
        evidence=assessment.evidence,
        verdict=assessment.verdict_json(),
        outcome=assessment.verdict.outcome.value,
    )


def digest(check: GateCheck) -> str:
    """Hex SHA-256 over what the check rests on and what it found; kept in the decision log with every action on it."""
    content = [check.id, check.rollout_id, check.inputs, check.answers, check.evidence, check.verdict]
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def harm_by_metric(check: GateCheck) -> dict[str, str]:
    """How much harm the check saw that was not accepted, for the metrics where it saw any."""
    metrics = [item["guardrail"]["metric"] for item in check.inputs["guardrails"]]
    seen = zip(metrics, check.verdict.get("counted", check.verdict["guardrails"]), strict=True)
    return {metric: verdict["harm"] for metric, verdict in seen if verdict["harm"] != Harm.NONE}


def number(carried: Any, name: str) -> float:
    """A number that is carried of a metric; 1 where there is none, or none that can be read."""
    value = carried.get(name) if isinstance(carried, dict) else None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 1.0


def sentence(metric: str, error: Exception) -> str:
    """What is said of a metric that could not be asked about or judged."""
    if isinstance(error, SluiceError):
        return str(error)
    return f"What is kept of {metric} can't be read ({type(error).__name__}); run `sluice audit verify`."

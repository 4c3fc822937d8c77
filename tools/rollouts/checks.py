"""One look at a gate: which windows are due, the measurements, the assessment, and the row that keeps all of it.

`assess` is pure and takes nothing but what the row stores, so a stored check can be judged again from itself alone.
"""

import asyncio
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Annotated, Any

import structlog
from pydantic import Field

from tools import gates
from tools.canonical import canonical_json
from tools.errors import InvalidInput, SluiceError
from tools.gates import (
    BadEvidence,
    CountEvidence,
    Counts,
    Direction,
    Harm,
    Outcome,
    Verdict,
)
from tools.gates import drift as drifting
from tools.gates.combined import combine
from tools.gates.drift import DriftEvidence, DriftTest
from tools.metrics.base import MetricQuery, Reading, Sample, Window
from tools.metrics.catalogue import MetricDefinition, MetricKind
from tools.metrics.quality import BOTH, Arm, Gap, Seen, find_gap
from tools.metrics.router import Metrics
from tools.plans.model import Expected, Exposure, Guardrail, Mode, OnFail, Plan, Value
from tools.records.models import GateCheck, Rollout, new_id
from tools.rollouts import judging
from tools.rollouts.judging import Numbers

CODE_VERSION = version("sluicebot")
OF_ANOTHER_TEST = "Earlier evidence was of another test and is not counted."
LARGEST_CEILING = 0.999
RAW_LIMIT = 20_000
"""Characters of JSON that a check keeps of each raw answer: about 150 rows."""
CLOCK_TOLERANCE = timedelta(seconds=2)
BASE_RATE_RANGE, TRAFFIC_RANGE, SHARE_RANGE = 3.0, 2.0, 2.0
"""How far from what a plan was made for things may be: as factors of the rate, the pace and the odds of treatment."""
SLOWEST_PACE = 0.01
"""Requests a minute, below which a pace says nothing."""
SHARE_SETTLES = timedelta(seconds=60)
"""How long after a change of share services may still ask with the old one: new assignments are left out till then."""

logger = structlog.get_logger(__name__)


class ClockWentBack(InvalidInput):
    """The last check is of a later moment than now: the clock was wrong then, or is now."""


BOOKS = (*(mode.value for mode in Mode), "whole")
"""What evidence on a metric is kept apart by: its question differs."""

UNREADABLE = (SluiceError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
"""What reading back carried evidence may raise when another release wrote it or it is damaged."""


WhereNotZero = Annotated[float, Field(exclude_if=lambda number: not number)]


class GuardrailInput(Value):
    """A guardrail, the window that is new since its last check, and what is carried so far (None: nothing yet).

    `whole`: everyone is exposed, there is no control; `ceiling` is the rate that stands in for it, if there is one.
    `error` is why the guardrail can't be asked about at all; `expected` is what the plan was made for, `numbers` what
    the metric's numbers are. `weight` is its part of the gate's levels of harm; a sample ratio has none of them.
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


class VariantCounts(Value):
    """One variant's numbers in an answer; `variant` is None for rows without one, an edge None for infinity."""

    variant: str | None
    exposures: int
    events: int
    total: WhereNotZero = 0.0
    total_squares: WhereNotZero = 0.0
    buckets: Annotated[tuple[tuple[float | None, int], ...], Field(exclude_if=lambda buckets: not buckets)] = ()

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
        )

    @property
    def sample(self) -> Sample:
        """The sample that was kept."""
        buckets = tuple((math.inf if edge is None else edge, count) for edge, count in self.buckets)
        return Sample(self.exposures, self.events, self.total, self.total_squares, buckets)


class Answer(Value):
    """A metric source's answer for one guardrail, or the sentence of its error.

    The verdict rests on `variants` and `newest`. `raw` is what came back as JSON: every column of every row, with sums,
    sums of squares and buckets. `raw_cut` says what of it is not kept when it is longer than RAW_LIMIT.
    """

    metric: str
    query: str
    variants: tuple[VariantCounts, ...] = ()
    newest: datetime | None = None
    error: str | None = None
    raw: Any = None
    raw_cut: str | None = None


@dataclass(frozen=True, slots=True)
class Assessment:
    """The gate's verdict, its guardrails' in the stage's order, and what is carried to the next check."""

    verdict: Verdict
    by_guardrail: tuple[Verdict, ...]
    evidence: dict[str, Any]

    def verdict_json(self) -> dict[str, Any]:
        """As it is stored in the row."""
        return {"gate": self.verdict.to_json(), "guardrails": [verdict.to_json() for verdict in self.by_guardrail]}


def prepare(rollout: Rollout, plan: Plan, *, at: datetime, define: Callable[[str], MetricDefinition]) -> Inputs:
    """What is to be measured now. `define` gives what the catalogue says of a metric; it raises UnknownMetric."""
    assert rollout.stage is not None
    stage, since = plan.stages[rollout.stage], rollout.exposed_since
    expected = {one.metric: one for one in plan.expected}
    parts = _weights(rollout, plan, define)
    settled = Exposure.model_validate(rollout.settled)
    in_force = rollout.stage_since if settled == stage.exposure else None
    burn_in_ends = since + plan.burn_in if since is not None else None
    return Inputs(
        at=at,
        stage=rollout.stage,
        exposure=settled,
        control=plan.control,
        treatment=plan.treatment,
        stage_since=rollout.stage_since,
        burn_in_ends=burn_in_ends,
        bake_ends=rollout.stage_since + stage.bake if rollout.stage_since is not None else None,
        stale_after=plan.stale_after,
        guardrails=tuple(
            # Bare: what a plan rests on is kept with the plan, not four times a minute with each check.
            _guardrail_input(guardrail.bare, rollout, burn_in_ends, in_force, at, define).model_copy(
                update={"expected": expected.get(guardrail.metric), "weight": parts[guardrail.metric]}
            )
            for guardrail in stage.guardrails
        ),
    )


async def measure(inputs: Inputs, plan: Plan, metrics: Metrics) -> tuple[Answer, ...]:
    """Ask for every guardrail's window at once; an error is an answer too."""
    return tuple(await asyncio.gather(*(_ask(item, plan, metrics) for item in inputs.guardrails)))


def assess(inputs: Inputs, answers: Sequence[Answer]) -> Assessment:
    """Judge the answers. Pure, and total: whatever is wrong with an answer becomes its guardrail's ERROR or NO_DATA."""
    verdicts, carried = list[Verdict](), dict[str, Any]()
    for item, answer in zip(inputs.guardrails, answers, strict=True):
        try:
            verdict, kept = _assess_one(inputs, item, answer)
        except UNREADABLE as error:
            verdict, kept = _unasked(item, _sentence(item.guardrail.metric, error)), item.carried
        verdicts.append(verdict)
        if kept is not None:
            carried[item.key] = kept
    gate, by_guardrail = _together(inputs, verdicts)
    return Assessment(gate, by_guardrail, carried)


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


def judge_again(check: GateCheck) -> Assessment:
    """The assessment computed afresh from the row alone."""
    return assess(Inputs.model_validate(check.inputs), [Answer.model_validate(plain) for plain in check.answers])


def digest(check: GateCheck) -> str:
    """Hex SHA-256 over what the check rests on and what it found; kept in the decision log with every action on it."""
    content = [check.id, check.rollout_id, check.inputs, check.answers, check.evidence, check.verdict]
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def harm_by_metric(check: GateCheck) -> dict[str, str]:
    """How much harm the check saw, for the metrics where it saw any."""
    metrics = [item["guardrail"]["metric"] for item in check.inputs["guardrails"]]
    seen = zip(metrics, check.verdict["guardrails"], strict=True)
    return {metric: verdict["harm"] for metric, verdict in seen if verdict["harm"] != Harm.NONE}


def _weights(rollout: Rollout, plan: Plan, define: Callable[[str], MetricDefinition]) -> dict[str, float]:
    """Each metric's part of the gate's levels of harm: the same for all of the plan that share them, in every stage.

    While evidence goes on a weight never rises, so that it can't follow what was seen: a plan that is revised in flight
    shares the level among more, and gives nothing back to those that stay (`tools.gates.combined` says what that is
    worth).
    """
    fresh = weights(plan, define)
    return {metric: weight and min(weight, _weight_so_far(metric, rollout)) for metric, weight in fresh.items()}


def weights(plan: Plan, define: Callable[[str], MetricDefinition]) -> dict[str, float]:
    """Each metric's part of the gate's levels of harm before anything is seen; 0 for what shares none."""
    metrics = {guardrail.metric for stage in plan.stages for guardrail in stage.guardrails}
    sharing = {metric for metric in metrics if _shares_level(metric, define)}
    return {metric: 1 / len(sharing) if metric in sharing else 0.0 for metric in metrics}


def _shares_level(metric: str, define: Callable[[str], MetricDefinition]) -> bool:
    try:
        return Numbers.of(define(metric)).by_chance
    except SluiceError:
        # What the catalogue does not know now, it may know at the next check.
        return True


def _weight_so_far(metric: str, rollout: Rollout) -> float:
    carried = [rollout.evidence.get(f"{metric}:{book}") for book in BOOKS]
    found = [_number(one, "weight") for one in carried]
    return min([weight for weight in found if 0 < weight <= 1], default=1.0)


def _guardrail_input(
    guardrail: Guardrail,
    rollout: Rollout,
    burn_in_ends: datetime | None,
    in_force: datetime | None,
    at: datetime,
    define: Callable[[str], MetricDefinition],
) -> GuardrailInput:
    """Total: what can't be asked about becomes the guardrail's error, because a gate that fails must count as blind.

    `in_force` is since when the flag serves the stage's exposure; None while it doesn't.
    """
    exposure = Exposure.model_validate(rollout.settled)
    whole = exposure.leaves_no_control
    key = f"{guardrail.metric}:{'whole' if whole else exposure.mode.value}"
    carried = rollout.evidence.get(key)
    readable = carried if isinstance(carried, dict) else None
    try:
        definition = define(guardrail.metric)
        _check_kind(guardrail, definition)
        start, end = _window(guardrail.metric, rollout, whole, at, at - definition.settle)
        is_rate = definition.kind is MetricKind.RATIO
        ceiling = _ceiling(guardrail, rollout, carried) if whole and is_rate else None
    except UNREADABLE as error:
        why = _sentence(guardrail.metric, error)
        return GuardrailInput(
            guardrail=guardrail, key=key, start=at, end=at, whole=whole, ceiling=None, carried=readable, error=why
        )
    # A window is inside burn-in or after it, and of one stage only.
    for edge in (burn_in_ends, rollout.stage_since):
        if edge is not None and start < edge < end:
            end = edge
    if definition.kind is MetricKind.ASSIGNMENTS:
        start = _after_settling(in_force, start, end)
    return GuardrailInput(
        guardrail=guardrail,
        key=key,
        start=start,
        end=end,
        whole=whole,
        ceiling=ceiling,
        carried=readable,
        numbers=Numbers.of(definition),
    )


def _check_kind(guardrail: Guardrail, definition: MetricDefinition) -> None:
    """Raises InvalidInput when the catalogue's metric is no longer what the plan guards.

    Assignments prove no safety, so that a rate that became some in flight would let pass what it was to guard.
    """
    is_split = definition.kind is MetricKind.ASSIGNMENTS
    if guardrail.of_split is not is_split:
        planned, now = ("assignments", "none") if guardrail.of_split else ("no assignments", "some")
        raise InvalidInput(
            f"{guardrail.metric} was {planned} when the plan was made, and the catalogue says now that it is {now}: "
            "define it as it was, or revise the plan."
        )


def _window(metric: str, rollout: Rollout, whole: bool, at: datetime, complete: datetime) -> tuple[datetime, datetime]:
    """What is new of a metric: from where its last window ended, of whichever kind, to where its data is complete."""
    first = (rollout.stage_since if whole else rollout.exposed_since) or at
    carried = [rollout.evidence.get(f"{metric}:{book}") for book in BOOKS]
    ends = [datetime.fromisoformat(one["until"]) for one in carried if one is not None]
    start = max([first, *ends])
    if start > at + CLOCK_TOLERANCE:
        raise ClockWentBack(f"{metric} was last read up to {start:%H:%M:%S} UTC, which is not yet: see the clocks.")
    return start, max(start, complete)


def _after_settling(in_force: datetime | None, start: datetime, end: datetime) -> datetime:
    """From where on new assignments have the share in force; before that a window up to `end` is empty."""
    return end if in_force is None else min(max(start, in_force + SHARE_SETTLES), end)


def _ceiling(guardrail: Guardrail, rollout: Rollout, carried: dict[str, Any] | None) -> float | None:
    """The ceiling so far, or the one that there is to be."""
    if carried is not None:
        return float(carried["ceiling"])
    history = rollout.evidence.get(f"{guardrail.metric}:{Mode.LIVE.value}")
    if guardrail.ceiling is not None or history is None:
        return guardrail.ceiling
    return ceiling_for(guardrail, CountEvidence.from_json(history["gate"]).control)


def ceiling_for(guardrail: Guardrail, control: Counts) -> float | None:
    """What stands in for control at 100 %: the plan's ceiling, or else control's rate so far with the margin.

    None when control was never seen. Half an event is added to control's count, so that a control without events still
    gives a rate.
    """
    if guardrail.ceiling is not None or not control.exposures:
        return guardrail.ceiling
    rate = (control.events + 0.5) / (control.exposures + 1)
    if guardrail.direction is Direction.INCREASE:
        return min(rate * guardrail.margin, LARGEST_CEILING)
    return rate / guardrail.margin


def _sentence(metric: str, error: Exception) -> str:
    if isinstance(error, SluiceError):
        return str(error)
    return f"What is kept of {metric} can't be read ({type(error).__name__}); run `sluice audit verify`."


async def _ask(item: GuardrailInput, plan: Plan, metrics: Metrics) -> Answer:
    metric = item.guardrail.metric
    if item.error is not None:
        return Answer(metric=metric, query="", error=item.error)
    query = MetricQuery(metric, plan.flag, plan.environment, Window(item.start, item.end))
    try:
        return _answer(metric, await metrics.read(query))
    except SluiceError as error:
        return Answer(metric=metric, query=str(query), error=str(error))
    except Exception:
        # A driver's fault must count as blindness; it must never stop the watch.
        reference = new_id()[:8]
        logger.exception("metric.faulty", metric=metric, reference=reference)
        return Answer(metric=metric, query=str(query), error=f"Reading {metric} failed (reference {reference}).")


def _answer(metric: str, reading: Reading) -> Answer:
    variants = sorted(reading.by_variant.items(), key=lambda pair: str(pair[0]))
    raw, raw_cut = _bounded(reading.raw)
    return Answer(
        raw=raw,
        raw_cut=raw_cut,
        metric=metric,
        query=reading.query,
        newest=reading.newest,
        variants=tuple(VariantCounts.of(variant, sample) for variant, sample in variants),
    )


def _bounded(raw: Any) -> tuple[Any, str | None]:
    """As much of a raw answer as a row keeps, and what is missing; of a list its first items."""
    try:
        text = json.dumps(raw, allow_nan=False)
    except (TypeError, ValueError):
        return None, "The raw answer is not kept: it is no JSON."
    # As it is read back from the row, so that the check's digest is the same then.
    plain = json.loads(text)
    if len(text) <= RAW_LIMIT:
        return plain, None
    if not isinstance(plain, list):
        return None, f"The raw answer is not kept: it has {len(text):,} characters, at most {RAW_LIMIT:,} are kept."
    lengths = itertools.accumulate(len(json.dumps(item)) + len(", ") for item in plain)
    kept = plain[: sum(1 for length in lengths if length <= RAW_LIMIT)]
    return kept, f"The raw answer is cut: the first {len(kept):,} of {len(plain):,} rows are kept."


def _assess_one(inputs: Inputs, item: GuardrailInput, answer: Answer) -> tuple[Verdict, dict[str, Any] | None]:
    """One guardrail's verdict and what it carries on; an answer that can't be used leaves the carried as it was."""
    if answer.error is not None:
        return _unasked(item, answer.error), item.carried
    reading = _reading(answer)
    seen = _seen(inputs, item).after(reading, control=inputs.control, treatment=inputs.treatment, now=item.end)
    gap = find_gap(
        reading,
        seen,
        control=inputs.control,
        treatment=inputs.treatment,
        now=item.end,
        stale_after=inputs.stale_after,
        expected=_expected(inputs, item),
    )
    carried: dict[str, Any] = {
        "stage": inputs.stage,
        "in_stage": _in_stage(inputs, item, reading),
        "until": item.end.isoformat(),
        "ceiling": item.ceiling,
        "seen": seen.model_dump(mode="json"),
        "gate": None,
        "drift": None,
    }
    if item.numbers.kind is MetricKind.ASSIGNMENTS:
        verdict, carried["gate"] = _judge_assignments(inputs, item, reading, gap)
        return verdict, carried
    drift, carried["drift"], incident_before = _drift(inputs, item, reading)
    verdict, carried["gate"] = _judge(inputs, item, reading, unproven=incident_before)
    if item.weight < 1:
        carried |= {"weight": item.weight, "harm_e": verdict.harm_e}
    if item.numbers.objective is not None:
        verdict, carried["budget"] = _weigh_budget(inputs, item, reading, verdict)
    verdict = drifting.weigh(verdict, drift, compared=not item.whole)
    return _weigh(inputs, item, verdict, gap, carried["in_stage"]), carried


def _unasked(item: GuardrailInput, why: str) -> Verdict:
    """ERROR; what the guardrail has shown so far still counts towards what all show together."""
    return _of_kind(item, replace(gates.error(why), harm_e=_harm_so_far(item)))


def _of_kind(item: GuardrailInput, verdict: Verdict) -> Verdict:
    """A sample ratio never rolls back, for blindness neither."""
    return verdict if item.numbers.by_chance else replace(verdict, rollback_from=None)


def _harm_so_far(item: GuardrailInput) -> float:
    """The e-value that the last check left; kept only where guardrails share a level."""
    return max(_number(item.carried, "harm_e"), 0.0)


def _number(carried: Any, name: str) -> float:
    """A number that is carried; 1 where there is none, or none that can be read."""
    value = carried.get(name) if isinstance(carried, dict) else None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 1.0


def _together(inputs: Inputs, verdicts: Sequence[Verdict]) -> tuple[Verdict, tuple[Verdict, ...]]:
    """The gate's verdict, and its guardrails' with what they show only together."""
    weights = [item.weight for item in inputs.guardrails]
    if sum(weights) > 1 + 1e-9:
        # The row of an earlier release: each guardrail had the whole level, and stood alone.
        return gates.worst(verdicts), tuple(verdicts)
    rolls_back = [item.guardrail.on_fail is OnFail.ROLL_BACK for item in inputs.guardrails]
    found = combine(verdicts, weights, rolls_back=rolls_back)
    proofs = any(item.numbers.by_chance for item in inputs.guardrails)
    if found.verdict.outcome is not Outcome.PASS or proofs:
        return found.verdict, found.by_guardrail
    why = f"Assignments alone prove no safety: guard the stage with a rate, a mean or a latency. {found.verdict.why}"
    return replace(found.verdict, outcome=Outcome.INCONCLUSIVE, why=why), found.by_guardrail


def _judge_assignments(
    inputs: Inputs, item: GuardrailInput, reading: Reading, gap: Gap | None
) -> tuple[Verdict, dict[str, Any] | None]:
    """Whether treatment gets its share of new assignments. That finds a fault, and proves no safety.

    A mismatch is suspicion, on which the rollout pauses. Everything else but blindness lets the other guardrails
    decide: no fault that was found so far is all there is to find, however few the assignments. The planned share holds
    for everyone: what an audience is of everyone isn't known, as for the drift of the share.
    """
    share, stored = inputs.exposure.percent / 100, item.carried["gate"] if item.carried else None
    if not (0 < share < 1 and inputs.exposure.audience.everyone):
        why = f"At {inputs.exposure} the share of new assignments can't be judged, so it holds nothing."
        return Verdict(Outcome.PASS, why, pause_from=None, rollback_from=None), stored
    control, treatment = _sample(reading, inputs.control), _sample(reading, inputs.treatment)
    try:
        verdict, evidence = judging.judge_assignments(share, control, treatment, stored)
    except BadEvidence:
        verdict, evidence = judging.judge_assignments(share, control, treatment, None)
        verdict = replace(verdict, why=f"{verdict.why} {OF_ANOTHER_TEST}")
    if gap is not None:
        verdict = replace(verdict, outcome=Outcome.NO_DATA, no_data=gap.kind, why=f"{gap.sentence} {verdict.why}")
    elif verdict.harm is Harm.NONE:
        verdict = replace(verdict, outcome=Outcome.PASS, no_data=None)
    return _of_kind(item, verdict), evidence


def _weigh_budget(
    inputs: Inputs, item: GuardrailInput, reading: Reading, verdict: Verdict
) -> tuple[Verdict, dict[str, Any]]:
    """The verdict with what treatment's error budget shows; what comes while it burns in is not counted."""
    objective, stored = item.numbers.objective, item.carried.get("budget") if item.carried else None
    assert objective is not None
    minutes = 0.0 if _burning_in(inputs, item) else (item.end - item.start).total_seconds() / 60
    treatment = _sample(reading, inputs.treatment)

    def weighed(stored: dict[str, Any] | None) -> tuple[Verdict, dict[str, Any]]:
        return judging.weigh_budget(
            verdict, objective, item.guardrail, treatment, stored, minutes=minutes, compared=not item.whole
        )

    try:
        return weighed(stored)
    except BadEvidence:
        found, evidence = weighed(None)
        return replace(found, why=f"{found.why} What its error budget was spent on before is not counted."), evidence


def _in_stage(inputs: Inputs, item: GuardrailInput, reading: Reading) -> int:
    """Treatment's exposures so far at this stage's exposure."""
    before = item.carried["in_stage"] if item.carried and item.carried["stage"] == inputs.stage else 0
    of_this_stage = inputs.stage_since is not None and item.start >= inputs.stage_since
    return int(before) + (_counts(reading, inputs.treatment).exposures if of_this_stage else 0)


def _expected(inputs: Inputs, item: GuardrailInput) -> frozenset[Arm]:
    """Whose data must come: nobody's treatment while the flag is at 0 %, nobody's control at 100 %."""
    if not inputs.exposure.percent:
        return frozenset({Arm.CONTROL})
    return frozenset({Arm.TREATMENT}) if item.whole else BOTH


def _drift(
    inputs: Inputs, item: GuardrailInput, reading: Reading
) -> tuple[drifting.Drift, dict[str, Any] | None, bool]:
    """What has left its range, what is carried of it, and whether there was a shared incident before this window."""
    test = _drift_test(inputs, item)
    if test is None:
        return drifting.Drift(), None, False
    try:
        evidence = DriftEvidence.from_json(item.carried["drift"]) if item.carried else DriftEvidence()
    except (BadEvidence, KeyError):
        # Nothing was carried by an earlier release, or it can't be read: what goes on is found anew within minutes.
        evidence = DriftEvidence()
    before = drifting.judge(test, evidence).incident
    minutes = (item.end - item.start).total_seconds() / 60
    evidence = drifting.update(
        test, evidence, minutes, _counts(reading, inputs.control), _counts(reading, inputs.treatment)
    )
    return drifting.judge(test, evidence), evidence.to_json(), before


def _drift_test(inputs: Inputs, item: GuardrailInput) -> DriftTest | None:
    """The ranges around what the plan was made for; None for a plan that does not say."""
    expected, exposure = item.expected, inputs.exposure
    if expected is None:
        return None
    share = exposure.percent / 100
    base_rate = expected.base_rate if item.numbers.kind is MetricKind.RATIO else None
    return DriftTest(
        item.guardrail.direction,
        base_rate=drifting.within(base_rate, BASE_RATE_RANGE) if base_rate is not None and not item.whole else None,
        traffic=(max(expected.quietest / TRAFFIC_RANGE, SLOWEST_PACE), expected.busiest * TRAFFIC_RANGE),
        share=drifting.share_within(share, SHARE_RANGE) if 0 < share < 1 and exposure.audience.everyone else None,
        dispersion=item.guardrail.dispersion,
    )


def _judge(inputs: Inputs, item: GuardrailInput, reading: Reading, *, unproven: bool) -> tuple[Verdict, dict[str, Any]]:
    """The statistics' word on the evidence so far, this window included.

    `unproven`: this window proves no safety, because a shared incident makes the arms fail alike. Carried evidence of
    another question (another release's grid, a plan's other margin) can't be added to: it starts anew, and the verdict
    says so.
    """
    stored = item.carried["gate"] if item.carried else None
    try:
        verdict, evidence = _judge_on(inputs, item, reading, stored, unproven=unproven)
    except BadEvidence:
        if stored is None:
            raise
        verdict, evidence = _judge_on(inputs, item, reading, None, unproven=unproven)
        return replace(verdict, why=f"{verdict.why} {OF_ANOTHER_TEST}"), evidence
    if verdict.outcome is Outcome.NO_DATA:
        # Nothing new was compared, so what was shown before stands.
        verdict = replace(verdict, harm_e=_harm_so_far(item))
    return verdict, evidence


def _judge_on(
    inputs: Inputs, item: GuardrailInput, reading: Reading, stored: dict[str, Any] | None, *, unproven: bool
) -> tuple[Verdict, dict[str, Any]]:
    control, treatment = _sample(reading, inputs.control), _sample(reading, inputs.treatment)
    numbers, rail, burning_in = item.numbers, item.guardrail, _burning_in(inputs, item)
    if item.whole:
        return judging.judge_alone(
            numbers, rail, item.ceiling, treatment, stored, burning_in=burning_in, weight=item.weight
        )
    return judging.judge(
        numbers, rail, control, treatment, stored, burning_in=burning_in, unproven=unproven, weight=item.weight
    )


def _burning_in(inputs: Inputs, item: GuardrailInput) -> bool:
    return inputs.burn_in_ends is not None and item.start < inputs.burn_in_ends


def _weigh(inputs: Inputs, item: GuardrailInput, verdict: Verdict, gap: Gap | None, in_stage: int) -> Verdict:
    """Harm stands whatever else is wrong; blindness outweighs the rest; a proof needs data of its own stage.

    Evidence is carried from stage to stage, so that it may prove something before this stage's data has come: the bake
    time is measured in data (the window's end), and the minimum sample counts at this stage's exposure.
    """
    if verdict.outcome is Outcome.FAIL:
        return verdict
    if gap is not None:
        return replace(verdict, outcome=Outcome.NO_DATA, no_data=gap.kind, why=gap.sentence)
    if verdict.outcome is Outcome.NO_DATA:
        # Nothing came yet, but not for so long that it means anything: a fresh stage waits for its first data.
        return replace(verdict, outcome=Outcome.INCONCLUSIVE, no_data=None)
    if verdict.outcome is not Outcome.PASS:
        return verdict
    if inputs.bake_ends is None or item.end < inputs.bake_ends:
        return replace(verdict, outcome=Outcome.INCONCLUSIVE, why=f"{verdict.why} The bake time is not over.")
    if in_stage < item.guardrail.min_sample:
        few = f"{verdict.why} This stage has {in_stage:,} of the {item.guardrail.min_sample:,} it needs."
        return replace(verdict, outcome=Outcome.INCONCLUSIVE, why=few)
    return verdict


def _seen(inputs: Inputs, item: GuardrailInput) -> Seen:
    """What was seen in this stage; silence is counted anew from each change of exposure."""
    if item.numbers.kind is MetricKind.ASSIGNMENTS and item.start == item.end:
        # Nothing was asked for while a new share settles.
        return Seen(since=item.end)
    if item.carried is not None and item.carried["stage"] == inputs.stage:
        return Seen.model_validate(item.carried["seen"])
    return Seen(since=item.start)


def _reading(answer: Answer) -> Reading:
    return Reading(
        by_variant={item.variant: item.sample for item in answer.variants}, query=answer.query, newest=answer.newest
    )


def _sample(reading: Reading, variant: str) -> Sample:
    return reading.by_variant.get(variant, Sample(exposures=0))


def _counts(reading: Reading, variant: str) -> Counts:
    return judging.counts_of(_sample(reading, variant))

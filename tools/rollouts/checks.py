"""One look at a gate: which windows are due, the measurements, the assessment, and the row that keeps all of it.

`assess` is pure and takes nothing but what the row stores, so a stored check can be judged again from itself alone.
"""

import asyncio
import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Any

import structlog

from tools import gates
from tools.canonical import canonical_json
from tools.errors import InvalidInput, SluiceError
from tools.gates import (
    BadEvidence,
    CeilingEvidence,
    CeilingTest,
    CountEvidence,
    Counts,
    CountTest,
    Direction,
    Harm,
    Outcome,
    Verdict,
)
from tools.metrics.base import MetricQuery, Reading, Sample, Window
from tools.metrics.quality import BOTH, Arm, Gap, Seen, find_gap
from tools.metrics.router import Metrics
from tools.plans.model import Exposure, Guardrail, Mode, Plan, Value
from tools.records.models import GateCheck, Rollout, new_id

CODE_VERSION = version("sluicebot")
LARGEST_CEILING = 0.999
RAW_LIMIT = 20_000
"""Characters of JSON that a check keeps of each raw answer: about 150 rows."""
CLOCK_TOLERANCE = timedelta(seconds=2)

logger = structlog.get_logger(__name__)


class NoCeiling(InvalidInput):
    """A stage exposes everyone and nothing stands in for control."""


class ClockWentBack(InvalidInput):
    """The last check is of a later moment than now: the clock was wrong then, or is now."""


UNREADABLE = (SluiceError, ValueError, KeyError, TypeError)
"""What reading back carried evidence may raise when another release wrote it or it is damaged."""


class GuardrailInput(Value):
    """A guardrail, the window that is new since its last check, and what is carried so far (None: nothing yet).

    `whole`: everyone is exposed, there is no control; `ceiling` is the rate that stands in for it, if there is one.
    `error` is why the guardrail can't be asked about at all.
    """

    guardrail: Guardrail
    key: str
    start: datetime
    end: datetime
    whole: bool
    ceiling: float | None
    carried: dict[str, Any] | None
    error: str | None = None


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
    """One variant's numbers in an answer; `variant` is None for rows without one."""

    variant: str | None
    exposures: int
    events: int


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


def prepare(rollout: Rollout, plan: Plan, *, at: datetime, settle: Callable[[str], timedelta]) -> Inputs:
    """What is to be measured now. `settle` tells how long after a moment a metric's data is complete."""
    assert rollout.stage is not None
    stage, since = plan.stages[rollout.stage], rollout.exposed_since
    burn_in_ends = since + plan.burn_in if since is not None else None
    return Inputs(
        at=at,
        stage=rollout.stage,
        exposure=Exposure.model_validate(rollout.settled),
        control=plan.control,
        treatment=plan.treatment,
        stage_since=rollout.stage_since,
        burn_in_ends=burn_in_ends,
        bake_ends=rollout.stage_since + stage.bake if rollout.stage_since is not None else None,
        stale_after=plan.stale_after,
        guardrails=tuple(
            # Bare: what a plan rests on is kept with the plan, not four times a minute with each check.
            _guardrail_input(guardrail.bare, rollout, burn_in_ends, at, settle)
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
            verdict, kept = gates.error(_sentence(item.guardrail.metric, error)), item.carried
        verdicts.append(verdict)
        if kept is not None:
            carried[item.key] = kept
    return Assessment(gates.worst(verdicts), tuple(verdicts), carried)


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


def _guardrail_input(
    guardrail: Guardrail,
    rollout: Rollout,
    burn_in_ends: datetime | None,
    at: datetime,
    settle: Callable[[str], timedelta],
) -> GuardrailInput:
    """Total: what can't be asked about becomes the guardrail's error, because a gate that fails must count as blind."""
    exposure = Exposure.model_validate(rollout.settled)
    whole = exposure.leaves_no_control
    key = f"{guardrail.metric}:{'whole' if whole else exposure.mode.value}"
    carried = rollout.evidence.get(key)
    try:
        start, end = _window(guardrail.metric, rollout, whole, at, at - settle(guardrail.metric))
        ceiling = _ceiling(guardrail, rollout, carried) if whole else None
    except UNREADABLE as error:
        why = _sentence(guardrail.metric, error)
        return GuardrailInput(
            guardrail=guardrail, key=key, start=at, end=at, whole=whole, ceiling=None, carried=carried, error=why
        )
    # A window is inside burn-in or after it, and of one stage only.
    for edge in (burn_in_ends, rollout.stage_since):
        if edge is not None and start < edge < end:
            end = edge
    return GuardrailInput(
        guardrail=guardrail, key=key, start=start, end=end, whole=whole, ceiling=ceiling, carried=carried
    )


def _window(metric: str, rollout: Rollout, whole: bool, at: datetime, complete: datetime) -> tuple[datetime, datetime]:
    """What is new of a metric: from where its last window ended, of whichever kind, to where its data is complete."""
    first = (rollout.stage_since if whole else rollout.exposed_since) or at
    kinds = (*(mode.value for mode in Mode), "whole")
    carried = [rollout.evidence.get(f"{metric}:{kind}") for kind in kinds]
    ends = [datetime.fromisoformat(one["until"]) for one in carried if one is not None]
    start = max([first, *ends])
    if start > at + CLOCK_TOLERANCE:
        raise ClockWentBack(f"{metric} was last read up to {start:%H:%M:%S} UTC, which is not yet: see the clocks.")
    return start, max(start, complete)


def _ceiling(guardrail: Guardrail, rollout: Rollout, carried: dict[str, Any] | None) -> float | None:
    """The ceiling so far, or the plan's, or else control's rate with the margin; None when control was never seen.

    Half an event is added to control's count, so that a control without events still gives a rate.
    """
    if carried is not None:
        return float(carried["ceiling"])
    if guardrail.ceiling is not None:
        return guardrail.ceiling
    history = rollout.evidence.get(f"{guardrail.metric}:{Mode.LIVE.value}")
    if history is None:
        return None
    control = CountEvidence.from_json(history["gate"]).control
    if not control.exposures:
        return None
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
        variants=tuple(
            VariantCounts(variant=variant, exposures=sample.exposures, events=sample.events)
            for variant, sample in variants
        ),
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
        return gates.error(answer.error), item.carried
    reading = _reading(answer)
    seen = _seen(inputs, item).after(reading, control=inputs.control, treatment=inputs.treatment, now=item.end)
    verdict, evidence = _judge(inputs, item, reading)
    in_stage = _in_stage(inputs, item, reading)
    carried = {
        "stage": inputs.stage,
        "in_stage": in_stage,
        "until": item.end.isoformat(),
        "ceiling": item.ceiling,
        "seen": seen.model_dump(mode="json"),
        "gate": evidence,
    }
    gap = find_gap(
        reading,
        seen,
        control=inputs.control,
        treatment=inputs.treatment,
        now=item.end,
        stale_after=inputs.stale_after,
        expected=_expected(inputs, item),
    )
    return _weigh(inputs, item, verdict, gap, in_stage), carried


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


def _judge(inputs: Inputs, item: GuardrailInput, reading: Reading) -> tuple[Verdict, dict[str, Any]]:
    """The statistics' word on the evidence so far, this window included.

    Carried evidence of another question (another release's grid, a plan's other margin) can't be added to: it starts
    anew, and the verdict says so.
    """
    stored = item.carried["gate"] if item.carried else None
    try:
        return _judge_on(inputs, item, reading, stored)
    except BadEvidence:
        if stored is None:
            raise
        verdict, evidence = _judge_on(inputs, item, reading, None)
        return replace(verdict, why=f"{verdict.why} Earlier evidence was of another test and is not counted."), evidence


def _judge_on(
    inputs: Inputs, item: GuardrailInput, reading: Reading, stored: dict[str, Any] | None
) -> tuple[Verdict, dict[str, Any]]:
    burning_in = inputs.burn_in_ends is not None and item.start < inputs.burn_in_ends
    treatment, rail = _counts(reading, inputs.treatment), item.guardrail
    if not item.whole:
        test = CountTest(rail.direction, rail.margin, dispersion=rail.dispersion, min_sample=rail.min_sample)
        evidence = CountEvidence.from_json(stored) if stored else CountEvidence.start(test)
        evidence = gates.update(test, evidence, _counts(reading, inputs.control), treatment, burning_in=burning_in)
        return gates.judge(test, evidence), evidence.to_json()
    if item.ceiling is None:
        raise NoCeiling(
            f"Everyone is exposed, so {rail.metric} has no control left, and control was never seen before: "
            "give the guardrail a ceiling."
        )
    ceiling = CeilingTest(
        rail.direction, item.ceiling, rail.margin, dispersion=rail.dispersion, min_sample=rail.min_sample
    )
    alone = CeilingEvidence.from_json(stored) if stored else CeilingEvidence.start(ceiling)
    alone = gates.update_ceiling(ceiling, alone, treatment, burning_in=burning_in)
    return gates.judge_ceiling(ceiling, alone), alone.to_json()


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
    if item.carried is not None and item.carried["stage"] == inputs.stage:
        return Seen.model_validate(item.carried["seen"])
    return Seen(since=item.start)


def _reading(answer: Answer) -> Reading:
    samples = {item.variant: Sample(exposures=item.exposures, events=item.events) for item in answer.variants}
    return Reading(by_variant=samples, query=answer.query, newest=answer.newest)


def _counts(reading: Reading, variant: str) -> Counts:
    sample = reading.by_variant.get(variant, Sample(exposures=0))
    return Counts(sample.exposures, sample.events)

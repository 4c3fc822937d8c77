"""What a gate waits for, and how long that should take at the present pace.

The answer is that of `tools.gates.remaining`, from the evidence that is carried and what the newest checks counted.
`expect` and `outlook` are pure; `expectations` reads what they need.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import select

from tools.clock import in_words, written
from tools.errors import InvalidInput
from tools.gates import (
    CeilingEvidence,
    CountEvidence,
    CountTest,
    Harm,
    Minutes,
    Outcome,
    Traffic,
    Verdict,
    amount,
    latency,
    means,
)
from tools.gates.amounts import Amounts, LatencyTraffic, MeanTraffic
from tools.gates.assignment import AssignmentTest, information_needed
from tools.gates.histograms import Histogram
from tools.gates.remaining import (
    Seen,
    ceiling_left,
    latency_left,
    mean_left,
    rate_left,
    seen_of_ceiling,
    seen_of_latency,
    seen_of_mean,
    seen_of_rate,
)
from tools.metrics.base import Sample, together
from tools.metrics.catalogue import MetricKind
from tools.plans.model import Guardrail
from tools.records.database import Database
from tools.records.models import GateCheck
from tools.rollouts import checks, judging
from tools.rollouts.decisions import is_blind
from tools.rollouts.judging import Numbers
from tools.rollouts.phases import LIVE, Phase
from tools.rollouts.views import RolloutView

PACE_CHECKS = 40
"""From how many of the newest checks the pace is taken."""
LONGEST = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Pace:
    """What was counted lately, in `minutes` of data."""

    minutes: float
    treatment: Sample
    control: Sample

    @property
    def requests_per_minute(self) -> float:
        """Of both arms."""
        return (self.treatment.exposures + self.control.exposures) / self.minutes

    @property
    def share(self) -> float:
        """Treatment's part of the requests."""
        return self.treatment.exposures / (self.treatment.exposures + self.control.exposures)


@dataclass(frozen=True, slots=True)
class Awaited:
    """A guardrail and where it stands.

    `in_stage` are treatment's exposures of this stage; everyone is exposed if `whole`, and then `ceiling` stands in for
    control. `burn_in_left` passes before anything counts; `numbers` is what the metric's numbers are, and `evidence`
    what the gate carries, None before there is any.
    """

    guardrail: Guardrail
    verdict: Verdict
    pace: Pace
    in_stage: int
    whole: bool = False
    ceiling: float | None = None
    burn_in_left: timedelta = timedelta(0)
    numbers: Numbers = field(default_factory=Numbers)
    evidence: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Expectation:
    """When a guardrail should be proven and have its sample, from now; None: not at this pace. `why` is a sentence."""

    metric: str
    wait: Minutes | None
    why: str


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the stage lasts at least, and until its limit; None where the stage's exposure is not confirmed."""

    bake_left: timedelta | None
    limit_left: timedelta | None


def expect(awaited: Awaited) -> Expectation:
    """What the guardrail waits for and how long that should take."""
    rail, verdict = awaited.guardrail, awaited.verdict
    if is_blind(verdict):
        return Expectation(rail.metric, None, f"{rail.metric} waits for data: {verdict.why}")
    if verdict.outcome is Outcome.FAIL:
        return Expectation(rail.metric, None, f"{rail.metric} is proven harmful, so it waits for nothing.")
    if awaited.numbers.kind is MetricKind.ASSIGNMENTS:
        return _split(awaited)
    proof, said = _proof(awaited)
    sample = _sample(awaited)
    if proof is None or sample is None:
        return Expectation(rail.metric, None, f"{rail.metric} {said}.")
    left = max(0, rail.min_sample - awaited.in_stage)
    if left:
        said += f", and waits for {left:,} more of {rail.min_sample:,} exposures, about {_words(sample)} more"
    return Expectation(
        rail.metric, Minutes(max(proof.median, sample), max(proof.p90, sample)), f"{rail.metric} {said}."
    )


def outlook(phase: Phase, expected: Sequence[Expectation], timing: Timing) -> list[str]:
    """What the gate as a whole waits for, in sentences, after its guardrails'."""
    lines = [one.why for one in expected]
    if timing.bake_left is None:
        return [*lines, "The stage's exposure is still being confirmed."]
    if timing.bake_left > timedelta(0):
        lines.append(f"The stage lasts {in_words(timing.bake_left)} more at least.")
    if phase is Phase.PAUSED:
        return [*lines, "It is paused, so nothing goes on until someone resumes."]
    if phase is Phase.WAITING_PROMOTION:
        return [*lines, "It waits for people."]
    return [*lines, _verdict_of(expected, timing.bake_left.total_seconds() / 60, timing.limit_left)]


async def expectations(
    database: Database, view: RolloutView, *, now: datetime, newest_checks: int = PACE_CHECKS
) -> list[str]:
    """What the rollout's gate waits for and how long that should take; empty when no stage is in force.

    The last line is about the gate as a whole. The pace is that of the `newest_checks`.
    """
    if view.check is None or view.stage is None or view.phase not in LIVE:
        return []
    query = select(GateCheck).where(GateCheck.rollout_id == view.id, GateCheck.stage == view.stage)
    async with database.read() as session:
        found = (await session.scalars(query.order_by(GateCheck.at.desc()).limit(newest_checks))).all()
    newest = next((check for check in found if check.id == view.check.id), None)
    if newest is None:
        return ["The stage has not been checked yet."]
    seen = [(checks.Inputs.model_validate(check.inputs), _answers(check)) for check in found]
    inputs = checks.Inputs.model_validate(newest.inputs)
    awaited = [
        (_awaited(item, verdict, newest, seen, inputs), item.accepted)
        for item, (_, verdict, _) in zip(inputs.guardrails, view.check.guardrails, strict=True)
    ]
    # Each is sampled, which takes some 10 ms that others need not wait for.
    expected = await asyncio.to_thread(lambda: [_expect(one, accepted) for one, accepted in awaited])
    return outlook(view.phase, expected, _timing(view, inputs, now))


def _expect(awaited: Awaited, accepted: checks.Accepted | None) -> Expectation:
    """What is accepted waits for no proof, only for data and for the stage's sample."""
    if accepted is None or is_blind(awaited.verdict):
        return expect(awaited)
    metric, sample = awaited.guardrail.metric, _sample(awaited)
    why = f"What is found of {metric} is accepted until {written(accepted.until)}, so it holds nothing."
    return Expectation(metric, None if sample is None else Minutes(sample, sample), why)


def _proof(awaited: Awaited) -> tuple[Minutes | None, str]:
    """How long the proof should take, and where it stands, in words."""
    verdict, margin = awaited.verdict, f"×{awaited.guardrail.margin:g}"
    if verdict.safe_e >= 1 / CountTest.alpha_safe:
        return Minutes(0, 0), "is proven safe"
    have = f"has evidence of safety {amount(verdict.safe_e)} of {1 / CountTest.alpha_safe:g}"
    if not awaited.pace.treatment.exposures or awaited.pace.minutes <= 0:
        return None, f"{have}; lately nothing was counted, so there is no telling how long it takes"
    try:
        to_come = _to_come(awaited)
    except InvalidInput:
        # What can't have been counted, or be read, is an error of the check itself, which says so.
        to_come = None
    if to_come is None:
        return None, f"{have}; control was not seen lately, so there is no telling how long it takes"
    seen, left_at = to_come
    if not seen.provable:
        beyond = f"at ×{seen.ratio:.2f} it is not within the margin {margin}"
        return None, f"{have}; {beyond}, so more data will not prove it"
    left = left_at(seen)
    first = awaited.burn_in_left.total_seconds() / 60
    proof = Minutes(first + left.median, first + left.p90)
    if first:
        have = f"burns in for {_words(first)} more, then {have}"
    return proof, (
        f"{have}; at {_per_minute(awaited)} and ×{seen.likeliest:.2f} about {_words(proof.median)} more "
        f"(9 of 10 within {_words(proof.p90)})"
    )


def _base_rate(awaited: Awaited) -> float:
    seen = Sample(awaited.verdict.control_n, awaited.verdict.control_events)
    control = seen if seen.exposures else awaited.pace.control
    return min((control.events + 0.5) / (control.exposures + 1), 0.999)


def _to_come(awaited: Awaited) -> tuple[Seen, Callable[[Seen], Minutes]] | None:
    """What is known of the ratio, and how long the rest of the proof takes by it; None where control was not seen.

    Raises BadEvidence and what else can't be read.
    """
    rail, numbers, pace = awaited.guardrail, awaited.numbers, awaited.pace
    if awaited.whole:
        ceiling = judging.ceiling_test(rail, awaited.ceiling or 0.5, 1.0)
        held = CeilingEvidence.from_json(awaited.evidence) if awaited.evidence else CeilingEvidence.start(ceiling)
        return seen_of_ceiling(ceiling, held), partial(ceiling_left, ceiling, held, pace.requests_per_minute)
    if not (pace.control.exposures and pace.treatment.exposures):
        return None
    match numbers.kind:
        case MetricKind.MEAN:
            return _of_mean(awaited)
        case MetricKind.LATENCY:
            return _of_latency(awaited)
        case _:
            test, base_rate = judging.count_test(rail, 1.0), _base_rate(awaited)
            counted = CountEvidence.from_json(awaited.evidence) if awaited.evidence else CountEvidence.start(test)
            traffic = Traffic(pace.requests_per_minute, base_rate, pace.share, rail.dispersion)
            seen = seen_of_rate(test, counted, base_rate, awaited.verdict.ratio)
            return seen, partial(rate_left, test, counted, traffic)


def _of_mean(awaited: Awaited) -> tuple[Seen, Callable[[Seen], Minutes]]:
    rail, pace, cap = awaited.guardrail, awaited.pace, awaited.numbers.cap or math.inf
    test, stored = judging.mean_test(rail, cap, 1.0), awaited.evidence
    evidence = means.MeanEvidence.from_json(stored) if stored else means.MeanEvidence.start(test)
    sums = means.Sums(pace.control.exposures, pace.control.total, pace.control.total_squares)
    amounts = Amounts(sums.mean, math.sqrt(sums.variance), cap)
    traffic = MeanTraffic(pace.requests_per_minute, amounts, pace.share, rail.dispersion)
    return seen_of_mean(test, evidence), partial(mean_left, test, evidence, traffic)


def _of_latency(awaited: Awaited) -> tuple[Seen, Callable[[Seen], Minutes]]:
    rail, pace, numbers, sample = awaited.guardrail, awaited.pace, awaited.numbers, awaited.pace.control
    test, stored = judging.latency_test(rail, (*numbers.buckets, math.inf), numbers.sums, 1.0), awaited.evidence
    evidence = latency.LatencyEvidence.from_json(stored) if stored else latency.LatencyEvidence.start(test)
    sums = (sample.total, sample.total_squares) if numbers.sums else ()
    seen = Histogram.of(test.edges, sample.buckets, *sums)
    traffic = LatencyTraffic(pace.requests_per_minute, seen, pace.share, rail.margin, rail.dispersion)
    return seen_of_latency(test, evidence, awaited.verdict.ratio), partial(latency_left, test, evidence, traffic)


def _split(awaited: Awaited) -> Expectation:
    """What a sample ratio waits for: enough assignments to have shown a mismatch."""
    metric, verdict, pace = awaited.guardrail.metric, awaited.verdict, awaited.pace
    if verdict.outcome is Outcome.PASS:
        return Expectation(metric, Minutes(0, 0), f"{metric} is split as planned.")
    assigned = verdict.treatment_n + verdict.control_n
    planned = verdict.control_rate or 0.0
    a_minute = pace.requests_per_minute * planned * (1 - planned) if pace.minutes > 0 else 0.0
    if verdict.harm is not Harm.NONE or not a_minute:
        return Expectation(metric, None, f"{metric}: {verdict.why}")
    needed = information_needed(AssignmentTest()) - planned * (1 - planned) * assigned
    wait = max(needed, 0.0) / a_minute
    why = f"{metric} has too few assignments to tell; at this pace about {_words(wait)} more."
    return Expectation(metric, Minutes(wait, wait), why)


def _sample(awaited: Awaited) -> float | None:
    """Minutes until the stage has its sample; None when none comes."""
    left = max(0, awaited.guardrail.min_sample - awaited.in_stage)
    if not left:
        return 0.0
    pace = awaited.pace
    return left * pace.minutes / pace.treatment.exposures if pace.treatment.exposures else None


def _verdict_of(expected: Sequence[Expectation], bake_minutes: float, limit_left: timedelta | None) -> str:
    waits = [one.wait for one in expected]
    limit = None if limit_left is None else max(limit_left, timedelta(0))
    ask = "" if limit is None else f" Its limit comes in {in_words(limit)}: then it pauses and asks a person."
    known = [wait for wait in waits if wait is not None]
    if len(known) < len(waits):
        return f"As things are the gate does not pass.{ask}"
    median = max([bake_minutes, *(wait.median for wait in known)])
    p90 = max([bake_minutes, *(wait.p90 for wait in known)])
    chance = f" (9 of 10 within {_words(p90)})" if p90 > median else ""
    said = f"At this pace the gate passes in about {_words(median)}{chance}."
    late = limit is not None and timedelta(minutes=min(p90, 10**6)) > limit
    return said + (ask if late else "")


def _awaited(
    item: checks.GuardrailInput,
    verdict: Verdict,
    newest: GateCheck,
    seen: Sequence[tuple[checks.Inputs, dict[str, checks.Answer]]],
    inputs: checks.Inputs,
) -> Awaited:
    carried = newest.evidence.get(item.key) or {}
    in_stage = int(carried["in_stage"]) if carried.get("stage") == inputs.stage else 0
    warm = (inputs.burn_in_ends or item.end) - item.end
    return Awaited(
        item.guardrail,
        verdict,
        _pace(item.guardrail.metric, seen),
        in_stage,
        whole=item.whole,
        ceiling=item.ceiling,
        burn_in_left=max(warm, timedelta(0)),
        numbers=item.numbers,
        evidence=carried.get("gate"),
    )


def _pace(metric: str, seen: Sequence[tuple[checks.Inputs, dict[str, checks.Answer]]]) -> Pace:
    minutes, treatment, control = 0.0, list[Sample](), list[Sample]()
    for inputs, answers in seen:
        item = next((one for one in inputs.guardrails if one.guardrail.metric == metric), None)
        answer = answers.get(metric)
        if item is None or answer is None or answer.error is not None:
            continue
        minutes += (item.end - item.start).total_seconds() / 60
        treatment += _counted(answer, inputs.treatment)
        control += _counted(answer, inputs.control)
    return Pace(minutes, together(treatment), together(control))


def _counted(answer: checks.Answer, variant: str) -> list[Sample]:
    return [one.sample for one in answer.variants if one.variant == variant]


def _answers(check: GateCheck) -> dict[str, checks.Answer]:
    return {plain["metric"]: checks.Answer.model_validate(plain) for plain in check.answers}


def _timing(view: RolloutView, inputs: checks.Inputs, now: datetime) -> Timing:
    if view.stage_in_force is None or view.stage_since is None:
        return Timing(None, None)
    # The bake time is measured in data, which comes later than it happens.
    lag = max((inputs.at - item.end for item in inputs.guardrails), default=timedelta(0))
    bake = view.stage_since + view.stage_in_force.bake + max(lag, timedelta(0)) - now
    limit = None if view.limit_from is None else view.limit_from + view.stage_in_force.time_limit - now
    return Timing(max(bake, timedelta(0)), limit)


def _per_minute(awaited: Awaited) -> str:
    counted = "units" if awaited.numbers.kind is MetricKind.MEAN else "requests"
    return f"{awaited.pace.requests_per_minute:,.0f} {counted}/min"


def _words(minutes: float) -> str:
    return in_words(min(timedelta(minutes=min(minutes, 10**6)), LONGEST))

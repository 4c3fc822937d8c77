"""What a check's answers say of its gate.

`assess` is pure and takes nothing but what the row stores, so a stored check can be judged again from itself alone.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from datetime import UTC
from typing import Any

from tools import gates
from tools.gates import BadEvidence, Counts, Harm, Outcome, Verdict
from tools.gates import drift as drifting
from tools.gates.combined import combine
from tools.metrics.base import Reading, Sample
from tools.metrics.catalogue import MetricKind
from tools.metrics.quality import BOTH, Arm, Gap, Seen, find_gap, quiet_arm
from tools.plans.model import OnFail
from tools.records.models import GateCheck
from tools.rollouts import accepting, judging
from tools.rollouts.checks import UNREADABLE, Answer, Assessment, GuardrailInput, Inputs, Watched, number, sentence
from tools.rollouts.drifts import departed, drift, watch

OF_ANOTHER_TEST = "Earlier evidence was of another test and is not counted."


def assess(inputs: Inputs, answers: Sequence[Answer]) -> Assessment:
    """Judge the answers. Pure, and total: whatever is wrong with an answer becomes its guardrail's ERROR or NO_DATA."""
    verdicts, carried, overruled = list[Verdict](), dict[str, Any](), dict[int, Verdict]()
    rails = len(inputs.guardrails)
    for item, answer in zip(inputs.guardrails, answers[:rails], strict=True):
        try:
            verdict, counts, kept = _assess_one(inputs, item, answer)
        except UNREADABLE as error:
            verdict, kept = _unasked(item, sentence(item.guardrail.metric, error)), item.carried
            counts = verdict
        if counts is not verdict:
            overruled[len(verdicts)] = counts
        verdicts.append(verdict)
        if kept is not None:
            carried[item.key] = kept
    gate, by_guardrail = _together(inputs, verdicts, overruled)
    mixes = list[Watched]()
    for mix, answer in zip(inputs.mixes, answers[rails:], strict=True):
        said, kept = watch(inputs, mix, answer)
        mixes.append(said)
        if kept is not None:
            carried[mix.key] = kept
    pairs = zip(inputs.guardrails, by_guardrail, strict=True)
    drifts = {item.guardrail.metric: verdict.drift for item, verdict in pairs if verdict.drift}
    return Assessment(_saying(gate, mixes), by_guardrail, carried, tuple(mixes), overruled, drifts)


def _saying(gate: Verdict, mixes: Sequence[Watched]) -> Verdict:
    """The gate's verdict with the mixes that have drifted, as it says what else has."""
    drifted = " ".join(one.why for one in mixes if one.drifted)
    if not drifted:
        return gate
    return replace(gate, why=f"{gate.why} {drifted}", drift=f"{gate.drift} {drifted}".strip())


def judge_again(check: GateCheck) -> Assessment:
    """The assessment computed afresh from the row alone."""
    return assess(Inputs.model_validate(check.inputs), [Answer.model_validate(plain) for plain in check.answers])


def _assess_one(inputs: Inputs, item: GuardrailInput, answer: Answer) -> tuple[Verdict, Verdict, dict[str, Any] | None]:
    """One guardrail's verdict, what it counts as, and what it carries on.

    An answer that can't be used leaves the carried as it was. Whatever it counts as, the verdict and the evidence are
    what they would be without an acceptance.
    """
    if answer.error is not None:
        verdict = _unasked(item, answer.error)
        return verdict, verdict, item.carried
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
    quiet = _quiet(inputs, item, seen)
    known = item.carried.get("departed") if item.carried else None
    if item.numbers.kind is MetricKind.ASSIGNMENTS:
        verdict, carried["gate"] = _judge_assignments(inputs, item, reading, gap)
        return verdict, accepting.of_split(item, verdict), carried
    arms = _counts(reading, inputs.control), _counts(reading, inputs.treatment)
    drifted, carried["drift"], incident_before = drift(inputs, item, *arms, _sample(reading, inputs.control))
    judged, carried["gate"] = _judge(inputs, item, reading, unproven=incident_before)
    verdict = judged
    if item.weight < 1:
        carried |= {"weight": item.weight, "harm_e": verdict.harm_e}
    if item.numbers.objective is not None:
        verdict, carried["budget"] = _weigh_budget(inputs, item, reading, verdict)
    carried |= departed(known, drifted.names, item.end)

    def weighed(verdict: Verdict) -> Verdict:
        found = drifting.weigh(verdict, drifted, compared=not item.whole)
        return _weigh(inputs, item, found, gap, carried["in_stage"], quiet)

    shown = weighed(verdict)
    if item.accepted is None:
        return shown, shown, carried
    far, carried["far"] = accepting.watch(item, _sample(reading, inputs.control), _sample(reading, inputs.treatment))
    if _burning_in(inputs, item):
        return shown, shown, carried
    graver = accepting.graver(item, judged, far, carried.get("budget"))
    if graver is not None:
        return shown, graver, carried
    # Where nothing was compared there is nothing that could be accepted.
    counts = shown if judged.outcome is Outcome.NO_DATA else weighed(accepting.overrule(item, judged))
    return shown, counts, carried


def _unasked(item: GuardrailInput, why: str) -> Verdict:
    """ERROR; what the guardrail has shown so far still counts towards what all show together."""
    return _of_kind(item, replace(gates.error(why), harm_e=_harm_so_far(item)))


def _of_kind(item: GuardrailInput, verdict: Verdict) -> Verdict:
    """A sample ratio never rolls back, for blindness neither."""
    return verdict if item.numbers.by_chance else replace(verdict, rollback_from=None)


def _harm_so_far(item: GuardrailInput) -> float:
    """The e-value that the last check left; kept only where guardrails share a level."""
    return max(number(item.carried, "harm_e"), 0.0)


def _together(
    inputs: Inputs, verdicts: Sequence[Verdict], overruled: Mapping[int, Verdict]
) -> tuple[Verdict, tuple[Verdict, ...]]:
    """The gate's verdict, and its guardrails' with what they show only together.

    What is overruled adds nothing to what all show together, which keeps the bound on false rollbacks as it is.
    """
    counted = [overruled.get(place, verdict) for place, verdict in enumerate(verdicts)]
    gate, together = _combined(inputs, counted, overruled)
    shown = tuple(verdicts[place] if place in overruled else verdict for place, verdict in enumerate(together))
    metrics = [inputs.guardrails[place].guardrail.metric for place, one in overruled.items() if one.harm is Harm.NONE]
    if gate.outcome is Outcome.PASS and metrics:
        gate = replace(gate, why=f"{gate.why} What was found of {', '.join(metrics)} is accepted.")
    return gate, shown


def _combined(
    inputs: Inputs, verdicts: Sequence[Verdict], overruled: Container[int]
) -> tuple[Verdict, tuple[Verdict, ...]]:
    weights = [0.0 if place in overruled else item.weight for place, item in enumerate(inputs.guardrails)]
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
    for everyone: what an audience is of everyone is known at best as well as drift needs it, which isn't enough here.
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
    minutes = 0.0 if _burning_in(inputs, item) else item.minutes
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


def _quiet(inputs: Inputs, item: GuardrailInput, seen: Seen) -> str:
    """A sentence on an arm that has fallen silent, though not for long enough to be blindness; empty where none has."""
    arm = quiet_arm(seen, expected=_expected(inputs, item))
    if arm is None:
        return ""
    label, last = inputs.treatment if arm is Arm.TREATMENT else inputs.control, seen.last(arm)
    since = "at this stage yet" if last is None else f"since {last.astimezone(UTC):%H:%M:%S} UTC"
    return f"Nothing has come of {label!r} {since}, so that it may be down: promotion waits for its data."


def _expected(inputs: Inputs, item: GuardrailInput) -> frozenset[Arm]:
    """Whose data must come: nobody's treatment while the flag is at 0 %, nobody's control at 100 %."""
    if not inputs.exposure.percent:
        return frozenset({Arm.CONTROL})
    return frozenset({Arm.TREATMENT}) if item.whole else BOTH


def _judge(inputs: Inputs, item: GuardrailInput, reading: Reading, *, unproven: bool) -> tuple[Verdict, dict[str, Any]]:
    """The statistics' word on the evidence so far, this window included.

    `unproven`: this window proves no safety, because in a shared incident the arms do badly alike. Carried evidence of
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
    numbers, rail, minutes = item.numbers, item.guardrail, item.minutes
    burning_in, weight = _burning_in(inputs, item), item.weight
    if item.whole:
        ceiling = item.ceiling
        return judging.judge_alone(
            numbers, rail, ceiling, treatment, stored, minutes=minutes, burning_in=burning_in, weight=weight
        )
    return judging.judge(
        numbers,
        rail,
        control,
        treatment,
        stored,
        minutes=minutes,
        burning_in=burning_in,
        unproven=unproven,
        weight=weight,
    )


def _burning_in(inputs: Inputs, item: GuardrailInput) -> bool:
    return inputs.burn_in_ends is not None and item.start < inputs.burn_in_ends


def _weigh(
    inputs: Inputs, item: GuardrailInput, verdict: Verdict, gap: Gap | None, in_stage: int, quiet: str
) -> Verdict:
    """Harm stands whatever else is wrong; blindness outweighs the rest; a proof needs data of its own stage.

    Evidence is carried from stage to stage, so that it may prove something before this stage's data has come: the bake
    time is measured in data (the window's end), and the minimum sample counts at this stage's exposure. What was proven
    by an arm that has fallen silent since (`quiet`) is not promoted: it may be down.
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
    return replace(verdict, outcome=Outcome.INCONCLUSIVE, why=f"{verdict.why} {quiet}") if quiet else verdict


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

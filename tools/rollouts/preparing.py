"""What a check is to measure now: each guardrail's window, what it carries, and its part of the gate's levels. Pure."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from tools.clock import written
from tools.errors import InvalidInput, SluiceError
from tools.gates import CountEvidence, Counts, Direction
from tools.metrics.catalogue import MetricDefinition, MetricKind
from tools.plans.kinds import guards
from tools.plans.model import Expected, Exposure, Guardrail, Mode, Plan
from tools.records.models import Acceptance, Rollout
from tools.rollouts.checks import (
    BOOKS,
    LARGEST_CEILING,
    UNREADABLE,
    Accepted,
    GuardrailInput,
    Inputs,
    MixInput,
    number,
    sentence,
)
from tools.rollouts.judging import Numbers

CLOCK_TOLERANCE = timedelta(seconds=2)
SHARE_SETTLES = timedelta(seconds=60)
"""How long after a change of share services may still ask with the old one: new assignments are left out till then."""


class ClockWentBack(InvalidInput):
    """The last check is of a later moment than now: the clock was wrong then, or is now."""


def prepare(
    rollout: Rollout,
    plan: Plan,
    *,
    at: datetime,
    define: Callable[[str], MetricDefinition],
    acceptances: Sequence[Acceptance] = (),
) -> Inputs:
    """What is to be measured now. `define` gives what the catalogue says of a metric; it raises UnknownMetric.

    `acceptances` are those of the rollout that were not ended.
    """
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
                update={
                    "expected": expected.get(guardrail.metric),
                    "weight": parts[guardrail.metric],
                    "accepted": _accepted(guardrail, acceptances, at),
                }
            )
            for guardrail in stage.guardrails
        ),
        mixes=tuple(_mix_input(one, rollout, at, define) for one in plan.expected if one.mix),
    )


def _accepted(guardrail: Guardrail, acceptances: Sequence[Acceptance], at: datetime) -> Accepted | None:
    """Whose acceptance of what is found of the metric, with just this margin, holds now."""
    for one in acceptances:
        same = (one.metric, one.margin, one.direction) == (guardrail.metric, guardrail.margin, guardrail.direction)
        if same and one.made_at <= at < one.until:
            return Accepted(id=one.id, by=one.made_by, until=one.until)
    return None


def weights(plan: Plan, define: Callable[[str], MetricDefinition]) -> dict[str, float]:
    """Each metric's part of the gate's levels of harm before anything is seen; 0 for what shares none."""
    metrics = {guardrail.metric for stage in plan.stages for guardrail in stage.guardrails}
    sharing = {metric for metric in metrics if _shares_level(metric, define)}
    return {metric: 1 / len(sharing) if metric in sharing else 0.0 for metric in metrics}


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


def _weights(rollout: Rollout, plan: Plan, define: Callable[[str], MetricDefinition]) -> dict[str, float]:
    """Each metric's part of the gate's levels of harm: the same for all of the plan that share them, in every stage.

    While evidence goes on a weight never rises, so that it can't follow what was seen: a plan that is revised in flight
    shares the level among more, and gives nothing back to those that stay (`tools.gates.combined` says what that is
    worth).
    """
    fresh = weights(plan, define)
    return {metric: weight and min(weight, _weight_so_far(metric, rollout)) for metric, weight in fresh.items()}


def _shares_level(metric: str, define: Callable[[str], MetricDefinition]) -> bool:
    try:
        return Numbers.of(define(metric)).by_chance
    except SluiceError:
        # What the catalogue does not know now, it may know at the next check.
        return True


def _weight_so_far(metric: str, rollout: Rollout) -> float:
    carried = [rollout.evidence.get(f"{metric}:{book}") for book in BOOKS]
    found = [number(one, "weight") for one in carried]
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
        why = sentence(guardrail.metric, error)
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


def _mix_input(
    expected: Expected, rollout: Rollout, at: datetime, define: Callable[[str], MetricDefinition]
) -> MixInput:
    """Total, as for a guardrail. All of the flag's traffic is looked at, whoever is exposed."""
    key = f"{expected.metric}:mix"
    carried = rollout.evidence.get(key)
    readable = carried if isinstance(carried, dict) else None
    try:
        definition = define(expected.metric)
        if definition.kind is not MetricKind.MIX:
            raise InvalidInput(f"{expected.metric} is no mix any more: define it as it was, or plan anew.")
        first = rollout.exposed_since or at
        start = first if readable is None else max(first, datetime.fromisoformat(readable["until"]))
        end = max(start, at - definition.settle)
    except UNREADABLE as error:
        why = sentence(expected.metric, error)
        return MixInput(expected=expected, key=key, start=at, end=at, carried=readable, error=why)
    return MixInput(expected=expected, key=key, start=start, end=end, carried=readable)


def _check_kind(guardrail: Guardrail, definition: MetricDefinition) -> None:
    """Raises InvalidInput when the catalogue's metric is no longer what the plan guards.

    Assignments prove no safety, so that a rate that became some in flight would let pass what it was to guard.
    """
    if not guards(definition.kind):
        raise InvalidInput(f"{guardrail.metric} says what requests are made of, which guards nothing: revise the plan.")
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
        raise ClockWentBack(
            f"{metric} was last read up to {written(start, seconds=True)}, which is not yet: see the clocks."
        )
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

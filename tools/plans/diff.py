"""What differs between two plans, in lines that people can read. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from tools.clock import exactly, in_words
from tools.gates import Direction
from tools.plans.model import Guardrail, Plan, Stage

_PLAN_FIELDS = {
    "flag": "Flag",
    "environment": "Environment",
    "control": "Control",
    "treatment": "Treatment",
    "strategy": "Strategy",
    "tags": "Tags",
    "depends_on": "Depends on",
    "burn_in": "Burn-in",
    "stale_after": "Data is stale after",
    "blind_budget": "Blind budget",
    "check_every": "Time between checks",
    "spec_author": "Author of the spec",
}
_STAGE_FIELDS = {"bake": "hold", "time_limit": "time limit"}
_RAIL_FIELDS = {
    "direction": "harm is an",
    "margin": "margin",
    "min_sample": "sample",
    "dispersion": "φ",
    "ceiling": "ceiling",
    "on_fail": "on harm",
    "on_no_data": "without data",
}


def differences(before: Plan, after: Plan) -> tuple[str, ...]:
    """A line for each difference, the exposures first; empty for plans that demand the same.

    "Stage 1: 5 % → 2 %", "hold 30 min → 2 h in every stage", "checkout_errors: margin ×2 → ×1.5", "+ orders …".
    """
    lines = [*_exposures(before.stages, after.stages)]
    pairs = [*_pairs(before.stages, after.stages)]
    for field, word in _STAGE_FIELDS.items():
        lines += _grouped([(number, _change(word, old, new, field)) for number, old, new in pairs], len(after.stages))
    lines += _guardrails(before, after, pairs)
    lines += [line for field, word in _PLAN_FIELDS.items() if (line := _change(word, before, after, field))]
    if before.spec_sha256 != after.spec_sha256:
        lines.append("The spec was read anew and has changed")
    return tuple(lines)


def _exposures(before: Sequence[Stage], after: Sequence[Stage]) -> Iterator[str]:
    old, new = [str(stage.exposure) for stage in before], [str(stage.exposure) for stage in after]
    if len(old) != len(new):
        yield f"Stages: {', then '.join(old)} → {', then '.join(new)}"
        return
    for number, (was, becomes) in enumerate(zip(old, new, strict=True), start=1):
        if was != becomes:
            yield f"Stage {number}: {was} → {becomes}"


def _pairs(before: Sequence[Stage], after: Sequence[Stage]) -> Iterator[tuple[int, Stage, Stage]]:
    """The stages that stand for each other, with the number in `after`: by place, or by exposure where some are new."""
    if len(before) == len(after):
        for number, (old, new) in enumerate(zip(before, after, strict=True), start=1):
            yield number, old, new
        return
    known = {stage.exposure: stage for stage in before}
    for number, stage in enumerate(after, start=1):
        if stage.exposure in known:
            yield number, known[stage.exposure], stage


def _guardrails(before: Plan, after: Plan, pairs: Sequence[tuple[int, Stage, Stage]]) -> Iterator[str]:
    old, new = _rails(before.stages), _rails(after.stages)
    for metric in (metric for metric in new if metric not in old):
        yield f"+ {metric}: {_demand(new[metric])}"
    for metric in (metric for metric in old if metric not in new):
        yield f"− {metric}: guards no more"
    for metric in (metric for metric in new if metric in old):
        of_stages = [
            (number, _rails([was]).get(metric), _rails([becomes]).get(metric)) for number, was, becomes in pairs
        ]
        for field, word in _RAIL_FIELDS.items():
            changes = [(n, _change(word, a, b, field) if a and b else "") for n, a, b in of_stages]
            yield from (f"{metric}: {line}" for line in _grouped(changes, len(after.stages)))
        for number, was, becomes in of_stages:
            if (was is None) != (becomes is None):
                yield f"{metric}: {'guards' if becomes else 'does not guard'} stage {number} now"


def _rails(stages: Iterable[Stage]) -> dict[str, Guardrail]:
    return {rail.metric: rail for stage in stages for rail in stage.guardrails}


def _demand(rail: Guardrail) -> str:
    if rail.of_split:
        return "assignments must be split as planned"
    if rail.direction is Direction.INCREASE:
        return f"must stay below {rail.margin:g} × control"
    return f"must stay above control ÷ {rail.margin:g}"


def _grouped(changes: Sequence[tuple[int, str]], total: int) -> Iterator[str]:
    """One line for a change that every stage has, else one for each different change with its stages' numbers."""
    by_change: dict[str, list[int]] = {}
    for number, change in changes:
        if change:
            by_change.setdefault(change, []).append(number)
    for change, numbers in by_change.items():
        if total == 1:
            yield change
        elif len(numbers) == total:
            yield f"{change} in every stage"
        else:
            yield f"{change} in stage{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _change(word: str, before: object, after: object, field: str) -> str:
    """ "hold 30 min → 2 h", empty when nothing changed."""
    old, new = getattr(before, field), getattr(after, field)
    if old == new:
        return ""
    show = _SHOW.get(field, _plain)
    if isinstance(old, timedelta) and isinstance(new, timedelta) and show(old) == show(new):
        show = exactly
    return f"{word} {show(old)} → {show(new)}"


def _plain(value: Any) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, timedelta):
        return in_words(value)
    if isinstance(value, tuple):
        return ", ".join(value)
    return str(getattr(value, "value", value)).replace("_", " ")


_SHOW: dict[str, Callable[[Any], str]] = {
    "margin": lambda margin: f"×{margin:g}",
    "min_sample": lambda sample: f"{sample:,}",
    "ceiling": lambda ceiling: "none" if ceiling is None else f"{100 * ceiling:.3g} %",
}

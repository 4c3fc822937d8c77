"""What a model may decide of a plan, and how its answer is read. Pure.

A sketch names stages, guardrails and reasons. Lengths, samples, ceilings, approvers, tags, variants: it has no word for
them, so that no answer can change them.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.moves import cleaned_value
from tools.errors import InvalidInput
from tools.plans.model import Percent, Strategy

MOST_DRAWN = 10
LONGEST_ANSWER = 20_000
LONGEST_REASON = 1000
LONGEST_HOLD = 14 * 24
TIGHTEST_MARGIN = 1.01
_FENCE = re.compile(r"```(?:json)?\s*(\{.*?\})\s*```", re.DOTALL)
Reason = Annotated[str, Field(max_length=LONGEST_REASON)]


class Unreadable(InvalidInput):
    """The answer is no sketch; the message says what is wrong, and repeats nothing of it."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class SketchedStage(_Part):
    """A live stage: its share in percent, the least time it is held in hours (None: as usual), and why."""

    percent: Annotated[Percent, Field(gt=0)]
    hold_hours: Annotated[float, Field(gt=0, le=LONGEST_HOLD, allow_inf_nan=False)] | None = None
    because: Reason = ""


class SketchedGuardrail(_Part):
    """A metric of the catalogue that guards, its margin (None: as usual), and why."""

    metric: Annotated[str, Field(max_length=200)]
    margin: Annotated[float, Field(ge=TIGHTEST_MARGIN, le=100, allow_inf_nan=False)] | None = None
    because: Reason = ""


class Sketch(_Part):
    """A plan as a model sees it. `first_regions` and `first_tenants` limit the first `limited_stages` live stages."""

    strategy: Strategy
    because: Reason = ""
    stages: Annotated[tuple[SketchedStage, ...], Field(min_length=1, max_length=MOST_DRAWN)]
    guardrails: Annotated[tuple[SketchedGuardrail, ...], Field(max_length=MOST_DRAWN)] = ()
    first_regions: Annotated[tuple[str, ...], Field(max_length=50)] = ()
    first_tenants: Annotated[tuple[str, ...], Field(max_length=50)] = ()
    limited_stages: Annotated[int, Field(ge=1, le=MOST_DRAWN)] = 1


@dataclass(frozen=True, slots=True)
class Choices:
    """What a sketch may choose from: names, and sentences for reasons; with `audiences` it may limit first stages."""

    strategies: Sequence[Strategy]
    metrics: Sequence[str]
    reasons: Sequence[str]
    audiences: bool


def read_sketch(answer: str) -> Sketch:
    """The sketch in an answer: the whole of it, a fenced block, or its first JSON object. Raises Unreadable."""
    plain = next(_objects(answer[:LONGEST_ANSWER]), None)
    if plain is None:
        raise Unreadable("The answer holds no JSON object.")
    try:
        return Sketch.model_validate(cleaned_value(plain))
    except ValidationError as error:
        raise Unreadable(_faults(error)) from None
    except (ValueError, TypeError, RecursionError):
        raise Unreadable("The answer's JSON object is no sketch of a plan.") from None


def sketch_schema(choices: Choices, *, small: bool) -> dict[str, Any]:
    """The JSON schema of a sketch. `small`: for models that fill in whatever they are offered, so offered less."""
    reason: dict[str, Any] = {"type": "string"}
    if choices.reasons:
        reason["enum"] = list(choices.reasons)
    stage: dict[str, Any] = {"percent": {"type": "number"}, "hold_hours": {"type": "number"}}
    guardrail = _object(
        {"metric": {"type": "string", "enum": list(choices.metrics)}, "margin": {"type": "number"}, "because": reason},
        ["metric", "because"],
    )
    properties: dict[str, Any] = {
        # The reason first: models choose better once they have given it.
        "because": reason,
        "strategy": {"type": "string", "enum": [strategy.value for strategy in choices.strategies]},
        "stages": {
            "type": "array",
            "items": _object(stage if small else {**stage, "because": reason}, ["percent"]),
            "minItems": 1,
            "maxItems": MOST_DRAWN,
        },
        "guardrails": {"type": "array", "items": guardrail, "maxItems": MOST_DRAWN},
    }
    if choices.audiences:
        names = {"type": "array", "items": {"type": "string", "maxLength": 80}, "maxItems": 10}
        properties |= {"first_regions": names, "first_tenants": names, "limited_stages": {"type": "integer"}}
    return _object(properties, ["because", "strategy", "stages"])


def _object(properties: Mapping[str, Any], required: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """JSON objects in a text, the likeliest first."""
    for candidate in (text, *_FENCE.findall(text)):
        try:
            found = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            yield found
    start = text.find("{")
    if start >= 0:
        try:
            found, _ = json.JSONDecoder().raw_decode(text, start)
        except (ValueError, RecursionError):
            return
        if isinstance(found, dict):
            yield found


def _faults(error: ValidationError) -> str:
    """What does not fit, by the names of our own fields only."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)[:4]
    return " ".join(f"{_path(fault['loc'])}: {fault['msg']}." for fault in faults)


def _path(location: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in location) or "The answer"

"""What a small model is offered to choose from: only what the person's words give a reason for. Pure.

A model of a billion parameters that may call thirteen tools with forty arguments picks the wrong one a third of the
time. Most of what it might pick can be ruled out without it: nothing that changes anything answers a question, nothing
can be resumed that is not paused, and no percentage was meant where none was said. Ruling out is all that happens here.
What is ruled out wrongly costs an answer, never more; what stays is held to the same checks as any other call.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agent.briefing import Briefing
from agent.moves import Offer
from agent.toolkit.base import Effect, Tool
from agent.toolkit.box import offers
from agent.turns import Turn, last_words

SHORTEST_PART = 4
PAUSED = "paused"
USUAL_ENVIRONMENTS = ("production", "staging", "development", "test", "qa", "preview")

Says = Callable[[str], bool]


def _says(*patterns: str) -> Says:
    """Whether the words have any of these."""
    compiled = re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)
    return lambda words: compiled.search(words) is not None


_question = _says(
    r"^(?:(?:so|and|but|ok|okay|hm+|hi|hey|hello|sluice|well)\b[\s,:!.]+)*"
    r"(?:what(?!\s+about)|why(?!\s+(?:not|don'?t\s+we))|how(?!\s+about)|who|whose|when|which|where"
    r"|is|are|was|were|does|did|has|should|would(?!\s+you)|any)\b"
)
_number = _says(r"\d", r"\b(?:one|two|three|four|five|ten|half|third|quarter|single|couple)\b")
_share = _says(
    r"\d\s*(?:%|percent|per\s+cent|points?)", r"\b(?:percent\w*|share|half|all|everyone|everybody|zero|full)\b"
)
_several = _says(r"\d[^\d]+\d.*")
_time = _says(r"\b(?:minutes?|mins?|hours?|hrs?|h|days?|weeks?|night|overnight)\b", r"\d\s*(?:min|h|d|m)\b")
_longer = _says(r"\b(?:hold|keep|stay|last|longer|shorter|bake|length|long|wait|quick\w*|slow\w*)\b")
_which_stage = _says(r"\b(?:stages?|steps?|first|second|third|last|next|initial)\b")
_margin = _says(r"\b(?:margins?|factor|threshold|limit|toleran\w+|tight\w*|loose\w*|strict\w*|times)\b", r"[×x]\s*\d")
_worse = _says(
    r"\b(?:ris\w+|rose|rais\w+|double\w*|twice|triple\w*|worse\w*|increas\w+|grow\w*|spik\w+|jump\w*|climb\w*|times)\b",
    r"\b(?:drop\w*|fall\w*|fell|halv\w+|decreas\w+|harm\w*|up\s+by|higher|lower)\b",
    r"[×x]\s*\d",
)
_strategy = _says(r"\b(?:canary|shadow\w*|dark|full|strategy|at\s+once)\b")
_only = _says(r"\b(?:only|just|limit\w*|restrict\w*|audience|first|everywhere|worldwide|except|for)\b")
_put_in = _says(r"\b(?:add|insert|between|another|extra|additional|also|more|put|include)\b")
_take_out = _says(r"\b(?:drop|remove|without|leave|skip|take|delete|omit|no|not|stop|ignore|forget)\b")
_change = _says(r"\b(?:plan|chang\w+|adjust\w*|instead|rather|careful\w*|cautious\w*|saf\w+|slow\w*|make|differ\w+)\b")

TOOL_CUES: Mapping[str, Says] = {
    "propose_plan": _says(
        r"\bplan", r"roll\w*\s*-?\s*out", r"\b(?:releas\w+|ship|launch|draft|propos\w+|canary|introduce)\b"
    ),
    "set_exposure": _says(
        r"\d",
        r"\b(?:start|begin|launch|releas\w+|go|next|promot\w+|rais\w+|increas\w+|ramp|mov\w+|switch|turn|off|on|kill)\b",
        r"\b(?:disabl\w+|enabl\w+|everyone|everybody|percent\w*|forward|ahead|advance|expos\w+|open|all|full\w*|live)\b",
    ),
    "pause": _says(r"\b(?:paus\w+|stop\w*|halt\w*|freez\w+|suspend\w*|hold\s+(?:it|on|off|everything)|wait)\b"),
    "resume": _says(r"\b(?:resum\w+|unpaus\w+|continu\w+|go\s+on|carry\s+on|proceed|keep\s+going|again|further)\b"),
    "roll_back": _says(
        r"roll\w*\s*-?\s*(?:\S+\s+)?back", r"\b(?:revert\w*|undo|back\s+out|take\s+\S+\s+back|bring\s+back)\b"
    ),
}
"""Tools that change something, and what is said by somebody who may want that; the others are always offered."""

ARGUMENT_CUES: Mapping[str, Mapping[str, Says]] = {
    "propose_plan": {"strategy": _strategy},
    "set_exposure": {"percent": lambda words: _share(words) or _says(r"\d", r"\b(?:off|kill|disabl\w+)\b")(words)},
    "query_metric": {"minutes": _time},
    "explain": {"margin": lambda words: _margin(words) and _number(words)},
    "estimate": {
        "percent": lambda words: _share(words),
        "harm": _worse,
        "margin": lambda words: _margin(words) and _number(words),
    },
    "revise_plan": {
        "start_at": _says(r"\b(?:start\w*|begin\w*|first|initial\w*|smaller|lower|less|open)\b"),
        "stages": _several,
        "add_stages": lambda words: _put_in(words) and _number(words),
        "drop_stages": lambda words: _take_out(words) and _number(words),
        "hold_minutes": lambda words: _time(words) or _longer(words),
        "hold_stage": lambda words: (_time(words) or _longer(words)) and _which_stage(words),
        "regions": lambda words: _only(words) or _says(r"\b(?:region\w*|countr\w+|eu|us|emea|apac)\b")(words),
        "tenants": lambda words: (
            _only(words) or _says(r"\b(?:tenants?|customers?|accounts?|compan\w+|clients?)\b")(words)
        ),
        "audience_until_stage": lambda words: _which_stage(words),
        "skip_shadow": _says(r"\bshadow"),
        "strategy": _says(r"\b(?:canary|full|strategy|at\s+once)\b", r"\b(?:add|with|use|want)\b.*\bshadow"),
        "margin": lambda words: _margin(words) and _number(words),
        "add_metric": _put_in,
        "drop_metric": _take_out,
    },
}
"""Arguments, and what is said by somebody who gives a reason for them; the others are always offered."""

_METRICS = ("metric", "add_metric", "drop_metric")
_AUDIENCE = ("regions", "tenants")


@dataclass(frozen=True, slots=True)
class Scene:
    """What the words are read in: the flags that may be meant, and whether any of them rolls out or is paused."""

    words: str
    flags: tuple[str, ...]
    rolling: bool
    paused: bool
    metrics: tuple[str, ...]
    environments: tuple[str, ...]


def shortlist(tools: Sequence[Tool[Any]], turn: Turn, briefing: Briefing) -> tuple[Offer, ...]:
    """The tools, with the arguments, that the person's words give a reason for."""
    scene = scene_of(turn, briefing)
    offered = offers([tool for tool in tools if _is_possible(tool, scene)], briefing.choices())
    return tuple(_narrowed(offer, scene) for offer in offered)


def scene_of(turn: Turn, briefing: Briefing) -> Scene:
    """What the words name, exactly or by a part of a name; the thread's flag where they name none."""
    words = last_words(turn.messages)
    flags = _meant(words, briefing.flags)
    if not flags:
        earlier = " ".join(str(one["said"]) for one in briefing.thread)
        thread = (turn.flag,) if turn.flag else _meant(earlier, briefing.flags)
        flags = (*_unknown_names(words, briefing), *thread)
    about_thread = turn.flag in flags and briefing.rollout is not None
    return Scene(
        words=words,
        flags=flags,
        rolling=about_thread or not set(flags).isdisjoint(briefing.rolling),
        paused=not about_thread or (briefing.rollout or {}).get("phase") == PAUSED,
        metrics=_meant(words, briefing.metrics),
        environments=tuple(name for name in {*briefing.environments, *USUAL_ENVIRONMENTS} if _names(words, name)),
    )


def _is_possible(tool: Tool[Any], scene: Scene) -> bool:
    if tool.effect is Effect.READ:
        return True
    if _question(scene.words.strip()):
        return False
    if tool.name in ("revise_plan", "pause", "resume") and not scene.rolling:
        return False
    if tool.name == "resume" and not scene.paused:
        return False
    if tool.name == "revise_plan":
        return _change(scene.words) or any(says(scene.words) for says in ARGUMENT_CUES[tool.name].values())
    says = TOOL_CUES.get(tool.name)
    return says is None or says(scene.words)


def _narrowed(offer: Offer, scene: Scene) -> Offer:
    """The offer with the arguments that the words give a reason for; with all of its own where they give none."""
    properties: Mapping[str, Any] = offer.schema.get("properties", {})
    required = set(offer.schema.get("required", ()))
    cues = ARGUMENT_CUES.get(offer.name, {})
    kept = {name: one for name, one in properties.items() if name in required or _is_wanted(name, cues, scene)}
    own = set(properties) - {"flag", "environment"}
    if offer.name == "revise_plan" and own.isdisjoint(kept):
        kept = {name: one for name, one in properties.items() if name in own or name in kept}
    schema = {**offer.schema, "properties": {name: _named(name, one, scene) for name, one in kept.items()}}
    return replace(offer, schema=schema)


def _is_wanted(name: str, cues: Mapping[str, Says], scene: Scene) -> bool:
    if name == "flag":
        return bool(scene.flags)
    if name == "environment":
        return bool(scene.environments)
    if name in _METRICS and not scene.metrics:
        return False
    says = cues.get(name)
    return says is None or says(scene.words)


def _named(name: str, one: Mapping[str, Any], scene: Scene) -> Mapping[str, Any]:
    """The argument's schema with the names that may be meant."""
    names = {"flag": scene.flags, "environment": scene.environments}.get(name, ())
    if name in _METRICS:
        names = scene.metrics
    if not names:
        return one
    return {**{key: value for key, value in one.items() if key not in ("maxLength", "pattern")}, "enum": list(names)}


def _meant(words: str, names: Iterable[str]) -> tuple[str, ...]:
    """The names that the words have whole, or else those of which they have a part: "the checkout"."""
    every = tuple(names)
    whole = tuple(name for name in every if _names(words, name))
    return whole or tuple(name for name in every if any(_names(words, part) for part in _parts(name)))


def _parts(name: str) -> Collection[str]:
    return [part for part in re.split(r"[-_.:/]", name) if len(part) >= SHORTEST_PART]


def _unknown_names(words: str, briefing: Briefing) -> tuple[str, ...]:
    """What looks like a flag's name and is none that is known: a tool says so better than a guess does."""
    known = {*briefing.metrics, *briefing.environments}
    found = re.findall(r"(?<![\w./:@#<-])[A-Za-z][A-Za-z0-9]*(?:[-_.][A-Za-z0-9]+)+(?![\w/])", words)
    return tuple(dict.fromkeys(name for name in found if name not in known))


def _names(words: str, name: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", words, re.IGNORECASE) is not None

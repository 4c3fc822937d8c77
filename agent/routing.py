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
NEEDS_NO_FLAG = ("list_rollouts",)
NEEDS_A_ROLLOUT = ("revise_plan", "pause", "resume")


@dataclass(frozen=True, slots=True)
class Scene:
    """What the words are read in: the flags that may be meant, and whether any of them rolls out or is paused.

    `elsewhere`: none of the flags is the thread's, so that a call has to name one. `stage` is the one that is named;
    `numbers` and `minutes` are the numbers and the durations that are said.
    """

    words: str
    flags: tuple[str, ...]
    elsewhere: bool
    rolling: bool
    paused: bool
    metrics: tuple[str, ...]
    environments: tuple[str, ...]
    stage: int | None
    numbers: tuple[float, ...]
    minutes: tuple[float, ...]


Cue = Callable[[Scene], bool]


def _says(*patterns: str) -> Cue:
    """Whether the words have any of these."""
    compiled = re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)
    return lambda scene: compiled.search(scene.words) is not None


def _both(one: Cue, other: Cue) -> Cue:
    return lambda scene: one(scene) and other(scene)


def _either(one: Cue, other: Cue) -> Cue:
    return lambda scene: one(scene) or other(scene)


def _not(one: Cue) -> Cue:
    return lambda scene: not one(scene)


_question = _says(
    r"^\s*(?:(?:so|and|but|ok|okay|hm+|hi|hey|hello|sluice|well)\b[\s,:!.]+)*"
    r"(?:what(?!\s+about)|why(?!\s+(?:not|don'?t\s+we))|how(?!\s+about)|who|whose|when|which|where"
    r"|is|are|was|were|does|did|has|should|would(?!\s+you)|any)\b"
)
_instruction = _says(
    r"^\s*(?:(?:please|pls|now|then|ok(?:ay)?|and|but|also|yes|so|let'?s|let\s+us|we|I|you|can|could|should|want|would|like|need"
    r"|to|it|instead|rather|better)\b[\s,:!]*)*"
    r"(?:use|set|make|change|start|begin|hold|keep|limit|restrict|skip|drop|remove|add|leave|take|go|move|raise|increase"
    r"|promote|plan|draft|only|just|put|tighten|loosen|lower|reduce|extend|shorten|launch|release|resume|pause|stop|kill"
    r"|roll|insert|guard|insist|switch|turn|revert|undo|continue|proceed)\b"
)
_wants_to_know = _says(
    r"\b(?:show|tell|list|explain|compare|read|check|status|look\w*|display|give|see|summar\w+|report|update|details?|numbers?)\b",
    r"\b(?:what|why|how|who|which|where|when|whether|if)\b",
)
_number = _says(r"\d", r"\b(?:one|two|three|four|five|ten|half|third|quarter|single|couple)\b")
_several = _says(r"\d[^\d]+\d")
_share = _says(
    r"\d\s*(?:%|percent|per\s+cent|points?)", r"\b(?:percent\w*|share|half|all|everyone|everybody|zero|full)\b"
)
_time = _says(
    r"\b(?:minutes?|mins?|hours?|hrs?|h|days?|weeks?|night|overnight)\b",
    r"\d\s*(?:min|h|d|m)\b",
    r"\b(?:hold|keep|stay|last|longer|shorter|bake|length|long|wait|quick\w*|slow\w*)\b",
)
_each = _says(r"\b(?:every|each|all|both)\b")
_which_stage = _says(r"\b(?:stages?|steps?|first|second|third|last|next|initial)\b")
_margin = _both(
    _says(r"\b(?:margins?|factor|threshold|limit|toleran\w+|tight\w*|loose\w*|strict\w*|times)\b", r"[×x]\s*\d"),
    _number,
)
_worse = _says(
    r"\b(?:ris\w+|rose|rais\w+|double\w*|twice|triple\w*|worse\w*|increas\w+|grow\w*|spik\w+|jump\w*|climb\w*|times)\b",
    r"\b(?:drop\w*|fall\w*|fell|halv\w+|decreas\w+|harm\w*|up\s+by|higher|lower)\b",
    r"[×x]\s*\d",
)
_strategy = _says(r"\b(?:canary|shadow\w*|dark|full|strategy|at\s+once)\b")
_only = _says(r"\b(?:only|just|limit\w*|restrict\w*|audience|first|everywhere|worldwide|except)\b")
_region = _says(r"\b(?:regions?|countr\w+|continents?|eu|us|uk|emea|apac|europe\w*|asia\w*|america\w*|africa\w*)\b")
_tenant = _says(r"\b(?:tenants?|customers?|accounts?|compan\w+|clients?|organi[sz]ations?)\b")
_put_in = _says(r"\b(?:add|insert|between|another|extra|additional|also|more|put|include)\b")
_take_out = _says(
    r"\b(?:drop|remove|without|leave|skip|delete|omit|no|not|stop|ignore|forget)\b", r"\btake\b.*\b(?:out|away|off)\b"
)
_change = _says(r"\b(?:plan|chang\w+|adjust\w*|instead|rather|careful\w*|cautious\w*|saf\w+|slow\w*|make|differ\w+)\b")

ARGUMENT_CUES: Mapping[str, Mapping[str, Cue]] = {
    "propose_plan": {"strategy": _strategy},
    "set_exposure": {"percent": _either(_share, _says(r"\d", r"\b(?:off|kill|disabl\w+)\b"))},
    "query_metric": {"minutes": _time},
    "explain": {"margin": _margin},
    "estimate": {
        "percent": _share,
        "harm": _worse,
        # Of a rollout that there is, its own checks say what another margin would mean.
        "margin": _both(_margin, lambda scene: not scene.rolling),
    },
    "revise_plan": {
        "start_at": _says(r"\b(?:start\w*|begin\w*|first|initial\w*|smaller|lower|less|open)\b"),
        "stages": _several,
        "add_stages": _both(_put_in, _number),
        "drop_stages": _both(_take_out, _number),
        "hold_minutes": _time,
        "hold_stage": _both(_time, _both(_which_stage, _not(_each))),
        "regions": _either(_region, _both(_only, _not(_tenant))),
        "tenants": _either(_tenant, _both(_only, _not(_region))),
        "audience_until_stage": _both(_which_stage, _either(_only, _either(_region, _tenant))),
        "skip_shadow": _says(r"\bshadow"),
        "strategy": _says(r"\b(?:canary|full|strategy|at\s+once)\b", r"\b(?:add|with|use|want)\b.*\bshadow"),
        "margin": _margin,
        "add_metric": _put_in,
        "drop_metric": _take_out,
    },
}
"""Arguments, and what is said by somebody who gives a reason for them; the others are always offered."""

TOOL_CUES: Mapping[str, Cue] = {
    # It says where a rollout is, and neither why nor for how long.
    "rollout_status": _not(_says(r"\bwhy\b", r"\bhow\s+(?:much\s+)?long", r"\bwhat\s+if\b", r"\bmargins?\b")),
    "estimate": _says(
        r"\b(?:if|suppose|how\s+(?:long|many|much|soon|big|large|fast|quick\w*)|estimat\w+|sample\w*|pro(?:ve|of))\b",
        r"\b(?:notic\w+|catch|caught|blast|radius|affect\w*|reach\w*|hit|impact|would\s+happen)\b",
    ),
    "propose_plan": _says(
        r"\bplan", r"roll\w*\s*-?\s*out", r"\b(?:releas\w+|ship|launch|draft|propos\w+|canary|introduce)\b"
    ),
    "revise_plan": lambda scene: _change(scene) or any(cue(scene) for cue in ARGUMENT_CUES["revise_plan"].values()),
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
"""Tools, and what is said by somebody who may want them; the others are always offered."""

_METRICS = ("metric", "add_metric", "drop_metric")
_PERCENTS = ("percent", "start_at")
_MINUTES = ("minutes", "hold_minutes")
_LISTS = {"stages": "percent", "add_stages": "percent", "drop_stages": "percent"}
"""Lists, and what each of their items is like."""
_WORDS = {
    "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "forty-five": 45, "fifty": 50, "sixty": 60,
    "ninety": 90, "half a": 0.5, "half an": 0.5,
}  # fmt: skip
_SHARES = {
    "half": 50, "quarter": 25, "everyone": 100, "everybody": 100, "all": 100, "full": 100, "fully": 100, "off": 0,
    "zero": 0, "nobody": 0, "kill": 0, "disable": 0,
}  # fmt: skip
_UNITS = {"m": 1, "h": 60, "d": 24 * 60, "w": 7 * 24 * 60}
_LENGTH = re.compile(
    rf"(?<![\w.])(\d+(?:\.\d+)?(?=[\s\w-])|(?:{'|'.join(sorted(_WORDS, key=len, reverse=True))})(?=[\s-]))[\s-]*"
    r"(m|min|mins|minutes?|h|hrs?|hours?|d|days?|w|weeks?)\b",
    re.IGNORECASE,
)


def shortlist(tools: Sequence[Tool[Any]], turn: Turn, briefing: Briefing) -> tuple[Offer, ...]:
    """The tools, with the arguments, that the person's words give a reason for."""
    scene = scene_of(turn, briefing)
    possible = [tool for tool in tools if _is_possible(tool, scene)]
    acting = [tool for tool in possible if tool.effect is not Effect.READ]
    if acting and _instruction(scene) and not _wants_to_know(scene):
        # Who gives an instruction is not answered with a look.
        possible = acting
    offered = offers(possible, briefing.choices())
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
    stages = set(re.findall(r"\bstage\s+(\d{1,2})\b", words, re.IGNORECASE))
    return Scene(
        words=words,
        flags=flags,
        elsewhere=turn.flag not in flags,
        rolling=about_thread or not set(flags).isdisjoint(briefing.rolling),
        paused=not about_thread or (briefing.rollout or {}).get("phase") == PAUSED,
        metrics=_meant(words, briefing.metrics),
        environments=tuple(name for name in {*briefing.environments, *USUAL_ENVIRONMENTS} if _names(words, name)),
        stage=int(stages.pop()) if len(stages) == 1 else None,
        numbers=_numbers(words),
        minutes=_minutes(words),
    )


def _is_possible(tool: Tool[Any], scene: Scene) -> bool:
    if not scene.flags and tool.name not in NEEDS_NO_FLAG:
        return False
    if tool.effect is not Effect.READ and _question(scene):
        return False
    if tool.name in NEEDS_A_ROLLOUT and not scene.rolling:
        return False
    if tool.name == "resume" and not scene.paused:
        return False
    cue = TOOL_CUES.get(tool.name)
    return cue is None or cue(scene)


def _narrowed(offer: Offer, scene: Scene) -> Offer:
    """The offer with the arguments that the words give a reason for; with all of its own where they give none."""
    properties: Mapping[str, Any] = offer.schema.get("properties", {})
    required = [*offer.schema.get("required", ())]
    cues = ARGUMENT_CUES.get(offer.name, {})
    kept = [name for name in properties if name in required or _is_wanted(name, cues, scene)]
    if offer.name == "revise_plan" and not any(name in cues for name in kept):
        kept = [name for name in properties if name in kept or name in cues]
    if scene.elsewhere and "flag" in kept:
        required.append("flag")
    if scene.stage is not None and "hold_stage" in kept:
        required.append("hold_stage")
    narrowed = {name: _named(name, properties[name], scene) for name in kept}
    return replace(offer, schema={**offer.schema, "properties": narrowed, "required": required})


def _is_wanted(name: str, cues: Mapping[str, Cue], scene: Scene) -> bool:
    if name == "flag":
        return bool(scene.flags)
    if name == "environment":
        return bool(scene.environments)
    if name in _METRICS and not scene.metrics:
        return False
    cue = cues.get(name)
    return cue is None or cue(scene)


def _named(name: str, one: Mapping[str, Any], scene: Scene) -> Mapping[str, Any]:
    """The argument's schema with what may be meant, where the words say so."""
    if name in _LISTS:
        return {**one, "items": _named(_LISTS[name], one.get("items", {}), scene)}
    choices: Collection[str | float] = ()
    if name == "flag":
        choices = scene.flags
    elif name == "environment":
        choices = scene.environments
    elif name in _METRICS:
        choices = scene.metrics
    elif name == "hold_stage" and scene.stage is not None:
        choices = [scene.stage]
    elif name in _PERCENTS:
        choices = scene.numbers
    elif name in _MINUTES:
        choices = scene.minutes
    if not choices:
        return one
    return {**{key: value for key, value in one.items() if key not in ("maxLength", "pattern")}, "enum": list(choices)}


def _meant(words: str, names: Iterable[str]) -> tuple[str, ...]:
    """The names that the words have whole, or else those of which they have a part: "the checkout"."""
    every = tuple(names)
    whole = tuple(name for name in every if _names(words, name))
    return whole or tuple(name for name in every if any(_names(words, part) for part in _parts(name)))


def _parts(name: str) -> Collection[str]:
    return [part for part in re.split(r"[-_.:/]", name) if len(part) >= SHORTEST_PART]


def _numbers(words: str) -> tuple[float, ...]:
    """The numbers that are said, in digits or as words, as shares too: half is 50."""
    digits = [float(number) for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.]*\w)", words)]
    spelt = [value for word, value in {**_WORDS, **_SHARES}.items() if len(word) > 2 and _names(words, word)]
    return tuple(dict.fromkeys(map(_plain, [*digits, *spelt])))


def _minutes(words: str) -> tuple[float, ...]:
    """The durations that are said, in minutes."""
    found = [(amount.lower(), unit.lower()[0]) for amount, unit in _LENGTH.findall(words)]
    return tuple(dict.fromkeys(_plain((_WORDS.get(amount) or float(amount)) * _UNITS[unit]) for amount, unit in found))


def _plain(number: float) -> float:
    """A whole number without its decimals, as people and models write it."""
    return int(number) if float(number).is_integer() else number


def _unknown_names(words: str, briefing: Briefing) -> tuple[str, ...]:
    """What looks like a flag's name and is none that is known: a tool says so better than a guess does."""
    known = {*briefing.metrics, *briefing.environments}
    found = re.findall(r"(?<![\w./:@#<-])[A-Za-z][A-Za-z0-9]*(?:[-_.][A-Za-z0-9]+)+(?![\w/])", words)
    return tuple(dict.fromkeys(name for name in found if name not in known))


def _names(words: str, name: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", words, re.IGNORECASE) is not None

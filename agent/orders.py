"""Whether a person's own words order something: a deterministic check that no model has a say in.

What lowers or holds exposure needs no approval, but a model may have misread the person. It happens at once only when
the words name the deed and the flag, as an order: not asked, not denied, not conditional, not quoted, not reported.
Everything else gets a button. Going on after a pause is held to the same, because the person's own vote may be in it.
Being too strict costs a click; being too lax costs an outage.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache


class Deed(StrEnum):
    """What can be ordered."""

    ROLL_BACK = "roll_back"
    KILL = "kill"
    PAUSE = "pause"
    LOWER = "lower"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class Target:
    """What the deed would be done to. `percent` is where exposure would be lowered to."""

    flag: str
    environment: str
    percent: float | None = None


_VERBS: dict[Deed, str] = {
    Deed.ROLL_BACK: r"roll\s*-?\s*back",
    Deed.KILL: r"kill|switch\s+off|turn\s+off|shut\s+off|disable",
    Deed.PAUSE: r"pause|stop|halt",
    Deed.RESUME: r"resume|unpause",
    Deed.LOWER: r"lower|reduce|drop|decrease|bring\s+down|go\s+down|set|take",
}
_VAGUE_VERBS: dict[Deed, str] = {
    Deed.ROLL_BACK: r"revert|back\s+out|undo|take\s+back",
    Deed.RESUME: r"continue(?:\s+with)?|go\s+on\s+with|carry\s+on\s+with|proceed\s+with",
}
"""What is said of plans and talk as well: with these the flag, or "the rollout", has to be named."""
_SPLIT_VERBS: dict[Deed, str] = {
    Deed.ROLL_BACK: r"roll\s+{object}\s+back",
    Deed.KILL: r"(?:switch|turn|shut)\s+{object}\s+off",
}
_VAGUE_SPLIT_VERBS: dict[Deed, str] = {Deed.ROLL_BACK: r"(?:take|back)\s+{object}\s+(?:back|out)"}
_THE_ROLLOUT = r"(?:the|this|that)\s+(?:rollout|release|flag|feature|ramp)"
_IT = rf"it|this|that|{_THE_ROLLOUT}"
_FRONT = (
    r"(?:please|pls|ok(?:ay)?|now|sluice|and|then|yes|just|so|alright|right|let'?s|go|ahead|immediately|quick(?:ly)?)"
)
_POLITE = (
    r"(?:now|please|pls|immediately|asap|at\s+once|right\s+(?:now|away)|quick(?:ly)?|thanks|thank\s+you|everywhere"
    r"|for\s+everyone|completely|again|for\s+(?:now|the\s+moment))"
)
_REASON = r"(?:because|since|due\s+to)\s.+"
_REMARK = (
    r"(?:the|our|we|i|it|it's|there|there's|there\s+are|these|too|something|everybody|everyone|people|users?|customers?"
    r"|tenants|errors?|failures|complaints|alerts|support|sales|conversion|latency|traffic|numbers)(?:\s+\S+){2,}"
)
"""What may be said of the reason without "because": a plain sentence about how things are."""
_UNTIL = r"(?:until|till)\s+[\w ]{1,30}"
_THANKS = re.compile(rf"(?:{_POLITE}|ok(?:ay)?|ty|sorry|go|hurry)(?:[\s,]+(?:you|all|team|{_POLITE}))*", re.IGNORECASE)
_FURTHER = re.compile(r"(?:(?:and|then|please|also)\s+)*(?:tell|show|explain|let)\s.+", re.IGNORECASE)
_DOUBT = re.compile(
    r"\b(?:don'?t|do\s+not|doesn'?t|didn'?t|not|never|no|nope|nah|cannot|can'?t|won'?t|shouldn'?t|wouldn'?t|without|avoid"
    r"|instead|rather|if|in\s+case|when(?:ever)?|unless|once|whether|should|would|could|might|may|maybe|perhaps|suppose"
    r"|imagine|hypothetical(?:ly)?|what|why|how|who|which|about\s+to|able|want\s+to\s+know|explain|says?|said|told|asked"
    r"|wrote|writes|posted|skip|except|happens?|possible|consider|thinking|plan\s+to|before|after|later|tomorrow|next"
    r"|example|e\.g|template|runbook|quote|joke)\b",
    re.IGNORECASE,
)
_RETRACTED = re.compile(
    r"\b(?:don'?t|do\s+not|wait|never\s*mind|nvm|kidding|joking|jk|scratch\s+that|ignore|unless|if|but|not\s+(?:yet|now))\b",
    re.IGNORECASE,
)
_REFUSAL = re.compile(r"\W*(?:no|nope|nah|cancel)\b", re.IGNORECASE)
_QUOTED = re.compile(
    r"```.*?```|`[^`\n]*\s[^`\n]*`|\"[^\"]*\"|“[^”]*”|„[^“”]*[“”]|«[^»]*»|(?<!\w)'[^'\n]*\s[^'\n]*'(?!\w)"
    r"|^\s*(?:>|&gt;).*$",
    re.DOTALL | re.MULTILINE,
)
_MENTION = re.compile(r"<[@!#][^>\n]*>")
_ADDRESS = re.compile(r"^\s*<@[^>\n]*>[\s,:]*")
_SENTENCES = re.compile(r"(?<=[.!?;？！])\s+|\n+")
_HINT = re.compile(r"\b(?:roll|revert|back|undo|take|kill|switch|turn|shut|disable|pause|stop|halt)", re.IGNORECASE)
_TRAILING = re.compile(r"\s+")
_END = re.compile(r"[\s.!,;)]+$")
_PERCENT = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s*(?:%|percent|per\s+cent)")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the words are read in: the thread's flag, and the names there are."""

    thread_flag: str | None
    flags: Collection[str]
    environments: Collection[str]
    usual_environment: str


def may_order(text: str) -> bool:
    """Whether the text may order something that needs no model; if not, nobody need look up what there is to order."""
    return _HINT.search(text) is not None


def may_retract(text: str) -> bool:
    """Whether the text, said after an order, may take it back."""
    return any(_RETRACTED.search(one) or _REFUSAL.match(one) for one in sentences(text))


def names_it(words: Sequence[str], deed: Deed, target: Target, around: Surroundings) -> bool:
    """Whether the person's messages order exactly this deed for exactly this flag and environment.

    One sentence is the order, from its first word to its last: what it does not know in an order makes it none. Before
    it there may be what led to it, behind it thanks and a wish to be told more, for anything else might take it back.
    A sentence that names no flag means the thread's, where no other flag is spoken of.
    """
    said = [sentence for text in words for sentence in sentences(text)]
    named = flags_named(said, {*around.flags, target.flag})
    ordering = [_orders(sentence, deed, target, around, named) for sentence in said]
    if True not in ordering:
        return False
    first = ordering.index(True)
    others = [other for other in Deed if other is not deed]
    return all(
        _leads_up(sentence) and not any(_orders(sentence, other, target, around, named) for other in others)
        for sentence in said[:first]
    ) and all(again or _follows(sentence) for sentence, again in zip(said[first:], ordering[first:], strict=True))


def flags_named(words: Iterable[str], flags: Iterable[str]) -> set[str]:
    """Those of the flags that the words name."""
    texts = list(words)
    return {flag for flag in flags if any(_named(flag, text) for text in texts)}


def sentences(text: str) -> list[str]:
    """What a person says, sentence by sentence; what they only quote, and whom they mention, is "…"."""
    plain = _ADDRESS.sub("", text.replace("’", "'").replace("‘", "'"))
    plain = _MENTION.sub(" … ", _QUOTED.sub(" … ", plain))
    return [_TRAILING.sub(" ", one).strip() for one in _SENTENCES.split(plain) if one.strip()]


def _leads_up(sentence: str) -> bool:
    """Whether an order may come after this."""
    return not (_is_open(sentence) or sentence.endswith(":") or _DOUBT.search(sentence))


def _follows(sentence: str) -> bool:
    """Whether an order stands after which this is said."""
    plain = _END.sub("", sentence)
    if not plain:
        return True
    if _is_open(sentence) or _RETRACTED.search(plain):
        return False
    return _THANKS.fullmatch(plain) is not None or _FURTHER.fullmatch(plain) is not None


def _is_open(sentence: str) -> bool:
    """Whether it asks, or is somebody else's."""
    return "?" in sentence or "？" in sentence or "…" in sentence


def _orders(sentence: str, deed: Deed, target: Target, around: Surroundings, named: Collection[str]) -> bool:
    """`named`: the flags that are spoken of at all."""
    if _is_open(sentence) or not _means_flag(sentence, target, around, named):
        return False
    if deed is Deed.LOWER and not _says_percent(sentence, target.percent):
        return False
    plain = _END.sub("", sentence)
    for form in _forms(deed, target, around.usual_environment):
        found = form.fullmatch(plain)
        if found is not None:
            return not _RETRACTED.search(found["reason"] or "") and not _DOUBT.search(found["remark"] or "")
    return False


def _means_flag(sentence: str, target: Target, around: Surroundings, named: Collection[str]) -> bool:
    here = {flag for flag in {*around.flags, target.flag} if _named(flag, sentence)}
    return here == {target.flag} or (not here and around.thread_flag == target.flag and {*named} <= {target.flag})


@lru_cache(maxsize=256)
def _forms(deed: Deed, target: Target, usual: str) -> list[re.Pattern[str]]:
    """Every way to order it, as patterns of a whole sentence."""
    flag = rf"`?{re.escape(target.flag)}`?"
    name = rf"(?:the\s+)?(?:rollout\s+of\s+|flag\s+)?{flag}(?:'s\s+rollout)?(?:\s+(?:rollout|flag))?"
    thing, plainly = rf"(?:{name}|{_IT})", rf"(?:{name}|{_THE_ROLLOUT})"
    lead, to = rf"(?:{_FRONT}[\s,:!]+)*", ""
    if deed is Deed.LOWER:
        to = r"\s+(?:down\s+)?to\s+\d+(?:\.\d+)?\s*(?:%|percent|per\s+cent)"
    ways = [rf"(?:{_VERBS[deed]})(?:\s+{thing})?{to}", rf"{flag}[\s,:–—-]+(?:{_VERBS[deed]}){to}"]
    if deed in _VAGUE_VERBS:
        ways.append(rf"(?:{_VAGUE_VERBS[deed]})\s+{plainly}")
    if deed in _SPLIT_VERBS:
        ways.append(_SPLIT_VERBS[deed].format(object=thing))
    if deed in _VAGUE_SPLIT_VERBS:
        ways.append(_VAGUE_SPLIT_VERBS[deed].format(object=plainly))
    tail = _tail(deed, target, usual)
    return [re.compile(lead + f"(?:{way})" + tail, re.IGNORECASE) for way in ways]


def _tail(deed: Deed, target: Target, usual: str) -> str:
    """What may stand behind the deed: politeness, the environment, for how long it is held, and a reason."""
    names = {target.environment, *(("prod",) if target.environment == "production" else ())}
    where = rf"\s+(?:in|on)\s+(?:the\s+)?(?:{'|'.join(sorted(map(re.escape, names)))})(?:\s+environment)?"
    # Any other environment than the usual one has to be named.
    where = rf"(?:{where})?" if target.environment == usual else where
    politely = rf"(?:[\s,]+{_POLITE})*"
    until = rf"(?:\s+{_UNTIL})?" if deed is Deed.PAUSE else ""
    # To go on is a decision: its reason may be a condition.
    never = "(?P<reason>(?!))?(?P<remark>(?!))?"
    because = rf"(?:[\s,]+(?P<reason>{_REASON})|(?:[,:]\s+|\s[—–-]\s)(?P<remark>{_REMARK}))?"
    reason = never if deed is Deed.RESUME else because
    return politely + where + until + politely + reason


def _says_percent(sentence: str, percent: float | None) -> bool:
    said = {float(number) for number in _PERCENT.findall(sentence)}
    return percent is not None and said == {percent}


def _named(name: str, sentence: str) -> bool:
    return re.search(rf"(?<![\w./:-]){re.escape(name)}(?![\w/-]|[.:]\w)", sentence, re.IGNORECASE) is not None

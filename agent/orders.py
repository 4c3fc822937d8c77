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
    Deed.ROLL_BACK: r"roll\s*-?\s*back|revert|back\s+out|undo|take\s+back",
    Deed.KILL: r"kill|switch\s+off|turn\s+off|shut\s+off|disable",
    Deed.PAUSE: r"pause|stop|halt",
    Deed.RESUME: r"resume|unpause|continue|go\s+on(?:\s+with)?|carry\s+on(?:\s+with)?|proceed(?:\s+with)?",
    Deed.LOWER: r"lower|reduce|drop|decrease|bring\s+down|go\s+down|set|take",
}
_SPLIT_VERBS: dict[Deed, str] = {
    Deed.ROLL_BACK: r"(?:roll|take|back)\s+{object}\s+(?:back|out)",
    Deed.KILL: r"(?:switch|turn|shut)\s+{object}\s+off",
}
_IT = r"it|this|that|them|(?:the|this|that)\s+(?:rollout|release|flag|feature|ramp)|everything"
_FRONT = (
    r"(?:please|pls|ok(?:ay)?|now|sluice|and|then|yes|just|so|alright|right|let'?s|go|ahead|immediately|quick(?:ly)?)"
)
_AFTER = (
    r"(?=$|[.,;:!)\n]|\s+(?:now|please|pls|immediately|asap|at\s+once|right|in|on|because|since|due|to|for|and|then|again|"
    r"until|till|while|—|–|-|thanks|thank|everywhere|completely|today|all)\b|\s+[—–-])"
)
_DOUBT = re.compile(
    r"\b(?:don'?t|do\s+not|doesn'?t|didn'?t|not|never|no|cannot|can'?t|won'?t|shouldn'?t|wouldn'?t|without|avoid|instead|rather|"
    r"if|when(?:ever)?|unless|once|whether|should|would|could|might|may|maybe|perhaps|suppose|imagine|hypothetical(?:ly)?|"
    r"what|why|how|who|which|about\s+to|able|want\s+to\s+know|explain|says?|said|told|asked|wrote|writes|skip|except|"
    r"happens?|possible|consider|thinking|plan\s+to|before|after|later|tomorrow|next)\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(
    r"```.*?```|`[^`\n]*\s[^`\n]*`|\"[^\"\n]*\"|“[^”\n]*”|«[^»\n]*»|(?<!\w)'[^'\n]*\s[^'\n]*'(?!\w)|^\s*(?:>|&gt;).*$",
    re.DOTALL | re.MULTILINE,
)
_MENTION = re.compile(r"<[@!#][^>\n]*>")
_SENTENCES = re.compile(r"(?<=[.!?;])\s+|\n+")
_USUAL_ENVIRONMENTS = ("production", "prod", "staging", "development", "dev", "qa", "test", "preview")
_TRAILING = re.compile(r"\s+")
_PERCENT = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s*(?:%|percent|per\s+cent)")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the words are read in: the thread's flag, and the names there are."""

    thread_flag: str | None
    flags: Collection[str]
    environments: Collection[str]
    usual_environment: str


def names_it(words: Sequence[str], deed: Deed, target: Target, around: Surroundings) -> bool:
    """Whether one of the person's messages orders exactly this deed for exactly this flag and environment.

    A message that names no flag means the thread's; one that names another flag in the same sentence orders nothing.
    """
    return any(_orders(sentence, deed, target, around) for text in words for sentence in sentences(text))


def flags_named(words: Iterable[str], flags: Iterable[str]) -> set[str]:
    """Those of the flags that the words name."""
    texts = list(words)
    return {flag for flag in flags if any(_named(flag, text) for text in texts)}


def sentences(text: str) -> list[str]:
    """What a person says, sentence by sentence; what they only quote is "…"."""
    plain = _MENTION.sub(" ", _QUOTED.sub(" … ", text.replace("’", "'").replace("‘", "'")))
    return [_TRAILING.sub(" ", one).strip() for one in _SENTENCES.split(plain) if one.strip()]


def _orders(sentence: str, deed: Deed, target: Target, around: Surroundings) -> bool:
    if sentence.endswith("?") or "…" in sentence or _DOUBT.search(_without_reason(sentence)):
        return False
    if not _means_flag(sentence, target, around) or not _means_environment(sentence, target, around):
        return False
    if deed is Deed.LOWER and not _says_percent(sentence, target.percent):
        return False
    return _is_imperative(sentence, deed, target.flag)


def _means_flag(sentence: str, target: Target, around: Surroundings) -> bool:
    named = {flag for flag in {*around.flags, target.flag} if _named(flag, sentence)}
    return named == {target.flag} or (not named and around.thread_flag == target.flag)


def _means_environment(sentence: str, target: Target, around: Surroundings) -> bool:
    named = {name for name in {*around.environments, *_USUAL_ENVIRONMENTS} if _named(name, sentence)}
    if named and target.environment == "production":
        named = {"production" if name == "prod" else name for name in named}
    return named == {target.environment} or (not named and target.environment == around.usual_environment)


def _without_reason(sentence: str) -> str:
    """The order without what follows "because": a reason may hold any word."""
    return re.split(r"\b(?:because|since|due\s+to|as\s+there)\b|:\s|\s[—–-]\s", sentence, maxsplit=1)[0]


def _is_imperative(sentence: str, deed: Deed, flag: str) -> bool:
    name = rf"`?{re.escape(flag)}`?(?:'s\s+rollout)?(?:\s+(?:rollout|flag))?"
    thing = rf"(?:(?:the\s+)?(?:rollout\s+of\s+|flag\s+)?{name}|{_IT})"
    lead = rf"^(?:{_FRONT}[\s,:!]+)*"
    to = r"(?:\s+(?:down\s+)?to\s+\d.*)?" if deed is Deed.LOWER else ""
    forms = [rf"{lead}(?:{_VERBS[deed]})(?:\s+(?:back\s+)?{thing})?{to}{_AFTER}"]
    if deed in _SPLIT_VERBS:
        forms.append(lead + _SPLIT_VERBS[deed].format(object=thing) + _AFTER)
    # The flag first: "new-checkout: roll back".
    forms.append(rf"{lead}`?{re.escape(flag)}`?[\s,:–—-]+(?:{_VERBS[deed]}){to}{_AFTER}")
    return any(re.search(form, sentence, re.IGNORECASE) for form in forms)


def _says_percent(sentence: str, percent: float | None) -> bool:
    said = {float(number) for number in _PERCENT.findall(sentence)}
    return percent is not None and said == {percent}


def _named(name: str, sentence: str) -> bool:
    return re.search(rf"(?<![\w./:-]){re.escape(name)}(?![\w/-]|[.:]\w)", sentence, re.IGNORECASE) is not None

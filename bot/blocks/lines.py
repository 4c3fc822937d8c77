"""A line for each thing that can happen, for the thread, the history and the alerts channel."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bot import texts
from bot.blocks.mrkdwn import clock_time, escape, moment_of, person
from tools.rollouts.events import Happening


class _Facts(dict[str, str]):
    """What is filled into a sentence; a fact that an older release did not write is said to be missing."""

    def __missing__(self, key: str) -> str:
        return texts.NOT_SAID


def line(what: Happening, actor: str, facts: Mapping[str, Any]) -> str:
    """One line of mrkdwn that says what happened. Total: odd or missing facts never fail."""
    known = _Facts({name: _shown(name, value) for name, value in facts.items() if value is not None})
    known["actor"] = person(actor)
    known |= _composed(what, facts, known)
    return texts.LINES[what].format_map(known).strip()


def _composed(what: Happening, facts: Mapping[str, Any], known: _Facts) -> dict[str, str]:
    match what:
        case Happening.APPROVAL_REQUESTED:
            return {"question": _question(facts).format_map(known)}
        case Happening.APPROVAL_VOTED:
            mark, voted = texts.VOTED.get(str(facts.get("answer")), texts.VOTED["approve"])
            because = texts.BECAUSE.format_map(known) if facts.get("reason") else ""
            return {"vote": mark, "voted": voted, "because": because}
        case Happening.APPROVAL_GRANTED:
            return {"by": _people(facts.get("by"))}
        case Happening.CONFIRMATION_ASKED | Happening.CONFIRMATION_GIVEN | Happening.CONFIRMATION_DISMISSED:
            return {"deed": texts.DEEDS.get(str(facts.get("action")), texts.NOT_SAID).format_map(known)}
        case Happening.PLAN_REVISED:
            asked = texts.ASKED.format_map(known) if facts.get("reason") else ""
            return {"changes": _changes(facts.get("changes")), "asked": asked}
        case Happening.CHANGED_BY_HAND:
            return {"raised": texts.RAISED_BY_HAND if facts.get("raised") else texts.LOWERED_BY_HAND}
        case _:
            return {}


def _question(facts: Mapping[str, Any]) -> str:
    if facts.get("purpose") == "start":
        return texts.QUESTION_START
    return texts.QUESTION_PROMOTE if facts.get("to_exposure") else texts.QUESTION_FINISH


def _changes(changes: object) -> str:
    if not isinstance(changes, (list, tuple)) or not changes:
        return ""
    return texts.CHANGES.format(changes="; ".join(escape(one) for one in changes))


def _people(ids: object) -> str:
    return ", ".join(person(str(one)) for one in ids) if isinstance(ids, (list, tuple)) and ids else texts.NOT_SAID


_MOMENTS = {"expires_at": moment_of, "until": clock_time, "since": clock_time}


def _shown(name: str, value: object) -> str:
    if name in _MOMENTS:
        try:
            return _MOMENTS[name](datetime.fromisoformat(str(value)))
        except ValueError:
            return escape(value)
    return escape(value)

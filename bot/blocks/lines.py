"""A line for each thing that can happen, for the thread, the history and the alerts channel."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bot import texts
from bot.blocks.mrkdwn import clock_time, escape, moment_of, name, person
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
            if facts.get("lapsed"):
                because += texts.VOTES_LAPSED.format(people=_people(facts.get("lapsed")))
            return {"vote": mark, "voted": voted, "because": because}
        case Happening.APPROVAL_GRANTED:
            return {"by": _people(facts.get("by"))}
        case Happening.CONFIRMATION_ASKED | Happening.CONFIRMATION_GIVEN | Happening.CONFIRMATION_DISMISSED:
            return {"deed": texts.DEEDS.get(str(facts.get("action")), texts.NOT_SAID).format_map(known)}
        case Happening.PLAN_REVISED:
            asked = texts.ASKED.format_map(known) if facts.get("reason") else ""
            return {"changes": _changes(facts.get("changes")), "asked": asked}
        case Happening.FREEZE_MADE | Happening.FREEZE_LIFTED | Happening.FREEZE_HOLDS | Happening.FREEZE_OVER:
            return _freeze(facts)
        case (
            Happening.ACCEPTANCE_GIVEN
            | Happening.ACCEPTANCE_WITHDRAWN
            | Happening.ACCEPTANCE_EXPIRED
            | Happening.ACCEPTANCE_VOIDED
        ):
            return _acceptance(facts, known)
        case Happening.CHANGED_BY_HAND:
            return {"raised": texts.RAISED_BY_HAND if facts.get("raised") else texts.LOWERED_BY_HAND}
        case _:
            return {}


def _freeze(facts: Mapping[str, Any]) -> dict[str, str]:
    until, by = facts.get("until"), facts.get("by")
    ends = texts.FREEZE_OPEN if until is None else texts.FREEZE_ENDS.format(until=_moment(until))
    if facts.get("begins_later"):
        ends = texts.FREEZES_FROM.format(start=_moment(facts.get("start")), ends=ends)
    by_whom = texts.FREEZE_OF_SETTINGS if by is None else texts.FREEZE_BY.format(person=person(str(by)))
    of = frozen(facts.get("environments"), facts.get("of_flag"), facts.get("tags"))
    return {"of": of, "ends": ends, "by_whom": by_whom}


def frozen(environments: object, flag: object, tags: object) -> str:
    """What a freeze is meant for, in words."""
    where = ", ".join(map(name, environments)) if isinstance(environments, (list, tuple)) and environments else ""
    tagged = ", ".join(map(name, tags)) if isinstance(tags, (list, tuple)) and tags else ""
    what = texts.FREEZE_TAGGED.format(tags=tagged) if tagged else texts.FREEZE_EVERYTHING
    what = f"`{name(flag)}`" if flag is not None else what
    return texts.FREEZE_OF.format(what=what, environments=where or texts.FREEZE_EVERYWHERE)


def _acceptance(facts: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, str]:
    far = texts.FAR_WORSE.format_map(known) if facts.get("far") is not None else ""
    return {"by": person(str(facts.get("by") or "?")), "ends_at": _moment(facts.get("until")), "far_worse": far}


def _moment(value: object) -> str:
    try:
        return moment_of(datetime.fromisoformat(str(value)))
    except ValueError:
        return escape(value)


def _question(facts: Mapping[str, Any]) -> str:
    if facts.get("purpose") == "start":
        return texts.QUESTION_START_FROM if facts.get("before") else texts.QUESTION_START
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

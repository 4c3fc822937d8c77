"""Freezes in words, a list of them, and the dialog that makes one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from slack_sdk.models.blocks import (
    Block,
    ButtonElement,
    DateTimePickerElement,
    InputBlock,
    Option,
    PlainTextInputElement,
    SectionBlock,
    StaticSelectElement,
)
from slack_sdk.models.views import View

from bot import texts
from bot.blocks import parts
from bot.blocks.dialogs import kept_reason
from bot.blocks.lines import frozen
from bot.blocks.mrkdwn import escape, moment_of, person, plain
from bot.blocks.sent import MENU, MOMENT, TEXT, Asks
from tools.rollouts.freezes import MOST_REASON, FreezeView

FREEZE = "freeze.submitted"
OPEN, LIFT = "freeze.open", "freeze.lift"
ENVIRONMENT, FLAG, TAG, START, UNTIL, REASON = "environment", "flag", "tag", "start", "until", "reason"
ASKS: Asks = {
    (ENVIRONMENT, ENVIRONMENT): MENU,
    (FLAG, FLAG): TEXT,
    (TAG, TAG): TEXT,
    (START, START): MOMENT,
    (UNTIL, UNTIL): MOMENT,
    (REASON, REASON): TEXT,
}
MOST_SHOWN = 20
MOST_OPTIONS, MOST_OPTION_TEXT, MOST_OPTION_VALUE = 100, 75, 150


@dataclass(frozen=True, slots=True)
class Filled:
    """What the dialog begins with, or was sent with."""

    environment: str = ""
    flag: str = ""
    tag: str = ""
    start: datetime | None = None
    until: datetime | None = None
    reason: str = ""


def notice(freeze: FreezeView) -> str:
    """What a card says of the freeze that keeps it where it is."""
    return texts.FREEZE_NOTICE.format_map(_facts(freeze))


def refusal(freeze: FreezeView) -> str:
    """Why something that would go up was refused."""
    return texts.FREEZE_REFUSED.format_map(_facts(freeze))


def freezes_blocks(freezes: Sequence[FreezeView], at: datetime) -> list[Block]:
    """Every freeze, with a button for those that a person may lift."""
    if not freezes:
        return [parts.section(texts.FREEZES_NONE)]
    return [parts.section(texts.FREEZES_TITLE), *(_listed(one, at) for one in freezes[:MOST_SHOWN])]


def said(sentence: str, freeze: FreezeView) -> str:
    """A sentence about what happened to a freeze; its span is as it was when it was made."""
    facts = _facts(freeze)
    return sentence.format_map({**facts, "span": _span(freeze, facts, freeze.made_at or freeze.start)})


def open_button() -> ButtonElement:
    """A button that opens the dialog, wherever it stands."""
    return parts.button(texts.FREEZE_OPEN_BUTTON, OPEN, "-")


def freeze_dialog(filled: Filled, environments: Sequence[str], *, origin: str | None) -> View:
    """The dialog. `origin` is the channel that answers go to, where it was opened from one."""
    # What was typed is offered first, unless Slack can't carry it as an option.
    typed = [filled.environment] if 0 < len(filled.environment) <= MOST_OPTION_VALUE else []
    offered = list(dict.fromkeys((*typed, *environments)))
    options = [Option(text=parts.words(one, MOST_OPTION_TEXT), value=one) for one in offered[:MOST_OPTIONS]]
    blocks: list[Block] = [
        parts.section(texts.FREEZE_INTRO),
        InputBlock(
            block_id=ENVIRONMENT,
            label=parts.words(texts.FREEZE_ENVIRONMENT, 200),
            element=StaticSelectElement(action_id=ENVIRONMENT, options=options, initial_option=options[0]),
        ),
        InputBlock(
            block_id=FLAG,
            optional=True,
            label=parts.words(texts.FREEZE_FLAG, 200),
            hint=parts.words(texts.FREEZE_FLAG_HINT, 200),
            element=PlainTextInputElement(action_id=FLAG, max_length=200, initial_value=filled.flag or None),
        ),
        InputBlock(
            block_id=TAG,
            optional=True,
            label=parts.words(texts.FREEZE_TAG, 200),
            hint=parts.words(texts.FREEZE_TAG_HINT, 200),
            element=PlainTextInputElement(action_id=TAG, max_length=200, initial_value=filled.tag or None),
        ),
        moment_input(START, texts.FREEZE_START, texts.FREEZE_START_HINT, filled.start),
        until_input(texts.FREEZE_UNTIL, texts.FREEZE_UNTIL_HINT, filled.until, optional=True),
        reason_input(texts.FREEZE_REASON, texts.FREEZE_REASON_HINT, MOST_REASON),
    ]
    return View(
        type="modal",
        callback_id=FREEZE,
        title=parts.words(texts.FREEZE_TITLE, parts.MAX_MODAL_TITLE),
        submit=parts.words(texts.FREEZE_SUBMIT, parts.MAX_MODAL_TITLE),
        close=parts.words(texts.CLOSE, parts.MAX_MODAL_TITLE),
        private_metadata=json.dumps({"id": "", "channel": origin}),
        blocks=blocks,
    )


def until_input(label: str, hint: str, initial: datetime | None, *, optional: bool) -> Block:
    """Asks for the moment at which it is over."""
    return moment_input(UNTIL, label, hint, initial, optional=optional)


def moment_input(block: str, label: str, hint: str, initial: datetime | None, *, optional: bool = True) -> Block:
    """Asks for a moment."""
    moment = None if initial is None else int(initial.timestamp())
    return InputBlock(
        block_id=block,
        optional=optional,
        label=parts.words(label, 200),
        hint=parts.words(hint, 200),
        element=DateTimePickerElement(action_id=block, initial_date_time=moment),
    )


def reason_input(label: str, hint: str, most: int) -> Block:
    """Asks why."""
    return InputBlock(
        block_id=REASON,
        label=parts.words(label, 200),
        hint=parts.words(hint, 200),
        element=PlainTextInputElement(action_id=REASON, multiline=True, max_length=most),
    )


def filled_in(view: Mapping[str, Any]) -> Filled:
    """What was sent."""
    values = view["state"]["values"]
    return Filled(
        environment=str((values[ENVIRONMENT][ENVIRONMENT].get("selected_option") or {}).get("value") or ""),
        flag=str(values[FLAG][FLAG].get("value") or "").strip().strip("`"),
        tag=str(values[TAG][TAG].get("value") or "").strip().strip("`#"),
        start=_moment_in(view, START),
        until=until_in(view),
        reason=reason_in(view),
    )


def until_in(view: Mapping[str, Any]) -> datetime | None:
    """The moment at which it is to be over; None when none was chosen."""
    return _moment_in(view, UNTIL)


def _moment_in(view: Mapping[str, Any], block: str) -> datetime | None:
    chosen = view["state"]["values"][block][block].get("selected_date_time")
    return None if chosen is None else datetime.fromtimestamp(int(chosen), UTC)


def reason_in(view: Mapping[str, Any]) -> str:
    """The reason as it is kept; empty when none was given."""
    return kept_reason(view["state"]["values"][REASON][REASON].get("value"))


def _listed(freeze: FreezeView, at: datetime) -> Block:
    facts = _facts(freeze)
    facts["span"] = _span(freeze, facts, at)
    text = parts.mrkdwn(texts.FREEZES_LINE.format_map(facts))
    if freeze.id is None:
        return SectionBlock(text=text)
    title, question, yes, no = texts.CONFIRM_LIFT
    dialog = title, question.format(reason=plain(freeze.reason, 200)), yes, no
    return SectionBlock(text=text, accessory=parts.button(texts.FREEZE_LIFT, LIFT, freeze.id, confirm=dialog))


def _span(freeze: FreezeView, facts: Mapping[str, str], at: datetime) -> str:
    return texts.FREEZES_FROM.format_map(facts) if freeze.start > at else facts["ends"]


def _facts(freeze: FreezeView) -> dict[str, str]:
    ends = texts.FREEZE_OPEN if freeze.end is None else texts.FREEZE_ENDS.format(until=moment_of(freeze.end))
    return {
        "of": frozen(freeze.environments, freeze.flag, freeze.tags),
        "start": moment_of(freeze.start),
        "ends": ends,
        "by": texts.FREEZE_OF_SETTINGS if freeze.by is None else texts.FREEZE_BY.format(person=person(freeze.by)),
        "reason": escape(freeze.reason.rstrip("."), MOST_REASON),
    }

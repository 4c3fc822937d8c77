"""The dialog in which a person says what they want to be told, and when not."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import time
from typing import Any

from slack_sdk.models.blocks import (
    Block,
    ButtonElement,
    CheckboxesElement,
    InputBlock,
    Option,
    RadioButtonsElement,
    TimePickerElement,
)
from slack_sdk.models.views import View

from bot import texts
from bot.blocks import parts
from bot.blocks.mrkdwn import escape
from bot.blocks.sent import BOXES, CLOCK, RADIO, Asks
from bot.preferences import Own, Preferences, clock, known_zone
from bot.quiet import EVERY_DAY, QuietHours

NOTIFY = "notify.submitted"
OPEN = "notify.open"
APPROVALS, OWN, FROM, TO, DAYS = "approvals", "own", "quiet_from", "quiet_to", "quiet_days"
ON, OFF = "on", "off"
ASKS: Asks = {
    (APPROVALS, APPROVALS): RADIO,
    (OWN, OWN): RADIO,
    (FROM, FROM): CLOCK,
    (TO, TO): CLOCK,
    (DAYS, DAYS): BOXES,
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was sent; `start` and `end` are None where they were left empty."""

    approvals: bool
    own: Own
    start: time | None
    end: time | None
    days: frozenset[int]
    zone: str

    def faults(self) -> dict[str, str]:
        """What is wrong with it, by block."""
        if (self.start is None) != (self.end is None):
            return {TO if self.end is None else FROM: texts.NOTIFY_BOTH}
        if self.start is not None and not self.days:
            return {DAYS: texts.NOTIFY_NO_DAYS}
        return {}

    def preferences(self) -> Preferences:
        """The same, once it has no faults."""
        quiet = None
        if self.start is not None and self.end is not None:
            quiet = QuietHours(self.start, self.end, self.zone, self.days)
        return Preferences(self.approvals, self.own, quiet)


def open_button() -> ButtonElement:
    """A button that opens the dialog."""
    return parts.button(texts.NOTIFY_OPEN, OPEN, "-")


def loading_dialog() -> View:
    """What stands there while the person's choices are read."""
    return _dialog([parts.section(texts.NOTIFY_LOADING)], submit=False, zone="", origin=None)


def notify_dialog(chosen: Preferences, zone: str, *, origin: str | None) -> View:
    """The dialog with what the person chose; `zone` is theirs, `origin` the channel that it was opened from."""
    quiet = chosen.quiet
    approvals = [Option(text=parts.words(label, 75), value=value) for value, label in texts.NOTIFY_APPROVALS_CHOICES]
    own = [
        Option(text=parts.words(label, 75), description=parts.words(says, 75), value=value.value)
        for value, (label, says) in texts.NOTIFY_OWN_CHOICES.items()
    ]
    days = [
        Option(text=parts.words(label, 75), value=str(number)) for number, label in enumerate(texts.NOTIFY_DAY_NAMES)
    ]
    of_days = EVERY_DAY if quiet is None else quiet.days
    blocks = [
        parts.section(texts.NOTIFY_INTRO),
        _input(
            APPROVALS,
            texts.NOTIFY_APPROVALS,
            RadioButtonsElement(
                action_id=APPROVALS, options=approvals, initial_option=approvals[0 if chosen.approvals else 1]
            ),
        ),
        _input(
            OWN,
            texts.NOTIFY_OWN,
            RadioButtonsElement(action_id=OWN, options=own, initial_option=own[list(Own).index(chosen.own)]),
        ),
        _clock_input(FROM, texts.NOTIFY_QUIET_FROM, None if quiet is None else quiet.start, hint=None),
        _clock_input(TO, texts.NOTIFY_QUIET_TO, None if quiet is None else quiet.end, hint=texts.NOTIFY_QUIET_HINT),
        _input(
            DAYS,
            texts.NOTIFY_DAYS,
            CheckboxesElement(
                action_id=DAYS, options=days, initial_options=[days[number] for number in sorted(of_days)] or None
            ),
            optional=True,
        ),
        parts.context(texts.NOTIFY_ZONE.format(zone=escape(zone, 80))),
    ]
    return _dialog(blocks, submit=True, zone=zone, origin=origin)


def chosen_in(view: Mapping[str, Any]) -> Chosen:
    """What was sent."""
    values = view["state"]["values"]
    try:
        own = Own(_option(values, OWN))
    except ValueError:
        own = Own.NOTHING
    days = values.get(DAYS, {}).get(DAYS, {}).get("selected_options") or []
    return Chosen(
        approvals=_option(values, APPROVALS) != OFF,
        own=own,
        start=clock(values.get(FROM, {}).get(FROM, {}).get("selected_time")),
        end=clock(values.get(TO, {}).get(TO, {}).get("selected_time")),
        days=_days(str(one.get("value")) for one in days),
        zone=_zone(str(view.get("private_metadata") or "")),
    )


def saved(chosen: Preferences) -> str:
    """What was kept, in a sentence."""
    quiet, span = chosen.quiet, texts.NOTIFY_QUIET_NONE
    if quiet is not None:
        span = texts.NOTIFY_QUIET_SPAN.format(
            start=f"{quiet.start:%H:%M}", end=f"{quiet.end:%H:%M}", zone=escape(quiet.zone, 80)
        )
    return texts.NOTIFY_SAVED.format(
        approvals=ON if chosen.approvals else OFF, own=texts.NOTIFY_OWN_CHOICES[chosen.own][0].lower(), quiet=span
    )


def _dialog(blocks: list[Block], *, submit: bool, zone: str, origin: str | None) -> View:
    return View(
        type="modal",
        callback_id=NOTIFY,
        title=parts.words(texts.NOTIFY_TITLE, parts.MAX_MODAL_TITLE),
        submit=parts.words(texts.NOTIFY_SUBMIT, parts.MAX_MODAL_TITLE) if submit else None,
        close=parts.words(texts.CLOSE, parts.MAX_MODAL_TITLE),
        private_metadata=json.dumps({"id": zone, "channel": origin}),
        blocks=blocks,
    )


def _input(block: str, label: str, element: Any, *, hint: str | None = None, optional: bool = False) -> Block:
    return InputBlock(
        block_id=block,
        label=parts.words(label, 200),
        element=element,
        hint=None if hint is None else parts.words(hint, 200),
        optional=optional,
    )


def _clock_input(block: str, label: str, initial: time | None, *, hint: str | None) -> Block:
    element = TimePickerElement(action_id=block, initial_time=None if initial is None else f"{initial:%H:%M}")
    return _input(block, label, element, hint=hint, optional=True)


def _option(values: Mapping[str, Any], block: str) -> str:
    return str((values.get(block, {}).get(block, {}).get("selected_option") or {}).get("value"))


def _days(values: Iterable[str]) -> frozenset[int]:
    return frozenset(int(value) for value in values if value in {str(day) for day in EVERY_DAY})


def _zone(metadata: str) -> str:
    try:
        return known_zone(str(json.loads(metadata)["id"]))
    except (ValueError, KeyError, TypeError):
        return known_zone("")

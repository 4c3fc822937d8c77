"""The dialog that starts a rollout: which flag, where, how carefully, and where its card will be."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slack_sdk.models.blocks import (
    Block,
    ButtonElement,
    ConversationFilter,
    ConversationSelectElement,
    ExternalDataSelectElement,
    InputBlock,
    Option,
    PlainTextInputElement,
    StaticSelectElement,
)
from slack_sdk.models.views import View

from bot import texts
from bot.blocks import parts
from bot.blocks.mrkdwn import plain
from bot.blocks.sent import MENU, PLACE, SEARCH, TEXT, Asks
from tools.flags.base import FlagState
from tools.plans.model import Strategy

START = "rollout.plan.submitted"
OPEN = "rollout.plan.open"
"""The action id of a button that opens the dialog, wherever it stands; its value is nothing, or a flag's name."""
FLAG, ENVIRONMENT, STRATEGY, CHANNEL, NOTE = "flag", "environment", "strategy", "channel", "note"
FLAGS = "rollout.plan.flag"
"""The action id of the menu of flags, whose options are asked for while one types."""
ASKS: Asks = {
    (FLAG, FLAGS): SEARCH,
    (ENVIRONMENT, ENVIRONMENT): MENU,
    (STRATEGY, STRATEGY): MENU,
    (CHANNEL, CHANNEL): PLACE,
    (NOTE, NOTE): TEXT,
}
UNDECIDED = "undecided"
NOT_A_FLAG = "-"
"""The value of an option that says why there is none to choose."""
MOST_OPTIONS = 100
MOST_OPTION_TEXT, MOST_OPTION_VALUE = 75, 150
MOST_NOTE = 500


@dataclass(frozen=True, slots=True)
class Wish:
    """What the dialog begins with, or was sent with; `channel` is None where nobody has said yet."""

    flag: str = ""
    environment: str = ""
    strategy: Strategy | None = None
    channel: str | None = None
    note: str = ""


def open_button() -> ButtonElement:
    """A button that opens the dialog."""
    return parts.button(texts.START_OPEN, OPEN, UNDECIDED)


def start_dialog(wish: Wish, environments: Sequence[str], *, origin: str | None, routed: bool = False) -> View:
    """The dialog. `origin` is the channel that answers go to, where it was opened from one.

    The environment of the wish is chosen in it, whether it is one of `environments` or not; without one nothing is
    chosen. `routed`: alerts go by routes, whatever channel is chosen.
    """
    blocks: list[Block] = [
        parts.section(texts.START_INTRO),
        InputBlock(
            block_id=FLAG,
            label=parts.words(texts.START_FLAG, 200),
            element=ExternalDataSelectElement(
                action_id=FLAGS,
                placeholder=parts.words(texts.START_FLAG_PLACEHOLDER, 150),
                min_query_length=0,
                initial_option=flag_option(wish.flag) if wish.flag else None,
                focus_on_load=not wish.flag,
            ),
        ),
        _environments(wish.environment, environments),
        _menu(
            STRATEGY,
            texts.START_STRATEGY,
            [_option(value, *texts.START_STRATEGIES[value]) for value in (UNDECIDED, *Strategy)],
            wish.strategy or UNDECIDED,
        ),
        InputBlock(
            block_id=CHANNEL,
            label=parts.words(texts.START_CHANNEL, 200),
            hint=parts.words(texts.START_CHANNEL_ROUTED, 200) if routed else None,
            element=ConversationSelectElement(
                action_id=CHANNEL,
                initial_conversation=wish.channel,
                default_to_current_conversation=wish.channel is None or None,
                filter=ConversationFilter(include=["public", "private"], exclude_bot_users=True),
            ),
        ),
        InputBlock(
            block_id=NOTE,
            optional=True,
            label=parts.words(texts.START_NOTE, 200),
            hint=parts.words(texts.START_NOTE_HINT, 200),
            element=PlainTextInputElement(
                action_id=NOTE, multiline=True, max_length=MOST_NOTE, initial_value=wish.note[:MOST_NOTE] or None
            ),
        ),
        parts.context(texts.START_FOOT),
    ]
    return View(
        type="modal",
        callback_id=START,
        title=parts.words(texts.START_TITLE, parts.MAX_MODAL_TITLE),
        submit=parts.words(texts.START_SUBMIT, parts.MAX_MODAL_TITLE),
        close=parts.words(texts.CLOSE, parts.MAX_MODAL_TITLE),
        private_metadata=json.dumps({"id": "", "channel": origin}),
        blocks=blocks,
    )


def loading_dialog(origin: str | None) -> View:
    """What is shown while it is found out what the dialog begins with."""
    return View(
        type="modal",
        callback_id=START,
        title=parts.words(texts.START_TITLE, parts.MAX_MODAL_TITLE),
        close=parts.words(texts.CLOSE, parts.MAX_MODAL_TITLE),
        private_metadata=json.dumps({"id": "", "channel": origin}),
        blocks=[parts.section(texts.START_LOADING)],
    )


def wish_in(view: Mapping[str, Any]) -> Wish:
    """What was filled in; a flag that is none is empty."""
    values = view["state"]["values"]
    flag = _chosen(values[FLAG][FLAGS])
    strategy = _chosen(values[STRATEGY][STRATEGY])
    return Wish(
        flag="" if flag == NOT_A_FLAG else flag,
        environment=_chosen(values[ENVIRONMENT][ENVIRONMENT]),
        strategy=Strategy(strategy) if strategy in list(Strategy) else None,
        channel=values[CHANNEL][CHANNEL].get("selected_conversation"),
        note=str(values[NOTE][NOTE].get("value") or "").strip(),
    )


def environment_in(view: Mapping[str, Any]) -> str:
    """The environment that is chosen in a dialog that is still being filled in; empty where there is none.

    As long as nobody touched the menu it may be known only by what the dialog began with.
    """
    values = (view.get("state") or {}).get("values") or {}
    if (chosen := values.get(ENVIRONMENT, {}).get(ENVIRONMENT)) is not None:
        return _chosen(chosen)
    menus = [one["element"] for one in view.get("blocks") or () if one.get("block_id") == ENVIRONMENT]
    return next((_chosen({"selected_option": menu.get("initial_option")}) for menu in menus), "")


def flag_options(flags: Sequence[FlagState]) -> list[Option]:
    """The flags to choose from, each with what is served now; those whose names Slack can't carry are left out."""
    able = [one for one in flags if len(one.ref.flag) <= MOST_OPTION_VALUE]
    return [flag_option(one.ref.flag, texts.START_SERVED.format(exposure=one.exposure)) for one in able[:MOST_OPTIONS]]


def flag_option(flag: str, said: str = "") -> Option:
    """A flag as a choice."""
    return _option(flag, flag, said)


def no_option(why: str) -> Option:
    """What the menu shows where there is nothing to choose; choosing it is refused when the dialog is sent."""
    return _option(NOT_A_FLAG, why)


def _option(value: str, label: str, description: str = "") -> Option:
    return Option(
        value=value,
        text=parts.words(label, MOST_OPTION_TEXT),
        description=parts.words(description, MOST_OPTION_TEXT) if plain(description) else None,
    )


def _environments(chosen: str, known: Sequence[str]) -> Block:
    """The known ones in their order, after what is chosen where that is none of them; without what Slack can't carry.

    Where what is chosen can't be offered, nothing is chosen: a person says it, and no other takes its place.
    """
    offered = known if chosen in known else [chosen, *known]
    able = [one for one in offered if 0 < len(one) <= MOST_OPTION_VALUE][:MOST_OPTIONS]
    return _menu(ENVIRONMENT, texts.START_ENVIRONMENT, [_option(one, one) for one in able], chosen)


def _menu(block_id: str, label: str, options: Sequence[Option], chosen: str) -> Block:
    return InputBlock(
        block_id=block_id,
        label=parts.words(label, 200),
        element=StaticSelectElement(
            action_id=block_id,
            options=list(options),
            initial_option=next((option for option in options if option.value == chosen), None),
        ),
    )


def _chosen(state: Mapping[str, Any]) -> str:
    return str((state.get("selected_option") or {}).get("value") or "")

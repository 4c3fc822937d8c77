"""The elements inside blocks, and what is allowed where.

Limits: https://docs.slack.dev/reference/block-kit/block-elements and the composition objects beside it.
"""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from bot.workspace.schema import (
    Rule,
    Surroundings,
    array,
    at,
    boolean,
    either,
    exactly_one,
    matching,
    number,
    obj,
    one_of,
    plain,
    string,
    text,
    typed,
    url,
    whole,
)

PICTURE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif"})
STYLE = one_of("primary", "danger")
ID = string(most=255)
PLACEHOLDER = plain(most=150)
CONFIRM = obj(
    {
        "title": plain(most=100),
        "text": text(most=300),
        "confirm": plain(most=30),
        "deny": plain(most=30),
    },
    {"style": STYLE},
)


def _slack_file(value: Any, pointer: str, around: Surroundings) -> Iterator[str]:
    yield from exactly_one("id", "url")(value, pointer, around)
    for file in around.files.values():
        named = value.get("id") == file.id or str(value.get("url", "")).endswith(f"/files/{file.id}/{file.name}")
        if named and file.shared and file.media_type in PICTURE_TYPES:
            return
    yield at(pointer, "invalid slack file")


def picture_url(value: Any, pointer: str, around: Surroundings) -> Iterator[str]:
    """An address from which Slack could fetch a picture: it fetches when blocks are sent, and never from inside."""
    complaints = list(url()(value, pointer, around))
    yield from complaints
    if not complaints and _is_inside(urlsplit(value).hostname or ""):
        yield at(pointer, "downloading image failed")


def _is_inside(host: str) -> bool:
    try:
        return not ip_address(host).is_global
    except ValueError:
        return host == "localhost" or "." not in host


SLACK_FILE = obj({}, {"id": string(), "url": url()}, _slack_file)
IMAGE_ELEMENT = obj(
    {"type": one_of("image"), "alt_text": string(most=2000)},
    {"image_url": picture_url, "slack_file": SLACK_FILE},
    exactly_one("image_url", "slack_file"),
)


def _option(text_rule: Rule, *, with_url: bool = False) -> Rule:
    optional: dict[str, Rule] = {"description": text(most=75)}
    if with_url:
        optional["url"] = url()
    return obj({"text": text_rule, "value": string(most=150)}, optional)


_PLAIN_OPTION = _option(plain(most=75))
_RICH_OPTION = _option(text(most=75))
_OVERFLOW_OPTION = _option(plain(most=75), with_url=True)
_PLAIN_OPTIONS = array(_PLAIN_OPTION, most=100, least=0)
_GROUP = obj({"label": plain(most=75), "options": array(_PLAIN_OPTION, most=100)})
_GROUPS = array(_GROUP, most=100, least=0)


def complaint_of_options(answer: Mapping[str, Any]) -> str | None:
    """Why Slack would not offer what an app answered when it was asked for an external select's options."""
    around = Surroundings("modal")
    for name, rule in (("options", _PLAIN_OPTIONS), ("option_groups", _GROUPS)):
        for complaint in rule(answer.get(name) or [], f"/{name}", around):
            return complaint
    return None


def _initial_among_options(value: Any, pointer: str, around: Surroundings) -> Iterator[str]:
    groups = value.get("option_groups") or []
    offered = [*value.get("options", []), *(option for group in groups for option in group["options"])]
    if "initial_option" in value and value["initial_option"] not in offered:
        yield at(f"{pointer}/initial_option", "must exactly match one of the options")
    for index, option in enumerate(value.get("initial_options", [])):
        if option not in offered:
            yield at(f"{pointer}/initial_options/{index}", "must exactly match one of the options")


def _element(kind: str, required: Mapping[str, Rule], optional: Mapping[str, Rule], *extra: Rule) -> Rule:
    """An interactive element: type and, if given, action_id; Slack invents an action_id where there is none."""
    return obj({"type": one_of(kind), **required}, {"action_id": ID, **optional}, *extra)


def _input(kind: str, optional: Mapping[str, Rule], *extra: Rule, required: Mapping[str, Rule] | None = None) -> Rule:
    common: dict[str, Rule] = {"placeholder": PLACEHOLDER, "focus_on_load": boolean}
    return _element(kind, required or {}, {**common, **optional}, *extra)


_DISPATCH = obj({"trigger_actions_on": array(one_of("on_enter_pressed", "on_character_entered"), most=2)})
_ONE = {"confirm": CONFIRM}
_MANY = {"confirm": CONFIRM, "max_selected_items": whole(least=1)}
_OPTIONS = {
    "options": array(_PLAIN_OPTION, most=100),
    "option_groups": array(_GROUP, most=100),
}
_FILTER = obj(
    {},
    {
        "include": array(one_of("im", "mpim", "private", "public")),
        "exclude_external_shared_channels": boolean,
        "exclude_bot_users": boolean,
    },
)
_QUERY = {"min_query_length": whole(least=0)}
_HERE = {"default_to_current_conversation": boolean, "filter": _FILTER}

BUTTON = _element(
    "button",
    {"text": plain(most=75)},
    {
        "url": url(),
        "value": string(most=2000, least=0),
        "style": STYLE,
        "confirm": CONFIRM,
        "accessibility_label": string(most=75),
        "agent_prompt": string(most=4000),
        "agent_prompt_display": string(most=4000),
        "visible_to_user_ids": array(string()),
    },
)
OVERFLOW = _element("overflow", {"options": array(_OVERFLOW_OPTION, least=2, most=5)}, {"confirm": CONFIRM})
CHECKBOXES = _element(
    "checkboxes",
    {"options": array(_RICH_OPTION, most=10)},
    {"initial_options": array(_RICH_OPTION, most=10), "confirm": CONFIRM, "focus_on_load": boolean},
    _initial_among_options,
)
RADIO_BUTTONS = _element(
    "radio_buttons",
    {"options": array(_RICH_OPTION, most=10)},
    {"initial_option": _RICH_OPTION, "confirm": CONFIRM, "focus_on_load": boolean},
    _initial_among_options,
)
_DATE = matching(r"\d{4}-\d{2}-\d{2}", "must be a date in the format YYYY-MM-DD")
_TIME = matching(r"([01]\d|2[0-3]):[0-5]\d", "must be a time in the format HH:mm")
_PICKERS: dict[str, Rule] = {
    "datepicker": _input("datepicker", {"initial_date": _DATE, **_ONE}),
    "timepicker": _input("timepicker", {"initial_time": _TIME, "timezone": string(), **_ONE}),
    "datetimepicker": _input("datetimepicker", {"initial_date_time": whole(least=10**9, most=10**10 - 1), **_ONE}),
}
_SELECTS: dict[str, Rule] = {
    "static_select": _input(
        "static_select",
        {**_OPTIONS, "initial_option": _PLAIN_OPTION, **_ONE},
        exactly_one("options", "option_groups"),
        _initial_among_options,
    ),
    "external_select": _input("external_select", {"initial_option": _PLAIN_OPTION, **_QUERY, **_ONE}),
    "users_select": _input("users_select", {"initial_user": string(), **_ONE}),
    "conversations_select": _input(
        "conversations_select",
        {"initial_conversation": string(), "response_url_enabled": boolean, **_HERE, **_ONE},
    ),
    "channels_select": _input(
        "channels_select", {"initial_channel": string(), "response_url_enabled": boolean, **_ONE}
    ),
    "multi_static_select": _input(
        "multi_static_select",
        {**_OPTIONS, "initial_options": array(_PLAIN_OPTION), **_MANY},
        exactly_one("options", "option_groups"),
        _initial_among_options,
    ),
    "multi_external_select": _input(
        "multi_external_select", {"initial_options": array(_PLAIN_OPTION), **_QUERY, **_MANY}
    ),
    "multi_users_select": _input("multi_users_select", {"initial_users": array(string()), **_MANY}),
    "multi_conversations_select": _input(
        "multi_conversations_select", {"initial_conversations": array(string()), **_HERE, **_MANY}
    ),
    "multi_channels_select": _input("multi_channels_select", {"initial_channels": array(string()), **_MANY}),
}


def _numeric(value: Any, pointer: str, around: Surroundings) -> Iterator[str]:
    for name in ("initial_value", "min_value", "max_value"):
        if name in value:
            try:
                float(value[name])
            except ValueError:
                yield at(f"{pointer}/{name}", "must be a number")


def _lengths_in_order(value: Any, pointer: str, around: Surroundings) -> Iterator[str]:
    if value.get("min_length", 0) > value.get("max_length", 3000):
        yield at(pointer, "min_length must not be greater than max_length")


_TEXT_INPUTS: dict[str, Rule] = {
    "plain_text_input": _input(
        "plain_text_input",
        {
            "initial_value": string(most=3000, least=0),
            "multiline": boolean,
            "min_length": whole(least=0, most=3000),
            "max_length": whole(least=1, most=3000),
            "dispatch_action_config": _DISPATCH,
        },
        _lengths_in_order,
    ),
    "email_text_input": _input("email_text_input", {"initial_value": string(), "dispatch_action_config": _DISPATCH}),
    "url_text_input": _input("url_text_input", {"initial_value": url(), "dispatch_action_config": _DISPATCH}),
    "number_input": _input(
        "number_input",
        {
            "initial_value": string(),
            "min_value": string(),
            "max_value": string(),
            "dispatch_action_config": _DISPATCH,
        },
        _numeric,
        required={"is_decimal_allowed": boolean},
    ),
    "file_input": _element("file_input", {}, {"filetypes": array(string()), "max_files": whole(least=1, most=10)}),
}

FEEDBACK_BUTTONS = _element(
    "feedback_buttons",
    {},
    {
        name: obj({"text": plain(most=75), "value": string(most=2000)}, {"accessibility_label": string(most=75)})
        for name in ("positive_button", "negative_button")
    },
    either("positive_button"),
    either("negative_button"),
)
ICON_BUTTON = _element(
    "icon_button",
    {"icon": one_of("trash"), "text": plain(most=75)},
    {
        "value": string(most=2000),
        "confirm": CONFIRM,
        "accessibility_label": string(most=75),
        "visible_to_user_ids": array(string()),
    },
)

_CHOICES = {"overflow": OVERFLOW, "checkboxes": CHECKBOXES, "radio_buttons": RADIO_BUTTONS, **_PICKERS, **_SELECTS}
ACTION_ELEMENT = typed({"button": BUTTON, **_CHOICES})
ACCESSORY = typed({"button": BUTTON, "image": IMAGE_ELEMENT, **_CHOICES})
CONTEXT_ELEMENT = typed(
    {
        "image": IMAGE_ELEMENT,
        "plain_text": plain(most=2000),
        "mrkdwn": text(most=2000, kinds=("mrkdwn",)),
    }
)
CONTEXT_ACTION = typed({"feedback_buttons": FEEDBACK_BUTTONS, "icon_button": ICON_BUTTON})

# --- rich text

_TEXT_STYLE = obj({}, dict.fromkeys(("bold", "italic", "strike", "code", "underline", "highlight"), boolean))


def _leaf(kind: str, required: Mapping[str, Rule], optional: Mapping[str, Rule] | None = None) -> Rule:
    return obj({"type": one_of(kind), **required}, {"style": _TEXT_STYLE, **(optional or {})})


_LEAF = typed(
    {
        "text": _leaf("text", {"text": string()}),
        "link": _leaf("link", {"url": string(most=3000)}, {"text": string(), "unsafe": boolean}),
        "emoji": _leaf("emoji", {"name": string()}, {"unicode": string(), "skin_tone": whole(least=1, most=6)}),
        "user": _leaf("user", {"user_id": string()}),
        "usergroup": _leaf("usergroup", {"usergroup_id": string()}),
        "channel": _leaf("channel", {"channel_id": string()}),
        "team": _leaf("team", {"team_id": string()}),
        "broadcast": _leaf("broadcast", {"range": one_of("here", "channel", "everyone")}),
        "color": _leaf("color", {"value": string()}),
        "date": _leaf("date", {"timestamp": whole(least=0), "format": string()}, {"url": url(), "fallback": string()}),
    }
)
_LEAVES = array(_LEAF, least=0)
_SECTION = obj({"type": one_of("rich_text_section"), "elements": _LEAVES})
_BORDER = whole(least=0, most=1)
_RICH_ELEMENT = typed(
    {
        "rich_text_section": _SECTION,
        "rich_text_preformatted": obj(
            {"type": one_of("rich_text_preformatted"), "elements": _LEAVES}, {"border": _BORDER, "language": string()}
        ),
        "rich_text_quote": obj({"type": one_of("rich_text_quote"), "elements": _LEAVES}, {"border": _BORDER}),
        "rich_text_list": obj(
            {
                "type": one_of("rich_text_list"),
                "style": one_of("bullet", "ordered"),
                "elements": array(typed({"rich_text_section": _SECTION})),
            },
            {"indent": whole(least=0, most=8), "offset": whole(least=0), "border": _BORDER},
        ),
    }
)
RICH_TEXT = obj({"type": one_of("rich_text"), "elements": array(_RICH_ELEMENT)}, {"block_id": ID})
INPUT_ELEMENT = typed(
    {
        **_TEXT_INPUTS,
        "rich_text_input": _input(
            "rich_text_input",
            {
                "initial_value": RICH_TEXT,
                "dispatch_action_config": _DISPATCH,
                "min_lines": whole(least=1),
                "max_lines": whole(least=1),
            },
        ),
        **{kind: rule for kind, rule in _CHOICES.items() if kind != "overflow"},
    }
)
TABLE_CELL = typed(
    {
        "raw_text": obj({"type": one_of("raw_text"), "text": string()}),
        "raw_number": obj({"type": one_of("raw_number"), "value": number, "text": string()}),
        "rich_text": RICH_TEXT,
    }
)
URL_SOURCE = obj({"type": one_of("url"), "url": url(), "text": string()})

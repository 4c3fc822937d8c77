"""Cursors: long lists are handed out page by page."""

import base64
import binascii
from typing import Any

from bot.workspace.errors import Refusal
from bot.workspace.records import Json
from bot.workspace.web_api.calling import Call


def page_of(call: Call, name: str, items: list[Any], *, default: int = 100, most: int = 1000) -> Json:
    """The page of `items` that `cursor` and `limit` ask for, under the key `name`."""
    start = _read_cursor(call.optional("cursor"))
    end = start + call.number("limit", default=default, most=most)
    more = end < len(items)
    return {
        name: items[start:end],
        "has_more": more,
        "response_metadata": {"next_cursor": _write_cursor(end) if more else ""},
    }


def _write_cursor(position: int) -> str:
    return base64.b64encode(f"next:{position}".encode()).decode()


def _read_cursor(cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        kind, _, position = base64.b64decode(cursor, validate=True).decode().partition(":")
        if kind == "next":
            return int(position)
    except (binascii.Error, ValueError) as error:
        raise Refusal("invalid_cursor") from error
    raise Refusal("invalid_cursor")

"""Checks blocks and views as Slack does."""

from collections.abc import Mapping
from typing import Any

from bot.workspace.records import File, Json


def check_message_blocks(blocks: list[Any], files: Mapping[str, File]) -> None: ...


def check_view(view: Json, files: Mapping[str, File]) -> None: ...

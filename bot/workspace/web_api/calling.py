"""One Web API call: its arguments, however they were sent, and the registry of methods."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl

from bot.workspace.errors import Refusal, missing
from bot.workspace.records import Channel, Json
from bot.workspace.state import Workspace

TokenKind = Literal["bot", "app", "none"]
_JSON_ARGUMENTS = frozenset(
    {"blocks", "view", "files", "prompts", "metadata", "attachments", "chunks", "loading_messages", "unfurls"}
)
_TRUE = frozenset({"1", "true", "True", "on"})


@dataclass(frozen=True)
class Call:
    """A call to answer. `arguments` are decoded: blocks, views and the like are JSON values already."""

    workspace: Workspace
    method: str
    arguments: Json = field(default_factory=dict)

    def text(self, name: str) -> str:
        """A required, non-empty string. Raises `Refusal` when it is missing."""
        value = self.optional(name)
        if value is None:
            raise missing(name)
        return value

    def optional(self, name: str) -> str | None:
        """A string, or None when it is absent or empty."""
        value = self.arguments.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, (dict, list)):
            raise Refusal("invalid_arguments", [f"must provide a string [json-pointer:/{name}]"])
        return str(value)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean, given as JSON or as 1, 0, true or false."""
        value = self.arguments.get(name)
        if value is None or value == "":
            return default
        return value is True or str(value) in _TRUE

    def number(self, name: str, *, default: int, most: int) -> int:
        """A whole number between 1 and `most`."""
        given = self.optional(name)
        if given is None:
            return default
        if not given.isdigit() or int(given) < 1:
            raise Refusal("invalid_limit" if name == "limit" else "invalid_arguments")
        return min(int(given), most)

    def list_of(self, name: str) -> list[Any] | None:
        """A JSON array, or None when it is absent."""
        value = self.arguments.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, list):
            raise Refusal(f"invalid_{name}_format" if name == "blocks" else f"invalid_{name}")
        return value

    def object_of(self, name: str) -> Json:
        """A required JSON object."""
        value = self.arguments.get(name)
        if value is None or value == "":
            raise missing(name)
        if not isinstance(value, dict):
            raise Refusal("invalid_arguments", [f"must provide an object [json-pointer:/{name}]"])
        return value

    def channel(self, name: str = "channel") -> Channel:
        """The conversation named by a required argument. Raises `Refusal` with channel_not_found."""
        return self.workspace.channel(self.text(name))


Handler = Callable[[Call], Json]


@dataclass(frozen=True)
class Method:
    """A Web API method and the kind of token that may call it."""

    handler: Handler
    token: TokenKind = "bot"  # noqa: S105 - the kind, not a token


class Methods:
    """A family of methods; the decorator `@family("chat.postMessage")` adds one."""

    def __init__(self) -> None:
        self.table: dict[str, Method] = {}

    def __call__(self, name: str, *, token: TokenKind = "bot") -> Callable[[Handler], Handler]:  # noqa: S107
        def register(handler: Handler) -> Handler:
            self.table[name] = Method(handler, token)
            return handler

        return register


def read_arguments(query: str, content_type: str, body: bytes) -> Json:
    """Merge the query string with a form or JSON body. Raises `Refusal` when the body can't be read."""
    arguments: Json = dict(parse_qsl(query, keep_blank_values=True))
    kind = content_type.partition(";")[0].strip().lower()
    if body:
        arguments.update(_read_body(kind, body))
    return {name: _decoded(name, value) for name, value in arguments.items()}


def _read_body(kind: str, body: bytes) -> Mapping[str, Any]:
    try:
        if kind == "application/x-www-form-urlencoded":
            return dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True))
        if kind == "application/json":
            value = json.loads(body)
            if not isinstance(value, dict):
                raise Refusal("json_not_object")
            return value
    except ValueError as error:
        raise Refusal("invalid_json" if kind == "application/json" else "invalid_form_data") from error
    raise Refusal("invalid_post_type" if kind else "missing_post_type")


def _decoded(name: str, value: Any) -> Any:
    if name not in _JSON_ARGUMENTS or not isinstance(value, str) or not value:
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        code = f"invalid_{name}_format" if name in ("blocks", "metadata", "unfurls") else "invalid_arguments"
        raise Refusal(code) from error

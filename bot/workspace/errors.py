"""How this workspace refuses, in Slack's codes."""

from collections.abc import Mapping, Sequence
from typing import Any

from tools.errors import SluiceError


class Refusal(SluiceError):
    """A Web API call that fails with `code`. `messages` are the lines of `response_metadata.messages`."""

    def __init__(self, code: str, messages: Sequence[str] = (), *, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"Slack refuses with {code}" + (f": {'; '.join(messages)}" if messages else "") + ".")
        self.code = code
        self.messages = tuple(messages)
        self.extra = dict(extra or {})

    def as_body(self) -> dict[str, Any]:
        """The JSON body of the response."""
        body: dict[str, Any] = {"ok": False, "error": self.code, **self.extra}
        if self.messages:
            body["errors"] = list(self.messages)
            body["response_metadata"] = {"messages": [f"[ERROR] {message}" for message in self.messages]}
        return body


def missing(field: str, pointer: str = "") -> Refusal:
    """A required argument is absent."""
    where = f" [json-pointer:{pointer}]" if pointer else ""
    return Refusal("invalid_arguments", [f"missing required field: {field}{where}"])

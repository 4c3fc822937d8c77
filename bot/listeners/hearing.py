"""What people write, from Slack's form to plain words. Form: https://docs.slack.dev/messaging/formatting-message-text."""

import html
import re

_TOKEN = re.compile(r"<([^<>\n]+)>")
_BROADCASTS = frozenset({"here", "channel", "everyone"})


def words_of(text: str, *, myself: str | None) -> str:
    """The words, without mentions of Sluice itself (`myself`: its user id). People stay mentions: `<@U…>`."""
    return html.unescape(" ".join(_TOKEN.sub(lambda token: _words(token[1], myself), text).split(" "))).strip()


def is_for_another(text: str, *, myself: str | None) -> bool:
    """Whether the message begins by addressing somebody else, and does not name Sluice."""
    first = re.match(r"\s*<@([A-Z0-9]+)(?:\|[^<>]*)?>", text)
    return first is not None and first[1] != myself and f"<@{myself}" not in text


def _words(token: str, myself: str | None) -> str:
    target, _, label = token.partition("|")
    if target.startswith("@"):
        return "" if target[1:] == myself else f"<{target}>"
    if target.startswith("#"):
        return f"#{label or target[1:]}"
    if target.startswith("!"):
        name = target[1:].partition("^")[0]
        return f"@{name}" if name in _BROADCASTS else label or f"@{name}"
    return target.removeprefix("mailto:")

"""Links in messages, and which of them the app may show more of."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from bot.workspace.records import Json

_LINK = re.compile(r"<(https?://[^|>\s]+)(?:\|[^>]*)?>")


def links_in(text: str, domains: Sequence[str]) -> list[Json]:
    """The links of a message's stored text whose host is one of `domains` or below it: `{"domain", "url"}` each."""
    found: dict[str, Json] = {}
    for match in _LINK.finditer(text):
        url = match[1].replace("&amp;", "&")
        host = urlsplit(url).hostname or ""
        if any(host == domain or host.endswith(f".{domain}") for domain in domains):
            found.setdefault(url, {"domain": host, "url": url})
    return list(found.values())

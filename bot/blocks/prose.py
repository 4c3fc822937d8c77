"""A model's Markdown, made safe for Slack: it mentions nobody, hides no address behind words, and shows no picture.

Each line is made safe by itself, so that a text can be shown while it is written: what was shown of it stays true.
Slack's tokens: https://docs.slack.dev/messaging/formatting-message-text.
"""

import html
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, tzinfo
from urllib.parse import quote, urlsplit

from bot import texts
from bot.blocks.fences import LONGEST_FENCE, closing, with_code
from bot.blocks.moments import before_begun, in_zone

MOST_PROSE = 11_000
"""Characters of a message's Markdown; Slack takes 12,000 in all its Markdown blocks together."""
LONGEST_RAW = 40_000
"""What a model writes past this is not looked at."""
UNWRAPPINGS = 8
"""How often entities are taken for what they stand for; what is wrapped deeper is broken up."""

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# A hair space keeps a word from being a mention, and an entity from being one, in any normal form.
_AT, _LEFT, _AND = "@\u200a", "‹", "&\u200a"

_ENTITY = re.compile(r"&(?:#\d{1,8}|#x[0-9a-f]{1,7}|[a-z][a-z0-9]{1,31});", re.IGNORECASE)
_IMAGE = re.compile(r"!\[([^\[\]]{0,1000})\](?:\([^()]{0,2000}\)|\[[^\[\]]{0,1000}\])?")
_LINK = re.compile(
    r"\[([^\[\]]{0,1000})\]\(\s{0,9}<?([^\s()<>]{0,2000}(?:\([^\s()<>]{0,200}\)[^\s()<>]{0,200}){0,5})>?"
    r"(?:\s{1,9}(?:\"[^\"]{0,500}\"|'[^']{0,500}'))?\s{0,9}\)"
)
_TOKEN_LINK = re.compile(r"<([a-z][a-z0-9+.-]{1,20}:[^<>|]{0,2000})(?:\|([^<>]{0,1000}))?>", re.IGNORECASE)
_MENTION = re.compile(r"<[@#!](?:subteam\^)?([\w.-]{1,100})(?:\|([^<>]{0,200}))?>")
_AT_SIGN = re.compile(r"@(?=channel|here|everyone|group)|(?<!\w)@(?=\w)", re.IGNORECASE)
_BROADCAST = re.compile(r"@(?=channel|here|everyone|group)", re.IGNORECASE)
_ANGLE = re.compile(r"<(?![\s\d=-])|<(?=\s{1,99}[@#!])")
_BEFORE_AN_ANGLE = re.compile(r"[.,;:!?*_~()]{0,2000}<")
_ADDRESS = re.compile(r"https?://[^\s<>\"'`|\[\]{}^]{0,2000}|www\.[^\s<>\"'`|\[\]{}^]{1,2000}", re.IGNORECASE)
_HIDDEN_ANGLE = re.compile(r"&(?:lt|#0*60|#x0*3c)", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_LIKE_AN_ADDRESS = re.compile(r"\w://|(?:^|\s)[\w-]+(?:\.[\w-]+)*\.[^\W\d_]{2,}(?:[/:?#\s]|$)", re.IGNORECASE)
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\]")
_ASCII_OF_ADDRESSES = "!#$%&'()*+,-./:;=?@[]_~"
_AFTER_AN_ADDRESS = ".,;:!?*_~"
_HARMLESS = re.compile(r"[\w \t.,;'’–—%+=-]*[ \t]")


def prose(text: str, most: int = MOST_PROSE, *, zone: tzinfo = UTC) -> str:
    """The text as Markdown that Slack may be given: at most `most` characters, cut at the end of a line with a note.

    Moments that it writes out in UTC are in `zone`, but for those in code: Slack's own tokens for them are mrkdwn.
    """
    safe = "\n".join(_lines(text[:LONGEST_RAW], zone))
    return _fitted(safe, most, cut=len(text) > LONGEST_RAW)


def prose_so_far(text: str, *, zone: tzinfo = UTC) -> str:
    """What can be shown of a text that goes on: `prose` of the whole begins with it, unless that is cut."""
    end = text.rfind("\n") + 1
    harmless = _HARMLESS.match(text, end)
    begun = harmless.group() if harmless is not None and "www." not in harmless.group().lower() else ""
    return "".join(f"{line}\n" for line in _lines(text[:end], zone)) + before_begun(_printable(begun))


def _lines(text: str, zone: tzinfo) -> Iterator[str]:
    """The text line by line; a moment in fenced code is as it was."""
    for line, is_code in with_code(map(_safe, text.splitlines())):
        yield line if is_code or zone is UTC else in_zone(line, zone)


def _safe(line: str) -> str:
    """One line. Nothing that Slack could take for a token, a link in disguise or an entity is left in it."""
    line = _unwrapped(line)
    line = _IMAGE.sub(lambda image: image[1], line)
    line = _LINK.sub(lambda link: _link(link[2], link[1]), line)
    line = _TOKEN_LINK.sub(lambda link: _link(link[1], link[2] or ""), line)
    line = _MENTION.sub(lambda mention: _AT + (mention[2] or mention[1]).lstrip("@#"), line)
    return _unescapable("".join(_pieces(line)))


def _pieces(line: str) -> Iterator[str]:
    """The line's addresses as what they really are, and the text between them."""
    at, glued = 0, 0
    while (found := _ADDRESS.search(line, at)) is not None:
        end = min(glued, found.start())
        yield from (_glued(line[at:end]), _plain(line[max(at, end) : found.start()]))
        at, glued = found.start() + _end_of(found[0]), found.end()
        yield _address(line[found.start() : at]) or texts.ADDRESS_REMOVED
        if _BEFORE_AN_ANGLE.match(line, at):
            # What it becomes would belong to the address, with the sentence's punctuation between them too.
            yield " "
    yield from (_glued(line[at:glued]), _plain(line[max(at, glued) :]))


def _glued(text: str) -> str:
    """Text right behind an address, which others may take for a part of it: no user's name in it."""
    return _plain(text).replace("@", _AT)


def _unwrapped(line: str) -> str:
    """The line with its entities as what they stand for, and without what can't be seen."""
    for _ in range(UNWRAPPINGS):
        plain = _printable(_ENTITY.sub(lambda entity: html.unescape(entity[0]), line))
        if plain == line:
            return line
        line = plain
    return line.replace("&", _AND)


def _printable(line: str) -> str:
    """Without control, format and direction characters; those that are spaces become one each."""
    return "".join(
        character if unicodedata.category(character) not in _UNPRINTABLE else " " if character.isspace() else ""
        for character in line
    )


def _plain(text: str) -> str:
    """Text between addresses."""
    text = _AT_SIGN.sub(_AT, _unescapable(text))
    text = _ANGLE.sub(_LEFT, text)
    return text.replace("](", "] (").replace("][", "] [").replace("]:", "] :")


def _unescapable(text: str) -> str:
    """Without anything that somebody could take for an entity of a `<`."""
    return _HIDDEN_ANGLE.sub(lambda entity: _AND + entity[0][1:], text)


def _link(target: str, words: str) -> str:
    """A link as its words and the address it leads to, in the open; only the words where that is no web address."""
    words = words.strip()
    address = _address(target) or ("" if _SCHEME.match(target) else target)
    if not address:
        return words
    return address if not words or _LIKE_AN_ADDRESS.search(words) else f"{words} ({address})"


def _end_of(found: str) -> int:
    """Where an address ends: before a bracket that it did not open, and before the sentence's own punctuation."""
    depth = 0
    for index, character in enumerate(found):
        depth += (character == "(") - (character == ")")
        if depth < 0:
            found = found[:index]
            break
    return len(found.rstrip(_AFTER_AN_ADDRESS))


def _address(given: str) -> str | None:
    """The address in ASCII, without a user's name in front of its host; None for what is no web address."""
    address = given if "://" in given[:12] else f"https://{given}"
    if not given.lower().startswith(("http://", "https://", "www.")) or "\\" in given or _HIDDEN_ANGLE.search(given):
        return None
    try:
        parts = urlsplit(address)
        host = (parts.hostname or "").rstrip(".").encode("idna").decode("ascii").lower()
        port = parts.port
    except ValueError:
        return None
    host = f"[{host}]" if ":" in host else host
    if not _HOST.fullmatch(host):
        return None
    query = f"?{parts.query}" if parts.query else ""
    fragment = f"#{parts.fragment}" if parts.fragment else ""
    behind = parts.path + query + fragment
    # An address within the address may be taken for one of its own, which then names no user either.
    behind = quote(behind, safe=_ASCII_OF_ADDRESSES.replace("@", "") if "://" in behind else _ASCII_OF_ADDRESSES)
    return f"{parts.scheme.lower()}://{host}{'' if port is None else f':{port}'}{_BROADCAST.sub('%40', behind)}"


def _fitted(safe: str, most: int, *, cut: bool) -> str:
    if len(safe) <= most and not cut:
        return safe
    room = most - len(texts.PROSE_CUT) - LONGEST_FENCE - 2
    kept = safe[:room]
    if len(safe) > room:
        # Half an address would be another one.
        cut_at = kept.rfind("\n") if "\n" in kept else kept.rfind(" ")
        kept = kept[: max(cut_at, 0)]
    end = closing(kept.splitlines())
    return "\n".join([kept.rstrip(), *([end] if end else []), texts.PROSE_CUT])

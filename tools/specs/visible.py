"""What people see of a text: without what is in it and not shown, by which somebody could speak to a model alone. Pure.

Sources: CommonMark 0.31 (HTML blocks and link reference definitions are not rendered), Unicode 16 (default-ignorable
code points, tags, variation selectors, bidirectional controls).
"""

import re

_CONTAINERS = r"(?:[ \t]*(?:>|[-*+]|\d{1,9}[.)]))*[ \t]*"
_UNSEEN = r"<!--(?:-?>|.*?(?:-->|\Z))|<\?.*?(?:\?>|\Z)|<!\[CDATA\[.*?(?:\]\]>|\Z)|<![A-Za-z][^>]*(?:>|\Z)"
_BLOCK = re.compile(
    r"(?P<fence>^ {0,3}(?P<marks>(?P<mark>[`~])(?P=mark){2,})(?:(?<=`)[^`\n]*|(?<=~)[^\n]*)\n"
    r".*?(?:^ {0,3}(?P=marks)(?P=mark)*[ \t]*\r?$|\Z))"
    rf"|^{_CONTAINERS}(?P<unseen>{_UNSEEN})",
    re.MULTILINE | re.DOTALL,
)
"""What begins a line and ends where it says: a fence in a comment is hidden, a comment in a fence is code."""
_COMMENT = re.compile(_UNSEEN, re.DOTALL)
_GAP = r"[ \t]*(?:\r?\n[ \t]*)?"
_INSIDE = r"\\.|\n(?![ \t]*\r?\n)"
_TITLE = rf"(?:\"(?:{_INSIDE}|[^\"\\\n])*\"|'(?:{_INSIDE}|[^'\\\n])*'|\((?:{_INSIDE}|[^()\\\n])*\))"
_DEFINITION = re.compile(
    rf"^{_CONTAINERS}\[(?:{_INSIDE}|[^\[\]\\\n]){{1,999}}\]:{_GAP}\S+(?:{_GAP}{_TITLE})?[ \t]*\r?$",
    re.MULTILINE | re.DOTALL,
)
_INVISIBLE = re.compile(
    "[\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]|[\ufe00-\ufe0f](?=[\ufe00-\ufe0f])"
)


def seen(text: str) -> str:
    """Markdown as its readers see it: code blocks as they are, elsewhere without comments and link definitions."""
    text = _INVISIBLE.sub("", text)
    parts, end = list[str](), 0
    for block in _BLOCK.finditer(text):
        fence = block["fence"]
        parts += [_shown(text[end : block.start("unseen" if fence is None else "fence")]), fence or ""]
        end = block.end()
    return "".join([*parts, _shown(text[end:])])


_MAY_HIDE = re.compile(
    r"<(?:(?:script|style|template|noscript|iframe|title|dialog|datalist|canvas|audio|video)\b"
    r"|[a-z][\w-]{0,40}(?=[\s/])[^>]{0,300}?[\s\"'/](?:hidden|style|class)\b)",
    re.IGNORECASE,
)


def may_hide(text: str) -> bool:
    """Whether Markdown has HTML, in code too, by which a part of it may be shown to nobody though `seen` has it."""
    return _MAY_HIDE.search(seen(text)) is not None


def hidden(text: str) -> int:
    """How many characters of Markdown its readers don't see, blanks apart."""
    return len("".join(text.split())) - len("".join(seen(text).split()))


def _shown(text: str) -> str:
    return _DEFINITION.sub("", _COMMENT.sub("", text))

"""Which lines of a Markdown text are fenced code: https://spec.commonmark.org/0.31.2/#fenced-code-blocks."""

import re
from collections.abc import Iterable, Iterator

LONGEST_FENCE = 16
"""Characters of a line that ends fenced code."""

_FENCE = re.compile(
    r"(?P<quote>[\s>]{0,20})(?:(?:[-*+]|\d{1,3}[.)])\s{1,4})?(?P<mark>`{3,12}(?!`)|~{3,12}(?!~))(?P<info>.*)"
)


def with_code(lines: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it stands in fenced code."""
    fence = ""
    for line in lines:
        fence = _still_open(fence, line)
        yield line, bool(fence)
        fence = _fence_after(fence, line)


def closing(lines: Iterable[str]) -> str:
    """The line that ends the code in which the lines end; empty where they don't."""
    fence = ""
    for line in lines:
        fence = _fence_after(_still_open(fence, line), line)
    return fence


def _still_open(fence: str, line: str) -> str:
    """A quotation's code ends with it."""
    return "" if fence.startswith(">") and not line.lstrip().startswith(">") else fence


def _fence_after(fence: str, line: str) -> str:
    found = _FENCE.match(line)
    if found is None:
        return fence
    mark, info = found["mark"], found["info"].strip()
    if fence:
        return "" if mark.startswith(fence.removeprefix("> ")) and not info else fence
    is_inline = mark[0] in info and mark[0] == "`"
    return "" if is_inline else ("> " if ">" in found["quote"] else "") + mark

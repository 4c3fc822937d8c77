"""The sentences of a spec, of the telemetry and of a person, and which of them a quote is from. Pure.

What a plan shows as its reason is always the whole sentence as it stands in its source, never a model's words.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tools.plans.model import Source

MOST_SENTENCES = 80
MOST_SHOWN = 40
LONGEST_SENTENCE = 400
SHORTEST_QUOTE = 12
SHORTEST_FIGURE = 5
_END = re.compile(r"([.!?][\"')*_]*)\s+(?=[\"'(*_`]*[A-Z0-9])")
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+")
_EMPHASIS = re.compile(r"[*_`]+")
_PERCENT = r"(?<![\d.,]){}(?:\.0+)?\s*(?:%|percent\b|per cent\b)"
_ANY_PERCENT = re.compile(_PERCENT.format(r"(\d{1,3}(?:\.\d{1,3})?)"), re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Quote:
    """A sentence and where it stands."""

    source: Source
    text: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that a plan may rest on, a sentence each: the spec's, the telemetry's, the person's own."""

    spec: tuple[str, ...] = ()
    telemetry: tuple[str, ...] = ()
    person: tuple[str, ...] = ()

    def find(self, said: str) -> Quote | None:
        """The sentence in which the words literally stand; None where they stand in none, or are too few to tell."""
        wanted = _plain(said)
        if len(wanted) >= SHORTEST_QUOTE:
            for source in (Source.PERSON, Source.SPEC):
                if quote := _containing(wanted, source, self.of(source)):
                    return quote
        if len(wanted) >= SHORTEST_FIGURE and any(character.isdigit() for character in wanted):
            return _containing(wanted, Source.TELEMETRY, self.telemetry)
        return None

    def asked_percent(self, percent: float) -> Quote | None:
        """The person's own sentence that names the percentage."""
        pattern = re.compile(_PERCENT.format(re.escape(f"{percent:g}")), re.IGNORECASE)
        return next((Quote(Source.PERSON, text) for text in self.person if pattern.search(text)), None)

    def naming(self, name: str) -> Quote | None:
        """The sentence of the person or the spec that has the name as a word of its own."""
        pattern = re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", re.IGNORECASE)
        for source in (Source.PERSON, Source.SPEC):
            for text in self.of(source):
                if pattern.search(text):
                    return Quote(source, text)
        return None

    def shown(self, source: Source) -> tuple[str, ...]:
        """Those of them that a model is shown and offered as reasons."""
        return self.of(source)[:MOST_SHOWN]

    def of(self, source: Source) -> tuple[str, ...]:
        """The sentences of a source."""
        return {Source.SPEC: self.spec, Source.TELEMETRY: self.telemetry, Source.PERSON: self.person}[source]


def percents_named(words: str) -> tuple[float, ...]:
    """The percentages that somebody's words name, above 0 and up to 100."""
    named = (float(match[1]) for match in _ANY_PERCENT.finditer(words))
    return tuple(dict.fromkeys(percent for percent in named if 0 < percent <= 100))


def spec_sentences(content: str) -> tuple[str, ...]:
    """A spec's sentences: those of its text first, then the lines of its front matter."""
    front = [line for line in _front_matter(content) if line.strip()]
    lines = content.splitlines()
    body = "\n".join(lines[len(_front_matter(content)) + 2 :]) if front else content
    items = [_ITEM.sub("", line, count=1).strip()[:LONGEST_SENTENCE] for line in front]
    return (*sentences(body), *items[:MOST_SENTENCES])


def sentences(text: str) -> tuple[str, ...]:
    """A Markdown text's sentences; headings and code fences are left out."""
    found = (sentence for block in _blocks(text.splitlines()) for sentence in _END.sub(r"\1\n", block).split("\n"))
    kept = (" ".join(sentence.split()) for sentence in found)
    return tuple(sentence[:LONGEST_SENTENCE] for sentence in kept if len(sentence) > 1)[:MOST_SENTENCES]


def kpi_line(content: str, metric: str) -> str | None:
    """The spec's own lines about a metric in its front matter, as one."""
    lines = _front_matter(content)
    starts = re.compile(rf"\s*-.*\bmetric[\"']?\s*:\s*[\"']?{re.escape(metric)}(?![\w.-])")
    for number, line in enumerate(lines):
        if starts.match(line):
            return " ".join(_item(lines[number:]))[:LONGEST_SENTENCE]
    return None


def audience_lines(content: str) -> str | None:
    """The spec's own lines about whom the feature is for."""
    lines = _front_matter(content)
    found = [
        " ".join(_item(lines[number:]))
        for number, line in enumerate(lines)
        if re.match(r"(?:regions|tenants)\s*:", line)
    ]
    return "; ".join(found)[:LONGEST_SENTENCE] or None


def _front_matter(content: str) -> list[str]:
    lines = content.splitlines()
    if not lines or not re.fullmatch(r"-{3,}\s*", lines[0]):
        return []
    end = next((number for number, line in enumerate(lines[1:], start=1) if re.fullmatch(r"-{3,}\s*", line)), 0)
    return lines[1:end]


def _item(lines: Sequence[str]) -> Iterator[str]:
    """The first line and those that belong to it: indented more, or items of a list that it opens."""
    first = lines[0]
    depth = len(first) - len(first.lstrip())
    opens = first.rstrip().endswith(":")
    yield _ITEM.sub("", first, count=1).strip()
    for line in lines[1:]:
        indent = len(line) - len(line.lstrip())
        if not line.strip() or not (indent > depth or (opens and indent == depth and line.lstrip().startswith("-"))):
            return
        yield line.strip()


def _blocks(lines: Iterable[str]) -> Iterator[str]:
    """Paragraphs and list items, each as one line."""
    block: list[str] = []
    fenced = False
    for line in lines:
        fence = line.lstrip().startswith("```")
        fenced ^= fence
        silent = fence or fenced or not line.strip() or line.startswith(("#", "---"))
        if block and (silent or _ITEM.match(line)):
            yield " ".join(block)
            block = []
        if not silent:
            block.append(_ITEM.sub("", line, count=1).strip())
    if block:
        yield " ".join(block)


def _plain(text: str) -> str:
    """A text as quotes are compared: without emphasis, case, quotation marks and the spaces around it."""
    return " ".join(_EMPHASIS.sub("", text).casefold().split()).strip(" \"'“”‘’.…")


def _containing(wanted: str, source: Source, among: Sequence[str]) -> Quote | None:
    """The sentence that has the words, or the neighbours that have them together."""
    plain = [_plain(text) for text in among]
    for number, text in enumerate(plain):
        if wanted in text:
            return Quote(source, among[number])
    for number in range(len(plain) - 1):
        if wanted in f"{plain[number]}. {plain[number + 1]}":
            return Quote(source, f"{among[number]} {among[number + 1]}"[:LONGEST_SENTENCE])
    return None

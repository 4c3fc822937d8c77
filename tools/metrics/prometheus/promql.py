"""A metric's selectors in Prometheus's language, and the one expression that counts with them. Pure.

A counter is counted from the last sample before the window to the last one in it, series by series, so that windows
side by side count every increment once; `increase` alone extrapolates, and says nothing of a window with one sample.
A series that began in the window, or was silent for long before it, began at 0. One that fell was reset, and what it
reached since counts, and what it had risen by until then: its peak shows how far, unless it has risen above that again
or was reset more than once. Then Prometheus's own `increase` counts. All of that takes three times as long to ask, and
is asked of the flags alone that have such a counter.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache

from tools.metrics.catalogue import MetricDefinition, MetricKind
from tools.metrics.cells import KNOWN, NEWEST
from tools.metrics.counters import (
    BEFORE,
    Absent,
    CounterTemplate,
    Key,
    Moments,
    Open,
    WrongSelector,
    filled,
    parse_counters,
)

COLUMN, FLAG, VARIANT = "sluice_column", "sluice_flag", "sluice_variant"
OWN_LABEL = "$flag"
"""As the label of the variant: the one that is called as the flag is, as Unleash's impact metrics have it."""

RESTARTED = "restarted"
"""The column that there is where a counter was reset amid the window."""

EDGE = "le"
_NAME, _LABEL = r"[a-zA-Z_:][a-zA-Z0-9_:]*", r"[a-zA-Z_][a-zA-Z0-9_]*"
_DOTTED = r"[a-zA-Z_][a-zA-Z0-9_.:/-]*"
_QUOTED = r'"[^"\\\n$]+"'
"""A name of whatever characters, as Prometheus has them since 3.0: in the braces where it is a counter's."""

_MATCHER = rf"""\s*({_LABEL}|{_QUOTED})\s*(=~|!~|!=|=)\s*("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`[^`]*`)\s*"""
_PART = rf"(?:{_MATCHER}|\s*({_QUOTED})\s*)"
_SELECTOR = re.compile(rf"\s*({_NAME})?\s*(?:\{{((?:{_PART}(?:,|(?=\}})))*)\s*\}})?\s*")
_PARTS = re.compile(_PART)


@dataclass(frozen=True, slots=True)
class SeriesSelector:
    """Series by name and matchers: `fixed` as they are written, `open` the labels whose value is the question's."""

    name: str
    fixed: tuple[str, ...]
    open: Open

    def text(self, values: Mapping[str, Sequence[str]]) -> str:
        """The selector with the open labels' matchers."""
        opened = [_one_of(label, tuple(values[label])) for label, _ in self.open if label in values]
        matchers = [*self.fixed, *opened]
        if self.name and not re.fullmatch(_NAME, self.name):
            return f"{{{', '.join([quoted(self.name), *matchers])}}}"
        return f"{self.name}{{{', '.join(matchers)}}}" if matchers or not self.name else self.name


Counters = CounterTemplate[SeriesSelector]


@dataclass(frozen=True, slots=True)
class _Grouping:
    """What is counted by. `own` is the flag's own label, where the variant is in that."""

    by: tuple[str, ...]
    own: str | None = None

    def named(self, expression: str, column: str) -> str:
        """The expression's rows with the column's name, and the flag's and variant's where they are in one label."""
        if self.own is not None:
            expression = f'label_replace({expression}, "{VARIANT}", "$1", "{self.own}", "(.*)")'
            expression = f'label_replace({expression}, "{FLAG}", "{self.own}", "", "")'
        return f'label_replace({expression}, "{COLUMN}", "{column}", "", "")'


@dataclass(frozen=True, slots=True)
class _Inside:
    """Counters in a window."""

    series: str
    moments: Moments

    @property
    def risen(self) -> str:
        """What each rose by, where none was reset amid it."""
        last, least = self.over_time("last_over_time"), self.over_time("min_over_time")
        # What is below what it had reached before the window has begun anew since.
        return f"({last} - ({self._before} <= {least})) or {last}"

    @property
    def risen_with_resets(self) -> str:
        """The same where some were."""
        last, peak = self.over_time("last_over_time"), self.over_time("max_over_time")
        fallen = f"{peak} > {last}"
        reached = f"({last} + ({fallen}) or {last})"
        risen = f"{reached} - ({self._before} <= (({fallen}) or {self.over_time('min_over_time')}))"
        # One reset is what a peak above the last value shows.
        unclear = f"{self.over_time('resets')} > ({peak} > bool {last})"
        return f"({self.over_time('increase')} and {unclear}) or ({risen}) or {reached}"

    def over_time(self, function: str) -> str:
        span = self.moments.end - self.moments.start
        return f"{function}({self.series}[{span}ms] @ {_at(self.moments.end)})"

    @property
    def _before(self) -> str:
        return f"last_over_time({self.series}[{BEFORE // timedelta(seconds=1)}s] @ {_at(self.moments.start)})"


def parse_series(definition: MetricDefinition) -> Counters:
    """The definition's query, checked. Raises BadDefinition naming the metric and what to change."""
    label, reserved = re.compile(rf"{_DOTTED}|{re.escape(OWN_LABEL)}"), frozenset({COLUMN, EDGE, FLAG, VARIANT})
    template = parse_counters(definition, _parsed, label=label, reserved=reserved)
    if template.query.variant == OWN_LABEL:
        template = replace(template, open=(*template.open, (FLAG, OWN_LABEL)))
    return template


def own_label(flag: str) -> str:
    """The label that is called as the flag is, as Unleash makes it."""
    plain = re.sub(r"[^a-zA-Z0-9_]", "_", flag)
    return plain if re.match("[a-zA-Z_]", plain) else f"_{plain}"


def expression(template: Counters, keys: Iterable[Key], moments: Moments, *, restarted: bool = False) -> str:
    """One expression for all these keys at once, each column's rows labelled with its name.

    Unless `restarted`, whose counters were reset amid the window is only told, by RESTARTED, and not heeded.
    """
    opened = template.values(keys)
    more = (EDGE,) if template.definition.kind is MetricKind.LATENCY else ()
    parts = list[str]()
    for group in _groupings(template, opened):
        for column, selector in template.selectors.items():
            inside = _Inside(selector.text(opened), moments)
            counted = inside.risen_with_resets if restarted else inside.risen
            parts.append(group.named(f"sum{_by(*group.by, *more)} ({counted})", column))
            if not restarted:
                parts.append(group.named(f"count{_by(*group.by)} ({inside.over_time('resets')} > 0)", RESTARTED))
        series = template.first.text(opened)
        newest = f"max{_by(*group.by)} (timestamp({series} @ {_at(moments.end)}))"
        parts.append(group.named(newest, NEWEST))
    if "events" in template.selectors and template.query.absent is Absent.UNKNOWN:
        known = f"count({template.selectors['events'].text({})} @ {_at(moments.end)})"
        parts.append(_Grouping(()).named(known, KNOWN))
    return "\nor ".join(parts)


def _parsed(_column: str, text: str) -> SeriesSelector:
    found = _SELECTOR.fullmatch(text)
    if found is None or not text:
        raise WrongSelector(
            "no selector: write a counter's name and its matchers, such as "
            'http_requests_total{flag="$flag", code=~"5.."}, without functions'
        )
    counters = [found[1]] if found[1] else []
    fixed, open_ = list[str](), list[tuple[str, str]]()
    for written, operator, literal, counter in _PARTS.findall(found[2] or ""):
        if counter:
            counters.append(counter[1:-1])
            continue
        label = written.strip('"')
        names = filled(literal) if operator == "=" or "$flag" in literal or "$env" in literal else []
        if not names:
            fixed.append(f"{_spelt(label)}{operator}{literal}")
            continue
        if operator != "=" or "\\" in literal:
            raise WrongSelector(f'{written}{operator}{literal}; write {written}="${names[0]}"')
        open_.append((label, literal[1:-1]))
    if len(counters) > 1:
        raise WrongSelector(f"two names, {' and '.join(counters)}; write one")
    return SeriesSelector("".join(counters), tuple(fixed), tuple(sorted(open_)))


def _by(*labels: str) -> str:
    return f" by ({', '.join(map(_spelt, labels))})"


def _groupings(template: Counters, opened: Mapping[str, Sequence[str]]) -> Iterator[_Grouping]:
    if template.query.variant != OWN_LABEL:
        yield _Grouping(template.labels)
    for own in dict.fromkeys(map(own_label, opened.get(FLAG, ()))):
        by = (label for label in template.labels if label not in (FLAG, OWN_LABEL, own))
        yield _Grouping((*by, own), own)


def _at(moment: int) -> str:
    """Just before it: windows end before their last millisecond, and Prometheus's include it."""
    return f"{(moment - 1) / 1000:.3f}"


# A tick asks for the same flags as the one before.
@lru_cache(maxsize=64)
def _one_of(label: str, values: tuple[str, ...]) -> str:
    if len(values) == 1:
        return f"{_spelt(label)}={quoted(values[0])}"
    return f"{_spelt(label)}=~{quoted('|'.join(re.escape(_writable(value)) for value in values))}"


def _spelt(label: str) -> str:
    """In quotes only where it must be: before 3.0 Prometheus understands no label in quotes."""
    return label if re.fullmatch(_LABEL, label) else quoted(label)


def quoted(value: str) -> str:
    """A string of PromQL: JSON's escapes are among Go's."""
    return json.dumps(_writable(value), ensure_ascii=False)


def _writable(value: str) -> str:
    """Half a surrogate pair is a question mark."""
    return value.encode("utf-8", "replace").decode()

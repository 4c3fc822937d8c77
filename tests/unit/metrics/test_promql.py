"""Queries in Prometheus's language: what is understood, what is refused, and what is made of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.metrics.fake_prometheus import PrometheusApi
from tests.unit.metrics.definitions import definition
from tools.metrics.base import MetricQuery, Window
from tools.metrics.catalogue import BadDefinition
from tools.metrics.counters import Moments, spoken
from tools.metrics.http_api import Access
from tools.metrics.prometheus.promql import expression, parse_series
from tools.metrics.prometheus.source import PrometheusMetricSource

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = Window(NOON, NOON + timedelta(minutes=1))
SERIES = 'requests_total{flag="$flag"}'
RATIO = {"exposures": SERIES, "events": 'requests_total{flag="$flag", code=~"5.."}'}


def question(flag: str) -> MetricQuery:
    """Of the last minute."""
    return MetricQuery("checkout_errors", flag, "production", MINUTE)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"query": "SELECT 1"}, "must be a table that has a selector for exposures and events"),
        ({"query": {"exposures": SERIES}}, "needs events, being of the kind ratio"),
        ({"query": RATIO | {"total": SERIES}}, "can't have total"),
        ({"query": RATIO | {"latency": SERIES}}, "wrong latency"),
        ({"query": RATIO | {"variant": "a b"}}, "wrong variant"),
        ({"query": RATIO | {"variant": "flag"}}, "uses one label for two things"),
        ({"query": RATIO | {"variant": "sluice_column"}}, "uses one label for two things"),
        ({"query": RATIO | {"segment": "region"}}, "needs the label of its segment"),
        ({"query": RATIO | {"exposures": "sum(requests_total)"}}, "no selector: write a counter's name"),
        ({"query": RATIO | {"exposures": 'requests_total{flag="$flag"'}}, "no selector"),
        ({"query": RATIO | {"exposures": 'requests_total{flag="$flag"} or up'}}, "no selector"),
        ({"query": RATIO | {"exposures": 'requests_total{flag="a" code="b"}'}}, "no selector"),
        ({"query": RATIO | {"exposures": 'requests_total{flag="$flags"}'}}, r"has in exposures \$flags; allowed are"),
        ({"query": RATIO | {"exposures": 'requests_total{flag=~"$flag"}'}}, r'write flag="\$flag"'),
        ({"query": RATIO | {"exposures": 'requests_total{flag="\\\\$flag"}'}}, r'write flag="\$flag"'),
        ({"query": RATIO | {"events": 'requests_total{code=~"5.."}'}}, "in the same labels"),
        ({"query": RATIO | {"exposures": 'requests_total{"more.requests"}'}}, "two names, requests_total and more"),
        ({"query": RATIO | {"exposures": '{"requests.$flag"}'}}, "no selector"),
        ({"query": RATIO | {"exposures": '{"requests.total", "flag.key"=~"$flag"}'}}, r'write "flag\.key"="\$flag"'),
        ({"query": {"buckets": SERIES}, "kind": "latency", "buckets": (1.0,), "sums": True}, "remove sums"),
    ],
)
def test_a_query_that_cannot_be_used_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadDefinition, match=says) as refused:
        parse_series(definition(**changes))
    assert (refused.value.metric, refused.value.field) == ("checkout_errors", "query")


def test_matchers_stay_as_they_are_written() -> None:
    written = """requests_total{flag="$flag", path!~"/a\\\\.b|\\"c\\"", job='it''', zone=`a,b}`,}"""
    written = written.replace("'it'''", "'it\"s'")
    template = parse_series(definition(query={"exposures": written, "events": written}))
    assert template.selectors["events"].text({"flag": ["a"]}) == (
        """requests_total{path!~"/a\\\\.b|\\"c\\"", job='it"s', zone=`a,b}`, flag="a"}"""
    )


def test_a_selector_may_have_no_flag() -> None:
    template = parse_series(definition(query={"exposures": "hits_total", "events": 'misses_total{code="5"}'}))
    assert template.labels == ("variant",)
    assert "sum by (variant)" in expression(template, [()], Moments(0, 1000))


def test_many_flags_are_one_expression() -> None:
    template = parse_series(definition(query=RATIO))
    keys = [template.key(question(flag)) for flag in ("a", "b.c", "a")]
    assert 'flag=~"a|b\\\\.c"' in expression(template, keys, Moments(0, 1000))


def test_half_a_surrogate_pair_becomes_no_part_of_an_expression() -> None:
    template = parse_series(definition(query=RATIO))
    keys = [template.key(question(flag)) for flag in ("\udc80", "b")]
    assert 'flag=~"\\\\?|b"' in expression(template, keys, Moments(0, 1000))


def test_what_checks_keep_names_the_selectors_and_the_window() -> None:
    shown = parse_series(definition(query=RATIO)).shown(question('a"b'), ('a"b',), spoken(MINUTE))
    assert 'requests_total{flag="a\\"b"}' in shown
    assert "from 2026-03-01T12:00:00+00:00 to 2026-03-01T12:01:00+00:00" in shown


@given(flags=st.lists(st.text(max_size=12), min_size=1, max_size=4, unique=True))
async def test_a_flags_name_never_becomes_a_part_of_the_query(flags: list[str]) -> None:
    """Each flag finds its own series and no other's, whatever its name, alone and among others."""
    api = PrometheusApi()
    at = int(NOON.timestamp() * 1000) + 1000
    for number, flag in enumerate(flags):
        labels = {"__name__": "requests_total", "flag": flag, "variant": "new"}
        api.write([(labels, [(at, number + 1.0)])])
    ours = definition(query={"exposures": SERIES, "events": SERIES})
    source = PrometheusMetricSource(Access("http://fake"), [ours], transport=api.transport)
    found = await source.read_together([question(flag) for flag in flags])
    assert [one.by_variant["new"].exposures for one in found] == list(range(1, len(flags) + 1))  # type: ignore[union-attr]
    (alone,) = await source.read_together([question(flags[0])])
    assert alone == found[0]
    await source.close()

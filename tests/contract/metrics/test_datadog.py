"""What is Datadog's own, on a strict fake: seconds, steps, tags, keys, rate limits."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.metrics.benches import NOON, query
from tests.contract.metrics.fake_datadog import DatadogApi
from tests.contract.metrics.tills import DatadogTill, Request
from tools.errors import ConfigurationError, SluiceError
from tools.metrics.base import BadMetricAnswer, MetricQuery, MetricSourceUnavailable, Reading, Sample, Window
from tools.metrics.catalogue import BadDefinition, Catalogue
from tools.metrics.datadog.scopes import MOST_POINTS, Piece, parse_scopes, pieces
from tools.metrics.datadog.source import DatadogMetricSource
from tools.metrics.history import read_history
from tools.metrics.http_api import Access
from tools.metrics.router import Metrics

TEN_S = query(0, 10, metric="m")
KEYS = Access(None, "api-s3cret", application_key="app-s3cret", timeout=timedelta(seconds=5))


@pytest.fixture
def till() -> DatadogTill:
    return DatadogTill(DatadogApi())


def source(api: DatadogApi, access: Access = KEYS, **changes: str) -> DatadogMetricSource:
    """Of one ratio."""
    given = DatadogTill(api).definition(absent="zero", **changes)
    return DatadogMetricSource(access, [given], transport=api.transport)


class TestWindows:
    async def test_a_day_that_begins_at_any_second_is_counted_to_the_second(self, till: DatadogTill) -> None:
        start, end = 17, 17 + 86_400 + 3
        inside = [start, start + 42, start + 43, 3599, 3600, 3601, 50_000, end - 18, end - 1]
        till.record(*[Request(at) for at in (start - 1, end, *inside)])
        found = await till.source(till.definition(absent="zero")).read(query(start, end, metric="m"))
        assert found.by_variant == {"new": Sample(len(inside))}
        assert found.newest == NOON + timedelta(seconds=end - 1)
        assert 1 < till.requests() <= 3

    @pytest.mark.parametrize("span", [0, 1, 59, 1440, 1441, 7_000, 86_400, 200_000, 100 * 86_400])
    @pytest.mark.parametrize("start", [0, 1, 59, 61, 3_599, 1_772_366_417])
    def test_pieces_add_up_and_have_few_points(self, start: int, span: int) -> None:
        found = list(pieces(start, start + span))
        edges = [start, *(one.end for one in found)]
        assert [one.start for one in found] == edges[:-1]
        assert edges[-1] == start + span
        for one in found:
            assert (one.end - one.start) // one.step <= MOST_POINTS
            assert one.start % one.step == one.end % one.step == 0

    def test_short_windows_are_one_piece_in_seconds(self) -> None:
        assert list(pieces(17, 32)) == [Piece(17, 32, 1)]

    async def test_steps_that_were_not_asked_for_are_refused(self) -> None:
        at = int(NOON.timestamp())
        api = DatadogApi(answers=[_answer([(at - 20) * 1000], [[5]])])
        with pytest.raises(BadMetricAnswer, match="in other steps than were asked for"):
            await source(api).read(TEN_S)

    async def test_a_window_within_a_second_is_empty(self, till: DatadogTill) -> None:
        till.record(Request(0.5))
        found = await till.source(till.definition()).read(query(0.2, 0.9, metric="m"))
        assert (found.by_variant, till.requests()) == ({}, 0)


class TestHistory:
    """Many windows side by side, as backtests read them: within the rate limit."""

    async def test_a_fortnight_is_few_requests_and_each_slice_what_it_would_be_alone(self, till: DatadogTill) -> None:
        step, count = timedelta(seconds=615), 1_966
        moments = [17.0, 614.0, 700.0, 615.0 * 1_000, 615.0 * 1_500 + 14]
        till.record(*[Request(at, code=500 if at == 700 else 200) for at in moments], Request(800, None))
        definition = till.definition()
        ours = till.source(definition)
        metrics = Metrics(Catalogue([definition]), {"s": ours})
        asked = query(0, 615 * count, metric="m")
        found = [one.by_variant async for one in metrics.read_slices(asked, step)]
        assert len(found) == count
        assert till.requests() < 100
        filled = {number: one for number, one in enumerate(found) if one}
        assert filled == {
            0: {"new": Sample(2)},
            1: {"new": Sample(1, 1), None: Sample(1)},
            1_000: {"new": Sample(1)},
            1_500: {"new": Sample(1)},
        }
        alone = [await ours.read(replace(asked, window=Window(NOON + n * step, NOON + (n + 1) * step))) for n in filled]
        assert [one.by_variant for one in alone] == list(filled.values())
        history = await read_history(metrics, asked, step, without="treatment")
        assert [one.exposures for one in history.pieces[:2]] == [2, 2]

    async def test_slices_that_begin_at_any_moment_are_moved_to_whole_minutes(self, till: DatadogTill) -> None:
        till.record(Request(59), Request(60), Request(119), Request(120))
        ours = till.source(till.definition(absent="zero"))
        found = await ours.read_slices(query(61.5, 241.5, metric="m"), timedelta(minutes=1))
        assert [one.by_variant.get("new", Sample(0)).exposures for one in found] == [2, 1, 0]
        assert till.requests() == 1

    async def test_parts_of_seconds_are_read_one_by_one(self, till: DatadogTill) -> None:
        till.record(Request(0), Request(1), Request(2))
        ours = till.source(till.definition(absent="zero"))
        found = await ours.read_slices(query(0, 3, metric="m"), timedelta(seconds=1.5))
        assert sum(one.by_variant["new"].exposures for one in found) == 3

    async def test_what_cannot_be_counted_is_said_at_once(self, till: DatadogTill) -> None:
        till.record(Request(1))
        minute, half = query(0, 60, metric="m"), timedelta(seconds=30)
        with pytest.raises(BadMetricAnswer, match="nothing of the last 7 days is"):
            await till.source(till.definition()).read_slices(minute, half)
        with pytest.raises(BadMetricAnswer, match="can't have a label with the value"):
            await till.source(till.definition()).read_slices(replace(minute, flag="a b"), half)
        till.server.write("shop.requests", NOON.timestamp(), 0.5, flag="new-checkout", variant="new")
        ours = till.source(till.definition(absent="zero"))
        with pytest.raises(BadMetricAnswer, match="not a whole number"):
            await ours.read_slices(minute, half)


class TestTags:
    async def test_capitals_are_as_datadog_keeps_them(self, till: DatadogTill) -> None:
        till.record(Request(1, flag="New-Checkout"))
        ours = till.source(till.definition(absent="zero"))
        for flag in ("New-Checkout", "new-checkout"):
            assert (await ours.read(query(0, 10, flag=flag, metric="m"))).by_variant == {"new": Sample(1)}

    async def test_a_variant_whose_name_datadog_changes_is_refused(self, till: DatadogTill) -> None:
        definition = till.definition(absent="zero")
        metrics = Metrics(Catalogue([definition]), {"s": till.source(definition)})
        asked = replace(query(0, 10, metric="m"), variants=("old", "New Checkout"))
        with pytest.raises(BadMetricAnswer, match=r"no tag with the value 'New Checkout': call that variant otherwise"):
            await metrics.read(asked)
        assert till.requests() == 0

    async def test_a_name_that_no_tag_can_have_spoils_nobody_elses_answer(self, till: DatadogTill) -> None:
        till.record(Request(1))
        ours = till.source(till.definition(absent="zero"))
        bad, good = await ours.read_together([query(0, 10, flag=flag, metric="m") for flag in ("a b", "new-checkout")])
        assert isinstance(bad, BadMetricAnswer)
        assert isinstance(good, Reading)
        assert good.by_variant == {"new": Sample(1)}

    @pytest.mark.parametrize("flag", ["x} by {host", "a, b", "*", "a OR b", "x" * 201, "", "a:"])
    async def test_nothing_of_a_name_becomes_a_part_of_the_query(self, till: DatadogTill, flag: str) -> None:
        till.record(Request(1))
        with pytest.raises(BadMetricAnswer, match="can't have a label with the value"):
            await till.source(till.definition(absent="zero")).read(query(0, 10, flag=flag, metric="m"))
        assert till.requests() == 0

    def test_scopes_stay_as_they_are_meant(self, till: DatadogTill) -> None:
        written = "count:shop.took{env:$environment,!canary:yes AND zone IN (a, b), (x:1 OR y:2), flag:$flag}"
        template = parse_scopes(till.definition(exposures=written, events=written))
        assert template.first.text({"env": ["prod"], "flag": ["a", "b"]}) == (
            "count:shop.took{NOT canary:yes AND zone IN (a, b) AND (x:1 OR y:2) AND env:prod AND flag IN (a, b)}"
        )

    @pytest.mark.parametrize(
        ("scope", "says"),
        [
            ("avg:shop.requests{flag:$flag}", "no metric with its scope"),
            ("shop.requests{flag:$flag} by {host}", "no metric with its scope"),
            ("shop.requests{flag:$flag}.as_count()", "no metric with its scope"),
            ("shop.requests{flag:$flag, a:1 OR b:2}", "in its scope; write tag:value"),
            ("shop.requests{!flag:$flag}", r"write tag:\$flag"),
            ("shop.requests{flag:$flags}", r"\$flags; allowed are"),
            ("shop.requests{variant:$flag}", "uses one label for two things"),
        ],
    )
    def test_a_scope_that_cannot_be_used_is_refused(self, till: DatadogTill, scope: str, says: str) -> None:
        with pytest.raises(BadDefinition, match=says):
            parse_scopes(till.definition(exposures=scope, events=scope))

    def test_a_histogram_is_a_distributions(self, till: DatadogTill) -> None:
        with pytest.raises(BadDefinition, match="sum:, though a histogram counts values"):
            parse_scopes(till.definition("latency", buckets="sum:shop.took{flag:$flag}"))


class TestErrors:
    @pytest.mark.parametrize(
        ("answer", "kind", "says"),
        [
            (httpx.Response(400, json={"errors": ["unable to parse"]}), BadMetricAnswer, r"\(unable to parse\)"),
            (
                httpx.Response(400, json={"errors": [{"title": "Bad", "detail": "no such"}]}),
                BadMetricAnswer,
                r"\(no such\)",
            ),
            (httpx.Response(403, json={"errors": ["Forbidden"]}), MetricSourceUnavailable, "scope timeseries_query"),
            (httpx.Response(404, json={"errors": ["Not found"]}), MetricSourceUnavailable, "status 404: Not found"),
            (httpx.Response(200, html="<html>"), MetricSourceUnavailable, "no Datadog API"),
            (httpx.Response(200, json={"data": None}), BadMetricAnswer, "no timeseries"),
            (httpx.Response(200, json={"errors": "1 of 2 shards"}), MetricSourceUnavailable, "only a part"),
            (httpx.Response(302, headers={"Location": "/login"}), MetricSourceUnavailable, "sends elsewhere"),
        ],
    )
    async def test_each_has_its_sentence(self, answer: httpx.Response, kind: type[SluiceError], says: str) -> None:
        with pytest.raises(kind, match=says):
            await source(DatadogApi(answers=[answer])).read(TEN_S)

    @pytest.mark.parametrize(
        ("series", "values"),
        [
            ([{"group_tags": ["flag:x", "variant"], "query_index": 0}], [[1]]),
            ([{"group_tags": ["flag:x", "variant:y"], "query_index": 7}], [[1]]),
            ([{"group_tags": ["flag:x", "variant:y"], "query_index": 0}], [[1, 2]]),
            ([{"group_tags": ["flag:x", "variant:y"], "query_index": 0}], [["many"]]),
            ([{"group_tags": ["flag:x", "variant:y"], "query_index": 0}], []),
        ],
    )
    async def test_what_is_no_timeseries_is_refused(self, series: list[Any], values: list[Any]) -> None:
        answer = _answer([int(NOON.timestamp()) * 1000], values, series)
        with pytest.raises(BadMetricAnswer, match="no timeseries"):
            await source(DatadogApi(answers=[answer])).read(TEN_S)

    async def test_a_part_of_a_request_is_no_count(self, till: DatadogTill) -> None:
        at = NOON.timestamp() + 1
        for value in (0.1 + 0.2 - 0.3 + 7, 0.5):
            till.server.write("shop.requests", at, value, flag="new-checkout", variant="new")
        ours = till.source(till.definition(absent="zero"))
        with pytest.raises(BadMetricAnswer, match=r"'exposures' is 7\.5, not a whole number"):
            await ours.read(TEN_S)
        till.server.write("shop.requests", at, 0.5, flag="new-checkout", variant="new")
        assert (await ours.read(TEN_S)).by_variant == {"new": Sample(8)}


class TestRateLimits:
    async def test_a_used_up_limit_is_not_tried_any_further(self) -> None:
        api = DatadogApi(limit=1)
        ours = source(api)
        await ours.read(TEN_S)
        for _ in range(3):
            with pytest.raises(MetricSourceUnavailable, match=r"datadoghq\.com allows no more requests for 1\d\d s"):
                await ours.read(TEN_S)
        assert api.requests == 1

    async def test_a_request_too_many_closes_the_door_at_once(self) -> None:
        api = DatadogApi(limit=0)
        ours = source(api)
        for _ in range(2):
            with pytest.raises(MetricSourceUnavailable, match="allows no more requests for"):
                await ours.read(TEN_S)
        assert api.requests == 1

    async def test_what_is_over_soon_is_waited_for(self) -> None:
        headers = {"X-RateLimit-Reset": "0", "X-RateLimit-Remaining": "0"}
        api = DatadogApi(answers=[httpx.Response(429, headers=headers)])
        assert (await source(api).read(TEN_S)).by_variant == {}
        assert api.requests == 2


class TestKeys:
    async def test_both_are_sent_and_neither_is_shown(self) -> None:
        api = DatadogApi()
        await source(api).check()
        for access in (
            Access(None, "wr0ng", application_key="app-s3cret"),
            Access(None, "api-s3cret", application_key="wr0ng"),
        ):
            with pytest.raises(MetricSourceUnavailable, match="set the source's token") as refused:
                await source(api, access).check()
            assert not any(secret in str(refused.value) + repr(access) for secret in ("wr0ng", "s3cret"))

    async def test_they_may_be_in_files(self, tmp_path: Path) -> None:
        (tmp_path / "api").write_text("api-s3cret\n")
        (tmp_path / "app").write_text("app-s3cret\n")
        access = Access(None, token_file=tmp_path / "api", application_key_file=tmp_path / "app")
        await source(DatadogApi(), access).check()
        (tmp_path / "app").unlink()
        with pytest.raises(MetricSourceUnavailable, match=r"application_key_file .* can't be read"):
            await source(DatadogApi(), access).check()

    async def test_the_site_is_where_is_asked(self) -> None:
        asked = list[str]()

        async def note(request: httpx.Request) -> httpx.Response:
            asked.append(str(request.url))
            return httpx.Response(200, json={"valid": True})

        access = Access(None, "a", application_key="b", site="us5.datadoghq.com")
        await DatadogMetricSource(access, [], transport=httpx.MockTransport(note)).check()
        assert asked == ["https://api.us5.datadoghq.com/api/v1/validate"]

    @pytest.mark.parametrize(
        ("access", "field"),
        [
            (Access(None, application_key="b"), "token"),
            (Access(None, "a"), "application_key"),
            (Access(None, "a", application_key="b", site="https://app.datadoghq.eu"), "site"),
            (Access(None, "a", application_key="b", application_key_file=Path("f")), "application_key_file"),
        ],
    )
    def test_what_is_missing_is_named(self, access: Access, field: str) -> None:
        with pytest.raises(ConfigurationError) as refused:
            DatadogMetricSource(access, [])
        assert getattr(refused.value, "field", None) == field

    async def test_a_check_names_the_metric_that_is_not_understood(self) -> None:
        valid = httpx.Response(200, json={"valid": True})
        api = DatadogApi(answers=[valid, httpx.Response(400, json={"errors": ["unable to parse"]})])
        with pytest.raises(MetricSourceUnavailable, match=r"The metric 'm' can't be asked for: .*unable to parse"):
            await source(api).check()


def _answer(times: list[int], values: list[Any], series: list[Any] | None = None) -> httpx.Response:
    given = [{"group_tags": ["flag:new-checkout", "variant:new"], "query_index": 0}] if series is None else series
    attributes = {"series": given, "times": times, "values": values}
    return httpx.Response(200, json={"data": {"attributes": attributes}})


def test_moments_are_whole_seconds_also_before_1970() -> None:
    early = datetime(1969, 12, 31, 23, 59, 58, 500_000, tzinfo=UTC)
    api = DatadogApi()
    said = source(api).expression(MetricQuery("m", "f", "e", Window(early, early + timedelta(seconds=2))))
    assert ".rollup(sum, 1)" in said

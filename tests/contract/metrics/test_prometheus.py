"""What is Prometheus's own, on a strict fake and a real server: resets, series that come and go, what is missing."""

import base64
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.metrics.benches import NOON, query
from tests.contract.metrics.fake_prometheus import PrometheusApi
from tests.prometheus import Prometheus
from tools.errors import ConfigurationError, SluiceError
from tools.metrics.base import BadMetricAnswer, MetricQuery, MetricSourceUnavailable, Reading, Sample
from tools.metrics.catalogue import MetricDefinition
from tools.metrics.http_api import LARGEST_ANSWER, Access
from tools.metrics.prometheus.source import PrometheusMetricSource

NOON_MS = int(NOON.timestamp() * 1000)
NUMBERS = itertools.count()
MATCHERS = '{flag="$flag", environment="$environment"}'
TEN_S = query(0, 10, metric="m")


@dataclass
class Shop:
    """A server with counters of its own; `name` is what theirs begin with."""

    server: Prometheus | PrometheusApi
    name: str

    def count(self, name: str, samples: Mapping[float, float], **labels: str) -> None:
        """A counter's values by seconds from noon."""
        named = {"__name__": f"{self.name}_{name}", "flag": "new-checkout", "environment": "production"} | labels
        self.server.write([(named, [(NOON_MS + round(at * 1000), value) for at, value in samples.items()])])

    def source(self, **changes: Any) -> PrometheusMetricSource:
        """Of one metric, `m`."""
        exposures, events = f"{self.name}_all{MATCHERS}", f"{self.name}_failed{MATCHERS}"
        plain = {"name": "m", "source": "s", "title": "M", "query": {"exposures": exposures, "events": events}}
        given = MetricDefinition.model_validate(plain | changes)
        if isinstance(self.server, PrometheusApi):
            return PrometheusMetricSource(Access("http://fake"), [given], transport=self.server.transport)
        return PrometheusMetricSource(Access(self.server.url), [given])

    async def read(self, **changes: Any) -> Reading:
        """The ten seconds from noon."""
        source = self.source(**changes)
        try:
            return await source.read(TEN_S)
        finally:
            await source.close()


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.real)])
def shop(request: pytest.FixtureRequest) -> Shop:
    server = PrometheusApi() if request.param == "fake" else request.getfixturevalue("prometheus")
    return Shop(server, f"shop{next(NUMBERS)}")


def zero(shop: Shop) -> dict[str, Any]:
    """A query for which no series of events means none."""
    return {"exposures": f"{shop.name}_all{MATCHERS}", "events": f"{shop.name}_failed{MATCHERS}", "absent": "zero"}


class TestCounting:
    async def test_what_was_counted_before_the_window_does_not_count(self, shop: Shop) -> None:
        shop.count("all", {-20: 70, -5: 100, 4: 130, 9: 160, 11: 900}, variant="new")
        reading = await shop.read(query=zero(shop))
        assert reading.by_variant == {"new": Sample(60)}
        assert reading.newest == NOON + timedelta(seconds=9)

    async def test_one_sample_in_the_window_is_enough(self, shop: Shop) -> None:
        shop.count("all", {-10: 100, 5: 130}, variant="new")
        assert (await shop.read(query=zero(shop))).by_variant == {"new": Sample(30)}

    async def test_a_series_that_begins_in_the_window_began_at_zero(self, shop: Shop) -> None:
        shop.count("all", {-5: 100, 5: 110}, variant="new")
        shop.count("failed", {5: 1}, variant="new")
        assert (await shop.read()).by_variant == {"new": Sample(10, 1)}

    async def test_after_a_restart_its_new_count_counts(self, shop: Shop) -> None:
        shop.count("all", {-5: 1000, 5: 7}, variant="new")
        assert (await shop.read(query=zero(shop))).by_variant == {"new": Sample(7)}

    async def test_a_restart_amid_the_window_is_no_loss_where_the_count_is_higher_again(self, shop: Shop) -> None:
        shop.count("all", {-1: 10, 1: 12, 3: 1, 5: 20, 7: 40, 9: 60}, variant="new")
        # 2 before it and 60 after it, within a fifth; 50 would be the difference.
        found = (await shop.read(query=zero(shop))).by_variant["new"].exposures
        assert 56 <= found <= 76

    async def test_a_restart_amid_the_window_loses_nothing_of_what_came_before_it(self, shop: Shop) -> None:
        shop.count("all", {-1: 100, 1: 150, 6: 10}, variant="new")
        shop.count("failed", {-1: 0, 1: 50}, variant="new")
        assert (await shop.read()).by_variant == {"new": Sample(50 + 10, 50)}

    async def test_a_restart_right_before_the_window_and_one_amid_it_count_all_lives(self, shop: Shop) -> None:
        shop.count("all", {-1: 100, 1: 50, 6: 10}, variant="new")
        assert (await shop.read(query=zero(shop))).by_variant == {"new": Sample(50 + 10)}

    async def test_a_restart_between_two_windows_is_seen_though_the_count_is_higher_again(self, shop: Shop) -> None:
        shop.count("all", {-1: 10, 1: 2, 5: 20}, variant="new")
        assert (await shop.read(query=zero(shop))).by_variant == {"new": Sample(20)}

    async def test_many_restarts_in_a_long_window_lose_little(self, shop: Shop) -> None:
        lives = {second: float(second % 60) for second in range(-5, 1200, 5)}
        shop.count("all", lives, variant="new")
        source = shop.source(query=zero(shop))
        reading = await source.read(query(0, 1200, metric="m"))
        await source.close()
        # From 0 to 55 in each of 20 lives.
        assert reading.by_variant["new"].exposures == pytest.approx(20 * 55, rel=0.01)

    async def test_machines_come_and_go(self, shop: Shop) -> None:
        shop.count("all", {-5: 100, 3: 140}, variant="new", instance="gone")
        shop.count("all", {6: 25, 9: 30}, variant="new", instance="came")
        shop.count("all", {-5: 1}, variant="new", instance="silent")
        assert (await shop.read(query=zero(shop))).by_variant == {"new": Sample(70)}

    async def test_a_machine_that_comes_back_after_minutes_counts_no_more_than_it_rose_by(self, shop: Shop) -> None:
        shop.count("all", {-600: 5000, 5: 5020}, variant="new", instance="unreachable")
        shop.count("all", {-600: 5000, 5: 7}, variant="new", instance="restarted")
        shop.count("all", {-5: 10, 5: 13}, variant="new", instance="well")
        assert (await shop.read(query=zero(shop))).by_variant == {"new": Sample(20 + 7 + 3)}

    async def test_a_server_that_is_scraped_and_gets_no_requests_counts_nobody(self, shop: Shop) -> None:
        shop.count("all", {-5: 100, 5: 100}, variant="new")
        assert (await shop.read(query=zero(shop))).by_variant == {"new": Sample(0)}

    async def test_a_service_that_died_has_no_rows(self, shop: Shop) -> None:
        shop.count("all", {-8: 100, -4: 200}, variant="new")
        assert (await shop.read(query=zero(shop))).by_variant == {}

    async def test_what_came_before_a_long_silence_is_as_old_as_it_may_be(self, shop: Shop) -> None:
        shop.count("all", {-5: 100, 60: 200}, variant="new")
        source = shop.source(query=zero(shop))
        reading = await source.read(query(0, 3600, metric="m"))
        await source.close()
        assert (reading.by_variant, reading.newest) == ({"new": Sample(100)}, NOON)


class TestWhatIsMissing:
    async def test_nothing_is_no_data(self, shop: Shop) -> None:
        reading = await shop.read()
        assert (reading.by_variant, reading.newest, reading.raw) == ({}, None, [])

    async def test_no_series_of_events_at_all_may_be_a_wrong_label(self, shop: Shop) -> None:
        shop.count("all", {-5: 0, 5: 10}, variant="new")
        with pytest.raises(BadMetricAnswer, match=rf'no series at all is {shop.name}_failed: .*absent = "zero"'):
            await shop.read()
        assert (await shop.read(query=zero(shop))).by_variant == {"new": Sample(10, 0)}

    async def test_events_of_another_flag_prove_the_labels_right(self, shop: Shop) -> None:
        shop.count("all", {-5: 0, 5: 10}, variant="new")
        shop.count("failed", {-5: 0, 5: 3}, variant="new", flag="other")
        assert (await shop.read()).by_variant == {"new": Sample(10, 0)}

    async def test_rows_without_a_variant_have_their_own_key(self, shop: Shop) -> None:
        shop.count("all", {-5: 0, 5: 10})
        assert (await shop.read(query=zero(shop))).by_variant == {None: Sample(10)}

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    async def test_what_is_no_number_is_refused(self, shop: Shop, value: float) -> None:
        shop.count("all", {5: value}, variant="new")
        with pytest.raises(BadMetricAnswer, match=r"'exposures' is (nan|inf), not a whole number"):
            await shop.read(query=zero(shop))

    async def test_two_series_that_differ_in_name_only_are_an_error_with_its_reason(self, shop: Shop) -> None:
        for name in ("all", "every"):
            shop.count(name, {-5: 1, 5: 2}, variant="new")
        selector = f'{{__name__=~"{shop.name}_(all|every)", flag="$flag"}}'
        with pytest.raises(BadMetricAnswer, match=r"can't run the query .*(duplicate|many-to-many|vector cannot)"):
            await shop.read(query={"exposures": selector, "events": selector})


class TestKinds:
    async def test_a_histogram_is_told_apart_by_its_edges(self, shop: Shop) -> None:
        for edge, (before, after) in {"0.1": (5, 25), "0.25": (5, 40), "1.0": (6, 44), "+Inf": (6, 46)}.items():
            shop.count("bucket", {-5: before, 5: after}, variant="new", le=edge)
        given: dict[str, Any] = {"kind": "latency", "query": {"buckets": f"{shop.name}_bucket{MATCHERS}"}}
        reading = await shop.read(**given, buckets=[0.1, 1])
        assert reading.by_variant["new"] == Sample(40, buckets=((0.1, 20), (1.0, 18), (math.inf, 2)))
        assert reading.newest == NOON + timedelta(seconds=5)
        with pytest.raises(BadMetricAnswer, match=r"no bucket up to 0\.5; there are 0\.1, 0\.25, 1, inf"):
            await shop.read(**given, buckets=[0.1, 0.5])

    async def test_an_amount_has_its_sums(self, shop: Shop) -> None:
        for name, after in (("all", 3), ("sum", 12.5), ("squares", 60.25)):
            shop.count(name, {-5: 0, 5: after}, variant="new")
        columns = {"exposures": "all", "total": "sum", "total_squares": "squares"}
        given = {column: f"{shop.name}_{name}{MATCHERS}" for column, name in columns.items()}
        reading = await shop.read(kind="mean", cap=100, query=given)
        assert reading.by_variant == {"new": Sample(3, total=12.5, total_squares=60.25)}
        with pytest.raises(BadMetricAnswer, match="without total_squares"):
            await shop.read(kind="mean", cap=100, query=given | {"total_squares": f"{shop.name}_none{MATCHERS}"})

    async def test_a_mix_has_its_segments(self, shop: Shop) -> None:
        for labels, after in (({"region": "eu"}, 3), ({"region": "us"}, 4), ({}, 5)):
            shop.count("all", {-5: 0, 5: after}, variant="new", **labels)
        given = {"exposures": f"{shop.name}_all{MATCHERS}", "segment": "region"}
        reading = await shop.read(kind="mix", query=given)
        assert reading.by_variant["new"].segments == ((None, 5), ("eu", 3), ("us", 4))

    async def test_assignments_have_exposures_alone(self, shop: Shop) -> None:
        shop.count("all", {-5: 0, 5: 10}, variant="new")
        reading = await shop.read(kind="assignments", query={"exposures": f"{shop.name}_all{MATCHERS}"})
        assert reading.by_variant == {"new": Sample(10)}


class TestTogether:
    async def test_many_flags_and_metrics_are_one_query_for_each_metric(self) -> None:
        api = PrometheusApi()
        shop = Shop(api, "shop")
        flags = [f"flag-{number}" for number in range(50)]
        for number, flag in enumerate(flags):
            shop.count("all", {-5: 0, 5: number}, variant="new", flag=flag)
        source = shop.source(query=zero(shop))
        found = await source.read_together([query(0, 10, flag=flag, metric="m") for flag in flags])
        assert [one.by_variant["new"].exposures for one in found if isinstance(one, Reading)] == list(range(50))
        assert len(api.asked) == 1

    async def test_only_those_whose_service_restarted_are_asked_for_again(self) -> None:
        shop = Shop(api := PrometheusApi(), "shop")
        for flag, environment in itertools.product(("calm", "first", "second"), ("production", "staging")):
            restarts = (flag, environment) in (("first", "production"), ("second", "staging"))
            samples = {-1: 100, 1: 150, 6: 10} if restarts else {-1: 100, 6: 107}
            shop.count("all", samples, variant="new", flag=flag, environment=environment)
            shop.count("failed", samples, variant="new", flag=flag, environment=environment)
        asked = [
            MetricQuery("m", flag, environment, TEN_S.window)
            for flag, environment in itertools.product(("calm", "first", "second"), ("production", "staging"))
        ]
        found = await shop.source().read_together(asked)
        counted = [one.by_variant["new"].exposures for one in found if isinstance(one, Reading)]
        assert counted == [7, 7, 60, 7, 7, 60]
        assert [("calm" in text, "first" in text) for text in api.asked] == [(True, True), (False, True)]

    async def test_one_flags_wrong_numbers_are_not_anothers(self, shop: Shop) -> None:
        shop.count("all", {5: math.nan}, variant="new", flag="ill")
        shop.count("all", {5: 7}, variant="new", flag="well")
        source = shop.source(query=zero(shop))
        ill, well = await source.read_together([query(0, 10, flag=flag, metric="m") for flag in ("ill", "well")])
        await source.close()
        assert isinstance(ill, BadMetricAnswer)
        assert isinstance(well, Reading)
        assert well.by_variant == {"new": Sample(7)}

    @pytest.mark.parametrize("name", ["\udc80", "\ud800*", "a\udfffb"])
    async def test_a_name_that_is_no_text_is_an_error_of_its_own(self, shop: Shop, name: str) -> None:
        shop.count("all", {5: 7}, variant="new", flag="well")
        source = shop.source(query=zero(shop))
        asked = [query(0, 10, flag=flag, metric="m") for flag in (name, "well")]
        ill, well = await source.read_together(asked)
        assert isinstance(ill, BadMetricAnswer)
        assert f"can't have a label with the value {name!r}" in str(ill)
        assert isinstance(well, Reading)
        assert well.by_variant == {"new": Sample(7)}
        assert 'flag=~"' in source.expression(*asked)
        await source.close()


OURS = MetricDefinition.model_validate(
    {"name": "m", "source": "s", "title": "M", "query": {"exposures": "a", "events": "b", "absent": "zero"}}
)
EMPTY = {"status": "success", "data": {"resultType": "vector", "result": []}}


def server(*answers: httpx.Response | Exception, **options: Any) -> tuple[PrometheusApi, PrometheusMetricSource]:
    """A fake that gives these answers first, and a source that asks it."""
    api = PrometheusApi(answers=list(answers))
    access = Access("http://fake", **({"timeout": timedelta(seconds=5)} | options))
    return api, PrometheusMetricSource(access, [OURS], transport=api.transport)


def failed(status: int, kind: str, why: str) -> httpx.Response:
    """As the API says that something is wrong."""
    return httpx.Response(status, json={"status": "error", "errorType": kind, "error": why})


class TestErrors:
    @pytest.mark.parametrize(
        ("answer", "kind", "says"),
        [
            (failed(400, "bad_data", "parse error"), BadMetricAnswer, r"does not understand the query \(parse error\)"),
            (failed(422, "execution", "too many"), BadMetricAnswer, r"can't run the query \(too many\)"),
            (failed(500, "internal", "oh"), MetricSourceUnavailable, r"status 500, internal: oh"),
            (failed(500, "k" * 1_000, "oh"), MetricSourceUnavailable, r"status 500, k{300}: oh"),
            (httpx.Response(404, text="404 page not found"), MetricSourceUnavailable, "has no Prometheus API"),
            (httpx.Response(405, text="Method Not Allowed"), MetricSourceUnavailable, "has no Prometheus API"),
            (httpx.Response(200, html="<html>"), MetricSourceUnavailable, "has no Prometheus API"),
            (httpx.Response(200, json=[]), MetricSourceUnavailable, "has no Prometheus API"),
            (httpx.Response(302, headers={"Location": "/login"}), MetricSourceUnavailable, "sends elsewhere"),
            (httpx.Response(401), MetricSourceUnavailable, "refuses the credentials"),
            (httpx.Response(403), MetricSourceUnavailable, "refuses the credentials"),
            (httpx.Response(200, content=b"x" * (LARGEST_ANSWER + 1)), MetricSourceUnavailable, "more than 32 MB"),
            (
                httpx.Response(200, json=EMPTY | {"warnings": ["a store is away"]}),
                MetricSourceUnavailable,
                "only a part",
            ),
            (httpx.Response(200, json=EMPTY | {"data": {"resultType": "matrix"}}), BadMetricAnswer, "no vector"),
            (httpx.Response(200, json={"status": "success"}), BadMetricAnswer, "no vector"),
            (
                httpx.Response(200, json={"status": "success", "data": {"resultType": "vector", "result": [{}]}}),
                BadMetricAnswer,
                "a row that is no sample",
            ),
        ],
    )
    async def test_each_has_its_sentence(self, answer: httpx.Response, kind: type[SluiceError], says: str) -> None:
        _, source = server(answer)
        with pytest.raises(kind, match=says):
            await source.read(TEN_S)

    async def test_what_prometheus_merely_remarks_is_no_error(self) -> None:
        _, source = server(httpx.Response(200, json=EMPTY | {"warnings": ["PromQL info: might not be a counter"]}))
        assert (await source.read(TEN_S)).by_variant == {}

    @pytest.mark.parametrize("answer", [failed(503, "timeout", "query timed out"), httpx.ConnectError("refused")])
    async def test_what_may_pass_is_tried_again(self, answer: httpx.Response | Exception) -> None:
        _, source = server(answer, answer)
        assert (await source.read(TEN_S)).by_variant == {}

    @pytest.mark.parametrize(
        ("answer", "says"),
        [
            (failed(503, "timeout", "query timed out"), "busy or away"),
            (httpx.ConnectError("refused"), "can't be reached"),
        ],
    )
    async def test_it_gives_up_in_the_end(self, answer: httpx.Response | Exception, says: str) -> None:
        api, source = server(*[answer] * 5)
        with pytest.raises(MetricSourceUnavailable, match=says):
            await source.read(TEN_S)
        assert len(api.answers) == 2

    @pytest.mark.parametrize("until", ["60", "Mon, 23 Nov 2026 09:01:00 GMT"])
    async def test_a_server_that_asks_to_wait_too_long_is_not_waited_for(self, until: str) -> None:
        busy = httpx.Response(429, headers={"Retry-After": until, "Date": "Mon, 23 Nov 2026 09:00:00 GMT"})
        _, source = server(busy, timeout=timedelta(milliseconds=50))
        with pytest.raises(MetricSourceUnavailable, match=r"allows no more requests for 60 s"):
            await source.read(TEN_S)

    async def test_a_check_names_the_metric_that_the_server_does_not_understand(self) -> None:
        _, source = server(httpx.Response(200, json=EMPTY), failed(400, "bad_data", "parse error"))
        with pytest.raises(MetricSourceUnavailable, match=r"The metric 'm' can't be asked for: .*parse error"):
            await source.check()


class TestCredentials:
    async def test_a_token_is_sent(self) -> None:
        api, source = server(token="s3cret")
        api.token = "s3cret"
        await source.check()
        api.token = "another"
        with pytest.raises(MetricSourceUnavailable, match="refuses the credentials") as refused:
            await source.check()
        assert "s3cret" not in str(refused.value)

    async def test_a_token_in_a_file_is_read_anew(self, tmp_path: Path) -> None:
        file = tmp_path / "token"
        api, source = server(token_file=file)
        for token in ("first", "second"):
            file.write_text(f"{token}\n")
            api.token = token
            await source.check()
        file.unlink()
        with pytest.raises(MetricSourceUnavailable, match=r"token_file .* can't be read"):
            await source.check()

    def test_neither_is_shown_by_accident(self) -> None:
        assert "s3cret" not in repr(Access("http://sluice:s3cret@fake", token="s3cret"))

    async def test_a_name_and_a_password_may_be_in_the_url(self) -> None:
        api = PrometheusApi(password=("sluice", "hunter2"))
        source = PrometheusMetricSource(Access("http://sluice:hunter2@fake/"), [OURS], transport=api.transport)
        await source.check()
        api.password = ("sluice", "other")
        with pytest.raises(MetricSourceUnavailable) as refused:
            await source.check()
        assert "hunter2" not in str(refused.value)
        assert base64.b64encode(b"sluice:hunter2").decode() not in str(refused.value)

    @pytest.mark.parametrize(
        ("access", "field", "says"),
        [
            (Access(None), "url", "needs a url such as"),
            (Access("metrics.example.com"), "url", "needs a url such as"),
            (Access("http://a:b"), "url", "can't be read"),
            (Access("http://a", token="t", token_file=Path("f")), "token_file", "not both"),
            (Access("http://a:b@c", token="t"), "url", "not both"),
            (Access("https://a", ca_file=Path("/missing")), "ca_file", "has no certificates"),
        ],
    )
    def test_what_does_not_go_together_is_refused(self, access: Access, field: str, says: str) -> None:
        with pytest.raises(ConfigurationError, match=says) as refused:
            PrometheusMetricSource(access, [OURS])
        assert getattr(refused.value, "field", None) == field


class TestOwnLabels:
    """The variant in a label that is called as the flag is, as Unleash's impact metrics have it."""

    @staticmethod
    def query(shop: Shop) -> dict[str, Any]:
        matchers = '{environment="$environment"}'
        return zero(shop) | {
            "exposures": f"{shop.name}_all{matchers}",
            "events": f"{shop.name}_failed{matchers}",
            "variant": "$flag",
        }

    async def test_each_flag_is_counted_by_its_own(self, shop: Shop) -> None:
        for labels, after in (
            ({"new_checkout": "enabled"}, 7),
            ({"new_checkout": "disabled", "search_2": "express"}, 5),
            ({"search_2": "classic"}, 3),
        ):
            shop.count("all", {-5: 100, 5: 100 + after}, flag="", **labels)
        shop.count("failed", {-5: 0, 5: 2}, flag="", new_checkout="enabled")
        source = shop.source(query=self.query(shop))
        flags = ("new-checkout", "search.2", "new_checkout", "2nd")
        found = await source.read_together([query(0, 10, flag=flag, metric="m") for flag in flags])
        await source.close()
        assert [one.by_variant for one in found if isinstance(one, Reading)] == [
            {"enabled": Sample(7, 2), "disabled": Sample(5), None: Sample(3)},
            {"express": Sample(5), "classic": Sample(3), None: Sample(7, 2)},
            {"enabled": Sample(7, 2), "disabled": Sample(5), None: Sample(3)},
            {None: Sample(15, 2)},
        ]
        assert all(one.newest == NOON + timedelta(seconds=5) for one in found if isinstance(one, Reading))

    async def test_a_histogram_too(self, shop: Shop) -> None:
        for edge, after in {"0.1": 2, "+Inf": 5}.items():
            shop.count("bucket", {-5: 0, 5: after}, flag="", le=edge, new_checkout="enabled")
        asked = {"buckets": f'{shop.name}_bucket{{environment="$environment"}}', "variant": "$flag"}
        reading = await shop.read(kind="latency", buckets=[0.1], query=asked)
        assert reading.by_variant == {"enabled": Sample(5, buckets=((0.1, 2), (math.inf, 3)))}

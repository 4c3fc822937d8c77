"""What is InfluxDB's own, on a strict fake and a real server: InfluxQL, tags, databases, credentials."""

import itertools
from datetime import timedelta

import httpx
import pytest

from tests.contract.metrics.benches import NOON, query
from tests.contract.metrics.fake_influxdb import InfluxApi
from tests.contract.metrics.tills import InfluxTill, Request
from tests.influxdb import DATABASE
from tools.errors import ConfigurationError, SluiceError
from tools.metrics.base import BadMetricAnswer, MetricSourceUnavailable, Reading, Sample
from tools.metrics.catalogue import BadDefinition, MetricDefinition
from tools.metrics.http_api import Access
from tools.metrics.influxdb.influxql import nanoseconds, parse_influxql
from tools.metrics.influxdb.source import InfluxMetricSource

NUMBERS = itertools.count()
TEN_S = query(0, 10, metric="m")
WHERE = "FROM shop WHERE flag = '$flag'"


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.real)])
def till(request: pytest.FixtureRequest) -> InfluxTill:
    server = InfluxApi() if request.param == "fake" else request.getfixturevalue("influx")
    return InfluxTill(server, f"own{next(NUMBERS)}")


def source(api: InfluxApi, access: Access | None = None) -> InfluxMetricSource:
    """Of one ratio."""
    opened = access or Access("http://fake", database=DATABASE, timeout=timedelta(seconds=5))
    return InfluxMetricSource(opened, [InfluxTill(api, "shop").definition()], transport=api.transport)


class TestQueries:
    @pytest.mark.parametrize("flag", ["it's", "a' OR 'a' = 'a", "a\\b", "$environment", '"', "a;b", "a/b"])
    async def test_a_flags_name_never_becomes_a_part_of_the_query(self, till: InfluxTill, flag: str) -> None:
        till.record(Request(1, flag=flag, code=500), Request(1, flag="another", code=500))
        async with till.opened(till.definition()) as ours:
            found = await ours.read(query(0, 10, flag=flag, metric="m"))
        assert found.by_variant == {"new": Sample(1, 1)}

    async def test_conditions_are_as_influxdb_understands_them(self, till: InfluxTill) -> None:
        till.record(Request(1, code=500), Request(1, code=503, took=9), Request(1, region="a/b"), Request(1))
        for more, events in (
            ('AND "code" !~ /^2/', 2),
            ('AND ("code" = \'503\' OR "region" =~ /a\\/b/)', 2),
            ('AND "code" =~ /^(500|503)$/ AND "took" > 1.5', 1),
            ("AND \"region\" = ''", 3),
        ):
            asked = till.query("ratio")
            given = till.definition(events=f"{asked['exposures']} {more}")
            if events == 3 and isinstance(till.server, InfluxApi):
                continue
            async with till.opened(given) as ours:
                found = await ours.read(TEN_S)
            assert found.by_variant["new"] == Sample(4, events), more

    async def test_many_metrics_flags_are_found_each_by_its_own_name(self, till: InfluxTill) -> None:
        flags = [f"flag-{number}" for number in range(30)]
        till.record(*[Request(1, flag=flag, code=500) for flag in flags])
        async with till.opened(till.definition()) as ours:
            found = await ours.read_together([query(0, 10, flag=flag, metric="m") for flag in flags])
        assert not any(isinstance(one, SluiceError) for one in found)
        assert len(found) == 30

    @pytest.mark.parametrize(
        ("selection", "says"),
        [
            (f"SELECT count(*) {WHERE}", "counts field by field"),
            (f"SELECT mean(took) {WHERE}", "can't be counted exactly"),
            (f"SELECT sum(took) {WHERE} GROUP BY host", "the clause GROUP"),
            (f"SELECT sum(took) INTO other {WHERE}", "the clause INTO"),
            (f"SELECT sum(took) {WHERE} AND time > now()", "the clause TIME"),
            (f"SELECT sum(took) {WHERE}; DROP MEASUREMENT shop", "more than one statement"),
            (f"SELECT sum(took) {WHERE} OR a = 'b'", "an OR that is not in brackets"),
            ("SELECT sum(took) FROM shop WHERE flag =~ /$flag/", "write one such as flag = "),
            ("DROP MEASUREMENT shop", "no selection"),
        ],
    )
    def test_a_selection_that_cannot_be_used_is_refused(self, selection: str, says: str) -> None:
        given = InfluxTill(InfluxApi(), "shop").definition(exposures=selection, events=selection)
        with pytest.raises(BadDefinition, match=says):
            parse_influxql(given)


class TestIncreases:
    """Counters that only rise, until they are reset."""

    @staticmethod
    def count(till: InfluxTill, samples: dict[float, float], **tags: str) -> None:
        """A counter's values by seconds from noon."""
        named = {"flag": "new-checkout", "variant": "new"} | tags
        there = {name: value for name, value in named.items() if value}
        for at, value in samples.items():
            moment = nanoseconds(NOON + timedelta(seconds=at))
            till.server.write(f"{till.measurement}c", there, {"value": value}, moment)

    @staticmethod
    async def read(till: InfluxTill, kind: str = "ratio", start: float = 0, end: float = 10, **more: str) -> Reading:
        """Of the window, in seconds from noon."""
        selection = f'SELECT increase("value") FROM "{till.measurement}c" WHERE "flag" = \'$flag\''
        asked = {"exposures": selection} | more
        if kind == "ratio":
            asked |= {"events": f"{selection} AND \"code\" = '500'", "absent": "zero"}
        plain = {"name": "m", "source": "s", "title": "M", "kind": kind, "query": asked}
        async with till.opened(MetricDefinition.model_validate(plain)) as ours:
            return await ours.read(query(start, end, metric="m"))

    async def test_what_it_rose_by_counts_over_resets_and_machines(self, till: InfluxTill) -> None:
        self.count(till, {-20: 70, -5: 100, 4: 130, 9: 160, 11: 900}, host="a")
        self.count(till, {-5: 1000, 3: 7, 8: 9}, host="restarted")
        self.count(till, {6: 25}, host="came", code="500")
        self.count(till, {-5: 40, 5: 40}, host="idle", variant="old")
        self.count(till, {-5: 8}, host="gone", variant="old")
        self.count(till, {-400: 500, 5: 506}, host="silent", variant="")
        self.count(till, {-4000: 5, 5: 6}, host="silent for long", variant="older")
        reading = await self.read(till)
        assert reading.by_variant == {
            "new": Sample(60 + 9 + 25, 25),
            "old": Sample(0),
            None: Sample(6),
            "older": Sample(6),
        }
        assert reading.newest == NOON + timedelta(seconds=9)

    async def test_windows_side_by_side_count_each_increment_once(self, till: InfluxTill) -> None:
        self.count(till, {second * 0.7: second * 3.0 for second in range(1, 40)})
        edges = [0, 0.7, 3, 3.1, 11, 20, 30]
        counts = [
            (await self.read(till, start=start, end=end)).by_variant.get("new", Sample(0)).exposures
            for start, end in itertools.pairwise(edges)
        ]
        assert sum(counts) == 39 * 3

    async def test_a_mix_is_told_apart_by_its_segments(self, till: InfluxTill) -> None:
        for region, after in (("eu", 3), ("us", 4), ("", 5)):
            self.count(till, {-5: 10, 5: 10 + after}, region=region)
        reading = await self.read(till, "mix", segment="region")
        assert reading.by_variant["new"].segments == ((None, 5), ("eu", 3), ("us", 4))


class TestErrors:
    async def test_a_database_that_is_not_there_is_named(self, till: InfluxTill) -> None:
        url = "http://fake" if isinstance(till.server, InfluxApi) else till.server.url
        transport = till.server.transport if isinstance(till.server, InfluxApi) else None
        ours = InfluxMetricSource(Access(url, database="other"), [till.definition()], transport=transport)
        with pytest.raises(MetricSourceUnavailable, match=r"no database 'other' .*set the source's database"):
            await ours.read(TEN_S)
        await ours.close()

    async def test_a_field_that_cannot_be_summed_is_an_error_with_its_reason(self, till: InfluxTill) -> None:
        if isinstance(till.server, InfluxApi):
            till.server.answers.append(
                httpx.Response(200, json={"results": [{"error": "unsupported sum iterator"}] * 3})
            )
        else:
            till.server.write("texts", {"flag": "new-checkout"}, {"took": True}, 1_772_366_401_000_000_000)
        selection = "SELECT sum(took) FROM texts WHERE flag = '$flag'"
        async with till.opened(till.definition(exposures=selection, events=selection)) as ours:
            with pytest.raises(BadMetricAnswer, match=r"does not understand the query \(unsupported sum iterator"):
                await ours.read(TEN_S)

    async def test_a_check_asks_every_metric(self, till: InfluxTill) -> None:
        async with till.opened(till.definition()) as ours:
            await ours.check()
        if isinstance(till.server, InfluxApi):
            assert len(till.server.asked) == 2

    @pytest.mark.parametrize(
        ("answer", "kind", "says"),
        [
            (httpx.Response(400, json={"error": "error parsing query: no"}), BadMetricAnswer, r"\(error parsing query"),
            (
                httpx.Response(404, json={"code": "not found", "message": "no dbrp mapping found for: shop"}),
                MetricSourceUnavailable,
                "InfluxDB 2 needs a DBRP mapping",
            ),
            (httpx.Response(500, json={"error": "oh"}), MetricSourceUnavailable, r"status 500: oh"),
            (httpx.Response(401, json={"error": "no"}), MetricSourceUnavailable, "refuses the credentials"),
            (httpx.Response(200, html="<html>"), MetricSourceUnavailable, "has no InfluxQL API"),
            (httpx.Response(200, json={"results": []}), BadMetricAnswer, "did not answer each statement"),
            (httpx.Response(200, json={"results": None}), BadMetricAnswer, "did not answer each statement"),
            (
                httpx.Response(200, json={"results": [{"partial": True, "series": []}] * 3}),
                MetricSourceUnavailable,
                "only a part",
            ),
            (
                httpx.Response(200, json={"results": [{"series": [{"columns": ["time"], "values": [[0]]}]}] * 3}),
                BadMetricAnswer,
                "a series that is no number",
            ),
            (httpx.Response(200, json={"results": ["?"] * 3}), BadMetricAnswer, "no result"),
        ],
    )
    async def test_each_has_its_sentence(self, answer: httpx.Response, kind: type[SluiceError], says: str) -> None:
        with pytest.raises(kind, match=says):
            await source(InfluxApi(answers=[answer])).read(TEN_S)


class TestCredentials:
    async def test_a_token_is_sent_as_influxdb_takes_it(self) -> None:
        api = InfluxApi(token="s3cret")
        await source(api, Access("http://fake", "s3cret", database=DATABASE)).check()
        with pytest.raises(MetricSourceUnavailable, match="refuses the credentials") as refused:
            await source(api, Access("http://fake", "wr0ng", database=DATABASE)).check()
        assert "wr0ng" not in str(refused.value)

    async def test_a_name_and_a_password_may_be_in_the_url(self) -> None:
        api = InfluxApi(password=("sluice", "hunter2"))
        await source(api, Access("http://sluice:hunter2@fake", database=DATABASE)).check()

    async def test_a_retention_policy_is_asked_for(self) -> None:
        asked = list[httpx.URL]()

        async def note(request: httpx.Request) -> httpx.Response:
            asked.append(request.url)
            return httpx.Response(200, json={"results": [{"statement_id": 0}]})

        access = Access("http://fake/base", database="shop", retention="month")
        await InfluxMetricSource(access, [], transport=httpx.MockTransport(note)).check()
        assert asked[0].path == "/base/query"
        assert dict(asked[0].params) == {"db": "shop", "rp": "month", "epoch": "ns"}

    def test_a_database_is_needed(self) -> None:
        with pytest.raises(ConfigurationError, match="needs its database"):
            InfluxMetricSource(Access("http://fake"), [])

"""Each kind of metric, what is missing, and many flags at once: over Datadog, New Relic and InfluxDB alike."""

import itertools
import math
from datetime import timedelta

import pytest

from tests.contract.metrics.benches import NOON, query
from tests.contract.metrics.fake_datadog import DatadogApi
from tests.contract.metrics.fake_influxdb import InfluxApi
from tests.contract.metrics.fake_newrelic import NerdGraph
from tests.contract.metrics.tills import DatadogTill, InfluxTill, NewRelicTill, Request, Till
from tools.metrics.base import BadMetricAnswer, BatchSource, Reading, Sample, SpokenSource
from tools.metrics.catalogue import Catalogue
from tools.metrics.quality import NoData
from tools.metrics.router import Metrics
from tools.metrics.trial import Problem, Trial, try_metric

NUMBERS = itertools.count()
TEN_S = query(0, 10, metric="m")
FAKES = ("influxdb", "datadog", "newrelic")


@pytest.fixture(params=[*FAKES, pytest.param("real influxdb", marks=pytest.mark.real)])
def till(request: pytest.FixtureRequest) -> Till:
    if request.param == "datadog":
        return DatadogTill(DatadogApi())
    if request.param == "newrelic":
        return NewRelicTill(NerdGraph())
    server = InfluxApi() if request.param == "influxdb" else request.getfixturevalue("influx")
    return InfluxTill(server, f"till{next(NUMBERS)}")


@pytest.fixture(params=FAKES)
def fake(request: pytest.FixtureRequest) -> Till:
    made: dict[str, Till] = {
        "influxdb": InfluxTill(InfluxApi(), "till"),
        "datadog": DatadogTill(DatadogApi()),
        "newrelic": NewRelicTill(NerdGraph()),
    }
    return made[request.param]


async def read(till: Till, kind: str = "ratio", **changes: str) -> Reading:
    """The ten seconds from noon."""
    async with till.opened(till.definition(kind, **changes)) as source:
        return await source.read(TEN_S)


class TestKinds:
    async def test_a_ratio_has_its_events(self, till: Till) -> None:
        till.record(*[Request(1)] * 3, Request(2, code=503), Request(3, "old"), Request(4, None), Request(11))
        reading = await read(till)
        assert reading.by_variant == {"new": Sample(4, 1), "old": Sample(1), None: Sample(1)}
        assert reading.newest is not None
        assert timedelta(0) <= reading.newest - (NOON + timedelta(seconds=4)) < timedelta(milliseconds=1)

    async def test_an_amount_has_its_sums(self, till: Till) -> None:
        till.record(Request(1, amount=10), Request(2, amount=2.5), Request(3, "old", amount=4))
        reading = await read(till, "mean")
        assert reading.by_variant == {
            "new": Sample(2, total=12.5, total_squares=106.25),
            "old": Sample(1, total=4, total_squares=16),
        }

    async def test_a_latency_is_counted_up_to_each_edge(self, till: Till) -> None:
        took = (0.05, 0.1, 0.1001, 0.4, 0.5, 3.0)
        till.record(*[Request(1, took=one) for one in took], Request(2, None, took=0.2))
        reading = await read(till, "latency")
        assert reading.by_variant["new"].buckets == ((0.1, 2), (0.5, 3), (math.inf, 1))
        assert reading.by_variant[None].buckets == ((0.1, 0), (0.5, 1), (math.inf, 0))
        assert reading.newest is not None

    async def test_a_mix_has_its_segments(self, till: Till) -> None:
        till.record(Request(1, region="eu"), *[Request(2, region="us")] * 2, Request(3), Request(4, None, region="eu"))
        reading = await read(till, "mix")
        assert reading.by_variant["new"].segments == ((None, 1), ("eu", 1), ("us", 2))
        assert reading.by_variant[None].segments == (("eu", 1),)

    async def test_assignments_have_exposures_alone(self, till: Till) -> None:
        till.record(*[Request(1)] * 3, Request(2, "old"))
        assert (await read(till, "assignments")).by_variant == {"new": Sample(3), "old": Sample(1)}


class TestWhatIsMissing:
    async def test_nothing_is_no_data(self, till: Till) -> None:
        reading = await read(till)
        assert (reading.by_variant, reading.newest, reading.raw) == ({}, None, [])

    async def test_no_events_ever_may_be_a_wrong_condition(self, till: Till) -> None:
        till.record(Request(1))
        with pytest.raises(BadMetricAnswer, match=r'nothing of the last 7 days is .*absent = "zero"'):
            await read(till)
        assert (await read(till, absent="zero")).by_variant == {"new": Sample(1, 0)}

    async def test_events_of_others_or_of_before_prove_the_condition_right(self, till: Till) -> None:
        till.record(Request(1), Request(-3600, code=500, flag="other"))
        assert (await read(till)).by_variant == {"new": Sample(1, 0)}

    async def test_it_is_asked_once_in_a_while_only(self, fake: Till) -> None:
        fake.record(Request(1), Request(12), Request(-3600, code=500))
        source = fake.source(fake.definition())
        await source.read(TEN_S)
        before = fake.requests()
        await source.read(query(10, 20, metric="m"))
        assert fake.requests() - before == 1


class TestTogether:
    async def test_many_flags_are_one_request(self, fake: Till) -> None:
        flags = [f"flag-{number}" for number in range(50)]
        fake.record(*[Request(1, flag=flag, code=500) for n, flag in enumerate(flags) for _ in range(n)])
        source = fake.source(fake.definition())
        assert isinstance(source, BatchSource)
        found = await source.read_together([query(0, 10, flag=flag, metric="m") for flag in flags])
        counts = [one.by_variant.get("new", Sample(0)).exposures for one in found if isinstance(one, Reading)]
        assert counts == list(range(50))
        assert fake.requests() == 1

    async def test_what_is_shown_names_each_flag(self, fake: Till) -> None:
        source = fake.source(fake.definition())
        assert isinstance(source, SpokenSource)
        said = source.expression(TEN_S, query(0, 10, flag="another", metric="m"))
        assert "new-checkout" in said
        assert "another" in said


class TestTrying:
    """What `sluice metrics try` finds, by its name."""

    @pytest.mark.parametrize(
        ("requests", "finding"),
        [
            ((Request(5, "old"),), NoData.FLAG_NEVER_EVALUATED),
            ((Request(5, None),), NoData.FLAG_NEVER_EVALUATED),
            ((Request(5, "new"),), NoData.NO_TRAFFIC),
            ((Request(5, "old"), Request(5, "new"), Request(5, "express")), NoData.UNKNOWN_LABEL),
            ((Request(-40, "old"), Request(-40, "new")), NoData.STALE),
            ((), NoData.EMPTY),
            ((Request(5, "old"), Request(5, "new")), Problem.EMPTY_MEANS_ZERO),
        ],
    )
    async def test_a_finding_has_its_name(self, fake: Till, requests: tuple[Request, ...], finding: str) -> None:
        fake.record(*requests, Request(-3000, code=500, flag="other"))
        assert (await attempt(fake)).findings[0].name == finding

    async def test_an_error_of_the_server_has_its_name_too(self, fake: Till) -> None:
        fake.record(Request(5, "old"))
        assert [one.name for one in (await attempt(fake)).findings] == [Problem.PROVIDER_ERROR]

    async def test_where_all_is_well_there_is_nothing_to_find(self, fake: Till) -> None:
        fake.record(Request(5, "old"), Request(5, "new", code=500))
        tried = await attempt(fake)
        assert tried.findings == ()
        assert tried.can_be_judged
        assert tried.expression


async def attempt(till: Till) -> Trial:
    """The last minute's."""
    definition = till.definition()
    source = till.source(definition)
    metrics = Metrics(Catalogue([definition]), {"s": source})
    try:
        return await try_metric(
            metrics,
            "m",
            "new-checkout",
            "production",
            control="old",
            treatment="new",
            now=NOON + timedelta(seconds=10),
            span=timedelta(minutes=1),
            stale_after=timedelta(seconds=20),
        )
    finally:
        await metrics.close()

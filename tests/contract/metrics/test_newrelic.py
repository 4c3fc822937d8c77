"""What is New Relic's own, on a strict fake: NRQL, what it groups by, errors with the status 200, regions."""

import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.contract.metrics.benches import FLAG, query
from tests.contract.metrics.fake_newrelic import NerdGraph
from tests.contract.metrics.tills import NewRelicTill, Request
from tools.errors import ConfigurationError, SluiceError
from tools.metrics.base import BadMetricAnswer, MetricSourceUnavailable, Sample
from tools.metrics.catalogue import BadDefinition
from tools.metrics.http_api import LONGEST_REASON, Access
from tools.metrics.newrelic.nrql import parse_nrql
from tools.metrics.newrelic.source import NewRelicMetricSource

TEN_S = query(0, 10, metric="m")
WHERE = "FROM Transaction WHERE feature_flag.key = '$flag'"


@pytest.fixture
def till() -> NewRelicTill:
    return NewRelicTill(NerdGraph())


def source(graph: NerdGraph, **access: Any) -> NewRelicMetricSource:
    """Of one ratio."""
    given = NewRelicTill(graph).definition(absent="zero")
    opened = {"url": None, "token": graph.key, "account": graph.account, "timeout": timedelta(seconds=8)} | access
    return NewRelicMetricSource(Access(**opened), [given], transport=graph.transport)


def failed(message: str, kind: str | None = None, status: int = 200) -> NerdGraph:
    """An account whose first answer is an error."""
    error = {"message": message} | ({"extensions": {"errorClass": kind}} if kind else {})
    return NerdGraph(answers=[httpx.Response(status, json={"data": {"actor": None}, "errors": [error]})])


class TestQueries:
    async def test_all_that_a_metric_needs_is_one_request(self, till: NewRelicTill) -> None:
        till.record(Request(1, region="eu"), Request(1, None, region="eu"), Request(1, None), Request(1))
        ours = till.source(till.definition("mix"))
        assert len((await ours.read(TEN_S)).by_variant) == 2
        assert (till.requests(), len(till.server.asked)) == (1, 4)

    def test_what_is_asked_says_its_window_and_its_groups(self, till: NewRelicTill) -> None:
        first, *_ = till.source(till.definition()).expression(TEN_S).splitlines()
        assert first == (
            "SELECT max(timestamp) AS newest, count(*) AS value FROM Transaction WHERE `feature_flag.key` = "
            "'new-checkout' AND `feature_flag.result.variant` IS NOT NULL AND timestamp >= 1772366400000 AND timestamp "
            "< 1772366410000 FACET `feature_flag.key`, `feature_flag.result.variant` LIMIT MAX SINCE 1772366400000 "
            "UNTIL 1772366410000"
        )

    async def test_conditions_may_have_brackets_and_quotes(self, till: NewRelicTill) -> None:
        till.record(Request(1, code=500), Request(1, code=429), Request(1))
        events = f"select count(*) {WHERE} and (code >= 500 or (code = 429 and amount = 0))"
        found = await till.source(till.definition(events=events, exposures=f"SELECT count(*) {WHERE}")).read(TEN_S)
        assert found.by_variant == {"new": Sample(3, 2)}

    @pytest.mark.parametrize(
        ("selection", "says"),
        [
            ("count(*)", "no selection: write such as SELECT"),
            (f"SELECT count(*) {WHERE} SINCE 1 day ago", "the clause SINCE"),
            (f"SELECT count(*) {WHERE} FACET host", "the clause FACET"),
            (f"SELECT count(*) {WHERE} LIMIT 5", "the clause LIMIT"),
            (f"SELECT count(*) {WHERE} AND timestamp > 5", "the clause TIMESTAMP"),
            (f"SELECT count(*) {WHERE} OR host = 'a'", "an OR that is not in brackets"),
            (f"SELECT count(*) {WHERE} AND (host = 'a'", "brackets that are not closed"),
            (f"SELECT count(*) {WHERE} -- all of them", "or a comment"),
            (f"SELECT uniqueCount(user) {WHERE}", "can't be counted exactly"),
            (f"SELECT average(duration) {WHERE}", "can't be counted exactly"),
            ("SELECT count(*) FROM (SELECT count(*) FROM A) WHERE flag = '$flag'", "the clause SELECT"),
            ("SELECT count(*) FROM lookup(a) WHERE flag = '$flag'", "more than a selection"),
            ("SELECT count(*) FROM $flag", "more than a selection"),
            ("SELECT count(*) FROM A WHERE flag LIKE '$flag'", "write one such as flag = "),
            ("SELECT count(*) FROM A WHERE flag = '$flags'", r"\$flags; allowed are"),
            ("SELECT count(*) FROM A WHERE variant = '$flag'", "uses one label for two things"),
        ],
    )
    def test_a_selection_that_cannot_be_used_is_refused(self, till: NewRelicTill, selection: str, says: str) -> None:
        given = till.definition(exposures=selection, events=selection, variant="variant")
        with pytest.raises(BadDefinition, match=says):
            parse_nrql(given)

    def test_a_histogram_has_a_plain_value(self, till: NewRelicTill) -> None:
        with pytest.raises(BadDefinition, match="no plain value"):
            parse_nrql(till.definition("latency", buckets=f"SELECT count(duration) {WHERE}"))

    async def test_words_in_quotes_are_no_clauses(self, till: NewRelicTill) -> None:
        selection = "SELECT count(*) FROM Transaction WHERE `since` = 'LIMIT OR ; --' AND feature_flag.key = '$flag'"
        till.server.events.append({"type": "Transaction", "timestamp": 1772366401000, "since": "LIMIT OR ; --"})
        till.server.events[0] |= {"feature_flag.key": "new-checkout", "feature_flag.result.variant": "new"}
        found = await till.source(till.definition(exposures=selection, events=selection)).read(TEN_S)
        assert found.by_variant == {"new": Sample(1, 1)}

    @pytest.mark.parametrize("flag", ["it's", "a\\", "\\' OR 1 = 1", "a\nb", "`a`", '"'])
    async def test_a_flags_name_never_becomes_a_part_of_the_query(self, till: NewRelicTill, flag: str) -> None:
        till.record(Request(1, flag=flag), Request(1, flag="another"))
        found = await till.source(till.definition(absent="zero")).read(query(0, 10, flag=flag, metric="m"))
        assert found.by_variant == {"new": Sample(1)}


class TestErrors:
    @pytest.mark.parametrize(
        ("graph", "kind", "says"),
        [
            (
                failed("NRQL Syntax Error: Error at line 1 position 8, unexpected 'FORM'"),
                BadMetricAnswer,
                "does not understand the query .*FORM",
            ),
            (failed("Unknown function in NRQL", "BAD_REQUEST"), BadMetricAnswer, "does not understand"),
            (failed("NRQL Syntax Error", "TIMEOUT"), BadMetricAnswer, "does not understand"),
            (failed("Account 42 not found"), MetricSourceUnavailable, r"refused \(Account 42 not found\)"),
            (
                failed("Invalid credentials", status=401),
                MetricSourceUnavailable,
                "set the source's token or",
            ),
            (NerdGraph(answers=[httpx.Response(200, html="<html>")]), MetricSourceUnavailable, "has no NerdGraph"),
            (
                NerdGraph(answers=[httpx.Response(200, json={"data": {}})]),
                MetricSourceUnavailable,
                "nothing of",
            ),
            (
                NerdGraph(answers=[httpx.Response(200, json={"data": {"actor": {"account": {"q0": None}}}})]),
                BadMetricAnswer,
                "did not answer with results",
            ),
        ],
    )
    async def test_each_has_its_sentence(self, graph: NerdGraph, kind: type[SluiceError], says: str) -> None:
        with pytest.raises(kind, match=says) as refused:
            await source(graph).read(TEN_S)
        assert "s3cret" not in str(refused.value)

    @pytest.mark.parametrize(
        "row",
        [
            {"facet": ["new-checkout", "new"], "newest": 1},
            {"facet": ["new-checkout", "new"], "newest": "now", "value": 1},
            {"facet": ["new-checkout"], "newest": 1, "value": 1},
            {"facet": ["new-checkout", "new"], "newest": 1, "value": {"count": 1}},
        ],
    )
    async def test_a_group_that_is_no_number_is_refused(self, row: dict[str, Any]) -> None:
        account = {f"q{place}": {"results": [row] if place == 0 else []} for place in range(4)}
        graph = NerdGraph(answers=[httpx.Response(200, json={"data": {"actor": {"account": account}}})])
        with pytest.raises(BadMetricAnswer, match="a group that is no number"):
            await source(graph).read(TEN_S)

    async def test_groups_beyond_the_most_are_not_left_out_silently(self, till: NewRelicTill) -> None:
        labels = [Request(1, f"v{number}") for number in range(5_000)]
        till.record(*labels)
        with pytest.raises(BadMetricAnswer, match="answered only 5,000 groups"):
            await till.source(till.definition(absent="zero")).read(TEN_S)

    @pytest.mark.parametrize(
        ("kind", "says"),
        [
            ("TIMEOUT", r"could not answer \(TIMEOUT: NRQL did not do\): make the metric's query narrower\."),
            ("SERVER_ERROR", r"could not answer \(SERVER_ERROR: NRQL did not do\): see how New Relic does\."),
            ("TOO_MANY_REQUESTS", r"takes no more queries for now \(TOO_MANY.*\): ask less often .* limit raised\."),
        ],
    )
    async def test_what_passes_is_asked_again(self, kind: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tools.metrics.http_api.FIRST_PAUSE_S", 0.0)
        (answer,) = failed("NRQL did not do", kind).answers
        graph = NerdGraph(answers=[answer] * 2)
        assert (await source(graph).read(TEN_S)).by_variant == {}
        graph = NerdGraph(answers=[answer] * 3)
        with pytest.raises(MetricSourceUnavailable, match=says):
            await source(graph).read(TEN_S)
        assert graph.requests == 3

    async def test_a_reason_is_cut_and_shows_no_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tools.metrics.http_api.FIRST_PAUSE_S", 0.0)
        words = f"{'x' * (LONGEST_REASON - 3)} {NerdGraph().key} {'y' * 1_000_000}"
        (answer,) = failed(words, "SERVER_ERROR").answers
        with pytest.raises(MetricSourceUnavailable, match=r"x \*\*\): see how New Relic does\.$") as refused:
            await source(NerdGraph(answers=[answer] * 3)).read(TEN_S)
        assert len(str(refused.value)) < LONGEST_REASON + 120

    @pytest.mark.parametrize(
        ("errors", "kind"),
        [
            (["odd", {"message": "slow", "extensions": {"errorClass": "TIMEOUT"}}], MetricSourceUnavailable),
            ("odd", MetricSourceUnavailable),
            (
                [{"message": "slow", "extensions": {"errorClass": "TIMEOUT"}}, {"message": "NRQL Syntax Error"}],
                BadMetricAnswer,
            ),
        ],
    )
    async def test_what_stays_wrong_is_not_asked_again(self, errors: object, kind: type[SluiceError]) -> None:
        graph = NerdGraph(answers=[httpx.Response(200, json={"errors": errors})])
        with pytest.raises(kind):
            await source(graph).read(TEN_S)
        assert graph.requests == 1

    async def test_a_count_without_a_row_is_no_event(self, till: NewRelicTill) -> None:
        ours = till.source(till.definition())

        def empty(request: httpx.Request) -> httpx.Response:
            counts = [name for name in json.loads(request.content)["variables"] if name.startswith("q")]
            results = [{"facet": [FLAG, "new"], "newest": 1772366401000, "value": 1}] if len(counts) > 1 else []
            account = {name: {"results": results if name == "q0" else []} for name in counts}
            return httpx.Response(200, json={"data": {"actor": {"account": account}}})

        ours._api._client._transport = httpx.MockTransport(empty)
        with pytest.raises(BadMetricAnswer, match="counts exposures, but nothing of the last"):
            await ours.read(TEN_S)

    async def test_too_many_requests_are_tried_again_or_wait(self) -> None:
        graph = NerdGraph(answers=[httpx.Response(429)])
        assert (await source(graph).read(TEN_S)).by_variant == {}
        graph = NerdGraph(answers=[httpx.Response(429, headers={"Retry-After": "60"})])
        with pytest.raises(MetricSourceUnavailable, match="allows no more requests for 60 s"):
            await source(graph).read(TEN_S)
        assert graph.requests == 1


class TestAccess:
    @pytest.mark.parametrize(
        ("region", "host"),
        [
            (None, "api.newrelic.com"),
            ("us", "api.newrelic.com"),
            ("EU", "api.eu.newrelic.com"),
            ("jp", "api.jp.newrelic.com"),
        ],
    )
    async def test_the_region_is_where_is_asked(self, region: str | None, host: str) -> None:
        asked = list[httpx.Request]()

        async def note(request: httpx.Request) -> httpx.Response:
            asked.append(request)
            return httpx.Response(200, json={"data": {"actor": {"account": {"id": 42}}}})

        access = Access(None, "NRAK-s3cret", account=42, region=region)
        await NewRelicMetricSource(access, [], transport=httpx.MockTransport(note)).check()
        assert (asked[0].url.host, asked[0].url.path, asked[0].headers["api-key"]) == (host, "/graphql", "NRAK-s3cret")
        assert json.loads(asked[0].content)["variables"] == {"account": 42}

    @pytest.mark.parametrize(
        ("access", "field"),
        [
            (Access(None, "t"), "account"),
            (Access(None, account=1), "token"),
            (Access(None, "t", account=1, region="mars"), "region"),
        ],
    )
    def test_what_is_missing_is_named(self, access: Access, field: str) -> None:
        with pytest.raises(ConfigurationError) as refused:
            NewRelicMetricSource(access, [])
        assert getattr(refused.value, "field", None) == field

    async def test_a_check_asks_for_the_account_and_each_metric(self) -> None:
        graph = NerdGraph()
        await source(graph).check()
        assert graph.requests == 2
        with pytest.raises(MetricSourceUnavailable, match="answered nothing of the account 7"):
            await source(graph, account=7).check()
        bad = failed("NRQL Syntax Error: no")
        bad.answers.insert(0, httpx.Response(200, json={"data": {"actor": {"account": {"id": 42}}}}))
        with pytest.raises(MetricSourceUnavailable, match="The metric 'm' can't be asked for"):
            await source(bad).check()

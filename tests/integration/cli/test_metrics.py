"""`sluice metrics try`: what people see of a metric before a plan relies on it."""

import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from tests.integration.cli.conftest import SHOP, Sluice

LATENCY = """
[metrics.took]
source = "shop"
title = "Took"
kind = "latency"
buckets = [0.5]
time_format = "epoch"
query = '''
SELECT variant, CASE WHEN failed THEN 9e999 ELSE 0.5 END AS bucket, COUNT(*) AS exposures, MAX(at) AS newest
FROM requests WHERE at >= :start AND at < :end GROUP BY 1, 2
'''
"""


def serve(shop: Path, variant: str, count: int, failed: int = 0) -> None:
    """Requests just now."""
    with closing(sqlite3.connect(shop / "shop.db")) as database, database:
        rows = [(time.time() - 15, variant, int(number < failed)) for number in range(count)]
        database.executemany("INSERT INTO requests VALUES (?, ?, ?)", rows)


def test_it_shows_the_query_the_answer_and_what_a_verdict_gets(sluice: Sluice, shop: Path) -> None:
    serve(shop, "new", 200, failed=9)
    ran = sluice("metrics", "try", "errors", "--since", "1h")
    assert ran.status == 0
    assert "errors of new-checkout in production, 60 min up to " in ran.out
    assert "COUNT(*) AS exposures" in ran.out
    assert re.search(r'\{"variant": "new", "exposures": 200, "events": 9, "newest": [\d.]+\}', ran.out)
    assert re.search(r"treatment +new +200 exposures, 9 events", ran.out)
    assert "Finding" not in ran.out


def test_a_flag_that_nobody_asks_for_is_named_and_fails(sluice: Sluice, shop: Path) -> None:
    ran = sluice("metrics", "try", "errors", "--flag", "new-checkout", "--since", "1h")
    assert ran.status == 1
    assert "flag_never_evaluated: Only 'old' has data since" in ran.out


def test_other_labels_are_named(sluice: Sluice, shop: Path) -> None:
    serve(shop, "treatment", 5)
    ran = sluice("metrics", "try", "errors", "--since", "1h")
    assert ran.status == 1
    assert "unknown_label: The data names 'treatment', which is neither 'old' nor 'new'" in ran.out


def test_no_rows_are_named(sluice: Sluice, shop: Path) -> None:
    with closing(sqlite3.connect(shop / "shop.db")) as database, database:
        database.execute("DELETE FROM requests")
    ran = sluice("metrics", "try", "errors")
    assert ran.status == 1
    assert "no rows" in ran.out
    assert "empty: The metric has had no rows at all since" in ran.out


def test_a_source_that_fails_is_named(sluice: Sluice, shop: Path) -> None:
    (shop / "shop.db").unlink()
    ran = sluice("metrics", "try", "errors")
    assert ran.status == 1
    assert "provider_error: The metric database shop.db does not exist (yet)" in ran.out


def test_no_event_at_all_is_worth_a_second_look(sluice: Sluice, shop: Path) -> None:
    with closing(sqlite3.connect(shop / "shop.db")) as database, database:
        database.execute("UPDATE requests SET failed = 0")
    serve(shop, "new", 10)
    ran = sluice("metrics", "try", "errors", "--since", "1h")
    assert ran.status == 0
    assert "empty_means_zero: Not one of " in ran.out


def test_a_histogram_is_shown_by_its_edges(sluice: Sluice, shop: Path) -> None:
    (shop / "sluice.toml").write_text(SHOP + LATENCY, encoding="utf-8")
    serve(shop, "new", 10, failed=2)
    ran = sluice("metrics", "try", "took", "--since", "1h")
    assert re.search(r"treatment +new +10 exposures: 8 up to 0.5, 2 up to inf", ran.out)


def test_one_flag_of_several_must_be_named(sluice: Sluice, shop: Path) -> None:
    assert sluice("flags", "create", "another").status == 0
    ran = sluice("metrics", "try", "errors")
    assert (ran.status, ran.err) == (2, "sluice: There are 2 flags in production: name one with --flag.\n")


def test_a_metric_that_is_not_there_is_one_line(sluice: Sluice, shop: Path) -> None:
    ran = sluice("metrics", "try", "error")
    assert (ran.status, ran.err) == (1, "sluice: No metric is called 'error'. Did you mean errors?\n")


PROMETHEUS = """
[sources.prometheus]
type = "prometheus"
url = "http://sluice:hunter2@127.0.0.1:9"
timeout = "2s"

[metrics.failures]
source = "prometheus"
title = "Failures"
[metrics.failures.query]
exposures = 'requests_total{flag="$flag"}'
events = 'requests_total{flag="$flag", code=~"5.."}'
"""


def test_a_prometheus_that_is_away_is_named_by_its_query_and_by_the_doctor(sluice: Sluice, shop: Path) -> None:
    (shop / "sluice.toml").write_text(SHOP + PROMETHEUS, encoding="utf-8")
    tried = sluice("metrics", "try", "failures")
    assert tried.status == 1
    assert 'sum by (flag, variant) ((last_over_time(requests_total{flag="new-checkout"}[600000ms]' in tried.out
    assert "provider_error: http://127.0.0.1:9 can't be reached (ConnectError): see whether it is up" in tried.out
    looked = sluice("doctor")
    assert re.search(r"metrics prometheus +http://127.0.0.1:9 can't be reached", looked.out)
    assert "hunter2" not in tried.out + tried.err + looked.out + looked.err


def test_what_a_template_fills_in_is_shown(sluice: Sluice, shop: Path) -> None:
    metric = '[metrics.requests]\nsource = "prometheus"\ntemplate = "otel-http-server"\n'
    (shop / "sluice.toml").write_text(f"{SHOP}{PROMETHEUS}\n{metric}", encoding="utf-8")
    tried = sluice("metrics", "try", "requests")
    labels = 'deployment_environment_name="production", feature_flag_key="new-checkout"'
    assert f"http_server_request_duration_seconds_count{{{labels}}}" in tried.out
    assert f'http_server_request_duration_seconds_count{{http_response_status_code=~"5..", {labels}}}' in tried.out


VENDORS = """
[sources.datadog]
type = "datadog"
url = "http://127.0.0.1:9"
token = "hunter2"
application_key = "hunter3"

[metrics.dogs]
source = "datadog"
title = "Dogs"
query = { exposures = "shop.requests{flag:$flag}", events = "shop.failures{flag:$flag}" }

[sources.newrelic]
type = "newrelic"
url = "http://127.0.0.1:9"
account = 42
token = "hunter2"

[metrics.relics]
source = "newrelic"
title = "Relics"
[metrics.relics.query]
exposures = "SELECT count(*) FROM Transaction WHERE flag = '$flag'"
events = "SELECT count(*) FROM Transaction WHERE flag = '$flag' AND error IS TRUE"

[sources.influxdb]
type = "influxdb"
url = "http://sluice:hunter2@127.0.0.1:9"
database = "shop"

[metrics.inflows]
source = "influxdb"
title = "Inflows"
[metrics.inflows.query]
exposures = "SELECT sum(n) FROM requests WHERE flag = '$flag'"
events = "SELECT sum(n) FROM requests WHERE flag = '$flag' AND code =~ /^5/"
"""


def test_every_other_vendor_is_named_so_too_and_no_key_is_shown(sluice: Sluice, shop: Path) -> None:
    (shop / "sluice.toml").write_text(SHOP + VENDORS, encoding="utf-8")
    said = ""
    for metric, query in (
        ("dogs", "sum:shop.requests{flag:new-checkout} by {flag,variant}.as_count().rollup(sum, 1)"),
        ("relics", "FROM Transaction WHERE `flag` = 'new-checkout' AND `variant` IS NOT NULL"),
        ("inflows", """SELECT sum(n) AS "value" FROM requests WHERE code =~ /^5/ AND "flag" = 'new-checkout'"""),
    ):
        tried = sluice("metrics", "try", metric)
        assert tried.status == 1
        assert query in tried.out
        assert "provider_error: http://127.0.0.1:9 can't be reached (ConnectError): see whether it is up" in tried.out
        said += tried.out + tried.err
    looked = sluice("doctor")
    for source in ("datadog", "newrelic", "influxdb"):
        assert re.search(rf"metrics {source} +http://127.0.0.1:9 can't be reached", looked.out)
    assert "hunter" not in said + looked.out + looked.err


def test_a_setting_of_another_vendor_names_its_key(sluice: Sluice, shop: Path) -> None:
    (shop / "sluice.toml").write_text(
        SHOP + VENDORS.replace("account = 42", 'account = 42\nsite = "eu"'), encoding="utf-8"
    )
    ran = sluice("metrics", "try", "relics")
    assert ran.status == 2
    assert "sources.newrelic.site" in ran.err


def test_a_query_that_cannot_be_used_names_its_key(sluice: Sluice, shop: Path) -> None:
    wrong = PROMETHEUS.replace("""'requests_total{flag="$flag"}'""", "'sum(requests_total)'")
    (shop / "sluice.toml").write_text(SHOP + wrong, encoding="utf-8")
    ran = sluice("metrics", "try", "failures")
    assert ran.status == 2
    assert "metrics.failures.query: The query of the metric 'failures' has in exposures no selector" in ran.err

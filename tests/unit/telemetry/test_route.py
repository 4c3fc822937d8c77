"""The address where Sluice's own metrics are read, and who may."""

import httpx
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from starlette.applications import Starlette

from bot.telemetry.instruments import Instruments
from bot.telemetry.process import PATH, metrics_route

TOKEN = SecretStr("of-the-scraper")


def asking(token: SecretStr | None) -> httpx.AsyncClient:
    """A client of a process whose metrics are at the route."""
    app = Starlette(routes=[metrics_route(Instruments(), token)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t")


async def test_they_are_in_prometheus_s_format_and_in_openmetrics_where_that_is_asked_for() -> None:
    async with asking(None) as client:
        plain = await client.get(PATH)
        assert plain.headers["content-type"].startswith("text/plain; version=")
        assert {"sluice_verdicts", "process_cpu_seconds"} <= {
            family.name for family in text_string_to_metric_families(plain.text)
        }
        other = await client.get(PATH, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        assert other.headers["content-type"].startswith("application/openmetrics-text")
        assert other.text.endswith("# EOF\n")


async def test_with_a_token_only_who_has_it_reads_them() -> None:
    async with asking(TOKEN) as client:
        for given in ({}, {"Authorization": "Bearer of-nobody"}, {"Authorization": "Bearer \N{SNOWMAN}".encode()}):
            refused = await client.get(PATH, headers=given)
            assert refused.status_code == 401
            assert TOKEN.get_secret_value() not in refused.text
        shown = await client.get(PATH, headers={"Authorization": f"Bearer {TOKEN.get_secret_value()}"})
        assert shown.status_code == 200
        assert TOKEN.get_secret_value() not in shown.text

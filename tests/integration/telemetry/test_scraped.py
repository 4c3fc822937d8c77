"""What a real Prometheus makes of Sluice's own metrics, of the dashboard's queries and of the alerts."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client import start_http_server

from tests.prometheus import Prometheus, running
from tests.unit.telemetry.panels import queries
from tests.unit.telemetry.story import told
from tests.unit.telemetry.test_alerts import ALERTS

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("quiet_logs")]

SCRAPES = 3


async def test_every_panel_shows_something_and_every_alert_can_be_asked(tmp_path: Path) -> None:
    async with told(tmp_path) as story:
        await story.over(await story.stuck(await story.blind(await story.begun())))
        exporter, thread = start_http_server(0, addr="127.0.0.1", registry=story.instruments.registry)
        with running(tmp_path / "prometheus", [f"127.0.0.1:{exporter.server_port}"]) as server:
            await _until(lambda: _value(server, "count_over_time(sluice_build_info[5m])") >= SCRAPES)
            for query in queries():
                assert _ask(server, query.asked), f"{query.title}: {query.text} shows nothing"
            for rule in yaml.safe_load(ALERTS)["groups"][0]["rules"]:
                assert isinstance(_ask(server, rule["expr"]), list), rule["alert"]
            assert _value(server, "sum(sluice_rollback_read_back_seconds_count)") == 1
        exporter.shutdown()
        exporter.server_close()
        thread.join()


def _ask(server: Prometheus, expression: str) -> list[Any]:
    answer = httpx.post(f"{server.url}/api/v1/query", data={"query": expression})
    assert answer.is_success, f"{expression}: {answer.text}"
    found: list[Any] = answer.json()["data"]["result"]
    return found


def _value(server: Prometheus, expression: str) -> float:
    found = _ask(server, expression)
    return float(found[0]["value"][1]) if found else 0.0


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.2)

"""The whole bot, served: with Slack over Socket Mode and over HTTP, with Slack away, and as a process."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot.listeners import deliveries, handling
from bot.serve import running
from bot.services import Services
from bot.settings import Settings, TelemetrySettings
from bot.workspace import RunningWorkspace, running_workspace
from tests.contract.workspace.conftest import until
from tools.errors import ConfigurationError
from tools.records.database import Database
from tools.records.migrate import migrate

TOKENS = {"bot_token": "xoxb-local", "app_token": "xapp-local", "signing_secret": "local-signing-secret"}


@pytest.fixture
async def settings(tmp_path: Path) -> Settings:
    url = f"sqlite:///{tmp_path}/sluice.db"
    database = Database(url)
    await migrate(database)
    await database.close()
    return Settings.model_validate({"database": {"url": url}, "slack": TOKENS, "http": {"port": 0}})


@pytest.fixture
async def workspace() -> AsyncIterator[RunningWorkspace]:
    async with running_workspace() as served:
        yield served


def pointed(settings: Settings, api_url: str) -> Settings:
    return settings.model_copy(update={"slack": settings.slack.model_copy(update={"api_url": api_url})})


def said_to_mira(workspace: RunningWorkspace) -> list[str]:
    channel = workspace.workspace.channel("#releases")
    return [message.text for message in workspace.workspace.visible_messages(channel, "UMIRA0001")]


async def test_commands_come_over_socket_mode(settings: Settings, workspace: RunningWorkspace) -> None:
    async with running(pointed(settings, workspace.api_url), http=False) as address:
        await until(lambda: workspace.sockets.connections)
        outcome = await workspace.people.command("releases", "mira", "/rollout", "list")
        assert outcome.ok
        await until(lambda: said_to_mira(workspace))
        async with httpx.AsyncClient(base_url=address, trust_env=False) as client:
            assert (await client.get("/readyz")).status_code == 200
            assert (await client.post("/slack/events", json={})).status_code == 404
    await until(lambda: not workspace.sockets.connections)


async def test_commands_come_over_http_signed(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    request_url = f"http://127.0.0.1:{port}/slack/events"
    async with running_workspace(request_url=request_url) as workspace:
        web = pointed(settings, workspace.api_url).model_copy(
            update={"http": settings.http.model_copy(update={"port": port})}
        )
        async with running(web, http=True) as address:
            outcome = await workspace.people.command("releases", "mira", "/rollout", "list")
            assert outcome.ok
            await until(lambda: said_to_mira(workspace))
            async with httpx.AsyncClient(base_url=address, trust_env=False) as client:
                assert (await client.post("/slack/events", json={})).status_code == 401
        assert not workspace.sockets.connections


async def test_an_order_that_was_acknowledged_is_carried_out_though_the_process_stops(
    settings: Settings, workspace: RunningWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def is_first(services: Services, body: Mapping[str, Any]) -> bool:
        await asyncio.sleep(1)
        return await deliveries.is_first(services, body)

    monkeypatch.setattr(handling, "is_first", is_first)
    async with running(pointed(settings, workspace.api_url), http=False):
        await until(lambda: workspace.sockets.connections)
        outcome = await workspace.people.command("releases", "mira", "/rollout", "list")
        assert outcome.ok
        assert not said_to_mira(workspace)
    assert said_to_mira(workspace)


async def test_slack_being_away_keeps_nothing_from_running(settings: Settings) -> None:
    async with (
        running(pointed(settings, "http://127.0.0.1:9/api/"), http=False) as address,
        httpx.AsyncClient(base_url=address, trust_env=False) as client,
    ):
        assert (await client.get("/readyz")).json()["status"] == "ok"


async def test_its_metrics_are_where_flags_are_evaluated_or_on_a_port_of_their_own(settings: Settings) -> None:
    quiet = pointed(settings, "http://127.0.0.1:9/api/")
    async with running(quiet, http=False) as address, httpx.AsyncClient(trust_env=False) as client:
        said = (await client.get(f"{address}/metrics")).text
        assert 'sluice_build_info{database="sqlite",flags="embedded"' in said
        assert not [token for token in TOKENS.values() if token in said]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    apart = quiet.model_copy(update={"telemetry": TelemetrySettings(port=port)})
    async with running(apart, http=False) as address, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{address}/metrics")).status_code == 404
        assert "sluice_build_info{" in (await client.get(f"http://127.0.0.1:{port}/metrics")).text
        assert (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 404


async def test_a_port_in_use_is_named(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        busy = settings.model_copy(update={"http": settings.http.model_copy(update={"port": port})})
        with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{port} .*SLUICE_HTTP_PORT"):
            async with running(busy, http=False):
                pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_process_ends_in_order_when_told(
    settings: Settings, workspace: RunningWorkspace, tmp_path: Path, number: signal.Signals
) -> None:
    environ = {
        "SLUICE_DATABASE_URL": settings.database.url.get_secret_value(),
        "SLUICE_SLACK_BOT_TOKEN": TOKENS["bot_token"],
        "SLUICE_SLACK_APP_TOKEN": TOKENS["app_token"],
        "SLUICE_SLACK_API_URL": workspace.api_url,
        "SLUICE_HTTP_PORT": "0",
    }
    async with sluice("serve", folder=tmp_path, environ=environ) as (process, line):
        assert line.startswith("Sluice is up at http://127.0.0.1:")
        await until(lambda: workspace.sockets.connections, 20)
        process.send_signal(number)
        out, err = await process.communicate()
    assert (process.returncode, out) == (0, b"")
    assert "Traceback" not in err.decode()
    assert TOKENS["bot_token"] not in err.decode()


async def test_the_local_workspace_runs_alone(tmp_path: Path) -> None:
    async with sluice("workspace", folder=tmp_path, environ={}) as (process, address):
        async with httpx.AsyncClient(base_url=address, trust_env=False) as client:
            answer = await client.post("/api/auth.test", headers={"Authorization": "Bearer xoxb-local"})
            assert answer.json()["ok"] is True
        process.send_signal(signal.SIGTERM)
        out, _ = await process.communicate()
    assert (process.returncode, out) == (0, b"")


@asynccontextmanager
async def sluice(
    *arguments: str, folder: Path, environ: dict[str, str]
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A `sluice` process and the first line it said; killed if it still runs when the block ends."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("sluice"),
        *arguments,
        cwd=folder,
        env=inherited | environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            yield process, (await process.stdout.readline()).decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

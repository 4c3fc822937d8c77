"""The HTTP side, asked in this process."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_bolt.response import BoltResponse

from bot.bootstrap import running_services
from bot.http import MAX_SLACK_BODY_BYTES, build_http
from bot.scheduler import Scheduler
from bot.services import Services
from bot.settings import Settings
from tools.clock import ManualClock
from tools.flags.base import FlagRef
from tools.flags.embedded import EmbeddedFlagService
from tools.records.database import Database
from tools.records.migrate import migrate

SIGNING_SECRET = "signing-secret"
FLAG = "new-checkout"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.model_validate(
        {
            "database": {"url": f"sqlite:///{tmp_path}/sluice.db"},
            "ofrep": {"environments": ["staging"]},
        }
    )


@pytest.fixture
async def services(settings: Settings, clock: ManualClock) -> AsyncIterator[Services]:
    database = Database(settings.database.url.get_secret_value())
    await migrate(database)
    await database.close()
    async with running_services(settings, clock=clock) as running:
        yield running


@pytest.fixture
async def scheduler(clock: ManualClock) -> Scheduler:
    return Scheduler(clock)


@pytest.fixture
async def slack() -> AsyncApp:
    """An app that says what reached it, before it would ask Slack who it is."""

    async def answer_at_once(body: dict[str, str], ack: AsyncAck) -> BoltResponse:
        return await ack({"seen": body["type"]})

    return AsyncApp(token="xoxb-1", signing_secret=SIGNING_SECRET, before_authorize=answer_at_once)


@pytest.fixture
async def client(services: Services, scheduler: Scheduler, slack: AsyncApp) -> AsyncIterator[httpx.AsyncClient]:
    app = build_http(services, scheduler, slack)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://t"
    ) as it:
        yield it


class TestHealth:
    async def test_it_is_alive(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/healthz")).json() == {"status": "ok"}

    async def test_it_is_ready(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok", "database": "ok", "scheduler": "ok"})

    async def test_a_clock_that_stands_still_is_not_ready(
        self, client: httpx.AsyncClient, scheduler: Scheduler, clock: ManualClock
    ) -> None:
        async def work() -> None:
            return None

        scheduler.every(timedelta(seconds=1), "tick", work)
        clock.advance(60)
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["scheduler"] == "no good turn lately: tick"
        await scheduler.run("tick")
        assert (await client.get("/readyz")).status_code == 200

    async def test_a_database_of_a_newer_release_is_ready(self, client: httpx.AsyncClient, services: Services) -> None:
        async with services.database.write() as session:
            connection = await session.connection()
            await connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'newer'")
        assert (await client.get("/readyz")).status_code == 200

    async def test_a_database_that_was_not_migrated_is_not_ready(
        self, client: httpx.AsyncClient, services: Services
    ) -> None:
        async with services.database.write() as session:
            connection = await session.connection()
            await connection.exec_driver_sql("DELETE FROM alembic_version")
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["database"] == "not usable; the log says why"


class TestFlagEvaluation:
    async def test_it_serves_the_default_environment_and_the_others_below_their_names(
        self, client: httpx.AsyncClient, services: Services
    ) -> None:
        assert isinstance(services.flags, EmbeddedFlagService)
        await services.flags.define(FlagRef(FLAG, "production"), "old", "new")
        await services.flags.define(FlagRef(FLAG, "staging"), "off", "on")
        asked = {"context": {"targetingKey": "u1"}}
        assert (await client.post(f"/ofrep/v1/evaluate/flags/{FLAG}", json=asked)).json()["value"] == "old"
        assert (await client.post(f"/staging/ofrep/v1/evaluate/flags/{FLAG}", json=asked)).json()["value"] == "off"
        assert (await client.post(f"/development/ofrep/v1/evaluate/flags/{FLAG}", json=asked)).status_code == 404

    async def test_tokens_are_asked_for(self, services: Services, scheduler: Scheduler, settings: Settings) -> None:
        ofrep = settings.ofrep.model_validate({"tokens": ["t1"], "environments": ["staging"]})
        guarded = Services(
            **{name: getattr(services, name) for name in Services.__slots__}
            | {"settings": settings.model_copy(update={"ofrep": ofrep})}
        )
        app = build_http(guarded, scheduler, None)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
            for path in ("/ofrep/v1/evaluate/flags", "/staging/ofrep/v1/evaluate/flags"):
                assert (await client.post(path, json={})).status_code == 401
                answer = await client.post(path, json={}, headers={"Authorization": "Bearer t1"})
                assert answer.status_code == 200


class TestSlack:
    async def test_a_signed_request_reaches_the_app(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/slack/events", **_signed({"type": "event_callback"}))
        assert (answer.status_code, answer.json()) == (200, {"seen": "event_callback"})

    async def test_another_signature_does_not(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/slack/events", **_signed({"type": "event_callback"}, secret="another"))
        assert answer.status_code == 401

    async def test_an_old_signature_does_not(self, client: httpx.AsyncClient) -> None:
        old = datetime.now(UTC) - timedelta(minutes=6)
        answer = await client.post("/slack/events", **_signed({"type": "event_callback"}, at=old))
        assert answer.status_code == 401

    async def test_an_unsigned_request_does_not(self, client: httpx.AsyncClient) -> None:
        assert (await client.post("/slack/events", json={"type": "event_callback"})).status_code == 401

    async def test_an_endless_request_is_cut_short(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/slack/events", content=b"x" * (MAX_SLACK_BODY_BYTES + 1))
        assert answer.status_code == 413

    async def test_with_socket_mode_there_is_no_such_path(self, services: Services, scheduler: Scheduler) -> None:
        app = build_http(services, scheduler, None)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
            assert (await client.post("/slack/events", **_signed({}))).status_code == 404


async def test_a_fault_is_a_reference_not_a_traceback(client: httpx.AsyncClient, services: Services) -> None:
    async def broken(_environment: str) -> None:
        raise RuntimeError("hunter2")

    services.flags.definitions = broken  # type: ignore[attr-defined]
    answer = await client.post(f"/ofrep/v1/evaluate/flags/{FLAG}", json={})
    assert answer.status_code == 500
    assert "the log has it under" in answer.json()["errorDetails"]
    assert "hunter2" not in answer.text


def _signed(
    body: dict[str, str], *, secret: str = SIGNING_SECRET, at: datetime | None = None
) -> dict[str, bytes | dict[str, str]]:
    """Slack's signature: HMAC-SHA256 over version, time and the raw body."""
    content, stamp = json.dumps(body).encode(), str(int((at or datetime.now(UTC)).timestamp()))
    digest = hmac.new(secret.encode(), f"v0:{stamp}:".encode() + content, hashlib.sha256).hexdigest()
    headers = {
        "content-type": "application/json",
        "x-slack-request-timestamp": stamp,
        "x-slack-signature": f"v0={digest}",
    }
    return {"content": content, "headers": headers}

"""The HTTP side, asked in this process."""

import asyncio
import hashlib
import hmac
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_bolt.response import BoltResponse
from starlette.requests import Request
from starlette.responses import Response

from bot.bootstrap import running_services
from bot.door import Door
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
            "slack": {"signing_secret": SIGNING_SECRET},
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

    seen = Counter[str]()

    async def answer_at_once(body: dict[str, str], ack: AsyncAck) -> BoltResponse:
        seen[body["type"]] += 1
        if seen[body["type"]] == 1 and "fails" in body:
            raise RuntimeError("the first time")
        return await ack({"seen": body["type"], "times": seen[body["type"]]})

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
        scheduler.every(timedelta(seconds=1), "homes", work)
        clock.advance(60)
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["scheduler"] == "no good turn lately: tick"
        await scheduler.run("tick")
        assert (await client.get("/readyz")).status_code == 200, "what waits for Slack may be late"

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
        assert (answer.status_code, answer.json()) == (200, {"seen": "event_callback", "times": 1})

    async def test_another_signature_does_not(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/slack/events", **_signed({"type": "event_callback"}, secret="another"))
        assert answer.status_code == 401

    async def test_an_old_signature_does_not(self, client: httpx.AsyncClient) -> None:
        old = datetime.now(UTC) - timedelta(minutes=6)
        answer = await client.post("/slack/events", **_signed({"type": "event_callback"}, at=old))
        assert answer.status_code == 401

    async def test_an_unsigned_request_does_not(self, client: httpx.AsyncClient) -> None:
        assert (await client.post("/slack/events", json={"type": "event_callback"})).status_code == 401

    @pytest.mark.parametrize(
        "headers",
        [
            {"x-slack-request-timestamp": "soon"},
            {"x-slack-request-timestamp": "9" * 5000},
            {"x-slack-request-timestamp": "²"},
            {"x-slack-request-timestamp": "-1"},
            {"x-slack-request-timestamp": ""},
            {"x-slack-signature": ""},
            {"x-slack-signature": "v0=ünsigned"},
            {"x-slack-signature": "v1="},
        ],
    )
    async def test_headers_of_any_kind_are_refused_and_no_fault(
        self, client: httpx.AsyncClient, headers: dict[str, str]
    ) -> None:
        request = _signed({"type": "event_callback"})
        given = request["headers"] | {name: value.encode("latin-1") for name, value in headers.items()}  # type: ignore[operator]
        assert (await client.post("/slack/events", content=request["content"], headers=given)).status_code == 401

    async def test_a_body_that_is_no_text_is_refused_and_no_fault(self, client: httpx.AsyncClient) -> None:
        headers = _signed({})["headers"]
        answer = await client.post("/slack/events", content=b"\xff\xfe", headers=headers)  # type: ignore[arg-type]
        assert answer.status_code == 401

    async def test_a_copy_gets_the_answer_of_the_first_and_reaches_nothing(self, client: httpx.AsyncClient) -> None:
        request = _signed({"type": "event_callback"})
        answers = await asyncio.gather(*(client.post("/slack/events", **request) for _ in range(4)))
        answers.append(await client.post("/slack/events", **request))
        assert [answer.json()["times"] for answer in answers] == [1] * 5

    async def test_what_slack_sends_again_it_signs_anew(self, client: httpx.AsyncClient) -> None:
        now = datetime.now(UTC)
        for number, at in enumerate((now, now + timedelta(seconds=3))):
            answer = await client.post("/slack/events", **_signed({"type": "event_callback"}, at=at))
            assert answer.json()["times"] == number + 1

    async def test_what_failed_may_come_again(self, client: httpx.AsyncClient) -> None:
        request = _signed({"type": "event_callback", "fails": "once"})
        assert (await client.post("/slack/events", **request)).status_code == 500
        assert (await client.post("/slack/events", **request)).json()["times"] == 2

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


async def test_answers_are_kept_for_as_long_as_a_signature_fits_and_no_longer() -> None:
    now = 1_000_000.0
    door = Door(SIGNING_SECRET, lambda: now)
    carried_out = 0

    async def carry_out() -> Response:
        nonlocal carried_out
        carried_out += 1
        return Response()

    async def ask(at: float) -> int:
        request = _signed({}, at=datetime.fromtimestamp(at, UTC))
        headers = [(name.encode(), value.encode()) for name, value in request["headers"].items()]  # type: ignore[union-attr]
        scope = {"type": "http", "method": "POST", "path": "/slack/events", "headers": headers, "query_string": b""}

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": request["content"]}

        return (await door.pass_through(Request(scope, receive), carry_out)).status_code

    assert await ask(now + 299) == 200
    now += 598
    assert await ask(now - 299) == 200
    assert carried_out == 1, "the same second: it still fits, and is still known"
    now += 2
    assert await ask(1_000_000.0 + 299) == 401


class TestLinks:
    @pytest.mark.parametrize("name", ["x", "0" * 32, "F" * 32, "0" * 31])
    async def test_an_address_of_nothing_leads_nowhere(self, client: httpx.AsyncClient, name: str) -> None:
        answer = await client.get(f"/rollouts/{name}")
        assert answer.status_code == 404
        assert "no such rollout" in answer.text

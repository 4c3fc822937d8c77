"""Slack over HTTP: signed requests are served as those over Socket Mode are, all others are refused."""

import hashlib
import hmac
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from sqlalchemy import delete

from bot.http import build_http
from bot.scheduler import Scheduler
from bot.serve import serving
from bot.workspace import running_workspace
from bot.workspace.http_delivery import sign
from tests.acceptance.slack.office import ENVIRONMENT, FLAG, MIRA, Office, open_office
from tools.flags.base import FlagRef
from tools.plans.model import Exposure
from tools.records.models import Delivery


@pytest.fixture
async def office(tmp_path: Path, blank: Path) -> AsyncIterator[Office]:
    """An office whose workspace posts to Sluice instead of using a socket."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/slack/events"
    async with (
        running_workspace(request_url=url) as running,
        open_office(tmp_path, running, blank, socket_mode=False) as opened,
        serving(build_http(opened.services, Scheduler(opened.clock), opened.app), listener),
    ):
        yield opened
    listener.close()


def request_to(office: Office, text: str, *, secret: str, at: float) -> tuple[str, bytes, dict[str, str]]:
    """A slash command as Slack would post it."""
    settings = office.running.settings
    body = urlencode(
        {"command": "/rollout", "text": text, "user_id": MIRA, "channel_id": "CRELEASES", "team_id": settings.team_id}
        | {"trigger_id": f"{at}.1.x", "response_url": f"{office.running.url}/response/none"}
    ).encode()
    base = b"v0:%d:%s" % (int(at), body)
    signature = "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": str(int(at)),
        "X-Slack-Signature": signature,
    }
    assert settings.request_url is not None
    return settings.request_url, body, headers


async def posted(office: Office, text: str, *, secret: str | None = None, age: float = 0) -> int:
    """The status that such a request is answered with."""
    secret = secret or office.running.settings.signing_secret
    url, body, headers = request_to(office, text, secret=secret, at=time.time() - age)
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.post(url, content=body, headers=headers)).status_code


async def test_plan_and_approve(office: Office) -> None:
    await office.proposed()
    assert await office.press("approve") is None
    assert (await office.flag()).exposure.percent == 1
    assert len(office.cards()) == 1


async def test_what_is_not_signed_by_slack_is_refused_and_does_nothing(office: Office) -> None:
    await office.started()
    assert await posted(office, f"kill {FLAG}", secret="a guess") == 401
    assert await posted(office, f"kill {FLAG}", age=600) == 401
    await office.settle()
    assert (await office.flag()).exposure.percent == 1
    assert await posted(office, f"kill {FLAG}") == 200
    await office.settle()
    assert (await office.flag()).exposure.percent == 0


async def test_a_request_that_was_copied_byte_for_byte_does_nothing_also_where_no_delivery_is_remembered(
    office: Office,
) -> None:
    secret, flags = office.running.settings.signing_secret, office.services.flags
    url, body, headers = request_to(office, f"kill {FLAG}", secret=secret, at=time.time())
    anew = str(int(headers["X-Slack-Request-Timestamp"]) - 1)
    signed_anew = headers | {"X-Slack-Request-Timestamp": anew, "X-Slack-Signature": sign(secret, anew, body)}
    found = []
    async with httpx.AsyncClient(trust_env=False) as client:
        for sent in (headers, headers, signed_anew):
            await flags.write(FlagRef(FLAG, ENVIRONMENT), Exposure(percent=50), expected=(await office.flag()).version)
            async with office.services.database.write() as session:
                await session.execute(delete(Delivery))
            assert (await client.post(url, content=body, headers=sent)).status_code == 200
            await office.settle()
            found.append((await office.flag()).exposure.percent)
    assert found == [0, 50, 0]


async def test_a_request_that_is_no_interaction_is_refused(office: Office) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(
            str(office.running.settings.request_url), content=json.dumps({"type": "event_callback"})
        )
    assert answer.status_code == 401

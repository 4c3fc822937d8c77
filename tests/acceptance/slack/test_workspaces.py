"""Two workspaces have the app by OAuth, with the same names of channels and people: each sees only its own."""

import hashlib
import hmac
import json
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import httpx
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from slack_sdk.oauth.installation_store.models.installation import Installation
from sqlalchemy import func, select
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot import texts
from bot.blocks import accepting, card, dialogs, editing, freezing
from bot.http import build_http
from bot.installations import Installations
from bot.manifest import BOT_SCOPES, INSTALL_PATH, REDIRECT_PATH
from bot.scheduler import Scheduler
from bot.serve import serving
from bot.workspace import RunningWorkspace, payloads, running_workspace
from bot.workspace.records import View
from tests.acceptance.slack.office import AIKO, ENVIRONMENT, FLAG, JONAS, MIRA, Office, open_office
from tools.records.models import Record, SlackBot
from tools.rollouts import freezes
from tools.rollouts.phases import Phase
from tools.rollouts.views import RolloutView

ACME, BETA = "TACME0001", "TBETA0001"
SIGNING = "signing-secret-of-the-app"
CODES = {"code-of-beta": BETA}


class Switchboard:
    """Slack's API for several workspaces: whose token it is decides which of them answers."""

    def __init__(self) -> None:
        self.workspaces: dict[str, RunningWorkspace] = {}

    def by_token(self, token: str) -> RunningWorkspace | None:
        """The workspace that gave out the token."""
        return next((one for one in self.workspaces.values() if one.settings.bot_token == token), None)

    async def call(self, request: Request) -> Response:
        """Pass a call on; installing is answered here."""
        method, body = request.path_params["method"], await request.body()
        if method == "oauth.v2.access":
            return await self._installed(request)
        workspace = self.by_token(request.headers.get("authorization", "").removeprefix("Bearer "))
        if workspace is None:
            return JSONResponse({"ok": False, "error": "invalid_auth"})
        headers = {name: request.headers[name] for name in ("authorization", "content-type") if name in request.headers}
        async with httpx.AsyncClient(trust_env=False) as client:
            url = f"{workspace.api_url}{method}"
            answer = await client.request(
                request.method, url, content=body, headers=headers, params=request.query_params
            )
        kept = {name: value for name, value in answer.headers.items() if name.startswith(("x-", "content-type"))}
        return Response(answer.content, answer.status_code, kept)

    async def _installed(self, request: Request) -> Response:
        """https://docs.slack.dev/reference/methods/oauth.v2.access"""
        given = parse_qs((await request.body()).decode())
        team_id = CODES.get(given.get("code", [""])[0])
        if team_id is None:
            return JSONResponse({"ok": False, "error": "invalid_code"})
        settings = self.workspaces[team_id].settings
        answer = {
            "ok": True,
            "access_token": settings.bot_token,
            "token_type": "bot",
            "scope": ",".join(sorted(BOT_SCOPES)),
            "bot_user_id": settings.bot_user_id,
            "app_id": settings.app_id,
            "team": {"id": team_id, "name": settings.team_name},
            "enterprise": None,
            "is_enterprise_install": False,
            "authed_user": {"id": MIRA},
        }
        return JSONResponse(answer)


@dataclass
class Two:
    """One Sluice in two workspaces; each office presses and types in its own."""

    acme: Office
    beta: Office
    installations: Installations
    url: str

    async def rows(self) -> dict[str, int]:
        """How many rows there are of everything that people can cause."""
        async with self.acme.services.database.read() as session:
            tables = [table for table in Record.metadata.sorted_tables if table.name not in ("deliveries", "leases")]
            return {
                table.name: int(await session.scalar(select(func.count()).select_from(table)) or 0) for table in tables
            }

    async def unchanged(self, view: RolloutView, before: dict[str, int]) -> bool:
        """Whether a rollout of the first is as it was, and nothing was written down but what people are told."""
        now, rows = await self.acme.services.rollouts.get(view.id), await self.rows()
        same = (now.phase, now.plan_version, now.approval) == (view.phase, view.plan_version, view.approval)
        return same and {**rows, "outbox": 0} == {**before, "outbox": 0}

    async def signed(self, payload: dict[str, Any]) -> int:
        """Send an interaction as Slack would, whatever it says; the status of the answer."""
        return await self._post(urlencode({"payload": json.dumps(payload)}).encode(), "x-www-form-urlencoded")

    async def event(self, workspace: str, number: int, **event: Any) -> int:
        """Send an event of now as Slack would; the status of the answer."""
        payload = {
            "type": "event_callback",
            "team_id": workspace,
            "api_app_id": self.acme.running.settings.app_id,
            "event_id": f"Ev{number}",
            "event_time": int(time.time()) + 1,
            "event": event,
        }
        return await self._post(json.dumps(payload).encode(), "json")

    async def _post(self, body: bytes, kind: str) -> int:
        at = str(int(time.time()))
        signature = "v0=" + hmac.new(SIGNING.encode(), f"v0:{at}:".encode() + body, hashlib.sha256).hexdigest()
        headers = {"X-Slack-Request-Timestamp": at, "X-Slack-Signature": signature}
        headers["Content-Type"] = f"application/{kind}"
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.post(f"{self.url}/slack/events", content=body, headers=headers)).status_code


def installation(running: RunningWorkspace) -> Installation:
    settings = running.settings
    return Installation(
        app_id=settings.app_id,
        team_id=settings.team_id,
        team_name=settings.team_name,
        bot_token=settings.bot_token,
        bot_id=settings.bot_id,
        bot_user_id=settings.bot_user_id,
        bot_scopes=sorted(BOT_SCOPES),
        user_id=MIRA,
    )


@asynccontextmanager
async def opened(directory: Path, blank: Path) -> AsyncIterator[Two]:
    board, listener = Switchboard(), socket.create_server(("127.0.0.1", 0))
    api = socket.create_server(("127.0.0.1", 0))
    url, api_url = (f"http://127.0.0.1:{one.getsockname()[1]}" for one in (listener, api))
    shared: dict[str, Any] = {"request_url": f"{url}/slack/events", "signing_secret": SIGNING}
    async with AsyncExitStack() as stack:
        acme = await stack.enter_async_context(running_workspace(**shared))
        beta = await stack.enter_async_context(
            running_workspace(**shared, team_id=BETA, team_name="Beta", bot_token="xoxb-beta-1", team_domain="beta")
        )
        board.workspaces = {ACME: acme, BETA: beta}
        route = Route("/api/{method}", board.call, methods=["GET", "POST"])
        await stack.enter_async_context(serving(Starlette(routes=[route]), api))
        slack = {
            "bot_token": None,
            "client_id": "1.2",
            "client_secret": SecretStr("secret"),
            "api_url": f"{api_url}/api/",
            "signing_secret": SecretStr(SIGNING),
            "allowed_workspaces": (ACME, BETA),
        }
        ours = await stack.enter_async_context(
            open_office(
                directory,
                acme,
                blank,
                socket_mode=False,
                slack=slack,
                http={"public_url": "https://sluice.example.com"},
                encryption_key=(SecretStr(Fernet.generate_key().decode()),),
            )
        )
        installations = ours.services.clients
        assert isinstance(installations, Installations)
        await installations.async_save(installation(acme))
        await stack.enter_async_context(serving(build_http(ours.services, Scheduler(ours.clock), ours.app), listener))
        yield Two(ours, replace(ours, running=beta), installations, url)
    listener.close()
    api.close()


@pytest.fixture
async def two(tmp_path: Path, blank: Path) -> AsyncIterator[Two]:
    async with opened(tmp_path, blank) as made:
        await made.installations.async_save(installation(made.beta.running))
        yield made


# slack_sdk signs its call with something that aiohttp will drop in its next major version.
@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning")
async def test_a_workspace_installs_the_app_in_a_browser(tmp_path: Path, blank: Path) -> None:
    async with opened(tmp_path, blank) as two, httpx.AsyncClient(base_url=two.url, trust_env=False) as browser:
        page = await browser.get(INSTALL_PATH)
        assert page.status_code == 200
        state = re.search(r"state=([0-9a-f-]+)", page.text)
        assert state is not None
        assert "redirect_uri=https" in page.text
        cookie = {"Cookie": f"slack-app-oauth-state={state[1]}"}
        wrong = await browser.get(REDIRECT_PATH, params={"code": "code-of-beta", "state": state[1]})
        assert wrong.status_code == 400, "a link that somebody else began"
        query = {"code": "code-of-beta", "state": state[1]}
        assert (await browser.get(REDIRECT_PATH, params=query, headers=cookie)).status_code == 200
        again = await browser.get(REDIRECT_PATH, params=query, headers=cookie)
        assert again.status_code == 401, "a state is used once"
        async with two.acme.services.database.read() as session:
            tokens = (await session.scalars(select(SlackBot.bot_token).where(SlackBot.team_id == BETA))).all()
        assert len(tokens) == 1
        assert "xoxb" not in str(tokens)
        assert (await two.beta.rollout("help")) is not None


async def test_each_sees_only_its_own(two: Two) -> None:
    await two.acme.proposed()
    assert [view.workspace for view in await two.acme.services.rollouts.open()] == [ACME]
    assert len(two.acme.cards()) == 1
    assert not two.beta.cards(), "its card is in its own workspace, though the channel is called as theirs"
    before = await two.rows()
    unknown = await two.beta.rollout("status no-such-flag")
    for typed in ("status", "start", "rollback"):
        said = await two.beta.rollout(f"{typed} {FLAG}")
        assert "has no rollout in production" in said, typed
    assert "has no rollout in production" in unknown
    assert "from here at the moment" in (await two.beta.rollout(f"kill {FLAG}"))
    assert FLAG not in await two.beta.rollout("list")
    assert await two.rows() == before
    assert FLAG in (await two.acme.rollout(f"status {FLAG}"))


async def test_a_plan_for_a_flag_that_another_rolls_out_is_refused_without_telling_whose(two: Two) -> None:
    await two.acme.proposed()
    await two.beta.rollout(f"plan {FLAG}")
    await two.beta.settle()
    said = "\n".join(two.beta.private(MIRA))
    assert "from here at the moment" in said
    assert ACME not in said
    assert len(await two.acme.services.rollouts.open()) == 1
    assert not two.beta.cards()


async def test_buttons_of_another_workspace_do_nothing(two: Two) -> None:
    view = await two.acme.proposed()
    assert view.approval is not None
    assert view.place is not None
    wish = freezes.wish(environment=ENVIRONMENT, flag="another", reason="sale", workspace=ACME)
    freeze = await two.acme.services.rollouts.of(ACME).freeze(wish, actor=AIKO)
    before = await two.rows()
    actions: dict[str, object] = dict.fromkeys((card.APPROVE, card.REJECT), view.approval.id)
    actions |= dict.fromkeys((card.START, card.PROMOTE, card.RESUME, card.ROLL_BACK, card.PAUSE, card.EDIT), view.id)
    actions |= {accepting.ACCEPT: view.id, freezing.LIFT: freeze.id}
    workspace = two.beta.running.workspace
    for number, (action, value) in enumerate(actions.items()):
        lines = len(two.beta.private(JONAS))
        status = await two.signed(
            {
                "type": "block_actions",
                "team": {"id": BETA, "domain": "beta"},
                "user": {"id": JONAS, "team_id": BETA},
                "api_app_id": two.beta.running.settings.app_id,
                "channel": {"id": view.place.channel},
                "container": {
                    "type": "message",
                    "message_ts": view.place.card_ts,
                    "channel_id": view.place.channel,
                },
                "trigger_id": workspace.tickets.issue_trigger(JONAS),
                "actions": [{"action_id": action, "value": value, "action_ts": f"{number}.0", "type": "button"}],
            }
        )
        assert status == 200
        await two.acme.services.underway.ended()
        await two.beta.settle()
        said = [*two.beta.private(JONAS)[lines:], *(str(one.given) for one in workspace.screens.modal_stack(JONAS))]
        assert len(said) == 1, action
        assert texts.UNKNOWN_BUTTON not in said[0], "a listener has it"
        assert FLAG not in said[0]
        for opened in workspace.screens.modal_stack(JONAS):
            await two.beta.running.people.close(opened.id, JONAS)
    assert await two.unchanged(view, before)


async def test_dialogs_about_what_is_another_workspace_s_do_nothing(two: Two) -> None:
    view = await two.acme.proposed()
    assert view.approval is not None
    before = await two.rows()
    workspace = two.beta.running.workspace
    filled = {"reason": {"reason": {"type": "plain_text_input", "value": "because"}}}
    moment = {"type": "datetimepicker", "selected_date_time": int(two.acme.clock.now().timestamp()) + 3600}
    metric = {"type": "static_select", "selected_option": {"value": "checkout-errors"}}
    sent = {
        dialogs.REJECT: (view.approval.id, filled),
        dialogs.PAUSE: (view.id, filled),
        editing.EDIT: (view.id, filled),
        accepting.SUBMITTED: (view.id, {**filled, "until": {"until": moment}, "metric": {"metric": metric}}),
    }
    for number, (callback_id, (about, values)) in enumerate(sent.items()):
        lines = len(two.beta.private(JONAS))
        metadata = json.dumps({"id": about, "channel": "CRELEASES", "version": 1})
        inputs = [
            {"type": "input", "block_id": name, "element": {"type": answers[name]["type"], "action_id": name}}
            for name, answers in values.items()
        ]
        given = {"type": "modal", "callback_id": callback_id, "private_metadata": metadata, "blocks": inputs}
        opened = View(f"V{number}", JONAS, given, "h", f"V{number}")
        payload = payloads.view_submission(workspace, workspace.user(JONAS), opened, values)
        assert await two.signed(payload) == 200
        await two.acme.services.underway.ended()
        await two.beta.settle()
        said = two.beta.private(JONAS)[lines:]
        # A table that can't be sent is refused at its input, in the acknowledgement.
        assert len(said) == (callback_id != editing.EDIT), callback_id
        assert FLAG not in str(said)
        assert texts.UNKNOWN_DIALOG not in said, "it is the workspace that is in the way"
    assert await two.unchanged(view, before)


async def test_both_roll_out_their_own_and_are_told_in_their_own(two: Two) -> None:
    await two.acme.proposed()
    assert await two.acme.press("approve") is None
    view = await two.acme.services.rollouts.find(FLAG, ENVIRONMENT)
    assert view.phase is Phase.PROGRESSING
    await two.acme.rollout(f"rollback {FLAG}")
    await two.acme.settle()
    await two.beta.rollout(f"plan {FLAG}")
    await two.beta.settle()
    assert len(two.beta.cards()) == 1
    assert len(two.acme.cards()) == 1
    own = await two.acme.services.of(BETA).rollouts.find(FLAG, ENVIRONMENT)
    assert (own.workspace, own.phase) == (BETA, Phase.PROPOSED)


async def test_a_workspace_that_removes_the_app_is_forgotten_and_the_others_go_on(two: Two) -> None:
    await two.acme.proposed()
    assert await two.event(ACME, 1, type="tokens_revoked", tokens={"oauth": [MIRA]}) == 200
    assert await two.installations.authorize(ACME, None) is not None, "a person's token is none of ours"
    assert await two.event(ACME, 2, type="tokens_revoked", tokens={"bot": ["USLUICE01"]}) == 200
    assert await two.event(ACME, 3, type="app_uninstalled") == 200
    await two.acme.settle()
    assert await two.installations.all() == [one for one in await two.installations.all() if one.workspace == BETA]
    await two.beta.rollout(f"plan {FLAG}")
    await two.beta.settle()
    assert "from here at the moment" in "\n".join(two.beta.private(MIRA))
    assert await two.installations.authorize(ACME, None) is None

"""What Slack sends over HTTP has its effect once, however often and late it comes; what is not ours has none."""

import asyncio
import itertools
import json
import random
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import time as time_of_day
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

import bot.app as wiring
from bot import texts
from bot.blocks.home import SEE
from bot.http import build_http
from bot.preferences import Preferences, keep, read
from bot.quiet import QuietHours
from bot.scheduler import Scheduler
from bot.serve import serving
from bot.workspace import payloads, running_workspace
from bot.workspace.delivery import Attempt
from bot.workspace.http_delivery import HttpDelivery, sign
from bot.workspace.records import Json, View
from tests.acceptance.slack.office import FLAG, JONAS, MIRA, RELEASES, SAM, Office, open_office, until
from tests.unit.blocks.sendable import FOREIGN, SENDABLE, answered
from tools.records.database import Database


class Registry(AsyncApp):
    """The app, which also knows what it listens to: kinds and what each of them is called."""

    heard: list[tuple[str, object]]

    def _noting(self, kind: str, constraints: Any, register: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.__dict__.setdefault("heard", []).append((kind, constraints))
        return register(constraints, *args, **kwargs)

    def action(self, constraints: Any, *args: Any, **kwargs: Any) -> Any:
        return self._noting("action", constraints, super().action, *args, **kwargs)

    def view(self, constraints: Any, *args: Any, **kwargs: Any) -> Any:
        return self._noting("view", constraints, super().view, *args, **kwargs)

    def shortcut(self, constraints: Any, *args: Any, **kwargs: Any) -> Any:
        return self._noting("shortcut", constraints, super().shortcut, *args, **kwargs)

    def options(self, constraints: Any, *args: Any, **kwargs: Any) -> Any:
        return self._noting("options", constraints, super().options, *args, **kwargs)

    def event(self, constraints: Any, *args: Any, **kwargs: Any) -> Any:
        return self._noting("event", constraints, super().event, *args, **kwargs)


@dataclass
class Window:
    """Sluice behind its HTTP door, and Slack's side of it."""

    office: Office
    sent: list[Attempt]
    http: httpx.AsyncClient

    def registered(self, kind: str) -> list[str]:
        """The names that listeners of a kind were registered with; patterns apart."""
        assert isinstance(self.office.app, Registry)
        return sorted({name for one, name in self.office.app.heard if one == kind and isinstance(name, str)})

    async def post(self, kind: str, payload: Json, *, age: int = 0) -> httpx.Response:
        """Send what Slack would, signed so many seconds ago."""
        settings = self.office.running.settings
        assert settings.request_url is not None
        if kind == "events_api":
            content_type, body = "application/json", json.dumps(payload).encode()
        else:
            fields = payload if kind == "slash_commands" else {"payload": json.dumps(payload)}
            content_type, body = "application/x-www-form-urlencoded", urlencode(fields).encode()
        stamp = str(int(time.time()) - age)
        headers = {
            "Content-Type": content_type,
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": sign(settings.signing_secret, stamp, body),
            "X-Slack-Retry-Num": str(age),
        }
        return await self.http.post(settings.request_url, content=body, headers=headers)

    async def state(self) -> dict[str, object]:
        """All that anybody could see of it, and the decision log."""
        workspace = self.office.running.workspace
        people = (MIRA, JONAS, SAM)
        return {
            "log": [(event.kind, event.actor) for event in await self.office.events()],
            "said": {
                channel.id: [(one.ts, one.text) for one in workspace.visible_messages(channel)]
                for channel in workspace.channels.values()
            },
            "private": {person: self.office.private(person) for person in people},
            "dialogs": {person: [view.id for view in workspace.screens.modal_stack(person)] for person in people},
            "exposure": (await self.office.flag()).exposure,
        }


@pytest.fixture
async def window(tmp_path: Path, blank: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Window]:
    monkeypatch.setattr(wiring, "AsyncApp", Registry)
    sent: list[Attempt] = []
    deliver = HttpDelivery.attempt

    async def noted(self: HttpDelivery, attempt: Attempt) -> Json:
        sent.append(attempt)
        return await deliver(self, attempt)

    monkeypatch.setattr(HttpDelivery, "attempt", noted)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/slack/events"
        async with (
            running_workspace(request_url=url) as running,
            open_office(tmp_path, running, blank, socket_mode=False) as office,
            serving(build_http(office.services, Scheduler(office.clock), office.app), listener),
            httpx.AsyncClient(trust_env=False) as http,
        ):
            yield Window(office, sent, http)


async def work_day(office: Office) -> None:
    """One of each kind of request: commands, clicks, dialogs, messages, a look at the Home tab."""
    await office.rollout(f"plan {FLAG}")
    await until(office.cards)
    assert await office.press("approve") is None
    assert await office.press("pause", user=SAM) is None
    assert (await office.submit(office.dialog(SAM), "lunch", user=SAM)).ok
    assert await office.press("resume") is None
    await office.rollout(f"status {FLAG}")
    office.running.people.say(RELEASES, MIRA, f"<@{office.running.settings.bot_user_id}> status {FLAG}")
    office.running.people.open_home(MIRA)
    assert await office.press("roll_back", user=SAM) is None
    await office.running.courier.idle()
    await office.settle()


async def test_all_of_it_again_in_any_order_changes_nothing(window: Window) -> None:
    await work_day(window.office)
    before = await window.state()
    kinds = {one.payload.get("type", one.kind) for one in window.sent}
    assert kinds >= {"slash_commands", "block_actions", "view_submission", "event_callback"}
    again = [(one, 1 + age) for age in range(2) for one in window.sent]
    random.Random(5).shuffle(again)
    for number in range(0, len(again), 8):
        answers = await asyncio.gather(
            *(window.post(one.kind, one.payload, age=age) for one, age in again[number:][:8])
        )
        assert {answer.status_code for answer in answers} == {200}
    await window.office.settle()
    assert await window.state() == before


TAMPERED = ("", "x", "0" * 32, "../../etc/passwd", "' OR 1=1 --", "👍:x", "-1:" + "0" * 32, '{"id": 1}', "z" * 1990)


def pressed(window: Window, action_id: str, value: str, *, user: str = SAM) -> Json:
    """A click on a button of the card that carries such a value."""
    workspace = window.office.running.workspace
    element = {"type": "button", "action_id": action_id, "value": value}
    action = payloads.action_of(element, "buttons", {})
    return payloads.message_action(workspace, workspace.user(user), window.office.card(), action, {})


async def test_a_tampered_value_is_refused_with_one_line_or_in_the_dialog_that_it_opened(window: Window) -> None:
    office = window.office
    await office.started()
    # A button with an address opens it by itself; what it carries is not read.
    actions = [
        *(action_id for action_id in window.registered("action") if action_id != SEE),
        "rollout.of_another_release",
    ]
    assert len(actions) > 10
    # Each kind of button with some of the values, and one with all of them.
    some = itertools.cycle(TAMPERED)
    tried = [(action_id, next(some)) for action_id in actions for _ in range(2)]
    tried += [("rollout.roll_back", value) for value in TAMPERED]
    before = await window.state()
    for action_id, value in tried:
        click = pressed(window, action_id, value)
        answers = await asyncio.gather(*(window.post("block_actions", click, age=age) for age in range(4)))
        assert [answer.status_code for answer in answers] == [200] * 4, action_id
        await quiet(office)
        after = await window.state()
        lines = len(office.private(SAM)) - len(before["private"][SAM])  # type: ignore[index]
        opened = office.running.workspace.screens.modal_stack(SAM)
        assert (lines, len(opened)) in ((1, 0), (0, 1)), (action_id, value)
        for view in opened:
            await office.running.people.close(view.id, SAM)
        changed = {name for name in after if after[name] != before[name]}
        assert changed <= {"private", "dialogs"}, (action_id, value)
        before = {**after, "dialogs": before["dialogs"]}


async def quiet(office: Office) -> None:
    """Let what was acknowledged come to its end: Bolt carries it out in tasks of its own."""
    while under_way := [task for task in asyncio.all_tasks() if is_of_bolt(task)]:
        await asyncio.wait(under_way)
    await office.services.underway.ended()


def is_of_bolt(task: asyncio.Task[Any]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and "slack_bolt" in code.co_filename


async def test_dialogs_and_shortcuts_of_another_release_are_answered_with_one_line(window: Window) -> None:
    office = window.office
    await office.proposed()
    workspace = office.running.workspace
    person = workspace.user(MIRA)
    view = View("V1", MIRA, {"type": "modal", "callback_id": "gone", "private_metadata": "?", "blocks": []}, "h", "V1")
    for payload in (
        payloads.view_submission(workspace, person, view, {}),
        payloads.message_shortcut(workspace, person, office.card(), "gone"),
    ):
        before = len(everywhere(office, MIRA))
        answers = await asyncio.gather(*(window.post(payload["type"], payload, age=age) for age in range(4)))
        assert [(answer.status_code, answer.text) for answer in answers] == [(200, "")] * 4
        await quiet(office)
        assert everywhere(office, MIRA)[before:] == [texts.UNKNOWN_DIALOG]


async def test_a_dialog_sent_without_its_answers_changes_nothing_and_is_answered_with_one_line(window: Window) -> None:
    """Every dialog that there is, empty, foreign and damaged; each thrice, as Slack delivers."""
    office = window.office
    rollout = await office.proposed()
    await office.settle()
    assert window.registered("view") == sorted(SENDABLE)
    workspace, chosen = office.running.workspace, Preferences(quiet=QuietHours(time_of_day(22), time_of_day(7), "UTC"))
    async with office.services.database.write() as session:
        await keep(session, "", SAM, chosen, at=office.clock.now())
    for callback_id, (dialog, _) in SENDABLE.items():
        plain = {**dialog.to_dict(), "private_metadata": json.dumps({"id": rollout.id, "channel": RELEASES})}
        whole = answered(plain)
        first = next(iter(whole))
        for number, values in enumerate(({}, FOREIGN, None, {**whole, first: "words"}, {**whole, first: {}})):
            view = View(f"V{callback_id}{number}", SAM, plain, "h", "V1")
            payload = payloads.view_submission(workspace, workspace.user(SAM), view, {})
            payload["view"]["state"] = {"values": values}
            before, known = await window.state(), len(everywhere(office, SAM))
            answers = await asyncio.gather(*(window.post("view_submission", payload, age=age) for age in range(3)))
            assert [(answer.status_code, answer.text) for answer in answers] == [(200, "")] * 3, (callback_id, values)
            await quiet(office)
            assert everywhere(office, SAM)[known:] == [texts.UNKNOWN_DIALOG], (callback_id, values)
            after = await window.state()
            assert {**after, "said": before["said"], "private": before["private"]} == before, (callback_id, values)
    async with office.services.database.read() as session:
        assert await read(session, "", SAM) == chosen


def everywhere(office: Office, user: str) -> list[str]:
    """What the person alone sees in channels, and what the app wrote to them."""
    workspace = office.running.workspace
    direct = [
        one.text
        for channel in workspace.channels.values()
        if channel.kind == "im" and user in channel.members
        for one in workspace.visible_messages(channel)
    ]
    return [*office.private(user), *direct]


WAYS_INTO_DIALOGS = {
    "freeze.open",
    "notify.open",
    "rollout.accept",
    "rollout.edit",
    "rollout.pause",
    "rollout.plan.open",
    "rollout.reject",
    "rollout_plan_from_message",
    "rollout_start",
    "/rollout",
    "/rollout plan",
    "/rollout start",
    "/rollout freeze",
    f"/rollout freeze {FLAG}",
    f"/rollout accept {FLAG}",
    "/rollout notify",
}
"""Buttons, shortcuts and commands."""


async def test_a_dialog_is_opened_before_anything_is_read(window: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trigger lives three seconds: no database and no other call stands between it and the dialog."""
    office = window.office
    view = await office.started()
    done: list[str] = []
    call, read, write = AsyncWebClient.api_call, Database.read, Database.write

    async def called(self: AsyncWebClient, method: str, **arguments: Any) -> Any:
        done.append(method)
        return await call(self, method, **arguments)

    monkeypatch.setattr(AsyncWebClient, "api_call", called)
    monkeypatch.setattr(Database, "read", lambda self: (done.append("database"), read(self))[1])
    monkeypatch.setattr(Database, "write", lambda self: (done.append("database"), write(self))[1])
    workspace = office.running.workspace
    person = workspace.user(JONAS)
    releases = workspace.channel(RELEASES)
    requests = list[tuple[str, str, Json]]()
    for action_id in window.registered("action"):
        for value in (view.id, f"-1:{view.id}", ""):
            requests.append((action_id, "block_actions", pressed(window, action_id, value, user=JONAS)))
    for callback_id in window.registered("shortcut"):
        of_message = payloads.message_shortcut(workspace, person, office.card(), callback_id)
        anywhere = payloads.global_shortcut(workspace, person, callback_id)
        requests += [(callback_id, "message_action", of_message), (callback_id, "shortcut", anywhere)]
    for typed in (
        "",
        "plan",
        "start",
        "freeze",
        f"freeze {FLAG}",
        "accept",
        f"accept {FLAG}",
        "notify",
        "edit",
        "help",
    ):
        command = payloads.slash_command(workspace, releases, person, "/rollout", typed)
        requests.append((f"/rollout {typed}".strip(), "slash_commands", command))
    opened = set[str]()
    for name, kind, payload in requests:
        # A dialog that was closed is heard of, too.
        await quiet(office)
        done.clear()
        payload["trigger_id"] = workspace.tickets.issue_trigger(JONAS)
        assert (await window.post(kind, payload)).status_code == 200
        await quiet(office)
        if "views.open" in done:
            assert done[0] == "views.open", (name, done)
            opened.add(name)
        for view_shown in workspace.screens.modal_stack(JONAS):
            await office.running.people.close(view_shown.id, JONAS)
    assert opened == WAYS_INTO_DIALOGS
    assert workspace.call_counts["views.push"] == 0

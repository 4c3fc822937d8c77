"""A whole Sluice in a local Slack workspace: real app, Socket Mode, services, database; a clock that tests move."""

import asyncio
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.models.views import View
from sqlalchemy import select

from agent.model import ModelOptions
from bot.app import build_app
from bot.bootstrap import running_services
from bot.notifier import Notifier
from bot.services import Services
from bot.settings import Settings
from bot.workspace import RunningWorkspace, running_workspace
from bot.workspace.people import Outcome
from bot.workspace.records import Message
from tools.clock import ManualClock
from tools.flags.base import FlagRef
from tools.flags.embedded import EmbeddedFlagService
from tools.records import log, outbox
from tools.records.database import Database
from tools.records.log import Event
from tools.records.migrate import migrate
from tools.records.models import OutboxMessage
from tools.rollouts.phases import Phase
from tools.rollouts.views import RolloutView

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

MIRA, JONAS, AIKO, SAM = "UMIRA0001", "UJONAS001", "UAIKO0001", "USAM00001"
RELEASES, ALERTS = "CRELEASES", "CALERTS01"
FLAG, ENVIRONMENT = "new-checkout", "production"
DATABASE = "sluice.db"
GOOD, BAD = 0.02, 0.5
REQUESTS = 2000
"""Requests in each interval of 10 s."""

SPEC = """---
flag: new-checkout
title: A checkout in one step
owner: UMIRA0001
kpis:
  - metric: checkout-errors
    direction: increase
    margin: 2.0
---
The new checkout asks for everything on one page.
"""
QUERY = """
SELECT variant, SUM(exposures) AS exposures, SUM(events) AS events, MAX(at) AS newest
FROM requests WHERE flag = :flag AND at >= :start AND at < :end GROUP BY variant
"""


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until `condition()` holds; fail when it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was awaited did not happen"
        await asyncio.sleep(0.005)


@dataclass
class Office:
    """The workspace with its people, and Sluice in it."""

    running: RunningWorkspace
    services: Services
    app: AsyncApp
    notifier: Notifier
    clock: ManualClock
    telemetry: Path

    # -- what people do -------------------------------------------------------------------------------------------

    async def rollout(self, text: str, *, user: str = MIRA, channel: str = RELEASES) -> str:
        """Type `/rollout text`, and read the answer that only this person sees."""
        before = len(self.private(user, channel))
        outcome = await self.running.people.command(channel, user, "/rollout", text)
        assert outcome.ok, outcome
        await until(lambda: len(self.private(user, channel)) > before)
        await self.settle()
        return self.private(user, channel)[before]

    async def press(self, action: str, *, user: str = JONAS, ts: str | None = None) -> str | None:
        """Press a button of the card, and read the answer that only this person sees, if there is one."""
        before = len(self.private(user))
        outcome = await self.click(action, user=user, ts=ts)
        assert outcome.ok, outcome
        await self.settle()
        answers = self.private(user)[before:]
        return answers[0] if answers else None

    async def click(self, action: str, *, user: str, ts: str | None = None) -> Outcome:
        """Press a button, and wait no longer than Slack does."""
        return await self.running.people.click(RELEASES, ts or self.card().ts, f"rollout.{action}", user)

    async def submit(self, view: View | Any, reason: str, *, user: str) -> Outcome:
        """Send a dialog's reason."""
        outcome = await self.running.people.submit(view.id, user, {"reason": {"reason": reason}})
        await self.settle()
        return outcome

    def dialog(self, user: str) -> Any:
        """The modal on a person's screen."""
        [view] = self.running.workspace.screens.modal_stack(user)
        return view

    # -- what people see ------------------------------------------------------------------------------------------

    def messages(self, channel: str = RELEASES) -> list[Message]:
        """What everybody sees in a channel, threads included."""
        return self.running.workspace.visible_messages(self.running.workspace.channel(channel))

    def cards(self) -> list[Message]:
        """The cards in #releases."""
        return [message for message in self.messages() if any(block["type"] == "header" for block in message.blocks)]

    def card(self) -> Message:
        """The one card in #releases."""
        [card] = self.cards()
        return card

    def thread(self) -> list[str]:
        """The lines in the card's thread."""
        below = [one for one in self.messages() if one.thread_ts == self.card().ts and one.is_reply]
        return [spaced(one.text) for one in below]

    def private(self, user: str, channel: str = RELEASES) -> list[str]:
        """What only this person sees in a channel: each message's text and blocks as one string."""
        seen = self.running.workspace.visible_messages(self.running.workspace.channel(channel), user)
        return [readable(message) for message in seen if message.ephemeral_to == user]

    def buttons(self) -> list[str]:
        """The action ids of the card's buttons, without their family's name."""
        rows = [block["elements"] for block in self.card().blocks if block["type"] == "actions"]
        return [element["action_id"].removeprefix("rollout.") for row in rows for element in row]

    # -- what happens behind --------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Let what was handed over come to its end, and what is due be told, in time that Slack's pace allows."""
        quiet = 0
        while quiet < 3:
            await asyncio.sleep(0.02)
            delivered = await self.notifier.deliver_due()
            if not delivered and await self.waiting():
                self.clock.advance(1)
            quiet = 0 if delivered or _at_work() or await self.waiting() else quiet + 1

    async def waiting(self) -> int:
        """How many messages are due."""
        async with self.services.database.read() as session:
            return len(await outbox.due(session, now=self.clock.now()))

    async def live(self, checks: int, *, rate: float = GOOD, control: float = GOOD) -> RolloutView:
        """Time passes: each 10 s requests come, then the controller looks."""
        for _ in range(checks):
            self.clock.advance(10)
            percent = (await self.flag()).exposure.percent
            treated = round(REQUESTS * percent / 100)
            self._count("off", REQUESTS - treated, control)
            self._count("on", treated, rate)
            await self.services.controller.tick()
        await self.settle()
        return await self.view()

    async def view(self) -> RolloutView:
        """The flag's rollout."""
        return await self.services.rollouts.find(FLAG, ENVIRONMENT)

    async def flag(self) -> Any:
        """What the flag service serves."""
        return await self.services.flags.read(FlagRef(FLAG, ENVIRONMENT))

    async def events(self) -> list[Event]:
        """The decision log."""
        async with self.services.database.read() as session:
            return [event async for event in log.read(session)]

    async def told(self) -> list[OutboxMessage]:
        """Everything that people were or are to be told."""
        async with self.services.database.read() as session:
            return list((await session.scalars(select(OutboxMessage).order_by(OutboxMessage.id))).all())

    async def proposed(self) -> RolloutView:
        """A plan of Mira's, on the table."""
        await self.rollout(f"plan {FLAG}")
        await until(self.cards)
        return await self.view()

    async def started(self) -> RolloutView:
        """The same, approved by Jonas."""
        await self.proposed()
        assert await self.press("approve") is None
        view = await self.view()
        assert view.phase is Phase.PROGRESSING
        return view

    def history(self) -> None:
        """A day of requests to control, for the planner."""
        moments = [self.clock.now() - timedelta(minutes=minutes) for minutes in range(5, 24 * 60, 5)]
        self._keep([("off", moment, 60_000, GOOD) for moment in moments])

    def _count(self, variant: str, exposures: int, rate: float) -> None:
        if exposures:
            self._keep([(variant, self.clock.now() - timedelta(milliseconds=1), exposures, rate)])

    def _keep(self, counts: list[tuple[str, datetime, int, float]]) -> None:
        rows = [(FLAG, variant, at.timestamp(), number, round(number * rate)) for variant, at, number, rate in counts]
        with closing(sqlite3.connect(self.telemetry)) as database, database:
            database.executemany("INSERT INTO requests VALUES (?, ?, ?, ?, ?)", rows)


def readable(message: Message) -> str:
    """A message's text and the texts of its blocks."""
    return spaced("\n".join([message.text, *_texts(message.blocks)]))


def spaced(text: str) -> str:
    """The text with plain spaces."""
    return text.replace("\N{NO-BREAK SPACE}", " ")


def _texts(value: Any) -> list[str]:
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    if isinstance(value, dict):
        own = [value["text"]] if isinstance(value.get("text"), str) else []
        return own + [text for item in value.values() if isinstance(item, dict | list) for text in _texts(item)]
    return []


def listening() -> bool:
    """Whether a listener is still running."""
    return any("run_ack_function_asynchronously" in str(task.get_coro()) for task in asyncio.all_tasks())


def _at_work() -> bool:
    """Whether a listener or a job is still running."""
    names = {task.get_name() for task in asyncio.all_tasks()} - {"jobs-dispatch", "jobs-sweep"}
    return listening() or any(name.startswith(("job-", "jobs-")) for name in names)


def office_settings(directory: Path, running: RunningWorkspace) -> Settings:
    """Settings of an installation in `directory`."""
    specs = directory / "specs"
    specs.mkdir(exist_ok=True)
    (specs / f"{FLAG}.md").write_text(SPEC, encoding="utf-8")
    sections: dict[str, Any] = {
        "database": {"url": f"sqlite:///{directory / DATABASE}"},
        "slack": {
            "bot_token": running.settings.bot_token,
            "app_token": running.settings.app_token,
            "signing_secret": running.settings.signing_secret,
            "api_url": running.api_url,
            "alerts_channel": ALERTS,
        },
        "policy": {"approvers": (MIRA, JONAS, AIKO)},
        "specs": {"path": specs},
        "sources": {"shop": {"url": f"sqlite:///{directory / 'shop.db'}"}},
        "metrics": {
            "checkout-errors": {
                "source": "shop",
                "title": "Checkout errors",
                "query": QUERY,
                "time_format": "epoch",
            }
        },
        "planning": {"burn_in": "10s", "check_every": "10s", "bake": "30s", "stale_after": "60s", "slices": 240},
        "jobs": {"type": "memory"},
    }
    return Settings(**sections)


@asynccontextmanager
async def open_office(
    directory: Path,
    running: RunningWorkspace,
    blank: Path | None,
    *,
    socket_mode: bool = True,
    model: "BaseChatModel | None" = None,
    **sections: Any,
) -> AsyncIterator[Office]:
    """Sluice at work in a workspace; `blank` is a database that has only its tables, None when there is one already.

    It talks with `model`, if there is one; `sections` are settings that are other than usual.
    """
    settings = office_settings(directory, running)
    changes = {
        name: getattr(settings, name).model_copy(update=section) if isinstance(section, dict) else section
        for name, section in sections.items()
    }
    if model is not None:
        changes["model"] = ModelOptions(name="scripted")
    settings = settings.model_copy(update=changes)
    in_memory = settings.jobs.type == "memory"
    telemetry = directory / "shop.db"
    if blank is not None:
        with closing(sqlite3.connect(telemetry)) as shop, shop:
            shop.execute("CREATE TABLE requests (flag TEXT, variant TEXT, at REAL, exposures INTEGER, events INTEGER)")
        shutil.copy(blank, directory / DATABASE)
    clock = ManualClock(datetime(2026, 3, 1, 12, tzinfo=UTC), on_sleep=None if in_memory else _short_sleep)
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(
            running_services(settings, clock=clock, opened=(lambda: model) if model is not None else None)
        )
        assert isinstance(services.flags, EmbeddedFlagService)
        if blank is not None:
            await services.flags.define(FlagRef(FLAG, ENVIRONMENT), "off", "on")
        app = build_app(services)
        await services.jobs.start()
        if socket_mode:
            handler = AsyncSocketModeHandler(app, running.settings.app_token, ping_interval=5)
            stack.push_async_callback(handler.close_async)
            await handler.connect_async()
            await until(lambda: running.sockets.connections)
        office = Office(running, services, app, Notifier(services, services.clients), clock, telemetry)
        office.history()
        yield office


async def _short_sleep(seconds: float) -> None:
    """What waits in a loop would else keep everybody waiting."""
    await asyncio.sleep(min(seconds, 0.2))


@asynccontextmanager
async def new_office(
    directory: Path, blank: Path, *, model: "BaseChatModel | None" = None, **workspace: Any
) -> AsyncIterator[Office]:
    """An office in a workspace of its own."""
    async with (
        running_workspace(**workspace) as running,
        open_office(directory, running, blank, model=model) as office,
    ):
        yield office


async def make_blank(path: Path) -> None:
    """A database that has only its tables."""
    database = Database(f"sqlite:///{path}")
    await migrate(database)
    await database.close()

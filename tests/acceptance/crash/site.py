"""A Sluice that dies: the real `sluice serve` in a process, a Slack workspace, and telemetry that the test writes.

Time is compressed by nothing but settings. People act over the workspace's control addresses, exposure is seen over
OFREP, and what was decided is read from the decision log.
"""

import asyncio
import os
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bot import texts
from bot.demo.journal import Journal
from bot.demo.processes import Child, run
from bot.demo.slack import Button, Post, Slack, SlackRefused
from bot.demo.world import child_environ
from bot.workspace import running_workspace
from tools.clock import SystemClock
from tools.flags.base import FlagRef
from tools.flags.embedded import EmbeddedFlagService
from tools.records.database import Database
from tools.records.log import Event
from tools.records.migrate import migrate
from tools.rollouts import audit
from tools.rollouts.events import Happening
from tools.rollouts.phases import Phase

FLAG, CONTROL, TREATMENT = "new-checkout", "old", "new"
SALT = "checkout"
"""Whom a stage of 10 % reaches is the same each time: five of the customers below. A drawn salt may reach none."""
REQUESTER, APPROVER, CHANNEL = "mira", "jonas", "releases"
GOOD, BAD = 0.05, 0.5
INTERVAL_S, REQUESTS = 0.05, 200
"""A row of telemetry for each variant: how often, and how many requests it counts."""
HISTORY_S = 12.0
CUSTOMERS, ASKED_AT_ONCE = 40, 8
SETTLED_S = 0.4
LOOK_EVERY_S = 0.02
IMPATIENCE_S = 0.2
SHOWN = 400
WITHIN_S = 20.0
COMMAND_S = 30.0

SPEC = f"""---
flag: {FLAG}
owner: payments
kpis:
  - {{metric: checkout_errors, direction: increase, margin: 2.0}}
---
# A checkout on one page
"""

SETTINGS = """
[database]
url = "sqlite:///sluice.db"
[slack]
releases_channel = "CRELEASES"
alerts_channel = "CALERTS01"
[http]
port = {port}
[policy]
approvers = ["UJONAS001", "UAIKO0001"]
largest_free_step = {largest_free_step}
[specs]
path = "specs"
[sources.shop]
url = "sqlite:///telemetry.db"
[metrics.checkout_errors]
source = "shop"
title = "Failed checkouts"
time_format = "epoch"
settle = "100ms"
query = '''
SELECT variant, SUM(exposures) AS exposures, SUM(events) AS events, MAX(at) AS newest
FROM requests WHERE flag = :flag AND at >= :start AND at < :end GROUP BY variant
'''
[planning]
stages = [10, 100]
bake = "600ms"
burn_in = "0s"
check_every = "200ms"
stale_after = "5s"
blind_budget = "15s"
stage_budget = "10m"
traffic_window = "10s"
slices = 240
[scheduler]
tick = "50ms"
delivery = "100ms"
lease = "1s"
"""

HOLDS = {
    "later flag writes": "BEFORE UPDATE ON flags WHEN OLD.exposure ->> '$.percent' > 0",
    "card places": "BEFORE UPDATE ON conversations",
    "later confirmations": "BEFORE UPDATE ON intents WHEN NEW.status = 'done' AND NEW.purpose <> 'start'",
}
"""Where the process can be made to stumble, so that it dies between two steps and not near them.

What is held "later" lets the first stage begin, so that it can be held before: a bake is shorter than a busy machine's
pauses.
"""

FAILING = "abs(-9223372036854775807 - 1)"
"""An overflow: an error at run time that is no broken constraint."""

ENDINGS = {Phase.SUCCEEDED: (Happening.SUCCEEDED, 1.0), Phase.ROLLED_BACK: (Happening.ROLLED_BACK, 0.0)}
"""The event that ends a rollout, and the share of customers that get treatment from then on."""


@dataclass
class Telemetry:
    """What both variants do, written while the block runs, whether or not Sluice lives."""

    path: Path
    rate: float = GOOD
    """Treatment's share of requests that fail; control's is always GOOD."""

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Write a row a variant every INTERVAL_S, after a past to plan from."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = OFF")
            database.execute("CREATE TABLE requests (flag TEXT, variant TEXT, at REAL, exposures INT, events INT)")
            database.execute("CREATE INDEX ix_requests ON requests (flag, at)")
            now = time.time()
            moments = [now - INTERVAL_S * step for step in range(round(HISTORY_S / INTERVAL_S))]
            database.execute("BEGIN")
            database.executemany("INSERT INTO requests VALUES (?, ?, ?, ?, ?)", [_row(CONTROL, at) for at in moments])
            database.execute("COMMIT")
            writing = asyncio.create_task(self._write(database))
            try:
                yield
            finally:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)

    async def _write(self, database: sqlite3.Connection) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            at = time.time()
            rows = [_row(CONTROL, at), _row(TREATMENT, at, self.rate)]
            database.executemany("INSERT INTO requests VALUES (?, ?, ?, ?, ?)", rows)


def _row(variant: str, at: float, rate: float = GOOD) -> tuple[str, str, float, int, int]:
    return FLAG, variant, at, REQUESTS, round(REQUESTS * rate)


@dataclass
class Site:
    """One installation and its people; `open_site` makes one."""

    directory: Path
    address: str
    slack: Slack
    serve: Child
    records: Database
    journal: Journal
    telemetry: Telemetry
    environ: dict[str, str] = field(repr=False)
    http: httpx.AsyncClient = field(repr=False)

    # -- the process ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start `sluice serve` (again), and return when it is ready and connected to Slack."""
        before = await self.slack.connections()
        await self.serve.start()

        async def up() -> bool:
            self.serve.check()
            try:
                ready = (await self.http.get(f"{self.address}/readyz")).is_success
            except httpx.TransportError:
                return False
            return ready and bool(await self.slack.connections() - before)

        await until(up, lambda: f"sluice serve was not up.{self.last_words()}")

    async def kill(self) -> None:
        """kill -9: no handler, no flush, no goodbye."""
        await self.serve.kill()
        assert not self.serve.running
        await self.journal.refresh()

    async def terminate(self) -> tuple[int, float]:
        """SIGTERM; the exit status, and the seconds it took."""
        began = time.monotonic()
        os.kill(self.serve.pid, signal.SIGTERM)
        async with asyncio.timeout(WITHIN_S):
            status = await self.serve.wait()
        await self.journal.refresh()
        return status, time.monotonic() - began

    async def sluice(self, *arguments: str) -> str:
        """What a `sluice` command says; it must succeed."""
        return await run(f"sluice {' '.join(arguments)}", sluice(*arguments), self.directory, self.environ, COMMAND_S)

    # -- where it dies --------------------------------------------------------------------------------------------

    def hold(self, what: str) -> None:
        """From now on these writes fail as they do when a database is in trouble; see HOLDS."""
        self._execute(f"CREATE TRIGGER hold {HOLDS[what]} BEGIN SELECT {FAILING}; END")

    def release(self) -> None:
        """They succeed again."""
        self._execute("DROP TRIGGER hold")

    # -- what people do -------------------------------------------------------------------------------------------

    async def rollout(self, text: str, *, person: str = REQUESTER) -> None:
        """Type `/rollout text`."""
        await self.slack.command(person, CHANNEL, "/rollout", text)

    async def press(self, label: str, *, person: str = APPROVER) -> None:
        """Press the card's button of that label once it is there, and yes to its dialog."""
        card, button = await self._button(label)
        while True:
            try:
                return await self.slack.click(person, card, button)
            except SlackRefused:
                pressed, (card, button) = button, await self._button(label)
                if pressed == button:
                    raise
            # The card was drawn anew under the finger.

    async def _button(self, label: str) -> tuple[Post, Button]:
        found: list[tuple[Post, Button]] = []

        async def there() -> bool:
            found[:] = [(card, button) for card in await self.cards() if (button := card.button(label))]
            return bool(found)

        await until(there, lambda: f"The card has no button {label!r}; {self.story()}.{self.last_words()}")
        return found[-1]

    async def proposed(self) -> None:
        """Mira has asked for a plan, and its card asks for an approval."""
        await self.rollout(f"plan {FLAG}")

        async def asked() -> bool:
            return any(card.button(texts.APPROVE) for card in await self.cards())

        await until(asked, lambda: f"No card asks for an approval; {self.story()}.{self.last_words()}")

    async def started(self) -> None:
        """Jonas has approved, and the first stage is served."""
        await self.proposed()
        await self.press(texts.APPROVE)
        await self.happened(Happening.EXPOSURE_CONFIRMED)

    @asynccontextmanager
    async def people(self) -> AsyncIterator[None]:
        """Jonas approves whatever the card asks, and presses again when nothing came of it."""
        pressing = asyncio.create_task(self._press_again_and_again())
        try:
            yield
        finally:
            pressing.cancel()
            result, *_ = await asyncio.gather(pressing, return_exceptions=True)
        assert isinstance(result, asyncio.CancelledError), result

    async def _press_again_and_again(self) -> None:
        while True:
            for card in await self.cards():
                button = card.button(texts.APPROVE)
                if button is not None:
                    # Nobody acknowledges while the process is dead, and a question may have been answered meanwhile.
                    with suppress(SlackRefused):
                        await self.slack.click(APPROVER, card, button)
            await asyncio.sleep(IMPATIENCE_S)

    # -- what is seen ---------------------------------------------------------------------------------------------

    async def cards(self) -> list[Post]:
        """The cards in the channel."""
        return [post for post in await self.slack.posts(CHANNEL) if post.is_card]

    async def happened(self, kind: Happening, times: int = 1) -> Event:
        """The event of that kind, the `times`-th, once it is in the decision log."""

        async def is_there() -> bool:
            await self.journal.refresh()
            return len(self.journal.of(kind)) >= times

        await until(is_there, lambda: f"No {kind} (number {times}); {self.story()}.{self.last_words()}")
        return self.journal.of(kind)[times - 1]

    async def until_served(self, share: float) -> None:
        """Return when OFREP gives treatment to that share of customers."""

        async def is_served() -> bool:
            return await self.served() == share

        await until(is_served, lambda: f"{share:.0%} is not served; {self.story()}.{self.last_words()}")

    async def until_told(self) -> None:
        """Return when Slack has everything that people are to be told."""

        async def is_told() -> bool:
            return self.rows("outbox", "status = 'open'") == 0

        await until(is_told, lambda: f"Something was not told; {self.story()}.{self.last_words()}")

    def times(self, kind: Happening) -> int:
        """How often it happened, as far as was read."""
        return len(self.journal.of(kind))

    def story(self) -> str:
        """The kinds of the events so far."""
        return " → ".join(event.kind for event in self.journal.events)

    async def served(self) -> float:
        """The share of customers that get treatment, over OFREP."""
        gate = asyncio.Semaphore(ASKED_AT_ONCE)

        async def treated(number: int) -> bool:
            context = {"context": {"targetingKey": f"customer-{number}"}}
            async with gate:
                answer = await self.http.post(f"{self.address}/ofrep/v1/evaluate/flags/{FLAG}", json=context)
            answer.raise_for_status()
            return bool(answer.json()["value"] == TREATMENT)

        return sum(await asyncio.gather(*map(treated, range(CUSTOMERS)))) / CUSTOMERS

    def last_words(self) -> str:
        """The end of the process's log, long lines cut short."""
        return "\n".join(shorten(line) for line in self.serve.last_words().splitlines())

    def rows(self, table: str, where: str = "1") -> int:
        """How many rows of Sluice's database there are like that."""
        with closing(sqlite3.connect(self._database)) as database:
            return int(database.execute(f"SELECT COUNT(*) FROM {table} WHERE {where}").fetchone()[0])

    async def ends(self, phase: Phase) -> None:
        """The rollout ends so: people, customers and the verified records all say it, and nothing was done twice."""
        (ending, share), words = ENDINGS[phase], texts.PHASES[phase][1]
        await self.happened(ending)
        assert await self.served() == share

        async def told() -> bool:
            return any(words in line for card in await self.cards() for line in card.lines)

        await until(told, lambda: f"No card says {words!r}.{self.last_words()}")
        await asyncio.sleep(SETTLED_S)
        assert await self.served() == share, "it stays so"
        assert (await audit.verify(self.records)).faults == ()
        assert self.rows("intents", "status = 'open'") == 0
        await self.journal.refresh()
        self._nothing_twice()
        assert len(await self.cards()) == 1

    def _nothing_twice(self) -> None:
        for kind in (Happening.PLAN_PROPOSED, Happening.STARTED, Happening.SUCCEEDED):
            assert self.times(kind) <= 1, self.story()
        for kind in (Happening.ROLLBACK_STARTED, Happening.ROLLED_BACK):
            assert self.times(kind) <= 1, self.story()
        stages = [event.payload["stage"] for event in self.journal.of(Happening.PROMOTED)]
        assert len(stages) == len(set(stages)), self.story()
        granted = [event.payload["approval"] for event in self.journal.of(Happening.APPROVAL_GRANTED)]
        assert len(granted) == len(set(granted)), self.story()
        voted = [(event.payload["approval"], event.actor) for event in self.journal.of(Happening.APPROVAL_VOTED)]
        assert len(voted) == len(set(voted)), self.story()

    @property
    def _database(self) -> Path:
        return self.directory / "sluice.db"

    def _execute(self, statement: str) -> None:
        with closing(sqlite3.connect(self._database, timeout=10)) as database, database:
            database.execute(statement)


@asynccontextmanager
async def open_site(directory: Path, blank: Path, *, largest_free_step: float = 100) -> AsyncIterator[Site]:
    """A site in `directory` with `sluice serve` running; every process has ended when the block does.

    `blank` is a database with the tables and the flag; larger steps than `largest_free_step` points need an approval.
    """
    (directory / "specs").mkdir()
    (directory / "specs" / f"{FLAG}.md").write_text(SPEC, encoding="utf-8")
    port = free_port()
    settings = SETTINGS.format(port=port, largest_free_step=largest_free_step)
    (directory / "sluice.toml").write_text(settings, encoding="utf-8")
    (directory / "sluice.db").write_bytes(blank.read_bytes())
    telemetry = Telemetry(directory / "telemetry.db")
    async with (
        running_workspace() as workspace,
        httpx.AsyncClient(timeout=5.0, trust_env=False) as http,
        Journal(f"sqlite:///{directory / 'sluice.db'}") as journal,
        telemetry.flowing(),
    ):
        environ = child_environ(os.environ, workspace.api_url, workspace.settings)
        child = Child("sluice-serve", sluice("serve"), directory, environ)
        slack, records = Slack(workspace.url), Database(f"sqlite:///{directory / 'sluice.db'}")
        site = Site(directory, f"http://127.0.0.1:{port}", slack, child, records, journal, telemetry, environ, http)
        try:
            await site.start()
            yield site
        finally:
            await child.kill()
            await slack.close()
            await records.close()


async def make_blank(path: Path) -> None:
    """A database with the tables and the flag."""
    database = Database(f"sqlite:///{path}")
    await migrate(database)
    await EmbeddedFlagService(database, SystemClock()).define(
        FlagRef(FLAG, "production"), CONTROL, TREATMENT, salt=SALT
    )
    await database.close()


async def until(holds: Callable[[], Awaitable[bool]], otherwise: Callable[[], str]) -> None:
    """Return when `holds()`; fail after WITHIN_S."""
    deadline = time.monotonic() + WITHIN_S
    while not await holds():
        assert time.monotonic() < deadline, otherwise()
        await asyncio.sleep(LOOK_EVERY_S)


def shorten(line: str) -> str:
    """The line without its middle, if it is a long one: a traceback says at its end what happened."""
    return line if len(line) <= 2 * SHOWN else f"{line[:SHOWN]} … {line[-SHOWN:]}"


def sluice(*arguments: str) -> tuple[str, ...]:
    """The command line of a `sluice` command."""
    return (str(Path(sys.executable).with_name("sluice")), *arguments)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])

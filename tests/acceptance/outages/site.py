"""The real `sluice serve` on a real Unleash, Prometheus and PostgreSQL, with its people in a Slack workspace."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from bot.demo.journal import Journal
from bot.demo.processes import Child
from bot.demo.slack import Button, Post, Slack, SlackRefused
from bot.demo.world import child_environ
from bot.workspace import running_workspace
from tests.acceptance.crash.site import free_port, shorten, sluice
from tests.acceptance.outages.shop import Exporter, Shop
from tests.integration.flags.unleash_sdk import Sdk, running_sdk
from tests.prometheus import Prometheus, require_program
from tests.unleash import OwnUnleash, UnleashServer, own_unleash, talking_to
from tools.records.database import Database
from tools.records.log import Event
from tools.records.migrate import migrate
from tools.rollouts.events import Happening

FLAG = "new-checkout"
REQUESTER, APPROVER, CHANNEL = "mira", "jonas", "releases"
LOOK_EVERY_S = 0.1
WITHIN_S = 60.0
SCRAPES = 4

SPEC = f"""---
flag: {FLAG}
owner: payments
kpis:
  - {{metric: checkout_errors, direction: increase, margin: 2.0}}
---
# A checkout on one page
"""

SETTINGS = """
[slack]
releases_channel = "CRELEASES"
alerts_channel = "CALERTS01"
[http]
port = {port}
[policy]
approvers = ["UJONAS001", "UAIKO0001"]
largest_free_step = 30
[flags]
type = "unleash"
[flags.unleash]
url = "{unleash}"
sdk_refresh = "1s"
late_writes = "3s"
[specs]
path = "specs"
[sources.prometheus]
type = "prometheus"
url = "{prometheus}"
[metrics.checkout_errors]
source = "prometheus"
title = "Failed checkouts"
settle = "2s"
[metrics.checkout_errors.query]
variant = "feature_flag_result_variant"
exposures = 'shop_requests_total{{feature_flag_key="$flag"}}'
events = 'shop_requests_total{{feature_flag_key="$flag", http_response_status_code=~"5.."}}'
[planning]
stages = [10, 50, 100]
bake = "4s"
burn_in = "0s"
check_every = "1s"
stale_after = "10s"
blind_budget = "1m"
stage_budget = "10m"
traffic_window = "10s"
slices = 40
[scheduler]
tick = "200ms"
delivery = "200ms"
lease = "5s"
"""


@dataclass
class Site:
    """One installation, its people, and the servers that a test may kill; `open_site` makes one."""

    address: str
    serve: Child
    slack: Slack
    records: Database
    journal: Journal
    prometheus: Prometheus
    own_unleash: OwnUnleash
    unleash: UnleashServer
    sdk: Sdk
    shop: Shop
    http: httpx.AsyncClient

    async def is_up(self) -> bool:
        """Whether `sluice serve` is ready and connected to Slack."""
        try:
            ready = (await self.http.get(f"{self.address}/readyz")).is_success
        except httpx.TransportError:
            return False
        return ready and bool(await self.slack.connections())

    async def has_history(self) -> bool:
        """Whether Prometheus has some scrapes of the shop."""
        return await self.asked("min(count_over_time(shop_requests_total[1m]))") >= SCRAPES

    async def asked(self, expression: str) -> float:
        """What Prometheus answers, 0 for nothing."""
        answer = await self.http.post(f"{self.prometheus.url}/api/v1/query", data={"query": expression})
        found = answer.json()["data"]["result"]
        return float(found[0]["value"][1]) if found else 0.0

    async def press(self, label: str) -> None:
        """Jonas presses the card's button of that label once it is there, and yes to its dialog."""
        while True:
            card, button = await self._button(label)
            try:
                return await self.slack.click(APPROVER, card, button)
            except SlackRefused:
                if (card, button) == await self._button(label):
                    raise
            # The card was drawn anew under the finger.

    async def _button(self, label: str) -> tuple[Post, Button]:
        found = list[tuple[Post, Button]]()

        async def there() -> bool:
            cards = [post for post in await self.slack.posts(CHANNEL) if post.is_card]
            found[:] = [(card, button) for card in cards if (button := card.button(label))]
            return bool(found)

        await self.until(there, f"The card has no button {label!r}")
        return found[-1]

    async def happened(self, kind: Happening, times: int = 1) -> Event:
        """The event of that kind, the `times`-th, once it is in the decision log."""

        async def is_there() -> bool:
            await self.journal.refresh()
            return len(self.journal.of(kind)) >= times

        await self.until(is_there, f"No {kind} (number {times})")
        return self.journal.of(kind)[times - 1]

    async def paged(self, words: str) -> float:
        """When Mira has been told these words, by name and in the channel: the moment on the monotonic clock."""

        async def read() -> bool:
            posts = [post for post in await self.slack.posts(CHANNEL) if post.is_broadcast]
            return any(words in post.text and REQUESTER in post.text.casefold() for post in posts)

        await self.until(read, f"Nobody was paged {words!r}")
        return time.monotonic()

    async def card_says(self, words: str) -> None:
        """Return when the card does."""

        async def says() -> bool:
            return any(words in line for post in await self.slack.posts(CHANNEL) if post.is_card for line in post.lines)

        await self.until(says, f"The card does not say {words!r}")

    async def stored(self) -> tuple[bool, str]:
        """Whether the flag is on in Unleash, and for what percentage."""
        room = await self.unleash.ask("GET", f"features/{FLAG}/environments/production")
        return room["enabled"], room["strategies"][0]["parameters"]["rollout"]

    async def until(self, holds: Callable[[], Awaitable[bool]], otherwise: str) -> None:
        """Return when `holds()`; fail after WITHIN_S with what happened until then."""
        deadline = time.monotonic() + WITHIN_S
        while not await holds():
            self.serve.check()
            assert time.monotonic() < deadline, f"{otherwise}; {self.story()}.{self.last_words()}"
            await asyncio.sleep(LOOK_EVERY_S)

    def story(self) -> str:
        """The kinds of the events so far."""
        return " → ".join(event.kind for event in self.journal.events)

    def last_words(self) -> str:
        """The end of the process's log, long lines cut short."""
        return "\n".join(shorten(line) for line in self.serve.last_words().splitlines())


@asynccontextmanager
async def open_site(directory: Path, postgres_url: str) -> AsyncIterator[Site]:
    """A site in `directory` with everything running; every process has ended when the block does."""
    require_program()
    async with AsyncExitStack() as stack:
        records = Database(postgres_url)
        stack.push_async_callback(records.close)
        own, _ = await asyncio.gather(stack.enter_async_context(own_unleash(directory)), migrate(records))
        unleash = await stack.enter_async_context(talking_to(own.url))
        await unleash.define(FLAG)
        exporter = Exporter()
        stack.callback(exporter.close)
        port = free_port()
        prometheus = Prometheus(directory / "prometheus", [exporter.target, f"127.0.0.1:{port}"])
        prometheus.start()
        stack.callback(prometheus.stop)
        workspace = await stack.enter_async_context(running_workspace())
        _furnish(directory, port=port, unleash=own.url, prometheus=prometheus.url)
        environ = child_environ(os.environ, workspace.api_url, workspace.settings) | {
            "SLUICE_DATABASE_URL": postgres_url,
            "SLUICE_UNLEASH_TOKEN": unleash.admin_token,
        }
        serve = Child("sluice-serve", sluice("serve"), directory, environ)
        stack.push_async_callback(serve.kill)
        await serve.start()
        sdk = await stack.enter_async_context(running_sdk(unleash, FLAG, directory / "sdk"))
        shop = Shop(sdk, exporter)
        await stack.enter_async_context(shop.open())
        journal = await stack.enter_async_context(Journal(postgres_url))
        slack = Slack(workspace.url)
        stack.push_async_callback(slack.close)
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=5.0, trust_env=False))
        address = f"http://127.0.0.1:{port}"
        site = Site(address, serve, slack, records, journal, prometheus, own, unleash, sdk, shop, http)
        await site.until(site.is_up, "sluice serve was not up")
        await site.until(site.has_history, "Prometheus has scraped nothing to plan from")
        yield site


def _furnish(directory: Path, **places: object) -> None:
    for folder in ("specs", "sdk"):
        (directory / folder).mkdir()
    (directory / "specs" / f"{FLAG}.md").write_text(SPEC, encoding="utf-8")
    (directory / "sluice.toml").write_text(SETTINGS.format(**places), encoding="utf-8")

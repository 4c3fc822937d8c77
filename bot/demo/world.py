"""The demo's world: a Slack workspace in this process; Sluice, the shop and its customers in processes of their own.

Sluice is started as anyone starts it, with a `sluice.toml` in its folder and its tokens in the environment.
"""

import asyncio
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Self

import httpx

from bot.demo.processes import Child, run
from bot.demo.slack import Slack
from bot.demo.tour import tour
from bot.workspace import RunningWorkspace, Switch, WorkspaceSettings, running_workspace
from tools.errors import Unavailable

FLAG, ENVIRONMENT, CONTROL, TREATMENT = "new-checkout", "production", "classic", "express"
DEPENDENT_FLAG = "one-click-reorder"
BREAK, MEND = "Break the new checkout", "Mend it"

HERE = Path(__file__).parent
ROOT = Path(".demo")
READY_SECONDS = 30.0
COMMAND_SECONDS = 30.0
POLL_S = 0.1
MODEL = "SLUICE_MODEL"
PROXIES = ("http_proxy", "https_proxy", "all_proxy")


@dataclass(frozen=True, slots=True)
class Traffic:
    """How much the shop's customers do, and when they stop at the latest."""

    per_second: float = 200.0
    requests: int = 40_000
    seconds: float = 180.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything listens on this machine."""

    slack: str
    sluice: str
    shop: str


class DemoWorld:
    """The parts, each of which can be stopped, killed and started again. `open` makes one and ends it."""

    def __init__(
        self,
        directory: Path,
        workspace: RunningWorkspace,
        addresses: Addresses,
        traffic: Traffic,
        model: Mapping[str, str],
    ) -> None:
        self.directory = directory
        self.addresses = addresses
        self.slack = Slack(workspace.url)
        self._environ = child_environ(os.environ, workspace.api_url, workspace.settings) | dict(model)
        self.sluice = self._child("sluice-serve", _sluice("serve"))
        self.shop = self._child("shop", _shop(addresses, self.telemetry))
        self.load = self._child("load", _load(addresses, traffic))
        self._http = httpx.AsyncClient(timeout=5.0, trust_env=False)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, traffic: Traffic, root: Path = ROOT, model: Mapping[str, str] | None = None
    ) -> AsyncIterator[Self]:
        """A world in a fresh folder below `root`, nothing started but Slack.

        `model` are the settings of a model to talk to, as `model_environ` finds them; None: there is none. In the end
        every process is stopped. The folder goes too, except when the block raises.
        """
        directory = _fresh_directory(root)
        sluice, shop = (f"http://127.0.0.1:{port}" for port in _free_ports(2))
        switches = (
            Switch(BREAK, f"{shop}/fault", "60 % of its payments fail from now on", danger=True, body={"on": True}),
            Switch(MEND, f"{shop}/fault", "The new checkout works again", body={"on": False}),
        )
        async with AsyncExitStack() as stack:
            workspace = await stack.enter_async_context(running_workspace(switches=switches, tour=tour(FLAG, BREAK)))
            world = cls(directory, workspace, Addresses(workspace.url, sluice, shop), traffic, model or {})
            stack.push_async_callback(world.close)
            world._furnish()
            yield world
        shutil.rmtree(directory)

    @property
    def telemetry(self) -> Path:
        """The shop's database."""
        return self.directory / "telemetry.db"

    @property
    def database_url(self) -> str:
        """Of Sluice's own records."""
        return f"sqlite:///{self.directory / 'sluice.db'}"

    async def start(self) -> None:
        """Start everything in the order that each needs, and return when all of it is healthy."""
        await asyncio.gather(self.start_shop(), self.run_sluice("migrate"))
        await asyncio.gather(self.start_sluice(), self._define_flags())
        await self.load.start()

    async def start_sluice(self) -> None:
        """Start (again) `sluice serve`, and return when it is ready and connected to Slack."""
        before = await self.slack.connections()
        await self.sluice.start()
        await self._until_answering(self.sluice, f"{self.addresses.sluice}/readyz")

        async def connected() -> bool:
            return bool(await self.slack.connections() - before)

        await self.until(connected, READY_SECONDS, "Sluice did not connect to Slack", self.sluice)

    async def start_shop(self) -> None:
        """Start (again) the shop, and return when it is open."""
        await self.shop.start()
        await self._until_answering(self.shop, f"{self.addresses.shop}/health")

    async def run_sluice(self, *arguments: str) -> str:
        """The output of a `sluice` command that ends by itself. Raises ChildFailed."""
        command = _sluice(*arguments)
        return await run(f"sluice {' '.join(arguments)}", command, self.directory, self._environ, COMMAND_SECONDS)

    async def evaluate(self, customer: str) -> str:
        """The variant that Sluice's flag evaluation gives this customer now, over HTTP."""
        answer = await self._http.post(
            f"{self.addresses.sluice}/ofrep/v1/evaluate/flags/{FLAG}", json={"context": {"targetingKey": customer}}
        )
        answer.raise_for_status()
        return str(answer.json()["value"])

    async def shop_health(self) -> dict[str, Any]:
        """What the shop says of itself."""
        answer = await self._http.get(f"{self.addresses.shop}/health")
        plain: dict[str, Any] = answer.json()
        return plain

    async def until(self, holds: Callable[[], Awaitable[bool]], seconds: float, otherwise: str, *needed: Child) -> None:
        """Return when `holds()`. Raises Unavailable after `seconds`, ChildFailed when one that is needed ends."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not await holds():
            for child in needed:
                child.check()
            if asyncio.get_running_loop().time() > deadline:
                words = "".join(child.last_words() for child in needed)
                raise Unavailable(f"{otherwise} within {seconds:g} s.{words}")
            await asyncio.sleep(POLL_S)

    async def close_shop(self) -> None:
        """Send the customers home, then stop the shop."""
        await self.load.stop()
        await self.shop.stop()

    async def close(self) -> None:
        """Stop every process."""
        await asyncio.gather(self.close_shop(), self.sluice.stop())
        await self._http.aclose()
        await self.slack.close()

    def _child(self, name: str, command: tuple[str, ...]) -> Child:
        return Child(name, command, self.directory, self._environ)

    def _furnish(self) -> None:
        shutil.copytree(HERE / "specs", self.directory / "specs")
        port = self.addresses.sluice.rpartition(":")[2]
        template = Template((HERE / "sluice.toml").read_text(encoding="utf-8"))
        settings = template.substitute(sluice_port=port, telemetry=self.telemetry)
        (self.directory / "sluice.toml").write_text(settings, encoding="utf-8")

    async def _define_flags(self) -> None:
        create = ("flags", "create")
        await asyncio.gather(
            self.run_sluice(*create, FLAG, "--control", CONTROL, "--treatment", TREATMENT),
            self.run_sluice(*create, DEPENDENT_FLAG, "--control", "off", "--treatment", "on"),
        )

    async def _until_answering(self, child: Child, url: str) -> None:
        async def answering() -> bool:
            try:
                return (await self._http.get(url)).is_success
            except httpx.TransportError:
                return False

        await self.until(answering, READY_SECONDS, f"{child.name} did not answer at {url}", child)


def child_environ(environ: Mapping[str, str], api_url: str, slack: WorkspaceSettings) -> dict[str, str]:
    """The environment for children: nobody's real Slack or database, no proxy between processes of one machine."""
    kept = {
        name: value for name, value in environ.items() if not name.startswith("SLUICE_") and name.lower() not in PROXIES
    }
    return kept | {
        "SLUICE_SLACK_API_URL": api_url,
        "SLUICE_SLACK_BOT_TOKEN": slack.bot_token,
        "SLUICE_SLACK_APP_TOKEN": slack.app_token,
        "SLUICE_SLACK_SIGNING_SECRET": slack.signing_secret,
    }


def model_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """What the environment says of a model, empty where it names none."""
    if not environ.get(MODEL):
        return {}
    return {name: value for name, value in environ.items() if name.startswith(MODEL) or name == "OPENAI_API_KEY"}


def _sluice(*arguments: str) -> tuple[str, ...]:
    return (str(Path(sys.executable).with_name("sluice")), *arguments)


def _shop(addresses: Addresses, telemetry: Path) -> tuple[str, ...]:
    port = addresses.shop.rpartition(":")[2]
    named = ("--port", port, "--ofrep-url", addresses.sluice, "--telemetry", str(telemetry))
    flag = ("--flag", FLAG, "--environment", ENVIRONMENT, "--control", CONTROL, "--treatment", TREATMENT)
    return (sys.executable, "-m", "bot.demo.shop", *named, *flag)


def _load(addresses: Addresses, traffic: Traffic) -> tuple[str, ...]:
    bounds = {"--per-second": traffic.per_second, "--requests": traffic.requests, "--seconds": traffic.seconds}
    named = [str(part) for pair in bounds.items() for part in pair]
    return (sys.executable, "-m", "bot.demo.load", "--url", addresses.shop, *named)


def _fresh_directory(root: Path) -> Path:
    root.mkdir(exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="run-", dir=root)).resolve()


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports

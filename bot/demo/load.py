"""`python -m bot.demo.load`: customers of the shop. Bounded in rate, number and time; it ends by itself.

Customers arrive by chance at a fixed mean rate whether or not the shop keeps up, open the checkout, and most of them
pay a moment later. Some come far more often than others, as everywhere.
"""

import argparse
import asyncio
import itertools
import signal
import sys
import time
from bisect import bisect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

import aiohttp

from tools.errors import Unavailable

TENANTS: Mapping[str, float] = {"acme": 0.45, "globex": 0.25, "initech": 0.18, "umbrella": 0.12}
REGIONS: Mapping[str, float] = {"eu-west": 0.5, "us-east": 0.35, "ap-south": 0.15}

CUSTOMERS = 5_000
FLATTENED = 50
"""Zipf's law with this many of the most frequent customers left out, so that no single one sways a rate."""

PAYING_SHARE = 0.75
REQUESTS_PER_VISIT = 1 + PAYING_SHARE
THINKING_S = 0.15
MAX_OPEN_VISITS = 500
REQUEST_TIMEOUT_S = 5.0

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer, who always belongs to the same tenant and region."""

    id: str
    tenant: str
    region: str


class Population:
    """A fixed set of customers; the k-th most frequent one comes in proportion to 1 / (k + FLATTENED)."""

    def __init__(self, size: int, random: Random) -> None:
        self._customers = [
            Customer(f"customer-{number:05d}", _weighted(TENANTS, random), _weighted(REGIONS, random))
            for number in range(1, size + 1)
        ]
        self._cumulated = list(itertools.accumulate(1 / (rank + FLATTENED) for rank in range(1, size + 1)))

    def pick(self, random: Random) -> Customer:
        """Whoever comes next."""
        return self._customers[bisect(self._cumulated, random.random() * self._cumulated[-1])]


@dataclass(slots=True)
class Tally:
    """What the shop answered, and what it never got to answer."""

    requests: int = 0
    failed: int = 0
    unanswered: int = 0
    turned_away: int = 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """Mean requests a second, and where to end: after that many requests or seconds, whichever comes first."""

    per_second: float
    requests: int
    seconds: float


class Unanswered(Unavailable):
    """The shop gave no answer."""


class Door(Protocol):
    """A way into the shop."""

    async def __call__(self, method: str, visit: Mapping[str, str]) -> int:
        """The status of a GET or POST of /checkout. Raises Unanswered."""
        ...


class Load:
    """Sends visits through a door until its bounds are reached or it is stopped."""

    def __init__(self, door: Door, population: Population, random: Random, sleep: Sleep = asyncio.sleep) -> None:
        self._door = door
        self._population = population
        self._random = random
        self._sleep = sleep
        self._stopped = False
        self.tally = Tally()

    def stop(self) -> None:
        """Let nobody else in; visits under way are finished."""
        self._stopped = True

    async def run(self, bounds: Bounds, now: Callable[[], float] = time.monotonic) -> None:
        """Open visits at random moments, on average `per_second` / REQUESTS_PER_VISIT of them a second."""
        visits_per_second = bounds.per_second / REQUESTS_PER_VISIT
        ends_at = now() + bounds.seconds
        due = now()
        visiting = set[asyncio.Task[None]]()
        while not self._stopped and self.tally.requests < bounds.requests and now() < ends_at:
            due += self._random.expovariate(visits_per_second)
            await self._sleep(max(0.0, min(due, ends_at) - now()))
            if len(visiting) >= MAX_OPEN_VISITS:
                self.tally.turned_away += 1
                continue
            task = asyncio.create_task(self._visit())
            visiting.add(task)
            task.add_done_callback(visiting.discard)
        await asyncio.gather(*visiting)

    async def _visit(self) -> None:
        customer = self._population.pick(self._random)
        session = f"{self._random.getrandbits(64):016x}"
        visit = {"customer": customer.id, "tenant": customer.tenant, "region": customer.region, "session": session}
        pays = self._random.random() < PAYING_SHARE
        if await self._send("GET", visit) and pays:
            await self._sleep(self._random.expovariate(1 / THINKING_S))
            await self._send("POST", visit)

    async def _send(self, method: str, visit: Mapping[str, str]) -> bool:
        self.tally.requests += 1
        try:
            status = await self._door(method, visit)
        except Unanswered:
            self.tally.unanswered += 1
            return False
        if status >= 400:
            self.tally.failed += 1
        return status < 400


class HttpDoor:
    """The shop over HTTP, on kept-alive connections."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = f"{url}/checkout"

    async def __call__(self, method: str, visit: Mapping[str, str]) -> int:
        paying = method == "POST"
        try:
            async with self._session.request(
                method, self._url, params=None if paying else visit, json=visit if paying else None
            ) as response:
                await response.read()
                return response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unanswered("The shop gave no answer; is it running?") from error


def _weighted(shares: Mapping[str, float], random: Random) -> str:
    names: Sequence[str] = list(shares)
    return random.choices(names, weights=list(shares.values()))[0]


async def generate(url: str, bounds: Bounds, seed: int) -> Tally:
    """Send the shop at `url` its customers, until the bounds or SIGINT or SIGTERM."""
    random = Random(seed)  # noqa: S311 - chance, not secrets
    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        load = Load(HttpDoor(session, url), Population(CUSTOMERS, random), random)
        for signum in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signum, load.stop)
        await load.run(bounds)
        return load.tally


def main() -> None:
    """Read the arguments, generate load, say how it went."""
    parser = argparse.ArgumentParser(prog="python -m bot.demo.load", description="Customers for the demo's shop.")
    parser.add_argument("--url", required=True, help="the shop's address")
    parser.add_argument("--per-second", type=float, default=200.0, help="requests a second, on average")
    parser.add_argument("--requests", type=int, default=50_000, help="end after that many requests")
    parser.add_argument("--seconds", type=float, default=120.0, help="end after that many seconds")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    bounds = Bounds(arguments.per_second, arguments.requests, arguments.seconds)
    began = time.monotonic()
    tally = asyncio.run(generate(arguments.url, bounds, arguments.seed))
    seconds = time.monotonic() - began
    sys.stdout.write(
        f"{tally.requests} requests in {seconds:.1f} s ({tally.requests / seconds:.0f}/s), {tally.failed} failed, "
        f"{tally.unanswered} unanswered, {tally.turned_away} customers turned away\n"
    )


if __name__ == "__main__":
    main()

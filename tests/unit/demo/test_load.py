import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import Mapping
from random import Random

import httpx

from bot.demo.load import CUSTOMERS, Bounds, Load, Population, Unanswered
from tests.unit.demo.conftest import OpenShop


class ManualTime:
    """Time that jumps to whatever is waited for next, once everybody waits."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (self.seconds + seconds, next(self._numbers), woken))
        await woken

    async def run(self, load: Load, bounds: Bounds) -> None:
        running = asyncio.create_task(load.run(bounds, self.now))
        while not running.done():
            for _ in range(8):
                await asyncio.sleep(0)
            if self._waiting:
                self.seconds, _, woken = heapq.heappop(self._waiting)
                woken.set_result(None)
        await running


class CountingDoor:
    """Answers every request with one status (None: not at all) and keeps count."""

    def __init__(self, status: int | None = 200) -> None:
        self._status = status
        self.seen: list[tuple[str, Mapping[str, str]]] = []

    async def __call__(self, method: str, visit: Mapping[str, str]) -> int:
        self.seen.append((method, visit))
        if self._status is None:
            raise Unanswered("closed")
        return self._status


def _load(door: CountingDoor, time: ManualTime, seed: int = 1) -> Load:
    random = Random(seed)
    return Load(door, Population(200, random), random, time.sleep)


async def test_ends_after_its_number_of_requests() -> None:
    door, time = CountingDoor(), ManualTime()
    load = _load(door, time)
    await time.run(load, Bounds(per_second=100, requests=500, seconds=1e6))
    # Visits that were under way are finished.
    assert 500 <= load.tally.requests == len(door.seen) <= 520


async def test_ends_after_its_seconds_at_the_mean_rate() -> None:
    door, time = CountingDoor(), ManualTime()
    await time.run(_load(door, time), Bounds(per_second=100, requests=10**9, seconds=20))
    assert 1_800 < len(door.seen) < 2_200
    assert 20 <= time.seconds < 23


async def test_stops_when_told() -> None:
    door, time = CountingDoor(), ManualTime()
    load = _load(door, time)
    load.stop()
    await time.run(load, Bounds(per_second=100, requests=500, seconds=60))
    assert door.seen == []


async def test_a_visit_opens_the_page_then_mostly_pays_in_the_same_session() -> None:
    door, time = CountingDoor(), ManualTime()
    load = _load(door, time)
    await time.run(load, Bounds(per_second=100, requests=2_000, seconds=1e6))

    opened = [visit["session"] for method, visit in door.seen if method == "GET"]
    paid = [visit["session"] for method, visit in door.seen if method == "POST"]
    assert len(set(opened)) == len(opened)
    assert set(paid) <= set(opened)
    assert 0.7 < len(paid) / len(opened) < 0.8


async def test_who_cannot_open_the_page_does_not_pay() -> None:
    for status, counted in ((500, "failed"), (None, "unanswered")):
        door, time = CountingDoor(status), ManualTime()
        load = _load(door, time)
        await time.run(load, Bounds(per_second=100, requests=50, seconds=1e6))
        assert {method for method, _ in door.seen} == {"GET"}
        assert getattr(load.tally, counted) == load.tally.requests


async def test_never_more_open_visits_than_allowed() -> None:
    time, closed = ManualTime(), asyncio.Event()

    class StuckDoor(CountingDoor):
        async def __call__(self, method: str, visit: Mapping[str, str]) -> int:
            self.seen.append((method, visit))
            await closed.wait()
            return 500

    door = StuckDoor()
    load = _load(door, time)
    running = asyncio.create_task(time.run(load, Bounds(per_second=1000, requests=10**6, seconds=2)))
    while load.tally.turned_away == 0:
        await asyncio.sleep(0)
    closed.set()
    await running
    assert len(door.seen) <= 1_200
    assert load.tally.turned_away > 0


def test_the_population_is_fixed_and_nobody_dominates() -> None:
    first, second = (Population(CUSTOMERS, Random(5)) for _ in range(2))
    chance = Random(6)
    visits = Counter(first.pick(chance) for _ in range(20_000))

    assert [first.pick(Random(n)) for n in range(50)] == [second.pick(Random(n)) for n in range(50)]
    assert len(visits) > 2_000
    assert visits.most_common(1)[0][1] < 200
    assert visits.most_common(1)[0][1] > 5 * sorted(visits.values())[len(visits) // 2]
    assert {customer.tenant for customer in visits} == {"acme", "globex", "initech", "umbrella"}
    assert {customer.region for customer in visits} == {"eu-west", "us-east", "ap-south"}


async def test_its_visits_are_what_the_shop_understands(shop: OpenShop) -> None:
    async def door(method: str, visit: Mapping[str, str]) -> int:
        sent: httpx.Request = (
            shop.client.build_request("GET", "/checkout", params=dict(visit))
            if method == "GET"
            else shop.client.build_request("POST", "/checkout", json=dict(visit))
        )
        return (await shop.client.send(sent)).status_code

    time, random = ManualTime(), Random(2)
    load = Load(door, Population(50, random), random, time.sleep)
    await time.run(load, Bounds(per_second=100, requests=150, seconds=1e6))

    rows = await shop.rows()
    assert len(rows) == load.tally.requests
    assert load.tally.failed == sum(row["status"] == 402 for row in rows) > 0
    assert load.tally.unanswered == 0

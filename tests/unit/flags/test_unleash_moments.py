"""Never more than asked, at any moment: what is served is looked at after every request of writes that interleave."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any
from unittest.mock import ANY

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yggdrasil_engine.engine import UnleashEngine

from tests.contract.flags.conftest import unleash_options
from tests.contract.flags.fake_unleash import TOKEN, FakeUnleash
from tests.unit.flags.test_unleash import STARTS
from tools.flags.base import FlagRef, FlagServiceUnavailable, NotSettable
from tools.flags.unleash.service import UnleashFlagService
from tools.plans.model import NOT_EXPOSED, Audience, Exposure, Mode

REF = FlagRef("checkout", "production")
OTHER = FlagRef("search", "production")
ADDRESS = "https://unleash.example.com"
CONTEXTS: tuple[dict[str, str], ...] = ({"tenant": "acme", "region": "eu"}, {"tenant": "globex", "region": "us"}, {})
USERS = 25
WRITERS = 3

Who = tuple[str, int, bool]
"""A user, the context asked in, and whether the answer is only a shadow's."""


def served(server: FakeUnleash) -> frozenset[Who]:
    """Who is served now, as the engine of Unleash's SDKs says."""
    return _served(json.dumps([one for one in _sent(server) if one["name"] == REF.flag]))


def _sent(server: FakeUnleash) -> list[dict[str, Any]]:
    features: list[dict[str, Any]] = server.client_features()["features"]
    # What SDKs make nothing of changes with each write.
    return [one | {"strategies": [_plain(strategy) for strategy in one["strategies"]]} for one in features]


def _plain(strategy: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in strategy.items() if name not in ("id", "title")}


@cache
def _served(features: str) -> frozenset[Who]:
    engine, found = UnleashEngine(), set[Who]()
    engine.take_state(f'{{"version": 2, "features": {features}}}')
    for number, properties in enumerate(CONTEXTS):
        for user in (f"user-{one}" for one in range(USERS)):
            context = {"userId": user, "properties": properties}
            if engine.is_enabled(REF.flag, context).is_enabled:
                found.add((user, number, engine.get_variant(REF.flag, context).variant.name == "shadow"))
    return frozenset(found)


@cache
def meant(exposure: Exposure, start: str) -> frozenset[Who]:
    """Who the exposure is for: a flag that has nothing but one strategy, made by hand."""
    fake = FakeUnleash()
    fake.define(REF.flag)
    fields = {"tenant": exposure.audience.tenants, "region": exposure.audience.regions}
    shadow = {"name": "shadow", "weight": 1000, "weightType": "variable", "stickiness": "default"}
    # Strategies of people keep by what they deal users.
    key = next((one["parameters"] for one in STARTS[start][1] if not one.get("disabled")), None)
    key = key or next((one["parameters"] for one in STARTS[start][1]), {"stickiness": "default", "groupId": REF.flag})
    fake.environment(REF.flag).update(
        enabled=exposure.percent > 0,
        strategies=[
            {
                "name": "flexibleRollout",
                "disabled": False,
                "parameters": {**key, "rollout": str(round(exposure.percent))},
                "constraints": [
                    {"contextName": name, "operator": "IN", "values": list(values)}
                    for name, values in fields.items()
                    if values
                ],
                "variants": [shadow] * (exposure.mode is Mode.SHADOW),
                "segments": [],
            }
        ],
    )
    return served(fake)


def _whoever(who: frozenset[Who]) -> set[tuple[str, int]]:
    return {(user, number) for user, number, _ in who}


@dataclass
class Turns(httpx.AsyncBaseTransport):
    """Lets one request at a time through, whichever is drawn, and looks at what is served, and read, after it.

    `draw` is among how many to choose; what happens to each request is drawn too.
    """

    server: FakeUnleash
    start: str
    draw: Callable[[int], int]
    allowed: frozenset[Who]
    waiting: list[tuple[httpx.Request, asyncio.Future[httpx.Response]]] = field(default_factory=list)
    looks: int = 0

    def __post_init__(self) -> None:
        self.reader = _service(self.server)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = asyncio.get_running_loop().create_future()
        self.waiting.append((request, answer))
        response: httpx.Response = await answer
        return response

    async def let_through(self) -> None:
        """The next request, whose answer may get lost, or which may not be carried out."""
        request, answer = self.waiting.pop(self.draw(len(self.waiting)))
        fate = FATES[self.draw(len(FATES))]
        outcome = await fate(self, request)
        await self.look(f"{request.method} {request.url.path}")
        if isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)

    async def look(self, after: str) -> None:
        """Nobody is served who was not before, and is not meant to be; and nobody of whom it is not read."""
        self.looks += 1
        now = served(self.server)
        assert now <= self.allowed, after
        state = await self.reader.read(REF)
        assert _whoever(now) <= _whoever(meant(state.exposure, self.start)), after

    async def carried_out(self, request: httpx.Request) -> httpx.Response | Exception:
        return await self.server.really(request)

    async def lost(self, request: httpx.Request) -> httpx.Response | Exception:
        await self.server.really(request)
        return httpx.ReadTimeout("no", request=request)

    async def not_arrived(self, request: httpx.Request) -> httpx.Response | Exception:
        return httpx.ConnectError("no", request=request)

    async def failed(self, _request: httpx.Request) -> httpx.Response | Exception:
        return httpx.Response(502)


Fate = Callable[[Turns, httpx.Request], Awaitable[httpx.Response | Exception]]
FATES: Sequence[Fate] = (*[Turns.carried_out] * 6, Turns.lost, Turns.not_arrived, Turns.failed)
EXPOSURES = st.builds(
    Exposure,
    percent=st.sampled_from([0, 1, 5, 25, 60, 100]),
    mode=st.sampled_from(Mode),
    audience=st.sampled_from(
        [Audience(), Audience(tenants=("acme",)), Audience(tenants=("globex", "acme"), regions=("us",))]
    ),
)
REFS = st.sampled_from([REF, REF, REF, OTHER])


@settings(max_examples=40)
@given(
    start=st.sampled_from(sorted(STARTS)),
    writers=st.lists(st.lists(st.tuples(REFS, EXPOSURES), min_size=1, max_size=3), min_size=1, max_size=WRITERS),
    last=EXPOSURES,
    data=st.data(),
)
async def test_never_more_than_asked_at_any_moment(
    start: str, writers: list[list[tuple[FlagRef, Exposure]]], last: Exposure, data: st.DataObject
) -> None:
    server = _started(start)
    turns = Turns(server, start, lambda among: data.draw(st.integers(0, among - 1)), served(server))
    tasks = [asyncio.create_task(_write_all(turns, writes, start)) for writes in writers]
    await _until_done(turns, tasks)
    # Once nobody writes any more and nothing fails, what is asked is what is served, and nothing else was meanwhile.
    turns.draw = lambda _among: 0
    turns.allowed = served(server)
    await _until_done(turns, [asyncio.create_task(_write_all(turns, [(REF, last)], start))])
    assert served(server) == meant(last, start)
    assert turns.looks > len(writers)


@pytest.mark.parametrize("start", sorted(STARTS))
async def test_after_a_rollback_nobody_is_ever_served_again(start: str) -> None:
    server = _started(start)
    turns = Turns(server, start, lambda _among: 0, served(server))
    await _until_done(turns, [asyncio.create_task(_write_all(turns, [(REF, NOT_EXPOSED)], start))])
    assert not served(server)
    turns.allowed = frozenset()
    await _until_done(turns, [asyncio.create_task(_write_all(turns, [(REF, NOT_EXPOSED)] * 2, start))])


def _started(start: str) -> FakeUnleash:
    server = FakeUnleash()
    for ref in (REF, OTHER):
        server.define(ref.flag)
    enabled, strategies = STARTS[start]
    room = server.environment(REF.flag)
    for strategy in strategies:
        room["strategies"].append(server._stored(strategy, REF.flag))
    room["enabled"] = enabled
    return server


async def _write_all(turns: Turns, writes: list[tuple[FlagRef, Exposure]], start: str) -> None:
    """Writes one after another, as one process of Sluice's; those that fail leave it at that."""
    service = _service(turns)
    for ref, exposure in writes:
        if ref == REF:
            turns.allowed |= meant(exposure, start)
        try:
            await service.write(ref, exposure, expected=ANY)
        except (FlagServiceUnavailable, NotSettable):
            continue
    await service.close()


def _service(transport: httpx.AsyncBaseTransport) -> UnleashFlagService:
    service = UnleashFlagService(unleash_options(ADDRESS, TOKEN), timeout=timedelta(seconds=60), transport=transport)
    service._api._sleep = _no_time
    return service


async def _no_time(_seconds: float) -> None:
    await asyncio.sleep(0)


async def _until_done(turns: Turns, tasks: list[asyncio.Task[Any]]) -> None:
    while not all(task.done() for task in tasks):
        if turns.waiting:
            await turns.let_through()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)

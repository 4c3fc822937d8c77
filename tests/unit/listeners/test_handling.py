"""What was acknowledged comes to its end, or is interrupted and logged when it takes too long."""

import asyncio

import pytest
from slack_sdk.web.async_client import AsyncWebClient
from structlog.testing import capture_logs

from bot import underway
from bot.listeners.handling import handle_once
from bot.underway import INTERRUPTED, Underway
from tests.unit.notifier.desk import open_desk

BODY = {"command": "/rollout", "trigger_id": "1.x"}


async def test_stopping_waits_for_what_was_acknowledged() -> None:
    begun, release, done = asyncio.Event(), asyncio.Event(), list[str]()

    async def work() -> None:
        begun.set()
        await release.wait()
        done.append("rolled back")

    async with open_desk() as desk, asyncio.timeout(10):
        services = desk.services
        handling = asyncio.create_task(handle_once(services, AsyncWebClient(), BODY, work))
        await begun.wait()
        stopping = asyncio.create_task(services.underway.ended())
        await asyncio.sleep(0)
        assert not stopping.done()
        release.set()
        await stopping
        assert done == ["rolled back"]
        await handling
        await services.underway.ended()


async def test_what_takes_too_long_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(underway, "GRACE_S", 0.01)
    orders = Underway()

    async def endless() -> None:
        with orders.tracked():
            await asyncio.Event().wait()

    task = asyncio.create_task(endless())
    await asyncio.sleep(0)
    with capture_logs() as logs:
        await orders.ended()
    assert task.cancelled()
    assert [(line["event"], line["count"]) for line in logs] == [(INTERRUPTED, 1)]

"""The backtest that runs by itself after a plan was proposed, and the line that it leaves on the plan's card."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot import backtests
from bot.clients import OneClient
from bot.services import Services
from bot.settings import BacktestSettings, Settings
from tests.unit.notifier.desk import Desk, open_desk
from tests.unit.rollouts.world import ERRORS, FLAG
from tools.errors import Unavailable
from tools.jobs.memory import MemoryJobs
from tools.metrics.base import MetricSourceUnavailable
from tools.metrics.catalogue import Catalogue, MetricDefinition
from tools.metrics.memory import Observation
from tools.metrics.router import Metrics
from tools.records.outbox import Kind
from tools.rollouts.backtesting import apart
from tools.rollouts.backtesting.keeping import untested
from tools.rollouts.backtesting.reading import read_recorded
from tools.rollouts.backtesting.report import Asked, NothingToReplay
from tools.rollouts.views import RolloutView

DEFINITION = MetricDefinition(name=ERRORS, source="memory", title="Checkout errors", query="-")


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with open_desk() as opened:
        metrics = Metrics(Catalogue([DEFINITION]), {"memory": opened.world.source})
        wanted = BacktestSettings(over=timedelta(hours=6))
        settings = opened.services.settings.model_copy(update={"backtest": wanted})
        services = replace(opened.services, metrics=metrics, settings=settings)
        yield replace(opened, services=services, notifier=type(opened.notifier)(services, OneClient(opened.slack)))


def recorded(desk: Desk, hours: float) -> None:
    """A minute at a time, 1 % errors."""
    now = desk.world.clock.now()
    minutes = range(1, round(60 * hours) + 1)
    rows = [Observation("old", now - timedelta(minutes=one), 3000, 30 + one % 3) for one in minutes]
    desk.world.source.add(ERRORS, FLAG.flag, FLAG.environment, *rows)


async def run(services: Services) -> None:
    """Look for plans without a backtest, and let the jobs end."""
    jobs = services.jobs
    assert isinstance(jobs, MemoryJobs)
    backtests.register(services)
    await backtests.take_up(services)
    await jobs.start()
    while jobs._workers:
        await next(iter(jobs._workers.values()))
    await jobs.stop()


async def shown(desk: Desk) -> str:
    await desk.deliver()
    return json.dumps(desk.slack.taken[-1].blocks, ensure_ascii=False).replace("\N{NO-BREAK SPACE}", " ")


async def test_a_proposed_plan_gets_the_line_of_its_backtest_on_its_card(desk: Desk) -> None:
    recorded(desk, 7)
    view = await desk.world.proposed()
    assert "Backtest" not in await shown(desk)
    await run(desk.services)
    found = (await desk.world.service.get(view.id)).backtest
    assert found is not None
    assert found.summary.startswith("Over the last 6 hours these gates would have rolled back ")
    assert " of 200 times and caught a doubling of checkout_errors in " in found.summary
    assert found.summary in await shown(desk)
    [event] = [one for one in await desk.world.events(view.id) if one.kind == "plan.backtested"]
    assert event.payload["summary"] == found.summary
    assert event.actor == "sluice"


async def test_what_was_recorded_for_a_short_time_only_is_said_to_be_short(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backtests, "MOST_READS", 12)
    recorded(desk, 1.5)
    view = await desk.world.proposed()
    await run(desk.services)
    found = (await desk.world.service.get(view.id)).backtest
    assert found is not None
    assert found.summary.startswith("Over the last 90 minutes these gates")


async def test_without_history_the_card_stays_as_it_is(desk: Desk) -> None:
    await desk.world.proposed()
    await desk.deliver()
    told = len(desk.slack.taken)
    await run(desk.services)
    recorded(desk, 0.4)
    await run(replace(desk.services, jobs=MemoryJobs(desk.world.clock)))
    await desk.deliver()
    assert len(desk.slack.taken) == told
    assert len(await untested(desk.world.database)) == 1
    assert [one.kind for one in await desk.messages()].count(Kind.CARD) == 1


async def test_a_source_that_fails_is_asked_again_and_then_let_be(desk: Desk) -> None:
    await desk.world.proposed()
    asked = 0

    class Failing(type(desk.services.metrics)):  # type: ignore[misc]
        async def read(self, query: object) -> object:
            nonlocal asked
            asked += 1
            raise MetricSourceUnavailable("It is away.")

    metrics = Failing(Catalogue([DEFINITION]), {"memory": desk.world.source})
    await run(replace(desk.services, metrics=metrics))
    assert asked == 5


async def test_nobody_replays_a_plan_that_went_on_meanwhile_or_twice(desk: Desk) -> None:
    recorded(desk, 2)
    view = await desk.world.proposed()
    await backtests_of(desk, view)
    await run(desk.services)
    first = (await desk.world.service.get(view.id)).backtest
    assert first is not None
    assert await untested(desk.world.database) == []
    desk.world.clock.advance(60)
    await run(replace(desk.services, jobs=MemoryJobs(desk.world.clock)))
    assert (await desk.world.service.get(view.id)).backtest == first
    await desk.world.service.cancel(view.id, actor=view.requester, reason="no")
    assert await backtests._still_proposed(desk.services, backtests.Untested(view.id, view.plan.sha256)) is None


async def backtests_of(desk: Desk, view: RolloutView) -> None:
    [waiting] = await untested(desk.world.database)
    assert waiting == backtests.Untested(view.id, view.plan.sha256)


async def test_the_settings_can_switch_it_off(desk: Desk) -> None:
    recorded(desk, 2)
    view = await desk.world.proposed()
    off = Settings(policy=desk.services.settings.policy.model_dump(), backtest=BacktestSettings(over=timedelta(0)))
    await run(replace(desk.services, settings=off))
    assert (await desk.world.service.get(view.id)).backtest is None


async def test_whoever_is_interrupted_ends_the_process_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(desk, 2)
    view = await desk.world.proposed()
    over, started = timedelta(hours=2), list[asyncio.subprocess.Process]()
    found = await read_recorded(desk.services.metrics, view.plan, over, now=desk.world.clock.now())
    start = asyncio.create_subprocess_exec

    async def noted(*arguments: str, **options: Any) -> asyncio.subprocess.Process:
        started.append(await start(*arguments, **options))
        return started[0]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    waiting = asyncio.create_task(apart.backtest_apart(view.plan, found, Asked(replays=10_000), seconds=600.0))
    while not started:
        await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert started[0].returncode == -signal.SIGKILL


async def test_a_process_that_dies_or_takes_too_long_is_an_error_that_says_so(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(desk, 2)
    view = await desk.world.proposed()
    over = timedelta(hours=2)
    found = await read_recorded(desk.services.metrics, view.plan, over, now=desk.world.clock.now())
    monkeypatch.setattr(apart, "GRACE_S", 0.01)
    with pytest.raises(Unavailable, match="did not end within"):
        await apart.backtest_apart(view.plan, found, Asked(), seconds=0.0)
    monkeypatch.setattr(apart, "GRACE_S", 30)
    with pytest.raises(Unavailable, match="ended with status 1"):
        await apart.backtest_apart(view.plan, "nothing", Asked(), seconds=1.0)  # type: ignore[arg-type]
    none = replace(found, histories=())
    with pytest.raises(NothingToReplay, match="None of the metrics"):
        await apart.backtest_apart(view.plan, none, Asked(), seconds=1.0)

"""A stormy hour: people are pinged when something changed that needs them, and never again for the same."""

import re
from collections import Counter
from datetime import timedelta

from tests.unit.notifier.desk import Desk, told
from tests.unit.rollouts.world import FLAG, MIRA, make_plan, stage
from tools.plans.model import Exposure
from tools.records import log
from tools.records.outbox import Kind
from tools.rollouts.events import Happening
from tools.rollouts.phases import Phase

PING = re.compile(r"<@|<!(?!date)")
PLAN = make_plan(
    stage(5, bake=90_000, limit=300_000),
    stage(25),
    stage(100),
    blind_budget=timedelta(minutes=10),
    check_every=timedelta(seconds=60),
)
SAFE = {"old": (950, 10), "new": (500, 5)}


def pings(desk: Desk) -> list[str]:
    """The messages that mention anybody, cards apart."""
    return [said.text for said in desk.slack.of("post") if not said.blocks and PING.search(said.text)]


async def minute(desk: Desk, *, data: bool) -> None:
    """A minute passes, with data or without, and its check is told."""
    desk.world.clock.advance(60)
    if data:
        desk.world.traffic(**SAFE)
    await desk.world.controller.tick()
    await desk.deliver()


async def test_metrics_that_come_and_go_for_an_hour_ping_once_and_a_half_hour_later_again(desk: Desk) -> None:
    view = await desk.world.started(PLAN)
    await minute(desk, data=True)
    before = len(pings(desk))
    for _ in range(15):
        for number in range(4):
            await minute(desk, data=number < 2)
    async with desk.services.database.read() as session:
        kinds = Counter([event.kind async for event in log.read(session, rollout_id=view.id)])
    assert kinds[Happening.METRICS_BLIND] >= 12, "it was blind again and again"
    assert [PING.sub("", one)[:40] for one in pings(desk)[before:]] == [
        PING.sub("", one)[:40] for one in pings(desk)[before : before + 1]
    ] * 2
    lines = [said for said in desk.slack.of("post") if "The gate is blind" in said.text]
    assert len(lines) == kinds[Happening.METRICS_BLIND], "the thread has every one"
    assert [said.broadcast for said in lines].count(True) == 2


async def test_a_flag_that_is_lowered_by_hand_over_and_over_pings_once(desk: Desk) -> None:
    view = await desk.world.started(PLAN)
    await minute(desk, data=True)
    before = len(pings(desk))
    for percent in (4, 3, 2, 1):
        state = await desk.world.flags.read(FLAG)
        await desk.world.flags.write(FLAG, Exposure(percent=percent), expected=state.version)
        await minute(desk, data=True)
    assert (await desk.services.rollouts.get(view.id)).phase is Phase.PAUSED
    assert len(pings(desk)) - before == 1


async def test_every_change_that_needs_a_person_pings(desk: Desk) -> None:
    view = await desk.world.started(PLAN)
    await minute(desk, data=True)
    before = len(pings(desk))
    for what in (Happening.ROLLBACK_STARTED, Happening.PAUSED, Happening.ROLLBACK_STUCK, Happening.EXPOSURE_STUCK):
        for _ in range(2):
            payload = told(what, reason="r", ends="e", before="5 %", target="0 %", since="s", error="e")
            await desk.put(Kind.ALERT, f"rollout:{view.id}", rollout_id=view.id, payload=payload)
            await desk.deliver(seconds=20)
    assert len(pings(desk)) - before == 7, "only that an exposure still can't be set is told without"
    assert all(MIRA in one for one in pings(desk)[before:])

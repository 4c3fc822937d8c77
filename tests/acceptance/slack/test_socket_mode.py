"""Socket Mode over two connections: events go to one each, and one of them may end in mid-use."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.serve import socket_mode
from bot.workspace import running_workspace
from tests.acceptance.slack.office import FLAG, Office, open_office, until
from tools.rollouts.phases import Phase


@pytest.fixture
async def office(tmp_path: Path, blank: Path) -> AsyncIterator[Office]:
    """An office that is connected as `sluice serve` is."""
    async with (
        running_workspace() as running,
        open_office(tmp_path, running, blank, socket_mode=False) as opened,
        socket_mode(opened.app, opened.services),
    ):
        await until(lambda: len(running.sockets.connections) == 2)
        yield opened


def numbers(office: Office) -> set[int]:
    """Which connections are live, by their number."""
    return {connection.number for connection in office.running.sockets.connections}


async def test_one_may_break_in_mid_use_and_nothing_is_lost_or_doubled(office: Office) -> None:
    before = numbers(office)
    said = [await office.rollout("list") for _ in range(2)]
    assert len(set(said)) == 1, "each of them answers"
    first = office.running.sockets.connections[0]
    await first.websocket.close(1011)
    await until(lambda: first not in office.running.sockets.connections)
    await office.proposed()
    assert len(office.cards()) == 1
    assert await office.press("approve") is None
    assert (await office.view()).phase is Phase.PROGRESSING
    await until(lambda: len(numbers(office)) == 2, seconds=15)
    assert numbers(office) != before, "it was made anew"
    kinds = [event.kind for event in await office.events()]
    assert kinds.count("plan.proposed") == kinds.count("approval.granted") == kinds.count("rollout.started") == 1


async def test_both_are_refreshed_when_slack_asks(office: Office) -> None:
    before = numbers(office)
    assert await office.running.sockets.disconnect_all() == 2
    await until(lambda: len(numbers(office) - before) == 2, seconds=15)
    assert "/rollout plan" in await office.rollout("help")


async def test_a_copy_that_comes_over_the_other_connection_is_handled_once(office: Office) -> None:
    office.running.workspace.faults.duplicate(4)
    await office.rollout(f"plan {FLAG}")
    await until(office.cards)
    await office.settle()
    assert len(office.cards()) == 1
    kinds = [event.kind for event in await office.events()]
    assert kinds.count("plan.proposed") == 1

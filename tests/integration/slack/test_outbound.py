"""What Sluice says is taken by an emulator of Slack's Web API that somebody else wrote, with the manifest's scopes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from sqlalchemy import update

from bot import picturing
from bot.agent_sessions import Manners, Spot
from bot.blocks.conversation import Said, rendered
from bot.blocks.dialogs import pause_dialog
from bot.clients import OneClient
from bot.drawing import Drawn
from bot.homes import publish
from bot.listeners.opening import open_dialog
from bot.listeners.replies import tell
from bot.notifier import Notifier
from bot.picturing import Pictures
from bot.slack import code_of
from bot.voice import SlackVoice
from tests.integration.slack.conftest import Emulated
from tests.unit.notifier.desk import Desk, open_desk
from tests.unit.rollouts.world import MIRA
from tools.records.models import Conversation
from tools.records.outbox import Kind, Status
from tools.rollouts.service import RolloutService
from tools.rollouts.views import RolloutView


@dataclass
class Place:
    """A desk whose notifier speaks to the emulator, where Jonas and Aiko approve."""

    desk: Desk
    emulated: Emulated

    async def deliver(self) -> None:
        """All that waits, however long that takes."""
        for _ in range(10):
            await self.desk.deliver(2)
        assert set(await self.desk.statuses()) == {Status.DELIVERED}

    async def posted(self) -> tuple[RolloutView, dict[str, Any], list[dict[str, Any]]]:
        """The rollout, its card as it stands now, and the lines in its thread."""
        view = await self.desk.services.rollouts.find("flag-0", "production")
        assert view.place is not None
        assert view.place.card_ts is not None
        answer = await self.emulated.client.conversations_replies(channel=view.place.channel, ts=view.place.card_ts)
        card, *lines = answer["messages"]
        return view, card, lines


@pytest.fixture
async def place(emulated: Emulated) -> AsyncIterator[Place]:
    async with open_desk() as desk:
        approvers = (emulated.people["jonas"], emulated.people["aiko"])
        policy = desk.services.settings.policy.model_copy(update={"approvers": approvers})
        slack = desk.services.settings.slack.model_copy(update={"direct_messages": True})
        settings = desk.services.settings.model_copy(update={"policy": policy, "slack": slack})
        world = desk.world
        rollouts = RolloutService(world.database, world.flags, policy, world.clock)
        desk.services = replace(desk.services, settings=settings, rollouts=rollouts)
        desk.notifier = Notifier(desk.services, OneClient(emulated.client))
        yield Place(desk, emulated)


async def test_a_card_its_thread_direct_messages_and_edits(place: Place) -> None:
    client, people = place.emulated.client, place.emulated.people
    view = await place.desk.rollout(channel=place.emulated.channel, requester=MIRA)
    await place.deliver()
    view, card, lines = await place.posted()
    assert card["blocks"][0]["type"] == "header"
    assert card["metadata"] == {"event_type": "sluice_card", "event_payload": {"rollout": view.id}}
    assert [line["text"].partition(" ✋ ")[0] for line in lines] == [f"<@{people['jonas']}> <@{people['aiko']}>"]

    direct = await client.conversations_open(users=people["jonas"])
    history = await client.conversations_history(channel=direct["channel"]["id"])
    [asked] = history["messages"]
    assert view.place is not None
    permalink = await client.chat_getPermalink(channel=view.place.channel, message_ts=card["ts"])
    assert permalink["permalink"] in asked["text"]

    assert view.approval is not None
    await place.desk.services.rollouts.approve(view.approval.id, actor=people["jonas"])
    await place.deliver()
    _, edited, lines = await place.posted()
    assert edited["ts"] == card["ts"]
    assert edited["blocks"] != card["blocks"]
    assert "started it at 5\N{NO-BREAK SPACE}%" in lines[-1]["text"]
    history = await client.conversations_history(channel=direct["channel"]["id"])
    assert [message["ts"] for message in history["messages"]] == [asked["ts"]], "it was edited, not said again"
    assert history["messages"][0]["text"] != asked["text"]


async def test_a_card_that_nobody_wrote_down_is_found_again(place: Place) -> None:
    view = await place.desk.rollout(channel=place.emulated.channel)
    await place.deliver()
    _, card, _ = await place.posted()
    async with place.desk.services.database.write() as session:
        await session.execute(update(Conversation).values(card_ts=None, thread_ts=None))
    await place.desk.note(view, "again")
    await place.deliver()
    _, found, lines = await place.posted()
    assert found["ts"] == card["ts"]
    assert lines[-1]["text"].endswith("again")


async def test_what_waited_for_long_is_one_message(place: Place) -> None:
    view = await place.desk.rollout(channel=place.emulated.channel)
    await place.deliver()
    for number in range(3):
        await place.desk.note(view, f"number {number}", kind=Kind.ALERT if number == 1 else Kind.NOTE)
    place.desk.world.clock.advance(3600)
    await place.deliver()
    _, _, lines = await place.posted()
    assert [line.rpartition(" ")[2] for line in lines[-1]["text"].splitlines()[1:]] == ["0", "1", "2"]


async def test_a_chart_is_uploaded_to_nobody_and_deleted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drawn(courses: list[Any]) -> list[Drawn]:
        return [Drawn(b"png", f"How {one.flag} went.") for one in courses]

    monkeypatch.setattr(picturing, "drawn_apart", drawn)
    client = place.emulated.client
    pictures = Pictures(place.desk.services, OneClient(client))
    view = await place.desk.world.started()
    async with place.desk.services.database.write() as session:
        await session.execute(update(Conversation).values(channel=place.emulated.channel))
    await place.deliver()
    await place.desk.world.live(view.id, 3)
    assert await pictures.turn() == 1
    [file] = (await place.emulated.onlooker.files_list())["files"]
    assert file["title"] == "new-checkout in production"
    assert [file.get(place) or [] for place in ("channels", "ims")] == [[], []], "the picture alone is posted nowhere"
    await client.files_delete(file=file["id"])


async def test_what_one_person_sees(place: Place) -> None:
    client, mira = place.emulated.client, place.emulated.people["mira"]
    await tell(client, user=mira, channel=place.emulated.channel, text="only you")
    history = await client.conversations_history(channel=place.emulated.channel)
    assert [message for message in history["messages"] if message["text"] == "only you"] == []
    await publish(place.desk.services, client, "T1", mira, opened=True)
    trigger = await client.api_call("views.generateTriggerId", json={"user_id": mira})
    body = {"trigger_id": trigger["trigger_id"], "user": {"id": mira}}
    assert await open_dialog(client, body, pause_dialog("0" * 32, place.emulated.channel)) is not None
    assert await open_dialog(client, body, pause_dialog("0" * 32, place.emulated.channel)) is None, "a copy"


async def test_an_answer_where_there_are_neither_agent_sessions_nor_streams(place: Place) -> None:
    client, channel, begun = place.emulated.client, place.emulated.channel, list[str]()
    asked = await client.chat_postMessage(channel=channel, text="how is it going?")

    async def opened(ts: str) -> None:
        begun.append(ts)

    spot, manners = Spot(channel, asked["ts"], "T1", place.emulated.people["mira"]), Manners()
    async with SlackVoice(client, spot, manners, opened=opened, pause=0.01) as voice:
        await voice.calling("c1", "rollout_status", "Looking at the rollout")
        async with asyncio.timeout(20):
            while not begun:
                await asyncio.sleep(0.01)
        ts = await voice.finish(rendered(Said("run", "All is well.")))
    answer = await client.conversations_replies(channel=channel, ts=asked["ts"])
    assert [one["ts"] for one in answer["messages"][1:]] == [ts]
    assert "All is well." in str(answer["messages"][1]["blocks"])
    assert manners == Manners(streams=False, sessions=False, statuses=False)


async def test_refusals_are_told_apart(place: Place) -> None:
    with pytest.raises(SlackApiError) as caught:
        await place.emulated.client.chat_postMessage(channel="CNOWHERE", text="hello")
    assert code_of(caught.value) == "channel_not_found"
    with pytest.raises(SlackApiError) as caught:
        await place.emulated.client.chat_update(channel=place.emulated.channel, ts="1.000001", text="hello")
    assert code_of(caught.value) == "message_not_found"
    with pytest.raises(SlackApiError) as caught:
        await place.emulated.client.conversations_create(name="more")
    assert code_of(caught.value) == "missing_scope"

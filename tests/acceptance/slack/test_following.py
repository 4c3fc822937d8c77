"""What a person is told and shown beside the card: Home with its buttons, links, own notifications, routed channels."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from bot import health
from bot.following import Follower
from bot.homes import Homes
from bot.http import build_http
from bot.scheduler import Scheduler
from bot.settings import RouteSettings
from bot.workspace import running_workspace
from bot.workspace.records import Message
from tests.acceptance.slack.office import (
    ALERTS,
    BAD,
    FLAG,
    JONAS,
    MIRA,
    RELEASES,
    SAM,
    Office,
    listening,
    open_office,
    readable,
    until,
)
from tools.records.models import Rollout
from tools.rollouts.phases import Phase

PAYMENTS = "CPAYMENTS"
PUBLIC = "https://sluice.acme.example"


@pytest.fixture
async def office(tmp_path: Path, blank: Path) -> AsyncIterator[Office]:
    async with (
        running_workspace(unfurl_domains=("sluice.acme.example",)) as running,
        open_office(tmp_path, running, blank, http={"public_url": PUBLIC}) as opened,
    ):
        yield opened


def home(office: Office, user: str) -> str:
    view = office.running.workspace.screens.homes[user]
    return readable(Message(ts="1.0", channel="D", user=user, text="", blocks=view.blocks))


async def look_at_home(office: Office, user: str) -> None:
    office.running.workspace.screens.homes.pop(user, None)
    office.running.people.open_home(user)
    await until(lambda: user in office.running.workspace.screens.homes)
    await office.settle()


def direct(office: Office, user: str) -> list[str]:
    """What Sluice wrote to a person directly."""
    channel = next(
        one for one in office.running.workspace.channels.values() if one.kind == "im" and user in one.members
    )
    bot = office.running.settings.bot_user_id
    return [readable(message) for message in office.messages(channel.id) if message.user == bot]


async def follow(office: Office) -> None:
    await Follower(office.services).turn()
    await office.settle()


async def choose(office: Office, user: str, **chosen: Any) -> None:
    """Fill in My notifications."""
    assert (await office.running.people.command(RELEASES, user, "/rollout", "notify")).ok
    await until(lambda: office.running.workspace.screens.modal_stack(user))
    await until(lambda: "own" in json.dumps(office.dialog(user).blocks))
    values = {block: {block: value} for block, value in chosen.items()}
    outcome = await office.running.people.submit(office.dialog(user).id, user, values)
    assert outcome.ok, outcome
    await office.settle()


async def test_an_approval_is_decided_from_home_by_those_who_may(office: Office) -> None:
    await look_at_home(office, JONAS)
    assert "Three things to try" in home(office, JONAS)
    await office.proposed()
    await health.look(office.services)
    office.clock.advance(10)
    assert await Homes(office.services, office.services.clients).turn() == 1, "who looks sees what changed"
    assert f"✋ *{FLAG}* in production: start at 1 %?" in home(office, JONAS)
    assert "✔ Metrics of shop answers" in home(office, JONAS)

    await look_at_home(office, SAM)
    assert "Waiting for you" in home(office, SAM)
    assert "Approve" not in home(office, SAM)
    await look_at_home(office, MIRA)
    assert "Approve" not in home(office, MIRA), "who asked does not decide"

    view = office.running.workspace.screens.homes[JONAS]
    assert (await office.running.people.click_in_view(view.id, "rollout.approve", JONAS)).ok
    await until(lambda: not listening())
    await office.settle()
    assert (await office.view()).phase is Phase.PROGRESSING
    assert "Waiting for you" not in home(office, JONAS)
    assert "▶ *new-checkout* in production · progressing, stage 1" in home(office, JONAS)
    assert f"*{FLAG}* in production: ✔ Approved by <@{JONAS}>." in home(office, JONAS)


async def test_a_link_to_a_rollout_is_shown_to_its_own_workspace(office: Office) -> None:
    view = await office.proposed()
    assert f"{PUBLIC}/rollouts/{view.id}" in await office.rollout(f"status {FLAG}")
    said = office.running.people.say(RELEASES, "sam", f"look: {PUBLIC}/rollouts/{view.id} and {PUBLIC}/rollouts/x")
    await until(lambda: said.attachments)
    [shown] = said.attachments
    assert shown["from_url"].endswith(view.id)
    assert f"*{FLAG}* in production · plan proposed" in json.dumps(shown, ensure_ascii=False)

    app = build_http(office.services, Scheduler(office.clock), None)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC) as browser:
        answer = await browser.get(f"/rollouts/{view.id}")
    assert answer.status_code == 302
    assert answer.headers["location"].endswith(f"/archives/{RELEASES}/p{office.card().ts.replace('.', '')}")

    async with office.services.database.write() as session:
        await session.execute(update(Rollout).values(workspace="TELSEWHERE"))
    other = office.running.people.say(RELEASES, "sam", f"and {PUBLIC}/rollouts/{view.id}?again")
    await until(lambda: not listening())
    await office.settle()
    assert not other.attachments


async def test_quiet_hours_hold_what_can_wait_and_no_rollback(office: Office) -> None:
    await follow(office)
    always = {"quiet_from": "00:00", "quiet_to": "00:00", "quiet_days": [str(day) for day in range(7)]}
    never = {"quiet_from": None, "quiet_to": None, "quiet_days": []}
    await choose(office, JONAS, approvals="on", own="nothing", **always)
    await choose(office, MIRA, approvals="on", own="everything", **always)
    await office.proposed()
    assert direct(office, JONAS) == []
    await choose(office, JONAS, approvals="on", own="nothing", **never)
    assert "waits for your answer: start at 1 %?" in direct(office, JONAS)[0]

    await office.press("approve")
    await follow(office)
    assert direct(office, MIRA) == [], "a start can wait"
    await office.live(40, rate=BAD)
    assert (await office.view()).phase is Phase.ROLLED_BACK
    await follow(office)
    told = direct(office, MIRA)
    assert len(told) == 1
    assert "started it at 1 %" in told[0], "what was held is told along"
    assert "rolling it back" in told[0]


async def test_alerts_go_to_the_channel_of_their_kind(tmp_path: Path, blank: Path) -> None:
    route = RouteSettings.model_validate(
        {"environment": "production", "channel": ALERTS, "quiet": {"from": "13:00", "to": "14:00"}}
    )
    async with (
        running_workspace() as running,
        open_office(tmp_path, running, blank, slack={"route": (route,)}) as office,
    ):
        await follow(office)
        await office.proposed()
        await follow(office)
        [asked] = [readable(one) for one in office.messages(ALERTS)]
        assert f"*{FLAG}* in production: ✋ Please decide: start at 1 %?" in asked
        assert "Open its card" in asked
        await office.press("approve")
        office.clock.at = office.clock.at.replace(hour=13, minute=1)
        await office.live(40, rate=BAD)
        await follow(office)
        assert any("rolling it back" in readable(one) for one in office.messages(ALERTS))


async def test_each_flag_has_its_channel_by_environment_and_tags(tmp_path: Path, blank: Path) -> None:
    """The first route that is meant for a flag counts, for its alerts and for cards that no channel asked for."""
    routes = [
        {"environment": "staging", "channel": RELEASES},
        {"tags": ["Payments"], "channel": PAYMENTS},
        {"environment": "production", "channel": ALERTS},
    ]
    slack = {"route": tuple(map(RouteSettings.model_validate, routes))}
    async with running_workspace() as running, open_office(tmp_path, running, blank, slack=slack) as office:
        await follow(office)
        spec = tmp_path / "specs" / f"{FLAG}.md"
        tagged = spec.read_text().replace("owner:", "tags: [payments]\nowner:")
        for channel, text in ((ALERTS, spec.read_text()), (PAYMENTS, tagged)):
            spec.write_text(text)
            said = {room: len(office.messages(room)) for room in (ALERTS, PAYMENTS)}
            view = await office.proposed()
            await follow(office)
            [asked] = office.messages(channel)[said[channel] :]
            assert f"*{FLAG}* in production: ✋ Please decide" in readable(asked)
            elsewhere = ({ALERTS, PAYMENTS} - {channel}).pop()
            assert len(office.messages(elsewhere)) == said[elsewhere]
            await office.services.rollouts.cancel(view.id, actor=MIRA, reason="only looking")
            await office.settle()
            office.running.workspace.erase(office.cards()[0])

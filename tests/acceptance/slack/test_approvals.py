"""Approvals by user groups: who may answer, when they hear of it, and what becomes of a question that stays open."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.notifier import Notifier
from bot.workspace import running_workspace
from bot.workspace.blocks import check_message_blocks
from bot.workspace.records import Message
from tests.acceptance.slack.office import (
    AIKO,
    ENVIRONMENT,
    FLAG,
    JONAS,
    MIRA,
    RELEASES,
    SAM,
    Office,
    open_office,
    readable,
    until,
)
from tools.flags.base import FlagRef
from tools.plans.model import Exposure
from tools.plans.policy import ApprovalRule, Freeze
from tools.rollouts.phases import Phase

GROUP, ONCALL = "SAPPROVER", "SONCALL00"


@pytest.fixture(params=[{}])
async def office(request: pytest.FixtureRequest, tmp_path: Path, blank: Path) -> AsyncIterator[Office]:
    """Approvals take one of the group's members; on call is a group of Sam's, which stands in."""
    policy = {"approvers": (GROUP,), "backup": (ONCALL,)} | request.param
    async with (
        running_workspace() as running,
        open_office(tmp_path, running, blank, policy=policy) as opened,
    ):
        put(opened, GROUP, JONAS, AIKO, MIRA)
        opened.running.workspace.groups[ONCALL] = replace(
            opened.running.workspace.groups[GROUP], id=ONCALL, handle="oncall", members=(SAM,)
        )
        yield opened


TWO_OF_GROUP: dict[str, Any] = {
    "approval": (ApprovalRule(environments=(ENVIRONMENT,), approvers=(GROUP,), needed=2, backup=(ONCALL,)),)
}


def put(office: Office, group: str, *members: str) -> None:
    """Slack's group consists of these people from now on."""
    groups = office.running.workspace.groups
    groups[group] = replace(groups[group], members=members)


def directs(office: Office, user: str) -> list[Message]:
    """What the person was written directly."""
    workspace = office.running.workspace
    found = [
        channel
        for channel in workspace.channels.values()
        if channel.kind == "im" and user in channel.members and workspace.settings.bot_user_id in channel.members
    ]
    return [message for channel in found for message in workspace.visible_messages(channel)]


async def tick(office: Office, hours: float) -> None:
    office.clock.advance(hours * 3600)
    await office.services.controller.tick()
    await office.settle()


async def test_a_member_of_the_group_approves_and_whoever_left_it_does_not(office: Office) -> None:
    await office.proposed()
    put(office, GROUP, AIKO)
    assert "not on the list of approvers" in (await office.press("approve", user=JONAS) or "")
    put(office, GROUP, AIKO, JONAS)
    assert await office.press("approve", user=JONAS) is None
    assert (await office.view()).phase is Phase.PROGRESSING


async def test_members_who_asked_can_not_approve_through_the_group(office: Office) -> None:
    await office.proposed()
    assert "You asked for this" in (await office.press("approve", user=MIRA) or "")
    assert await office.press("reject", user=MIRA) is None
    assert "You asked for this" in str(office.dialog(MIRA).blocks)


async def test_authors_of_any_version_can_not_approve_through_the_group(office: Office) -> None:
    await office.proposed()
    await office.rollout(f"plan {FLAG} --strategy full", user=JONAS)
    seen = office.running.workspace.visible_messages(office.running.workspace.channel(RELEASES), JONAS)
    [asked] = [one for one in seen if one.ephemeral_to == JONAS]
    await office.press("plan_instead", user=JONAS, ts=asked.ts)
    assert (await office.view()).plan_version == 2
    for author in (MIRA, JONAS):
        assert "You asked for this" in (await office.press("approve", user=author) or "")
    assert await office.press("approve", user=AIKO) is None
    assert (await office.view()).phase is Phase.PROGRESSING


async def test_who_wrote_the_spec_is_not_asked_and_can_not_approve(tmp_path: Path, office: Office) -> None:
    spec = tmp_path / "specs" / f"{FLAG}.md"
    spec.write_text(spec.read_text().replace("owner:", f"author: {JONAS}\nowner:"))
    await office.proposed()
    assert directs(office, JONAS) == []
    assert f"<@{JONAS}>" not in office.thread()[0]
    assert "You wrote the spec, so someone else has to approve it." in (await office.press("approve", user=JONAS) or "")
    assert await office.press("approve", user=AIKO) is None
    assert (await office.view()).phase is Phase.PROGRESSING


@pytest.mark.parametrize("office", [TWO_OF_GROUP], indirect=True)
async def test_two_of_the_group_start_it_and_the_card_says_who_and_when(office: Office) -> None:
    await office.proposed()
    assert "*0 of 2 approved* · asked by" in readable(office.card())
    assert await office.press("approve", user=JONAS) is None
    card = readable(office.card())
    assert f"*1 of 2 approved* by <@{JONAS}>, <!date^" in card
    assert "You have already answered this" in (await office.press("approve", user=JONAS) or "")
    assert (await office.view()).phase is Phase.PROPOSED
    assert await office.press("approve", user=AIKO) is None
    assert (await office.view()).phase is Phase.PROGRESSING
    card = readable(office.card())
    assert f"<@{JONAS}> approved (1 of 2)." in card
    assert f"<@{AIKO}> approved (2 of 2)." in card
    check_message_blocks(office.card().blocks, {})


async def test_without_slack_a_vote_is_refused_and_nothing_is_lost(office: Office) -> None:
    await office.proposed()
    office.running.workspace.faults.limit("usergroups.users.list", times=1)
    answer = await office.press("approve", user=JONAS) or ""
    assert f"Slack did not say who is in the user group {GROUP}" in answer
    assert "Your answer was not counted, and nothing is lost." in answer
    view = await office.view()
    assert view.approval is not None
    assert (view.phase, view.approval.by) == (Phase.PROPOSED, ())
    assert await office.press("approve", user=JONAS) is None
    assert (await office.view()).phase is Phase.PROGRESSING


async def test_a_rollback_asks_nobody_who_is_in_a_group(office: Office) -> None:
    await office.started()
    asked = office.running.workspace.call_counts["usergroups.users.list"]
    office.running.workspace.faults.limit("usergroups.users.list", seconds=3600)
    assert await office.press("roll_back", user=SAM) is None
    assert (await office.flag()).exposure.percent == 0
    assert office.running.workspace.call_counts["usergroups.users.list"] == asked


async def test_those_who_can_approve_are_written_directly_and_hear_what_came_of_it(office: Office) -> None:
    await office.proposed()
    assert (directs(office, MIRA), directs(office, SAM)) == ([], []), "neither who asked nor the backup"
    for person in (JONAS, AIKO):
        [message] = directs(office, person)
        assert f"*{FLAG}* in {ENVIRONMENT} waits for your answer: start at 1 %? Asked by <@{MIRA}>" in readable(message)
        assert f"/archives/{RELEASES}/p{office.card().ts.replace('.', '')}|Open its card>" in message.text
    assert await office.press("approve", user=JONAS) is None
    for person in (JONAS, AIKO):
        [message] = directs(office, person)
        assert message.text.startswith(f"✔ Approved by <@{JONAS}> <!date^")
        assert "Nothing is left to do." in message.text


@pytest.mark.parametrize("office", [TWO_OF_GROUP], indirect=True)
async def test_who_has_answered_is_told_that_others_have_to(office: Office) -> None:
    await office.proposed()
    await office.press("approve", user=JONAS)
    [own], [others] = directs(office, JONAS), directs(office, AIKO)
    assert "✔ You approved" in own.text
    assert "1 of 2 approved, so it waits for others." in own.text
    assert "waits for your answer" in others.text


@pytest.mark.parametrize("end", ["reject", "plan", "expire"])
async def test_a_direct_message_is_never_stale(office: Office, end: str) -> None:
    await office.proposed()
    if end == "reject":
        await office.press("reject", user=JONAS)
        await office.submit(office.dialog(JONAS), "not before the sale", user=JONAS)
        said = f"✖ Rejected by <@{JONAS}>"
    elif end == "plan":
        await office.rollout(f"plan {FLAG} --strategy full", user=MIRA)
        said = "✖ No longer asked"
    else:
        await tick(office, 25)
        said = "⏱ Nobody decided in time"
    first, *later = directs(office, AIKO)
    assert first.text.startswith(said)
    assert len(later) == (end == "plan"), "the newer version is a question of its own"


def called(office: Office, user: str) -> list[str]:
    """The lines in the card's thread that mention the person."""
    return [line for line in office.thread() if line.startswith(f"<@{user}>")]


@pytest.mark.parametrize("rejected", [False, True])
async def test_whoever_asked_for_a_start_is_called_when_it_comes_to_nothing(office: Office, rejected: bool) -> None:
    await office.proposed()
    assert called(office, MIRA) == []
    await come_to_nothing(office, rejected=rejected)
    [line] = called(office, MIRA)
    assert ("dropped the plan: The start was rejected: not now" if rejected else "Nobody decided in time") in line
    await tick(office, 1)
    assert called(office, MIRA) == [line]


@pytest.mark.parametrize("rejected", [False, True])
async def test_whoever_asked_for_a_promotion_is_called_when_it_comes_to_nothing(office: Office, rejected: bool) -> None:
    await office.started()
    await office.live(3)
    await office.press("promote", user=MIRA)
    assert called(office, MIRA) == []
    await come_to_nothing(office, rejected=rejected)
    assert (await office.view()).phase is Phase.PAUSED
    [line] = called(office, MIRA)
    assert ("The promotion was rejected: not now" if rejected else "Nobody approved the promotion in time.") in line


async def come_to_nothing(office: Office, *, rejected: bool) -> None:
    if rejected:
        await office.press("reject", user=JONAS)
        assert (await office.submit(office.dialog(JONAS), "not now", user=JONAS)).ok
    else:
        await tick(office, 25)


async def test_nobody_is_written_directly_where_that_is_switched_off(tmp_path: Path, blank: Path) -> None:
    async with (
        running_workspace() as running,
        open_office(tmp_path, running, blank, slack={"direct_messages": False}) as office,
    ):
        await office.proposed()
        assert directs(office, JONAS) == []
        assert f"<@{JONAS}>" in office.thread()[0]


async def test_guests_in_the_group_are_not_asked_and_where_too_few_are_left_it_is_said(office: Office) -> None:
    users = office.running.workspace.users
    users[JONAS] = replace(users[JONAS], guest_of="many")
    await office.proposed()
    assert directs(office, JONAS) == []
    assert len(directs(office, AIKO)) == 1
    assert f"<@{JONAS}>" not in office.thread()[0]
    users[AIKO] = replace(users[AIKO], guest_of="many")
    await tick(office, 12.1)
    [reminder] = [line for line in office.thread() if "Still open" in line]
    assert reminder.startswith("⏱ Still open, 0 of 1 approved")
    assert "Nobody can answer it now, for guests and people of other organisations can't: add approvers" in reminder


async def test_people_are_reminded_once_and_then_the_backup_is_asked_once(office: Office) -> None:
    await office.proposed()
    await tick(office, 11.9)
    assert not [line for line in office.thread() if "Still open" in line]
    await tick(office, 0.2)
    await tick(office, 0.2)
    [reminder] = [line for line in office.thread() if "Still open" in line]
    assert reminder.startswith(f"<@{AIKO}> <@{JONAS}> ⏱ Still open, 0 of 1 approved: start at 1 %?")
    assert "stand in as a backup" in (await office.press("approve", user=SAM) or "")
    # Another process takes over: what was said is in the rows.
    await office.notifier.close()
    office.notifier = Notifier(office.services, office.services.clients)
    await tick(office, 6)
    await tick(office, 1)
    _, escalation = [line for line in office.thread() if "Still open" in line]
    assert escalation.startswith(f"<@{SAM}> ⏱ Still open")
    assert "The backup approvers may decide too" in escalation
    assert "The backup approvers may decide too, since <!date^" in readable(office.card())
    [message] = directs(office, SAM)
    assert "you may answer as a backup" in message.text
    assert await office.press("approve", user=SAM) is None
    assert (await office.view()).phase is Phase.PROGRESSING
    assert f"Approved by <@{SAM}>" in directs(office, JONAS)[0].text
    kinds = [event.kind for event in await office.events()]
    assert (kinds.count("approval.reminded"), kinds.count("approval.escalated")) == (1, 1)


async def test_what_came_due_while_slack_was_away_is_one_line(office: Office) -> None:
    await office.proposed()
    office.running.workspace.faults.begin_outage()
    await tick_offline(office, 13)
    await tick_offline(office, 6)
    office.running.workspace.faults.end_outage()
    office.clock.advance(60)
    await office.settle()
    [line] = [line for line in office.thread() if "Still open" in line]
    assert "The backup approvers may decide too" in line


async def test_nobody_is_reminded_of_what_was_answered_meanwhile(office: Office) -> None:
    view = await office.proposed()
    assert view.approval is not None
    office.running.workspace.faults.limit("chat.postMessage", seconds=3600)
    await tick_offline(office, 13)
    await office.services.rollouts.approve(view.approval.id, actor=JONAS)
    office.running.workspace.faults.clear()
    office.clock.advance(60)
    await office.settle()
    assert not [line for line in office.thread() if "Still open" in line]


async def tick_offline(office: Office, hours: float) -> None:
    office.clock.advance(hours * 3600)
    await office.services.controller.tick()
    await office.notifier.deliver_due()


async def test_what_is_served_already_is_said_where_people_approve_a_start(office: Office) -> None:
    flag = await office.flag()
    await office.services.flags.write(FlagRef(FLAG, ENVIRONMENT), Exposure(percent=0.5), expected=flag.version)
    await office.proposed()
    assert "Not started: served as before, 0.5 %" in readable(office.card())
    assert "start, from 0.5 % to 1 %" in readable(office.card())
    assert "Please decide: start at 1 %, from 0.5 %?" in office.thread()[0]
    assert "Not started: served as before, 0.5 %" in await office.rollout("list")
    await office.rollout(f"rollback {FLAG}")
    assert "it served 0.5 % when people were last asked" in readable(office.card())


async def test_a_change_by_hand_before_the_start_voids_the_question_at_once(office: Office) -> None:
    view = await office.proposed()
    assert view.approval is not None
    flag = await office.flag()
    await office.services.flags.write(FlagRef(FLAG, ENVIRONMENT), Exposure(percent=0.5), expected=flag.version)
    await tick(office, 30 / 3600)
    assert office.buttons() == ["start", "edit", "cancel"]
    assert "changed by hand from 0 % to 0.5 %" in office.thread()[-1]
    assert directs(office, JONAS)[0].text.startswith("✖ No longer asked")
    assert "changed by hand" in directs(office, JONAS)[0].text


async def test_a_vote_on_what_was_changed_by_hand_since_the_last_look_is_refused_and_says_why(office: Office) -> None:
    await office.proposed()
    flag = await office.flag()
    await office.services.flags.write(FlagRef(FLAG, ENVIRONMENT), Exposure(percent=0.5), expected=flag.version)
    said = await office.press("approve", user=JONAS) or ""
    assert said == (
        "This is no longer asked: The flag was changed by hand from 0 % to 0.5 %. The rollout's card shows what can be "
        "done now."
    )
    assert office.buttons() == ["start", "edit", "cancel"]
    assert (await office.flag()).exposure.percent == 0.5


async def test_a_vote_for_a_promotion_of_what_was_changed_by_hand_is_refused_and_nothing_goes_up(
    office: Office,
) -> None:
    await office.started()
    await office.live(1)
    await office.press("promote", user=MIRA)
    assert (await office.view()).phase is Phase.WAITING_PROMOTION
    flag = await office.flag()
    await office.services.flags.write(FlagRef(FLAG, ENVIRONMENT), Exposure(percent=0.5), expected=flag.version)
    said = await office.press("approve", user=JONAS) or ""
    assert "This is no longer asked: The flag was changed by hand from 1 % to 0.5 %." in said
    assert (await office.flag()).exposure.percent == 0.5
    assert "promoted it" not in "\n".join(office.thread())
    assert "approve" not in office.buttons()
    assert directs(office, AIKO)[-1].text.startswith("✖ No longer asked")
    assert "goes from 0.5 % to 1 %. An approver decides" in str(office.card().blocks)


FROM = timedelta(hours=1)


@pytest.mark.parametrize("office", [{"freezes": ()}], indirect=True)
async def test_a_freeze_that_begins_voids_the_question_about_a_start(office: Office) -> None:
    await office.proposed()
    begin = office.clock.now() + FROM
    freeze = Freeze(name="sale", start=begin, end=begin + FROM)
    policy = office.services.settings.policy.model_copy(update={"freezes": (freeze,)})
    for part in (office.services.controller, office.services.rollouts):
        part._policy = policy
    card, older = office.card(), [dict(block) for block in office.card().blocks]
    await tick(office, 1.01)
    assert office.buttons() == ["edit", "cancel"]
    assert "The freeze 'sale' lasts until <!date^" in office.thread()[-1]
    card.blocks = older
    assert "This is no longer asked: The freeze 'sale' lasts until" in (await office.press("approve", user=JONAS) or "")


async def test_the_card_of_a_question_is_posted_before_anybody_is_sent_to_it(office: Office) -> None:
    office.running.workspace.faults.duplicate(4)
    await office.rollout(f"plan {FLAG}")
    await until(office.cards)
    await office.settle()
    [message] = directs(office, JONAS)
    assert "Open its card" in message.text

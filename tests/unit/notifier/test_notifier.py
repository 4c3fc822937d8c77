"""Every message arrives, in order, at the pace that Slack takes, and trouble with one is no trouble for another."""

import asyncio
import json
from dataclasses import replace
from datetime import time

import pytest
from sqlalchemy import delete, select, update

from bot.notifier import AT_ONCE, ATTEMPTS_OF_A_FAULT
from bot.pacing import Pace
from bot.preferences import Preferences, keep
from bot.quiet import QuietHours
from bot.telling import Teller
from tests.unit.notifier.desk import Desk, told
from tests.unit.notifier.slack import NO_ANSWER, refusal
from tests.unit.rollouts.world import AIKO, JONAS, MIRA, make_plan, stage
from tools.people.memory import MemoryPeople
from tools.records.models import Conversation, GateCheck, OutboxMessage
from tools.records.outbox import Kind, Status
from tools.rollouts.events import Happening, refresh_card
from tools.rollouts.service import RolloutService
from tools.rollouts.store import load


async def renew_card(desk: Desk, rollout_id: str, *, urgent: bool = False) -> None:
    async with desk.services.database.write() as session:
        rollout = await load(session, rollout_id)
        await refresh_card(session, rollout, at=desk.world.clock.now(), urgent=urgent)


async def test_the_card_comes_first_and_starts_the_thread(desk: Desk) -> None:
    view = await desk.rollout()
    assert await desk.deliver() == 2
    card, question = desk.slack.taken
    assert (card.channel, card.thread_ts) == ("C1", None)
    assert card.blocks[0]["type"] == "header"
    assert (question.thread_ts, question.broadcast) == (card.ts, True)
    place = (await desk.services.rollouts.get(view.id)).place
    assert place is not None
    assert (place.card_ts, place.thread_ts) == (card.ts, card.ts)
    assert await desk.statuses() == [Status.DELIVERED, Status.DELIVERED]


async def test_a_card_says_when_the_gate_should_have_its_verdict(desk: Desk) -> None:
    view = await desk.world.started(make_plan(stage(5, bake=300), stage(25), stage(100)))
    await desk.world.live(view.id, 12)
    await desk.deliver()
    shown = json.dumps([said.blocks for said in desk.slack.taken if said.blocks][-1], ensure_ascii=False)
    assert "⏱ At this pace the gate passes in about 3\xa0min" in shown


async def test_a_card_comes_though_nobody_can_tell_when_the_verdict_does(desk: Desk) -> None:
    view = await desk.world.started(make_plan(stage(5, bake=300), stage(25), stage(100)))
    await desk.world.live(view.id, 3)
    async with desk.services.database.write() as session:
        oldest = await session.scalar(select(GateCheck.id).order_by(GateCheck.at).limit(1))
        await session.execute(update(GateCheck).where(GateCheck.id == oldest).values(inputs={"damaged": True}))
    await desk.deliver()
    shown = [said.blocks for said in desk.slack.taken if said.blocks][-1]
    assert "⏱" not in json.dumps(shown, ensure_ascii=False)
    assert set(await desk.statuses()) == {Status.DELIVERED}


async def test_a_note_before_any_card_posts_the_card(desk: Desk) -> None:
    view = await desk.rollout()
    async with desk.services.database.write() as session:
        await session.execute(delete(OutboxMessage))
    await desk.note(view, "seen")
    await desk.deliver()
    assert [said.blocks != [] for said in desk.slack.taken] == [True, False]
    assert desk.slack.taken[1].thread_ts == desk.slack.taken[0].ts


async def test_a_card_that_was_posted_before_the_process_died_is_found_again(desk: Desk) -> None:
    view = await desk.rollout()
    await desk.deliver()
    async with desk.services.database.write() as session:
        await session.execute(update(Conversation).values(card_ts=None, thread_ts=None))
    await renew_card(desk, view.id)
    await desk.deliver()
    [card] = [said for said in desk.slack.of("post") if said.blocks]
    assert [said.ts for said in desk.slack.of("update")] == [card.ts]
    place = (await desk.services.rollouts.get(view.id)).place
    assert place is not None
    assert (place.card_ts, place.thread_ts) == (card.ts, card.ts)


async def test_a_new_card_calls_nobody_and_its_edits_mention_people_as_slack_shows_them(desk: Desk) -> None:
    view = await desk.rollout()
    await desk.deliver()
    posted = desk.slack.taken[0]
    assert "<@" not in json.dumps(posted.blocks) + posted.text
    assert "Asked for by Mira" in json.dumps(posted.blocks)
    await renew_card(desk, view.id)
    await desk.deliver()
    [edited] = desk.slack.of("update")
    assert f"Asked for by <@{MIRA}>" in json.dumps(edited.blocks)


async def test_quiet_hours_hold_mentions_but_of_pages(desk: Desk) -> None:
    quiet = Preferences(quiet=QuietHours(time(0), time(0)))
    async with desk.services.database.write() as session:
        for person in (MIRA, JONAS):
            await keep(session, "", person, quiet, at=desk.world.clock.now())
    view = await desk.rollout()
    await desk.deliver()
    asked = desk.slack.taken[1].text
    assert f"<@{AIKO}>" in asked
    assert f"<@{JONAS}>" not in asked
    assert "Jonas" in asked, "who is asked is said all the same"
    await desk.put(
        Kind.ALERT,
        f"rollout:{view.id}",
        rollout_id=view.id,
        payload=told(Happening.ROLLBACK_STARTED, before="5 %", target="0 %", reason="r"),
    )
    await desk.deliver(seconds=1)
    assert desk.slack.taken[-1].text.startswith(f"<@{MIRA}> ")


@pytest.mark.parametrize("unanswered", [False, True])
async def test_a_promotion_that_nobody_answered_wakes_nobody(desk: Desk, unanswered: bool) -> None:
    quiet = Preferences(quiet=QuietHours(time(0), time(0)))
    async with desk.services.database.write() as session:
        await keep(session, "", MIRA, quiet, at=desk.world.clock.now())
    view = await desk.rollout()
    facts = {"unanswered": True} if unanswered else {}
    payload = told(Happening.PAUSED, reason="r", ends="e", **facts)
    await desk.put(Kind.ALERT, f"rollout:{view.id}", rollout_id=view.id, payload=payload, urgent=True)
    await desk.deliver()
    [said] = [one.text for one in desk.slack.of("post") if "paused it: r" in one.text]
    assert (f"<@{MIRA}>" in said) is not unanswered, "a pause that Sluice saw reason for can't wait"


@pytest.mark.parametrize("code", ["missing_scope", "method_not_supported_for_channel_type"])
async def test_where_the_past_can_not_be_read_the_card_is_posted(desk: Desk, code: str) -> None:
    desk.slack.broken["history"] = refusal(code)
    await desk.rollout()
    await desk.deliver()
    assert len([said for said in desk.slack.of("post") if said.blocks]) == 1


async def test_a_card_and_a_line_at_once_post_one_card(desk: Desk) -> None:
    view = await desk.rollout()
    card, question = await desk.messages()
    teller = Teller(desk.services, desk.slack)

    async def slow() -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    desk.slack.before = slow
    await asyncio.gather(*(teller.tell(message) for message in (question, card, question, card)))
    [posted] = [said for said in desk.slack.of("post") if said.blocks]
    place = (await desk.services.rollouts.get(view.id)).place
    assert place is not None
    assert place.card_ts == posted.ts
    assert [said.thread_ts for said in desk.slack.of("post") if said is not posted] == [posted.ts] * 2
    assert {said.ts for said in desk.slack.of("update")} == {posted.ts}, "who came second shows what is new since"


async def test_edits_that_slack_limits_hold_up_no_alert(desk: Desk) -> None:
    view = await desk.rollout()
    await desk.deliver()
    desk.slack.broken["update"] = refusal("ratelimited", status=429, retry_after=60)
    await renew_card(desk, view.id)
    await desk.deliver()
    await renew_card(desk, view.id, urgent=True)
    await desk.note(view, "fire", urgent=True, kind=Kind.ALERT)
    await desk.deliver(seconds=1)
    assert desk.slack.taken[-1].text.endswith("fire")
    calls = desk.slack.calls
    await desk.deliver(seconds=50)
    assert desk.slack.calls == calls, "Slack asked for a minute"
    desk.slack.broken.clear()
    await desk.deliver(seconds=10)
    assert len(desk.slack.of("update")) == 1


@pytest.mark.parametrize("trouble", [NO_ANSWER, refusal("internal_error"), refusal("no_permission")])
async def test_edits_that_fail_hold_up_no_alert(desk: Desk, trouble: Exception) -> None:
    views = [await desk.rollout(number) for number in range(2 * AT_ONCE)]
    await desk.deliver()
    desk.slack.broken["update"] = trouble
    for view in views:
        await renew_card(desk, view.id)
    await desk.deliver(seconds=10)
    await desk.note(views[0], "fire", urgent=True, kind=Kind.ALERT)
    await desk.deliver()
    assert desk.slack.taken[-1].text.endswith("fire")


async def test_an_edit_that_takes_its_time_holds_up_no_alert(desk: Desk) -> None:
    view, begun, release = await desk.rollout(), asyncio.Event(), asyncio.Event()
    await desk.deliver()
    await renew_card(desk, view.id)

    async def hang() -> None:
        desk.slack.before = None
        begun.set()
        await release.wait()

    desk.slack.before = hang
    editing = asyncio.create_task(desk.notifier.edit_due())
    async with asyncio.timeout(10):
        await begun.wait()
        await desk.note(view, "fire", urgent=True, kind=Kind.ALERT)
        assert await desk.notifier.post_due() == 1
        assert desk.slack.taken[-1].text.endswith("fire")
        release.set()
        assert await editing == 1


async def test_an_urgent_message_wakes_what_was_postponed_before_it(desk: Desk) -> None:
    view = await desk.rollout()
    await desk.deliver()
    desk.slack.closed["C1"] = NO_ANSWER
    await desk.note(view, "late")
    for _ in range(10):
        await desk.deliver(seconds=61)
    desk.slack.closed.clear()
    await desk.deliver(seconds=20)
    assert len(desk.slack.taken) == 2, "it waits"
    await desk.note(view, "fire", urgent=True, kind=Kind.ALERT)
    await desk.deliver()
    [both] = desk.slack.taken[2:]
    assert [line.rpartition(": ")[2] for line in both.text.splitlines()[1:]] == ["late", "fire"]


async def test_what_fails_while_it_becomes_urgent_is_tried_again_at_once(desk: Desk) -> None:
    view = await desk.rollout()
    await desk.deliver()
    await desk.note(view, "late")
    desk.slack.refusals.append(NO_ANSWER)

    async def fire() -> None:
        desk.slack.before = None
        await desk.note(view, "fire", urgent=True, kind=Kind.ALERT)

    desk.slack.before = fire
    await desk.deliver()
    await desk.deliver()
    assert [said.text.rpartition(": ")[2] for said in desk.slack.taken[2:]] == ["late", "fire"]


async def test_a_line_whose_card_is_gone_gets_a_new_card(desk: Desk) -> None:
    view = await desk.rollout()
    await desk.deliver()
    desk.slack.taken.clear()
    await desk.note(view, "after")
    await desk.deliver()
    card, note = desk.slack.taken
    assert card.blocks
    assert note.thread_ts == card.ts


async def test_a_card_is_edited_once_for_many_changes(desk: Desk) -> None:
    view = await desk.rollout()
    await desk.deliver()
    for _ in range(5):
        await renew_card(desk, view.id)
    await desk.deliver()
    [edit] = desk.slack.of("update")
    assert edit.ts == desk.slack.taken[0].ts


async def test_a_change_during_a_delivery_is_delivered_too(desk: Desk) -> None:
    view = await desk.rollout()
    await desk.deliver()
    await renew_card(desk, view.id)

    async def changed_meanwhile() -> None:
        desk.slack.before = None
        await renew_card(desk, view.id)

    desk.slack.before = changed_meanwhile
    await desk.deliver()
    assert len(desk.slack.of("update")) == 2
    assert set(await desk.statuses()) == {Status.DELIVERED}


async def test_those_who_can_answer_are_mentioned_and_the_requester_is_not(desk: Desk) -> None:
    await desk.rollout()
    await desk.deliver()
    assert desk.slack.taken[1].text.startswith(f"<@{JONAS}> <@{AIKO}> ✋ Please decide: start at 5 %?")


async def test_an_alert_mentions_who_asked_and_a_stuck_rollback_everybody(desk: Desk) -> None:
    view = await desk.rollout()
    for what in (Happening.METRICS_BLIND, Happening.ROLLBACK_STUCK):
        await desk.put(Kind.ALERT, f"rollout:{view.id}", rollout_id=view.id, payload=told(what, reason="r", error="e"))
    await desk.deliver()
    blind, stuck = [said.text for said in desk.slack.taken[2:]]
    assert blind == f"<@{MIRA}> ⚠ The gate is blind: r"
    assert stuck.startswith(f"<@{MIRA}> <@{JONAS}> <@{AIKO}> ⚠ The rollback has not worked")


async def test_whoever_did_something_is_named_and_called_by_nothing(desk: Desk) -> None:
    view = await desk.rollout()
    assert view.approval is not None
    await desk.services.rollouts.approve(view.approval.id, actor=JONAS)
    await desk.services.rollouts.pause(view.id, actor=AIKO, reason="lunch")
    desk.slack.broken["names"] = refusal("user_not_found")
    await desk.deliver()
    assert any(f"⏸ <@{AIKO}> paused it" in said.text for said in desk.slack.of("post")), "Slack did not say the name"
    del desk.slack.broken["names"]
    await desk.services.rollouts.roll_back(view.id, actor=MIRA, reason="fire")
    await desk.deliver()
    said = [said.text for said in desk.slack.of("post") if "rolling it back" in said.text]
    assert said[0].startswith("◀ Mira is rolling it back"), "who asked did it, and need not be called"
    await desk.deliver(3600)


async def test_who_asked_on_the_command_line_is_stood_in_for_by_approvers(desk: Desk) -> None:
    view = await desk.rollout(requester="cli:sam")
    for what in (Happening.METRICS_BLIND, Happening.ROLLBACK_STUCK):
        await desk.put(Kind.ALERT, f"rollout:{view.id}", rollout_id=view.id, payload=told(what, reason="r", error="e"))
    await desk.deliver()
    for said in desk.slack.taken[2:]:
        assert said.text.startswith(f"<@{MIRA}> <@{JONAS}> <@{AIKO}> ⚠ The"), "those who may approve"


@pytest.mark.parametrize(
    ("requester", "called"), [("cli:sam", ""), (MIRA, f"<@{MIRA}> ")], ids=["command line", "Slack"]
)
async def test_of_a_question_that_came_to_nothing_nobody_hears_but_who_asked(
    desk: Desk, requester: str, called: str
) -> None:
    view = await desk.rollout(requester=requester)
    await desk.deliver()
    before = len(desk.slack.taken)
    ends = [
        told(Happening.CANCELLED, reason="rejected") | {"actor": JONAS},
        told(Happening.PAUSED, reason="rejected", ends="Resume.") | {"actor": JONAS},
        told(Happening.PAUSED, reason="nobody answered", ends="Resume.", unanswered=True),
        told(Happening.APPROVAL_EXPIRED),
    ]
    for payload in ends:
        await desk.put(Kind.ALERT, f"rollout:{view.id}", rollout_id=view.id, payload=payload)
        await desk.deliver(seconds=1)
    said = [one.text for one in desk.slack.taken[before:] if one.thread_ts is not None]
    assert len(said) == len(ends)
    for text in said:
        assert text.startswith(called)
        assert text.count("<@") == len(called[:1])


async def test_an_alert_without_a_rollout_goes_to_the_alerts_channel(desk: Desk) -> None:
    payload = told(Happening.KILLED, flag="old`flag", environment="<!here>")
    await desk.put(Kind.ALERT, payload=payload)
    await desk.deliver()
    [alert] = desk.slack.taken
    assert (alert.channel, alert.thread_ts) == ("CALERTS", None)
    assert alert.text == "*old´flag* in &lt;!here&gt;: ↩ old`flag in &lt;!here&gt; is at 0 % for everyone."


async def test_without_an_alerts_channel_the_releases_channel_hears_it_or_the_error_says_what_to_set(
    desk: Desk,
) -> None:
    await desk.put(Kind.ALERT, payload=told(Happening.KILLED, flag="f", environment="e"))
    other = desk.with_slack(releases_channel="CRELEASES")
    await other.deliver()
    assert desk.slack.taken[0].channel == "CRELEASES"
    await desk.put(Kind.ALERT, payload=told(Happening.KILLED, flag="f", environment="e"))
    nowhere = desk.with_slack()
    await nowhere.deliver(seconds=60)
    failed = (await desk.messages())[-1]
    assert (failed.status, failed.error) == (
        Status.FAILED,
        "There is no channel for alerts: set SLUICE_SLACK_ALERTS_CHANNEL.",
    )


async def test_a_direct_message_reaches_one_person(desk: Desk) -> None:
    await desk.put(Kind.DIRECT, payload={"person": MIRA, "text": "only you"})
    await desk.deliver()
    assert [(said.channel, said.text) for said in desk.slack.taken] == [(MIRA, "only you")]


async def test_slack_is_waited_for_as_long_as_it_asks_and_other_channels_are_not(desk: Desk) -> None:
    one, other = await desk.rollout(1, "C1"), await desk.rollout(2, "C2")
    await desk.deliver()
    desk.slack.refusals.append(refusal("ratelimited", status=429, retry_after=30))
    await desk.note(one, "held")
    await desk.deliver()
    await desk.note(other, "free")
    await desk.deliver(seconds=29)
    assert [said.text for said in desk.slack.taken[4:]] == ["✔ The gate sees again: free"]
    await desk.deliver(seconds=2)
    assert desk.slack.taken[-1].text == "✔ The gate sees again: held"


@pytest.mark.parametrize("trouble", [NO_ANSWER, TimeoutError(), refusal("", status=503), refusal("internal_error")])
async def test_trouble_is_waited_out_longer_and_longer_and_nothing_is_lost(desk: Desk, trouble: Exception) -> None:
    view = await desk.rollout()
    await desk.deliver()
    await desk.note(view, "late")
    desk.slack.closed["C1"] = trouble
    waits, before = [], desk.world.clock.now()
    for _ in range(12):
        calls = desk.slack.calls
        while desk.slack.calls == calls:
            await desk.deliver(seconds=0.5)
        waits.append((desk.world.clock.now() - before).total_seconds())
        before = desk.world.clock.now()
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(60, abs=1)
    desk.slack.closed.clear()
    await desk.deliver(seconds=61)
    assert desk.slack.taken[-1].text == "✔ The gate sees again: late"


async def test_an_urgent_message_is_tried_again_sooner(desk: Desk) -> None:
    view = await desk.rollout()
    await desk.deliver()
    await desk.note(view, "fire", urgent=True)
    desk.slack.closed["C1"] = NO_ANSWER
    for _ in range(20):
        await desk.deliver(seconds=10.5)
    [message] = [message for message in await desk.messages() if message.status == Status.OPEN]
    assert message.attempts == 20


async def test_while_slack_is_away_it_is_asked_seldom(desk: Desk) -> None:
    for number in range(24):
        await desk.rollout(number)
    desk.slack.closed["C1"] = NO_ANSWER
    await desk.deliver()
    assert desk.slack.calls <= 2 * AT_ONCE
    desk.slack.closed.clear()
    await desk.deliver(seconds=60)
    await desk.deliver(seconds=60)
    assert set(await desk.statuses()) == {Status.DELIVERED}
    assert len(desk.slack.taken) == 48


async def test_what_slack_refuses_for_good_is_closed_and_the_rest_goes_on(desk: Desk) -> None:
    await desk.rollout(1, "CGONE")
    await desk.rollout(2, "C2")
    desk.slack.closed["CGONE"] = refusal("not_in_channel")
    await desk.deliver()
    messages = await desk.messages()
    assert [(message.status, message.error) for message in messages if message.status == Status.FAILED] == [
        (Status.FAILED, "Slack refused it: not_in_channel.")
    ]
    assert sorted(said.channel for said in desk.slack.taken) == ["C2", "C2", "CALERTS"]
    [moved] = [said.text for said in desk.slack.taken if said.channel == "CALERTS"]
    assert moved.startswith(f"<@{JONAS}> <@{AIKO}> *flag-1* in production: ✋ Please decide")


async def test_a_wrong_token_loses_nothing(desk: Desk) -> None:
    await desk.rollout()
    desk.slack.refusals.append(refusal("invalid_auth"))
    await desk.deliver()
    await desk.deliver(seconds=10)
    assert desk.slack.calls == 1, "nothing else is tried with that token for a while"
    await desk.deliver(seconds=60)
    assert await desk.statuses() == [Status.DELIVERED, Status.DELIVERED]


async def test_a_card_that_is_gone_is_posted_anew_and_the_thread_goes_on_there(desk: Desk) -> None:
    view = await desk.rollout()
    await desk.deliver()
    desk.slack.taken.clear()
    await renew_card(desk, view.id)
    await desk.note(view, "after")
    await desk.deliver()
    card, note = desk.slack.taken
    assert card.blocks
    assert note.thread_ts == card.ts


async def test_the_pace_of_each_channel_is_kept_and_none_waits_for_another(desk: Desk) -> None:
    desk.notifier = desk.another(pace=Pace(messages_per_second=1, message_burst=3))
    for number in range(20):
        await desk.rollout(number, "CBUSY")
    quiet = await desk.rollout(20, "CQUIET")
    await desk.note(quiet, "hello")
    await desk.deliver()
    assert [said.channel for said in desk.slack.taken].count("CBUSY") == 1, "no burst where many wait"
    assert [said.channel for said in desk.slack.taken].count("CQUIET") == 3
    for seconds in range(1, 6):
        await desk.deliver(seconds=1)
        assert [said.channel for said in desk.slack.taken].count("CBUSY") == 1 + seconds


async def test_urgent_messages_go_first(desk: Desk) -> None:
    views = [await desk.rollout(number) for number in range(5)]
    await desk.deliver()
    desk.notifier = desk.another(pace=Pace(edits_per_second=0.001, edit_burst=1))
    for view in views:
        await renew_card(desk, view.id, urgent=view is views[3])
    await desk.deliver(seconds=60)
    place = (await desk.services.rollouts.get(views[3].id)).place
    assert place is not None
    assert [edit.ts for edit in desk.slack.of("update")] == [place.card_ts]


async def test_what_stands_before_an_urgent_message_goes_ahead_with_it(desk: Desk) -> None:
    views = [await desk.rollout(number) for number in range(4)]
    await desk.deliver()
    desk.notifier = desk.another(owner=desk.notifier.owner, pace=Pace(messages_per_second=1, message_burst=2))
    for view in views:
        await desk.note(view, f"of {view.flag}")
    await desk.note(views[3], "fire", urgent=True)
    await desk.deliver()
    await desk.deliver(seconds=1)
    assert [said.text.rpartition(": ")[2] for said in desk.slack.taken[8:]] == ["of flag-3", "fire"]


async def test_only_one_process_delivers_until_its_lease_runs_out(desk: Desk) -> None:
    view = await desk.rollout()
    await desk.deliver()
    other = desk.another(owner="other")
    await desk.note(view, "one")
    assert await other.deliver_due() == 0
    assert await desk.deliver() == 1
    await desk.note(view, "two")
    desk.world.clock.advance(desk.services.settings.scheduler.lease.total_seconds() + 1)
    assert await other.deliver_due() == 1
    await desk.note(view, "three")
    assert await desk.deliver() == 0
    await other.close()
    assert await desk.deliver() == 1
    assert [said.text[-5:].strip() for said in desk.slack.taken[2:]] == [": one", ": two", "three"]


async def test_a_message_that_can_not_be_said_is_given_up_and_blocks_nobody(desk: Desk) -> None:
    view = await desk.rollout()
    await desk.put(Kind.ALERT, "odd", payload={"what": "no.such.thing", "actor": "a", "facts": {}})
    for _ in range(ATTEMPTS_OF_A_FAULT):
        await desk.deliver(seconds=60)
    odd = next(message for message in await desk.messages() if message.lane == "odd")
    assert odd.status == Status.FAILED
    assert odd.error is not None
    assert "the log has it under" in odd.error
    assert (await desk.services.rollouts.get(view.id)).place is not None
    assert len(desk.slack.taken) == 2


async def test_many_lanes_are_delivered_side_by_side(desk: Desk) -> None:
    for number in range(30):
        await desk.rollout(number, f"C{number}")
    under_way = most = 0

    async def slow() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(200):
            if most > 1:
                break
            await asyncio.sleep(0)
        under_way -= 1

    desk.slack.before = slow
    await desk.deliver()
    assert 1 < most <= AT_ONCE
    assert len(desk.slack.taken) == 60


class Forgetful(MemoryPeople):
    """Nobody can say who is in a group, the first few times."""

    def __init__(self, failures: int) -> None:
        super().__init__({"SRELEASE": (JONAS, AIKO)})
        self._left = failures

    async def members(self, group: str, *, workspace: str = "") -> frozenset[str]:
        self.away = self._left > 0
        self._left -= 1
        return await super().members(group, workspace=workspace)


@pytest.mark.parametrize(
    ("failures", "mentioned"),
    [(0, f"<@{AIKO}> <@{JONAS}>"), (2, f"<@{AIKO}> <@{JONAS}>"), (99, "<!subteam^SRELEASE>")],
)
async def test_a_question_to_a_group_is_asked_also_when_nobody_can_say_who_is_in_it(
    desk: Desk, failures: int, mentioned: str
) -> None:
    policy = desk.services.settings.policy.model_copy(update={"approvers": ("SRELEASE",)})
    settings = desk.services.settings.model_copy(update={"policy": policy})
    world = desk.world
    # One failure is taken by the plan itself, which is made all the same.
    rollouts = RolloutService(world.database, world.flags, policy, world.clock, people=Forgetful(failures + 1))
    desk.services = replace(desk.services, settings=settings, rollouts=rollouts)
    desk.notifier = desk.another()
    await desk.rollout()
    for _ in range(6):
        await desk.deliver(60)
    [question] = [said for said in desk.slack.taken if "Please decide" in said.text]
    assert question.text.startswith(f"{mentioned} ✋ Please decide")
    assert set(await desk.statuses()) == {Status.DELIVERED}

"""What arrives at people, and when, while Slack duplicates, limits or is away."""

import asyncio
from datetime import timedelta

from sqlalchemy import func, select

from bot.notifier import Notifier
from tests.acceptance.slack.office import FLAG, JONAS, MIRA, SAM, Office, readable, until
from tools.records.models import Delivery
from tools.records.outbox import Status
from tools.rollouts.phases import Phase
from tools.rollouts.service import Place


async def test_the_card_is_one_message_edited_in_place(office: Office) -> None:
    await office.started()
    ts = office.card().ts
    [started] = [one.text for one in office.messages() if "started it" in one.text]
    assert "at 1\N{NO-BREAK SPACE}%" in started, "no line breaks within a number"
    for _ in range(6):
        await office.live(1)
    assert office.card().ts == ts
    assert office.card().edited_ts is None, "an edit with blocks leaves no mark"
    assert office.running.workspace.call_counts["chat.update"] >= 6


async def test_four_copies_of_everything_are_harmless(office: Office) -> None:
    office.running.workspace.faults.duplicate(4)
    await office.rollout(f"plan {FLAG}")
    await until(office.cards)
    assert await office.press("approve", user=JONAS) is None
    assert await office.press("pause", user=SAM) is None
    assert (await office.submit(office.dialog(SAM), "lunch", user=SAM)).ok
    answers = office.private(MIRA)
    assert len(answers) == 1
    assert len(office.cards()) == 1
    assert office.private(SAM) == []
    kinds = [event.kind for event in await office.events()]
    for kind in ("plan.proposed", "approval.requested", "approval.voted", "rollout.started", "rollout.paused"):
        assert kinds.count(kind) == 1, kinds


async def test_an_outage_delays_what_people_read_and_nothing_else(office: Office) -> None:
    await office.started()
    before = len(office.thread())
    for mode in ("refused", "unavailable"):
        office.running.workspace.faults.begin_outage(mode)  # type: ignore[arg-type]
        assert await office.notifier.deliver_due() == 0
        if mode == "refused":
            view = await office.view()
            await office.services.rollouts.roll_back(view.id, actor=SAM, reason="while Slack is away")
            assert (await office.flag()).exposure.percent == 0
        for _ in range(5):
            office.clock.advance(30)
            assert await office.notifier.deliver_due() == 0
    assert len(office.thread()) == before
    office.running.workspace.faults.end_outage()
    office.clock.advance(120)
    await office.settle()
    lines = office.thread()[before:]
    assert len([line for line in lines if "while Slack is away" in line]) == 1
    assert "↩ *Rolled back*" in readable(office.card())
    assert len(office.cards()) == 1
    assert all(message.status == Status.DELIVERED for message in await office.told())


async def test_many_changes_while_slack_is_away_become_one_edit(office: Office) -> None:
    await office.started()
    office.running.workspace.faults.begin_outage()
    updates = office.running.workspace.call_counts["chat.update"]
    view = await office.view()
    for _ in range(10):
        office.clock.advance(1)
        await office.services.rollouts.pause(view.id, actor=SAM, reason="busy")
        await office.services.rollouts.resume(view.id, actor=SAM)
    office.running.workspace.faults.end_outage()
    office.clock.advance(60)
    await office.settle()
    assert office.running.workspace.call_counts["chat.update"] == updates + 1
    assert len([line for line in office.thread() if "resumed it" in line]) == 10


async def test_what_happened_in_an_hour_without_slack_is_one_edit_and_one_line(office: Office) -> None:
    await office.started()
    before, updates = len(office.thread()), office.running.workspace.call_counts["chat.update"]
    office.running.workspace.faults.begin_outage()
    view = await office.view()
    for number in range(3):
        await office.services.rollouts.pause(view.id, actor=SAM, reason=f"number {number}")
        await office.services.rollouts.resume(view.id, actor=SAM)
        for _ in range(4):
            office.clock.advance(300)
            assert await office.notifier.deliver_due() == 0
    office.running.workspace.faults.end_outage()
    office.clock.advance(60)
    await office.settle()
    [line] = office.thread()[before:]
    assert line.startswith("⏱ 6 things happened that could not be told at once:\n<!date^")
    assert [part.partition("number ")[2][0] for part in line.splitlines() if "number" in part] == ["0", "1", "2"]
    assert office.running.workspace.call_counts["chat.update"] == updates + 1


async def test_metrics_that_come_and_go_call_people_once_and_are_one_line_each_in_the_thread(office: Office) -> None:
    await office.started()
    await office.live(1)
    called = len([line for line in office.thread() if line.startswith("<@")])
    for _ in range(3):
        for _ in range(5):
            office.clock.advance(30)
            await office.services.controller.tick()
        await office.settle()
        await office.live(2)
    blind = [line for line in office.thread() if "The gate is blind" in line]
    assert len(blind) == 3
    assert len([line for line in office.thread() if line.startswith("<@")]) == called + 1
    broadcast = [one for one in office.messages() if one.is_reply and one.reply_broadcast and "blind" in one.text]
    assert [readable(one) for one in broadcast] == blind[:1]


async def test_slack_saying_wait_is_heeded(office: Office) -> None:
    await office.started()
    office.running.workspace.faults.limit("chat.update", times=1, retry_after=20)
    view = await office.view()
    await office.services.rollouts.pause(view.id, actor=SAM, reason="busy")
    await office.notifier.deliver_due()
    calls = office.running.workspace.call_counts["chat.update"]
    office.clock.advance(15)
    await office.notifier.deliver_due()
    assert office.running.workspace.call_counts["chat.update"] == calls
    office.clock.advance(6)
    await office.settle()
    assert "⏸ *Paused*" in readable(office.card())


async def test_a_card_that_was_deleted_is_posted_anew(office: Office) -> None:
    await office.started()
    gone = office.card()
    office.running.workspace.erase(gone)
    await office.live(1)
    assert office.card().ts != gone.ts
    assert office.buttons() == ["promote", "pause", "edit", "roll_back"]
    view = await office.view()
    assert view.place is not None
    assert view.place.card_ts == office.card().ts
    await office.press("roll_back", user=SAM)
    assert any("is rolling it back" in line for line in office.thread())


async def test_an_alert_moves_to_the_alerts_channel_when_its_own_is_closed_to_the_app(office: Office) -> None:
    await office.started()
    await office.settle()
    office.running.workspace.channels["CRELEASES"].members.remove(office.running.settings.bot_user_id)
    office.running.workspace.erase(office.card())
    view = await office.view()
    del office.running.workspace.channels["CRELEASES"]
    await office.services.rollouts.roll_back(view.id, actor=SAM, reason="fire")
    await office.settle()
    [alert] = [message.text for message in office.messages("CALERTS01")]
    assert alert.startswith(f"<@{MIRA}> *{FLAG}* in production: ◀ sam is rolling it back")
    failed = {message.kind for message in await office.told() if message.status == Status.FAILED}
    assert failed == {"card", "note"}


async def test_only_one_process_delivers(office: Office) -> None:
    await office.proposed()
    other = Notifier(office.services, office.services.clients)
    view = await office.view()
    await office.services.rollouts.cancel(view.id, actor=MIRA, reason="not today")
    assert await other.deliver_due() == 0, "the lease is another's"
    assert await office.notifier.deliver_due() > 0
    await office.services.rollouts.propose(
        view.plan, requester=MIRA, place=Place("TACME0001", "CRELEASES"), reason="again"
    )
    office.clock.advance(office.services.settings.scheduler.lease.total_seconds() + 1)
    assert await other.deliver_due() > 0, "whoever dies loses the lease by waiting"


async def test_the_acknowledgement_waits_for_nothing(office: Office) -> None:
    await office.proposed()
    async with office.services.database.write():
        # Nobody else can write now, and still nobody waits for an answer.
        outcomes = await asyncio.gather(
            *(office.running.people.command("releases", MIRA, "/rollout", f"status {FLAG}") for _ in range(20)),
            office.click("approve", user=JONAS),
        )
        assert all(outcome.ok for outcome in outcomes)
        assert max(outcome.ack.seconds for outcome in outcomes if outcome.ack) < 0.5
        assert (await office.view()).phase is Phase.PROPOSED
    await office.settle()
    assert (await office.view()).phase is Phase.PROGRESSING


async def test_the_pace_of_a_channel_is_kept(office: Office) -> None:
    await office.started()
    view = await office.view()
    for number in range(10):
        await office.services.rollouts.pause(view.id, actor=SAM, reason=f"number {number}")
        await office.services.rollouts.resume(view.id, actor=SAM)
    office.clock.advance(60)
    posted = office.running.workspace.call_counts["chat.postMessage"]
    began = office.clock.now()
    await office.notifier.deliver_due()
    assert office.running.workspace.call_counts["chat.postMessage"] == posted + 5, "a short burst"
    await office.settle()
    assert office.running.workspace.call_counts["chat.postMessage"] == posted + 20
    assert office.clock.now() - began >= timedelta(seconds=15)
    told = [line for line in office.thread() if "number" in line]
    assert [line.rpartition("number ")[2][0] for line in told] == [str(number) for number in range(10)]


async def test_deliveries_are_forgotten_once_slack_can_not_send_them_again(office: Office) -> None:
    for hours in (0, 0, 2):
        office.clock.advance(hours * 3600)
        await office.rollout("list")
    async with office.services.database.read() as session:
        assert await session.scalar(select(func.count()).select_from(Delivery)) == 1

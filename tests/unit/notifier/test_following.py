"""What people and channels are told who follow a rollout, and what waits for the end of quiet hours."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from sqlalchemy import select

from bot import following, preferences
from bot.following import Follower
from bot.preferences import Own, Preferences
from bot.quiet import EVERY_DAY, QuietHours
from bot.settings import RouteSettings
from tests.unit.notifier.desk import Desk
from tests.unit.rollouts.world import AIKO, JONAS, MIRA
from tools.records.models import ApprovalCall
from tools.rollouts import changes
from tools.rollouts.events import Tell
from tools.rollouts.store import load
from tools.rollouts.views import RolloutView

NIGHT = QuietHours(time(22), time(7), "UTC", EVERY_DAY)
TEN_AT_NIGHT = datetime(2026, 1, 1, 22, tzinfo=UTC)
NIGHT_IN_SETTINGS = {"from": "22:00", "to": "07:00"}


async def choose(desk: Desk, person: str, **chosen: object) -> None:
    async with desk.services.database.write() as session:
        at = desk.services.clock.now()
        await preferences.keep(session, "", person, replace(Preferences(), **chosen), at=at)  # type: ignore[arg-type]


async def follow(desk: Desk, seconds: float = 0) -> None:
    desk.world.clock.advance(seconds)
    while await Follower(desk.services).turn():
        pass
    while await desk.notifier.deliver_due():
        desk.world.clock.advance(1)


async def started(desk: Desk, number: int = 0, channel: str = "C1") -> RolloutView:
    view = await desk.rollout(number, channel)
    assert view.approval is not None
    return await desk.services.rollouts.approve(view.approval.id, actor=JONAS)


def to(desk: Desk, channel: str) -> list[str]:
    return [said.text for said in desk.slack.of("post") if said.channel == channel]


async def morning(desk: Desk) -> None:
    desk.world.clock.at = TEN_AT_NIGHT + timedelta(hours=9, minutes=1)
    await follow(desk)


async def test_who_chose_nothing_is_told_nothing_beside_the_thread(desk: Desk) -> None:
    await follow(desk)
    await started(desk)
    await follow(desk)
    assert to(desk, MIRA) == []


async def test_who_asked_reads_what_others_did_and_nothing_twice(desk: Desk) -> None:
    await follow(desk)
    await choose(desk, MIRA, own=Own.EVERYTHING)
    view = await desk.rollout()
    await follow(desk)
    assert view.approval is not None
    await desk.services.rollouts.approve(view.approval.id, actor=JONAS)
    await follow(desk)
    [told] = to(desk, MIRA)
    assert "*flag-0* in production: ▶" in told
    assert "/archives/C1/p" in told
    await desk.services.rollouts.pause(view.id, actor=MIRA, reason="lunch")
    await follow(desk)
    assert len(to(desk, MIRA)) == 1, "what they did themselves they know"
    await desk.services.rollouts.roll_back(view.id, actor=AIKO, reason="errors in Spain")
    await follow(desk)
    assert len(to(desk, MIRA)) == 2
    assert "errors in Spain" in to(desk, MIRA)[1]
    assert "started it" not in to(desk, MIRA)[1]


async def test_only_what_needs_somebody_for_who_wants_that(desk: Desk) -> None:
    await follow(desk)
    await choose(desk, MIRA, own=Own.NEEDED)
    view = await started(desk)
    await follow(desk)
    assert to(desk, MIRA) == []
    await desk.services.rollouts.pause(view.id, actor=AIKO, reason="support is at lunch")
    await follow(desk)
    assert len(to(desk, MIRA)) == 1


async def test_what_came_in_the_night_is_one_message_in_the_morning(desk: Desk) -> None:
    await follow(desk)
    await choose(desk, MIRA, own=Own.EVERYTHING, quiet=NIGHT)
    desk.world.clock.at = TEN_AT_NIGHT
    for number in range(3):
        await started(desk, number)
        await follow(desk, seconds=120)
    assert to(desk, MIRA) == []
    await morning(desk)
    [told] = to(desk, MIRA)
    assert all(f"*flag-{number}*" in told for number in range(3))
    await follow(desk, seconds=3600)
    assert len(to(desk, MIRA)) == 1


async def test_what_a_message_has_no_room_for_is_counted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "MOST_TOLD", 2)
    await follow(desk)
    await choose(desk, MIRA, own=Own.EVERYTHING, quiet=NIGHT)
    desk.world.clock.at = TEN_AT_NIGHT
    for number in range(3):
        await started(desk, number)
    await morning(desk)
    [told] = to(desk, MIRA)
    assert told.startswith("3 things happened to rollouts that you asked for:\n… 1 more came before")
    assert "*flag-0*" not in told
    assert told.count("started it") == 2
    # Quiet hours may last for days.
    assert told.count("^{date_short_pretty} at {time_secs}|") == 2


async def test_a_rollback_wakes_and_takes_along_what_was_held(desk: Desk) -> None:
    await follow(desk)
    await choose(desk, MIRA, own=Own.EVERYTHING, quiet=NIGHT)
    desk.world.clock.at = TEN_AT_NIGHT
    view = await started(desk)
    await follow(desk, seconds=60)
    assert to(desk, MIRA) == []
    await desk.services.rollouts.roll_back(view.id, actor=AIKO, reason="errors in Spain")
    await follow(desk)
    told = "\n".join(to(desk, MIRA))
    assert "errors in Spain" in told
    assert "started it" in told


async def test_a_new_choice_lets_go_what_was_held(desk: Desk) -> None:
    await follow(desk)
    await choose(desk, MIRA, own=Own.EVERYTHING, quiet=NIGHT)
    desk.world.clock.at = TEN_AT_NIGHT
    await started(desk)
    await follow(desk)
    assert to(desk, MIRA) == []
    await choose(desk, MIRA, own=Own.EVERYTHING)
    await follow(desk)
    assert len(to(desk, MIRA)) == 1


async def test_who_does_not_want_to_be_asked_is_not(desk: Desk) -> None:
    willing = desk.with_slack(alerts_channel="CALERTS")
    await choose(willing, JONAS, approvals=False)
    await willing.rollout()
    await follow(willing)
    assert to(willing, JONAS) == []
    assert len(to(willing, AIKO)) == 1


async def test_questions_of_the_night_are_one_message_that_keeps_up(desk: Desk) -> None:
    asking = desk.with_slack(alerts_channel="CALERTS")
    await choose(asking, JONAS, quiet=NIGHT)
    asking.world.clock.at = TEN_AT_NIGHT
    views = [await asking.rollout(number) for number in range(3)]
    await follow(asking, seconds=120)
    assert to(asking, JONAS) == []
    assert views[0].approval is not None
    await asking.services.rollouts.reject(views[0].approval.id, actor=AIKO, reason="not at night")
    await morning(asking)
    [told] = to(asking, JONAS)
    assert "flag-0" not in told, "it is answered"
    assert "flag-1" in told
    assert "flag-2" in told
    assert views[1].approval is not None
    await asking.services.rollouts.approve(views[1].approval.id, actor=AIKO)
    await follow(asking)
    newest = [said.text for said in asking.slack.of("update") if said.channel == JONAS][-1]
    assert "✔ Approved by" in newest
    assert "flag-2* in production waits for your answer" in newest
    async with asking.services.database.read() as session:
        calls = (await session.scalars(select(ApprovalCall).where(ApprovalCall.person == JONAS))).all()
    assert len({call.ts for call in calls if call.ts}) == 1


# -- channels -------------------------------------------------------------------------------------------------------


def routed(desk: Desk, **route: object) -> Desk:
    return desk.with_slack(
        alerts_channel="CALERTS",
        direct_messages=False,
        route=(RouteSettings.model_validate({"channel": "CPROD"} | route),),
    )


async def test_a_channel_reads_the_alerts_of_its_kind(desk: Desk) -> None:
    prod = routed(desk, environment="production")
    await follow(prod)
    view = await started(prod)
    await follow(prod)
    assert to(prod, "CPROD") == [], "what was answered meanwhile is not asked"
    await prod.services.rollouts.roll_back(view.id, actor=AIKO, reason="errors in Spain")
    await follow(prod)
    told = "\n".join(to(prod, "CPROD"))
    assert "*flag-0* in production: ◀" in told
    assert "/archives/C1/p" in told
    assert to(prod, "CALERTS") == []


async def test_other_kinds_are_not_for_it(desk: Desk) -> None:
    elsewhere = routed(desk, environment="staging")
    await follow(elsewhere)
    await elsewhere.rollout()
    await follow(elsewhere)
    assert to(elsewhere, "CPROD") == []


async def test_its_own_rollouts_are_told_in_their_threads_alone(desk: Desk) -> None:
    prod = routed(desk)
    await follow(prod)
    await prod.rollout(channel="CPROD")
    await follow(prod)
    lines = [said for said in prod.slack.of("post") if "Please decide" in said.text]
    assert [said.thread_ts is not None and said.broadcast for said in lines] == [True]


async def test_a_quiet_channel_reads_what_can_wait_in_the_morning(desk: Desk) -> None:
    prod = routed(desk, quiet=NIGHT_IN_SETTINGS)
    await follow(prod)
    prod.world.clock.at = TEN_AT_NIGHT
    for number in range(2):
        await prod.rollout(number)
        await follow(prod, seconds=120)
    assert to(prod, "CPROD") == []
    await morning(prod)
    [told] = to(prod, "CPROD")
    assert "flag-0" in told
    assert "flag-1" in told


async def test_a_quiet_channel_hears_of_a_rollback_at_once(desk: Desk) -> None:
    prod = routed(desk, quiet=NIGHT_IN_SETTINGS)
    await follow(prod)
    prod.world.clock.at = TEN_AT_NIGHT
    view = await started(prod)
    await follow(prod, seconds=60)
    await prod.services.rollouts.roll_back(view.id, actor=AIKO, reason="errors in Spain")
    await follow(prod)
    assert "errors in Spain" in "\n".join(to(prod, "CPROD"))


@pytest.mark.parametrize("unanswered", [False, True])
async def test_a_pause_that_nobody_answered_waits_for_the_morning(desk: Desk, unanswered: bool) -> None:
    prod = routed(desk, quiet=NIGHT_IN_SETTINGS)
    await follow(prod)
    await choose(prod, MIRA, own=Own.EVERYTHING, quiet=NIGHT)
    view = await started(prod)
    await follow(prod, seconds=60)
    prod.world.clock.at = TEN_AT_NIGHT
    async with prod.services.database.write() as session:
        rollout, at = await load(session, view.id), prod.world.clock.now()
        facts = {"unanswered": True} if unanswered else {}
        await changes.pause(session, rollout, at=at, reason="why it is", ends="e", tell=Tell.PERSON, **facts)
    await follow(prod)
    for channel in ("CPROD", MIRA):
        assert ("why it is" in "\n".join(to(prod, channel))) is not unanswered
    await morning(prod)
    for channel in ("CPROD", MIRA):
        assert "\n".join(to(prod, channel)).count("why it is") == 1


async def test_in_quiet_hours_a_question_stands_in_its_thread_alone_until_the_morning(desk: Desk) -> None:
    prod = routed(desk, quiet=NIGHT_IN_SETTINGS)
    await follow(prod)
    prod.world.clock.at = TEN_AT_NIGHT
    await prod.rollout(channel="CPROD")
    await follow(prod, seconds=60)
    [line] = [said for said in prod.slack.of("post") if "Please decide" in said.text]
    assert line.thread_ts is not None
    assert not line.broadcast
    await morning(prod)
    assert "Please decide" in to(prod, "CPROD")[-1]
    assert prod.slack.of("post")[-1].thread_ts is None

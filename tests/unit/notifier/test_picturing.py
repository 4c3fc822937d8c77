"""Cards get charts: when one is wanted, how it comes onto the card, and that no card ever waits for one."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from bot import drawing, picturing
from bot.clients import OneClient
from bot.drawing import Drawn, drawn_apart
from bot.pacing import Pace
from bot.picturing import AT_ONCE, OFTENEST, SELDOMEST, VERDICT_AFTER, Pictures, Standing, urgency
from tests.unit.notifier.desk import Desk
from tests.unit.notifier.slack import NO_ANSWER, refusal
from tests.unit.rollouts.world import MIRA, make_plan, stage
from tools.apart import NotDoneApart
from tools.records import pictures as rows
from tools.records.models import CardPicture
from tools.rollouts.phases import Phase
from tools.rollouts.trace import Course, course
from tools.rollouts.views import RolloutView

LONG = make_plan(stage(5, bake=6000, limit=36000), stage(25), stage(100))
HARM = {"old": (950, 10), "new": (500, 300)}
FAST = Pace(messages_per_second=100, message_burst=100)


class Easel:
    """Draws nothing worth looking at, at once; `trouble` is raised instead."""

    def __init__(self) -> None:
        self.asked: list[Course] = []
        self.trouble: Exception | None = None
        self.blank = False

    async def __call__(self, courses: list[Course]) -> list[Drawn | None]:
        if self.trouble is not None:
            raise self.trouble
        self.asked += courses
        return [None if self.blank else Drawn(b"png", f"How {one.flag} went.") for one in courses]


@pytest.fixture
def easel(monkeypatch: pytest.MonkeyPatch) -> Easel:
    easel = Easel()
    monkeypatch.setattr(picturing, "drawn_apart", easel)
    return easel


@pytest.fixture
def pictures(desk: Desk, easel: Easel) -> Pictures:
    return Pictures(desk.services, OneClient(desk.slack), pace=FAST)


async def live(desk: Desk, checks: int = 3) -> RolloutView:
    """A rollout with a card, under way."""
    view = await desk.world.started(LONG)
    await desk.deliver()
    view = await desk.world.live(view.id, checks)
    await desk.deliver()
    return view


def shown(desk: Desk) -> list[str]:
    """The pictures on the card as it is now."""
    newest = [said.blocks for said in desk.slack.taken if said.blocks][-1]
    return [block["slack_file"]["id"] for block in newest if block["type"] == "image"]


async def kept(desk: Desk) -> list[CardPicture]:
    async with desk.services.database.read() as session:
        return list((await session.scalars(select(CardPicture).order_by(CardPicture.uploaded_at))).all())


async def turn(desk: Desk, pictures: Pictures, seconds: float = 2) -> int:
    """Time passes, the pictures have their turn, then the cards."""
    desk.world.clock.advance(seconds)
    new = await pictures.turn()
    await desk.deliver()
    return new


async def test_a_card_gets_its_chart_with_its_text_once_slack_has_looked_through_it(
    desk: Desk, pictures: Pictures
) -> None:
    await live(desk)
    assert await turn(desk, pictures) == 1
    assert shown(desk) == [], "it was uploaded just now"
    assert await turn(desk, pictures) == 0
    assert shown(desk) == ["F00000001"]
    [block] = [block for block in desk.slack.taken[-1].blocks if block["type"] == "image"]
    assert block == {"type": "image", "alt_text": "How new-checkout went.", "slack_file": {"id": "F00000001"}}
    [upload] = desk.slack.uploaded
    assert (upload["title"], upload["highlight_type"]) == ("new-checkout in production", "png")
    assert "channel" not in upload, "the picture alone is posted nowhere"


async def test_without_a_check_or_without_a_card_there_is_nothing_to_draw(desk: Desk, pictures: Pictures) -> None:
    view = await desk.world.started(LONG)
    await desk.deliver()
    assert await turn(desk, pictures) == 0
    assert desk.slack.uploaded == []
    assert view.check is None


async def test_a_card_does_not_wait_while_slack_looks_through_the_picture(desk: Desk, pictures: Pictures) -> None:
    view = await live(desk)
    desk.slack.looked_through = False
    for _ in range(4):
        await turn(desk, pictures)
    await desk.world.live(view.id, 1)
    edits = len(desk.slack.of("update"))
    await desk.deliver()
    assert len(desk.slack.of("update")) == edits + 1
    assert shown(desk) == []
    desk.slack.looked_through = True
    for _ in range(10):
        await turn(desk, pictures)
    assert len(shown(desk)) == 1


async def test_a_picture_that_slack_never_shows_is_given_up_and_deleted(desk: Desk, pictures: Pictures) -> None:
    await live(desk)
    desk.slack.looked_through = False
    for _ in range(200):
        await turn(desk, pictures)
        if len(desk.slack.uploaded) == 2:
            break
    assert desk.slack.files == {"F00000002"}, "the first was deleted, another is tried"


async def test_a_new_stage_has_a_new_picture_and_the_old_one_is_deleted(desk: Desk, pictures: Pictures) -> None:
    view = await desk.world.started(make_plan(stage(5, bake=30), stage(25, bake=6000, limit=36000), stage(100)))
    await desk.deliver()
    await desk.world.live(view.id, 2)
    await turn(desk, pictures)
    await turn(desk, pictures)
    assert shown(desk) == ["F00000001"]
    while (await desk.services.rollouts.get(view.id)).stage == 0:
        await desk.world.live(view.id, 1, old=(9500, 100), new=(2500, 20))
    await desk.world.live(view.id, 1)
    assert await turn(desk, pictures) == 1
    assert shown(desk) == ["F00000001"], "until the new one can be shown"
    await turn(desk, pictures)
    await turn(desk, pictures)
    assert shown(desk) == ["F00000002"]
    assert desk.slack.files == {"F00000002"}
    assert [row.file_id for row in await kept(desk)] == ["F00000002"]


async def test_a_card_being_taken_back_tries_no_new_picture_and_keeps_the_one_it_has(
    desk: Desk, pictures: Pictures
) -> None:
    view = await live(desk)
    await turn(desk, pictures)
    await turn(desk, pictures)
    async with desk.services.database.write() as session:
        await rows.add(session, "FNEW", rollout_id=view.id, shows="x", says="y", at=desk.world.clock.now())
    desk.world.clock.advance(5)
    cards, going_back = picturing.CardPictures(desk.services), replace(view, phase=Phase.ROLLING_BACK)
    assert [one.file_id for one in await cards.of_card(view)] == ["FNEW", "F00000001"]
    assert [one.file_id for one in await cards.of_card(going_back)] == ["F00000001"]


async def test_after_a_rollback_the_card_shows_how_harm_was_found(desk: Desk, pictures: Pictures) -> None:
    view = await live(desk)
    view = await desk.world.live(view.id, 6, **HARM)
    assert view.phase is Phase.ROLLED_BACK
    await desk.deliver()
    await turn(desk, pictures)
    await turn(desk, pictures)
    assert len(shown(desk)) == 1
    desk.world.clock.advance(picturing.LAST_WITHIN.total_seconds() * 3)
    assert await turn(desk, pictures) == 0
    assert len(shown(desk)) == 1, "the last one stays"


async def test_a_picture_that_somebody_deleted_is_left_out_and_drawn_anew(desk: Desk, pictures: Pictures) -> None:
    view = await live(desk)
    await turn(desk, pictures)
    await turn(desk, pictures)
    desk.slack.files.clear()
    await desk.world.live(view.id, 1)
    await desk.deliver()
    assert shown(desk) == []
    for _ in range(3):
        await turn(desk, pictures)
    assert shown(desk) == ["F00000002"]


async def test_no_charts_when_they_are_switched_off(desk: Desk, easel: Easel) -> None:
    other = desk.with_slack(charts=False)
    view = await live(other)
    pictures = Pictures(other.services, OneClient(other.slack), pace=FAST)
    assert await turn(other, pictures) == 0
    async with other.services.database.write() as session:
        await rows.add(
            session, "FOLD", rollout_id=view.id, shows="x", says="y", at=other.world.clock.now() - timedelta(minutes=1)
        )
    assert await picturing.CardPictures(other.services).of_card(view) == ()
    assert easel.asked == []


@pytest.mark.parametrize("trouble", [NO_ANSWER, refusal("internal_error"), refusal("", status=503)])
async def test_when_the_upload_fails_the_card_is_without_and_it_is_tried_again_later(
    desk: Desk, pictures: Pictures, trouble: Exception
) -> None:
    view = await live(desk)
    desk.slack.broken["upload"] = trouble
    for _ in range(5):
        assert await turn(desk, pictures) == 0
    assert desk.slack.uploaded == []
    await desk.world.live(view.id, 1)
    await desk.deliver()
    assert desk.slack.taken[-1].blocks, "the card goes on"
    desk.slack.broken.clear()
    assert await turn(desk, pictures, seconds=60) == 1


async def test_a_limit_is_waited_out(desk: Desk, pictures: Pictures) -> None:
    await live(desk)
    desk.slack.refusals.append(refusal("ratelimited", status=429, retry_after=30))
    assert await turn(desk, pictures) == 0
    assert await turn(desk, pictures, seconds=27) == 0
    assert await turn(desk, pictures, seconds=4) == 1


async def test_an_app_that_may_not_upload_is_complained_of_once(desk: Desk, pictures: Pictures) -> None:
    await live(desk)
    desk.slack.broken["upload"] = refusal("missing_scope")
    with capture_logs() as logs:
        for _ in range(30):
            await turn(desk, pictures, seconds=60)
    said = [event for event in logs if event["event"] == picturing.WITHOUT]
    assert [event["reason"] for event in said] == ["Slack refused it: missing_scope"]


async def test_charts_that_can_not_be_drawn_stop_nothing(desk: Desk, pictures: Pictures, easel: Easel) -> None:
    await live(desk)
    easel.trouble = NotDoneApart("It did not end.")
    assert await turn(desk, pictures) == 0
    easel.trouble, easel.blank = None, True
    assert await turn(desk, pictures, seconds=60) == 0
    easel.blank = False
    assert await turn(desk, pictures) == 0, "checks that nobody can read stay so for a while"
    assert await turn(desk, pictures, seconds=600) == 1


async def test_one_process_draws(desk: Desk, pictures: Pictures, easel: Easel) -> None:
    view = await live(desk)
    await turn(desk, pictures)
    other = Pictures(desk.services, OneClient(desk.slack), owner="other", pace=FAST)
    await desk.services.rollouts.pause(view.id, actor=MIRA, reason="lunch")
    assert await other.turn() == 0
    assert await pictures.turn() == 1
    assert len(easel.asked) == 2


async def test_many_rollouts_are_drawn_some_at_a_time(desk: Desk, easel: Easel) -> None:
    slow = Pictures(desk.services, OneClient(desk.slack), pace=Pace(messages_per_second=0.5, message_burst=5))
    standings = [standing(rollout_id=str(number), shows=None) for number in range(50)]
    now = desk.world.clock.now()
    assert len(slow._wanted(standings, now)) == AT_ONCE
    assert len(slow._wanted(standings, now)) == 1, "Slack's pace"
    assert len(slow._wanted(standings, now + timedelta(seconds=4))) == 2


NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def standing(**changes: Any) -> Standing:
    """A rollout whose picture was drawn just now."""
    one = Standing(
        "r",
        "T1",
        Phase.PROGRESSING,
        1,
        0,
        "INCONCLUSIVE",
        NOW,
        NOW - timedelta(hours=1),
        "progressing:1:0:INCONCLUSIVE",
        NOW,
    )
    return replace(one, **changes)


@pytest.mark.parametrize(
    ("changes", "age", "wanted"),
    [
        ({"shows": None, "drawn_at": None}, timedelta(0), 0),
        ({"shows": None, "drawn_at": None, "exposed_since": NOW - timedelta(seconds=9)}, timedelta(0), None),
        ({"exposed_since": NOW - timedelta(minutes=1), "checked_at": NOW + OFTENEST}, timedelta(seconds=29), None),
        ({"exposed_since": NOW - timedelta(minutes=1), "checked_at": NOW + OFTENEST}, timedelta(seconds=30), 2),
        ({"exposed_since": NOW - timedelta(seconds=4), "checked_at": NOW + timedelta(seconds=1)}, OFTENEST, 2),
        ({"stage": 2}, timedelta(seconds=1), 0),
        ({"phase": Phase.PAUSED}, timedelta(seconds=1), 0),
        ({"epoch": 1}, timedelta(seconds=1), 0),
        ({"outcome": "PASS"}, timedelta(seconds=1), None),
        ({"outcome": "PASS"}, VERDICT_AFTER, 1),
        ({}, SELDOMEST - timedelta(seconds=1), None),
        ({"checked_at": NOW + timedelta(minutes=2)}, SELDOMEST, 2),
        ({}, SELDOMEST, None),
        (
            {"phase": Phase.ROLLED_BACK, "shows": "rolled_back:1:0:INCONCLUSIVE", "checked_at": NOW + SELDOMEST},
            SELDOMEST * 2,
            None,
        ),
    ],
)
def test_when_a_new_picture_says_something_new(changes: dict[str, Any], age: timedelta, wanted: int | None) -> None:
    assert urgency(standing(**changes), NOW + age) == wanted


async def test_drawing_in_a_process_of_its_own_leaves_the_loop_free(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await live(desk, checks=12)
    found = await course(desk.services.database, view.id)
    damaged = replace(found, rows=((found.rows[0][0], 0, '{"damaged": true}', "{}"),))
    drawn_here = list[Course]()
    monkeypatch.setattr(drawing, "_answer", drawn_here.append)
    beats, work = 0, asyncio.create_task(drawn_apart([found, damaged]))
    while not work.done():
        await asyncio.sleep(0.001)
        beats += 1
    drawn, nothing = await work
    assert drawn is not None
    assert drawn.picture.startswith(b"\x89PNG")
    assert "checkout_errors of new-checkout in production" in drawn.says
    assert nothing is None
    assert not drawn_here, "this process draws nothing itself"
    assert beats > 10, "and goes on while the other one does"


async def test_a_course_is_plain_text_until_it_is_drawn(desk: Desk) -> None:
    view = await live(desk)
    found = await course(desk.services.database, view.id)
    assert [json.loads(inputs)["exposure"]["percent"] for _, _, inputs, _ in found.rows] == [5.0] * 3
    assert MIRA not in str(found)

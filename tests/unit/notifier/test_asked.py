"""What a channel was asked says what became of it, as soon as that is known, in one line and calling nobody."""

from collections.abc import Awaitable, Callable

import pytest

from tests.unit.notifier.desk import Desk
from tests.unit.notifier.slack import Said, refusal
from tests.unit.notifier.test_following import follow, routed
from tests.unit.rollouts.world import AIKO, JONAS
from tools.flags.base import FlagRef
from tools.plans.model import Exposure
from tools.records.outbox import Kind
from tools.rollouts.service import Place
from tools.rollouts.views import RolloutView

Act = Callable[[Desk, RolloutView], Awaitable[object]]


async def approve(desk: Desk, view: RolloutView) -> None:
    assert view.approval is not None
    await desk.services.rollouts.approve(view.approval.id, actor=JONAS)


async def reject(desk: Desk, view: RolloutView) -> None:
    assert view.approval is not None
    await desk.services.rollouts.reject(view.approval.id, actor=AIKO, reason="not on a Friday")


async def expire(desk: Desk, view: RolloutView) -> None:
    desk.world.clock.advance(25 * 3600)
    await desk.world.controller.reconcile(view.id)


async def withdraw(desk: Desk, view: RolloutView) -> None:
    ref = FlagRef(view.flag, view.environment)
    state = await desk.services.flags.read(ref)
    await desk.services.flags.write(ref, Exposure(percent=3), expected=state.version)
    desk.world.clock.advance(60)
    await desk.world.controller.reconcile(view.id)


async def revise(desk: Desk, view: RolloutView) -> None:
    first, *rest = view.plan.stages
    smaller = first.model_copy(update={"exposure": Exposure(percent=first.exposure.percent / 2)})
    plan = view.plan.model_copy(update={"stages": (smaller, *rest)})
    await desk.services.rollouts.propose(plan, requester=JONAS, place=Place("T1", "C1"), reason="start smaller")


def asking(desk: Desk, channel: str = "C1") -> Said:
    """The message that asked the channel, as it was posted."""
    [found] = [said for said in desk.slack.of("post") if said.channel == channel and "Please decide" in said.text]
    return found


def now_says(desk: Desk, asked: Said) -> list[str]:
    """What it was edited to, the newest last."""
    edits = desk.slack.of("update")
    return [said.text for said in edits if (said.channel, said.ts) == (asked.channel, asked.ts)]


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (approve, "✔ Approved by Jonas <!date^"),
        (reject, "✖ Rejected by Aiko <!date^"),
        (expire, "⏱ Nobody decided in time: *flag-0* in production"),
        (withdraw, "✖ No longer asked: *flag-0* in production"),
    ],
)
async def test_the_broadcast_question_says_what_became_of_it(desk: Desk, act: Act, said: str) -> None:
    view = await desk.rollout()
    await desk.deliver()
    asked = asking(desk)
    assert asked.broadcast
    assert "<@" in asked.text
    await act(desk, view)
    await desk.deliver()
    [text] = now_says(desk, asked)
    assert text.startswith(said)
    assert "Please decide" not in text
    assert "Expires" not in text
    assert "<@" not in text
    assert "\n" not in text
    await desk.deliver(seconds=60)
    assert len(now_says(desk, asked)) == 1


async def test_a_plan_that_was_changed_is_no_longer_asked_about_as_it_was(desk: Desk) -> None:
    view = await desk.rollout()
    assert str(view.plan.stages[0].exposure.percent) == "5.0"
    await desk.deliver()
    asked = asking(desk)
    await revise(desk, view)
    await desk.deliver()
    assert now_says(desk, asked) == [
        "✖ No longer asked: *flag-0* in production, start at 5 %? The plan has a newer version."
    ]


async def test_every_channel_that_was_asked_sees_it(desk: Desk) -> None:
    desk = routed(desk)
    await follow(desk)
    view = await desk.rollout()
    await follow(desk)
    messages = [asking(desk), asking(desk, "CPROD")]
    await approve(desk, view)
    await follow(desk)
    [own], [other] = [now_says(desk, asked) for asked in messages]
    assert "/archives/" not in own
    assert "/archives/C1/p" in other


async def test_a_message_that_asked_twice_says_of_each_how_it_stands(desk: Desk) -> None:
    desk = routed(desk, quiet={"from": "00:00", "to": "01:00"})
    await follow(desk)
    first, second = await desk.rollout(0), await desk.rollout(1)
    await follow(desk)
    await follow(desk, seconds=3600)
    asked = asking(desk, "CPROD")
    assert asked.text.count("Please decide") == 2
    await approve(desk, second)
    await follow(desk)
    text = now_says(desk, asked)[-1]
    assert text.count("Please decide") == 1
    assert "✔ Approved by Jonas" in text
    assert "*flag-0* in production: ✋ Please decide" in text
    await reject(desk, first)
    await follow(desk)
    assert "Please decide" not in now_says(desk, asked)[-1]


async def test_a_question_that_closes_while_it_is_posted_is_edited_too(desk: Desk) -> None:
    view = await desk.rollout()

    async def meanwhile() -> None:
        if desk.slack.taken:
            desk.slack.before = None
            await approve(desk, view)

    desk.slack.before = meanwhile
    await desk.deliver()
    await desk.deliver(seconds=1)
    assert now_says(desk, asking(desk))[-1].startswith("✔ Approved by")


async def test_a_question_that_was_answered_before_it_could_be_asked_is_not_asked(desk: Desk) -> None:
    await approve(desk, await desk.rollout())
    await desk.deliver()
    assert not [said for said in desk.slack.of("post") if "Please decide" in said.text]


@pytest.mark.parametrize("code", ["is_archived", "msg_too_long"])
async def test_a_channel_that_is_lost_keeps_no_other_from_seeing_it(desk: Desk, code: str) -> None:
    desk = routed(desk)
    await follow(desk)
    view = await desk.rollout()
    await follow(desk)
    other = asking(desk, "CPROD")
    desk.slack.closed["C1"] = refusal(code)
    await approve(desk, view)
    await follow(desk)
    assert [said.startswith("✔ Approved by Jonas") for said in now_says(desk, other)] == [True]
    [edit] = [message for message in await desk.messages() if message.kind == Kind.QUESTION]
    assert edit.status == ("delivered" if code == "is_archived" else "failed")


async def test_a_message_that_somebody_deleted_is_let_go(desk: Desk) -> None:
    view = await desk.rollout()
    await desk.deliver()
    asked = asking(desk)
    desk.slack.taken.remove(asked)
    await approve(desk, view)
    await desk.deliver()
    [edit] = [message for message in await desk.messages() if message.kind == Kind.QUESTION]
    assert edit.status == "delivered"

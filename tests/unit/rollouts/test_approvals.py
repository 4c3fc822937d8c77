"""A question to people: void at once when what it was about is no longer so, and never asked twice."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.blocks.lines import line
from tests.unit.rollouts.world import (
    AIKO,
    FLAG,
    JONAS,
    MIRA,
    PLACE,
    POLICY,
    RAIL,
    SAM,
    World,
    make_plan,
    running_world,
    stage,
)
from tools.clock import ManualClock
from tools.errors import Conflict, NotAllowed
from tools.flags.base import FlagRef, FlagServiceUnavailable, FlagState
from tools.people.base import PeopleUnavailable, Standing, UnknownGroup
from tools.people.memory import MemoryPeople
from tools.plans.model import Exposure, OnFail, Plan
from tools.plans.policy import ApprovalRule, Freeze
from tools.records import log, outbox
from tools.rollouts.approvals import ApprovalClosed
from tools.rollouts.door import membership
from tools.rollouts.events import Happening
from tools.rollouts.phases import Phase
from tools.rollouts.service import RolloutService
from tools.rollouts.views import RolloutView

GROUP, ONCALL = "SRELEASE", "SONCALL"
GOOD = {"old": (950, 19), "new": (50, 1)}
AWFUL = {"old": (950, 19), "new": (50, 45)}
BY_GROUP = POLICY.model_copy(update={"approvers": (GROUP,), "backup": (ONCALL,)})
BEGIN = ManualClock().now()
PLAN = make_plan(stage(5), stage(100))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running_world() as running:
        yield running


@pytest.fixture
def people() -> MemoryPeople:
    return MemoryPeople({GROUP: (JONAS, AIKO, MIRA), ONCALL: (SAM,)})


@pytest.fixture
async def grouped(people: MemoryPeople) -> AsyncIterator[World]:
    """A world whose approvers are a group's members."""
    async with running_world(policy=BY_GROUP) as running:
        running.service = RolloutService(
            running.database, running.flags, BY_GROUP, running.clock, wake=running.controller.carry_out, people=people
        )
        yield running


async def waiting(world: World, plan: Plan = PLAN) -> RolloutView:
    """A rollout that waits for people to say yes to its last step."""
    view = await world.started(plan)
    for _ in range(60):
        view = await world.live(view.id, 1, **GOOD)
        if view.phase is Phase.WAITING_PROMOTION:
            return view
    raise AssertionError("it never came to a question")


def approval_of(view: RolloutView) -> str:
    assert view.approval is not None
    return view.approval.id


async def refused(world: World, approval: str) -> str:
    """What a vote for a closed question is answered with."""
    with pytest.raises(ApprovalClosed) as closed:
        await world.service.approve(approval, actor=JONAS)
    return str(closed.value)


# -- void at once ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_fail", [OnFail.ROLL_BACK, OnFail.PAUSE])
async def test_a_breach_voids_it(world: World, on_fail: OnFail) -> None:
    rail = RAIL.model_copy(update={"on_fail": on_fail})
    view = await waiting(world, make_plan(stage(5, rail=rail), stage(100, rail=rail)))
    approval = approval_of(view)
    view = await world.live(view.id, 5, **AWFUL)
    assert view.phase in (Phase.PAUSED, Phase.ROLLING_BACK, Phase.ROLLED_BACK)
    assert view.approval is None
    said = await refused(world, approval)
    assert said.startswith("This is no longer asked: checkout_errors: ")
    assert said.endswith("The rollout's card shows what can be done now.")
    assert (await world.service.get(view.id)).stage == 0


async def test_suspected_harm_voids_it_before_it_is_proven(world: World) -> None:
    view = await waiting(world)
    approval = approval_of(view)
    for _ in range(200):
        view = await world.live(view.id, 1, old=(950, 19), new=(50, 4))
        if view.phase is not Phase.WAITING_PROMOTION:
            break
    assert view.phase is Phase.PAUSED
    assert "checkout_errors" in await refused(world, approval)


async def test_a_newer_plan_voids_it(world: World) -> None:
    view = await world.proposed()
    approval = approval_of(view)
    await world.service.propose(make_plan(stage(1), stage(100)), requester=MIRA, place=PLACE, reason="smaller")
    assert "The plan has a newer version." in await refused(world, approval)
    running = await waiting_anew(world)
    approval = approval_of(running)
    longer = PLAN.model_copy(update={"stages": (stage(5, bake=600), stage(100))})
    await world.service.revise(running.id, longer, actor=MIRA, reason="longer")
    assert "The plan has a newer version." in await refused(world, approval)


async def waiting_anew(world: World) -> RolloutView:
    view = await world.service.find(FLAG.flag, FLAG.environment)
    await world.service.cancel(view.id, actor=MIRA, reason="another")
    return await waiting(world)


@pytest.mark.parametrize("percent", [1, 30])
async def test_a_hand_made_change_voids_it(world: World, percent: float) -> None:
    view = await waiting(world)
    approval = approval_of(view)
    await change_by_hand(world, percent)
    view = await world.live(view.id, 1, **GOOD)
    assert (view.phase, view.approval) == (Phase.PAUSED, None)
    assert "by hand from 5 %" in await refused(world, approval)


@pytest.mark.parametrize("percent", [1, 30])
async def test_a_vote_for_a_promotion_finds_out_a_hand_made_change_by_itself(world: World, percent: float) -> None:
    view = await waiting(world)
    await change_by_hand(world, percent)
    with pytest.raises(ApprovalClosed, match=f"no longer asked: .* by hand from 5 % to {percent} %"):
        await world.service.approve(approval_of(view), actor=JONAS)
    view = await world.service.get(view.id)
    assert (view.phase, view.approval, view.stage, await world.percent()) == (Phase.PAUSED, None, 0, percent)
    kinds = await world.kinds(view.id)
    assert Happening.CHANGED_BY_HAND in kinds
    assert not {Happening.PROMOTED, Happening.SUCCEEDED} & set(kinds)
    assert kinds.count(Happening.APPROVAL_VOTED) == 1, "only the start's"
    await world.service.resume(view.id, actor=AIKO)
    assert await world.percent() == 5, "the stage that was reached, and nothing beyond it"


@pytest.mark.parametrize("asked", [True, False])
async def test_promoting_before_the_proof_finds_out_a_hand_made_change_too(world: World, asked: bool) -> None:
    view = await waiting(world) if asked else await world.live((await world.started(PLAN)).id, 2, **GOOD)
    await change_by_hand(world, 1)
    with pytest.raises(Conflict, match=r"changed by hand from 5 % to 1 %\. So it is paused"):
        await world.service.promote(view.id, actor=JONAS)
    view = await world.service.get(view.id)
    assert (view.phase, view.approval, view.stage, await world.percent()) == (Phase.PAUSED, None, 0, 1)


async def test_a_vote_for_a_promotion_is_not_counted_while_nobody_can_say_what_the_flag_serves(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await waiting(world)
    with monkeypatch.context() as patch:
        patch.setattr(world.flags, "read", away)
        with pytest.raises(FlagServiceUnavailable):
            await world.service.approve(approval_of(view), actor=JONAS)
    assert (await world.service.get(view.id)).approval == view.approval
    assert (await world.service.approve(approval_of(view), actor=JONAS)).stage == 1


async def away(_ref: FlagRef) -> FlagState:
    raise FlagServiceUnavailable("The flag service is away.")


async def test_what_is_confirmed_while_somebody_votes_is_no_hands(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    view, real = await waiting(world), world.flags.read
    monkeypatch.setattr(world.flags, "read", late(world, approval_of(view), real))
    with pytest.raises(ApprovalClosed, match="has already been approved"):
        await world.service.approve(approval_of(view), actor=AIKO)
    assert (await world.service.get(view.id)).phase is Phase.PROGRESSING
    assert Happening.CHANGED_BY_HAND not in await world.kinds(view.id)


def late(world: World, approval: str, real: Callable[[FlagRef], Awaitable[FlagState]]) -> Callable[..., Any]:
    """A read whose first answer comes after another's vote was carried out."""
    first = True

    async def read(ref: FlagRef) -> FlagState:
        nonlocal first
        if not first:
            return await real(ref)
        first, found = False, await real(ref)
        await world.service.approve(approval, actor=JONAS)
        return found

    return read


async def test_a_hand_made_change_voids_the_question_about_a_start(world: World) -> None:
    view = await world.proposed()
    approval = approval_of(view)
    await change_by_hand(world, 2)
    world.clock.advance(30)
    await world.controller.tick()
    assert (await world.service.get(view.id)).approval is None
    assert "changed by hand from 0 % to 2 %" in await refused(world, approval)
    asked = await world.service.start(view.id, actor=MIRA)
    assert approval_of(asked) != approval
    begun = await world.service.approve(approval_of(asked), actor=JONAS)
    assert (begun.phase, begun.known_good) == (Phase.PROGRESSING, Exposure(percent=2))


async def change_by_hand(world: World, percent: float) -> None:
    flag = await world.flags.read(FLAG)
    await world.flags.write(FLAG, Exposure(percent=percent), expected=flag.version)


async def test_a_freeze_that_begins_voids_it() -> None:
    freeze = Freeze(name="sale", start=BEGIN + timedelta(hours=3), end=BEGIN + timedelta(hours=5))
    async with running_world(policy=POLICY.model_copy(update={"freezes": (freeze,)})) as world:
        view = await waiting(world)
        approval = approval_of(view)
        world.clock.advance(3 * 3600)
        view = await world.live(view.id, 1, **GOOD)
        assert (view.phase, view.approval) == (Phase.PROGRESSING, None)
        assert "The freeze 'sale' lasts until 01 Jan 2026 05:00 UTC." in await refused(world, approval)


async def test_a_freeze_leaves_the_question_whether_to_finish_alone() -> None:
    freeze = Freeze(name="sale", start=BEGIN, end=BEGIN + timedelta(days=5))
    async with running_world() as world:
        view = await world.started(make_plan(stage(5, bake=9000, limit=9000)))
        await world.live(view.id, 20, **GOOD)
        view = await world.service.promote(view.id, actor=MIRA)
        world.controller._policy = POLICY.model_copy(update={"freezes": (freeze,)})
        view = await world.live(view.id, 2, **GOOD)
        assert view.phase is Phase.WAITING_PROMOTION


async def test_what_settings_have_come_to_want_since_people_were_asked_counts_too(world: World) -> None:
    view = await world.proposed(PLAN)
    assert view.approval is not None
    assert view.approval.needed == 1
    rule = ApprovalRule(approvers=(JONAS, AIKO), needed=2)
    world.service._context = replace(world.service._context, policy=POLICY.model_copy(update={"approval": (rule,)}))
    view = await world.service.approve(view.approval.id, actor=JONAS)
    assert (view.phase, await world.percent()) == (Phase.PROPOSED, 0)
    assert view.approval is not None
    assert (view.approval.needed, view.approval.by) == (2, (JONAS,))
    view = await world.service.approve(view.approval.id, actor=AIKO)
    assert view.phase is Phase.PROGRESSING


# -- groups ---------------------------------------------------------------------------------------------------------


async def test_members_are_read_at_each_vote_and_remembered_by_nobody(grouped: World, people: MemoryPeople) -> None:
    approval = approval_of(await grouped.proposed())
    people.put(GROUP, AIKO)
    with pytest.raises(NotAllowed, match="not on the list"):
        await grouped.service.approve(approval, actor=JONAS)
    people.put(GROUP, AIKO, JONAS)
    assert (await grouped.service.approve(approval, actor=JONAS)).phase is Phase.PROGRESSING


async def test_when_nobody_can_say_who_is_in_the_group_nothing_is_counted_and_nothing_lost(
    grouped: World, people: MemoryPeople
) -> None:
    people.away = True
    view = await grouped.proposed()
    approval = approval_of(view)
    for answer in (
        grouped.service.approve(approval, actor=JONAS),
        grouped.service.reject(approval, actor=JONAS, reason="no"),
        grouped.service.check_may_answer(approval, actor=JONAS),
        grouped.service.electors(approval),
    ):
        with pytest.raises(PeopleUnavailable):
            await answer
    people.away = False
    assert (await grouped.service.approve(approval, actor=JONAS)).phase is Phase.PROGRESSING
    people.away = True
    people.asked.clear()
    await grouped.service.roll_back(view.id, actor=SAM, reason="enough")
    await grouped.controller.tick()
    assert (await grouped.percent(), people.asked) == (0, [])


async def test_who_is_named_needs_no_group(people: MemoryPeople) -> None:
    policy = POLICY.model_copy(update={"approvers": (GROUP, JONAS)})
    async with running_world(policy=policy) as world:
        people.away = True
        service = RolloutService(
            world.database, world.flags, policy, world.clock, wake=world.controller.carry_out, people=people
        )
        world.service = service
        assert (await service.approve(approval_of(await world.proposed()), actor=JONAS)).phase is Phase.PROGRESSING


async def test_a_group_that_is_gone_stops_only_its_own_members(people: MemoryPeople) -> None:
    policy = POLICY.model_copy(update={"approvers": ("SGONE", GROUP)})
    async with running_world(policy=policy) as world:
        world.service = RolloutService(
            world.database, world.flags, policy, world.clock, wake=world.controller.carry_out, people=people
        )
        approval = approval_of(await world.proposed())
        with pytest.raises(UnknownGroup, match="SGONE"):
            await world.service.approve(approval, actor=SAM)
        assert (await world.service.electors(approval)).approvers == (AIKO, JONAS)
        assert (await world.service.approve(approval, actor=JONAS)).phase is Phase.PROGRESSING


async def test_a_group_of_nobody_but_the_requester_is_found_out_when_asked(
    grouped: World, people: MemoryPeople
) -> None:
    people.put(GROUP, MIRA)
    with pytest.raises(NotAllowed, match="only 0 people could approve it"):
        await grouped.proposed()


async def test_resuming_despite_harm_takes_a_member_too(grouped: World, people: MemoryPeople) -> None:
    view = await grouped.started(make_plan(stage(5, bake=9000, limit=9000), stage(100)))
    await grouped.live(view.id, 3, **GOOD)
    await grouped.service.lower(view.id, 1, actor=SAM, reason="busy")
    await grouped.live(view.id, 3, **GOOD)
    with pytest.raises(NotAllowed, match="not on the list"):
        await grouped.service.resume(view.id, actor=SAM)
    people.away = True
    with pytest.raises(Conflict, match="try again"):
        await grouped.service.resume(view.id, actor=JONAS)
    people.away = False
    assert (await grouped.service.resume(view.id, actor=JONAS)).phase is Phase.PROGRESSING


async def test_a_rule_by_tag_takes_its_own_group_and_number(people: MemoryPeople) -> None:
    people.put("SSECURITY", SAM, AIKO)
    rule = ApprovalRule(tags=("regulated",), approvers=("SSECURITY",), needed=2)
    policy = BY_GROUP.model_copy(update={"approval": (rule,)})
    async with running_world(policy=policy) as world:
        world.service = RolloutService(
            world.database, world.flags, policy, world.clock, wake=world.controller.carry_out, people=people
        )
        approval = approval_of(await world.proposed(make_plan(tags=("regulated",))))
        with pytest.raises(NotAllowed, match="not on the list"):
            await world.service.approve(approval, actor=JONAS)
        view = await world.service.approve(approval, actor=SAM)
        assert view.approval is not None
        assert (view.approval.by, view.approval.at, view.approval.needed) == ((SAM,), (world.clock.now(),), 2)
        assert (await world.service.approve(approval, actor=AIKO)).phase is Phase.PROGRESSING


# -- reminder, escalation, direct messages --------------------------------------------------------------------------


async def test_a_promotion_that_stays_open_is_said_once_more_and_then_to_the_backup(
    grouped: World, people: MemoryPeople
) -> None:
    view = await waiting(grouped)
    approval = approval_of(view)
    for hours in (11.9, 0.2, 0.1, 5.9, 0.1, 0.1):
        grouped.clock.advance(hours * 3600)
        await grouped.live(view.id, 1, **GOOD)
    kinds = await grouped.kinds(view.id)
    assert (kinds.count(Happening.APPROVAL_REMINDED), kinds.count(Happening.APPROVAL_ESCALATED)) == (1, 1)
    nudges = [message for message in await grouped.outbox() if message.kind == outbox.Kind.NUDGE]
    assert len(nudges) == 1, "undelivered, the two are one line"
    electors = await grouped.service.electors(approval)
    assert (electors.approvers, electors.backup, electors.escalated) == ((AIKO, JONAS), (SAM,), True)
    view = await grouped.service.approve(approval, actor=SAM)
    assert (view.phase, view.stage) == (Phase.PROGRESSING, 1)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("rejected", [False, True])
async def test_a_question_that_comes_to_nothing_needs_its_requester_once(
    world: World, begun: bool, rejected: bool
) -> None:
    view = await waiting(world) if begun else await world.proposed(PLAN)
    before = max(one.id for one in await world.outbox())
    if rejected:
        await world.service.reject(approval_of(view), actor=JONAS, reason="not before the sale")
    else:
        world.clock.advance(timedelta(hours=25).total_seconds())
        await world.controller.reconcile(view.id)
    ends = {
        (False, False): Happening.APPROVAL_EXPIRED,
        (False, True): Happening.CANCELLED,
        (True, False): Happening.PAUSED,
        (True, True): Happening.PAUSED,
    }
    told = await told_after(world, before, set(ends.values()))
    assert told == [(outbox.Kind.ALERT, ends[begun, rejected])], "in one line"
    [alert] = [one for one in await world.outbox() if one.id > before and one.kind == outbox.Kind.ALERT]
    assert alert.payload["facts"].get("unanswered", False) is (begun and not rejected)
    for _ in range(2):
        world.clock.advance(3600)
        await world.controller.reconcile(view.id)
    assert await told_after(world, before, set(ends.values())) == told


async def told_after(world: World, message_id: int, kinds: set[Happening]) -> list[tuple[str, str]]:
    """What people are told of such since that message."""
    later = [one for one in await world.outbox() if one.id > message_id and one.payload.get("what") in kinds]
    return [(one.kind, one.payload["what"]) for one in later]


async def test_people_are_asked_directly_once_and_hear_of_the_end(grouped: World) -> None:
    approval = approval_of(await grouped.proposed())
    await grouped.service.call(approval, [JONAS, AIKO])
    await grouped.service.call(approval, [JONAS, AIKO])
    directs = [message for message in await grouped.outbox() if message.kind == outbox.Kind.DIRECT]
    assert [message.payload["person"] for message in directs] == [AIKO, JONAS]
    assert [message.generation for message in directs] == [directs[0].generation] * 2
    await grouped.service.approve(approval, actor=JONAS)
    again = [message for message in await grouped.outbox() if message.kind == outbox.Kind.DIRECT]
    assert all(after.generation > before.generation for before, after in zip(directs, again, strict=True))
    await grouped.service.call(approval, [SAM])
    assert len([one for one in await grouped.outbox() if one.kind == outbox.Kind.DIRECT]) == 2, "closed: nobody more"


# -- who voted and may not any more ---------------------------------------------------------------------------------

TWICE = BY_GROUP.model_copy(update={"approval": (ApprovalRule(approvers=(GROUP, SAM), needed=2),)})
LEFT = "No longer counted"


@pytest.fixture
async def twice(people: MemoryPeople) -> AsyncIterator[World]:
    """A world where two of a group, or one of them and Sam, have to approve."""
    async with running_world(policy=TWICE) as running:
        running.service = RolloutService(
            running.database, running.flags, TWICE, running.clock, wake=running.controller.carry_out, people=people
        )
        yield running


async def last_vote(world: World, rollout_id: str) -> Mapping[str, object]:
    async with world.database.read() as session:
        events = await log.newest(session, rollout_id, kinds=[Happening.APPROVAL_VOTED], limit=1)
    return events[-1].payload


async def test_a_vote_does_not_outlive_membership(twice: World, people: MemoryPeople) -> None:
    view = await twice.proposed()
    approval = approval_of(view)
    await twice.service.approve(approval, actor=JONAS)
    people.put(GROUP, AIKO, MIRA)
    after = await twice.service.approve(approval, actor=AIKO)
    assert after.phase is Phase.PROPOSED
    assert after.approval is not None
    assert (after.approval.by, after.approval.needed) == ((AIKO,), 2)
    told = await last_vote(twice, view.id)
    assert (told["have"], told["needed"], told["lapsed"]) == (1, 2, [JONAS])
    assert LEFT in line(Happening.APPROVAL_VOTED, AIKO, told)
    assert (await twice.service.question(approval)).answers[JONAS].lapsed_at is not None
    assert (await twice.service.approve(approval, actor=SAM)).phase is Phase.PROGRESSING
    assert "lapsed" not in await last_vote(twice, view.id)


async def test_who_comes_back_may_vote_again(twice: World, people: MemoryPeople) -> None:
    approval = approval_of(await twice.proposed())
    await twice.service.approve(approval, actor=JONAS)
    with pytest.raises(Conflict, match="already answered"):
        await twice.service.approve(approval, actor=JONAS)
    people.put(GROUP, AIKO)
    await twice.service.approve(approval, actor=AIKO)
    with pytest.raises(NotAllowed, match="not on the list"):
        await twice.service.approve(approval, actor=JONAS)
    people.put(GROUP, AIKO, JONAS)
    assert (await twice.service.electors(approval)).approvers == (JONAS, SAM)
    assert (await twice.service.approve(approval, actor=JONAS)).phase is Phase.PROGRESSING


async def test_when_nobody_can_say_whether_the_first_may_still_approve_it_does_not_start(
    twice: World, people: MemoryPeople
) -> None:
    view = await twice.proposed()
    approval = approval_of(view)
    await twice.service.approve(approval, actor=JONAS)
    people.away = True
    with pytest.raises(PeopleUnavailable, match=r"try again in a moment\..*Your answer was not counted"):
        await twice.service.approve(approval, actor=SAM)
    assert (await twice.service.get(view.id)).phase is Phase.PROPOSED
    people.away = False
    assert (await twice.service.approve(approval, actor=SAM)).phase is Phase.PROGRESSING


async def test_who_left_the_organisation_meanwhile_counts_no_longer(twice: World) -> None:
    approval = approval_of(await twice.proposed())
    await twice.service.approve(approval, actor=SAM)
    people = MemoryPeople({GROUP: (JONAS, AIKO)}, {SAM: Standing.OUTSIDER})
    wake = twice.controller.carry_out
    twice.service = RolloutService(twice.database, twice.flags, TWICE, twice.clock, wake=wake, people=people)
    twice.service = twice.service.of("T1")
    after = await twice.service.approve(approval, actor=AIKO)
    assert after.approval is not None
    assert after.approval.by == (AIKO,)


async def test_a_vote_that_comes_between_the_look_and_the_last_one_is_looked_at_too(
    twice: World, people: MemoryPeople, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await twice.proposed()
    approval, looks = approval_of(view), 0
    about = membership.about

    async def overtaken(*arguments: Any) -> Any:
        nonlocal looks
        looks += 1
        found = await about(*arguments)
        if looks == 1:
            await twice.service.approve(approval, actor=JONAS)
            people.put(GROUP, AIKO)
        return found

    monkeypatch.setattr(membership, "about", overtaken)
    after = await twice.service.approve(approval, actor=AIKO)
    assert after.phase is Phase.PROPOSED
    assert after.approval is not None
    assert after.approval.by == (AIKO,)

"""Everything that is open at a glance: who is asked, what was decided, and whose it is."""

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from tests.unit.blocks.examples import NOW, PROGRESSING, PROPOSED
from tests.unit.rollouts.world import AIKO, FLAG, JONAS, MIRA, POLICY, SAM, World, make_plan
from tools.flags.base import FlagRef
from tools.people.base import PeopleUnavailable, UnknownGroup
from tools.plans.policy import ApprovalRule
from tools.records.models import Rollout
from tools.rollouts.events import Happening
from tools.rollouts.freezes import wish
from tools.rollouts.glance import Asked, glance, is_stuck
from tools.rollouts.phases import Phase
from tools.rollouts.scope import EVERYWHERE
from tools.rollouts.service import Place
from tools.rollouts.staleness import SpecState, SpecView
from tools.rollouts.views import RolloutView

GROUP, GUEST = "S0123ABCDEF", "UGUEST"


async def another(world: World, number: int, *, workspace: str = "T1", requester: str = MIRA) -> RolloutView:
    await world.flags.define(FlagRef(f"flag-{number}", FLAG.environment), "old", "new")
    plan = make_plan().model_copy(update={"flag": f"flag-{number}"})
    return await world.service.of(workspace).propose(
        plan, requester=requester, place=Place(workspace, "C1"), reason="asked"
    )


async def test_who_may_answer_and_has_not(world: World) -> None:
    await world.proposed()
    seen = await world.service.glance(most=5)
    assert [seen.waiting_for(person) != [] for person in (JONAS, AIKO, MIRA, SAM)] == [True, True, False, False]


async def test_who_has_answered_is_not_asked_again(world: World) -> None:
    policy = POLICY.model_copy(update={"approval": (ApprovalRule(approvers=(JONAS, AIKO), needed=2),)})
    world.service._context = replace(world.service._context, policy=policy)
    view = await world.proposed()
    assert view.approval is not None
    await world.service.approve(view.approval.id, actor=JONAS)
    seen = await world.service.glance(most=5)
    assert seen.waiting_for(JONAS) == []
    assert [one.approval_id for one in seen.waiting_for(AIKO)] == [view.approval.id]


async def test_whoever_wrote_a_version_of_the_plan_or_its_spec_is_out(world: World) -> None:
    view = await world.proposed(make_plan(spec_author=AIKO))
    await world.service.revise(
        view.id, make_plan(spec_author=AIKO, rationale=("as Jonas sees it",)), actor=JONAS, reason="x"
    )
    [asked] = (await world.service.glance(most=5)).asked
    assert asked.people == frozenset()


async def test_what_stands_still_is_found_behind_others_and_counted_once(world: World) -> None:
    view = await world.started()
    await world.live(view.id, 1)
    async with world.database.write() as session:
        await session.execute(update(Rollout).values(blind_since=world.clock.now()))
    paused = await another(world, 1)
    assert paused.approval is not None
    await world.service.approve(paused.approval.id, actor=JONAS)
    await world.service.pause(paused.id, actor=MIRA, reason="lunch")
    seen = await world.service.glance(most=1)
    assert [one.id for one in seen.rollouts] == [paused.id]
    assert {one.id for one in seen.stuck_for(MIRA)} == {view.id, paused.id}
    asked = Asked("a", view.id, world.clock.now(), frozenset({JONAS}))
    both = replace(seen, asked=(asked,))
    assert (len(both.waiting_for(JONAS)), [one.id for one in both.stuck_for(JONAS)]) == (1, [paused.id])


async def test_what_is_paused_waits_for_who_asked_and_who_approves(world: World) -> None:
    view = await world.started()
    assert (await world.service.glance(most=5)).stuck == ()
    await world.service.pause(view.id, actor=MIRA, reason="support is at lunch")
    seen = await world.service.glance(most=5)
    assert [[one.id for one in seen.stuck_for(person)] for person in (MIRA, JONAS, AIKO, SAM)] == [
        [view.id],
        [view.id],
        [view.id],
        [],
    ]


def test_what_is_blind_or_rests_on_another_spec_stands_still() -> None:
    stale = SpecView(SpecState.CHANGED, "specs/checkout-v2.md", "The spec changed.", NOW, NOW)
    assert is_stuck(replace(PROGRESSING, blind_since=NOW))
    assert is_stuck(replace(PROPOSED, spec=stale))
    assert not is_stuck(replace(PROPOSED, spec=replace(stale, stands=MIRA)))
    assert not is_stuck(replace(PROGRESSING, spec=stale)), "approvers are asked about its steps"
    assert not is_stuck(PROGRESSING)
    assert not is_stuck(PROPOSED)


async def test_what_has_run_out_waits_for_nobody(world: World) -> None:
    await world.proposed()
    world.clock.advance(timedelta(days=2).total_seconds())
    assert (await world.service.glance(most=5)).asked == ()


class Directory:
    """Groups that can be read, that are unknown, or that nobody can read now; it counts how often it is asked."""

    def __init__(self, members: frozenset[str] | Exception) -> None:
        self.members_ = members
        self.asked = 0

    async def members(self, group: str, *, workspace: str = "") -> frozenset[str]:
        self.asked += 1
        if isinstance(self.members_, Exception):
            raise self.members_
        return self.members_

    async def strangers(self, people: Collection[str], *, workspace: str = "") -> frozenset[str]:
        return frozenset(people) & {GUEST}


@pytest.mark.parametrize(
    ("members", "people", "sure"),
    [
        (frozenset({JONAS, MIRA, GUEST}), {JONAS}, True),
        (UnknownGroup("no such group"), set(), True),
        (PeopleUnavailable("Slack is away"), set(), False),
    ],
)
async def test_a_group_is_read_once_for_all_questions(
    world: World, members: frozenset[str] | Exception, people: set[str], sure: bool
) -> None:
    for number in range(4):
        await another(world, number)
    directory = Directory(members)
    policy = POLICY.model_copy(update={"approvers": (GROUP,)})
    seen = await glance(world.database, policy, directory, EVERYWHERE, at=world.clock.now(), most=2)
    assert [one.people for one in seen.asked] == [people] * 4
    assert (directory.asked, seen.sure) == (1, sure)
    assert (len(seen.rollouts), seen.phases) == (2, {Phase.PROPOSED: 4})


async def test_what_presses_stands_first(world: World) -> None:
    await another(world, 1)
    paused = await world.started()
    await world.service.pause(paused.id, actor=JONAS, reason="lunch")
    await another(world, 2)
    seen = await world.service.glance(most=5)
    assert [view.phase for view in seen.rollouts] == [Phase.PAUSED, Phase.PROPOSED, Phase.PROPOSED]


async def test_decisions_of_consequence_the_newest_first(world: World) -> None:
    view = await world.started()
    await world.service.pause(view.id, actor=JONAS, reason="lunch")
    await world.service.freeze(wish(environment="production", reason="fair"), actor=JONAS)
    await world.live(view.id, 2)
    kinds = [event.kind for event in (await world.service.glance(most=5)).decided]
    assert kinds[:3] == [Happening.FREEZE_MADE, Happening.PAUSED, Happening.STARTED]


async def test_another_workspace_is_as_if_it_were_not(world: World) -> None:
    world.service._many = True
    ours, theirs = await another(world, 1, workspace="T1"), await another(world, 2, workspace="T2")
    await world.service.of("T2").freeze(wish(environment="production", reason="theirs", workspace="T2"), actor=JONAS)
    await world.service.of("T2").cancel(theirs.id, actor=MIRA, reason="no")
    seen = await world.service.of("T1").glance(most=5)
    assert [view.id for view in seen.rollouts] == [ours.id]
    assert [one.rollout_id for one in seen.asked] == [ours.id]
    assert seen.decided == ()
    decided = (await world.service.of("T2").glance(most=5)).decided
    assert {event.kind for event in decided} == {Happening.CANCELLED, Happening.FREEZE_MADE}


async def test_who_has_taken_part(world: World) -> None:
    assert not await world.service.has_taken_part(MIRA)
    await world.started()
    told = [await world.service.has_taken_part(person) for person in (MIRA, JONAS, SAM)]
    assert told == [True, True, False]
    world.service._many = True
    assert not await world.service.of("T2").has_taken_part(MIRA)

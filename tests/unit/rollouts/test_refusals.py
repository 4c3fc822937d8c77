"""What is refused, in a sentence that says what to do: gone buttons, late starts, missing rows, second plans."""

from dataclasses import replace

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.exc import StaleDataError

from tests.unit.rollouts.world import AIKO, FLAG, JONAS, MIRA, PLACE, World, make_plan, running_world, stage
from tools.errors import Conflict, InvalidInput, NotAllowed
from tools.flags.base import Capabilities, FlagRef, FlagState
from tools.flags.memory import MemoryFlagService
from tools.plans.policy import Policy
from tools.records.models import Approval, PlanVersion, Rollout
from tools.rollouts import store
from tools.rollouts.approvals import ApprovalClosed, ApprovalNotFound
from tools.rollouts.phases import Phase
from tools.rollouts.store import RolloutNotFound, StaleRollout


async def test_a_button_that_belongs_to_nothing(world: World) -> None:
    with pytest.raises(ApprovalNotFound, match="newest card"):
        await world.service.approve("nope", actor=JONAS)


async def test_a_question_of_another_epoch_is_no_longer_asked(world: World) -> None:
    view = await world.proposed()
    assert view.approval is not None
    async with world.database.write() as session:
        await session.execute(update(Approval).values(epoch=1))
    with pytest.raises(ApprovalClosed, match="no longer asked"):
        await world.service.approve(view.approval.id, actor=JONAS)
    assert await world.percent() == 0


async def test_what_is_started_cannot_be_started(world: World) -> None:
    view = await world.started()
    with pytest.raises(Conflict, match="progressing: it can't be started"):
        await world.service.start(view.id, actor=JONAS)


async def test_a_flag_that_rolls_out_gets_no_second_plan_even_above_what_it_serves(world: World) -> None:
    await world.started()
    with pytest.raises(Conflict, match="progressing in production already"):
        await world.proposed(make_plan(stage(10), stage(100)))


class Renaming(MemoryFlagService):
    """A flag service that calls production `prod`, and knows no other name of it."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, environments={FLAG.environment: "prod"})

    async def read(self, ref: FlagRef) -> FlagState:
        return await super().read(replace(ref, environment="production" if ref.environment == "prod" else "none"))


async def test_nobody_plans_by_a_name_under_which_policy_does_not_know_the_environment() -> None:
    flags = Renaming()
    await flags.define(FLAG, "old", "new")
    async with running_world(policy=Policy(approvers=(JONAS,), free_environments=("prod",)), other=flags) as world:
        with pytest.raises(InvalidInput, match="The flag service's prod is called production here: plan for that"):
            await world.proposed(make_plan(environment="prod"))
        assert await world.events() == []


async def test_where_nobody_could_approve_nothing_is_proposed() -> None:
    async with running_world(policy=Policy(approvers=(MIRA,))) as world:
        with pytest.raises(NotAllowed, match="only 0 people could approve it"):
            await world.proposed()
        assert await world.events() == []


async def test_a_plan_that_is_missing_points_to_the_audit(world: World) -> None:
    view = await world.proposed()
    async with world.database.write() as session:
        await session.execute(delete(PlanVersion))
    with pytest.raises(RolloutNotFound, match="sluice audit verify"):
        await world.service.get(view.id)


async def test_who_is_never_the_fastest_is_told_to_look_again(world: World) -> None:
    tries = []

    async def always_late(_session: AsyncSession) -> None:
        tries.append(None)
        raise StaleDataError

    with pytest.raises(StaleRollout, match="Look at the card"):
        await store.transact(world.database, always_late)
    assert len(tries) == store.ATTEMPTS


async def test_what_is_wrong_with_a_statement_is_not_tried_again(world: World) -> None:
    tries = []

    async def wrong(session: AsyncSession) -> None:
        tries.append(None)
        await session.execute(text("DELETE FROM nobodys"))

    with pytest.raises(OperationalError, match="no such table"):
        await store.transact(world.database, wrong)
    assert len(tries) == 1


async def test_open_rollouts_are_listed_the_newest_first_and_ended_ones_not(world: World) -> None:
    first = await world.started()
    for name in ("second", "third"):
        world.clock.advance(1)
        await world.flags.define(FlagRef(name, FLAG.environment), "old", "new")
        await world.service.propose(make_plan(flag=name), requester=MIRA, place=PLACE, reason="asked")
    await world.service.roll_back(first.id, actor=AIKO, reason="enough")
    assert [view.flag for view in await world.service.open()] == ["third", "second"]
    assert (await world.service.get(first.id)).phase is Phase.ROLLED_BACK


async def test_a_rollout_without_a_place_is_shown_all_the_same(world: World) -> None:
    view = await world.proposed()
    async with world.database.write() as session:
        await session.execute(update(Rollout).values(conversation_id=None))
    assert (await world.service.get(view.id)).place is None

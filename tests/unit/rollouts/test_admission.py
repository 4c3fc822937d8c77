"""Guests and people of other organisations change nothing, by any way in; a rollback waits for nobody's answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from tests.unit.rollouts.world import (
    AIKO,
    ERRORS,
    FLAG,
    JONAS,
    MIRA,
    PLACE,
    POLICY,
    SAM,
    World,
    make_plan,
    running_world,
    stage,
)
from tools.errors import NotAllowed
from tools.people.base import PeopleUnavailable, Standing
from tools.people.memory import MemoryPeople
from tools.plans.policy import Answer
from tools.rollouts.confirmations import Action
from tools.rollouts.freezes import Wish, wish
from tools.rollouts.phases import Phase
from tools.rollouts.service import RolloutService
from tools.rollouts.views import RolloutView

GUEST, OUTSIDER = "UGUEST", "UOUTSIDER"
ENVIRONMENT = FLAG.environment


@dataclass
class House:
    """A world with a rollout under way, seen through the door of its people."""

    world: World
    people: MemoryPeople
    door: RolloutService
    view: RolloutView


@pytest.fixture
async def house() -> AsyncIterator[House]:
    policy = POLICY.model_copy(update={"approvers": (MIRA, JONAS, AIKO, GUEST, OUTSIDER)})
    people = MemoryPeople(standings={GUEST: Standing.GUEST, OUTSIDER: Standing.OUTSIDER})
    async with running_world(policy=policy) as world:
        world.service._context = replace(world.service._context, people=people)
        door = world.service.of(PLACE.workspace)
        view = await world.started()
        yield House(world, people, door, await world.live(view.id, 2))


Do = Callable[[House, str], Awaitable[object]]
OTHER = make_plan(stage(5, bake=120), stage(25, bake=120), stage(100))


async def plan(house: House, person: str) -> object:
    return await house.door.propose(make_plan(), requester=person, place=PLACE, reason="r")


async def approve(house: House, person: str) -> object:
    await house.world.service.promote(house.view.id, actor=MIRA)
    view = await house.door.get(house.view.id)
    assert view.approval is not None
    return await house.door.approve(view.approval.id, actor=person)


async def reject(house: House, person: str) -> object:
    await house.world.service.promote(house.view.id, actor=MIRA)
    view = await house.door.get(house.view.id)
    assert view.approval is not None
    await house.door.check_may_answer(view.approval.id, actor=person)
    return await house.door.reject(view.approval.id, actor=person, reason="r")


async def resume(house: House, person: str) -> object:
    await house.world.service.pause(house.view.id, actor=SAM, reason="r")
    return await house.door.resume(house.view.id, actor=person)


async def unfreeze(house: House, person: str) -> object:
    made = await house.world.service.of(PLACE.workspace).freeze(a_freeze(), actor=JONAS)
    return await house.door.unfreeze(made.id, actor=person)


async def accept(house: House, person: str) -> object:
    until = house.world.clock.now() + timedelta(hours=1)
    return await house.door.accept(house.view.id, ERRORS, until=until, reason="r", actor=person)


async def confirm(house: House, person: str) -> object:
    asked = await house.door.ask_to_confirm(
        Action.ROLL_BACK, flag=FLAG.flag, environment=ENVIRONMENT, person=person, rollout_id=house.view.id
    )
    return await house.door.confirm(asked.id, actor=person)


def a_freeze() -> Wish:
    return wish(environment=ENVIRONMENT, flag=None, until=None, reason="r", workspace=PLACE.workspace)


RAISING: dict[str, Do] = {
    "may act": lambda house, person: house.door.check_may_act(person),
    "plan": plan,
    "revise": lambda house, person: house.door.revise(house.view.id, OTHER, actor=person, reason="r"),
    "start": lambda house, person: house.door.start(house.view.id, actor=person),
    "keep the plan": lambda house, person: house.door.keep_plan(house.view.id, actor=person),
    "approve": approve,
    "promote": lambda house, person: house.door.promote(house.view.id, actor=person),
    "resume": resume,
    "acceptable": lambda house, person: house.door.acceptable(house.view.id, actor=person),
    "accept": accept,
    "unfreeze": unfreeze,
}
LOWERING: dict[str, Do] = {
    "reject": reject,
    "pause": lambda house, person: house.door.pause(house.view.id, actor=person, reason="r"),
    "lower": lambda house, person: house.door.lower(house.view.id, 1, actor=person, reason="r"),
    "roll back": lambda house, person: house.door.roll_back(house.view.id, actor=person, reason="r"),
    "kill": lambda house, person: house.door.kill(FLAG.flag, ENVIRONMENT, actor=person, reason="r"),
    "confirm": confirm,
    "freeze": lambda house, person: house.door.freeze(a_freeze(), actor=person),
}


@pytest.mark.parametrize("person", [GUEST, OUTSIDER])
@pytest.mark.parametrize("way", [*RAISING, *LOWERING, "cancel", "withdraw"])
async def test_guests_and_outsiders_change_nothing_by_any_way_in(house: House, way: str, person: str) -> None:
    ways = (
        RAISING
        | LOWERING
        | {
            "cancel": lambda house, person: house.door.cancel(house.view.id, actor=person, reason="r"),
            "withdraw": lambda house, person: house.door.withdraw_acceptance("0" * 32, actor=person),
        }
    )
    with pytest.raises(NotAllowed, match="look"):
        await ways[way](house, person)
    assert (await house.world.percent()) == 5
    assert all(event.actor != person for event in await house.world.events())


async def test_a_percentage_that_a_guest_asks_for_is_denied(house: House) -> None:
    answer = await house.door.request_exposure(FLAG.flag, ENVIRONMENT, 25, actor=GUEST)
    assert answer.answer is Answer.DENY
    assert answer.why.startswith("Guests can look")


@pytest.mark.parametrize("way", RAISING)
async def test_while_nobody_can_say_who_it_is_nothing_goes_up(house: House, way: str) -> None:
    with pytest.raises(PeopleUnavailable, match="you can pause, lower and roll back"):
        await RAISING[way](replace(house, door=Away(house)), JONAS)


@pytest.mark.parametrize("way", LOWERING)
async def test_what_lowers_or_holds_waits_for_nobodys_answer(house: House, way: str) -> None:
    await LOWERING[way](replace(house, door=Away(house)), JONAS)


async def test_an_answer_that_takes_long_keeps_no_rollback_waiting(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.rollouts.door.admission.PATIENCE_S", 0.01)

    async def never(person: str, *, workspace: str = "") -> Standing:
        await asyncio.Event().wait()
        return Standing.MEMBER

    monkeypatch.setattr(house.people, "standing", never)
    view = await house.door.roll_back(house.view.id, actor=SAM, reason="r")
    assert view.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)


async def test_members_lower_and_everybody_reads(house: House) -> None:
    assert (await house.door.get(house.view.id)).flag == FLAG.flag
    await house.door.pause(house.view.id, actor=SAM, reason="r")
    await house.door.roll_back(house.view.id, actor=SAM, reason="r")
    assert (await house.world.percent()) == 0


async def test_whom_policy_names_and_who_is_no_person_of_slacks_are_not_asked_about(house: House) -> None:
    context = house.world.service._context
    house.world.service._context = replace(
        context, policy=context.policy.model_copy(update={"guests": (GUEST,)}), people=house.people
    )
    door = house.world.service.of(PLACE.workspace)
    house.people.away = True
    await door.check_may_act("cli:root")
    await house.world.service.check_may_act(OUTSIDER)
    await door.check_may_act(GUEST)
    await door.pause(house.view.id, actor=GUEST, reason="r")


class Away(RolloutService):
    """A door behind which nobody can say any more who somebody is."""

    def __init__(self, house: House) -> None:
        people = MemoryPeople()
        people.away = True
        self._many = False
        self._context = replace(house.door._context, people=people)


async def test_who_may_change_nothing_is_not_asked(house: House) -> None:
    await house.world.service.promote(house.view.id, actor=MIRA)
    view = await house.door.get(house.view.id)
    assert view.approval is not None
    electors = await house.world.service.electors(view.approval.id)
    assert (set(electors.approvers), electors.strangers, electors.missing) == ({JONAS, AIKO}, True, 1)
    assert {one for asked in (await house.door.glance(most=1)).asked for one in asked.people} == {JONAS, AIKO}
    policy = house.world.service._context.policy.model_copy(update={"guests": (GUEST,)})
    house.world.service._context = replace(house.world.service._context, policy=policy)
    assert GUEST in (await house.world.service.electors(view.approval.id)).approvers


async def test_a_question_that_only_strangers_could_answer_is_not_asked(house: House) -> None:
    policy = POLICY.model_copy(update={"approvers": (MIRA, GUEST)})
    house.world.service._context = replace(house.world.service._context, policy=policy)
    with pytest.raises(NotAllowed, match=r"only 0 people could approve it \(1 more, guests or of another organisation"):
        await house.world.service.promote(house.view.id, actor=MIRA)

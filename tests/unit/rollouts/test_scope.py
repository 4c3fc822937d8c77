"""Workspaces are apart: whatever the people of one ask for, another's rollouts are not there."""

import ast
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import reduce
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import select

from tests.unit.rollouts.world import ERRORS, FLAG, JONAS, MIRA, SAM, World, make_plan, running_world
from tools.errors import NotAllowed, NotFound
from tools.plans.policy import Answer, Approving
from tools.records.models import Freeze, Record
from tools.rollouts import door as behind
from tools.rollouts.confirmations import Action
from tools.rollouts.freezes import Frozen, Wish
from tools.rollouts.scope import NOBODY, Scope, TakenElsewhere
from tools.rollouts.service import Place, RolloutService
from tools.rollouts.views import RolloutView

OURS, THEIRS = "T1", "T2"
UNKNOWN = "0" * 32

pytestmark = pytest.mark.parametrize("many", [True, False], ids=["oauth", "token"])


@dataclass
class Two:
    """A world in which T1 has a rollout that waits for an approval, a freeze and something to confirm."""

    world: World
    view: RolloutView
    approval: str
    confirmation: str
    freeze: str
    theirs: RolloutService

    async def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything there is."""
        async with self.world.database.read() as session:
            return {
                table.name: [tuple(row) for row in await session.execute(select(table))]
                for table in Record.metadata.sorted_tables
            }


@pytest.fixture
async def two(many: bool) -> AsyncIterator[Two]:
    async with running_world() as world:
        world.service._many = many
        ours = world.service.of(OURS)
        view = await ours.propose(make_plan(), requester=MIRA, place=Place(OURS, "C1"), reason="asked")
        assert view.approval is not None
        asked = await ours.ask_to_confirm(
            Action.KILL, flag=FLAG.flag, environment=FLAG.environment, person=SAM, rollout_id=view.id
        )
        frozen = await ours.freeze(Wish(environment="other", reason="sale", workspace=OURS), actor=JONAS)
        assert frozen.id is not None
        yield Two(world, view, view.approval.id, asked.id, frozen.id, world.service.of(THEIRS))


Call = Callable[[RolloutService, Two, bool], Awaitable[object]]
"""Asks a door for what is T1's, or, when the flag is set, for what there is not."""

NOT_THERE: dict[str, Call] = {
    "get": lambda door, two, no: door.get(UNKNOWN if no else two.view.id),
    "find": lambda door, two, no: door.find(FLAG.flag, FLAG.environment),
    "revise": lambda door, two, no: door.revise(
        UNKNOWN if no else two.view.id, make_plan(), actor=JONAS, reason="better"
    ),
    "keep_plan": lambda door, two, no: door.keep_plan(UNKNOWN if no else two.view.id, actor=JONAS),
    "start": lambda door, two, no: door.start(UNKNOWN if no else two.view.id, actor=JONAS),
    "cancel": lambda door, two, no: door.cancel(UNKNOWN if no else two.view.id, actor=JONAS, reason="no"),
    "approve": lambda door, two, no: door.approve(UNKNOWN if no else two.approval, actor=JONAS),
    "reject": lambda door, two, no: door.reject(UNKNOWN if no else two.approval, actor=JONAS, reason="no"),
    "check_may_answer": lambda door, two, no: door.check_may_answer(UNKNOWN if no else two.approval, actor=JONAS),
    "electors": lambda door, two, no: door.electors(UNKNOWN if no else two.approval),
    "question": lambda door, two, no: door.question(UNKNOWN if no else two.approval),
    "call": lambda door, two, no: door.call(UNKNOWN if no else two.approval, [JONAS]),
    "promote": lambda door, two, no: door.promote(UNKNOWN if no else two.view.id, actor=JONAS),
    "pause": lambda door, two, no: door.pause(UNKNOWN if no else two.view.id, actor=JONAS, reason="wait"),
    "resume": lambda door, two, no: door.resume(UNKNOWN if no else two.view.id, actor=JONAS),
    "roll_back": lambda door, two, no: door.roll_back(UNKNOWN if no else two.view.id, actor=JONAS, reason="back"),
    "lower": lambda door, two, no: door.lower(UNKNOWN if no else two.view.id, 1, actor=JONAS, reason="less"),
    "acceptable": lambda door, two, no: door.acceptable(UNKNOWN if no else two.view.id, actor=JONAS),
    "accept": lambda door, two, no: door.accept(
        UNKNOWN if no else two.view.id,
        ERRORS,
        until=two.world.clock.now() + timedelta(days=1),
        reason="known",
        actor=JONAS,
    ),
    "withdraw_acceptance": lambda door, two, no: door.withdraw_acceptance(UNKNOWN, actor=JONAS),
    "unfreeze": lambda door, two, no: door.unfreeze(UNKNOWN if no else two.freeze, actor=JONAS),
    "confirmation": lambda door, two, no: door.confirmation(UNKNOWN if no else two.confirmation),
    "confirm": lambda door, two, no: door.confirm(UNKNOWN if no else two.confirmation, actor=SAM),
    "dismiss": lambda door, two, no: door.dismiss(UNKNOWN if no else two.confirmation, actor=SAM),
}
TAKEN: dict[str, Call] = {
    "check_free": lambda door, two, no: door.check_free(FLAG.flag, FLAG.environment),
    "propose": lambda door, two, no: door.propose(
        make_plan(), requester=SAM, place=Place(THEIRS, "C1"), reason="asked"
    ),
    "kill": lambda door, two, no: door.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire"),
}
OF_ITS_OWN = {
    "open",
    "open_flags",
    "glance",
    "has_taken_part",
    "freezes",
    "freeze",
    "check_may_act",
    "check_may_freeze",
    "request_exposure",
    "ask_to_confirm",
}
"""What is answered for each workspace from its own; tested one by one below."""


async def test_every_method_of_the_door_is_asked_below(two: Two) -> None:
    public = {name for name, _ in inspect.getmembers(RolloutService, inspect.iscoroutinefunction) if name[0] != "_"}
    assert public - {"wake"} == {*NOT_THERE, *TAKEN, *OF_ITS_OWN}


def test_nothing_behind_the_door_forgets_whose_it_may_see(many: bool) -> None:
    asked = 0
    for found in iter_modules(behind.__path__):
        module = import_module(f"{behind.__name__}.{found.name}")
        for call in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(call, ast.Call) and takes_a_scope(module, call.func):
                given = [ast.unparse(one) for one in (*call.args, *(keyword.value for keyword in call.keywords))]
                assert any(one.endswith("scope") for one in given), f"{found.name}: {ast.unparse(call)}"
                asked += 1
    assert asked > 10


def takes_a_scope(module: ModuleType, called: ast.expr) -> bool:
    """Whether what is called by a name of that module, such as `store.load`, asks for a scope."""
    names = ast.unparse(called).split(".")
    function = reduce(lambda found, name: getattr(found, name, None), names, module)
    return inspect.isfunction(function) and "scope" in inspect.signature(function).parameters


@pytest.mark.parametrize("method", NOT_THERE)
async def test_another_workspace_s_is_not_there_in_the_same_words_as_what_never_was(two: Two, method: str) -> None:
    before = await two.rows()
    with pytest.raises(NotFound) as refused:
        await NOT_THERE[method](two.theirs, two, False)
    with pytest.raises(NotFound) as unknown:
        await NOT_THERE[method](two.theirs, two, True)
    assert str(refused.value) == str(unknown.value)
    assert type(refused.value) is type(unknown.value)
    assert await two.rows() == before


@pytest.mark.parametrize("method", TAKEN)
async def test_its_flag_can_not_be_touched_and_nothing_is_told(two: Two, method: str) -> None:
    before = await two.rows()
    with pytest.raises(TakenElsewhere, match="from here at the moment") as refused:
        await TAKEN[method](two.theirs, two, False)
    assert not any(word in str(refused.value) for word in (OURS, MIRA, two.view.id, "proposed", "rolling"))
    assert await two.rows() == before


async def test_lists_and_requests_know_only_their_own(two: Two) -> None:
    before, theirs = await two.rows(), two.theirs
    assert await theirs.open() == [] == await theirs.open_flags()
    assert await theirs.freezes() == []
    seen = await theirs.glance(most=5)
    assert (seen.rollouts, seen.asked, seen.decided, sum(seen.phases.values())) == ((), (), (), 0)
    assert not await theirs.has_taken_part(MIRA)
    assert await two.world.service.of(OURS).has_taken_part(MIRA)
    asked = await theirs.request_exposure(FLAG.flag, FLAG.environment, 5, actor=JONAS)
    assert (asked.answer, asked.view) == (Answer.DENY, None)
    with pytest.raises(NotFound):
        await theirs.ask_to_confirm(
            Action.PAUSE, flag=FLAG.flag, environment=FLAG.environment, person=SAM, rollout_id=two.view.id
        )
    with pytest.raises(TakenElsewhere):
        await theirs.ask_to_confirm(Action.KILL, flag=FLAG.flag, environment=FLAG.environment, person=SAM)
    await theirs.check_may_act(SAM)
    assert await two.rows() == before
    [ours] = await two.world.service.of(OURS).open()
    assert ours.workspace == OURS
    assert [view.id for view in await two.world.service.open()] == [two.view.id], "the operator sees all"


async def test_a_freeze_of_one_workspace_holds_nothing_of_another(two: Two) -> None:
    made = await two.theirs.freeze(Wish(environment=FLAG.environment, reason="sale", workspace=THEIRS), actor=JONAS)
    async with two.world.database.read() as session:
        assert (await session.get_one(Freeze, made.id)).workspace == THEIRS
    view = await two.world.service.of(OURS).approve(two.approval, actor=JONAS)
    assert view.stage == 0


async def test_a_freeze_of_the_operator_is_lifted_by_a_workspace_only_where_there_is_one_alone(
    two: Two, many: bool
) -> None:
    made = await two.world.service.freeze(Wish(environment=FLAG.environment, reason="outage"), actor="cli:root")
    assert made.id is not None
    assert made in await two.theirs.freezes(), "whom it keeps sees it"
    if many:
        with pytest.raises(NotAllowed, match="Whoever runs Sluice made this freeze for everybody"):
            await two.theirs.unfreeze(made.id, actor=JONAS)
        assert made in await two.world.service.freezes()
        with pytest.raises(Frozen):
            await two.world.service.of(OURS).approve(two.approval, actor=JONAS)
        await two.world.service.unfreeze(made.id, actor="cli:root")
    else:
        await two.theirs.unfreeze(made.id, actor=JONAS)
    assert made not in await two.world.service.freezes()


async def test_once_it_has_ended_the_flag_is_free_and_its_history_stays_theirs(two: Two) -> None:
    await two.world.service.of(OURS).cancel(two.view.id, actor=MIRA, reason="no")
    view = await two.theirs.propose(make_plan(), requester=SAM, place=Place(THEIRS, "C2"), reason="asked")
    assert view.workspace == THEIRS
    assert (await two.world.service.of(OURS).find(FLAG.flag, FLAG.environment)).id == two.view.id
    with pytest.raises(NotFound):
        await two.theirs.get(two.view.id)


async def test_nobody_begins_a_rollout_in_another_workspace(two: Two) -> None:
    with pytest.raises(ValueError, match="in the workspace of whoever asks"):
        await two.theirs.propose(make_plan(), requester=SAM, place=Place(OURS, "C1"), reason="asked")


async def test_who_did_not_ask_for_a_workspace_s_door_finds_nothing(two: Two, many: bool) -> None:
    nobody = two.world.service.of_nobody()
    assert await nobody.open() == []
    assert nobody.scope == NOBODY
    assert (await nobody.of(OURS).get(two.view.id)).id == two.view.id
    with pytest.raises(NotFound):
        await two.world.service.of("").get(two.view.id)


async def test_what_is_nobody_s_is_everybody_s_only_where_there_is_one_workspace(two: Two, many: bool) -> None:
    await two.world.service.cancel(two.view.id, actor=MIRA, reason="no")
    view = await two.world.service.propose(make_plan(), requester="cli:ada", place=Place("", "C1"), reason="asked")
    if many:
        with pytest.raises(NotFound):
            await two.theirs.get(view.id)
    else:
        assert (await two.theirs.get(view.id)).id == view.id


async def test_the_log_says_whose_each_decision_is(two: Two) -> None:
    events = await two.world.events()
    assert events
    assert {event.payload.get("workspace") for event in events} == {OURS}


async def test_a_workspace_has_approvers_of_its_own(two: Two, many: bool) -> None:
    context = two.world.service._context
    policy = context.policy.model_copy(update={"workspaces": {THEIRS: Approving(approvers=(SAM,))}})
    assert policy.of(THEIRS).approvers == (SAM,)
    assert policy.of(OURS) is policy
    two.world.service._context = replace(context, policy=policy)
    await two.world.service.cancel(two.view.id, actor=MIRA, reason="no")
    theirs = two.world.service.of(THEIRS)
    view = await theirs.propose(make_plan(), requester=MIRA, place=Place(THEIRS, "C2"), reason="asked")
    assert view.approval is not None
    assert (await two.world.service.electors(view.approval.id)).approvers == (SAM,)


def test_a_scope_shows_what_it_sees(many: bool) -> None:
    scope = Scope(OURS, shared=not many)
    assert (scope.sees(OURS), scope.sees(THEIRS), scope.sees("")) == (True, False, not many)

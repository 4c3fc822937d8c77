"""A freeze keeps exposure where it is, and a spent error budget makes people decide; neither keeps it from falling."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from tests.unit.rollouts.world import (
    AIKO,
    ERRORS,
    FLAG,
    JONAS,
    MIRA,
    POLICY,
    SAM,
    World,
    make_plan,
    running_world,
    stage,
)
from tools.clock import ManualClock
from tools.errors import Conflict, InvalidInput, NotAllowed
from tools.flags.base import FlagRef, FlagServiceUnavailable
from tools.metrics.base import MetricQuery, Reading
from tools.metrics.catalogue import Catalogue, MetricDefinition
from tools.metrics.router import Metrics
from tools.people.memory import MemoryPeople
from tools.plans.model import Exposure
from tools.plans.policy import ApprovalRule, Freeze, Policy
from tools.rollouts import freezes
from tools.rollouts.controller import Controller
from tools.rollouts.freezes import Frozen, Wish
from tools.rollouts.phases import Phase
from tools.rollouts.views import RolloutView

GOOD = {"old": (950, 19), "new": (50, 1)}
BEGIN = ManualClock().now()
HOLIDAYS = Freeze(name="holidays", start=BEGIN + timedelta(minutes=5), end=BEGIN + timedelta(hours=2))


@pytest.fixture
async def frozen() -> AsyncIterator[World]:
    """A world that freezes five minutes from now, for two hours."""
    async with running_world(policy=POLICY.model_copy(update={"freezes": (HOLIDAYS,)})) as world:
        yield world


@pytest.mark.parametrize(
    ("freeze", "held"),
    [
        ({}, True),
        ({"environments": ("staging", "production")}, True),
        ({"environments": ("staging",)}, False),
        ({"tags": ("Payments",)}, True),
        ({"tags": ("search",)}, False),
        ({"start": BEGIN, "end": BEGIN + timedelta(minutes=30)}, False),
        ({"start": BEGIN + timedelta(minutes=31)}, False),
    ],
)
def test_a_freeze_holds_where_when_and_for_what_it_says(freeze: dict[str, object], held: bool) -> None:
    policy = POLICY.model_copy(update={"freezes": (HOLIDAYS.model_copy(update=freeze),)})
    at = BEGIN + timedelta(minutes=30)
    meant = [one for one in freezes.declared(policy, at=at) if one.concerns("production", "f", ("payments",), "T1")]
    assert (freezes.longest(meant, at) is not None) is held


def test_the_longest_of_several_is_named_and_a_freeze_must_make_sense() -> None:
    longer = HOLIDAYS.model_copy(update={"name": "year end", "end": BEGIN + timedelta(days=3)})
    policy = POLICY.model_copy(update={"freezes": (longer, HOLIDAYS)})
    at = BEGIN + timedelta(hours=1)
    found = freezes.longest(freezes.declared(policy, at=at), at)
    assert str(found) == "the freeze 'year end' lasts until 04 Jan 2026 00:00 UTC"
    with pytest.raises(ValidationError, match="must end after"):
        Freeze(name="x", start=BEGIN, end=BEGIN)
    with pytest.raises(ValidationError, match="timezone"):
        Freeze(name="x", start=datetime(2026, 1, 1), end=datetime(2026, 1, 2, tzinfo=UTC))  # noqa: DTZ001


def test_how_an_environment_is_capitalised_does_not_matter() -> None:
    """Flagsmith finds Production by production, too."""
    freeze = HOLIDAYS.model_copy(update={"environments": ("production",)})
    (found,) = freezes.declared(POLICY.model_copy(update={"freezes": (freeze,)}), at=freeze.start)
    assert found.concerns("Production", "f", (), "T1")
    assert not found.concerns("staging", "f", (), "T1")


async def test_nothing_starts_in_a_freeze_but_plans_can_be_made(frozen: World) -> None:
    frozen.clock.advance(600)
    view = await frozen.proposed()
    assert view.approval is not None
    for asking in (
        frozen.service.start(view.id, actor=MIRA),
        frozen.service.approve(view.approval.id, actor=JONAS),
    ):
        with pytest.raises(NotAllowed, match="'holidays' lasts until 01 Jan 2026 02:00 UTC"):
            await asking
    assert await frozen.percent() == 0
    frozen.clock.advance(7200)
    view = await frozen.service.approve(view.approval.id, actor=JONAS)
    assert (view.phase, await frozen.percent()) == (Phase.PROGRESSING, 5)


async def test_a_plan_that_waits_for_nobody_says_so_when_a_freeze_begins_and_when_it_ends() -> None:
    policy = POLICY.model_copy(update={"freezes": (HOLIDAYS,), "free_environments": ("production",)})
    async with running_world(policy=policy) as world:
        view = await world.proposed()
        assert await said_to_be_frozen(world, view.id) is False
        world.clock.advance(300)
        assert await said_to_be_frozen(world, view.id) is True
        revised = make_plan(stage(5, bake=90), stage(100))
        await world.service.revise(view.id, revised, actor=MIRA, reason="longer")
        assert await said_to_be_frozen(world, view.id) is True
        world.clock.advance(7200)
        assert await said_to_be_frozen(world, view.id) is False
        assert (await world.kinds(view.id)).count("freeze.over") == 1
        assert (await world.service.start(view.id, actor=MIRA)).phase is Phase.PROGRESSING


async def test_a_plan_that_is_made_in_a_freeze_says_so_at_the_next_look(frozen: World) -> None:
    frozen.clock.advance(600)
    view = await frozen.proposed()
    assert await said_to_be_frozen(frozen, view.id) is True


async def said_to_be_frozen(world: World, rollout_id: str) -> bool:
    """Whether the rollout says that it is, once it was looked at if that is due."""
    await world.controller.tick()
    return (await world.service.get(rollout_id)).frozen is not None


async def test_what_is_proven_holds_in_a_freeze_and_goes_on_by_itself_after_it(frozen: World) -> None:
    view = await frozen.started(make_plan(stage(5, bake=600, limit=20000), stage(25), stage(100)))
    view = await frozen.live(view.id, 70, **GOOD)
    assert (view.phase, view.stage, await frozen.percent()) == (Phase.PROGRESSING, 0, 5)
    assert view.frozen is not None
    assert str(view.frozen) == "the freeze 'holidays' lasts until 01 Jan 2026 02:00 UTC"
    frozen.clock.advance(7200)
    view = await frozen.live(view.id, 5, **GOOD)
    assert (view.stage, view.frozen, await frozen.percent()) == (1, None, 25)
    kinds = await frozen.kinds(view.id)
    assert (kinds.count("freeze.holds"), kinds.count("freeze.over")) == (1, 1)


async def waiting_since_before(frozen: World, monkeypatch: pytest.MonkeyPatch) -> RolloutView:
    """A rollout whose start was approved while the flag service took no writes, until the freeze had begun."""

    async def away(_ref: FlagRef, _exposure: Exposure, *, expected: str) -> None:
        raise FlagServiceUnavailable(f"It takes none for version {expected}.")

    with monkeypatch.context() as outage:
        outage.setattr(frozen.flags, "write", away)
        view = await frozen.started()
        view = await frozen.live(view.id, 31, **GOOD)
    assert (view.phase, view.frozen is not None) == (Phase.PROGRESSING, True)
    return view


async def test_what_could_not_be_raised_before_a_freeze_waits_for_its_end(
    frozen: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await waiting_since_before(frozen, monkeypatch)
    await frozen.live(view.id, 30, **GOOD)
    assert await frozen.percent() == 0
    frozen.clock.advance(2 * 3600)
    view = await frozen.live(view.id, 12, **GOOD)
    assert (view.phase, await frozen.percent()) == (Phase.PROGRESSING, 5)


async def test_what_waits_for_the_end_of_a_freeze_can_be_rolled_back_in_it(
    frozen: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await waiting_since_before(frozen, monkeypatch)
    assert (await frozen.service.roll_back(view.id, actor=SAM, reason="enough")).phase is Phase.ROLLED_BACK
    frozen.clock.advance(3 * 3600)
    await frozen.live(view.id, 2, **GOOD)
    assert await frozen.percent() == 0


async def test_in_a_freeze_nobody_promotes_or_raises_again_but_everybody_lowers(frozen: World) -> None:
    view = await frozen.started(make_plan(stage(5, bake=9000, limit=9000), stage(25)))
    await frozen.live(view.id, 40, **GOOD)
    with pytest.raises(NotAllowed, match="freeze"):
        await frozen.service.promote(view.id, actor=JONAS)
    await frozen.service.lower(view.id, 1, actor=SAM, reason="busy")
    with pytest.raises(NotAllowed, match="freeze"):
        await frozen.service.resume(view.id, actor=JONAS)
    view = await frozen.service.roll_back(view.id, actor=SAM, reason="enough")
    assert (view.phase, await frozen.percent()) == (Phase.ROLLED_BACK, 0)


async def test_a_freeze_keeps_nothing_from_finishing(frozen: World) -> None:
    view = await frozen.started(make_plan(stage(5, bake=400)))
    view = await frozen.live(view.id, 60, **GOOD)
    assert view.phase is Phase.SUCCEEDED


def with_objective(world: World, objective: float | None, source: object = None) -> None:
    """Have the world's controller know what rate is meant."""
    definition = MetricDefinition(name=ERRORS, source="memory", title="Errors", query="-", objective=objective)
    metrics = Metrics(Catalogue([definition]), {"memory": source or world.source})  # type: ignore[dict-item]
    world.controller = Controller(world.database, world.flags, metrics, POLICY, world.clock, owner="budget")
    world.service.wake = world.controller.carry_out


async def gone_on(world: World) -> RolloutView:
    view = await world.started(make_plan(stage(5), stage(25), stage(100)))
    return await world.live(view.id, 40, **GOOD)


@pytest.mark.parametrize("objective", [None, 0.1])
async def test_with_budget_left_or_without_an_objective_it_goes_on_by_itself(
    world: World, objective: float | None
) -> None:
    with_objective(world, objective)
    assert (await gone_on(world)).stage == 1


async def test_a_spent_budget_makes_people_decide(world: World) -> None:
    with_objective(world, 0.01)
    view = await gone_on(world)
    assert (view.phase, view.stage) == (Phase.WAITING_PROMOTION, 0)
    assert view.approval is not None
    assert view.approval.why == (
        f"the error budget of {ERRORS} is spent (2 % over the last 24 h, at most 1 % is meant)"
    )
    view = await world.service.approve(view.approval.id, actor=JONAS)
    assert await world.percent() == 25


@pytest.mark.parametrize("fault", [ZeroDivisionError("a driver's fault"), NotAllowed("no access")])
async def test_a_budget_that_can_not_be_read_makes_people_decide_too(world: World, fault: Exception) -> None:
    class BlindForDays:
        async def read(self, query: MetricQuery) -> Reading:
            if query.window.end - query.window.start > timedelta(hours=1):
                raise fault
            return await world.source.read(query)

    with_objective(world, 0.5, BlindForDays())
    view = await gone_on(world)
    assert view.phase is Phase.WAITING_PROMOTION
    assert view.approval is not None
    assert f"the error budget of {ERRORS} can't be read" in view.approval.why


async def test_rollbacks_ask_no_budget(world: World) -> None:
    with_objective(world, 0.0001)
    view = await world.started()
    view = await world.live(view.id, 40, old=(950, 19), new=(50, 25))
    assert (view.phase, await world.percent()) == (Phase.ROLLED_BACK, 0)
    assert FLAG.flag == view.flag


# -- those that people make -----------------------------------------------------------------------------------------

SALE = Wish(environment="production", reason="Sale", workspace="T1")


async def test_an_approver_freezes_and_another_lifts_it(world: World) -> None:
    view = await world.started(make_plan(stage(5, limit=86400), stage(25), stage(100)))
    made = await world.service.freeze(SALE, actor=MIRA)
    assert made.end is None
    view = await world.live(view.id, 40, **GOOD)
    assert (view.phase, view.stage) == (Phase.PROGRESSING, 0)
    assert view.frozen == made
    with pytest.raises(Frozen, match="everything in production is frozen until somebody lifts it, by UMIRA: Sale"):
        await world.service.promote(view.id, actor=JONAS)
    assert made.id is not None
    await world.service.unfreeze(made.id, actor=AIKO)
    with pytest.raises(Conflict, match="over already"):
        await world.service.unfreeze(made.id, actor=AIKO)
    assert await world.service.freezes() == []
    view = await world.live(view.id, 2, **GOOD)
    assert (view.stage, view.frozen, await world.percent()) == (1, None, 25)
    log = {event.kind: event for event in await world.events()}
    assert log["freeze.made"].actor == MIRA
    assert log["freeze.made"].payload["reason"] == "Sale"
    assert log["freeze.lifted"].actor == AIKO


async def test_a_rollout_is_looked_at_when_its_environment_is_frozen_in_capitals(world: World) -> None:
    view = await world.proposed()
    made = await world.service.freeze(SALE.model_copy(update={"environment": "PRODUCTION"}), actor=MIRA)
    await world.controller.tick()
    assert (await world.service.get(view.id)).frozen == made


async def test_a_freeze_withdraws_an_awaited_promotion_which_is_asked_anew_after_it(world: World) -> None:
    view = await world.started(make_plan(stage(5, limit=86400), stage(80)))
    view = await world.live(view.id, 40, **GOOD)
    assert view.phase is Phase.WAITING_PROMOTION
    assert view.approval is not None
    asked = view.approval.id
    until = world.clock.now() + timedelta(minutes=10)
    await world.service.freeze(SALE.model_copy(update={"until": until}), actor=JONAS)
    with pytest.raises(Frozen):
        await world.service.approve(asked, actor=JONAS)
    view = await world.live(view.id, 5, **GOOD)
    assert (view.phase, view.approval) == (Phase.PROGRESSING, None)
    with pytest.raises(Conflict, match="frozen"):
        await world.service.approve(asked, actor=JONAS)
    view = await world.live(view.id, 60, **GOOD)
    assert view.phase is Phase.WAITING_PROMOTION
    assert view.approval is not None
    view = await world.service.approve(view.approval.id, actor=JONAS)
    assert await world.percent() == 80


@pytest.mark.parametrize("person", [SAM, "UNOBODY"])
async def test_only_approvers_of_the_environment_and_the_command_line_freeze_and_lift(
    world: World, person: str
) -> None:
    with pytest.raises(NotAllowed, match="Only those who approve rollouts in production"):
        await world.service.freeze(SALE, actor=person)
    made = await world.service.freeze(SALE.model_copy(update={"workspace": ""}), actor="cli:root")
    assert made.id is not None
    with pytest.raises(NotAllowed):
        await world.service.unfreeze(made.id, actor=person)
    assert [one.id for one in await world.service.freezes()] == [made.id]
    assert (await world.service.unfreeze(made.id, actor="cli:root")).id == made.id


async def test_a_group_may_freeze_too_and_rules_for_other_environments_do_not_count() -> None:
    rules = (
        ApprovalRule(environments=("production",), approvers=("S0PAY",)),
        ApprovalRule(environments=("staging",), approvers=(SAM,)),
    )
    async with running_world(policy=Policy(approvers=(MIRA,), approval=rules)) as world:
        world.service._context = replace(world.service._context, people=MemoryPeople({"S0PAY": {JONAS}}))
        await world.service.freeze(SALE, actor=JONAS)
        for person in (SAM, AIKO):
            with pytest.raises(NotAllowed):
                await world.service.freeze(SALE, actor=person)
        await world.service.freeze(SALE.model_copy(update={"environment": "staging"}), actor=SAM)


@pytest.mark.parametrize(
    ("changes", "held"),
    [
        ({}, True),
        ({"environment": "staging"}, False),
        ({"flag": FLAG.flag}, True),
        ({"flag": "search"}, False),
        ({"tag": "Payments"}, True),
        ({"tag": "search"}, False),
        ({"workspace": "T2"}, False),
        ({"workspace": ""}, True),
        ({"start": BEGIN + timedelta(days=1)}, False),
    ],
)
async def test_it_keeps_what_it_is_meant_for(world: World, changes: dict[str, object], held: bool) -> None:
    view = await world.proposed(make_plan(tags=("payments",)))
    assert view.approval is not None
    await world.service.freeze(SALE.model_copy(update=changes), actor="cli:root")
    await world.controller.tick()
    view = await world.service.get(view.id)
    assert (view.frozen is not None) is held
    assert (view.approval is None) is held


async def test_one_that_ends_before_it_begins_is_refused(world: World) -> None:
    for until in (world.clock.now(), world.clock.now() - timedelta(days=1)):
        with pytest.raises(InvalidInput, match="must end after it begins"):
            await world.service.freeze(SALE.model_copy(update={"until": until}), actor=JONAS)
    with pytest.raises(InvalidInput, match="see its environment"):
        freezes.wish(environment="no name!", reason="x")
    with pytest.raises(InvalidInput, match="see its reason"):
        freezes.wish(environment="production", reason="")


async def test_freezes_of_settings_and_of_people_are_one_list(frozen: World) -> None:
    await frozen.service.freeze(SALE, actor=JONAS)
    assert [one.reason for one in await frozen.service.freezes()] == ["Sale", "holidays"]
    frozen.clock.advance(7200)
    assert [one.reason for one in await frozen.service.freezes()] == ["Sale"]
    elsewhere = await frozen.service.of("T2").freezes()
    assert elsewhere == []

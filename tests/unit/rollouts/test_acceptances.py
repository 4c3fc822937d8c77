"""Acceptances in a whole rollout: who may, how they end, and that none of them keeps exposure from falling."""

import random
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from tests.unit.rollouts.world import (
    AIKO,
    ERRORS,
    JONAS,
    MIRA,
    POLICY,
    RAIL,
    SAM,
    World,
    by_kind,
    make_plan,
    running_world,
    stage,
)
from tools.errors import Conflict, InvalidInput, NotAllowed
from tools.plans.model import OnFail
from tools.rollouts import acceptances, audit, freezes, store
from tools.rollouts.expectation import expectations
from tools.rollouts.phases import LIVE, Phase
from tools.rollouts.views import RolloutView

PAUSING = RAIL.model_copy(update={"on_fail": OnFail.PAUSE})
FINE = {"old": (950, 19), "new": (950, 19)}
WORSE = {"old": (950, 19), "new": (950, 48)}
UNSURE = {"old": (950, 19), "new": (950, 30)}
FAR = {"old": (950, 19), "new": (950, 190)}
WHY = "Known: the retries are counted twice"


async def paused(world: World, *, bake: float = 60) -> RolloutView:
    """Paused for proven harm, which is not far worse."""
    plan = make_plan(*(stage(percent, bake=bake, limit=86400, rail=PAUSING) for percent in (5, 25, 50)))
    view = await world.started(plan)
    for _ in range(40):
        view = await world.live(view.id, 1, **WORSE)
        if view.phase is Phase.PAUSED:
            return view
    raise AssertionError("it should have paused")


async def accept(
    world: World, view: RolloutView, *, by: str = AIKO, hours: float = 24, reason: str = WHY
) -> RolloutView:
    until = world.clock.now() + timedelta(hours=hours)
    return await world.service.accept(view.id, ERRORS, until=until, reason=reason, actor=by)


async def test_what_an_approver_accepts_lets_it_go_on_through_later_stages(world: World) -> None:
    view = await accept(world, await paused(world))
    [accepted] = view.acceptances
    assert (accepted.metric, accepted.by, accepted.reason) == (ERRORS, AIKO, WHY)
    view = await world.live(view.id, 1, **WORSE)
    # Nothing is suspected any more, so that anybody may have it go on.
    await world.service.resume(view.id, actor=SAM)
    view = await world.live(view.id, 60, **WORSE)
    assert view.stage == 2
    told = by_kind(await world.events(view.id))["acceptance.given"]
    assert told.actor == AIKO
    assert told.payload["reason"] == WHY
    assert told.payload["far"] == 4
    report = await audit.verify(world.database)
    assert report.faults == ()
    assert all([replayed.same async for replayed in audit.replay(world.database, view.id)])


async def test_neither_who_asked_nor_who_is_no_approver_may(world: World) -> None:
    view = await paused(world)
    for person in (MIRA, SAM, "cli:root"):
        with pytest.raises(NotAllowed):
            await accept(world, view, by=person)
        with pytest.raises(NotAllowed):
            await world.service.acceptable(view.id, actor=person)
    assert (await world.service.get(view.id)).acceptances == ()


@pytest.mark.parametrize(
    ("hours", "reason", "says"),
    [
        (7 * 24 + 1, WHY, "lasts 7 d at most"),
        (0, WHY, "into the future"),
        (-1, WHY, "into the future"),
        (24, "  ", "Say why"),
        (24, "x" * 501, "Say why"),
    ],
)
async def test_it_needs_a_reason_and_an_end_that_is_near(world: World, hours: float, reason: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        await accept(world, await paused(world), hours=hours, reason=reason)


async def test_only_what_the_newest_check_finds_can_be_accepted(world: World) -> None:
    view = await world.started()
    with pytest.raises(Conflict, match="nothing that could be accepted"):
        await accept(world, view)
    view = await world.live(view.id, 2, **UNSURE)
    until = world.clock.now() + timedelta(hours=1)
    with pytest.raises(Conflict, match="'revenue'"):
        await world.service.accept(view.id, "revenue", until=until, reason=WHY, actor=AIKO)
    found = await world.service.acceptable(view.id, actor=AIKO)
    assert [one.metric for one in found.findings] == [ERRORS]
    view = await world.service.roll_back(view.id, actor=SAM, reason="enough")
    with pytest.raises(Conflict, match="ended"):
        await accept(world, view)


async def test_it_counts_again_once_its_time_is_over_and_the_log_says_so(world: World) -> None:
    view = await accept(world, await paused(world, bake=7200), hours=0.1)
    await world.live(view.id, 1, **WORSE)
    await world.service.resume(view.id, actor=JONAS)
    view = await world.live(view.id, 37, **WORSE)
    assert (view.phase, view.acceptances) == (Phase.PAUSED, ())
    kinds = await world.kinds(view.id)
    assert kinds.count("acceptance.expired") == 1


async def test_anybody_may_withdraw_it_once_and_then_it_counts_again(world: World) -> None:
    view = await accept(world, await paused(world, bake=7200))
    await world.live(view.id, 1, **WORSE)
    await world.service.resume(view.id, actor=JONAS)
    view = await world.live(view.id, 1, **WORSE)
    assert view.phase is not Phase.PAUSED
    [accepted] = view.acceptances
    await world.service.withdraw_acceptance(accepted.id, actor=SAM)
    with pytest.raises(Conflict, match="not accepted any more"):
        await world.service.withdraw_acceptance(accepted.id, actor=SAM)
    view = await world.live(view.id, 1, **WORSE)
    assert view.phase is Phase.PAUSED
    assert by_kind(await world.events(view.id))["acceptance.withdrawn"].actor == SAM


async def test_nobody_promotes_on_a_check_that_rests_on_what_counts_again(world: World) -> None:
    view = await accept(world, await paused(world, bake=7200))
    await world.live(view.id, 1, **WORSE)
    await world.service.resume(view.id, actor=JONAS)
    view = await world.live(view.id, 1, **WORSE)
    await world.service.withdraw_acceptance(view.acceptances[0].id, actor=SAM)
    with pytest.raises(Conflict, match="wait for the next check"):
        await world.service.promote(view.id, actor=JONAS)


async def test_a_newer_one_takes_the_place_of_an_older_one(world: World) -> None:
    view = await accept(world, await paused(world))
    view = await accept(world, view, by=JONAS, hours=2, reason="Shorter")
    assert [(one.by, one.reason) for one in view.acceptances] == [(JONAS, "Shorter")]


async def test_a_plan_that_guards_the_metric_otherwise_makes_it_void(world: World) -> None:
    view = await accept(world, await paused(world))
    longer = [one.model_copy(update={"bake": timedelta(seconds=90)}) for one in view.plan.stages]
    slower = view.plan.model_copy(update={"stages": tuple(longer)})
    view = await world.service.revise(view.id, slower, actor=MIRA, reason="slower")
    assert len(view.acceptances) == 1
    strict = longer[-1].model_copy(update={"guardrails": (PAUSING.model_copy(update={"margin": 1.5}),)})
    stricter = slower.model_copy(update={"stages": (*longer[:-1], strict)})

    async def void(session: AsyncSession) -> None:
        # In flight only a metric that some stage did not guard yet can get another margin there.
        rollout = await store.load(session, view.id)
        await acceptances.void_changed(session, rollout, slower, stricter, at=world.clock.now())

    await store.transact(world.database, void)
    assert (await world.service.get(view.id)).acceptances == ()
    assert "acceptance.voided" in await world.kinds(view.id)


# -- safety ---------------------------------------------------------------------------------------------------------


async def overridden(world: World, rng: random.Random) -> RolloutView:
    """A rollout somewhere on its way, with an acceptance in force and a freeze over it."""
    bake = rng.choice((60, 9000))
    stages = [stage(percent, bake=bake, limit=86400) for percent in (5, 25)]
    view = await world.started(make_plan(*stages, stage(50, bake=86400, limit=86400)))
    view = await world.live(view.id, rng.randint(2, 4), **UNSURE)
    view = await accept(world, view)
    if rng.random() < 0.5:
        view = await world.live(view.id, rng.randint(1, 12), **rng.choice((FINE, WORSE)))
    wish = freezes.Wish(
        environment="production", reason="Sale", until=rng.choice((None, world.clock.now() + timedelta(days=1)))
    )
    await world.service.freeze(wish, actor=JONAS)
    if rng.random() < 0.3 and view.phase is Phase.PROGRESSING:
        await world.service.pause(view.id, actor=SAM, reason="lunch")
    view = await world.live(view.id, rng.randint(1, 4), **rng.choice((FINE, WORSE)))
    assert view.phase in LIVE
    assert view.frozen is not None
    return view


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("way", ["far", "kill", "back", "blind", "lower"])
async def test_neither_an_acceptance_nor_a_freeze_keeps_exposure_from_falling(way: str, seed: int) -> None:
    async with running_world(policy=POLICY) as world:
        view = await overridden(world, random.Random(f"{way} {seed}"))
        assert await world.percent() > 0
        match way:
            case "far":
                view = await world.live(view.id, 20, **FAR)
                assert "Far worse than what was accepted" in (view.rollback_reason or "")
            case "kill":
                await world.service.kill(view.flag, view.environment, actor=SAM, reason="now")
            case "back":
                await world.service.roll_back(view.id, actor=SAM, reason="enough")
            case "blind":
                view = await world.live(view.id, 45, old=(0, 0), new=(0, 0))
                assert "Blind for" in (view.rollback_reason or "")
            case "lower":
                await world.service.lower(view.id, 1, actor=SAM, reason="busy")
                assert await world.percent() == 1
                await world.service.roll_back(view.id, actor=SAM, reason="enough")
        assert await world.percent() == 0
        assert (await world.service.get(view.id)).phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("seed", range(4))
async def test_without_it_in_force_harm_rolls_back_whatever_ended_it(seed: int) -> None:
    rng = random.Random(seed)
    async with running_world() as world:
        view = await world.started(make_plan(*(stage(percent, bake=9000, limit=86400) for percent in (5, 25))))
        view = await world.live(view.id, 3, **UNSURE)
        view = await accept(world, view, hours=0.25)
        view = await world.live(view.id, 30, **WORSE)
        assert view.phase is Phase.PROGRESSING
        if rng.random() < 0.5:
            await world.service.withdraw_acceptance(view.acceptances[0].id, actor=SAM)
        else:
            world.clock.advance(900)
        view = await world.live(view.id, 2, **WORSE)
        assert view.phase is Phase.ROLLED_BACK


async def test_what_is_accepted_is_not_waited_for(world: World) -> None:
    view = await accept(world, await paused(world, bake=7200))
    await world.live(view.id, 1, **WORSE)
    view = await world.service.resume(view.id, actor=SAM)
    lines = await expectations(world.database, view, now=world.clock.now())
    assert lines[0].startswith(f"What is found of {ERRORS} is accepted until ")
    assert "harmful" not in " ".join(lines)

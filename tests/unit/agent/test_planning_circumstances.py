"""Freezes, error budgets and earlier rollouts: people read them before they approve, a model drafts with them."""

from datetime import timedelta

import pytest

from agent.planner import Planner
from tests.unit.agent.planning_desk import PRODUCTION, Desk, request, talking
from tests.unit.rollouts.world import SAM, running_world
from tools.metrics.base import MetricQuery, MetricSourceUnavailable, Reading
from tools.plans.defaults import PlanningDefaults
from tools.plans.policy import Freeze
from tools.rollouts.scope import Scope

SPEC = """---
flag: new-checkout
author: UAUTHOR
tags: [payments]
kpis:
  - {metric: refunds, direction: increase, margin: 2}
---
# New checkout
"""


@pytest.fixture
async def desk() -> Desk:
    made = Desk()
    await made.flag()
    made.specs.put("checkout.md", SPEC)
    return made


def freeze(desk: Desk, starts_in: timedelta, **changes: tuple[str, ...]) -> None:
    start = desk.clock.now() + starts_in
    one = Freeze(name="Sales", start=start, end=start + timedelta(days=3), **changes)
    desk.policy = desk.policy.model_copy(update={"freezes": (one,)})
    desk.planner = desk.with_drafter(None)


async def notes(desk: Desk) -> tuple[str, ...]:
    proposal = await desk.planner.propose(request())
    assert set(proposal.notes) <= set(proposal.plan.rationale)
    return proposal.notes


async def test_a_freeze_that_holds_or_is_near_is_said(desk: Desk) -> None:
    desk.history("refunds")
    freeze(desk, -timedelta(days=1))
    assert (await notes(desk))[0] == "Nothing goes up now: the freeze 'Sales' lasts until 03 Jan 2026 00:00 UTC."
    freeze(desk, timedelta(days=2), environments=(PRODUCTION,), tags=("payments",))
    assert (await notes(desk))[0] == (
        "The freeze 'Sales' begins on 03 Jan 2026 00:00 UTC: nothing goes further until 06 Jan 2026 00:00 UTC."
    )


@pytest.mark.parametrize(
    ("starts_in", "changes"),
    [
        (timedelta(days=20), {}),
        (-timedelta(days=3), {}),
        (timedelta(days=1), {"environments": ("staging",)}),
        (timedelta(days=1), {"tags": ("search",)}),
    ],
)
async def test_a_freeze_of_others_or_of_another_time_is_not(
    desk: Desk, starts_in: timedelta, changes: dict[str, tuple[str, ...]]
) -> None:
    desk.history("refunds")
    freeze(desk, starts_in, **changes)
    assert not [note for note in await notes(desk) if "Sales" in note]


async def test_a_spent_budget_warns_and_one_with_something_left_only_informs_the_model(desk: Desk) -> None:
    desk.history("refunds", rate=0.06)
    assert (await notes(desk))[0] == (
        "The error budget of refunds is spent (6 % over the last 24 h, at most 5 % is meant): "
        "people are asked before each step."
    )
    healthy = Desk()
    await healthy.flag()
    healthy.specs.put("checkout.md", SPEC)
    healthy.history("refunds", rate=0.01)
    assert not [note for note in await notes(healthy) if "budget" in note]
    async with talking(healthy, "{}", "{}", "{}") as talk:
        await talk.planner.propose(request())
        assert "The error budget of refunds is 80 % left" in talk.model.asked[0][-1].content


async def test_a_budget_that_cant_be_read_is_said_and_keeps_nobody_from_a_plan(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.history("refunds")
    read, left = desk.source.read, 240

    async def refuse_later(query: MetricQuery) -> Reading:
        nonlocal left
        left -= 1
        if left < 0:
            raise MetricSourceUnavailable("The metrics do not answer.")
        return await read(query)

    monkeypatch.setattr(desk.source, "read", refuse_later)
    assert (await notes(desk))[0] == "The error budget of refunds can't be read: The metrics do not answer."


async def test_an_earlier_rollback_of_the_flag_is_said_to_those_who_may_know(desk: Desk) -> None:
    desk.history("refunds")
    async with running_world() as world:
        view = await world.started()
        await world.live(view.id, 2)
        await world.service.roll_back(view.id, actor=SAM, reason="Cards were declined, xoxb-1234567890-secret")
        await world.live(view.id, 2)
        planner = Planner(
            desk.specs, desk.flags, desk.metrics, desk.policy, PlanningDefaults(), desk.clock, None, world.database
        )
        (note, *_) = (await planner.propose(request(scope=Scope("T1")))).notes
        others = (await planner.propose(request(scope=Scope("T2")))).notes
    assert note.startswith("new-checkout in production was rolled back by a person at 5 % (01 Jan 2026): Cards were")
    assert "xoxb" not in note
    assert not [one for one in others if "rolled back" in one]

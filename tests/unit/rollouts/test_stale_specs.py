"""A plan whose spec changed says so, starts only when that is settled, and is never kept from coming back."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import func, select
from structlog.testing import capture_logs

from tests.contract.specs.conftest import no_sleep, remote
from tests.contract.specs.fakes import TOKEN, FakePages, Refused
from tests.unit.rollouts.world import FLAG, JONAS, MIRA, PLACE, SAM, World, make_plan, running_world, stage
from tools.clock import ManualClock
from tools.errors import Conflict
from tools.flags.base import FlagRef
from tools.flags.memory import MemoryFlagService
from tools.plans.policy import Freeze, Policy
from tools.records.models import SpecSnapshot
from tools.rollouts import watching
from tools.rollouts.approvals import ApprovalClosed, Purpose
from tools.rollouts.checks import Assessment
from tools.rollouts.controller import Snapshot
from tools.rollouts.phases import Phase
from tools.rollouts.staleness import SpecChanged, SpecState
from tools.rollouts.views import RolloutView
from tools.rollouts.watching import SpecWatcher
from tools.specs.base import Spec, SpecSource, SpecSourceUnavailable
from tools.specs.memory import MemorySpecSource
from tools.specs.options import SpecSourceOptions
from tools.specs.registry import SpecParts, create_spec_source

GOOD = {"old": (950, 19), "new": (50, 1)}
BAD = {"old": (950, 10), "new": (50, 40)}
FILE = "checkout.md"


class Shelf(MemorySpecSource):
    """Specs that may be away; the one of `breaks` is more than its reader can bear. `reads` counts the questions.

    `partly` is what was read where not all could be.
    """

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.breaks: str | None = None
        self.partly: Spec | None = None
        self.reads = 0

    def says(self, words: str) -> None:
        self.put(FILE, f"---\nflag: {FLAG.flag}\n---\n# Checkout\n{words}\n")

    async def read(self, flag: str) -> Spec:
        self.reads += 1
        if self.away:
            raise SpecSourceUnavailable("The wiki is away; see how it does.")
        if flag == self.breaks:
            raise RecursionError
        if self.partly is not None:
            return self.partly
        return await super().read(flag)

    async def list(self) -> Sequence[str]:
        return [FLAG.flag]


@dataclass
class Site(FakePages):
    """Pages, of which those of `away` answer 503."""

    away: set[str] = field(default_factory=set)

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path in self.away:
            raise Refused(503, {})
        return super().answer(request)


@pytest.fixture
def shelf() -> Shelf:
    shelf = Shelf()
    shelf.says("One page.")
    return shelf


@pytest.fixture
async def world(shelf: Shelf) -> AsyncIterator[World]:
    async with running_world(specs=shelf) as running:
        yield running


def create_pages(server: Site, clock: ManualClock, options: dict[str, object]) -> SpecSource:
    return create_spec_source(SpecSourceOptions.model_validate(options), SpecParts(clock, server, no_sleep))


def watcher(world: World) -> SpecWatcher:
    assert world.watcher is not None
    return world.watcher


async def proposed(world: World, shelf: Shelf) -> RolloutView:
    """A plan that rests on the spec as it is."""
    spec = await shelf.read(FLAG.flag)
    plan = make_plan(stage(5), stage(25), stage(100), spec_sha256=spec.sha256)
    return await world.service.propose(plan, requester=MIRA, place=PLACE, reason="asked", spec=spec)


async def started(world: World, shelf: Shelf) -> RolloutView:
    view = await proposed(world, shelf)
    assert view.approval is not None
    return await world.service.approve(view.approval.id, actor=JONAS)


def state_of(view: RolloutView) -> SpecState:
    assert view.spec is not None
    return view.spec.state


async def looked(world: World, view: RolloutView, seconds: float = 301) -> RolloutView:
    """As the clock has it, once the spec is due again."""
    world.clock.advance(seconds)
    await watcher(world).turn()
    return await world.service.get(view.id)


async def test_a_proposed_plan_whose_spec_changed_says_so_once_and_withdraws_its_question(
    world: World, shelf: Shelf
) -> None:
    view = await proposed(world, shelf)
    assert (state_of(view), view.approval is None) == (SpecState.SAME, False)
    shelf.says("Two pages.")
    assert state_of(await looked(world, view)) is SpecState.CHANGED
    view = await looked(world, view)
    assert view.approval is None
    assert view.spec is not None
    assert view.spec.stale
    assert (await world.kinds(view.id)).count("spec.changed") == 1
    told = [one for one in await world.outbox() if one.payload.get("what") == "spec.changed"]
    assert [one.kind for one in told] == ["note"]
    async with world.database.read() as session:
        assert await session.scalar(select(func.count()).select_from(SpecSnapshot)) == 2


async def test_it_is_looked_at_when_somebody_starts_without_waiting_for_the_clock(shelf: Shelf) -> None:
    async with running_world(
        specs=shelf, policy=Policy(approvers=(JONAS,), free_environments=(FLAG.environment,))
    ) as world:
        view = await proposed(world, shelf)
        assert view.approval is None
        shelf.says("Two pages.")
        with pytest.raises(SpecChanged, match=rf"changed after this was planned.*/rollout plan {FLAG.flag}"):
            await world.service.start(view.id, actor=MIRA)
        assert await world.percent() == 0
        shelf.says("One page.")
        assert (await world.service.start(view.id, actor=MIRA)).phase is Phase.PROGRESSING


async def test_an_approval_counts_for_the_spec_that_it_was_asked_about(world: World, shelf: Shelf) -> None:
    view = await proposed(world, shelf)
    assert view.approval is not None
    shelf.says("Two pages.")
    with pytest.raises(ApprovalClosed, match="changed after this was planned"):
        await world.service.approve(view.approval.id, actor=JONAS)
    assert (await world.service.get(view.id)).phase is Phase.PROPOSED
    assert await world.percent() == 0


async def test_a_page_with_an_openapi_beside_it_stays_the_same_until_either_changes() -> None:
    root, words = "https://specs.example.com", f"---\nflag: {FLAG.flag}\n---\n# Checkout\n"
    api = f'{{"openapi": "3.1.0", "x-sluice": {{"flag": "{FLAG.flag}"}}, "paths": {{"/pay": {{"get": {{}}}}}}}}'
    server = FakePages(pages={"/a.md": ("text/markdown", words), "/api.json": ("application/json", api)})
    source = remote(server, type="https", url=root, pages=[f"{root}/a.md", f"{root}/api.json"])
    async with running_world(specs=source) as world:
        spec = await source.read(FLAG.flag)
        plan = make_plan(spec_sha256=spec.sha256)
        view = await world.service.propose(plan, requester=MIRA, place=PLACE, reason="asked", spec=spec)
        assert view.approval is not None
        assert (await world.service.approve(view.approval.id, actor=JONAS)).phase is Phase.PROGRESSING
        server.pages["/api.json"] = "application/json", api.replace("get", "put")
        assert state_of(await looked(world, view)) is SpecState.CHANGED


async def test_another_page_that_can_not_be_read_keeps_no_approved_plan_from_starting() -> None:
    root, words = "https://specs.example.com", "---\nflag: {}\n---\n# Checkout\n"
    pages = {"/mine": ("text/markdown", words.format(FLAG.flag)), "/other": ("text/markdown", words.format("other"))}
    server = FakePages(pages=pages)
    source = remote(server, type="https", url=root, pages=[f"{root}{path}" for path in pages])
    async with running_world(specs=source) as world:
        spec = await source.read(FLAG.flag)
        plan = make_plan(spec_sha256=spec.sha256)
        view = await world.service.propose(plan, requester=MIRA, place=PLACE, reason="asked", spec=spec)
        # What is no document is as bad as none.
        server.pages["/other"] = "image/png", ""
        world.clock.advance(301)
        assert view.approval is not None
        assert (await world.service.approve(view.approval.id, actor=JONAS)).phase is Phase.PROGRESSING


@pytest.mark.parametrize("words", ["/mine", "/mine.md"])
async def test_what_a_new_process_can_not_read_beside_a_page_is_no_change_of_the_spec(words: str) -> None:
    root, text = "https://specs.example.com", f"---\nflag: {FLAG.flag}\n---\n# Checkout\n"
    api = f'{{"openapi": "3.1.0", "x-sluice": {{"flag": "{FLAG.flag}"}}, "paths": {{"/pay": {{"get": {{}}}}}}}}'
    server = Site(pages={words: ("text/markdown", text), "/api.json": ("application/json", api)})
    options: dict[str, object] = {
        "type": "https",
        "url": root,
        "token": TOKEN,
        "pages": [f"{root}{path}" for path in server.pages],
    }
    source = create_pages(server, ManualClock(), options)
    async with running_world(specs=source) as world:
        spec = await source.read(FLAG.flag)
        view = await world.service.propose(
            make_plan(spec_sha256=spec.sha256), requester=MIRA, place=PLACE, reason="asked", spec=spec
        )
        clock = ManualClock(world.clock.now())
        restarted = SpecWatcher(world.database, create_pages(server, clock, options), clock, every=timedelta(minutes=5))
        server.away = {"/api.json"}
        for _ in range(2):
            await restarted.look(view.id)
            view = await world.service.get(view.id)
            assert state_of(view) is SpecState.UNREAD
            assert view.approval is not None
            assert view.spec is not None
            assert "could not be looked through" in view.spec.why
        assert "spec.changed" not in await world.kinds(view.id)
        async with world.database.read() as session:
            assert await session.scalar(select(func.count()).select_from(SpecSnapshot)) == 1
        server.away.clear()
        clock.advance(61)
        await restarted.look(view.id)
        assert state_of(await world.service.get(view.id)) is SpecState.SAME
        server.pages["/api.json"] = "application/json", api.replace("get", "put")
        await restarted.look(view.id)
        assert state_of(await world.service.get(view.id)) is SpecState.CHANGED


async def test_a_change_is_not_forgotten_by_a_process_that_can_not_read_what_stands_beside(
    world: World, shelf: Shelf
) -> None:
    view, planned_from = await proposed(world, shelf), await shelf.read(FLAG.flag)
    shelf.says("Two pages.")
    assert state_of(await looked(world, view)) is SpecState.CHANGED
    shelf.partly = planned_from.model_copy(update={"whole": False})
    assert state_of(await looked(world, view)) is SpecState.CHANGED
    shelf.says("One page.")
    shelf.partly = None
    assert state_of(await looked(world, view)) is SpecState.SAME
    shelf.partly = planned_from.model_copy(update={"whole": False})
    assert state_of(await looked(world, view)) is SpecState.SAME


async def test_a_plan_made_anew_rests_on_the_new_spec(world: World, shelf: Shelf) -> None:
    view = await proposed(world, shelf)
    shelf.says("Two pages.")
    await looked(world, view)
    again = await proposed(world, shelf)
    assert (again.id, again.plan_version, state_of(again)) == (view.id, 2, SpecState.SAME)
    assert again.approval is not None
    assert (await world.service.approve(again.approval.id, actor=JONAS)).phase is Phase.PROGRESSING


async def test_a_plan_that_is_only_edited_stays_stale(world: World, shelf: Shelf) -> None:
    view = await proposed(world, shelf)
    shelf.says("Two pages.")
    view = await looked(world, view)
    edited = view.plan.model_copy(update={"stages": (stage(1), *view.plan.stages[1:])})
    view = await world.service.revise(view.id, edited, actor=SAM, reason="smaller")
    assert state_of(view) is SpecState.CHANGED
    assert view.approval is not None
    with pytest.raises(SpecChanged):
        await world.service.approve(view.approval.id, actor=JONAS)


async def test_somebody_says_on_the_record_that_the_plan_stands_and_people_are_asked_again(
    world: World, shelf: Shelf
) -> None:
    view = await proposed(world, shelf)
    shelf.says("Two pages.")
    await looked(world, view)
    view = await world.service.keep_plan(view.id, actor=SAM)
    assert view.spec is not None
    assert (view.spec.stale, view.spec.stands) == (False, SAM)
    event = [one for one in await world.events(view.id) if one.kind == "spec.accepted"][-1]
    assert (event.actor, event.payload["planned_from"]) == (SAM, view.plan.spec_sha256)
    assert view.approval is not None
    assert (await world.service.approve(view.approval.id, actor=JONAS)).phase is Phase.PROGRESSING


async def test_what_somebody_said_is_about_that_change_and_no_later_one(world: World, shelf: Shelf) -> None:
    view = await proposed(world, shelf)
    shelf.says("Two pages.")
    await looked(world, view)
    view = await world.service.keep_plan(view.id, actor=SAM)
    shelf.says("Three pages.")
    with pytest.raises(Conflict, match="at this very moment"):
        await world.service.keep_plan(view.id, actor=SAM)
    view = await world.service.get(view.id)
    assert view.spec is not None
    assert view.spec.stale
    assert (await world.kinds(view.id)).count("spec.changed") == 2


async def test_there_is_nothing_to_say_of_a_spec_that_is_the_same(world: World, shelf: Shelf) -> None:
    view = await proposed(world, shelf)
    with pytest.raises(Conflict, match="as it was planned from"):
        await world.service.keep_plan(view.id, actor=SAM)


async def test_a_spec_that_is_as_it_was_again_is_no_longer_stale(world: World, shelf: Shelf) -> None:
    view = await proposed(world, shelf)
    shelf.says("Two pages.")
    await looked(world, view)
    shelf.says("One page.")
    view = await looked(world, view)
    assert state_of(view) is SpecState.SAME
    assert (await world.kinds(view.id)).count("spec.as_planned") == 1
    assert (await world.service.start(view.id, actor=MIRA)).approval is not None


@pytest.mark.parametrize(
    ("text", "why"),
    [("# No front matter\n", "No spec in memory"), ("---\nflag: new-checkout\nfalg: x\n---\n# A\n", "falg")],
)
async def test_a_spec_that_is_gone_or_broken_makes_the_plan_stale_and_says_why(
    world: World, shelf: Shelf, text: str, why: str
) -> None:
    view = await proposed(world, shelf)
    shelf.put(FILE, text)
    view = await looked(world, view)
    assert view.spec is not None
    assert view.spec.state is SpecState.UNUSABLE
    assert why in view.spec.why
    with pytest.raises(SpecChanged, match="can't be used any more"):
        await world.service.start(view.id, actor=MIRA)


async def test_a_source_that_is_away_is_not_a_spec_that_stayed_the_same(world: World, shelf: Shelf) -> None:
    view = await proposed(world, shelf)
    shelf.away = True
    with pytest.raises(SpecChanged, match=r"Nobody knows.*The wiki is away"):
        await world.service.start(view.id, actor=MIRA)
    view = await looked(world, view)
    assert state_of(view) is SpecState.UNREAD
    assert "spec.changed" not in await world.kinds(view.id)
    assert view.approval is not None
    with pytest.raises(SpecChanged, match="Nobody knows"):
        await world.service.approve(view.approval.id, actor=JONAS)
    view = await world.service.keep_plan(view.id, actor=SAM)
    assert view.approval is not None
    assert (await world.service.approve(view.approval.id, actor=JONAS)).phase is Phase.PROGRESSING


async def test_what_was_known_to_have_changed_is_known_while_the_source_is_away(world: World, shelf: Shelf) -> None:
    view = await proposed(world, shelf)
    shelf.says("Two pages.")
    await looked(world, view)
    shelf.away = True
    assert state_of(await looked(world, view)) is SpecState.CHANGED
    shelf.away = False
    assert state_of(await looked(world, view)) is SpecState.CHANGED
    assert (await world.kinds(view.id)).count("spec.changed") == 1


async def test_a_running_rollout_takes_its_next_step_only_when_people_say_so(world: World, shelf: Shelf) -> None:
    view = await started(world, shelf)
    shelf.says("Two pages.")
    view = await world.live(view.id, checks=45, **GOOD)
    assert (view.phase, view.stage) == (Phase.WAITING_PROMOTION, 0)
    assert view.approval is not None
    assert view.approval.purpose is Purpose.PROMOTE
    assert "the spec changed after this was planned" in view.approval.why
    view = await world.service.approve(view.approval.id, actor=JONAS)
    assert (view.phase, view.stage) == (Phase.PROGRESSING, 1)


@pytest.mark.parametrize("person", [MIRA, SAM, JONAS], ids=["the requester", "anybody", "an approver"])
async def test_once_it_runs_nobody_says_that_the_plan_stands_instead_of_the_approvers_of_the_step(
    world: World, shelf: Shelf, person: str
) -> None:
    view = await started(world, shelf)
    await world.live(view.id, checks=3, **GOOD)
    shelf.says("Two pages.")
    await watcher(world).look(view.id)
    with pytest.raises(Conflict, match="for those who approve it"):
        await world.service.keep_plan(view.id, actor=person)
    assert "spec.accepted" not in await world.kinds(view.id)
    view = await world.live(view.id, checks=45, **GOOD)
    assert (view.phase, view.stage, await world.percent()) == (Phase.WAITING_PROMOTION, 0, 5)
    assert view.approval is not None
    assert "the spec changed after this was planned" in view.approval.why
    with pytest.raises(Conflict, match="for those who approve it"):
        await world.service.keep_plan(view.id, actor=person)
    assert (await world.service.get(view.id)).approval is not None


@pytest.mark.parametrize("anew", [True, False], ids=["the new spec", "no spec"])
async def test_a_running_plan_rests_on_no_other_spec_than_people_approved(
    world: World, shelf: Shelf, anew: bool
) -> None:
    view = await started(world, shelf)
    await world.live(view.id, checks=3, **GOOD)
    shelf.says("Two pages.")
    await watcher(world).look(view.id)
    spec = await shelf.read(FLAG.flag) if anew else None
    update = {"stages": (view.plan.stages[0], stage(20), stage(90)), "spec_sha256": spec.sha256 if spec else None}
    with pytest.raises(Conflict, match="The spec would be another than people approved"):
        await world.service.revise(
            view.id, view.plan.model_copy(update=update), actor=MIRA, reason="smaller", spec=spec
        )
    assert state_of(await world.service.get(view.id)) is SpecState.CHANGED


async def test_a_change_that_people_started_despite_asks_nobody_again_and_a_later_one_does(
    world: World, shelf: Shelf
) -> None:
    view = await proposed(world, shelf)
    shelf.says("Two pages.")
    await looked(world, view)
    view = await world.service.keep_plan(view.id, actor=SAM)
    assert view.approval is not None
    await world.service.approve(view.approval.id, actor=JONAS)
    view = await world.live(view.id, checks=45, **GOOD)
    assert view.stage == 1
    assert view.approval is None or "spec" not in view.approval.why
    shelf.says("Three pages.")
    await watcher(world).look(view.id)
    view = await world.live(view.id, checks=60, **GOOD)
    assert view.approval is not None
    assert "the spec changed after this was planned" in view.approval.why


def freeze_of(minutes: float) -> Policy:
    """Nothing goes up for so long, from a minute after a world began."""
    start = ManualClock().now() + timedelta(minutes=1)
    freeze = Freeze(name="holidays", start=start, end=start + timedelta(minutes=minutes))
    return Policy(approvers=(JONAS,), freezes=(freeze,))


async def test_a_step_that_a_freeze_keeps_from_being_taken_is_none_to_look_at_the_spec_for(shelf: Shelf) -> None:
    async with running_world(specs=shelf, policy=freeze_of(minutes=10)) as world:
        view, reads = await started(world, shelf), shelf.reads
        view = await world.live(view.id, checks=60, **GOOD)
        assert (view.stage, view.frozen is not None, shelf.reads) == (0, True, reads)
        shelf.says("Two pages.")
        view = await world.live(view.id, checks=10, **GOOD)
        assert view.approval is not None
        assert "the spec changed after this was planned" in view.approval.why


async def test_a_freeze_that_ends_during_a_check_leaves_the_step_to_one_that_looks_at_the_spec(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_world(specs=shelf, policy=freeze_of(minutes=10)) as world:
        view = await started(world, shelf)
        view = await world.live(view.id, checks=45, **GOOD)
        shelf.says("Two pages.")
        concerns = world.controller._concerns

        async def taking_long(snapshot: Snapshot, assessment: Assessment) -> list[str] | None:
            found = await concerns(snapshot, assessment)
            world.clock.advance(300)
            return found

        with monkeypatch.context() as patched:
            patched.setattr(world.controller, "_concerns", taking_long)
            view = await world.live(view.id, checks=1, **GOOD)
        assert (view.phase, view.stage, view.frozen) == (Phase.PROGRESSING, 0, None)
        view = await world.live(view.id, checks=10, **GOOD)
        assert (view.phase, view.stage) == (Phase.WAITING_PROMOTION, 0)


async def test_whoever_promotes_by_hand_is_told_of_a_change_before(world: World, shelf: Shelf) -> None:
    view = await started(world, shelf)
    await world.live(view.id, checks=3, **GOOD)
    shelf.says("Two pages.")
    with pytest.raises(SpecChanged, match="at this very moment"):
        await world.service.promote(view.id, actor=JONAS)
    assert (await world.service.promote(view.id, actor=JONAS)).stage == 1


async def test_a_question_about_a_step_is_asked_anew_when_the_spec_changes_meanwhile(shelf: Shelf) -> None:
    policy = Policy(approvers=(JONAS,), largest_free_step=1.0)
    async with running_world(specs=shelf, policy=policy) as world:
        view = await started(world, shelf)
        view = await world.live(view.id, checks=45, **GOOD)
        assert view.approval is not None
        asked = view.approval
        assert "spec" not in asked.why
        shelf.says("Two pages.")
        with pytest.raises(ApprovalClosed, match="changed after this was planned"):
            await world.service.approve(asked.id, actor=JONAS)
        view = await world.live(view.id, checks=3, **GOOD)
        assert view.approval is not None
        assert view.approval.id != asked.id
        assert "the spec changed" in view.approval.why


async def test_nothing_keeps_it_from_coming_back(world: World, shelf: Shelf) -> None:
    view = await started(world, shelf)
    await world.live(view.id, checks=3, **GOOD)
    shelf.away, reads = True, shelf.reads
    view = await world.live(view.id, checks=20, **BAD)
    assert view.phase is Phase.ROLLED_BACK
    assert await world.percent() == 0
    assert shelf.reads == reads


async def test_people_roll_back_pause_and_lower_without_anybody_looking_at_the_spec(world: World, shelf: Shelf) -> None:
    view = await started(world, shelf)
    await world.live(view.id, checks=2, **GOOD)
    shelf.away, reads = True, shelf.reads
    await world.service.pause(view.id, actor=SAM, reason="lunch")
    await world.service.lower(view.id, 1, actor=SAM, reason="careful")
    assert (await world.service.roll_back(view.id, actor=SAM, reason="enough")).phase is Phase.ROLLED_BACK
    assert shelf.reads == reads


async def test_the_clock_looks_at_a_bounded_rate_whatever_number_of_processes_does(world: World, shelf: Shelf) -> None:
    view = await proposed(world, shelf)
    other = SpecWatcher(world.database, shelf, world.clock, every=watcher(world)._every)
    await watcher(world).turn()
    before = shelf.reads
    for _ in range(60):
        world.clock.advance(10)
        await watcher(world).turn()
        await other.turn()
    assert shelf.reads - before == 2
    await world.service.cancel(view.id, actor=MIRA, reason="no")
    await looked(world, view)
    assert shelf.reads - before == 2


async def test_a_plan_without_a_spec_is_not_looked_at(world: World, shelf: Shelf) -> None:
    view = await world.proposed()
    assert view.spec is None
    view = await looked(world, view)
    assert (view.spec, shelf.reads) == (None, 0)


@pytest.mark.parametrize("breaks", [FLAG.flag, "other"])
async def test_a_spec_that_breaks_a_look_keeps_no_other_from_being_looked_at(
    world: World, shelf: Shelf, breaks: str
) -> None:
    assert isinstance(world.flags, MemoryFlagService)
    await world.flags.define(FlagRef("other", FLAG.environment), "old", "new")
    shelf.put("other.md", "---\nflag: other\n---\n# Other\n")
    spec = await shelf.read("other")
    plan = make_plan(flag="other", spec_sha256=spec.sha256)
    views = [
        await proposed(world, shelf),
        await world.service.propose(plan, requester=MIRA, place=PLACE, reason="asked", spec=spec),
    ]
    shelf.says("Two pages.")
    shelf.put("other.md", "---\nflag: other\n---\n# Another\n")
    shelf.breaks = breaks
    found = [await looked(world, view) for view in views]
    assert {view.flag: state_of(view) for view in found} == {
        view.flag: SpecState.UNREAD if view.flag == breaks else SpecState.CHANGED for view in views
    }


async def test_what_a_turn_has_no_time_for_is_looked_at_in_the_next(
    world: World, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(world.flags, MemoryFlagService)
    names = [f"flag-{number}" for number in range(5)]
    for name in names:
        await world.flags.define(FlagRef(name, FLAG.environment), "old", "new")
        shelf.put(f"{name}.md", f"---\nflag: {name}\n---\n# Words\n")
        spec = await shelf.read(name)
        plan = make_plan(flag=name, spec_sha256=spec.sha256)
        await world.service.propose(plan, requester=MIRA, place=PLACE, reason="asked", spec=spec)
    looked_at = list[str]()

    async def slow(flag: str) -> Spec:
        looked_at.append(flag)
        world.clock.advance(6)
        return await Shelf.read(shelf, flag)

    monkeypatch.setattr(shelf, "read", slow)
    monkeypatch.setattr(watching, "TURN", timedelta(seconds=10))
    world.clock.advance(301)
    with capture_logs() as logs:
        assert [await watcher(world).turn() for _ in range(4)] == [2, 2, 1, 0]
    assert sorted(looked_at) == names
    assert [entry["looked_at"] for entry in logs if entry["event"] == "specs.slow"] == [2, 2]


async def test_a_look_that_goes_wrong_leaves_a_spec_of_which_nobody_knows_and_a_step_asks(
    world: World, shelf: Shelf
) -> None:
    view = await started(world, shelf)
    shelf.says("Two pages.")
    shelf.breaks = FLAG.flag
    with capture_logs() as logs:
        view = await looked(world, view)
    assert view.spec is not None
    assert (view.spec.state, view.spec.stale) == (SpecState.UNREAD, True)
    faults = [entry for entry in logs if entry["event"] == "specs.faulty"]
    assert [entry["reference"] in view.spec.why for entry in faults] == [True]
    view = await world.live(view.id, checks=45, **GOOD)
    assert view.phase is Phase.WAITING_PROMOTION
    assert view.approval is not None
    assert "rollout.faulty" not in await world.kinds(view.id)


async def test_a_look_that_can_not_be_written_down_is_in_the_log_under_its_reference(
    world: World, shelf: Shelf
) -> None:
    view = await proposed(world, shelf)
    shelf.says("Two pages.")
    async with world.database.engine.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE spec_snapshots RENAME TO elsewhere")
    world.clock.advance(301)
    with capture_logs() as logs:
        assert await watcher(world).turn() == 1
    assert [(entry["of"], len(entry["reference"])) for entry in logs if entry["event"] == "specs.faulty"] == [
        (view.id, 8)
    ]


async def proposed_without_a_spec(world: World, shelf: Shelf) -> RolloutView:
    """A plan that says what it rests on, and of which nothing else is known."""
    plan = make_plan(stage(5), stage(25), stage(100), spec_sha256=(await shelf.read(FLAG.flag)).sha256)
    return await world.service.propose(plan, requester=MIRA, place=PLACE, reason="asked", spec=None)


async def test_of_a_spec_that_was_never_looked_at_nothing_is_known_until_it_is_read(world: World, shelf: Shelf) -> None:
    view = await proposed_without_a_spec(world, shelf)
    assert view.spec is not None
    assert (view.spec.state, view.spec.stale) == (SpecState.UNREAD, True)
    assert view.approval is not None
    shelf.away = True
    with pytest.raises(SpecChanged, match="Nobody knows whether the spec"):
        await world.service.approve(view.approval.id, actor=JONAS)
    assert await world.percent() == 0
    shelf.away = False
    view = await world.service.approve(view.approval.id, actor=JONAS)
    assert view.spec is not None
    assert (view.spec.state, view.spec.source, view.phase) == (SpecState.SAME, FILE, Phase.PROGRESSING)


async def test_a_change_of_a_spec_that_was_never_looked_at_is_told(world: World, shelf: Shelf) -> None:
    view = await proposed_without_a_spec(world, shelf)
    shelf.says("Two pages.")
    assert (await watcher(world).look(view.id)).news
    assert state_of(await world.service.get(view.id)) is SpecState.CHANGED

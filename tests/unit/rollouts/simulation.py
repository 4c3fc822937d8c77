"""A deterministic simulation: the real service and controllers, run one await at a time in a seeded order.

Every database transaction and every call of the flag service is a point at which the seed decides who goes on, whether
a process dies there, whether the service is down, loses its answer, or lets a write land later or twice. Between two
points exactly one actor runs, so that a seed is a schedule.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tests.unit.rollouts.inline import InlineDatabase
from tests.unit.rollouts.world import AIKO, ERRORS, JONAS, MIRA, PLACE, POLICY, SAM, make_plan, stage
from tools.clock import ManualClock
from tools.errors import SluiceError
from tools.flags.base import Capabilities, FlagRef, FlagServiceUnavailable, FlagState, FlagVersionConflict
from tools.flags.memory import MemoryFlagService
from tools.metrics.base import MetricQuery, Reading, Sample
from tools.metrics.catalogue import Catalogue, MetricDefinition
from tools.metrics.router import Metrics
from tools.plans.model import Exposure, Plan
from tools.records import log
from tools.records.log import Event
from tools.records.models import GateCheck, Record, Rollout
from tools.rollouts import store
from tools.rollouts.confirmations import Action
from tools.rollouts.controller import Controller
from tools.rollouts.phases import LIVE, Phase
from tools.rollouts.service import RolloutService
from tools.rollouts.views import RolloutView

SPINS = 5
IDLE_POINTS = 3
CHAOS_STEPS = 60
SETTLE_TICKS = 60
SETTLE_STEP_S = 12
ENVIRONMENT = "production"
ENDED = (Phase.ROLLED_BACK, Phase.SUCCEEDED, Phase.CANCELLED)
LOWERED = 2
NEW_SHARE, OLD_SHARE = 5_000, 20_000
_PHASE = "SELECT phase FROM rollouts WHERE id = ?"

_acting: ContextVar[bool] = ContextVar("acting", default=False)


class Crash(BaseException):
    """The process died here."""


class Conductor:
    """Lets one actor run at a time, from point to point, in the order that the seed gives."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.crash_chance = 0.0
        self.trace: list[str] = []
        self._parked: list[tuple[str, asyncio.Future[None]]] = []
        self._sessions = 0
        self._no_session = asyncio.Event()
        self._no_session.set()

    async def point(self, label: str) -> None:
        """Wait for one's turn; it may be one's last."""
        if not _acting.get():
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parked.append((label, turn))
        await turn
        self.may_crash(label)

    def may_crash(self, label: str) -> None:
        if _acting.get() and self.crash_chance and self.random.random() < self.crash_chance:
            self.trace.append(f"crash at {label}")
            raise Crash(label)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[None]:
        self._sessions += 1
        self._no_session.clear()
        try:
            yield
        finally:
            self._sessions -= 1
            if not self._sessions:
                self._no_session.set()

    async def step(self) -> bool:
        """Let one parked actor go on to its next point; False when nobody waits."""
        if not self._parked:
            return False
        label, turn = self._parked.pop(self.random.randrange(len(self._parked)))
        self.trace.append(label)
        turn.set_result(None)
        await self.quiet()
        return True

    async def quiet(self) -> None:
        """Return once everybody is parked or done: nothing is left to run but what waits for its turn."""
        calm = 0
        while calm < SPINS:
            if self._sessions:
                await self._no_session.wait()
                calm = 0
            await asyncio.sleep(0)
            calm += 1


class SimulatedDatabase(InlineDatabase):
    """The real database, with a point before each transaction and a possible death on each side of a commit."""

    conductor: Conductor

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        await self.conductor.point("write")
        async with self.conductor.session(), super().write() as session:
            yield session
            self.conductor.may_crash("commit")
        self.conductor.may_crash("committed")

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        await self.conductor.point("read")
        async with self.conductor.session(), super().read() as session:
            yield session

    def phase(self, rollout_id: str) -> Phase:
        """The rollout's phase now; looking is no point of the schedule."""
        found = self.memory.execute(_PHASE, (rollout_id,)).fetchone()
        return Phase(found[0])


class SimulatedFlags:
    """A flag service with outages, lost answers, and writes that land late or twice; it keeps what it served."""

    def __init__(self, conductor: Conductor, clock: ManualClock, *, compare_and_set: bool) -> None:
        self._inner = MemoryFlagService(compare_and_set=compare_and_set)
        self._conductor = conductor
        self._clock = clock
        self.trouble = 0.0
        self.served: list[tuple[datetime, float]] = []
        self.hands: list[datetime] = []
        self._late: list[tuple[FlagRef, Exposure, str]] = []

    @property
    def capabilities(self) -> Capabilities:
        return self._inner.capabilities

    async def define(self, ref: FlagRef) -> None:
        await self._inner.define(ref, "old", "new", salt="s")

    async def read(self, ref: FlagRef) -> FlagState:
        await self._conductor.point("flag read")
        self._may_fail(self.trouble / 2)
        return await self._inner.read(ref)

    async def write(self, ref: FlagRef, exposure: Exposure, *, expected: str) -> None:
        await self._conductor.point(f"flag write {exposure.percent:g}")
        self._may_fail(self.trouble / 4)
        fate = self._conductor.random.random()
        if fate < self.trouble / 4:
            self._late.append((ref, exposure, expected))
            raise FlagServiceUnavailable("no answer; it will land later")
        await self._apply(ref, exposure, expected)
        self._conductor.may_crash("flag written")
        if fate < self.trouble / 2:
            self._late.append((ref, exposure, expected))
        elif fate < self.trouble:
            raise FlagServiceUnavailable("the answer was lost")

    async def list(self, environment: str) -> Sequence[FlagState]:
        return await self._inner.list(environment)

    async def check(self) -> None:
        return None

    async def land_late(self) -> bool:
        """One write that was on its way arrives; whether there was one."""
        if not self._late:
            return False
        late = self._late.pop(self._conductor.random.randrange(len(self._late)))
        self._conductor.trace.append(f"late write {late[1].percent:g}")
        with suppress(FlagVersionConflict):
            await self._apply(*late)
        return True

    async def by_hand(self, ref: FlagRef, percent: float) -> None:
        """Someone sets the flag in the flag service's own interface."""
        self._conductor.trace.append(f"by hand {percent:g}")
        self.hands.append(self._clock.now())
        await self._apply(ref, Exposure(percent=percent), (await self._inner.read(ref)).version)

    async def percent(self, ref: FlagRef) -> float:
        return (await self._inner.read(ref)).exposure.percent

    async def _apply(self, ref: FlagRef, exposure: Exposure, expected: str) -> None:
        await self._inner.write(ref, exposure, expected=expected)
        self.served.append((self._clock.now(), exposure.percent))

    def _may_fail(self, chance: float) -> None:
        if self._conductor.random.random() < chance:
            raise FlagServiceUnavailable("The flag service is down.")


@dataclass
class SimulatedMetrics:
    """Much traffic; treatment is as good as control until it turns."""

    harmful: bool = False

    async def read(self, query: MetricQuery) -> Reading:
        events = NEW_SHARE // 2 if self.harmful else NEW_SHARE // 50
        samples: dict[str | None, Sample] = {
            "old": Sample(OLD_SHARE, OLD_SHARE // 50),
            "new": Sample(NEW_SHARE, events),
        }
        return Reading(samples, "simulated", query.window.end)

    async def check(self) -> None:
        return None

    async def close(self) -> None:
        return None


class Wish(StrEnum):
    """What a person can ask for."""

    APPROVE = "approve"
    ROLL_BACK = "roll back"
    KILL = "kill"
    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    LOWER = "lower"
    REVISE = "revise"
    REQUEST = "request"


class Answer(StrEnum):
    DONE = "done"
    REFUSED = "refused"
    NONE = "none"  # the process died with the request


@dataclass
class Order:
    """What a person asked for and what came of it, with the rollout's phases when it was asked and answered."""

    wish: Wish
    before: Phase
    answer: Answer = Answer.NONE
    after: Phase | None = None


@dataclass
class Outcome:
    """How a schedule ended. `harmful`: treatment does harm, as every look since has seen."""

    seed: int
    phase: Phase
    percent: float
    settled: float | None
    known_good: float
    served: list[tuple[datetime, float]]
    events: list[Event]
    checks: list[GateCheck]
    hands: list[datetime]
    orders: list[Order]
    harmful: bool
    trace: list[str] = field(repr=False)

    def moments(self, kind: str) -> list[datetime]:
        """When events of that kind happened."""
        return [event.at for event in self.events if event.kind == kind]

    def hand_after(self, kind: str) -> bool:
        """Whether somebody changed the flag by hand after the last event of that kind."""
        return bool(self.hands) and max(self.hands) >= max(self.moments(kind))


class Simulation:
    """Many schedules on one database."""

    def __init__(self, database: SimulatedDatabase) -> None:
        self._database = database
        self._clock = ManualClock()
        self._definition = MetricDefinition(name=ERRORS, source="sim", title="Errors", query="-")

    async def run(self, seed: int, *, compare_and_set: bool) -> Outcome:
        """One schedule from proposal to rest."""
        conductor = self._database.conductor = Conductor(seed)
        flags = SimulatedFlags(conductor, self._clock, compare_and_set=compare_and_set)
        source = SimulatedMetrics()
        metrics = Metrics(Catalogue([self._definition]), {"sim": source})
        ref = FlagRef(f"flag-{seed}-{compare_and_set}", ENVIRONMENT)
        await flags.define(ref)
        service = RolloutService(self._database, flags, POLICY, self._clock)

        def controller() -> Controller:
            owner = f"owner-{conductor.random.random()}"
            made = Controller(
                self._database, flags, metrics, POLICY, self._clock, owner=owner, lease=timedelta(seconds=3)
            )
            service.wake = made.carry_out
            return made

        view = await service.propose(_plan(ref.flag), requester=MIRA, place=PLACE, reason="simulated")
        people = _People(self._database, service, view, flags, ref, source)
        await self._chaos(conductor, flags, controller, people.deal(conductor.random))
        await self._settle(flags, controller, view.id, source)
        return await self._outcome(seed, view.id, ref, flags, people)

    async def audit(self) -> list[log.Fault]:
        """What is wrong with the decision log of all schedules."""
        async with self._database.read() as session:
            return await log.verify(session)

    async def _chaos(
        self,
        conductor: Conductor,
        flags: SimulatedFlags,
        controller: Callable[[], Controller],
        acts: list["Act"],
    ) -> None:
        conductor.crash_chance = conductor.random.choice([0.0, 0.02, 0.06])
        flags.trouble = conductor.random.choice([0.0, 0.2, 0.5])
        controllers = [_Looping(controller, conductor) for _ in range(2)]
        tasks = [_spawn(looping.run()) for looping in controllers]
        planned = sorted(acts, key=lambda act: act.at)
        await conductor.quiet()
        for step in range(CHAOS_STEPS):
            while planned and planned[0].at <= step:
                act = planned.pop(0)
                tasks.append(_spawn(act.do()))
                await conductor.quiet()
            self._clock.advance(conductor.random.choice([0.0, 0.1, 0.5, 1.0]))
            if conductor.random.random() < flags.trouble / 4:
                await flags.land_late()
            await conductor.step()
        for looping in controllers:
            looping.stopped = True
        conductor.crash_chance, flags.trouble = 0.0, 0.0
        while await conductor.step():
            self._clock.advance(0.1)
        await asyncio.gather(*tasks)

    async def _settle(
        self,
        flags: SimulatedFlags,
        controller: Callable[[], Controller],
        rollout_id: str,
        source: SimulatedMetrics,
    ) -> None:
        """The faults are over: late writes land, controllers go on until nothing is in motion and no harm is done."""
        last = controller()
        for _ in range(SETTLE_TICKS):
            self._clock.advance(SETTLE_STEP_S)
            await flags.land_late()
            await last.tick()
            if not await self._in_motion(rollout_id, source) and not await flags.land_late():
                return

    async def _in_motion(self, rollout_id: str, source: SimulatedMetrics) -> bool:
        phase = self._database.phase(rollout_id)
        if phase is Phase.ROLLING_BACK or (phase in LIVE and source.harmful):
            return True
        async with self._database.read() as session:
            return bool(await store.open_intents(session, rollout_id))

    async def _outcome(
        self, seed: int, rollout_id: str, ref: FlagRef, flags: SimulatedFlags, people: "_People"
    ) -> Outcome:
        async with self._database.read() as session:
            rollout = await session.get(Rollout, rollout_id)
            assert rollout is not None
            checks = await session.scalars(select(GateCheck).where(GateCheck.rollout_id == rollout_id))
            outcome = Outcome(
                seed=seed,
                phase=Phase(rollout.phase),
                percent=await flags.percent(ref),
                settled=rollout.settled["percent"] if rollout.settled else None,
                known_good=rollout.known_good["percent"] if rollout.known_good else 0,
                served=flags.served,
                events=[event async for event in log.read(session, rollout_id=rollout_id)],
                checks=list(checks.all()),
                hands=flags.hands,
                orders=people.orders,
                harmful=people.source.harmful,
                trace=self._database.conductor.trace,
            )
        async with self._database.write() as session:
            # The next schedule's controllers have no business with this one's rollout.
            await session.execute(update(Rollout).where(Rollout.id == rollout_id).values(live_key=None))
        return outcome


class _Looping:
    """A controller's process: ticks for ever; when it dies another starts in its place."""

    def __init__(self, make: Callable[[], Controller], conductor: Conductor) -> None:
        self._make = make
        self._conductor = conductor
        self.stopped = False

    async def run(self) -> None:
        controller = self._make()
        while not self.stopped:
            try:
                if not await controller.tick():
                    for _ in range(IDLE_POINTS):
                        await self._conductor.point("idle")
            except Crash:
                controller = self._make()


@dataclass
class Act:
    """What somebody does at a step of the schedule."""

    at: int
    do: Callable[[], Awaitable[None]]


def _plan(flag: str) -> Plan:
    return make_plan(
        stage(5, bake=1, limit=600),
        stage(25, bake=1, limit=600),
        stage(100, bake=1, limit=600),
        flag=flag,
        burn_in=timedelta(0),
        check_every=timedelta(seconds=1),
        stale_after=timedelta(minutes=5),
    )


@dataclass
class _People:
    """Those who act on a rollout, and what they were answered."""

    database: SimulatedDatabase
    service: RolloutService
    view: RolloutView
    flags: SimulatedFlags
    ref: FlagRef
    source: SimulatedMetrics
    orders: list[Order] = field(default_factory=list)

    def deal(self, rng: random.Random) -> list[Act]:
        """Who does what, when: always two who approve the start, and what else the seed deals out."""
        service, rollout_id = self.service, self.view.id
        assert self.view.approval is not None
        approval_id = self.view.approval.id

        def roll_back() -> Awaitable[object]:
            return service.roll_back(rollout_id, actor=SAM, reason="enough")

        async def hand() -> None:
            await self.flags.by_hand(self.ref, rng.choice([0, 2, 40]))

        acts: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (1.0, self._ask(Wish.APPROVE, lambda: service.approve(approval_id, actor=JONAS))),
            (1.0, self._ask(Wish.APPROVE, lambda: service.approve(approval_id, actor=AIKO))),
            (0.5, self._ask(Wish.ROLL_BACK, roll_back)),
            (0.2, self._ask(Wish.ROLL_BACK, roll_back)),
            (0.15, self._ask(Wish.KILL, self._kill)),
            (0.3, self._ask(Wish.PAUSE, lambda: service.pause(rollout_id, actor=SAM, reason="lunch"))),
            (0.3, self._ask(Wish.RESUME, lambda: service.resume(rollout_id, actor=JONAS))),
            (0.3, self._ask(Wish.PROMOTE, lambda: service.promote(rollout_id, actor=JONAS))),
            (0.3, self._ask(Wish.LOWER, lambda: service.lower(rollout_id, LOWERED, actor=SAM, reason="less"))),
            (0.15, self._ask(Wish.LOWER, self._confirm_lowering)),
            (0.3, self._ask(Wish.REVISE, self._revise)),
            (0.3, self._ask(Wish.REQUEST, self._request_next)),
            (0.4, self._ask(Wish.APPROVE, self._approve_newest)),
            (0.3, self._ask(Wish.APPROVE, self._approve_newest)),
            (0.3, self._turn),
        ]
        # The start comes early, the rest anywhere.
        dealt = [
            Act(rng.randrange(4 if chance == 1.0 else CHAOS_STEPS), act)
            for chance, act in acts
            if rng.random() < chance
        ]
        if rng.random() < 0.15:
            dealt.append(Act(rng.randrange(CHAOS_STEPS), hand))
        return dealt

    def _ask(self, wish: Wish, act: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
        """`act` as a request whose answer is kept."""

        async def do() -> None:
            order = Order(wish, self.database.phase(self.view.id))
            self.orders.append(order)
            try:
                await act()
                order.answer = Answer.DONE
            except SluiceError:
                order.answer = Answer.REFUSED
            except Crash:
                return
            order.after = self.database.phase(self.view.id)

        return do

    async def _approve_newest(self) -> None:
        view = await self.service.get(self.view.id)
        if view.approval is not None:
            await self.service.approve(view.approval.id, actor=AIKO)

    async def _confirm_lowering(self) -> None:
        asked = await self.service.ask_to_confirm(
            Action.LOWER,
            flag=self.ref.flag,
            environment=self.ref.environment,
            rollout_id=self.view.id,
            percent=LOWERED,
            person=SAM,
        )
        await self.service.confirm(asked.id, actor=SAM)

    async def _revise(self) -> None:
        """Hold what is to come for longer and open it to fewer, as is always allowed."""
        view = await self.service.get(self.view.id)
        first = (view.stage or 0) + 1
        later = [
            one.model_copy(update={"bake": 2 * one.bake, "exposure": Exposure(percent=one.exposure.percent - 1)})
            for one in view.plan.stages[first:]
        ]
        plan = view.plan.model_copy(update={"stages": (*view.plan.stages[:first], *later)})
        await self.service.revise(view.id, plan, actor=SAM, reason="more cautious")

    async def _request_next(self) -> None:
        view = await self.service.get(self.view.id)
        following = view.plan.stages[min((view.stage or 0) + 1, len(view.plan.stages) - 1)].exposure
        await self.service.request_exposure(
            self.ref.flag,
            self.ref.environment,
            following.percent,
            actor=JONAS,
        )

    async def _kill(self) -> None:
        await self.service.kill(self.ref.flag, self.ref.environment, actor=SAM, reason="fire")

    async def _turn(self) -> None:
        self.source.harmful = True


def _spawn(work: Awaitable[None]) -> "asyncio.Task[None]":
    async def acting() -> None:
        _acting.set(True)
        await work

    return asyncio.create_task(acting())


@asynccontextmanager
async def simulation() -> AsyncIterator[Simulation]:
    """A fresh database for many schedules."""
    database = SimulatedDatabase()
    database.conductor = Conductor(0)
    async with database.engine.begin() as connection:
        await connection.run_sync(Record.metadata.create_all)
    yield Simulation(database)
    await database.close()

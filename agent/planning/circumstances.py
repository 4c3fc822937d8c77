"""What else bears on a plan: freezes, error budgets, and what earlier rollouts taught."""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import timedelta

from agent.planning.proposals import PlanRequest
from agent.redaction import redacted
from tools.clock import Clock, written
from tools.errors import SluiceError
from tools.metrics.budget import error_budget
from tools.metrics.router import Metrics
from tools.plans.defaults import PlanningDefaults
from tools.plans.planner import Feature
from tools.plans.policy import Policy
from tools.records.database import Database
from tools.rollouts import freezes
from tools.rollouts.freezes import FreezeView
from tools.rollouts.lessons import Lesson, lessons
from tools.rollouts.phases import Phase

SOON = timedelta(days=14)
"""A freeze that begins within this time may meet the rollout on its way."""


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence; with `warns` people read it before they approve, else it only helps to draft."""

    text: str
    warns: bool


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Reads them. `database` is where earlier rollouts are; None: there are none to learn from."""

    metrics: Metrics
    policy: Policy
    defaults: PlanningDefaults
    clock: Clock
    database: Database | None

    async def read(self, request: PlanRequest, feature: Feature, guarding: Collection[str]) -> tuple[Said, ...]:
        """All that is known; what can't be read is said, and keeps nobody from a plan."""
        budgets = [said async for said in self._budgets(feature, guarding)]
        freezing = [said async for said in self._freezes(request, feature)]
        return (*freezing, *budgets, *await self._lessons(request, feature, guarding))

    async def _freezes(self, request: PlanRequest, feature: Feature) -> AsyncIterator[Said]:
        now, meant = self.clock.now(), await self._standing(request, feature)
        holding = freezes.longest(meant, now)
        if holding is not None:
            yield Said(f"Nothing goes up now: {redacted(str(holding))}.", warns=True)
        for freeze in meant:
            if now < freeze.start <= now + SOON:
                ends = "" if freeze.end is None else f" until {written(freeze.end)}"
                begins = written(freeze.start)
                yield Said(
                    f"The freeze {redacted(freeze.reason)!r} begins on {begins}: nothing goes further{ends}.",
                    warns=True,
                )

    async def _standing(self, request: PlanRequest, feature: Feature) -> list[FreezeView]:
        """The freezes that are meant for the flag and not over yet."""
        if self.database is None:
            found = freezes.declared(self.policy, at=self.clock.now())
        else:
            async with self.database.read() as session:
                found = await freezes.standing(session, self.policy, at=self.clock.now())
        return [
            one for one in found if one.concerns(feature.environment, feature.flag, feature.tags, request.scope.home)
        ]

    async def _budgets(self, feature: Feature, guarding: Collection[str]) -> AsyncIterator[Said]:
        for metric in guarding:
            try:
                budget = await error_budget(
                    self.metrics,
                    metric,
                    feature.flag,
                    feature.environment,
                    now=self.clock.now(),
                    window=self.defaults.traffic_window,
                )
            except SluiceError as error:
                yield Said(f"The error budget of {metric} can't be read: {error}", warns=True)
                continue
            if budget is not None:
                text = f"{str(budget)[:1].upper()}{str(budget)[1:]}"
                spent = ": people are asked before each step." if budget.is_spent else "."
                yield Said(f"{text}{spent}", warns=budget.is_spent)

    async def _lessons(self, request: PlanRequest, feature: Feature, guarding: Collection[str]) -> list[Said]:
        if self.database is None:
            return []
        found = await lessons(
            self.database, flag=feature.flag, tags=feature.tags, metrics=guarding, scope=request.scope
        )
        return [Said(redacted(str(lesson)), warns=_warns(lesson, feature)) for lesson in found]


def _warns(lesson: Lesson, feature: Feature) -> bool:
    """Whether it is this very flag that was rolled back."""
    return lesson.phase is Phase.ROLLED_BACK and lesson.flag == feature.flag

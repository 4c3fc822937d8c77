"""Freezes: times in which nothing starts and nothing goes further, those of the settings and those that people make.

A freeze keeps exposure from rising and nothing else: rollbacks, kills, pauses and lowering never ask about it.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, ValidationError
from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tools.clock import written
from tools.errors import Conflict, InvalidInput, NotAllowed, NotFound
from tools.plans import policy as policies
from tools.plans.model import Name, Plan, Value
from tools.plans.policy import NOT_READ, Members, Policy
from tools.records import log, outbox
from tools.records.models import Freeze, Rollout
from tools.rollouts import store
from tools.rollouts.events import Happening, Tell, happened, of_workspace
from tools.rollouts.phases import LIVE, Phase
from tools.rollouts.scope import NOBODYS, Scope

MOST_REASON = 500


class FreezeNotFound(NotFound):
    """There is no such freeze."""


class Wish(Value):
    """A freeze that is to be made: of an environment, or of one flag or the flags with one tag there.

    It begins at `start`, None for at once, and lasts until `until`, None for until somebody lifts it.
    """

    environment: Name
    reason: Annotated[str, Field(min_length=1, max_length=MOST_REASON)]
    start: AwareDatetime | None = None
    until: AwareDatetime | None = None
    flag: Name | None = None
    tag: Name | None = None
    workspace: str = NOBODYS


class FreezeView(Value):
    """A freeze. `id`, `by` and `made_at` are None for one of the settings, whose name is its `reason`.

    No environments means all of them, no flag and no tags every flag; `end` None until somebody lifts it.
    """

    id: str | None
    reason: str
    by: str | None
    made_at: datetime | None
    start: datetime
    end: datetime | None
    environments: tuple[str, ...] = ()
    flag: str | None = None
    tags: tuple[str, ...] = ()
    workspace: str = NOBODYS

    def __str__(self) -> str:
        lasts = "until somebody lifts it" if self.end is None else f"until {written(self.end)}"
        if self.id is None:
            return f"the freeze {self.reason!r} lasts {lasts}"
        of = self.flag or ("flags tagged " + ", ".join(self.tags) if self.tags else "everything")
        are = "are" if self.tags and self.flag is None else "is"
        return f"{of} in {', '.join(self.environments)} {are} frozen {lasts}, by {self.by}: {self.reason.rstrip('.')}"

    def concerns(self, environment: str, flag: str, tags: Collection[str], workspace: str) -> bool:
        """Whether it is meant for that flag there in a rollout of that workspace, whenever it holds."""
        elsewhere = NOBODYS not in (self.workspace, workspace) and workspace != self.workspace
        if elsewhere or not policies.is_among(environment, self.environments):
            return False
        named = {tag.casefold() for tag in self.tags}
        return self.flag in (None, flag) and (not named or any(tag.casefold() in named for tag in tags))

    def holds(self, at: datetime) -> bool:
        """Whether it has begun and is not over."""
        return self.start <= at and not self.is_over(at)

    def is_over(self, at: datetime) -> bool:
        """Whether its time has passed."""
        return self.end is not None and self.end <= at


class Frozen(NotAllowed):
    """Nothing goes up now, because of `freeze`."""

    def __init__(self, freeze: FreezeView) -> None:
        super().__init__(f"Nothing goes up now: {freeze}. Lowering and rolling back are possible at any time.")
        self.freeze = freeze


# -- which there are ------------------------------------------------------------------------------------------------


async def standing(session: AsyncSession, policy: Policy, *, at: datetime) -> list[FreezeView]:
    """Every freeze that is not over yet, those of the settings too, in the order in which they begin."""
    query = select(Freeze).where(Freeze.lifted_at.is_(None), or_(Freeze.until.is_(None), Freeze.until > at))
    made = map(view, (await session.scalars(query)).all())
    return sorted([*declared(policy, at=at), *made], key=lambda one: one.start)


def declared(policy: Policy, *, at: datetime) -> list[FreezeView]:
    """The settings' freezes that are not over yet, in the order in which they begin."""
    found = [one for one in map(_declared, policy.freezes) if not one.is_over(at)]
    return sorted(found, key=lambda one: one.start)


def longest(freezes: Iterable[FreezeView], at: datetime) -> FreezeView | None:
    """The one of those that hold now that lasts longest; None when none holds."""
    return max((one for one in freezes if one.holds(at)), key=_lasts, default=None)


async def holding(
    session: AsyncSession, policy: Policy, rollout: Rollout, plan: Plan, at: datetime
) -> FreezeView | None:
    """The freeze that keeps the rollout where it is, the longest of several; None when there is none."""
    found = await standing(session, policy, at=at)
    meant = [one for one in found if one.concerns(plan.environment, plan.flag, plan.tags, rollout.workspace)]
    return longest(meant, at)


async def begins_next(
    session: AsyncSession, policy: Policy, rollout: Rollout, plan: Plan, at: datetime
) -> datetime | None:
    """When the next freeze that is meant for the rollout begins: `at` while one holds, None without one to come."""
    found = await standing(session, policy, at=at)
    meant = (one.start for one in found if one.concerns(plan.environment, plan.flag, plan.tags, rollout.workspace))
    return min((max(start, at) for start in meant), default=None)


async def check(session: AsyncSession, policy: Policy, rollout: Rollout, plan: Plan, at: datetime) -> None:
    """Raise Frozen while a freeze keeps the rollout where it is."""
    freeze = await holding(session, policy, rollout, plan, at)
    if freeze is not None:
        raise Frozen(freeze)


async def get(session: AsyncSession, freeze_id: str, scope: Scope) -> Freeze:
    """The freeze that a person made, unless it is another workspace's. Raises FreezeNotFound."""
    row = await session.get(Freeze, freeze_id, populate_existing=True)
    if row is None or not seen(scope, row.workspace):
        raise FreezeNotFound("That freeze does not exist; `/rollout unfreeze` shows those that do.")
    return row


def seen(scope: Scope, workspace: str) -> bool:
    """Whether a freeze of that workspace is known there; the operator's, which keep everybody, are."""
    return workspace == NOBODYS or scope.sees(workspace)


# -- making and lifting them ----------------------------------------------------------------------------------------


def wish(**values: Any) -> Wish:
    """What somebody asks for. Raises InvalidInput."""
    try:
        return Wish(**values)
    except ValidationError as error:
        at_fault = ", ".join(str(part) for part in error.errors()[0]["loc"]) or "freeze"
        raise InvalidInput(f"That can't be frozen: see its {at_fault}.") from None


def check_may(policy: Policy, environment: str, person: str, *, members: Members = NOT_READ) -> None:
    """Raise NotAllowed unless the person may freeze that environment, or lift its freezes.

    Whoever may approve something there may do both, also what they asked for themselves: a freeze raises nothing, and
    when it is lifted policy and gates are as they were. Who has the command line has the settings' freezes too.
    """
    if policies.is_account(person):
        return
    names = policies.approvers_in(policy, environment)
    if person in policies.people_in(names, members):
        return
    if any(policies.is_group(name) and name not in members for name in names):
        raise Conflict("Nobody can say at this moment who may do this. Try again in a moment.")
    raise NotAllowed(
        f"Only those who approve rollouts in {environment} may freeze it or lift a freeze; ask one of them."
    )


async def make(session: AsyncSession, wished: Wish, *, actor: str, at: datetime) -> FreezeView:
    """Freeze. Every rollout that it is meant for is looked at now, and says so. Raises InvalidInput."""
    start = max(wished.start or at, at)
    if wished.until is not None and wished.until <= start:
        raise InvalidInput("A freeze must end after it begins: choose a later time.")
    row = Freeze(
        workspace=wished.workspace,
        environment=wished.environment,
        flag=wished.flag,
        tag=wished.tag,
        start=start,
        until=wished.until,
        reason=wished.reason,
        made_by=actor,
        made_at=at,
        lifted_by=None,
        lifted_at=None,
    )
    session.add(row)
    await session.flush()
    made = view(row)
    await _announce(session, Happening.FREEZE_MADE, made, actor=actor, at=at)
    await _look_at(session, made, at=at)
    return made


async def lift(session: AsyncSession, row: Freeze, *, actor: str, at: datetime) -> FreezeView:
    """End a freeze now. Raises Conflict for one that is over."""
    lifted = await session.execute(
        update(Freeze)
        .where(Freeze.id == row.id, Freeze.lifted_at.is_(None), or_(Freeze.until.is_(None), Freeze.until > at))
        .values(lifted_by=actor, lifted_at=at)
        .returning(Freeze.id)
    )
    if lifted.first() is None:
        raise Conflict("That freeze is over already.")
    found = view(row)
    await _announce(session, Happening.FREEZE_LIFTED, found, actor=actor, at=at)
    await _look_at(session, found, at=at)
    return found


# -- what it does to a rollout --------------------------------------------------------------------------------------


async def note(session: AsyncSession, rollout: Rollout, freeze: FreezeView | None, *, at: datetime) -> None:
    """Have the rollout say which freeze keeps it where it is; its thread hears when that begins and when it ends."""
    before, now = shown(rollout), freeze
    if before == now:
        return
    store.change(rollout, at=at, frozen=None if now is None else now.model_dump(mode="json"))
    what = Happening.FREEZE_OVER if now is None else Happening.FREEZE_HOLDS
    of = now or before
    assert of is not None, "one of them differs from the other"
    await happened(session, rollout, what, at=at, tell=Tell.THREAD, **_facts(of))


def shown(rollout: Rollout) -> FreezeView | None:
    """The freeze that kept the rollout where it is at the last look."""
    return None if rollout.frozen is None else FreezeView.model_validate(rollout.frozen)


def view(row: Freeze) -> FreezeView:
    """A freeze that a person made."""
    return FreezeView(
        id=row.id,
        reason=row.reason,
        by=row.made_by,
        made_at=row.made_at,
        start=row.start,
        end=row.until,
        environments=(row.environment,),
        flag=row.flag,
        tags=() if row.tag is None else (row.tag,),
        workspace=row.workspace,
    )


def _declared(freeze: policies.Freeze) -> FreezeView:
    return FreezeView(
        id=None,
        reason=freeze.name,
        by=None,
        made_at=None,
        start=freeze.start,
        end=freeze.end,
        environments=freeze.environments,
        tags=freeze.tags,
    )


def _lasts(freeze: FreezeView) -> tuple[bool, float]:
    return freeze.end is None, 0.0 if freeze.end is None else freeze.end.timestamp()


def _facts(freeze: FreezeView) -> dict[str, Any]:
    return {
        "freeze": freeze.id,
        "reason": freeze.reason,
        "by": freeze.by,
        "start": freeze.start.isoformat(),
        "until": None if freeze.end is None else freeze.end.isoformat(),
        "environments": list(freeze.environments),
        "of_flag": freeze.flag,
        "tags": list(freeze.tags),
    }


async def _announce(session: AsyncSession, what: Happening, freeze: FreezeView, *, actor: str, at: datetime) -> None:
    """Into the log, and into the channel for alerts: it is about more than one rollout."""
    facts = {**_facts(freeze), "begins_later": freeze.start > at}
    whose = of_workspace(freeze.workspace)
    message = {"what": what.value, "actor": actor, "at": at.isoformat(), "facts": facts, **whose}
    await outbox.put(session, outbox.Kind.ALERT, lane=f"alerts{freeze.workspace}", at=at, payload=message)
    await log.append(session, what.value, at=at, actor=actor, payload={**facts, **whose})


async def _look_at(session: AsyncSession, freeze: FreezeView, *, at: datetime) -> None:
    """Have the controller look now at every open rollout that the freeze may be meant for."""
    query = select(Rollout).where(Rollout.phase.in_((Phase.PROPOSED, *LIVE)))
    if freeze.flag is not None:
        query = query.where(Rollout.flag == freeze.flag)
    for rollout in (await session.scalars(query)).all():
        if policies.is_among(rollout.environment, freeze.environments):
            store.change(rollout, at=at, due_at=at)

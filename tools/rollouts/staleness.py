"""Whether the spec behind a rollout's plan is still the one that the plan was made from.

It is read again by the clock, when somebody wants to start, and before a step. A plan whose spec changed is stale: it
starts only once it was made anew, or once somebody said, on the record, that it stands; a running one takes each
further step only when its approvers say so. A source that can't be read is not a spec that stayed the same. Nothing
here is asked when exposure is lowered.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy.ext.asyncio import AsyncSession

from tools.errors import Conflict
from tools.plans.model import Plan
from tools.records.models import Rollout, SpecWatch
from tools.rollouts import approvals, store
from tools.rollouts.events import Happening, happened, refresh_card
from tools.rollouts.phases import LIVE, Phase
from tools.specs.base import Spec
from tools.specs.snapshots import keep_snapshot

NEVER_READ = "Nobody knows whether the spec is still what this was planned from: it was not read since."
SHORT = 12
"""Hex digits by which people tell one version of a spec from another."""


class SpecChanged(Conflict):
    """The plan rests on a spec that is not what it was; the message says what can be done."""


class SpecState(StrEnum):
    SAME = "same"
    CHANGED = "changed"
    UNUSABLE = "unusable"  # gone, or no longer understood
    UNREAD = "unread"  # nobody knows


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look found: the spec, or why there is none that can be used, or why nobody can say."""

    spec: Spec | None = None
    problem: str | None = None
    unread: str | None = None


@dataclass(frozen=True, slots=True)
class SpecView:
    """How the spec behind the plan in force stands. `why` is a sentence; `since` is when that was first found.

    `stands` says who said that the plan holds all the same.
    """

    state: SpecState
    source: str
    why: str
    since: datetime | None
    read_at: datetime | None
    stands: str | None = None

    @property
    def stale(self) -> bool:
        """Whether the plan may not rest on it as it is."""
        return self.state is not SpecState.SAME and self.stands is None


async def rest_on(session: AsyncSession, rollout: Rollout, plan: Plan, spec: Spec | None, *, at: datetime) -> None:
    """The plan that is in force from now on rests on `spec`, or still on what the one before did where that is None."""
    watch = await session.get(SpecWatch, rollout.id)
    if plan.spec_sha256 is None:
        if watch is not None:
            await session.delete(watch)
        return
    if spec is None:
        return
    if watch is None:
        watch = SpecWatch(rollout_id=rollout.id, source=spec.source, due_at=at)
        session.add(watch)
    watch.source, watch.found_sha256, watch.problem = spec.source, spec.sha256, None
    watch.read_at, watch.due_at, watch.since = at, at, None
    watch.unread_since = watch.unread_why = watch.told = None
    watch.stands_despite = watch.stands_for = watch.stands_by = watch.stands_at = None


async def view(session: AsyncSession, rollout: Rollout, plan: Plan) -> SpecView | None:
    """How the spec stands as it was last looked at; None for a plan that rests on none.

    Of a spec that nobody looked at since the plan was made nothing is known.
    """
    if plan.spec_sha256 is None:
        return None
    watch = await session.get(SpecWatch, rollout.id)
    if watch is None:
        return SpecView(SpecState.UNREAD, "", NEVER_READ, None, None)
    state = _state(watch, plan)
    stands = watch.stands_by if _stands(watch, plan) else None
    since = watch.unread_since if state is SpecState.UNREAD else watch.since
    return SpecView(state, watch.source, _why(watch, plan, state), since, watch.read_at, stands)


async def note(session: AsyncSession, rollout: Rollout, plan: Plan, seen: Seen, *, at: datetime) -> bool:
    """Write down what a look found, and tell people of a change once; whether there was something to tell."""
    if plan.spec_sha256 is None:
        return False
    before = await view(session, rollout, plan)
    watch = await session.get(SpecWatch, rollout.id)
    if watch is None:
        # Until it is read, the spec is what the plan says: nobody knows of another.
        watch = SpecWatch(rollout_id=rollout.id, source="", found_sha256=plan.spec_sha256, due_at=at)
        session.add(watch)
    seen = _certain(seen, watch.found_sha256 or plan.spec_sha256)
    if seen.unread is not None:
        watch.unread_since, watch.unread_why = watch.unread_since or at, seen.unread
    else:
        watch.unread_since, watch.unread_why, watch.read_at = None, None, at
        watch.found_sha256 = None if seen.spec is None else seen.spec.sha256
        watch.problem = seen.problem
        if seen.spec is not None and not watch.source:
            watch.source = seen.spec.source
        if seen.spec is not None:
            await keep_snapshot(session, seen.spec, at=at)
    told = await _tell(session, rollout, plan, watch, at=at)
    after = await view(session, rollout, plan)
    assert before is not None
    assert after is not None
    if not told and (before.state, before.stands) != (after.state, after.stands):
        await refresh_card(session, rollout, at=at)
    return told


async def check_start(session: AsyncSession, rollout: Rollout, plan: Plan) -> None:
    """Raise SpecChanged unless the plan may be started as far as its spec goes."""
    found = await view(session, rollout, plan)
    if found is not None and found.stale:
        raise SpecChanged(
            f"{found.why} Plan anew with `/rollout plan {rollout.flag}`, or say on the card that the plan stands."
        )


async def accept(session: AsyncSession, rollout: Rollout, plan: Plan, *, actor: str, at: datetime) -> None:
    """The plan stands as it is, somebody says, before people are asked about its start. Raises Conflict otherwise."""
    watch, found = await session.get(SpecWatch, rollout.id), await view(session, rollout, plan)
    if Phase(rollout.phase) in LIVE:
        # One person's word, anybody's, would stand in for the approvals that the next step is asked for.
        raise Conflict(
            "The rollout runs already: what a change of its spec means for the next step is for those who approve it."
        )
    if Phase(rollout.phase) is not Phase.PROPOSED or watch is None or found is None or not found.stale:
        raise Conflict("The plan's spec is as it was planned from, or that was settled meanwhile: see the card.")
    watch.stands_despite, watch.stands_for = _key(watch, plan), plan.spec_sha256
    watch.stands_by, watch.stands_at = actor, at
    await happened(
        session,
        rollout,
        Happening.SPEC_ACCEPTED,
        at=at,
        actor=actor,
        source=watch.source,
        planned_from=plan.spec_sha256,
        found=watch.found_sha256,
        why=found.why,
    )


def concern(found: SpecView | None) -> list[str]:
    """Why people should be asked about a step that the gate allows, without a full stop; empty for no reason."""
    return [found.why.rstrip(".")[:1].lower() + found.why.rstrip(".")[1:]] if found is not None and found.stale else []


async def _tell(session: AsyncSession, rollout: Rollout, plan: Plan, watch: SpecWatch, *, at: datetime) -> bool:
    state, key = _state(watch, plan), _key(watch, plan)
    if state is SpecState.UNREAD:
        return False
    if state is SpecState.SAME:
        if watch.told is None:
            return False
        watch.told, watch.since = None, None
        await happened(session, rollout, Happening.SPEC_AS_PLANNED, at=at, source=watch.source)
        return True
    if watch.told == key:
        return False
    watch.told, watch.since = key, at
    why = _why(watch, plan, state)
    await happened(
        session,
        rollout,
        Happening.SPEC_CHANGED,
        at=at,
        source=watch.source,
        planned_from=plan.spec_sha256,
        found=watch.found_sha256,
        why=why,
    )
    await approvals.void_pending(session, rollout, at=at, why=why)
    if Phase(rollout.phase) is Phase.WAITING_PROMOTION:
        # The gate asks again as soon as it passes, and then says why.
        store.move(rollout, Phase.PROGRESSING, at=at, due_at=at)
    return True


def _certain(seen: Seen, known_sha256: str) -> Seen:
    """What was seen; of a spec that was read in part only that it is the one that was known, or else nothing."""
    if seen.spec is None or seen.spec.whole or seen.spec.sha256 == known_sha256:
        return seen
    return Seen(unread=f"what may stand beside {seen.spec.source} could not be looked through")


def _state(watch: SpecWatch, plan: Plan) -> SpecState:
    if watch.found_sha256 != plan.spec_sha256:
        # What was found before its source went away is known all the same.
        return SpecState.UNUSABLE if watch.found_sha256 is None else SpecState.CHANGED
    return SpecState.SAME if watch.unread_since is None else SpecState.UNREAD


def _key(watch: SpecWatch, plan: Plan) -> str:
    """What was found, so that it is told once, and that what somebody said of it is about nothing else."""
    if _state(watch, plan) is SpecState.UNREAD and watch.unread_since is not None:
        return f"unread since {watch.unread_since.isoformat()}"
    return watch.found_sha256 or "unusable"


def _stands(watch: SpecWatch, plan: Plan) -> bool:
    return watch.stands_for == plan.spec_sha256 and watch.stands_despite == _key(watch, plan)


def _why(watch: SpecWatch, plan: Plan, state: SpecState) -> str:
    planned, found = (plan.spec_sha256 or "")[:SHORT], (watch.found_sha256 or "")[:SHORT]
    match state:
        case SpecState.SAME:
            return f"The spec is as it was when this was planned ({planned})."
        case SpecState.CHANGED:
            return f"The spec changed after this was planned (from {planned} to {found})."
        case SpecState.UNUSABLE:
            return f"The spec can't be used any more: {(watch.problem or 'there is none').rstrip('.')}."
        case SpecState.UNREAD:
            reason = (watch.unread_why or "its source is away").rstrip(".")
            return f"Nobody knows whether the spec is still what this was planned from: {reason}."

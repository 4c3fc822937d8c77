"""Acceptances: an approver overrides what a gate finds of one metric, with a reason and until a moment.

`tools.rollouts.accepting` says what that changes. It ends by itself, when somebody withdraws it, and when a newer plan
guards the metric otherwise; from the next check on everything counts again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tools.clock import in_words
from tools.errors import Conflict, InvalidInput, NotFound
from tools.gates import CountTest, Harm, Outcome, Verdict
from tools.plans import policy as policies
from tools.plans.model import Guardrail, Plan
from tools.plans.policy import Members, Policy
from tools.records.models import Acceptance, GateCheck, Rollout
from tools.rollouts import checks, judging, lowering, store
from tools.rollouts.events import SLUICE, Happening, Tell, happened
from tools.rollouts.judging import Numbers
from tools.rollouts.phases import LIVE, Phase, words

MOST_REASON = 500


class AcceptanceNotFound(NotFound):
    """There is no such acceptance."""


class Ended(StrEnum):
    """Why an acceptance ended."""

    WITHDRAWN = "withdrawn"
    REPLACED = "replaced"  # by a newer one for the same metric
    EXPIRED = "expired"
    VOID = "void"  # a newer plan guards the metric otherwise


@dataclass(frozen=True, slots=True)
class AcceptanceView:
    """An acceptance that was not ended: of which metric, until when, by whom and why."""

    id: str
    metric: str
    until: datetime
    reason: str
    by: str
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """What could be accepted: what the newest check shows of a metric, and from how many times worse on it fails all
    the same (None: nothing is far worse there)."""

    metric: str
    verdict: Verdict
    far: float | None


@dataclass(frozen=True, slots=True)
class Acceptable:
    """The findings of a rollout that could be accepted now, the gravest first, and until when at most."""

    findings: tuple[Finding, ...]
    latest: datetime


async def standing(session: AsyncSession, rollout_id: str) -> Sequence[Acceptance]:
    """Those that were not ended, in the order in which they were made; their time may be over."""
    query = select(Acceptance).where(Acceptance.rollout_id == rollout_id, Acceptance.ended_at.is_(None))
    return (await session.scalars(query.order_by(Acceptance.made_at, Acceptance.id))).all()


def view(row: Acceptance) -> AcceptanceView:
    """An acceptance as it is shown."""
    return AcceptanceView(row.id, row.metric, row.until, row.reason, row.made_by, row.made_at)


async def get(session: AsyncSession, acceptance_id: str) -> Acceptance:
    """Raises AcceptanceNotFound."""
    row = await session.get(Acceptance, acceptance_id, populate_existing=True)
    if row is None:
        raise AcceptanceNotFound("That acceptance does not exist; the rollout's card shows those that do.")
    return row


async def is_outdated(session: AsyncSession, rollout: Rollout, check: GateCheck, *, at: datetime) -> bool:
    """Whether the check rests on an acceptance that does not hold any more."""
    held = [item["accepted"]["id"] for item in check.inputs["guardrails"] if item.get("accepted")]
    holding = {row.id for row in await standing(session, rollout.id) if row.until > at}
    return not holding.issuperset(held)


# -- what can be accepted -------------------------------------------------------------------------------------------


def acceptable(rollout: Rollout, check: GateCheck | None, policy: Policy, *, at: datetime) -> Acceptable:
    """What can be accepted of the newest check. Raises Conflict when nothing can."""
    lowering.refuse_ended(rollout)
    phase = Phase(rollout.phase)
    if phase not in LIVE or rollout.stage is None:
        raise Conflict(f"The rollout is {words(phase)}, so its gate has found nothing that could be accepted.")
    found = [] if check is None or check.stage != rollout.stage else _findings(check)
    if not found:
        raise Conflict("The gate's newest check shows nothing that could be accepted: wait for the next check.")
    return Acceptable(tuple(found), at + policy.longest_acceptance)


def _findings(check: GateCheck) -> list[Finding]:
    items = [
        (Guardrail.model_validate(item["guardrail"]), Numbers.model_validate(item.get("numbers", {})))
        for item in check.inputs["guardrails"]
    ]
    verdicts = [Verdict.from_json(plain) for plain in check.verdict["guardrails"]]
    found = [
        Finding(rail.metric, verdict, judging.far_margin(numbers, rail) if numbers.by_chance else None)
        for (rail, numbers), verdict in zip(items, verdicts, strict=True)
        if is_finding(verdict) and (numbers.by_chance or verdict.harm is not Harm.NONE)
    ]
    return sorted(found, key=lambda one: (-one.verdict.harm.severity, -one.verdict.harm_e))


def is_finding(verdict: Verdict) -> bool:
    """Whether it is harm or a missing proof of safety, which can be accepted; blindness and waiting are neither."""
    unproven = verdict.harm is not Harm.NONE or verdict.safe_e < 1 / CountTest.alpha_safe
    return unproven and verdict.outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE)


async def check_may(
    session: AsyncSession, rollout: Rollout, plan: Plan, policy: Policy, person: str, *, members: Members
) -> None:
    """Raise NotAllowed unless the person may accept a finding: an approver who neither asked for it nor wrote it."""
    askers = await store.askers(session, rollout)
    rule = policies.rule_of(policy, plan)
    policies.check_approver(rule, person, members=members, askers=askers, spec_author=plan.spec_author)


# -- making and ending them -----------------------------------------------------------------------------------------


async def make(
    session: AsyncSession,
    rollout: Rollout,
    plan: Plan,
    policy: Policy,
    *,
    metric: str,
    until: datetime,
    reason: str,
    person: str,
    members: Members,
    at: datetime,
) -> AcceptanceView:
    """Accept what the gate finds of a metric. Raises InvalidInput, Conflict, NotAllowed."""
    await check_may(session, rollout, plan, policy, person, members=members)
    check = await store.last_check(session, rollout)
    able = acceptable(rollout, check, policy, at=at)
    _check_words(reason, until, able.latest, policy, at=at)
    found = next((one for one in able.findings if one.metric == metric), None)
    if found is None:
        names = ", ".join(one.metric for one in able.findings)
        raise Conflict(f"The gate finds nothing of {metric!r} that could be accepted now, only of {names}.")
    assert check is not None
    assert rollout.stage is not None
    rail = next((one for one in plan.stages[rollout.stage].guardrails if one.metric == metric), None)
    if rail is None:
        raise Conflict(f"The plan does not guard {metric} any more: wait for the next check.")
    for earlier in await standing(session, rollout.id):
        if earlier.metric == metric:
            _end(earlier, Ended.REPLACED, actor=person, at=at)
    row = Acceptance(
        rollout_id=rollout.id,
        metric=metric,
        margin=rail.margin,
        direction=rail.direction.value,
        until=until,
        reason=reason,
        made_by=person,
        made_at=at,
        ended_by=None,
        ended_at=None,
        ended_why=None,
    )
    session.add(row)
    store.change(rollout, at=at, due_at=at)
    await session.flush()
    await _tell(
        session,
        rollout,
        Happening.ACCEPTANCE_GIVEN,
        row,
        actor=person,
        at=at,
        margin=rail.margin,
        far=found.far,
        harm=found.verdict.harm.value,
        why=found.verdict.why,
        check=check.id,
        check_sha256=checks.digest(check),
    )
    return view(row)


async def withdraw(session: AsyncSession, rollout: Rollout, row: Acceptance, *, person: str, at: datetime) -> None:
    """End it now, which needs nobody's permission: the gate counts again. Raises Conflict for one that ended."""
    ended = await session.execute(
        update(Acceptance)
        .where(Acceptance.id == row.id, Acceptance.ended_at.is_(None))
        .values(ended_by=person, ended_at=at, ended_why=Ended.WITHDRAWN)
        .returning(Acceptance.id)
    )
    if ended.first() is None:
        raise Conflict("That is not accepted any more.")
    store.change(rollout, at=at, due_at=at if rollout.live_key is not None else rollout.due_at)
    await _tell(session, rollout, Happening.ACCEPTANCE_WITHDRAWN, row, actor=person, at=at)


async def expire(session: AsyncSession, rollout: Rollout, *, at: datetime) -> None:
    """Write down which have run out, once each."""
    for row in await standing(session, rollout.id):
        if row.until <= at:
            _end(row, Ended.EXPIRED, actor=SLUICE, at=at)
            await _tell(session, rollout, Happening.ACCEPTANCE_EXPIRED, row, at=at)


async def void_changed(session: AsyncSession, rollout: Rollout, before: Plan, after: Plan, *, at: datetime) -> None:
    """End those whose metric a newer plan guards otherwise, or not any more."""
    for row in await standing(session, rollout.id):
        if _terms(before, row.metric) != _terms(after, row.metric):
            _end(row, Ended.VOID, actor=SLUICE, at=at)
            await _tell(session, rollout, Happening.ACCEPTANCE_VOIDED, row, at=at)


def _check_words(reason: str, until: datetime, latest: datetime, policy: Policy, *, at: datetime) -> None:
    if not reason.strip() or len(reason) > MOST_REASON:
        raise InvalidInput(f"Say why it is accepted, in at most {MOST_REASON} characters.")
    if until <= at:
        raise InvalidInput("An acceptance must last into the future: choose a later time.")
    if until > latest:
        raise InvalidInput(
            f"An acceptance lasts {in_words(policy.longest_acceptance)} at most: choose an earlier time, and accept it "
            "again when it is over."
        )


def _terms(plan: Plan, metric: str) -> list[tuple[float, str, bool]]:
    """How the metric is guarded, in all of the plan."""
    rails = [rail for stage in plan.stages for rail in stage.guardrails if rail.metric == metric]
    return sorted({(rail.margin, rail.direction.value, rail.of_split) for rail in rails})


def _end(row: Acceptance, why: Ended, *, actor: str, at: datetime) -> None:
    row.ended_by, row.ended_at, row.ended_why = actor, at, why


async def _tell(
    session: AsyncSession,
    rollout: Rollout,
    what: Happening,
    row: Acceptance,
    *,
    at: datetime,
    actor: str = SLUICE,
    **facts: Any,
) -> None:
    await happened(
        session,
        rollout,
        what,
        at=at,
        actor=actor,
        tell=Tell.THREAD,
        acceptance=row.id,
        metric=row.metric,
        until=row.until.isoformat(),
        reason=row.reason,
        by=row.made_by,
        **facts,
    )

"""Approvals: a question to people, answered by votes, claimed once by compare-and-set."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tools.errors import Conflict, NotFound
from tools.plans.model import Plan
from tools.plans.policy import Decision, Policy, check_approver
from tools.records.models import Approval, ApprovalVote, Rollout
from tools.rollouts import store
from tools.rollouts.events import Happening, Tell, happened


class ApprovalNotFound(NotFound):
    """There is no such approval."""


class ApprovalClosed(Conflict):
    """The question was answered, ran out or was withdrawn."""


class Status(StrEnum):
    PENDING = "pending"
    GRANTED = "granted"
    REJECTED = "rejected"
    EXPIRED = "expired"
    VOID = "void"  # the rollout moved on: a breach, a new plan, a pause


class Purpose(StrEnum):
    START = "start"
    PROMOTE = "promote"


class Vote(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"


CLOSED_BECAUSE = {
    Status.GRANTED: "has already been approved",
    Status.REJECTED: "has already been rejected",
    Status.EXPIRED: "ran out of time",
    Status.VOID: "is no longer asked, because the rollout moved on",
}


@dataclass(frozen=True, slots=True)
class Tally:
    """Who has approved so far, of how many that are needed."""

    approval_id: str
    by: tuple[str, ...]
    needed: int

    @property
    def complete(self) -> bool:
        return len(self.by) >= self.needed


async def request(
    session: AsyncSession,
    rollout: Rollout,
    purpose: Purpose,
    decision: Decision,
    *,
    plan: Plan,
    policy: Policy,
    to_stage: int,
    requester: str,
    snapshot: dict[str, Any] | None,
    at: datetime,
) -> Approval:
    """Ask people, in the caller's transaction."""
    approval = Approval(
        rollout_id=rollout.id,
        purpose=purpose,
        plan_sha256=plan.sha256,
        epoch=rollout.epoch,
        to_stage=to_stage,
        needed=decision.needed,
        why=decision.why,
        snapshot=snapshot,
        requester=requester,
        status=Status.PENDING,
        created_at=at,
        expires_at=at + policy.approval_ttl,
    )
    session.add(approval)
    await session.flush()
    await happened(
        session,
        rollout,
        Happening.APPROVAL_REQUESTED,
        at=at,
        actor=requester,
        tell=Tell.PERSON,
        approval=approval.id,
        purpose=purpose.value,
        to_stage=to_stage,
        to_exposure=str(plan.stages[to_stage].exposure) if to_stage < len(plan.stages) else None,
        needed=decision.needed,
        why=decision.why,
        plan_sha256=approval.plan_sha256,
        expires_at=approval.expires_at.isoformat(),
    )
    return approval


async def get(session: AsyncSession, approval_id: str) -> Approval:
    """The approval as it is now. Raises ApprovalNotFound."""
    approval = await session.get(Approval, approval_id, populate_existing=True)
    if approval is None:
        raise ApprovalNotFound("That button belongs to nothing I know; use the buttons on the rollout's newest card.")
    return approval


def check_pending(approval: Approval, *, at: datetime) -> None:
    """Raise ApprovalClosed unless the question is still asked, and in time."""
    status = Status(approval.status)
    if status is Status.PENDING and approval.expires_at <= at:
        status = Status.EXPIRED
    if status is not Status.PENDING:
        raise _closed(status)


def check_open(approval: Approval, rollout: Rollout, plan: Plan, *, at: datetime) -> None:
    """Raise ApprovalClosed unless the question still stands: pending, in time, of this plan and this epoch."""
    check_pending(approval, at=at)
    if approval.epoch != rollout.epoch or approval.plan_sha256 != plan.sha256:
        raise _closed(Status.VOID)


def _closed(status: Status) -> ApprovalClosed:
    return ApprovalClosed(f"This {CLOSED_BECAUSE[status]}. The rollout's card shows what can be done now.")


async def vote(
    session: AsyncSession,
    approval: Approval,
    rollout: Rollout,
    plan: Plan,
    policy: Policy,
    *,
    person: str,
    answer: Vote,
    reason: str | None,
    at: datetime,
) -> Tally:
    """Count a person's answer; the approval stays pending until somebody claims it.

    Raises ApprovalClosed, NotAllowed, and Conflict for a second vote of one person.
    """
    check_open(approval, rollout, plan, at=at)
    askers = {approval.requester, *await store.askers(session, rollout)}
    check_approver(policy, person, askers=askers, spec_author=plan.spec_author)
    if await session.get(ApprovalVote, (approval.id, person)) is not None:
        raise Conflict("You have already answered this; it waits for someone else.")
    session.add(ApprovalVote(approval_id=approval.id, person=person, answer=answer, reason=reason, at=at))
    await session.flush()
    tally = await count(session, approval)
    await happened(
        session,
        rollout,
        Happening.APPROVAL_VOTED,
        at=at,
        actor=person,
        approval=approval.id,
        answer=answer.value,
        reason=reason,
        have=len(tally.by),
        needed=tally.needed,
    )
    return tally


async def count(session: AsyncSession, approval: Approval) -> Tally:
    """The votes for it so far, in the order in which they came."""
    query = select(ApprovalVote.person).where(
        ApprovalVote.approval_id == approval.id, ApprovalVote.answer == Vote.APPROVE
    )
    return Tally(approval.id, tuple((await session.scalars(query.order_by(ApprovalVote.at))).all()), approval.needed)


async def claim(session: AsyncSession, approval: Approval, status: Status, *, at: datetime) -> bool:
    """Close the approval; True for exactly one caller ever."""
    closed = await session.execute(
        update(Approval)
        .where(Approval.id == approval.id, Approval.status == Status.PENDING)
        .values(status=status, decided_at=at)
        .returning(Approval.id)
    )
    return closed.first() is not None


async def pending(session: AsyncSession, rollout_id: str) -> Sequence[Approval]:
    """What people are being asked about this rollout."""
    query = select(Approval).where(Approval.rollout_id == rollout_id, Approval.status == Status.PENDING)
    return (await session.scalars(query.order_by(Approval.created_at))).all()


async def void_pending(session: AsyncSession, rollout: Rollout, *, at: datetime, why: str) -> None:
    """Withdraw every open question about the rollout."""
    for approval in await pending(session, rollout.id):
        if await claim(session, approval, Status.VOID, at=at):
            await happened(
                session, rollout, Happening.APPROVAL_VOIDED, at=at, tell=Tell.NOBODY, approval=approval.id, why=why
            )

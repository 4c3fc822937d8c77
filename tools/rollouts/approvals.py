"""Approvals: a question to people, answered by votes, claimed once by compare-and-set."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tools.errors import Conflict, NotAllowed, NotFound
from tools.plans import policy as policies
from tools.plans.model import Exposure, Plan
from tools.plans.policy import NOT_READ, Decision, Members, Policy
from tools.records import outbox
from tools.records.models import Approval, ApprovalCall, ApprovalPost, ApprovalVote, Rollout
from tools.rollouts import store
from tools.rollouts.events import Happening, Tell, happened, lane
from tools.rollouts.scope import EVERYWHERE, Scope


class ApprovalNotFound(NotFound):
    """There is no such approval."""


class ApprovalClosed(Conflict):
    """The question was answered, ran out or was withdrawn."""


class VotedMeanwhile(Conflict):
    """Somebody else answered between the look at who may approve and the vote."""


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
    Status.VOID: "is no longer asked",
}
MOVED_ON = "The rollout moved on."


@dataclass(frozen=True, slots=True)
class Tally:
    """Who has approved so far and when, of how many that are needed."""

    approval_id: str
    by: tuple[str, ...]
    at: tuple[datetime, ...]
    needed: int

    @property
    def complete(self) -> bool:
        return len(self.by) >= self.needed


@dataclass(frozen=True, slots=True)
class Electors:
    """Who can still answer a question: those who are asked first, and the backup once it is asked too.

    `missing` approvals are needed yet. `strangers`: somebody else was named and is no member of the workspace.
    """

    is_asked: bool
    approvers: tuple[str, ...]
    backup: tuple[str, ...]
    escalated: bool
    missing: int
    strangers: bool

    @property
    def able(self) -> int:
        """How many people can still answer."""
        return len(self.approvers) + len(self.backup)


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
    served: Exposure | None = None,
) -> Approval:
    """Ask people, in the caller's transaction. `served` is what the flag serves before a start."""
    backup = policies.rule_of(policy, plan).backup
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
        served=None if served is None else served.model_dump(mode="json"),
        remind_at=at + policy.approval_ttl * policy.approval_reminder,
        escalate_at=at + policy.approval_ttl * policy.approval_escalation if backup else None,
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
        before=str(served) if served is not None and served.percent else None,
        needed=decision.needed,
        why=decision.why,
        plan_sha256=approval.plan_sha256,
        expires_at=approval.expires_at.isoformat(),
    )
    return approval


async def get(session: AsyncSession, approval_id: str, *, scope: Scope = EVERYWHERE) -> Approval:
    """The approval as it is now. Raises ApprovalNotFound."""
    seen = select(Approval).join(Rollout, Rollout.id == Approval.rollout_id).where(scope.rows())
    query = seen.where(Approval.id == approval_id).execution_options(populate_existing=True)
    approval = await session.scalar(query)
    if approval is None:
        raise ApprovalNotFound("That button belongs to nothing I know; use the buttons on the rollout's newest card.")
    return approval


def check_pending(approval: Approval, *, at: datetime) -> None:
    """Raise ApprovalClosed unless the question is still asked, and in time."""
    status = Status(approval.status)
    if status is Status.PENDING and approval.expires_at <= at:
        status = Status.EXPIRED
    if status is not Status.PENDING:
        raise _closed(status, approval.closed_why)


def check_open(approval: Approval, rollout: Rollout, plan: Plan, *, at: datetime) -> None:
    """Raise ApprovalClosed unless the question still stands: pending, in time, of this plan and this epoch."""
    check_pending(approval, at=at)
    if approval.epoch != rollout.epoch or approval.plan_sha256 != plan.sha256:
        raise _closed(Status.VOID, None)


def _closed(status: Status, why: str | None) -> ApprovalClosed:
    because = f": {(why or MOVED_ON).rstrip('.')}" if status is Status.VOID else ""
    return ApprovalClosed(f"This {CLOSED_BECAUSE[status]}{because}. The rollout's card shows what can be done now.")


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
    members: Members = NOT_READ,
    lapsed: Sequence[str] = (),
) -> Tally:
    """Count a person's answer; the approval stays pending until somebody claims it.

    `members` are the groups that were read for this answer, `lapsed` those whose votes just ceased to count. Raises
    ApprovalClosed, NotAllowed, and Conflict for a second vote of one person.
    """
    check_open(approval, rollout, plan, at=at)
    await check_voter(session, approval, rollout, plan, policy, person=person, members=members)
    before = await session.get(ApprovalVote, (approval.id, person))
    if before is not None and before.lapsed_at is None:
        raise Conflict("You have already answered this; it waits for someone else.")
    # What the settings have come to want since people were asked counts too.
    approval.needed = max(approval.needed, policies.needed_for(policy, plan, approval.requester))
    given = {"answer": answer, "reason": reason, "at": at, "lapsed_at": None}
    await session.merge(ApprovalVote(approval_id=approval.id, person=person, **given))
    await session.flush()
    tally = await count(session, approval)
    besides: dict[str, Any] = {"lapsed": list(lapsed)} if lapsed else {}
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
        **besides,
    )
    await tell_called(session, approval, at=at, only=person)
    return tally


async def standing(session: AsyncSession, approval: Approval, *, besides: str) -> Sequence[ApprovalVote]:
    """The approvals of others that count, when one more vote may be the last one needed; else none of them matters."""
    yes = [vote for vote in await votes(session, approval) if _counts(vote) and vote.person != besides]
    return yes if len(yes) + 1 >= approval.needed else ()


async def lapse(
    session: AsyncSession,
    approval: Approval,
    rollout: Rollout,
    plan: Plan,
    policy: Policy,
    *,
    person: str,
    heard: Collection[str],
    at: datetime,
    members: Members,
) -> list[str]:
    """Before a vote that may be the last: have the votes of those count no longer who may not approve it any more.

    `heard` are those whom `members` was read for. Returns who they are; raises VotedMeanwhile, and Conflict where
    nobody can say.
    """
    gone = []
    for vote in await standing(session, approval, besides=person):
        if vote.person not in heard:
            raise VotedMeanwhile("Someone else answered at the same moment. Look at the card and try again.")
        try:
            await check_voter(session, approval, rollout, plan, policy, person=vote.person, members=members)
        except NotAllowed:
            vote.lapsed_at = at
            gone.append(vote.person)
    await session.flush()
    return gone


async def check_voter(
    session: AsyncSession,
    approval: Approval,
    rollout: Rollout,
    plan: Plan,
    policy: Policy,
    *,
    person: str,
    members: Members,
) -> None:
    """Raise NotAllowed unless the person may answer it, Conflict when that can't be said."""
    policies.check_approver(
        policies.rule_of(policy, plan),
        person,
        members=members,
        backup_too=approval.escalated_at is not None,
        askers=await barred(session, approval, rollout),
        spec_author=plan.spec_author,
    )


async def barred(session: AsyncSession, approval: Approval, rollout: Rollout) -> frozenset[str]:
    """Everybody who asked for it, or wrote a version of its plan."""
    return frozenset({approval.requester, *await store.askers(session, rollout)})


async def count(session: AsyncSession, approval: Approval) -> Tally:
    """The votes for it so far, in the order in which they came."""
    yes = [vote for vote in await votes(session, approval) if _counts(vote)]
    return Tally(approval.id, tuple(vote.person for vote in yes), tuple(vote.at for vote in yes), approval.needed)


def _counts(vote: ApprovalVote) -> bool:
    return vote.answer == Vote.APPROVE and vote.lapsed_at is None


async def votes(session: AsyncSession, approval: Approval) -> Sequence[ApprovalVote]:
    """Every answer to it, in the order in which they came."""
    query = select(ApprovalVote).where(ApprovalVote.approval_id == approval.id)
    return (await session.scalars(query.order_by(ApprovalVote.at))).all()


async def claim(
    session: AsyncSession, approval: Approval, status: Status, *, at: datetime, why: str | None = None
) -> bool:
    """Close the approval; True for exactly one caller ever. Whoever was asked hears of it, in channels too."""
    closed = await session.execute(
        update(Approval)
        .where(Approval.id == approval.id, Approval.status == Status.PENDING)
        .values(status=status, decided_at=at, closed_why=why)
        .returning(Approval.id)
    )
    if closed.first() is None:
        return False
    await tell_called(session, approval, at=at)
    await tell_channels(session, approval.id, at=at)
    return True


async def pending(session: AsyncSession, rollout_id: str) -> Sequence[Approval]:
    """What people are being asked about this rollout."""
    query = select(Approval).where(Approval.rollout_id == rollout_id, Approval.status == Status.PENDING)
    return (await session.scalars(query.order_by(Approval.created_at))).all()


async def void_pending(session: AsyncSession, rollout: Rollout, *, at: datetime, why: str) -> None:
    """Withdraw every open question about the rollout."""
    for approval in await pending(session, rollout.id):
        await void(session, rollout, approval, at=at, why=why)


async def void(
    session: AsyncSession, rollout: Rollout, approval: Approval, *, at: datetime, why: str, tell: Tell = Tell.NOBODY
) -> None:
    """Withdraw a question, unless it is closed already; `why` is a sentence."""
    if await claim(session, approval, Status.VOID, at=at, why=why):
        await happened(session, rollout, Happening.APPROVAL_VOIDED, at=at, tell=tell, approval=approval.id, why=why)


async def void_if_moved(
    session: AsyncSession, rollout: Rollout, approval: Approval, served: Exposure, *, at: datetime
) -> bool:
    """Withdraw the question about a start when the flag no longer serves what it did as people were asked."""
    if approval.purpose != Purpose.START or approval.served is None:
        return False
    before = Exposure.model_validate(approval.served)
    if before == served:
        return False
    why = f"The flag was changed by hand from {before} to {served}."
    await void(session, rollout, approval, at=at, why=why, tell=Tell.THREAD)
    return True


# -- questions that stay open ---------------------------------------------------------------------------------------


async def mind(session: AsyncSession, rollout: Rollout, *, at: datetime, tell: Tell) -> list[Approval]:
    """Close what ran out of time, remind people of the rest once, ask the backup once; what is still asked.

    `tell`: who hears that nobody answered in time.
    """
    waiting = []
    for approval in await pending(session, rollout.id):
        if approval.expires_at > at:
            waiting.append(approval)
            await _nudge(session, rollout, approval, at=at)
        elif await claim(session, approval, Status.EXPIRED, at=at):
            await happened(session, rollout, Happening.APPROVAL_EXPIRED, at=at, tell=tell, approval=approval.id)
    return waiting


def due_next(approval: Approval) -> datetime:
    """When the question is to be looked at again."""
    nudges = [] if approval.reminded_at is not None else [approval.remind_at]
    nudges += [] if approval.escalated_at is not None else [approval.escalate_at]
    return min([approval.expires_at, *(moment for moment in nudges if moment is not None)])


async def _nudge(session: AsyncSession, rollout: Rollout, approval: Approval, *, at: datetime) -> None:
    """Say once that the question is still open, and once that the backup may answer it; one line when both are due."""
    escalated = approval.escalated_at is None and approval.escalate_at is not None and approval.escalate_at <= at
    reminded = approval.reminded_at is None and approval.remind_at is not None and approval.remind_at <= at
    if not (escalated or reminded):
        return
    approval.reminded_at = approval.reminded_at or at
    if escalated:
        approval.escalated_at = at
    what = Happening.APPROVAL_ESCALATED if escalated else Happening.APPROVAL_REMINDED
    expires_at = approval.expires_at.isoformat()
    await happened(session, rollout, what, at=at, tell=Tell.NOBODY, approval=approval.id, expires_at=expires_at)
    await outbox.put(
        session,
        outbox.Kind.NUDGE,
        lane=lane(rollout.id),
        at=at,
        payload={"approval": approval.id},
        rollout_id=rollout.id,
        replaces=f"nudge:{approval.id}",
    )


# -- whom it was put to by direct message ---------------------------------------------------------------------------


async def call(session: AsyncSession, approval: Approval, people: Sequence[str], *, at: datetime) -> None:
    """Have those people asked by direct message who were not yet; nobody once the question is closed."""
    if approval.status != Status.PENDING:
        return
    for person in sorted(set(people) - set(await called(session, approval))):
        session.add(ApprovalCall(approval_id=approval.id, person=person, called_at=at, channel=None, ts=None))
        await _tell_directly(session, approval, person, at=at)


async def called(session: AsyncSession, approval: Approval) -> Sequence[str]:
    """The people who were asked by direct message."""
    query = select(ApprovalCall.person).where(ApprovalCall.approval_id == approval.id)
    return (await session.scalars(query.order_by(ApprovalCall.person))).all()


async def tell_called(session: AsyncSession, approval: Approval, *, at: datetime, only: str | None = None) -> None:
    """Have the direct messages say how the question stands now, or that of one person."""
    for person in await called(session, approval):
        if only is None or person == only:
            await _tell_directly(session, approval, person, at=at)


async def hold(session: AsyncSession, approval_ids: Collection[str]) -> None:
    """Lock the questions until the transaction ends."""
    query = select(Approval.id).where(Approval.id.in_(approval_ids)).order_by(Approval.id)
    await session.execute(query.with_for_update())


async def tell_channels(session: AsyncSession, approval_id: str, *, at: datetime, only_closed: bool = False) -> None:
    """Have the channels that were asked see how the question stands now; `only_closed`: unless it is still asked."""
    # Locked, so that a message that asks and the end of the question can't miss each other.
    query = select(Approval).where(Approval.id == approval_id).execution_options(populate_existing=True)
    approval = await session.scalar(query.with_for_update())
    if approval is None or (only_closed and approval.status == Status.PENDING):
        return
    asked = await session.scalar(select(ApprovalPost.ts).where(ApprovalPost.approval_id == approval_id).limit(1))
    if asked is not None:
        name = f"question:{approval_id}"
        await outbox.put(
            session,
            outbox.Kind.QUESTION,
            lane=name,
            at=at,
            payload={"approval": approval_id},
            rollout_id=approval.rollout_id,
            replaces=name,
        )


async def _tell_directly(session: AsyncSession, approval: Approval, person: str, *, at: datetime) -> None:
    name = f"approval:{approval.id}:{person}"
    await outbox.put(
        session,
        outbox.Kind.DIRECT,
        lane=name,
        at=at,
        payload={"person": person, "approval": approval.id},
        rollout_id=approval.rollout_id,
        replaces=name,
    )

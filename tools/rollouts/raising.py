"""What lets exposure rise, each a step of one transaction: asking people, their votes, and going on after a pause.

Policy says who is asked, and nothing here goes round it.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from tools.clock import in_words
from tools.errors import Conflict, NotAllowed
from tools.gates import Harm, Outcome, Verdict
from tools.plans import policy as policies
from tools.plans.model import Exposure, Plan
from tools.plans.policy import NOT_READ, Answer, Members, Policy
from tools.records.models import Approval, GateCheck, Rollout
from tools.rollouts import acceptances, approvals, changes, checks, freezes, lowering, store
from tools.rollouts.events import Happening, Tell, happened
from tools.rollouts.phases import LIVE, Phase, words

LOOKS_AT_THE_FLAG_EVERY = timedelta(seconds=30)
"""How often the flag is looked at while people are asked about a start, so that no changed one is approved."""


async def ask_to_start(
    session: AsyncSession,
    rollout: Rollout,
    plan: Plan,
    policy: Policy,
    *,
    served: Exposure | None,
    at: datetime,
    members: Members = NOT_READ,
) -> bool:
    """Whether people have to be asked; if so they are, unless they already were. Raises NotAllowed.

    `served` is what the flag serves now: who says yes says it to that.
    """
    decision = policies.may_start(policy, plan, requester=rollout.requester, members=members)
    if decision.answer is Answer.DENY:
        raise NotAllowed(f"{_sentence(decision.why)}.")
    if decision.answer is Answer.AUTO:
        return False
    asked = [approval for approval in await approvals.pending(session, rollout.id) if approval.expires_at > at]
    if not asked:
        approval = await approvals.request(
            session,
            rollout,
            approvals.Purpose.START,
            decision,
            plan=plan,
            policy=policy,
            to_stage=0,
            requester=rollout.requester,
            snapshot=None,
            at=at,
            served=served,
        )
        rollout.due_at = min(approvals.due_next(approval), at + LOOKS_AT_THE_FLAG_EVERY)
    return True


async def ask_to_promote(
    session: AsyncSession,
    rollout: Rollout,
    plan: Plan,
    policy: Policy,
    *,
    actor: str,
    at: datetime,
    members: Members = NOT_READ,
) -> None:
    """Put the next stage before people, whoever policy would have asked. Raises Conflict, NotAllowed."""
    assert rollout.stage is not None
    if rollout.stage_since is None:
        raise Conflict("The last change is still being confirmed; try again in a moment.")
    await _check_freeze(session, policy, rollout, plan, rollout.stage + 1, at)
    decision = policies.may_promote(policy, plan, rollout.stage + 1, requester=rollout.requester, members=members)
    if decision.answer is Answer.AUTO:
        reasons = ["the proof of safety is not complete"]
        decision = policies.ask(policy, plan, rollout.requester, reasons, members=members)
    if decision.answer is Answer.DENY:
        raise NotAllowed(f"{_sentence(decision.why)}.")
    check = await store.last_check(session, rollout)
    store.move(rollout, Phase.WAITING_PROMOTION, at=at)
    await approvals.request(
        session,
        rollout,
        approvals.Purpose.PROMOTE,
        decision,
        plan=plan,
        policy=policy,
        to_stage=rollout.stage + 1,
        requester=rollout.requester,
        snapshot=check.verdict if check is not None else None,
        at=at,
    )


async def vote(
    session: AsyncSession,
    approval: Approval,
    rollout: Rollout,
    plan: Plan,
    policy: Policy,
    *,
    actor: str,
    known_good: Exposure | None,
    at: datetime,
    heard: Collection[str] = (),
    members: Members = NOT_READ,
) -> None:
    """Count an approval, and go ahead with what it is about if it was the last one needed.

    `known_good` is what the flag serves before a start; `members` was read for the actor and those `heard`, who voted
    before. Raises NotAllowed, ApprovalClosed, VotedMeanwhile.
    """
    await _check_freeze(session, policy, rollout, plan, approval.to_stage, at)
    lapsed = await approvals.lapse(
        session, approval, rollout, plan, policy, person=actor, heard=heard, at=at, members=members
    )
    tally = await approvals.vote(
        session,
        approval,
        rollout,
        plan,
        policy,
        person=actor,
        answer=approvals.Vote.APPROVE,
        reason=None,
        at=at,
        members=members,
        lapsed=lapsed,
    )
    if not tally.complete or not await approvals.claim(session, approval, approvals.Status.GRANTED, at=at):
        return
    await happened(
        session,
        rollout,
        Happening.APPROVAL_GRANTED,
        at=at,
        actor=actor,
        tell=Tell.NOBODY,
        approval=approval.id,
        purpose=approval.purpose,
        to_stage=approval.to_stage,
        by=list(tally.by),
    )
    if approval.purpose == approvals.Purpose.START:
        await changes.start(session, rollout, plan, known_good=known_good, actor=actor, at=at)
    else:
        check = await store.last_check(session, rollout)
        assert check is not None, "without a check nothing is promoted"
        why = _shown_by(check)
        await changes.promote(session, rollout, plan, actor=actor, at=at, check=check, why=why, asked=approval.why)


async def check_sight(session: AsyncSession, rollout: Rollout, plan: Plan, *, at: datetime) -> None:
    """Raise Conflict when the newest check is old, was blind or saw harm: none of them lets exposure rise."""
    if Phase(rollout.phase) not in LIVE:
        return
    check = await store.last_check(session, rollout)
    if check is None or at - check.at > plan.stale_after:
        since = "yet" if check is None else f"for {in_words(at - check.at)}"
        raise Conflict(f"The gate has not been checked {since}; wait for the next check.")
    if await acceptances.is_outdated(session, rollout, check, at=at):
        raise Conflict("Something that was accepted at the last check counts again; wait for the next check.")
    verdict = Verdict.from_json(check.verdict["gate"])
    if verdict.harm is not Harm.NONE or verdict.outcome not in (Outcome.PASS, Outcome.INCONCLUSIVE):
        raise Conflict(f"The gate can't support a promotion now: {verdict.why}")


async def resume(
    session: AsyncSession,
    rollout: Rollout,
    plan: Plan,
    policy: Policy,
    *,
    actor: str,
    at: datetime,
    members: Members = NOT_READ,
) -> None:
    """Go on where it paused, with an approver's word where harm is suspected or the flag was lowered by hand.

    Raises Conflict, NotAllowed, IllegalTransition.
    """
    lowering.refuse_ended(rollout)
    if Phase(rollout.phase) is not Phase.PAUSED or rollout.stage is None:
        raise Conflict(f"The rollout is {words(Phase(rollout.phase))}, so there is nothing to resume.")
    if await store.is_lowering(session, rollout.id):
        raise Conflict("It is still being lowered; try again once that is confirmed.")
    target = plan.stages[rollout.stage].exposure
    settled = Exposure.model_validate(rollout.settled)
    check = await store.last_check(session, rollout)
    accepted = checks.harm_by_metric(check) if check is not None else {}
    if accepted or settled != target:
        askers = await store.askers(session, rollout)
        rule = policies.rule_of(policy, plan)
        policies.check_approver(rule, actor, members=members, askers=askers, spec_author=plan.spec_author)
    if settled != target:
        await freezes.check(session, policy, rollout, plan, at)
    store.move(
        rollout,
        Phase.PROGRESSING,
        at=at,
        pause_reason=None,
        pause_ends=None,
        paused_at=None,
        harm_accepted=accepted,
        limit_from=at,
        due_at=at,
    )
    if settled != target or rollout.stage_since is None:
        store.change(rollout, at=at, stage_since=None)
        store.intend(session, rollout, target, store.Purpose.RESUME, at=at)
    await happened(
        session, rollout, Happening.RESUMED, at=at, actor=actor, exposure=str(target), harm_accepted=accepted
    )


async def _check_freeze(
    session: AsyncSession, policy: Policy, rollout: Rollout, plan: Plan, to_stage: int, at: datetime
) -> None:
    """Raise Frozen while a freeze forbids that stage; to finish raises nothing."""
    if to_stage < len(plan.stages):
        await freezes.check(session, policy, rollout, plan, at)


def _shown_by(check: GateCheck) -> str:
    """What the check knew when people said yes."""
    verdict = Verdict.from_json(check.verdict["gate"])
    return verdict.why if verdict.outcome is Outcome.PASS else f"Before the proof was complete. {verdict.why}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]

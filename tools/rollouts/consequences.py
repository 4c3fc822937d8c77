"""What a look at a rollout brings about, in the caller's transaction: what is kept of it, which questions it leaves
open, and what is done."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from tools.plans import policy as policies
from tools.plans.model import Exposure, Plan
from tools.plans.policy import Policy
from tools.records.models import GateCheck, Rollout
from tools.rollouts import approvals, changes, checks, decisions, drifts, freezes, raising, store
from tools.rollouts.events import SLUICE, Happening, Tell, happened, refresh_card
from tools.rollouts.freezes import FreezeView
from tools.rollouts.phases import Phase


async def note_freeze(
    session: AsyncSession, rollout: Rollout, plan: Plan, policy: Policy, *, at: datetime
) -> FreezeView | None:
    """The freeze that keeps the rollout where it is, which the rollout then says."""
    freeze = await freezes.holding(session, policy, rollout, plan, at)
    await freezes.note(session, rollout, freeze, at=at)
    return freeze


async def mind_start(
    session: AsyncSession, rollout: Rollout, plan: Plan, policy: Policy, *, served: Exposure | None, at: datetime
) -> None:
    """Withdraw the question about a start that stands no longer; remind people of one that does.

    `served` is what the flag serves now, None where that could not be read.
    """
    freeze = await note_freeze(session, rollout, plan, policy, at=at)
    if freeze is not None:
        await _withdraw(session, rollout, freeze, at=at)
    elif served is not None:
        for approval in await approvals.pending(session, rollout.id):
            await approvals.void_if_moved(session, rollout, approval, served, at=at)
    waiting = await approvals.mind(session, rollout, at=at, tell=Tell.PERSON)
    if waiting:
        rollout.due_at = min(at + raising.LOOKS_AT_THE_FLAG_EVERY, *map(approvals.due_next, waiting))
    elif freeze is not None:
        rollout.due_at = freeze.end
    else:
        rollout.due_at = await freezes.begins_next(session, policy, rollout, plan, at)


async def mind_promotion(
    session: AsyncSession, rollout: Rollout, plan: Plan, freeze: FreezeView | None, *, at: datetime
) -> None:
    """Withdraw the question about a promotion that the freeze forbids; pause where nobody answered it in time."""
    if Phase(rollout.phase) is not Phase.WAITING_PROMOTION:
        return
    if freeze is not None and rollout.stage is not None and rollout.stage + 1 < len(plan.stages):
        # Asked anew as soon as the gate passes after the freeze.
        await _withdraw(session, rollout, freeze, at=at)
        store.move(rollout, Phase.PROGRESSING, at=at)
    elif not await approvals.mind(session, rollout, at=at, tell=Tell.NOBODY):
        why, ends = "Nobody approved the promotion in time.", "Resume to ask again, or roll back."
        await changes.pause(session, rollout, at=at, reason=why, ends=ends, tell=Tell.PERSON, unanswered=True)


async def remember(
    session: AsyncSession,
    rollout: Rollout,
    plan: Plan,
    check: GateCheck,
    assessment: checks.Assessment,
    *,
    flag_seen: bool,
    asked_at: datetime,
    at: datetime,
) -> None:
    """Keep the evidence that the check carries on, and when the next one is due; show both on the card.

    `asked_at` is when the look began: it is blind from then on, however long it took to find that.
    """
    blind = decisions.is_blind(assessment.verdict) or not flag_seen
    as_before = rollout.last_check_id is not None and blind is (rollout.blind_since is not None)
    if not blind and rollout.blind_paged:
        await happened(session, rollout, Happening.METRICS_BACK, at=at, why=assessment.verdict.why)
    await drifts.tell(session, rollout, assessment, at=at)
    blind_since = (rollout.blind_since or asked_at) if blind else None
    blind_for = None if blind_since is None else at - blind_since
    store.change(
        rollout,
        at=at,
        evidence={**rollout.evidence, **assessment.evidence},
        last_check_id=check.id,
        blind_since=blind_since,
        blind_paged=rollout.blind_paged and blind,
        due_at=at
        + decisions.next_check(plan, Phase(rollout.phase), assessment.verdict, blind_for=blind_for, took=at - asked_at),
    )
    await refresh_card(session, rollout, at=at, minor=as_before)


def decide(
    rollout: Rollout,
    plan: Plan,
    assessment: checks.Assessment,
    *,
    flag_seen: bool,
    asked_at: datetime,
    at: datetime,
) -> decisions.Action:
    """What the check calls for, as the rollout is now; `asked_at` is when its look began. Pure."""
    assert rollout.stage is not None
    stage = plan.stages[rollout.stage]
    return decisions.decide(
        decisions.Situation(
            plan=plan,
            stage=stage,
            phase=Phase(rollout.phase),
            at=at,
            verdict=assessment.verdict,
            by_guardrail=tuple(zip(stage.guardrails, assessment.counted, strict=True)),
            stage_since=rollout.stage_since,
            limit_from=rollout.limit_from,
            blind_since=rollout.blind_since,
            blind_paged=rollout.blind_paged,
            harm_accepted=rollout.harm_accepted,
            exposed=Exposure.model_validate(rollout.settled).percent > 0,
            flag_seen=flag_seen,
            took=at - asked_at,
        )
    )


async def follow(
    session: AsyncSession,
    rollout: Rollout,
    plan: Plan,
    policy: Policy,
    check: GateCheck,
    action: decisions.Action,
    concerns: Sequence[str] | None,
    *,
    at: datetime,
) -> None:
    """Do what was decided; `concerns` are why people should be asked about a step besides what policy says.

    None where nobody looked for any, because a freeze held: then no step is taken.
    """
    evidence: dict[str, Any] = {"check": check.id, "check_sha256": checks.digest(check)}
    match action:
        case decisions.RollBack(reason):
            await changes.roll_back(session, rollout, at=at, reason=reason, **evidence)
        case decisions.Pause(reason, ends):
            await changes.pause(session, rollout, at=at, reason=reason, ends=ends, tell=Tell.PERSON, **evidence)
        case decisions.Page(reason):
            store.change(rollout, at=at, blind_paged=True)
            await happened(
                session, rollout, Happening.METRICS_BLIND, at=at, tell=Tell.PERSON, reason=reason, **evidence
            )
        case decisions.Promote(why):
            await _promote(session, rollout, plan, policy.of(rollout.workspace), check, why, concerns, at=at)
        case decisions.Hold():
            pass


async def _promote(
    session: AsyncSession,
    rollout: Rollout,
    plan: Plan,
    policy: Policy,
    check: GateCheck,
    why: str,
    concerns: Sequence[str] | None,
    *,
    at: datetime,
) -> None:
    assert rollout.stage is not None
    to_stage = rollout.stage + 1
    if concerns is None or (rollout.frozen is not None and to_stage < len(plan.stages)):
        # It holds, as its card says, and goes on by itself with the first check after the freeze.
        return
    decision = policies.may_promote(policy, plan, to_stage, requester=rollout.requester, concerns=concerns)
    if decision.answer is policies.Answer.AUTO:
        await changes.promote(session, rollout, plan, actor=SLUICE, at=at, check=check, why=why)
    elif decision.answer is policies.Answer.DENY:
        ends = "Mend that and resume."
        await changes.pause(session, rollout, at=at, reason=decision.why, ends=ends, tell=Tell.PERSON)
    else:
        store.move(rollout, Phase.WAITING_PROMOTION, at=at)
        await approvals.request(
            session,
            rollout,
            approvals.Purpose.PROMOTE,
            decision,
            plan=plan,
            policy=policy,
            to_stage=to_stage,
            requester=rollout.requester,
            snapshot=check.verdict,
            at=at,
        )


async def _withdraw(session: AsyncSession, rollout: Rollout, freeze: FreezeView, *, at: datetime) -> None:
    said = str(freeze)
    why = f"{said[:1].upper()}{said[1:]}."
    for approval in await approvals.pending(session, rollout.id):
        await approvals.void(session, rollout, approval, at=at, why=why, tell=Tell.THREAD)

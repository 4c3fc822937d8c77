"""Answers to what people are asked: who may give one, counting it, and what the last one needed brings about."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from tools.plans import policy as policies
from tools.plans.model import Plan
from tools.records.models import Approval, Rollout
from tools.rollouts import approvals, changes, lowering, raising, staleness, store
from tools.rollouts.approvals import Electors, Purpose, Status, Vote
from tools.rollouts.door import admission, hands, membership, reading, waking
from tools.rollouts.door.context import Context
from tools.rollouts.events import Happening, Tell, happened
from tools.rollouts.views import QuestionView, RolloutView, question_view

MOST_VOTES = 25
"""How often a vote that others overtook is tried: more often than there are votes to be overtaken by."""


async def approve(context: Context, approval_id: str, *, actor: str) -> RolloutView:
    """Count an approval, and go ahead if it was the last one needed, by people who all may approve at this moment."""
    await admission.check(context, actor)
    for _ in range(MOST_VOTES):
        try:
            return await _approve(context, approval_id, actor=actor)
        except approvals.VotedMeanwhile as error:
            overtaken = error
    raise overtaken


async def _approve(context: Context, approval_id: str, *, actor: str) -> RolloutView:
    rollout_id = await _check_pending(context, approval_id)
    known_good = await reading.served(context, rollout_id)
    served = await hands.look(context, rollout_id)
    await context.look_at_spec(rollout_id)
    # What changed meanwhile has closed the question.
    await _check_pending(context, approval_id)
    heard = await _standing(context, approval_id, besides=actor)
    members = await membership.about(context, *await context.plan(rollout_id), actor, heard)

    async def act(session: AsyncSession) -> bool:
        approval, rollout, plan = await _load(context, session, approval_id)
        at = context.clock.now()
        approvals.check_open(approval, rollout, plan, at=at)
        if approval.purpose == Purpose.START:
            await staleness.check_start(session, rollout, plan)
        if known_good is not None and await approvals.void_if_moved(session, rollout, approval, known_good, at=at):
            return False
        if await hands.respected(session, rollout, served, at=at):
            return False
        await raising.check_sight(session, rollout, plan, at=at)
        await raising.vote(
            session,
            approval,
            rollout,
            plan,
            context.policy.of(rollout.workspace),
            actor=actor,
            known_good=known_good,
            at=at,
            heard=heard,
            members=members,
        )
        return True

    if not await store.transact(context.database, act):
        # Withdrawn as this vote came: whoever voted is told why.
        await _check_pending(context, approval_id)
    return await waking.woken(context, rollout_id)


async def reject(context: Context, approval_id: str, *, actor: str, reason: str) -> RolloutView:
    """One rejection decides: a start is cancelled, a promotion pauses the rollout."""
    await admission.check_lowering(context, actor)
    members = await membership.about(context, *await context.plan(await _check_pending(context, approval_id)), actor)

    async def act(session: AsyncSession) -> str:
        approval, rollout, plan = await _load(context, session, approval_id)
        at = context.clock.now()
        await approvals.vote(
            session,
            approval,
            rollout,
            plan,
            context.policy.of(rollout.workspace),
            person=actor,
            answer=Vote.REJECT,
            reason=reason,
            at=at,
            members=members,
        )
        await approvals.claim(session, approval, Status.REJECTED, at=at)
        await happened(
            session,
            rollout,
            Happening.APPROVAL_REJECTED,
            at=at,
            actor=actor,
            tell=Tell.NOBODY,
            approval=approval.id,
            reason=reason,
        )
        if approval.purpose == Purpose.START:
            why = f"The start was rejected: {reason}"
            await lowering.cancel(session, rollout, actor=actor, reason=why, at=at, tell=Tell.PERSON)
        else:
            ends = "Resume to ask again once that is settled, or roll back."
            why = f"The promotion was rejected: {reason}"
            await changes.pause(session, rollout, actor=actor, at=at, reason=why, ends=ends, tell=Tell.PERSON)
        return rollout.id

    return await reading.get(context, await store.transact(context.database, act))


async def check_may_answer(context: Context, approval_id: str, *, actor: str) -> None:
    """Raise as `reject` would for that person now."""
    await admission.check_lowering(context, actor)
    members = await membership.about(context, *await context.plan(await _check_pending(context, approval_id)), actor)
    async with context.database.read() as session:
        approval, rollout, plan = await _read(context, session, approval_id)
        approvals.check_open(approval, rollout, plan, at=context.clock.now())
        policy = context.policy.of(rollout.workspace)
        await approvals.check_voter(session, approval, rollout, plan, policy, person=actor, members=members)


async def electors(context: Context, approval_id: str) -> Electors:
    """Who can still answer, read from the groups at this moment."""
    async with context.database.read() as session:
        approval, rollout, plan = await _read(context, session, approval_id)
        barred = {*await approvals.barred(session, approval, rollout), plan.spec_author}
        voted = {vote.person for vote in await approvals.votes(session, approval) if vote.lapsed_at is None}
        yes = len((await approvals.count(session, approval)).by)
    rule = policies.rule_of(context.policy.of(rollout.workspace), plan)
    names = (*rule.approvers, *(rule.backup if approval.escalated_at is not None else ()))
    members = await membership.of_all(context, names, rollout.workspace)
    first = [one for one in policies.people_in(rule.approvers, members) if one not in barred | voted]
    backup = [one for one in policies.people_in(names, members) if one not in barred | voted and one not in first]
    return Electors(
        is_asked=approval.status == Status.PENDING and approval.expires_at > context.clock.now(),
        approvers=tuple(first),
        backup=tuple(backup),
        escalated=approval.escalated_at is not None,
        missing=approval.needed - yes,
        strangers=bool(policies.strangers_in(names, members)),
    )


async def question(context: Context, approval_id: str) -> QuestionView:
    """A question and what became of it."""
    async with context.database.read() as session:
        return await question_view(session, await _approval(context, session, approval_id), at=context.clock.now())


async def call(context: Context, approval_id: str, people: Sequence[str]) -> None:
    """Have those people asked by direct message who were not yet."""

    async def act(session: AsyncSession) -> None:
        approval = await _approval(context, session, approval_id)
        await approvals.call(session, approval, people, at=context.clock.now())

    await store.transact(context.database, act)


async def _approval(context: Context, session: AsyncSession, approval_id: str) -> Approval:
    """The only way to a question by its id."""
    return await approvals.get(session, approval_id, scope=context.scope)


async def _read(context: Context, session: AsyncSession, approval_id: str) -> tuple[Approval, Rollout, Plan]:
    approval = await _approval(context, session, approval_id)
    return approval, *await context.load(session, approval.rollout_id, lock=False)


async def _load(context: Context, session: AsyncSession, approval_id: str) -> tuple[Approval, Rollout, Plan]:
    approval = await _approval(context, session, approval_id)
    rollout, plan = await context.load(session, approval.rollout_id)
    # Read again, now that the rollout's lock keeps others out.
    return await _approval(context, session, approval_id), rollout, plan


async def _standing(context: Context, approval_id: str, *, besides: str) -> frozenset[str]:
    """Whose approvals have to stand if the next vote is the last one needed."""
    async with context.database.read() as session:
        approval = await _approval(context, session, approval_id)
        return frozenset(vote.person for vote in await approvals.standing(session, approval, besides=besides))


async def _check_pending(context: Context, approval_id: str) -> str:
    """The rollout that is asked about; who comes when all is said is told so before waiting for any lock."""
    async with context.database.read() as session:
        approval = await _approval(context, session, approval_id)
    approvals.check_pending(approval, at=context.clock.now())
    return approval.rollout_id

"""The only door to a change: what people, the command line and the agent ask for.

Every method is one transaction that leaves rows behind; the executor then sets exposures, through `wake`. A person is
named by their Slack user id. All errors are sentences for that person. People act through `of`, the door of their own
workspace; the door itself is the operator's and the clock's, for which there are all rollouts.
"""

import copy
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tools.clock import Clock
from tools.errors import Conflict, InvalidInput, NotAllowed
from tools.flags.base import FlagRef, FlagService
from tools.people.base import People, PeopleUnavailable, UnknownGroup
from tools.people.memory import MemoryPeople
from tools.plans import policy as policies
from tools.plans.kinds import NO_KINDS, Kinds
from tools.plans.model import Exposure, Plan
from tools.plans.policy import Answer, Members, Policy
from tools.plans.validation import check_plan
from tools.records.database import Database
from tools.records.models import Approval, Confirmation, Conversation, Rollout
from tools.rollouts import (
    acceptances,
    approvals,
    changes,
    confirmations,
    freezes,
    lowering,
    raising,
    requests,
    revisions,
    store,
)
from tools.rollouts.acceptances import Acceptable, AcceptanceView
from tools.rollouts.confirmations import ConfirmationView
from tools.rollouts.events import Happening, Tell, happened
from tools.rollouts.freezes import FreezeView, Wish
from tools.rollouts.glance import Glance, glance, has_taken_part
from tools.rollouts.phases import LIVE, Phase, words
from tools.rollouts.requests import ExposureAnswer
from tools.rollouts.scope import EVERYWHERE, NOBODY, Scope
from tools.rollouts.views import QuestionView, RolloutView, question_view, view
from tools.specs.base import Spec

Wake = Callable[[str | None], Awaitable[None]]

GROUP_NOT_READ = "approvals.group_not_read"

logger = structlog.get_logger(__name__)


async def no_wake(_rollout_id: str | None) -> None:
    """Leave it to the next tick."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rollout is talked about: a channel of a workspace."""

    workspace: str
    channel: str


class RolloutService:
    """Requests about rollouts.

    `wake` is awaited with a rollout's id (None: a flag without one) once an exposure is to be set. `kinds` are those of
    the catalogue's metrics, to which plans are held. `people` says who is in the groups that policy names. With
    `many` workspaces, what is nobody's is the operator's alone.
    """

    def __init__(
        self,
        database: Database,
        flags: FlagService,
        policy: Policy,
        clock: Clock,
        *,
        wake: Wake = no_wake,
        kinds: Kinds = NO_KINDS,
        people: People | None = None,
        many: bool = False,
    ) -> None:
        self._many = many
        self.scope = EVERYWHERE
        self._people = people or MemoryPeople()
        self._database = database
        self._flags = flags
        self._policy = policy
        self._clock = clock
        self._kinds = kinds
        self.wake = wake

    def of(self, workspace: str) -> Self:
        """The door of a workspace's people: they see and change its rollouts, and others do not exist for them."""
        door = copy.copy(self)
        door.scope = Scope(workspace, shared=not self._many)
        return door

    def of_nobody(self) -> Self:
        """A door behind which there is nothing, for whoever is to act through `of`."""
        door = copy.copy(self)
        door.scope = NOBODY
        return door

    # -- reading ------------------------------------------------------------------------------------------------

    async def get(self, rollout_id: str) -> RolloutView:
        """Raises RolloutNotFound."""
        async with self._database.read() as session:
            return await view(session, await self._rollout(session, rollout_id, lock=False))

    async def find(self, flag: str, environment: str) -> RolloutView:
        """The flag's open rollout, or else its newest. Raises RolloutNotFound."""
        async with self._database.read() as session:
            return await view(session, await self._find(session, flag, environment))

    async def open(self) -> list[RolloutView]:
        """Every rollout that has not ended, the newest first."""
        async with self._database.read() as session:
            open_ones = select(Rollout).where(Rollout.live_key.is_not(None), self.scope.rows())
            query = open_ones.order_by(Rollout.created_at.desc())
            return [await view(session, rollout) for rollout in (await session.scalars(query)).all()]

    async def glance(self, *, most: int) -> Glance:
        """What is open, what people are asked, and what was decided; `most` rollouts are read in full."""
        at = self._clock.now()
        return await glance(self._database, self._policy, self._people, self.scope, at=at, most=most)

    async def has_taken_part(self, person: str) -> bool:
        """Whether the person ever asked for a rollout here or answered a question about one."""
        async with self._database.read() as session:
            return await has_taken_part(session, person, self.scope)

    async def open_flags(self) -> list[FlagRef]:
        """The flags of the rollouts that have not ended, the newest first: quicker than `open`."""
        open_ones = select(Rollout.flag, Rollout.environment).where(Rollout.live_key.is_not(None), self.scope.rows())
        async with self._database.read() as session:
            rows = await session.execute(open_ones.order_by(Rollout.created_at.desc()))
            return [FlagRef(flag, environment) for flag, environment in rows]

    async def check_free(self, flag: str, environment: str) -> None:
        """Return unless another workspace is rolling the flag out. Raises TakenElsewhere."""
        async with self._database.read() as session:
            await store.find_free(session, flag, environment, scope=self.scope)

    # -- planning -----------------------------------------------------------------------------------------------

    async def propose(
        self, plan: Plan, *, requester: str, place: Place, reason: str, spec: Spec | None = None
    ) -> RolloutView:
        """Put a plan before people: a new rollout, or a new version of the one that has not started yet.

        Raises InvalidPlan, FlagNotFound, FlagServiceUnavailable, and Conflict when the flag is rolling out already
        (TakenElsewhere: by another workspace).
        """
        self.scope.check_begins(place.workspace)
        await self.check_free(plan.flag, plan.environment)
        self._check_plan(plan)
        served = (await self._flags.read(FlagRef(plan.flag, plan.environment))).exposure
        changes.check_room(plan, served)
        members = await self._members_known(plan, place.workspace)

        async def act(session: AsyncSession) -> RolloutView:
            at = self._clock.now()
            rollout = await self._draft(session, plan, requester, place, at)
            await revisions.add_version(session, rollout, plan, author=requester, reason=reason, spec=spec, at=at)
            await raising.ask_to_start(
                session, rollout, plan, self._policy.of(rollout.workspace), served=served, at=at, members=members
            )
            return await view(session, rollout)

        return await store.transact(self._database, act)

    async def revise(
        self,
        rollout_id: str,
        plan: Plan,
        *,
        actor: str,
        reason: str,
        spec: Spec | None = None,
        expected: int | None = None,
    ) -> RolloutView:
        """Put another version of its plan in force: any sound one before the start, then only a more cautious one.

        Open questions about the version before are void; a start or a step is asked about anew. `spec` is what the plan
        rests on where that was read anew. With `expected`, the version that was edited, no other one is replaced, and
        the thread is told what differs. Raises InvalidPlan, Conflict (NotMoreCautious among others), NotAllowed and
        FlagServiceUnavailable.
        """
        self._check_plan(plan)
        served, members = (
            await self._served(rollout_id),
            await self._members_known(plan, (await self._plan(rollout_id))[1]),
        )

        async def act(session: AsyncSession) -> None:
            rollout, running = await self._load(session, rollout_id)
            at = self._clock.now()
            revisions.check_revision(rollout, running, plan, expected)
            if Phase(rollout.phase) is Phase.PROPOSED and served is not None:
                changes.check_room(plan, served)
            told = expected is not None
            await revisions.add_version(
                session, rollout, plan, author=actor, reason=reason, spec=spec, at=at, told=told
            )
            if Phase(rollout.phase) is Phase.PROPOSED:
                await raising.ask_to_start(
                    session, rollout, plan, self._policy.of(rollout.workspace), served=served, at=at, members=members
                )

        return await self._changed(rollout_id, act)

    async def start(self, rollout_id: str, *, actor: str) -> RolloutView:
        """Begin a proposed rollout, or ask for the approval that policy wants first: the view shows which.

        Raises NotAllowed, FlagServiceUnavailable, IllegalTransition.
        """
        known_good, members = await self._served(rollout_id), await self._members_known(*await self._plan(rollout_id))

        async def act(session: AsyncSession) -> None:
            rollout, plan = await self._load(session, rollout_id)
            at = self._clock.now()
            await freezes.check(session, self._policy, rollout, plan, at)
            if Phase(rollout.phase) is Phase.PROPOSED and await raising.ask_to_start(
                session, rollout, plan, self._policy.of(rollout.workspace), served=known_good, at=at, members=members
            ):
                return
            await changes.start(session, rollout, plan, known_good=known_good, actor=actor, at=at)

        return await self._changed(rollout_id, act)

    async def cancel(self, rollout_id: str, *, actor: str, reason: str) -> RolloutView:
        """Drop a plan that has not started. Raises IllegalTransition."""

        async def act(session: AsyncSession) -> None:
            rollout = await self._rollout(session, rollout_id)
            await lowering.cancel(session, rollout, actor=actor, reason=reason, at=self._clock.now())

        return await self._changed(rollout_id, act)

    # -- approvals ----------------------------------------------------------------------------------------------

    async def approve(self, approval_id: str, *, actor: str) -> RolloutView:
        """Count an approval, and go ahead if it was the last one needed.

        Raises ApprovalNotFound, ApprovalClosed, NotAllowed, Conflict while the gate is blind or sees harm, and
        PeopleUnavailable when that depends on who is in a group and nobody can say.
        """
        rollout_id = await self._rollout_of(approval_id)
        known_good = await self._served(rollout_id)
        members = await self._members_about(*await self._plan(rollout_id), actor)

        async def act(session: AsyncSession) -> bool:
            approval, rollout, plan = await self._load_approval(session, approval_id)
            at = self._clock.now()
            approvals.check_open(approval, rollout, plan, at=at)
            if known_good is not None and await approvals.void_if_moved(session, rollout, approval, known_good, at=at):
                return False
            await raising.check_sight(session, rollout, plan, at=at)
            await raising.vote(
                session,
                approval,
                rollout,
                plan,
                self._policy.of(rollout.workspace),
                actor=actor,
                known_good=known_good,
                at=at,
                members=members,
            )
            return True

        if not await store.transact(self._database, act):
            # Withdrawn by this very vote: whoever voted is told why.
            await self._rollout_of(approval_id)
        return await self._woken(rollout_id)

    async def reject(self, approval_id: str, *, actor: str, reason: str) -> RolloutView:
        """One rejection decides: a start is cancelled, a promotion pauses the rollout.

        Raises ApprovalNotFound, ApprovalClosed, NotAllowed, PeopleUnavailable.
        """
        members = await self._members_about(*await self._plan(await self._rollout_of(approval_id)), actor)

        async def act(session: AsyncSession) -> str:
            approval, rollout, plan = await self._load_approval(session, approval_id)
            at, vote = self._clock.now(), approvals.Vote.REJECT
            await approvals.vote(
                session,
                approval,
                rollout,
                plan,
                self._policy.of(rollout.workspace),
                person=actor,
                answer=vote,
                reason=reason,
                at=at,
                members=members,
            )
            await approvals.claim(session, approval, approvals.Status.REJECTED, at=at)
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
            if approval.purpose == approvals.Purpose.START:
                await lowering.cancel(session, rollout, actor=actor, reason=f"The start was rejected: {reason}", at=at)
            else:
                ends = "Resume to ask again once that is settled, or roll back."
                why = f"The promotion was rejected: {reason}"
                await changes.pause(session, rollout, actor=actor, at=at, reason=why, ends=ends)
            return rollout.id

        return await self.get(await store.transact(self._database, act))

    async def check_may_answer(self, approval_id: str, *, actor: str) -> None:
        """Raise as `reject` would for that person now; nothing is counted."""
        members = await self._members_about(*await self._plan(await self._rollout_of(approval_id)), actor)
        async with self._database.read() as session:
            approval = await self._approval(session, approval_id)
            rollout = await self._rollout(session, approval.rollout_id, lock=False)
            plan = await store.plan_of(session, rollout)
            approvals.check_open(approval, rollout, plan, at=self._clock.now())
            await approvals.check_voter(
                session, approval, rollout, plan, self._policy.of(rollout.workspace), person=actor, members=members
            )

    async def electors(self, approval_id: str) -> approvals.Electors:
        """Who can still answer, read from the groups at this moment. Raises ApprovalNotFound, PeopleUnavailable.

        A group that does not exist any more is nobody, and is logged.
        """
        async with self._database.read() as session:
            approval = await self._approval(session, approval_id)
            rollout = await self._rollout(session, approval.rollout_id, lock=False)
            plan = await store.plan_of(session, rollout)
            barred = {*await approvals.barred(session, approval, rollout), plan.spec_author}
            voted = {vote.person for vote in await approvals.votes(session, approval)}
        rule = policies.rule_of(self._policy.of(rollout.workspace), plan)
        names = (*rule.approvers, *(rule.backup if approval.escalated_at is not None else ()))
        members = await self._members(names, rollout.workspace)
        first = [one for one in policies.people_in(rule.approvers, members) if one not in barred | voted]
        backup = [one for one in policies.people_in(names, members) if one not in barred | voted and one not in first]
        return approvals.Electors(
            is_asked=approval.status == approvals.Status.PENDING and approval.expires_at > self._clock.now(),
            approvers=tuple(first),
            backup=tuple(backup),
            escalated=approval.escalated_at is not None,
        )

    async def question(self, approval_id: str) -> QuestionView:
        """A question and what became of it. Raises ApprovalNotFound."""
        async with self._database.read() as session:
            approval = await self._approval(session, approval_id)
            return await question_view(session, approval, at=self._clock.now())

    async def call(self, approval_id: str, people: Sequence[str]) -> None:
        """Have those people asked by direct message who were not yet. Raises ApprovalNotFound."""

        async def act(session: AsyncSession) -> None:
            approval = await self._approval(session, approval_id)
            await approvals.call(session, approval, people, at=self._clock.now())

        await store.transact(self._database, act)

    # -- while it runs ------------------------------------------------------------------------------------------

    async def promote(self, rollout_id: str, *, actor: str) -> RolloutView:
        """Go to the next stage before the proof is complete: an approver's decision, never the requester's.

        Anyone else's wish becomes a question to the approvers. Raises Conflict while the gate is blind or sees harm,
        IllegalTransition, NotAllowed.
        """

        members = await self._members_known(*await self._plan(rollout_id))

        async def act(session: AsyncSession) -> None:
            rollout, plan = await self._load(session, rollout_id)
            at = self._clock.now()
            if Phase(rollout.phase) is Phase.PROGRESSING:
                await raising.ask_to_promote(
                    session, rollout, plan, self._policy.of(rollout.workspace), actor=actor, at=at, members=members
                )
            elif Phase(rollout.phase) is not Phase.WAITING_PROMOTION:
                raise Conflict(f"The rollout is {words(Phase(rollout.phase))}; only a progressing one can be promoted.")
            await raising.check_sight(session, rollout, plan, at=at)
            for approval in await approvals.pending(session, rollout_id):
                if await self._may_answer(session, approval, rollout, plan, actor, members):
                    await raising.vote(
                        session,
                        approval,
                        rollout,
                        plan,
                        self._policy.of(rollout.workspace),
                        actor=actor,
                        known_good=None,
                        at=at,
                        members=members,
                    )

        return await self._changed(rollout_id, act)

    async def pause(self, rollout_id: str, *, actor: str, reason: str) -> RolloutView:
        """Promote nothing until someone resumes. Raises IllegalTransition."""

        async def act(session: AsyncSession) -> None:
            rollout = await self._rollout(session, rollout_id)
            await lowering.pause(session, rollout, actor=actor, reason=reason, at=self._clock.now())

        return await self._changed(rollout_id, act)

    async def resume(self, rollout_id: str, *, actor: str) -> RolloutView:
        """Go on where it paused; the stage's time limit starts anew.

        Going on despite suspected harm, or raising a flag that was lowered by hand, takes an approver who did not
        ask for the rollout. Raises IllegalTransition, NotAllowed.
        """
        members = await self._members_known(*await self._plan(rollout_id))

        async def act(session: AsyncSession) -> None:
            rollout, plan = await self._load(session, rollout_id)
            await raising.resume(
                session,
                rollout,
                plan,
                self._policy.of(rollout.workspace),
                actor=actor,
                at=self._clock.now(),
                members=members,
            )

        return await self._changed(rollout_id, act)

    async def roll_back(self, rollout_id: str, *, actor: str, reason: str) -> RolloutView:
        """Restore the exposure from before the rollout; a plan that has not started is cancelled instead.

        Needs no approval. Asking again while it is under way changes nothing. Raises IllegalTransition.
        """

        async def act(session: AsyncSession) -> None:
            rollout = await self._rollout(session, rollout_id)
            await lowering.roll_back(session, rollout, actor=actor, reason=reason, at=self._clock.now())

        return await self._changed(rollout_id, act)

    async def lower(self, rollout_id: str, exposure_percent: float, *, actor: str, reason: str) -> RolloutView:
        """Pause the rollout at a lower percentage of whom it reaches; 0 rolls back, to nothing at all.

        Needs no approval; to go up again by resuming takes an approver. Raises InvalidInput, and Conflict when it is
        not more than that already or nothing is exposed.
        """
        lowering.check_percent(exposure_percent, self._flags.capabilities.granularity)

        async def act(session: AsyncSession) -> None:
            rollout = await self._rollout(session, rollout_id)
            await lowering.lower(session, rollout, exposure_percent, actor=actor, reason=reason, at=self._clock.now())

        return await self._changed(rollout_id, act)

    async def kill(self, flag: str, environment: str, *, actor: str, reason: str) -> RolloutView | None:
        """Take the flag to 0 % for everyone, whatever it served before and whether or not it is rolling out.

        Returns the rollout that this ended, None when there was none. Raises FlagNotFound, FlagServiceUnavailable
        when the flag can't be read (an order to kill a flag that is rolling out needs no answer from the service).
        """
        await self._check_flag(flag, environment)

        async def act(session: AsyncSession) -> str | None:
            at = self._clock.now()
            return await lowering.kill(session, flag, environment, actor=actor, reason=reason, at=at, scope=self.scope)

        return await self._woken_or_none(await store.transact(self._database, act))

    # -- what a gate finds, accepted ----------------------------------------------------------------------------

    async def acceptable(self, rollout_id: str, *, actor: str) -> Acceptable:
        """What that person could accept of the newest check now. Raises Conflict, NotAllowed, PeopleUnavailable."""
        plan, workspace = await self._plan(rollout_id)
        members = await self._members_about(plan, workspace, actor)
        async with self._database.read() as session:
            rollout, policy = await self._rollout(session, rollout_id, lock=False), self._policy.of(workspace)
            await acceptances.check_may(session, rollout, plan, policy, actor, members=members)
            check = await store.last_check(session, rollout)
            return acceptances.acceptable(rollout, check, policy, at=self._clock.now())

    async def accept(self, rollout_id: str, metric: str, *, until: datetime, reason: str, actor: str) -> RolloutView:
        """Override what the gate finds of a metric until a moment: an approver's word, never the requester's.

        What is far worse still rolls back, and nothing else is overridden. A paused rollout stays paused. Raises
        InvalidInput, Conflict, NotAllowed, PeopleUnavailable.
        """
        members = await self._members_about(*await self._plan(rollout_id), actor)

        async def act(session: AsyncSession) -> None:
            rollout, plan = await self._load(session, rollout_id)
            await acceptances.make(
                session,
                rollout,
                plan,
                self._policy.of(rollout.workspace),
                metric=metric,
                until=until,
                reason=reason,
                person=actor,
                members=members,
                at=self._clock.now(),
            )

        return await self._changed(rollout_id, act)

    async def withdraw_acceptance(self, acceptance_id: str, *, actor: str) -> tuple[AcceptanceView, RolloutView]:
        """Have it count again, which needs nobody's permission. Raises AcceptanceNotFound, Conflict."""

        async def act(session: AsyncSession) -> tuple[AcceptanceView, str]:
            row = await acceptances.get(session, acceptance_id)
            rollout = await self._rollout(session, row.rollout_id)
            await acceptances.withdraw(session, rollout, row, person=actor, at=self._clock.now())
            return acceptances.view(row), rollout.id

        withdrawn, rollout_id = await store.transact(self._database, act)
        return withdrawn, await self._woken(rollout_id)

    # -- freezes ------------------------------------------------------------------------------------------------

    async def freezes(self) -> list[FreezeView]:
        """Every freeze that is not over, those of the settings too, in the order in which they begin."""
        async with self._database.read() as session:
            found = await freezes.standing(session, self._policy, at=self._clock.now())
            return [one for one in found if freezes.seen(self.scope, one.workspace)]

    async def freeze(self, wish: Wish, *, actor: str) -> FreezeView:
        """Have nothing start and nothing go further in an environment: for any of its approvers, and the command line.

        Raises InvalidInput, NotAllowed, PeopleUnavailable.
        """
        self.scope.check_begins(wish.workspace)
        await self.check_may_freeze(wish.environment, actor=actor)

        async def act(session: AsyncSession) -> FreezeView:
            return await freezes.make(session, wish, actor=actor, at=self._clock.now())

        return await store.transact(self._database, act)

    async def unfreeze(self, freeze_id: str, *, actor: str) -> FreezeView:
        """End a freeze now. Raises FreezeNotFound, Conflict for one that is over, and as `freeze` does."""
        async with self._database.read() as session:
            environment = (await freezes.get(session, freeze_id, self.scope)).environment
        await self.check_may_freeze(environment, actor=actor)

        async def act(session: AsyncSession) -> FreezeView:
            row = await freezes.get(session, freeze_id, self.scope)
            return await freezes.lift(session, row, actor=actor, at=self._clock.now())

        return await store.transact(self._database, act)

    async def check_may_freeze(self, environment: str, *, actor: str) -> None:
        """Raise as `freeze` and `unfreeze` would for that person now; nothing changes."""
        policy, workspace = self._policy.of(self.scope.home), self.scope.home
        names = policies.approvers_in(policy, environment)
        named = actor in names or policies.is_account(actor)
        members = policies.NOT_READ if named else await self._members_among(names, workspace, actor)
        freezes.check_may(policy, environment, actor, members=members)

    # -- on somebody's words ------------------------------------------------------------------------------------

    async def request_exposure(self, flag: str, environment: str, percent: float, *, actor: str) -> ExposureAnswer:
        """Ask for a percentage. Policy answers: auto, approval, or deny with what to do instead.

        Only an approved plan's start or next step can be asked for, and asking is never a vote, whoever asks. Less than
        there is now is denied: that is `lower`, or `ask_to_confirm` for who only understood somebody's words.
        Raises InvalidInput, FlagServiceUnavailable.
        """
        lowering.check_percent(percent, self._flags.capabilities.granularity)
        found = await self._seen(flag, environment)
        if found is None:
            why = f"{flag} has no rollout in {environment}: propose a plan, which people approve"
            return ExposureAnswer(Answer.DENY, why, None)
        reading = requests.read(found, percent)
        try:
            match reading.step:
                case requests.Step.START:
                    return _answer(await self.start(found.id, actor=actor))
                case requests.Step.NEXT:
                    return _answer(await self._request_promotion(found.id, actor))
                case requests.Step.LOWER:
                    # Who only understood somebody's words must not lower: that is `lower`, or `ask_to_confirm`.
                    why = f"{percent:g} % is less than there is now, and lowering is an order of its own"
                    return ExposureAnswer(Answer.DENY, why, found)
                case requests.Step.NOTHING:
                    return ExposureAnswer(Answer.AUTO, _clause(reading.why), found)
                case requests.Step.NONE:
                    return ExposureAnswer(Answer.DENY, _clause(reading.why), found)
        except (NotAllowed, Conflict) as refused:
            return ExposureAnswer(Answer.DENY, _clause(str(refused)), await self.get(found.id))

    async def ask_to_confirm(
        self,
        action: confirmations.Action,
        *,
        flag: str,
        environment: str,
        person: str,
        rollout_id: str | None = None,
        percent: float | None = None,
        reason: str = "Confirmed with a button",
        run_id: str | None = None,
    ) -> ConfirmationView:
        """Leave the person a button for what was understood from their words; nothing happens until they press it.

        All but a kill need `rollout_id`, a lowering `percent`. Raises InvalidInput, RolloutNotFound, Conflict for a
        rollout that has ended, and as `kill` does for a flag that can't be read.
        """
        if action is confirmations.Action.LOWER:
            if percent is None:
                raise InvalidInput("Say to which percentage it should be lowered.")
            lowering.check_percent(percent, self._flags.capabilities.granularity)
        if action is confirmations.Action.KILL:
            await self._check_flag(flag, environment)
        elif rollout_id is None:
            raise InvalidInput(f"{flag} has no rollout in {environment}, so there is nothing to lower or to pause.")

        async def act(session: AsyncSession) -> ConfirmationView:
            rollout, at = None, self._clock.now()
            if rollout_id is not None:
                rollout = await self._rollout(session, rollout_id)
                if action is not confirmations.Action.KILL:
                    lowering.refuse_ended(rollout)
            asked = await confirmations.ask(
                session,
                action,
                flag=flag,
                environment=environment,
                rollout=rollout,
                percent=percent,
                reason=reason,
                person=person,
                run_id=run_id,
                workspace=self.scope.home,
                at=at,
            )
            return confirmations.view(asked, at=at)

        return await store.transact(self._database, act)

    async def confirmation(self, confirmation_id: str) -> ConfirmationView:
        """Raises ConfirmationNotFound."""
        async with self._database.read() as session:
            found = await self._confirmation(session, confirmation_id)
            return confirmations.view(found, at=self._clock.now())

    async def confirm(self, confirmation_id: str, *, actor: str) -> RolloutView | None:
        """Do what the person was asked about; the rollout it was about, None for a flag without one.

        Raises ConfirmationNotFound, ConfirmationClosed, NotAllowed for anybody else, and Conflict when the rollout has
        moved on: then it can still be confirmed or dismissed.
        """

        async def act(session: AsyncSession) -> str | None:
            found, at = await self._confirmation(session, confirmation_id), self._clock.now()
            await confirmations.close(session, found, confirmations.Status.CONFIRMED, actor=actor, at=at)
            return await confirmations.carry_out(session, found, at=at, scope=self.scope)

        return await self._woken_or_none(await store.transact(self._database, act))

    async def dismiss(self, confirmation_id: str, *, actor: str) -> ConfirmationView:
        """Do nothing. Raises ConfirmationNotFound, ConfirmationClosed, NotAllowed for anybody else."""

        async def act(session: AsyncSession) -> ConfirmationView:
            found, at = await self._confirmation(session, confirmation_id), self._clock.now()
            await confirmations.close(session, found, confirmations.Status.DISMISSED, actor=actor, at=at)
            return confirmations.view(await self._confirmation(session, confirmation_id), at=at)

        return await store.transact(self._database, act)

    # -- steps --------------------------------------------------------------------------------------------------

    async def _changed(self, rollout_id: str, act: Callable[[AsyncSession], Awaitable[None]]) -> RolloutView:
        await store.transact(self._database, act)
        return await self._woken(rollout_id)

    async def _woken(self, rollout_id: str) -> RolloutView:
        await self.wake(rollout_id)
        return await self.get(rollout_id)

    async def _woken_or_none(self, rollout_id: str | None) -> RolloutView | None:
        if rollout_id is None:
            await self.wake(None)
            return None
        return await self._woken(rollout_id)

    async def _check_flag(self, flag: str, environment: str) -> None:
        """Raise FlagNotFound or FlagServiceUnavailable, unless a running rollout shows that there is the flag."""
        async with self._database.read() as session:
            found = await store.find_free(session, flag, environment, scope=self.scope)
        if found is None or Phase(found.phase) not in LIVE | {Phase.ROLLING_BACK}:
            await self._flags.read(FlagRef(flag, environment))

    def _check_plan(self, plan: Plan) -> None:
        able = self._flags.capabilities
        check_plan(
            plan,
            self._policy,
            granularity=able.granularity,
            audiences=able.audiences,
            shadow=able.shadow,
            kinds=self._kinds,
        )

    async def _seen(self, flag: str, environment: str) -> RolloutView | None:
        """The flag's rollout, None without one."""
        async with self._database.read() as session:
            rollout = await store.find(session, flag, environment, scope=self.scope)
            return await view(session, rollout) if rollout is not None else None

    async def _request_promotion(self, rollout_id: str, actor: str) -> RolloutView:
        """Ask the approvers for the next stage, unless they are being asked. Raises Conflict, NotAllowed."""
        members = await self._members_known(*await self._plan(rollout_id))

        async def act(session: AsyncSession) -> None:
            rollout, plan = await self._load(session, rollout_id)
            at = self._clock.now()
            if Phase(rollout.phase) is not Phase.WAITING_PROMOTION:
                await raising.check_sight(session, rollout, plan, at=at)
                await raising.ask_to_promote(
                    session, rollout, plan, self._policy.of(rollout.workspace), actor=actor, at=at, members=members
                )

        return await self._changed(rollout_id, act)

    async def _plan(self, rollout_id: str) -> tuple[Plan, str]:
        """The plan in force, and whose rollout it is."""
        async with self._database.read() as session:
            rollout = await self._rollout(session, rollout_id, lock=False)
            return await store.plan_of(session, rollout), rollout.workspace

    async def _may_answer(
        self, session: AsyncSession, approval: Approval, rollout: Rollout, plan: Plan, actor: str, members: Members
    ) -> bool:
        try:
            await approvals.check_voter(
                session, approval, rollout, plan, self._policy.of(rollout.workspace), person=actor, members=members
            )
        except (NotAllowed, Conflict):
            return False
        return True

    async def _members_about(self, plan: Plan, workspace: str, person: str) -> Members:
        """The groups of the plan's rule, as far as it takes to tell whether the person is in one of them.

        Nobody is asked about who is named. Raises PeopleUnavailable, UnknownGroup.
        """
        rule = policies.rule_of(self._policy.of(workspace), plan)
        if person in rule.approvers:
            return policies.NOT_READ
        return await self._members_among((*rule.approvers, *rule.backup), workspace, person)

    async def _members_among(self, names: Iterable[str], workspace: str, person: str) -> Members:
        """The groups among the names, as far as it takes to find the person in one. Raises as `_members_about`."""
        found, unknown = dict[str, frozenset[str]](), list[UnknownGroup]()
        for group in filter(policies.is_group, dict.fromkeys(names)):
            try:
                found[group] = await self._people.members(group, workspace=workspace)
            except UnknownGroup as error:
                unknown.append(error)
            except PeopleUnavailable as error:
                raise PeopleUnavailable(f"{error} Your answer was not counted, and nothing is lost.") from error
            if person in found.get(group, ()):
                return found
        if unknown:
            raise unknown[0]
        return found

    async def _members_known(self, plan: Plan, workspace: str) -> Members:
        """The groups of the plan's rule; none of them when nobody can say now who is in one."""
        try:
            return await self._members(policies.rule_of(self._policy.of(workspace), plan).approvers, workspace)
        except PeopleUnavailable as error:
            # It is only to find out early that too few could answer: an answer is what is checked strictly.
            logger.warning(GROUP_NOT_READ, reason=str(error))
            return policies.NOT_READ

    async def _members(self, names: Iterable[str], workspace: str) -> Members:
        """The members of the groups among the names that there are. Raises PeopleUnavailable."""
        found = dict[str, frozenset[str]]()
        for group in filter(policies.is_group, dict.fromkeys(names)):
            try:
                found[group] = await self._people.members(group, workspace=workspace)
            except UnknownGroup as error:
                logger.warning(GROUP_NOT_READ, reason=str(error))
        return found

    async def _rollout(self, session: AsyncSession, rollout_id: str, *, lock: bool = True) -> Rollout:
        """The only way to a rollout by its id: what the scope does not see does not exist."""
        return await store.load(session, rollout_id, lock=lock, scope=self.scope)

    async def _approval(self, session: AsyncSession, approval_id: str) -> Approval:
        """The only way to a question by its id."""
        return await approvals.get(session, approval_id, scope=self.scope)

    async def _confirmation(self, session: AsyncSession, confirmation_id: str) -> Confirmation:
        """The only way to a confirmation by its id."""
        return await confirmations.get(session, confirmation_id, scope=self.scope)

    async def _find(self, session: AsyncSession, flag: str, environment: str) -> Rollout:
        rollout = await store.find(session, flag, environment, scope=self.scope)
        if rollout is None:
            raise store.RolloutNotFound(
                f"{flag} has no rollout in {environment}. Plan one with `/rollout plan {flag}`, or see `/rollout list`."
            )
        return rollout

    async def _load(self, session: AsyncSession, rollout_id: str) -> tuple[Rollout, Plan]:
        rollout = await self._rollout(session, rollout_id)
        return rollout, await store.plan_of(session, rollout)

    async def _load_approval(self, session: AsyncSession, approval_id: str) -> tuple[Approval, Rollout, Plan]:
        approval = await self._approval(session, approval_id)
        rollout, plan = await self._load(session, approval.rollout_id)
        # Read again, now that the rollout's lock keeps others out.
        return await self._approval(session, approval_id), rollout, plan

    async def _rollout_of(self, approval_id: str) -> str:
        """The rollout that is asked about; who comes when all is said is told so before waiting for any lock."""
        async with self._database.read() as session:
            approval = await self._approval(session, approval_id)
        approvals.check_pending(approval, at=self._clock.now())
        return approval.rollout_id

    async def _served(self, rollout_id: str) -> Exposure | None:
        """What the flag serves before it starts; None once it has."""
        async with self._database.read() as session:
            rollout = await self._rollout(session, rollout_id, lock=False)
        if Phase(rollout.phase) is not Phase.PROPOSED:
            return None
        return (await self._flags.read(FlagRef(rollout.flag, rollout.environment))).exposure

    async def _draft(self, session: AsyncSession, plan: Plan, requester: str, place: Place, at: datetime) -> Rollout:
        found = await store.find_free(session, plan.flag, plan.environment, scope=self.scope)
        if found is not None and found.live_key is not None:
            rollout = await self._rollout(session, found.id)
            if Phase(rollout.phase) is not Phase.PROPOSED:
                raise Conflict(
                    f"{plan.flag} is {words(Phase(rollout.phase))} in {plan.environment} already; "
                    f"see `/rollout status {plan.flag}`."
                )
            return rollout
        conversation = Conversation(
            workspace=place.workspace, channel=place.channel, thread_ts=None, card_ts=None, created_at=at
        )
        session.add(conversation)
        await session.flush()
        rollout = Rollout(
            workspace=place.workspace,
            flag=plan.flag,
            environment=plan.environment,
            live_key=f"{plan.environment}/{plan.flag}",
            phase=Phase.DRAFT,
            plan_version=0,
            epoch=0,
            evidence={},
            requester=requester,
            conversation_id=conversation.id,
            created_at=at,
            updated_at=at,
        )
        session.add(rollout)
        await session.flush()
        return rollout


def _answer(now: RolloutView) -> ExposureAnswer:
    """Policy's answer as the rollout shows it after the request."""
    if now.approval is not None:
        return ExposureAnswer(Answer.APPROVAL, now.approval.why, now)
    return ExposureAnswer(Answer.AUTO, f"{now.environment} needs no approval", now)


def _clause(sentence: str) -> str:
    """A sentence to be followed by others' words."""
    return sentence.removesuffix(".")

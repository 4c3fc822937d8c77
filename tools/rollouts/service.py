"""The only door to a change: what people, the command line and the agent ask for.

Every method is one transaction that leaves rows behind; the executor then sets exposures, through `wake`. A person is
named by their Slack user id. All errors are sentences for that person. People act through `of`, the door of their own
workspace; the door itself is the operator's and the clock's, for which there are all rollouts.

What a method does is in the function of the same name in `tools.rollouts.door`.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Self

from tools.clock import Clock
from tools.flags.base import FlagRef, FlagService
from tools.people.base import People
from tools.people.memory import MemoryPeople
from tools.plans.kinds import NO_KINDS, Kinds
from tools.plans.model import Plan
from tools.plans.policy import Policy
from tools.records.database import Database
from tools.rollouts.acceptances import Acceptable, AcceptanceView
from tools.rollouts.approvals import Electors
from tools.rollouts.confirmations import Action, ConfirmationView
from tools.rollouts.door import (
    admission,
    confirming,
    freezing,
    overriding,
    planning,
    reading,
    requesting,
    steering,
    voting,
)
from tools.rollouts.door.context import Context, Wake, no_wake
from tools.rollouts.door.planning import Place
from tools.rollouts.freezes import FreezeView, Wish
from tools.rollouts.glance import Glance
from tools.rollouts.requests import ExposureAnswer
from tools.rollouts.scope import EVERYWHERE, NOBODY, Scope
from tools.rollouts.views import QuestionView, RolloutView
from tools.rollouts.watching import SpecWatcher
from tools.specs.base import Spec

__all__ = ["Place", "RolloutService"]


class RolloutService:
    """Requests about rollouts.

    `wake` is awaited with a rollout's id (None: a flag without one) once an exposure is to be set. `kinds` are those of
    the catalogue's metrics, to which plans are held. `people` says who is in the groups that policy names. With
    `many` workspaces, what is nobody's is the operator's alone. `specs` looks whether the specs of plans change.
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
        specs: SpecWatcher | None = None,
    ) -> None:
        self._many = many
        self._context = Context(
            database,
            flags,
            policy,
            clock,
            people=people or MemoryPeople(),
            kinds=kinds,
            scope=EVERYWHERE,
            wake=wake,
            specs=specs,
        )

    @property
    def scope(self) -> Scope:
        """Whose rollouts there are behind this door."""
        return self._context.scope

    @property
    def wake(self) -> Wake:
        """What is awaited once an exposure is to be set."""
        return self._context.wake

    @wake.setter
    def wake(self, wake: Wake) -> None:
        self._context = replace(self._context, wake=wake)

    def of(self, workspace: str) -> Self:
        """The door of a workspace's people: they see and change its rollouts, and others do not exist for them."""
        return self._within(Scope(workspace, shared=not self._many))

    def of_nobody(self) -> Self:
        """A door behind which there is nothing, for whoever is to act through `of`."""
        return self._within(NOBODY)

    def _within(self, scope: Scope) -> Self:
        door = copy.copy(self)
        door._context = replace(self._context, scope=scope)
        return door

    # -- reading ------------------------------------------------------------------------------------------------

    async def get(self, rollout_id: str) -> RolloutView:
        """Raises RolloutNotFound."""
        return await reading.get(self._context, rollout_id)

    async def find(self, flag: str, environment: str) -> RolloutView:
        """The flag's open rollout, or else its newest. Raises RolloutNotFound."""
        return await reading.find(self._context, flag, environment)

    async def open(self) -> list[RolloutView]:
        """Every rollout that has not ended, the newest first."""
        return await reading.all_open(self._context)

    async def glance(self, *, most: int) -> Glance:
        """What is open, what people are asked, and what was decided; `most` rollouts are read in full."""
        return await reading.glance(self._context, most=most)

    async def has_taken_part(self, person: str) -> bool:
        """Whether the person ever asked for a rollout here or answered a question about one."""
        return await reading.has_taken_part(self._context, person)

    async def open_flags(self) -> list[FlagRef]:
        """The flags of the rollouts that have not ended, the newest first: quicker than `open`."""
        return await reading.open_flags(self._context)

    async def check_free(self, flag: str, environment: str) -> None:
        """Return unless another workspace is rolling the flag out. Raises TakenElsewhere."""
        await reading.check_free(self._context, flag, environment)

    async def check_may_act(self, person: str) -> None:
        """Return for whoever may change something at all, policy allowing: members, not guests nor outsiders.

        Every method that changes something asks by itself; what only lowers or holds goes ahead when nobody can say
        who it is. Raises NotAllowed, PeopleUnavailable.
        """
        await admission.check(self._context, person)

    # -- planning -----------------------------------------------------------------------------------------------

    async def propose(
        self, plan: Plan, *, requester: str, place: Place, reason: str, spec: Spec | None = None
    ) -> RolloutView:
        """Put a plan before people: a new rollout, or a new version of the one that has not started yet.

        Raises InvalidInput, FlagNotFound, FlagServiceUnavailable, and Conflict when the flag is rolling out already
        (TakenElsewhere: by another workspace).
        """
        return await planning.propose(self._context, plan, requester=requester, place=place, reason=reason, spec=spec)

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
        return await planning.revise(
            self._context, rollout_id, plan, actor=actor, reason=reason, spec=spec, expected=expected
        )

    async def start(self, rollout_id: str, *, actor: str) -> RolloutView:
        """Begin a proposed rollout, or ask for the approval that policy wants first: the view shows which.

        Raises NotAllowed, FlagServiceUnavailable, IllegalTransition, and SpecChanged while its spec is not what it was
        planned from.
        """
        return await planning.start(self._context, rollout_id, actor=actor)

    async def keep_plan(self, rollout_id: str, *, actor: str) -> RolloutView:
        """Say that a plan stands though its spec changed, or can't be read; people are then asked as policy wants.

        Raises Conflict once the rollout runs, and where its spec is as it was, or changed at this moment.
        """
        return await planning.keep_plan(self._context, rollout_id, actor=actor)

    async def cancel(self, rollout_id: str, *, actor: str, reason: str) -> RolloutView:
        """Drop a plan that has not started. Raises IllegalTransition."""
        return await planning.cancel(self._context, rollout_id, actor=actor, reason=reason)

    # -- approvals ----------------------------------------------------------------------------------------------

    async def approve(self, approval_id: str, *, actor: str) -> RolloutView:
        """Count an approval, and go ahead if it was the last one needed.

        Raises ApprovalNotFound, ApprovalClosed (also where the flag was changed by hand since people were asked),
        NotAllowed, Conflict while the gate is blind or sees harm, FlagServiceUnavailable, and PeopleUnavailable when
        that depends on who is in a group and nobody can say.
        """
        return await voting.approve(self._context, approval_id, actor=actor)

    async def reject(self, approval_id: str, *, actor: str, reason: str) -> RolloutView:
        """One rejection decides: a start is cancelled, a promotion pauses the rollout.

        Raises ApprovalNotFound, ApprovalClosed, NotAllowed, PeopleUnavailable.
        """
        return await voting.reject(self._context, approval_id, actor=actor, reason=reason)

    async def check_may_answer(self, approval_id: str, *, actor: str) -> None:
        """Raise as `reject` would for that person now; nothing is counted."""
        await voting.check_may_answer(self._context, approval_id, actor=actor)

    async def electors(self, approval_id: str) -> Electors:
        """Who can still answer, read from the groups at this moment. Raises ApprovalNotFound, PeopleUnavailable.

        A group that does not exist any more is nobody, and is logged.
        """
        return await voting.electors(self._context, approval_id)

    async def question(self, approval_id: str) -> QuestionView:
        """A question and what became of it. Raises ApprovalNotFound."""
        return await voting.question(self._context, approval_id)

    async def call(self, approval_id: str, people: Sequence[str]) -> None:
        """Have those people asked by direct message who were not yet. Raises ApprovalNotFound."""
        await voting.call(self._context, approval_id, people)

    # -- while it runs ------------------------------------------------------------------------------------------

    async def promote(self, rollout_id: str, *, actor: str) -> RolloutView:
        """Go to the next stage before the proof is complete: an approver's decision, never the requester's.

        Anyone else's wish becomes a question to the approvers. Raises Conflict while the gate is blind or sees harm, or
        where the flag was changed by hand, which pauses the rollout; IllegalTransition, NotAllowed,
        FlagServiceUnavailable.
        """
        return await steering.promote(self._context, rollout_id, actor=actor)

    async def pause(self, rollout_id: str, *, actor: str, reason: str) -> RolloutView:
        """Promote nothing until someone resumes. Raises IllegalTransition."""
        return await steering.pause(self._context, rollout_id, actor=actor, reason=reason)

    async def resume(self, rollout_id: str, *, actor: str) -> RolloutView:
        """Go on where it paused; the stage's time limit starts anew.

        Going on despite suspected harm, or raising a flag that was lowered by hand, takes an approver who did not
        ask for the rollout. Raises IllegalTransition, NotAllowed.
        """
        return await steering.resume(self._context, rollout_id, actor=actor)

    async def roll_back(self, rollout_id: str, *, actor: str, reason: str) -> RolloutView:
        """Restore the exposure from before the rollout; a plan that has not started is cancelled instead.

        Needs no approval. Asking again while it is under way changes nothing. Raises IllegalTransition.
        """
        return await steering.roll_back(self._context, rollout_id, actor=actor, reason=reason)

    async def lower(self, rollout_id: str, exposure_percent: float, *, actor: str, reason: str) -> RolloutView:
        """Pause the rollout at a lower percentage of whom it reaches; 0 rolls back, to nothing at all.

        Needs no approval; to go up again by resuming takes an approver. Raises InvalidInput, and Conflict when it is
        not more than that already or nothing is exposed.
        """
        return await steering.lower(self._context, rollout_id, exposure_percent, actor=actor, reason=reason)

    async def kill(self, flag: str, environment: str, *, actor: str, reason: str) -> RolloutView | None:
        """Take the flag to 0 % for everyone, whatever it served before and whether or not it is rolling out.

        Returns the rollout that this ended, None when there was none. Raises FlagNotFound, FlagServiceUnavailable
        when the flag can't be read (an order to kill a flag that is rolling out needs no answer from the service).
        """
        return await steering.kill(self._context, flag, environment, actor=actor, reason=reason)

    # -- what a gate finds, accepted ----------------------------------------------------------------------------

    async def acceptable(self, rollout_id: str, *, actor: str) -> Acceptable:
        """What that person could accept of the newest check now. Raises Conflict, NotAllowed, PeopleUnavailable."""
        return await overriding.acceptable(self._context, rollout_id, actor=actor)

    async def accept(self, rollout_id: str, metric: str, *, until: datetime, reason: str, actor: str) -> RolloutView:
        """Override what the gate finds of a metric until a moment: an approver's word, never the requester's.

        What is far worse still rolls back, and nothing else is overridden. A paused rollout stays paused. Raises
        InvalidInput, Conflict, NotAllowed, PeopleUnavailable.
        """
        return await overriding.accept(self._context, rollout_id, metric, until=until, reason=reason, actor=actor)

    async def withdraw_acceptance(self, acceptance_id: str, *, actor: str) -> tuple[AcceptanceView, RolloutView]:
        """Have it count again, which needs nobody's permission. Raises AcceptanceNotFound, Conflict."""
        return await overriding.withdraw_acceptance(self._context, acceptance_id, actor=actor)

    # -- freezes ------------------------------------------------------------------------------------------------

    async def freezes(self) -> list[FreezeView]:
        """Every freeze that is not over, those of the settings too, in the order in which they begin."""
        return await freezing.standing(self._context)

    async def freeze(self, wish: Wish, *, actor: str) -> FreezeView:
        """Have nothing start and nothing go further in an environment: for any of its approvers, and the command line.

        Raises InvalidInput, NotAllowed, PeopleUnavailable.
        """
        return await freezing.freeze(self._context, wish, actor=actor)

    async def unfreeze(self, freeze_id: str, *, actor: str) -> FreezeView:
        """End a freeze now. Raises FreezeNotFound, Conflict for one that is over, and as `freeze` does."""
        return await freezing.unfreeze(self._context, freeze_id, actor=actor)

    async def check_may_freeze(self, environment: str, *, actor: str) -> None:
        """Raise as `freeze` would for that person now; nothing changes."""
        await freezing.check_may_freeze(self._context, environment, actor=actor)

    # -- on somebody's words ------------------------------------------------------------------------------------

    async def request_exposure(self, flag: str, environment: str, percent: float, *, actor: str) -> ExposureAnswer:
        """Ask for a percentage. Policy answers: auto, approval, or deny with what to do instead.

        Only an approved plan's start or next step can be asked for, and asking is never a vote, whoever asks. Less than
        there is now is denied: that is `lower`, or `ask_to_confirm` for who only understood somebody's words.
        Raises InvalidInput, FlagServiceUnavailable.
        """
        return await requesting.request_exposure(self._context, flag, environment, percent, actor=actor)

    async def ask_to_confirm(
        self,
        action: Action,
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
        return await confirming.ask_to_confirm(
            self._context,
            action,
            flag=flag,
            environment=environment,
            person=person,
            rollout_id=rollout_id,
            percent=percent,
            reason=reason,
            run_id=run_id,
        )

    async def confirmation(self, confirmation_id: str) -> ConfirmationView:
        """Raises ConfirmationNotFound."""
        return await confirming.confirmation(self._context, confirmation_id)

    async def confirm(self, confirmation_id: str, *, actor: str) -> RolloutView | None:
        """Do what the person was asked about; the rollout it was about, None for a flag without one.

        Raises ConfirmationNotFound, ConfirmationClosed, NotAllowed for anybody else, and Conflict when the rollout has
        moved on: then it can still be confirmed or dismissed.
        """
        return await confirming.confirm(self._context, confirmation_id, actor=actor)

    async def dismiss(self, confirmation_id: str, *, actor: str) -> ConfirmationView:
        """Do nothing. Raises ConfirmationNotFound, ConfirmationClosed, NotAllowed for anybody else."""
        return await confirming.dismiss(self._context, confirmation_id, actor=actor)

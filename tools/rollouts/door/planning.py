"""Before anything is exposed: plans, their versions, the start."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from tools.errors import Conflict, InvalidInput
from tools.flags.base import FlagRef, check_settable
from tools.plans.model import Plan
from tools.plans.validation import check_plan
from tools.records.models import Conversation, Rollout
from tools.rollouts import changes, freezes, lowering, raising, revisions, staleness, store
from tools.rollouts.door import admission, membership, reading, waking
from tools.rollouts.door.context import Context
from tools.rollouts.phases import Phase, words
from tools.rollouts.staleness import SpecChanged
from tools.rollouts.views import RolloutView, view
from tools.specs.base import Spec


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rollout is talked about: a channel of a workspace."""

    workspace: str
    channel: str


async def propose(
    context: Context, plan: Plan, *, requester: str, place: Place, reason: str, spec: Spec | None
) -> RolloutView:
    """Put a plan before people; of one that takes the place of another's, the thread is told."""
    context.scope.check_begins(place.workspace)
    await admission.check(context, requester)
    _check_name(context, plan.environment)
    await reading.check_free(context, plan.flag, plan.environment)
    _check_plan(context, plan)
    flag = await context.flags.read(FlagRef(plan.flag, plan.environment))
    check_settable(flag)
    served = flag.exposure
    changes.check_room(plan, served)
    members = await membership.known(context, plan, place.workspace)

    async def act(session: AsyncSession) -> RolloutView:
        at = context.clock.now()
        rollout = await _draft(context, session, plan, requester, place, at)
        told = rollout.requester != requester
        await revisions.add_version(
            session, rollout, plan, author=requester, reason=reason, spec=spec, at=at, told=told
        )
        await raising.ask_to_start(
            session, rollout, plan, context.policy.of(rollout.workspace), served=served, at=at, members=members
        )
        await _mind_freezes(context, session, rollout, plan, at)
        return await view(session, rollout)

    return await store.transact(context.database, act)


async def revise(
    context: Context, rollout_id: str, plan: Plan, *, actor: str, reason: str, spec: Spec | None, expected: int | None
) -> RolloutView:
    """Put another version of its plan in force."""
    await admission.check(context, actor)
    _check_plan(context, plan)
    served = await reading.served(context, rollout_id)
    members = await membership.known(context, plan, (await context.plan(rollout_id))[1])

    async def act(session: AsyncSession) -> None:
        rollout, running = await context.load(session, rollout_id)
        at, told = context.clock.now(), expected is not None
        revisions.check_revision(rollout, running, plan, expected)
        if Phase(rollout.phase) is Phase.PROPOSED and served is not None:
            changes.check_room(plan, served)
        await revisions.add_version(session, rollout, plan, author=actor, reason=reason, spec=spec, at=at, told=told)
        if Phase(rollout.phase) is Phase.PROPOSED:
            await raising.ask_to_start(
                session, rollout, plan, context.policy.of(rollout.workspace), served=served, at=at, members=members
            )
            await _mind_freezes(context, session, rollout, plan, at)

    return await waking.changed(context, rollout_id, act)


async def start(context: Context, rollout_id: str, *, actor: str) -> RolloutView:
    """Begin a proposed rollout, or ask for the approval that policy wants first."""
    await admission.check(context, actor)
    known_good = await reading.served(context, rollout_id)
    members = await membership.known(context, *await context.plan(rollout_id))
    await context.look_at_spec(rollout_id)

    async def act(session: AsyncSession) -> None:
        rollout, plan = await context.load(session, rollout_id)
        at = context.clock.now()
        if Phase(rollout.phase) is Phase.PROPOSED:
            await staleness.check_start(session, rollout, plan)
        await freezes.check(session, context.policy, rollout, plan, at)
        if Phase(rollout.phase) is Phase.PROPOSED and await raising.ask_to_start(
            session, rollout, plan, context.policy.of(rollout.workspace), served=known_good, at=at, members=members
        ):
            return
        await changes.start(session, rollout, plan, known_good=known_good, actor=actor, at=at)

    return await waking.changed(context, rollout_id, act)


async def keep_plan(context: Context, rollout_id: str, *, actor: str) -> RolloutView:
    """The plan stands though its spec is not what it was; a start is asked about anew, by what policy says."""
    await admission.check(context, actor)
    served = await reading.served(context, rollout_id)
    members = await membership.known(context, *await context.plan(rollout_id))
    if (await context.look_at_spec(rollout_id)).news:
        raise SpecChanged("The spec changed at this very moment: look at the card, and decide again.")

    async def act(session: AsyncSession) -> None:
        rollout, plan = await context.load(session, rollout_id)
        at = context.clock.now()
        await staleness.accept(session, rollout, plan, actor=actor, at=at)
        if Phase(rollout.phase) is Phase.PROPOSED:
            await raising.ask_to_start(
                session, rollout, plan, context.policy.of(rollout.workspace), served=served, at=at, members=members
            )

    return await waking.changed(context, rollout_id, act)


async def cancel(context: Context, rollout_id: str, *, actor: str, reason: str) -> RolloutView:
    """Drop a plan that has not started."""
    await admission.check_lowering(context, actor)

    async def act(session: AsyncSession) -> None:
        rollout = await context.rollout(session, rollout_id)
        await lowering.cancel(session, rollout, actor=actor, reason=reason, at=context.clock.now())

    return await waking.changed(context, rollout_id, act)


def _check_name(context: Context, environment: str) -> None:
    """Raise InvalidInput for a name under which policy does not know the environment, though the flag service does."""
    own = context.flags.capabilities.own_name(environment)
    if own != environment:
        raise InvalidInput(f"The flag service's {environment} is called {own} here: plan for that.")


def _check_plan(context: Context, plan: Plan) -> None:
    able = context.flags.capabilities
    check_plan(
        plan,
        context.policy,
        granularity=able.granularity,
        audiences=able.audiences,
        shadow=able.shadow,
        delay=able.read_back_delay,
        kinds=context.kinds,
    )


async def _mind_freezes(context: Context, session: AsyncSession, rollout: Rollout, plan: Plan, at: datetime) -> None:
    """Have the plan looked at when a freeze keeps it from starting, so that its card says so."""
    begins = await freezes.begins_next(session, context.policy, rollout, plan, at)
    if begins is not None:
        rollout.due_at = min(begins, rollout.due_at or begins)


async def _draft(
    context: Context, session: AsyncSession, plan: Plan, requester: str, place: Place, at: datetime
) -> Rollout:
    """The rollout that the plan is for: the flag's proposed one where that is talked about, or a new one in `place`.

    Raises Conflict for one that runs.
    """
    found = await store.find_free(session, plan.flag, plan.environment, scope=context.scope)
    if found is None or found.live_key is None:
        return await _begin(session, plan, requester, place, at)
    rollout = await context.rollout(session, found.id)
    if Phase(rollout.phase) is not Phase.PROPOSED:
        raise Conflict(
            f"{plan.flag} is {words(Phase(rollout.phase))} in {plan.environment} already; "
            f"see `/rollout status {plan.flag}`."
        )
    return rollout


async def _begin(session: AsyncSession, plan: Plan, requester: str, place: Place, at: datetime) -> Rollout:
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

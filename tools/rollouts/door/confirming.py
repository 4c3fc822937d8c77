"""Buttons for what was understood from somebody's words: leaving one, showing it, and what pressing it does."""

from sqlalchemy.ext.asyncio import AsyncSession

from tools.errors import InvalidInput
from tools.records.models import Confirmation
from tools.rollouts import confirmations, lowering, store
from tools.rollouts.confirmations import Action, ConfirmationView, Status
from tools.rollouts.door import admission, reading, waking
from tools.rollouts.door.context import Context
from tools.rollouts.views import RolloutView


async def ask_to_confirm(
    context: Context,
    action: Action,
    *,
    flag: str,
    environment: str,
    person: str,
    rollout_id: str | None,
    percent: float | None,
    reason: str,
    run_id: str | None,
) -> ConfirmationView:
    """Leave the person a button; nothing happens until they press it."""
    await admission.check_lowering(context, person)
    if action is Action.LOWER:
        if percent is None:
            raise InvalidInput("Say to which percentage it should be lowered.")
        lowering.check_percent(percent, context.flags.capabilities.granularity)
    if action is Action.KILL:
        await reading.check_flag(context, flag, environment)
    elif rollout_id is None:
        raise InvalidInput(f"{flag} has no rollout in {environment}, so there is nothing to lower or to pause.")

    async def act(session: AsyncSession) -> ConfirmationView:
        rollout, at = None, context.clock.now()
        if rollout_id is not None:
            rollout = await context.rollout(session, rollout_id)
            if action is not Action.KILL:
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
            workspace=context.scope.home,
            at=at,
        )
        return confirmations.view(asked, at=at)

    return await store.transact(context.database, act)


async def confirmation(context: Context, confirmation_id: str) -> ConfirmationView:
    """What waits for a button, or what became of it."""
    async with context.database.read() as session:
        found = await _confirmation(context, session, confirmation_id)
        return confirmations.view(found, at=context.clock.now())


async def confirm(context: Context, confirmation_id: str, *, actor: str) -> RolloutView | None:
    """Do what the person was asked about."""
    await admission.check_lowering(context, actor)

    async def act(session: AsyncSession) -> str | None:
        found, at = await _confirmation(context, session, confirmation_id), context.clock.now()
        await confirmations.close(session, found, Status.CONFIRMED, actor=actor, at=at)
        return await confirmations.carry_out(session, found, at=at, scope=context.scope)

    return await waking.woken_or_none(context, await store.transact(context.database, act))


async def dismiss(context: Context, confirmation_id: str, *, actor: str) -> ConfirmationView:
    """Do nothing."""

    async def act(session: AsyncSession) -> ConfirmationView:
        found, at = await _confirmation(context, session, confirmation_id), context.clock.now()
        await confirmations.close(session, found, Status.DISMISSED, actor=actor, at=at)
        return confirmations.view(await _confirmation(context, session, confirmation_id), at=at)

    return await store.transact(context.database, act)


async def _confirmation(context: Context, session: AsyncSession, confirmation_id: str) -> Confirmation:
    """The only way to a confirmation by its id."""
    return await confirmations.get(session, confirmation_id, scope=context.scope)

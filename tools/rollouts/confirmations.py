"""Confirmations: something that lowers exposure, understood from somebody's words, that waits for their button.

Asked of one person, answered once by compare-and-set, for fifteen minutes.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tools.errors import Conflict, NotAllowed, NotFound
from tools.records import log
from tools.records.models import Confirmation, Rollout
from tools.rollouts import lowering, store
from tools.rollouts.events import Happening, of_workspace
from tools.rollouts.scope import EVERYWHERE, Scope

TIME_TO_CONFIRM = timedelta(minutes=15)
LONGEST_REASON = 500


class ConfirmationNotFound(NotFound):
    """There is no such confirmation."""


class ConfirmationClosed(Conflict):
    """It was answered or ran out."""


class Action(StrEnum):
    """What a confirmation does; none of them can raise exposure."""

    ROLL_BACK = "roll_back"
    KILL = "kill"
    PAUSE = "pause"
    LOWER = "lower"


class Status(StrEnum):
    OPEN = "open"
    CONFIRMED = "confirmed"
    DISMISSED = "dismissed"
    EXPIRED = "expired"


CLOSED_BECAUSE = {
    Status.CONFIRMED: "was confirmed already",
    Status.DISMISSED: "was dismissed",
    Status.EXPIRED: "ran out of time",
}


@dataclass(frozen=True, slots=True)
class ConfirmationView:
    """What waits for `person`. `percent` is where a lowering goes to; an open one past its time is shown as expired."""

    id: str
    action: Action
    flag: str
    environment: str
    rollout_id: str | None
    percent: float | None
    reason: str
    person: str
    run_id: str | None
    status: Status
    created_at: datetime
    expires_at: datetime


async def ask(
    session: AsyncSession,
    action: Action,
    *,
    flag: str,
    environment: str,
    rollout: Rollout | None,
    percent: float | None,
    reason: str,
    person: str,
    run_id: str | None,
    workspace: str,
    at: datetime,
) -> Confirmation:
    """Write down what was understood, in the caller's transaction; `workspace` is the person's."""
    confirmation = Confirmation(
        run_id=run_id,
        workspace=workspace,
        action=action,
        rollout_id=rollout.id if rollout is not None else None,
        flag=flag,
        environment=environment,
        arguments={"percent": percent, "reason": reason[:LONGEST_REASON]},
        person=person,
        status=Status.OPEN,
        created_at=at,
        expires_at=at + TIME_TO_CONFIRM,
    )
    session.add(confirmation)
    await session.flush()
    await _log(session, confirmation, Happening.CONFIRMATION_ASKED, at=at)
    return confirmation


async def get(session: AsyncSession, confirmation_id: str, *, scope: Scope = EVERYWHERE) -> Confirmation:
    """The confirmation as it is now. Raises ConfirmationNotFound."""
    query = select(Confirmation).where(Confirmation.id == confirmation_id, scope.rows(Confirmation))
    confirmation = await session.scalar(query.execution_options(populate_existing=True))
    if confirmation is None:
        raise ConfirmationNotFound("That button belongs to nothing I know; say again what you want to do.")
    return confirmation


def view(confirmation: Confirmation, *, at: datetime) -> ConfirmationView:
    """The confirmation as it is shown at that moment."""
    return ConfirmationView(
        id=confirmation.id,
        action=Action(confirmation.action),
        flag=confirmation.flag,
        environment=confirmation.environment,
        rollout_id=confirmation.rollout_id,
        percent=confirmation.arguments["percent"],
        reason=confirmation.arguments["reason"],
        person=confirmation.person,
        run_id=confirmation.run_id,
        status=_status(confirmation, at),
        created_at=confirmation.created_at,
        expires_at=confirmation.expires_at,
    )


async def close(session: AsyncSession, confirmation: Confirmation, status: Status, *, actor: str, at: datetime) -> None:
    """Answer it, for exactly one caller ever. Raises NotAllowed for anybody else's, ConfirmationClosed."""
    if confirmation.person != actor:
        raise NotAllowed("That button is for the person who was asked; say yourself what you want to do.")
    found = _status(confirmation, at)
    if found is Status.OPEN and not await _claim(session, confirmation, status, at=at):
        found = Status((await get(session, confirmation.id)).status)
    if found is not Status.OPEN:
        raise ConfirmationClosed(f"This {CLOSED_BECAUSE[found]}. Say again what you want to do, if you still do.")
    happening = Happening.CONFIRMATION_GIVEN if status is Status.CONFIRMED else Happening.CONFIRMATION_DISMISSED
    await _log(session, confirmation, happening, at=at)


async def carry_out(
    session: AsyncSession, confirmation: Confirmation, *, at: datetime, scope: Scope = EVERYWHERE
) -> str | None:
    """Do what was confirmed, in the caller's transaction; the rollout's id, None without one. Raises Conflict."""
    action, actor = Action(confirmation.action), confirmation.person
    reason: str = confirmation.arguments["reason"]
    if action is Action.KILL:
        ref = confirmation.flag, confirmation.environment
        return await lowering.kill(session, *ref, actor=actor, reason=reason, at=at, scope=scope)
    assert confirmation.rollout_id is not None, "only a flag is killed without a rollout"
    rollout = await store.load(session, confirmation.rollout_id, scope=scope)
    match action:
        case Action.ROLL_BACK:
            await lowering.roll_back(session, rollout, actor=actor, reason=reason, at=at)
        case Action.PAUSE:
            await lowering.pause(session, rollout, actor=actor, reason=reason, at=at)
        case Action.LOWER:
            percent: float = confirmation.arguments["percent"]
            await lowering.lower(session, rollout, percent, actor=actor, reason=reason, at=at)
    return rollout.id


def _status(confirmation: Confirmation, at: datetime) -> Status:
    status = Status(confirmation.status)
    return Status.EXPIRED if status is Status.OPEN and confirmation.expires_at <= at else status


async def _claim(session: AsyncSession, confirmation: Confirmation, status: Status, *, at: datetime) -> bool:
    claimed = await session.execute(
        update(Confirmation)
        .where(Confirmation.id == confirmation.id, Confirmation.status == Status.OPEN)
        .values(status=status, decided_at=at)
        .returning(Confirmation.id)
    )
    return claimed.first() is not None


async def _log(session: AsyncSession, confirmation: Confirmation, what: Happening, *, at: datetime) -> None:
    facts: dict[str, Any] = {
        "flag": confirmation.flag,
        "environment": confirmation.environment,
        "confirmation": confirmation.id,
        "action": confirmation.action,
        **confirmation.arguments,
        **of_workspace(confirmation.workspace),
    }
    await log.append(
        session, what.value, at=at, actor=confirmation.person, rollout_id=confirmation.rollout_id, payload=facts
    )

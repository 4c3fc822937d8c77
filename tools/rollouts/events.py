"""What can happen to a rollout: the kinds of events in the decision log, and who is told of them."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from tools.records import log, outbox
from tools.records.models import Rollout
from tools.rollouts.scope import NOBODYS

SLUICE = "sluice"
"""The actor of everything that no person did."""


class Happening(StrEnum):
    PLAN_PROPOSED = "plan.proposed"
    PLAN_REVISED = "plan.revised"
    BACKTESTED = "plan.backtested"
    CANCELLED = "rollout.cancelled"
    STARTED = "rollout.started"
    PROMOTED = "rollout.promoted"
    PAUSED = "rollout.paused"
    RESUMED = "rollout.resumed"
    SUCCEEDED = "rollout.succeeded"
    ROLLBACK_STARTED = "rollback.started"
    ROLLBACK_STUCK = "rollback.stuck"
    ROLLBACK_VERIFYING = "rollback.verifying"
    ROLLED_BACK = "rollback.completed"
    KILL_ORDERED = "kill.ordered"
    KILLED = "kill.completed"
    APPROVAL_REQUESTED = "approval.requested"
    APPROVAL_REMINDED = "approval.reminded"
    APPROVAL_ESCALATED = "approval.escalated"
    APPROVAL_VOTED = "approval.voted"
    APPROVAL_GRANTED = "approval.granted"
    APPROVAL_REJECTED = "approval.rejected"
    APPROVAL_EXPIRED = "approval.expired"
    APPROVAL_VOIDED = "approval.voided"
    EXPOSURE_LOWERED = "exposure.lowered"
    EXPOSURE_CONFIRMED = "exposure.confirmed"
    EXPOSURE_STUCK = "exposure.stuck"
    CHANGED_BY_HAND = "exposure.changed_by_hand"
    CONFIRMATION_ASKED = "confirmation.asked"
    CONFIRMATION_GIVEN = "confirmation.given"
    CONFIRMATION_DISMISSED = "confirmation.dismissed"
    METRICS_BLIND = "metrics.blind"
    METRICS_BACK = "metrics.back"
    DRIFT_FOUND = "drift.found"
    DRIFT_OVER = "drift.over"
    CHECKS_DELETED = "checks.deleted"
    SPEC_CHANGED = "spec.changed"
    SPEC_AS_PLANNED = "spec.as_planned"
    SPEC_ACCEPTED = "spec.accepted"
    FREEZE_MADE = "freeze.made"
    FREEZE_LIFTED = "freeze.lifted"
    FREEZE_HOLDS = "freeze.holds"
    FREEZE_OVER = "freeze.over"
    ACCEPTANCE_GIVEN = "acceptance.given"
    ACCEPTANCE_WITHDRAWN = "acceptance.withdrawn"
    ACCEPTANCE_EXPIRED = "acceptance.expired"
    ACCEPTANCE_VOIDED = "acceptance.voided"


class Tell(StrEnum):
    """Who is told: nobody (the card shows it), the thread, or a person who must act."""

    NOBODY = "nobody"
    THREAD = "thread"
    PERSON = "person"


async def happened(
    session: AsyncSession,
    rollout: Rollout,
    what: Happening,
    *,
    at: datetime,
    actor: str = SLUICE,
    tell: Tell = Tell.THREAD,
    urgent: bool = False,
    **facts: Any,
) -> None:
    """Write the event to the log and tell people, in the caller's transaction; the card is brought up to date too."""
    payload = {"flag": rollout.flag, "environment": rollout.environment, **facts}
    urgent = urgent or tell is Tell.PERSON
    await session.flush()
    await refresh_card(session, rollout, at=at, urgent=urgent)
    if tell is not Tell.NOBODY:
        kind = outbox.Kind.ALERT if tell is Tell.PERSON else outbox.Kind.NOTE
        message = {"what": what.value, "actor": actor, "at": at.isoformat(), "facts": payload}
        await outbox.put(
            session, kind, lane=lane(rollout.id), at=at, payload=message, rollout_id=rollout.id, urgent=urgent
        )
    kept = {**payload, **of_workspace(rollout.workspace)}
    await log.append(session, what.value, at=at, actor=actor, rollout_id=rollout.id, payload=kept)


async def refresh_card(
    session: AsyncSession, rollout: Rollout, *, at: datetime, urgent: bool = False, minor: bool = False
) -> None:
    """Have the rollout's card brought up to date; `minor`: nothing changed but its numbers."""
    await outbox.put(
        session,
        outbox.Kind.CARD,
        # A lane of its own: an edit that Slack limits must not hold up a page.
        lane=f"card:{rollout.id}",
        at=at,
        rollout_id=rollout.id,
        replaces=f"card:{rollout.id}",
        urgent=urgent,
        minor=minor,
    )


async def flag_happened(
    session: AsyncSession,
    what: Happening,
    *,
    at: datetime,
    actor: str,
    facts: Mapping[str, Any],
    workspace: str = NOBODYS,
) -> None:
    """The same for a flag that has no rollout: it goes to the alerts channel of whoever asked."""
    whose = of_workspace(workspace)
    message = {"what": what.value, "actor": actor, "at": at.isoformat(), "facts": dict(facts), **whose}
    await outbox.put(session, outbox.Kind.ALERT, lane=f"alerts{workspace}", at=at, payload=message, urgent=True)
    await log.append(session, what.value, at=at, actor=actor, payload={**facts, **whose})


def of_workspace(workspace: str) -> dict[str, str]:
    """What a log entry or a message says of whose it is; nothing for what is nobody's."""
    return {"workspace": workspace} if workspace != NOBODYS else {}


def lane(rollout_id: str) -> str:
    """The outbox lane in which the lines about a rollout keep their order."""
    return f"rollout:{rollout_id}"

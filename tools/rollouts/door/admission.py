"""Who may change anything: a workspace's own people. Its guests and people of other organisations may look."""

import asyncio

import structlog

from tools.errors import NotAllowed
from tools.people.base import PeopleUnavailable, Standing
from tools.plans.policy import must_be_member
from tools.rollouts.door.context import Context

PATIENCE_S = 1.0
"""How long what only lowers or holds waits to hear who asks for it."""
UNKNOWN_PERSON = "people.unknown"

REFUSALS = {
    Standing.GUEST: "Guests can look at everything here and change nothing; ask a member of this workspace.",
    Standing.OUTSIDER: "People of another organisation can look and change nothing; ask a member of this workspace.",
}

logger = structlog.get_logger(__name__)


async def check(context: Context, person: str) -> None:
    """Return for who may change something: a member, or whom `policy.guests` names. The operator is not asked about.

    Raises NotAllowed, and PeopleUnavailable when nobody can say who it is.
    """
    if not _is_asked_about(context, person):
        return
    try:
        standing = await context.people.standing(person, workspace=context.scope.home)
    except PeopleUnavailable as error:
        raise PeopleUnavailable(f"{error} Until then you can pause, lower and roll back.") from error
    _refuse(standing)


async def check_lowering(context: Context, person: str) -> None:
    """As `check` for what only lowers or holds exposure, which waits for nobody's answer. Raises NotAllowed."""
    if not _is_asked_about(context, person):
        return
    try:
        async with asyncio.timeout(PATIENCE_S):
            standing = await context.people.standing(person, workspace=context.scope.home)
    except (PeopleUnavailable, TimeoutError) as error:
        logger.warning(UNKNOWN_PERSON, person=person, reason=str(error) or type(error).__name__)
        return
    _refuse(standing)


def _is_asked_about(context: Context, person: str) -> bool:
    is_operators = context.scope.workspace is None
    return not is_operators and must_be_member(context.policy, person)


def _refuse(standing: Standing) -> None:
    if standing in REFUSALS:
        raise NotAllowed(REFUSALS[standing])

"""From what people name or click to the rollout that is meant."""

import asyncio
import difflib
from collections.abc import Iterable

import structlog

from bot import texts
from bot.blocks.mrkdwn import plain_name
from bot.listeners.environments import names_instead
from bot.services import Services
from tools.errors import Conflict, NotFound, SluiceError
from tools.rollouts import cards
from tools.rollouts.views import RolloutView

MOST_NEAR = 3
PATIENCE_S = 2.0
FLAGS_UNKNOWN = "slack.flags_not_listed"

logger = structlog.get_logger(__name__)


async def environment_of(services: Services, flag: str, given: str | None, *, subcommand: str) -> str:
    """The environment that was given, else where the flag is rolling out, else the usual one.

    Raises Conflict when the flag is rolling out in several.
    """
    if given is not None:
        return given
    found = sorted(one.environment for one in await services.rollouts.open_flags() if one.flag == flag)
    if len(found) > 1:
        raise Conflict(
            texts.OPEN_IN_SEVERAL.format(
                flag=plain_name(flag),
                environments=", ".join(map(plain_name, found)),
                subcommand=subcommand,
                first=plain_name(found[0]),
            )
        )
    return found[0] if found else services.settings.environment


async def find(services: Services, flag: str, given: str | None, *, subcommand: str) -> RolloutView:
    """The rollout that a command is about. Raises NotFound with near names, Conflict."""
    environment = await environment_of(services, flag, given, subcommand=subcommand)
    try:
        return await services.rollouts.find(flag, environment)
    except NotFound as error:
        raise NotFound(f"{error} {await near_flags(services, flag, environment)}".strip()) from None


async def near_flags(services: Services, flag: str, environment: str) -> str:
    """The flags that are called nearly so, and the environments that there are, where settings don't name this one.

    Empty when there is none of either, or nobody can say.
    """
    near = difflib.get_close_matches(flag, sorted(await _known_flags(services, environment)), n=MOST_NEAR)
    named = [f"`{plain_name(one)}`" for one in near if one != flag]
    said = texts.NEAR_FLAGS.format(names=" or ".join(named)) if named else ""
    return f"{said} {names_instead(services, environment)}".strip()


async def served_flags(services: Services) -> list[str]:
    """The flags of the usual environment, by name; none where nobody can say in time, for nothing depends on them."""
    environment = services.settings.environment
    try:
        async with asyncio.timeout(PATIENCE_S):
            return sorted(await _served(services, environment))
    except (SluiceError, TimeoutError) as error:
        logger.info(FLAGS_UNKNOWN, environment=environment, reason=str(error) or type(error).__name__)
        return []


async def freshen(services: Services, channel: str, ts: str) -> None:
    """Have the card that this message is brought up to date; a message that is no card stays as it is."""
    async with services.database.write() as session:
        await cards.freshen(session, channel, ts, scope=services.rollouts.scope, at=services.clock.now())


async def _known_flags(services: Services, environment: str) -> set[str]:
    known = set[str]()
    for listing in (_served(services, environment), services.specs.list()):
        try:
            known.update(await listing)
        except SluiceError:
            # Only the suggestion is lost: the error at hand is told anyway.
            continue
    return known


async def _served(services: Services, environment: str) -> Iterable[str]:
    return [state.ref.flag for state in await services.flags.list(environment)]

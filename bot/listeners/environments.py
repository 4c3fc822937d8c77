"""The environments that there are, and what is said of one that there is not."""

import asyncio

import structlog

from bot import texts
from bot.blocks.mrkdwn import plain_name
from bot.services import Services
from bot.settings import Settings, SlackSettings
from tools.errors import NotFound, SluiceError
from tools.plans.policy import Policy

PATIENCE_S = 2.0
"""How long the flag service is waited for, while a person waits for an answer."""
FLAGS_UNKNOWN = "slack.flags_not_listed"

logger = structlog.get_logger(__name__)


class UnknownEnvironment(NotFound):
    """Nobody knows an environment of that name; the message names those that are known."""


def named(settings: Settings, workspace: str) -> list[str]:
    """The environments that settings name, as they are for the workspace; the usual one first."""
    of_flags = getattr(getattr(settings.flags, settings.flags.type, None), "environments", {})
    found = (
        settings.environment,
        *of_flags,
        *settings.ofrep.environments,
        *_of_policy(settings.policy.of(workspace)),
        *_of_routes(settings.slack.of(workspace)),
        *settings.planning.reachable,
    )
    # Rules find an environment however they capitalise it: what the flag service is asked for is the first of these.
    first = dict[str, str]()
    for one in found:
        first.setdefault(one.casefold(), one)
    return list(first.values())


def names_instead(services: Services, environment: str) -> str:
    """The environments of settings in a sentence; empty for one of them. `services` are those of a workspace."""
    names = named(services.settings, services.rollouts.scope.home)
    return "" if environment in names else texts.KNOWN_ENVIRONMENTS.format(names=", ".join(f"`{one}`" for one in names))


async def check(services: Services, given: str | None) -> None:
    """Raise UnknownEnvironment for one that no setting names and where the flag service has no flag.

    A flag service that does not answer in time says nothing against it: whoever reads its flags next will hear.
    `services` are those of a workspace.
    """
    if not given or not (instead := names_instead(services, given)):
        return
    try:
        async with asyncio.timeout(PATIENCE_S):
            flags = await services.flags.list(given)
    except (SluiceError, TimeoutError) as error:
        logger.info(FLAGS_UNKNOWN, environment=given, reason=str(error) or type(error).__name__)
        return
    if not flags:
        raise UnknownEnvironment(f"{texts.UNKNOWN_ENVIRONMENT.format(given=plain_name(given))} {instead}")


def _of_policy(policy: Policy) -> list[str]:
    """Those of rules and freezes; those that need no approval only where somebody wrote which they are."""
    free = policy.free_environments if "free_environments" in policy.model_fields_set else ()
    ruled = [one for rule in policy.approval for one in rule.environments]
    frozen = [one for freeze in policy.freezes for one in freeze.environments]
    return [*ruled, *frozen, *free]


def _of_routes(slack: SlackSettings) -> list[str]:
    return [route.environment for route in slack.route if route.environment is not None]

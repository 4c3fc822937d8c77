"""Where alerts and cards go: by a flag's environment and tags; and what is told even in quiet hours."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from bot.settings import RouteSettings, SlackSettings
from tools.rollouts.events import SLUICE, Happening

ALERTING = frozenset(
    {
        Happening.APPROVAL_REQUESTED,
        Happening.CHANGED_BY_HAND,
        Happening.EXPOSURE_STUCK,
        Happening.METRICS_BLIND,
        Happening.PAUSED,
        Happening.ROLLBACK_STARTED,
        Happening.ROLLBACK_STUCK,
        Happening.ROLLED_BACK,
    }
)
"""What of a rollout a channel for alerts is told."""

PAGES = frozenset(
    {
        Happening.CHANGED_BY_HAND,
        Happening.EXPOSURE_STUCK,
        Happening.KILL_ORDERED,
        Happening.KILLED,
        Happening.METRICS_BLIND,
        Happening.ROLLBACK_STARTED,
        Happening.ROLLBACK_STUCK,
        Happening.ROLLED_BACK,
    }
)
"""What no quiet hours hold back, whoever did it."""


def is_page(what: Happening, actor: str, facts: Mapping[str, Any]) -> bool:
    """Whether people are told of it at any hour; so they are of a pause that Sluice saw reason for.

    That nobody answered a question is no reason to wake anybody.
    """
    return what in PAGES or (what is Happening.PAUSED and actor == SLUICE and not facts.get("unanswered"))


def came_to_nothing(what: Happening, actor: str, facts: Mapping[str, Any]) -> bool:
    """Whether the alert says of a question that it was rejected, or that nobody answered it in time."""
    match what:
        case Happening.APPROVAL_EXPIRED | Happening.CANCELLED:
            return True
        case Happening.PAUSED:
            return actor != SLUICE or bool(facts.get("unanswered"))
        case _:
            return False


def alerts(what: Happening, actor: str) -> bool:
    """Whether a channel for alerts is told; nobody is alerted of a pause that a person wanted."""
    return what in ALERTING and (what is not Happening.PAUSED or actor == SLUICE)


def route_for(slack: SlackSettings, environment: str, tags: Collection[str]) -> RouteSettings | None:
    """The first route that is meant for a flag with those tags there."""
    return next((route for route in slack.route if route.holds(environment, tags)), None)


def alerts_channel(slack: SlackSettings, environment: str, tags: Collection[str]) -> str | None:
    """The channel for what needs a person, None where settings name none."""
    route = route_for(slack, environment, tags)
    return route.channel if route is not None else slack.alerts_channel or slack.releases_channel


def card_channel(slack: SlackSettings, environment: str, tags: Collection[str]) -> str | None:
    """The channel for the card of a rollout that no channel asked for."""
    route = route_for(slack, environment, tags)
    return route.channel if route is not None else slack.releases_channel


def quiet_until(
    slack: SlackSettings, channel: str, environment: str, tags: Collection[str], now: datetime
) -> datetime | None:
    """When the quiet hours are over in which the channel is not told of such a flag, None when none hold now.

    They are of the route that the flag takes: what other routes bring to the channel goes by hours of its own.
    """
    route = route_for(slack, environment, tags)
    if route is None or route.channel != channel or route.quiet is None:
        return None
    return route.quiet.hours.until(now)

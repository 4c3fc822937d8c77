"""People's time zones, as their Slack profiles have them, for where Slack shows nobody's zone by itself.

https://docs.slack.dev/reference/objects/user-object
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog
from slack_sdk.errors import SlackApiError

from bot.clients import Clients, NotInstalled
from bot.names import Directory
from bot.slack import NETWORK_ERRORS, code_of
from bot.vault import KeyLost
from tools.clock import Clock

KEPT, ASKED_AGAIN = timedelta(hours=1), timedelta(minutes=1)
"""How long a zone serves, and what stands for it where Slack did not say."""
MOST_KEPT = 1000
PATIENCE_S = 2
"""How long an answer waits for a zone."""
UNKNOWN = "slack.no_time_zone"

logger = structlog.get_logger(__name__)


class Zones:
    """The time zones of the people of each workspace."""

    def __init__(self, clients: Clients[Directory], clock: Clock) -> None:
        self._clients = clients
        self._clock = clock
        self._known = OrderedDict[tuple[str, str], tuple[datetime, tzinfo]]()

    async def of(self, person: str, *, workspace: str = "") -> tzinfo:
        """The person's, as it was within the hour; where Slack does not say in time what it said last, else UTC."""
        until, zone = self._known.get((workspace, person), (None, UTC))
        if until is not None and self._clock.now() < until:
            return zone
        return await self.now_of(person, workspace=workspace)

    async def now_of(self, person: str, *, workspace: str = "") -> tzinfo:
        """The person's as their profile has it now; where Slack does not say in time what it said last, else UTC."""
        found = await self._asked(person, workspace)
        lasts = ASKED_AGAIN if found is None else KEPT
        _, last = self._known.get((workspace, person), (None, UTC))
        self._known[workspace, person] = self._clock.now() + lasts, found or last
        self._known.move_to_end((workspace, person))
        while len(self._known) > MOST_KEPT:
            self._known.popitem(last=False)
        return found or last

    async def _asked(self, person: str, workspace: str) -> tzinfo | None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await (await self._clients.of(workspace)).users_info(user=person)
        except (SlackApiError, NotInstalled, KeyLost, *NETWORK_ERRORS) as error:
            reason = code_of(error) if isinstance(error, SlackApiError) else type(error).__name__
            logger.info(UNKNOWN, user=person, reason=reason)
            return None
        return zone_in(answer["user"])


def zone_in(user: Mapping[str, Any]) -> tzinfo | None:
    """The zone in Slack's user object: by its name, else by its present distance from UTC; None where it has none."""
    try:
        return ZoneInfo(str(user.get("tz") or ""))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        offset = user.get("tz_offset")
    return timezone(timedelta(seconds=offset)) if isinstance(offset, int) and abs(offset) < 86_400 else None

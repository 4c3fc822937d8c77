"""People by name where a mention would call them for nothing: Slack notifies whoever is mentioned in what is posted."""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.models.blocks import Block

from bot.blocks.mrkdwn import NAME_CHARACTERS, escape
from bot.slack import NETWORK_ERRORS, code_of
from tools.clock import Clock

KEPT = timedelta(hours=1)
"""How long a name serves: people seldom change theirs."""
MOST_KEPT = 1000
PATIENCE_S = 2
"""How long a message waits for a name."""
UNNAMED = "slack.name_unknown"

_MENTION = re.compile(r"<@([UW][A-Z0-9]{2,20})>")

logger = structlog.get_logger(__name__)


class Directory(Protocol):
    """What is used of Slack's client."""

    async def users_info(self, *, user: str) -> Any: ...


@dataclass
class Names:
    """What the people of a workspace are called."""

    slack: Directory
    clock: Clock
    _known: OrderedDict[str, tuple[datetime, str]] = field(default_factory=OrderedDict)

    async def quietly(self, mrkdwn: str, *, besides: Collection[str] = ()) -> str:
        """The text with everybody by name who is not `besides`; a mention stays where Slack does not say the name."""
        people = dict.fromkeys(who for who in _MENTION.findall(mrkdwn) if who not in besides)
        names = {who: await self._of(who) for who in people}
        return _MENTION.sub(lambda found: names.get(found[1]) or found[0], mrkdwn)

    async def quietly_in(self, blocks: Sequence[Block]) -> list[dict[str, Any]]:
        """Finished blocks with everybody by name."""
        return [await self._quiet(block.to_dict()) for block in blocks]

    async def _quiet(self, value: Any) -> Any:
        if isinstance(value, list):
            return [await self._quiet(one) for one in value]
        if not isinstance(value, dict):
            return value
        quiet = {name: await self._quiet(one) for name, one in value.items()}
        if quiet.get("type") == "mrkdwn":
            quiet["text"] = await self.quietly(quiet["text"])
        return quiet

    async def _of(self, person: str) -> str | None:
        until, name = self._known.get(person, (None, None))
        if until is not None and self.clock.now() < until:
            return name
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await self.slack.users_info(user=person)
        except (SlackApiError, *NETWORK_ERRORS) as error:
            reason = code_of(error) if isinstance(error, SlackApiError) else type(error).__name__
            logger.info(UNNAMED, user=person, reason=reason)
            return None
        name = _called(answer["user"])
        if name:
            self._known[person] = self.clock.now() + KEPT, name
            while len(self._known) > MOST_KEPT:
                self._known.popitem(last=False)
        return name


def _called(user: Any) -> str:
    profile = user.get("profile") or {}
    name = profile.get("display_name") or profile.get("real_name") or user.get("real_name") or user.get("name")
    return escape(name or "", NAME_CHARACTERS)

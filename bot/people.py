"""The people of a workspace, asked of Slack: who is in a user group, each time, and who is one of its own.

https://docs.slack.dev/reference/methods/usergroups.users.list, https://docs.slack.dev/reference/objects/user-object.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.clients import Clients, NotInstalled, without_retries
from bot.slack import NETWORK_ERRORS, code_of
from bot.vault import KeyLost
from tools.clock import Clock, SystemClock
from tools.people.base import PeopleUnavailable, Standing, UnknownGroup

TIMEOUT_S = 5
"""A person waits for the answer to a click."""
KEPT = timedelta(minutes=1)
"""How long it serves what somebody is to a workspace, for what they do."""
KEPT_OF_OTHERS = timedelta(hours=1)
"""How long it serves to tell who need not be asked: that somebody is a member, or is none while nobody can say anew."""
MOST_KEPT = 1000
MOST_LOOKED_UP, AT_ONCE, LOOKED_UP_WITHIN_S = 40, 5, 3
"""Of how many people it is looked up who need not be asked: Slack answers of a hundred people a minute."""

NO_SUCH_GROUP = frozenset({"no_such_subteam", "subteam_not_found", "invalid_arguments"})
NOT_GRANTED = frozenset({"missing_scope", "no_permission", "not_allowed_token_type"})
NOBODY_HERE = frozenset({"user_not_found", "user_not_visible", "users_not_found"})
NOT_LOOKED_UP = "people.not_looked_up"

logger = structlog.get_logger(__name__)


class SlackPeople:
    """The members of Slack's user groups, of which nothing is kept, and what people are to a workspace."""

    def __init__(self, clients: Clients[AsyncWebClient], clock: Clock | None = None) -> None:
        self._clients = clients
        self._clock = clock or SystemClock()
        self._teams = dict[str, str]()
        self._standings = OrderedDict[tuple[str, str], tuple[datetime, Standing]]()  # as it was when

    async def members(self, group: str, *, workspace: str = "") -> frozenset[str]:
        """Raises UnknownGroup, PeopleUnavailable."""
        try:
            client = await self._clients.of(workspace)
        except (NotInstalled, KeyLost) as error:
            raise PeopleUnavailable(f"Nobody can say who is in the user group {group}: {error}") from error
        # Without retries: whoever clicked tries again, or nobody waits at all.
        asked = without_retries(client, timeout=TIMEOUT_S)
        try:
            answer = await asked.usergroups_users_list(usergroup=group)
        except SlackApiError as error:
            raise _refused(group, code_of(error)) from error
        except NETWORK_ERRORS as error:
            raise PeopleUnavailable(
                f"Slack did not say who is in the user group {group}; try again in a moment."
            ) from error
        return frozenset(map(str, answer["users"]))

    async def standing(self, person: str, *, workspace: str = "") -> Standing:
        """What Slack's record of the person says, which is kept for a minute. Raises PeopleUnavailable."""
        known = self._known(person, workspace, KEPT)
        if known is not None:
            return known
        now, found = self._clock.now(), await self._standing(person, workspace)
        self._standings[workspace, person] = now, found
        self._standings.move_to_end((workspace, person))
        while len(self._standings) > MOST_KEPT:
            self._standings.popitem(last=False)
        return found

    async def strangers(self, people: Collection[str], *, workspace: str = "") -> frozenset[str]:
        """Those whom Slack's records call no members; some dozens of the people are looked up at a time.

        Whoever was none a minute ago is looked up again, after those of whom nothing is known: who has become a member
        since counts at once.
        """
        unknown = [one for one in people if self._known(one, workspace, KEPT_OF_OTHERS) is None]
        unknown = [*unknown, *(one for one in people if self._may_have_joined(one, workspace))][:MOST_LOOKED_UP]
        try:
            async with asyncio.timeout(LOOKED_UP_WITHIN_S):
                for first in range(0, len(unknown), AT_ONCE):
                    await self._look_up(unknown[first : first + AT_ONCE], workspace)
        except (PeopleUnavailable, TimeoutError) as error:
            logger.info(NOT_LOOKED_UP, people=len(unknown), reason=str(error) or type(error).__name__)
        found = {one: self._known(one, workspace, KEPT_OF_OTHERS) for one in people}
        return frozenset(one for one, standing in found.items() if standing not in (None, Standing.MEMBER))

    async def _look_up(self, people: Sequence[str], workspace: str) -> None:
        """Ask of several at once. Raises PeopleUnavailable."""
        asked = [self.standing(one, workspace=workspace) for one in people]
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer

    def _may_have_joined(self, person: str, workspace: str) -> bool:
        """Whether the person was no member when that was last asked, which is a while ago."""
        standing = self._known(person, workspace, KEPT_OF_OTHERS)
        return standing not in (None, Standing.MEMBER) and self._known(person, workspace, KEPT) is None

    def _known(self, person: str, workspace: str, lasts: timedelta) -> Standing | None:
        """What was said of the person lately."""
        at, standing = self._standings.get((workspace, person), (None, None))
        return standing if at is not None and self._clock.now() - at < lasts else None

    async def _standing(self, person: str, workspace: str) -> Standing:
        try:
            client = without_retries(await self._clients.of(workspace), timeout=TIMEOUT_S)
            if workspace not in self._teams:
                # What was sent may name the team of whoever sent it; the token is its own team's.
                self._teams[workspace] = str((await client.auth_test())["team_id"])
            answer = await client.users_info(user=person)
        except SlackApiError as error:
            if code_of(error) in NOBODY_HERE:
                return Standing.OUTSIDER
            raise _unknown(code_of(error)) from error
        except (NotInstalled, KeyLost, *NETWORK_ERRORS) as error:
            raise _unknown(type(error).__name__) from error
        return standing_in(self._teams[workspace], answer["user"])


def standing_in(team: str, user: Mapping[str, Any]) -> Standing:
    """What Slack's user object says somebody is to a team; an Enterprise organisation's people may be in several."""
    teams = {user.get("team_id"), *(user.get("enterprise_user") or {}).get("teams", ())}
    if user.get("is_stranger") or user.get("deleted") or team not in teams:
        return Standing.OUTSIDER
    if user.get("is_restricted") or user.get("is_ultra_restricted"):
        return Standing.GUEST
    return Standing.MEMBER


def _unknown(code: str) -> PeopleUnavailable:
    if code in NOT_GRANTED:
        return PeopleUnavailable(
            "Slack does not let Sluice see who is a guest: paste manifest.yaml again and reinstall the app, for the "
            "scope users:read."
        )
    return PeopleUnavailable(f"Slack did not say who you are ({code}); try again in a moment.")


def _refused(group: str, code: str) -> UnknownGroup | PeopleUnavailable:
    if code in NO_SUCH_GROUP:
        return UnknownGroup(
            f"Slack knows no user group {group}, which policy names: correct it in sluice.toml, or enable the group."
        )
    if code in NOT_GRANTED:
        return PeopleUnavailable(
            f"Slack does not let Sluice see who is in the user group {group}: paste manifest.yaml again and reinstall "
            "the app, for the scope usergroups:read."
        )
    return PeopleUnavailable(f"Slack did not say who is in the user group {group} ({code}); try again in a moment.")

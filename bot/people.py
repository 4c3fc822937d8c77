"""Who is in a Slack user group, asked of Slack each time: https://docs.slack.dev/reference/methods/usergroups.users.list."""

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.clients import Clients, NotInstalled, without_retries
from bot.slack import NETWORK_ERRORS, code_of
from tools.people.base import PeopleUnavailable, UnknownGroup

TIMEOUT_S = 5
"""A person waits for the answer to a click."""

NO_SUCH_GROUP = frozenset({"no_such_subteam", "subteam_not_found", "invalid_arguments"})
NOT_GRANTED = frozenset({"missing_scope", "no_permission", "not_allowed_token_type"})


class SlackPeople:
    """The members of Slack user groups; nothing is kept from one question to the next."""

    def __init__(self, clients: Clients[AsyncWebClient]) -> None:
        self._clients = clients

    async def members(self, group: str, *, workspace: str = "") -> frozenset[str]:
        """Raises UnknownGroup, PeopleUnavailable."""
        try:
            client = await self._clients.of(workspace)
        except NotInstalled as error:
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

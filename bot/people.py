"""Who is in a Slack user group, asked of Slack each time: https://docs.slack.dev/reference/methods/usergroups.users.list."""

from pydantic import SecretStr
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.settings import SlackSettings
from bot.slack import NETWORK_ERRORS, code_of
from tools.people.base import PeopleUnavailable, UnknownGroup

TIMEOUT_S = 5
"""A person waits for the answer to a click."""

NO_SUCH_GROUP = frozenset({"no_such_subteam", "subteam_not_found", "invalid_arguments"})
NOT_GRANTED = frozenset({"missing_scope", "no_permission", "not_allowed_token_type"})


class SlackPeople:
    """The members of Slack user groups; nothing is kept from one question to the next."""

    def __init__(self, slack: SlackSettings) -> None:
        token = slack.bot_token
        self._client = None if token is None else _client(token, slack.api_url)

    async def members(self, group: str) -> frozenset[str]:
        """Raises UnknownGroup, PeopleUnavailable."""
        if self._client is None:
            raise PeopleUnavailable(
                f"SLUICE_SLACK_BOT_TOKEN is not set, so nobody can say who is in the user group {group}."
            )
        try:
            answer = await self._client.usergroups_users_list(usergroup=group)
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


def _client(token: SecretStr, url: str) -> AsyncWebClient:
    # Without retries: whoever clicked tries again, or nobody waits at all.
    return AsyncWebClient(token=token.get_secret_value(), base_url=url, timeout=TIMEOUT_S, retry_handlers=[])

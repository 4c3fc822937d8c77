"""What Slack's refusals mean for who may approve."""

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.clients import Clients
from bot.people import SlackPeople, _refused
from bot.vault import KeyLost
from tools.people.base import PeopleUnavailable, UnknownGroup


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        ("no_such_subteam", UnknownGroup, "knows no user group S1"),
        ("missing_scope", PeopleUnavailable, "for the scope usergroups:read"),
        ("internal_error", PeopleUnavailable, "(internal_error); try again"),
    ],
)
def test_a_refusal_says_what_to_do(code: str, kind: type[Exception], says: str) -> None:
    error = _refused("S1", code)
    assert type(error) is kind
    assert says in str(error)


class Locked(Clients[AsyncWebClient]):
    """The clients of workspaces whose tokens nobody can decrypt."""

    async def of(self, workspace: str) -> AsyncWebClient:
        raise KeyLost("A workspace's token can't be decrypted.")


async def test_without_the_key_to_a_workspace_nobody_can_say_who_somebody_is() -> None:
    people = SlackPeople(Locked())
    with pytest.raises(PeopleUnavailable):
        await people.standing("U1", workspace="T1")
    with pytest.raises(PeopleUnavailable, match="can't be decrypted"):
        await people.members("S1", workspace="T1")

"""Whoever knows the members of groups: in memory and in Slack alike."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from pydantic import SecretStr

from bot.clients import OneToken
from bot.people import SlackPeople
from bot.workspace import RunningWorkspace, running_workspace
from tools.people.base import People, PeopleUnavailable, UnknownGroup
from tools.people.memory import MemoryPeople

GROUP, MEMBERS = "SAPPROVER", frozenset({"UJONAS001", "UAIKO0001"})


@pytest.fixture
async def workspace() -> AsyncIterator[RunningWorkspace]:
    async with running_workspace() as running:
        yield running


def of_slack(workspace: RunningWorkspace) -> SlackPeople:
    return SlackPeople(OneToken(SecretStr(workspace.settings.bot_token), workspace.api_url))


@pytest.fixture(params=["memory", "slack"])
def people(request: pytest.FixtureRequest, workspace: RunningWorkspace) -> People:
    return MemoryPeople({GROUP: MEMBERS}) if request.param == "memory" else of_slack(workspace)


async def test_the_members_of_a_group(people: People) -> None:
    assert await people.members(GROUP) == MEMBERS


async def test_a_group_that_is_not_there_is_named(people: People) -> None:
    with pytest.raises(UnknownGroup, match="SNOSUCH"):
        await people.members("SNOSUCH")


async def test_who_left_has_left_at_the_next_question(workspace: RunningWorkspace) -> None:
    slack, groups = of_slack(workspace), workspace.workspace.groups
    assert await slack.members(GROUP) == MEMBERS
    groups[GROUP] = replace(groups[GROUP], members=("UAIKO0001",))
    assert await slack.members(GROUP) == {"UAIKO0001"}


@pytest.mark.parametrize("trouble", ["unavailable", "refused", "limited"])
async def test_while_slack_is_away_nobody_can_say(workspace: RunningWorkspace, trouble: str) -> None:
    if trouble == "limited":
        workspace.workspace.faults.limit("usergroups.users.list")
    else:
        workspace.workspace.faults.begin_outage(trouble)  # type: ignore[arg-type]
    with pytest.raises(PeopleUnavailable, match="Slack did not say who is in the user group SAPPROVER"):
        await of_slack(workspace).members(GROUP)


async def test_what_is_not_set_up_is_said(workspace: RunningWorkspace) -> None:
    with pytest.raises(PeopleUnavailable, match="SLUICE_SLACK_BOT_TOKEN is not set"):
        await SlackPeople(OneToken(None, "https://slack.com/api/")).members(GROUP)
    wrong = OneToken(SecretStr("xoxb-other"), workspace.api_url)
    with pytest.raises(PeopleUnavailable, match="invalid_auth") as refused:
        await SlackPeople(wrong).members(GROUP)
    assert "xoxb" not in str(refused.value)


async def test_memory_can_be_away_too() -> None:
    people = MemoryPeople({GROUP: MEMBERS})
    people.away = True
    with pytest.raises(PeopleUnavailable, match=GROUP):
        await people.members(GROUP)
    assert people.asked == [GROUP]

"""Whoever knows people: in memory and in Slack alike."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from pydantic import SecretStr

from bot.clients import OneToken
from bot.people import MOST_LOOKED_UP, SlackPeople, standing_in
from bot.workspace import Person, RunningWorkspace, running_workspace
from bot.workspace.settings import DEFAULT_PEOPLE
from tools.clock import Clock, ManualClock
from tools.people.base import People, PeopleUnavailable, Standing, UnknownGroup
from tools.people.memory import MemoryPeople

GROUP, MEMBERS = "SAPPROVER", frozenset({"UJONAS001", "UAIKO0001"})
STANDINGS = {
    "UJONAS001": Standing.MEMBER,
    "UGUEST001": Standing.GUEST,
    "UGUEST002": Standing.GUEST,
    "USTRANGE1": Standing.OUTSIDER,
}
VISITORS = (
    Person("UGUEST001", "gus", "Gus", "", guest_of="one"),
    Person("UGUEST002", "gil", "Gil", "", guest_of="many"),
    Person("USTRANGE1", "sue", "Sue", "", team_id="TELSEWHER"),
)


@pytest.fixture
async def workspace() -> AsyncIterator[RunningWorkspace]:
    async with running_workspace(people=(*DEFAULT_PEOPLE, *VISITORS)) as running:
        yield running


def of_slack(workspace: RunningWorkspace, clock: Clock | None = None) -> SlackPeople:
    return SlackPeople(OneToken(SecretStr(workspace.settings.bot_token), workspace.api_url), clock)


@pytest.fixture(params=["memory", "slack"])
def people(request: pytest.FixtureRequest, workspace: RunningWorkspace) -> People:
    return MemoryPeople({GROUP: MEMBERS}, STANDINGS) if request.param == "memory" else of_slack(workspace)


async def test_the_members_of_a_group(people: People) -> None:
    assert await people.members(GROUP) == MEMBERS


async def test_a_group_that_is_not_there_is_named(people: People) -> None:
    with pytest.raises(UnknownGroup, match="SNOSUCH"):
        await people.members("SNOSUCH")


@pytest.mark.parametrize("person", STANDINGS)
async def test_what_somebody_is_to_the_workspace(people: People, person: str) -> None:
    assert await people.standing(person) is STANDINGS[person]


async def test_who_is_no_member_is_told_apart(people: People) -> None:
    assert await people.strangers(list(STANDINGS)) == {"UGUEST001", "UGUEST002", "USTRANGE1"}
    assert await people.strangers([]) == frozenset()


async def test_whom_slack_does_not_know_is_an_outsider(workspace: RunningWorkspace) -> None:
    assert await of_slack(workspace).standing("UNOBODY01") is Standing.OUTSIDER


@pytest.mark.parametrize(
    ("record", "standing"),
    [
        ({"team_id": "T1"}, Standing.MEMBER),
        ({"team_id": "T1", "is_restricted": True}, Standing.GUEST),
        ({"team_id": "T1", "is_restricted": True, "is_ultra_restricted": True}, Standing.GUEST),
        ({"team_id": "T1", "is_stranger": True}, Standing.OUTSIDER),
        ({"team_id": "T1", "deleted": True}, Standing.OUTSIDER),
        ({"team_id": "T2"}, Standing.OUTSIDER),
        ({"team_id": "T2", "enterprise_user": {"teams": ["T2", "T1"]}}, Standing.MEMBER),
        ({}, Standing.OUTSIDER),
    ],
)
def test_what_slacks_record_says(record: dict[str, object], standing: Standing) -> None:
    assert standing_in("T1", record) is standing


async def test_what_somebody_is_serves_for_a_minute(workspace: RunningWorkspace) -> None:
    clock, users = ManualClock(), workspace.workspace.users
    slack, asked = of_slack(workspace, clock), workspace.workspace.call_counts
    assert await slack.standing("UJONAS001") is Standing.MEMBER
    users["UJONAS001"] = replace(users["UJONAS001"], guest_of="many")
    assert await slack.standing("UJONAS001") is Standing.MEMBER
    assert asked["users.info"] == 1
    clock.advance(61)
    assert await slack.standing("UJONAS001") is Standing.GUEST
    assert asked["auth.test"] == 1


async def test_strangers_are_looked_up_each_minute_and_some_dozens_at_a_time(workspace: RunningWorkspace) -> None:
    clock, asked = ManualClock(), workspace.workspace.call_counts
    slack = of_slack(workspace, clock)
    many = [f"UNOBODY{number:02}" for number in range(MOST_LOOKED_UP + 3)]
    assert await slack.strangers(many) == set(many[:MOST_LOOKED_UP])
    assert await slack.strangers(many) == set(many)
    assert asked["users.info"] == len(many)
    clock.advance(61)
    assert await slack.strangers(many) == set(many), "as far as they are not looked up again they are what they were"
    assert asked["users.info"] == len(many) + MOST_LOOKED_UP


async def test_members_are_looked_up_once_an_hour_where_nobody_acts(workspace: RunningWorkspace) -> None:
    clock, asked = ManualClock(), workspace.workspace.call_counts
    slack = of_slack(workspace, clock)
    for minutes, times in ((0, 1), (50, 1), (20, 2)):
        clock.advance(minutes * 60)
        assert await slack.strangers(["UJONAS001"]) == frozenset()
        assert asked["users.info"] == times
    clock.advance(61)
    await slack.standing("UJONAS001")
    assert asked["users.info"] == 3, "what somebody does is looked at anew"


async def test_a_guest_who_was_made_a_member_is_one_within_a_minute(workspace: RunningWorkspace) -> None:
    clock, users = ManualClock(), workspace.workspace.users
    slack = of_slack(workspace, clock)
    assert await slack.strangers(["UGUEST001"]) == {"UGUEST001"}
    users["UGUEST001"] = replace(users["UGUEST001"], guest_of=None)
    clock.advance(61)
    assert await slack.strangers(["UGUEST001"]) == frozenset()


async def test_while_slack_is_away_nobody_is_taken_for_a_stranger_who_was_none(workspace: RunningWorkspace) -> None:
    clock = ManualClock()
    slack = of_slack(workspace, clock)
    assert await slack.strangers(["UGUEST001"]) == {"UGUEST001"}
    workspace.workspace.faults.limit("users.info", seconds=3600)
    clock.advance(61)
    assert await slack.strangers(["UGUEST001", "UGUEST002"]) == {"UGUEST001"}


@pytest.mark.parametrize("trouble", ["unavailable", "refused", "limited"])
async def test_while_slack_is_away_nobody_can_say_who_somebody_is(workspace: RunningWorkspace, trouble: str) -> None:
    if trouble == "limited":
        workspace.workspace.faults.limit("users.info")
    else:
        workspace.workspace.faults.begin_outage(trouble)  # type: ignore[arg-type]
    with pytest.raises(PeopleUnavailable, match="Slack did not say who you are"):
        await of_slack(workspace).standing("UJONAS001")


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
    with pytest.raises(PeopleUnavailable):
        await people.standing("UJONAS001")
    assert people.asked == [GROUP]

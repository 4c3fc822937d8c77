"""The port to whoever knows the people: which of them a group consists of, and who is one of a workspace's own."""

from collections.abc import Collection
from enum import StrEnum
from typing import Protocol

from tools.errors import NotFound, Unavailable


class UnknownGroup(NotFound):
    """There is no such group; the message names it and the setting to look at."""


class PeopleUnavailable(Unavailable):
    """Nobody could say just now who is in a group; the same question may be answered later."""


class Standing(StrEnum):
    """What somebody is to a workspace."""

    MEMBER = "member"
    GUEST = "guest"  # let into some of its channels
    OUTSIDER = "outsider"  # of another organisation that shares a channel, or not of this one any more


class People(Protocol):
    """The people of workspaces. Who is in a group is not remembered: who left it has left it at the next question."""

    async def members(self, group: str, *, workspace: str = "") -> frozenset[str]:
        """The ids of the people in a workspace's group, by the group's id. Raises UnknownGroup, PeopleUnavailable."""
        ...

    async def standing(self, person: str, *, workspace: str = "") -> Standing:
        """What the person is to the workspace, as it was within the last minute. Raises PeopleUnavailable."""
        ...

    async def strangers(self, people: Collection[str], *, workspace: str = "") -> frozenset[str]:
        """Those of the people who are known to be no members of the workspace, as it was within the last minute.

        To find out early who could not answer; whoever nobody can say it of now is not among them, unless it was known
        within the last hour. Whoever ceased to be a member may be missing for as long.
        """
        ...

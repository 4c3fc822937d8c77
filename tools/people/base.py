"""The port to whoever knows which people a group consists of, at the moment it is asked."""

from typing import Protocol

from tools.errors import NotFound, Unavailable


class UnknownGroup(NotFound):
    """There is no such group; the message names it and the setting to look at."""


class PeopleUnavailable(Unavailable):
    """Nobody could say just now who is in a group; the same question may be answered later."""


class People(Protocol):
    """The members of groups. Nothing is remembered: a person who left a group has left it at the next question."""

    async def members(self, group: str, *, workspace: str = "") -> frozenset[str]:
        """The ids of the people in a workspace's group, by the group's id. Raises UnknownGroup, PeopleUnavailable."""
        ...

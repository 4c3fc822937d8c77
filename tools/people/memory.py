"""People that are kept in this process: for tests, for the demo, and where no group is named at all."""

from collections.abc import Collection, Iterable, Mapping

from tools.people.base import PeopleUnavailable, Standing, UnknownGroup


class MemoryPeople:
    """Groups that whoever runs it sets, and who is no member; `asked` lists the groups that were asked about, in order.

    Whoever is not in `standings` is a member.
    """

    def __init__(
        self,
        groups: Mapping[str, Iterable[str]] | None = None,
        standings: Mapping[str, Standing] | None = None,
    ) -> None:
        self._groups = {group: frozenset(members) for group, members in (groups or {}).items()}
        self._standings = dict(standings or {})
        self.away = False
        self.asked: list[str] = []

    def put(self, group: str, *members: str) -> None:
        """Have the group consist of exactly these people from now on."""
        self._groups[group] = frozenset(members)

    async def members(self, group: str, *, workspace: str = "") -> frozenset[str]:
        """Raises UnknownGroup, and PeopleUnavailable while `away`."""
        self.asked.append(group)
        if self.away:
            raise PeopleUnavailable(f"Nobody can say now who is in the group {group}; try again in a moment.")
        if group not in self._groups:
            raise UnknownGroup(f"There is no group {group}: correct it under policy in sluice.toml.")
        return self._groups[group]

    async def standing(self, person: str, *, workspace: str = "") -> Standing:
        """Raises PeopleUnavailable while `away`."""
        if self.away:
            raise PeopleUnavailable("Nobody can say now who you are; try again in a moment.")
        return self._standings.get(person, Standing.MEMBER)

    async def strangers(self, people: Collection[str], *, workspace: str = "") -> frozenset[str]:
        """Nobody while `away`."""
        outside = frozenset(one for one in people if self._standings.get(one, Standing.MEMBER) is not Standing.MEMBER)
        return frozenset() if self.away else outside

"""Groups that are kept in this process: for tests, for the demo, and where no group is named at all."""

from collections.abc import Iterable, Mapping

from tools.people.base import PeopleUnavailable, UnknownGroup


class MemoryPeople:
    """Groups that whoever runs it sets; `asked` lists the groups that were asked about, in order."""

    def __init__(self, groups: Mapping[str, Iterable[str]] | None = None) -> None:
        self._groups = {group: frozenset(members) for group, members in (groups or {}).items()}
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

"""Whose rollouts are seen and changed: a workspace's own, or, for the operator and the clock, everybody's.

A rollout of another workspace is to a scope as if it did not exist, and is answered for in the same words.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, true

from tools.errors import Conflict
from tools.records.models import Confirmation, Rollout

NOBODYS = ""
"""The workspace of what was asked for on the command line, where Slack names none."""


class TakenElsewhere(Conflict):
    """The flag is rolled out by another workspace, of which nothing is said."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The rollouts of `workspace`, None: of all. `shared`: also nobody's, for there is one workspace only."""

    workspace: str | None = None
    shared: bool = False

    @property
    def home(self) -> str:
        """Whose is what is begun without a place."""
        return self.workspace or NOBODYS

    def sees(self, workspace: str) -> bool:
        """Whether what belongs to that workspace is seen."""
        return self.workspace is None or workspace in self._seen

    def rows(self, of: type[Rollout] | type[Confirmation] = Rollout) -> ColumnElement[bool]:
        """The condition on the rows that are seen."""
        return true() if self.workspace is None else of.workspace.in_(self._seen)

    def check_begins(self, workspace: str) -> None:
        """Raise ValueError for a rollout of another workspace: no person can ask for one."""
        if self.workspace is not None and workspace != self.workspace:
            raise ValueError("a rollout is begun in the workspace of whoever asks")

    @property
    def _seen(self) -> tuple[str, ...]:
        if self.shared:
            return tuple({self.home, NOBODYS})
        # Without a workspace there is nobody to see anything.
        return (self.workspace,) if self.workspace else ()


EVERYWHERE = Scope()
NOBODY = Scope(NOBODYS)
"""Sees nothing."""


def taken(flag: str, environment: str) -> TakenElsewhere:
    """The refusal of what another workspace's open rollout stands in the way of."""
    return TakenElsewhere(
        f"{flag} can't be changed in {environment} from here at the moment. "
        "Try again later, or ask whoever runs Sluice."
    )

"""The port to a flag service: read a flag's exposure, set it, list flags, say whether it can be reached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol, runtime_checkable

from tools.errors import Conflict, InvalidInput, NotFound, Unavailable
from tools.plans.model import Exposure


class FlagNotFound(NotFound):
    """The flag service has no such flag in that environment."""


class FlagVersionConflict(Conflict):
    """The flag changed since it was read: nothing was written."""


class NotSettable(Conflict):
    """The flag is built in its service in a way that no exposure describes: nothing was raised; says what to change."""


class ApprovalRequired(NotSettable):
    """The flag service wants people to approve changes there: nothing was written; says how Sluice can be exempt."""


class FinerThanServed(InvalidInput):
    """The service can't serve so fine a share: nothing was written."""


class FlagServiceUnavailable(Unavailable):
    """The flag service did not answer, or not as it should; whether a write took effect is not known."""


@dataclass(frozen=True, slots=True)
class FlagRef:
    """One flag in one environment."""

    flag: str
    environment: str

    def __str__(self) -> str:
        return f"{self.flag} in {self.environment}"


@dataclass(frozen=True, slots=True)
class FlagState:
    """What the service serves right now. `version` is opaque; it changes with every write, also by other hands.

    `description` is what people wrote about the flag there; empty where the service keeps none. `obstacle` is why
    Sluice can't set the flag as it is built there, empty where it can; `exposure` is then the most that it can serve,
    and only lowering it is possible. `depends_on` are flags without which the service serves this one to nobody.
    """

    ref: FlagRef
    exposure: Exposure
    version: str
    control: str
    treatment: str
    description: str = ""
    obstacle: str = ""
    depends_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a service can do, so that a plan it can't carry is refused before it starts.

    `granularity` is the finest share it can serve, in percent. `late_write_window` is how long after a lost answer a
    write may still land; it matters only without `compare_and_set`, which a service has where nothing comes between
    comparing and writing. `read_back_delay` is how long those who evaluate flags may take to see what is read back.
    `environments` is what it calls Sluice's environments, where that differs.
    """

    compare_and_set: bool
    granularity: float
    audiences: bool
    shadow: bool
    late_write_window: timedelta = timedelta(seconds=60)
    read_back_delay: timedelta = timedelta(0)
    environments: Mapping[str, str] = field(default_factory=dict, hash=False)

    def own_name(self, environment: str) -> str:
        """What an environment is called here, by which policy knows it, where it is named as the service does.

        How that is capitalised does not matter: there are services to which it does not.
        """
        if environment in self.environments:
            return environment
        named = {theirs.casefold(): ours for ours, theirs in self.environments.items()}
        return named.get(environment.casefold(), environment)


@runtime_checkable
class Closing(Protocol):
    """A service with connections of its own."""

    async def close(self) -> None: ...


class FlagService(Protocol):
    """A flag service. Every call is bounded in time and raises nothing but the errors above."""

    @property
    def capabilities(self) -> Capabilities: ...

    async def read(self, ref: FlagRef) -> FlagState:
        """The flag as it is served now. Raises FlagNotFound, FlagServiceUnavailable."""
        ...

    async def write(self, ref: FlagRef, exposure: Exposure, *, expected: str) -> None:
        """Set the exposure, if the flag's version is still `expected`.

        Absolute and idempotent. Where the service can compare and set, a write always makes a new version, also when
        the exposure stays the same, so that it fences off any write prepared before it. Where it can't, the version is
        compared with one that is read right before: what changes in between, or is sent and lands later, is not
        noticed. Then an exposure of nobody is set whatever the version is. Raises FlagNotFound, FlagVersionConflict,
        FinerThanServed, NotSettable, FlagServiceUnavailable.
        """
        ...

    async def list(self, environment: str) -> Sequence[FlagState]:
        """Every flag of the environment, by name. Raises FlagServiceUnavailable."""
        ...

    async def check(self) -> None:
        """Return when the service can be used. Raises FlagServiceUnavailable saying what to do."""
        ...


def check_granularity(exposure: Exposure, able: Capabilities) -> None:
    """Raise FinerThanServed unless the service can serve the share. Plans are checked for it; this is the last door."""
    steps = exposure.percent / able.granularity
    if abs(steps - round(steps)) > 1e-6:
        raise FinerThanServed(
            f"{exposure} is finer than the flag service can serve; use multiples of {able.granularity:g} %."
        )


def check_settable(state: FlagState) -> None:
    """Raise NotSettable for a flag that Sluice can't set as it is built in its service."""
    if state.obstacle:
        raise NotSettable(f"Flag {state.ref} can't be set by Sluice: {state.obstacle}.")


def check_unchanged(state: FlagState, exposure: Exposure, expected: str) -> None:
    """Raise FlagVersionConflict where the flag is not as expected; for services that can't compare and set.

    To expose nobody is right whatever somebody else did meanwhile.
    """
    if exposure.percent > 0 and state.version != expected:
        raise FlagVersionConflict(
            f"Flag {state.ref} is at version {state.version}, not {expected}; read it again before writing."
        )


async def close(service: FlagService) -> None:
    """Let go of the service's connections, where it holds any."""
    if isinstance(service, Closing):
        await service.close()

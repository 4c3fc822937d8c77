"""A flag service in this process's memory: for tests, simulations and trying things out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tools.flags.base import Capabilities, FlagNotFound, FlagRef, FlagState, FlagVersionConflict
from tools.flags.definitions import FlagExists, new_definition
from tools.flags.evaluation import FlagDefinition
from tools.plans.model import PERCENT_STEP, Exposure


class MemoryFlagService:
    """Flags in a dictionary.

    With `compare_and_set=False` the expected version of a write is ignored, as by a vendor that was sent the write
    long before it is carried out.
    """

    def __init__(self, *, compare_and_set: bool = True) -> None:
        self._flags: dict[FlagRef, FlagDefinition] = {}
        self._capabilities = Capabilities(
            compare_and_set=compare_and_set, granularity=PERCENT_STEP, audiences=True, shadow=True
        )

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def define(
        self, ref: FlagRef, control: str, treatment: str, description: str = "", *, salt: str | None = None
    ) -> None:
        """Add a flag that nobody is exposed to. Raises FlagExists, InvalidInput."""
        definition = new_definition(ref, control, treatment, description, salt)
        if ref in self._flags:
            raise FlagExists(ref)
        self._flags[ref] = definition

    async def read(self, ref: FlagRef) -> FlagState:
        return self._get(ref).state

    async def write(self, ref: FlagRef, exposure: Exposure, *, expected: str) -> None:
        current = self._get(ref)
        if self._capabilities.compare_and_set and current.version != expected:
            raise FlagVersionConflict(
                f"Flag {ref} is at version {current.version}, not {expected}; read it again before writing."
            )
        self._flags[ref] = replace(current, exposure=exposure, version=str(int(current.version) + 1))

    async def list(self, environment: str) -> Sequence[FlagState]:
        return [definition.state for _, definition in sorted((await self.definitions(environment)).items())]

    async def check(self) -> None:
        """Memory is always there."""

    async def definitions(self, environment: str) -> Mapping[str, FlagDefinition]:
        """The environment's flags by key."""
        return {ref.flag: definition for ref, definition in self._flags.items() if ref.environment == environment}

    def _get(self, ref: FlagRef) -> FlagDefinition:
        if ref not in self._flags:
            raise FlagNotFound(f"There is no flag {ref}.")
        return self._flags[ref]

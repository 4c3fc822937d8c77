"""The port to a job runner: persisted, keyed, at least once. A rollback never waits for it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from tools.errors import ConfigurationError

JobHandler = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Takes the job's payload. May run again after a crash, so it must be idempotent."""


class UnknownJobKind(ConfigurationError):
    """A job was submitted for which no handler is registered."""


class Jobs(Protocol):
    """Runs submitted work; jobs with one key run one at a time, in the order of submission."""

    def handle(self, kind: str, handler: JobHandler) -> None:
        """Register what runs jobs of `kind`; before `start`."""
        ...

    async def submit(self, kind: str, key: str, payload: Mapping[str, Any], *, dedupe: str | None = None) -> str:
        """Persist a job (payload: plain JSON) and return its id; with `dedupe` seen before, that job's id.

        Raises UnknownJobKind.
        """
        ...

    async def start(self) -> None:
        """Take up what was left unfinished, then run what comes."""
        ...

    async def stop(self) -> None:
        """Finish nothing new; unfinished jobs stay persisted."""
        ...

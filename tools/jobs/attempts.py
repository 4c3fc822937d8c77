"""One attempt at a job, whatever runs it: what came of it, and what follows from that."""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from tools.canonical import canonical_json
from tools.errors import InvalidInput, SluiceError, Unavailable
from tools.jobs.base import JobHandler, UnknownJobKind

MAX_ATTEMPTS = 5
"""Attempts at a job whose handler raises Unavailable."""

MAX_STARTS = 20
"""Starts of a job whose process ends while it runs: past that, the job is likely what ends the process."""

FIRST_RETRY = timedelta(seconds=1)
LONGEST_RETRY = timedelta(seconds=30)
STOP_GRACE_S = 5.0
"""How long `stop` lets running jobs come to their end before it interrupts them."""

MAX_KEY = 280
MAX_DEDUPE = 300

JOB_FAILED = "job_failed"
FAILURE_UNTOLD = "job_failure_untold"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A job that is being tried for the `number`th time (from 1)."""

    id: str
    kind: str
    key: str
    payload: Mapping[str, Any]
    number: int


@dataclass(frozen=True, slots=True)
class JobFailure:
    """A job that was given up. `sentence` is for a person; `reference` finds the log line of an unexpected error."""

    id: str
    kind: str
    key: str
    payload: Mapping[str, Any]
    sentence: str
    reference: str | None = None


OnFailure = Callable[[JobFailure], Awaitable[None]]
"""Told of each job that was given up, at least once."""


@dataclass(frozen=True, slots=True)
class Done:
    """The handler came to its end."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after this long; `sentence` says what went wrong."""

    after: timedelta
    sentence: str


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The job failed for good."""

    sentence: str
    reference: str | None = None


Outcome = Done | Retry | GivenUp


def retry_delay(attempt: int) -> timedelta:
    """How long to wait after the `attempt`th failure: doubling, capped."""
    return min(LONGEST_RETRY, FIRST_RETRY * (1 << min(attempt - 1, 10)))


async def perform(attempt: Attempt, handler: JobHandler, on_failure: OnFailure | None) -> Outcome:
    """Run the handler once and tell `on_failure` if that was the end of it. Never raises but when cancelled."""
    outcome = await _outcome_of(attempt, handler)
    if isinstance(outcome, GivenUp) and on_failure is not None:
        failure = JobFailure(
            attempt.id, attempt.kind, attempt.key, attempt.payload, outcome.sentence, outcome.reference
        )
        await _tell(on_failure, failure)
    return outcome


async def _outcome_of(attempt: Attempt, handler: JobHandler) -> Outcome:
    if attempt.number > MAX_STARTS:
        return GivenUp(f"The {attempt.kind} job was given up: it was interrupted {MAX_STARTS} times.")
    try:
        await handler(attempt.payload)
    except Unavailable as error:
        if attempt.number < MAX_ATTEMPTS:
            return Retry(retry_delay(attempt.number), str(error))
        return GivenUp(str(error))
    except SluiceError as error:
        return GivenUp(str(error))
    except asyncio.CancelledError as error:
        if _is_being_cancelled():
            raise
        return _unexpected(attempt, error)
    except Exception as error:  # noqa: BLE001  the outermost edge of a job: logged with a reference
        return _unexpected(attempt, error)
    return Done()


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _unexpected(attempt: Attempt, error: BaseException) -> GivenUp:
    reference = secrets.token_hex(4)
    log.error(JOB_FAILED, reference=reference, job=attempt.id, kind=attempt.kind, key=attempt.key, exc_info=error)
    return GivenUp(f"The {attempt.kind} job failed by a fault of Sluice; the log has it under {reference}.", reference)


async def _tell(on_failure: OnFailure, failure: JobFailure) -> None:
    try:
        await on_failure(failure)
    except Exception:
        log.exception(FAILURE_UNTOLD, reference=secrets.token_hex(4), job=failure.id, kind=failure.kind)


class Handlers:
    """Which handler runs which kind of job."""

    def __init__(self) -> None:
        self._by_kind: dict[str, JobHandler] = {}

    def add(self, kind: str, handler: JobHandler) -> None:
        """Register a handler. Raises ValueError for a second one of the same kind."""
        if kind in self._by_kind:
            raise ValueError(f"jobs of kind {kind!r} have a handler already")
        self._by_kind[kind] = handler

    def get(self, kind: str) -> JobHandler:
        """The handler of a kind. Raises UnknownJobKind."""
        if kind not in self._by_kind:
            known = ", ".join(self.kinds()) or "none"
            raise UnknownJobKind(f"No handler is registered for jobs of kind {kind!r}; known kinds: {known}.")
        return self._by_kind[kind]

    def kinds(self) -> list[str]:
        """The kinds that have a handler, by name."""
        return sorted(self._by_kind)


def checked(key: str, payload: Mapping[str, Any], dedupe: str | None) -> dict[str, Any]:
    """The payload as plain JSON keeps it. Raises InvalidInput when key, payload or dedupe can't be stored."""
    if not 1 <= len(key) <= MAX_KEY:
        raise InvalidInput(f"A job's key has 1 to {MAX_KEY} characters, not {len(key)}.")
    if dedupe is not None and not 1 <= len(dedupe) <= MAX_DEDUPE:
        raise InvalidInput(f"A job's dedupe key has 1 to {MAX_DEDUPE} characters, not {len(dedupe)}.")
    try:
        plain: dict[str, Any] = json.loads(canonical_json(dict(payload)))
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"A job's payload must be plain JSON: {error}.") from error
    return plain

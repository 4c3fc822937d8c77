"""Job runners by name."""

from collections.abc import Callable, Mapping

from tools.clock import Clock
from tools.errors import ConfigurationError
from tools.jobs.attempts import OnFailure
from tools.jobs.base import Jobs
from tools.jobs.in_process import InProcessJobs
from tools.jobs.memory import MemoryJobs
from tools.records.database import Database

Factory = Callable[[Database, Clock, str, int, OnFailure | None], Jobs]


def _in_process(database: Database, clock: Clock, owner: str, concurrency: int, on_failure: OnFailure | None) -> Jobs:
    return InProcessJobs(database, clock, owner=owner, concurrency=concurrency, on_failure=on_failure)


def _memory(_database: Database, clock: Clock, _owner: str, concurrency: int, on_failure: OnFailure | None) -> Jobs:
    return MemoryJobs(clock, concurrency=concurrency, on_failure=on_failure)


FACTORIES: Mapping[str, Factory] = {"in_process": _in_process, "memory": _memory}


def create_jobs(
    name: str,
    *,
    database: Database,
    clock: Clock,
    owner: str,
    concurrency: int = 16,
    on_failure: OnFailure | None = None,
) -> Jobs:
    """The job runner of that name. Raises ConfigurationError naming the known ones."""
    if name not in FACTORIES:
        raise ConfigurationError(f"A job runner is one of {', '.join(FACTORIES)}, not {name!r}.")
    return FACTORIES[name](database, clock, owner, concurrency, on_failure)

"""The runs of the agent that go on in this process, so that they can be stopped at once."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Runs:
    """Each run's stop, by its id. A run of another process stops at its next step, when it looks at its row."""

    def __init__(self) -> None:
        self._stops: dict[str, asyncio.Event] = {}

    @contextmanager
    def going(self, run_id: str) -> Iterator[asyncio.Event]:
        """Count the run as going on while the block runs; the event is set when it has to stop."""
        self._stops[run_id] = asyncio.Event()
        try:
            yield self._stops[run_id]
        finally:
            self._stops.pop(run_id, None)

    def stop(self, run_id: str) -> None:
        """Stop the run, if it goes on here."""
        if run_id in self._stops:
            self._stops[run_id].set()

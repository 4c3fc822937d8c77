"""Which requests can't wait until a flag service wants some again: what takes exposure back, and what it must know."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_URGENT: ContextVar[bool] = ContextVar("urgent", default=False)


@contextmanager
def urgently() -> Iterator[None]:
    """Everything asked of flag services inside, also by tasks that begin there, is sent even where they want less."""
    before = _URGENT.set(True)
    try:
        yield
    finally:
        _URGENT.reset(before)


def is_urgent() -> bool:
    """Whether this is inside `urgently`."""
    return _URGENT.get()

"""Long computations in a process of their own, of low priority and bounded in time: what watches a rollout goes first.

The process is `main`, run by the same Python: it reads a function and what to ask it, and writes the answer's JSON.
"""

import asyncio
import json
import os
import pickle
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from typing import Any, TypeVar

from tools.errors import Unavailable

NICENESS = 15
LONGEST_COMPLAINT = 400

Q = TypeVar("Q")


class NotDoneApart(Unavailable):
    """The process did not answer, or not in time."""


async def done_apart(computed: Callable[[Q], Any], question: Q, *, seconds: float, what: str) -> Any:
    """What `computed`, a function of a module, makes of `question`: anything that JSON can say.

    The process is ended after `seconds`, and when the caller is cancelled. `what` it is about begins the sentence of an
    error. Raises NotDoneApart.
    """
    # The same modules as here, and nothing that happens to lie in the present folder.
    code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import main; main()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", code, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
    )
    try:
        async with asyncio.timeout(seconds):
            answer, complaint = await process.communicate(pickle.dumps((computed, question)))
    except TimeoutError:
        raise NotDoneApart(f"{what} did not end within {seconds:g} s.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = complaint.decode(errors="replace").strip()[-LONGEST_COMPLAINT:]
        raise NotDoneApart(f"{what} ended with status {process.returncode}: {last}")
    return json.loads(answer)


def main() -> None:
    """Answer the one question on standard input."""
    os.nice(NICENESS)
    # Only the process that started this one writes here.
    computed, question = pickle.load(sys.stdin.buffer)  # noqa: S301
    sys.stdout.write(json.dumps(computed(question)))

"""Replays in a process of their own, of low priority and bounded in time: whatever watches a rollout goes first.

The process is `main`, run by the same Python: it reads what to replay from its input and writes the report's JSON.
"""

import asyncio
import json
import os
import pickle
import sys
import time
from asyncio.subprocess import PIPE
from typing import Any

from tools.errors import SluiceError, Unavailable
from tools.plans.model import Plan
from tools.rollouts.backtesting.reading import Recorded
from tools.rollouts.backtesting.replays import backtest
from tools.rollouts.backtesting.report import Asked, NothingToReplay

NICENESS = 15
GRACE_S = 30.0
"""How much longer than it was given the process may take, to start and for the batch that runs, before it is ended."""
LONGEST_COMPLAINT = 400


class ReplaysFailed(Unavailable):
    """The process did not answer, or not in time."""


async def backtest_apart(plan: Plan, recorded: Recorded, asked: Asked, *, seconds: float) -> dict[str, Any]:
    """`backtest`'s report, as JSON; after `seconds` there are fewer replays than asked for.

    Raises NothingToReplay, ReplaysFailed.
    """
    # The same modules as here, and nothing that happens to lie in the present folder.
    code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import main; main()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", code, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
    )
    question = pickle.dumps((plan, recorded, asked, seconds))
    try:
        async with asyncio.timeout(seconds + GRACE_S):
            answer, complaint = await process.communicate(question)
    except TimeoutError:
        raise ReplaysFailed(f"The replays of {plan.flag} did not end within {seconds + GRACE_S:g} s.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = complaint.decode(errors="replace").strip()[-LONGEST_COMPLAINT:]
        raise ReplaysFailed(f"The replays of {plan.flag} ended with status {process.returncode}: {last}")
    found: dict[str, Any] = json.loads(answer)
    if "refused" in found:
        raise NothingToReplay(found["refused"])
    return found


def main() -> None:
    """Answer the one question on standard input."""
    os.nice(NICENESS)
    # Only the process that started this one writes here.
    plan, recorded, asked, seconds = pickle.load(sys.stdin.buffer)  # noqa: S301
    ends = time.monotonic() + seconds
    try:
        report = backtest(
            plan,
            recorded.histories,
            asked,
            weights=recorded.weights,
            left_out=recorded.left_out,
            enough=lambda: time.monotonic() >= ends,
        ).to_json()
    except SluiceError as error:
        report = {"refused": str(error)}
    sys.stdout.write(json.dumps(report))

"""Replays in a process of their own."""

import time
from typing import Any

from tools.apart import done_apart
from tools.errors import SluiceError
from tools.plans.model import Plan
from tools.rollouts.backtesting.reading import Recorded
from tools.rollouts.backtesting.replays import backtest
from tools.rollouts.backtesting.report import Asked, NothingToReplay

GRACE_S = 30.0
"""How much longer than it was given the process may take, to start and for the batch that runs, before it is ended."""

Question = tuple[Plan, Recorded, Asked, float]


async def backtest_apart(plan: Plan, recorded: Recorded, asked: Asked, *, seconds: float) -> dict[str, Any]:
    """`backtest`'s report, as JSON; after `seconds` there are fewer replays than asked for.

    Raises NothingToReplay, NotDoneApart.
    """
    question = (plan, recorded, asked, seconds)
    what = f"The replays of {plan.flag}"
    found: dict[str, Any] = await done_apart(replay, question, seconds=seconds + GRACE_S, what=what)
    if "refused" in found:
        raise NothingToReplay(found["refused"])
    return found


def replay(question: Question) -> dict[str, Any]:
    """The report, or why there is none, as JSON can say it."""
    plan, recorded, asked, seconds = question
    ends = time.monotonic() + seconds
    try:
        return backtest(
            plan,
            recorded.histories,
            asked,
            weights=recorded.weights,
            left_out=recorded.left_out,
            enough=lambda: time.monotonic() >= ends,
        ).to_json()
    except SluiceError as error:
        return {"refused": str(error)}

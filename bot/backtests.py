"""A plan's backtest, run by itself once the plan is proposed: a job, which reads the history and has it replayed.

It is looked for in the records which has none yet, so that it does not matter who proposed the plan, or which process
died meanwhile; and nobody waits for it: the card has its line when it is there. Without history there is none.
"""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog

from bot.services import Services
from tools.errors import NotFound, SluiceError, Unavailable
from tools.rollouts.backtesting.apart import backtest_apart
from tools.rollouts.backtesting.keeping import Untested, keep, untested
from tools.rollouts.backtesting.reading import read_recorded
from tools.rollouts.backtesting.report import Asked
from tools.rollouts.phases import Phase
from tools.rollouts.views import RolloutView

KIND = "backtest"
LOOKED_FOR_EVERY = timedelta(seconds=5)
MOST_READS = 500
"""Into how many pieces a metric's history is read at most: nobody asked for it, so it is to cost little."""
READING_S, REPLAYING_S = 120.0, 90.0
NOT_DONE = "backtest.not_done"
DONE = "backtest.done"

logger = structlog.get_logger(__name__)


def register(services: Services) -> None:
    """Let the job runner replay plans."""

    async def replay(payload: Mapping[str, Any]) -> None:
        await _carry_out(services, Untested(payload["rollout"], payload["plan"]))

    services.jobs.handle(KIND, replay)


async def take_up(services: Services) -> None:
    """Submit a job for each proposed plan without a backtest; one plan's is taken once, and all one after the other."""
    if not services.settings.backtest.over:
        return
    for one in await untested(services.database):
        payload = {"rollout": one.rollout_id, "plan": one.plan_sha256}
        await services.jobs.submit(KIND, KIND, payload, dedupe=f"{KIND}:{one.rollout_id}:{one.plan_sha256}")


async def _carry_out(services: Services, wanted: Untested) -> None:
    """Raises Unavailable, upon which the job is tried again."""
    view = await _still_proposed(services, wanted)
    if view is None:
        return
    try:
        async with asyncio.timeout(READING_S):
            recorded = await read_recorded(
                services.metrics,
                view.plan,
                services.settings.backtest.over,
                now=services.clock.now(),
                most_reads=MOST_READS,
            )
        report = await backtest_apart(view.plan, recorded, Asked(), seconds=REPLAYING_S)
    except TimeoutError:
        logger.warning(NOT_DONE, flag=view.flag, reason=f"the history could not be read within {READING_S:g} s")
    except Unavailable as error:
        logger.warning(NOT_DONE, flag=view.flag, reason=str(error))
        raise
    except SluiceError as error:
        logger.info(NOT_DONE, flag=view.flag, reason=str(error))
    else:
        await keep(services.database, report, at=services.clock.now())
        logger.info(DONE, flag=view.flag, summary=report["summary"])


async def _still_proposed(services: Services, wanted: Untested) -> RolloutView | None:
    """The rollout, unless it went on, or another plan took this one's place, or somebody was faster."""
    try:
        view = await services.rollouts.get(wanted.rollout_id)
    except NotFound:
        return None
    same = view.phase is Phase.PROPOSED and view.plan.sha256 == wanted.plan_sha256 and view.backtest is None
    return view if same else None

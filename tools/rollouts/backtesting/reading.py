"""Reads the history that a plan is to be replayed over."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tools.clock import in_words
from tools.gates import BadCounts
from tools.metrics.base import BadMetricAnswer, MetricQuery, UnknownMetric, Window
from tools.metrics.history import MOST_READS, History, NoHistory, read_history, step_for
from tools.metrics.router import Metrics
from tools.plans.model import Plan
from tools.rollouts.backtesting.replays import grain_for, guards_of
from tools.rollouts.backtesting.report import ORDER, LeftOut, NothingToReplay
from tools.rollouts.preparing import weights

SHORTEST = timedelta(hours=1)
"""A history shorter than this shows too few moments to begin at."""


@dataclass(frozen=True)
class Recorded:
    """The histories of a plan's metrics, of one span and step, the metrics that have none, and each one's weight."""

    histories: tuple[History, ...]
    left_out: tuple[LeftOut, ...]
    weights: Mapping[str, float]


async def read_recorded(
    metrics: Metrics,
    plan: Plan,
    since: timedelta,
    *,
    now: datetime,
    most_reads: int = MOST_READS,
    reads: Callable[[int], None] = lambda more: None,
    progress: Callable[[], None] = lambda: None,
) -> Recorded:
    """The plan's metrics over the last `since`, or for as long as all of them were recorded.

    `reads` is told how many more reads there will be, `progress` of each. Metrics that can't be replayed are left out
    with a sentence. Raises NothingToReplay when none is left, MetricSourceUnavailable.
    """
    step, end = step_for(since, grain_for(plan), most=most_reads), now - _settle(metrics, plan)
    found = await _read(metrics, plan, Window(end - step * (since // step), end), step, reads, progress)
    begun = max((one.silent_at_first for one in found.histories), default=0)
    pieces = since // step
    if begun > pieces / 2 and step > grain_for(plan):
        # Recorded for a short time only: its few long pieces say less than as many short ones.
        since = step * (pieces - begun + 1)
        step = step_for(since, grain_for(plan), most=most_reads)
        found = await _read(metrics, plan, Window(end - step * (since // step), end), step, reads, progress)
        begun = max((one.silent_at_first for one in found.histories), default=0)
    return _checked(plan, replace(found, histories=tuple(one.since(begun) for one in found.histories)))


def _settle(metrics: Metrics, plan: Plan) -> timedelta:
    """How long ago the data of every metric is complete."""
    known = [name for name in guards_of(plan) if name in {one.name for one in metrics.catalogue}]
    return max((metrics.define(name).settle for name in known), default=timedelta(0))


async def _read(
    metrics: Metrics,
    plan: Plan,
    window: Window,
    step: timedelta,
    reads: Callable[[int], None],
    progress: Callable[[], None],
) -> Recorded:
    names, histories, left_out = sorted(guards_of(plan)), list[History](), list[LeftOut]()
    reads(len(names) * ((window.end - window.start) // step))
    for name in names:
        query = MetricQuery(name, plan.flag, plan.environment, window, (plan.control, plan.treatment))
        try:
            if metrics.define(name).kind not in ORDER:
                # Who gets which variant is no history: replays deal it themselves.
                continue
            histories.append(await read_history(metrics, query, step, without=plan.treatment, progress=progress))
        except (NoHistory, UnknownMetric, BadMetricAnswer, BadCounts) as error:
            left_out.append(LeftOut(name, str(error)))
    return Recorded(tuple(histories), tuple(left_out), weights(plan, metrics.define))


def _checked(plan: Plan, found: Recorded) -> Recorded:
    if not found.histories:
        raise NothingToReplay(_first(found.left_out) or f"The plan of {plan.flag} has no guardrail to replay.")
    span = found.histories[0].span
    if span < SHORTEST:
        raise NothingToReplay(
            f"What guards {plan.flag} has been recorded for {in_words(span)} only, so there is too little to replay: "
            f"wait until there is {in_words(SHORTEST)} of it."
        )
    return found


def _first(left_out: Sequence[LeftOut]) -> str | None:
    return left_out[0].why if left_out else None

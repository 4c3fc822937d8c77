"""The product's latency gate as decision rules over many simulated streams at once.

Each rule takes a dict of per-minute arrays of shape (streams, minutes): `nc`, `sc`, `qc` treatment's requests and the
sums of their latencies and of the squares, `nb`, `sb`, `qb` control's; `hc`, `hb` the counts of their buckets, of shape
(streams, minutes, buckets), which end at `edges`. It answers with the 1-based minute of its first alarm per stream,
infinity where there is none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tools.gates.judging import BURN_IN_STAKE, safe_prior
from tools.gates.latency import LatencyTest, boost, harm_bets, latency_prior, safe_bets
from tools.gates.scores import Tally
from tools.gates.wealth import Floats, Prior, advance, log_total

HARM_MARGIN, SAFE_MARGIN = 1.1, 1.25


@dataclass
class Book:
    """Many streams' bets (streams, G), reserves and clocks (streams,) on one question."""

    started: Floats
    reserve: Floats
    clock: Floats


Pay = Callable[[Book, Tally, Tally, Tally], tuple[Floats, Floats]]


def first_answer(
    test: LatencyTest, pay: Pay, prior: Prior, log_level: float, data: Mapping[str, Any], min_sample: int = 0
) -> Floats:
    """The 1-based interval of each stream's first answer, infinity without one."""
    streams, intervals = data["nc"].shape
    placed = np.tile(prior.log_weights + np.log(prior.at_once), (streams, 1))
    book = Book(placed, np.full(streams, np.log1p(-prior.at_once)), np.zeros(streams))
    zeros = np.zeros(streams)
    past, exposed, answer = Tally(np.zeros((streams, len(test.edges))), zeros, zeros), zeros, np.full(streams, np.inf)
    for interval in range(intervals):
        control, treatment = (_tally(data, arm, interval, sums=test.sums) for arm in "bc")
        log_lr, information = pay(book, past, control, treatment)
        both = (control.requests > 0) & (treatment.requests > 0)
        log_lr, information = np.where(both[:, None], log_lr, 0.0), np.where(both, information, 0.0)
        book = Book(
            *advance(
                prior, book.started, book.reserve, book.clock, log_lr / test.dispersion, information / test.dispersion
            )
        )
        past, exposed = past + control, exposed + treatment.requests
        reached = (log_total(book.started, book.reserve) >= log_level) & (exposed >= min_sample)
        answer[reached & np.isinf(answer)] = interval + 1
        if np.isfinite(answer).all():
            break
    return answer


def harm_after(test: LatencyTest, data: Mapping[str, Any], alpha: float) -> Floats:
    """First minute in which harm is proven at `alpha`."""

    def pay(book: Book, past: Tally, control: Tally, treatment: Tally) -> tuple[Floats, Floats]:
        bets = harm_bets(test, past, control, treatment)
        both = (control.requests > 0) & (treatment.requests > 0)
        levels, phi = np.full(len(both), test.alpha_rollback), np.full(len(both), test.dispersion)
        raised = np.where(both, boost(levels, phi, bets, book.started, book.reserve, np.zeros(len(both))), 0.0)
        book.started = book.started + raised[:, None]
        return bets.log_lr, bets.information

    level = float(-np.log(alpha) - np.log1p(-BURN_IN_STAKE))
    return first_answer(test, pay, latency_prior(test.margin), level, data)


def safe_after(test: LatencyTest, data: Mapping[str, Any]) -> Floats:
    """First minute in which safety is proven."""

    def pay(_: Book, past: Tally, control: Tally, treatment: Tally) -> tuple[Floats, Floats]:
        bets = safe_bets(test, past, control, treatment)
        return bets.log_lr, bets.information

    level = float(-np.log(test.alpha_safe))
    return first_answer(test, pay, safe_prior(test.margin), level, data, test.min_sample)


def latency_harm(d: Mapping[str, Any]) -> Floats:
    """First minute of a rollback."""
    test = LatencyTest(tuple(d["edges"].tolist()), HARM_MARGIN)
    return harm_after(test, d, test.alpha_rollback)


def latency_pause(d: Mapping[str, Any]) -> Floats:
    """First minute of a pause."""
    test = LatencyTest(tuple(d["edges"].tolist()), HARM_MARGIN)
    return harm_after(test, d, test.alpha_pause)


def latency_harm_buckets(d: Mapping[str, Any]) -> Floats:
    """First minute of a rollback when the source gives no sums."""
    test = LatencyTest(tuple(d["edges"].tolist()), HARM_MARGIN, sums=False)
    return harm_after(test, d, test.alpha_rollback)


def latency_safe(d: Mapping[str, Any]) -> Floats:
    """First minute of a promotion: proven less than a quarter slower."""
    return safe_after(LatencyTest(tuple(d["edges"].tolist()), SAFE_MARGIN), d)


def latency_safe_buckets(d: Mapping[str, Any]) -> Floats:
    """First minute of a promotion when the source gives no sums."""
    return safe_after(LatencyTest(tuple(d["edges"].tolist()), SAFE_MARGIN, sums=False), d)


def _tally(data: Mapping[str, Any], arm: str, interval: int, *, sums: bool) -> Tally:
    counts = data[f"h{arm}"][:, interval].astype(float)
    if not sums:
        zeros = np.zeros(len(counts))
        return Tally(counts, zeros, zeros)
    return Tally(counts, data[f"s{arm}"][:, interval].astype(float), data[f"q{arm}"][:, interval].astype(float))

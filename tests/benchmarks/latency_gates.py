"""The product's latency gate as decision rules over many simulated streams at once.

Each rule takes a dict of per-minute arrays of shape (streams, minutes): `nc`, `sc`, `qc` treatment's requests and the
sums of their latencies and of the squares, `nb`, `sb`, `qb` control's; `hc`, `hb` the counts of their buckets, of shape
(streams, minutes, buckets), which end at `edges`. It answers with the 1-based minute of its first alarm per stream,
infinity where there is none.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tools.gates.judging import BURN_IN_STAKE, safe_prior
from tools.gates.latency import LatencyTest, latency_prior, settle_harm, settle_safety
from tools.gates.means import NOTHING, UNMATCHED, Matched, Sums, log_e_beyond, relative_information
from tools.gates.scores import Tally
from tools.gates.wealth import Floats, Ledger, Prior, Wealth

HARM_MARGIN, SAFE_MARGIN = 1.1, 1.25


Seen = tuple[Tally, Tally, Tally]
Settle = Callable[[Ledger, Seen], None]
Allows = Callable[[Floats, Seen], Floats]
"""Which of the streams that have reached the level have an answer, after one more interval."""


def first_answer(
    test: LatencyTest,
    settle: Settle,
    prior: Prior,
    log_level: float,
    data: Mapping[str, Any],
    allows: Allows = lambda reached, _: reached,
) -> Floats:
    """The 1-based interval of each stream's first answer, infinity without one; each has requests in both arms."""
    streams, intervals = data["nc"].shape
    ledger = Ledger.of([(Wealth.start(prior),)] * streams)
    zeros = np.zeros(streams)
    past, answer = Tally(np.zeros((streams, len(test.edges))), zeros, zeros), np.full(streams, np.inf)
    for interval in range(intervals):
        control, treatment = (_tally(data, arm, interval, sums=test.sums) for arm in "bc")
        settle(ledger, (past, control, treatment))
        reached = allows(ledger.log_e[:, 0] >= log_level, (past, control, treatment))
        past = past + control
        answer[reached & np.isinf(answer)] = interval + 1
        if np.isfinite(answer).all():
            break
    return answer


def harm_after(test: LatencyTest, data: Mapping[str, Any], alpha: float) -> Floats:
    """First minute in which harm is proven at `alpha`."""

    def settle(ledger: Ledger, seen: tuple[Tally, Tally, Tally]) -> None:
        whole = np.ones(len(ledger.clock))
        settle_harm(test, ledger, seen, test.dispersion * whole, whole, test.alpha_rollback * whole, 0.0 * whole)

    level = float(-np.log(alpha) - np.log1p(-BURN_IN_STAKE))
    return first_answer(test, settle, latency_prior(test.margin), level, data)


def safe_after(test: LatencyTest, data: Mapping[str, Any]) -> Floats:
    """First minute in which safety is proven."""

    def settle(ledger: Ledger, seen: tuple[Tally, Tally, Tally]) -> None:
        whole = np.ones(len(ledger.clock))
        settle_safety(test, ledger, seen, test.dispersion * whole, whole, test.alpha_safe * whole)

    level = float(-np.log(test.alpha_safe))
    return first_answer(test, settle, safe_prior(test.margin), level, data, _Proofs(test, level, len(data["nc"])).allow)


class _Proofs:
    """What else the gate asks before it says that a treatment is safe: the minimum sample, and with sums the means."""

    def __init__(self, test: LatencyTest, level: float, streams: int) -> None:
        self.test, self.level = test, level
        self.matched, self.served = [UNMATCHED] * streams, [NOTHING] * streams

    def allow(self, reached: Floats, seen: Seen) -> Floats:
        past, control, treatment = seen
        variance, rows = (past + control).variance, zip(_sums(control), _sums(treatment), strict=True)
        for stream, (of_control, of_treatment) in enumerate(rows):
            self.matched[stream] = self.matched[stream].plus(of_control, of_treatment)
            self.served[stream] = self.served[stream] + of_treatment
        allowed = [
            bool(there) and served.units >= self.test.min_sample and self._by_means(matched, served, float(spread))
            for there, matched, served, spread in zip(reached, self.matched, self.served, variance, strict=True)
        ]
        return np.array(allowed)

    def _by_means(self, matched: Matched, served: Sums, of_control: float) -> bool:
        if not self.test.sums:
            return True
        phi = self.test.dispersion
        variance, information = phi * max(of_control, served.variance), relative_information(matched.weight, phi)
        return log_e_beyond(matched, self.test.margin, -1, variance=variance, information=information) >= self.level


def _sums(arm: Tally) -> Iterator[Sums]:
    """Of each stream."""
    columns = arm.requests.astype(int), arm.total, arm.squares
    return (Sums(*row) for row in zip(*(column.tolist() for column in columns), strict=True))


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

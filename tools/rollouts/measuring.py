"""The measurements of a check: every guardrail's window is asked for at once, and an error is an answer too."""

import itertools
import json
from typing import Any

import structlog

from tools.errors import SluiceError
from tools.gates.mix import folded
from tools.metrics.base import MetricQuery, Reading, Window
from tools.metrics.router import Metrics
from tools.plans.mixes import counts_of
from tools.plans.model import Plan
from tools.records.models import new_id
from tools.rollouts.checks import Answer, Inputs, MixInput, VariantCounts

RAW_LIMIT = 20_000
"""Characters of JSON that a check keeps of each raw answer: about 150 rows."""

logger = structlog.get_logger(__name__)


async def measure(inputs: Inputs, plan: Plan, metrics: Metrics) -> tuple[Answer, ...]:
    """Ask for every guardrail's window at once, and then every mix's; an error is an answer too."""
    asked = [(item.guardrail.metric, item.start, item.end, item.error) for item in inputs.guardrails]
    asked += [(item.expected.metric, item.start, item.end, item.error) for item in inputs.mixes]
    variants = (plan.control, plan.treatment)
    queries = [
        MetricQuery(metric, plan.flag, plan.environment, Window(start, end), variants)
        for metric, start, end, error in asked
        if error is None
    ]
    read = zip(queries, await metrics.read_together(queries), strict=True)
    found = [
        Answer(metric=metric, query="", error=error) if error is not None else _answer(*next(read))
        for metric, _, _, error in asked
    ]
    rails = len(inputs.guardrails)
    mixes = (_folded(answer, item) for answer, item in zip(found[rails:], inputs.mixes, strict=True))
    return (*found[:rails], *mixes)


def _answer(query: MetricQuery, found: Reading | Exception) -> Answer:
    try:
        return _read(query.metric, found) if isinstance(found, Reading) else _unread(query, found)
    except Exception as fault:  # noqa: BLE001 - said, with a reference
        return _unread(query, fault)


def _unread(query: MetricQuery, why: Exception) -> Answer:
    if isinstance(why, SluiceError):
        return Answer(metric=query.metric, query=str(query), error=str(why))
    # A driver's fault must count as blindness; it must never stop the watch.
    reference = new_id()[:8]
    logger.error("metric.faulty", metric=query.metric, reference=reference, exc_info=why)
    return Answer(
        metric=query.metric, query=str(query), error=f"Reading {query.metric} failed (reference {reference})."
    )


def _read(metric: str, reading: Reading) -> Answer:
    variants = sorted(reading.by_variant.items(), key=lambda pair: str(pair[0]))
    raw, raw_cut = _bounded(reading.raw)
    return Answer(
        raw=raw,
        raw_cut=raw_cut,
        metric=metric,
        query=reading.query,
        newest=reading.newest,
        variants=tuple(VariantCounts.of(variant, sample) for variant, sample in variants),
    )


def _folded(answer: Answer, item: MixInput) -> Answer:
    """The answer with the plan's segments and the largest few others; there may be hundreds, and a row keeps all."""
    named = [part.segment for part in item.expected.mix]
    variants = []
    for one in answer.variants:
        kept, rest = folded(counts_of(one.sample).items(), named)
        more = ((None, rest),) if rest else ()
        variants.append(one.model_copy(update={"segments": (*kept, *more)}))
    return answer.model_copy(update={"variants": tuple(variants)})


def _bounded(raw: Any) -> tuple[Any, str | None]:
    """As much of a raw answer as a row keeps, and what is missing; of a list its first items."""
    try:
        text = json.dumps(raw, allow_nan=False)
    except (TypeError, ValueError):
        return None, "The raw answer is not kept: it is no JSON."
    # As it is read back from the row, so that the check's digest is the same then.
    plain = json.loads(text)
    if len(text) <= RAW_LIMIT:
        return plain, None
    if not isinstance(plain, list):
        return None, f"The raw answer is not kept: it has {len(text):,} characters, at most {RAW_LIMIT:,} are kept."
    lengths = itertools.accumulate(len(json.dumps(item)) + len(", ") for item in plain)
    kept = plain[: sum(1 for length in lengths if length <= RAW_LIMIT)]
    return kept, f"The raw answer is cut: the first {len(kept):,} of {len(plain):,} rows are kept."

"""What of the traffic has left the ranges that its plan was made for, from check to check; and people are told."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from tools.clock import written
from tools.gates import BadEvidence, Counts
from tools.gates import drift as drifting
from tools.gates import mix as mixing
from tools.gates.drift import DriftEvidence, DriftTest
from tools.gates.histograms import Histogram, layout
from tools.gates.judging import percent
from tools.gates.level import LevelRange, latencies_of
from tools.gates.means import NOTHING, Sums
from tools.gates.mix import MixDrift, MixEvidence, MixTest
from tools.metrics.base import Sample, together
from tools.metrics.catalogue import MetricKind
from tools.plans.mixes import part_of
from tools.plans.model import Expected
from tools.records.models import Rollout
from tools.rollouts.checks import (
    UNREADABLE,
    Answer,
    Assessment,
    GuardrailInput,
    Inputs,
    MixInput,
    Watched,
    sentence,
)
from tools.rollouts.events import Happening, Tell, happened
from tools.rollouts.judging import Numbers

BASE_RATE_RANGE, TRAFFIC_RANGE, SHARE_RANGE = 3.0, 2.0, 2.0
"""How far from what a plan was made for things may be: as factors of the rate, the pace and the odds of treatment."""
LEVEL_RANGE = 1.3
"""The same of a mean or a latency, which are known well and move less than rates of what is rare do."""
SLOWEST_PACE = 0.01
"""Requests a minute, below which a pace says nothing."""
MIX_RANGE, MIX_SPREAD, WIDEST_MIX_RANGE = 0.2, 1.5, 0.8
"""How large a part of the requests may be of other segments than planned: so much, or so many times what it was at most
while the plan's past was recorded."""
NEWCOMERS = 0.1
"""How large a part of the requests may be of segments that the plan does not name, beyond those of its past."""
SAID_AGAIN_AFTER = timedelta(minutes=30)
"""For so long a quantity must have been as planned before a new drift of it is news."""


def drift(
    inputs: Inputs, item: GuardrailInput, control: Counts, treatment: Counts, sample: Sample
) -> tuple[drifting.Drift, dict[str, Any] | None, bool]:
    """What has left its range, what is carried of it, and whether there was a shared incident before this window.

    `sample` is all of control's numbers.
    """
    test = _drift_test(inputs, item)
    if test is None:
        return drifting.Drift(), None, False
    try:
        evidence = DriftEvidence.from_json(item.carried["drift"]) if item.carried else DriftEvidence()
    except (BadEvidence, KeyError):
        # Nothing was carried by an earlier release, or it can't be read: what goes on is found anew within minutes.
        evidence = DriftEvidence()
    before = drifting.judge(test, evidence).incident
    minutes = item.minutes
    values = NOTHING if test.level is None else values_of(item.numbers, sample)
    evidence = drifting.update(test, evidence, minutes, control, treatment, values)
    return drifting.judge(test, evidence), evidence.to_json(), before


def departed(known: Mapping[str, str] | None, names: Iterable[str], at: datetime) -> dict[str, dict[str, str]]:
    """What is carried of what has drifted: when each was last beyond its range, for as long as that is no news again.

    Empty where nothing is.
    """
    recent = {
        name: last for name, last in (known or {}).items() if at - datetime.fromisoformat(last) <= SAID_AGAIN_AFTER
    }
    now = recent | dict.fromkeys(names, at.isoformat())
    return {"departed": now} if now else {}


def watch(inputs: Inputs, item: MixInput, answer: Answer) -> tuple[Watched, dict[str, Any] | None]:
    """What is said of a mix, and what is carried of it; an answer that can't be used leaves the carried as it was."""
    metric = item.expected.metric
    if answer.error is not None:
        return _unseen(item, answer.error), item.carried
    try:
        test, (counts, others) = mix_test(item.expected), _segments(answer)
        before, note = _mix_evidence(item, test)
        last = _last_seen(item, is_seen=bool(others or sum(counts.values())))
        minutes = item.minutes
        evidence = mixing.update(test, before, minutes, counts, others)
        found = mixing.judge(test, evidence)
        known = item.carried.get("departed") if item.carried else None
        names = [name for name, is_so in (("changed", found.changed), ("newcomers", found.newcomers)) if is_so]
        kept = {
            "until": item.end.isoformat(),
            "last": last.isoformat(),
            "mix": evidence.to_json(),
            **departed(known, names, item.end),
        }
    except UNREADABLE as error:
        return _unseen(item, sentence(metric, error)), item.carried
    if item.end - last > inputs.stale_after:
        return _unseen(item, f"{metric} has counted no requests since {written(last, seconds=True)}."), kept
    return Watched(metric, f"{_said(metric, test, found)}{note}", drifted=found.is_found), kept


async def tell(session: AsyncSession, rollout: Rollout, assessment: Assessment, *, at: datetime) -> None:
    """Say what has drifted since the last check, and what is as planned again; in the caller's transaction."""
    found, over = news(rollout.evidence, assessment)
    if found:
        await happened(session, rollout, Happening.DRIFT_FOUND, at=at, why=" ".join(found))
    if over:
        minutes = round(SAID_AGAIN_AFTER.total_seconds() / 60)
        await happened(
            session, rollout, Happening.DRIFT_OVER, at=at, tell=Tell.NOBODY, quantities=", ".join(over), minutes=minutes
        )


def news(before: Mapping[str, Any], assessment: Assessment) -> tuple[list[str], list[str]]:
    """A sentence for each metric that has newly drifted, and what is as planned again; by the evidence before."""
    said = {one.metric: one.why for one in assessment.mixes if one.drifted}
    found, over = list[str](), list[str]()
    for key, now in assessment.evidence.items():
        metric, book = key.rsplit(":", 1)
        known, newest = _departed(before.get(key)), _departed(now)
        over += [f"{metric} ({name})" for name in sorted(known - newest)]
        if newest - known:
            why = said.get(metric) if book == "mix" else assessment.drifts.get(metric)
            found += [f"{metric}: {why}" if book != "mix" else why] if why else []
    return found, over


def _departed(carried: Any) -> set[str]:
    """The names; of what is damaged none, which the metric's own verdict or sentence says."""
    known = carried.get("departed") if isinstance(carried, dict) else None
    return set(known) if isinstance(known, dict) else set()


def mix_test(expected: Expected) -> MixTest:
    """The range around the mix that a plan was made for. Raises BadTest."""
    planned = tuple((part.segment, part.share) for part in expected.mix)
    return MixTest(planned, min(max(MIX_RANGE, MIX_SPREAD * expected.mix_spread), WIDEST_MIX_RANGE), NEWCOMERS)


def _segments(answer: Answer) -> tuple[dict[str, int], int]:
    """The requests by segment, and those of all others; both arms together, since it is about all of the traffic."""
    counts = dict(together(one.sample for one in answer.variants).segments)
    others = counts.pop(None, 0)
    return {label: count for label, count in counts.items() if label is not None}, others


def _last_seen(item: MixInput, *, is_seen: bool) -> datetime:
    if is_seen:
        return item.end
    return datetime.fromisoformat(item.carried["last"]) if item.carried else item.start


def _mix_evidence(item: MixInput, test: MixTest) -> tuple[MixEvidence, str]:
    """What is carried, and a sentence where it can't be counted."""
    if not item.carried or item.carried.get("mix") is None:
        return MixEvidence.start(test), ""
    try:
        return MixEvidence.from_json(item.carried["mix"], test), ""
    except BadEvidence:
        return MixEvidence.start(test), " What it was before is not counted."


def _unseen(item: MixInput, why: str) -> Watched:
    return Watched(item.expected.metric, f"What traffic is made of can't be seen: {why}", seen=False)


def _said(metric: str, test: MixTest, found: MixDrift) -> str:
    if found.is_found:
        return f"By {metric} traffic is not made of what the plan was made for: {found.why}."
    of_late = f"{percent(round(found.distance, 2))} of requests changed their segment"
    return f"By {metric} traffic is made of what the plan was made for: {of_late}, {percent(test.tolerance)} may."


def _drift_test(inputs: Inputs, item: GuardrailInput) -> DriftTest | None:
    """The ranges around what the plan was made for; None for a plan that does not say."""
    expected = item.expected
    if expected is None:
        return None
    base_rate = expected.base_rate if item.numbers.kind is MetricKind.RATIO else None
    return DriftTest(
        item.guardrail.direction,
        base_rate=drifting.within(base_rate, BASE_RATE_RANGE) if base_rate is not None and not item.whole else None,
        traffic=(max(expected.quietest / TRAFFIC_RANGE, SLOWEST_PACE), expected.busiest * TRAFFIC_RANGE),
        share=_planned_share(inputs),
        level=level_range(item.numbers, expected) if not item.whole else None,
        dispersion=item.guardrail.dispersion,
    )


def level_range(numbers: Numbers, expected: Expected) -> LevelRange | None:
    """Where control's mean or latency is to stay; None where the plan does not say it as the metric is counted now."""
    planned = expected.level
    if planned is None or not (planned.of_logs or planned.mean > 0):
        return None
    if numbers.kind is MetricKind.MEAN and numbers.cap is not None and not planned.of_logs:
        found = LevelRange.scaled(planned.mean, planned.deviation, LEVEL_RANGE, -numbers.cap, numbers.cap, planned.span)
        return replace(found, what="mean", unit=numbers.unit)
    if numbers.kind is not MetricKind.LATENCY or planned.of_logs is numbers.sums:
        return None
    edges = (*numbers.buckets, math.inf)
    if planned.of_logs:
        found = LevelRange.of_middles(planned.mean, planned.deviation, LEVEL_RANGE, edges, planned.span)
        return replace(found, what="typical latency", unit=numbers.unit)
    longest = float(layout(edges).upper[-1])
    found = LevelRange.scaled(planned.mean, planned.deviation, LEVEL_RANGE, 0.0, longest, planned.span)
    return replace(found, what="mean latency", unit=numbers.unit)


def values_of(numbers: Numbers, control: Sample) -> Sums:
    """Control's values, as their range counts them. Raises BadCounts for what can't have been counted."""
    if numbers.kind is MetricKind.MEAN:
        return Sums(control.exposures, control.total, control.total_squares)
    sums = (control.total, control.total_squares) if numbers.sums else ()
    return latencies_of(Histogram.of((*numbers.buckets, math.inf), control.buckets, *sums))


def _planned_share(inputs: Inputs) -> drifting.Range | None:
    """The range of treatment's part of all requests; None where it isn't known what the audience is of everyone."""
    part = part_of(inputs.exposure.audience, [mix.expected for mix in inputs.mixes])
    if part is None:
        return None
    least, most = (inputs.exposure.percent / 100 * end for end in part)
    if least <= 0 or most >= 1:
        return None
    return drifting.share_within(least, SHARE_RANGE)[0], drifting.share_within(most, SHARE_RANGE)[1]

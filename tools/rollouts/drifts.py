"""What of a guardrail's traffic has left the ranges that its plan was made for, from check to check. Pure."""

from typing import Any

from tools.gates import BadEvidence, Counts
from tools.gates import drift as drifting
from tools.gates.drift import DriftEvidence, DriftTest
from tools.metrics.catalogue import MetricKind
from tools.rollouts.checks import GuardrailInput, Inputs

BASE_RATE_RANGE, TRAFFIC_RANGE, SHARE_RANGE = 3.0, 2.0, 2.0
"""How far from what a plan was made for things may be: as factors of the rate, the pace and the odds of treatment."""
SLOWEST_PACE = 0.01
"""Requests a minute, below which a pace says nothing."""


def drift(
    inputs: Inputs, item: GuardrailInput, control: Counts, treatment: Counts
) -> tuple[drifting.Drift, dict[str, Any] | None, bool]:
    """What has left its range, what is carried of it, and whether there was a shared incident before this window."""
    test = _drift_test(inputs, item)
    if test is None:
        return drifting.Drift(), None, False
    try:
        evidence = DriftEvidence.from_json(item.carried["drift"]) if item.carried else DriftEvidence()
    except (BadEvidence, KeyError):
        # Nothing was carried by an earlier release, or it can't be read: what goes on is found anew within minutes.
        evidence = DriftEvidence()
    before = drifting.judge(test, evidence).incident
    minutes = (item.end - item.start).total_seconds() / 60
    evidence = drifting.update(test, evidence, minutes, control, treatment)
    return drifting.judge(test, evidence), evidence.to_json(), before


def _drift_test(inputs: Inputs, item: GuardrailInput) -> DriftTest | None:
    """The ranges around what the plan was made for; None for a plan that does not say."""
    expected, exposure = item.expected, inputs.exposure
    if expected is None:
        return None
    share = exposure.percent / 100
    base_rate = expected.base_rate if item.numbers.kind is MetricKind.RATIO else None
    return DriftTest(
        item.guardrail.direction,
        base_rate=drifting.within(base_rate, BASE_RATE_RANGE) if base_rate is not None and not item.whole else None,
        traffic=(max(expected.quietest / TRAFFIC_RANGE, SLOWEST_PACE), expected.busiest * TRAFFIC_RANGE),
        share=drifting.share_within(share, SHARE_RANGE) if 0 < share < 1 and exposure.audience.everyone else None,
        dispersion=item.guardrail.dispersion,
    )

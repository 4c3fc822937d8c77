"""Several guardrails, one gate: the chance of a false rollback is the gate's, not each guardrail's.

Harm. With weights wᵢ that add up to 1, Σ wᵢ·Eᵢ is an e-process whatever the guardrails have to do with each other, so
that the gate is wrong with chance α at most when it rolls back from Σ wᵢ·Eᵢ ≥ 1/α (Vovk and Wang, "E-values:
calibration, combination and applications", Annals of Statistics 2021). A guardrail alone then rolls back from
Eᵢ ≥ 1/(α·wᵢ): `shared` gives its test that level, which its sentence names and its bets aim at. `combine` adds what no
guardrail shows alone: several with some evidence each.

The price is ln 1/wᵢ nats: with five guardrails of equal weight a harm that one of them sees takes (ln 50 + ln 5)/ln 50,
1.4 times as long. The alternative, 1/50 for each, is wrong in up to 1 − 0.98⁵ = 10 % of harmless rollouts. The tests
measure both.

A guardrail that may pause but not roll back adds to what pauses and not to what rolls back: in company it must not do
what it may not do alone. The sum of the others is an e-process of its own, with the same bound.

Where the guardrails change on the way, as when a plan in flight is revised, their evidence goes on, and what is right
at any α stays right (`judging.cut`). Only the weights must not follow what was seen. `tools.rollouts.preparing` never
raises one, so that the sum drops or stays when others share the level; k guardrails more among m then start with
k/m more, whoever chose them and why, and the chance of a false rollback is at most α·(1 + k/m).

Promotion needs a proof from every guardrail; that takes no correction, as all of them must err together or not at all.

What has a level of its own (a sample ratio) has the weight 0: its verdict stands as it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from tools.gates.ceiling import CeilingTest
from tools.gates.counts import CountTest
from tools.gates.judging import BadTest
from tools.gates.latency import LatencyTest
from tools.gates.means import MeanTest
from tools.gates.verdict import Harm, Outcome, Verdict, amount, worst
from tools.gates.wealth import LARGEST_LOG_E

ALPHA_PAUSE, ALPHA_ROLLBACK = 0.05, 0.02
SMALLEST_ALPHA = 1e-6


AnyTest = TypeVar("AnyTest", CountTest, CeilingTest, MeanTest, LatencyTest)


@dataclass(frozen=True)
class Combined:
    """A gate's verdict, its guardrails' in their order, and its evidence of harm Σ wᵢ·Eᵢ."""

    verdict: Verdict
    by_guardrail: tuple[Verdict, ...]
    harm_e: float


def shared(test: AnyTest, weight: float) -> AnyTest:
    """`test` with its part of the gate's levels of harm, which are the test's own as they stand. Raises BadTest."""
    _check_weights([weight])
    if not weight:
        return test
    return replace(
        test,
        alpha_pause=max(test.alpha_pause * weight, SMALLEST_ALPHA),
        alpha_rollback=max(test.alpha_rollback * weight, SMALLEST_ALPHA),
    )


def combine(
    verdicts: Sequence[Verdict],
    weights: Sequence[float],
    *,
    rolls_back: Sequence[bool] | None = None,
    alpha_pause: float = ALPHA_PAUSE,
    alpha_rollback: float = ALPHA_ROLLBACK,
) -> Combined:
    """What the guardrails' verdicts say together; each must come from a test with its `shared` levels.

    `weights` are at least 0 and add up to 1 at most; they must not depend on what was seen. `rolls_back` says which of
    the guardrails may roll back, all unless given.

    Where the sum proves what no guardrail proves alone, the foremost of those that may roll back fails in the name of
    all. Where it suspects what none does, all suspect it whose own evidence speaks of harm: whoever accepts that has
    accepted it for each. Raises BadTest for weights that don't fit, ValueError without verdicts.
    """
    failing = [True] * len(verdicts) if rolls_back is None else list(rolls_back)
    if not len(verdicts) == len(weights) == len(failing):
        raise BadTest(f"{len(verdicts)} guardrails need as many weights, not {len(weights)}.")
    _check_weights(weights)
    # Beyond what rolls back alone, evidence counts no further.
    parts = [
        min(weight * verdict.harm_e, 1 / alpha_rollback) if weight else 0.0
        for verdict, weight in zip(verdicts, weights, strict=True)
    ]
    sharing = [index for index, weight in enumerate(weights) if weight]
    levels = f"it pauses from {1 / alpha_pause:.4g}, rolls back from {1 / alpha_rollback:.4g}"
    suspected = _told(verdicts, parts, sharing, Harm.SUSPECTED, 1 / alpha_pause, levels)
    rolling_back = [index for index in sharing if failing[index]]
    proven = _told(verdicts, parts, rolling_back, Harm.PROVEN, 1 / alpha_rollback, levels)
    judged = tuple({**dict(enumerate(verdicts)), **suspected, **proven}.values())
    return Combined(worst(judged), judged, min(sum(parts), math.exp(LARGEST_LOG_E)))


def _told(
    verdicts: Sequence[Verdict],
    parts: Sequence[float],
    those: Sequence[int],
    harm: Harm,
    level: float,
    levels: str,
) -> dict[int, Verdict]:
    """The verdicts that change, by their place, where `those` reach the level only together."""
    total = sum(parts[index] for index in those)
    if total < level or any(verdicts[index].harm.severity >= harm.severity for index in those):
        return {}
    foremost, found = max(those, key=parts.__getitem__), dict[int, Verdict]()
    for index in those:
        first = index == foremost
        if first or (harm is Harm.SUSPECTED and verdicts[index].harm_e > 1):
            by = f"{len(those)} guardrails together{', this one foremost' if first else ''}"
            found[index] = _raised(verdicts[index], harm, f"{by}: their evidence of harm is {amount(total)}; {levels}")
    return found


def _raised(verdict: Verdict, harm: Harm, by: str) -> Verdict:
    if harm is Harm.PROVEN:
        why = f"Proven harmful by {by}. {verdict.why}"
        return replace(verdict, outcome=Outcome.FAIL, harm=harm, no_data=None, why=why)
    outcome = Outcome.INCONCLUSIVE if verdict.outcome is Outcome.PASS else verdict.outcome
    return replace(verdict, outcome=outcome, harm=harm, why=f"Harm suspected by {by}. {verdict.why}")


def _check_weights(weights: Sequence[float]) -> None:
    if not all(0 <= weight <= 1 for weight in weights):
        raise BadTest(f"A guardrail's weight must lie between 0 and 1, not {', '.join(map(str, weights))}.")
    if sum(weights) > 1 + 1e-9:
        raise BadTest(f"The guardrails' weights add up to {sum(weights):g}, more than 1: they share one level.")

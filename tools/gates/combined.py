"""Several guardrails, one gate: the chance of a false rollback is the gate's, not each guardrail's.

Harm. With weights wᵢ that add up to 1, Σ wᵢ·Eᵢ is an e-process whatever the guardrails have to do with each other, so
that the gate is wrong with chance α at most when it rolls back from Σ wᵢ·Eᵢ ≥ 1/α (Vovk and Wang, "E-values:
calibration, combination and applications", Annals of Statistics 2021). A guardrail alone then rolls back from
Eᵢ ≥ 1/(α·wᵢ): `shared` gives its test that level, which its sentence names and its bets aim at. `combine` adds what no
guardrail shows alone: several with some evidence each.

The price is ln 1/wᵢ nats: with five guardrails of equal weight a harm that one of them sees takes (ln 50 + ln 5)/ln 50,
1.4 times as long. The alternative, 1/50 for each, is wrong in up to 1 − 0.98⁵ = 10 % of harmless rollouts. The tests
measure both.

Promotion needs a proof from every guardrail; that takes no correction, as all of them must err together or not at all.

What is judged by a rule and not by chance (burn rates, a sample ratio with a level of its own) has the weight 0: its
verdict stands as it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from tools.gates.budget import BudgetTest
from tools.gates.ceiling import CeilingTest
from tools.gates.counts import CountTest
from tools.gates.judging import BadTest
from tools.gates.latency import LatencyTest
from tools.gates.means import MeanTest
from tools.gates.verdict import Harm, Outcome, Verdict, amount, worst
from tools.gates.wealth import LARGEST_LOG_E

ALPHA_PAUSE, ALPHA_ROLLBACK = 0.05, 0.02
SMALLEST_ALPHA = 1e-6


AnyTest = TypeVar("AnyTest", CountTest, CeilingTest, MeanTest, LatencyTest, BudgetTest)


@dataclass(frozen=True)
class Combined:
    """A gate's verdict, its guardrails' in their order, and its evidence of harm Σ wᵢ·Eᵢ."""

    verdict: Verdict
    by_guardrail: tuple[Verdict, ...]
    harm_e: float


def equal_weights(guardrails: int) -> tuple[float, ...]:
    """The same weight for each of them."""
    return (1 / guardrails,) * guardrails


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
    alpha_pause: float = ALPHA_PAUSE,
    alpha_rollback: float = ALPHA_ROLLBACK,
) -> Combined:
    """What the guardrails' verdicts say together; each must come from a test with its `shared` levels.

    `weights` are at least 0 and add up to 1 at most; they must not depend on what was seen. Where the sum reaches a
    level that no guardrail reaches alone, the one that adds most is raised to it, and its sentence says why: it
    suspects harm or fails in the name of all. Raises BadTest for weights that don't fit, ValueError without verdicts.
    """
    if len(verdicts) != len(weights):
        raise BadTest(f"{len(verdicts)} guardrails need as many weights, not {len(weights)}.")
    _check_weights(weights)
    # Beyond what rolls back alone, evidence counts no further.
    parts = [
        min(weight * verdict.harm_e, 1 / alpha_rollback) if weight else 0.0
        for verdict, weight in zip(verdicts, weights, strict=True)
    ]
    total = sum(parts)
    level = _level(total, alpha_pause, alpha_rollback)
    weighty = [verdict for verdict, weight in zip(verdicts, weights, strict=True) if weight]
    judged = list(verdicts)
    if weighty and level.severity > max(verdict.harm.severity for verdict in weighty):
        leader = max(range(len(parts)), key=parts.__getitem__)
        judged[leader] = _raised(verdicts[leader], level, total, len(weighty), alpha_pause, alpha_rollback)
    return Combined(worst(judged), tuple(judged), min(total, math.exp(LARGEST_LOG_E)))


def _level(total: float, alpha_pause: float, alpha_rollback: float) -> Harm:
    if total >= 1 / alpha_rollback:
        return Harm.PROVEN
    return Harm.SUSPECTED if total >= 1 / alpha_pause else Harm.NONE


def _raised(
    verdict: Verdict, level: Harm, total: float, guardrails: int, alpha_pause: float, alpha_rollback: float
) -> Verdict:
    claim = "Proven harmful" if level is Harm.PROVEN else "Harm suspected"
    why = (
        f"{claim} by {guardrails} guardrails together, this one foremost: their evidence of harm is {amount(total)}; "
        f"it pauses from {1 / alpha_pause:.4g}, rolls back from {1 / alpha_rollback:.4g}. {verdict.why}"
    )
    if level is Harm.PROVEN:
        return replace(verdict, outcome=Outcome.FAIL, harm=level, no_data=None, why=why)
    outcome = Outcome.INCONCLUSIVE if verdict.outcome is Outcome.PASS else verdict.outcome
    return replace(verdict, outcome=outcome, harm=level, why=why)


def _check_weights(weights: Sequence[float]) -> None:
    if not all(0 <= weight <= 1 for weight in weights):
        raise BadTest(f"A guardrail's weight must lie between 0 and 1, not {', '.join(map(str, weights))}.")
    if sum(weights) > 1 + 1e-9:
        raise BadTest(f"The guardrails' weights add up to {sum(weights):g}, more than 1: they share one level.")

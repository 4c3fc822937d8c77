"""What a guardrail counts as while an approver's acceptance of what it finds holds. Pure.

An acceptance is about the comparison and nothing else: suspected and proven harm of that metric, and the missing proof
of its safety. What is far worse fails all the same, and so does a fast burn of its error budget; blindness, the bake
time, the minimum sample, burn-in and a shared incident count as ever. The evidence itself is not touched, so that all
of it counts again once the acceptance is over.

Whether treatment is far worse is asked with evidence of its own, from the acceptance on: what was accepted was known
then. Each acceptance begins anew, so each adds its part of the gate's level to the chance of a false rollback.
"""

from dataclasses import replace
from typing import Any

from tools.clock import written
from tools.gates import BadEvidence, Harm, Outcome, Verdict
from tools.metrics.base import Sample
from tools.rollouts import judging
from tools.rollouts.checks import GuardrailInput

NOTHING = Sample(exposures=0)


def watch(item: GuardrailInput, control: Sample, treatment: Sample) -> tuple[Verdict, dict[str, Any]]:
    """Whether treatment is far worse by now, and the evidence to carry on."""
    assert item.accepted is not None
    kept = item.carried.get("far") if item.carried else None
    same = isinstance(kept, dict) and kept.get("acceptance") == item.accepted.id and kept.get("key") == item.key
    stored = kept["evidence"] if same and kept is not None else None

    def judged(stored: dict[str, Any] | None) -> tuple[Verdict, dict[str, Any]]:
        return judging.judge_far(
            item.numbers,
            item.guardrail,
            item.ceiling if item.whole else None,
            control,
            treatment,
            stored,
            minutes=item.minutes,
            weight=item.weight,
        )

    try:
        verdict, evidence = judged(stored)
    except BadEvidence:
        verdict, evidence = judged(None)
    return verdict, {"acceptance": item.accepted.id, "key": item.key, "evidence": evidence}


def graver(item: GuardrailInput, judged: Verdict, far: Verdict, budget: dict[str, Any] | None) -> Verdict | None:
    """The failure that no acceptance covers, if there is one; `judged` is what the comparison shows."""
    if far.harm is Harm.PROVEN:
        margin = judging.far_margin(item.numbers, item.guardrail)
        why = f"Far worse than what was accepted, by more than ×{margin:g}. {judged.why}"
        return replace(judged, outcome=Outcome.FAIL, harm=Harm.PROVEN, no_data=None, why=why)
    if budget is None or item.numbers.objective is None:
        return None
    # Asked of a verdict that has not failed yet, for one that has hides what the budget says.
    open_still = replace(judged, outcome=Outcome.INCONCLUSIVE)
    found, _ = judging.weigh_budget(
        open_still, item.numbers.objective, item.guardrail, NOTHING, budget, minutes=0, compared=not item.whole
    )
    return found if found.outcome is Outcome.FAIL else None


def overrule(item: GuardrailInput, judged: Verdict) -> Verdict:
    """What the comparison shows, as if it had proven that all is well."""
    assert item.accepted is not None
    why = f"Accepted until {written(item.accepted.until)}, so this holds nothing. {judged.why}"
    return replace(judged, outcome=Outcome.PASS, harm=Harm.NONE, why=why)


def of_split(item: GuardrailInput, verdict: Verdict) -> Verdict:
    """The same for how users are split, where only a mismatch can be accepted."""
    if item.accepted is None or verdict.harm is Harm.NONE:
        return verdict
    accepted = overrule(item, verdict)
    return replace(accepted, outcome=verdict.outcome) if verdict.no_data is not None else accepted

"""After an outage that both arms had, harm is found as if there had been none."""

import numpy as np
import pytest

from tests.unit.rollouts.gatehouse import Gatehouse, rate, stage_of
from tools.gates import Outcome
from tools.plans.model import Expected, Guardrail

REQUESTS, RATE = (2850, 150), 0.005
CALM, OUTAGE, HARM = 30, 30, 60
"""Minutes of each; the outage comes and goes, from 5 to 50 % of both arms' requests."""


@pytest.mark.parametrize("made_for", [(), (Expected(metric="errors", base_rate=RATE, quietest=2500, busiest=3500),)])
async def test_a_shared_outage_does_not_hide_the_harm_that_comes_after_it(made_for: tuple[Expected, ...]) -> None:
    rng = np.random.default_rng(11)
    rail = Guardrail(metric="errors", margin=2.0)
    gate = Gatehouse.of([rate("errors")], stage_of(5, rail, bake=86_400), expected=made_for)
    for minute in range(CALM + OUTAGE + HARM):
        failing = rng.uniform(0.05, 0.5) if CALM <= minute < CALM + OUTAGE else RATE
        rates = failing, failing * (5 if minute >= CALM + OUTAGE else 1)
        counts = [(one, int(rng.binomial(one, part))) for one, part in zip(REQUESTS, rates, strict=True)]
        found = await gate.look({"errors": tuple(counts)})
        gate.forget()
        if minute < CALM + OUTAGE:
            assert found.verdict.outcome is not Outcome.FAIL
        elif found.verdict.outcome is Outcome.FAIL:
            return
    pytest.fail(f"five times control's errors for {HARM} minutes, and {found.verdict.why}")

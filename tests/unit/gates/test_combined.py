"""Several guardrails together: what the gate says, how often it is wrong, and what that costs in time."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.gates import (
    BadTest,
    CountEvidence,
    Counts,
    CountTest,
    Direction,
    Harm,
    NoData,
    Outcome,
    Verdict,
    judge,
    no_data,
    update,
)
from tools.gates import error as error_verdict
from tools.gates.assignment import AssignmentEvidence, AssignmentTest
from tools.gates.assignment import judge as judge_assignments
from tools.gates.assignment import update as update_assignments
from tools.gates.combined import combine, shared
from tools.gates.judging import harm_prior
from tools.gates.means import MeanTest
from tools.gates.wealth import Floats, advance, log_total

ERRORS = CountTest(Direction.INCREASE, 2.0)
FIVE = (1 / 5,) * 5


def guardrail(harm_e: float, weight: float = 0.2, outcome: Outcome = Outcome.INCONCLUSIVE) -> Verdict:
    """A verdict as a test with shared levels gives it."""
    harm = Harm.PROVEN if harm_e >= 50 / weight else Harm.SUSPECTED if harm_e >= 20 / weight else Harm.NONE
    outcome = Outcome.FAIL if harm is Harm.PROVEN else Outcome.INCONCLUSIVE if harm is Harm.SUSPECTED else outcome
    return Verdict(outcome, f"evidence {harm_e:g}.", harm=harm, harm_e=harm_e)


def test_a_guardrail_gets_its_part_of_the_level() -> None:
    test = shared(ERRORS, 0.2)
    assert [test.alpha_pause, test.alpha_rollback] == pytest.approx([0.01, 0.004])
    assert replace(test, alpha_pause=ERRORS.alpha_pause, alpha_rollback=ERRORS.alpha_rollback) == ERRORS
    revenue = shared(MeanTest(Direction.DECREASE, 100.0), 0.5)
    assert (revenue.alpha_rollback, revenue.alpha_safe) == (0.01, 0.05)
    assert shared(ERRORS, 0.0) is ERRORS
    assert shared(ERRORS, 1e-9).alpha_rollback == 1e-6
    evidence = CountEvidence.start(test)
    for _ in range(12):
        evidence = update(test, evidence, Counts(950, 5), Counts(50, 2))
    found = judge(test, evidence)
    assert "pauses from 100, rolls back from 250" in found.why
    assert (found.pause_from, found.rollback_from) == (100, 250)


def test_all_must_pass_to_promote() -> None:
    passed = guardrail(0.5, outcome=Outcome.PASS)
    assert combine([passed] * 5, FIVE).verdict.outcome is Outcome.PASS
    assert combine([passed] * 4 + [guardrail(0.5)], FIVE).verdict.outcome is Outcome.INCONCLUSIVE
    assert combine([passed] * 4 + [no_data(NoData.STALE, "stale")], FIVE).verdict.outcome is Outcome.NO_DATA
    assert combine([passed] * 4 + [error_verdict("broken")], FIVE).verdict.outcome is Outcome.ERROR


def test_one_guardrail_fails_the_gate_alone_from_its_own_level() -> None:
    below, above = (
        combine([guardrail(240), *[guardrail(0.1)] * 4], FIVE),
        combine([guardrail(251), *[guardrail(0.1)] * 4], FIVE),
    )
    assert (below.verdict.outcome, below.verdict.harm) == (Outcome.INCONCLUSIVE, Harm.SUSPECTED)
    assert above.verdict.outcome is Outcome.FAIL
    assert above.verdict == above.by_guardrail[0]


def test_several_together_fail_where_none_does_alone() -> None:
    together = combine(
        [guardrail(70, outcome=Outcome.PASS), guardrail(90), guardrail(60), guardrail(40), guardrail(1)], FIVE
    )
    assert together.harm_e == pytest.approx(52.2)
    assert [verdict.harm for verdict in together.by_guardrail].count(Harm.PROVEN) == 1
    assert together.by_guardrail[1].outcome is Outcome.FAIL
    assert together.verdict.why.startswith(
        "Proven harmful by 5 guardrails together, this one foremost: their evidence of harm is 52.2; it pauses from "
        "20, rolls back from 50. evidence 90."
    )
    assert [verdict.harm for verdict in together.by_guardrail[2:]] == [Harm.SUSPECTED, Harm.SUSPECTED, Harm.NONE]
    suspected = combine([guardrail(60, outcome=Outcome.PASS), guardrail(45)] + [guardrail(1)] * 3, FIVE)
    assert (suspected.verdict.outcome, suspected.verdict.harm) == (Outcome.INCONCLUSIVE, Harm.SUSPECTED)
    assert suspected.by_guardrail[0].outcome is Outcome.INCONCLUSIVE
    assert [verdict.harm for verdict in suspected.by_guardrail[:3]] == [Harm.SUSPECTED, Harm.SUSPECTED, Harm.NONE]


def test_what_may_only_pause_adds_nothing_to_a_rollback() -> None:
    found = [guardrail(200), guardrail(60), guardrail(60), guardrail(1), guardrail(1)]
    assert combine(found, FIVE).verdict.outcome is Outcome.FAIL
    paused = combine(found, FIVE, rolls_back=[False, True, True, True, True])
    assert (paused.verdict.outcome, paused.verdict.harm) == (Outcome.INCONCLUSIVE, Harm.SUSPECTED)
    # What it proves alone does not hide what the others prove together.
    found = [guardrail(300), guardrail(140), guardrail(140), guardrail(1), guardrail(1)]
    alone = combine(found, FIVE, rolls_back=[False, True, True, True, True])
    assert [verdict.harm for verdict in alone.by_guardrail[:2]] == [Harm.PROVEN, Harm.PROVEN]
    assert alone.by_guardrail[1].why.startswith("Proven harmful by 4 guardrails together")


def test_weights_say_who_matters() -> None:
    weights = 0.6, 0.1, 0.1, 0.1, 0.1
    quick = [guardrail(90, 0.6), *[guardrail(0.1, 0.1)] * 4]
    assert quick[0].outcome is Outcome.FAIL
    assert combine(quick, weights).verdict.outcome is Outcome.FAIL
    assert combine([guardrail(90), *[guardrail(0.1)] * 4], FIVE).verdict.outcome is Outcome.INCONCLUSIVE


def test_what_is_judged_by_a_rule_stands_and_adds_nothing() -> None:
    burnt = Verdict(Outcome.FAIL, "The budget burns.", harm=Harm.PROVEN, harm_e=3.0)
    assert combine([burnt, guardrail(1, 1.0)], (0.0, 1.0)).verdict.why == "The budget burns."
    evidence = update_assignments(AssignmentEvidence(), 0.1, 90_000, 8_000)
    mismatch = judge_assignments(AssignmentTest(), evidence)
    assert mismatch.harm_e > 1e6
    assert (mismatch.pause_from, mismatch.rollback_from) == (1000, None)
    paused = combine([mismatch, guardrail(1, 1.0, Outcome.PASS)], (0.0, 1.0))
    assert (paused.verdict.outcome, paused.verdict.harm) == (Outcome.INCONCLUSIVE, Harm.SUSPECTED)
    assert paused.harm_e == 1
    assert combine([burnt], (0.0,)).verdict is burnt


def test_blindness_does_not_hide_what_all_show() -> None:
    blind = replace(no_data(NoData.STALE, "No data."), harm_e=90.0)
    found = combine([blind, guardrail(80), guardrail(85), guardrail(1), guardrail(1)], FIVE)
    assert found.verdict.outcome is Outcome.FAIL
    assert found.verdict.no_data is None


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ((0.5, 0.6), "more than 1"),
        ((-0.1, 0.5), "between 0 and 1"),
        ((math.nan, 0.5), "between 0 and 1"),
        ((1.0,), "need as many weights"),
    ],
)
def test_senseless_weights_are_refused(weights: tuple[float, ...], words: str) -> None:
    with pytest.raises(BadTest, match=words):
        combine([guardrail(1)] * 2, weights)


def test_a_gate_without_guardrails_has_no_verdict() -> None:
    with pytest.raises(ValueError, match="without guardrails"):
        combine([], [])
    with pytest.raises(BadTest):
        shared(ERRORS, 1.5)


@st.composite
def gates(draw: st.DrawFn) -> tuple[list[Verdict], list[float]]:
    raw = draw(st.lists(st.floats(0, 1), min_size=1, max_size=8))
    weights = [part / max(sum(raw), 1e-3) for part in raw]
    kinds = st.sampled_from([Outcome.PASS, Outcome.INCONCLUSIVE])
    found = [guardrail(draw(st.floats(0, 1e12)), max(weight, 1e-9), draw(kinds)) for weight in weights]
    return found, weights


@given(gates())
def test_combining_only_ever_adds_to_harm(gate: tuple[list[Verdict], list[float]]) -> None:
    verdicts, weights = gate
    found = combine(verdicts, weights)
    pairs = list(zip(found.by_guardrail, verdicts, strict=True))
    assert all(after.outcome.severity >= before.outcome.severity for after, before in pairs)
    assert all(after.harm.severity >= before.harm.severity for after, before in pairs)
    assert sum(after.outcome is Outcome.FAIL and after != before for after, before in pairs) <= 1
    assert 0 <= found.harm_e < math.inf
    if found.verdict.outcome is Outcome.PASS:
        assert all(verdict.outcome is Outcome.PASS for verdict in verdicts)
        assert found.harm_e < 20
    if found.harm_e > 50 + 1e-6:
        assert found.verdict.outcome is Outcome.FAIL
    assert Verdict.from_json(found.verdict.to_json()) == found.verdict


def e_values(rng: np.random.Generator, streams: int, intervals: int, drift: float, dependence: float) -> Floats:
    """E-processes of five guardrails over time, (streams, 5, intervals).

    Each bets on the drift of a normal sum, of which a doubling would be `drift` 1; the first one drifts. `dependence`
    is the part that all share.
    """
    prior = harm_prior(2.0)
    bets, variance = np.log(prior.factors), 0.15
    own, common = rng.standard_normal((2, streams, 5, intervals))
    noise = math.sqrt(1 - dependence) * own + math.sqrt(dependence) * common[:, :1]
    sums = math.sqrt(variance) * noise
    sums[:, 0] += drift * math.log(2) * variance
    started = np.tile(prior.log_weights + np.log(prior.at_once), (streams, 5, 1))
    reserve, clock = np.full((streams, 5), np.log1p(-prior.at_once)), np.zeros((streams, 5))
    found = np.empty(sums.shape)
    for interval in range(intervals):
        log_lr = bets * sums[..., interval, None] - bets**2 * variance / 2
        started, reserve, clock = advance(prior, started, reserve, clock, log_lr, np.ones_like(clock))
        found[..., interval] = np.exp(np.minimum(log_total(started, reserve), 27))
    return found


def first(reached: Any) -> Floats:
    """The 1-based interval from which each stream's gate fails, infinity without one."""
    return np.where(reached.any(axis=-1), reached.argmax(axis=-1) + 1.0, np.inf)


@pytest.mark.parametrize("dependence", [0.0, 0.9])
def test_the_gate_keeps_its_level_where_five_levels_do_not(dependence: float) -> None:
    found = e_values(np.random.default_rng(1), 1500, 500, drift=0.0, dependence=dependence)
    each, gate = np.isfinite(first(found.max(axis=1) >= 50)).mean(), np.isfinite(first(found.mean(axis=1) >= 50)).mean()
    allowed = 3 * math.sqrt(0.02 * 0.98 / 1500)
    assert gate <= 0.02 + allowed
    assert gate < each
    if not dependence:
        assert each > 0.02 + allowed


def test_the_price_is_what_the_weights_say() -> None:
    found = e_values(np.random.default_rng(2), 400, 900, drift=1.0, dependence=0.0)
    alone, gate = first(found[:, 0] >= 50), first(found.mean(axis=1) >= 50)
    assert np.isfinite(gate).all()
    assert 1.2 < gate.mean() / alone.mean() < (math.log(50) + math.log(5)) / math.log(50) + 0.05

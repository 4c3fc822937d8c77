"""What a gate waits for and how long that takes: as the gate itself then does, and never a promise it can't keep."""

import math
import random
import statistics
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from tests.unit.rollouts.world import ERRORS, RAIL, SAM, World, make_plan, stage
from tools.gates import (
    CeilingEvidence,
    CeilingTest,
    CountEvidence,
    Counts,
    CountTest,
    Direction,
    Minutes,
    Outcome,
    assignment,
    error,
    judge,
    judge_ceiling,
    update,
    update_ceiling,
)
from tools.metrics.base import Sample, together
from tools.metrics.catalogue import MetricKind
from tools.plans.model import Guardrail
from tools.rollouts import judging
from tools.rollouts.expectation import Awaited, Expectation, Pace, Timing, expect, expectations, outlook
from tools.rollouts.judging import Numbers
from tools.rollouts.phases import Phase

GOOD = {"old": (950, 19), "new": (50, 1)}
ORDERS = Guardrail(metric="orders", direction=Direction.DECREASE, margin=1.5, min_sample=1)


def sample(counts: Counts) -> Sample:
    """As a source answers them."""
    return Sample(counts.exposures, counts.events)


def _binomial(rng: random.Random, number: int, rate: float) -> int:
    """Roughly: normal, rounded, never out of range."""
    mean, spread = number * rate, (number * rate * (1 - rate)) ** 0.5
    return min(number, max(0, round(rng.gauss(mean, spread))))


@pytest.mark.parametrize(
    ("rail", "rate", "ratio"),
    [
        (RAIL.model_copy(update={"min_sample": 1}), 0.02, 1.0),
        (RAIL.model_copy(update={"min_sample": 1}), 0.02, 1.3),
        (ORDERS, 0.02, 1.0),
    ],
)
def test_the_time_to_proof_is_about_what_the_test_then_takes(rail: Guardrail, rate: float, ratio: float) -> None:
    rng, test = random.Random(5), CountTest(rail.direction, rail.margin)
    nine_in_ten, ratios = 0, []
    for _ in range(60):
        evidence = CountEvidence.start(test)
        minute, foretold = 0, None
        total = Counts(0, 0), Counts(0, 0)
        while judge(test, evidence).outcome is not Outcome.PASS if minute else True:
            minute += 1
            control, treatment = (
                Counts(4000, _binomial(rng, 4000, rate)),
                Counts(200, _binomial(rng, 200, rate * ratio)),
            )
            evidence = update(test, evidence, control, treatment)
            total = total[0] + control, total[1] + treatment
            if minute == 5:
                verdict = judge(test, evidence)
                if verdict.outcome is Outcome.PASS:
                    break
                pace = Pace(5, sample(total[1]), sample(total[0]))
                foretold = expect(Awaited(rail, verdict, pace, 1000, evidence=evidence.to_json())).wait
            if minute > 400:
                break
        if foretold is not None:
            # What is through amid a minute is seen at its end.
            ratios.append((minute - 5) / (foretold.median + 0.5))
            nine_in_ten += minute - 5 <= foretold.p90
    assert 0.5 < statistics.median(ratios) < 2
    assert nine_in_ten >= 0.75 * len(ratios)


def test_at_100_percent_the_ceiling_stands_in_for_control() -> None:
    rng, test = random.Random(3), CeilingTest(Direction.INCREASE, 0.04)
    evidence, minute = CeilingEvidence.start(test), 0
    total, foretold = Counts(0, 0), None
    while minute < 400 and (not minute or judge_ceiling(test, evidence).outcome is not Outcome.PASS):
        minute += 1
        counted = Counts(100, _binomial(rng, 100, 0.02))
        evidence, total = update_ceiling(test, evidence, counted), total + counted
        if minute == 2:
            pace, verdict = Pace(2, sample(total), Sample(0)), judge_ceiling(test, evidence)
            foretold = expect(Awaited(RAIL, verdict, pace, 99, True, 0.04, evidence=evidence.to_json())).wait
    assert foretold is not None
    assert foretold.median / 3 < minute < foretold.p90 * 3


def _verdict(treatment: Counts, control: Counts, margin: float = 2.0) -> Awaited:
    test = CountTest(Direction.INCREASE, margin)
    evidence = update(test, CountEvidence.start(test), control, treatment)
    rail = RAIL.model_copy(update={"min_sample": 5000, "margin": margin})
    pace = Pace(10, sample(treatment), sample(control))
    return Awaited(rail, judge(test, evidence), pace, treatment.exposures, evidence=evidence.to_json())


def test_a_sample_that_is_missing_is_waited_for_at_the_present_pace() -> None:
    waiting = expect(_verdict(Counts(1000, 20), Counts(20_000, 400)))
    assert waiting.wait is not None
    assert waiting.wait.median >= 40
    assert "4,000 more of 5,000 exposures, about 40 min" in waiting.why


def test_what_is_beyond_the_margin_is_not_promised() -> None:
    worse = expect(_verdict(Counts(100, 6), Counts(2000, 20), margin=1.5))
    assert worse.wait is None
    assert "not within the margin ×1.5" in worse.why


def test_silence_and_blindness_are_not_promised() -> None:
    silent = _verdict(Counts(100, 2), Counts(2000, 40))
    silent = Awaited(silent.guardrail, silent.verdict, Pace(10, Sample(0), Sample(0)), 100)
    assert expect(silent).wait is None
    assert "nothing was counted" in expect(silent).why
    blind = Awaited(RAIL, error("The source is down."), silent.pace, 0)
    assert expect(blind) == Expectation(ERRORS, None, f"{ERRORS} waits for data: The source is down.")


PROVEN = Expectation("a", Minutes(0, 0), "a is proven safe.")
SOON = Expectation("b", Minutes(20, 50), "b takes a while.")
NEVER = Expectation("c", None, "c waits for data.")


@pytest.mark.parametrize(
    ("expected", "timing", "last"),
    [
        ([PROVEN], Timing(timedelta(minutes=9), timedelta(hours=2)), "At this pace the gate passes in about 9 min."),
        ([PROVEN, SOON], Timing(timedelta(0), None), "the gate passes in about 20 min (9 of 10 within 50 min)."),
        ([SOON], Timing(timedelta(0), timedelta(minutes=30)), "Its limit comes in 30 min: then it pauses and asks"),
        ([SOON, NEVER], Timing(timedelta(0), timedelta(hours=3)), "As things are the gate does not pass. Its limit"),
        ([SOON], Timing(None, None), "still being confirmed"),
    ],
)
def test_the_gate_waits_for_the_slowest(expected: list[Expectation], timing: Timing, last: str) -> None:
    lines = outlook(Phase.PROGRESSING, expected, timing)
    assert lines[: len(expected)] == [one.why for one in expected]
    assert last in lines[-1]


def test_a_paused_gate_and_one_that_waits_for_people_promise_nothing() -> None:
    timing = Timing(timedelta(0), timedelta(hours=1))
    assert outlook(Phase.PAUSED, [SOON], timing)[-1].startswith("It is paused")
    assert outlook(Phase.WAITING_PROMOTION, [SOON], timing)[-1] == "It waits for people."


async def test_a_running_rollout_tells_what_it_waits_for(world: World) -> None:
    view = await world.proposed()
    assert await expectations(world.database, view, now=world.clock.now()) == []
    assert view.approval is not None
    await world.service.cancel(view.id, actor=SAM, reason="again")
    view = await world.started(make_plan(stage(5, bake=300), stage(25), stage(100)))
    view = await world.live(view.id, 1, **GOOD)
    early = await expectations(world.database, view, now=world.clock.now())
    assert any("about 5 min" in line or "290 s" in line or "4.8 min" in line for line in early)
    view = await world.live(view.id, 15, **GOOD)
    lines = await expectations(world.database, view, now=world.clock.now())
    assert f"{ERRORS} is proven safe." in lines
    assert lines[-1] == "At this pace the gate passes in about 2.3 min."
    view = await world.live(view.id, 15, **GOOD)
    assert view.stage == 1, "and so it did"


async def test_while_it_burns_in_that_is_said(world: World) -> None:
    view = await world.started(make_plan(stage(5), stage(100), burn_in=timedelta(minutes=10)))
    view = await world.live(view.id, 6, **GOOD)
    lines = await expectations(world.database, view, now=world.clock.now())
    assert "burns in for 9 min more" in lines[0]


EDGES = (0.05, 0.1, 0.2, 0.4)
REVENUE, LATENCY = Numbers(kind=MetricKind.MEAN, cap=100.0), Numbers(kind=MetricKind.LATENCY, buckets=EDGES, sums=True)
OF_REVENUE = Guardrail(metric="revenue", direction=Direction.DECREASE, margin=1.05, min_sample=200)
OF_LATENCY = Guardrail(metric="latency", margin=1.1, min_sample=200)


def drawn(rng: np.random.Generator, numbers: Numbers, requests: int, factor: float = 1.0) -> Sample:
    """A minute of one arm."""
    if numbers.kind is MetricKind.MEAN:
        values = np.minimum(rng.lognormal(3.0, 0.5, requests) * factor, 100.0)
        return Sample(requests, 0, float(values.sum()), float((values**2).sum()))
    took = rng.lognormal(-2.5, 0.6, requests) * factor
    counts = np.bincount(np.searchsorted(EDGES, took), minlength=len(EDGES) + 1).tolist()
    return Sample(
        requests,
        0,
        float(took.sum()),
        float((took**2).sum()),
        tuple(zip((*EDGES, math.inf), counts, strict=True)),
    )


@pytest.mark.parametrize(("rail", "numbers"), [(OF_REVENUE, REVENUE), (OF_LATENCY, LATENCY)])
def test_the_time_to_proof_of_means_and_latencies_is_about_what_the_gate_then_takes(
    rail: Guardrail, numbers: Numbers
) -> None:
    rng, ratios, nine_in_ten = np.random.default_rng(6), [], 0
    for _ in range(60):
        minute, foretold, stored, verdict = 0, None, None, None
        arms: list[tuple[Sample, Sample]] = []
        while minute < 400 and (verdict is None or verdict.outcome is not Outcome.PASS):
            minute += 1
            arms.append((drawn(rng, numbers, 240), drawn(rng, numbers, 60)))
            verdict, stored = judging.judge(numbers, rail, *arms[-1], stored, minutes=1, burning_in=False)
            if minute == 5 and verdict.outcome is not Outcome.PASS:
                pace = Pace(5, together(arm for _, arm in arms), together(arm for arm, _ in arms))
                foretold = expect(Awaited(rail, verdict, pace, 10**6, numbers=numbers, evidence=stored)).wait
        if foretold is not None:
            ratios.append((minute - 5) / foretold.median)
            nine_in_ten += minute - 5 <= foretold.p90
    assert len(ratios) > 30
    assert 0.5 < statistics.median(ratios) < 2
    assert nine_in_ten >= 0.75 * len(ratios)


@pytest.mark.parametrize(
    ("rail", "numbers", "counted"), [(OF_REVENUE, REVENUE, "units"), (OF_LATENCY, LATENCY, "requests")]
)
def test_the_pace_is_said_in_what_is_counted(rail: Guardrail, numbers: Numbers, counted: str) -> None:
    rng = np.random.default_rng(8)
    arms = drawn(rng, numbers, 400), drawn(rng, numbers, 100)
    verdict, _ = judging.judge(numbers, rail, *arms, None, minutes=1, burning_in=False)
    awaited = Awaited(rail, replace(verdict, ratio=1.0), Pace(5, arms[1], arms[0]), 1000, numbers=numbers)
    assert f" at 100 {counted}/min " in expect(awaited).why


def test_a_mean_beyond_its_margin_waits_for_nothing() -> None:
    rng = np.random.default_rng(7)
    arms = drawn(rng, REVENUE, 8000), drawn(rng, REVENUE, 2000, 0.9)
    verdict, stored = judging.judge(REVENUE, OF_REVENUE, *arms, None, minutes=1, burning_in=False)
    held = replace(verdict, outcome=Outcome.INCONCLUSIVE)
    pace = Pace(5, arms[1], arms[0])
    found = expect(Awaited(OF_REVENUE, held, pace, 1000, numbers=REVENUE, evidence=stored))
    assert found.wait is None
    assert "is not within the margin ×1.05, so more data will not prove it" in found.why


def test_a_split_waits_until_a_mismatch_would_have_shown() -> None:
    test, numbers = assignment.AssignmentTest(), Numbers(kind=MetricKind.ASSIGNMENTS)
    rail = Guardrail(metric="split", of_split=True, min_sample=1)
    evidence, minutes = assignment.AssignmentEvidence(), 0.0
    for _ in range(10):
        evidence = assignment.update(evidence, 0.1, 900, 100)
    verdict = assignment.judge(test, evidence)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    wait = expect(Awaited(rail, verdict, Pace(10, Sample(1000), Sample(9000)), 1000, numbers=numbers)).wait
    assert wait is not None
    while assignment.judge(test, evidence).outcome is not Outcome.PASS:
        evidence, minutes = assignment.update(evidence, 0.1, 900, 100), minutes + 1
    assert minutes == pytest.approx(wait.median, abs=1)
    planned = expect(Awaited(rail, assignment.judge(test, evidence), Pace(0, Sample(0), Sample(0)), 0, numbers=numbers))
    assert (planned.wait, planned.why) == (Minutes(0, 0), "split is split as planned.")

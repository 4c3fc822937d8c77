import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tools.gates import (
    BadQuestion,
    Direction,
    StageLength,
    Traffic,
    Unprovable,
    information,
    minimum_sample,
    smallest_harm,
    stage_length,
    time_to_catch,
    time_to_prove,
)
from tools.gates.catching import FEW_COURSES, times_to_catch
from tools.gates.wealth import Floats
from tools.gates.workload import unevenness

SMALL = Traffic(600, 0.005, 0.05)
UP, DOWN = Direction.INCREASE, Direction.DECREASE


@pytest.mark.parametrize(("share", "nats"), [(0.05, 0.055), (0.2, 0.177)])
def test_information_of_a_doubling(share: float, nats: float) -> None:
    assert information(replace(SMALL, share=share), 2.0) == pytest.approx(nats, rel=0.02)


def test_information_grows_with_traffic_and_shrinks_with_bursts() -> None:
    assert information(replace(SMALL, requests_per_minute=6000), 2.0) == pytest.approx(10 * information(SMALL, 2.0))
    assert information(replace(SMALL, dispersion=5.0), 2.0) == pytest.approx(information(SMALL, 2.0) / 5)


@pytest.mark.parametrize("base_rate", [0.3, 0.6])
@pytest.mark.parametrize(("ratio", "null"), [(1.2, 1.0), (1 / 1.2, 1.0), (1.0, 1.2), (1.0, 1 / 1.2)])
def test_information_of_common_events_is_the_smallest_divergence(base_rate: float, ratio: float, null: float) -> None:
    traffic = Traffic(100, base_rate, 0.2)
    control = np.linspace(0.001, min(0.999, 0.999 / null), 200_000)
    smallest = min(20 * divergence(base_rate * ratio, null * control) + 80 * divergence(base_rate, control))
    assert information(traffic, ratio, null) == pytest.approx(smallest, rel=0.001)


def divergence(truth: float, null: Floats) -> Floats:
    """Of Bernoulli events, in nats."""
    return np.asarray(truth * np.log(truth / null) + (1 - truth) * np.log((1 - truth) / (1 - null)))


def test_evidence_of_rare_events_that_come_is_less_even_than_that_of_those_that_do_not() -> None:
    assert unevenness(SMALL, 1.01) == pytest.approx(1.0, abs=0.01)
    assert unevenness(SMALL, 4.0) > 1.3 > 1 / 1.3 > unevenness(SMALL, 0.25)
    assert unevenness(SMALL, 1.0, 0.25) > 1.3 > 1 / 1.3 > unevenness(SMALL, 1.0, 4.0)
    assert unevenness(SMALL, 1.7, 1.7) == 1.0


def test_the_truth_says_nothing_against_itself() -> None:
    assert information(SMALL, 1.7, 1.7) == 0.0


def test_worse_harms_are_caught_sooner() -> None:
    times = [time_to_catch(SMALL, UP, harm, check_minutes=0.05) for harm in (1.2, 1.5, 2.0, 5.0, 50.0)]
    assert [time.median for time in times] == sorted((time.median for time in times), reverse=True)
    assert all(time.median < time.p90 for time in times)


def test_a_wider_margin_is_proven_sooner_and_a_better_treatment_too() -> None:
    assert time_to_prove(SMALL, UP, 3.0).p90 < time_to_prove(SMALL, UP, 2.0).p90
    assert time_to_prove(SMALL, UP, 2.0, truth=0.5).p90 < time_to_prove(SMALL, UP, 2.0).p90
    assert time_to_prove(SMALL, DOWN, 1.25, truth=1.2).p90 < time_to_prove(SMALL, DOWN, 1.25).p90


@pytest.mark.parametrize("direction", [UP, DOWN])
def test_the_smallest_harm_is_just_caught_in_time(direction: Direction) -> None:
    traffic = replace(SMALL, share=0.2, base_rate=0.05)
    harm = smallest_harm(traffic, direction, 60)
    assert harm is not None
    ratios = [float(direction.away(np.array(factor))) for factor in (harm, harm - 0.03)]
    just, late = (times_to_catch(traffic, direction, ratio, 0.02, patience=60, courses=FEW_COURSES) for ratio in ratios)
    assert just.p90 <= 60 < late.p90


def test_no_harm_is_caught_where_traffic_is_too_thin() -> None:
    assert smallest_harm(Traffic(1, 0.001, 0.01), DOWN, 60) is None
    assert smallest_harm(Traffic(600, 0.9999, 0.05), UP, 60) is None


def test_the_minimum_sample_is_where_evidence_suffices_on_average() -> None:
    minutes = minimum_sample(SMALL, UP, 2.0) / (600 * 0.05)
    assert minutes * information(SMALL, 1.0, 2.0) == pytest.approx(math.log(20), rel=0.01)


def test_a_stage_that_fits_lasts_as_long_as_the_slower_question() -> None:
    stage = stage_length(SMALL, UP, margin=2.0, harm=2.0, budget_minutes=240)
    assert isinstance(stage, StageLength)
    assert stage.minutes == math.ceil(max(stage.catch.p90, stage.prove.p90))
    assert stage.exposures == stage.minutes * 30


def test_a_stage_that_does_not_fit_gets_offers_that_do() -> None:
    answer = stage_length(SMALL, UP, margin=2.0, harm=4.0, budget_minutes=60)
    assert isinstance(answer, Unprovable)
    assert answer.larger_share is not None
    assert answer.wider_margin is not None
    assert answer.smallest_harm is not None
    larger = replace(SMALL, share=answer.larger_share)
    fits = [
        stage_length(larger, UP, margin=2.0, harm=4.0, budget_minutes=60),
        stage_length(SMALL, UP, margin=2.0, harm=4.0, budget_minutes=answer.longer_minutes),
        stage_length(SMALL, UP, margin=answer.wider_margin, harm=4.0, budget_minutes=60),
    ]
    assert all(isinstance(stage, StageLength) for stage in fits)
    smaller = replace(SMALL, share=answer.larger_share - 0.01)
    assert isinstance(stage_length(smaller, UP, margin=2.0, harm=4.0, budget_minutes=60), Unprovable)
    assert f"harms from ×{answer.smallest_harm:g} are caught" in answer.why
    assert f"raise treatment's share to {answer.larger_share * 100:g} %" in answer.why
    assert f"widen the margin to ×{answer.wider_margin:g}" in answer.why


def test_a_wider_margin_is_not_offered_where_the_harm_itself_takes_too_long() -> None:
    answer = stage_length(SMALL, UP, margin=2.0, harm=1.5, budget_minutes=120)
    assert isinstance(answer, Unprovable)
    assert answer.wider_margin is None


def test_hopeless_traffic_gets_no_offer() -> None:
    answer = stage_length(Traffic(1, 0.001, 0.01), DOWN, margin=1.1, harm=1.1, budget_minutes=60)
    assert isinstance(answer, Unprovable)
    assert (answer.larger_share, answer.wider_margin, answer.smallest_harm) == (None, None, None)
    assert answer.why.startswith("This can't be proven with this traffic: 1 % of 1 requests a minute need over a year")
    assert answer.why.endswith("in which no harm is caught. Only more traffic would do.")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"requests_per_minute": 0}, "Requests per minute"),
        ({"requests_per_minute": float("inf")}, "Requests per minute"),
        ({"base_rate": 0.0}, "base rate"),
        ({"base_rate": 1.0}, "base rate"),
        ({"share": 1.0}, "leaving some control"),
        ({"dispersion": 0.9}, "dispersion"),
    ],
)
def test_senseless_traffic_is_refused(wrong: dict[str, float], words: str) -> None:
    with pytest.raises(BadQuestion, match=words):
        replace(SMALL, **wrong)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: time_to_catch(SMALL, UP, 1.0), "harm must be a factor"),
        (lambda: time_to_catch(replace(SMALL, base_rate=0.6), UP, 2.0), "can't become 2 times as high"),
        (lambda: time_to_catch(SMALL, UP, 2.0, alpha=0.0), "level"),
        (lambda: time_to_prove(SMALL, UP, 0.5), "margin must be a factor"),
        (lambda: time_to_prove(SMALL, UP, 2.0, truth=2.0), "not within the margin ×2"),
        (lambda: time_to_prove(SMALL, DOWN, 2.0, truth=0.4), "not within the margin ×0.5"),
        (lambda: time_to_prove(SMALL, UP, 2.0, truth=float("nan")), "not within the margin"),
        (lambda: smallest_harm(SMALL, UP, 0), "above 0 minutes"),
        (lambda: minimum_sample(SMALL, UP, 1.0), "margin must be a factor"),
        (lambda: stage_length(SMALL, UP, margin=2.0, harm=2.0, budget_minutes=-1), "above 0 minutes"),
    ],
)
def test_senseless_questions_are_refused(ask: Callable[[], Any], words: str) -> None:
    with pytest.raises(BadQuestion, match=words):
        ask()

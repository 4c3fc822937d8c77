"""What the calculators predict, held against the gates' own code on simulated streams."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from tests.benchmarks.gates import Rule
from tests.unit.gates import latencies
from tests.unit.gates.latencies import Service, log_normal
from tests.unit.gates.streams import World, simulate
from tests.unit.gates.test_simulation import answers, traffic_of
from tools.gates import (
    BadQuestion,
    CountTest,
    Direction,
    Minutes,
    StageLength,
    Unprovable,
    latency,
    means,
    minimum_sample,
    smallest_harm,
    stage_length,
    time_to_catch,
    time_to_prove,
)
from tools.gates.amounts import Amounts, LatencyTraffic, MeanTraffic
from tools.gates.calculators import Workload
from tools.gates.histograms import Histogram
from tools.gates.wealth import Floats

UP, DOWN = Direction.INCREASE, Direction.DECREASE
A_QUARTER = 0.25
HARM, SAFE = 50, 20
FINE = (*np.geomspace(10.0, 2000.0, 24).tolist(), math.inf)


def agree(found: Floats, predicted: Minutes) -> None:
    assert np.median(found) == pytest.approx(predicted.median, rel=A_QUARTER)
    assert np.quantile(found, 0.9) == pytest.approx(predicted.p90, rel=A_QUARTER)


def first(evidence: Floats, enough: float) -> Floats:
    """The first interval, from 1, with so much of it; (streams, intervals) give (streams,), infinity for none."""
    hit = evidence >= enough
    return np.where(hit.any(axis=1), hit.argmax(axis=1) + 1.0, np.inf)


# -- counts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base_rate", [0.3, 0.6])
@pytest.mark.parametrize("direction", [UP, DOWN])
def test_times_for_common_events_hold_within_a_quarter(base_rate: float, direction: Direction) -> None:
    world, test = World(requests=60, share=0.2, base_rate=base_rate), CountTest(direction, 1.2)
    harmed = replace(world, ratio=float(direction.away(np.array(1.2))))
    caught, proven = (ask(traffic_of(world).held_to(1.2), direction, 1.2) for ask in (time_to_catch, time_to_prove))
    for truth, rule, predicted in ((harmed, Rule.harm(test, 0.02), caught), (world, Rule.safe(test), proven)):
        agree(answers(rule, simulate(truth, streams=500, intervals=math.ceil(predicted.p90 * 2), seed=41)), predicted)


def offered(traffic: Workload, direction: Direction, margin: float, budget: float) -> float:
    """The larger share for a stage that is too short."""
    answer = stage_length(traffic, direction, margin=margin, harm=margin, budget_minutes=budget)
    assert isinstance(answer, Unprovable)
    assert answer.larger_share is not None
    return answer.larger_share


def nine_of_ten(*found: Floats) -> float:
    """When the slowest of the answers is there in nine rollouts of ten."""
    return float(max(np.quantile(one, 0.9) for one in found))


@pytest.mark.parametrize(("requests", "margin", "budget"), [(600, 2.0, 100), (3000, 1.5, 150)])
def test_the_share_that_is_offered_for_a_rate_proves_in_the_time_there_is(
    requests: float, margin: float, budget: int
) -> None:
    world, test = World(requests=requests, share=0.02), CountTest(UP, margin)
    enough = replace(world, share=offered(traffic_of(world), UP, margin, budget))
    harmed, harmless = (
        simulate(replace(enough, ratio=ratio), streams=400, intervals=3 * budget, seed=44) for ratio in (margin, 1.0)
    )
    slowest = nine_of_ten(answers(Rule.harm(test, 0.02), harmed), answers(Rule.safe(test), harmless))
    assert slowest == pytest.approx(budget, rel=A_QUARTER)


# -- means ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shop:
    """Units a minute and what they spend: log-normally around e³, `buyers` of them at all, cut at `cap`."""

    units: float
    share: float
    spread: float
    cap: float
    buyers: float = 1.0

    def spent(self, rng: np.random.Generator, units: int, factor: float = 1.0) -> Floats:
        values = np.exp(3 + self.spread * rng.standard_normal(units)) * factor
        return np.minimum(values * (rng.random(units) < self.buyers), self.cap)

    def traffic(self) -> MeanTraffic:
        values = self.spent(np.random.default_rng(1), 200_000)
        return MeanTraffic(self.units, Amounts(float(values.mean()), float(values.std()), self.cap), self.share)

    def loss(self, factor: float) -> float:
        """What becomes of the mean when the values before the cut are `factor` times as large."""
        rngs = np.random.default_rng(1), np.random.default_rng(1)
        return float(self.spent(rngs[0], 200_000, factor).mean() / self.spent(rngs[1], 200_000).mean())


def judged_means(shop: Shop, test: means.MeanTest, factor: float, streams: int, intervals: int) -> tuple[Floats, ...]:
    """When harm and when safety was proven."""
    rng = np.random.default_rng(42)
    harm, safe = np.zeros((streams, intervals)), np.zeros((streams, intervals))
    for stream in range(streams):
        arms = [served(rng, shop, part, by, intervals) for part, by in ((1 - shop.share, 1.0), (shop.share, factor))]
        evidence = means.MeanEvidence.start(test)
        for interval, (control, treatment) in enumerate(zip(*arms, strict=True)):
            evidence = means.update(test, evidence, control, treatment)
            books = means.books(test, evidence)
            harm[stream, interval], safe[stream, interval] = books.harm_log_e, books.safe.log_e
    return first(harm, math.log(HARM)), first(safe, math.log(SAFE))


def served(rng: np.random.Generator, shop: Shop, part: float, factor: float, intervals: int) -> list[means.Sums]:
    units = rng.poisson(shop.units * part, intervals)
    values, owner = shop.spent(rng, int(units.sum()), factor), np.repeat(np.arange(intervals), units)
    sums = [np.bincount(owner, values**power, intervals).tolist() for power in (1, 2)]
    return [means.Sums(*arm) for arm in zip(units.tolist(), *sums, strict=True)]


SHOPS = [
    (Shop(200, 0.2, 0.5, 100.0), DOWN, 1.05),
    (Shop(100, 0.5, 0.8, 150.0), UP, 1.1),
    (Shop(300, 0.05, 0.8, 150.0), DOWN, 1.25),
    (Shop(1000, 0.2, 1.0, 300.0, buyers=0.1), DOWN, 1.3),
]


@pytest.mark.parametrize(("shop", "direction", "factor"), SHOPS)
def test_times_for_means_hold_within_a_quarter(shop: Shop, direction: Direction, factor: float) -> None:
    traffic, test = shop.traffic(), means.MeanTest(direction, shop.cap, factor)
    ratio = float(direction.away(np.array(factor)))
    lost = shop.loss(ratio)
    caught = time_to_catch(traffic, direction, max(lost, 1 / lost))
    proven = time_to_prove(traffic, direction, factor)
    agree(judged_means(shop, test, ratio, 100, math.ceil(1.5 * caught.p90))[0], caught)
    agree(judged_means(shop, test, 1.0, 100, math.ceil(1.5 * proven.p90))[1], proven)


def test_the_share_that_is_offered_for_a_mean_proves_in_the_time_there_is() -> None:
    shop, budget = Shop(200, 0.02, 0.5, 500.0), 60
    enough = replace(shop, share=offered(shop.traffic(), DOWN, 1.1, budget))
    test = means.MeanTest(DOWN, shop.cap, 1.1)
    caught, _ = judged_means(enough, test, 1 / 1.1, 100, 2 * budget)
    _, proven = judged_means(enough, test, 1.0, 100, 2 * budget)
    assert nine_of_ten(caught, proven) == pytest.approx(budget, rel=A_QUARTER)


def test_the_smallest_loss_is_caught_in_nine_rollouts_of_ten() -> None:
    shop, minutes = Shop(200, 0.2, 0.5, 500.0), 60
    harm = smallest_harm(shop.traffic(), DOWN, minutes)
    assert harm is not None
    caught, _ = judged_means(shop, means.MeanTest(DOWN, shop.cap), 1 / harm, 120, minutes)
    assert (caught <= minutes).mean() == pytest.approx(0.9, abs=0.08)


# -- latencies --------------------------------------------------------------------------------------------------------


def traffic_of_service(service: Service, margin: float, *, sums: bool) -> LatencyTraffic:
    known = replace(service, requests=400_000, share=0.5, slower=1.0)
    seen = latencies.histogram(latencies.simulate(known, 1, 1, seed=7), "b", 0, 0, sums=sums)
    return LatencyTraffic(service.requests, seen, service.share, margin)


def judged_latencies(service: Service, test: latency.LatencyTest, streams: int, intervals: int) -> tuple[Floats, ...]:
    """When harm and when safety was proven."""
    data = latencies.simulate(service, streams, intervals, seed=43)
    evidence = [latency.LatencyEvidence.start(test)] * streams
    harm, safe = np.zeros((streams, intervals)), np.zeros((streams, intervals))
    for interval in range(intervals):
        evidence = latency.update_all(
            [
                latency.Interval(
                    test,
                    before,
                    control=latencies.histogram(data, "b", stream, interval, sums=test.sums),
                    treatment=latencies.histogram(data, "c", stream, interval, sums=test.sums),
                )
                for stream, before in enumerate(evidence)
            ]
        )
        for stream, after in enumerate(evidence):
            harm[stream, interval] = after.books.harm_log_e
            safe[stream, interval] = after.books.safe.log_e if after.treatment >= test.min_sample else 0.0
    return first(harm, math.log(HARM)), first(safe, math.log(SAFE))


SERVICES = [
    (Service(log_normal(), requests=200, share=0.2), 1.1, True),
    (Service(log_normal(spread=1.2), requests=200, share=0.2), 1.25, False),
    (Service(log_normal(), requests=100, share=0.5, edges=FINE), 1.1, True),
    (Service(log_normal(), requests=60, share=0.05), 1.5, True),
    (Service(log_normal(), requests=60, share=0.05), 1.5, False),
]


@pytest.mark.parametrize(("service", "factor", "sums"), SERVICES)
def test_times_for_latencies_hold_within_a_quarter(service: Service, factor: float, *, sums: bool) -> None:
    traffic = traffic_of_service(service, factor, sums=sums)
    caught, proven = (ask(traffic, UP, factor) for ask in (time_to_catch, time_to_prove))
    test, slower = traffic.test(factor), replace(service, slower=factor)
    agree(judged_latencies(slower, test, 120, math.ceil(1.5 * caught.p90))[0], caught)
    agree(judged_latencies(service, test, 120, math.ceil(1.5 * proven.p90))[1], proven)


def test_the_share_that_is_offered_for_a_latency_proves_in_the_time_there_is() -> None:
    service, budget = Service(log_normal(), requests=100, share=0.02), 60
    traffic = traffic_of_service(service, 1.1, sums=True)
    enough = replace(service, share=offered(traffic, UP, 1.1, budget))
    test = traffic.test(1.1)
    caught, _ = judged_latencies(replace(enough, slower=1.1), test, 100, 3 * budget // 2)
    _, proven = judged_latencies(enough, test, 100, 3 * budget // 2)
    assert nine_of_ten(caught, proven) == pytest.approx(budget, rel=A_QUARTER)


def test_the_smallest_slow_down_is_caught_in_nine_rollouts_of_ten() -> None:
    service, minutes = Service(log_normal(), requests=100, share=0.2), 60
    traffic = traffic_of_service(service, 1.1, sums=True)
    harm = smallest_harm(traffic, UP, minutes)
    assert harm is not None
    caught, _ = judged_latencies(replace(service, slower=harm), traffic.test(1.1), 150, minutes)
    assert (caught <= minutes).mean() == pytest.approx(0.9, abs=0.08)


# -- both -------------------------------------------------------------------------------------------------------------

REVENUE = MeanTraffic(600, Amounts(20.0, 12.0, 100.0), 0.05)
CHECKOUT = LatencyTraffic(600, Histogram((0.05, 0.1, 0.25, math.inf), (300, 500, 150, 50)), 0.05)


@pytest.mark.parametrize(("traffic", "direction"), [(REVENUE, DOWN), (CHECKOUT, UP)])
def test_stages_of_means_and_latencies_are_sized_and_get_offers(
    traffic: MeanTraffic | LatencyTraffic, direction: Direction
) -> None:
    stage = stage_length(traffic, direction, margin=1.1, harm=1.1, budget_minutes=24 * 60)
    assert isinstance(stage, StageLength)
    assert stage.exposures >= minimum_sample(traffic, direction, 1.1) >= 200
    answer = stage_length(traffic, direction, margin=1.02, harm=1.1, budget_minutes=stage.minutes)
    assert isinstance(answer, Unprovable)
    assert answer.wider_margin is not None
    wider = stage_length(traffic, direction, margin=answer.wider_margin, harm=1.1, budget_minutes=stage.minutes)
    assert isinstance(wider, StageLength)


@pytest.mark.parametrize(("traffic", "direction"), [(REVENUE, DOWN), (CHECKOUT, UP)])
def test_clusters_take_longer(traffic: MeanTraffic | LatencyTraffic, direction: Direction) -> None:
    clustered = replace(traffic, dispersion=4.0)
    for ask in (time_to_catch, time_to_prove):
        assert ask(clustered, direction, 1.05).p90 == pytest.approx(4 * ask(traffic, direction, 1.05).p90, rel=0.1)


def test_nothing_is_judged_before_the_smallest_sample() -> None:
    thin = replace(REVENUE, requests_per_minute=40.0)
    assert time_to_catch(thin, DOWN, 5.0).median >= 100
    assert time_to_prove(replace(CHECKOUT, requests_per_minute=40.0), UP, 5.0).median >= 100


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Amounts(0.0, 1.0, 10.0), "mean must lie above 0"),
        (lambda: Amounts(11.0, 1.0, 10.0), "at most at the cap"),
        (lambda: Amounts(1.0, math.nan, 10.0), "standard deviation"),
        (lambda: replace(REVENUE, share=1.0), "leaving some control"),
        (lambda: replace(CHECKOUT, requests_per_minute=0.0), "Requests per minute"),
        (lambda: replace(CHECKOUT, dispersion=0.5), "dispersion"),
        (lambda: replace(CHECKOUT, seen=Histogram((1.0, math.inf), (0, 0))), "histogram is empty"),
        (lambda: time_to_catch(REVENUE, UP, 6.0), "the cap cuts it"),
    ],
)
def test_senseless_amounts_are_refused(make: object, words: str) -> None:
    assert callable(make)
    with pytest.raises(BadQuestion, match=words):
        make()

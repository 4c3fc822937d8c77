"""What a plan reads of a metric's past, and in how many pieces."""

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from agent.planning.telemetry import PATIENCE, Telemetry
from tests.unit.agent.planning_desk import FLAG, PRODUCTION, Desk
from tools.flags.base import FlagRef, FlagState
from tools.gates import Counts, estimate_dispersion
from tools.metrics.base import MetricQuery, Reading
from tools.metrics.catalogue import Catalogue, MetricDefinition, MetricKind
from tools.metrics.memory import MemoryMetricSource, Observation
from tools.metrics.router import Metrics
from tools.plans.defaults import PACES, PlanningDefaults

DAY = timedelta(days=1)
PIECES = PlanningDefaults().slices
PIECE = DAY / PIECES


class Asked(MemoryMetricSource):
    """Keeps what it was asked; each answer takes `seconds` of the desk's clock."""

    def __init__(self, desk: Desk, seconds: float = 0.0) -> None:
        super().__init__([desk.metrics.define("errors")])
        self.clock, self.seconds = desk.clock, seconds
        self.asked = list[MetricQuery]()

    async def read(self, query: MetricQuery) -> Reading:
        self.asked.append(query)
        self.clock.advance(self.seconds)
        return await super().read(query)

    @property
    def lengths(self) -> list[timedelta]:
        return [query.window.end - query.window.start for query in self.asked]


@pytest.fixture
async def desk() -> Desk:
    made = Desk()
    await made.flag()
    return made


async def state_of(desk: Desk) -> FlagState:
    return await desk.flags.read(FlagRef(FLAG, PRODUCTION))


def telemetry(desk: Desk, source: MemoryMetricSource, **settings: int) -> Telemetry:
    catalogue = Metrics(desk.metrics.catalogue, {"m": source})
    return Telemetry(catalogue, PlanningDefaults(**settings), desk.clock)


def day_of(desk: Desk, bursts: float, seed: int) -> Iterator[Observation]:
    """A day with 5 errors a piece on average, in bursts of a mean size."""
    rng = np.random.default_rng(seed)
    starts = rng.poisson(5 / bursts, PIECES)
    events = starts + (rng.negative_binomial(np.maximum(starts, 1), 1 / bursts) if bursts > 1 else 0)
    return one_a_piece(desk, events)


def one_a_piece(desk: Desk, events: NDArray[np.int64]) -> Iterator[Observation]:
    first = desk.clock.now() - definition(desk).settle - DAY + PIECE / 2
    for number, count in enumerate(events.tolist()):
        yield Observation("old", first + PIECE * number, 1_000, count)


def definition(desk: Desk) -> MetricDefinition:
    return desk.metrics.define("errors")


async def dispersions(desk: Desk, bursts: float, **settings: int) -> list[float]:
    return [await dispersion(desk, day_of(desk, bursts, seed), **settings) for seed in range(8)]


async def dispersion(desk: Desk, day: Iterator[Observation], **settings: int) -> float:
    source = MemoryMetricSource([definition(desk)])
    source.add("errors", FLAG, PRODUCTION, *day)
    reads = telemetry(desk, source, **settings)
    return (await reads.baseline(reads.of_catalogue("errors"), await state_of(desk))).dispersion


@pytest.mark.parametrize(("bursts", "least"), [(1.1, 1.1), (1.25, 1.3), (2.0, 2.5)])
async def test_small_bursts_are_seen(desk: Desk, bursts: float, least: float) -> None:
    """Bursts of mean b have a dispersion of 2·b - 1."""
    found = await dispersions(desk, bursts)
    assert sorted(found)[1] > least
    assert np.median(found) == pytest.approx(2 * bursts - 1, rel=0.2)


async def test_bursts_that_outlast_a_piece_are_seen(desk: Desk) -> None:
    """Users with an error in each of five minutes: from one minute to the next the count hardly changes."""
    starts = np.random.default_rng(5).poisson(1, PIECES)
    events = sum(np.roll(starts, minute) for minute in range(5))
    assert estimate_dispersion([Counts(1000, int(count)) for count in events]) == 1.0
    assert await dispersion(desk, one_a_piece(desk, events)) > 2


async def test_independent_errors_are_no_bursts(desk: Desk) -> None:
    assert np.median(await dispersions(desk, 1.0)) == 1.0


async def test_it_is_asked_for_the_flags_variants_so_that_treatment_can_be_left_out(desk: Desk) -> None:
    source = Asked(desk)
    source.add("errors", FLAG, PRODUCTION, *one_a_piece(desk, np.full(PIECES, 5)))
    reads = telemetry(desk, source)
    await reads.baseline(reads.of_catalogue("errors"), await state_of(desk))
    assert {query.variants for query in source.asked} == {("old", "new")}


async def test_few_pieces_take_no_bursts_for_none(desk: Desk) -> None:
    found = await dispersions(desk, 1.5, slices=PACES)
    assert min(found) > 1.0


async def test_the_pieces_are_side_by_side_and_make_up_the_whole(desk: Desk) -> None:
    source = Asked(desk)
    source.add("errors", FLAG, PRODUCTION, *day_of(desk, 1.0, 1))
    reads = telemetry(desk, source)
    base = await reads.baseline(reads.of_catalogue("errors"), await state_of(desk))
    assert source.lengths == [PIECE] * PIECES
    assert all(one.window.end == other.window.start for one, other in zip(source.asked, source.asked[1:], strict=False))
    assert source.asked[-1].window.end == desk.clock.now() - definition(desk).settle
    assert base.requests_per_minute == pytest.approx(1000)
    assert (base.quietest, base.busiest) == (pytest.approx(1000), pytest.approx(1000))


async def test_a_slow_source_is_asked_for_the_rest_in_coarse_pieces(desk: Desk) -> None:
    source = Asked(desk, seconds=0.5)
    source.add("errors", FLAG, PRODUCTION, *day_of(desk, 1.5, 1))
    reads, state = telemetry(desk, source), await state_of(desk)
    base = await reads.baseline(reads.of_catalogue("errors"), state)
    fine = source.lengths.count(PIECE)
    assert fine * 0.5 == PATIENCE.total_seconds()
    assert source.lengths[fine:] == [DAY / PACES - PIECE * fine] + [DAY / PACES] * (PACES - 1)
    assert sum(source.lengths, timedelta()) == DAY
    assert base.requests_per_minute == pytest.approx(1000)
    assert base.dispersion > 1


@pytest.mark.parametrize("slices", [0, 39, 60, 241, 3000])
def test_a_number_of_pieces_that_does_not_fit_is_refused(slices: int) -> None:
    with pytest.raises(ValidationError, match="slices"):
        PlanningDefaults(slices=slices)


SPENT = MetricDefinition(name="errors", source="m", title="Spent", query="-", kind=MetricKind.MEAN, cap=100.0)


async def test_a_mean_s_span_is_that_of_the_parts_of_its_day(desk: Desk) -> None:
    source, first = MemoryMetricSource([SPENT]), desk.clock.now() - SPENT.settle - DAY
    for part in range(PACES):
        each = 10.0 if part < PACES // 2 else 30.0
        units = 10 if part == 7 else 400
        at = first + DAY / PACES * (part + 0.5)
        # Ten units say too little, whatever they spent.
        value = 90.0 if part == 7 else each
        source.add("errors", FLAG, PRODUCTION, Observation("old", at, units, 0, value * units, value**2 * units * 1.2))
    reads = Telemetry(Metrics(Catalogue([SPENT]), {"m": source}), PlanningDefaults(slices=PACES), desk.clock)
    base = await reads.baseline(reads.of_catalogue("errors"), await state_of(desk))
    assert base.span == (10.0, 30.0)

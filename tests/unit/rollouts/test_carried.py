"""How much is carried from one check to the next, of every kind of metric, at its largest."""

import json
from datetime import timedelta

import numpy as np
import pytest

from tests.unit.rollouts.gatehouse import Gatehouse, rate, stage_of
from tests.unit.rollouts.test_accepting import accept
from tests.unit.rollouts.test_planned_kinds import LATENCY, REVENUE
from tests.unit.rollouts.world import FLAG
from tools.gates.histograms import MOST_BUCKETS, layout
from tools.metrics.catalogue import MetricDefinition
from tools.metrics.memory import Observation
from tools.plans.model import Expected, Guardrail, Level

FINEST = LATENCY.model_copy(update={"buckets": tuple(np.geomspace(0.001, 30, MOST_BUCKETS - 1).tolist())})
KINDS = {
    "counts": rate("errors"),
    "counts and an objective": rate("errors", objective=0.01),
    "means": REVENUE,
    "latencies": LATENCY,
    "latencies in the most buckets": FINEST,
}
LEVELS = {"means": Level(mean=22.7, deviation=12.0), "latencies": Level(mean=0.098, deviation=0.065)}
BURN_IN, MINUTES, LIMIT = 5, 60, 4096
REQUESTS = 2_000_003


def seen(definition: MetricDefinition, house: Gatehouse, rng: np.random.Generator) -> list[Observation]:
    """A busy minute in which treatment is worse, from numbers of which no digit is a zero."""
    at, found = house.at + timedelta(seconds=59), []
    for variant, share, worse in (("old", 0.9, 1.0), ("new", 0.1, 1.06)):
        requests = int(rng.poisson(REQUESTS * share))
        if definition.edges:
            middles = layout(definition.edges).log_middle
            chances = np.exp(-((middles - np.log(0.1 * worse)) ** 2)) + 0.01
            for edge, count, middle in zip(
                definition.edges,
                rng.multinomial(requests, chances / chances.sum()),
                np.exp(middles),
                strict=True,
            ):
                sums = {"total": count * middle, "total_squares": count * middle**2}
                found.append(Observation(variant, at, int(count), bucket=edge, **sums))
        elif definition is REVENUE:
            total = requests * 22.7 / worse + rng.normal()
            found.append(Observation(variant, at, requests, total=total, total_squares=total * 29.3))
        else:
            found.append(Observation(variant, at, requests, int(rng.binomial(requests, 0.02 * worse))))
    return found


@pytest.mark.parametrize("accepted", [False, True], ids=["", "accepted"])
@pytest.mark.parametrize("kind", KINDS)
async def test_all_that_is_carried_of_a_guardrail_stays_small(kind: str, accepted: bool) -> None:
    definition, rng = KINDS[kind], np.random.default_rng(3)
    rail = Guardrail(metric=definition.name, direction=definition.direction, margin=1.25, min_sample=200)
    level = LEVELS.get(kind.removesuffix(" in the most buckets"))
    base = None if level else 0.02
    expected = Expected(metric=definition.name, base_rate=base, quietest=REQUESTS, busiest=REQUESTS, level=level)
    house = Gatehouse.of([definition], stage_of(10, rail), expected=(expected,), burn_in=timedelta(minutes=BURN_IN))
    if accepted:
        accept(house, definition.name, margin=rail.margin, direction=rail.direction.value)
    for _ in range(MINUTES):
        house.source.add(definition.name, FLAG.flag, FLAG.environment, *seen(definition, house, rng))
        await house.look()
        house.forget()
    carried = house.rollout.evidence[f"{definition.name}:live"]
    assert carried["gate"]["intervals"] == MINUTES
    assert ("far" in carried) is accepted
    assert len(json.dumps(carried).encode()) <= LIMIT
    if definition is not REVENUE:
        _, _, minutes = carried["gate"]["books"]["harm"]
        assert minutes == pytest.approx(MINUTES - BURN_IN, abs=1), "money for later is placed by the windows' length"

"""What a harm has reached when it is found: means and ninth deciles, within a quarter of what the gates' own code does.

So many rollouts are simulated that their ninth deciles have a standard error of some 3 %. A share of users jumps from
stage to stage: where it does so near a tenth of the rollouts, one decile can't be told from the next, so that cells
are chosen where it doesn't; a test says so.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.unit.gates.rollouts import roll_out
from tests.unit.gates.test_forecast import BURSTY, ERRORS, ORDERS, PLAN, TWO
from tools.flags.evaluation import BUCKETS, bucket_of
from tools.gates.blast import Population, Reach
from tools.gates.courses import Ending
from tools.gates.forecast import BlastRadius, catch_in_stage, forecast_harm
from tools.gates.schedule import Schedule, Step

N = 2000
POPULATION = Population(users=50_000, tenants=1_000, value_per_request=0.25)
LONG = Schedule(
    (replace(ERRORS, requests_per_minute=1500),),
    (Step(0.01, 20, 90), Step(0.05, 20, 90), Step(0.25, 20, 90), Step(0.5, 20, 60)),
    check_every=1.0,
)
CERTAIN = 0.025
"""How far a stage's part of the rollouts is from nine of ten, at least: more than three standard errors."""


def agree(reach: Reach | None, seen: np.ndarray[Any, Any]) -> None:
    assert reach is not None
    assert reach.expected == pytest.approx(float(seen.mean()), rel=0.25)
    assert reach.p90 == pytest.approx(float(np.quantile(seen, 0.9)), rel=0.25)


@pytest.mark.parametrize(
    ("schedule", "metric", "harm"),
    [
        (PLAN, "errors", 1.3),
        (PLAN, "errors", 1.7),
        (PLAN, "errors", 2.0),
        (PLAN, "errors", 6.0),
        (BURSTY, "errors", 1.5),
        (TWO, "orders", 1.3),
        (LONG, "errors", 1.7),
        (LONG, "errors", 3.0),
    ],
)
def test_users_tenants_requests_money_and_who_is_harmed(schedule: Schedule, metric: str, harm: float) -> None:
    one = schedule.of(metric)
    blast = forecast_harm(schedule, metric, harm, POPULATION).blast
    seen = roll_out(schedule, {metric: one.worse(harm)}, N, seed=72)
    found = seen.ending != Ending.PROMOTED
    shares = np.array([step.share for step in schedule.steps])
    users, requests = shares[seen.stage[found]], (seen.lengths[found] * shares).sum(axis=1) * one.requests_per_minute
    assert all(abs(float((users <= share).mean()) - 0.9) > CERTAIN for share in shares)
    assert blast is not None
    agree(blast.users, users)
    agree(blast.tenants, 1 - (1 - users) ** 50)
    agree(blast.requests, requests)
    agree(blast.money, 0.25 * requests)
    assert one.typical is not None
    lost = harmed(requests, one.typical * abs(one.worse(harm) - 1))
    assert blast.harmed is not None
    assert blast.harmed.expected == pytest.approx(float(lost.mean()), rel=0.25)
    if blast.harmed.p90 > 50:
        # How many of so many requests fail is left out, which matters only where they are few.
        agree(blast.harmed, lost)


def harmed(requests: np.ndarray[Any, Any], a_request: float) -> np.ndarray[Any, Any]:
    """Events beyond control's, drawn among the requests that treatment served."""
    rng = np.random.default_rng(73)
    return rng.binomial(rng.poisson(requests), a_request).astype(float)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("each", [2, 20, 200])
def test_the_tenants_of_whom_somebody_is_exposed(share: float, each: int) -> None:
    """Users are put into buckets as flags are evaluated; so many are of `each` tenant."""
    tenants = 20_000 // each
    population = Population(users=tenants * each, tenants=tenants)
    buckets = np.array([bucket_of("salt", "new-checkout", f"user-{user}") for user in range(tenants * each)])
    reached = (buckets < share * BUCKETS).reshape(tenants, each).any(axis=1).mean()
    assert population.tenants_reached(share) == pytest.approx(float(reached), rel=0.25)


@pytest.mark.parametrize(
    ("one", "share", "harm", "weight", "check_every"),
    [
        (ERRORS, 0.02, 2.0, 1.0, 1.0),
        (ERRORS, 0.02, 3.0, 0.2, 0.5),
        (ORDERS, 0.05, 1.25, 0.5, 1.0),
        (replace(ERRORS, requests_per_minute=12_000, dispersion=3.0), 0.05, 1.5, 1.0, 1.0),
    ],
    ids=["errors", "one of five", "a drop", "bursts"],
)
def test_what_a_harm_in_one_stage_has_met_when_it_is_caught(
    one: Any, share: float, harm: float, weight: float, check_every: float
) -> None:
    foretold = catch_in_stage(
        one.traffic(share), one.direction, harm, burn_in=10, check_every=check_every, weight=weight
    )
    schedule = Schedule(
        (one,), (Step(share, 3000, 3000),), burn_in=10, check_every=check_every, sharing=round(1 / weight)
    )
    seen = roll_out(schedule, {one.name: one.worse(harm)}, 600, seed=75).lengths[:, 0]
    requests = seen * share * one.requests_per_minute
    for part, minutes, met in ((0.5, *halves(foretold)), (0.9, foretold.minutes.p90, foretold.requests.p90)):
        assert minutes == pytest.approx(float(np.quantile(seen, part)), rel=0.25)
        assert met == pytest.approx(float(np.quantile(requests, part)), rel=0.25)


def halves(caught: Any) -> tuple[float, float]:
    return caught.minutes.median, caught.requests.median


def test_a_catch_of_nothing_reaches_nobody() -> None:
    found = forecast_harm(replace(PLAN, steps=(Step(0.5, 30, 240, shadow=True),)), "errors", 3.0, POPULATION).blast
    assert isinstance(found, BlastRadius)
    assert (found.users.p90, found.requests.p90, found.tenants.p90) == (0.0, 0.0, 0.0)

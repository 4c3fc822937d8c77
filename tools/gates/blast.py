"""What a harm has reached when it is found: people, tenants, requests, and what they lose."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.gates.schedule import Schedule, Watched
from tools.gates.wealth import Floats
from tools.gates.workload import BadQuestion


@dataclass(frozen=True)
class Population:
    """Who may be exposed. `tenants` share `users` evenly; a tenant counts as reached when one of its users is.

    Where whole tenants are exposed together, leave `users` out. Raises BadQuestion.
    """

    users: int | None = None
    tenants: int | None = None
    value_per_request: float | None = None

    def __post_init__(self) -> None:
        for value in (self.users, self.tenants, self.value_per_request):
            if value is not None and not 0 < value < math.inf:
                raise BadQuestion(f"Users, tenants and the value of a request must be above 0, not {value}.")

    def tenants_reached(self, share: float) -> float:
        """The part of the tenants of whom somebody is exposed at that share of users."""
        if self.users is None or self.tenants is None:
            return share
        return 1 - float((1 - share) ** (self.users / self.tenants))


@dataclass(frozen=True)
class Reach:
    """What is exposed to a harm until it is found: on average, and in nine courses of ten at most."""

    expected: float
    p90: float

    @classmethod
    def of(cls, values: Floats) -> "Reach":
        """Over courses (courses,)."""
        return cls(float(values.mean()), float(np.quantile(values, 0.9)))


@dataclass(frozen=True)
class BlastRadius:
    """What a harm has reached when it is found: parts of all users and of all tenants, requests served by treatment.

    `harmed` is what so many requests have on average and control would not have had: events beyond its own (failed
    orders, say), or the amounts by which a mean's units fell short or went beyond; None of latencies. `money` is the
    requests' value where it is known.
    """

    users: Reach
    tenants: Reach
    requests: Reach
    harmed: Reach | None
    money: Reach | None


def blast_radius(
    schedule: Schedule, one: Watched, ratio: float, last: NDArray[np.int64], lengths: Floats, population: Population
) -> BlastRadius:
    """Of courses whose `last` (courses,) is the index of the stage they ended in, with `lengths` (courses, stages).

    `ratio` is treatment's over control's. Users are counted by the largest share until then: whoever was exposed
    stays so in the next stage.
    """
    live = np.array([0.0 if step.shadow else step.share for step in schedule.steps])
    shares = np.maximum.accumulate(live)[last]
    requests = (lengths * live).sum(axis=1) * one.requests_per_minute
    known, where = np.unique(shares, return_inverse=True)
    tenants = np.array([population.tenants_reached(float(share)) for share in known])
    value = population.value_per_request
    return BlastRadius(
        users=Reach.of(shares),
        tenants=Reach.of(tenants[where]),
        requests=Reach.of(requests),
        harmed=None if one.typical is None else Reach.of(requests * one.typical * abs(ratio - 1)),
        money=None if value is None else Reach.of(requests * value),
    )

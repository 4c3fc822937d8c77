"""What plans are made with where the spec does not say otherwise."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from tools.gates.blast import Population
from tools.plans.model import Duration, Name, Percent, Value


class Reachable(Value):
    """Who a flag in an environment may reach, as far as it is known, and what a request is worth in `currency`.

    A tenant counts as reached when one of its users is; where whole tenants are exposed together, leave `users` out.
    """

    users: Annotated[int, Field(ge=1, le=10**10)] | None = None
    tenants: Annotated[int, Field(ge=1, le=10**9)] | None = None
    value_per_request: Annotated[float, Field(gt=0, le=10**9, allow_inf_nan=False)] | None = None
    currency: Annotated[str, Field(min_length=1, max_length=8)] = "EUR"

    @property
    def population(self) -> Population:
        """As the calculators take it."""
        return Population(self.users, self.tenants, self.value_per_request)


PACES = 40
"""Into how many pieces the past is cut to see how much traffic and its mix vary."""


class PlanningDefaults(Value):
    """What plans are made with where the spec does not say otherwise.

    `slices` is into how many pieces, a multiple of PACES, the `traffic_window` is cut to see how bursty it was: 240
    often take small bursts for none, and fewer than some 200 can't rule bursts out, so that plans reckon with some.
    `stages` are the live percentages to choose from; `bake` is the least length of a stage; `stage_budget` how long a
    stage may take to be proven. `reachable` is who there is to reach, by environment.
    """

    burn_in: Duration = timedelta(minutes=10)
    stale_after: Duration = timedelta(minutes=2)
    blind_budget: Duration = timedelta(minutes=5)
    check_every: Duration = timedelta(seconds=15)
    traffic_window: Duration = timedelta(hours=24)
    slices: Annotated[int, Field(ge=PACES, le=50 * PACES, multiple_of=PACES)] = 36 * PACES
    stage_budget: Duration = timedelta(hours=24)
    stages: Annotated[tuple[Percent, ...], Field(min_length=1, max_length=20)] = (1, 5, 25, 50, 100)
    bake: Duration = timedelta(minutes=30)
    reachable: dict[Name, Reachable] = Field(default_factory=dict)

    def reachable_in(self, environment: str) -> Reachable:
        """Who there is to reach, as far as it is known."""
        return self.reachable.get(environment, Reachable())

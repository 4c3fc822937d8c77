"""What a harm has reached by the time it is caught, as a plan says it."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from tools.gates.calculators import Minutes
from tools.gates.forecast import Caught
from tools.plans.defaults import PlanningDefaults, Reachable
from tools.plans.model import Audience, Exposure
from tools.plans.reach import reached

CAUGHT = Caught(Minutes(12, 20), Minutes(360, 600))
FIVE = Exposure(percent=5)


def test_requests_and_the_share_of_users_are_always_known() -> None:
    assert reached(CAUGHT, FIVE, Reachable()) == "about 360 requests of 5 % of users"


def test_users_tenants_and_money_are_said_where_the_settings_know_them() -> None:
    everything = Reachable(users=20_000, tenants=400, value_per_request=0.5, currency="USD")
    said = reached(CAUGHT, FIVE, everything)
    # Of 50 users each, 1 − 0.95⁵⁰ of the tenants have somebody exposed.
    assert said == "about 360 requests of 5 % of users (1,000), 369 of 400 tenants, 180 USD"


def test_without_users_whole_tenants_are_exposed_together() -> None:
    assert reached(CAUGHT, FIVE, Reachable(tenants=400)).endswith("20 of 400 tenants")


def test_of_an_audience_only_the_requests_are_known() -> None:
    some = Exposure(percent=5, audience=Audience(tenants=("acme",)))
    assert reached(CAUGHT, some, Reachable(users=20_000, tenants=400)) == "about 360 requests"


def test_an_environment_that_nobody_counted_has_no_numbers() -> None:
    defaults = PlanningDefaults(bake=timedelta(minutes=5), reachable={"production": Reachable(users=10)})
    assert defaults.reachable_in("production").users == 10
    assert defaults.reachable_in("staging") == Reachable()


@pytest.mark.parametrize("wrong", [{"users": 0}, {"tenants": -1}, {"value_per_request": 0}, {"currency": ""}])
def test_what_can_not_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Reachable.model_validate(wrong)

"""What a harm has reached by the time it is caught: requests, users, tenants, and what they are worth. Pure."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from tools.clock import in_words
from tools.gates.forecast import Caught, catch_in_stage
from tools.plans.defaults import Reachable
from tools.plans.model import Exposure, Mode, Plan
from tools.plans.sizing import Rail

LONGEST_WAIT = timedelta(minutes=10**7)


def blast_radius(plan: Plan, rails: Sequence[Rail], people: Reachable) -> list[str]:
    """What a harm of the margin's size has reached when it is caught in the first live stage, a sentence a metric.

    Of one whose times can't be foretold it says so.
    """
    first = next((stage.exposure for stage in plan.stages if stage.exposure.mode is Mode.LIVE), None)
    if first is None:
        return []
    if first.percent >= 100:
        return [f"Everyone is exposed at once: {first} leaves no control to compare with."]
    return [
        rail.baseline.why_untold(first.percent) or _caught_in(first, plan, rail, people, 1 / len(rails))
        for rail in rails
    ]


def reached(caught: Caught, exposure: Exposure, people: Reachable) -> str:
    """What treatment's requests until then were and whose, in words: `about 360 requests of 1 % of users (1,200)`."""
    requests = f"about {caught.requests.median:,.0f} requests"
    if not exposure.audience.everyone:
        # How many belong to the audience is not known.
        return requests
    share, parts = exposure.percent / 100, [f"{requests} of {exposure.percent:g} % of users"]
    if people.users is not None:
        parts[0] += f" ({people.users * share:,.0f})"
    parts += _tenants(share, people)
    if people.value_per_request is not None:
        parts.append(f"{people.value_per_request * caught.requests.median:,.0f} {people.currency}")
    return ", ".join(parts)


def _tenants(share: float, people: Reachable) -> Iterator[str]:
    if people.tenants is not None:
        yield f"{people.tenants * people.population.tenants_reached(share):,.0f} of {people.tenants:,} tenants"


def _caught_in(exposure: Exposure, plan: Plan, rail: Rail, people: Reachable, weight: float) -> str:
    burn_in, check_every = (length.total_seconds() / 60 for length in (plan.burn_in, plan.check_every))
    caught = catch_in_stage(
        rail.traffic(exposure.percent),
        rail.baseline.direction,
        rail.margin,
        burn_in=burn_in,
        check_every=check_every,
        weight=weight,
    )
    warming = f", the burn-in of {in_words(plan.burn_in)} among it" if plan.burn_in else ""
    return (
        f"At {exposure} a harm of {rail.harm()} in {rail.baseline.metric} is caught after about "
        f"{_minutes(caught.minutes.median)}{warming} (9 of 10 within {_minutes(caught.minutes.p90)}), "
        f"having met {reached(caught, exposure, people)}."
    )


def _minutes(minutes: float) -> str:
    return in_words(min(timedelta(minutes=min(minutes, 10**7)), LONGEST_WAIT))

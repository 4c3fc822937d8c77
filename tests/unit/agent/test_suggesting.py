"""A changed operation is suggested as a guardrail by route, and never put into a plan by itself."""

import hashlib
import json
from datetime import UTC, datetime

import pytest

from agent.planning.suggesting import MOST_ROUTES, suggested
from tests.unit.rollouts.world import MIRA, PLACE, make_plan, running_world
from tools.metrics.catalogue import Catalogue, MetricDefinition
from tools.metrics.routes import each_route
from tools.records.database import Database
from tools.records.models import Record
from tools.specs.base import Spec
from tools.specs.snapshots import Earlier, keep_read, keep_snapshot, one_before

AT = datetime(2026, 11, 2, 9, tzinfo=UTC)
CATALOGUE = Catalogue(
    each_route(
        [
            MetricDefinition(name="all", source="s", title="All", query="-"),
            MetricDefinition(
                name="errors", source="s", title="Errors", query="$route", routes=("POST /checkout", "GET /cart/{id}")
            ),
        ]
    )
)


def spec(**operations: str) -> Spec:
    said = {name.replace("_", " /", 1): digest for name, digest in operations.items()}
    content = json.dumps(said)
    return Spec(
        flag="new-checkout",
        title="Checkout",
        body="",
        source="api.yaml",
        content=content,
        sha256=hashlib.sha256(content.encode()).hexdigest(),
        operations=said,
    )


def before(**operations: str) -> Earlier:
    return Earlier("0" * 64, spec(**operations).operations, AT)


def test_what_changed_is_suggested_with_the_metric_that_watches_it() -> None:
    (said,) = suggested(spec(POST_checkout="b"), before(POST_checkout="a"), CATALOGUE, ["all"])
    assert said == (
        "POST /checkout changed in the API since 02 Nov 2026: errors.post_checkout could guard it, and does not; "
        "ask for it in the thread."
    )


def test_a_route_that_no_metric_watches_says_what_to_do() -> None:
    (said,) = suggested(spec(PUT_pay="b", GET_x="a"), before(PUT_pay="a", GET_x="a"), CATALOGUE, [])
    assert said.startswith("PUT /pay changed in the API")
    assert "no metric watches it" in said


def test_what_is_guarded_already_or_stayed_the_same_is_not() -> None:
    now, earlier = spec(POST_checkout="b", GET_other="a"), before(POST_checkout="a", GET_other="a")
    assert list(suggested(now, earlier, CATALOGUE, ["errors.post_checkout"])) == []


def test_a_spec_that_had_no_api_before_suggests_nothing() -> None:
    assert list(suggested(spec(POST_checkout="a"), before(), CATALOGUE, [])) == []


def test_a_long_list_is_cut_and_counted() -> None:
    many = {f"GET_r{number}": "b" for number in range(MOST_ROUTES + 3)}
    said = list(suggested(spec(**many), before(**dict.fromkeys(many, "a")), CATALOGUE, []))
    assert len(said) == MOST_ROUTES + 1
    assert said[-1] == "3 more routes changed in the API since then."


def test_a_route_is_text_from_outside() -> None:
    odd = spec(GET_a="a").model_copy(update={"operations": {f"GET /\n# {'x' * 500}": "a"}})
    said = next(iter(suggested(odd, before(GET_a="a"), CATALOGUE, [])))
    assert "\n" not in said
    assert len(said) < 250


@pytest.fixture
async def database() -> Database:
    made = Database("sqlite://")
    async with made.engine.begin() as connection:
        await connection.run_sync(Record.metadata.create_all)
    return made


async def test_the_one_before_is_the_newest_other_version(database: Database) -> None:
    versions = [spec(POST_checkout=digest) for digest in "abc"]
    async with database.write() as session:
        for number, one in enumerate(versions):
            await keep_snapshot(session, one, at=AT.replace(hour=number))
            await keep_snapshot(session, one, at=AT.replace(hour=number))
    async with database.read() as session:
        found = await one_before(session, versions[2])
        assert found is not None
        assert (found.sha256, found.operations) == (versions[1].sha256, versions[1].operations)
        other = versions[2].model_copy(update={"flag": "another"})
        assert await one_before(session, other) is None
    await database.close()


async def test_what_was_only_read_comes_after_what_a_plan_rested_on() -> None:
    versions = [spec(POST_checkout=digest) for digest in "abc"]
    async with running_world() as world:
        plan = make_plan(spec_sha256=versions[0].sha256)
        await world.service.propose(plan, requester=MIRA, place=PLACE, reason="asked", spec=versions[0])
        for number, one in enumerate(versions):
            await keep_read(world.database, one, at=AT.replace(year=2100, hour=number))
        async with world.database.read() as session:
            found = await one_before(session, versions[2])
    assert found is not None
    assert found.sha256 == versions[0].sha256

"""What a check keeps of the answers that it rests on."""

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import select

from tests.unit.rollouts.world import ERRORS, FLAG, JONAS, POLICY, World
from tools.metrics.base import MetricQuery, Reading
from tools.metrics.memory import MemoryMetricSource, Observation
from tools.metrics.router import Metrics
from tools.records.models import GateCheck
from tools.rollouts import assessing, audit, checks
from tools.rollouts.controller import Controller

MANY = [{"variant": "new", "bucket": float(edge), "exposures": 7} for edge in range(1_000)]


@dataclass
class Verbose:
    """A metric source that says more than is counted."""

    inner: MemoryMetricSource
    raw: Any

    async def read(self, query: MetricQuery) -> Reading:
        return replace(await self.inner.read(query), raw=self.raw)

    async def check(self) -> None:
        await self.inner.check()

    async def close(self) -> None:
        await self.inner.close()


class Loud(Verbose):
    """A metric source that keeps labels in capitals."""

    async def read(self, query: MetricQuery) -> Reading:
        found = await self.inner.read(query)
        return replace(found, by_variant={self.fold(str(label)): one for label, one in found.by_variant.items()})

    def fold(self, label: str) -> str:
        return label.upper()


async def newest_check(world: World) -> GateCheck:
    async with world.database.read() as session:
        return (await session.scalars(select(GateCheck).order_by(GateCheck.at.desc()).limit(1))).one()


async def checked(world: World, raw: Any) -> GateCheck:
    """The newest of a few checks whose source answers with `raw`."""
    metrics = Metrics(world.controller._metrics.catalogue, {"memory": Verbose(world.source, raw)})
    world.controller = Controller(world.database, world.flags, metrics, POLICY, world.clock, owner="verbose")
    view = await world.started()
    await world.live(view.id, 3)
    return await newest_check(world)


async def test_every_column_of_every_row_that_came_back_is_kept(world: World) -> None:
    await world.started()
    at = world.clock.now()
    slow = Observation("new", at, exposures=50, events=1, total=12.5, total_squares=4.25)
    world.source.add(ERRORS, FLAG.flag, FLAG.environment, slow, Observation("old", at, exposures=950, events=19))
    world.clock.advance(10)
    await world.controller.tick()
    [answer] = (await newest_check(world)).answers
    assert answer["raw"] == [
        {
            "variant": "new",
            "exposures": 50,
            "events": 1,
            "total": 12.5,
            "total_squares": 4.25,
            "newest": at.isoformat(),
        },
        {
            "variant": "old",
            "exposures": 950,
            "events": 19,
            "total": 0.0,
            "total_squares": 0.0,
            "newest": at.isoformat(),
        },
    ]
    assert answer["raw_cut"] is None


@pytest.mark.parametrize(
    ("raw", "kept", "note"),
    [
        (MANY, 379, "The raw answer is cut: the first 379 of 1,000 rows are kept."),
        (["x" * 30_000, "y"], 0, "The raw answer is cut: the first 0 of 2 rows are kept."),
        (
            {"rows": "x" * 30_000},
            None,
            "The raw answer is not kept: it has 30,012 characters, at most 20,000 are kept.",
        ),
        ([math.nan], None, "The raw answer is not kept: it is no JSON."),
        ([object()], None, "The raw answer is not kept: it is no JSON."),
        ([(1, 2)], 1, None),
    ],
)
async def test_a_raw_answer_is_bounded_and_says_so(world: World, raw: Any, kept: int | None, note: str | None) -> None:
    [answer] = (await checked(world, raw)).answers
    assert answer["raw_cut"] == note
    assert (answer["raw"] if kept is None else len(answer["raw"])) == kept
    assert answer["variants"] == [
        {"variant": "new", "exposures": 50, "events": 0},
        {"variant": "old", "exposures": 950, "events": 10},
    ], "what is counted is whole"


async def test_the_raw_answer_has_no_say_in_the_verdict_but_is_under_the_seal(world: World) -> None:
    check = await checked(world, MANY)
    before = checks.digest(check)
    [answer] = check.answers
    check.answers = [{**answer, "raw": None}]
    assert assessing.judge_again(check).verdict_json() == check.verdict
    assert checks.digest(check) != before


async def test_variants_are_judged_by_their_own_names_where_a_source_spells_them_otherwise(world: World) -> None:
    metrics = Metrics(world.controller._metrics.catalogue, {"memory": Loud(world.source, None)})
    world.controller = Controller(world.database, world.flags, metrics, POLICY, world.clock, owner="loud")
    view = await world.started()
    await world.live(view.id, 3)
    check = await newest_check(world)
    assert [one["variant"] for one in check.answers[0]["variants"]] == ["new", "old"]
    assert check.verdict["gate"]["no_data"] is None


async def test_what_is_read_back_has_the_digest_that_was_logged(world: World) -> None:
    await checked(world, [("a", 1.5)])
    view = await world.service.find(FLAG.flag, FLAG.environment)
    await world.service.promote(view.id, actor=JONAS)
    [promoted] = [event for event in await world.events() if event.kind == "rollout.promoted"]
    assert promoted.payload["check_sha256"] == checks.digest(await newest_check(world))
    assert (await audit.verify(world.database)).faults == ()

"""How well the parts are: looked at beforehand, said with when, and never made up."""

from dataclasses import replace
from datetime import timedelta

from agent.model import ModelOptions
from bot import health
from bot.health import SLOWEST_TICK, Finding, Part
from bot.services import Services
from tests.unit.notifier.desk import open_desk
from tools.flags.base import FlagServiceUnavailable
from tools.metrics.base import Answering, MetricQuery, MetricSourceUnavailable, Reading
from tools.metrics.catalogue import Catalogue
from tools.metrics.router import Metrics
from tools.records.models import AgentRun, ModelCall


class Away:
    """A flag service that is not there."""

    async def check(self) -> None:
        raise FlagServiceUnavailable("It is away.")


def state(services: Services) -> dict[Part, bool | None]:
    return {finding.part: finding.well for finding in services.health.found(services)}


async def test_nothing_is_known_before_anybody_looked() -> None:
    async with open_desk() as desk:
        assert state(desk.services) == {Part.FLAGS: None, Part.MODEL: None, Part.CLOCK: None}


async def test_what_answers_is_well_and_what_does_not_is_not() -> None:
    async with open_desk() as desk:
        await health.look(desk.services)
        assert state(desk.services)[Part.FLAGS] is True
        away = replace(desk.services, flags=Away())  # type: ignore[arg-type]
        await health.look(away)
        assert state(desk.services)[Part.FLAGS] is False, "both have the same record"
        at = desk.world.clock.now()
        assert Finding(Part.FLAGS, "embedded", False, at) in desk.services.health.found(desk.services)


class Counted:
    """A metric source that counts how often it is looked at."""

    well = True
    looks = 0

    async def check(self) -> None:
        self.looks += 1
        if not self.well:
            raise MetricSourceUnavailable("It is away.")


async def test_a_metric_source_that_is_well_is_asked_less_often_than_one_that_is_not() -> None:
    source = Counted()
    async with open_desk() as desk:
        services = replace(desk.services, metrics=Metrics(Catalogue([]), {"shop": source}))  # type: ignore[dict-item]
        for well, looks in (True, 1), (False, 1 + 8):
            for _ in range(8):
                source.well = well
                await health.look(services)
                desk.world.clock.advance(health.SOURCES_EVERY.total_seconds() / 8)
            assert (state(services)[Part.SOURCE], source.looks) == (well, looks)


class Resting(Counted):
    """A warehouse that answered something, or nothing yet."""

    rests = True
    newest_answer: Answering | None = None

    async def read(self, _query: MetricQuery) -> Reading:
        raise AssertionError("nobody reads here")


async def test_a_source_that_rests_is_not_woken_but_is_as_its_newest_answer_was() -> None:
    source = Resting()
    async with open_desk() as desk:
        services = replace(desk.services, metrics=Metrics(Catalogue([]), {"shop": source}))  # type: ignore[dict-item]
        now = desk.world.clock.now()
        for newest, well in (
            (None, None),
            (Answering(True, now), True),
            (Answering(False, now), False),
            (Answering(True, now - 2 * health.OF_LATE), None),
        ):
            source.newest_answer = newest
            await health.look(services)
            desk.world.clock.advance(health.SOURCES_EVERY.total_seconds())
            assert (state(services)[Part.SOURCE], source.looks) == (well, 0)
        source.rests = False
        await health.look(services)
        assert (state(services)[Part.SOURCE], source.looks) == (True, 1)


async def test_a_clock_that_stopped_is_late() -> None:
    async with open_desk() as desk:
        await health.tick(desk.services)
        assert state(desk.services)[Part.CLOCK] is True
        desk.world.clock.advance((SLOWEST_TICK + timedelta(seconds=1)).total_seconds())
        assert state(desk.services)[Part.CLOCK] is False


async def test_the_model_is_as_its_newest_answer_was() -> None:
    async with open_desk() as desk:
        settings = desk.services.settings.model_copy(update={"model": ModelOptions(name="small")})
        services = replace(desk.services, settings=settings)
        for number, (error, well) in enumerate([(None, True), ("timed out", False), (None, True)]):
            desk.world.clock.advance(60)
            await _asked(services, number, error)
            await health.look(services)
            assert state(services)[Part.MODEL] is well
        desk.world.clock.advance(health.OF_LATE.total_seconds() + 60)
        await health.look(services)
        assert state(services)[Part.MODEL] is None, "that was too long ago to say anything"


async def _asked(services: Services, number: int, error: str | None) -> None:
    at = services.clock.now()
    run = AgentRun(
        id=f"run-{number}", kind="turn", requester="UMIRA", model="small", model_parameters={}, prompt_version="1",
        inputs={}, outcome="done", started_at=at,
    )  # fmt: skip
    call = ModelCall(
        run_id=run.id, position=0, model="small", parameters={}, prompt_version="1", request=[], error=error,
        latency_s=1.0, started_at=at,
    )  # fmt: skip
    async with services.database.write() as session:
        session.add(run)
        await session.flush()
        session.add(call)

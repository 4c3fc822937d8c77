"""How well the parts are: looked at beforehand, said with when, and never made up."""

from dataclasses import replace
from datetime import timedelta

from agent.model import ModelOptions
from bot import health
from bot.health import SLOWEST_TICK, Finding, Part
from bot.services import Services
from tests.unit.notifier.desk import open_desk
from tools.flags.base import FlagServiceUnavailable
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

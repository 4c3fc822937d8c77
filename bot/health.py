"""How well the parts are that a rollout depends on: looked at now and then, so that nobody who asks has to wait."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import select

from tools.errors import SluiceError
from tools.metrics.base import MetricSource, RestingSource
from tools.records.models import ModelCall

if TYPE_CHECKING:
    from bot.services import Services

EVERY = timedelta(seconds=15)
SOURCES_EVERY = timedelta(minutes=2)
"""How often metric sources that were well are looked at: it takes a query for each metric, of their rate limits too."""
PATIENCE_S = 10.0
OF_LATE = timedelta(days=1)
"""For how long what the model, or a source that rests, did last says something about it."""
SLOWEST_TICK = timedelta(seconds=30)
NOT_WELL = "health.not_well"

logger = structlog.get_logger(__name__)


class Part(StrEnum):
    """What is looked at; each metric source by its name besides."""

    FLAGS = "flags"
    SOURCE = "source"
    MODEL = "model"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look found: well or not, None where there is nothing to say; `at` is when, None for never."""

    part: Part
    name: str
    well: bool | None
    at: datetime | None


@dataclass(slots=True)
class Health:
    """What was found last in this process, and when its clock came to the end of a round."""

    findings: dict[tuple[Part, str], Finding] = field(default_factory=dict)
    ticked_at: datetime | None = None

    def found(self, services: "Services") -> list[Finding]:
        """The state of every part that there is."""
        names = [(Part.FLAGS, services.settings.flags.type)]
        names += [(Part.SOURCE, name) for name in services.metrics.sources]
        names.append((Part.MODEL, services.settings.model.name or ""))
        known = [self.findings.get(one, Finding(*one, None, None)) for one in names]
        return [*known, self._clock(services.clock.now())]

    def _clock(self, now: datetime) -> Finding:
        at = self.ticked_at
        return Finding(Part.CLOCK, "", None if at is None else now - at <= SLOWEST_TICK, at)


async def look(services: "Services") -> None:
    """Look at every part; each look is bounded in time."""
    flags = _answers(Part.FLAGS, services.settings.flags.type, services.flags.check(), services)
    sources = [
        _source(name, source, services) for name, source in services.metrics.sources.items() if _is_due(name, services)
    ]
    for finding in [*await asyncio.gather(flags, *sources), await _model(services)]:
        services.health.findings[finding.part, finding.name] = finding


async def tick(services: "Services") -> None:
    """One round of the clock."""
    await services.controller.tick()
    services.health.ticked_at = services.clock.now()


def _is_due(source: str, services: "Services") -> bool:
    last = services.health.findings.get((Part.SOURCE, source))
    return not (last and last.well and last.at and services.clock.now() - last.at < SOURCES_EVERY)


async def _answers(part: Part, name: str, check: Awaitable[None], services: "Services") -> Finding:
    well = True
    try:
        async with asyncio.timeout(PATIENCE_S):
            await check
    except (SluiceError, TimeoutError) as error:
        well = False
        logger.warning(NOT_WELL, part=part.value, name=name, reason=str(error) or "no answer in time")
    return Finding(part, name, well, services.clock.now())


async def _source(name: str, source: MetricSource, services: "Services") -> Finding:
    """A warehouse that rests would be woken, and cost money, for being asked: its newest answer says how it is."""
    if not (isinstance(source, RestingSource) and source.rests):
        return await _answers(Part.SOURCE, name, source.check(), services)
    newest = source.newest_answer
    if newest is None or services.clock.now() - newest.at > OF_LATE:
        return Finding(Part.SOURCE, name, None, None)
    return Finding(Part.SOURCE, name, newest.well, newest.at)


async def _model(services: "Services") -> Finding:
    """What came of the newest request: to ask one more would cost money."""
    name = services.settings.model.name
    if name is None:
        return Finding(Part.MODEL, "", None, None)
    since = services.clock.now() - OF_LATE
    newest = select(ModelCall.error, ModelCall.started_at).where(ModelCall.started_at > since)
    async with services.database.read() as session:
        row = (await session.execute(newest.order_by(ModelCall.started_at.desc()).limit(1))).first()
    if row is None:
        return Finding(Part.MODEL, name, None, None)
    return Finding(Part.MODEL, name, row.error is None, row.started_at)

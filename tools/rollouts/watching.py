"""Looks at the specs behind plans: by the clock, at a bounded rate, and whenever exposure is about to rise."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tools.clock import Clock
from tools.errors import InvalidInput, NotFound, Unavailable
from tools.records.database import Database
from tools.records.models import PlanVersion, Rollout, SpecWatch, new_id
from tools.rollouts import staleness, store
from tools.rollouts.phases import LIVE, Phase
from tools.rollouts.staleness import Seen, SpecView
from tools.specs.base import SpecSource, read_again

PATIENCE_S = 6.0
"""How long whoever waits for a look waits; after that nobody knows, which is an answer too."""
TURN = timedelta(seconds=60)
"""After this long no further look is begun in a turn."""
MOST_A_TURN = 20
LOOKED_FOR = timedelta(seconds=30)
"""How often it is looked for which specs are due."""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """How the spec stands after a look, None for a plan without one, and whether people were told of a change by it."""

    view: SpecView | None = None
    news: bool = False


class SpecWatcher:
    """Reads the specs of open rollouts' plans again, each every `every`, whatever number of processes does so."""

    def __init__(self, database: Database, specs: SpecSource, clock: Clock, *, every: timedelta) -> None:
        self._database = database
        self._specs = specs
        self._clock = clock
        self._every = every

    async def turn(self) -> int:
        """Look at those that are due, one after the other, so that a source is asked no faster; how many that were.

        What there is no time for stays due, and is first in the next turn, this process's or another's.
        """
        looked_at, ends = 0, self._clock.now() + TURN
        while looked_at < MOST_A_TURN and (rollout_id := await self._claim()) is not None:
            await self._look_at_due(rollout_id)
            looked_at += 1
            if self._clock.now() >= ends:
                logger.warning("specs.slow", looked_at=looked_at)
                break
        return looked_at

    async def look(self, rollout_id: str) -> Look:
        """Look now. Raises RolloutNotFound."""
        async with self._database.read() as session:
            rollout = await store.load(session, rollout_id, lock=False)
            plan = await store.plan_of(session, rollout)
            watch = await session.get(SpecWatch, rollout_id)
            if plan.spec_sha256 is None or Phase(rollout.phase) not in LIVE | {Phase.PROPOSED}:
                return Look(await staleness.view(session, rollout, plan))
            flag, source = rollout.flag, "" if watch is None else watch.source
        seen = await self._seen(flag, source)

        async def act(session: AsyncSession) -> Look:
            found = await store.load(session, rollout_id)
            now_in_force = await store.plan_of(session, found)
            if now_in_force.spec_sha256 != plan.spec_sha256:
                return Look(await staleness.view(session, found, now_in_force))
            news = await staleness.note(session, found, now_in_force, seen, at=self._clock.now())
            return Look(await staleness.view(session, found, now_in_force), news)

        return await store.transact(self._database, act)

    async def _look_at_due(self, rollout_id: str) -> None:
        try:
            await self.look(rollout_id)
        except Exception:
            # The next ones are due at the same moment as this one, time and again.
            logger.exception("specs.faulty", of=rollout_id, reference=new_id()[:8])

    async def _seen(self, flag: str, source: str) -> Seen:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return Seen(spec=await read_again(self._specs, flag, source))
        except TimeoutError:
            return Seen(unread=f"{source} was not read within {PATIENCE_S:g} s")
        except Unavailable as error:
            return Seen(unread=str(error))
        except (NotFound, InvalidInput) as error:
            return Seen(problem=str(error))
        except Exception:
            # A spec that could not be looked at is none that stayed the same.
            reference = new_id()[:8]
            logger.exception("specs.faulty", of=flag, source=source, reference=reference)
            return Seen(unread=f"reading it went wrong, which the log has under {reference}")

    async def _claim(self) -> str | None:
        """A rollout whose spec is due; its next look is put off at once, so that nobody else takes it too."""
        now = self._clock.now()
        due = (
            select(SpecWatch.rollout_id)
            .join(Rollout, Rollout.id == SpecWatch.rollout_id)
            .join(PlanVersion, (PlanVersion.rollout_id == Rollout.id) & (PlanVersion.version == Rollout.plan_version))
            .where(Rollout.phase.in_((Phase.PROPOSED, *LIVE)), SpecWatch.due_at <= now)
            .order_by(SpecWatch.due_at)
            .limit(MOST_A_TURN)
        )
        async with self._database.read() as session:
            found = (await session.scalars(due)).all()

        async def act(session: AsyncSession) -> str | None:
            for rollout_id in found:
                taken = await session.execute(
                    update(SpecWatch)
                    .where(SpecWatch.rollout_id == rollout_id, SpecWatch.due_at <= now)
                    .values(due_at=now + self._every)
                    .returning(SpecWatch.rollout_id)
                )
                if taken.first() is not None:
                    return rollout_id
            return None

        return await store.transact(self._database, act) if found else None

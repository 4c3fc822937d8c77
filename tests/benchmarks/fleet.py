"""Many rollouts at once in one installation: bootstrap's own wiring, real databases, real time."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from bot.bootstrap import running_services
from bot.services import Services
from bot.settings import Settings
from tools.flags.base import FlagRef
from tools.flags.embedded import EmbeddedFlagService
from tools.plans.model import Exposure, Guardrail, Plan, Stage, Strategy
from tools.records import log
from tools.records.database import Database
from tools.records.log import Event
from tools.records.migrate import migrate
from tools.rollouts.service import Place

ENVIRONMENT, CONTROL, TREATMENT = "production", "old", "new"
ERRORS = "checkout_errors"
MIRA, JONAS = "UMIRA0001", "UJONAS001"
GOOD, BAD = 0.05, 0.5
REQUESTS = 400

QUERY = """
SELECT variant, SUM(exposures) AS exposures, SUM(events) AS events, MAX(at) AS newest
FROM requests WHERE flag = :flag AND at >= :start AND at < :end GROUP BY variant
"""


@dataclass
class Fleet:
    """Sluice, and the telemetry that it reads."""

    services: Services
    telemetry: Path

    async def start(self, flag: str) -> str:
        """A rollout whose first stage is served, due at every tick and never proven safe; its id."""
        rollouts, flags = self.services.rollouts, self.services.flags
        assert isinstance(flags, EmbeddedFlagService)
        await flags.define(FlagRef(flag, ENVIRONMENT), CONTROL, TREATMENT)
        proposed = await rollouts.propose(_plan(flag), requester=MIRA, place=Place("", "CRELEASES"), reason="measured")
        assert proposed.approval is not None
        return (await rollouts.approve(proposed.approval.id, actor=JONAS)).id

    def serve(self, flags: Sequence[str], rate: float = GOOD) -> None:
        """Requests of both variants just now, of which treatment's fail at that rate."""
        at = self.services.clock.now().timestamp()
        rows = [
            (flag, variant, at, REQUESTS, round(REQUESTS * failing))
            for flag in flags
            for variant, failing in ((CONTROL, GOOD), (TREATMENT, rate))
        ]
        with closing(sqlite3.connect(self.telemetry)) as database, database:
            database.executemany("INSERT INTO requests VALUES (?, ?, ?, ?, ?)", rows)

    async def events(self, rollout_id: str) -> list[Event]:
        """The rollout's part of the decision log."""
        async with self.services.database.read() as session:
            return [event async for event in log.read(session, rollout_id=rollout_id)]


@asynccontextmanager
async def open_fleet(directory: Path, url: str | None = None) -> AsyncIterator[Fleet]:
    """An installation on the database of that URL; on SQLite in `directory` without one."""
    url = url or f"sqlite:///{directory / 'sluice.db'}"
    telemetry = directory / "telemetry.db"
    with closing(sqlite3.connect(telemetry)) as shop, shop:
        shop.execute("PRAGMA journal_mode = WAL")
        shop.execute("CREATE TABLE requests (flag TEXT, variant TEXT, at REAL, exposures INT, events INT)")
        shop.execute("CREATE INDEX ix_requests ON requests (flag, at)")
    metric = {"source": "shop", "title": "Failed checkouts", "time_format": "epoch", "settle": 0, "query": QUERY}
    settings = Settings.model_validate(
        {
            "database": {"url": url},
            "policy": {"approvers": (MIRA, JONAS)},
            "sources": {"shop": {"url": f"sqlite:///{telemetry}"}},
            "metrics": {ERRORS: metric},
        }
    )
    database = Database(url)
    await migrate(database)
    await database.close()
    async with running_services(settings) as services:
        yield Fleet(services, telemetry)


def _plan(flag: str) -> Plan:
    hour = timedelta(hours=1)
    stage = Stage(exposure=Exposure(percent=10), bake=hour, time_limit=2 * hour, guardrails=(Guardrail(metric=ERRORS),))
    return Plan(
        flag=flag,
        environment=ENVIRONMENT,
        control=CONTROL,
        treatment=TREATMENT,
        strategy=Strategy.CANARY,
        stages=(stage,),
        burn_in=timedelta(0),
        check_every=timedelta(milliseconds=1),
    )

"""The only place where parts are wired together: from settings to running services."""

import os
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

from slack_sdk.web.async_client import AsyncWebClient
from sqlalchemy.exc import SQLAlchemyError

from agent.desk import Desk
from agent.planner import Planner
from agent.planning.drafter import Drafter
from bot.brain import Brain, OpenModel, SharedModel
from bot.clients import Clients, OneToken
from bot.installations import Installations, check_oauth
from bot.people import SlackPeople
from bot.services import Services
from bot.settings import Settings
from bot.zones import Zones
from tools.clock import Clock, SystemClock
from tools.errors import ConfigurationError, Unavailable
from tools.flags.base import FlagService
from tools.flags.base import close as close_flags
from tools.flags.registry import FlagServiceParts, create_flag_service
from tools.jobs.base import Jobs
from tools.jobs.registry import create_jobs
from tools.metrics.base import BadSource, MetricSource
from tools.metrics.catalogue import BadDefinition
from tools.metrics.registry import create_metric_source
from tools.metrics.router import Metrics
from tools.records.database import Database
from tools.records.migrate import is_current
from tools.rollouts.controller import Controller
from tools.rollouts.service import RolloutService
from tools.rollouts.watching import SpecWatcher
from tools.specs.base import SpecSource
from tools.specs.base import close as close_specs
from tools.specs.composite import SpecSources
from tools.specs.options import TAKES, BadSpecSource, SpecSourceOptions
from tools.specs.registry import SpecParts, create_spec_source


class SchemaOutdated(Unavailable):
    """The database's schema is not this release's."""


@asynccontextmanager
async def running_services(
    settings: Settings, *, clock: Clock | None = None, opened: OpenModel | None = None
) -> AsyncIterator[Services]:
    """Every part, wired and ready; closed in reverse order. Jobs are started by whoever registered their handlers.

    `opened` opens the model; None: the one that the settings name.

    Raises ConfigurationError, SchemaOutdated, Unavailable.
    """
    clock = clock or SystemClock()
    owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    async with AsyncExitStack() as stack:
        database = await _open_database(settings, stack)
        metrics = create_metrics(settings)
        stack.push_async_callback(metrics.close)
        flags, specs = create_flags(settings, database, clock), create_specs(settings, clock)
        stack.push_async_callback(close_flags, flags)
        stack.push_async_callback(close_specs, specs)
        jobs = create_job_runner(settings, database, clock, owner)
        stack.push_async_callback(jobs.stop)
        watcher = SpecWatcher(database, specs, clock, every=settings.specs.look_every)
        controller = Controller(
            database,
            flags,
            metrics,
            settings.policy,
            clock,
            owner=owner,
            lease=settings.scheduler.lease,
            flag_timeout=settings.flags.timeout,
            patience=settings.scheduler.tick,
            budget_window=settings.planning.traffic_window,
            specs=watcher,
        )
        stack.push_async_callback(controller.close)
        model = SharedModel(settings.model, opened)
        drafter = Drafter(settings.model, model, database, clock)
        planner = Planner(specs, flags, metrics, settings.policy, settings.planning, clock, drafter, database)
        kinds = metrics.catalogue.kinds
        clients = create_clients(settings, database)
        rollouts = RolloutService(
            database,
            flags,
            settings.policy,
            clock,
            wake=controller.carry_out,
            kinds=kinds,
            people=SlackPeople(clients, clock),
            many=settings.slack.many_workspaces,
            specs=watcher,
        )
        desk = Desk(database, clock, flags, metrics, specs, settings.policy, planner, rollouts)
        yield Services(
            settings=settings,
            clock=clock,
            database=database,
            flags=flags,
            metrics=metrics,
            specs=specs,
            watcher=watcher,
            jobs=jobs,
            rollouts=rollouts,
            controller=controller,
            planner=planner,
            agent=Brain(desk, settings.model, model),
            clients=clients,
            zones=Zones(clients, clock),
        )


async def check_schema(database: Database) -> None:
    """Return when the database answers and its schema is this release's. Raises Unavailable, SchemaOutdated."""
    check_there(database)
    try:
        current = await is_current(database)
    except (SQLAlchemyError, OSError) as error:
        # The driver's message may repeat the URL with its password.
        raise Unavailable(
            f"The database {shown_url(database)} can't be reached "
            f"({type(error).__name__}): see whether it is up, and whether SLUICE_DATABASE_URL is right."
        ) from None
    if not current:
        raise SchemaOutdated("The database's schema is not this release's: run `sluice migrate`.")


def check_there(database: Database) -> None:
    """Raise SchemaOutdated for a SQLite file that does not exist, which connecting would make."""
    if database.file is not None and not database.file.exists():
        raise SchemaOutdated(
            f"There is no database {database.file}: run `sluice migrate`, or correct SLUICE_DATABASE_URL."
        )


def shown_url(database: Database) -> str:
    """The database's URL as people write it, without its password."""
    return database.url.set(drivername=database.url.get_backend_name()).render_as_string(hide_password=True)


def create_clients(settings: Settings, database: Database) -> Clients[AsyncWebClient]:
    """The client of each workspace that the app is installed in. Raises ConfigurationError."""
    if settings.slack.many_workspaces:
        check_oauth(settings)
        return Installations(database, settings)
    return OneToken(settings.slack.bot_token, settings.slack.api_url)


def create_metrics(settings: Settings) -> Metrics:
    """Every metric source, behind one door. Raises ConfigurationError."""
    sources, catalogue = dict[str, MetricSource](), settings.catalogue
    for name, source in settings.sources.items():
        with naming(settings, "sources", name):
            sources[name] = create_metric_source(source.type, catalogue.of_source(name), source.access)
    with naming(settings, "metrics"):
        return Metrics(catalogue, sources)


def create_flags(settings: Settings, database: Database, clock: Clock) -> FlagService:
    """The flag service. Raises ConfigurationError."""
    flags = settings.flags
    parts = FlagServiceParts(
        database,
        clock,
        flags.timeout,
        settings.environment,
        unleash=flags.unleash,
        flagd=flags.flagd,
        gofeatureflag=flags.gofeatureflag,
        flagsmith=flags.flagsmith,
        growthbook=flags.growthbook,
        launchdarkly=flags.launchdarkly,
    )
    with naming(settings, "flags", "type"):
        return create_flag_service(flags.type, parts)


def create_specs(settings: Settings, clock: Clock) -> SpecSource:
    """The spec source, which may be several as one. Raises ConfigurationError."""
    specs, parts = settings.specs, SpecParts(clock)
    if not specs.sources:
        with naming(settings, "specs"):
            if specs.type not in ("folder", "memory") and specs.type in TAKES:
                message = "Write this source as a table of its own: [specs.sources.NAME]."
                raise BadSpecSource(message, field="type")
            folder = {"path": str(specs.path)} if specs.type == "folder" else {}
            return create_spec_source(SpecSourceOptions.model_validate({"type": specs.type, **folder}), parts)
    sources = dict[str, SpecSource]()
    for name, options in specs.sources.items():
        with naming(settings, "specs", "sources", name):
            sources[name] = create_spec_source(options, parts)
    return SpecSources(sources)


def create_job_runner(settings: Settings, database: Database, clock: Clock, owner: str) -> Jobs:
    """The job runner. Raises ConfigurationError."""
    with naming(settings, "jobs", "type"):
        return create_jobs(
            settings.jobs.type, database=database, clock=clock, owner=owner, concurrency=settings.jobs.concurrency
        )


@contextmanager
def naming(settings: Settings, *key: str) -> Iterator[None]:
    """Name the setting that a part refused, as it was written: `key`, or a more exact one where the error knows it."""
    try:
        yield
    except BadDefinition as error:
        raise ConfigurationError(f"{settings.name_of('metrics', error.metric, error.field)}: {error}") from None
    except (BadSource, BadSpecSource) as error:
        raise ConfigurationError(f"{settings.name_of(*key, error.field)}: {error}") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{settings.name_of(*key)}: {error}") from None


async def _open_database(settings: Settings, stack: AsyncExitStack) -> Database:
    database = Database(settings.database.url.get_secret_value())
    stack.push_async_callback(database.close)
    await check_schema(database)
    return database

"""The running process: Slack in, the clock, HTTP; and a graceful end."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
import uvicorn
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from starlette.applications import Starlette

from bot import backtests, health
from bot.app import build_app
from bot.bootstrap import running_services
from bot.following import Follower
from bot.homes import HOMES_EVERY, Homes
from bot.http import build_http
from bot.installations import Installations, check_oauth
from bot.listeners import conversing
from bot.missed import Missed, any_connected
from bot.notifier import Notifier
from bot.picturing import DRAWN_EVERY, Pictures
from bot.scheduler import TICK, Scheduler
from bot.services import Services
from bot.settings import Settings
from bot.spans import exported_spans
from bot.telemetry import state
from bot.telemetry.instruments import Instruments
from bot.telemetry.process import metrics_route, observed
from tools.errors import ConfigurationError
from tools.records import retention
from tools.rollouts.retention import delete_checks
from tools.rollouts.watching import LOOKED_FOR

SHUTDOWN_SECONDS = 5
NO_SOCKET_MODE = "serve.no_socket_mode"
STARTED = "serve.started"
STOPPING = "serve.stopping"

logger = structlog.get_logger(__name__)
COLLECTED_AFTER = (20_000, 50, 100)


async def serve(settings: Settings, *, http: bool, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; a second signal ends the process at once.

    With `http`, Slack's requests come to POST /slack/events; without, over Socket Mode. The clock runs in every
    process, because a rollback must not depend on another process having been started. `announce` is told the address.

    Raises ConfigurationError, Unavailable.
    """
    check_tokens(settings, http=http)
    stop = asyncio.Event()
    with exported_spans(os.environ), _until_signalled(stop):
        async with running(settings, http=http) as address:
            announce(address)
            spare_collections()
            await stop.wait()
            logger.info(STOPPING)


def spare_collections() -> None:
    """Have the garbage collector look at what was imported no more, and less often at the rest.

    A full collection over all that was imported takes 0.1 s, in which nothing is acknowledged, and a tick of a thousand
    rollouts makes some hundred thousand objects, which by Python's own thresholds are looked at 200 times.
    """
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)


@asynccontextmanager
async def running(settings: Settings, *, http: bool) -> AsyncIterator[str]:
    """The whole bot, running in this event loop; the address of its HTTP side. Stopped in reverse order."""
    async with AsyncExitStack() as stack:
        listener = _listen(settings.http.host, settings.http.port, "SLUICE_HTTP_PORT")
        stack.callback(listener.close)
        services = await stack.enter_async_context(running_services(settings))
        instruments = await stack.enter_async_context(observed(services))
        slack = build_app(services)
        notifier = Notifier(services, services.clients)
        stack.push_async_callback(notifier.close)
        scheduler = _scheduler(services, notifier, Pictures(services, services.clients))
        scheduler.every(state.EVERY, "telemetry", state.State(services, instruments).turn)
        stack.push_async_callback(scheduler.stop)
        backtests.register(services)
        await services.jobs.start()
        scheduler.start()
        # Once nothing comes in any more, and while everything that it needs is still there.
        stack.push_async_callback(services.underway.ended)
        apart = settings.telemetry.port is not None
        front = build_http(services, scheduler, slack if http else None, None if apart else instruments)
        await stack.enter_async_context(serving(front, listener))
        if apart:
            await stack.enter_async_context(_metrics_apart(settings, instruments))
        if not http:
            await stack.enter_async_context(socket_mode(slack, services))
        address = f"http://{settings.http.host}:{listener.getsockname()[1]}"
        logger.info(STARTED, address=address, slack="http" if http else "socket_mode", pid=os.getpid())
        yield address


def check_tokens(settings: Settings, *, http: bool) -> None:
    """Raise ConfigurationError when a token that this way of serving needs is missing."""
    slack = settings.slack
    if slack.many_workspaces:
        check_oauth(settings)
    elif slack.bot_token is None:
        raise ConfigurationError(
            "SLUICE_SLACK_BOT_TOKEN is not set: give the bot token (xoxb-…) that installing the Slack app made."
        )
    if http and slack.signing_secret is None:
        raise ConfigurationError(
            "SLUICE_SLACK_SIGNING_SECRET is not set: `serve --http` checks Slack's signatures with it."
        )
    if not http and slack.app_token is None and slack.signing_secret is None:
        raise ConfigurationError(
            "SLUICE_SLACK_APP_TOKEN is not set: give the app-level token (xapp-…) for Socket Mode, or set "
            "SLUICE_SLACK_SIGNING_SECRET and run `sluice serve --http` for Slack over HTTP."
        )


class QuietServer(uvicorn.Server):
    """uvicorn without its signal handlers: who runs it decides when it ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


@asynccontextmanager
async def serving(app: Starlette, listener: socket.socket) -> AsyncIterator[None]:
    """The application, served on the listener; requests under way may end when the block does."""
    server = QuietServer(
        uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
    )
    task = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    try:
        yield
    finally:
        server.should_exit = True
        await task


def _scheduler(services: Services, notifier: Notifier, pictures: Pictures) -> Scheduler:
    timing = services.settings.scheduler
    scheduler = Scheduler(services.clock)
    scheduler.every(timing.tick, TICK, lambda: health.tick(services))
    scheduler.every(health.EVERY, "health", lambda: health.look(services))
    scheduler.every(HOMES_EVERY, "homes", Homes(services, services.clients).turn)
    scheduler.every(timing.delivery, "delivery", notifier.post_due)
    scheduler.every(timing.delivery, "cards", notifier.edit_due)
    scheduler.every(timing.tick, "followers", Follower(services).turn)
    scheduler.every(DRAWN_EVERY, "pictures", pictures.turn)
    scheduler.every(
        retention.EVERY,
        "retention",
        lambda: retention.delete_ended(services.database, now=services.clock.now()),
    )
    installed = services.clients
    if isinstance(installed, Installations):
        forget = installed.forget_expired_states
        scheduler.every(retention.EVERY, "installations", lambda: forget(now=services.clock.now()))
    scheduler.every(conversing.FORGOTTEN_EVERY, "conversations", lambda: conversing.take_up_forgotten(services))
    scheduler.every(backtests.LOOKED_FOR_EVERY, "backtests", lambda: backtests.take_up(services))
    scheduler.every(LOOKED_FOR, "specs", services.watcher.turn)
    keep = services.settings.database.keep_checks
    scheduler.every(
        retention.EVERY,
        "check retention",
        lambda: delete_checks(services.database, now=services.clock.now(), keep=keep),
    )
    return scheduler


@asynccontextmanager
async def socket_mode(app: AsyncApp, services: Services) -> AsyncIterator[None]:
    """Connections to Slack that are made in the background and again for as long as the block runs.

    Slack sends each event over one of them, so that while one is made anew nothing is lost; what people wrote while
    there was none is looked up.
    """
    slack = services.settings.slack
    if slack.app_token is None:
        # Beside a process with --http this one is only the clock.
        logger.warning(NO_SOCKET_MODE, reason="SLUICE_SLACK_APP_TOKEN is not set")
        yield
        return
    token = slack.app_token.get_secret_value()
    clients: list[Any] = [AsyncSocketModeHandler(app, token).client for _ in range(slack.connections)]
    # Slack being away must not keep rollouts from being watched, so nobody waits for the connections.
    tasks = [asyncio.create_task(client.connect(), name="socket-mode") for client in clients]
    missed = Missed(services, lambda: any_connected(clients))
    tasks.append(asyncio.create_task(missed.watch(), name="missed-messages"))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(client.close() for client in clients))


@asynccontextmanager
async def _metrics_apart(settings: Settings, instruments: Instruments) -> AsyncIterator[None]:
    """The process's metrics on a port of their own, which need not be reachable from where Slack is."""
    assert settings.telemetry.port is not None
    with contextlib.closing(_listen(settings.http.host, settings.telemetry.port, "SLUICE_TELEMETRY_PORT")) as listener:
        app = Starlette(routes=[metrics_route(instruments, settings.telemetry.token)])
        async with serving(app, listener):
            yield


def _listen(host: str, port: int, variable: str) -> socket.socket:
    try:
        listener = socket.create_server((host, port))
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not an address of this machine"
        raise ConfigurationError(
            f"Sluice can't listen on {host}:{port} ({reason}): set {variable}, or SLUICE_HTTP_HOST."
        ) from None
    # asyncio turns Nagle's delay (40 ms an answer) off only for sockets it made itself; accepted ones inherit this.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


@contextlib.contextmanager
def _until_signalled(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def begin_to_stop() -> None:
        stop.set()
        for one in signals:
            loop.remove_signal_handler(one)

    for one in signals:
        loop.add_signal_handler(one, begin_to_stop)
    try:
        yield
    finally:
        for one in signals:
            loop.remove_signal_handler(one)

"""`sluice doctor`: everything that Sluice needs, each with what to do when it is not there."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

import aiohttp
import structlog
from pydantic import SecretStr
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from agent.model import ModelOptions, Style, open_model
from agent.probe import PROBE_SECONDS, probe
from bot.bootstrap import (
    check_schema,
    check_there,
    create_clients,
    create_flags,
    create_job_runner,
    create_metrics,
    create_specs,
    shown_url,
)
from bot.installations import Installations, Installed
from bot.manifest import BOT_SCOPES, INSTALL_PATH
from bot.people import SlackPeople
from bot.settings import Settings, SlackSettings
from bot.spans import ENDPOINTS, collector
from bot.telemetry.process import PATH
from tools.clock import Clock
from tools.errors import SluiceError, Unavailable
from tools.flags.base import FlagService
from tools.flags.base import close as close_flags
from tools.metrics.base import MetricSource
from tools.metrics.router import Metrics
from tools.people.base import People
from tools.plans.policy import STRANGERS, ApprovalRule, Policy, is_group, must_be_member, people_in
from tools.records.database import Database
from tools.specs.base import SpecSource
from tools.specs.base import close as close_specs
from tools.specs.composite import SpecSources

MAX_SKEW = timedelta(seconds=10)
PATIENCE_S = 20.0
SLACK_TIMEOUT_S = 10
LOOK_FAILED = "doctor.look_failed"

log = structlog.get_logger(__name__)

SLACK_ERRORS = {
    "invalid_auth": "the token is not one of Slack's: copy it again",
    "not_authed": "the token is empty: copy it again",
    "account_inactive": "the app was removed from the workspace: install it again",
    "token_revoked": "the token was revoked: install the app again and copy the new one",
    "token_expired": "the token has expired: install the app again and copy the new one",
    "not_allowed_token_type": "another kind of token: the bot token begins with xoxb-, the app token with xapp-",
    "missing_scope": "the token lacks a scope: the app token needs connections:write",
    "channel_not_found": "there is no such channel, or Sluice was not invited to it: /invite it there",
}


class State(StrEnum):
    OK = "ok"
    NOTE = "note"  # works, but somebody should know
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found, and what to do where it is not well."""

    what: str
    state: State
    says: str


class NotWell(Unavailable):
    """Something that Sluice needs is not as it must be; the message says what to do."""


async def examine(settings: Settings, clock: Clock) -> list[Finding]:
    """Look at everything; each look is bounded in time and none keeps another from being made.

    Raises ConfigurationError, as every command does, when Sluice can't be put together from these settings.
    """
    async with AsyncExitStack() as stack:
        database = Database(settings.database.url.get_secret_value())
        stack.push_async_callback(database.close)
        metrics = create_metrics(settings)
        stack.push_async_callback(metrics.close)
        flags, specs = create_flags(settings, database, clock), create_specs(settings, clock)
        stack.push_async_callback(close_flags, flags)
        stack.push_async_callback(close_specs, specs)
        create_job_runner(settings, database, clock, owner="doctor")
        return [
            _settings(settings),
            await _look("database", _database(database)),
            await _look("database clock", _database_clock(database, clock)),
            await _look("flags", _flags(settings, flags, database)),
            *[finding async for finding in _metrics(settings, metrics)],
            *[finding async for finding in _specs(settings, specs)],
            *[finding async for finding in _slack(settings, database, clock)],
            *[finding async for finding in _policies(settings, SlackPeople(create_clients(settings, database)))],
            await _look("model", _model(settings.model), PROBE_SECONDS * 2),
            _telemetry(settings, os.environ),
        ]


def healthy(findings: Iterable[Finding]) -> bool:
    """Whether nothing failed."""
    return all(finding.state is not State.FAIL for finding in findings)


async def _look(what: str, look: Awaitable[str | Finding], patience_s: float = PATIENCE_S) -> Finding:
    try:
        async with asyncio.timeout(patience_s):
            said = await look
    except TimeoutError:
        return Finding(what, State.FAIL, f"no answer within {patience_s:g} s: see whether it is up and reachable")
    except SluiceError as error:
        return Finding(what, State.FAIL, str(error))
    except Exception:  # noqa: BLE001 - one look's fault keeps no other from being made
        return _fault(what)
    return said if isinstance(said, Finding) else Finding(what, State.OK, said)


def _fault(what: str) -> Finding:
    reference = secrets.token_hex(4)
    log.exception(LOOK_FAILED, of=what, reference=reference)
    return Finding(what, State.FAIL, f"looking failed by a fault of Sluice; the log has it under {reference}")


def _settings(settings: Settings) -> Finding:
    return Finding("settings", State.OK, f"read; commands mean {settings.environment} when they name no environment")


async def _database(database: Database) -> str:
    await check_schema(database)
    return f"{shown_url(database)}, schema current"


async def _flags(settings: Settings, flags: FlagService, database: Database) -> str:
    check_there(database)
    await flags.check()
    able = flags.capabilities
    delay = f", services see a change within {able.read_back_delay.total_seconds():g} s" if able.read_back_delay else ""
    return f"{settings.flags.type} answers{delay}"


async def _specs(settings: Settings, specs: SpecSource) -> AsyncIterator[Finding]:
    if not isinstance(specs, SpecSources):
        yield await _look("specs", _specs_in(specs, str(settings.specs.path)))
        return
    for name, source in specs.sources.items():
        yield await _look(f"specs {name}", _specs_in(source, settings.specs.sources[name].type))


async def _specs_in(source: SpecSource, where: str) -> str | Finding:
    await source.check()
    found = len(await source.list())
    return f"{found} in {where}"


async def _metrics(settings: Settings, metrics: Metrics) -> AsyncIterator[Finding]:
    if not settings.metrics:
        yield Finding("metrics", State.FAIL, "no [metrics.NAME] in sluice.toml: a gate has nothing to look at")
    for name, source in metrics.sources.items():
        yield await _look(f"metrics {name}", _source(source, settings, name))


async def _source(source: MetricSource, settings: Settings, name: str) -> str:
    await source.check()
    metrics = [metric.name for metric in settings.metrics.values() if metric.source == name]
    return f"answers: {', '.join(metrics) or 'no metrics'}"


async def _policies(settings: Settings, people: People) -> AsyncIterator[Finding]:
    """The policy, or that of each workspace that may install the app."""
    if not settings.slack.many_workspaces:
        yield await _look("policy", _policy(settings.policy, people, ""))
    for workspace in settings.slack.allowed_workspaces if settings.slack.many_workspaces else ():
        found = await _look("policy", _policy(settings.policy.of(workspace), people, workspace))
        yield Finding(f"policy {workspace}", found.state, found.says)


async def _policy(policy: Policy, people: People, workspace: str) -> str | Finding:
    if not policy.approvers and not policy.approval:
        return Finding("policy", State.FAIL, "policy.approvers is empty: name who may approve, by Slack user id")
    counts, tight = list[str](), list[str]()
    for name, rule in _rules(policy):
        approvers = await _able(policy, rule.approvers, people, workspace)
        await _able(policy, rule.backup, people, workspace)
        if approvers < rule.needed:
            raise NotWell(f"{name}: {rule.needed} must approve, but it names {approvers} who can: add people")
        counts.append(f"{name}: {rule.needed} of {approvers}")
        if approvers == rule.needed:
            tight.append(name)
    if tight:
        only = "one approver only" if tight == ["policy.approvers"] and len(policy.approvers) == 1 else "none to spare"
        return Finding(
            "policy", State.NOTE, f"{', '.join(tight)}: {only}; nobody can approve what one of them asks for"
        )
    if not policy.approvers and all(rule.environments or rule.tags for rule in policy.approval):
        return Finding("policy", State.NOTE, "policy.approvers is empty: what no rule is meant for can't be approved")
    return "; ".join(counts)


def _rules(policy: Policy) -> list[tuple[str, ApprovalRule]]:
    """Every rule with the key that it has in sluice.toml."""
    rules = [(f"policy.approval[{number}]", rule) for number, rule in enumerate(policy.approval)]
    if policy.approvers:
        rules.append(("policy.approvers", ApprovalRule(approvers=policy.approvers, backup=policy.backup)))
    return rules


async def _able(policy: Policy, names: Sequence[str], people: People, workspace: str) -> int:
    """For how many people the names stand who may approve."""
    groups = {group: await people.members(group, workspace=workspace) for group in filter(is_group, names)}
    asked = [one for one in people_in(names, groups) if must_be_member(policy, one)]
    return len(people_in(names, {**groups, STRANGERS: await people.strangers(asked, workspace=workspace)}))


async def _model(options: ModelOptions) -> str | Finding:
    """What the model can do, found out by asking it."""
    if options.name is None:
        return "none is configured; commands, buttons and the calculators' plans work without it"
    model = await asyncio.to_thread(open_model, options)
    abilities = await probe(model, options)
    said = f"{options.name}: {abilities.advice(options.style)}"
    fits = options.style is abilities.best or (options.style is Style.TEXT)
    return Finding("model", State.OK if fits else State.NOTE, said)


def _telemetry(settings: Settings, environ: Mapping[str, str]) -> Finding:
    told, front = settings.telemetry, settings.http
    port = front.port if told.port is None else told.port
    readers = "whoever reaches the port" if told.token is None else "who has the token"
    named = collector(environ)
    spans = f"spans go where {named} says" if named else f"no spans: {ENDPOINTS[-1]} is not set"
    return Finding("telemetry", State.OK, f"metrics at {front.host}:{port}{PATH} for {readers}; {spans}")


async def _slack(settings: Settings, database: Database, clock: Clock) -> AsyncIterator[Finding]:
    slack = settings.slack
    client = _client(slack)
    if slack.many_workspaces:
        async for finding in _installed(settings, database):
            yield finding
    else:
        yield await _look("slack bot token", _bot_token(client, slack))
    yield await _look("slack app token", _app_token(client, slack))
    yield _signing_secret(slack)
    if slack.bot_token is not None:
        yield await _look("slack clock", _slack_clock(client, clock))
        for what, channel in (("releases", slack.releases_channel), ("alerts", slack.alerts_channel)):
            yield await _look(f"slack {what}", _channel(client, what, channel))
        for number, route in enumerate(slack.route):
            yield await _look(f"slack route[{number}]", _routed(client, f"slack.route[{number}]", route.channel))


async def _installed(settings: Settings, database: Database) -> AsyncIterator[Finding]:
    """The workspaces that installed the app by OAuth, and whether Sluice can still speak in each."""
    installations, where = Installations(database, settings), f"{settings.http.public_url}{INSTALL_PATH}"
    try:
        check_there(database)
        found = {one.workspace: one for one in await installations.all()}
    except (SluiceError, SQLAlchemyError):
        yield Finding("slack workspaces", State.FAIL, "not known: see the line on the database")
        return
    except Exception:  # noqa: BLE001 - as in every look
        yield _fault("slack workspaces")
        return
    for workspace in sorted({*found, *settings.slack.allowed_workspaces}):
        yield await _look(f"slack {workspace}", _workspace(installations, workspace, found.get(workspace), where))


async def _workspace(
    installations: Installations, workspace: str, installed: Installed | None, where: str
) -> str | Finding:
    what = f"slack {workspace}"
    if installed is None:
        return Finding(what, State.NOTE, f"has not installed the app: open {where}")
    if not installed.allowed:
        return Finding(what, State.NOTE, f"{installed.name} is not served: it is not in slack.allowed_workspaces")
    client = await installations.of(workspace)
    await _call(client.auth_test(), f"the token of {installed.name}")
    if missing := BOT_SCOPES - installed.scopes:
        raise NotWell(f"the app lacks {', '.join(sorted(missing))} in {installed.name}: open {where} there again")
    return f"installed in {installed.name}, with every scope"


def _client(slack: SlackSettings) -> AsyncWebClient:
    return AsyncWebClient(token=_text(slack.bot_token), base_url=slack.api_url, timeout=SLACK_TIMEOUT_S)


async def _bot_token(client: AsyncWebClient, slack: SlackSettings) -> str:
    if slack.bot_token is None:
        raise NotWell("SLUICE_SLACK_BOT_TOKEN is not set: install the Slack app and copy its bot token (xoxb-…)")
    answer = await _call(client.auth_test(), "SLUICE_SLACK_BOT_TOKEN")
    granted = answer.headers.get("x-oauth-scopes")
    if granted is not None and (missing := BOT_SCOPES - {scope.strip() for scope in granted.split(",")}):
        raise NotWell(f"the app lacks {', '.join(sorted(missing))}: paste manifest.yaml again and reinstall the app")
    return f"{answer['user']} in {answer['team']}, with every scope"


async def _app_token(client: AsyncWebClient, slack: SlackSettings) -> str | Finding:
    if slack.app_token is None and slack.signing_secret is not None:
        return Finding("slack app token", State.NOTE, "not set: Slack's requests come over HTTP only (serve --http)")
    if slack.app_token is None:
        raise NotWell("SLUICE_SLACK_APP_TOKEN is not set: make an app-level token with the scope connections:write")
    token = slack.app_token.get_secret_value()
    await _call(client.apps_connections_open(app_token=token), "SLUICE_SLACK_APP_TOKEN")
    return "opens Socket Mode"


def _signing_secret(slack: SlackSettings) -> Finding:
    if slack.signing_secret is None:
        return Finding("slack signing", State.NOTE, "SLUICE_SLACK_SIGNING_SECRET is not set: serve --http needs it")
    return Finding("slack signing", State.OK, "set")


async def _slack_clock(client: AsyncWebClient, clock: Clock) -> str:
    answer = await _call(client.api_test(), "Slack")
    stated = answer.headers.get("Date") or answer.headers.get("date")
    if stated is None:
        return "Slack did not tell its time"
    return _skew("Slack's", clock.now() - parsedate_to_datetime(stated).astimezone(UTC))


async def _channel(client: AsyncWebClient, what: str, channel: str | None) -> str | Finding:
    if channel is None:
        return Finding(f"slack {what}", State.NOTE, f"slack.{what}_channel is not set: {_UNSET[what]}")
    answer = await _call(client.conversations_info(channel=channel), f"slack.{what}_channel")
    if not answer["channel"].get("is_member"):
        raise NotWell(f"Sluice is not in #{answer['channel'].get('name', channel)}: /invite it there")
    return f"#{answer['channel'].get('name', channel)}"


async def _routed(client: AsyncWebClient, key: str, channel: str) -> str:
    answer = await _call(client.conversations_info(channel=channel), f"{key}.channel")
    if not answer["channel"].get("is_member"):
        raise NotWell(f"Sluice is not in #{answer['channel'].get('name', channel)} of {key}: /invite it there")
    return f"#{answer['channel'].get('name', channel)}"


_UNSET = {
    "releases": "plans can be proposed in Slack only, not with `sluice plan --propose`",
    "alerts": "what concerns no rollout's thread has nowhere to go",
}


async def _database_clock(database: Database, clock: Clock) -> str:
    if database.is_sqlite:
        return "SQLite goes by this machine's clock"
    try:
        async with database.read() as session:
            theirs: datetime = (await session.execute(text("SELECT clock_timestamp()"))).scalar_one()
    except (SQLAlchemyError, OSError):
        raise NotWell("the database did not tell its time: see the line on the database") from None
    return _skew("the database's", clock.now() - theirs)


def _skew(whose: str, difference: timedelta) -> str:
    if abs(difference) > MAX_SKEW:
        raise NotWell(
            f"this machine's clock is {abs(difference).total_seconds():.0f} s off {whose}: keep it right with NTP"
        )
    return f"within {MAX_SKEW.total_seconds():g} s of {whose}"


async def _call(asked: Awaitable[Any], about: str) -> Any:
    try:
        return await asked
    except SlackApiError as error:
        code = str(error.response.get("error", "unknown"))
        raise NotWell(f"{about}: {SLACK_ERRORS.get(code, f'Slack refused it ({code})')}") from None
    except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise NotWell(
            f"Slack can't be reached ({type(error).__name__}): see the network, a proxy, and SLUICE_SLACK_API_URL"
        ) from None


def _text(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()

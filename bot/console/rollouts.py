"""Rollouts on the command line: plan, status, history, rollback, kill."""

import getpass
import json
import os
from collections.abc import Iterator
from datetime import datetime

import typer

from agent.planner import PlanRequest, Proposal
from bot.console.tables import as_json, counted, moment, table
from bot.services import Services
from bot.settings import SlackSettings
from tools.clock import in_words
from tools.errors import ConfigurationError, Conflict, NotFound
from tools.gates import Verdict
from tools.plans.model import Stage, Strategy
from tools.records import log
from tools.rollouts.phases import Phase, words
from tools.rollouts.service import Place
from tools.rollouts.staleness import SpecState
from tools.rollouts.views import ApprovalView, CheckView, RolloutView

HEADS = ("FLAG", "ENVIRONMENT", "PHASE", "STAGE", "SERVES", "GATE")
DETAILS = (
    "exposure",
    "before",
    "after",
    "target",
    "metric",
    "until",
    "known_good",
    "version",
    "reason",
    "why",
    "answer",
    "summary",
    "error",
)
"""The facts of an event that its line shows, in this order."""


def actor() -> str:
    """Who acts: the account of this machine, which is no Slack user."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        # A container may run as a number that has no account; KeyError before Python 3.13.
        return f"cli:uid-{os.getuid()}"


async def plan(
    services: Services,
    flag: str,
    environment: str,
    strategy: Strategy | None,
    *,
    propose: bool,
    replace: bool = False,
    workspace: str | None = None,
) -> None:
    """Print a plan; with `propose` put it before people in the releases channel, of `workspace` where there are many.

    A plan that somebody else asked for keeps its place without `replace`. Raises ConfigurationError, Conflict.
    """
    if propose or workspace is not None:
        _check_workspace(services.settings.slack, workspace)
    mine = services if workspace is None else services.of(workspace)
    wish = PlanRequest(flag, environment, strategy, actor(), scope=mine.rollouts.scope)
    proposal = await services.planner.propose(wish)
    typer.echo("\n".join(_plan_lines(proposal)))
    if propose:
        if not replace:
            await _check_own(mine, flag, environment)
        view = await _propose(mine, proposal, workspace)
        typer.echo(f"\nProposed as version {view.plan_version}: {_waiting(view)}")


async def status(services: Services, flag: str | None, environment: str, *, plain_json: bool) -> None:
    """Print one rollout in full, or a line for each that is open."""
    if flag is None:
        views = await services.rollouts.open()
        typer.echo(json.dumps([json.loads(as_json(view)) for view in views]) if plain_json else _overview(views))
        return
    view = await services.rollouts.find(flag, environment)
    typer.echo(as_json(view) if plain_json else "\n".join(_status_lines(view)))


async def history(services: Services, flag: str, environment: str) -> None:
    """Print what was decided about the flag's newest rollout, by whom and when."""
    view = await services.rollouts.find(flag, environment)
    async with services.database.read() as session:
        rows = [_event_row(event) async for event in log.read(session, rollout_id=view.id)]
    typer.echo(table(rows))


async def rollback(services: Services, flag: str, environment: str, reason: str) -> None:
    """Take the rollout back and print what the flag serves now."""
    found = await services.rollouts.find(flag, environment)
    view = await services.rollouts.roll_back(found.id, actor=actor(), reason=reason)
    typer.echo(_end_line(view))


async def kill(services: Services, flag: str, environment: str, reason: str) -> None:
    """Take the flag to 0 % for everyone and print what came of it."""
    view = await services.rollouts.kill(flag, environment, actor=actor(), reason=reason)
    typer.echo(_end_line(view) if view is not None else f"{flag} in {environment} is being taken to 0 %.")


async def _check_own(services: Services, flag: str, environment: str) -> None:
    """Raise Conflict for a proposed plan that somebody else asked for."""
    try:
        standing = await services.rollouts.find(flag, environment)
    except NotFound:
        return
    if standing.phase is Phase.PROPOSED and standing.requester != actor():
        raise Conflict(
            f"{standing.requester} asked for the plan of {flag} in {environment} that stands, version "
            f"{standing.plan_version}: a new one takes its place only with --replace."
        )


async def _propose(services: Services, proposal: Proposal, workspace: str | None) -> RolloutView:
    slack = services.settings.slack
    channel = slack.of(workspace or "").releases_channel
    if channel is None:
        raise ConfigurationError("slack.releases_channel is not set: it is where proposed plans are shown.")
    return await services.rollouts.propose(
        proposal.plan,
        requester=actor(),
        place=Place(workspace or "", channel),
        reason="Asked for on the command line",
        spec=proposal.spec,
    )


def _check_workspace(slack: SlackSettings, workspace: str | None) -> None:
    """Raise ConfigurationError unless it is one of many, or none is named where there is one only."""
    if slack.many_workspaces and workspace not in slack.allowed_workspaces:
        allowed = ", ".join(slack.allowed_workspaces)
        raise ConfigurationError(f"Many workspaces have the app: say with --workspace which one ({allowed}).")
    if workspace is not None and not slack.many_workspaces:
        raise ConfigurationError("One workspace has the app: leave --workspace out.")


def _waiting(view: RolloutView) -> str:
    if view.approval is None:
        return "it can be started."
    return f"it waits for {counted(view.approval.needed, 'approval')}: {view.approval.why}."


def _plan_lines(proposal: Proposal) -> Iterator[str]:
    plan = proposal.plan
    yield f"{plan.flag} in {plan.environment}: {plan.strategy}, {plan.control} → {plan.treatment} ({plan.sha256[:8]})"
    yield ""
    yield table([_stage_row(number, stage) for number, stage in enumerate(plan.stages, start=1)])
    for note in plan.rationale:
        yield f"- {note}"


def _stage_row(number: int, stage: Stage) -> tuple[str, ...]:
    rails = ", ".join(f"{rail.metric} ×{rail.margin:g}" for rail in stage.guardrails)
    lasts = f"at least {in_words(stage.bake)}", f"at most {in_words(stage.time_limit)}"
    return f"stage {number}", str(stage.exposure), *lasts, rails


def _overview(views: list[RolloutView]) -> str:
    if not views:
        return "Nothing is rolling out. Start with `sluice plan FLAG`."
    return table([_overview_row(view) for view in views], HEADS)


def _overview_row(view: RolloutView) -> tuple[str, ...]:
    gate = view.check.verdict.outcome.value if view.check is not None else "-"
    return view.flag, view.environment, words(view.phase), _stage_of(view), str(view.exposure or "-"), gate


def _stage_of(view: RolloutView) -> str:
    total = len(view.plan.stages)
    return f"{view.stage + 1} of {total}" if view.stage is not None else f"- of {total}"


def _status_lines(view: RolloutView) -> Iterator[str]:
    yield f"{view.flag} in {view.environment}: {words(view.phase)}, stage {_stage_of(view)}"
    yield f"  serves     {view.exposure or 'nothing yet'}" + (f", being set to {view.setting}" if view.setting else "")
    if view.error:
        yield f"  trouble    {view.error}"
    yield f"  plan       version {view.plan_version} ({view.plan.sha256[:8]}), asked for by {view.requester}"
    if view.spec is not None and view.spec.state is not SpecState.SAME and view.ended_at is None:
        stands = f" {view.spec.stands} said that the plan stands." if view.spec.stands else ""
        yield f"  spec       {view.spec.source}: {view.spec.why}{stands}"
    if view.backtest is not None and view.phase is Phase.PROPOSED:
        yield f"  backtest   {view.backtest.summary}"
    if view.pause_reason and view.phase is Phase.PAUSED:
        yield f"  paused     {view.pause_reason} {view.pause_ends or ''}".rstrip()
    if view.frozen is not None and view.ended_at is None:
        yield f"  frozen     {view.frozen}"
    for one in view.acceptances if view.ended_at is None else ():
        yield f"  accepted   {one.metric} until {moment(one.until)} by {one.by}: {one.reason}"
    if view.rollback_reason:
        yield f"  taken back {view.rollback_reason}"
    if view.approval is not None:
        yield _approval_line(view.approval)
    if view.check is not None:
        yield from _check_lines(view.check, view.next_check)


def _approval_line(approval: ApprovalView) -> str:
    have = f"{len(approval.by)} of {approval.needed} approved to {approval.purpose}"
    return f"  waits      {have}, until {moment(approval.expires_at)}: {approval.why}"


def _check_lines(check: CheckView, following: datetime | None) -> Iterator[str]:
    yield f"  gate       {check.verdict.outcome} at {moment(check.at)}, next {moment(following)}"
    for guardrail, verdict, newest in check.guardrails:
        yield f"    {guardrail.metric}: {_guardrail_words(verdict)} (newest data {moment(newest)})"


def _guardrail_words(verdict: Verdict) -> str:
    return f"{verdict.outcome}. {verdict.why}"


def _event_row(event: log.Event) -> tuple[str, ...]:
    facts = [f"{name} {event.payload[name]}" for name in DETAILS if event.payload.get(name) is not None]
    return moment(event.at), event.kind, event.actor, "; ".join(facts)


def _end_line(view: RolloutView) -> str:
    where = f"{view.flag} in {view.environment}"
    if view.phase is Phase.ROLLED_BACK:
        return f"{where} is rolled back: it serves {view.exposure}."
    if view.phase is Phase.CANCELLED:
        return f"The plan of {where} is dropped; it had not started."
    trouble = f" It has not worked yet: {view.error}" if view.error else ""
    return f"{where} is {words(view.phase)}; a running `sluice serve` tries until it is done.{trouble}"

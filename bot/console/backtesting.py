"""A plan's gates on recorded history, on the command line: a table, a plot in text, a line for the plan's card."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import typer
from pydantic import ValidationError
from sqlalchemy import select

from agent.planner import PlanRequest
from bot.console.rollouts import actor
from bot.console.tables import counted, table
from bot.services import Services
from bot.settings import parse_duration
from tools.clock import in_words
from tools.errors import InvalidInput, NotFound
from tools.flags.definitions import check_name
from tools.gates import Minutes
from tools.metrics.base import MetricQuery, Window
from tools.metrics.catalogue import MetricKind
from tools.metrics.history import History, read_history, step_for
from tools.plans.model import Plan
from tools.records.models import PlanVersion
from tools.rollouts.backtest import Asked, Replayed, Report, backtest, grain_for
from tools.rollouts.phases import LIVE, Phase

LONGEST_HISTORY = timedelta(days=90)
SHORTEST_HASH = 8
BAR, EIGHTHS, RISING = 24, "▏▎▍▌▋▊▉█", "▁▂▃▄▅▆▇█"
HEADS = ("HARM", "ROLLED BACK", "ASKED", "PROMOTED", "AFTER (9 OF 10)", "CAUGHT OVER TIME")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be replayed: a flag, the first digits of a plan's hash, or a JSON file with a plan."""

    name: str
    since: str
    asked: Asked


async def run(services: Services, wanted: Wanted, environment: str, *, plain_json: bool) -> None:
    """Replay the plan and print what its gates would have done.

    Raises InvalidInput, NotFound, NoHistory when there is nothing to replay, and what the metric sources raise.
    """
    span, plan = parse_span(wanted.since), await plan_of(services, wanted.name, environment)
    guarding = sorted({rail.metric for stage in plan.stages for rail in stage.guardrails})
    rates = [name for name in guarding if services.metrics.define(name).kind is MetricKind.RATIO]
    histories = await _histories(services, plan, rates, span)
    runs = wanted.asked.replays * (1 + len(wanted.asked.harms))
    with typer.progressbar(length=runs, label="Replaying the plan ", file=sys.stderr) as bar:
        report = backtest(
            plan,
            histories,
            wanted.asked,
            left_out=[name for name in guarding if name not in rates],
            progress=bar.update,
        )
    typer.echo(_json(report) if plain_json else "\n".join(_lines(report)))


def parse_span(text: str) -> timedelta:
    """`14d`, `36h`. Raises InvalidInput."""
    span = parse_duration(text)
    if not isinstance(span, timedelta) or not timedelta(hours=1) <= span <= LONGEST_HISTORY:
        raise InvalidInput(f"--since must be a time such as 14d or 36h, from 1h to {in_words(LONGEST_HISTORY)}.")
    return span


async def plan_of(services: Services, name: str, environment: str) -> Plan:
    """The plan that is meant: of a file, by its hash, of the flag's open rollout, or made for the flag now.

    Raises InvalidInput, NotFound, CannotBeProven and what the planner raises.
    """
    if name.endswith(".json"):
        return _plan_in(Path(name))
    if len(name) >= SHORTEST_HASH and not set(name) - set("0123456789abcdef"):
        found = await _plan_with_hash(services, name)
        if found is not None:
            return found
    check_name("flag", name)
    try:
        view = await services.rollouts.find(name, environment)
    except NotFound:
        view = None
    if view is not None and view.phase in (*LIVE, Phase.PROPOSED):
        return view.plan
    return (await services.planner.propose(PlanRequest(name, environment, None, actor()))).plan


def _plan_in(path: Path) -> Plan:
    try:
        return Plan.model_validate_json(path.read_bytes())
    except OSError as error:
        raise NotFound(f"The plan {path} can't be read ({error.strerror}).") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InvalidInput(f"{path} is no plan: {where}: {first['msg']}.") from None


async def _plan_with_hash(services: Services, digits: str) -> Plan | None:
    query = (
        select(PlanVersion.body).where(PlanVersion.sha256.startswith(digits)).order_by(PlanVersion.created_at.desc())
    )
    async with services.database.read() as session:
        body = await session.scalar(query.limit(1))
    return None if body is None else Plan.model_validate(body)


async def _histories(services: Services, plan: Plan, metrics: Sequence[str], span: timedelta) -> list[History]:
    """The history of each, of one span, whose data is complete."""
    step = step_for(span, grain_for(plan))
    settle = max((services.metrics.define(metric).settle for metric in metrics), default=timedelta(0))
    end = services.clock.now() - settle
    reads = len(metrics) * (span // step)
    histories = []
    with typer.progressbar(length=reads, label="Reading the history", file=sys.stderr) as bar:
        for metric in metrics:
            query = MetricQuery(metric, plan.flag, plan.environment, Window(end - step * (span // step), end))
            histories.append(
                await read_history(
                    services.metrics, query, step, without=plan.treatment, progress=lambda: bar.update(1)
                )
            )
    return histories


def _lines(report: Report) -> Iterator[str]:
    yield report.summary
    yield ""
    yield from (_source_line(report, number) for number in range(len(report.sources)))
    yield f"  plan {report.plan_sha256[:8]}, gates looked at each {in_words(report.looked_every)}"
    if report.left_out:
        yield f"  left out: {', '.join(report.left_out)}; only rates of events can be replayed"
    yield ""
    yield table([_row(report, one) for one in (report.harmless, *report.harmful)], HEADS)
    for one in report.harmful:
        if one.rolled_back:
            yield ""
            yield f"{_title(report, one)}, where it is caught:"
            yield table(list(_stage_rows(one)))
    yield ""
    harmless = report.harmless
    yield (
        f"Without harm {counted(harmless.rolled_back, 'rollback')} in {harmless.replays:,} replays: with 95 % "
        f"confidence at most {100 * harmless.at_most:.2g} %."
    )
    yield (
        "Sources tell counts, not users: events were dealt to the arms in lumps as large as the history's bursts, "
        "always in the same way."
    )


def _source_line(report: Report, number: int) -> str:
    one = report.sources[number]
    bursts = f", bursts φ = {one.dispersion:.2g}" if one.dispersion > 1 else ""
    if one.dispersion > 1.5 * one.planned_dispersion:
        bursts += f" where the plan reckons with {one.planned_dispersion:.2g}"
    silent = f", silent {100 * one.silent:.2g} % of the time" if one.silent else ""
    pace = f"{one.requests_per_minute:,.0f} requests/min, base rate {100 * one.base_rate:.3g} %"
    return f"  {one.metric}: {pace}{bursts}{silent}"


def _row(report: Report, one: Replayed) -> tuple[str, ...]:
    return (
        _title(report, one),
        f"{one.rolled_back:,} of {one.replays:,}",
        f"{one.asked:,}",
        f"{one.promoted:,}",
        _after(one.minutes),
        _rising(one.curve),
    )


def _title(report: Report, one: Replayed) -> str:
    return "none" if one.harm == 1 else f"{'×' if report.increase else '÷'}{one.harm:g}"


def _stage_rows(one: Replayed) -> Iterator[tuple[str, ...]]:
    for stage in one.by_stage:
        if stage.caught:
            part = stage.caught / one.replays
            yield f"  {stage.exposure}", f"{100 * part:.0f} %", _bar(part), _after(stage.minutes)


def _after(minutes: Minutes | None) -> str:
    if minutes is None:
        return "–"
    median, p90 = (in_words(timedelta(minutes=round(one, 1))) for one in (minutes.median, minutes.p90))
    return f"{median} ({p90})"


def _bar(part: float) -> str:
    eighths = max(1, round(8 * BAR * part))
    return EIGHTHS[-1] * (eighths // 8) + (EIGHTHS[eighths % 8 - 1] if eighths % 8 else "")


def _rising(curve: Sequence[float]) -> str:
    return "".join(RISING[min(int(part * len(RISING)), len(RISING) - 1)] for part in curve)


def _json(report: Report) -> str:
    return json.dumps(_plain(asdict(report)) | {"summary": report.summary}, ensure_ascii=False, indent=2)


def _plain(value: Any) -> Any:
    """Durations as seconds."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.total_seconds() if isinstance(value, timedelta) else value

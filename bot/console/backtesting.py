"""A plan's gates on recorded history, on the command line: a table, a plot in text and as a picture, a card's line."""

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

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
from tools.metrics.catalogue import MetricKind
from tools.plans.model import Plan
from tools.records.models import PlanVersion
from tools.rollouts.backtesting.keeping import keep
from tools.rollouts.backtesting.reading import SHORTEST, Recorded, read_recorded
from tools.rollouts.backtesting.replays import backtest, guards_of, hurts_of
from tools.rollouts.backtesting.report import Asked, Dealt, Hurt, MetricCatch, Replayed, Report, Source
from tools.rollouts.phases import LIVE, Phase

LONGEST_HISTORY = timedelta(days=90)
SHORTEST_HASH = 8
BAR, EIGHTHS, RISING = 24, "▏▎▍▌▋▊▉█", "▁▂▃▄▅▆▇█"
HEADS = ("HARM", "ROLLED BACK", "ASKED", "PROMOTED", "AFTER (9 OF 10)", "CAUGHT OVER TIME")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be replayed: a flag, the first digits of a plan's hash, or a JSON file with a plan.

    `chart` is the file that its picture is drawn into, if one is wanted.
    """

    name: str
    since: str
    asked: Asked
    chart: Path | None = None
    dark: bool = False


async def run(services: Services, wanted: Wanted, environment: str, *, plain_json: bool) -> None:
    """Replay the plan, print what its gates would have done, and draw it if that is wanted.

    A plan that people were shown keeps the report. Raises InvalidInput, NotFound, NothingToReplay when there is nothing
    to replay, and what the metric sources raise.
    """
    span = parse_span(wanted.since)
    if wanted.chart is not None:
        _check_folder(wanted.chart)
    plan = await plan_of(services, wanted.name, environment)
    recorded = await _recorded(services, plan, span)
    kinds = {history.metric: history.kind for history in recorded.histories}
    runs = wanted.asked.replays * (1 + len(hurts_of(guards_of(plan), kinds, wanted.asked)))
    with typer.progressbar(length=runs, label="Replaying the plan ", file=sys.stderr) as bar:

        def ended(replays: int) -> None:
            _stop_if_interrupted()
            bar.update(replays)

        try:
            report = backtest(
                plan,
                recorded.histories,
                wanted.asked,
                weights=recorded.weights,
                left_out=recorded.left_out,
                progress=ended,
            )
        except asyncio.CancelledError:
            # The loop has yet to hand the interruption over; it would hit what is closed next.
            await asyncio.sleep(0)
            raise
    await keep(services.database, report.to_json(), at=services.clock.now(), actor=actor())
    typer.echo(json.dumps(report.to_json(), ensure_ascii=False, indent=2) if plain_json else "\n".join(lines(report)))
    if wanted.chart is not None:
        await _draw(report, wanted.chart, dark=wanted.dark)
        typer.echo(f"Drawn into {wanted.chart}.", err=plain_json)


def _check_folder(chart: Path) -> None:
    """Before minutes of replays rather than after them. Raises InvalidInput."""
    if not chart.parent.is_dir():
        raise InvalidInput(f"{chart} can't be written (there is no folder {chart.parent}); name another with --chart.")
    if chart.is_dir():
        raise InvalidInput(f"{chart} can't be written (it is a folder); name a file with --chart.")


async def _draw(report: Report, chart: Path, *, dark: bool) -> None:
    """Raises InvalidInput for a file that can't be written."""
    # matplotlib takes half a second to load.
    from bot.backtest_chart import drawn
    from bot.style import Theme

    picture = await asyncio.to_thread(drawn, report, Theme.DARK if dark else Theme.LIGHT)
    try:
        await asyncio.to_thread(chart.write_bytes, picture)
    except OSError as error:
        raise InvalidInput(f"{chart} can't be written ({error.strerror}); name another with --chart.") from error


def _stop_if_interrupted() -> None:
    """Raises CancelledError once somebody has interrupted: the event loop can't, as replays leave it no moment."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def parse_span(text: str) -> timedelta:
    """`14d`, `36h`. Raises InvalidInput."""
    span = parse_duration(text)
    if not isinstance(span, timedelta) or not SHORTEST <= span <= LONGEST_HISTORY:
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


async def _recorded(services: Services, plan: Plan, span: timedelta) -> Recorded:
    with typer.progressbar(length=0, label="Reading the history", file=sys.stderr) as bar:

        def more(reads: int) -> None:
            bar.length = (bar.length or 0) + reads

        return await read_recorded(
            services.metrics, plan, span, now=services.clock.now(), reads=more, progress=lambda: bar.update(1)
        )


def lines(report: Report) -> Iterator[str]:
    """The report in words and tables, each metric with what became of harms to it."""
    yield report.summary
    yield ""
    yield from (_source_line(report, number) for number in range(len(report.sources)))
    yield f"  plan {report.plan_sha256[:8]}, gates looked at each {in_words(report.looked_every)}"
    yield from (f"  left out: {one.metric}. {one.why}" for one in report.left_out)
    yield ""
    harms = [(_title(report, one.hurt, catch.metric), catch) for one in report.harmful for catch in one.by_metric]
    yield table([_harmless_row(report.harmless), *(_row(title, catch) for title, catch in harms)], HEADS)
    for title, catch in harms:
        if catch.caught:
            yield ""
            yield f"{title}, where it is caught:"
            yield table(list(_stage_rows(catch)))
    yield ""
    harmless = report.harmless
    yield (
        f"Without harm {counted(harmless.rolled_back, 'rollback')} in {harmless.replays:,} replays: with 95 % "
        f"confidence at most {100 * harmless.at_most:.2g} %."
    )
    yield from _how_it_was_dealt(report)


def _how_it_was_dealt(report: Report) -> Iterator[str]:
    by_unit = [one.metric for one in report.sources if one.dealt is Dealt.UNITS]
    by_count = [one.metric for one in report.sources if one.dealt is Dealt.COUNTS]
    if by_unit:
        yield f"Dealt by user, each hashed into an arm as the flag does, anew in each replay: {', '.join(by_unit)}."
    if by_count:
        yield (
            f"Dealt by count, in lumps as large as the history's bursts, for want of a unit_query that tells users "
            f"(or because there were too many of them): {', '.join(by_count)}."
        )


def _source_line(report: Report, number: int) -> str:
    one = report.sources[number]
    bursts = f", bursts φ = {one.dispersion:.2g}" if one.dispersion > 1 else ""
    if one.dispersion > 1.5 * one.planned_dispersion:
        bursts += f" where the plan reckons with {one.planned_dispersion:.2g}"
    silent = f", silent {100 * one.silent:.2g} % of the time" if one.silent else ""
    units = f", {one.units:,} users told apart" if one.units is not None else ""
    return f"  {one.metric}: {one.requests_per_minute:,.0f} a minute{units}{_level(one)}{bursts}{silent}"


def _level(one: Source) -> str:
    if one.level is None:
        return ", latencies"
    return f", mean {one.level:.4g}" if one.kind is MetricKind.MEAN else f", base rate {100 * one.level:.3g} %"


def _harmless_row(one: Replayed) -> tuple[str, ...]:
    caught = f"{one.rolled_back:,} of {one.replays:,}"
    return "none", caught, f"{one.asked:,}", f"{one.promoted:,}", _after(one.minutes), _rising(one.curve)


def _row(title: str, one: MetricCatch) -> tuple[str, ...]:
    caught = f"{one.caught:,} of {one.replays:,}"
    return title, caught, f"{one.asked:,}", f"{one.promoted:,}", _after(one.minutes), _rising(one.curve)


def _title(report: Report, hurt: Hurt | None, metric: str) -> str:
    """`×2`, with the metric's name where there are several."""
    assert hurt is not None, "what is harmful hurts something"
    metrics = {catch.metric for one in report.harmful for catch in one.by_metric}
    return f"{hurt.sign} {metric}" if len(metrics) > 1 else hurt.sign


def _stage_rows(one: MetricCatch) -> Iterator[tuple[str, ...]]:
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

"""Metrics on the command line: what a gate would get of them."""

import json
from datetime import timedelta

import typer

from bot.console.tables import moment, table
from bot.services import Services
from tools.clock import in_words
from tools.errors import InvalidInput
from tools.flags.base import FlagRef, FlagState
from tools.metrics.base import Reading, Sample
from tools.metrics.catalogue import MetricKind
from tools.metrics.trial import Trial, try_metric

SHOWN_ROWS = 50


async def try_out(services: Services, metric: str, flag: str | None, environment: str, span: timedelta) -> bool:
    """Print the query, the answer, a verdict's inputs and every finding; whether there is something to judge.

    Raises UnknownMetric, FlagNotFound, and InvalidInput where several flags may be meant.
    """
    kind = services.metrics.define(metric).kind
    state = await _flag(services, flag, environment)
    trial = await try_metric(
        services.metrics,
        metric,
        state.ref.flag,
        environment,
        control=state.control,
        treatment=state.treatment,
        now=services.clock.now(),
        span=span,
        stale_after=services.settings.planning.stale_after,
    )
    typer.echo(f"{metric} of {state.ref}, {in_words(span)} up to {moment(trial.query.window.end)}")
    if trial.expression:
        _section("Query", trial.expression)
    if trial.reading is not None:
        _section("Counted" if trial.expression else "Query", trial.reading.query)
        _section("Answer", _rows(trial.reading))
        _section("A verdict gets", _inputs(trial, trial.reading, kind))
    for finding in trial.findings:
        _section("Finding" if finding.blinds else "Look twice", f"{finding.name}: {finding.sentence}")
    return trial.can_be_judged


async def _flag(services: Services, flag: str | None, environment: str) -> FlagState:
    if flag is not None:
        return await services.flags.read(FlagRef(flag, environment))
    states = await services.flags.list(environment)
    if len(states) != 1:
        raise InvalidInput(f"There are {len(states)} flags in {environment}: name one with --flag.")
    return states[0]


def _section(head: str, text: str) -> None:
    typer.echo(f"\n{head}:")
    typer.echo("\n".join(f"  {line}" for line in text.splitlines()))


def _rows(reading: Reading) -> str:
    rows = reading.raw if isinstance(reading.raw, list) else []
    shown = [json.dumps(row, ensure_ascii=False) for row in rows[:SHOWN_ROWS]]
    more = [f"… and {len(rows) - SHOWN_ROWS} rows more"] if len(rows) > SHOWN_ROWS else []
    return "\n".join([*shown, *more]) or "no rows"


def _inputs(trial: Trial, reading: Reading, kind: MetricKind) -> str:
    rows = [(arm.value, label, _numbers(sample, kind)) for arm, label, sample in trial.arms]
    newest = (
        f"newest data of {moment(reading.newest)}" if reading.newest is not None else "no moment of the newest data"
    )
    return f"{table(rows)}\n{newest}"


def _numbers(sample: Sample, kind: MetricKind) -> str:
    exposures = f"{sample.exposures:,} exposures"
    if kind is MetricKind.RATIO:
        return f"{exposures}, {sample.events:,} events"
    if kind is MetricKind.MEAN:
        return f"{exposures}, total {sample.total:g}, of squares {sample.total_squares:g}"
    if kind is MetricKind.LATENCY:
        return f"{exposures}: " + ", ".join(f"{count:,} up to {edge:g}" for edge, count in sample.buckets)
    if kind is MetricKind.MIX:
        return f"{exposures}: " + ", ".join(f"{count:,} of {label or 'none'}" for label, count in sample.segments)
    return exposures

"""How well the agent does with a model, on the command line: a table a tag, and each scenario that failed."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import typer

from agent.evals.figures import Figures, Report, report
from agent.evals.loading import packaged
from agent.evals.running import SCRIPTED, Attempt, evaluate
from agent.evals.scenario import Scenario
from agent.model import ModelOptions, open_model
from agent.session import prompt_version
from bot.console.tables import counted, table
from tools.errors import NotFound

HEADS = ("TAG", "SCENARIOS", "RUNS", "PASS", "PASS^K", "SAFE", "P50", "P95", "OURS P95", "CALLS", "TOKENS", "COST")


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Asked:
    """Which scenarios are to be run how often, and what they must come to: shares of the runs."""

    tags: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    repeat: int = 1
    scripted: bool = False
    require: float = 1.0
    require_safety: float = 1.0


async def evaluate_model(options: ModelOptions, asked: Asked, form: Format) -> bool:
    """Run the scenarios and print what came of them; whether that is as much as is required.

    Raises BadScenario, NotFound for a scenario that there is not, ModelUnavailable when no model is named.
    """
    scenarios = chosen(packaged(), asked)
    used = SCRIPTED if asked.scripted else options
    model = None if asked.scripted else open_model(used)
    attempts = list[Attempt]()
    async for attempted in evaluate(scenarios, used, model, repeats=asked.repeat):
        attempts.append(attempted)
        typer.echo(_progress(attempted, len(attempts)), err=True)
    found = report(attempts)
    why_not = shortfalls(found, asked)
    typer.echo(_json(found, used, asked, why_not) if form is Format.JSON else "\n".join(_lines(found, used, why_not)))
    return not why_not


def chosen(scenarios: Sequence[Scenario], asked: Asked) -> list[Scenario]:
    """Those that have any of the tags and none of those to leave out, or are named. Raises NotFound."""
    known = {scenario.id for scenario in scenarios}
    for name in asked.only:
        if name not in known:
            raise NotFound(f"There is no scenario {name!r}; there are: {', '.join(sorted(known))}.")
    return [
        scenario
        for scenario in scenarios
        if (not asked.only or scenario.id in asked.only)
        and (not asked.tags or _share(asked.tags, scenario.tags))
        and not _share(asked.without, scenario.tags)
    ]


def shortfalls(found: Report, asked: Asked) -> list[str]:
    """Why it is not as much as is required: a sentence each."""
    whole = found.all
    if not whole.attempts:
        return ["Nothing was run: that is no success."]
    sentences = []
    if found.broken:
        sentences.append(f"{counted(len(found.broken), 'scenario')} could not be run.")
    if whole.rate < asked.require:
        sentences.append(f"{whole.rate:.1%} of the runs passed; {asked.require:.1%} are required.")
    if whole.safe_rate < asked.require_safety:
        sentences.append(f"{whole.safe_rate:.1%} of the runs were safe; {asked.require_safety:.1%} are required.")
    return sentences


def _share(some: Collection[str], others: Collection[str]) -> bool:
    return not set(some).isdisjoint(others)


def _progress(attempted: Attempt, number: int) -> str:
    seconds = sum(turn.seconds for turn in attempted.turns)
    if attempted.broken is not None:
        return f"{number:4} not run  {attempted.scenario.id}: {attempted.broken}"
    outcome = "passed" if attempted.passed else "UNSAFE" if not attempted.safe else "failed"
    return f"{number:4} {outcome}   {attempted.scenario.id} ({seconds:.1f} s)"


def _lines(found: Report, options: ModelOptions, why_not: Sequence[str]) -> Iterator[str]:
    yield f"Model {options.name}, {options.style.value}, worded by {options.wording.value}"
    yield f"Prompts {prompt_version(options)}"
    yield ""
    yield table([_row(row) for row in found.rows], HEADS)
    for title, those in (("Failed", found.failed), ("Could not be run", found.broken)):
        if those:
            yield ""
            yield f"{title}:"
            yield table([(scenario.id, why) for scenario, why in those])
    if why_not:
        yield ""
        yield "\n".join(why_not)


def _row(row: Figures) -> tuple[str, ...]:
    return (
        row.tag,
        f"{row.scenarios}",
        f"{row.attempts}",
        f"{row.rate:.1%}",
        f"{row.power:.1%}",
        f"{row.safe_rate:.1%}",
        f"{row.p50_s:.2f} s",
        f"{row.p95_s:.2f} s",
        f"{1000 * row.ours_p95_s:.0f} ms",
        f"{row.model_calls:.1f}",
        f"{row.tokens:,.0f}",
        f"${row.cost:.4f}",
    )


def _json(found: Report, options: ModelOptions, asked: Asked, why_not: Sequence[str]) -> str:
    document: dict[str, Any] = {
        "model": options.name,
        "parameters": options.parameters(),
        "prompts": prompt_version(options),
        "asked": asdict(asked),
        "tags": [
            {**asdict(row), "rate": row.rate, "safe_rate": row.safe_rate, "power": row.power} for row in found.rows
        ],
        "failed": {scenario.id: why for scenario, why in found.failed},
        "not_run": {scenario.id: why for scenario, why in found.broken},
        "short_of": list(why_not),
    }
    return json.dumps(document, ensure_ascii=False, indent=2)

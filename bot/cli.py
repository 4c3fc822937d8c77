"""The command `sluice`. Each command reads its arguments here and imports what it needs when it runs."""

import asyncio
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from tools.errors import InvalidInput, SluiceError

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from bot.services import Services
    from bot.settings import Settings

CRASHED = "cli.crashed"

Result = TypeVar("Result")

app = typer.Typer(
    name="sluice",
    help="Opens feature flags gate by gate from Slack, and takes them back when the evidence turns.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
flags_app = typer.Typer(help="The flags that there are.", no_args_is_help=True, rich_markup_mode=None)
audit_app = typer.Typer(help="The decision log: verify it, export it.", no_args_is_help=True, rich_markup_mode=None)
metrics_app = typer.Typer(help="The metrics of the catalogue.", no_args_is_help=True, rich_markup_mode=None)
telemetry_app = typer.Typer(
    help="Files for what watches Sluice: Grafana and Prometheus.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(flags_app, name="flags")
app.add_typer(telemetry_app, name="telemetry")
app.add_typer(metrics_app, name="metrics")
app.add_typer(audit_app, name="audit")


ASKED_HERE = "Asked for on the command line"


def _checked(what: str) -> Callable[[str | None], str | None]:
    """Refuse an argument that can't be the name of a `what`, before anything is looked up."""

    def check(name: str | None) -> str | None:
        from tools.flags.definitions import check_name

        if name is not None:
            check_name(what, name)
        return name

    return check


def _kept(reason: str) -> str:
    """The reason as the decision log may have it."""
    from bot.blocks.dialogs import kept_reason

    return kept_reason(reason) or ASKED_HERE


Config = Annotated[Path | None, typer.Option("--config", help="Settings file [default: SLUICE_CONFIG or sluice.toml]")]
Environment = Annotated[
    str | None,
    typer.Option("--env", help="Environment [default: the setting `environment`]", callback=_checked("environment")),
]
Flag = Annotated[str, typer.Argument(metavar="FLAG", callback=_checked("flag"))]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the decision log", callback=_kept)]
PlainJson = Annotated[bool, typer.Option("--json", help="Print JSON")]


class StrategyName(StrEnum):
    CANARY = "canary"
    SHADOW = "shadow"
    FULL = "full"


class ExportFormat(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"


class EvalFormat(StrEnum):
    TABLE = "table"
    JSON = "json"


def main() -> None:
    """Run the command line: exit status 0, 1 for a failure, 2 for wrong settings, arguments or files."""
    try:
        app(prog_name="sluice")
    except InvalidInput as error:
        _fail(str(error), 2)
    except SluiceError as error:
        _fail(str(error), 1)
    except Exception:  # noqa: BLE001 - the outermost edge: people get a reference, the log has the rest
        _fail(_logged_reference(), 1)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there")] = False,
) -> None:
    """Write a commented sluice.toml and the Slack app's manifest.yaml."""
    from bot.init import write_files

    for path in write_files(folder, force=force):
        typer.echo(f"Wrote {path}")
    typer.echo(
        "Next: make the Slack app from manifest.yaml, set its tokens, then `sluice migrate` and `sluice doctor`."
    )


@app.command()
def manifest(
    http: Annotated[bool, typer.Option("--http", help="For `serve --http` instead of Socket Mode")] = False,
    config: Config = None,
) -> None:
    """Print the Slack app's manifest as the settings want it."""
    from bot.manifest import manifest_for

    settings = _settings(config)
    typer.echo(manifest_for(settings.http.public_url, http=http, oauth=settings.slack.many_workspaces), nl=False)


@app.command()
def migrate(config: Config = None) -> None:
    """Bring the database's schema to this release."""
    settings = _settings(config)

    async def act() -> None:
        from bot.console.migrating import bring_up_to_date

        await bring_up_to_date(settings)

    _run(act())
    typer.echo("The database's schema is this release's.")


@app.command()
def serve(
    http: Annotated[bool, typer.Option("--http", help="Slack over HTTP instead of Socket Mode")] = False,
    config: Config = None,
) -> None:
    """Run the bot: Slack, the clock that watches rollouts, flag evaluation and health over HTTP."""
    settings = _settings(config)

    async def act() -> None:
        from bot.serve import serve

        await serve(settings, http=http, announce=lambda address: typer.echo(f"Sluice is up at {address}"))

    _run(act())


@app.command()
def doctor(config: Config = None, plain_json: PlainJson = False) -> None:
    """Check everything that Sluice needs, and say what to do about each."""
    settings = _settings(config)

    async def act() -> bool:
        from bot.console.health import report

        return await report(settings, plain_json=plain_json)

    _exit_unless(_run(act()))


@app.command()
def plan(
    flag: Flag,
    strategy: Annotated[StrategyName | None, typer.Option("--strategy", help="[default: by the spec]")] = None,
    propose: Annotated[bool, typer.Option("--propose", help="Put it before people in the releases channel")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Also in place of somebody else's plan")] = False,
    workspace: Annotated[str | None, typer.Option("--workspace", help="Whose people, where many have the app")] = None,
    environment: Environment = None,
    config: Config = None,
) -> None:
    """Derive a staged plan for FLAG from its spec and its traffic."""

    async def act(services: "Services", environment: str) -> None:
        from bot.console import rollouts
        from tools.plans.model import Strategy

        named = Strategy(strategy.value) if strategy is not None else None
        await rollouts.plan(services, flag, environment, named, propose=propose, replace=replace, workspace=workspace)

    _with_services(config, environment, act)


@app.command()
def status(
    flag: Annotated[str | None, typer.Argument(metavar="[FLAG]", callback=_checked("flag"))] = None,
    environment: Environment = None,
    config: Config = None,
    plain_json: PlainJson = False,
) -> None:
    """Show FLAG's rollout, or every open one."""

    async def act(services: "Services", environment: str) -> None:
        from bot.console import rollouts

        await rollouts.status(services, flag, environment, plain_json=plain_json)

    _with_services(config, environment, act)


@app.command()
def history(flag: Flag, environment: Environment = None, config: Config = None) -> None:
    """Show what was decided about FLAG's newest rollout, by whom and when."""

    async def act(services: "Services", environment: str) -> None:
        from bot.console import rollouts

        await rollouts.history(services, flag, environment)

    _with_services(config, environment, act)


@app.command()
def chart(
    flag: Flag,
    environment: Environment = None,
    config: Config = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="The guardrail [default: the one that the gate thinks the worst of]")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The PNG file [default: FLAG-METRIC.png]")
    ] = None,
    dark: Annotated[bool, typer.Option("--dark", help="For a dark ground")] = False,
) -> None:
    """Draw the rates, the evidence and the stages of FLAG's newest rollout, and say what is to be seen."""

    async def act(services: "Services", environment: str) -> None:
        from bot.console import charting

        await charting.chart(services, flag, environment, metric, output, dark=dark)

    _with_services(config, environment, act)


@app.command()
def rollback(flag: Flag, reason: Reason = ASKED_HERE, environment: Environment = None, config: Config = None) -> None:
    """Take FLAG's rollout back to where it was, at once. Needs neither Slack nor a running `sluice serve`."""

    async def act(services: "Services", environment: str) -> None:
        from bot.console import rollouts

        await rollouts.rollback(services, flag, environment, reason)

    _with_services(config, environment, act)


@app.command()
def kill(flag: Flag, reason: Reason = ASKED_HERE, environment: Environment = None, config: Config = None) -> None:
    """Take FLAG to 0 % for everyone, at once, rollout or not."""

    async def act(services: "Services", environment: str) -> None:
        from bot.console import rollouts

        await rollouts.kill(services, flag, environment, reason)

    _with_services(config, environment, act)


@app.command()
def freeze(
    reason: Reason = ASKED_HERE,
    flag: Annotated[
        str | None, typer.Option("--flag", help="Only this flag [default: everything]", callback=_checked("flag"))
    ] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="Only flags with this tag, instead of a flag")] = None,
    begins: Annotated[
        str | None, typer.Option("--from", metavar="MOMENT", help="Such as 2026-12-24T17:00Z [default: at once]")
    ] = None,
    lasts: Annotated[
        str | None, typer.Option("--for", help="Such as 90m, 12h or 2d [default: until somebody lifts it]")
    ] = None,
    environment: Environment = None,
    config: Config = None,
) -> None:
    """Have nothing start and nothing go further in an environment. Rolling back and pausing work as ever."""

    async def act(services: "Services", environment: str) -> None:
        from bot.console import freezing

        of = freezing.Of(environment, flag, tag)
        await freezing.freeze(services, of, start=_moment(begins), lasts=_length(lasts), reason=reason)

    _with_services(config, environment, act)


@app.command()
def unfreeze(
    freeze_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Which [default: show them all]")] = None,
    config: Config = None,
) -> None:
    """Lift a freeze, or show those that there are."""

    async def act(services: "Services", _environment: str) -> None:
        from bot.console import freezing

        await freezing.unfreeze(services, freeze_id)

    _with_services(config, None, act)


@telemetry_app.command("dashboard")
def telemetry_dashboard() -> None:
    """Print a Grafana dashboard, to be imported."""
    from bot.console import telemetry

    typer.echo(telemetry.file("dashboard"), nl=False)


@telemetry_app.command("alerts")
def telemetry_alerts() -> None:
    """Print alert rules for Prometheus, to be named in its rule_files."""
    from bot.console import telemetry

    typer.echo(telemetry.file("alerts"), nl=False)


@flags_app.command("create")
def flags_create(
    flag: Flag,
    control: Annotated[str, typer.Option(help="The variant that everyone has now")] = "off",
    treatment: Annotated[str, typer.Option(help="The new variant")] = "on",
    description: Annotated[str, typer.Option(help="For people")] = "",
    environment: Environment = None,
    config: Config = None,
) -> None:
    """Make a flag that nobody is exposed to."""

    async def act(services: "Services", environment: str) -> None:
        from bot.console import flags
        from tools.flags.base import FlagRef

        await flags.create(services, FlagRef(flag, environment), control, treatment, description)

    _with_services(config, environment, act)


@flags_app.command("list")
def flags_list(environment: Environment = None, config: Config = None) -> None:
    """List the environment's flags and what each serves."""

    async def act(services: "Services", environment: str) -> None:
        from bot.console import flags

        await flags.show_all(services, environment)

    _with_services(config, environment, act)


@flags_app.command("import")
def flags_import(environment: Environment = None, config: Config = None) -> None:
    """Write a spec for each flag that the flag service has, and say which of them Sluice can't set."""

    async def act(services: "Services", environment: str) -> None:
        from bot.console import flags

        await flags.take_over(services, environment)

    _with_services(config, environment, act)


@metrics_app.command("try")
def metrics_try(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The metric's name in the settings")],
    flag: Annotated[
        str | None, typer.Option("--flag", help="Of which flag [default: the only one]", callback=_checked("flag"))
    ] = None,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="How far back, such as 10m or 24h")] = "10m",
    environment: Environment = None,
    config: Config = None,
) -> None:
    """Show a metric's query, its answer and what a verdict would get; exit status 1 if there is nothing to judge."""
    length = _length(since)
    assert length is not None, "what is given is a length"

    async def act(services: "Services", environment: str) -> bool:
        from bot.console import metrics

        return await metrics.try_out(services, name, flag, environment, length)

    _exit_unless(_with_services(config, environment, act))


@audit_app.command("verify")
def audit_verify(
    head: Annotated[
        str | None, typer.Option("--head", metavar="SEQ:HASH", help="An end that was kept elsewhere")
    ] = None,
    config: Config = None,
) -> None:
    """Find every edit, deletion, swap or cut in the records; exit status 1 if there is any."""

    async def act(services: "Services", _environment: str) -> bool:
        from bot.console import audit

        return await audit.verify(services, head)

    _exit_unless(_with_services(config, None, act))


@audit_app.command("export")
def audit_export(
    form: Annotated[ExportFormat, typer.Option("--format")] = ExportFormat.JSONL,
    rollout: Annotated[str | None, typer.Option("--rollout", help="Only this rollout's, by its id")] = None,
    config: Config = None,
) -> None:
    """Write the decision log to stdout."""

    async def act(services: "Services", _environment: str) -> None:
        from bot.console import audit

        await audit.export(services, audit.Format(form.value), rollout)

    _with_services(config, None, act)


@app.command()
def replay(
    name: Annotated[
        str,
        typer.Argument(
            metavar="RUN|ROLLOUT",
            help="A run's id, a rollout's id, or a flag",
            callback=_checked("run, rollout or flag"),
        ),
    ],
    recorded: Annotated[
        bool, typer.Option("--recorded", help="A run with its model's recorded outputs: then all must be the same")
    ] = False,
    model: Annotated[str | None, typer.Option("--model", help="A run with this model [default: its own]")] = None,
    environment: Environment = None,
    config: Config = None,
) -> None:
    """Play a run of the agent again and show what differs, or judge every check of a rollout again; changes nothing.

    Exit status 1 if a check's verdict is another, or a run with --recorded comes out otherwise.
    """

    async def act(services: "Services", environment: str) -> bool:
        from bot.console import audit, replaying

        if await replaying.is_run(services, name):
            return await replaying.replay(services, name, recorded=recorded, model=model)
        if recorded or model is not None:
            raise InvalidInput(f"There is no run {name!r}; --recorded and --model are for runs of the agent.")
        return await audit.replay(services, name, environment)

    _exit_unless(_with_services(config, environment, act))


@app.command()
def backtest(
    plan: Annotated[
        str,
        typer.Argument(metavar="FLAG|PLAN", help="A flag, the first 8 digits of a plan's hash, or a plan's JSON file"),
    ],
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="How far back, such as 14d or 36h")] = "14d",
    replays: Annotated[int, typer.Option("--replays", min=1, max=10_000, help="How many for each harm")] = 200,
    harms: Annotated[
        list[float] | None,
        typer.Option("--harm", help="How many times worse; may be repeated [default: 1.5, 2, 5; less for latencies]"),
    ] = None,
    chart: Annotated[
        Path | None, typer.Option("--chart", metavar="FILE.png", help="Draw it into this file too")
    ] = None,
    dark: Annotated[bool, typer.Option("--dark", help="Draw it for a dark ground")] = False,
    environment: Environment = None,
    config: Config = None,
    plain_json: PlainJson = False,
) -> None:
    """Run a plan's gates over recorded history, without harm and with it: what they do, before anyone starts."""

    async def act(services: "Services", environment: str) -> None:
        from bot.console import backtesting
        from tools.rollouts.backtesting.report import Asked

        wanted = backtesting.Wanted(plan, since, Asked(replays, tuple(harms) if harms else None), chart, dark)
        await backtesting.run(services, wanted, environment, plain_json=plain_json)

    _with_services(config, environment, act)


@app.command("eval")
def evaluate(
    model: Annotated[str | None, typer.Option("--model", help="Its name [default: the setting `model.name`]")] = None,
    tags: Annotated[str, typer.Option("--tags", help="Only scenarios with any of these tags, by commas")] = "",
    without: Annotated[str, typer.Option("--without", help="None with any of these tags, by commas")] = "",
    only: Annotated[str, typer.Option("--only", metavar="ID", help="Only these scenarios, by commas")] = "",
    repeat: Annotated[int, typer.Option("--repeat", min=1, max=100, help="How often each is run")] = 1,
    scripted: Annotated[bool, typer.Option("--scripted", help="With the scripted models; needs none")] = False,
    require: Annotated[float, typer.Option("--require", min=0, max=1, help="The share of runs that must pass")] = 1.0,
    require_safety: Annotated[
        float, typer.Option("--require-safety", min=0, max=1, help="The share of runs that must be safe")
    ] = 1.0,
    form: Annotated[EvalFormat, typer.Option("--format")] = EvalFormat.TABLE,
    config: Config = None,
) -> None:
    """Try the agent on scenarios in memory, judged on what they end with; exit status 1 if it falls short."""
    options = _settings(config).model
    if model is not None:
        options = options.model_copy(update={"name": model})

    async def act() -> bool:
        from bot.console import evaluating

        asked = evaluating.Asked(
            _by_commas(tags), _by_commas(without), _by_commas(only), repeat, scripted, require, require_safety
        )
        return await evaluating.evaluate_model(options, asked, evaluating.Format(form.value))

    _exit_unless(_run(act()))


@app.command()
def demo(headless: Annotated[bool, typer.Option("--headless", help="Play the operator too")] = False) -> None:
    """Watch a whole rollout on this machine: a shop, its traffic, a Slack workspace in the browser."""

    async def act() -> int:
        from bot.demo.story import run

        return await run(headless)

    raise typer.Exit(_run(act()))


@app.command()
def workspace(
    port: Annotated[int, typer.Option(min=0, max=65535, help="On 127.0.0.1; 0 takes a free one")] = 0,
) -> None:
    """Serve the local Slack workspace alone, to try an app against it."""

    async def act() -> None:
        from bot.workspace.__main__ import serve
        from bot.workspace.settings import WorkspaceSettings

        await serve(port, WorkspaceSettings())

    _run(act())


def _settings(config: Path | None) -> "Settings":
    from bot.settings import load_settings

    return load_settings(config, os.environ)


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    from bot.logs import configure_logs

    configure_logs()
    return asyncio.run(work)


def _length(given: str | None) -> "timedelta | None":
    """A length of time as people write it. Raises InvalidInput."""
    from datetime import timedelta

    from bot.settings import parse_duration

    length = None if given is None else parse_duration(given)
    if length is not None and not (isinstance(length, timedelta) and length > timedelta(0)):
        raise InvalidInput(f"{given!r} is no length of time: write 90m, 12h or 2d.")
    return length


def _moment(given: str | None) -> "datetime | None":
    """A moment as ISO 8601 writes it, with its zone. Raises InvalidInput."""
    from datetime import UTC, datetime

    if given is None:
        return None
    with suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(given)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    raise InvalidInput(f"{given!r} is no moment with its zone: write 2026-12-24T17:00Z or 2026-12-24T18:00+01:00.")


def _with_services(
    config: Path | None, environment: str | None, act: Callable[["Services", str], Awaitable[Result]]
) -> Result:
    settings = _settings(config)

    async def run() -> Result:
        from bot.bootstrap import running_services

        async with running_services(settings) as services:
            return await act(services, environment or settings.environment)

    return _run(run())


def _by_commas(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _exit_unless(well: bool) -> None:
    if not well:
        raise typer.Exit(1)


def _logged_reference() -> str:
    import structlog

    from bot.logs import configure_logs

    configure_logs()
    reference = secrets.token_hex(4)
    structlog.get_logger(__name__).exception(CRASHED, reference=reference)
    return f"That failed by a fault of Sluice; the log has it under {reference}."


def _fail(message: str, status: int) -> NoReturn:
    typer.echo(f"sluice: {message}", err=True)
    sys.exit(status)

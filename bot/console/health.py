"""What `sluice doctor` prints."""

import json
from dataclasses import asdict

import typer

from bot import doctor
from bot.console.tables import table
from bot.settings import Settings
from tools.clock import SystemClock


async def report(settings: Settings, *, plain_json: bool) -> bool:
    """Print a line for each thing that was looked at; whether nothing failed."""
    findings = await doctor.examine(settings, SystemClock())
    if plain_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        typer.echo(table([(finding.state.value, finding.what, finding.says) for finding in findings]))
    return doctor.healthy(findings)

"""The decision log on the command line: verify it, export it, judge checks again."""

import csv
import json
import sys
from dataclasses import asdict
from enum import StrEnum

import typer

from bot.console.tables import counted, moment, table
from bot.services import Services
from tools.errors import InvalidInput, NotFound
from tools.records import log
from tools.rollouts import audit

SHOWN_FAULTS = 100
COLUMNS = ("seq", "at", "kind", "actor", "rollout_id", "payload", "previous", "sha256")
HEADS = ("TIME", "STAGE", "STORED", "AGAIN", "", "WHY")


class Format(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"


def parse_head(text: str | None) -> tuple[int, str] | None:
    """`SEQ:HASH` as `verify` printed it. Raises InvalidInput."""
    if text is None:
        return None
    seq, _, digest = text.partition(":")
    if not seq.isdecimal() or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise InvalidInput("--head must be SEQ:HASH as an earlier `sluice audit verify` printed it.")
    return int(seq), digest


async def verify(services: Services, head: str | None) -> bool:
    """Print every fault of the records, or that there is none; whether they are whole."""
    report = await audit.verify(services.database, expected_head=parse_head(head))
    for fault in report.faults[:SHOWN_FAULTS]:
        typer.echo(str(fault))
    if len(report.faults) > SHOWN_FAULTS:
        typer.echo(f"… and {len(report.faults) - SHOWN_FAULTS} more")
    parts = ((report.events, "event"), (report.plans, "plan"), (report.checks, "check"))
    looked_at = ", ".join(counted(number, what) for number, what in parts)
    if report.faults:
        typer.echo(f"NOT WHOLE: {counted(len(report.faults), 'fault')} in {looked_at}.")
        return False
    typer.echo(f"Whole: {looked_at}. Keep this elsewhere for --head: {report.head[0]}:{report.head[1]}")
    return True


async def export(services: Services, form: Format, rollout_id: str | None) -> None:
    """Write the log to stdout, oldest first, with all that its hashes are computed of (see `tools.records.log`).

    CSV has each payload as the stored text, and nothing where there is no rollout; JSON Lines have the payload as an
    object, whose canonical JSON is that text. Raises NotFound.
    """
    if rollout_id is not None:
        await _check_there(services, rollout_id)
    writer = csv.writer(sys.stdout)
    if form is Format.CSV:
        writer.writerow(COLUMNS)
    async with services.database.snapshot() as session:
        async for event in log.stored(session, rollout_id=rollout_id):
            plain = asdict(event)
            if form is Format.CSV:
                writer.writerow([plain[name] for name in COLUMNS])
            else:
                typer.echo(json.dumps(plain | {"payload": _parsed(event.payload)}, ensure_ascii=False))


async def replay(services: Services, rollout: str, environment: str) -> bool:
    """Print each check's stored verdict beside the one computed afresh; whether all agree."""
    rows, same = list[tuple[str, ...]](), True
    async for one in audit.replay(services.database, await _rollout_id(services, rollout, environment)):
        again = one.again.value if one.again is not None else "-"
        rows.append((moment(one.at), str(one.stage + 1), one.stored.value, again, "=" if one.same else "≠", one.why))
        same = same and one.same
    typer.echo(table(rows, HEADS) if rows else "The rollout has no checks yet.")
    if not same:
        typer.echo("Some verdicts are not what their rows give: see `sluice audit verify`.")
    return same


async def _check_there(services: Services, rollout_id: str) -> None:
    try:
        await services.rollouts.get(rollout_id)
    except NotFound:
        raise NotFound(f"There is no rollout {rollout_id!r}; the whole export names those that there are.") from None


async def _rollout_id(services: Services, rollout: str, environment: str) -> str:
    """A rollout by its id, or a flag's newest."""
    try:
        return (await services.rollouts.get(rollout)).id
    except NotFound:
        return (await services.rollouts.find(rollout, environment)).id


def _parsed(payload: str) -> object:
    """The payload as an object; as it stands when somebody has mangled it, for then it is what has to be seen."""
    try:
        return json.loads(payload)
    except ValueError:
        return payload

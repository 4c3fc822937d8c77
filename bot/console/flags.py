"""Flags on the command line: those that Sluice keeps itself, and those that another service has."""

from pathlib import Path

import typer
import yaml  # type: ignore[import-untyped]

from bot.console.tables import table
from bot.services import Services
from tools.errors import InvalidInput, NotAllowed
from tools.flags.base import FlagRef, FlagState
from tools.flags.embedded import EmbeddedFlagService

HEADS = ("FLAG", "SERVES", "CONTROL", "TREATMENT", "VERSION")
IMPORT_HEADS = ("FLAG", "SERVES", "SPEC")


async def create(services: Services, ref: FlagRef, control: str, treatment: str, description: str) -> None:
    """Add a flag at 0 %. Raises FlagExists, InvalidInput, and NotAllowed with another flag service."""
    if not isinstance(services.flags, EmbeddedFlagService):
        raise NotAllowed(f"Flags of {services.settings.flags.type!r} are made there, not by Sluice.")
    await services.flags.define(ref, control, treatment, description)
    typer.echo(f"Flag {ref} is there, and serves {control} to everyone.")


async def show_all(services: Services, environment: str) -> None:
    """Print every flag of the environment, and why Sluice can't set one."""
    states = await services.flags.list(environment)
    if not states:
        typer.echo(_none(services, environment))
        return
    rows = [(state.ref.flag, _serves(state), state.control, state.treatment, state.version) for state in states]
    typer.echo(table(rows, HEADS))
    for state in states:
        if state.obstacle:
            typer.echo(f"{state.ref.flag} can't be set by Sluice: {state.obstacle}.")


async def take_over(services: Services, environment: str) -> None:
    """Write a spec for each flag of the service that Sluice can set and that has none; say why it can't set the others.

    Nothing is changed in the flag service: its flags are rolled out where they are. Raises NotAllowed where specs are
    not kept in a folder, InvalidInput when that can't be written.
    """
    if services.settings.specs.type != "folder" or services.settings.specs.sources:
        raise NotAllowed("Specs are not kept in a folder here: write them where they are kept.")
    folder, known = services.settings.specs.path, set(await services.specs.list())
    states = await services.flags.list(environment)
    rows = [(state.ref.flag, _serves(state), _taken(state, folder, known)) for state in states]
    typer.echo(table(rows, IMPORT_HEADS) if rows else _none(services, environment))


def _taken(state: FlagState, folder: Path, known: set[str]) -> str:
    if state.obstacle:
        return f"none: {state.obstacle}"
    if state.ref.flag in known:
        return "has one"
    file = folder / f"{state.ref.flag.replace('/', '-').replace(':', '-')}.md"
    try:
        with file.open("x", encoding="utf-8") as spec:
            spec.write(_spec(state))
    except FileExistsError:
        return f"none: {file} is of another flag"
    except OSError as error:
        raise InvalidInput(f"{file} can't be written ({error.strerror}); check specs.path.") from None
    return f"wrote {file}"


def _spec(state: FlagState) -> str:
    given = {"flag": state.ref.flag} | ({"depends_on": list(state.depends_on)} if state.depends_on else {})
    head = yaml.safe_dump(given, sort_keys=False, allow_unicode=True)
    text = "\n".join(line for line in state.description.splitlines() if not line.startswith("---"))
    return f"---\n{head}---\n# {state.ref.flag}\n\n{text}\n"


def _serves(state: FlagState) -> str:
    return f"at most {state.exposure}" if state.obstacle else str(state.exposure)


def _none(services: Services, environment: str) -> str:
    ours = isinstance(services.flags, EmbeddedFlagService)
    how = "with `sluice flags create FLAG`" if ours else f"in {services.settings.flags.type}"
    return f"There are no flags in {environment}. Make one {how}."

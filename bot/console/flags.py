"""The flags that Sluice keeps itself, on the command line."""

import typer

from bot.console.tables import table
from bot.services import Services
from tools.errors import NotAllowed
from tools.flags.base import FlagRef
from tools.flags.embedded import EmbeddedFlagService

HEADS = ("FLAG", "SERVES", "CONTROL", "TREATMENT", "VERSION")


async def create(services: Services, ref: FlagRef, control: str, treatment: str, description: str) -> None:
    """Add a flag at 0 %. Raises FlagExists, InvalidInput, and NotAllowed with another flag service."""
    if not isinstance(services.flags, EmbeddedFlagService):
        raise NotAllowed(f"Flags of {services.settings.flags.type!r} are made there, not by Sluice.")
    await services.flags.define(ref, control, treatment, description)
    typer.echo(f"Flag {ref} is there, and serves {control} to everyone.")


async def show_all(services: Services, environment: str) -> None:
    """Print every flag of the environment."""
    states = await services.flags.list(environment)
    if not states:
        typer.echo(f"There are no flags in {environment}. Make one with `sluice flags create FLAG`.")
        return
    rows = [(state.ref.flag, str(state.exposure), state.control, state.treatment, state.version) for state in states]
    typer.echo(table(rows, HEADS))

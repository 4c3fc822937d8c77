"""Freezes on the command line: make one, show them, lift one."""

from datetime import datetime, timedelta

import typer

from bot.console.rollouts import actor
from bot.console.tables import moment, table
from bot.services import Services
from tools.rollouts import freezes
from tools.rollouts.freezes import FreezeView

HEADS = ("ID", "FREEZES", "FROM", "UNTIL", "BY", "WHY")
SETTINGS = "sluice.toml"


async def freeze(
    services: Services, environment: str, *, flag: str | None, lasts: timedelta | None, reason: str
) -> None:
    """Freeze an environment, or one flag in it; `lasts` None: until somebody lifts it."""
    until: datetime | None = None if lasts is None else services.clock.now() + lasts
    wish = freezes.wish(environment=environment, flag=flag, until=until, reason=reason)
    made = await services.rollouts.freeze(wish, actor=actor())
    typer.echo(f"Nothing goes up now: {made}. Lift it with `sluice unfreeze {made.id}`.")


async def unfreeze(services: Services, freeze_id: str | None) -> None:
    """Lift a freeze; without its id print those that there are."""
    if freeze_id is None:
        found = await services.rollouts.freezes()
        typer.echo(table([_row(one) for one in found], HEADS) if found else "Nothing is frozen.")
        return
    lifted = await services.rollouts.unfreeze(freeze_id, actor=actor())
    typer.echo(f"The freeze of {_of(lifted)} is lifted.")


def _row(freeze: FreezeView) -> tuple[str, ...]:
    until = "lifted by hand" if freeze.end is None else moment(freeze.end)
    return freeze.id or "-", _of(freeze), moment(freeze.start), until, freeze.by or SETTINGS, freeze.reason


def _of(freeze: FreezeView) -> str:
    what = freeze.flag or ("flags tagged " + ", ".join(freeze.tags) if freeze.tags else "everything")
    return f"{what} in {', '.join(freeze.environments) or 'every environment'}"

"""Freezes on the command line: make one, show them, lift one."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import typer

from bot import texts
from bot.console.rollouts import actor
from bot.console.tables import moment, table
from bot.listeners.parsing import FLAG_NAME
from bot.services import Services
from tools.errors import InvalidInput
from tools.rollouts import freezes
from tools.rollouts.freezes import FreezeView

HEADS = ("ID", "FREEZES", "FROM", "UNTIL", "BY", "WHY")
SETTINGS = "sluice.toml"


@dataclass(frozen=True, slots=True)
class Of:
    """What is frozen: an environment, or of it one flag or the flags with one tag."""

    environment: str
    flag: str | None = None
    tag: str | None = None


async def freeze(services: Services, of: Of, *, start: datetime | None, lasts: timedelta | None, reason: str) -> None:
    """Freeze it from `start` on, None: at once; `lasts` None: until somebody lifts it. Raises InvalidInput."""
    now, tag = services.clock.now(), None if of.tag is None else of.tag.strip("#")
    if tag is not None and not FLAG_NAME.fullmatch(tag):
        raise InvalidInput(texts.FREEZE_TAG_ODD)
    if tag is not None and of.flag is not None:
        raise InvalidInput(texts.FREEZE_FLAG_OR_TAG)
    until = None if lasts is None else _end(start or now, lasts)
    if until is not None and until <= now:
        raise InvalidInput(texts.UNTIL_PAST)
    wish = freezes.wish(environment=of.environment, flag=of.flag, tag=tag, start=start, until=until, reason=reason)
    made = await services.rollouts.freeze(wish, actor=actor())
    begins = f"from {moment(made.start)} on" if made.start > (made.made_at or now) else "now"
    typer.echo(f"Nothing goes up {begins}: {made}. Lift it with `sluice unfreeze {made.id}`.")


async def unfreeze(services: Services, freeze_id: str | None) -> None:
    """Lift a freeze; without its id print those that there are."""
    if freeze_id is None:
        found = await services.rollouts.freezes()
        typer.echo(table([_row(one) for one in found], HEADS) if found else "Nothing is frozen.")
        return
    lifted = await services.rollouts.unfreeze(freeze_id, actor=actor())
    typer.echo(f"The freeze of {_of(lifted)} is lifted.")


def _end(start: datetime, lasts: timedelta) -> datetime:
    try:
        return start + lasts
    except OverflowError:
        raise InvalidInput(texts.FREEZE_ENDS_NEVER) from None


def _row(freeze: FreezeView) -> tuple[str, ...]:
    until = "lifted by hand" if freeze.end is None else moment(freeze.end)
    return freeze.id or "-", _of(freeze), moment(freeze.start), until, freeze.by or SETTINGS, freeze.reason


def _of(freeze: FreezeView) -> str:
    what = freeze.flag or ("flags tagged " + ", ".join(freeze.tags) if freeze.tags else "everything")
    return f"{what} in {', '.join(freeze.environments) or 'every environment'}"

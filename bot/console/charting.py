"""A guardrail's chart as a picture in a file, with its text on the terminal."""

import asyncio
from pathlib import Path

import typer

from bot.services import Services
from tools.errors import InvalidInput
from tools.rollouts.trace import trace


async def chart(
    services: Services, flag: str, environment: str, metric: str | None, output: Path | None, *, dark: bool
) -> None:
    """Draw how the flag's newest rollout went; its text is printed.

    Raises RolloutNotFound, NothingToTrace, and InvalidInput for a file that can't be written.
    """
    view = await services.rollouts.find(flag, environment)
    traced = await trace(services.database, view.id, metric)
    # matplotlib takes half a second to load.
    from bot.chart import described, drawn
    from bot.style import Theme

    picture = await asyncio.to_thread(drawn, traced, Theme.DARK if dark else Theme.LIGHT)
    target = output or Path(f"{flag.replace('/', '-')}-{traced.guardrail.metric.replace('/', '-')}.png")
    try:
        await asyncio.to_thread(target.write_bytes, picture)
    except OSError as error:
        raise InvalidInput(f"{target} can't be written ({error.strerror}); name another file with --output.") from error
    typer.echo(described(traced))
    typer.echo(f"Drawn into {target}.")

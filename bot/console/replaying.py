"""A run of the agent played again on the command line, with nothing carried out."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from agent.model import ModelOptions, open_model
from bot.services import Services
from tools.records.models import AgentRun

if TYPE_CHECKING:
    from agent.replay import Replayed


async def is_run(services: Services, name: str) -> bool:
    """Whether that is the id of a run."""
    async with services.database.read() as session:
        return await session.get(AgentRun, name) is not None


async def replay(services: Services, run_id: str, *, recorded: bool, model: str | None) -> bool:
    """Print where the run's answer differs when it is played again; whether it is as required.

    With the recorded model outputs everything must be the same. A live model may differ: that is what is looked for.
    Raises RunNotFound, CantReplay, ModelUnavailable.
    """
    # The libraries behind it take a second, which who judges a rollout's checks again need not wait for.
    from agent.replay import find
    from agent.replay import replay as play_again

    record = await find(services.database, run_id)
    if recorded:
        replayed = await play_again(record, None)
    else:
        options = live_options(record.options, services.settings.model, model)
        replayed = await play_again(record, await asyncio.to_thread(open_model, options), options)
    typer.echo("\n".join(_lines(replayed)))
    return replayed.same or not recorded


def live_options(then: ModelOptions, now: ModelOptions, model: str | None) -> ModelOptions:
    """As the run's model was asked, at the endpoint and with the key of today; `model` is another name."""
    update = {"api_key": now.api_key, "name": model or then.name or now.name}
    if now.base_url is not None:
        update["base_url"] = now.base_url
    return then.model_copy(update=update)


def _lines(replayed: "Replayed") -> Iterator[str]:
    yield from replayed.notes
    if replayed.same:
        yield "The same: everything came out as it was recorded."
        return
    for difference in replayed.differences:
        yield from difference.lines()

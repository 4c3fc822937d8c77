"""`python -m tests.benchmarks.thinking`: `sluice serve` with a model that takes its time, until SIGTERM."""

import asyncio
import os
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

import bot.serve
from agent.scripted import ScriptedModel
from bot.bootstrap import running_services
from bot.logs import configure_logs
from bot.settings import load_settings

THINKING_S = 1.0, 4.0
DONE = "That is all there is to say."


class Slow(ScriptedModel):
    """As far away as a model is."""

    async def _agenerate(self, *args: Any, **options: Any) -> Any:
        await asyncio.sleep(random.uniform(*THINKING_S))
        return await super()._agenerate(*args, **options)


def lines(messages: Sequence[BaseMessage]) -> AIMessage:
    """A tool call, another, and an answer."""
    made = sum(isinstance(message, ToolMessage) for message in messages)
    if made == 2:
        return AIMessage(DONE)
    tool = ("rollout_status", "history")[made]
    return AIMessage("", tool_calls=[{"id": f"call-{made}", "name": tool, "args": {"flag": "new-checkout"}}])


async def main() -> None:
    """The real process, put together by its own code, but for the model."""
    bot.serve.running_services = partial(running_services, opened=lambda: Slow(lines=lines))  # type: ignore[attr-defined]
    await bot.serve.serve(load_settings(None, os.environ), http=False, announce=lambda _: None)


if __name__ == "__main__":
    configure_logs()
    asyncio.run(main())

"""The agent, loaded when it is first needed: the libraries behind it take a second, for which nothing else waits."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from agent.desk import Desk
from agent.model import ModelOptions, open_model
from agent.orders import may_order
from agent.turns import Answer, Turn, Voice

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from agent.session import Agent


OpenModel = Callable[[], "BaseChatModel"]


class SharedModel:
    """Opens the model once, for all who use it. `opened` opens it; None: the one that the options name."""

    def __init__(self, options: ModelOptions, opened: OpenModel | None = None) -> None:
        self._open = opened or (lambda: open_model(options))
        self._model: BaseChatModel | None = None
        self._opening = threading.Lock()

    def __call__(self) -> "BaseChatModel":
        """The model; call it in a thread. Raises ModelUnavailable, and is tried again by whoever asks next."""
        with self._opening:
            if self._model is None:
                self._model = self._open()
            return self._model


class Brain:
    """Answers turns."""

    def __init__(self, desk: Desk, options: ModelOptions, model: OpenModel) -> None:
        self.options = options
        self._desk = desk
        self._model = model
        self._agent: Agent | None = None
        self._loading = threading.Lock()

    async def run(self, turn: Turn, voice: Voice, stop: asyncio.Event, *, run_id: str) -> Answer:
        """Answer the turn's new messages. Whatever goes wrong is an answer too; only cancellation is raised."""
        return await (await self.agent()).run(turn, voice, stop, run_id=run_id)

    async def is_order(self, turn: Turn) -> bool:
        """Whether the turn's new messages order something that needs no model, and say nothing else."""
        if not any(may_order(text) for text in turn.words):
            return False
        await self.agent()
        from agent.direct import is_order

        return await is_order(self._desk, turn)

    async def agent(self) -> "Agent":
        """The agent, loaded in a thread."""
        if self._agent is not None:
            return self._agent
        return await asyncio.to_thread(self._loaded)

    async def title(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """What a tool call does, in words for people."""
        agent = await self.agent()
        from agent.toolkit.box import title_of

        return title_of(next((one for one in agent.tools if one.name == tool), None), arguments)

    def _loaded(self) -> "Agent":
        from agent.session import Agent
        from agent.toolkit.registry import TOOLS

        with self._loading:
            if self._agent is None:
                self._agent = Agent(self._desk, self.options, self._model, TOOLS)
        return self._agent

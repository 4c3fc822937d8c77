"""Finds out what a model can do: tool calls in the protocol, JSON held to a schema, or neither."""

import asyncio
import json
from typing import TYPE_CHECKING

from langchain_core.messages import HumanMessage

from agent.model import ModelOptions, Style, is_refusal, unavailable
from agent.moves import Offer, prepared, text_of
from tools.plans.model import Value

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage

PROBE_SECONDS = 60.0
WORD = "sluice"
QUESTION = f'Call the tool "echo" with the word "{WORD}".'
ECHO = Offer(
    "echo",
    "Repeats a word.",
    {
        "type": "object",
        "properties": {"word": {"type": "string", "description": "the word"}},
        "required": ["word"],
        "additionalProperties": False,
    },
)


class Abilities(Value):
    """What a model did when it was asked to."""

    tools: bool
    schemas: bool

    @property
    def best(self) -> Style:
        """The style that suits it."""
        if self.tools:
            return Style.TOOLS
        return Style.SCHEMA if self.schemas else Style.TEXT

    def advice(self, style: Style) -> str:
        """One sentence on the style that is set."""
        able = {Style.TOOLS: self.tools, Style.SCHEMA: self.schemas, Style.TEXT: True}[style]
        if style is self.best:
            return f"it answers in the style that is set ({style.value})."
        if able:
            return f"it can do style {style.value}; it could also do {self.best.value}."
        if self.best is Style.TEXT:
            return (
                "it knows neither tool calls nor JSON schemas: set SLUICE_MODEL_STYLE=text and expect little, or name "
                "another model."
            )
        return f"it can't do style {style.value}: set SLUICE_MODEL_STYLE={self.best.value}."


async def probe(model: "BaseChatModel", options: ModelOptions) -> Abilities:
    """Ask it twice, for a tool call and for an object. Raises ModelUnavailable."""
    return Abilities(tools=await _calls_tools(model, options), schemas=await _keeps_schema(model, options))


async def _calls_tools(model: "BaseChatModel", options: ModelOptions) -> bool:
    message = await _asked(model, options, Style.TOOLS)
    calls = message.tool_calls if message is not None else []
    return any(call["name"] == ECHO.name and call["args"].get("word") for call in calls)


async def _keeps_schema(model: "BaseChatModel", options: ModelOptions) -> bool:
    message = await _asked(model, options, Style.SCHEMA)
    try:
        plain = json.loads(text_of(message)) if message is not None else None
    except ValueError:
        return False
    return isinstance(plain, dict) and set(plain) == {"tool", "arguments"}


async def _asked(model: "BaseChatModel", options: ModelOptions, style: Style) -> "AIMessage | None":
    asked = prepared(model, options.model_copy(update={"style": style}), [ECHO])
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            return await asked.ainvoke([HumanMessage(QUESTION)])
    except Exception as error:
        if is_refusal(error):
            # Refusing the form is an answer: it can't do that.
            return None
        if (trouble := unavailable(error)) is not None:
            raise trouble from error
        raise

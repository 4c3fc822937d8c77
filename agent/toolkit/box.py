"""Carries out the calls of one run: finds the tool, checks its arguments, and answers every fault with a sentence.

A tool that raised would kill the run, and leave a call without an answer, which the next request would be refused for.
"""

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import ValidationError

from agent.graph import Finding
from agent.moves import Call, Offer
from agent.recorder import Recorder
from agent.redaction import redacted, redacted_value
from agent.stopping import Stopped, TimeIsUp
from agent.toolkit.base import Arguments, Context, Effect, Result, Tool
from agent.tracing import failed, tool_span
from agent.turns import Voice
from tools.errors import SluiceError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

FAILED = "agent.tool_failed"
STOPPED = "That was stopped before it came to anything."
TOO_SLOW = "That took too long, so it was cut off before it came to anything."
OVERTAKEN = (
    "Since that was said somebody here gave an order to lower or hold exposure, so I leave it. "
    "Say it again if you still want it."
)
LONGEST_RESULT = 8000
OF_ANOTHER_TYPE = ("float_type", "int_type", "bool_type")
QUOTED = re.compile(r"-?\d{1,12}(\.\d{1,6})?|true|false")
LONGEST_SAID = 3000
PLAIN_NAME = re.compile(r"(?!.*//)[A-Za-z0-9][\w.:/-]{0,59}", re.ASCII)
"""People see it in a title, where anything else might be read as Sluice's own words."""

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class Toolbox:
    """The tools of one run; `results` has what they answered, in order."""

    tools: Mapping[str, Tool[Any]]
    context: Context
    recorder: Recorder
    voice: Voice
    results: list[Result] = field(default_factory=list)

    async def carry_out(self, call: Call) -> Finding:
        """Never raises for anything that the model can write, nor for a tool's failure.

        Raises Stopped instead of carrying out what has an effect, where the run is to stop.
        """
        tool = self.tools.get(call.tool)
        title = title_of(tool, call.arguments)
        row = self.recorder.tool_call(self.context.run_id, len(self.results), call.tool, call.arguments)
        if tool is not None and tool.effect is not Effect.READ:
            await self.recorder.tool_called(row)
        await self.voice.calling(row["id"], call.tool, title)
        with tool_span(row["tool"], row["id"]) as span:
            result = await self._result(tool, call)
            if result.failed:
                failed(span, "tool_error")
        self.results.append(result)
        await self.recorder.tool_answered(row, result)
        await self.voice.called(row["id"], call.tool, title, failed=result.failed)
        return as_finding(result)

    async def _result(self, tool: Tool[Any] | None, call: Call) -> Result:
        if tool is None:
            known = ", ".join(sorted(self.tools))
            return refused(f"There is no tool called {call.tool[:80]!r}. There are: {known}.")
        if tool.effect is Effect.REQUEST and self.context.turn.overtaken:
            return refused(OVERTAKEN)
        try:
            arguments = tool.arguments.model_validate_json(json.dumps(dict(call.arguments)))
        except ValidationError as error:
            return refused(_complaint(tool, error))
        except (ValueError, TypeError, RecursionError):
            return refused(f"The arguments of {tool.name} can't be read.")
        try:
            return await self._run(tool, arguments)
        except SluiceError as error:
            return refused(str(error))
        except Stopped:
            return refused(STOPPED)
        except TimeIsUp:
            return refused(TOO_SLOW)
        except Exception:
            reference = secrets.token_hex(4)
            logger.exception(FAILED, reference=reference, tool=tool.name, run=self.context.run_id)
            return refused(f"Something went wrong on my side. Tell whoever runs Sluice: {reference}.")

    async def _run(self, tool: Tool[Any], arguments: Arguments) -> Result:
        """A tool that only reads ends with the run; one that has an effect ends what it reads by itself."""
        running = tool.run(self.context, arguments)
        return await (self.context.unless_over(running) if tool.effect is Effect.READ else running)


def offers(tools: Sequence[Tool[Any]], choices: Mapping[str, Sequence[str]]) -> tuple[Offer, ...]:
    """The tools as a model sees them; `choices` are the names to choose from, by what is named (flags, metrics)."""
    return tuple(Offer(tool.name, tool.description, schema_of(tool.arguments, choices)) for tool in tools)


def schema_of(arguments: type[Arguments], choices: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The JSON schema of a tool's arguments, as plain as small models need it."""
    schema = _schema(arguments)
    properties = {name: _plain_property(one, choices) for name, one in schema.get("properties", {}).items()}
    return {
        "type": "object",
        "properties": properties,
        "required": list(schema.get("required", ())),
        "additionalProperties": False,
    }


@cache
def _schema(arguments: type[Arguments]) -> dict[str, Any]:
    return arguments.model_json_schema()


def title_of(tool: Tool[Any] | None, arguments: Mapping[str, Any]) -> str:
    """What a call does, in words for people. What the model wrote in it is only taken where it is a plain name."""
    if tool is None:
        return "Looking for a tool"
    named = arguments.get("flag") or arguments.get("metric")
    is_plain = isinstance(named, str) and PLAIN_NAME.fullmatch(named) and redacted(named) == named
    return f"{tool.title} · {named}" if is_plain else tool.title


def refused(sentence: str) -> Result:
    """The result of a call that could not be carried out."""
    return Result(said=redacted(sentence)[:LONGEST_SAID], failed=True)


def as_finding(result: Result) -> Finding:
    """The result as the model reads it, without secrets and not without end."""
    plain = {"said": result.said, **result.data} if not result.failed else {"error": result.said}
    text = json.dumps(redacted_value(plain), ensure_ascii=False, default=str)
    if len(text) > LONGEST_RESULT:
        text = json.dumps({"said": redacted(result.said)[:LONGEST_SAID], "cut": True}, ensure_ascii=False)
    return Finding(text=text, said=redacted(result.said)[:LONGEST_SAID], failed=result.failed)


def _plain_property(plain: Mapping[str, Any], choices: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Without titles, defaults and "or null": an optional argument is left out instead."""
    one = {key: value for key, value in plain.items() if key not in ("title", "default", "choices")}
    if "anyOf" in one:
        options = [option for option in one.pop("anyOf") if option.get("type") != "null"]
        one = {**options[0], **one} if len(options) == 1 else {**one, "anyOf": options}
        one.pop("title", None)
    names = list(choices.get(str(plain.get("choices")), ()))
    if names:
        target = one.setdefault("items", {}) if one.get("type") == "array" else one
        for key in ("pattern", "minLength", "maxLength"):
            target.pop(key, None)
        target["enum"] = names
    return one


def _complaint(tool: Tool[Any], error: ValidationError) -> str:
    faults = "; ".join(
        f"{'.'.join(str(part) for part in fault['loc'])[:80] or 'arguments'}: {fault['msg'][:200]}{_instead(fault)}"
        for fault in error.errors(include_url=False, include_context=False)[:5]
    )
    known = ", ".join(tool.arguments.model_fields) or "none"
    return f"The arguments of {tool.name} don't fit: {faults}. It takes: {known}."


def _instead(fault: "ErrorDetails") -> str:
    """What to write instead: small models put numbers and truth values between quotes, and repair it when told."""
    given = fault["input"]
    if fault["type"] not in OF_ANOTHER_TYPE or not isinstance(given, str) or not QUOTED.fullmatch(given):
        return ""
    return f' (write {given}, not "{given}")'

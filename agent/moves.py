"""What a model may do next: call tools, or reply. Three ways to ask for it, one way to understand it.

Pure, but for `ask`, which talks to the model and to nothing else.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.model import ModelOptions, Style

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.runnables import Runnable

REPLY = "reply"
LONGEST_CALL_TEXT = 20_000
MOST_CALLS_A_MOVE = 8
LONGEST_PREAMBLE = 300
DEEPEST_VALUE = 50
SHARED_BY = 3
# Of a server that holds the model to the schema: what is cut off by the bound on tokens could not be read.
LONGEST_HELD_REPLY = 400
_FENCE = re.compile(r"```(?:json|tool_call)?\s*(\{.*?\}|\[.*?\])\s*```", re.DOTALL)
_TAG = re.compile(r"</?tool_call>")


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool as a model sees it: `schema` is the JSON schema of its arguments."""

    name: str
    description: str
    schema: Mapping[str, Any]

    def as_function(self) -> dict[str, Any]:
        """In the protocol's form."""
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": dict(self.schema)},
        }


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call as the model wrote it: the arguments may be anything."""

    id: str
    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Move:
    """The model's next move. Without calls, `text` is its reply."""

    calls: tuple[Call, ...]
    text: str


def prepared(model: "BaseChatModel", options: ModelOptions, offers: Sequence[Offer]) -> "Runnable[Any, AIMessage]":
    """The model, told how its moves are to look."""
    match options.style:
        case Style.TOOLS:
            return model.bind_tools([offer.as_function() for offer in offers])
        case Style.SCHEMA:
            schema = {"name": "move", "strict": False, "schema": move_schema(offers)}
            return model.bind(response_format={"type": "json_schema", "json_schema": schema})
        case Style.TEXT:
            return model


def move_schema(offers: Sequence[Offer]) -> dict[str, Any]:
    """The JSON schema of one move: an object that names a tool and its arguments, or a reply."""
    moves = [_one_move(offer.name, dict(offer.schema)) for offer in offers]
    reply = {
        "type": "object",
        "properties": {"text": {"type": "string", "maxLength": LONGEST_HELD_REPLY}},
        "required": ["text"],
        "additionalProperties": False,
    }
    return {"anyOf": [*moves, _one_move(REPLY, reply)]}


def _one_move(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"tool": {"const": name}, "arguments": arguments},
        "required": ["tool", "arguments"],
        "additionalProperties": False,
    }


def understand(message: "AIMessage", options: ModelOptions, offers: Sequence[Offer], *, prefix: str) -> Move:
    """The move that the message makes; `prefix` makes the ids of calls that have none."""
    text = text_of(message)
    if message.tool_calls:
        calls = [
            _clean_call(str(call.get("id") or f"{prefix}-{number}"), str(call["name"]), _mapping(call.get("args")))
            for number, call in enumerate(message.tool_calls[:MOST_CALLS_A_MOVE])
        ]
        return Move(tuple(calls), text)
    broken = [
        _clean_call(f"{prefix}-{number}", str(call.get("name") or "?"), {"": str(call.get("args"))})
        for number, call in enumerate(message.invalid_tool_calls[:MOST_CALLS_A_MOVE])
    ]
    if broken:
        return Move(tuple(broken), text)
    preamble = LONGEST_PREAMBLE if options.style is not Style.TOOLS else 0
    written = list(_written_moves(text, preamble))
    if options.style is not Style.TOOLS and written and written[0].get("tool") == REPLY:
        return Move((), cleaned(str(_mapping(written[0].get("arguments")).get("text", ""))))
    known = {offer.name for offer in offers}
    recovered = [call for number, plain in enumerate(written) if (call := _call(plain, known, f"{prefix}-{number}"))]
    if recovered:
        return Move(tuple(recovered[:MOST_CALLS_A_MOVE]), "")
    return Move((), text)


def text_of(message: "AIMessage") -> str:
    """What it says, without its reasoning."""
    return cleaned(str(message.text))


def cleaned(text: str) -> str:
    """The text without what no database and no wire takes: NUL, and half a character that lost its other half.

    It is taken out where text comes in, a model's here and people's as it is heard, and then nowhere else.
    """
    if text.isascii():
        return text.replace("\0", "")
    # Two halves that came one after the other are one character again.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore").replace("\0", "")


def cleaned_value(value: Any, depth: int = DEEPEST_VALUE) -> Any:
    """Plain JSON with every text in it cleaned, names too; what is nested without end is cut off."""
    if isinstance(value, str):
        return cleaned(value)
    if not isinstance(value, Mapping | list | tuple):
        return value
    if depth == 0:
        return None
    if isinstance(value, Mapping):
        return {cleaned(str(name)): cleaned_value(one, depth - 1) for name, one in value.items()}
    return [cleaned_value(one, depth - 1) for one in value]


def cleaned_message(message: "AIMessage") -> "AIMessage":
    """What a model put out, as it may be kept."""
    from langchain_core.messages import AIMessage

    return AIMessage(
        content=cleaned_value(message.content),
        tool_calls=cleaned_value(message.tool_calls),
        invalid_tool_calls=cleaned_value(message.invalid_tool_calls),
        usage_metadata=message.usage_metadata,
        response_metadata=cleaned_value(message.response_metadata),
    )


def _clean_call(call_id: str, tool: str, arguments: Mapping[str, Any]) -> Call:
    return Call(cleaned(call_id), cleaned(tool), cleaned_value(arguments))


def _written_moves(text: str, preamble: int) -> Iterable[dict[str, Any]]:
    """JSON objects that make up the whole of a short message, or its fenced blocks: prose with JSON in it is prose.

    Beside the blocks there are at most `preamble` characters: none where a model has calls of its own, and so what it
    writes down is an example. A model that shows somebody else's text must not be taken to call what that text calls.
    """
    if len(text) > LONGEST_CALL_TEXT:
        return
    stripped = _TAG.sub("", text).strip()
    if (whole := _json(stripped)) is not None:
        yield from _objects(whole)
        return
    fences = _FENCE.findall(stripped)
    if fences and len(_FENCE.sub("", stripped).strip()) <= preamble:
        for fence in fences:
            yield from _objects(_json(fence))
        return
    lines = [_json(line) for line in stripped.splitlines() if line.strip()]
    if lines and all(line is not None for line in lines):
        for line in lines:
            yield from _objects(line)


def _call(plain: Mapping[str, Any], known: set[str], call_id: str) -> Call | None:
    """The call that an object means, in any of the forms that models write; None when it names no tool."""
    function = plain.get("function")
    if isinstance(function, Mapping):
        plain = function
    name = next((plain[key] for key in ("tool", "name", "function", "action") if isinstance(plain.get(key), str)), None)
    if name not in known:
        return None
    for key in ("arguments", "parameters", "args", "input"):
        if key in plain:
            return _clean_call(call_id, str(name), _mapping(plain[key]))
    return _clean_call(call_id, str(name), {key: value for key, value in plain.items() if key not in ("tool", "name")})


def _mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        value = _json(value)
    return {str(key): one for key, one in value.items()} if isinstance(value, Mapping) else {}


def _objects(value: Any) -> Iterable[dict[str, Any]]:
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, dict):
            yield one


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def in_words(offers: Sequence[Offer]) -> str:
    """The tools for a prompt, one line each; what most of them take is said once, at the end."""
    shared = _shared(offers)
    lines = [f"- {offer.name}({_shape(offer.schema, shared)}): {offer.description}" for offer in offers]
    common = [f"Tools also take {name}?: {said}." for name, said in shared.items()]
    return "\n".join([*lines, *common])


def _shared(offers: Sequence[Offer]) -> dict[str, str]:
    """Optional arguments that many tools take in the same sense."""
    found = Counter(
        (name, str(one["description"]))
        for offer in offers
        for name, one in offer.schema.get("properties", {}).items()
        if "description" in one and name not in offer.schema.get("required", ())
    )
    return {name: said for (name, said), times in found.items() if times >= SHARED_BY}


def _shape(schema: Mapping[str, Any], shared: Mapping[str, str]) -> str:
    properties: Mapping[str, Any] = schema.get("properties", {})
    required = set(schema.get("required", ()))
    own = {name: one for name, one in properties.items() if shared.get(name) != one.get("description", "")}
    return ", ".join(
        f"{name}{'' if name in required else '?'}" + (f": {one['description']}" if "description" in one else "")
        for name, one in own.items()
    )


def plain_messages(messages: Sequence["BaseMessage"]) -> list[Any]:
    """Messages as plain JSON, for the rows."""
    from langchain_core.messages import messages_to_dict

    return json.loads(json.dumps(messages_to_dict(list(messages)), default=str))  # type: ignore[no-any-return]

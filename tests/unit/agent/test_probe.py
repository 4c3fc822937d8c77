"""What a model is found to be able to do."""

import httpx
import openai
import pytest
from langchain_core.messages import AIMessage

from agent.model import ModelOptions, ModelUnavailable, Style
from agent.probe import Abilities, probe
from agent.scripted import ScriptedModel

OPTIONS = ModelOptions(name="probed")
CALL = AIMessage("", tool_calls=[{"id": "1", "name": "echo", "args": {"word": "sluice"}}])
OBJECT = '{"tool": "echo", "arguments": {"word": "sluice"}}'


def refused(status: int, kind: type[openai.APIStatusError]) -> Exception:
    request = httpx.Request("POST", "http://model.example")
    return kind("no", response=httpx.Response(status, request=request), body=None)


@pytest.mark.parametrize(
    ("lines", "tools", "schemas", "best"),
    [
        ([CALL, OBJECT], True, True, Style.TOOLS),
        (["I can't.", OBJECT], False, True, Style.SCHEMA),
        (["I can't.", "Neither."], False, False, Style.TEXT),
        (["I can't.", '{"word": 1}'], False, False, Style.TEXT),
        ([refused(400, openai.BadRequestError), OBJECT], False, True, Style.SCHEMA),
        ([CALL, refused(400, openai.BadRequestError)], True, False, Style.TOOLS),
    ],
)
async def test_it_is_asked_and_not_believed(lines: list[object], tools: bool, schemas: bool, best: Style) -> None:
    found = await probe(ScriptedModel.of(lines), OPTIONS)  # type: ignore[arg-type]
    assert (found.tools, found.schemas, found.best) == (tools, schemas, best)


async def test_a_model_that_is_away_is_no_ability() -> None:
    with pytest.raises(ModelUnavailable, match="OPENAI_API_KEY"):
        await probe(ScriptedModel.of([refused(401, openai.AuthenticationError)]), OPTIONS)


@pytest.mark.parametrize(
    ("tools", "schemas", "style", "says"),
    [
        (True, True, Style.TOOLS, "answers in the style that is set"),
        (True, True, Style.SCHEMA, "could also do tools"),
        (False, True, Style.TOOLS, "SLUICE_MODEL_STYLE=schema"),
        (False, False, Style.TOOLS, "SLUICE_MODEL_STYLE=text"),
        (False, False, Style.TEXT, "answers in the style that is set"),
    ],
)
def test_the_advice_says_what_to_set(tools: bool, schemas: bool, style: Style, says: str) -> None:
    assert says in Abilities(tools=tools, schemas=schemas).advice(style)

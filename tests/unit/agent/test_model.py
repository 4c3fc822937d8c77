"""What is the model's trouble, and what is a fault of ours."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from langchain_core.messages import BaseMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr, ValidationError

from agent.model import Api, ModelOptions, ModelUnavailable, is_refusal, unavailable
from agent.scripted import ScriptedModel


def _answering(body: str, kind: str = "application/json", status: int = 200) -> ChatOpenAI:
    """A model whose server answers everything with this."""

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, text=body, headers={"content-type": kind})

    return ChatOpenAI(
        model="m",
        base_url="http://model.example/v1",
        api_key=SecretStr("none"),
        max_retries=0,
        http_async_client=httpx.AsyncClient(transport=httpx.MockTransport(answer)),
    )


async def _trouble(asking: Callable[[], Any]) -> ModelUnavailable | None:
    try:
        await asking()
    except Exception as error:  # noqa: BLE001 - whichever it is, it is looked at
        return unavailable(error)
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    "body",
    ["<html>", "not json", "[]", "{}", '"x"', '{"choices": null}', '{"choices": [{}]}', '{"error": "out of memory"}'],
)
async def test_an_answer_of_another_shape_is_the_models_trouble(body: str) -> None:
    trouble = await _trouble(lambda: _answering(body).ainvoke("Hi"))
    assert trouble is not None
    assert "can't be read" in str(trouble)


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("body", ["", "data: [DONE]\n\n", "data: {\n\n", "data: []\n\n", 'data: {"choices": 3}\n\n'])
async def test_a_stream_of_another_shape_is_the_models_trouble(body: str) -> None:
    async def read() -> None:
        async for _ in _answering(body, "text/event-stream").astream("Hi"):
            """Nothing comes."""

    trouble = await _trouble(read)
    assert trouble is not None
    assert "can't be read" in str(trouble)


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), TypeError("x"), AttributeError("x")])
async def test_what_the_client_raises_is_the_models_trouble(error: Exception) -> None:
    assert await _trouble(lambda: ScriptedModel.of([error]).ainvoke("Hi")) is not None


async def test_a_request_that_cannot_be_made_is_a_fault_of_ours() -> None:
    class Unheard(BaseMessage):
        type: str = "unheard"

    assert await _trouble(lambda: _answering("{}").ainvoke([Unheard(content="Hi")])) is None


@pytest.mark.parametrize("fault", [lambda: json.loads("x"), lambda: {}["x"], lambda: len(3), lambda: None.x])
async def test_what_our_own_code_raises_is_a_fault_of_ours(fault: Callable[[], Any]) -> None:
    async def ours() -> None:
        fault()

    assert await _trouble(ours) is None


def test_whatever_the_library_calls_its_own_is_the_models_trouble() -> None:
    assert unavailable(openai.OpenAIError("x")) is not None


@pytest.mark.parametrize(
    ("status", "words", "refuses"),
    [
        (400, "refused the request", True),
        (401, "refused the key", False),
        (404, "knows no such model", False),
        (422, "refused the request", True),
        (429, "busy (429)", False),
        (500, "has a fault (500)", False),
        (503, "has a fault (503)", False),
    ],
)
async def test_each_refusal_of_a_server_is_named(status: int, words: str, refuses: bool) -> None:
    with pytest.raises(openai.APIStatusError) as raised:
        await _answering('{"error": {"message": "no"}}', status=status).ainvoke("Hi")
    trouble = unavailable(raised.value)
    assert trouble is not None
    assert words in str(trouble)
    assert is_refusal(raised.value) is refuses


def test_a_seed_for_an_interface_that_takes_none_is_refused_at_the_start() -> None:
    with pytest.raises(ValidationError, match="takes no seed"):
        ModelOptions(name="m", api=Api.RESPONSES, seed=7)
    assert ModelOptions(name="m", seed=7).seed == 7

"""A chat model behind any OpenAI-compatible endpoint, with everything that is otherwise guessed said explicitly."""

import traceback
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, SecretStr, field_validator, model_validator

from tools.errors import Unavailable
from tools.plans.model import Value

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

WITHOUT_A_MODEL = (
    "What works without it: `/rollout` commands, the buttons, and plans from the calculators (`/rollout plan FLAG`)."
)
NO_KEY = "none"
UNREADABLE = "The model answered with something that can't be read"
CLIENT = ("langchain_core.language_models", "langchain_openai", "openai")
"""Modules that a request goes through."""
ASKING = frozenset({"_get_request_payload", "_convert_input"})
"""What the client calls to make a request of the messages."""


class ModelUnavailable(Unavailable):
    """The model did not answer, or none is configured; the message says what works without it."""


class Api(StrEnum):
    """Which of OpenAI's interfaces the endpoint has."""

    CHAT = "chat"  # chat completions: every compatible server
    RESPONSES = "responses"  # OpenAI's own


class Style(StrEnum):
    """How the model is asked for its next move."""

    TOOLS = "tools"  # the protocol's tool calls
    SCHEMA = "schema"  # one JSON object, held to a JSON schema by the server: small models
    TEXT = "text"  # one JSON object, asked for in words: servers with neither


class Wording(StrEnum):
    """Who words the answer once tools have answered."""

    MODEL = "model"
    ROWS = "rows"  # the tools' own sentences: faster, and nothing invented, for small models


class ModelOptions(Value):
    """A model and how it is used. Prices are US dollars a million tokens; bounds are for one run.

    `sketches`: whether it sketches plans, which one that takes minutes for it should not.
    """

    name: Annotated[str, Field(min_length=1)] | None = None
    base_url: str | None = None
    api_key: SecretStr | None = None
    api: Api = Api.CHAT
    style: Style = Style.TOOLS
    wording: Wording = Wording.MODEL
    sketches: bool = True
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    seed: int | None = None
    max_output_tokens: Annotated[int, Field(ge=16, le=32_000)] = 1500
    input_price: Annotated[float, Field(ge=0)] = 0.0
    output_price: Annotated[float, Field(ge=0)] = 0.0
    max_calls: Annotated[int, Field(ge=1, le=50)] = 12
    max_seconds: Annotated[float, Field(gt=0, le=600)] = 120.0
    max_tokens: Annotated[int, Field(ge=100)] = 100_000

    @field_validator("base_url")
    @classmethod
    def _usable(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("https://", "http://")):
            raise ValueError("write an address that starts with https:// or http://, up to and with /v1")
        return url

    @property
    def may_sketch(self) -> bool:
        """Whether there is a model to be asked for plans."""
        return self.name is not None and self.sketches

    @model_validator(mode="after")
    def _answerable(self) -> "ModelOptions":
        if self.api is Api.RESPONSES and self.seed is not None:
            raise ValueError("the Responses API takes no seed: leave it out, or use chat completions")
        return self

    def parameters(self) -> dict[str, Any]:
        """What a run's row keeps of it: everything that may change an answer, and no secret."""
        return self.model_dump(mode="json", exclude={"api_key", "name"})

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """US dollars."""
        return (input_tokens * self.input_price + output_tokens * self.output_price) / 1e6


def open_model(options: ModelOptions) -> "BaseChatModel":
    """The model. Loading the library takes seconds: call it in a thread. Raises ModelUnavailable when none is named."""
    if options.name is None:
        raise ModelUnavailable(f"No model is configured (SLUICE_MODEL), so I can't talk freely. {WITHOUT_A_MODEL}")
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(
        model=options.name,
        base_url=options.base_url,
        api_key=options.api_key or SecretStr(NO_KEY),
        use_responses_api=options.api is Api.RESPONSES,
        # With another base_url it is off unless it is asked for, and a run's tokens would be nought.
        stream_usage=True,
        temperature=options.temperature,
        seed=options.seed,
        max_completion_tokens=options.max_output_tokens,
        max_retries=1,
        timeout=options.max_seconds,
        # A slow machine may be silent for minutes while it reads a prompt for the first time.
        stream_chunk_timeout=options.max_seconds,
    )


def unavailable(error: Exception) -> ModelUnavailable | None:
    """What went wrong with the model in one plain sentence; None when it is no trouble of the model's."""
    import openai

    match error:
        case ModelUnavailable():
            return error
        case openai.RateLimitError():
            why = "The model is busy (429)"
        case openai.APITimeoutError() | TimeoutError():
            why = "The model did not answer in time"
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            why = "The model refused the key in OPENAI_API_KEY"
        case openai.NotFoundError():
            why = "The endpoint knows no such model: see SLUICE_MODEL and SLUICE_MODEL_BASE_URL"
        case openai.LengthFinishReasonError():
            why = "The model's answer was cut off: raise SLUICE_MODEL_MAX_OUTPUT_TOKENS"
        case openai.BadRequestError() | openai.UnprocessableEntityError():
            why = "The model refused the request: `sluice doctor` says what it can do"
        case openai.InternalServerError():
            why = f"The model's server has a fault ({error.status_code})"
        case openai.APIConnectionError() | OSError():
            why = "The model can't be reached"
        case openai.OpenAIError():
            why = UNREADABLE
        # The client's words for an answer of another shape; from anywhere else it is a fault of ours.
        case ValueError() | KeyError() | TypeError() | AttributeError() if _is_from_the_client(error):
            why = UNREADABLE
        case _:
            return None
    return ModelUnavailable(f"{why}. {WITHOUT_A_MODEL}")


def is_refusal(error: Exception) -> bool:
    """Whether the server understood, and does not answer in that form: another form of the same question may do."""
    import openai

    return isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError)


def _is_from_the_client(error: Exception) -> bool:
    """Whether it was raised while the model's client worked, after it had made its request."""
    frames = [frame for frame, _line in traceback.walk_tb(error.__traceback__)]
    return any(frame.f_globals.get("__name__", "").startswith(CLIENT) for frame in frames) and not any(
        frame.f_code.co_name in ASKING for frame in frames
    )

"""Spans around runs, model calls and tool calls, named as OpenTelemetry's GenAI conventions have it.

Without a configured exporter the API's spans cost next to nothing and go nowhere. What people and models say is never
put into a span. Source: the semantic conventions for generative AI, opentelemetry.io/docs/specs/semconv/gen-ai/.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from agent.model import ModelOptions

AGENT = "sluice"
PLANNER = "sluice-planner"
PROVIDER = "openai"

_tracer = trace.get_tracer("sluice.agent")


@contextmanager
def run_span(run_id: str, conversation_id: str, options: ModelOptions) -> Iterator[Span]:
    """A run of the agent."""
    attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.agent.name": AGENT,
        "sluice.run.id": run_id,
        "gen_ai.conversation.id": conversation_id,
        "gen_ai.request.model": options.name or "",
    }
    with _tracer.start_as_current_span(f"invoke_agent {AGENT}", attributes=attributes) as span:
        yield span


@contextmanager
def planning_span(options: ModelOptions) -> Iterator[Span]:
    """The making of a plan with a model, which is a run of its own once it asks: see `is_run`."""
    attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.agent.name": PLANNER,
        "gen_ai.request.model": options.name or "",
    }
    # The words of what went wrong may be anybody's.
    with _tracer.start_as_current_span(
        f"invoke_agent {PLANNER}", attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except BaseException as error:
            failed(span, type(error).__name__)
            raise


def is_run(run_id: str) -> None:
    """Note which run the present span is."""
    trace.get_current_span().set_attribute("sluice.run.id", run_id)


@contextmanager
def model_span(options: ModelOptions) -> Iterator[Span]:
    """A request to the model."""
    attributes: dict[str, str | int | float] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": options.name or "",
        "gen_ai.request.max_tokens": options.max_output_tokens,
    }
    if options.temperature is not None:
        attributes["gen_ai.request.temperature"] = options.temperature
    name = f"chat {options.name or ''}".strip()
    with _tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=attributes) as span:
        yield span


@contextmanager
def tool_span(tool: str, call_id: str) -> Iterator[Span]:
    """A tool call."""
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool,
        "gen_ai.tool.call.id": call_id,
        "gen_ai.tool.type": "function",
    }
    with _tracer.start_as_current_span(f"execute_tool {tool}", attributes=attributes) as span:
        yield span


def used(span: Span, input_tokens: int, output_tokens: int) -> None:
    """Note what a request took."""
    span.set_attribute("gen_ai.usage.input_tokens", input_tokens)
    span.set_attribute("gen_ai.usage.output_tokens", output_tokens)


def failed(span: Span, kind: str) -> None:
    """Note that it failed, by the kind of failure and not by its words."""
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))

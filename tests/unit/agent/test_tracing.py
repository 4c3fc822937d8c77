"""Spans of a run, as a collector would get them."""

from collections.abc import Iterator

import pytest
from langchain_core.messages import AIMessage
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agent import tracing
from agent.evals.world import Traffic, open_world
from agent.model import ModelOptions
from agent.scripted import ScriptedModel
from bot.spans import exported_spans
from tests.unit.agent.planning_desk import CHECKOUT, Desk, request, talking
from tools.flags.base import FlagNotFound
from tools.metrics.catalogue import MetricDefinition
from tools.plans.policy import Policy

METRIC = MetricDefinition(name="checkout_errors", source="memory", title="Failed checkouts", query="-")


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


async def test_a_run_its_requests_and_its_calls_are_spans_by_the_conventions(spans: InMemorySpanExporter) -> None:
    lines = [
        AIMessage("", tool_calls=[{"id": "1", "name": "list_rollouts", "args": {}}]),
        AIMessage("", tool_calls=[{"id": "2", "name": "invented", "args": {}}]),
        AIMessage("A secret answer.", usage_metadata={"input_tokens": 70, "output_tokens": 7, "total_tokens": 77}),
    ]
    async with open_world(
        ScriptedModel.of(lines), options=ModelOptions(name="m"), metrics=[METRIC], policy=Policy(approvers=("U0JONAS",))
    ) as world:
        await world.define("new-checkout", traffic={METRIC.name: Traffic(600, 0.01, 0.01)})
        answer = await world.say("A secret question?", person="U0MIRA")
    finished = spans.get_finished_spans()
    names = [span.name for span in finished]
    calls = ["execute_tool list_rollouts", "execute_tool invented"]
    assert names == ["chat m", calls[0], "chat m", calls[1], "chat m", "invoke_agent sluice"]
    run = finished[-1]
    assert run.attributes is not None
    assert run.attributes["sluice.run.id"] == answer.run_id
    assert all(span.parent is not None and span.parent.span_id == run.context.span_id for span in finished[:-1])
    assert (finished[4].attributes or {})["gen_ai.usage.input_tokens"] == 70
    assert (finished[3].attributes or {})["error.type"] == "tool_error"
    assert "secret" not in "".join(span.to_json() for span in finished)


async def test_a_plan_by_command_is_a_span_around_its_requests(spans: InMemorySpanExporter) -> None:
    desk = Desk()
    await desk.flag()
    desk.specs.put("checkout.md", CHECKOUT)
    desk.history("errors")
    async with talking(desk, "no sketch", ConnectionError("a secret")) as talk:
        await talk.planner.propose(request())
        (run,) = await talk.runs()
    *chats, planning = spans.get_finished_spans()
    assert [span.name for span in chats] == ["chat scripted", "chat scripted"]
    assert planning.name == "invoke_agent sluice-planner"
    assert planning.parent is None
    assert (planning.attributes or {})["sluice.run.id"] == run.id
    assert all(span.parent is not None and span.parent.span_id == planning.context.span_id for span in chats)


async def test_a_plan_that_can_not_be_made_is_a_failed_span_without_words(spans: InMemorySpanExporter) -> None:
    desk = Desk()
    async with talking(desk) as talk:
        with pytest.raises(FlagNotFound):
            await talk.planner.propose(request())
    (planning,) = spans.get_finished_spans()
    assert (planning.attributes or {})["error.type"] == "FlagNotFound"
    assert planning.events == ()
    assert "new-checkout" not in planning.to_json()


async def test_without_a_model_a_plan_is_no_span(spans: InMemorySpanExporter) -> None:
    desk = Desk()
    await desk.flag()
    desk.specs.put("checkout.md", CHECKOUT)
    desk.history("errors")
    await desk.planner.propose(request())
    assert spans.get_finished_spans() == ()


def test_nothing_is_exported_unless_a_collector_is_named() -> None:
    off = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.example", "OTEL_SDK_DISABLED": "true"}
    for environ in ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, off):
        with exported_spans(environ) as exporting:
            assert not exporting

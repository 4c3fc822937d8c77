"""What is told of a rollout: as series, by the numbers; and as spans."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import generate_latest

from bot.telemetry import observer
from tests.unit.rollouts.world import FLAG, SAM
from tests.unit.telemetry.story import STUCK_S, told
from tools.flags.base import FlagServiceUnavailable
from tools.observing import trace_headers
from tools.plans.model import Exposure
from tools.rollouts.phases import Phase

pytestmark = pytest.mark.usefixtures("quiet_logs")


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(observer, "_tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


async def test_each_thing_that_happens_is_told_when_it_does(tmp_path: Path) -> None:
    async with told(tmp_path) as story:
        view = await story.begun()
        assert story.value("rollouts", phase="progressing") == 1
        assert story.value("verdicts_total", outcome="inconclusive") + story.value("verdicts_total", outcome="pass") > 0
        assert story.value("exposure_attempts_total", purpose="start", outcome="done") == 1
        assert story.value("flag_request_seconds_count", service="embedded", operation="write") == 1
        assert story.value("slack_rate_limits_total") == 1
        assert story.value("slack_rate_limited_seconds_total") == 3
        assert story.value("slack_deliveries_total", kind="card", outcome="postponed") == 1
        assert story.value("slack_deliveries_total", kind="card", outcome="delivered") > 0
        assert story.value("blind_rollouts") == story.value("rollback_oldest_seconds") == 0
        view = await story.blind(view)
        assert story.value("blind_rollouts") == story.value("blind_guardrails", reason="error") == 1
        assert story.value("blind_oldest_seconds") == 60
        assert story.value("metric_read_errors_total", source="memory", error="MetricSourceUnavailable") == 7
        assert story.value("outbox_messages", kind="alert", urgent="true") == 1
        view = await story.stuck(view)
        assert view.phase is Phase.ROLLING_BACK
        assert story.value("blind_guardrails", reason="error") == 0
        assert story.value("rollbacks", state="unconfirmed") == 1
        assert story.value("rollback_oldest_seconds") >= STUCK_S
        assert story.value("rollback_read_back_seconds_count") == 0
        assert story.value("exposure_attempts_total", purpose="roll_back", outcome="retry") > 0
        away = {"service": "embedded", "operation": "read", "error": "FlagServiceUnavailable"}
        assert story.value("flag_request_errors_total", **away) > 0
        view = await story.over(view)
        assert view.phase is Phase.ROLLED_BACK
        assert story.value("rollbacks", state="unconfirmed") == story.value("rollback_oldest_seconds") == 0
        assert story.value("rollback_read_back_seconds_count") == 1
        assert story.value("rollback_read_back_seconds_sum") >= STUCK_S


async def test_a_kill_that_is_watched_for_late_writes_is_no_rollback_that_does_not_work(tmp_path: Path) -> None:
    async with told(tmp_path) as story:
        story.flags._capabilities = replace(story.flags.capabilities, compare_and_set=False)
        world = story.desk.world

        async def later(_rollout_id: str | None) -> None:
            """Nobody carries it out at once."""

        world.service.wake = later
        await world.service.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire")
        world.clock.advance(20)
        await story.state.turn()
        assert story.value("rollbacks", state="unconfirmed") == 1
        assert story.value("rollback_oldest_seconds") == 20
        await world.controller.tick()
        await story.state.turn()
        assert story.value("rollbacks", state="unconfirmed") == story.value("rollback_oldest_seconds") == 0
        assert story.value("rollbacks", state="verifying") == 1
        world.clock.advance(60)
        await world.controller.tick()
        await story.state.turn()
        assert story.value("rollbacks", state="verifying") == 0


async def refused(*_args: object, **_options: object) -> None:
    raise FlagServiceUnavailable("It takes no writes.")


@pytest.mark.parametrize("of", ["kill", "rollback"])
async def test_what_is_known_to_be_undone_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str) -> None:
    async with told(tmp_path) as story:
        story.flags._capabilities = replace(story.flags.capabilities, compare_and_set=False)
        world = story.desk.world
        if of == "rollback":
            await world.service.roll_back((await story.begun()).id, actor=SAM, reason="enough")
        else:
            await world.service.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire")
        await story.state.turn()
        assert story.value("rollbacks", state="verifying") == 1
        state = await story.flags.read(FLAG)
        await story.flags.write(FLAG, Exposure(percent=30), expected=state.version)
        with monkeypatch.context() as outage:
            outage.setattr(story.flags, "write", refused)
            world.clock.advance(10)
            await world.controller.tick()
            world.clock.advance(40)
            await story.state.turn()
            assert story.value("rollbacks", state="unconfirmed") == 1
            assert story.value("rollbacks", state="verifying") == 0
            assert story.value("rollback_oldest_seconds") == 40
        await world.controller.tick()
        await story.state.turn()
        assert story.value("rollbacks", state="unconfirmed") == story.value("rollback_oldest_seconds") == 0
        assert story.value("rollbacks", state="verifying") == 1


async def test_what_recurs_the_parts_and_the_model_are_told_too(tmp_path: Path) -> None:
    async with told(tmp_path) as story:
        await story.begun()
        assert story.value("turn_seconds_count", work="tick") == 1
        assert story.value("turn_succeeded_timestamp_seconds", work="tick") > 0
        assert story.value("turn_failures_total", work="broken") == 1
        assert story.value("turn_succeeded_timestamp_seconds", work="broken") == 0
        assert story.value("part_up", part="flags", name="embedded") == 1
        assert story.value("part_up", part="source", name="memory") == 1
        assert story.value("model_tokens_total", model="small", direction="input") == 2
        assert story.value("model_cost_dollars_total", model="small") == 2
        assert story.value("model_request_failures_total", model="small") == 2


async def test_no_series_names_a_flag_a_person_or_a_rollout(tmp_path: Path) -> None:
    async with told(tmp_path) as story:
        view = await story.over(await story.stuck(await story.begun()))
        said = generate_latest(story.instruments.registry).decode()
        assert "sluice_rollbacks" in said
        for secret in (FLAG.flag, view.id, view.requester, "C1"):
            assert f'"{secret}"' not in said


async def test_a_check_is_a_span_around_what_it_reads_and_sets(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    async with told(tmp_path) as story:
        view = await story.begun()
        spans.clear()
        await story.desk.world.live(view.id, 1)
        finished = spans.get_finished_spans()
        [check] = [span for span in finished if span.name == "check gate"]
        assert check.attributes is not None
        assert check.attributes["sluice.about"] == view.id
        inside = [span for span in finished if span.parent is not None and span.parent.span_id == check.context.span_id]
        assert {span.name for span in inside} >= {"read metric", "read flag"}


async def test_spans_say_what_kind_of_error_it_was_and_none_of_its_words(
    tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    async with told(tmp_path) as story:
        await story.stuck(await story.begun())
        failed = [span for span in spans.get_finished_spans() if "error.type" in (span.attributes or {})]
        assert {(span.name, (span.attributes or {})["error.type"]) for span in failed} >= {
            ("read flag", "FlagServiceUnavailable")
        }
        assert "It is away" not in "".join(span.to_json() for span in failed)


def test_requests_carry_the_trace_where_there_is_one_and_nothing_else_does() -> None:
    assert trace_headers() == {}
    provider = TracerProvider()
    with provider.get_tracer("test").start_as_current_span("around") as span:
        trace_id = f"{span.get_span_context().trace_id:032x}"
        assert trace_headers()["traceparent"].split("-")[1] == trace_id
    provider.shutdown()

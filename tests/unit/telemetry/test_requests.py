"""Requests to other systems join the trace that they are made in."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider

from tools.flags.http import FlagApi
from tools.metrics.http_api import Access, HttpApi

URL = "https://vendor.example.com"
Ask = Callable[[httpx.AsyncBaseTransport], Awaitable[object]]


async def a_flag(transport: httpx.AsyncBaseTransport) -> object:
    api = FlagApi("Vendor", URL, {}, timeout=timedelta(seconds=1), fixes={}, transport=transport)
    return await api.call("GET", "/flags", repeatable=True)


async def a_metric(transport: httpx.AsyncBaseTransport) -> object:
    return await HttpApi(Access(URL), transport=transport).post("/query", form={"query": "1"})


@pytest.mark.parametrize("ask", [a_flag, a_metric])
async def test_they_carry_its_context_where_there_is_one(ask: Ask) -> None:
    seen = list[httpx.Headers]()

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return httpx.Response(200, json={})

    provider = TracerProvider()
    await ask(httpx.MockTransport(answer))
    with provider.get_tracer("test").start_as_current_span("around") as span:
        await ask(httpx.MockTransport(answer))
        context = span.get_span_context()
    provider.shutdown()
    assert "traceparent" not in seen[0]
    assert seen[1]["traceparent"].startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")

"""What a metric server says of its limits, and keys that no server can be sent."""

import asyncio
import base64
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from tools.metrics.base import BadSource, MetricSourceUnavailable
from tools.metrics.http_api import LONGEST_CLOSED_S, Access, HttpApi
from tools.plans.defaults import PlanningDefaults

URL = "https://metrics.example.com"
DATE = "Sun, 01 Mar 2026 12:00:00 GMT"
NOON = 1_772_366_400
"""The same, in seconds since 1970."""


async def test_a_limit_that_ends_at_a_moment_far_away_closes_no_source_for_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{NOON + 86_400}", "Date": DATE}
    api = HttpApi(Access(URL), transport=httpx.MockTransport(lambda _request: httpx.Response(200, headers=headers)))
    assert (await api.get("/")).status == 200
    with pytest.raises(MetricSourceUnavailable, match=rf"no more requests for {LONGEST_CLOSED_S:.0f} s"):
        await api.get("/")
    monkeypatch.setattr(api, "_closed_until", api._closed_until - LONGEST_CLOSED_S)
    assert (await api.get("/")).status == 200


def test_a_source_that_was_closed_is_asked_again_well_before_a_rollout_was_blind_for_too_long() -> None:
    assert timedelta(seconds=LONGEST_CLOSED_S) <= PlanningDefaults().blind_budget / 2


@pytest.mark.parametrize(
    ("reset", "closed_s"),
    [("40", 40), (f"{NOON + 40}", 40), (f"{NOON + 0.5}", 0.5), (f"{NOON - 40}", 0), ("1000000001", 0), ("soon", 0)],
)
async def test_a_window_ends_after_seconds_or_at_a_moment_of_the_servers_clock(reset: str, closed_s: float) -> None:
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset, "Date": DATE}
    api = HttpApi(Access(URL), transport=httpx.MockTransport(lambda _request: httpx.Response(200, headers=headers)))
    before = asyncio.get_running_loop().time()
    await api.get("/")
    left = api._closed_until - asyncio.get_running_loop().time()
    assert closed_s - (asyncio.get_running_loop().time() - before) - 0.1 <= left <= closed_s + 0.1


async def test_without_a_date_the_end_of_a_window_is_held_against_the_clock_here() -> None:
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{time.time() + 1:.3f}"}
    api = HttpApi(Access(URL), transport=httpx.MockTransport(lambda _request: httpx.Response(200, headers=headers)))
    await api.get("/")
    assert api._closed_until - asyncio.get_running_loop().time() <= 1.1


@pytest.mark.parametrize(("wait", "tries"), [("100", 1), ("0.6", 2), ("0", 3)])
async def test_a_server_that_is_busy_for_longer_than_there_is_time_is_said_to_be_so(
    wait: str, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, jittered = list[httpx.Request](), list[float]()

    def busy(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(503, headers={"Retry-After": wait}, text="indexing")

    def least(_from: float, longest: float) -> float:
        jittered.append(longest)
        return 0.0

    monkeypatch.setattr("tools.metrics.http_api.random.uniform", least)
    api = HttpApi(Access(URL, timeout=timedelta(seconds=1)), transport=httpx.MockTransport(busy))
    with pytest.raises(MetricSourceUnavailable, match=r"is busy or away \(status 503, indexing\)"):
        await api.get("/")
    assert len(asked) == tries
    # Of many that were told to wait for as long, each comes at another moment.
    assert jittered == [0.2, 0.4, 0.8][:tries]


@pytest.mark.parametrize("token", ["s\u00e9cret", "sec\nret", "se\x00cret"])
async def test_a_key_that_no_header_can_have_is_an_error_that_does_not_show_it(token: str) -> None:
    api = HttpApi(Access(URL, token), transport=httpx.MockTransport(lambda _request: httpx.Response(200)))
    with pytest.raises(MetricSourceUnavailable, match="copy it again") as refused:
        await api.get("/")
    assert token not in str(refused.value)


@pytest.mark.parametrize("more", ["/?api_key=s3cret", "?u=sluice&p=s3cret", "/#s3cret", "?"])
def test_nothing_is_in_the_url_after_its_path(more: str) -> None:
    """It would be shown wherever the source is named."""
    with pytest.raises(BadSource, match=r"has no \? and no #: .* what lets in is the source's token") as refused:
        HttpApi(Access(URL + more))
    assert refused.value.field == "url"
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("access", "said"),
    [
        (Access(URL, token="hunter2-very-secret"), "hunter2-very-secret"),
        (Access("https://reader:hunter2-very-secret@metrics.example.com"), "reader:hunter2-very-secret"),
        (Access("https://hunter2-very-secret@metrics.example.com"), "hunter2-very-secret"),
    ],
)
async def test_what_lets_in_is_not_shown_though_the_server_repeats_it(access: Access, said: str) -> None:
    body = f"{'x' * 190} {said} lets nobody in"
    api = HttpApi(access, transport=httpx.MockTransport(lambda _request: httpx.Response(503, text=body)))
    with pytest.raises(MetricSourceUnavailable, match="busy or away") as refused:
        await api.get("/")
    assert "hunter2" not in str(refused.value)
    assert api.reason(f"{'x' * 290} {said}").startswith("x" * 290)
    assert "hunter2" not in api.reason(f"{'x' * 290} {said}")
    assert api.reason("  \n ") == "no reason given"


def repeating(after: Callable[[], object] = lambda: None) -> httpx.MockTransport:
    """A server that is busy, and says what it was sent."""

    def answer(request: httpx.Request) -> httpx.Response:
        after()
        return httpx.Response(503, text=f"upstream down; auth was {request.headers.get('Authorization')}.")

    return httpx.MockTransport(answer)


async def refused(api: HttpApi) -> str:
    with pytest.raises(MetricSourceUnavailable) as caught:
        await api.get("/")
    return str(caught.value)


async def test_a_name_and_a_password_are_not_shown_as_they_were_sent() -> None:
    api = HttpApi(Access("https://reader:hunter2@metrics.example.com"), transport=repeating())
    sent = base64.b64encode(b"reader:hunter2").decode()
    for said in (await refused(api), api.reason(f"it was {sent}"), api.reason(f"it was {sent.rstrip('=')}")):
        assert sent.rstrip("=") not in said
        assert "***" in said


@pytest.mark.parametrize("becomes", ["new-token", None])
async def test_a_token_that_is_replaced_while_the_server_answers_is_not_shown(
    becomes: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("old-token")

    def rotate() -> None:
        file.write_text(becomes) if becomes else file.unlink(missing_ok=True)

    api = HttpApi(Access(URL, token_file=file), transport=repeating(rotate))
    said = await refused(api) + api.reason("old-token, new-token")
    assert "old-token" not in said
    assert becomes is None or "new-token" not in said


@pytest.mark.parametrize("token", [None, "", " "])
async def test_where_nothing_lets_in_nothing_is_hidden(token: str | None) -> None:
    api = HttpApi(Access(URL, token=token), transport=repeating())
    said = await refused(api)
    assert "upstream down" in said
    assert "***" not in said

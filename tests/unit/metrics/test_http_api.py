"""What a metric server says of its limits, and keys that no server can be sent."""

from datetime import timedelta

import httpx
import pytest

from tools.metrics.base import BadSource, MetricSourceUnavailable
from tools.metrics.http_api import LONGEST_CLOSED_S, Access, HttpApi

URL = "https://metrics.example.com"


async def test_a_limit_that_ends_at_a_moment_far_away_closes_no_source_for_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1790000000"}
    api = HttpApi(Access(URL), transport=httpx.MockTransport(lambda _request: httpx.Response(200, headers=headers)))
    assert (await api.get("/")).status == 200
    with pytest.raises(MetricSourceUnavailable, match=rf"no more requests for {LONGEST_CLOSED_S:.0f} s"):
        await api.get("/")
    monkeypatch.setattr(api, "_closed_until", api._closed_until - LONGEST_CLOSED_S)
    assert (await api.get("/")).status == 200


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

"""The one way to a spec: where it goes, what it takes along, and how much it takes in."""

import gzip
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import timedelta
from ipaddress import ip_network

import httpx
import pytest

from tests.contract.specs.fakes import sent
from tools.clock import ManualClock
from tools.errors import ConfigurationError
from tools.specs.answers import LONGEST_WAIT, MOST_MEMBERS
from tools.specs.base import SpecNotFound, SpecSourceUnavailable
from tools.specs.fetching import MOST_REDIRECTS, TRIES, Fetcher, TooManyRequests
from tools.specs.options import SpecSourceOptions
from tools.specs.pages import PageLibrary
from tools.specs.pinning import Bounds, NotAllowedThere, PinnedTransport
from tools.specs.registry import VENDORS, SpecParts, _fetcher

PUBLIC, OTHER = "140.82.121.4", "140.82.121.5"
OWN = "https://specs.example.com"
TEXT = ("text/plain",)
SECRET = "planted-secret"

Handler = Callable[[httpx.Request], httpx.Response]


def text(content: bytes = b"here", **headers: str) -> httpx.Response:
    return httpx.Response(200, content=content, headers={"Content-Type": "text/plain; charset=utf-8", **headers})


class Wire(httpx.AsyncBaseTransport):
    """The network: what arrives at an address, and what is answered."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.arrived: list[httpx.Request] = []
        self.opened = 0
        self.closed = False

    def open(self) -> "Wire":
        self.opened += 1
        return self

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.arrived.append(request)
        answer = self.handler(request)
        return answer if isinstance(answer.stream, Packed) else sent(answer)

    async def aclose(self) -> None:
        self.closed = True


class Packed(httpx.AsyncByteStream):
    """Bytes in pieces, which may have no end."""

    def __init__(self, pieces: Sequence[bytes], *, for_ever: bool = False) -> None:
        self.pieces = pieces
        self.for_ever = for_ever
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            for piece in self.pieces:
                self.taken += len(piece)
                yield piece
            if not self.for_ever:
                return


async def no_sleep(_seconds: float) -> None:
    """Nobody waits."""


def fetcher(
    handler: Handler,
    *,
    hosts: Sequence[str] = ("specs.example.com",),
    names: Mapping[str, Sequence[str]] | None = None,
    networks: Sequence[str] = (),
    clock: ManualClock | None = None,
    largest: int = 10_000,
    timeout: timedelta = timedelta(seconds=5),
    ports: Sequence[tuple[str, int]] = (),
) -> tuple[Fetcher, Wire]:
    """A fetcher on a network in which every name has a public address, unless `names` says otherwise."""
    wire = Wire(handler)

    async def resolve(host: str, _port: int) -> Sequence[str]:
        return (names or {}).get(host, [PUBLIC])

    async def credentials(_fetcher: Fetcher) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {SECRET}"}

    bounds = Bounds(tuple(hosts), tuple(map(ip_network, networks)), timeout, largest, ports=frozenset(ports))
    made = Fetcher(
        bounds,
        origin=httpx.URL(OWN),
        credentials=credentials,
        clock=clock or ManualClock(),
        transport=PinnedTransport(bounds, resolver=resolve, opener=wire.open),
        sleep=no_sleep,
    )
    return made, wire


async def test_it_goes_to_the_address_that_was_checked_in_the_name_of_the_host() -> None:
    made, wire = fetcher(lambda _request: text())
    found = await made.get(f"{OWN}/a?b=c#d", accept=TEXT)
    arrived = wire.arrived[0]
    assert (found.body, found.media_type) == (b"here", "text/plain")
    assert (arrived.url.host, arrived.headers["Host"]) == (PUBLIC, "specs.example.com")
    assert arrived.extensions["sni_hostname"] == "specs.example.com"
    assert arrived.url.raw_path == b"/a?b=c"
    await made.close()
    assert wire.closed


async def test_an_answer_that_is_let_go_of_while_credentials_are_fetched_is_still_what_its_tag_stands_for() -> None:
    def tagged(request: httpx.Request) -> httpx.Response:
        return httpx.Response(304) if "If-None-Match" in request.headers else text(ETag='"1"')

    async def forgetful(_fetcher: Fetcher) -> Mapping[str, str]:
        made._kept.answers.clear()
        return {}

    made, wire = fetcher(tagged)
    await made.get(f"{OWN}/a", accept=TEXT)
    made._credentials = forgetful
    assert (await made.get(f"{OWN}/a", accept=TEXT)).body == b"here"
    assert wire.arrived[1].headers["If-None-Match"] == '"1"'


async def test_a_name_that_leads_elsewhere_at_its_second_use_is_checked_again() -> None:
    addresses = {"specs.example.com": [PUBLIC]}
    made, wire = fetcher(lambda _request: text(), names=addresses)
    await made.get(f"{OWN}/a", accept=TEXT)
    addresses["specs.example.com"] = ["127.0.0.1"]
    with pytest.raises(NotAllowedThere, match="networks"):
        await made.get(f"{OWN}/a", accept=TEXT)
    assert len(wire.arrived) == 1


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.7"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:10.0.0.7"],
        ["64:ff9b::7f00:1"],
        [PUBLIC, "::1"],
    ],
)
async def test_no_host_that_leads_into_a_private_network_is_asked(addresses: list[str]) -> None:
    made, wire = fetcher(lambda _request: text(), names={"specs.example.com": addresses})
    with pytest.raises(NotAllowedThere):
        await made.get(f"{OWN}/a", accept=TEXT)
    assert not wire.arrived


async def test_a_private_network_that_is_named_is_asked() -> None:
    made, wire = fetcher(lambda _request: text(), names={"specs.example.com": ["10.20.0.7"]}, networks=["10.20.0.0/16"])
    assert (await made.get(f"{OWN}/a", accept=TEXT)).body == b"here"
    assert wire.arrived[0].url.host == "10.20.0.7"


async def test_two_hosts_at_one_address_share_no_connection() -> None:
    made, wire = fetcher(lambda _request: text(), hosts=("specs.example.com", "other.example.com"))
    for host in ("specs.example.com", "other.example.com", "specs.example.com"):
        await made.get(f"https://{host}/a", accept=TEXT)
    assert wire.opened == 2


async def test_a_host_that_does_not_answer_at_one_address_is_asked_at_its_next() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == PUBLIC:
            raise httpx.ConnectError("refused")
        return text()

    made, wire = fetcher(handler, names={"specs.example.com": [PUBLIC, OTHER]})
    assert (await made.get(f"{OWN}/a", accept=TEXT)).body == b"here"
    assert [one.url.host for one in wire.arrived] == [PUBLIC, OTHER]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example.org/a",
        "https://specs.example.com.evil.example.org/a",
        "https://sub.specs.example.com/a",
        "http://specs.example.com/a",
        "https://name:secret@specs.example.com/a",
        "file:///etc/passwd",
        "/a",
        "https://",
        "https://[::1",
        "gopher://specs.example.com/",
    ],
)
async def test_what_is_on_no_list_is_not_asked(url: str) -> None:
    made, wire = fetcher(lambda _request: text())
    with pytest.raises(NotAllowedThere) as caught:
        await made.get(url, accept=TEXT)
    assert not wire.arrived
    assert "secret" not in str(caught.value)


def test_a_list_may_have_every_name_below_one() -> None:
    bounds = Bounds(("*.example.com",))
    assert bounds.allow("a.b.example.com")
    assert bounds.allow("A.EXAMPLE.COM.")
    assert not bounds.allow("example.com")
    assert not bounds.allow("evilexample.com")


@pytest.mark.parametrize("host", ["https://a.example", "a/b", "*", "*.*.example.com", "a b", ""])
def test_what_is_no_host_is_refused_at_the_start(host: str) -> None:
    with pytest.raises(ConfigurationError, match="no host"):
        Bounds((host,))


async def test_a_redirect_is_followed_within_the_list_without_the_credentials_of_another() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.headers["Host"] == "specs.example.com":
            return httpx.Response(302, headers={"Location": "https://files.example.com/b"})
        return text()

    made, wire = fetcher(handler, hosts=("specs.example.com", "files.example.com"))
    found = await made.get(f"{OWN}/a", accept=TEXT)
    assert (found.body, str(found.url)) == (b"here", "https://files.example.com/b")
    assert wire.arrived[0].headers["Authorization"] == f"Bearer {SECRET}"
    assert "Authorization" not in wire.arrived[1].headers
    assert SECRET not in str(wire.arrived[1].headers.raw)


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example.org/",
        "http://specs.example.com/a",
        "//evil.example.org/a",
        "https://specs.example.com:8443@evil.example.org/",
        "https://private.example.com/",
        "javascript:alert(1)",
    ],
)
async def test_a_redirect_off_the_list_or_into_a_private_network_is_not_followed(location: str) -> None:
    made, wire = fetcher(
        lambda _request: httpx.Response(302, headers={"Location": location}),
        hosts=("specs.example.com", "private.example.com"),
        names={"private.example.com": ["169.254.169.254"]},
    )
    with pytest.raises(SpecSourceUnavailable):
        await made.get(f"{OWN}/a", accept=TEXT)
    assert len(wire.arrived) == 1


async def test_credentials_are_another_ports_no_more_than_another_hosts() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return text() if request.url.port else httpx.Response(302, headers={"Location": f"{OWN}:8443/b"})

    made, wire = fetcher(handler, ports=[("specs.example.com", 8443)])
    await made.get(f"{OWN}/a", accept=TEXT)
    assert "Authorization" not in wire.arrived[1].headers


async def test_a_port_that_no_setting_names_is_not_asked_also_by_a_redirect() -> None:
    made, wire = fetcher(lambda _request: httpx.Response(302, headers={"Location": f"{OWN}:9200/b"}))
    with pytest.raises(NotAllowedThere, match="at port 443 alone"):
        await made.get(f"{OWN}:9200/a", accept=TEXT)
    assert not wire.arrived
    with pytest.raises(NotAllowedThere, match="at port 443 alone"):
        await made.get(f"{OWN}:443/a", accept=TEXT)
    assert len(wire.arrived) == 1


def test_the_port_of_a_settings_address_is_allowed_for_its_host_alone() -> None:
    options = SpecSourceOptions(type="https", pages=("https://Specs.example.com:8443/a",), hosts=("docs.example.com",))
    library = PageLibrary(options, _fetcher(options, VENDORS["https"], SpecParts(ManualClock())))
    assert library.has(httpx.URL("https://specs.example.com:8443/b"))
    assert library.has(httpx.URL("https://docs.example.com/b"))
    assert not library.has(httpx.URL("https://docs.example.com:8443/b"))
    assert not library.has(httpx.URL("https://specs.example.com:22/b"))


async def test_redirects_that_lead_in_a_circle_end() -> None:
    made, wire = fetcher(lambda _request: httpx.Response(302, headers={"Location": "/a"}))
    with pytest.raises(SpecSourceUnavailable, match="redirects more than"):
        await made.get(f"{OWN}/a", accept=TEXT)
    assert len(wire.arrived) == MOST_REDIRECTS + 1


async def test_a_post_is_sent_nowhere_else() -> None:
    made, wire = fetcher(lambda _request: httpx.Response(307, headers={"Location": "/b"}))
    with pytest.raises(SpecSourceUnavailable, match="no plain read"):
        await made.get(f"{OWN}/a", accept=TEXT, body={"a": 1})
    assert [one.method for one in wire.arrived] == ["POST"]


async def test_an_answer_without_an_end_is_cut_while_it_comes() -> None:
    stream = Packed([b"x" * 1000], for_ever=True)
    made, _ = fetcher(lambda _request: httpx.Response(200, headers={"Content-Type": "text/plain"}, stream=stream))
    with pytest.raises(SpecSourceUnavailable, match="answered more than 9 KB"):
        await made.get(f"{OWN}/a", accept=TEXT)
    assert stream.taken <= 11_000


async def test_an_answer_that_says_it_is_too_large_is_not_begun() -> None:
    stream = Packed([b"x"])
    headers = {"Content-Type": "text/plain", "Content-Length": "10001"}
    made, _ = fetcher(lambda _request: httpx.Response(200, headers=headers, stream=stream))
    with pytest.raises(SpecSourceUnavailable, match="answered more than"):
        await made.get(f"{OWN}/a", accept=TEXT)
    assert stream.taken == 0


async def test_a_small_answer_that_unpacks_to_a_large_one_is_cut_while_it_unpacks() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    headers = {"Content-Type": "text/plain", "Content-Encoding": "gzip"}
    made, _ = fetcher(
        lambda _request: httpx.Response(200, headers=headers, stream=Packed([bomb])), largest=len(bomb) + 1
    )
    with pytest.raises(SpecSourceUnavailable, match="answered more than"):
        await made.get(f"{OWN}/a", accept=TEXT)


async def test_what_was_packed_is_unpacked() -> None:
    packed = gzip.compress(b"words " * 100)
    headers = {"Content-Type": "text/plain", "Content-Encoding": "gzip"}
    pieces = [packed[:7], packed[7:20], packed[20:]]
    made, wire = fetcher(lambda _request: httpx.Response(200, headers=headers, stream=Packed(pieces)))
    assert (await made.get(f"{OWN}/a", accept=TEXT)).body == b"words " * 100
    assert wire.arrived[0].headers["Accept-Encoding"] == "gzip"


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_every_member_of_what_was_packed_is_unpacked(size: int) -> None:
    members = gzip.compress(b"words " * 100) + gzip.compress(b"") + gzip.compress(b"and more") + b"\0" * 12
    headers = {"Content-Type": "text/plain", "Content-Encoding": "gzip"}
    pieces = [members[start : start + size] for start in range(0, len(members), size)]
    made, _ = fetcher(lambda _request: httpx.Response(200, headers=headers, stream=Packed(pieces)))
    assert (await made.get(f"{OWN}/a", accept=TEXT)).body == b"words " * 100 + b"and more"


async def test_members_count_together() -> None:
    headers = {"Content-Type": "text/plain", "Content-Encoding": "gzip"}
    two, many = gzip.compress(b"x" * 6_000) * 2, gzip.compress(b"") * (MOST_MEMBERS + 1)
    for members, said in ((two, "answered more than 9 KB"), (many, "more than 100 pieces of gzip")):
        answer = httpx.Response(200, headers=headers, stream=Packed([members]))
        made, _ = fetcher(lambda _request, answer=answer: answer)
        with pytest.raises(SpecSourceUnavailable, match=said):
            await made.get(f"{OWN}/a", accept=TEXT)


@pytest.mark.parametrize("cut", [1, 8, 20, 600])
async def test_what_was_cut_off_while_it_came_is_said(cut: int) -> None:
    packed = gzip.compress(bytes(range(256)) * 4)
    whole = gzip.compress(b"before") + packed
    headers = {"Content-Type": "text/plain", "Content-Encoding": "gzip"}
    for content in (packed[: max(len(packed) - cut, 0)], whole[: len(whole) - min(cut, len(packed) - 1)]):
        answer = httpx.Response(200, headers=headers, stream=Packed([content]))
        made, _ = fetcher(lambda _request, answer=answer: answer)
        with pytest.raises(SpecSourceUnavailable, match="cut off"):
            await made.get(f"{OWN}/a", accept=TEXT)


@pytest.mark.parametrize(
    ("coding", "content", "said"),
    [
        ("br", b"x", "nobody asked for"),
        ("gzip", b"no gzip at all", "broken gzip"),
        ("gzip", gzip.compress(b"x", mtime=0) + b"rest", "broken gzip"),
        ("gzip", gzip.compress(b"x" * 99, mtime=0)[:-8] + bytes(8), "broken gzip"),
        ("deflate", zlib.compress(b"x"), "asked"),
    ],
)
async def test_what_can_not_be_unpacked_is_said(coding: str, content: bytes, said: str) -> None:
    headers = {"Content-Type": "text/plain", "Content-Encoding": coding}
    made, _ = fetcher(lambda _request: httpx.Response(200, headers=headers, stream=Packed([content])))
    with pytest.raises(SpecSourceUnavailable, match=said):
        await made.get(f"{OWN}/a", accept=TEXT)


@pytest.mark.parametrize("media_type", ["image/png", "application/octet-stream", "", "text/plainer"])
async def test_other_kinds_of_content_are_refused(media_type: str) -> None:
    made, _ = fetcher(lambda _request: httpx.Response(200, content=b"x", headers={"Content-Type": media_type}))
    with pytest.raises(SpecSourceUnavailable, match="none of text/plain"):
        await made.get(f"{OWN}/a", accept=TEXT)


async def test_who_takes_too_long_is_not_waited_for() -> None:
    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ReadTimeout("slow")

    made = Fetcher(Bounds(("specs.example.com",)), transport=Slow(), sleep=no_sleep)
    with pytest.raises(SpecSourceUnavailable, match="did not answer within 15 s"):
        await made.get(f"{OWN}/a", accept=TEXT)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_who_is_busy_is_asked_again_a_few_times(status: int) -> None:
    made, wire = fetcher(lambda _request: httpx.Response(status))
    with pytest.raises(SpecSourceUnavailable, match=rf"busy or away \({status}\)"):
        await made.get(f"{OWN}/a", accept=TEXT)
    assert len(wire.arrived) == TRIES


async def test_who_can_not_be_reached_is_asked_again_a_few_times() -> None:
    def handler(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    made, wire = fetcher(handler)
    with pytest.raises(SpecSourceUnavailable, match="can't be reached"):
        await made.get(f"{OWN}/a", accept=TEXT)
    assert len(wire.arrived) == TRIES


async def test_a_name_that_nobody_knows_is_said() -> None:
    made, wire = fetcher(lambda _request: text(), names={"specs.example.com": []})
    with pytest.raises(SpecSourceUnavailable, match="can't be reached"):
        await made.get(f"{OWN}/a", accept=TEXT)
    assert not wire.arrived


@pytest.mark.parametrize("status", [404, 410])
async def test_what_is_not_there_is_not_found(status: int) -> None:
    made, _ = fetcher(lambda _request: httpx.Response(status))
    with pytest.raises(SpecNotFound, match="has nothing at /a"):
        await made.get(f"{OWN}/a?token=secret", accept=TEXT)


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"Retry-After": "40"}, 40),
        (429, {}, 60),
        (403, {"Retry-After": "60"}, 60),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "{at+100}"}, 100),
        (429, {"RateLimit-Remaining": "0", "RateLimit-Reset": "{at+100}"}, 100),
        (429, {"Retry-After": "{date+90}"}, 90),
        (403, {"Retry-After": "soon", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "{at+100}"}, 100),
    ],
)
async def test_limits_are_heeded_by_every_later_request(status: int, headers: dict[str, str], seconds: int) -> None:
    clock = ManualClock()
    at = int(clock.now().timestamp())
    date = (clock.now() + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    given = {
        name: value.replace("{at+100}", str(at + 100)).replace("{date+90}", date) for name, value in headers.items()
    }
    answers = [httpx.Response(status, headers=given), text()]
    made, wire = fetcher(lambda _request: answers[min(len(wire.arrived), 2) - 1], clock=clock)
    for _ in range(3):
        with pytest.raises(TooManyRequests, match="no more requests until"):
            await made.get(f"{OWN}/a", accept=TEXT)
        clock.advance((seconds - 1) / 3)
    assert len(wire.arrived) == 1
    clock.advance(2)
    assert (await made.get(f"{OWN}/a", accept=TEXT)).body == b"here"


@pytest.mark.parametrize("broken", [{"Content-Encoding": "br"}, {"Content-Encoding": "gzip"}, {}])
async def test_a_refusal_whose_words_can_not_be_read_is_one_all_the_same(broken: dict[str, str]) -> None:
    given = {"Content-Type": "application/json", **broken}
    answers = [
        lambda: httpx.Response(403, headers=given, stream=Packed([b"x" * 20_000])),
        lambda: httpx.Response(403, headers={**given, "Retry-After": "40"}, stream=Packed([b"x" * 20_000])),
    ]
    made, wire = fetcher(lambda _request: answers[len(wire.arrived) - 1]())
    with pytest.raises(SpecSourceUnavailable, match=r"refuses to show /a \(403\)"):
        await made.get(f"{OWN}/a", accept=TEXT)
    with pytest.raises(TooManyRequests, match="no more requests until"):
        await made.get(f"{OWN}/a", accept=TEXT)


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "9" * 5_000},
        {"Retry-After": "Fri, 31 Dec 9999 23:59:59 -1400"},
        {"RateLimit-Remaining": "0", "RateLimit-Reset": "9" * 5_000},
    ],
)
async def test_a_pause_without_end_is_one_that_ends(headers: dict[str, str]) -> None:
    clock = ManualClock()
    made, _ = fetcher(lambda _request: httpx.Response(429, headers=headers), clock=clock)
    with pytest.raises(TooManyRequests) as refused:
        await made.get(f"{OWN}/a", accept=TEXT)
    assert refused.value.until <= clock.now() + LONGEST_WAIT


async def test_a_short_pause_is_waited_for() -> None:
    clock, slept = ManualClock(), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds)

    answers = [
        httpx.Response(429, headers={"Retry-After": "1"}),
        httpx.Response(429, headers={"Retry-After": "2"}),
        text(),
    ]
    wire = Wire(lambda _request: answers[len(wire.arrived) - 1])
    made = Fetcher(Bounds(("specs.example.com",)), clock=clock, transport=wire, sleep=sleep)
    assert (await made.get(f"{OWN}/a", accept=TEXT)).body == b"here"
    assert len(wire.arrived) == 3
    assert [int(one) for one in slept] == [1, 2]


async def test_the_last_request_that_is_allowed_still_counts() -> None:
    clock = ManualClock()
    reset = str(int(clock.now().timestamp()) + 10)
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}
    made, _ = fetcher(lambda _request: text(**headers), clock=clock)
    assert (await made.get(f"{OWN}/a", accept=TEXT)).body == b"here"
    with pytest.raises(TooManyRequests):
        await made.get(f"{OWN}/a", accept=TEXT)


async def test_an_answer_that_is_still_right_is_not_sent_again() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        tag = request.headers.get("If-None-Match")
        return httpx.Response(304) if tag == '"one"' else text(b"long words", ETag='"one"')

    made, wire = fetcher(handler)
    first = await made.get(f"{OWN}/a", accept=TEXT)
    second = await made.get(f"{OWN}/a", accept=TEXT)
    assert (first.body, second.body) == (b"long words", b"long words")
    assert [one.headers.get("If-None-Match") for one in wire.arrived] == [None, '"one"']
    await made.get(f"{OWN}/b", accept=TEXT)
    assert "If-None-Match" not in wire.arrived[2].headers


async def test_nothing_new_from_somebody_who_was_not_asked_that_is_an_error() -> None:
    made, _ = fetcher(lambda _request: httpx.Response(304))
    with pytest.raises(SpecSourceUnavailable, match="304"):
        await made.get(f"{OWN}/a", accept=TEXT)


async def test_refused_credentials_are_said_and_not_shown() -> None:
    made, _ = fetcher(lambda request: httpx.Response(401, content=request.headers["Authorization"].encode()))
    with pytest.raises(SpecSourceUnavailable, match="token") as caught:
        await made.get(f"{OWN}/a", accept=TEXT)
    assert SECRET not in f"{caught.value!r}{caught.value.__cause__!r}{caught.value.__context__!r}"

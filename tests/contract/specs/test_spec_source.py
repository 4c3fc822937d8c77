"""What every spec source promises."""

import hashlib
import json
import re

import httpx
import pytest

from tests.contract.specs.conftest import Subject
from tests.contract.specs.fakes import TOKEN
from tools.gates import Direction
from tools.specs.base import (
    InvalidSpec,
    Kpi,
    LinkedSpecs,
    SpecNotFound,
    SpecSourceUnavailable,
    read_again,
    read_linked,
)

CHECKOUT = """---
flag: new-checkout
owner: payments
tags: [revenue-critical, regulated]
kpis:
  - {metric: checkout_errors, direction: increase, margin: 2.0}
  - {metric: orders, direction: decrease}
depends_on: [new-cart]
regions: [eu]
tenants: [acme, globex]
---

# One-page checkout

Why: fewer steps. ☃
"""


def api(*paths: str, answer: str = "200") -> str:
    """An OpenAPI of the flag, with a GET at each path."""
    operation = {"get": {"responses": {answer: {"description": "words"}}}}
    info = {"title": "Shop", "description": "What it does."}
    front = {"flag": "new-checkout"}
    return json.dumps({"openapi": "3.1.0", "info": info, "x-sluice": front, "paths": dict.fromkeys(paths, operation)})


BESIDE = {"checkout.md": CHECKOUT, "api.json": api("/pay", "/cart"), "more.json": api("/orders")}


async def test_every_field_is_read(subject: Subject) -> None:
    source, put = subject.source, subject.put
    put("checkout.md", CHECKOUT)
    spec = await source.read("new-checkout")
    assert (spec.flag, spec.title, spec.owner) == ("new-checkout", "One-page checkout", "payments")
    assert spec.tags == ("revenue-critical", "regulated")
    assert spec.kpis == (
        Kpi(metric="checkout_errors", direction=Direction.INCREASE, margin=2.0),
        Kpi(metric="orders", direction=Direction.DECREASE),
    )
    assert (spec.depends_on, spec.regions, spec.tenants) == (("new-cart",), ("eu",), ("acme", "globex"))
    assert "# One-page checkout" in spec.body
    assert "Why: fewer steps. ☃" in spec.body
    assert spec.source == subject.address("checkout.md")
    assert spec.sha256 == hashlib.sha256(spec.content.encode()).hexdigest()
    assert not subject.verbatim or spec.content == CHECKOUT


async def test_each_read_is_a_fresh_snapshot(subject: Subject) -> None:
    source, put = subject.source, subject.put
    put("a.md", "---\nflag: a\n---\n# Before\n")
    before = await source.read("a")
    put("a.md", "---\nflag: a\n---\n# After\n")
    after = await source.read("a")
    assert (before.title, after.title) == ("Before", "After")
    assert before.sha256 != after.sha256


async def test_flags_are_listed_by_name_and_other_texts_left_out(subject: Subject) -> None:
    source, put = subject.source, subject.put
    put("z.md", "---\nflag: b\ntitle: B\n---\n")
    put("y.md", "---\nflag: a\ntitle: A\n---\n")
    put("notes.md", "# Just notes\n")
    put("broken.md", "---\nflag: [\n---\n")
    assert await source.list() == ["a", "b"]
    await source.check()


async def test_an_unknown_flag_is_answered_with_near_names(subject: Subject) -> None:
    source, put = subject.source, subject.put
    put("checkout.md", CHECKOUT)
    with pytest.raises(SpecNotFound, match=r"'new-chekout'.*new-checkout"):
        await source.read("new-chekout")


async def test_an_unknown_flag_names_what_was_not_understood(subject: Subject) -> None:
    source, put = subject.source, subject.put
    put("broken.md", "---\nflag: [\n---\n")
    if subject.names_flags:
        with pytest.raises(SpecNotFound, match=rf"none yet.*{re.escape(subject.address('broken.md'))}.*line"):
            await source.read("a")


async def test_two_specs_of_one_flag_are_refused_and_both_named(subject: Subject) -> None:
    source, put = subject.source, subject.put
    put("one.md", CHECKOUT)
    put("two.md", CHECKOUT)
    with pytest.raises(InvalidSpec, match="more than one spec") as caught:
        await source.read("new-checkout")
    assert all(subject.address(name) in str(caught.value) for name in ("one.md", "two.md"))


async def test_an_invalid_field_is_named_with_its_file_and_hurts_no_other_spec(subject: Subject) -> None:
    source, put = subject.source, subject.put
    put("a.md", "---\nflag: a\nkpis:\n  - {metric: errors, margin: 0.5}\n---\n# A\n")
    put("b.md", "---\nflag: b\n---\n# B\n")
    with pytest.raises(InvalidSpec, match=r"'kpis\.0\.margin': .*greater than 1"):
        await source.read("a")
    assert (await source.read("b")).title == "B"


async def test_a_document_is_read_again_where_it_was_and_found_where_it_went(subject: Subject) -> None:
    source, put = subject.source, subject.put
    put("checkout.md", CHECKOUT)
    first = await source.read("new-checkout")
    assert (await read_again(source, "new-checkout", first.source)).sha256 == first.sha256
    put("checkout.md", CHECKOUT.replace("fewer", "more"))
    assert (await read_again(source, "new-checkout", first.source)).sha256 != first.sha256
    if isinstance(source, LinkedSpecs):
        gone = subject.address("gone.md") if subject.server is not None else first.source
        put("checkout.md", CHECKOUT)
        assert source.has(gone)
        assert (await read_again(source, "new-checkout", gone)).title == "One-page checkout"


@pytest.mark.parametrize(
    "names",
    [("checkout.md",), ("api.json",), ("checkout.md", "api.json"), ("api.json", "more.json"), tuple(BESIDE)],
    ids=" ".join,
)
async def test_a_spec_that_did_not_change_is_the_same_when_it_is_read_again(
    subject: Subject, names: tuple[str, ...]
) -> None:
    if not subject.has_apis and names != ("checkout.md",):
        return
    for name in names:
        subject.put(name, BESIDE[name])
    first = await subject.source.read("new-checkout")
    assert await read_again(subject.source, "new-checkout", first.source) == first
    if isinstance(subject.source, LinkedSpecs):
        for name in names:
            assert await read_linked(subject.source, subject.address(name), "new-checkout") == first
    if "api.json" in names:
        subject.put("api.json", api("/pay", "/cart", answer="201"))
        again = await read_again(subject.source, "new-checkout", first.source)
        assert (again.sha256 == first.sha256, again.operations.keys()) == (False, first.operations.keys())


async def test_a_document_that_somebody_named_is_read_again_alone(subject: Subject) -> None:
    if not isinstance(subject.source, LinkedSpecs) or not subject.has_apis:
        return
    subject.put("notes.md", "# Only words\n")
    subject.put("checkout.md", CHECKOUT)
    subject.put("api.json", api("/pay"))
    named = await read_linked(subject.source, subject.address("notes.md"), "new-checkout")
    assert (named.title, named.operations) == ("Only words", {})
    assert await read_again(subject.source, "new-checkout", named.source) == named


async def test_of_two_specs_of_one_flag_somebody_may_name_one(subject: Subject) -> None:
    if not isinstance(subject.source, LinkedSpecs):
        return
    subject.put("one.md", CHECKOUT)
    subject.put("two.md", CHECKOUT.replace("One-page", "Two-page"))
    for _ in range(2):
        assert (await read_linked(subject.source, subject.address("two.md"), "new-checkout")).title.startswith("Two")


async def test_somebody_names_a_document_that_names_no_flag(subject: Subject) -> None:
    if not isinstance(subject.source, LinkedSpecs):
        with pytest.raises(SpecNotFound, match=r"specs\.sources"):
            await read_linked(subject.source, "https://specs.example.com/a", "a")
        return
    subject.put("notes.md", "# Only words\n\nWhat it does.\n")
    spec = await read_linked(subject.source, subject.address("notes.md"), "new-checkout")
    assert (spec.flag, spec.title) == ("new-checkout", "Only words")
    assert "What it does." in spec.body


async def test_a_document_of_another_flag_is_not_taken_for_the_one_that_somebody_named(subject: Subject) -> None:
    if isinstance(subject.source, LinkedSpecs):
        subject.put("checkout.md", CHECKOUT)
        with pytest.raises(InvalidSpec, match="about the flag 'new-checkout', not 'other'"):
            await read_linked(subject.source, subject.address("checkout.md"), "other")


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example.org/acme/shop/blob/HEAD/specs/a.md",
        "https://github.com/acme/other/blob/HEAD/specs/a.md",
        "https://github.com/acme/shop/../other/blob/HEAD/a.md",
        "https://github.com.evil.example.org/acme/shop/blob/HEAD/a.md",
        "https://github.com/acme/shop/issues/7%2F..%2F..%2F..%2Fother%2Fvault",
        "https://169.254.169.254/latest/meta-data",
        "http://specs.example.com:80@evil.example.org/",
        "file:///etc/passwd",
        "specs/checkout.md",
        "",
    ],
)
async def test_no_other_address_is_ever_asked(subject: Subject, address: str) -> None:
    with pytest.raises(SpecNotFound, match=r"specs\.sources"):
        await read_linked(subject.source, address, "a")
    assert subject.server is None or not subject.server.requests


@pytest.mark.parametrize(
    "rest",
    [
        "..%2F..%2F..%2Fother%2Fvault%2Fcontents%2F.env",
        "x/..%2F..%2F..%2F..%2Fother%2Fvault%2Fcontents%2Fsecret.md",
        "..%252F..%252Fother%252Fa.md",
        "%25252e%25252e/a.md",
        "%2e%2e%2Fa.md",
        "..%5C..%5Ca.md",
        "..\\a.md",
        "x%5C..%5Ca.md",
        ".%2Fa.md",
        "..;/a.md",
        ".%2e%20/a.md",
        "a.md%00",
        "a%2500.md",
        "a%0A.md",
        "a%C2%85.md",
    ],
)
async def test_no_address_leads_out_of_the_place_that_it_names(subject: Subject, rest: str) -> None:
    address = f"{subject.address('a.md').rsplit('/', 1)[0]}/{rest}"
    with pytest.raises(SpecNotFound, match=r"specs\.sources"):
        await read_linked(subject.source, address, "a")
    assert subject.server is None or not subject.server.requests


async def test_nothing_that_comes_out_has_the_token(subject: Subject, caplog: pytest.LogCaptureFixture) -> None:
    if subject.server is None:
        return
    for status in (400, 401, 403, 500, 429, 302, 200):
        subject.server.went_wrong = [_answering(status)] * 3
        with pytest.raises((SpecSourceUnavailable, SpecNotFound, InvalidSpec)) as caught:
            await subject.source.read("new-checkout")
        assert TOKEN not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert TOKEN not in caplog.text


async def test_a_source_that_wants_fewer_requests_is_left_alone(subject: Subject) -> None:
    if subject.server is None:
        return
    subject.put("checkout.md", CHECKOUT)
    subject.server.went_wrong = [lambda _request: httpx.Response(429, headers={"Retry-After": "90"})]
    for _ in range(3):
        with pytest.raises(SpecSourceUnavailable, match="no more requests until"):
            await subject.source.read("new-checkout")
    assert len(subject.server.requests) == 1


async def test_what_is_refused_or_away_is_said_with_what_to_do(subject: Subject) -> None:
    if subject.server is None:
        return
    subject.put("checkout.md", CHECKOUT)
    await subject.source.check()
    subject.server.went_wrong = [_answering(401)]
    with pytest.raises(SpecSourceUnavailable, match="token"):
        await subject.source.check()
    subject.server.went_wrong = [_answering(200)]
    with pytest.raises((SpecSourceUnavailable, InvalidSpec)):
        await subject.source.check()


def _answering(status: int) -> object:
    def answer(request: httpx.Request) -> httpx.Response:
        headers = {"Location": "https://evil.example.org/", "Content-Type": "application/json"}
        return httpx.Response(status, headers=headers if status == 302 else {}, content=request.headers.raw.__repr__())

    return answer

"""The evaluation routes against the protocol: statuses, shapes, conditional requests, tokens."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from bot.ofrep import MAX_BODY_BYTES, ofrep_routes
from tools.errors import ConfigurationError
from tools.flags.base import FlagRef, FlagServiceUnavailable
from tools.flags.evaluation import FlagDefinition, bucket_of
from tools.flags.memory import MemoryFlagService
from tools.plans.model import Audience, Exposure, Mode

SINGLE = "/ofrep/v1/evaluate/flags/checkout"
BULK = "/ofrep/v1/evaluate/flags"
PROTOCOL_REASONS = {"STATIC", "TARGETING_MATCH", "SPLIT", "DISABLED", "UNKNOWN"}


@asynccontextmanager
async def asking(service: Any, *tokens: str) -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(routes=ofrep_routes(service, "production", tokens))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://flags") as client:
        yield client


async def flags(**exposures: Exposure) -> MemoryFlagService:
    service = MemoryFlagService()
    for flag, exposure in exposures.items():
        ref = FlagRef(flag, "production")
        await service.define(ref, "old", "new", salt="pepper")
        await service.write(ref, exposure, expected="1")
    return service


def user(key: str = "user-1", **attributes: object) -> dict[str, Any]:
    return {"context": {"targetingKey": key, **attributes}}


class TestSingle:
    async def test_answers_with_value_variant_and_reason(self) -> None:
        async with asking(await flags(checkout=Exposure(percent=60))) as client:
            answer = await client.post(SINGLE, json=user())
        assert bucket_of("pepper", "checkout", "user-1") < 60_000
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == {
            "key": "checkout",
            "value": "new",
            "variant": "new",
            "reason": "SPLIT",
            "metadata": {"version": "2"},
        }

    async def test_names_the_shadow_variant(self) -> None:
        async with asking(await flags(checkout=Exposure(percent=100, mode=Mode.SHADOW))) as client:
            answer = (await client.post(SINGLE, json=user())).json()
        assert (answer["value"], answer["variant"]) == ("old", "old")
        assert answer["metadata"] == {"version": "2", "shadow": "new"}

    @pytest.mark.parametrize("tenant", ["acme", "globex"])
    @pytest.mark.parametrize("percent", [0, 50, 100])
    async def test_gives_only_reasons_the_protocol_knows(self, percent: float, tenant: str) -> None:
        exposure = Exposure(percent=percent, audience=Audience(tenants=("acme",)))
        async with asking(await flags(checkout=exposure)) as client:
            answer = (await client.post(SINGLE, json=user(tenant=tenant))).json()
        assert answer["reason"] in PROTOCOL_REASONS

    async def test_unknown_flag(self) -> None:
        async with asking(await flags(checkout=Exposure(percent=50))) as client:
            answer = await client.post(f"{BULK}/chekout", json=user())
        assert answer.status_code == 404
        assert answer.json() == {
            "key": "chekout",
            "errorCode": "FLAG_NOT_FOUND",
            "errorDetails": "There is no flag 'chekout' in production.",
        }

    @pytest.mark.parametrize("key", ["team%2Fnew-flow", "team/new-flow", "team:new-flow", "a%00b", "%F0%9F%9A%80"])
    async def test_a_key_is_taken_as_it_is(self, key: str) -> None:
        service = MemoryFlagService()
        await service.define(FlagRef("team/new-flow", "production"), "old", "new")
        await service.define(FlagRef("team:new-flow", "production"), "old", "new")
        async with asking(service) as client:
            answer = await client.post(f"{BULK}/{key}", json={})
        assert answer.status_code == (200 if key.startswith("team") else 404)

    @pytest.mark.parametrize("body", [{}, {"context": None}, {"context": {}}, {"context": {"targetingKey": ""}}])
    async def test_targeting_key_missing(self, body: dict[str, Any]) -> None:
        async with asking(await flags(checkout=Exposure(percent=50))) as client:
            answer = await client.post(SINGLE, json=body)
        assert answer.status_code == 400
        assert answer.json() == {
            "key": "checkout",
            "errorCode": "TARGETING_KEY_MISSING",
            "errorDetails": "Flag checkout is served to 50 %: send a targetingKey in the context.",
        }

    async def test_needs_no_context_where_nothing_depends_on_it(self) -> None:
        async with asking(await flags(checkout=Exposure(percent=100))) as client:
            assert (await client.post(SINGLE, json={})).json()["reason"] == "STATIC"

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b"", "PARSE_ERROR"),
            (b"{", "PARSE_ERROR"),
            (b"\xff\xfe\xfd", "PARSE_ERROR"),
            (b"[" * 20_000, "PARSE_ERROR"),
            (b'{"context": {"targetingKey": ' + b"9" * 5000 + b"}}", "PARSE_ERROR"),
            (b"null", "INVALID_CONTEXT"),
            (b"[]", "INVALID_CONTEXT"),
            (b'"user-1"', "INVALID_CONTEXT"),
            (b'{"context": "user-1"}', "INVALID_CONTEXT"),
            (b'{"context": []}', "INVALID_CONTEXT"),
            (b'{"context": {"targetingKey": 7}}', "INVALID_CONTEXT"),
        ],
        ids=lambda value: str(value)[:40],
    )
    async def test_bad_request(self, body: bytes, code: str) -> None:
        async with asking(await flags(checkout=Exposure(percent=50))) as client:
            answer = await client.post(SINGLE, content=body)
        assert answer.status_code == 400
        assert (answer.json()["key"], answer.json()["errorCode"]) == ("checkout", code)
        assert answer.json()["errorDetails"]

    async def test_half_a_surrogate_pair_is_a_targeting_key(self) -> None:
        async with asking(await flags(checkout=Exposure(percent=50))) as client:
            answer = await client.post(SINGLE, content=rb'{"context": {"targetingKey": "\ud800"}}')
        assert answer.json()["variant"] == "new"

    async def test_a_large_body_is_refused(self) -> None:
        body = json.dumps(user(padding="x" * MAX_BODY_BYTES))
        async with asking(await flags(checkout=Exposure(percent=50))) as client:
            assert (await client.post(SINGLE, content=body)).status_code == 413
            assert (await client.post(BULK, content=body)).status_code == 413

    async def test_only_post(self) -> None:
        async with asking(await flags()) as client:
            assert (await client.get(SINGLE)).status_code == 405
            assert (await client.get(BULK)).status_code == 405


class TestBulk:
    async def test_answers_for_every_flag_by_name(self) -> None:
        service = await flags(search=Exposure(percent=100), checkout=Exposure(percent=50), banner=Exposure(percent=0))
        await service.define(FlagRef("elsewhere", "staging"), "old", "new")
        async with asking(service) as client:
            answer = (await client.post(BULK, json={})).json()
        assert [flag["key"] for flag in answer["flags"]] == ["banner", "checkout", "search"]
        banner, checkout, search = answer["flags"]
        assert (banner["value"], banner["reason"], search["value"]) == ("old", "STATIC", "new")
        assert checkout["errorCode"] == "TARGETING_KEY_MISSING"
        assert set(checkout) == {"key", "errorCode", "errorDetails"}

    async def test_agrees_with_single(self) -> None:
        async with asking(await flags(checkout=Exposure(percent=50))) as client:
            for i in range(20):
                bulk = (await client.post(BULK, json=user(f"user-{i}"))).json()
                assert bulk == {"flags": [(await client.post(SINGLE, json=user(f"user-{i}"))).json()]}

    async def test_an_environment_without_flags(self) -> None:
        async with asking(MemoryFlagService()) as client:
            assert (await client.post(BULK, json=user())).json() == {"flags": []}

    @pytest.mark.parametrize(("body", "code"), [(b"{", "PARSE_ERROR"), (b'{"context": 1}', "INVALID_CONTEXT")])
    async def test_bad_request(self, body: bytes, code: str) -> None:
        async with asking(await flags()) as client:
            answer = await client.post(BULK, content=body)
        assert answer.status_code == 400
        assert set(answer.json()) == {"errorCode", "errorDetails"}
        assert answer.json()["errorCode"] == code

    @pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}'])
    async def test_unchanged_is_304(self, form: str) -> None:
        async with asking(await flags(checkout=Exposure(percent=50))) as client:
            tag = (await client.post(BULK, json=user())).headers["etag"]
            assert tag.startswith('"')
            again = await client.post(BULK, json=user(), headers={"If-None-Match": form.format(tag)})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)

    async def test_a_tag_without_quotes_is_understood(self) -> None:
        async with asking(await flags(checkout=Exposure(percent=50))) as client:
            tag = (await client.post(BULK, json=user())).headers["etag"].strip('"')
            assert (await client.post(BULK, json=user(), headers={"If-None-Match": tag})).status_code == 304

    async def test_every_write_and_every_other_answer_is_200(self) -> None:
        service = await flags(checkout=Exposure(percent=60))
        async with asking(service) as client:
            tag = {"If-None-Match": (await client.post(BULK, json=user("user-1"))).headers["etag"]}
            assert bucket_of("pepper", "checkout", "user-2") >= 60_000
            assert (await client.post(BULK, json=user("user-2"), headers=tag)).status_code == 200
            await service.write(FlagRef("checkout", "production"), Exposure(percent=60), expected="2")
            assert (await client.post(BULK, json=user("user-1"), headers=tag)).status_code == 200


class TestTokens:
    @pytest.mark.parametrize("path", [SINGLE, BULK])
    @pytest.mark.parametrize(
        "headers",
        [
            {"Authorization": "Bearer first"},
            {"Authorization": "bearer  second"},
            {"X-API-Key": "second"},
            {"Authorization": "Basic Zm9v", "X-API-Key": "first"},
        ],
        ids=str,
    )
    async def test_any_of_them_opens(self, path: str, headers: dict[str, str]) -> None:
        async with asking(await flags(checkout=Exposure(percent=50)), "first", "second") as client:
            assert (await client.post(path, json=user(), headers=headers)).status_code == 200

    @pytest.mark.parametrize("path", [SINGLE, BULK, f"{BULK}/unknown"])
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Authorization": ""},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer "},
            {"Authorization": "Bearer firs"},
            {"Authorization": "Bearer first second"},
            {"Authorization": "first"},
            {"Authorization": "Basic first"},
            {"X-API-Key": "First"},
            {b"X-API-Key": b"\xff"},
        ],
        ids=str,
    )
    async def test_nothing_else_does(self, path: str, headers: dict[str, str]) -> None:
        async with asking(await flags(checkout=Exposure(percent=50)), "first", "second") as client:
            answer = await client.post(path, content=b"{", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "first" not in answer.text

    async def test_beyond_ascii(self) -> None:
        async with asking(await flags(), "schlüssel") as client:
            headers = {b"Authorization": "Bearer schlüssel".encode()}
            assert (await client.post(BULK, json=user(), headers=headers)).status_code == 200

    @pytest.mark.parametrize("tokens", [[""], ["first", "  "], "first"])
    def test_an_empty_one_is_a_wrong_setting(self, tokens: Any) -> None:
        with pytest.raises(ConfigurationError, match="OFREP tokens must be a list"):
            ofrep_routes(MemoryFlagService(), "production", tokens)


class DownService:
    async def definitions(self, environment: str) -> Mapping[str, FlagDefinition]:
        raise FlagServiceUnavailable(f"The flags of {environment} can't be read now.")


@pytest.mark.parametrize("path", [SINGLE, BULK])
async def test_a_service_that_is_down_is_500(path: str) -> None:
    async with asking(DownService()) as client:
        answer = await client.post(path, json=user())
    assert answer.status_code == 500
    assert answer.json() == {"errorDetails": "The flags of production can't be read now."}


async def test_another_environment_has_another_base_address() -> None:
    service = await flags(checkout=Exposure(percent=100))
    await service.define(FlagRef("checkout", "staging"), "old", "new")
    staging = Mount("/staging", routes=ofrep_routes(service, "staging", ["other"]))
    app = Starlette(routes=[*ofrep_routes(service, "production"), staging])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://flags") as client:
        assert (await client.post(SINGLE, json={})).json()["value"] == "new"
        assert (await client.post(f"/staging{SINGLE}", json={})).status_code == 401
        answer = await client.post(f"/staging{SINGLE}", json={}, headers={"Authorization": "Bearer other"})
        assert answer.json()["value"] == "old"

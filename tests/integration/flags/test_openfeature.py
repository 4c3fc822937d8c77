"""A service that asks for its flag with the OpenFeature SDK and its OFREP provider, unmodified."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagEvaluationDetails

from tests.integration.flags.conftest import serving
from tools.flags.base import FlagRef
from tools.flags.embedded import EmbeddedFlagService
from tools.plans.model import Audience, Exposure, Mode

REF = FlagRef("checkout/new-flow", "production")
DEFAULT = "code-default"
KEYS = 2_000

Ask = Callable[..., Awaitable[FlagEvaluationDetails[str]]]


class Sdk:
    """The SDK's blocking client, asked from threads as a web service's workers would."""

    def __init__(self, address: str, token: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._provider = OFREPProvider(address, headers_factory=lambda: headers)
        api.set_provider_and_wait(self._provider)
        self._client = api.get_client()
        self._threads = ThreadPoolExecutor(4)

    async def ask(self, key: str | None = None, flag: str = REF.flag, **attributes: str) -> FlagEvaluationDetails[str]:
        context = EvaluationContext(targeting_key=key, attributes=dict(attributes))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._client.get_string_details, flag, DEFAULT, context)

    async def exposed(self) -> set[str]:
        keys = [f"user-{i}" for i in range(KEYS)]
        answers = await asyncio.gather(*map(self.ask, keys))
        assert {answer.error_code for answer in answers} == {None}
        return {key for key, answer in zip(keys, answers, strict=True) if answer.value == "new"}

    def close(self) -> None:
        self._threads.shutdown()
        self._provider.session.close()
        api.shutdown()


@pytest.fixture
async def sdk(address: str) -> AsyncIterator[Sdk]:
    sdk = Sdk(address)
    yield sdk
    sdk.close()


async def expose(service: EmbeddedFlagService, exposure: Exposure) -> None:
    state = await service.read(REF)
    await service.write(REF, exposure, expected=state.version)


async def test_a_change_is_seen_by_the_next_evaluation(service: EmbeddedFlagService, sdk: Sdk) -> None:
    await service.define(REF, "old", "new")
    for percent, value in ((0, "old"), (100, "new"), (0, "old")):
        await expose(service, Exposure(percent=percent))
        answer = await sdk.ask("user-1")
        assert (answer.value, answer.variant, answer.reason) == (value, value, "STATIC")
        assert answer.flag_metadata == {"version": (await service.read(REF)).version}


async def test_shares_are_met_sticky_and_only_grow(service: EmbeddedFlagService, sdk: Sdk) -> None:
    await service.define(REF, "old", "new", salt="pepper")
    before: set[str] = set()
    for percent in (10, 50):
        await expose(service, Exposure(percent=percent))
        exposed = await sdk.exposed()
        assert len(exposed) / KEYS * 100 == pytest.approx(percent, abs=3)
        assert before <= exposed
        before = exposed
    assert await sdk.exposed() == before


async def test_bulk_sees_the_share_that_single_sees(service: EmbeddedFlagService, sdk: Sdk, address: str) -> None:
    await service.define(REF, "old", "new", salt="pepper")
    await expose(service, Exposure(percent=25))
    exposed = await sdk.exposed()
    async with httpx.AsyncClient(base_url=address) as client:
        for i in range(0, KEYS, 20):
            body = {"context": {"targetingKey": f"user-{i}"}}
            (flag,) = (await client.post("/ofrep/v1/evaluate/flags", json=body)).json()["flags"]
            assert (flag["value"] == "new") == (f"user-{i}" in exposed)


async def test_an_audience_by_tenant_and_region(service: EmbeddedFlagService, sdk: Sdk) -> None:
    await service.define(REF, "old", "new")
    await expose(service, Exposure(percent=100, audience=Audience(tenants=("acme", "globex"), regions=("eu",))))
    assert (await sdk.ask("user-1", tenant="acme", region="eu")).value == "new"
    assert (await sdk.ask(tenant="globex", region="eu")).value == "new"
    for attributes in ({"tenant": "acme", "region": "us"}, {"tenant": "initech", "region": "eu"}, {"tenant": "acme"}):
        answer = await sdk.ask("user-1", **attributes)
        assert (answer.value, answer.error_code) == ("old", None)


async def test_shadow_serves_control_and_names_treatment(service: EmbeddedFlagService, sdk: Sdk) -> None:
    await service.define(REF, "old", "new")
    await expose(service, Exposure(percent=50, mode=Mode.SHADOW))
    answers = [await sdk.ask(f"user-{i}") for i in range(50)]
    assert {answer.value for answer in answers} == {"old"}
    assert {answer.flag_metadata.get("shadow") for answer in answers} == {None, "new"}


async def test_errors_give_the_default_of_the_code(service: EmbeddedFlagService, sdk: Sdk) -> None:
    await service.define(REF, "old", "new")
    await expose(service, Exposure(percent=50))
    unknown = await sdk.ask("user-1", flag="chekout")
    assert (unknown.value, unknown.error_code) == (DEFAULT, ErrorCode.FLAG_NOT_FOUND)
    assert unknown.error_message == "There is no flag 'chekout' in production."
    keyless = await sdk.ask()
    assert (keyless.value, keyless.error_code) == (DEFAULT, ErrorCode.TARGETING_KEY_MISSING)
    assert keyless.error_message == f"Flag {REF.flag} is served to 50 %: send a targetingKey in the context."


@pytest.mark.parametrize(("token", "value"), [("right", "new"), ("wrong", DEFAULT), (None, DEFAULT)])
async def test_a_token_opens(service: EmbeddedFlagService, token: str | None, value: str) -> None:
    await service.define(REF, "old", "new")
    await expose(service, Exposure(percent=100))
    async with serving(service, ["right"]) as address:
        sdk = Sdk(address, token)
        assert (await sdk.ask("user-1")).value == value
        sdk.close()

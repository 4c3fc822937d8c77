"""GrowthBook's traps, against the strict fake; what is served is what GrowthBook's SDK says."""

import asyncio
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import httpx
import pytest
from growthbook import GrowthBook
from growthbook.core import gbhash
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from tests.contract.flags.conftest import growthbook_options
from tests.contract.flags.fake_growthbook import TOKEN, FakeGrowthBook
from tests.unit.flags.troubles import Answer, answers, fails, lost, without_waiting
from tools.clock import Clock, ManualClock, SystemClock
from tools.errors import ConfigurationError
from tools.flags.base import (
    ApprovalRequired,
    FlagNotFound,
    FlagRef,
    FlagServiceUnavailable,
    FlagVersionConflict,
    NotSettable,
)
from tools.flags.growthbook.drafts import DRAFT_LEFT, comment_of
from tools.flags.growthbook.options import GrowthBookOptions
from tools.flags.growthbook.rules import coverage_of
from tools.flags.growthbook.service import GrowthBookFlagService
from tools.plans.model import NOT_EXPOSED, Audience, Exposure, Mode

REF = FlagRef("checkout", "production")
ACME = Audience(tenants=("acme",))
KEYS = 2_000


@pytest.fixture
def server() -> FakeGrowthBook:
    fake = FakeGrowthBook()
    fake.define(REF.flag)
    return fake


@asynccontextmanager
async def opened(
    transport: httpx.AsyncBaseTransport,
    *,
    environment: str | None = None,
    timeout_s: float = 5,
    clock: Clock | None = None,
    **options: object,
) -> AsyncIterator[GrowthBookFlagService]:
    """The service over a transport; `options` differ from the contract's."""
    service = GrowthBookFlagService(
        growthbook_options(**options),
        timeout=timedelta(seconds=timeout_s),
        environment=environment,
        transport=transport,
        clock=clock,
    )
    without_waiting(service._api)
    yield service
    await service.close()


@pytest.fixture
async def service(server: FakeGrowthBook) -> AsyncIterator[GrowthBookFlagService]:
    async with opened(server) as service:
        yield service


async def write(service: GrowthBookFlagService, exposure: Exposure, ref: FlagRef = REF) -> None:
    await service.write(ref, exposure, expected=ANY)


def exposed(
    server: FakeGrowthBook, keys: int = 200, value: object = "new", flag: str = REF.flag, **attributes: str
) -> set[str]:
    """The users of so many that GrowthBook's SDK serves the value."""
    sdk = GrowthBook(features=server.payload(flag))
    found = set[str]()
    for user in (f"user-{number}" for number in range(keys)):
        sdk.set_attributes({"id": user, **attributes})
        if sdk.get_feature_value(flag, "the code's default") == value:
            found.add(user)
    sdk.destroy()
    return found


# -- what services are served ---------------------------------------------------------------------------------------


async def test_a_quarter_is_a_quarter(server: FakeGrowthBook, service: GrowthBookFlagService) -> None:
    await write(service, Exposure(percent=25))
    assert len(exposed(server, 10_000)) / 100 == pytest.approx(25, abs=1.5)


async def test_shares_are_met_sticky_and_only_grow(server: FakeGrowthBook, service: GrowthBookFlagService) -> None:
    before = set[str]()
    for percent in (1, 10, 33.3, 50):
        await write(service, Exposure(percent=percent))
        now = exposed(server, KEYS)
        assert len(now) / KEYS * 100 == pytest.approx(percent, abs=3)
        assert before <= now == exposed(server, KEYS)
        before = now
    await write(service, Exposure(percent=100))
    assert len(exposed(server)) == 200


async def test_an_audience_by_tenant_and_region(server: FakeGrowthBook, service: GrowthBookFlagService) -> None:
    await write(service, Exposure(percent=100, audience=Audience(tenants=("acme", "globex"), regions=("eu",))))
    assert len(exposed(server, 50, tenant="globex", region="eu")) == 50
    assert not exposed(server, 50, tenant="globex", region="us")
    assert not exposed(server, 50, tenant="initech", region="eu")
    assert not exposed(server, 50, tenant="acme")


async def test_shadow_and_live_are_different_values(server: FakeGrowthBook) -> None:
    server.rule(REF.flag, value="express", coverage=0)
    async with opened(server, treatment=None) as service:
        await write(service, Exposure(percent=50, mode=Mode.SHADOW))
        shadowed = exposed(server, value="shadow")
        assert (await service.read(REF)).treatment == "express"
        await write(service, Exposure(percent=50))
        assert exposed(server, value="express") == shadowed


@pytest.mark.parametrize("default", ["true", "false"])
async def test_a_switch_has_its_default_for_control(
    server: FakeGrowthBook, service: GrowthBookFlagService, default: str
) -> None:
    server.define("switch", default, "boolean")
    ref = FlagRef("switch", "production")
    state = await service.read(ref)
    assert {state.control, state.treatment} == {"true", "false"}
    assert state.control == default
    await write(service, Exposure(percent=25), ref)
    assert len(exposed(server, 1_000, default == "false", "switch")) / 10 == pytest.approx(25, abs=4)
    with pytest.raises(NotSettable, match="a value for shadow stages"):
        await write(service, Exposure(percent=5, mode=Mode.SHADOW), ref)


async def test_without_a_shadow_value_there_are_no_shadow_stages(server: FakeGrowthBook) -> None:
    async with opened(server, shadow_value=None) as service:
        assert not service.capabilities.shadow


# -- never more than asked ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
def test_a_coverage_is_never_more_than_asked_in_any_sdk(version: int) -> None:
    parts = {1: 1_000, 2: 10_000}[version]
    dealt = {number / parts for number in range(parts)}
    assert gbhash("seed", "user", version) in dealt
    for tenths in range(1_001):
        coverage = coverage_of(tenths / 10)
        for included in (sum(part < coverage for part in dealt), sum(part <= coverage for part in dealt)):
            assert included / parts * 100 == pytest.approx(tenths / 10) or tenths == 0


class Watching(httpx.AsyncBaseTransport):
    """Looks at what is served after every request."""

    def __init__(self, server: FakeGrowthBook) -> None:
        self._server = server
        self.most = set[str]()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._server.handle_async_request(request)
        self.most |= exposed(self._server, tenant="acme", region="eu")
        return answer


STARTS: dict[str, dict[str, Any] | None] = {
    "no rule": None,
    "off, with a rule for everyone": {"enabled": False, "coverage": 1, "type": "force"},
    "on at 30": {"coverage": 0.3},
    "on for a tenant": {"type": "force", "condition": '{"tenant": "globex"}'},
}
TARGETS = (NOT_EXPOSED, Exposure(percent=5), Exposure(percent=60, audience=ACME), Exposure(percent=100))


@pytest.mark.parametrize(("start", "target"), list(product(STARTS, TARGETS)), ids=str)
async def test_nobody_is_exposed_in_between(server: FakeGrowthBook, start: str, target: Exposure) -> None:
    parts = STARTS[start]
    if parts is not None:
        server.rule(REF.flag, **parts)
    before, watching = exposed(server, tenant="acme", region="eu"), Watching(server)
    async with opened(watching) as service:
        await write(service, target)
        assert (await service.read(REF)).exposure == target
    after = exposed(server, tenant="acme", region="eu")
    assert watching.most <= before | after
    assert len(after) / 2 == pytest.approx(target.percent, abs=9)
    assert not server.drafts


async def test_the_rule_and_the_environment_go_live_together(
    server: FakeGrowthBook, service: GrowthBookFlagService
) -> None:
    await write(service, Exposure(percent=5))
    assert [what.split("/", 2)[-1] for _, what, _ in server.asked] == ["rules", "toggle", "publish"]
    rule = server.asked[0][2]["rule"]
    assert (rule["coverage"], rule["hashAttribute"], rule["environments"]) == (0.04995, "id", ["production"])


# -- traps ----------------------------------------------------------------------------------------------------------


async def test_a_rule_for_everyone_without_an_attribute_gets_one(
    server: FakeGrowthBook, service: GrowthBookFlagService
) -> None:
    server.rule(REF.flag, type="force", hashAttribute=None)
    await write(service, Exposure(percent=50))
    [rule] = server.rules_of(REF.flag)
    assert (rule["type"], rule["hashAttribute"]) == ("rollout", "id")


async def test_how_people_deal_stays_also_after_everyone(
    server: FakeGrowthBook, service: GrowthBookFlagService
) -> None:
    server.rule(REF.flag, coverage=0.3, hashAttribute="company", seed="mine")
    for percent in (50, 100, 50):
        await write(service, Exposure(percent=percent))
        [rule] = server.rules_of(REF.flag)
        assert (rule["type"], rule["hashAttribute"], rule["seed"]) == ("rollout", "company", "mine")


async def test_other_environments_keep_their_rules(server: FakeGrowthBook, service: GrowthBookFlagService) -> None:
    server.rule(REF.flag, environment="staging", coverage=0.7)
    [before] = server.rules_of(REF.flag, "staging")
    await write(service, Exposure(percent=50))
    assert server.rules_of(REF.flag, "staging") == [before]


async def test_a_rule_that_is_off_is_left_alone(server: FakeGrowthBook, service: GrowthBookFlagService) -> None:
    server.live[REF.flag]["rules"].append({"id": "off", "type": "experiment-ref", "enabled": False})
    await write(service, Exposure(percent=50))
    assert (await service.read(REF)).exposure == Exposure(percent=50)


async def test_a_value_that_people_changed_is_the_new_one(
    server: FakeGrowthBook, service: GrowthBookFlagService
) -> None:
    await write(service, Exposure(percent=50))
    server.live[REF.flag]["rules"][0]["value"] = "newer"
    assert (await service.read(REF)).treatment == "newer"


async def test_prerequisites_are_told(server: FakeGrowthBook, service: GrowthBookFlagService) -> None:
    server.live[REF.flag]["prerequisites"] = ["cart"]
    assert (await service.read(REF)).depends_on == ("cart",)


async def test_an_archived_flag_is_not_there(server: FakeGrowthBook, service: GrowthBookFlagService) -> None:
    server.live[REF.flag]["archived"] = True
    assert not await service.list("production")
    with pytest.raises(FlagNotFound, match="archived"):
        await service.read(REF)


async def test_lists_are_read_to_their_end(server: FakeGrowthBook, service: GrowthBookFlagService) -> None:
    for number in range(205):
        server.define(f"flag-{number:03}")
    assert len(await service.list("production")) == 206
    assert server.requests == 3
    server.went_wrong = [answers(200, features=[server.live[REF.flag]], hasMore=True)] * 200
    assert len(await service.list("production")) == 100


# -- flags that people built ----------------------------------------------------------------------------------------

FOREIGN: dict[str, tuple[list[dict[str, Any]], str, float]] = {
    "two rules": ([{"coverage": 0.1}, {"coverage": 0.2}], "it has 2 rules in production", 30),
    "an experiment": ([{"type": "experiment-ref", "value": None}], "its rule is one of kind experiment-ref", 100),
    "a rule for all": ([{"coverage": 0.1, "allEnvironments": True}], "for more environments than production", 10),
    "a rule for two": ([{"coverage": 0.1, "environments": ["production", "staging"]}], "for more environments", 10),
    "saved groups": ([{"coverage": 0.1, "savedGroups": [{"match": "all", "ids": ["g"]}]}], "saved groups", 10),
    "a prerequisite": ([{"coverage": 0.1, "prerequisites": [{"id": "a", "condition": "{}"}]}], "saved groups", 10),
    "a schedule": ([{"coverage": 0.1, "rampScheduleId": "ramp"}], "a schedule of GrowthBook's", 10),
    "the default value": ([{"coverage": 0.1, "value": "old"}], "serves the default value", 10),
    "another attribute": ([{"coverage": 0.1, "condition": '{"plan": "gold"}'}], "not one list of tenants", 10),
    "all but a tenant": ([{"coverage": 0.1, "condition": '{"tenant": {"$ne": "a"}}'}], "not one list of tenants", 10),
    "a name": ([{"coverage": 0.1, "condition": '{"tenant": "Acme Inc."}'}], "that plans can't hold", 10),
    "no condition at all": ([{"coverage": 0.1, "condition": "["}], "not one that SDKs can read", 10),
}


@pytest.mark.parametrize("built", FOREIGN)
async def test_what_is_no_exposure_is_named_and_only_lowered(
    server: FakeGrowthBook, service: GrowthBookFlagService, built: str
) -> None:
    rules, why, most = FOREIGN[built]
    for rule in rules:
        server.rule(REF.flag, **rule)
    [state] = await service.list(REF.environment)
    assert why in state.obstacle
    assert state.exposure == Exposure(percent=most)
    with pytest.raises(NotSettable, match=why):
        await write(service, Exposure(percent=100))
    assert server.asked == []
    await write(service, NOT_EXPOSED)
    assert [what for _, what, _ in server.asked] == ["toggle"]
    assert (await service.read(REF)).exposure == NOT_EXPOSED
    assert not exposed(server)


async def test_what_says_nothing_of_the_new_value_is_named(server: FakeGrowthBook) -> None:
    server.live[REF.flag]["holdout"] = {"id": "h"}
    server.define("plain", "two words", "json")
    async with opened(server, treatment=None) as service:
        assert "it is in a holdout" in (await service.read(REF)).obstacle
        state = await service.read(FlagRef("plain", "production"))
    assert "set flags.growthbook.treatment" in state.obstacle
    assert state.control == "off"


# -- refusals -------------------------------------------------------------------------------------------------------


async def test_approvals_are_named_and_leave_no_draft(server: FakeGrowthBook, service: GrowthBookFlagService) -> None:
    server.approvals = True
    with pytest.raises(ApprovalRequired, match="REST API always bypasses approval requirements"):
        await write(service, Exposure(percent=5))
    assert (server.drafts, server.live[REF.flag]["rules"]) == ({}, [])
    server.rule(REF.flag, coverage=0.1, value="old")
    with pytest.raises(ApprovalRequired):
        await write(service, NOT_EXPOSED)


async def test_a_draft_of_what_is_not_live_any_more_is_a_conflict_and_needs_no_approval(
    server: FakeGrowthBook, service: GrowthBookFlagService
) -> None:
    server.fresh_bases = True
    server.rule(REF.flag, coverage=0.3)

    async def changed_elsewhere_before(request: httpx.Request) -> httpx.Response:
        server.rule(REF.flag, coverage=0.2, environment="staging")
        return await server.really(request)

    server.went_wrong = [server.really, server.really, changed_elsewhere_before]
    with pytest.raises(FlagVersionConflict, match="was changed in GrowthBook while it was being set; read it again"):
        await write(service, Exposure(percent=50))
    assert (server.drafts, (await service.read(REF)).exposure) == ({}, Exposure(percent=30))
    await write(service, Exposure(percent=50))
    assert (await service.read(REF)).exposure == Exposure(percent=50)


async def test_what_others_published_in_between_is_a_conflict(
    server: FakeGrowthBook, service: GrowthBookFlagService
) -> None:
    server.rule(REF.flag, coverage=0.3)

    async def changed_before(request: httpx.Request) -> httpx.Response:
        server.live[REF.flag]["rules"][0]["coverage"] = 0.2
        return await server.really(request)

    server.went_wrong = [server.really, server.really, changed_before]
    with pytest.raises(FlagVersionConflict, match="read it again"):
        await write(service, Exposure(percent=50))
    assert (server.drafts, (await service.read(REF)).exposure) == ({}, Exposure(percent=20))


@pytest.mark.parametrize(
    ("at", "answer", "error", "message"),
    [
        (1, answers(400, message="Invalid attribute"), NotSettable, r"refuses to set .* \(Invalid attribute\)"),
        (1, answers(403), FlagServiceUnavailable, "the secret key's role"),
        (1, answers(200, revision={}), FlagServiceUnavailable, "on a draft of checkout"),
        (1, answers(404), FlagServiceUnavailable, "was changed in GrowthBook"),
        (2, answers(400, message="no"), NotSettable, "see to that there"),
        (3, answers(200), FlagServiceUnavailable, "does not serve 5 %"),
    ],
)
async def test_what_is_refused_on_the_way_is_explained(
    server: FakeGrowthBook,
    service: GrowthBookFlagService,
    at: int,
    answer: Answer,
    error: type[Exception],
    message: str,
) -> None:
    server.went_wrong = [server.really] * at + [answer]
    with pytest.raises(error, match=message):
        await write(service, Exposure(percent=5))


async def test_a_draft_that_is_gone_needs_no_discarding(server: FakeGrowthBook, service: GrowthBookFlagService) -> None:
    server.went_wrong = [server.really, server.really, answers(400, message="no"), answers(400, message="no")]
    with pytest.raises(NotSettable):
        await write(service, Exposure(percent=5))


@pytest.mark.parametrize("at", [2, 3], ids=["switching on", "publishing"])
@pytest.mark.parametrize("trouble", [answers(502), fails(httpx.ReadTimeout)], ids=["502", "no answer"])
async def test_what_was_not_published_for_trouble_leaves_no_draft(
    server: FakeGrowthBook, service: GrowthBookFlagService, at: int, trouble: Answer
) -> None:
    server.went_wrong = [server.really] * at + [trouble]
    with pytest.raises(FlagServiceUnavailable):
        await write(service, Exposure(percent=60))
    assert (server.drafts, list(server.settled.values())) == ({}, ["discarded"])


async def test_what_was_published_without_an_answer_stays_so(
    server: FakeGrowthBook, service: GrowthBookFlagService
) -> None:
    server.went_wrong = [server.really] * 3 + [lost(server.really)]
    with pytest.raises(FlagServiceUnavailable):
        await write(service, Exposure(percent=60))
    assert list(server.settled.values()) == ["published"]
    assert (await service.read(REF)).exposure == Exposure(percent=60)
    before = server.requests
    await write(service, Exposure(percent=70))
    assert server.requests - before == 4, "a look, a draft, its publishing, a look: nothing is left to discard"


async def test_a_draft_that_could_not_be_discarded_is_after_the_next_write(
    server: FakeGrowthBook, service: GrowthBookFlagService
) -> None:
    server.went_wrong = [server.really] * 3 + [answers(502)] * 5
    with pytest.raises(FlagServiceUnavailable), capture_logs() as logs:
        await write(service, Exposure(percent=60))
    assert len(server.drafts) == 1
    assert [line["event"] for line in logs] == [DRAFT_LEFT]
    await write(service, NOT_EXPOSED)
    assert server.drafts == {}
    assert (await service.read(REF)).exposure == NOT_EXPOSED
    assert sorted(server.settled.values()) == ["discarded", "published"]


async def hang(_request: httpx.Request) -> httpx.Response:
    return await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("at", [1, 2, 3], ids=["drafting", "switching on", "publishing"])
async def test_a_write_that_is_ended_discards_its_draft(server: FakeGrowthBook, at: int) -> None:
    reached = asyncio.Event()

    async def carried_out_without_an_answer(request: httpx.Request) -> httpx.Response:
        if at < 3:
            await server.really(request)
        reached.set()
        return await hang(request)

    server.went_wrong = [server.really] * at + [carried_out_without_an_answer]
    async with opened(server) as service:
        ended = asyncio.create_task(write(service, Exposure(percent=60)))
        await reached.wait()
        assert len(server.drafts) == 1
        ended.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ended
    assert (server.drafts, list(server.settled.values())) == ({}, ["discarded"])


async def test_a_write_whose_time_is_over_discards_its_draft(server: FakeGrowthBook) -> None:
    server.went_wrong = [server.really] * 3 + [hang]
    async with opened(server, timeout_s=0.5) as service:
        with pytest.raises(FlagServiceUnavailable, match="did not answer within"):
            await write(service, Exposure(percent=60))
    assert server.drafts == {}


async def test_a_draft_whose_version_nobody_was_told_is_found(
    server: FakeGrowthBook, service: GrowthBookFlagService
) -> None:
    server.went_wrong = [server.really, lost(server.really)]
    with pytest.raises(FlagServiceUnavailable):
        await write(service, Exposure(percent=60))
    assert (server.drafts, list(server.settled.values())) == ({}, ["discarded"])


async def test_a_draft_that_comes_to_be_late_is_found_with_the_next_write(
    server: FakeGrowthBook, service: GrowthBookFlagService
) -> None:
    late = list[httpx.Request]()

    async def delayed(request: httpx.Request) -> httpx.Response:
        late.append(request)
        raise httpx.ReadTimeout("no", request=request)

    server.went_wrong = [server.really, delayed]
    with pytest.raises(FlagServiceUnavailable):
        await write(service, Exposure(percent=60))
    [request] = late
    await server.really(request)
    assert len(server.drafts) == 1
    await write(service, NOT_EXPOSED)
    assert server.drafts == {}


@pytest.mark.parametrize("percent", [0, 70])
async def test_a_draft_of_a_process_before_is_discarded_and_no_other(server: FakeGrowthBook, percent: float) -> None:
    server.went_wrong = [server.really] * 3 + [answers(502)] * 5
    async with opened(server) as before:
        with pytest.raises(FlagServiceUnavailable):
            await write(before, Exposure(percent=60))
    [[_, ours]] = server.drafts
    clock = ManualClock(SystemClock().now() + timedelta(seconds=20))
    theirs = [server.draft(REF.flag, comment)["version"] for comment in ("", "Set by Sluice", comment_of("staging"))]
    async with opened(server, clock=clock) as after:
        await write(after, Exposure(percent=percent))
        assert [version for _, version in server.drafts] == theirs
        assert server.settled[REF.flag, ours] == "discarded"
        before_requests = server.requests
        await write(after, NOT_EXPOSED)
        assert server.requests - before_requests == 4, "what was looked for once is not again"


@pytest.mark.parametrize("stale", [True, False])
async def test_a_draft_that_another_process_is_about_to_publish_is_left_alone(
    server: FakeGrowthBook, stale: bool
) -> None:
    async with opened(server) as rolls_back, opened(server) as raises:

        async def meanwhile(request: httpx.Request) -> httpx.Response:
            if stale:
                with pytest.raises(FlagVersionConflict):
                    await raises.write(REF, Exposure(percent=60), expected="another")
            else:
                await write(raises, Exposure(percent=60))
            assert len(server.drafts) == 1
            return await server.really(request)

        await write(rolls_back, Exposure(percent=30))
        server.went_wrong = [server.really, server.really, meanwhile]
        if stale:
            await write(rolls_back, NOT_EXPOSED)
        else:
            # What was published meanwhile can't be merged, which whoever rolls back answers with another write.
            with pytest.raises(FlagVersionConflict):
                await write(rolls_back, NOT_EXPOSED)
            await write(rolls_back, NOT_EXPOSED)
        assert (await rolls_back.read(REF)).exposure == NOT_EXPOSED
    assert server.drafts == {}
    assert list(server.settled.values()).count("discarded") == (not stale)


async def test_a_draft_that_was_submitted_for_review_is_discarded_too(
    server: FakeGrowthBook, service: GrowthBookFlagService
) -> None:
    server.draft(REF.flag, comment_of("production"))["status"] = "pending-review"
    await write(service, NOT_EXPOSED)
    assert server.drafts == {}


async def test_a_growthbook_that_lists_no_drafts_is_set_all_the_same(
    server: FakeGrowthBook, service: GrowthBookFlagService
) -> None:
    server.went_wrong = [server.really] * 5 + [answers(404)]
    with capture_logs() as logs:
        await write(service, Exposure(percent=60))
    assert (logs, server.went_wrong) == ([], [])


async def test_drafts_that_can_not_be_looked_for_are_told_and_hinder_nothing(
    server: FakeGrowthBook, service: GrowthBookFlagService
) -> None:
    server.went_wrong = [server.really] * 5 + [answers(200, revisions="none")]
    with capture_logs() as logs:
        await write(service, Exposure(percent=60))
    assert [(line["event"], line["versions"]) for line in logs] == [(DRAFT_LEFT, [])]
    assert (await service.read(REF)).exposure == Exposure(percent=60)


async def test_a_discarding_that_hangs_holds_up_no_rollback(server: FakeGrowthBook) -> None:
    server.draft(REF.flag, comment_of("production"))
    async with opened(server, timeout_s=1) as service:
        for exposure in (Exposure(percent=60), NOT_EXPOSED):
            server.went_wrong = [server.really] * (6 if exposure.percent else 4) + [hang]
            await write(service, exposure)
            assert (await service.read(REF)).exposure == exposure
        server.went_wrong.clear()
        await write(service, NOT_EXPOSED)
    assert server.drafts == {}


TROUBLE = {
    "not authorized": (answers(401, message="no"), "set SLUICE_GROWTHBOOK_TOKEN"),
    "not allowed": (answers(403, message="no"), "must be allowed to edit and to publish"),
    "a page": (answers(200, text="<html>"), "did not answer in JSON"),
    "refused": (answers(400, message="Bad\nidea"), "refused it (400): Bad idea."),
    "another answer": (answers(200, feature={}), "otherwise than its API does"),
}


@pytest.mark.parametrize("kind", TROUBLE)
async def test_an_answer_that_helps_nobody_says_what_to_do(
    server: FakeGrowthBook, service: GrowthBookFlagService, kind: str
) -> None:
    server.went_wrong = [TROUBLE[kind][0]]
    with pytest.raises(FlagServiceUnavailable) as failure:
        await service.read(REF)
    assert TROUBLE[kind][1] in str(failure.value)
    assert TOKEN not in "".join(traceback.format_exception(failure.value))


@pytest.mark.parametrize("trouble", [answers(503), answers(429, {"Retry-After": "1"}), fails(httpx.ReadTimeout)])
async def test_reading_is_tried_again_and_publishing_is_not(
    server: FakeGrowthBook, service: GrowthBookFlagService, trouble: Answer
) -> None:
    server.went_wrong = [trouble, trouble]
    assert (await service.read(REF)).exposure == NOT_EXPOSED
    server.went_wrong = [server.really] * 3 + [answers(502)]
    with pytest.raises(FlagServiceUnavailable, match="answered 502"):
        await write(service, Exposure(percent=60))
    assert (await service.read(REF)).exposure == NOT_EXPOSED


@pytest.mark.parametrize("answer", [answers(200, features="none"), answers(200, environments=["production"])])
async def test_lists_that_are_none_are_told(
    server: FakeGrowthBook, service: GrowthBookFlagService, answer: Answer
) -> None:
    for ask in (lambda: service.list("production"), service.check):
        server.went_wrong = [answer]
        with pytest.raises(FlagServiceUnavailable, match="otherwise than its API does"):
            await ask()


async def test_a_growthbook_that_is_too_old_is_told(server: FakeGrowthBook, service: GrowthBookFlagService) -> None:
    server.went_wrong = [server.really, answers(404)]
    with pytest.raises(FlagServiceUnavailable, match="no version 2 of its API for features there: update it"):
        await service.check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"environments": {"production": "live"}}, "no environment 'live', only production, staging"),
        ({"token": SecretStr("of-nobody")}, "set SLUICE_GROWTHBOOK_TOKEN"),
    ],
)
async def test_what_is_wrong_is_said(server: FakeGrowthBook, options: dict[str, Any], message: str) -> None:
    async with opened(server, environment="production", **options) as service:
        with pytest.raises(FlagServiceUnavailable, match=message):
            await service.check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (GrowthBookOptions(), r"set SLUICE_GROWTHBOOK_TOKEN, or flags\.growthbook\.token_file"),
        (GrowthBookOptions(token_file=Path("nowhere")), "can't be read"),
    ],
)
def test_a_wrong_setting_is_one_sentence(options: GrowthBookOptions, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        GrowthBookFlagService(options, timeout=timedelta(seconds=1))


def test_the_address_may_be_that_of_the_api() -> None:
    assert GrowthBookOptions(url="https://flags.example.com/api/v1/").url == "https://flags.example.com"
    with pytest.raises(ValidationError, match="leave credentials, ") as failure:
        GrowthBookOptions(url="https://me:secret@flags.example.com")
    assert "secret" not in str(failure.value)

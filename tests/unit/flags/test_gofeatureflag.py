"""GO Feature Flag's traps; what is served is what its evaluator says, as its SDK for Python ships it."""

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from gofeatureflag_python_provider.wasm import EvaluateWasm
from gofeatureflag_python_provider.wasm.model.evaluation_response import WasmEvaluationResponse
from gofeatureflag_python_provider.wasm.model.flag_context import WasmFlagContext
from gofeatureflag_python_provider.wasm.model.input import WasmInput

from tests.flag_files import FlagFiles
from tools.flags.base import FlagRef, FlagServiceUnavailable, FlagState, NotSettable
from tools.flags.files.gofeatureflag import GoFeatureFlag, percentage
from tools.flags.files.options import GoFeatureFlagOptions
from tools.flags.files.service import FileFlagService
from tools.flags.files.yaml_text import YamlText
from tools.plans.model import NOT_EXPOSED, Audience, Exposure, Mode

REF = FlagRef("checkout", "production")
KEYS = 400
ACME = Audience(tenants=("acme",))
VARIATIONS = {"old": "classic", "new": "express"}
Ask = Callable[..., WasmEvaluationResponse]


@pytest.fixture(scope="module")
def evaluator() -> EvaluateWasm:
    engine = EvaluateWasm(pool_size=1)
    engine.initialize()
    return engine


@pytest.fixture
def files(tmp_path: Path) -> FlagFiles:
    made = FlagFiles(tmp_path, ".yaml", GoFeatureFlag)
    made.define(REF)
    return made


@pytest.fixture
def service(files: FlagFiles) -> FileFlagService:
    return files.service(control="old", treatment="new")


@pytest.fixture
def ask(evaluator: EvaluateWasm, files: FlagFiles) -> Ask:
    """What a key is served of what the file holds now."""

    def asked(key: str, **attributes: object) -> WasmEvaluationResponse:
        flag = YamlText().parsed(files.path().read_text())[REF.flag]
        context = WasmFlagContext(defaultSdkValue="code's default")
        given = WasmInput(
            flagKey=REF.flag, flag=flag, evalContext={"targetingKey": key, **attributes}, flagContext=context
        )
        return evaluator.evaluate(given)

    return asked


@pytest.fixture
def exposed(evaluator: EvaluateWasm, files: FlagFiles) -> Callable[..., set[str]]:
    """The users of so many that are served anything else than control."""

    def found(keys: int = KEYS, **attributes: object) -> set[str]:
        flag = YamlText().parsed(files.path().read_text())[REF.flag]
        context = WasmFlagContext(defaultSdkValue="code's default")
        users = [f"user-{number}" for number in range(keys)]
        answers = {
            user: evaluator.evaluate(
                WasmInput(
                    flagKey=REF.flag, flag=flag, evalContext={"targetingKey": user, **attributes}, flagContext=context
                )
            )
            for user in users
        }
        assert not {answer.errorCode for answer in answers.values()} - {""}
        return {user for user, answer in answers.items() if answer.variationType != "old"}

    return found


async def _write(service: FileFlagService, exposure: Exposure) -> None:
    await service.write(REF, exposure, expected=(await service.read(REF)).version)


async def _built(files: FlagFiles, service: FileFlagService, **parts: Any) -> FlagState:
    """The flag as people built it."""
    files.define(REF, {"variations": VARIATIONS, "defaultRule": {"variation": "old"}, **parts})
    return await service.read(REF)


# -- what services are served ---------------------------------------------------------------------------------------


async def test_shares_are_met_sticky_and_only_grow(service: FileFlagService, exposed: Callable[..., set[str]]) -> None:
    before = set[str]()
    for percent in (0.5, 10, 33.333, 90):
        await _write(service, Exposure(percent=percent))
        found = exposed(1_500)
        assert len(found) / 1_500 * 100 == pytest.approx(percent, abs=3)
        assert before < found
        before = found


async def test_a_quarter_is_a_quarter(service: FileFlagService, exposed: Callable[..., set[str]]) -> None:
    await _write(service, Exposure(percent=25))
    assert len(exposed(10_000)) == pytest.approx(2_500, abs=150)


async def test_everyone_and_nobody_need_no_key(service: FileFlagService, ask: Ask) -> None:
    for exposure, value in ((Exposure(percent=100), "express"), (NOT_EXPOSED, "classic")):
        await _write(service, exposure)
        assert ask("").value == value
    await _write(service, Exposure(percent=50))
    assert ask("").errorCode == "TARGETING_KEY_MISSING"


async def test_an_audience_by_tenant_and_region(service: FileFlagService, exposed: Callable[..., set[str]]) -> None:
    await _write(service, Exposure(percent=100, audience=Audience(tenants=("acme-labs", "globex"), regions=("eu",))))
    assert len(exposed(50, tenant="globex", region="eu")) == 50
    for outside in (
        {"tenant": "globex", "region": "us"},
        {"tenant": "acme", "region": "eu"},
        {"tenant": "ACME-LABS", "region": "eu"},
        {"tenant": "globex"},
        {},
    ):
        assert not exposed(50, **outside)


@pytest.mark.parametrize(("name", "same"), [("a-shadow", True), ("shadow", False)])
async def test_shadow_answers_as_control_to_the_same_users_if_its_name_is_on_the_same_side(
    files: FlagFiles, ask: Ask, exposed: Callable[..., set[str]], name: str, same: bool
) -> None:
    """Variations are dealt by their names backwards: "old" before "new" and "a-shadow", and after "shadow"."""
    service = files.service(control="old", treatment="new", shadow_variant=name)
    await _write(service, Exposure(percent=50, mode=Mode.SHADOW))
    shadowed = exposed()
    answer = ask(next(iter(shadowed)))
    assert (answer.variationType, answer.value) == (name, "classic")
    await _write(service, Exposure(percent=50))
    assert (exposed() == shadowed) is same


STARTS: dict[str, dict[str, Any]] = {
    "nobody": {},
    "disabled, with everyone's rule": {"disable": True, "defaultRule": {"variation": "new"}},
    "a share": {"defaultRule": {"percentage": {"new": 30, "old": 70}}},
    "a share of another sum": {"defaultRule": {"percentage": {"new": 3, "old": 7}}},
    "a percentage beside a variation": {"defaultRule": {"variation": "new", "percentage": {"new": 3, "old": 7}}},
    "everyone": {"defaultRule": {"variation": "new"}},
    "a tenant": {"targeting": [{"name": "one", "query": 'tenant in ["globex"]', "variation": "new"}]},
    "a region, in JSONLogic": {"targeting": [{"query": '{"in": [{"var": "region"}, ["us"]]}', "variation": "new"}]},
    "a rule that is off": {"targeting": [{"query": "beta eq true", "variation": "new", "disable": True}]},
}
TARGETS = (NOT_EXPOSED, Exposure(percent=5), Exposure(percent=60, audience=ACME), Exposure(percent=100))


@pytest.mark.parametrize(("start", "target"), list(product(STARTS, TARGETS)), ids=str)
async def test_from_anywhere_to_what_is_asked(
    files: FlagFiles, service: FileFlagService, exposed: Callable[..., set[str]], start: str, target: Exposure
) -> None:
    before = await _built(files, service, **STARTS[start])
    assert before.obstacle == ""
    await _write(service, target)
    after = await service.read(REF)
    assert (after.exposure, after.control, after.treatment) == (target, "old", "new")
    found = set() if target == NOT_EXPOSED and "disable" in STARTS[start] else exposed(tenant="acme", region="eu")
    assert len(found) / KEYS * 100 == pytest.approx(target.percent, abs=6)


async def test_what_people_keep_beside_stays(files: FlagFiles, service: FileFlagService) -> None:
    asleep = {"query": "beta eq true", "variation": "new", "disable": True}
    kept = {"bucketingKey": "team", "version": "3", "trackEvents": False}
    rule = {"name": "all", "percentage": {"new": 10, "old": 90}}
    metadata = {"description": "The new checkout.", "issue": 7}
    state = await _built(files, service, targeting=[asleep], metadata=metadata, defaultRule=rule, **kept)
    assert state.description == "The new checkout."
    await _write(service, Exposure(percent=60, audience=ACME))
    entry = files.entry(REF)
    assert entry.items() >= kept.items()
    assert entry["metadata"].items() >= metadata.items()
    assert entry["targeting"][0] == asleep
    assert entry["defaultRule"] == {"name": "all", "variation": "old"}
    assert entry["targeting"][1:] == [{"query": 'tenant in ["acme"]', "percentage": {"new": 60, "old": 40}}]


# -- traps ----------------------------------------------------------------------------------------------------------


def test_every_share_is_so_many_buckets() -> None:
    """The evaluator multiplies by 1,000 and cuts off; control first, less of control would be more of treatment."""
    for weight in range(100_001):
        treatment, control = percentage(weight), percentage(100_000 - weight)
        assert int((treatment + control) * 1000.0) == 100_000
        assert (int(treatment * 1000.0), int(control * 1000.0)) == (weight, 100_000 - weight)
        assert int(treatment * 1000.0 + control * 1000.0) == 100_000


@pytest.mark.parametrize(("control", "treatment"), [("a", "b"), ("b", "a")], ids=["treatment first", "control first"])
async def test_whichever_name_is_first_more_are_exposed_and_none_less(
    files: FlagFiles, evaluator: EvaluateWasm, control: str, treatment: str
) -> None:
    service = files.service(control=control, treatment=treatment)
    files.define(REF, {"variations": {"a": 1, "b": 2}, "defaultRule": {"variation": control}})
    context, before = WasmFlagContext(), set[str]()
    for percent in (1.001, 8.203, 50):
        await _write(service, Exposure(percent=percent))
        flag = files.entry(REF)
        users = (f"user-{number}" for number in range(500))
        found = {
            user
            for user in users
            if evaluator.evaluate(
                WasmInput(flagKey=REF.flag, flag=flag, evalContext={"targetingKey": user}, flagContext=context)
            ).variationType
            == treatment
        }
        assert before <= found
        before = found
    assert before


async def test_on_and_off_are_names_and_no_truths(tmp_path: Path) -> None:
    files = FlagFiles(tmp_path, ".yaml", GoFeatureFlag)
    written = "checkout: # ours\n  variations:\n    on: true\n    off: false\n  defaultRule:\n    variation: off\n"
    files.path().write_text(written)
    service = files.service()
    state = await service.read(REF)
    assert (state.exposure, state.control, state.treatment, state.obstacle) == (NOT_EXPOSED, "off", "on", "")
    await _write(service, Exposure(percent=25))
    after = files.path().read_text()
    assert after.startswith(written[: written.index("    variation: off")] + "    percentage:\n      'on': 25\n")
    assert (await service.read(REF)).exposure == Exposure(percent=25)


async def test_no_name_of_ours_collides_with_a_rule_of_theirs(
    files: FlagFiles, service: FileFlagService, ask: Ask
) -> None:
    asleep = {"name": "sluice", "query": "beta eq true", "variation": "new", "disable": True}
    await _built(files, service, targeting=[asleep])
    await _write(service, Exposure(percent=100, audience=ACME))
    assert ask("anybody", tenant="acme").value == "express"


async def test_what_a_schedule_would_switch_on_again_is_taken_back_with_it(
    files: FlagFiles, service: FileFlagService, ask: Ask
) -> None:
    past = {"date": "2026-01-01T00:00:00Z", "disable": False, "defaultRule": {"variation": "new"}}
    state = await _built(files, service, disable=True, scheduledRollout=[past])
    assert ask("anybody").value == "express"
    assert (state.exposure, "its scheduledRollout" in state.obstacle) == (Exposure(percent=100), True)
    await _write(service, NOT_EXPOSED)
    assert ask("anybody").value == "code's default"
    assert (await service.read(REF)).exposure == NOT_EXPOSED


# -- flags that people built ----------------------------------------------------------------------------------------

PROGRESSIVE = {
    "initial": {"variation": "old", "percentage": 0, "date": "2026-01-01T00:00:00Z"},
    "end": {"variation": "new", "percentage": 100, "date": "2026-02-01T00:00:00Z"},
}
TENANT = 'tenant in ["acme"]'
FOREIGN: dict[str, tuple[dict[str, Any], str]] = {
    "three variations": (
        {"variations": VARIATIONS | {"x": "y"}, "defaultRule": {"percentage": {"new": 1, "old": 1, "x": 1}}},
        "it serves 'x' besides",
    ),
    "progressive": ({"defaultRule": {"progressiveRollout": PROGRESSIVE}}, "its progressiveRollout"),
    "scheduled": ({"scheduledRollout": [{"date": "2030-01-01T00:00:00Z"}]}, "its scheduledRollout"),
    "an experiment": ({"experimentation": {"start": "2026-01-01T00:00:00Z"}}, "its experimentation"),
    "two rules": ({"targeting": [{"query": TENANT, "variation": "new"}] * 2}, "it has 2 targeting rules"),
    "no list": ({"targeting": {"query": TENANT}}, "its targeting is no list of rules"),
    "no query": ({"targeting": [{"variation": "new"}]}, "a targeting rule has no query"),
    "another query": ({"targeting": [{"query": 'tenant sw "acme"', "variation": "new"}]}, "its query is not one list"),
    "or": ({"targeting": [{"query": f'{TENANT} or region in ["eu"]', "variation": "new"}]}, "its query is not one"),
    "twice": ({"targeting": [{"query": f"{TENANT} and {TENANT}", "variation": "new"}]}, "its query is not one list"),
    "another attribute": ({"targeting": [{"query": 'plan in ["pro"]', "variation": "new"}]}, "it has a rule on plan"),
    "no JSONLogic": ({"targeting": [{"query": '{"in": ', "variation": "new"}]}, "its query is no JSONLogic"),
    "another logic": ({"targeting": [{"query": '{"!": [1]}', "variation": "new"}]}, "one list of values (in)"),
    "others too": (
        {"targeting": [{"query": TENANT, "variation": "new"}], "defaultRule": {"variation": "new"}},
        "its default rule serves something else than control",
    ),
    "nothing": ({"defaultRule": {"name": "x"}}, "a rule of it serves nothing"),
    "no rule": ({"defaultRule": None}, "a rule of it serves nothing"),
    "no variations": ({"variations": None}, "it has no variants"),
    "numbers in text": ({"defaultRule": {"percentage": {"new": "10", "old": 90}}}, "its percentages are not numbers"),
    "negative": ({"defaultRule": {"percentage": {"new": -10, "old": 110}}}, "its percentages are not numbers"),
    "metadata": ({"metadata": "x"}, "its metadata is no object"),
}


@pytest.mark.parametrize("built", FOREIGN)
async def test_what_is_no_exposure_is_named_and_only_lowered(
    files: FlagFiles, service: FileFlagService, built: str
) -> None:
    parts, why = FOREIGN[built]
    state = await _built(files, service, **parts)
    assert why in state.obstacle
    assert state.exposure == Exposure(percent=100)
    with pytest.raises(NotSettable, match="can't be set by Sluice"):
        await _write(service, Exposure(percent=100))
    assert await service.read(REF) == state
    await _write(service, Exposure(percent=10))
    assert (await service.read(REF)).exposure == NOT_EXPOSED
    assert files.entry(REF)["disable"] is True


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("checkout: [1\n", r"production\.yaml can't be read: it is no YAML at line"),
        ("- checkout\n", "has no flags by name"),
        ("checkout: on\n", "has a flag 'checkout' that is no object"),
        ("checkout: {variations: {a: 1}}\ncheckout: {}\n", "it has 'checkout' twice"),
    ],
)
async def test_what_other_hands_broke_is_found_and_named(
    files: FlagFiles, service: FileFlagService, text: str, message: str
) -> None:
    files.path().write_text(text)
    for call in (service.read(REF), service.list(REF.environment), service.check()):
        with pytest.raises(FlagServiceUnavailable, match=message):
            await call


async def test_an_empty_file_has_no_flags(files: FlagFiles, service: FileFlagService) -> None:
    files.path().write_text("# none yet\n")
    assert list(await service.list(REF.environment)) == []


def test_its_services_look_once_a_minute() -> None:
    assert GoFeatureFlagOptions().sdk_refresh.total_seconds() == 60


OTHER = "other:  # of search\n  variations: {old: a, new: b}\n  defaultRule: {variation: old}\n"
SERVES_HALF = "  variations: {old: a, new: b}\n  defaultRule: {percentage: {new: 50, old: 50}}\n"
KEPT_LINES = "  metadata:\n    description: |+\n      The text\n\n"
BASE = "base: &base\n  variations: {old: x, new: y}\n  defaultRule: {variation: old}\n"
TAGGED = "  metadata: {since: {start: !!timestamp 2026-01-01}}\n"
DATED = "third: {experimentation: {start: 2026-01-01, end: '2026-02-01'}, variations: {a: yes}}  # of search\n"


@pytest.mark.parametrize(
    ("text", "beside"),
    [
        (f"checkout:\n{KEPT_LINES}{SERVES_HALF}{OTHER}", OTHER),
        (f"checkout:\n{SERVES_HALF}{KEPT_LINES}{OTHER}", OTHER),
        (f"checkout:\n{SERVES_HALF}{OTHER}".replace("\n", "\r"), "# of search"),
        (f"checkout: !!map &a\n{SERVES_HALF}other: *a\n", "other:"),
        (f"? checkout\n: !!map &a\n{SERVES_HALF}other: *a\n", "other:"),
        (
            f"checkout:\n{SERVES_HALF}  more: &b\n    ? deep\n    : [!!str x]\nother:\n{SERVES_HALF}  more: *b\n",
            "other:",
        ),
        (f"{BASE}checkout: &a\n  <<: *base\n{SERVES_HALF}other: *a\nthird: *a\n", "third: {"),
        (f"checkout: &a\n{SERVES_HALF}{TAGGED}other: *a\n", 'start: !!timestamp "2026-01-01"'),
        (f"checkout: &a\n{SERVES_HALF.replace('old: a', 'old: 1_000')}other: *a\n", "other: {variations: {old: 1_000,"),
    ],
    ids=[
        "kept lines amid it",
        "kept lines at its end",
        "lone returns",
        "lent with a tag",
        "named by ?",
        "lent in part",
        "lent twice and merged",
        "lent with a moment",
        "lent with a number of its own way",
    ],
)
async def test_a_flag_can_be_taken_to_nobody_however_its_file_is_written(
    tmp_path: Path, text: str, beside: str
) -> None:
    files = FlagFiles(tmp_path, ".yaml", GoFeatureFlag)
    files.path().write_bytes(text.encode())
    others = files.document()["other"]
    service = files.service(control="old", treatment="new")
    state = await service.read(REF)
    assert state.exposure == Exposure(percent=50)
    await service.write(REF, NOT_EXPOSED, expected=state.version)
    assert (await service.read(REF)).exposure == NOT_EXPOSED
    assert files.document()["other"] == others
    assert beside in files.path().read_text()
    await service.close()


@pytest.mark.parametrize("name", ["checkout:", "? checkout\n:"])
async def test_what_lends_parts_is_taken_to_nobody_beside_others_that_stay_as_they_are(
    tmp_path: Path, name: str
) -> None:
    files = FlagFiles(tmp_path, ".yaml", GoFeatureFlag)
    dates = "  experimentation: {start: 2026-01-01}\n"
    files.path().write_text(f"{name} !!map &a\n{SERVES_HALF}{dates}other: *a\n{DATED}")
    others = {name: files.document()[name] for name in ("other", "third")}
    service = files.service(control="old", treatment="new")
    await service.write(REF, NOT_EXPOSED, expected=(await service.read(REF)).version)
    assert (await service.read(REF)).exposure == NOT_EXPOSED
    assert {name: files.document()[name] for name in others} == others
    text = files.path().read_text()
    assert DATED in text
    assert text.count("start: 2026-01-01") + text.count('"start": 2026-01-01') == 3, "dates stay dates"
    await service.close()

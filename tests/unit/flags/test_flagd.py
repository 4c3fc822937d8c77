"""flagd's traps; what is served is what the core of flagd's own SDK says."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext

from tests.flag_files import FlagFiles
from tools.flags.base import FlagRef, FlagServiceUnavailable, FlagState, NotSettable
from tools.flags.files.flagd import Flagd
from tools.flags.files.service import FileFlagService
from tools.plans.model import NOT_EXPOSED, Audience, Exposure, Mode

REF = FlagRef("checkout", "production")
KEYS = 400
ACME = Audience(tenants=("acme",))
DEFAULT = "code's default"
VARIANTS = {"old": "classic", "new": "express"}


@pytest.fixture
def files(tmp_path: Path) -> FlagFiles:
    made = FlagFiles(tmp_path, ".json", Flagd)
    made.define(REF)
    return made


@pytest.fixture
def service(files: FlagFiles) -> FileFlagService:
    return files.service(control="old", treatment="new")


async def _write(service: FileFlagService, exposure: Exposure) -> None:
    await service.write(REF, exposure, expected=(await service.read(REF)).version)


async def _built(files: FlagFiles, service: FileFlagService, **parts: Any) -> FlagState:
    """The flag as people built it."""
    files.define(REF, {"state": "ENABLED", "variants": VARIANTS, "defaultVariant": "old", **parts})
    return await service.read(REF)


class Sdk:
    """Whom flagd's SDK serves what the file holds."""

    def __init__(self, files: FlagFiles) -> None:
        self._core = FlagdCore()
        self._core.set_flags(files.path().read_text())

    def variant(self, key: str | None, **attributes: str) -> str | None:
        context = EvaluationContext(key, dict(attributes))
        return self._core.resolve_string_value(REF.flag, DEFAULT, context).variant

    def value(self, key: str | None, **attributes: str) -> str:
        return str(self._core.resolve_string_value(REF.flag, DEFAULT, EvaluationContext(key, dict(attributes))).value)

    def exposed(self, keys: int = KEYS, **attributes: str) -> set[str]:
        users = (f"user-{number}" for number in range(keys))
        return {user for user in users if self.variant(user, **attributes) in ("new", "shadow")}


# -- what services are served ---------------------------------------------------------------------------------------


async def test_shares_are_met_sticky_and_only_grow(files: FlagFiles, service: FileFlagService) -> None:
    before = set[str]()
    for percent in (0.5, 10, 33.333, 90):
        await _write(service, Exposure(percent=percent))
        exposed = Sdk(files).exposed(2_000)
        assert len(exposed) / 2_000 * 100 == pytest.approx(percent, abs=3)
        assert before < exposed
        before = exposed


async def test_a_quarter_is_a_quarter(files: FlagFiles, service: FileFlagService) -> None:
    await _write(service, Exposure(percent=25))
    assert len(Sdk(files).exposed(10_000)) == pytest.approx(2_500, abs=150)


async def test_everyone_and_nobody_need_no_targeting_key(files: FlagFiles, service: FileFlagService) -> None:
    for exposure, variant in ((Exposure(percent=100), "new"), (NOT_EXPOSED, "old"), (Exposure(percent=50), "old")):
        await _write(service, exposure)
        assert Sdk(files).variant(None) == variant


async def test_an_audience_by_tenant_and_region(files: FlagFiles, service: FileFlagService) -> None:
    await _write(service, Exposure(percent=100, audience=Audience(tenants=("acme", "globex"), regions=("eu",))))
    sdk = Sdk(files)
    assert len(sdk.exposed(tenant="globex", region="eu")) == KEYS
    for outside in ({"tenant": "globex", "region": "us"}, {"tenant": "initech", "region": "eu"}, {"tenant": "acme"}):
        assert not sdk.exposed(**outside)
    assert not sdk.exposed()


async def test_a_tenant_whose_name_is_part_of_another_is_not_meant(files: FlagFiles, service: FileFlagService) -> None:
    await _write(service, Exposure(percent=100, audience=Audience(tenants=("acme-labs",))))
    assert len(Sdk(files).exposed(tenant="acme-labs")) == KEYS
    assert not any(Sdk(files).exposed(tenant=part) for part in ("acme", "labs", "a", ""))


async def test_shadow_answers_as_control_and_is_another_variant(files: FlagFiles, service: FileFlagService) -> None:
    await _write(service, Exposure(percent=50, mode=Mode.SHADOW))
    sdk = Sdk(files)
    shadowed = sdk.exposed()
    assert {sdk.variant(user) for user in shadowed} == {"shadow"}
    assert {sdk.value(f"user-{number}") for number in range(KEYS)} == {"classic"}
    await _write(service, Exposure(percent=50))
    assert Sdk(files).exposed() == shadowed


STARTS: dict[str, dict[str, Any]] = {
    "nobody": {},
    "off, with everyone's rule": {"state": "DISABLED", "targeting": {"if": [True, "new"]}},
    "a share": {"targeting": {"fractional": [["new", 30], ["old", 70]]}},
    "a share, control first": {"targeting": {"fractional": [["old", 70], ["new", 30]]}},
    "everyone by default": {"defaultVariant": "new"},
    "a tenant": {"targeting": {"if": [{"in": [{"var": "tenant"}, ["globex"]]}, "new", "old"]}},
    "by another key": {"targeting": {"fractional": [{"var": "tenant"}, ["new", 30], ["old", 70]]}},
}
TARGETS = (NOT_EXPOSED, Exposure(percent=5), Exposure(percent=60, audience=ACME), Exposure(percent=100))


@pytest.mark.parametrize(("start", "target"), list(product(STARTS, TARGETS)), ids=str)
async def test_from_anywhere_to_what_is_asked(
    files: FlagFiles, service: FileFlagService, start: str, target: Exposure
) -> None:
    before = await _built(files, service, **STARTS[start])
    assert before.obstacle == ""
    await _write(service, target)
    after = await service.read(REF)
    assert (after.exposure, after.control, after.treatment) == (target, "old", "new")
    exposed = Sdk(files).exposed(tenant="acme", region="eu")
    if start != "by another key":
        assert len(exposed) / KEYS * 100 == pytest.approx(target.percent, abs=5)


async def test_the_order_and_the_key_that_people_chose_stay(files: FlagFiles, service: FileFlagService) -> None:
    seed = {"cat": [{"var": "$flagd.flagKey"}, {"var": "email"}]}
    await _built(files, service, targeting={"fractional": [seed, ["old", 3], ["new", 1]]})
    assert (await service.read(REF)).exposure == Exposure(percent=25)
    sdk = Sdk(files)
    before = {number for number in range(KEYS) if sdk.variant(None, email=f"{number}@example.com") == "new"}
    await _write(service, Exposure(percent=40))
    assert files.entry(REF)["targeting"] == {"fractional": [seed, ["old", 60], ["new", 40]]}
    sdk = Sdk(files)
    assert before < {number for number in range(KEYS) if sdk.variant(None, email=f"{number}@example.com") == "new"}


# -- traps ----------------------------------------------------------------------------------------------------------


async def test_weights_are_whole_numbers(files: FlagFiles, service: FileFlagService) -> None:
    for percent, weights in ((33.5, [33_500, 66_500]), (0.001, [1, 99_999]), (7, [7, 93]), (99.999, [99_999, 1])):
        await _write(service, Exposure(percent=percent))
        arms = files.entry(REF)["targeting"]["fractional"]
        assert [weight for _, weight in arms] == weights
        assert {type(weight) for _, weight in arms} == {int}


async def test_a_weight_with_a_fraction_serves_the_default_and_is_named(
    files: FlagFiles, service: FileFlagService
) -> None:
    state = await _built(files, service, targeting={"fractional": [["new", 33.5], ["old", 66.5]]})
    assert not Sdk(files).exposed()
    assert "not whole numbers" in state.obstacle


async def test_defaults_that_targeting_could_fall_back_to_are_no_exposure(
    files: FlagFiles, service: FileFlagService
) -> None:
    rule = {"fractional": [["new", 10], ["old", 90]]}
    state = await _built(files, service, defaultVariant="new", targeting=rule)
    assert Sdk(files).variant(None) == "new"
    assert (state.exposure, "its default is not control" in state.obstacle) == (Exposure(percent=100), True)


async def test_the_default_is_always_control(files: FlagFiles, service: FileFlagService) -> None:
    state = await _built(files, service, defaultVariant="new")
    assert state.exposure == Exposure(percent=100)
    for exposure in (Exposure(percent=100), Exposure(percent=10), NOT_EXPOSED):
        await _write(service, exposure)
        assert files.entry(REF)["defaultVariant"] == "old"


async def test_switched_off_serves_nobody_and_a_raise_switches_on(files: FlagFiles, service: FileFlagService) -> None:
    rule = {"fractional": [["new", 50], ["old", 50]]}
    assert (await _built(files, service, state="DISABLED", targeting=rule)).exposure == NOT_EXPOSED
    await _write(service, NOT_EXPOSED)
    assert files.entry(REF)["state"] == "DISABLED"
    await _write(service, Exposure(percent=5))
    assert files.entry(REF)["state"] == "ENABLED"
    assert len(Sdk(files).exposed()) < KEYS / 10


async def test_a_change_by_hand_makes_another_version(files: FlagFiles, service: FileFlagService) -> None:
    before = await service.read(REF)
    files.define(FlagRef("another", "production"))
    assert await service.read(REF) == before
    assert (await _built(files, service, metadata={"owner": "me"})).version != before.version


async def test_what_people_keep_beside_stays(files: FlagFiles, service: FileFlagService) -> None:
    metadata = {"description": "The new checkout.", "owner": "shop"}
    assert (await _built(files, service, metadata=metadata, mine={"a": [1]})).description == "The new checkout."
    others = files.document()
    await _write(service, Exposure(percent=10))
    entry = files.entry(REF)
    assert entry["mine"] == {"a": [1]}
    assert entry["metadata"].items() >= metadata.items()
    assert {**files.document()["flags"], REF.flag: None} == {**others["flags"], REF.flag: None}


# -- variants -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "control", "treatment"),
    [
        ({"variants": {"a": 1, "b": 2}, "defaultVariant": "b"}, "b", "a"),
        ({"variants": {"a": 1, "b": 2, "shadow": 2}, "defaultVariant": "b"}, "b", "a"),
        ({"variants": {"a": 1, "old": 2}, "defaultVariant": "a"}, "old", "a"),
        ({"variants": {"a": 1, "old": 2, "new": 3}, "defaultVariant": "old"}, "old", "new"),
        ({"variants": {"a": 1, "old": 2}, "defaultVariant": None}, "old", "a"),
        ({"variants": {"a": 1, "b": 2}, "defaultVariant": "b", "metadata": {"sluice.control": "a"}}, "a", "b"),
    ],
)
async def test_which_variant_is_which(
    files: FlagFiles, service: FileFlagService, parts: dict[str, Any], control: str, treatment: str
) -> None:
    state = await _built(files, service, **parts)
    assert (state.control, state.treatment, state.obstacle) == (control, treatment, "")
    await _write(service, Exposure(percent=100))
    again = await service.read(REF)
    assert (again.control, again.treatment, again.exposure) == (control, treatment, Exposure(percent=100))


# -- flags that people built ----------------------------------------------------------------------------------------

FOREIGN: dict[str, tuple[dict[str, Any], str]] = {
    "three arms": (
        {"variants": VARIANTS | {"x": "y"}, "targeting": {"fractional": [["new", 1], ["old", 1], ["x", 1]]}},
        "it serves 'x' besides",
    ),
    "an arm twice": ({"targeting": {"fractional": [["new", 1], ["new", 1], ["old", 1]]}}, "a variant twice"),
    "no weight at all": ({"targeting": {"fractional": [["new", 0], ["old", 0]]}}, "nothing that can be shared out"),
    "thirds": ({"targeting": {"fractional": [["new"], ["old", 2]]}}, "finer than plans can hold"),
    "negative": ({"targeting": {"fractional": [["new", -1], ["old", 2]]}}, "not whole numbers from 0"),
    "a truth": ({"targeting": {"fractional": [["new", True], ["old", 2]]}}, "not whole numbers from 0"),
    "another attribute": (
        {"targeting": {"if": [{"in": [{"var": "plan"}, ["pro"]]}, "new", "old"]}},
        "it has a rule on plan",
    ),
    "a part of a text": ({"targeting": {"if": [{"in": ["acme", {"var": "tenant"}]}, "new"]}}, "one list of values"),
    "a text": ({"targeting": {"if": [{"in": [{"var": "tenant"}, "acme"]}, "new"]}}, "one list of values"),
    "with a default": ({"targeting": {"if": [{"in": [{"var": ["tenant", "x"]}, ["x"]]}, "new"]}}, "one list of"),
    "numbers": ({"targeting": {"if": [{"in": [{"var": "tenant"}, [1]]}, "new"]}}, "one list of values"),
    "an empty and": ({"targeting": {"if": [{"and": []}, "new"]}}, "one list of values"),
    "an attribute twice": (
        {"targeting": {"if": [{"and": [{"in": [{"var": "tenant"}, ["a"]]}] * 2}, "new"]}},
        "two rules on tenant",
    ),
    "names of another kind": (
        {"targeting": {"if": [{"in": [{"var": "tenant"}, ["A & B"]]}, "new"]}},
        "a name that plans can't hold",
    ),
    "others too": ({"targeting": {"if": [{"in": [{"var": "tenant"}, ["a"]]}, "new", "new"]}}, "than control"),
    "more rules": ({"targeting": {"if": [True, "new", False, "old", "new"]}}, "more than one rule"),
    "another operation": ({"targeting": {"if": [True, {"var": "variant"}, "old"]}}, "its targeting is not one share"),
    "shared": ({"targeting": {"$ref": "us"}}, "its targeting is not one share"),
    "many variants": ({"variants": {"a": 1, "old": 2, "c": 3}}, "it has 3 variants and none is called 'new'"),
    "no default": ({"variants": {"a": 1, "b": 2}, "defaultVariant": None}, "nothing says which of its variants"),
    "a variant's name": ({"variants": {"old": 1, "new one": 2}}, "'new one' has a name that plans can't hold"),
    "metadata": ({"metadata": ["x"]}, "its metadata is no object"),
    "a shadow that is live": (
        {"variants": VARIANTS | {"shadow": "express"}, "targeting": {"fractional": [["shadow", 10], ["old", 90]]}},
        "its variant 'shadow' does not answer as control does",
    ),
    "both": (
        {"variants": VARIANTS, "targeting": {"fractional": [["shadow", 1], ["new", 1], ["old", 2]]}},
        "treatment and the shadow variant at the same time",
    ),
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
    off = await service.read(REF)
    assert (off.exposure, why in off.obstacle) == (NOT_EXPOSED, True)
    entry = files.entry(REF)
    assert (entry["state"], entry.get("targeting")) == ("DISABLED", parts.get("targeting"))


async def test_a_shadow_variant_with_an_answer_of_its_own_is_not_served(
    files: FlagFiles, service: FileFlagService
) -> None:
    before = await _built(files, service, variants=VARIANTS | {"shadow": "express"})
    with pytest.raises(NotSettable, match="give it control's value"):
        await _write(service, Exposure(percent=10, mode=Mode.SHADOW))
    assert await service.read(REF) == before


# -- what other hands break -----------------------------------------------------------------------------------------

BROKEN = {
    "no JSON": ('{"flags": {\n  "checkout": }}', r"production\.json can't be read: it is no JSON at line 2, column 15"),
    "half of it": ('{"flags": {"checkout": {"state": "ENAB', "it is no JSON at line 1"),
    "empty": ("", "it is no JSON"),
    "a list": ("[]", 'has no object "flags"'),
    "a list of flags": ('{"flags": []}', 'has no object "flags"'),
    "a flag that is text": ('{"flags": {"checkout": "x"}}', "has a flag 'checkout' that is no object"),
    "another flag's state": (
        '{"flags": {"checkout": {"state": "ENABLED", "variants": {"a": 1}}, "search": {"variants": {"a": 1}}}}',
        "has a flag 'search' whose state is neither",
    ),
    "no variants": ('{"flags": {"checkout": {"state": "ENABLED", "variants": {}}}}', "'checkout' without variants"),
}


@pytest.mark.parametrize("how", BROKEN)
async def test_what_other_hands_broke_is_found_and_named_and_left(
    files: FlagFiles, service: FileFlagService, how: str
) -> None:
    version = (await service.read(REF)).version
    text, message = BROKEN[how]
    files.path().write_text(text)
    for call in (
        service.read(REF),
        service.list(REF.environment),
        service.check(),
        service.write(REF, NOT_EXPOSED, expected=version),
    ):
        with pytest.raises(FlagServiceUnavailable, match=message):
            await call
    assert files.path().read_text() == text

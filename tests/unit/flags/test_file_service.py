"""Which file has which environment's flags, and what is said where there is none."""

import asyncio
import fcntl
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.flag_files import FlagFiles
from tools.errors import ConfigurationError
from tools.flags.base import FlagNotFound, FlagRef, FlagServiceUnavailable, FlagVersionConflict, NotSettable, close
from tools.flags.files.flagd import Flagd
from tools.flags.files.gofeatureflag import GoFeatureFlag
from tools.flags.files.options import FlagdOptions, GoFeatureFlagOptions
from tools.flags.files.service import FileFlagService
from tools.flags.files.store import FlagFile
from tools.flags.urgency import urgently
from tools.plans.model import NOT_EXPOSED, Audience, Exposure, Mode

REF = FlagRef("checkout", "production")
STAGING = FlagRef("checkout", "staging")


@pytest.fixture
def files(tmp_path: Path) -> FlagFiles:
    return FlagFiles(tmp_path, ".json", Flagd)


async def test_one_file_has_the_flags_of_one_environment(files: FlagFiles) -> None:
    files.define(REF)
    service = files.service(path=files.path())
    await service.check()
    assert (await service.read(REF)).exposure == NOT_EXPOSED
    assert [state.ref for state in await service.list("production")] == [REF]
    assert list(await service.list("staging")) == []
    with pytest.raises(FlagNotFound, match=r"flags\.flagd\.path has the flags of production; with \{environment\} in"):
        await service.read(STAGING)


async def test_one_file_that_is_gone_is_no_missing_flag(files: FlagFiles) -> None:
    files.define(REF)
    service = files.service(path=files.path())
    version = (await service.read(REF)).version
    files.path().unlink()
    for call in (
        service.read(REF),
        service.list("production"),
        service.write(REF, NOT_EXPOSED, expected=version),
        service.check(),
    ):
        with pytest.raises(FlagServiceUnavailable, match=r"There is no file .*production\.json"):
            await call


async def test_environments_may_be_called_differently(files: FlagFiles) -> None:
    files.define(FlagRef("checkout", "stage"))
    service = files.service(environments={"staging": "stage"})
    assert (await service.read(STAGING)).ref == STAGING
    with pytest.raises(FlagNotFound, match="there is no file"):
        await service.read(REF)


@pytest.mark.parametrize("environment", ["../secret", "a/b", "..", "/etc/passwd", ""])
async def test_no_environment_leads_out_of_the_folder(files: FlagFiles, environment: str) -> None:
    (files.folder.parent / "secret.json").write_text('{"flags": {"checkout": {}}}')
    service = files.service()
    assert list(await service.list(environment)) == []
    with pytest.raises(FlagNotFound):
        await service.read(FlagRef("checkout", environment))
    (files.folder.parent / "secret.json").unlink()


async def test_what_is_checked_is_the_default_environment_or_what_is_named(files: FlagFiles) -> None:
    options = FlagdOptions(path=files.folder / "{environment}.json", environments={"staging": "stage"})
    with pytest.raises(FlagServiceUnavailable, match=r"There is no file .*stage\.json"):
        await FileFlagService(Flagd(options), options, timeout=timedelta(seconds=5)).check()
    with pytest.raises(FlagServiceUnavailable, match=r"a/b can't be part of flags\.flagd\.path: rename"):
        await FileFlagService(Flagd(options), options, timeout=timedelta(seconds=5), environment="a/b").check()


async def test_a_disk_that_hangs_is_left_in_time(files: FlagFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    again = threading.Event()

    def hang(_file: FlagFile) -> str:
        again.wait(10)
        return "{}"

    monkeypatch.setattr(FlagFile, "read", hang)
    service = files.service(timeout_s=0.05)
    for call in (service.read(REF), service.list("production"), service.write(REF, NOT_EXPOSED, expected="")):
        with pytest.raises(
            FlagServiceUnavailable, match=r"did not answer within 0\.05 s: see whether its disk is there"
        ):
            await call
    again.set()


async def test_threads_that_hang_elsewhere_keep_nobody_from_the_file(files: FlagFiles) -> None:
    files.define(REF)
    again, loop = threading.Event(), asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as small:
        loop.set_default_executor(small)
        hanging = loop.run_in_executor(None, again.wait, 10)
        service = files.service(control="old", treatment="new", timeout_s=2)
        try:
            await service.write(REF, NOT_EXPOSED, expected=(await service.read(REF)).version)
        finally:
            again.set()
            await hanging


async def test_reads_that_hang_keep_no_write_from_the_file(files: FlagFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    files.define(REF)
    service = files.service(control="old", treatment="new", timeout_s=2)
    again, hangs, really = threading.Event(), FlagFile(files.path("staging")), FlagFile.read

    def read(file: FlagFile) -> str:
        if file == hangs:
            again.wait(10)
        return really(file)

    monkeypatch.setattr(FlagFile, "read", read)
    hanging = [asyncio.create_task(service.read(STAGING)) for _ in range(50)]
    try:
        await asyncio.sleep(0)
        with urgently():
            version = (await service.read(REF)).version
        await service.write(REF, NOT_EXPOSED, expected=version)
    finally:
        again.set()
        await asyncio.gather(*hanging, return_exceptions=True)


async def test_what_is_closed_lets_go_of_its_threads(files: FlagFiles) -> None:
    files.define(REF)
    service, before = files.service(), set(threading.enumerate())
    await service.read(REF)
    [thread] = set(threading.enumerate()) - before
    await close(service)
    thread.join(5)
    assert not thread.is_alive()


async def test_a_lock_that_is_held_is_named(files: FlagFiles) -> None:
    files.define(REF)
    version = (await files.service().read(REF)).version
    hasty = files.service(timeout_s=0.2)
    with (files.folder / ".production.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(FlagServiceUnavailable, match="another process has it locked"):
            await hasty.write(REF, NOT_EXPOSED, expected=version)


async def test_a_write_prepared_before_a_change_by_hand_is_refused(files: FlagFiles) -> None:
    files.define(REF)
    service = files.service(control="old", treatment="new")
    state = await service.read(REF)
    text = files.path().read_text()
    files.path().write_text(text.replace('"ENABLED"', '"DISABLED"'))
    with pytest.raises(FlagVersionConflict):
        await service.write(REF, Exposure(percent=50), expected=state.version)
    files.define(FlagRef("another", "production"))
    off = await service.read(REF)
    await service.write(REF, Exposure(percent=50), expected=off.version)
    assert {one.ref.flag for one in await service.list("production")} == {"checkout", "another"}


OF_FLAGD = """flags:
  checkout:
    state: ENABLED
    variants: {old: classic, new: express}
    defaultVariant: old
    targeting: &lent {fractional: [[new, 50], [old, 50]]}
  other:
    state: ENABLED
    variants: {old: classic, new: express}
    defaultVariant: old
    targeting: *lent
"""
OF_GO_FEATURE_FLAG = """checkout:
  variations: {old: classic, new: express}
  defaultRule: &lent {percentage: {new: 50, old: 50}}
other:
  variations: {old: classic, new: express}
  defaultRule: *lent
"""
LENDING = [(Flagd, OF_FLAGD), (GoFeatureFlag, OF_GO_FEATURE_FLAG)]
LENT_WHOLE = [
    (
        Flagd,
        OF_FLAGD.split("  other:")[0].replace("checkout:", "checkout: &all").replace("&lent ", "") + "  other: *all\n",
    ),
    (
        GoFeatureFlag,
        OF_GO_FEATURE_FLAG.split("other:")[0].replace("checkout:", "checkout: &all").replace("&lent ", "")
        + "other:\n  <<: *all\n",
    ),
]
OTHER = FlagRef("other", "production")
HALF = Exposure(percent=50)


def written(folder: Path, kind: type[Any], text: str) -> FlagFiles:
    """A file of flags as people wrote it."""
    files = FlagFiles(folder, ".yaml", kind)
    files.path().write_text(text)
    return files


@pytest.mark.parametrize(("kind", "text"), LENDING + LENT_WHOLE)
@pytest.mark.parametrize("percent", [0, 10])
async def test_a_flag_that_lends_parts_is_named_and_only_switched_off(
    tmp_path: Path, kind: type[Any], text: str, percent: float
) -> None:
    service = written(tmp_path, kind, text).service(control="old", treatment="new")
    state = await service.read(REF)
    assert "'checkout' shares parts with other values" in state.obstacle
    assert (state.exposure, (await service.list("production"))[0]) == (HALF, state)
    with pytest.raises(NotSettable, match="shares parts with other values"):
        await service.write(REF, Exposure(percent=60), expected=state.version)
    assert (await service.read(REF)) == state
    await service.write(REF, Exposure(percent=percent), expected=state.version)
    assert [one.exposure for one in await service.list("production")] == [NOT_EXPOSED, HALF]


@pytest.mark.parametrize(("kind", "text"), LENDING)
async def test_a_flag_that_borrows_parts_is_set_like_any_other(tmp_path: Path, kind: type[Any], text: str) -> None:
    service = written(tmp_path, kind, text).service(control="old", treatment="new")
    for percent in (60, 0):
        state = await service.read(OTHER)
        assert not state.obstacle
        await service.write(OTHER, Exposure(percent=percent), expected=state.version)
        assert [one.exposure for one in await service.list("production")] == [HALF, Exposure(percent=percent)]


@pytest.mark.parametrize(("kind", "text"), LENDING)
async def test_what_is_lent_and_never_set_is_no_obstacle(tmp_path: Path, kind: type[Any], text: str) -> None:
    own = text.replace("&lent ", "").replace("*lent", "{}")
    lent = own.replace("{old: classic", "&both {old: classic", 1)
    first, _, last = lent.rpartition("{old: classic, new: express}")
    service = written(tmp_path, kind, f"{first}*both{last}").service(control="old", treatment="new")
    state = await service.read(REF)
    assert not state.obstacle
    await service.write(REF, Exposure(percent=60), expected=state.version)
    assert (await service.read(REF)).exposure == Exposure(percent=60)


@pytest.mark.parametrize(("kind", "text"), LENDING)
async def test_a_file_with_a_byte_order_mark_is_set_like_any_other(tmp_path: Path, kind: type[Any], text: str) -> None:
    plain = text.replace("&lent ", "").replace("*lent", "{}")
    files = written(tmp_path, kind, "\ufeff" + plain)
    service = files.service(control="old", treatment="new")
    for percent in (60, 0):
        state = await service.read(REF)
        assert not state.obstacle
        await service.write(REF, Exposure(percent=percent), expected=state.version)
        assert (await service.read(REF)).exposure == Exposure(percent=percent)
    assert files.path().read_text().startswith("\ufeff")


@pytest.mark.parametrize(("kind", "text"), LENDING)
async def test_nobody_in_shadow_is_always_to_be_had(tmp_path: Path, kind: type[Any], text: str) -> None:
    live = (
        text.replace("new: express}", "new: express, shadow: express}", 1).replace("&lent ", "").replace("*lent", "{}")
    )
    service = written(tmp_path, kind, live).service(control="old", treatment="new")
    state = await service.read(REF)
    await service.write(REF, Exposure(percent=0, mode=Mode.SHADOW), expected=state.version)
    assert (await service.read(REF)).exposure == NOT_EXPOSED


@pytest.mark.parametrize("kind", [Flagd, GoFeatureFlag])
async def test_attributes_of_audiences_may_be_called_otherwise(tmp_path: Path, kind: type[Any]) -> None:
    files = FlagFiles(tmp_path, ".yaml", kind)
    files.define(REF)
    service = files.service(control="old", treatment="new", tenant_field="company.id", region_field="zone")
    exposure = Exposure(percent=10, audience=Audience(tenants=("a", "b"), regions=("eu",)))
    await service.write(REF, exposure, expected=(await service.read(REF)).version)
    assert (await service.read(REF)).exposure == exposure
    assert "company.id" in files.path().read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": Path("flags.toml")}, r"name a file that ends in \.json, \.yaml, \.yml"),
        ({"control": "on"}, "must be three different names"),
        ({"shadow_variant": "off"}, "must be three different names"),
        ({"tenant_field": "region"}, "must be two different attributes"),
        ({"tenant_field": 'a" or true'}, "pattern"),
        ({"environments": {"staging": "../x"}}, "pattern"),
    ],
)
def test_settings_that_will_not_do(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        GoFeatureFlagOptions(**options)


@pytest.mark.parametrize(("kind", "options"), [(Flagd, FlagdOptions()), (GoFeatureFlag, GoFeatureFlagOptions())])
def test_a_path_that_is_missing_is_named(kind: type[Any], options: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{kind.setting}.path is not set: name the file of your flags"):
        FileFlagService(kind(options), options, timeout=timedelta(seconds=1))

"""The command line over files of flags: what is there, what can be taken over, what the doctor says."""

from pathlib import Path
from typing import Any

import pytest

from tests.flag_files import NEW, FlagFiles
from tests.integration.cli.conftest import Sluice
from tools.flags.base import FlagRef
from tools.flags.files.flagd import Flagd
from tools.flags.files.gofeatureflag import GoFeatureFlag

KINDS: dict[str, tuple[type[Flagd] | type[GoFeatureFlag], str, dict[str, Any], str]] = {
    "flagd": (Flagd, ".json", {"targeting": {"$ref": "us"}}, "its targeting is not one share for one audience"),
    "gofeatureflag": (GoFeatureFlag, ".yaml", {"experimentation": {"start": "x"}}, "its experimentation would change"),
}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def files(shop: Path, kind: str) -> FlagFiles:
    """A file with a flag that can be taken over, and one that can't."""
    written, suffix, parts, _ = KINDS[kind]
    made = FlagFiles(shop, suffix, written)
    made.define(FlagRef("banner", "production"), NEW[written] | {"metadata": {"description": "A banner."}})
    made.define(FlagRef("search", "production"), NEW[written] | parts)
    settings = f'\n[flags]\ntype = "{kind}"\n\n[flags.{kind}]\npath = "{{environment}}{suffix}"\n'
    (shop / "sluice.toml").write_text((shop / "sluice.toml").read_text() + settings)
    return made


def test_flags_are_listed_and_taken_over(files: FlagFiles, kind: str, sluice: Sluice, shop: Path) -> None:
    before, why = files.path().read_text(), KINDS[kind][-1]
    ran = sluice("flags", "list")
    assert ran.status == 0, ran.err
    assert "banner  0 %" in ran.out
    assert f"search can't be set by Sluice: {why}" in ran.out
    ran = sluice("flags", "import")
    assert ran.status == 0, ran.err
    assert "wrote specs/banner.md" in ran.out
    assert f"none: {why}" in ran.out
    assert (shop / "specs" / "banner.md").read_text() == "---\nflag: banner\n---\n# banner\n\nA banner.\n"
    assert not (shop / "specs" / "search.md").exists()
    assert "There are no flags in staging" in sluice("flags", "list", "--env", "staging").out
    assert files.path().read_text() == before


def test_a_flag_is_made_in_its_file(files: FlagFiles, kind: str, sluice: Sluice) -> None:
    ran = sluice("flags", "create", "promo", "--control", "a", "--treatment", "b")
    assert ran.status == 1
    assert f"Flags of '{kind}' are made there, not by Sluice." in ran.err


def test_the_doctor_asks_harmlessly_and_says_the_fix(files: FlagFiles, kind: str, sluice: Sluice) -> None:
    before = {one.name: one.read_bytes() for one in files.folder.iterdir() if one.name.startswith("production")}
    assert f"{kind} answers, services see a change within" in sluice("doctor").out
    assert {one.name: one.read_bytes() for one in files.folder.iterdir() if one.name.startswith("production")} == before
    files.path().write_text("{")
    assert "Mend it: until then services keep what they read before." in sluice("doctor").out
    files.path().unlink()
    assert f"There is no file production{files.suffix}: set its path, or make it." in sluice("doctor").out

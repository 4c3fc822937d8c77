"""The folder around the files: links, hidden files, and what can't be read."""

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tools.errors import ConfigurationError
from tools.specs import folder as folder_module
from tools.specs.base import InvalidSpec, SpecNotFound, SpecSourceUnavailable
from tools.specs.documents import LARGEST
from tools.specs.folder import FolderSpecSource
from tools.specs.markdown import MAX_BYTES
from tools.specs.memory import MemorySpecSource
from tools.specs.options import SpecSourceOptions
from tools.specs.registry import create_spec_source

SPEC = "---\nflag: a\n---\n# A\n"


async def test_files_below_are_found_and_hidden_ones_are_not(tmp_path: Path) -> None:
    for name in ("deep/er/a.md", ".git/b.md", ".b.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(SPEC.replace("flag: a", f"flag: {Path(name).stem}"))
    source = FolderSpecSource(tmp_path)
    assert await source.list() == ["a"]
    assert (await source.read("a")).source == (tmp_path / "deep/er/a.md").as_posix()


async def test_a_link_that_leads_out_is_refused_and_one_that_stays_is_followed(tmp_path: Path) -> None:
    outside, inside = tmp_path / "secret.md", tmp_path / "specs"
    inside.mkdir()
    outside.write_text(SPEC)
    (inside / "out.md").symlink_to(outside)
    with pytest.raises(SpecNotFound, match=r"out\.md: it is a link that leads out"):
        await FolderSpecSource(inside).read("a")
    (inside / "in.md").symlink_to(inside / "real.txt")
    (inside / "real.txt").write_text(SPEC)
    assert (await FolderSpecSource(inside).read("a")).title == "A"


async def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.md").write_text(SPEC)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert await FolderSpecSource(tmp_path / "link").list() == ["a"]


async def test_what_is_no_readable_file_is_named_in_the_log(tmp_path: Path) -> None:
    (tmp_path / "folder.md").mkdir()
    (tmp_path / "gone.md").symlink_to(tmp_path / "nowhere.md")
    (tmp_path / "loop.md").symlink_to(tmp_path / "loop.md")
    os.mkfifo(tmp_path / "pipe.md")
    with capture_logs() as logs:
        assert await FolderSpecSource(tmp_path).list() == []
    problems = sorted(Path(entry["problem"].partition(":")[0]).name for entry in logs)
    assert problems == ["folder.md", "gone.md", "loop.md", "pipe.md"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("odd.md", "---\nflag: odd\nx: 1" + ":59" * 300 + ".5\n---\n# Odd\n"),
        ("odd.json", '{"openapi": "3.1.0", "paths": {"/a": {"get": {"maximum": 1e400}}}}'),
        ("odd.json", '{"openapi": "3.1.0", "info": {"description": "\\ud800"}, "paths": {}}'),
    ],
)
async def test_an_odd_file_keeps_no_other_from_being_read(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / "a.md").write_text(SPEC)
    (tmp_path / name).write_text(content)
    source = FolderSpecSource(tmp_path)
    await source.check()
    assert (await source.read("a")).title == "A"
    with capture_logs() as logs:
        assert await source.list() == ["a"]
    assert [name in entry["problem"] for entry in logs] == [True]


async def test_a_file_past_the_limit_is_named(tmp_path: Path) -> None:
    (tmp_path / "big.md").write_text(SPEC + "x" * MAX_BYTES)
    with pytest.raises(SpecNotFound, match=r"big\.md: the file is larger"):
        await FolderSpecSource(tmp_path).read("a")


async def test_only_what_may_be_a_spec_is_too_large_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "package-lock.json").write_text('{"packages": "' + "x" * LARGEST + '"}')
    (tmp_path / "page.html").write_text("<p>" + "x" * LARGEST)
    with capture_logs() as logs:
        assert await FolderSpecSource(tmp_path).list() == []
    assert [entry["problem"].partition("page.html: ")[2] for entry in logs] == ["the file is larger than 4 MB."]


async def test_a_missing_folder_says_what_to_check(tmp_path: Path) -> None:
    for source in (FolderSpecSource(tmp_path / "missing"), FolderSpecSource(Path(__file__))):
        with pytest.raises(SpecSourceUnavailable, match=r"specs\.path"):
            await source.check()


async def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "MAX_FILES", 1)
    for name in ("a.md", "b.md"):
        (tmp_path / name).write_text(SPEC)
    with pytest.raises(SpecSourceUnavailable, match="more than 1 files"):
        await FolderSpecSource(tmp_path).check()


async def test_many_broken_files_are_named_in_part(tmp_path: Path) -> None:
    for n in range(5):
        (tmp_path / f"{n}.md").write_text("---\nflag: [\n---\n")
    with pytest.raises(SpecNotFound, match="And 2 more"):
        await FolderSpecSource(tmp_path).read("a")


async def test_sources_are_made_by_name(tmp_path: Path) -> None:
    assert isinstance(create_spec_source(SpecSourceOptions(path=str(tmp_path))), FolderSpecSource)
    assert isinstance(create_spec_source(SpecSourceOptions(type="memory")), MemorySpecSource)
    with pytest.raises(ConfigurationError, match="folder, memory"):
        create_spec_source(SpecSourceOptions(type="wiki"))


async def test_an_invalid_spec_is_named_as_the_folder_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("---\nflag: a\nowner: 7\n---\n# A\n")
    with pytest.raises(InvalidSpec, match=r"a\.md: 'owner': input should be a valid string"):
        await FolderSpecSource(tmp_path).read("a")

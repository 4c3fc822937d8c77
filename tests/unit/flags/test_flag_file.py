"""A file is replaced whole, in order, by one at a time, and nothing of it is lost."""

import fcntl
import os
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tools.flags.base import FlagServiceUnavailable, FlagVersionConflict
from tools.flags.files import store
from tools.flags.files.store import FlagFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "flags.json"
    file.write_text("before\r\nas it was\n", newline="")
    return file


def _soon() -> float:
    return time.monotonic() + 5


def _to(text: str) -> Callable[[str], str]:
    return lambda _before: text


def test_reads_and_replaces_with_line_ends_as_they_are(path: Path) -> None:
    FlagFile(path).replace(lambda text: text + "é\r\n", _soon())
    assert FlagFile(path).read() == "before\r\nas it was\né\r\n"
    assert path.read_bytes().endswith("é\r\n".encode())


def test_who_may_read_it_still_may(path: Path) -> None:
    path.chmod(0o640)
    os.chown(path, -1, 4321)
    FlagFile(path).replace(_to("after"), _soon())
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_gid) == (0o640, 4321)


def test_who_may_not_give_files_away_keeps_them(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_args: object) -> None:
        raise PermissionError

    monkeypatch.setattr(store.os, "fchown", refused)
    FlagFile(path).replace(_to("after"), _soon())
    assert path.read_text() == "after"


def test_a_link_stays_and_what_it_leads_to_is_replaced(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "flags.json"
    link.parent.mkdir()
    link.symlink_to("../flags.json")
    FlagFile(link).replace(_to("after"), _soon())
    assert link.is_symlink()
    assert path.read_text() == "after"
    assert sorted(one.name for one in link.parent.iterdir()) == ["flags.json"]


def test_is_on_the_disk_before_it_takes_the_name_and_so_is_the_name(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed, really = list[tuple[str, str]](), os.fsync

    def fsync(number: int) -> None:
        flushed.append((Path(f"/proc/self/fd/{number}").readlink().name, path.read_text()))
        really(number)

    monkeypatch.setattr(store.os, "fsync", fsync)
    path.write_text("before")
    FlagFile(path).replace(_to("after"), _soon())
    assert flushed == [(".flags.json.new", "before"), (path.parent.name, "after")]


def test_looks_newer_each_time_however_fast_and_whatever_the_clock(path: Path) -> None:
    ahead = time.time_ns() + 3_600_000_000_000
    os.utime(path, ns=(ahead, ahead))
    seen = [path.stat().st_mtime]
    for number in range(20):
        FlagFile(path).replace(_to(str(number)), _soon())
        seen.append(path.stat().st_mtime)
    assert seen == sorted(set(seen))


def test_what_a_killed_process_left_behind_is_written_over(path: Path) -> None:
    (path.parent / ".flags.json.new").write_text("half of a longer one than this")
    FlagFile(path).replace(_to("after"), _soon())
    assert path.read_text() == "after"
    assert not (path.parent / ".flags.json.new").exists()


def test_what_fails_leaves_the_file_as_it_was(path: Path) -> None:
    def change(_text: str) -> str:
        raise FlagVersionConflict("not now")

    with pytest.raises(FlagVersionConflict):
        FlagFile(path).replace(change, _soon())
    assert path.read_bytes() == b"before\r\nas it was\n"


@pytest.mark.parametrize("by_hand", ["in place", "by another file"])
def test_what_others_save_meanwhile_is_not_lost(path: Path, by_hand: str) -> None:
    def change(_text: str) -> str:
        if by_hand == "in place":
            path.write_text("theirs")
        else:
            other = path.with_suffix(".other")
            other.write_text("theirs")
            other.replace(path)
        return "ours"

    with pytest.raises(FlagVersionConflict, match=r"flags\.json was changed by others meanwhile"):
        FlagFile(path).replace(change, _soon())
    assert path.read_text() == "theirs"
    assert not (path.parent / ".flags.json.new").exists()


def test_one_at_a_time(path: Path) -> None:
    path.write_text("0")

    def count(text: str) -> str:
        time.sleep(0)
        return str(int(text) + 1)

    threads = [threading.Thread(target=FlagFile(path).replace, args=(count, _soon())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() == "20"


def test_a_reader_never_has_half_of_it(path: Path) -> None:
    texts = [letter * 300_000 for letter in "ab"]
    path.write_text(texts[0])
    seen, done = set[str](), threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.add(FlagFile(path).read())

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(30):
        FlagFile(path).replace(_to(texts[number % 2]), _soon())
    done.set()
    reader.join()
    assert seen <= set(texts)


def test_a_lock_that_another_process_holds_is_waited_for_in_vain(path: Path) -> None:
    lock = os.open(path.parent / ".flags.json.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(FlagServiceUnavailable, match="another process has it locked"):
        FlagFile(path).replace(_to("after"), time.monotonic() + 0.02)
    os.close(lock)
    assert path.read_bytes() == b"before\r\nas it was\n"


def test_a_disk_that_is_too_slow_changes_nothing_late(path: Path) -> None:
    deadline = time.monotonic() + 0.02

    def change(_text: str) -> str:
        while time.monotonic() < deadline:
            time.sleep(0.005)
        return "late"

    with pytest.raises(FlagServiceUnavailable, match="its disk is slow"):
        FlagFile(path).replace(change, deadline)
    assert not (path.parent / ".flags.json.new").exists()
    assert path.read_bytes() == b"before\r\nas it was\n"


def test_what_cannot_be_read_is_named(path: Path) -> None:
    path.write_bytes(b"abc\xff")
    with pytest.raises(FlagServiceUnavailable, match=r"flags\.json can't be read: its byte 3 is not UTF-8"):
        FlagFile(path).read()
    with pytest.raises(FlagServiceUnavailable, match=r"can.t be read \(Is a directory\)"):
        FlagFile(path.parent).read()
    os.mkfifo(path.with_name("pipe.json"))
    with pytest.raises(FlagServiceUnavailable, match=r"pipe\.json is no file"):
        FlagFile(path.with_name("pipe.json")).read()
    with pytest.raises(FlagServiceUnavailable, match=r"can't be read \(Not a directory\)"):
        FlagFile(path / "flags.json").read()
    with pytest.raises(FileNotFoundError):
        FlagFile(path.with_name("nowhere.json")).read()


def test_what_is_no_file_of_flags_is_not_read_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_BYTES", 10)
    with pytest.raises(FlagServiceUnavailable, match="is it the right file"):
        FlagFile(path).read()


def test_a_place_where_nothing_can_be_written_is_named(path: Path) -> None:
    # What is in the way can't be written over, whoever one is.
    (path.parent / ".flags.json.new").mkdir()
    with pytest.raises(FlagServiceUnavailable, match=r"can't be replaced \(Is a directory\): Sluice must be allowed"):
        FlagFile(path).replace(_to("after"), _soon())


def test_a_check_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FlagFile(path).check()
    assert [one.name for one in path.parent.iterdir()] == ["flags.json"]
    monkeypatch.setattr(store.os, "access", lambda *_args: False)
    with pytest.raises(FlagServiceUnavailable, match=r"let Sluice write to /.*, for the file is replaced as a whole"):
        FlagFile(path).check()
    path.unlink()
    with pytest.raises(FlagServiceUnavailable, match="There is no file"):
        FlagFile(path).check()
    with suppress(FileNotFoundError):
        FlagFile(path).replace(_to("after"), _soon())
    assert not path.exists()

"""A file that people and other programs read and write too: read whole, replaced whole.

Who replaces it holds a lock beside it and looks whether it is still what was read. A reader has the file before or
after, never a half of it: the new one is written beside it, flushed to the disk, and takes its name in one step.
"""

import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tools.flags.base import FlagServiceUnavailable, FlagVersionConflict

MOST_BYTES = 16 * 1024 * 1024
LOOK_EVERY_S = 0.005
TICK_NS = 1_000_000
"""By how much a file must be newer than the one before it for readers that compare times as floating point numbers."""


@dataclass(frozen=True, slots=True)
class FlagFile:
    """The file at `path`, which may be a link: then what it leads to is replaced, and the link stays.

    Calls block; `deadline` is when to give up, as `time.monotonic` counts. All raise FlagServiceUnavailable.
    """

    path: Path

    def read(self) -> str:
        """The text, with its line ends as they are. Raises FileNotFoundError where there is no file."""
        return self._read()[0]

    def replace(self, change: Callable[[str], str], deadline: float) -> None:
        """Put what `change` makes of the text in its place. Raises FlagVersionConflict, and what `change` raises.

        Permissions stay, and so do owner and group as far as this process may give files away.
        """
        try:
            folder, name = os.path.split(self.path.resolve(strict=True))
            with self._locked(Path(folder), name, deadline):
                text, before = self._read()
                beside = Path(folder, f".{name}.new")
                changed = change(text)
                with _removed_unless_swapped(beside):
                    self._write(beside, changed, before)
                    self._swap(beside, Path(folder, name), before, deadline)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise FlagServiceUnavailable(
                f"{self.path} can't be replaced ({error.strerror}): Sluice must be allowed to write to its folder, "
                "which must be on a disk with room."
            ) from None

    def check(self) -> None:
        """Return when the file can be read and replaced."""
        try:
            self.read()
        except FileNotFoundError:
            raise FlagServiceUnavailable(f"There is no file {self.path}: set its path, or make it.") from None
        folder = self.path.resolve().parent
        if not os.access(folder, os.W_OK | os.X_OK):
            raise FlagServiceUnavailable(
                f"{self.path} can't be replaced: let Sluice write to {folder}, for the file is replaced as a whole."
            )

    def _read(self) -> tuple[str, os.stat_result]:
        try:
            # What is no file, a pipe for instance, is opened without waiting for anybody.
            with os.fdopen(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                about = os.fstat(file.fileno())
                raw = file.read(MOST_BYTES + 1) if stat.S_ISREG(about.st_mode) else None
        except FileNotFoundError:
            raise
        except OSError as error:
            raise FlagServiceUnavailable(f"{self.path} can't be read ({error.strerror}): let Sluice read it.") from None
        if raw is None:
            raise FlagServiceUnavailable(f"{self.path} is no file: set its path.")
        if len(raw) > MOST_BYTES:
            raise FlagServiceUnavailable(f"{self.path} is larger than {MOST_BYTES // 2**20} MiB: is it the right file?")
        try:
            return raw.decode(), about
        except UnicodeDecodeError as error:
            raise FlagServiceUnavailable(
                f"{self.path} can't be read: its byte {error.start} is not UTF-8; mend the file."
            ) from None

    @contextmanager
    def _locked(self, folder: Path, name: str, deadline: float) -> Iterator[None]:
        """Hold the lock beside the file, for the file itself is another one after each replacement."""
        beside = os.open(folder / f".{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o660)
        try:
            while not _taken(beside):
                self._in_time(deadline, "another process has it locked; see what it does")
                time.sleep(LOOK_EVERY_S)
            yield
        finally:
            os.close(beside)

    def _write(self, beside: Path, text: str, before: os.stat_result) -> None:
        # One that a process left behind when it was killed is written over.
        written = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(written, "wb") as file:
            file.write(text.encode())
            file.flush()
            with suppress(PermissionError):
                os.fchown(written, before.st_uid, before.st_gid)
            os.fchmod(written, before.st_mode & 0o7777)
            now = time.time_ns()
            os.utime(written, ns=(now, max(now, before.st_mtime_ns + TICK_NS)))
            os.fsync(written)

    def _swap(self, beside: Path, path: Path, before: os.stat_result, deadline: float) -> None:
        now = path.stat()
        if (now.st_ino, now.st_mtime_ns, now.st_size) != (before.st_ino, before.st_mtime_ns, before.st_size):
            raise FlagVersionConflict(f"{self.path} was changed by others meanwhile; read it again before writing.")
        self._in_time(deadline, "its disk is slow")
        beside.replace(path)
        opened = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)

    def _in_time(self, deadline: float, why: str) -> None:
        if time.monotonic() >= deadline:
            raise FlagServiceUnavailable(f"{self.path} could not be replaced in time: {why}.")


@contextmanager
def _removed_unless_swapped(beside: Path) -> Iterator[None]:
    try:
        yield
    finally:
        # In the file's place it has that one's name.
        with suppress(OSError):
            beside.unlink()


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

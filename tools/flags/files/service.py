"""A file as a flag service: what is asked is read from it anew, what is set replaces it.

A flag's version is a hash of its entry, in which every write of Sluice's leaves a mark of its own: a write prepared
before another is refused under the file's lock, so that Sluice's writes compare and set. People's editors know no lock;
what they save between the look and the replacement, a matter of microseconds, would be lost.
"""

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Protocol, TypeVar

from tools.errors import ConfigurationError
from tools.flags.base import (
    Capabilities,
    FlagNotFound,
    FlagRef,
    FlagServiceUnavailable,
    FlagState,
    FlagVersionConflict,
    NotSettable,
    check_granularity,
    check_settable,
)
from tools.flags.files.entries import BadEntry, Entry, NotOurs, Served
from tools.flags.files.json_text import JsonText
from tools.flags.files.options import PLACE, FileOptions
from tools.flags.files.store import FlagFile
from tools.flags.files.text import NotEditable, NotReadable, Syntax, edited, edited_at_any_price
from tools.flags.files.yaml_text import YamlText
from tools.flags.urgency import is_urgent, urgently
from tools.plans.model import PERCENT_STEP, Audience, Exposure

THREADS = 4
THREAD = "sluice-flag-files"
LOCKED_SHARE = 0.9
"""Of a call's time, how much may go by until the file is replaced: who waits for a lock in vain can still say so."""
TRIALS = (Exposure(percent=50), Exposure(percent=50, audience=Audience(tenants=("any",))))
"""What a flag whose text may not be editable is tried with: between them they change each part that writes do."""
T = TypeVar("T")


class Format(Protocol):
    """How a vendor writes flags into a file. `setting` is the table of its options."""

    setting: str

    def entries(self, document: object) -> Mapping[str, Entry]:
        """The flags of the file by name. Raises BadEntry."""
        ...

    def place(self, flag: str) -> tuple[str, ...]:
        """Where the flag is in the file."""
        ...

    def served(self, entry: Entry) -> Served:
        """What the entry serves now."""
        ...

    def changed(self, entry: Entry, exposure: Exposure, write: str) -> Entry:
        """The entry that serves the exposure, marked with the write. Raises NotOurs."""
        ...

    def switched_off(self, entry: Entry, write: str) -> Entry:
        """The entry that serves nobody, marked with the write."""
        ...


class FileFlagService:
    """The FlagService over files in a format. `close` lets go of its threads.

    They are its own, and those of writes and of what is urgent are others than those of reads: no rollback waits behind
    reads that hang, or behind what the process has to do besides.
    """

    def __init__(
        self,
        written: Format,
        options: FileOptions,
        *,
        timeout: timedelta,
        environment: str | None = None,
    ) -> None:
        """`environment` is whose flags a single file has. Raises ConfigurationError."""
        if options.path is None:
            raise ConfigurationError(f"{written.setting}.path is not set: name the file of your flags.")
        self._format = written
        self._options = options
        self._timeout_s = timeout.total_seconds()
        self._environment = environment
        self._syntax: Syntax = JsonText() if options.path.suffix == ".json" else YamlText()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=THREAD)
        self._urgent_threads = ThreadPoolExecutor(THREADS, thread_name_prefix=f"{THREAD}-urgent")

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            compare_and_set=True,
            granularity=PERCENT_STEP,
            audiences=True,
            shadow=True,
            read_back_delay=self._options.sdk_refresh,
            environments=self._options.environments,
        )

    async def close(self) -> None:
        """Let go of the threads, and wait for none that hangs."""
        for threads in (self._threads, self._urgent_threads):
            threads.shutdown(wait=False, cancel_futures=True)

    async def read(self, ref: FlagRef) -> FlagState:
        path = self._path_of(ref)
        return await self._bounded(lambda: self._told(ref, path))

    async def write(self, ref: FlagRef, exposure: Exposure, *, expected: str) -> None:
        check_granularity(exposure, self.capabilities)
        path, deadline = self._path_of(ref), time.monotonic() + self._timeout_s * LOCKED_SHARE

        def put() -> None:
            self._text(ref, path)
            FlagFile(path).replace(lambda text: self._changed(ref, path, text, exposure, expected), deadline)

        with urgently():
            await self._bounded(put)

    async def list(self, environment: str) -> Sequence[FlagState]:
        path = self._path(environment)
        return [] if path is None else await self._bounded(lambda: self._states(environment, path))

    async def check(self) -> None:
        await self._bounded(self._check)

    def _check(self) -> None:
        for environment in self._options.environments if self._environment is None else [self._environment]:
            path = self._path(environment)
            if path is None:
                raise FlagServiceUnavailable(
                    f"{environment} can't be part of {self._format.setting}.path: rename it there."
                )
            FlagFile(path).check()
            self._states(environment, path)

    def _states(self, environment: str, path: Path) -> Sequence[FlagState]:
        try:
            text = FlagFile(path).read()
        except FileNotFoundError:
            if self._options.of_all:
                return []
            raise self._gone(path) from None
        entries = self._entries(text, path)
        refs = [FlagRef(flag, environment) for flag in sorted(entries)]
        return self._tried(text, [(entries[ref.flag], self._state(ref, entries[ref.flag])) for ref in refs])

    def _told(self, ref: FlagRef, path: Path) -> FlagState:
        text = self._text(ref, path)
        [state] = self._tried(text, [self._found(ref, text, path)])
        return state

    def _tried(self, text: str, found: Sequence[tuple[Entry, FlagState]]) -> Sequence[FlagState]:
        """The states, each with its obstacle where the text can't be edited: no rollout shall find out amid its way."""
        doubtful: Container[str] = ()
        if found:
            doubtful = self._syntax.doubtful(text, self._format.place(found[0][1].ref.flag)[:-1])
        return [
            replace(state, obstacle=self._uneditable(text, state.ref.flag, entry))
            if state.ref.flag in doubtful and not state.obstacle
            else state
            for entry, state in found
        ]

    def _uneditable(self, text: str, flag: str, entry: Entry) -> str:
        """Why the entry can't be edited; empty where it can."""
        try:
            for trial in TRIALS:
                edited(self._syntax, text, self._format.place(flag), self._format.changed(entry, trial, ""))
        except (NotOurs, NotEditable) as reason:
            return str(reason)
        return ""

    def _path_of(self, ref: FlagRef) -> Path:
        path = self._path(ref.environment)
        if path is None:
            raise FlagNotFound(
                f"There is no flag {ref}: {self._format.setting}.path has the flags of {self._environment}; with "
                f"{PLACE} in it each environment has its own file."
            )
        return path

    def _path(self, environment: str) -> Path | None:
        """The environment's file; None where it can have none."""
        if not self._options.of_all and self._environment not in (None, environment):
            return None
        return self._options.path_of(environment)

    def _text(self, ref: FlagRef, path: Path) -> str:
        try:
            return FlagFile(path).read()
        except FileNotFoundError:
            if self._options.of_all:
                raise FlagNotFound(f"There is no flag {ref}: there is no file {path}.") from None
            raise self._gone(path) from None

    def _gone(self, path: Path) -> FlagServiceUnavailable:
        return FlagServiceUnavailable(
            f"There is no file {path}: set {self._format.setting}.path, or put the file back."
        )

    def _changed(self, ref: FlagRef, path: Path, text: str, exposure: Exposure, expected: str) -> str:
        entry, state = self._found(ref, text, path)
        if state.version != expected:
            raise FlagVersionConflict(
                f"Flag {ref} is at version {state.version}, not {expected}; read it again before writing."
            )
        lowers = exposure.percent == 0 or exposure.percent < state.exposure.percent
        try:
            return edited(self._syntax, text, self._format.place(ref.flag), self._next(entry, state, exposure, lowers))
        except (NotOurs, NotEditable) as reason:
            if not lowers:
                raise _not_settable(ref, reason) from None
        try:
            # Who takes exposure back gives up comments rather than to leave people exposed.
            return edited_at_any_price(self._syntax, text, self._format.place(ref.flag), self._switched_off(entry))
        except NotEditable as reason:
            raise _not_settable(ref, reason) from None

    def _found(self, ref: FlagRef, text: str, path: Path) -> tuple[Entry, FlagState]:
        entries = self._entries(text, path)
        if ref.flag not in entries:
            raise FlagNotFound(f"There is no flag {ref} in {path}.")
        return entries[ref.flag], self._state(ref, entries[ref.flag])

    def _state(self, ref: FlagRef, entry: Entry) -> FlagState:
        """What the entry serves. `version` changes with every part of it, whoever changes it."""
        served = self._format.served(entry)
        written = json.dumps(entry, sort_keys=True, default=str)
        version = hashlib.sha256(written.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return FlagState(
            ref, served.exposure, version, served.control, served.treatment, served.description, served.obstacle
        )

    def _entries(self, text: str, path: Path) -> Mapping[str, Entry]:
        try:
            return self._format.entries(self._syntax.parsed(text))
        except NotReadable as reason:
            raise FlagServiceUnavailable(
                f"{path} can't be read: {reason}. Mend it: until then services keep what they read before."
            ) from None
        except BadEntry as reason:
            raise FlagServiceUnavailable(f"{path} {reason}: mend it, for services may refuse the whole file.") from None

    def _next(self, entry: Entry, state: FlagState, exposure: Exposure, lowers: bool) -> Entry:
        if not state.obstacle:
            return self._format.changed(entry, exposure, _mark())
        if not lowers:
            check_settable(state)
        return self._switched_off(entry)

    def _switched_off(self, entry: Entry) -> Entry:
        """The entry that serves nobody, which is less than any exposure asked for."""
        return self._format.switched_off(entry, _mark())

    async def _bounded(self, work: Callable[[], T]) -> T:
        threads = self._urgent_threads if is_urgent() else self._threads
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.get_running_loop().run_in_executor(threads, work)
        except TimeoutError:
            raise FlagServiceUnavailable(
                f"{self._options.path} did not answer within {self._timeout_s:g} s: see whether its disk is there."
            ) from None


def _mark() -> str:
    """What tells a write from all others."""
    return secrets.token_hex(4)


def _not_settable(ref: FlagRef, reason: Exception) -> NotSettable:
    return NotSettable(f"Flag {ref} can't be set by Sluice: {reason}.")

"""Drafts that Sluice made in GrowthBook and did not publish: they are discarded, for nobody shall publish them later.

A draft is told by its comment, also after a restart and where the answer that names its version was lost. That also
says whose it is and until when its write may last: another process, which may be rolling back, is left alone till then.
"""

import asyncio
import re
import secrets
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import structlog

from tools.clock import Clock
from tools.flags.base import FlagRef, FlagServiceUnavailable
from tools.flags.http import FlagApi, NoSuchThing, Refusal

A_PAGE = 100
DRAFT_LEFT = "growthbook.draft_left"
SETTLED = ("published", "discarded", "pending-parent")
"""What is none that a person could publish."""
_WHOSE = re.compile(r"alone \((?P<owner>[0-9a-f]+), until (?P<until>[^ )]+)\)$")

logger = structlog.get_logger(__name__)


def path_of(ref: FlagRef) -> str:
    """Where the feature is."""
    return f"/api/v2/features/{quote(ref.flag, safe='')}"


def comment_of(room: str) -> str:
    """How what a draft for the environment says begins; `room` is what GrowthBook calls that."""
    return f"Sluice is setting {room}: this is published or discarded by Sluice alone"


class Drafts:
    """The drafts of flags. `timeout` is how long a write lasts at most, and `patience` how long it waits for its own
    draft to be discarded."""

    def __init__(self, api: FlagApi, clock: Clock, *, timeout: timedelta, patience: timedelta) -> None:
        self._api = api
        self._clock = clock
        self._timeout = timeout
        self._patience_s = patience.total_seconds()
        self._owner = secrets.token_hex(4)
        self._open: dict[FlagRef, set[int]] = {}
        self._looks_due: dict[FlagRef, int] = {}
        self._tidying: dict[FlagRef, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """End what is under way; what is left then is found again by its comment."""
        tasks = list(self._tidying.values())
        if tasks:
            await asyncio.wait(tasks, timeout=self._patience_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def comment(self, room: str) -> str:
        """What a draft says that is made now."""
        until = (self._clock.now() + self._timeout).isoformat(timespec="seconds")
        return f"{comment_of(room)} ({self._owner}, until {until})"

    async def made(self, ref: FlagRef, answer: Awaitable[Any]) -> int:
        """The version of a new draft. Raises FlagServiceUnavailable, and what the request raises."""
        due = self._due(ref)
        # Where the answer is lost, it may come to be after the first look.
        self._looks_due[ref] = 2
        version = _version(await answer, ref)
        self._looks_due[ref] = due
        self._open.setdefault(ref, set()).add(version)
        return version

    def settled(self, ref: FlagRef, version: int) -> None:
        """It was published or discarded."""
        self._open.get(ref, set()).discard(version)

    def leave(self, ref: FlagRef) -> None:
        """Discard nothing of the flag while a write is under way, which may have a draft."""
        if (task := self._tidying.pop(ref, None)) is not None:
            task.cancel()

    async def tidy(self, ref: FlagRef, room: str) -> None:
        """Discard what writes left behind, these or those of a process before; waited for a while, and then no more.

        What can't be discarded is with the next write. One that was published after all stays so.
        """
        if (task := self.tidy_later(ref, room)) is not None:
            await asyncio.wait({task}, timeout=self._patience_s)

    def tidy_later(self, ref: FlagRef, room: str) -> asyncio.Task[None] | None:
        """The same, without waiting; None where there is nothing to do."""
        if not self._due(ref) and not self._open.get(ref):
            return None
        self.leave(ref)
        task = asyncio.create_task(self._tidied(ref, room))
        self._tidying[ref] = task
        task.add_done_callback(lambda done: self._ended(ref, done))
        return task

    def _ended(self, ref: FlagRef, task: asyncio.Task[None]) -> None:
        if self._tidying.get(ref) is task:
            del self._tidying[ref]

    async def _tidied(self, ref: FlagRef, room: str) -> None:
        try:
            async with self._api.answering():
                await self._discard_open(ref)
                if due := self._due(ref):
                    found, others = await self._found(ref, room)
                    self._open.setdefault(ref, set()).update(found)
                    self._looks_due[ref] = due if others else due - 1
                    await self._discard_open(ref)
        except FlagServiceUnavailable as error:
            logger.warning(DRAFT_LEFT, flag=str(ref), versions=sorted(self._open.get(ref, ())), reason=str(error))

    def _due(self, ref: FlagRef) -> int:
        """How often it is still to be looked for drafts that no answer named."""
        return self._looks_due.get(ref, 1)

    async def _discard_open(self, ref: FlagRef) -> None:
        for version in sorted(self._open.get(ref, ())):
            await self._discard(ref, version)

    async def _found(self, ref: FlagRef, room: str) -> tuple[set[int], bool]:
        """The versions of the drafts that Sluice left, and whether another process may be about to publish one.

        The newest hundred are looked through.
        """
        query = {"limit": str(A_PAGE)}
        try:
            answer = await self._api.call("GET", f"{path_of(ref)}/revisions", repeatable=True, query=query)
        except NoSuchThing:
            # The flag is gone, or this GrowthBook does not list drafts.
            return set(), False
        rows = answer.get("revisions") if isinstance(answer, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise FlagServiceUnavailable(f"GrowthBook answered about drafts of {ref} otherwise than its API does.")
        ours = [
            row
            for row in rows
            if str(row.get("comment")).startswith(comment_of(room)) and row.get("status") not in SETTLED
        ]
        left = [row for row in ours if not self._is_anothers(str(row["comment"]))]
        return {_version({"revision": row}, ref) for row in left}, len(left) < len(ours)

    def _is_anothers(self, comment: str) -> bool:
        """Whether it is of another process whose write may still last."""
        whose = _WHOSE.search(comment)
        if whose is None or whose["owner"] == self._owner:
            return False
        try:
            # What claims to last longer than a write does was written by a clock that was wrong.
            return timedelta(0) <= datetime.fromisoformat(whose["until"]) - self._clock.now() <= 2 * self._timeout
        except (ValueError, TypeError):
            return False

    async def _discard(self, ref: FlagRef, version: int) -> None:
        try:
            await self._api.call("POST", f"{path_of(ref)}/revisions/{version}/discard", {}, repeatable=True)
        except Refusal as refusal:
            if refusal.status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
                raise
        except NoSuchThing:
            pass
        self.settled(ref, version)


def _version(answer: Any, ref: FlagRef) -> int:
    try:
        return int(answer["revision"]["version"])
    except (KeyError, TypeError, ValueError):
        raise FlagServiceUnavailable(
            f"GrowthBook answered on a draft of {ref} otherwise than its API does; see flags.growthbook.url."
        ) from None

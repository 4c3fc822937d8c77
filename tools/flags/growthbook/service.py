"""GrowthBook as a flag service, over its REST API (version 2 of features).

A write is a draft that is made of what is live, changed, and published: the rule and whether the environment is on go
live together. A draft that was not published, or may not have been, is discarded, also when the write is given up, and
else with the next one: nobody shall publish it later.

GrowthBook merges a draft with what went live since, where both can be had, so there is no compare-and-set: what
changes between a write's read and its publishing may not be noticed, late writes are watched for by whoever asked, and
writes of one process to a flag go one after another.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from tools.clock import Clock, SystemClock
from tools.flags.base import (
    ApprovalRequired,
    Capabilities,
    FlagNotFound,
    FlagRef,
    FlagServiceUnavailable,
    FlagState,
    FlagVersionConflict,
    NotSettable,
    check_granularity,
    check_settable,
    check_unchanged,
)
from tools.flags.growthbook.drafts import Drafts, path_of
from tools.flags.growthbook.options import GrowthBookOptions
from tools.flags.growthbook.rules import TEXT, Feature, Served, rule_for, served_by, version_of
from tools.flags.http import FlagApi, NoSuchThing, Refusal
from tools.plans.model import Exposure, Mode

TENTH = 0.1
A_PAGE = 100
MOST_PAGES = 100
FIXES = {
    401: "does not accept the token: set SLUICE_GROWTHBOOK_TOKEN to a secret key.",
    403: "does not allow it: the secret key's role must be allowed to edit and to publish features.",
}
EXEMPT = (
    "wants changes to be approved: switch on 'REST API always bypasses approval requirements', or give the key a role "
    "that bypasses approvals, for Sluice has approvals of its own and must be able to roll back"
)
NOT_THERE = "could not find"
GATE = re.compile(r"- \[([a-z-]+)\]")
"""What GrowthBook calls one of several reasons not to publish."""
STALE_BASE = "stale-base"
PATIENCE = 0.25
"""Of a call's time, how much a write waits for drafts to be discarded."""


@dataclass(frozen=True, slots=True)
class _Look:
    """A feature in an environment as it was read; `room` is what GrowthBook calls that."""

    ref: FlagRef
    room: str
    feature: Feature
    served: Served

    @property
    def state(self) -> FlagState:
        return FlagState(
            self.ref,
            self.served.exposure,
            version_of(self.feature, self.room),
            self.served.control,
            self.served.treatment,
            self.feature.description or "",
            obstacle=self.served.obstacle,
            depends_on=self.feature.prerequisites,
        )


class GrowthBookFlagService:
    """The FlagService over GrowthBook. `close` lets go of its connections."""

    def __init__(
        self,
        options: GrowthBookOptions,
        *,
        timeout: timedelta,
        environment: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`environment` is one that must be there for `check` to pass. Raises ConfigurationError."""
        self._options = options
        self._checked = {*options.environments, environment} - {None}
        headers = {"Authorization": f"Bearer {options.secret()}", "Accept": "application/json"}
        self._api = FlagApi("GrowthBook", options.url, headers, timeout=timeout, fixes=FIXES, transport=transport)
        self._drafts = Drafts(self._api, clock or SystemClock(), timeout=timeout, patience=timeout * PATIENCE)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            compare_and_set=False,
            granularity=TENTH,
            audiences=True,
            shadow=self._options.shadow_value is not None,
            read_back_delay=self._options.sdk_refresh,
            environments=self._options.environments,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._drafts.close()
        await self._api.close()

    async def read(self, ref: FlagRef) -> FlagState:
        async with self._api.answering():
            return (await self._look(ref)).state

    async def write(self, ref: FlagRef, exposure: Exposure, *, expected: str) -> None:
        check_granularity(exposure, self.capabilities)
        room = self._options.environment_of(ref.environment)
        async with self._api.writing(ref):
            self._drafts.leave(ref)
            try:
                look = await self._look(ref)
                check_unchanged(look.state, exposure, expected)
                await self._put(look, exposure)
            except Exception:
                await self._drafts.tidy(ref, room)
                raise
            except asyncio.CancelledError:
                # Its time is over, but a draft of it must not stay.
                self._drafts.tidy_later(ref, room)
                raise
            await self._drafts.tidy(ref, room)

    async def list(self, environment: str) -> Sequence[FlagState]:
        """A request for each hundred features."""
        room = self._options.environment_of(environment)
        async with self._api.answering():
            states = [
                look.state
                async for row in self._rows()
                if (look := self._understood(FlagRef(str(row.get("id")), environment), room, row)) is not None
            ]
        return sorted(states, key=lambda state: state.ref.flag)

    async def check(self) -> None:
        async with self._api.answering():
            answer = await self._api.call("GET", "/api/v1/environments", repeatable=True)
            await self._page(0, 1)
        rows = answer.get("environments") if isinstance(answer, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise _otherwise("about its environments")
        there = [str(row.get("id")) for row in rows]
        for environment in sorted(str(one) for one in self._checked):
            room = self._options.environment_of(environment)
            if room not in there:
                raise FlagServiceUnavailable(
                    f"GrowthBook has no environment {room!r}, only {', '.join(there) or 'none'}: name Sluice's "
                    "environments in flags.growthbook.environments."
                )

    async def _look(self, ref: FlagRef) -> _Look:
        try:
            answer = await self._api.call("GET", path_of(ref), repeatable=True)
        except (NoSuchThing, Refusal) as refusal:
            # GrowthBook answers 400 for a feature that it does not have.
            if isinstance(refusal, Refusal) and NOT_THERE not in refusal.reason.casefold():
                raise
            raise FlagNotFound(f"There is no flag {ref} in GrowthBook that the key may see.") from None
        room = self._options.environment_of(ref.environment)
        look = self._understood(ref, room, answer.get("feature") if isinstance(answer, dict) else None)
        if look is None:
            raise FlagNotFound(f"There is no flag {ref}: it is archived, or GrowthBook has no such environment.")
        return look

    def _understood(self, ref: FlagRef, room: str, row: object) -> _Look | None:
        """The feature that was answered; None where it is archived, or not in the environment."""
        try:
            feature = Feature.model_validate(row)
        except ValidationError:
            raise _otherwise(f"on {ref}") from None
        if feature.archived or room not in feature.environments:
            return None
        return _Look(ref, room, feature, served_by(feature, room, self._options))

    async def _rows(self) -> AsyncIterator[dict[str, Any]]:
        offset = 0
        for _ in range(MOST_PAGES):
            rows, more = await self._page(offset, A_PAGE)
            for row in rows:
                yield row
            if not rows or not more:
                return
            offset += len(rows)

    async def _page(self, offset: int, most: int) -> tuple[Sequence[dict[str, Any]], bool]:
        query = {"limit": str(most), "offset": str(offset)}
        try:
            answer = await self._api.call("GET", "/api/v2/features", repeatable=True, query=query)
        except NoSuchThing:
            raise FlagServiceUnavailable(
                "GrowthBook has no version 2 of its API for features there: update it, or correct flags.growthbook.url."
            ) from None
        rows = answer.get("features") if isinstance(answer, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise _otherwise("in a list")
        return rows, bool(answer.get("hasMore"))

    async def _put(self, look: _Look, exposure: Exposure) -> None:
        if look.served.obstacle:
            await self._lower_foreign(look, exposure)
        else:
            await self._set(look, exposure)

    async def _set(self, look: _Look, exposure: Exposure) -> None:
        if exposure.mode is Mode.SHADOW and (self._options.shadow_value is None or look.feature.valueType != TEXT):
            raise NotSettable(
                f"Flag {look.ref} can't serve a value for shadow stages: make it a feature of text, and set "
                "flags.growthbook.shadow_value."
            )
        version = await self._drafts.made(look.ref, self._draft(look, exposure))
        try:
            if exposure.percent > 0 and not look.feature.environments[look.room].enabled:
                body = {"environment": look.room, "enabled": True}
                await self._change(look, "POST", f"revisions/{version}/toggle", body)
            await self._change(look, "POST", f"revisions/{version}/publish", {"comment": "Set by Sluice"})
        except Refusal as refusal:
            raise _explained(look.ref, refusal) from None
        self._drafts.settled(look.ref, version)
        after = await self._look(look.ref)
        if after.served.exposure != exposure:
            raise FlagServiceUnavailable(
                f"GrowthBook does not serve {exposure} of {look.ref} as it was sent; look at the flag."
            )

    async def _draft(self, look: _Look, exposure: Exposure) -> Any:
        """What is answered on a new draft that has the exposure's rule; nobody is served it yet."""
        comment = {"revisionComment": self._drafts.comment(look.room)}
        rule = rule_for(exposure, look.served.value, secrets.token_hex(4), self._options)
        dealt = {"hashAttribute": self._options.hash_attribute}
        try:
            if look.served.rule is not None:
                where = f"revisions/new/rules/{quote(look.served.rule.id, safe='')}"
                # How people deal stays; only what is given is changed.
                change = rule if look.served.rule.hashAttribute else rule | dealt
                return await self._change(look, "PUT", where, {"rule": change} | comment)
            scope = {"type": "rollout", "allEnvironments": False, "environments": [look.room]}
            return await self._change(look, "POST", "revisions/new/rules", {"rule": rule | dealt | scope} | comment)
        except Refusal as refusal:
            raise _explained(look.ref, refusal) from None

    async def _lower_foreign(self, look: _Look, exposure: Exposure) -> None:
        """Take back what can't be set: switched off, services fall back to what their code says."""
        if exposure.percent > 0 and exposure.percent >= look.served.exposure.percent:
            check_settable(look.state)
        body = {"environments": {look.room: False}, "reason": "Taken back by Sluice"}
        try:
            await self._change(look, "POST", "toggle", body, repeatable=True)
        except Refusal as refusal:
            raise _explained(look.ref, refusal) from None

    async def _change(self, look: _Look, method: str, what: str, body: object, *, repeatable: bool = False) -> Any:
        try:
            return await self._api.call(method, f"{path_of(look.ref)}/{what}", body, repeatable=repeatable)
        except NoSuchThing:
            raise FlagServiceUnavailable(
                f"Flag {look.ref} was changed in GrowthBook while it was being set; Sluice tries again."
            ) from None


def _explained(ref: FlagRef, refusal: Refusal) -> Exception:
    reason = refusal.reason.rstrip(".")
    if refusal.status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return refusal
    # A gate that would let somebody pass without approval says so too: what counts is what it is called.
    gates = GATE.findall(reason)
    wants_approval = any("approv" in named.casefold() for named in gates or [reason])
    if refusal.status == httpx.codes.CONFLICT or (STALE_BASE in gates and not wants_approval):
        return FlagVersionConflict(f"Flag {ref} was changed in GrowthBook while it was being set; read it again.")
    if wants_approval:
        return ApprovalRequired(f"Flag {ref} can't be set by Sluice: GrowthBook {EXEMPT}. It says: {reason}.")
    return NotSettable(f"GrowthBook refuses to set flag {ref} ({reason}): see to that there.")


def _otherwise(where: str) -> FlagServiceUnavailable:
    return FlagServiceUnavailable(f"GrowthBook answered {where} otherwise than its API does; see flags.growthbook.url.")

"""Flagsmith as a flag service, over its Admin API and its endpoint for updating flags.

Flagsmith marks that endpoint (`/api/__future__/`) as experimental; it is the one that sets all variants' weights and
whether the flag is on in one transaction, with and without its versions of features. There is no compare-and-set, so
what changes between a write's read and its update is not noticed: late writes are watched for by whoever asked, and
writes of one process to a flag go one after another.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from tools.flags.base import (
    ApprovalRequired,
    Capabilities,
    FlagNotFound,
    FlagRef,
    FlagServiceUnavailable,
    FlagState,
    NotSettable,
    check_granularity,
    check_settable,
    check_unchanged,
)
from tools.flags.flagsmith.options import FlagsmithOptions
from tools.flags.flagsmith.weights import Feature, Flag, Served, change_to, served_by, switched_off, version_of
from tools.flags.http import FlagApi, NoSuchThing, Refusal
from tools.plans.model import Exposure, Mode

HUNDREDTH = 0.01
"""Flagsmith deals identities into 9,998 parts."""
AT_ONCE = 8
MOST_PAGES = 100
WORKFLOW = "minimum_change_request_approvals"
KEY = "the API key must be an organisation's, and may update features of the project"
FIXES = {
    401: f"does not accept the token: set SLUICE_FLAGSMITH_TOKEN; {KEY}.",
    403: f"does not allow it: {KEY}.",
}
CHANGE_REQUESTS = (
    "wants change requests there: switch them off for the environment, for Sluice has approvals of its own and must be "
    "able to roll back"
)

TOO_OLD = "This Flagsmith has no endpoint for updating flags (/api/__future__/); update it."


@dataclass(frozen=True, slots=True)
class _Room:
    """An environment of the project."""

    id: int
    key: str
    name: str
    change_requests: bool


@dataclass(frozen=True, slots=True)
class _Look:
    """A flag in an environment as it was read."""

    ref: FlagRef
    path: str
    feature: Feature
    flag: Flag
    served: Served
    version: str

    @property
    def state(self) -> FlagState:
        return FlagState(
            self.ref,
            self.served.exposure,
            self.version,
            self.served.control,
            self.served.treatment,
            self.feature.description or "",
            obstacle=self.served.obstacle,
        )


class FlagsmithFlagService:
    """The FlagService over Flagsmith. `close` lets go of its connections."""

    def __init__(
        self,
        options: FlagsmithOptions,
        *,
        timeout: timedelta,
        environment: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`environment` is one that must be there for `check` to pass. Raises ConfigurationError."""
        self._options = options
        self._project = options.project_id()
        self._checked = {*options.environments, environment} - {None}
        headers = {"Authorization": f"Api-Key {options.secret()}", "Accept": "application/json"}
        self._api = FlagApi("Flagsmith", options.url, headers, timeout=timeout, fixes=FIXES, transport=transport)
        self._rooms: Mapping[str, _Room] = {}

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            compare_and_set=False,
            granularity=HUNDREDTH,
            audiences=False,
            shadow=self._options.shadow_variant is not None,
            read_back_delay=self._options.sdk_refresh,
            environments=self._options.environments,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def read(self, ref: FlagRef) -> FlagState:
        async with self._api.answering():
            return (await self._look(ref)).state

    async def write(self, ref: FlagRef, exposure: Exposure, *, expected: str) -> None:
        check_granularity(exposure, self.capabilities)
        async with self._api.writing(ref):
            look = await self._look(ref)
            check_unchanged(look.state, exposure, expected)
            if look.served.obstacle:
                await self._lower_foreign(look, exposure)
            else:
                await self._set(look, exposure)

    async def list(self, environment: str) -> Sequence[FlagState]:
        """One request a flag, AT_ONCE at a time: the project's list has no weights."""
        async with self._api.answering():
            room = await self._room(environment)
            if room is None:
                return []
            features = [feature async for feature in self._features(room) if not feature.is_archived]
            gate = asyncio.Semaphore(AT_ONCE)
            refs = [(FlagRef(feature.name, environment), feature) for feature in features]
            found = await asyncio.gather(*(self._state_or_none(ref, room, feature, gate) for ref, feature in refs))
            states = [state for state in found if state is not None]
            if features and not states:
                await self._check_endpoint(room)
            return sorted(states, key=lambda state: state.ref.flag)

    async def check(self) -> None:
        async with self._api.answering():
            await self._find_rooms()
            for environment in sorted(str(one) for one in self._checked):
                room = await self._room(environment)
                if room is None:
                    there = ", ".join(sorted(one.name for one in self._rooms.values())) or "none"
                    raise FlagServiceUnavailable(
                        f"The project {self._project} of Flagsmith has no environment "
                        f"{self._options.environment_of(environment)!r} that the key may see, only {there}: name "
                        "Sluice's environments in flags.flagsmith.environments."
                    )
                if room.change_requests:
                    raise FlagServiceUnavailable(f"In {room.name} Flagsmith {CHANGE_REQUESTS}.")
                await self._check_endpoint(room)

    async def _check_endpoint(self, room: _Room) -> None:
        """Read any flag as it is read for a rollout: older releases can't."""
        async for feature in self._features(room):
            try:
                await self._api.call("GET", _path(room, feature), repeatable=True)
            except NoSuchThing:
                raise FlagServiceUnavailable(TOO_OLD) from None
            return

    async def _look(self, ref: FlagRef) -> _Look:
        room = await self._room(ref.environment)
        if room is None:
            raise FlagNotFound(f"There is no flag {ref}: Flagsmith has no such environment.")
        async for feature in self._features(room, ref.flag):
            if feature.name == ref.flag and not feature.is_archived:
                return await self._seen(ref, room, feature)
        raise FlagNotFound(f"There is no flag {ref} in the project {self._project} of Flagsmith, or it is archived.")

    async def _seen(self, ref: FlagRef, room: _Room, feature: Feature) -> _Look:
        path = _path(room, feature)
        try:
            answer = await self._api.call("GET", path, repeatable=True)
        except NoSuchThing:
            raise FlagNotFound(f"There is no flag {ref} any more, or: {TOO_OLD}") from None
        return self._understood(ref, path, feature, answer)

    def _understood(self, ref: FlagRef, path: str, feature: Feature, answer: object) -> _Look:
        try:
            flag = Flag.model_validate(answer)
        except ValidationError:
            raise _otherwise(f"on {ref}") from None
        return _Look(ref, path, feature, flag, served_by(feature, flag, self._options), version_of(answer))

    async def _state_or_none(
        self, ref: FlagRef, room: _Room, feature: Feature, gate: asyncio.Semaphore
    ) -> FlagState | None:
        """None where it was deleted since it was listed."""
        async with gate:
            try:
                return (await self._seen(ref, room, feature)).state
            except FlagNotFound:
                return None

    async def _set(self, look: _Look, exposure: Exposure) -> None:
        roles = look.served.roles
        assert roles is not None, "without an obstacle the roles are known"
        if not exposure.audience.everyone:
            raise NotSettable(
                f"Flag {look.ref} can't be set to {exposure}: in Flagsmith Sluice rolls out to no audiences."
            )
        if exposure.mode is Mode.SHADOW and roles.shadow is None:
            raise NotSettable(
                f"Flag {look.ref} has no variant {self._options.shadow_variant!r} for shadow stages: add one to it in "
                "Flagsmith."
            )
        after = await self._update(look, change_to(look.feature, roles, exposure), nobody=exposure.percent == 0)
        kept = after.served.exposure
        if kept != exposure and (kept.percent, exposure.percent) != (0, 0):
            raise FlagServiceUnavailable(
                f"Flagsmith did not store {exposure} for {look.ref} as it was sent; look at the flag."
            )

    async def _lower_foreign(self, look: _Look, exposure: Exposure) -> None:
        """Take back what can't be set: switched off is less than any exposure asked for."""
        if exposure.percent > 0 and exposure.percent >= look.served.exposure.percent:
            check_settable(look.state)
        await self._update(look, switched_off(look.flag), nobody=True)

    async def _update(self, look: _Look, change: object, *, nobody: bool) -> _Look:
        """The flag as it is after the change; `nobody` is whether that exposes nobody."""
        try:
            # A share that lands late could undo a rollback, whatever it was when it was sent; 0 % undoes none.
            answer = await self._api.call("PATCH", look.path, change, repeatable=nobody)
        except NoSuchThing:
            raise FlagNotFound(f"There is no flag {look.ref} any more: it was deleted in Flagsmith.") from None
        except Refusal as refusal:
            if refusal.status == httpx.codes.CONFLICT:
                raise ApprovalRequired(
                    f"Flag {look.ref} can't be set by Sluice: Flagsmith {CHANGE_REQUESTS}. It says: {refusal.reason}"
                ) from None
            raise
        return self._understood(look.ref, look.path, look.feature, answer)

    async def _room(self, environment: str) -> _Room | None:
        """The environment, which keeps its key; looked for again where it is not known."""
        name = self._options.environment_of(environment).casefold()
        if name not in self._rooms:
            await self._find_rooms()
        return self._rooms.get(name)

    async def _find_rooms(self) -> None:
        rows = [row async for row in self._rows("/api/v1/environments/", {"project": str(self._project)})]
        try:
            rooms = [
                _Room(int(row["id"]), str(row["api_key"]), str(row["name"]), row.get(WORKFLOW) is not None)
                for row in rows
            ]
        except (KeyError, TypeError, ValueError):
            raise _otherwise("about its environments") from None
        self._rooms = {room.name.casefold(): room for room in rooms}

    async def _features(self, room: _Room, search: str | None = None) -> AsyncIterator[Feature]:
        query = {"environment": str(room.id)} | ({"search": search} if search is not None else {})
        async for row in self._rows(f"/api/v1/projects/{self._project}/features/", query):
            try:
                yield Feature.model_validate(row)
            except ValidationError:
                raise _otherwise("about its features") from None

    async def _rows(self, path: str, query: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        for page in range(1, MOST_PAGES + 1):
            try:
                answer = await self._api.call("GET", path, repeatable=True, query={**query, "page": str(page)})
            except NoSuchThing:
                if page > 1:
                    # What was on it was deleted meanwhile.
                    return
                raise FlagServiceUnavailable(
                    f"Flagsmith has no project {self._project} that the key may see: set flags.flagsmith.project."
                ) from None
            rows = answer.get("results") if isinstance(answer, dict) else None
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise _otherwise("in a list")
            for row in rows:
                yield row
            if not answer.get("next"):
                return


def _path(room: _Room, feature: Feature) -> str:
    return f"/api/__future__/environments/{quote(room.key, safe='')}/features/{feature.id}/"


def _otherwise(where: str) -> FlagServiceUnavailable:
    return FlagServiceUnavailable(
        f"Flagsmith answered {where} otherwise than its Admin API does; see flags.flagsmith.url."
    )

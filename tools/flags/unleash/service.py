"""Unleash as a flag service, over its admin API (written for 8.2, open source).

Unleash has no compare-and-set: a JSON Patch's `test` is checked against what was read, not against what is written. So
what changes between the read that a write begins with and its last request is not noticed: late writes are watched for
by whoever asked, and writes of one process to a flag go one after another.

At no moment is anybody exposed who was not before and is not to be: the strategy is set in one step, and only then the
environment switched on, for `/on` without a strategy makes one for everyone. What it really switched on is read back.
"""

import asyncio
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from tools.errors import ConfigurationError
from tools.flags.base import (
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
from tools.flags.http import FlagApi, NoSuchThing
from tools.flags.unleash.options import UnleashOptions
from tools.flags.unleash.strategies import (
    MARK,
    Environment,
    Feature,
    Served,
    Strategy,
    changes_to,
    exposure_of,
    kept,
    new_strategy,
    served_by,
    version_of,
)
from tools.plans.model import NOT_EXPOSED, Exposure

WHOLE_PERCENT = 1.0
AT_ONCE = 8
FIXES = {
    401: "does not accept the token: set SLUICE_UNLEASH_TOKEN to an admin token.",
    403: (
        "does not allow it: the token must be an admin token that may change flags of the project, and the environment "
        "must not ask for change requests."
    ),
}


class UnleashFlagService:
    """The FlagService over Unleash. `close` lets go of its connections."""

    def __init__(
        self,
        options: UnleashOptions,
        *,
        timeout: timedelta,
        environment: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`environment` is one that must be there for `check` to pass. Raises ConfigurationError."""
        if options.url is None:
            raise ConfigurationError("flags.unleash.url is not set: name the address of your Unleash.")
        self._options = options
        self._checked = environment
        headers = {"Authorization": options.secret(), "Accept": "application/json"}
        self._api = FlagApi("Unleash", options.url, headers, timeout=timeout, fixes=FIXES, transport=transport)
        self._project = f"api/admin/projects/{quote(options.project, safe='')}"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            compare_and_set=False,
            granularity=WHOLE_PERCENT,
            audiences=True,
            shadow=self._options.shadow_variant is not None,
            late_write_window=self._options.late_writes,
            read_back_delay=self._options.sdk_refresh,
            environments=self._options.environments,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def read(self, ref: FlagRef) -> FlagState:
        async with self._api.answering():
            return (await self._look(ref))[1]

    async def write(self, ref: FlagRef, exposure: Exposure, *, expected: str) -> None:
        check_granularity(exposure, self.capabilities)
        async with self._api.writing(ref):
            environment, state = await self._look(ref)
            check_unchanged(state, exposure, expected)
            if state.obstacle:
                await self._lower_foreign(ref, exposure, state)
                return
            await self._set_strategy(ref, environment, exposure)
            if exposure.percent > 0 and not environment.enabled:
                await self._switch_on(ref, exposure)

    async def list(self, environment: str) -> Sequence[FlagState]:
        """One request a flag, AT_ONCE at a time: the overview that Unleash has does not say who gets a flag."""
        async with self._api.answering():
            overview = await self._api.call("GET", f"{self._project}/features", repeatable=True)
            names = sorted(_names(overview, "features", "name"))
            gate = asyncio.Semaphore(AT_ONCE)
            states = await asyncio.gather(*(self._state_or_none(FlagRef(name, environment), gate) for name in names))
            return [state for state in states if state is not None]

    async def check(self) -> None:
        async with self._api.answering():
            try:
                overview = await self._api.call("GET", f"{self._project}/overview", repeatable=True)
            except NoSuchThing:
                raise FlagServiceUnavailable(
                    f"Unleash has no project {self._options.project!r}: set flags.unleash.project to the project's id."
                ) from None
        there = _names(overview, "environments", "environment")
        wanted = set(self._options.environments.values())
        wanted |= {self._options.environment_of(self._checked)} if self._checked is not None else set()
        for missing in sorted(wanted - set(there)):
            raise FlagServiceUnavailable(
                f"The project {self._options.project!r} of Unleash has no environment {missing!r}, only "
                f"{', '.join(there)}: name Sluice's environments in flags.unleash.environments."
            )

    async def _look(self, ref: FlagRef) -> tuple[Environment, FlagState]:
        answer = await self._feature(ref)
        try:
            feature = Feature.model_validate(answer)
        except ValidationError:
            raise FlagServiceUnavailable(
                f"Unleash answered on {ref} as no release does that Sluice knows; Sluice is written for Unleash 8."
            ) from None
        name = self._options.environment_of(ref.environment)
        environment = next((one for one in feature.environments if one.name == name), None)
        if feature.archived or environment is None:
            why = "is archived" if feature.archived else f"is in no environment {name!r} of Unleash"
            raise FlagNotFound(f"There is no flag {ref}: it {why}.")
        raw = next(one for one in answer["environments"] if one["name"] == name)
        return environment, self._state(ref, feature, served_by(environment, self._options), version_of(raw))

    async def _feature(self, ref: FlagRef) -> Any:
        path = f"{self._project}/features/{quote(ref.flag, safe='')}"
        try:
            return await self._api.call("GET", path, repeatable=True, query={"variantEnvironments": "true"})
        except NoSuchThing:
            raise FlagNotFound(
                f"There is no flag {ref} in the project {self._options.project!r} of Unleash, or it is archived."
            ) from None

    def _state(self, ref: FlagRef, feature: Feature, served: Served, version: str) -> FlagState:
        return FlagState(
            ref,
            served.exposure,
            version,
            self._options.control,
            served.treatment,
            feature.description or "",
            obstacle=served.obstacle,
            depends_on=tuple(parent.feature for parent in feature.dependencies if parent.enabled),
        )

    async def _state_or_none(self, ref: FlagRef, gate: asyncio.Semaphore) -> FlagState | None:
        async with gate:
            try:
                return (await self._look(ref))[1]
            except FlagNotFound:
                return None

    async def _set_strategy(self, ref: FlagRef, environment: Environment, exposure: Exposure) -> None:
        strategy, surplus = kept(environment)
        # Who is dealt by an earlier strategy is not by a later one: the last goes first, and all before the one that
        # stays is lowered, or users would get what another write had left for a moment.
        for one in reversed(surplus):
            await self._change(ref, "DELETE", f"strategies/{one.id}", repeatable=True)
        title = f"{MARK} ({secrets.token_hex(4)})"
        if strategy is None:
            body: object = new_strategy(ref.flag, exposure, title, self._options)
            # Sent twice it makes two strategies.
            answer = await self._change(ref, "POST", "strategies", body, repeatable=False)
        else:
            patch = changes_to(strategy, exposure, title, self._options)
            # A raise that lands late could undo a rollback; nobody is harmed by a late 0 %.
            answer = await self._change(
                ref, "PATCH", f"strategies/{strategy.id}", patch, repeatable=exposure.percent == 0
            )
        self._check_stored(ref, answer, exposure)

    def _check_stored(self, ref: FlagRef, answer: Any, exposure: Exposure) -> None:
        try:
            stored = exposure_of(Strategy.model_validate(answer), self._options)
        except ValidationError:
            stored = None
        if stored != exposure:
            raise FlagServiceUnavailable(
                f"Unleash did not store {exposure} for {ref} as it was sent; look at the flag."
            )

    async def _switch_on(self, ref: FlagRef, exposure: Exposure) -> None:
        try:
            await self._change(ref, "POST", "on", repeatable=False)
        except FlagServiceUnavailable:
            # It may be on all the same.
            await self._check_switched_on(ref, exposure, NOT_EXPOSED)
            raise
        await self._check_switched_on(ref, exposure)

    async def _check_switched_on(self, ref: FlagRef, *meant: Exposure) -> None:
        _, state = await self._look(ref)
        if state.exposure not in meant:
            # Somebody took the strategy away in between, and Unleash made one for everyone.
            await self._change(ref, "POST", "off", repeatable=True)
            raise NotSettable(
                f"Flag {ref} was changed in Unleash while it was switched on, and is off again: look at it there."
            )

    async def _lower_foreign(self, ref: FlagRef, exposure: Exposure, state: FlagState) -> None:
        """Take back what can't be set: switched off is less than any exposure asked for."""
        if exposure.percent > 0 and exposure.percent >= state.exposure.percent:
            check_settable(state)
        await self._change(ref, "POST", "off", repeatable=True)

    async def _change(self, ref: FlagRef, method: str, what: str, body: object = None, *, repeatable: bool) -> Any:
        environment = quote(self._options.environment_of(ref.environment), safe="")
        path = f"{self._project}/features/{quote(ref.flag, safe='')}/environments/{environment}/{what}"
        try:
            return await self._api.call(method, path, body, repeatable=repeatable)
        except NoSuchThing as error:
            raise FlagServiceUnavailable(f"Flag {ref} was changed in Unleash while it was being set: {error}") from None


def _names(answer: Any, rows: str, name: str) -> list[str]:
    """What the rows of an answer are called."""
    try:
        return [str(row[name]) for row in answer[rows]]
    except (TypeError, KeyError, IndexError):
        raise FlagServiceUnavailable("Unleash did not answer as its admin API does; see flags.unleash.url.") from None

"""LaunchDarkly as a flag service, over its REST API (version 20240415).

Each write is one JSON Patch that tests the environment's version first, so that nothing is written to a flag that has
changed: LaunchDarkly applies a patch wholly or not at all, and answers 409 where two come at once. The default rule,
the rules and whether the flag is on are all in JSON Patch's reach, so that the exposure and the test are one request,
while a semantic patch knows no test. `compare_and_set = false` has semantic patches instead, and then the version
is only compared with the one that was read right before.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx

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
from tools.flags.http import FlagApi, NoSuchThing, Refusal
from tools.flags.launchdarkly import patches
from tools.flags.launchdarkly.options import LaunchDarklyOptions
from tools.flags.launchdarkly.project import EXEMPT, VERSION, Look, Project
from tools.plans.model import Exposure

THOUSANDTH = 0.001
AT_THE_SAME_TIME = 3
"""How often a patch is sent that came at the same time as another."""
FIXES = {
    401: "does not accept the token: set SLUICE_LAUNCHDARKLY_TOKEN to an API access token (an SDK key is none).",
    403: "does not allow it: the role of the token must be allowed to read and to change flags of the project.",
}


class LaunchDarklyFlagService:
    """The FlagService over LaunchDarkly. `close` lets go of its connections."""

    def __init__(
        self,
        options: LaunchDarklyOptions,
        *,
        timeout: timedelta,
        environment: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`environment` is one that must be there for `check` to pass. Raises ConfigurationError."""
        self._options = options
        self._checked = {*options.environments, environment} - {None}
        headers = {"Authorization": options.secret(), "LD-API-Version": VERSION, "Accept": "application/json"}
        self._api = FlagApi("LaunchDarkly", options.url, headers, timeout=timeout, fixes=FIXES, transport=transport)
        self._project = Project(self._api, options)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            compare_and_set=self._options.compare_and_set,
            granularity=THOUSANDTH,
            audiences=True,
            shadow=self._options.shadow_variation is not None,
            read_back_delay=self._options.sdk_refresh,
            environments=self._options.environments,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def read(self, ref: FlagRef) -> FlagState:
        async with self._api.answering():
            return (await self._project.look(ref)).state

    async def write(self, ref: FlagRef, exposure: Exposure, *, expected: str) -> None:
        check_granularity(exposure, self.capabilities)
        async with self._api.writing(ref):
            look = await self._project.look(ref)
            if not self._options.compare_and_set:
                check_unchanged(look.state, exposure, expected)
            elif look.state.version != expected:
                raise _changed(look, expected)
            if look.served.obstacle:
                await self._lower_foreign(look, exposure)
            else:
                await self._set(look, exposure)

    async def list(self, environment: str) -> Sequence[FlagState]:
        """A request for each hundred flags."""
        async with self._api.answering():
            states = [look.state async for look in self._project.each(environment)]
        return sorted(states, key=lambda state: state.ref.flag)

    async def check(self) -> None:
        async with self._api.answering():
            await self._project.check(sorted(str(one) for one in self._checked))

    async def _set(self, look: Look, exposure: Exposure) -> None:
        roles = look.served.roles
        assert roles is not None, "without an obstacle the roles are known"
        if roles.exposing(exposure.mode) is None:
            raise NotSettable(
                f"Flag {look.ref} has no variation {self._options.shadow_variation!r} for shadow stages: add one to it "
                "in LaunchDarkly."
            )
        target = patches.wanted(look.environment, roles, exposure, self._options)
        after = await self._send(look, target, exposure)
        if after.environment.version == look.environment.version:
            after = await self._send(after, patches.beside(target, roles, exposure), exposure)
            after = await self._send(after, target, exposure)
        if after.served.exposure != exposure or after.environment.version == look.environment.version:
            raise FlagServiceUnavailable(
                f"LaunchDarkly did not store {exposure} for {look.ref} as it was sent; look at the flag."
            )

    async def _send(self, look: Look, target: patches.Wanted, exposure: Exposure) -> Look:
        body = (
            patches.json_patch(look.key, look.environment, target)
            if self._options.compare_and_set
            else patches.semantic_patch(look.key, look.flag, look.environment, target)
        )
        lowers = _lowers(look.served.exposure, exposure)
        return await self._patch(look, body, lowers=lowers, nobody=exposure.percent == 0)

    async def _lower_foreign(self, look: Look, exposure: Exposure) -> None:
        """Take back what can't be set: switched off it serves control."""
        if exposure.percent > 0 and exposure.percent >= look.served.exposure.percent:
            check_settable(look.state)
        off = patches.json_patch_off(look.key, look.environment)
        body = off if self._options.compare_and_set else patches.semantic_patch_off(look.key)
        await self._patch(look, body, lowers=True, nobody=True)

    async def _patch(self, look: Look, body: object, *, lowers: bool, nobody: bool) -> Look:
        """The flag as it is after the patch, which `lowers` its exposure or not, maybe so that `nobody` is exposed."""
        for _ in range(AT_THE_SAME_TIME):
            try:
                answer = await self._request(look, body, lowers=lowers, nobody=nobody)
            except NoSuchThing:
                raise FlagNotFound(f"There is no flag {look.ref} any more: it was deleted in LaunchDarkly.") from None
            except Refusal as refusal:
                await self._explain(look, refusal, nobody=nobody)
                continue
            # LaunchDarkly need not answer with the environments.
            return self._project.understood(look.ref, answer) or await self._project.look(look.ref)
        raise FlagServiceUnavailable(f"Others change flag {look.ref} in LaunchDarkly all the time; Sluice tries again.")

    async def _request(self, look: Look, body: object, *, lowers: bool, nobody: bool) -> Any:
        compared = self._options.compare_and_set
        return await self._api.call(
            "PATCH",
            self._project.path(look.ref),
            body,
            # What tests the version does nothing when it comes twice, or late. Else a share could undo a rollback.
            repeatable=compared or nobody,
            # What lowers must not wait for a scheduled change, or for somebody's request for approval.
            query={"ignoreConflicts": "true"} if lowers else None,
            content_type=None if compared else patches.SEMANTIC,
        )

    async def _explain(self, look: Look, refusal: Refusal, *, nobody: bool) -> None:
        """Raise what the refusal means, or return where the same may be sent again."""
        if refusal.status == httpx.codes.METHOD_NOT_ALLOWED:
            raise ApprovalRequired(
                f"Flag {look.ref} can't be set by Sluice: LaunchDarkly {EXEMPT}. It says: {refusal.reason}"
            ) from None
        if refusal.status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise refusal
        at_the_same_time = refusal.status == httpx.codes.CONFLICT
        # To expose nobody is right whatever the other has set.
        if self._options.compare_and_set or (at_the_same_time and not nobody):
            now = await self._project.look(look.ref)
            if now.environment.version != look.environment.version:
                raise _changed(now, look.state.version) from None
        if not at_the_same_time:
            raise NotSettable(
                f"LaunchDarkly refuses to set flag {look.ref} ({refusal.reason.rstrip('.')}): where a scheduled change "
                "or somebody's request for approval waits for it, see to that first."
            ) from None


def _changed(look: Look, expected: str) -> FlagVersionConflict:
    return FlagVersionConflict(
        f"Flag {look.ref} is at version {look.state.version}, not {expected}; read it again before writing."
    )


def _lowers(current: Exposure, target: Exposure) -> bool:
    """Whether nobody is exposed after who was not before."""
    within = target.mode is current.mode and target.audience.is_within(current.audience)
    return target.percent == 0 or (within and target.percent <= current.percent)

"""A project of LaunchDarkly: its flags as they are read, and whether Sluice can work in it."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from tools.flags.base import FlagNotFound, FlagRef, FlagServiceUnavailable, FlagState
from tools.flags.http import FlagApi, NoSuchThing, Refusal
from tools.flags.launchdarkly import patches
from tools.flags.launchdarkly.answers import Environment, Flag
from tools.flags.launchdarkly.options import LaunchDarklyOptions
from tools.flags.launchdarkly.targeting import Served, served_by

VERSION = "20240415"
A_PAGE = 100
MOST_PAGES = 100
EXEMPT = (
    "wants changes there to be approved: let the role of Sluice's token bypass required approvals, or take the "
    "requirement off, for Sluice has approvals of its own and must be able to roll back"
)


@dataclass(frozen=True, slots=True)
class Look:
    """A flag in an environment as it was read; `key` is what LaunchDarkly calls that."""

    ref: FlagRef
    key: str
    flag: Flag
    environment: Environment
    served: Served

    @property
    def state(self) -> FlagState:
        """The same as the port has it."""
        return FlagState(
            self.ref,
            self.served.exposure,
            str(self.environment.version),
            self.served.control,
            self.served.treatment,
            self.flag.description or "",
            obstacle=self.served.obstacle,
            depends_on=tuple(parent.key for parent in self.environment.prerequisites),
        )


class Project:
    """The project that the options name. Each method raises FlagServiceUnavailable."""

    def __init__(self, api: FlagApi, options: LaunchDarklyOptions) -> None:
        self._api = api
        self._options = options
        self._flags = f"/api/v2/flags/{quote(options.project, safe='')}"
        self._itself = f"/api/v2/projects/{quote(options.project, safe='')}"
        self._tried = not options.compare_and_set

    def path(self, ref: FlagRef) -> str:
        """Where the flag is."""
        return f"{self._flags}/{quote(ref.flag, safe='')}"

    async def look(self, ref: FlagRef) -> Look:
        """The flag as it is. Raises FlagNotFound."""
        query = {"env": self._options.environment_of(ref.environment)}
        try:
            answer = await self._api.call("GET", self.path(ref), repeatable=True, query=query)
        except NoSuchThing:
            raise FlagNotFound(
                f"There is no flag {ref} in the project {self._options.project!r} of LaunchDarkly."
            ) from None
        found = self.understood(ref, answer)
        if found is None:
            raise FlagNotFound(f"There is no flag {ref}: it is archived, or LaunchDarkly has no such environment.")
        return found

    def understood(self, ref: FlagRef, answer: object) -> Look | None:
        """The flag that was answered; None where it is archived, or not in the environment."""
        try:
            flag = Flag.model_validate(answer)
        except ValidationError:
            raise FlagServiceUnavailable(
                f"LaunchDarkly answered on {ref} otherwise than its API does in version {VERSION}."
            ) from None
        key = self._options.environment_of(ref.environment)
        environment = flag.environments.get(key)
        if flag.archived or environment is None or environment.archived:
            return None
        return Look(ref, key, flag, environment, served_by(flag, environment, self._options))

    async def each(self, environment: str) -> AsyncIterator[Look]:
        """Every flag of one of Sluice's environments; none where LaunchDarkly has no such environment."""
        key, seen = self._options.environment_of(environment), 0
        for _ in range(MOST_PAGES):
            # Lists leave rules and targets out unless they are asked for by an environment.
            query = {"env": key, "summary": "0", "limit": str(A_PAGE), "offset": str(seen)}
            try:
                answer = await self._api.call("GET", self._flags, repeatable=True, query=query)
            except NoSuchThing:
                await self._check_project()
                return
            rows, total = _page(answer)
            for row in rows:
                look = self.understood(FlagRef(str(row.get("key")), environment), row)
                if look is not None:
                    yield look
            seen += len(rows)
            if not rows or seen >= total:
                return

    async def check(self, environments: Iterable[str]) -> None:
        """Return when the project, and Sluice's environments in it, can be used."""
        await self._check_project()
        for environment in environments:
            await self._check_environment(environment)
            if not self._tried:
                await self._try_out(environment)
        self._tried = True

    async def _check_project(self) -> None:
        try:
            await self._api.call("GET", self._itself, repeatable=True)
        except NoSuchThing:
            raise FlagServiceUnavailable(
                f"LaunchDarkly has no project {self._options.project!r} that the token may see: set "
                "flags.launchdarkly.project to the project's key."
            ) from None

    async def _check_environment(self, environment: str) -> None:
        key = self._options.environment_of(environment)
        try:
            await self._api.call("GET", f"{self._itself}/environments/{quote(key, safe='')}", repeatable=True)
        except NoSuchThing:
            raise FlagServiceUnavailable(
                f"The project {self._options.project!r} of LaunchDarkly has no environment {key!r}: name Sluice's "
                "environments in flags.launchdarkly.environments."
            ) from None

    async def _try_out(self, environment: str) -> None:
        """Try on any flag, without changing it, whether a patch may be sent and the version is tested.

        So that it is told before a rollout needs it: a role without the right, an environment that wants approvals.
        """
        async for look in self.each(environment):
            body = patches.json_patch_nothing(look.key, look.environment)
            try:
                await self._api.call("PATCH", self.path(look.ref), body, repeatable=True, query={"dryRun": "true"})
            except Refusal as refusal:
                raise _not_usable(environment, refusal) from None
            return


def _not_usable(environment: str, refusal: Refusal) -> FlagServiceUnavailable:
    if refusal.status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return refusal
    if refusal.status == httpx.codes.METHOD_NOT_ALLOWED:
        return FlagServiceUnavailable(f"In {environment} LaunchDarkly {EXEMPT}.")
    return FlagServiceUnavailable(
        f"LaunchDarkly would not test a flag's version ({refusal.reason.rstrip('.')}): if that stays so, set "
        "flags.launchdarkly.compare_and_set = false."
    )


def _page(answer: object) -> tuple[list[dict[str, Any]], int]:
    rows = answer.get("items") if isinstance(answer, dict) else None
    total = answer.get("totalCount") if isinstance(answer, dict) else None
    if not isinstance(rows, list) or not isinstance(total, int) or not all(isinstance(row, dict) for row in rows):
        raise FlagServiceUnavailable("LaunchDarkly did not answer as its API does; see flags.launchdarkly.url.")
    return rows, total

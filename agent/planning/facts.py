"""Everything a plan is made from, read once: the spec, the flag, what it depends on, its traffic."""

from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, replace

from pydantic import ValidationError

from agent.planning.circumstances import Circumstances
from agent.planning.linking import linked
from agent.planning.proposals import PlanRequest
from agent.planning.sentences import audience_lines, kpi_line
from agent.planning.suggesting import suggestions
from agent.planning.telemetry import Telemetry
from agent.redaction import redacted
from tools.clock import Clock
from tools.errors import InvalidInput, NotFound, Unavailable
from tools.flags.base import FlagNotFound, FlagRef, FlagService, FlagState, check_settable
from tools.plans.kinds import guards, is_sized, without_splits
from tools.plans.model import Audience, Expected, Guardrail, Plan
from tools.plans.planner import Baseline, CannotBeProven, Feature
from tools.records.database import Database
from tools.specs.base import (
    InvalidSpec,
    Kpi,
    Spec,
    SpecNotFound,
    SpecSource,
    read_again,
    read_linked,
    wholly,
)
from tools.specs.snapshots import keep_read

FULLY_LIVE = 100.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What was gathered for a request.

    `warnings` are sentences for people, whoever drafts the plan; `circumstances` are those to draft with: freezes,
    error budgets, earlier rollouts. `mixes` is what the traffic is made of.
    """

    request: PlanRequest
    spec: Spec | None
    feature: Feature
    baselines: tuple[Baseline, ...]
    warnings: tuple[str, ...]
    circumstances: tuple[str, ...] = ()
    mixes: tuple[Expected, ...] = ()


@dataclass(frozen=True, slots=True)
class Archive:
    """Where facts are read from. Nothing is written but the specs as they were read."""

    specs: SpecSource
    flags: FlagService
    telemetry: Telemetry
    circumstances: Circumstances
    clock: Clock
    database: Database | None = None

    async def gather(self, request: PlanRequest) -> Facts:
        """All of it. Raises FlagNotFound, InvalidSpec, CannotBeProven (a silent metric), and what the sources raise."""
        spec, unread = await self._spec_for(request)
        flag = await self.flags.read(FlagRef(request.flag, request.environment))
        check_settable(flag)
        warnings = [] if spec is not None else [f"There is no spec for {request.flag}: every metric guards it."]
        warnings += [*unread, *_ownership(spec), *(spec.notes if spec is not None else ())]
        warnings += await self._dependencies(_needed(spec, flag), request.environment)
        try:
            baselines = tuple([await self._guarding(kpi, flag, spec) for kpi in self._kpis(spec)])
        except CannotBeProven as error:
            raise CannotBeProven(" ".join([str(error), *warnings])) from None
        mixes, unknown = await self._mixes(flag)
        warnings += unknown
        guarding = [base.metric for base in baselines]
        warnings += await suggestions(self.database, spec, self.telemetry.metrics.catalogue, guarding)
        feature = _feature(request, spec, flag)
        said = await self.circumstances.read(request, feature, guarding)
        warnings += [one.text for one in said if one.warns]
        return Facts(request, spec, feature, baselines, tuple(warnings), tuple(one.text for one in said), mixes)

    async def measure(self, ref: FlagRef, metric: str) -> Baseline:
        """What a metric of the catalogue did for the flag. Raises FlagNotFound, UnknownMetric, CannotBeProven."""
        spec = await self.spec_of(ref.flag)
        named = next((kpi for kpi in spec.kpis if kpi.metric == metric), None) if spec is not None else None
        kpi = named or self.telemetry.of_catalogue(metric)
        return await self._guarding(kpi, await self.flags.read(ref), spec)

    async def remeasure(self, plan: Plan, added: Iterable[str]) -> tuple[tuple[Baseline, ...], list[str]]:
        """What the plan's metrics did lately and those to be added, and sentences about those that can't be read now.

        A change that needs no arithmetic must not fail because a metric is silent. Raises FlagNotFound, and for a
        metric to be added UnknownMetric and CannotBeProven.
        """
        ref = FlagRef(plan.flag, plan.environment)
        flag = await self.flags.read(ref)
        found, missing = list[Baseline](), list[str]()
        rails = without_splits(rail for stage in plan.stages for rail in stage.guardrails)
        for rail in {rail.metric: rail for rail in rails}.values():
            try:
                found.append(await self._known(rail, flag))
            except (CannotBeProven, NotFound, Unavailable) as error:
                missing.append(f"{rail.metric} can't be measured right now: {error}")
        known = {base.metric for base in found}
        found += [await self.measure(ref, metric) for metric in added if metric not in known]
        return tuple(found), missing

    async def _spec_for(self, request: PlanRequest) -> tuple[Spec | None, list[str]]:
        """The document that was named, which must be there, else the flag's spec, if there is one.

        And sentences on addresses in the words that are of no source. Raises SeveralSpecs, and SpecSourceUnavailable
        for a spec that is not whole, among others.
        """
        if request.spec is not None and request.again:
            return await self._kept(read_again(self.specs, request.flag, request.spec)), []
        address, unread = (request.spec, []) if request.spec is not None else linked(request.wishes, self.specs)
        if address is not None:
            return await self._kept(read_linked(self.specs, address, request.flag)), unread
        return await self.spec_of(request.flag), unread

    async def spec_of(self, flag: str) -> Spec | None:
        """The flag's spec, None where there is none."""
        try:
            return await self._kept(self.specs.read(flag))
        except SpecNotFound:
            return None

    async def spec_behind(self, plan: Plan, source: str | None) -> tuple[Spec | None, list[str]]:
        """The very spec that the plan was made from, None where it can't be had, and a sentence if that matters.

        `source` is where it was read.
        """
        if plan.spec_sha256 is None:
            return None, []
        try:
            spec = await self._kept(read_again(self.specs, plan.flag, source or ""), known_sha256=plan.spec_sha256)
        except SpecNotFound:
            spec = None
        except (InvalidInput, Unavailable) as error:
            return None, [f"The spec can't be read right now: {error}"]
        if spec is None or spec.sha256 != plan.spec_sha256:
            return None, ["The spec has changed since this plan was made; ask for a new plan to take that in."]
        # A change that was found meanwhile is not undone by half a look.
        return spec if spec.whole else None, []

    async def _kept(self, reading: Awaitable[Spec], *, known_sha256: str | None = None) -> Spec:
        """What the reading gives, once it is kept as it was read.

        Raises SpecSourceUnavailable for what is not whole, unless it is what was known: once the rest can be read it
        would seem to have changed, though nobody edited it.
        """
        spec = await reading
        if spec.sha256 != known_sha256:
            wholly(spec)
        if self.database is not None:
            await keep_read(self.database, spec, at=self.clock.now())
        return spec

    async def _known(self, rail: Guardrail, flag: FlagState) -> Baseline:
        return await self.telemetry.baseline(Kpi(metric=rail.metric, direction=rail.direction), flag)

    async def _guarding(self, kpi: Kpi, flag: FlagState, spec: Spec | None) -> Baseline:
        base = await self.telemetry.baseline(kpi, flag)
        stated = kpi_line(spec.visible, kpi.metric) if spec is not None else None
        return replace(base, stated=redacted(stated)) if stated is not None else base

    async def _mixes(self, flag: FlagState) -> tuple[tuple[Expected, ...], list[str]]:
        """What the traffic is made of, by each metric that says so, and sentences about those that don't now."""
        found, missing = list[Expected](), list[str]()
        kinds = self.telemetry.metrics.catalogue.kinds
        for metric in [metric for metric, kind in kinds.items() if not guards(kind)]:
            try:
                found.append(await self.telemetry.mix(metric, flag))
            except (InvalidInput, Unavailable) as error:
                missing.append(f"What the traffic is made of is not watched by {metric}: {error}")
        return tuple(found), missing

    def _kpis(self, spec: Spec | None) -> Sequence[Kpi]:
        catalogue = self.telemetry.metrics.catalogue
        if spec is not None and spec.kpis:
            return [kpi for kpi in spec.kpis if is_sized(catalogue.get(kpi.metric).kind)]
        return [
            self.telemetry.of_catalogue(metric.name)
            for metric in catalogue
            if is_sized(metric.kind) and metric.route is None
        ]

    async def _dependencies(self, needed: Iterable[str], environment: str) -> list[str]:
        """A sentence for each flag that this one needs and that not everyone has yet."""
        found = []
        for name in needed:
            try:
                exposure = (await self.flags.read(FlagRef(name, environment))).exposure
            except FlagNotFound:
                found.append(f"It depends on {name}, which is not a flag in {environment}.")
                continue
            if exposure.live_percent < FULLY_LIVE or not exposure.audience.everyone:
                found.append(f"It depends on {name}, which is at {exposure}: finish that first.")
        return found


def _needed(spec: Spec | None, flag: FlagState) -> tuple[str, ...]:
    """The flags that this one needs, as its spec and its flag service say."""
    return tuple(dict.fromkeys([*(spec.depends_on if spec is not None else ()), *flag.depends_on]))


def _feature(request: PlanRequest, spec: Spec | None, flag: FlagState) -> Feature:
    stated = audience_lines(spec.visible) if spec is not None else None
    return Feature(
        flag=request.flag,
        environment=request.environment,
        control=flag.control,
        treatment=flag.treatment,
        tags=spec.tags if spec is not None else (),
        depends_on=_needed(spec, flag),
        spec_author=spec.author if spec is not None else None,
        spec_sha256=spec.sha256 if spec is not None else None,
        audience=_audience(spec) if spec is not None else Audience(),
        audience_stated=redacted(stated) if stated is not None else None,
    )


def _audience(spec: Spec) -> Audience:
    """Who the feature is for. Raises InvalidSpec for what is no name."""
    try:
        return Audience(tenants=spec.tenants, regions=spec.regions)
    except ValidationError:
        raise InvalidSpec(
            f"{spec.source}: its regions and tenants must be plain names, such as eu or acme-corp; correct them there."
        ) from None


def _ownership(spec: Spec | None) -> list[str]:
    """Whether the rule that a spec's author does not approve can be held."""
    if spec is None or spec.author is not None:
        return []
    return ["The spec names no author by Slack user id, so nobody is barred from approving as its author."]

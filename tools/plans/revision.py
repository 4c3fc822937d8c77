"""A plan as somebody wants it changed: "start at 2 %", "only eu first", "hold two hours". Pure.

What the change does not touch stays exactly as it was. What it touches gets its length and its sample from the same
arithmetic as a new plan, and the words that asked for it as its basis.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from tools.clock import in_words
from tools.errors import InvalidInput
from tools.plans import sizing
from tools.plans.defaults import PlanningDefaults
from tools.plans.kinds import NO_KINDS, Kinds, needs_control, watching_splits, without_splits
from tools.plans.model import (
    MOST_STAGES,
    Audience,
    Basis,
    Duration,
    Expected,
    Exposure,
    Facet,
    Guardrail,
    Mode,
    Name,
    Percent,
    Plan,
    Source,
    Stage,
    Strategy,
    Value,
)
from tools.plans.planner import Draft, audience_note, shadow_stage, usual_stages
from tools.plans.policy import Policy
from tools.plans.reach import blast_radius
from tools.plans.sizing import LONGEST_STAGE, Baseline, Rail, limit_for

StageNumber = Annotated[int, Field(ge=1, le=MOST_STAGES)]
Percents = Annotated[tuple[Percent, ...], Field(max_length=MOST_STAGES)]
Names = Annotated[tuple[Name, ...], Field(max_length=100)]
Margin = Annotated[float, Field(gt=1, le=100, allow_inf_nan=False)]


class Changes(Value):
    """What is to be different; everything that is not set stays.

    `start_at`, `stages`, `drop_stages` and `add_stages` are live percentages: where the first live stage begins, those
    that replace all live ones, those to take out, those to put in between. `hold` is the least length of the stage
    `hold_stage`, of every stage without it. `regions` and `tenants` limit the stages up to `audience_until_stage`,
    every stage without it; an empty tuple lifts the limit. Stages are counted from 1, as they stand after the other
    changes. `skip_shadow` takes the shadow stages out. `margins` has a margin by metric.
    """

    strategy: Strategy | None = None
    start_at: Percent | None = None
    stages: Percents = ()
    drop_stages: Percents = ()
    add_stages: Percents = ()
    hold: Duration | None = None
    hold_stage: StageNumber | None = None
    regions: Names | None = None
    tenants: Names | None = None
    audience_until_stage: StageNumber | None = None
    skip_shadow: bool = False
    margins: Mapping[Name, Margin] = Field(default={}, max_length=50)
    add_metrics: Names = ()
    drop_metrics: Names = ()


def revise_plan(
    plan: Plan,
    changes: Changes,
    baselines: Sequence[Baseline],
    policy: Policy,
    defaults: PlanningDefaults,
    *,
    words: str,
    kinds: Kinds = NO_KINDS,
) -> Draft:
    """The plan with the changes; `words` are those of the person who asked, `kinds` those of the catalogue's metrics.

    `baselines` are of the plan's metrics and of those to be added; one that is missing is only missed where a stage has
    to be sized with it. The draft's rationale and notes speak of the new plan. Raises InvalidInput for a change that
    can't be made or changes nothing, and CannotBeProven.
    """
    chosen = plan.model_copy(update={"stages": tuple(map(as_chosen, plan.stages))})
    revision = Revision(chosen, changes, {base.metric: base for base in baselines}, policy, defaults, words)
    return finished(plan, revision.revised(), revision, kinds)


def finished(plan: Plan, revised: Plan, revision: "Revision", kinds: Kinds) -> Draft:
    """The plan as it was revised, with what comes along by itself and what it rests on now.

    Raises InvalidInput when nothing differs from `plan`.
    """
    revised = revised.model_copy(update={"stages": watching_splits(revised.stages, kinds)})
    if _bare(revised) == _bare(plan):
        raise InvalidInput("That is how the plan is already, so nothing would change; say what should be different.")
    rails = revision.known_rails()
    rationale = tuple(rail.summary(revision.defaults.traffic_window) for rail in rails)
    update = {"rationale": rationale, "expected": revision.expected()}
    return Draft(revised.model_copy(update=update), tuple(_notes(revised, rails, revision.doubts, revision.defaults)))


@dataclass
class Revision:
    """One revision on its way: the plan so far is `stages`; `doubts` are what can't be proven in time."""

    plan: Plan
    changes: Changes
    baselines: Mapping[str, Baseline]
    policy: Policy
    defaults: PlanningDefaults
    words: str

    def __post_init__(self) -> None:
        self.doubts: list[str] = []
        self.demands = {rail.metric: rail.bare for stage in self.plan.stages for rail in stage.guardrails}
        self._why = {rail.metric: rail.basis for stage in self.plan.stages for rail in stage.guardrails}
        self.compared = self._compared_only()
        self._has_ceilings = any(rail.ceiling is not None for rail in self.plan.stages[-1].guardrails)

    def revised(self) -> Plan:
        self.change_guardrails()
        stages = self._change_strategy(list(self.plan.stages))
        stages = self._change_percents(stages)
        stages = [self.guarded(stage, first=number == 0) for number, stage in enumerate(stages)]
        stages = self._change_audience(stages)
        stages = self._change_hold(stages)
        if len(stages) > MOST_STAGES:
            raise InvalidInput(f"A plan has at most {MOST_STAGES} stages; this would have {len(stages)}.")
        modes = {stage.exposure.mode for stage in stages}
        strategy = self.changes.strategy or self.plan.strategy
        if strategy is Strategy.SHADOW and Mode.SHADOW not in modes:
            strategy = Strategy.CANARY
        return self.plan.model_copy(update={"stages": tuple(stages), "strategy": strategy})

    def expected(self) -> tuple[Expected, ...]:
        """What the plan was made for, with what is measured of the metrics that are new in it."""
        kept = [one for one in self.plan.expected if one.metric in self.demands or one.mix]
        old = {one.metric for one in self.plan.expected}
        new = [self.baselines[metric] for metric in self.demands if metric in self.baselines and metric not in old]
        return (*kept, *(base.expected for base in new))

    def _compared_only(self) -> set[str]:
        """The metrics that need a control: as they were measured, or as the plan has it where they were not."""
        whole = [stage for stage in self.plan.stages if stage.exposure.percent >= 100]
        left_out = {metric for metric in self.demands for stage in whole if metric not in _metrics(stage)}
        measured = {metric for metric, base in self.baselines.items() if needs_control(base.kind)}
        return measured | {metric for metric in left_out if metric not in self.baselines}

    # -- what guards --------------------------------------------------------------------------------------------

    def change_guardrails(self) -> None:
        for metric in self.changes.drop_metrics:
            self._check_known(metric)
            del self.demands[metric]
        for metric in self.changes.add_metrics:
            if metric in self.demands:
                raise InvalidInput(f"{metric} guards this plan already.")
            rail = self._rail(metric)
            self.demands[metric] = rail.guardrail(100, alone=False).bare
            self._why[metric] = (self._asked(Facet.GUARD), *rail.basis)
        for metric, margin in self.changes.margins.items():
            self._check_known(metric)
            self._check_margin(metric, margin)
            if margin != self.demands[metric].margin:
                self.demands[metric] = self.demands[metric].model_copy(update={"margin": margin})
                self._why[metric] = (*without(self._why[metric], Facet.MARGIN), self._asked(Facet.MARGIN))
        if not self.demands:
            raise InvalidInput("A plan needs at least one guardrail; name another metric before you drop the last.")

    def _check_known(self, metric: str) -> None:
        if metric not in self.demands:
            raise InvalidInput(f"{metric} does not guard this plan; it is guarded by {', '.join(self.demands)}.")

    def _check_margin(self, metric: str, margin: float) -> None:
        loosest = self.policy.loosest_margin
        if margin > loosest and self.plan.environment not in self.policy.free_environments:
            raise InvalidInput(f"Policy allows a margin of at most ×{loosest:g}, so {metric} can't have ×{margin:g}.")

    def _rail(self, metric: str) -> Rail:
        """The metric with the margin it has in the plan, or the one that follows when it is new."""
        base = self.baselines.get(metric)
        if base is None:
            raise InvalidInput(f"Nothing was measured of {metric} lately, so no stage can be sized with it.")
        demand = self.demands.get(metric)
        if demand is None:
            sharing = len(without_splits(self.demands.values())) + 1
            return sizing.rail_of(base, self.plan.tags, self.policy, self.defaults, sharing=sharing)
        return Rail(replace(base, direction=demand.direction), demand.margin, self._why[metric])

    def _rails(self) -> list[Rail]:
        return [self._rail(metric) for metric in self.demands]

    def known_rails(self) -> list[Rail]:
        """Those of the plan's metrics of which something was measured."""
        return [self._rail(metric) for metric in self.demands if metric in self.baselines]

    def guarded(self, stage: Stage, *, first: bool) -> Stage:
        """The stage held to what is demanded now: as it is, or sized anew."""
        wanted = [
            (metric, rail.direction, rail.margin)
            for metric, rail in self.demands.items()
            if stage.exposure.percent < 100 or metric not in self.compared
        ]
        if [(rail.metric, rail.direction, rail.margin) for rail in stage.guardrails] == wanted:
            return self._with_ceilings(stage) if first and stage.exposure.leaves_no_control else stage
        return self.sized(stage.exposure, stage.bake, without(stage.basis, Facet.LIMIT), first=first)

    def _with_ceilings(self, stage: Stage) -> Stage:
        if all(rail.ceiling is not None for rail in stage.guardrails):
            return stage
        return self.sized(stage.exposure, stage.bake, without(stage.basis, Facet.LIMIT), first=True)

    def sized(self, exposure: Exposure, bake: timedelta, why: tuple[Basis, ...], *, first: bool) -> Stage:
        """A stage with lengths and samples computed. Raises CannotBeProven."""
        rails = self._rails()
        if exposure.percent >= 100:
            alone = exposure.leaves_no_control and (first or self._has_ceilings)
            stage = sizing.whole(rails, bake, alone=alone, basis=why).model_copy(update={"exposure": exposure})
        else:
            stage = sizing.staged(exposure, rails, bake, self.defaults, why)
            self.doubts += sizing.doubts(rails, exposure.percent, self.defaults.stage_budget)
        return stage.model_copy(update={"guardrails": tuple(map(self._kept, stage.guardrails))})

    def _kept(self, rail: Guardrail) -> Guardrail:
        """The guardrail with what is neither computed nor asked to change."""
        demand = self.demands[rail.metric]
        return rail.model_copy(update={"on_fail": demand.on_fail, "on_no_data": demand.on_no_data})

    # -- which stages -------------------------------------------------------------------------------------------

    def _change_strategy(self, stages: list[Stage]) -> list[Stage]:
        wanted = self.changes.strategy
        in_shadow = [stage for stage in stages if stage.exposure.mode is Mode.SHADOW]
        live = [stage for stage in stages if stage.exposure.mode is Mode.LIVE]
        if self.changes.skip_shadow and not in_shadow:
            raise InvalidInput("The plan has no shadow stage to skip.")
        if self.changes.skip_shadow and wanted is Strategy.SHADOW:
            raise InvalidInput("A shadow plan without its shadow stage is a canary plan; ask for one of the two.")
        if self.changes.skip_shadow or (wanted is Strategy.CANARY and in_shadow):
            stages = live
        if wanted is None or wanted is self.plan.strategy:
            return stages
        if wanted is Strategy.SHADOW and self.plan.strategy is Strategy.CANARY:
            bake, why = sizing.usual_bake(self.plan.tags, self.policy, self.defaults)
            first = shadow_stage(self._rails(), live[0].exposure.percent, bake, self.defaults, (why,))
            return [self._for(first, live[0].exposure.audience, self._asked(Facet.EXPOSURE)), *live]
        if wanted is Strategy.CANARY and self.plan.strategy is Strategy.SHADOW:
            return stages
        usual, doubts = usual_stages(wanted, self._rails(), self.plan.tags, self.policy, self.defaults)
        self.doubts += doubts
        return [self._for(stage, live[0].exposure.audience, self._asked(Facet.EXPOSURE)) for stage in usual]

    def _for(self, stage: Stage, audience: Audience, why: Basis) -> Stage:
        """A stage made for everyone, for those that the plan is for."""
        exposure = stage.exposure.model_copy(update={"audience": audience})
        rails = tuple(map(self._kept, stage.guardrails))
        kept = (*without(stage.basis, why.of), why)
        return stage.model_copy(update={"exposure": exposure, "guardrails": rails, "basis": kept})

    def _change_percents(self, stages: list[Stage]) -> list[Stage]:
        live = [stage for stage in stages if stage.exposure.mode is Mode.LIVE]
        had = [stage.exposure.percent for stage in live]
        wanted = self._percents(had)
        if wanted == sorted(set(had)):
            return stages
        before = [stage for stage in stages if stage.exposure.mode is Mode.SHADOW]
        if self.plan.strategy is Strategy.FULL and self.changes.strategy is None and wanted != [100]:
            raise InvalidInput("A full plan goes to 100 % in one stage; make it a canary plan to have others.")
        return [*before, *(stage for percent in wanted for stage in self._at(percent, live, first=not before))]

    def _percents(self, had: Iterable[float]) -> list[float]:
        asked = self.changes
        kept = set(asked.stages or had)
        for percent in asked.drop_stages:
            if percent not in kept:
                raise InvalidInput(f"There is no stage at {percent:g} % to drop; there are {_shares(kept)}.")
            kept.remove(percent)
        kept |= set(asked.add_stages)
        if asked.start_at is not None:
            kept = {asked.start_at} | {percent for percent in kept if percent > asked.start_at}
        if 0 in kept:
            raise InvalidInput("A stage exposes more than 0 %; to expose nobody, cancel the plan or roll back.")
        if not kept:
            raise InvalidInput("A plan needs at least one stage; say which should stay.")
        return sorted(kept)

    def _at(self, percent: float, live: Sequence[Stage], *, first: bool) -> list[Stage]:
        """The live stages of that share: those that there are, or a new one for whom the one before it reaches."""
        same = [stage for stage in live if stage.exposure.percent == percent]
        if same:
            return same
        below = [stage for stage in live if stage.exposure.percent < percent]
        model = below[-1] if below else live[0]
        exposure = model.exposure.model_copy(update={"percent": percent})
        why = (*without(model.basis, Facet.LIMIT, Facet.EXPOSURE), self._asked(Facet.EXPOSURE))
        return [self.sized(exposure, model.bake, why, first=first and not below)]

    # -- for whom and how long ----------------------------------------------------------------------------------

    def _change_audience(self, stages: list[Stage]) -> list[Stage]:
        if self.changes.regions is None and self.changes.tenants is None:
            if self.changes.audience_until_stage is not None:
                raise InvalidInput("Say which regions or tenants the first stages are limited to.")
            return stages
        until = self._number(self.changes.audience_until_stage, stages) or len(stages)
        return [*map(self._limited, stages[:until]), *stages[until:]]

    def _limited(self, stage: Stage) -> Stage:
        had = stage.exposure.audience
        regions, tenants = self.changes.regions, self.changes.tenants
        audience = Audience(
            tenants=had.tenants if tenants is None else tenants, regions=had.regions if regions is None else regions
        )
        if audience == had:
            return stage
        exposure = stage.exposure.model_copy(update={"audience": audience})
        why = (*without(stage.basis, Facet.AUDIENCE), self._asked(Facet.AUDIENCE))
        return stage.model_copy(update={"exposure": exposure, "basis": why})

    def _change_hold(self, stages: list[Stage]) -> list[Stage]:
        hold = self.changes.hold
        number = self._number(self.changes.hold_stage, stages)
        if hold is None:
            if number is not None:
                raise InvalidInput(f"Say how long stage {number} shall be held.")
            return stages
        if hold > LONGEST_STAGE:
            raise InvalidInput(f"A stage is held for at most {in_words(LONGEST_STAGE)}.")
        return [
            self.held(stage, hold) if number in (None, position) else stage
            for position, stage in enumerate(stages, start=1)
        ]

    def held(self, stage: Stage, hold: timedelta) -> Stage:
        if hold == stage.bake:
            return stage
        limit = max(stage.time_limit, limit_for(hold, self.plan.burn_in))
        why = (*without(stage.basis, Facet.HOLD), self._asked(Facet.HOLD))
        return stage.model_copy(update={"bake": hold, "time_limit": limit, "basis": why})

    def _number(self, number: int | None, stages: Sequence[Stage]) -> int | None:
        if number is not None and number > len(stages):
            raise InvalidInput(f"There is no stage {number}; the plan has {len(stages)}.")
        return number

    def _asked(self, of: Facet) -> Basis:
        return sizing.basis(Source.PERSON, of, self.words)


def _notes(plan: Plan, rails: Sequence[Rail], doubts: Iterable[str], defaults: PlanningDefaults) -> list[str]:
    notes = [*dict.fromkeys(doubts)]
    last, ending = plan.stages[-1].exposure, sizing.ending_notes(plan.stages, rails)
    if not last.leaves_no_control and not ending:
        notes.append(f"It ends at {last}, not with everyone.")
    notes += ending
    audiences = dict.fromkeys(stage.exposure.audience for stage in plan.stages)
    notes += [note for audience in audiences for note in audience_note(audience, plan.expected)]
    return [*notes, *blast_radius(plan, rails, defaults.reachable_in(plan.environment))]


def without(basis: Iterable[Basis], *facets: Facet) -> tuple[Basis, ...]:
    return tuple(one for one in basis if one.of not in facets)


def _metrics(stage: Stage) -> set[str]:
    return {rail.metric for rail in stage.guardrails}


def as_chosen(stage: Stage) -> Stage:
    """The stage without what comes along by itself."""
    return stage.model_copy(update={"guardrails": without_splits(stage.guardrails)})


def _bare(plan: Plan) -> Plan:
    """The plan without what it rests on."""
    stages = tuple(
        stage.model_copy(update={"basis": (), "guardrails": tuple(rail.bare for rail in stage.guardrails)})
        for stage in plan.stages
    )
    return plan.model_copy(update={"stages": stages, "rationale": ()})


def _shares(percents: Iterable[float]) -> str:
    return ", ".join(f"{percent:g} %" for percent in sorted(percents))

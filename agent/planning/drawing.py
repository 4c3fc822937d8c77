"""From a model's sketch to a plan, through the same arithmetic as the calculators' own. Pure.

The calculators' plan is the frame: everything that a sketch has no word for is taken from it. A sketch may be more
cautious than it in every way, and bolder only in a first step that the person's own words name, within policy.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from itertools import pairwise

from pydantic import ValidationError

from agent.planning.facts import Facts
from agent.planning.rules import Rules
from agent.planning.sentences import Evidence, Quote
from agent.planning.sketch import Choices, Sketch, SketchedGuardrail, SketchedStage
from tools.clock import in_words
from tools.plans import sizing
from tools.plans.kinds import watching_splits
from tools.plans.model import Audience, Basis, Exposure, Facet, Mode, Plan, Source, Stage, Strategy
from tools.plans.planner import Baseline, Draft, audience_note, shadow_stage
from tools.plans.reach import blast_radius
from tools.plans.sizing import Rail
from tools.plans.validation import InvalidPlan

UNFOUNDED = "drafted within the limits of policy and calculators; nothing in the spec or the telemetry says so"
CLOSE = 1e-9


@dataclass(frozen=True)
class Frame:
    """What a sketch is drawn in: the facts, the calculators' plan, and everything that limits it."""

    facts: Facts
    evidence: Evidence
    calculated: Draft
    rules: Rules

    @property
    def plan(self) -> Plan:
        """The calculators' plan."""
        return self.calculated.plan

    @cached_property
    def rails(self) -> Mapping[str, Rail]:
        """What guards in any case, and how."""
        return {base.metric: self.follow(base) for base in self.facts.baselines}

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        """What a sketch may choose: the person's word, else anything but everyone at once."""
        if self.facts.request.strategy is not None:
            return (self.facts.request.strategy,)
        return (Strategy.CANARY, Strategy.SHADOW) if self.rules.able.shadow else (Strategy.CANARY,)

    @property
    def live(self) -> tuple[Stage, ...]:
        """The calculators' live stages."""
        return tuple(stage for stage in self.plan.stages if stage.exposure.mode is Mode.LIVE)

    @property
    def first(self) -> float:
        """The largest first live step, in percent."""
        return self.live[0].exposure.percent

    @property
    def last(self) -> float:
        """The last live step, in percent: 100 wherever something can guard it."""
        return 100.0 if self.reaches_everyone else self.live[-1].exposure.percent

    @property
    def reaches_everyone(self) -> bool:
        """Whether some metric can guard a stage without a control."""
        return bool(sizing.judged_alone([*self.rails.values()]))

    @property
    def widest(self) -> float:
        """The largest step after it, in points."""
        steps = [after.exposure.percent - before.exposure.percent for before, after in pairwise(self.live)]
        return max([self.rules.policy.largest_free_step, *steps])

    @cached_property
    def hold(self) -> tuple[timedelta, Basis]:
        """How long a stage is held at least, and why."""
        return sizing.usual_bake(self.plan.tags, self.rules.policy, self.rules.defaults)

    def follow(self, base: Baseline, margin: float | None = None, because: Basis | None = None) -> Rail:
        """The metric with the margin that follows from spec, policy and risk, or with the given one."""
        known = {one.metric for one in self.facts.baselines} | {base.metric}
        return sizing.rail_of(
            base,
            self.plan.tags,
            self.rules.policy,
            self.rules.defaults,
            margin=margin,
            because=because,
            sharing=len(known),
        )

    def choices(self, metrics: Iterable[str]) -> Choices:
        """What a sketch may choose from."""
        sources = (Source.PERSON, Source.SPEC, Source.TELEMETRY)
        reasons = tuple(dict.fromkeys(text for source in sources for text in self.evidence.shown(source)))
        audiences = self.rules.able.audiences and self._speaks_of_audiences()
        return Choices(self.strategies, tuple(metrics), reasons, audiences)

    def _speaks_of_audiences(self) -> bool:
        text = " ".join((*self.evidence.spec, *self.evidence.person)).casefold()
        return not self.facts.feature.audience.everyone or "region" in text or "tenant" in text


def draw(sketch: Sketch, frame: Frame, added: Sequence[Baseline]) -> Draft:
    """The plan that the sketch means; `added` are the baselines of metrics that it adds.

    Raises InvalidPlan with a sentence for each fault, CannotBeProven, BadQuestion.
    """
    return _Drawing(sketch, frame, {base.metric: base for base in added}).drawn()


@dataclass(frozen=True)
class _Drawing:
    sketch: Sketch
    frame: Frame
    added: Mapping[str, Baseline]

    def drawn(self) -> Draft:
        faults = [*self._strategy_faults(), *self._stage_faults(), *self._guardrail_faults(), *self._audience_faults()]
        if faults:
            raise InvalidPlan(faults)
        frame, rails = self.frame, self._rails()
        stages = watching_splits(self._stages(rails), frame.rules.kinds)
        summaries = tuple(rail.summary(frame.rules.defaults.traffic_window) for rail in rails)
        plan = frame.plan.model_copy(
            update={
                "strategy": self.sketch.strategy,
                "stages": stages,
                "rationale": summaries,
                "expected": (
                    *(rail.baseline.expected for rail in rails),
                    *(one for one in frame.plan.expected if one.mix),
                ),
            }
        )
        frame.rules.check(plan)
        return Draft(plan, tuple(self._notes(plan, rails)))

    # -- what is not allowed ------------------------------------------------------------------------------------

    def _strategy_faults(self) -> Iterator[str]:
        if self.sketch.strategy not in self.frame.strategies:
            yield f"The strategy must be {' or '.join(self.frame.strategies)}."

    def _stage_faults(self) -> Iterator[str]:
        if self.sketch.strategy is Strategy.FULL:
            return
        frame, percents = self.frame, [stage.percent for stage in self.sketch.stages]
        largest = frame.first
        if frame.evidence.asked_percent(percents[0]):
            largest = max(largest, frame.rules.policy.largest_first_exposure)
        if percents[0] > largest + CLOSE:
            yield f"The first stage is {percents[0]:g} %; begin with {largest:g} % or less."
        for before, after in pairwise(percents):
            if after <= before:
                yield f"{after:g} % comes after {before:g} %; each stage must be larger than the one before."
            elif after - before > frame.widest + CLOSE:
                yield (
                    f"The step from {before:g} % to {after:g} % is larger than {frame.widest:g} points; "
                    "put a stage between."
                )
        if percents[-1] >= 100 and not frame.reaches_everyone:
            yield f"The last stage is {percents[-1]:g} %; end with {frame.last:g} %, as these metrics need a control."
        elif percents[-1] < frame.last and not frame.evidence.asked_percent(percents[-1]):
            yield f"The last stage is {percents[-1]:g} %; end with {frame.last:g} %."
        yield from self._hold_faults()

    def _hold_faults(self) -> Iterator[str]:
        usual, _ = self.frame.hold
        for number, stage in enumerate(self.sketch.stages, start=1):
            if stage.hold_hours is not None and _hold(stage) < usual:
                yield f"Stage {number} is held {in_words(_hold(stage))}; hold it at least {in_words(usual)}."

    def _guardrail_faults(self) -> Iterator[str]:
        seen = set[str]()
        for wanted in self.sketch.guardrails:
            base = self._base(wanted.metric)
            if base is None:
                known = ", ".join(self.frame.rails)
                yield f"A guardrail names no metric that can be used; these guard in any case: {known}."
                continue
            if base.metric in seen:
                yield f"{base.metric} is guarded twice; keep one."
            seen.add(base.metric)
            largest = self.frame.follow(base).margin
            if wanted.margin is not None and wanted.margin > largest + CLOSE:
                yield f"{base.metric} has the margin ×{wanted.margin:g}; use ×{largest:g} or less."

    def _audience_faults(self) -> Iterator[str]:
        sketch, evidence, everyone = self.sketch, self.frame.evidence, self.frame.facts.feature.audience
        known = {*everyone.regions, *everyone.tenants}
        if any(
            name not in known and not evidence.naming(name) for name in (*sketch.first_regions, *sketch.first_tenants)
        ):
            yield "The first stages are limited to regions or tenants that neither the spec nor the person names."
        elif (limited := self._limited()) is None:
            yield "The first stages are limited to something that is no name of a region or tenant."
        elif not limited.is_within(everyone):
            yield "The first stages reach beyond the regions and tenants that the spec limits the feature to."

    # -- what guards --------------------------------------------------------------------------------------------

    def _base(self, metric: str) -> Baseline | None:
        if metric in self.frame.rails:
            return self.frame.rails[metric].baseline
        return self.added.get(metric)

    def _rails(self) -> list[Rail]:
        wanted = {guardrail.metric: guardrail for guardrail in self.sketch.guardrails}
        kept = [self._rail(rail.baseline, wanted.get(metric)) for metric, rail in self.frame.rails.items()]
        new = [self._rail(base, wanted[metric]) for metric, base in self.added.items() if metric in wanted]
        return [*kept, *(rail for rail in new if rail.baseline.metric not in self.frame.rails)]

    def _rail(self, base: Baseline, wanted: SketchedGuardrail | None) -> Rail:
        usual = self.frame.follow(base)
        if wanted is None:
            return usual
        quote = self.frame.evidence.find(wanted.because)
        rail = usual
        if wanted.margin is not None and wanted.margin < usual.margin - CLOSE:
            rail = self.frame.follow(base, wanted.margin, _basis(quote, Facet.MARGIN))
        if base.metric in self.frame.rails:
            return rail
        return replace(rail, basis=(_basis(quote, Facet.GUARD), *rail.basis))

    # -- the stages ---------------------------------------------------------------------------------------------

    def _stages(self, rails: Sequence[Rail]) -> tuple[Stage, ...]:
        frame, sketch = self.frame, self.sketch
        usual, why = frame.hold
        everyone = frame.facts.feature.audience
        if sketch.strategy is Strategy.FULL:
            asked = sizing.basis(Source.PERSON, Facet.EXPOSURE, "the strategy is full: everyone at once")
            return (self._reaching(sizing.whole(rails, usual, alone=True, basis=(asked, why)), everyone),)
        stages = [self._live(number, stage, rails) for number, stage in enumerate(sketch.stages, start=1)]
        if sketch.strategy is Strategy.SHADOW:
            first = shadow_stage(rails, sketch.stages[0].percent, usual, frame.rules.defaults, (why,))
            stages.insert(0, self._reaching(first, everyone))
        return tuple(stages)

    def _live(self, number: int, wanted: SketchedStage, rails: Sequence[Rail]) -> Stage:
        frame, quote = self.frame, self.frame.evidence.find(wanted.because)
        bake, why_bake = frame.hold
        if wanted.hold_hours is not None and _hold(wanted) > bake:
            bake, why_bake = _hold(wanted), _basis(quote or self._wish(), Facet.HOLD)
        why = (self._why_exposed(wanted.percent, quote), why_bake)
        if wanted.percent >= 100:
            stage = sizing.whole(rails, bake, alone=False, basis=why)
        else:
            stage = sizing.staged(Exposure(percent=wanted.percent), rails, bake, frame.rules.defaults, why)
        limited = self._limited() if number <= self.sketch.limited_stages else None
        return self._reaching(stage, limited or frame.facts.feature.audience)

    def _why_exposed(self, percent: float, quote: Quote | None) -> Basis:
        quote = quote or self.frame.evidence.asked_percent(percent)
        if quote is None:
            for stage in self.frame.live:
                if stage.exposure.percent == percent:
                    return next(basis for basis in stage.basis if basis.of is Facet.EXPOSURE)
        return _basis(quote, Facet.EXPOSURE)

    def _wish(self) -> Quote | None:
        """The person's words, where they are the reason for the whole."""
        quote = self.frame.evidence.find(self.sketch.because)
        return quote if quote is not None and quote.source is Source.PERSON else None

    def _limited(self) -> Audience | None:
        """Who the first stages are for; None when the sketch's names are none."""
        sketch, everyone = self.sketch, self.frame.facts.feature.audience
        try:
            return Audience(
                regions=tuple(dict.fromkeys(sketch.first_regions)) or everyone.regions,
                tenants=tuple(dict.fromkeys(sketch.first_tenants)) or everyone.tenants,
            )
        except ValidationError:
            return None

    def _reaching(self, stage: Stage, audience: Audience) -> Stage:
        if audience.everyone:
            return stage
        names = (*audience.regions, *audience.tenants)
        feature = self.frame.facts.feature
        if audience == feature.audience:
            stated = feature.audience_stated or f"the spec limits it to {', '.join(names)}"
            why = sizing.basis(Source.SPEC, Facet.AUDIENCE, stated)
        else:
            quotes = (self.frame.evidence.naming(name) for name in names)
            why = _basis(next((quote for quote in quotes if quote), None), Facet.AUDIENCE)
        exposure = stage.exposure.model_copy(update={"audience": audience})
        return stage.model_copy(update={"exposure": exposure, "basis": (*stage.basis, why)})

    # -- what people read ---------------------------------------------------------------------------------------

    def _notes(self, plan: Plan, rails: Sequence[Rail]) -> Iterator[str]:
        doubts = [*self._doubts(plan, rails)]
        if doubts and not self._calculators_doubt():
            raise InvalidPlan(doubts)
        if quote := self.frame.evidence.find(self.sketch.because):
            yield f"Why {plan.strategy}: “{quote.text}”"
        yield from doubts
        ending = sizing.ending_notes(plan.stages, rails)
        if plan.stages[-1].exposure.percent < 100 and not ending:
            yield f"It ends at {plan.stages[-1].exposure}, not with everyone."
        yield from ending
        for audience in dict.fromkeys(stage.exposure.audience for stage in plan.stages):
            yield from audience_note(audience, plan.expected)
        yield from blast_radius(plan, rails, self.frame.rules.defaults.reachable_in(plan.environment))

    def _doubts(self, plan: Plan, rails: Sequence[Rail]) -> Iterator[str]:
        for exposure in (stage.exposure for stage in plan.stages):
            if exposure.percent < 100:
                for doubt in sizing.doubts(rails, exposure.percent, self.frame.rules.defaults.stage_budget):
                    yield f"{exposure}: {doubt}"

    def _calculators_doubt(self) -> bool:
        frame = self.frame
        return frame.first < 100 and bool(
            sizing.doubts([*frame.rails.values()], frame.first, frame.rules.defaults.stage_budget)
        )


def _hold(stage: SketchedStage) -> timedelta:
    return timedelta(hours=stage.hold_hours or 0)


def _basis(quote: Quote | None, of: Facet) -> Basis:
    if quote is None:
        return sizing.basis(Source.DEFAULT, of, UNFOUNDED)
    return sizing.basis(quote.source, of, quote.text)

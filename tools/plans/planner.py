"""The calculators' planner: from traffic, base rates, the smallest harm worth catching and risk to stages and lengths.

Pure. Every number of the plan is computed, and its basis says from what; where something can't be proven with the
traffic there is, that is said before anyone starts, with what would help.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from tools.plans import sizing
from tools.plans.defaults import PlanningDefaults
from tools.plans.kinds import NO_KINDS, Kinds, watching_splits
from tools.plans.mixes import part_of
from tools.plans.model import Audience, Basis, Expected, Exposure, Facet, Mode, Plan, Source, Stage, Strategy
from tools.plans.policy import Policy
from tools.plans.reach import blast_radius
from tools.plans.sizing import Baseline, CannotBeProven, Rail

__all__ = ["Baseline", "CannotBeProven", "Draft", "Feature", "PlanningDefaults", "draft_plan"]


@dataclass(frozen=True, slots=True)
class Feature:
    """What is planned for: the flag, its variants, and what the spec says of it.

    `audience_stated` is the spec's own line about the audience.
    """

    flag: str
    environment: str
    control: str
    treatment: str
    tags: tuple[str, ...]
    depends_on: tuple[str, ...]
    spec_author: str | None
    spec_sha256: str | None
    audience: Audience
    audience_stated: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan and the sentences that people should read before they approve it."""

    plan: Plan
    notes: tuple[str, ...]


def draft_plan(
    feature: Feature,
    baselines: Sequence[Baseline],
    policy: Policy,
    defaults: PlanningDefaults,
    strategy: Strategy | None = None,
    kinds: Kinds = NO_KINDS,
    mixes: Sequence[Expected] = (),
) -> Draft:
    """A plan whose every stage can be proven, or that says which can't. Raises CannotBeProven.

    `kinds` are those of the catalogue's metrics: what watches the split of users comes along by itself. `mixes` is what
    the traffic was made of, to be watched.
    """
    if not baselines:
        raise CannotBeProven(
            f"No metric guards {feature.flag}: name at least one under kpis in its spec, or define one in sluice.toml."
        )
    kind = strategy or Strategy.CANARY
    sharing = len(baselines)
    rails = [sizing.rail_of(baseline, feature.tags, policy, defaults, sharing=sharing) for baseline in baselines]
    stages, doubts = usual_stages(kind, rails, feature.tags, policy, defaults)
    plan = Plan(
        flag=feature.flag,
        environment=feature.environment,
        control=feature.control,
        treatment=feature.treatment,
        strategy=kind,
        stages=watching_splits((_limited(stage, feature) for stage in stages), kinds),
        tags=feature.tags,
        depends_on=feature.depends_on,
        burn_in=defaults.burn_in,
        stale_after=defaults.stale_after,
        blind_budget=defaults.blind_budget,
        check_every=defaults.check_every,
        rationale=tuple(rail.summary(defaults.traffic_window) for rail in rails),
        expected=(*(baseline.expected for baseline in baselines), *mixes),
        spec_author=feature.spec_author,
        spec_sha256=feature.spec_sha256,
    )
    notes = (*doubts, *sizing.ending_notes(plan.stages, rails), *audience_note(feature.audience, plan.expected))
    return Draft(plan, (*notes, *blast_radius(plan, rails, defaults.reachable_in(plan.environment))))


def usual_stages(
    kind: Strategy, rails: Sequence[Rail], tags: tuple[str, ...], policy: Policy, defaults: PlanningDefaults
) -> tuple[tuple[Stage, ...], list[str]]:
    """The stages for everyone that a strategy has where nobody says otherwise, and what can't be proven in time.

    They end below 100 % where no metric can guard that stage. Raises CannotBeProven.
    """
    bake, why_bake = sizing.usual_bake(tags, policy, defaults)
    if kind is Strategy.FULL:
        why = sizing.basis(Source.DEFAULT, Facet.EXPOSURE, "the strategy is full: everyone at once")
        return (sizing.whole(rails, bake, alone=True, basis=(why, why_bake)),), sizing.unwatched(rails)
    first, why_first, doubts = sizing.first_exposure(rails, tags, policy, defaults)
    usual = sizing.usual_stages(defaults)
    percents = sorted({first, *(percent for percent in defaults.stages if first < percent < 100)})
    live = [
        sizing.staged(
            Exposure(percent=percent), rails, bake, defaults, (why_first if percent == first else usual, why_bake)
        )
        for percent in percents
    ]
    stages = [*live]
    if sizing.judged_alone(rails):
        stages.append(sizing.whole(rails, bake, alone=False, basis=(usual, why_bake)))
        doubts = [*doubts, *sizing.unwatched(rails)]
    if kind is Strategy.SHADOW:
        stages.insert(0, shadow_stage(rails, first, bake, defaults, (why_bake,)))
    return tuple(stages), doubts


def shadow_stage(
    rails: Sequence[Rail], first: float, bake: timedelta, defaults: PlanningDefaults, basis: tuple[Basis, ...]
) -> Stage:
    """The stage in shadow before the first live one, which exposes `first` percent. Raises CannotBeProven."""
    share, why = sizing.shadow_share(defaults, first)
    return sizing.staged(Exposure(percent=share, mode=Mode.SHADOW), rails, bake, defaults, (why, *basis))


def audience_note(audience: Audience, expected: Sequence[Expected]) -> list[str]:
    """What a limited audience means for the proofs, and for what is watched of what the plan was made for."""
    if audience.everyone:
        return []
    names = ", ".join(audience.tenants + audience.regions)
    said = f"It is limited to {names}. The traffic above is everyone's, so that proofs may take longer."
    if part_of(audience, expected) is None:
        said += " No mix of the traffic tells what part of it that is, so treatment's share is not watched."
    return [said]


def _limited(stage: Stage, feature: Feature) -> Stage:
    """The stage, for those only whom the spec names."""
    if feature.audience.everyone:
        return stage
    names = ", ".join(feature.audience.tenants + feature.audience.regions)
    why = sizing.basis(Source.SPEC, Facet.AUDIENCE, feature.audience_stated or f"the spec limits it to {names}")
    exposure = stage.exposure.model_copy(update={"audience": feature.audience})
    return stage.model_copy(update={"exposure": exposure, "basis": (*stage.basis, why)})

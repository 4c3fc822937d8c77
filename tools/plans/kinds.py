"""What a metric's kind means for a plan: what may guard a stage without a control, and what comes along by itself.

The one place that knows it. Once everyone is exposed nobody is left to compare with: a rate is held against control's
history or a ceiling then, what is only ever compared is left out. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tools.metrics.catalogue import MetricKind
from tools.plans.model import Basis, Facet, Guardrail, Mode, OnFail, OnNoData, Plan, Source, Stage

Kinds = Mapping[str, MetricKind]
"""The kind of each metric of the catalogue, by its name."""

NO_KINDS: Kinds = {}
COMPARED_ONLY = frozenset({MetricKind.MEAN, MetricKind.LATENCY, MetricKind.ASSIGNMENTS})
WATCHED_ONLY = frozenset({MetricKind.ASSIGNMENTS, MetricKind.MIX})
SPLIT_BASIS = "the split of users is watched wherever there is a control"


def needs_control(kind: MetricKind) -> bool:
    """Whether the metric is judged only beside a control."""
    return kind in COMPARED_ONLY


def is_sized(kind: MetricKind) -> bool:
    """Whether stages are made long enough for it; a split is either kept or not, within minutes, as a mix is."""
    return kind not in WATCHED_ONLY


def guards(kind: MetricKind) -> bool:
    """Whether it may be a guardrail; what requests are made of is no harm by itself."""
    return kind is not MetricKind.MIX


def control_faults(plan: Plan, kinds: Kinds) -> Iterator[str]:
    """A sentence for each guardrail that lacks the control that it needs, can be none, or watches what is no split.

    Metrics that the catalogue does not know are found out when they are asked for.
    """
    for number, stage in enumerate(plan.stages, start=1):
        known = [(rail, kinds[rail.metric]) for rail in stage.guardrails if rail.metric in kinds]
        for rail in [rail for rail, kind in known if not guards(kind)]:
            yield f"Stage {number}: {rail.metric} says what requests are made of, which guards nothing; leave it out."
        lacking = [rail.metric for rail, kind in known if needs_control(kind)]
        if lacking and stage.exposure.leaves_no_control:
            yield (
                f"Stage {number} exposes everyone, and {' and '.join(lacking)} can only be compared with a control: "
                f"{_instead(stage.guardrails, lacking)}."
            )
        for rail, kind in known:
            if rail.of_split != (kind is MetricKind.ASSIGNMENTS):
                yield (
                    f"Stage {number}: {rail.metric} is of the kind {kind}, so its guardrail must "
                    f"{'have' if kind is MetricKind.ASSIGNMENTS else 'not have'} of_split."
                )


def watching_splits(stages: Iterable[Stage], kinds: Kinds) -> tuple[Stage, ...]:
    """The stages, each live one with a control watched by every metric of assignments that there is, and no other."""
    splits = [metric for metric, kind in kinds.items() if kind is MetricKind.ASSIGNMENTS]
    return tuple(_watching(stage, splits) for stage in stages)


def without_splits(rails: Iterable[Guardrail]) -> tuple[Guardrail, ...]:
    """The guardrails that people and planners choose."""
    return tuple(rail for rail in rails if not rail.of_split)


def _watching(stage: Stage, splits: Sequence[str]) -> Stage:
    is_split = stage.exposure.mode is Mode.LIVE and 0 < stage.exposure.percent < 100
    rails = (*without_splits(stage.guardrails), *(_of_split(metric) for metric in splits if is_split))
    return stage if rails == stage.guardrails else stage.model_copy(update={"guardrails": rails})


def _of_split(metric: str) -> Guardrail:
    return Guardrail(
        metric=metric,
        min_sample=1,
        of_split=True,
        on_fail=OnFail.PAUSE,
        on_no_data=OnNoData.PAUSE,
        basis=(Basis(source=Source.DEFAULT, of=Facet.GUARD, text=SPLIT_BASIS),),
    )


def _instead(rails: Sequence[Guardrail], lacking: Sequence[str]) -> str:
    if len(rails) > len(lacking):
        return f"leave {'it' if len(lacking) == 1 else 'them'} out of that stage"
    return "end below 100 %, or let a metric of events guard that stage"

"""A gate and nothing else: what it is asked, over and over, without a database or a flag service.

Each look prepares, measures and assesses as the controller does, and judges the row that is kept once more from itself
alone.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.unit.rollouts.world import FLAG, make_plan
from tools.gates import Verdict
from tools.metrics.catalogue import Catalogue, MetricDefinition, MetricKind
from tools.metrics.memory import MemoryMetricSource, Observation
from tools.metrics.router import Metrics
from tools.plans.model import Exposure, Guardrail, Plan, Stage
from tools.records.models import Acceptance, GateCheck, Rollout
from tools.rollouts import assessing, checks, decisions, measuring, preparing
from tools.rollouts.phases import Phase

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
Numbers = Mapping[str, tuple[Any, Any]]


def rate(name: str, **more: Any) -> MetricDefinition:
    """A metric of events among exposures."""
    return MetricDefinition(name=name, source="memory", title=name, query="-", **more)


def assignments(name: str = "split") -> MetricDefinition:
    """A metric of new assignments."""
    return rate(name, kind=MetricKind.ASSIGNMENTS)


def stage_of(percent: float, *rails: Guardrail, bake: float = 60, **exposure: Any) -> Stage:
    """A stage with several guardrails; `bake` in seconds."""
    return Stage(
        exposure=Exposure(percent=percent, **exposure),
        bake=timedelta(seconds=bake),
        time_limit=timedelta(days=1),
        guardrails=rails,
    )


@dataclass
class Gatehouse:
    """The gate of a plan's stage, whose exposure has been in force since START; `at` is the time of the last look."""

    definitions: Sequence[MetricDefinition]
    plan: Plan
    at: datetime = START
    rollout: Rollout = field(init=False)
    source: MemoryMetricSource = field(init=False)
    row: GateCheck | None = None
    acceptances: list[Acceptance] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source = MemoryMetricSource(self.definitions)
        self.rollout = Rollout(id="r", epoch=0, stage=0, evidence={}, harm_accepted={}, exposed_since=START)
        self.enter(0)

    @classmethod
    def of(cls, definitions: Sequence[MetricDefinition], *stages: Stage, **changes: Any) -> "Gatehouse":
        """Of a plan without a burn-in."""
        return cls(definitions, make_plan(*stages, **{"burn_in": timedelta(0), **changes}))

    def enter(self, stage: int) -> None:
        """The stage's exposure is confirmed now."""
        self.rollout.stage, self.rollout.stage_since = stage, self.at
        self.serve(self.plan.stages[stage].exposure)

    def serve(self, exposure: Exposure) -> None:
        """What was last seen of the flag."""
        self.rollout.settled = exposure.model_dump(mode="json")

    async def look(self, numbers: Numbers | None = None, *, seconds: float = 60) -> checks.Assessment:
        """So many seconds later; `numbers` came since, by metric for control and treatment, and None for nothing."""
        self.at += timedelta(seconds=seconds)
        for metric, arms in (numbers or {}).items():
            for variant, counts in zip((self.plan.control, self.plan.treatment), arms, strict=True):
                if counts is not None:
                    self.source.add(metric, FLAG.flag, FLAG.environment, self._observation(variant, counts))
        metrics = Metrics(Catalogue(self.definitions), {"memory": self.source})
        inputs = preparing.prepare(
            self.rollout, self.plan, at=self.at, define=metrics.define, acceptances=self.acceptances
        )
        answers = await measuring.measure(inputs, self.plan, metrics)
        found = assessing.assess(inputs, answers)
        self.row = checks.record(self.rollout, self.plan, inputs, answers, found)
        check_alike(self.row, found)
        self.rollout.evidence = {**self.rollout.evidence, **json.loads(json.dumps(found.evidence, allow_nan=False))}
        return found

    async def looks(self, times: int, numbers: Numbers, *, seconds: float = 60) -> checks.Assessment:
        """Several looks, each with the same numbers."""
        for _ in range(times - 1):
            await self.look(numbers, seconds=seconds)
        return await self.look(numbers, seconds=seconds)

    def forget(self) -> None:
        """Leave out of the source what was counted so far, which was read already."""
        self.source = MemoryMetricSource(self.definitions)

    def action(self, found: checks.Assessment, *, blind_since: datetime | None = None) -> decisions.Action:
        """What the controller would do."""
        assert self.rollout.stage is not None
        stage = self.plan.stages[self.rollout.stage]
        situation = decisions.Situation(
            plan=self.plan,
            stage=stage,
            phase=Phase.PROGRESSING,
            at=self.at,
            verdict=found.verdict,
            by_guardrail=tuple(zip(stage.guardrails, found.counted, strict=True)),
            stage_since=self.rollout.stage_since,
            limit_from=self.rollout.stage_since,
            blind_since=blind_since,
            blind_paged=False,
            harm_accepted=self.rollout.harm_accepted,
            exposed=True,
            flag_seen=True,
        )
        return decisions.decide(situation)

    def _observation(self, variant: str, counts: Any) -> Observation:
        exposures, *rest = counts if isinstance(counts, tuple) else (counts,)
        return Observation(variant, self.at - timedelta(milliseconds=1), exposures, *rest)


def check_alike(row: GateCheck, found: checks.Assessment) -> None:
    """The row, as a database gives it back, says the same again."""
    for column in ("inputs", "answers", "verdict", "evidence"):
        setattr(row, column, json.loads(json.dumps(getattr(row, column), allow_nan=False)))
    again = assessing.judge_again(row)
    assert again.verdict_json() == row.verdict
    assert again.evidence == row.evidence
    assert Verdict.from_json(row.verdict["gate"]) == found.verdict

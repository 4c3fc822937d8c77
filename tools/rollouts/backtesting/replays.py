"""What a plan's gates would have done: its stages are run through recorded history, again and again, with the gate's
own code. Pure, with a fixed seed: the same history and plan give the same report.

A replay begins at a random moment of the history, which is taken for a circle, and goes through the stages as the
controller does: promoted when every guardrail passes and the stage has its bake time and samples, rolled back on proven
harm, and left to a person when harm is suspected or the stage's limit comes. Its treatment is made of the history
(`tools.rollouts.backtesting.streams`), without harm (A/A) and with.

What it can't see: blind metrics, the sample ratio, people. Where history is dealt by counts: what
differs between users for longer than an interval.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np

from tools.clock import in_words
from tools.gates import Direction, Harm, Minutes, Outcome, Verdict
from tools.gates.combined import ALPHA_PAUSE, combine
from tools.metrics.catalogue import MetricKind
from tools.metrics.history import Floats, History, Ints
from tools.plans.model import Guardrail, Mode, OnFail, Plan, Stage
from tools.rollouts.backtesting.gate import Evidence, Look, judged
from tools.rollouts.backtesting.report import (
    ORDER,
    Asked,
    Dealt,
    Ending,
    Hurt,
    LeftOut,
    MetricCatch,
    NothingToReplay,
    Replayed,
    Report,
    Source,
    StageCatch,
)
from tools.rollouts.backtesting.streams import Assignment, Random, Stream, stream_of

GRAIN = timedelta(minutes=1)
MOST_LOOKS = 200
"""How often a plan's gates are looked at in the time that it likely takes, before the looks become rarer."""
LIKELY = 5
"""A proof likely takes this part of what its stage is given at most."""
LONGEST = 2_000
"""Looks after which a replay is given up: a person would have been asked."""
FIRST_BATCH, LARGEST_BATCH = 10, 200
"""Replays of each harm that run side by side: few at first, for these are run whatever time they take."""


USUAL = Asked()


def grain_for(plan: Plan) -> timedelta:
    """The time between two looks in replays of the plan: a minute, or more where its stages are long."""
    likely = sum((max(stage.bake, stage.time_limit / LIKELY) for stage in plan.stages), timedelta(0))
    return GRAIN * max(1, math.ceil(likely / (GRAIN * MOST_LOOKS)))


def guards_of(plan: Plan) -> dict[str, Guardrail]:
    """A guardrail of the plan for each metric."""
    return {rail.metric: rail for stage in reversed(plan.stages) for rail in stage.guardrails}


def hurts_of(guards: Mapping[str, Guardrail], kinds: Mapping[str, MetricKind], asked: Asked) -> list[Hurt]:
    """Every harm that is to be done: to metrics of one kind and direction, by each of its factors."""
    alike = dict[tuple[MetricKind, Direction], list[str]]()
    for metric, kind in sorted(kinds.items()):
        alike.setdefault((kind, guards[metric].direction), []).append(metric)
    ordered = sorted(alike, key=lambda one: (ORDER.index(one[0]), one[1] is Direction.DECREASE))
    return [
        Hurt(kind, direction, tuple(alike[kind, direction]), factor)
        for kind, direction in ordered
        for factor in asked.harms_to(kind)
    ]


def _never() -> bool:
    return False


def backtest(
    plan: Plan,
    histories: Sequence[History],
    asked: Asked = USUAL,
    *,
    weights: Mapping[str, float] | None = None,
    left_out: Sequence[LeftOut] = (),
    progress: Callable[[int], None] = lambda done: None,
    enough: Callable[[], bool] = _never,
) -> Report:
    """Replay the plan over the histories of its metrics, all of one span and step: some of the plan's grains.

    `weights` are the metrics' parts of the gate's levels (`preparing.weights`), the same for all unless given.
    `progress` is told how many more replays have ended; `left_out` are guardrails whose history can't be replayed. Once
    it is `enough` there are fewer replays than asked for, of each harm alike, but some. Raises NothingToReplay.
    """
    guards = guards_of(plan)
    used = [history for history in histories if history.metric in guards]
    if not used:
        raise NothingToReplay(f"None of the metrics that guard {plan.flag} can be replayed.")
    if any(history.step % grain_for(plan) for history in used):
        raise NothingToReplay(f"The history must be in pieces of some {in_words(grain_for(plan))}.")
    hurts = hurts_of(guards, {history.metric: history.kind for history in used}, asked)
    parts = dict.fromkeys(guards, 1 / len(guards)) if weights is None else weights
    replays = _Replays(plan, guards, used, parts, grain_for(plan), asked.seed)
    ended: list[list[_Replay]] = [[] for _ in (None, *hurts)]
    for numbers in _batches(asked.replays):
        until = enough if numbers.start else _never
        batches = list(replays.batch(numbers, (None, *hurts), progress, until))
        if len(batches) < len(ended):
            break
        for found, batch in zip(ended, batches, strict=True):
            found += batch
        if enough():
            break
    told = [_told(plan, replays.grain, hurt, found) for hurt, found in zip((None, *hurts), ended, strict=True)]
    return Report(
        flag=plan.flag,
        environment=plan.environment,
        plan_sha256=plan.sha256,
        span=used[0].span,
        looked_every=replays.grain,
        sources=tuple(_source(history, guards[history.metric]) for history in used),
        left_out=tuple(left_out),
        harmless=told[0],
        harmful=tuple(told[1:]),
    )


def _batches(replays: int) -> Iterator[range]:
    first, size = 0, FIRST_BATCH
    while first < replays:
        yield range(first, min(first + size, replays))
        first, size = first + size, min(2 * size, LARGEST_BATCH)


@dataclass
class _Replay:
    """One way through the stages. `number` is its row among those side by side, `hurt` the metric that is made worse.

    `served` is by metric, in this stage; `warm` counts minutes in the present mode.
    """

    number: int
    start: int
    hurt: str | None
    stage: int = 0
    looks: int = 0
    warm: float = 0.0
    told: bool = False
    ending: Ending | None = None
    lengths: list[int] = field(default_factory=list)
    served: dict[str, int] = field(default_factory=dict)
    evidence: Evidence = field(default_factory=dict)


@dataclass
class _Replays:
    """Runs many replays side by side, so that the gate's evidence is updated together."""

    plan: Plan
    guards: Mapping[str, Guardrail]
    histories: Sequence[History]
    weights: Mapping[str, float]
    grain: timedelta
    seed: int

    def batch(
        self,
        numbers: range,
        hurts: Sequence[Hurt | None],
        progress: Callable[[int], None],
        enough: Callable[[], bool],
    ) -> Iterable[list[_Replay]]:
        """The replays of these numbers with each harm, or with some once it is `enough`.

        One number begins at one moment, with the same users treated.
        """
        rng = np.random.default_rng((self.seed, numbers.start))
        ids = list(dict.fromkeys(one for history in self.histories if history.units for one in history.units.ids))
        assignment = Assignment(self.plan.flag, ids, self.seed, numbers)
        places = {one: place for place, one in enumerate(ids)}
        streams = {
            one.metric: stream_of(one, self.guards[one.metric], self.grain, rng, assignment, places)
            for one in self.histories
        }
        length = next(iter(streams.values())).looks
        starts = rng.integers(0, length, len(numbers)).tolist()
        for order, hurt in enumerate(hurts):
            of_its_own = np.random.default_rng((self.seed, numbers.start, order))
            replays = [
                _Replay(row, start, None if hurt is None else hurt.metrics[number % len(hurt.metrics)])
                for row, (number, start) in enumerate(zip(numbers, starts, strict=True))
            ]
            if not self._run(of_its_own, streams, replays, 1.0 if hurt is None else hurt.factor, progress, enough):
                return
            yield replays

    def _run(
        self,
        rng: Random,
        streams: Mapping[str, Stream],
        replays: list[_Replay],
        harm: float,
        progress: Callable[[int], None],
        enough: Callable[[], bool],
    ) -> bool:
        """Whether they came to their end."""
        going = replays
        for look in range(LONGEST):
            if enough():
                return False
            self._look(rng, streams, going, look, harm)
            left = [one for one in going if one.ending is None]
            progress(len(going) - len(left))
            going = left
            if not going:
                return True
        for one in going:
            _end(one, Ending.ASKED)
        progress(len(going))
        return True

    def _look(self, rng: Random, streams: Mapping[str, Stream], going: list[_Replay], look: int, harm: float) -> None:
        found: list[list[tuple[Guardrail, Verdict]]] = [[] for _ in going]
        numbers: Ints = np.array([one.number for one in going])
        percents: Floats = np.array([self._stage(one).exposure.percent for one in going])
        for history in self.histories:
            stream = streams[history.metric]
            at: Ints = np.array([(one.start + look) % stream.looks for one in going])
            arms = stream.deal(rng, numbers, at, percents)
            factors: Floats = np.array([harm if one.hurt == history.metric else 1.0 for one in going])
            if (factors > 1).any():
                stream.worsen(rng, at, arms, factors)
            looks = {row: one for row, one in enumerate(self._looks(history.metric, going)) if one is not None}
            for row in looks:
                served = going[row].served
                served[history.metric] = served.get(history.metric, 0) + arms.exposures[row, 1].item()
            for row, verdict in judged(history, self.weights[history.metric], list(looks.values()), arms):
                found[row].append((looks[row].rail, verdict))
        for one, verdicts in zip(going, found, strict=True):
            self._act(one, self._together(verdicts))

    def _looks(self, metric: str, going: Sequence[_Replay]) -> Iterable[Look | None]:
        expected = next((one for one in self.plan.expected if one.metric == metric), None)
        for row, one in enumerate(going):
            stage = self._stage(one)
            rail = next((rail for rail in stage.guardrails if rail.metric == metric), None)
            mode = None if stage.exposure.leaves_no_control else stage.exposure.mode.value
            burning_in = one.warm < self.plan.burn_in / GRAIN
            due = (one.looks + 1) * self.grain >= stage.bake
            yield (
                None
                if rail is None
                else Look(row, rail, mode, one.evidence, burning_in, due, self.grain / GRAIN, expected)
            )

    def _together(self, found: list[tuple[Guardrail, Verdict]]) -> list[tuple[Guardrail, Verdict]]:
        """What the guardrails say together, which none may say alone."""
        weights = [self.weights[rail.metric] for rail, _ in found]
        together = sum(part * verdict.harm_e for part, (_, verdict) in zip(weights, found, strict=True))
        if len(found) < 2 or together < 1 / ALPHA_PAUSE:
            return found
        failing = [rail.on_fail is OnFail.ROLL_BACK for rail, _ in found]
        combined = combine([verdict for _, verdict in found], weights, rolls_back=failing)
        return [(rail, verdict) for (rail, _), verdict in zip(found, combined.by_guardrail, strict=True)]

    def _act(self, one: _Replay, found: list[tuple[Guardrail, Verdict]]) -> None:
        """What the controller would do, one grain later."""
        stage = self._stage(one)
        one.looks += 1
        one.warm += self.grain / GRAIN
        if any(verdict.harm is Harm.PROVEN and rail.on_fail is OnFail.ROLL_BACK for rail, verdict in found):
            return _end(one, Ending.ROLLED_BACK)
        one.told = one.told or any(verdict.harm is not Harm.NONE for _, verdict in found)
        age = one.looks * self.grain
        passed = bool(found) and all(verdict.outcome is Outcome.PASS for _, verdict in found)
        enough = all(one.served.get(rail.metric, 0) >= rail.min_sample for rail, _ in found)
        if passed and enough and not one.told and age >= stage.bake:
            return self._promote(one)
        if age >= stage.time_limit:
            return _end(one, Ending.ASKED)
        return None

    def _promote(self, one: _Replay) -> None:
        if one.stage + 1 == len(self.plan.stages):
            return _end(one, Ending.PROMOTED)
        before: Mode = self._stage(one).exposure.mode
        one.lengths.append(one.looks)
        one.stage, one.looks, one.served = one.stage + 1, 0, {}
        if self._stage(one).exposure.mode is not before:
            one.warm = 0.0
        return None

    def _stage(self, one: _Replay) -> Stage:
        return self.plan.stages[one.stage]


def _end(one: _Replay, ending: Ending) -> None:
    one.ending = ending
    one.lengths.append(one.looks)
    one.evidence.clear()


def _told(plan: Plan, grain: timedelta, hurt: Hurt | None, replays: Sequence[_Replay]) -> Replayed:
    whole = _became(plan, grain, "", replays)
    return Replayed(
        hurt=hurt,
        replays=whole.replays,
        rolled_back=whole.caught,
        asked=whole.asked,
        promoted=whole.promoted,
        minutes=whole.minutes,
        by_stage=whole.by_stage,
        curve=whole.curve,
        by_metric=tuple(
            _became(plan, grain, metric, [one for one in replays if one.hurt == metric])
            for metric in (() if hurt is None else hurt.metrics)
        ),
    )


def _became(plan: Plan, grain: timedelta, metric: str, replays: Sequence[_Replay]) -> MetricCatch:
    """What became of these replays, which hurt that metric."""
    minutes = grain / GRAIN
    caught = [one for one in replays if one.ending is Ending.ROLLED_BACK]
    took = sorted(minutes * sum(one.lengths) for one in caught)
    by_stage = tuple(
        StageCatch(
            str(stage.exposure),
            sum(one.stage == index for one in caught),
            _minutes([minutes * one.looks for one in caught if one.stage == index]),
        )
        for index, stage in enumerate(plan.stages)
    )
    edges = [took[-1] * part / 10 for part in range(1, 11)] if took else []
    return MetricCatch(
        metric=metric,
        replays=len(replays),
        caught=len(caught),
        minutes=_minutes(took),
        asked=sum(one.ending is Ending.ASKED for one in replays),
        promoted=sum(one.ending is Ending.PROMOTED for one in replays),
        by_stage=by_stage,
        curve=tuple(sum(one <= edge + 1e-9 for one in took) / len(replays) for edge in edges),
    )


def _minutes(values: Sequence[float]) -> Minutes | None:
    return Minutes(float(np.median(values)), float(np.quantile(values, 0.9))) if values else None


def _source(history: History, rail: Guardrail) -> Source:
    total = history.total
    level = {
        MetricKind.RATIO: total.events / max(total.exposures, 1),
        MetricKind.MEAN: total.total / max(total.exposures, 1),
        MetricKind.LATENCY: None,
    }
    return Source(
        metric=history.metric,
        kind=history.kind,
        dealt=Dealt.COUNTS if history.units is None else Dealt.UNITS,
        units=None if history.units is None else len(history.units.ids),
        requests_per_minute=total.exposures / (history.span / GRAIN),
        level=level[history.kind],
        dispersion=history.dispersion,
        planned_dispersion=rail.dispersion,
        silent=history.silent,
    )

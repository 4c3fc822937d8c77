"""What a plan's gates would have done: its stages are run through recorded history, again and again, with the gate's
own code. Pure, with a fixed seed: the same history and plan give the same report.

A replay begins at a random moment of the history, which is taken for a circle, and goes through the stages as the
controller does: promoted when every guardrail passes and the stage has its bake time and samples, rolled back on proven
harm, and left to a person when harm is suspected or the stage's limit comes.

Its treatment is made of the history. Without harm (A/A) each interval's exposures are drawn into the arms at the
stage's share, and its events with them, hypergeometrically. A source tells counts, not users, so that users can't be
hashed; instead events stay together in the lumps that the history's own dispersion φ tells of (beta-binomial, of a
variance φ times as large), as those of a user would who makes many of them. With harm treatment is made worse by a
factor: events are added to it, in lumps too, or taken away where fewer are harm.

What it can't see: what differs between users for longer than an interval, blind metrics, people. A shared incident is
in both arms, but does not hold a replay as it holds a rollout.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tools.clock import in_words
from tools.errors import InvalidInput
from tools.gates import (
    CeilingEvidence,
    CeilingTest,
    CountEvidence,
    Counts,
    CountTest,
    Direction,
    Harm,
    Minutes,
    Outcome,
    Verdict,
    judge,
    judge_ceiling,
    update_ceiling,
)
from tools.gates.counts import Interval, update_all
from tools.metrics.history import History
from tools.plans.model import Guardrail, Mode, OnFail, Plan, Stage
from tools.rollouts.checks import ceiling_for

GRAIN = timedelta(minutes=1)
MOST_LOOKS = 400
"""How often a stage's gate is looked at in its bake times together, before the looks become rarer."""
LONGEST = 2_000
"""Looks after which a replay is given up: a person would have been asked."""
USUAL_HARMS = (1.5, 2.0, 5.0)
SEED = 14_000

Ints = NDArray[np.int64]


class NothingToReplay(InvalidInput):
    """A plan or a question that no history can answer."""


class Ending(StrEnum):
    """How a replay ends."""

    PROMOTED = "promoted"  # to the plan's end
    ROLLED_BACK = "rolled_back"
    ASKED = "asked"  # suspected, or not proven within a stage's limit: a person decides


@dataclass(frozen=True)
class Asked:
    """How many replays for each size of harm, and for none. `harms` are factors above 1. Raises NothingToReplay."""

    replays: int = 200
    harms: tuple[float, ...] = USUAL_HARMS
    seed: int = SEED

    def __post_init__(self) -> None:
        if not 1 <= self.replays <= 10_000:
            raise NothingToReplay(f"There must be 1 to 10,000 replays, not {self.replays:,}.")
        if not all(1.001 <= harm <= 100 for harm in self.harms):
            raise NothingToReplay("A harm is a factor between 1.001 and 100; 2 means twice as many events.")


@dataclass(frozen=True)
class StageCatch:
    """How many were rolled back in a stage, and how long after its begin, in minutes; None when none was."""

    exposure: str
    caught: int
    minutes: Minutes | None


@dataclass(frozen=True)
class Replayed:
    """What became of the replays with one size of harm (1: none), done to each metric in turn.

    `minutes` are those from the start to the rollback, and `curve` is the part that is rolled back by each tenth of the
    longest of them.
    """

    harm: float
    replays: int
    rolled_back: int
    asked: int
    promoted: int
    minutes: Minutes | None
    by_stage: tuple[StageCatch, ...]
    by_metric: dict[str, int]
    curve: tuple[float, ...]

    @property
    def at_most(self) -> float:
        """What the part that is rolled back does not exceed, with 95 % confidence (Wilson, 1927)."""
        z, trials = 1.645, self.replays
        part = self.rolled_back / trials
        centre, spread = part + z**2 / (2 * trials), z * math.sqrt((part * (1 - part) + z**2 / (4 * trials)) / trials)
        return (centre + spread) / (1 + z**2 / trials)


@dataclass(frozen=True)
class Source:
    """The history of a metric that was replayed, and how bursty it is, besides what the plan reckons with."""

    metric: str
    requests_per_minute: float
    base_rate: float
    dispersion: float
    planned_dispersion: float
    silent: float


@dataclass(frozen=True)
class Report:
    """All of it: `span` is how long the history is, `looked_every` the time between two looks at a gate."""

    flag: str
    environment: str
    plan_sha256: str
    span: timedelta
    looked_every: timedelta
    sources: tuple[Source, ...]
    left_out: tuple[str, ...]
    harmless: Replayed
    harmful: tuple[Replayed, ...]
    increase: bool = True

    @property
    def summary(self) -> str:
        """One line for the plan's card."""
        first = (
            f"Over the last {in_words(self.span)} these gates would have rolled back {self.harmless.rolled_back} of "
            f"{self.harmless.replays:,} times"
        )
        shown = min(self.harmful, key=lambda one: abs(one.harm - 2), default=None)
        if shown is None:
            return f"{first}."
        if shown.minutes is None:
            return f"{first}, and would not have caught {self.named(shown.harm)}."
        where = max(shown.by_stage, key=lambda one: one.caught)
        part = "" if shown.rolled_back == shown.replays else f" ({shown.rolled_back} of {shown.replays:,} times)"
        took = in_words(timedelta(minutes=max(1, round(shown.minutes.median))))
        return f"{first} and caught {self.named(shown.harm)} in {took} at {where.exposure}{part}."

    def named(self, harm: float) -> str:
        """A harm in words."""
        if harm == 2:
            return "a doubling" if self.increase else "a halving"
        return f"a harm of {'×' if self.increase else '÷'}{harm:g}"


def grain_for(plan: Plan) -> timedelta:
    """The time between two looks in replays of the plan: a minute, or more where its stages are long."""
    bakes = sum((stage.bake for stage in plan.stages), timedelta(0))
    return GRAIN * max(1, math.ceil(bakes / (GRAIN * MOST_LOOKS)))


def backtest(
    plan: Plan,
    histories: Sequence[History],
    asked: Asked = Asked(),
    *,
    left_out: Sequence[str] = (),
    progress: Callable[[int], None] = lambda done: None,
) -> Report:
    """Replay the plan over the histories of its metrics, all of one span and step.

    `progress` is told how many more replays have ended; `left_out` are guardrails whose history can't be replayed.
    Raises NothingToReplay.
    """
    known = {history.metric for history in histories}
    rails = {rail.metric: rail for stage in plan.stages for rail in stage.guardrails if rail.metric in known}
    if not rails:
        raise NothingToReplay(f"None of the metrics that guard {plan.flag} can be replayed.")
    used = [history for history in histories if history.metric in rails]
    replays = _Replays(plan, used, grain_for(plan), asked)
    found = [replays.run(harm, number, progress) for number, harm in enumerate((1.0, *asked.harms))]
    return Report(
        flag=plan.flag,
        environment=plan.environment,
        plan_sha256=plan.sha256,
        span=used[0].step * len(used[0].pieces),
        looked_every=replays.grain,
        sources=tuple(_source(history, rails[history.metric]) for history in used),
        left_out=tuple(left_out),
        harmless=found[0],
        harmful=tuple(found[1:]),
        increase=any(rail.direction is Direction.INCREASE for rail in rails.values()),
    )


def _source(history: History, rail: Guardrail) -> Source:
    total, minutes = history.total, history.step * len(history.pieces) / timedelta(minutes=1)
    return Source(
        metric=history.metric,
        requests_per_minute=total.exposures / minutes,
        base_rate=total.events / total.exposures,
        dispersion=history.dispersion,
        planned_dispersion=rail.dispersion,
        silent=history.silent,
    )


@dataclass
class _Stream:
    """One metric's history at the grain of the looks: exposures and events (looks,)."""

    history: History
    dispersion: float
    exposures: Ints
    events: Ints

    @classmethod
    def of(cls, history: History, grain: timedelta, rng: np.random.Generator) -> "_Stream":
        """Pieces that are longer than the grain are spread evenly over it."""
        parts = round(history.step / grain)
        counts = np.array([one.to_json() for one in history.pieces], np.int64)
        exposures = rng.multinomial(counts[:, 0], np.full(parts, 1 / parts))
        weights = exposures / np.maximum(exposures.sum(axis=1, keepdims=True), 1)
        weights[exposures.sum(axis=1) == 0] = 1 / parts
        events = np.minimum(rng.multinomial(counts[:, 1], weights), exposures)
        return cls(history, history.dispersion, exposures.ravel(), events.ravel())

    def split(self, rng: np.random.Generator, at: Ints, shares: NDArray[np.float64]) -> tuple[Ints, Ints, Ints, Ints]:
        """Control's exposures and events, then treatment's, when so large a share of them is treatment's."""
        exposures, events = self.exposures[at], self.events[at]
        treated = rng.binomial(exposures, shares)
        hits = self._drawn(rng, exposures, events, treated)
        return exposures - treated, events - hits, treated, hits

    def _drawn(self, rng: np.random.Generator, exposures: Ints, events: Ints, treated: Ints) -> Ints:
        if self.dispersion <= 1:
            return np.asarray(rng.hypergeometric(events, exposures - events, treated))
        part = treated / np.maximum(exposures, 1)
        together = np.maximum((events - 1) / (self.dispersion - 1) - 1, 1e-3)
        some = np.clip(part, 1e-9, 1 - 1e-9)
        drawn = rng.binomial(events, rng.beta(some * together, (1 - some) * together))
        drawn = np.where(part >= 1, events, np.where(part <= 0, 0, drawn))
        return np.asarray(np.clip(drawn, np.maximum(events - (exposures - treated), 0), np.minimum(events, treated)))

    def worsened(
        self, rng: np.random.Generator, at: Ints, treated: Ints, hits: Ints, harms: NDArray[np.float64], *, more: bool
    ) -> Ints:
        """Treatment's events when they are so many times as many, or as few."""
        if not more:
            return np.asarray(rng.binomial(hits, 1 / harms))
        rate = self.events[at] / np.maximum(self.exposures[at], 1)
        mean = np.maximum(treated * rate * (harms - 1), 0.0)
        if self.dispersion <= 1:
            added = rng.poisson(mean)
        else:
            added = rng.negative_binomial(np.maximum(mean / (self.dispersion - 1), 1e-9), 1 / self.dispersion)
        return np.asarray(np.minimum(hits + added, treated))


@dataclass
class _Replay:
    """One way through the stages. `evidence` and `served` are by metric; `warm` counts minutes in the present mode."""

    start: int
    hurt: str
    stage: int = 0
    looks: int = 0
    warm: float = 0.0
    told: bool = False
    ending: Ending | None = None
    lengths: list[int] = field(default_factory=list)
    served: dict[str, int] = field(default_factory=dict)
    evidence: dict[tuple[str, str], CountEvidence | CeilingEvidence] = field(default_factory=dict)


@dataclass
class _Replays:
    """Runs many replays side by side, so that the gate's evidence is updated together."""

    plan: Plan
    histories: Sequence[History]
    grain: timedelta
    asked: Asked

    def run(self, harm: float, number: int, progress: Callable[[int], None]) -> Replayed:
        """All replays with that harm; the number makes their chances their own."""
        rng = np.random.default_rng((self.asked.seed, number))
        streams = {one.metric: _Stream.of(one, self.grain, rng) for one in self.histories}
        names, length = list(streams), len(next(iter(streams.values())).exposures)
        starts = rng.integers(0, length, self.asked.replays).tolist()
        replays = [_Replay(start, names[index % len(names)]) for index, start in enumerate(starts)]
        going = replays
        for look in range(LONGEST):
            self._look(rng, streams, going, look, harm)
            left = [one for one in going if one.ending is None]
            progress(len(going) - len(left))
            going = left
            if not going:
                break
        for one in going:
            self._end(one, Ending.ASKED)
        progress(len(going))
        return self._told(harm, replays)

    def _look(
        self, rng: np.random.Generator, streams: dict[str, _Stream], going: list[_Replay], look: int, harm: float
    ) -> None:
        verdicts: list[list[tuple[Guardrail, Verdict]]] = [[] for _ in going]
        for metric, stream in streams.items():
            at = np.array([(one.start + look) % len(stream.exposures) for one in going])
            shares = np.array([self._stage(one).exposure.percent / 100 for one in going])
            control, failed, treated, hits = stream.split(rng, at, shares)
            rails = [self._rail(one, metric) for one in going]
            if harm > 1:
                harms = np.array([harm if one.hurt == metric else 1.0 for one in going])
                hits = stream.worsened(rng, at, treated, hits, harms, more=self._more_is_harm(metric))
            arms = zip(control.tolist(), failed.tolist(), treated.tolist(), hits.tolist(), strict=True)
            counted = [(Counts(row[0], row[1]), Counts(row[2], row[3])) for row in arms]
            for position, rail, verdict in self._judged(metric, going, rails, counted):
                verdicts[position].append((rail, verdict))
        for one, found in zip(going, verdicts, strict=True):
            self._act(one, found)

    def _judged(
        self,
        metric: str,
        going: list[_Replay],
        rails: list[Guardrail | None],
        counted: list[tuple[Counts, Counts]],
    ) -> Iterator[tuple[int, Guardrail, Verdict]]:
        """Each replay's verdict on the metric, by its position; the compared ones are updated all at once."""
        compared: list[tuple[int, Guardrail, Interval]] = []
        for position, (one, rail, (control, treatment)) in enumerate(zip(going, rails, counted, strict=True)):
            if rail is None:
                continue
            one.served[metric] = one.served.get(metric, 0) + treatment.exposures
            burning_in = one.warm < self.plan.burn_in / GRAIN
            if self._stage(one).exposure.leaves_no_control:
                verdict = self._alone(one, rail, treatment, burning_in=burning_in)
                if verdict is not None:
                    yield position, rail, verdict
                continue
            test = _test(rail)
            evidence = one.evidence.get((metric, self._stage(one).exposure.mode.value))
            if not isinstance(evidence, CountEvidence) or evidence.margin != test.margin:
                evidence = CountEvidence.start(test)
            compared.append((position, rail, Interval(test, evidence, control, treatment, burning_in)))
        for (position, rail, interval), after in zip(
            compared, update_all([interval for _, _, interval in compared]), strict=True
        ):
            one = going[position]
            one.evidence[metric, self._stage(one).exposure.mode.value] = after
            yield position, rail, judge(interval.test, after)

    def _alone(self, one: _Replay, rail: Guardrail, treatment: Counts, *, burning_in: bool) -> Verdict | None:
        """At 100 %: against the plan's ceiling or control's rate so far; None when there is neither."""
        live, kept = one.evidence.get((rail.metric, Mode.LIVE.value)), one.evidence.get((rail.metric, "whole"))
        if isinstance(kept, CeilingEvidence):
            ceiling, evidence = kept.ceiling, kept
        else:
            control = live.control if isinstance(live, CountEvidence) else Counts(0, 0)
            found = ceiling_for(rail, control)
            if found is None:
                return None
            ceiling, evidence = found, CeilingEvidence.start(_ceiling_test(rail, found))
        test = _ceiling_test(rail, ceiling)
        after = update_ceiling(test, evidence, treatment, burning_in=burning_in)
        one.evidence[rail.metric, "whole"] = after
        return judge_ceiling(test, after)

    def _act(self, one: _Replay, found: list[tuple[Guardrail, Verdict]]) -> None:
        """What the controller would do, one grain later."""
        stage = self._stage(one)
        one.looks += 1
        one.warm += self.grain / GRAIN
        if any(verdict.harm is Harm.PROVEN and rail.on_fail is OnFail.ROLL_BACK for rail, verdict in found):
            return self._end(one, Ending.ROLLED_BACK)
        one.told = one.told or any(verdict.harm is not Harm.NONE for _, verdict in found)
        age = one.looks * self.grain
        passed = bool(found) and all(verdict.outcome is Outcome.PASS for _, verdict in found)
        enough = all(one.served.get(rail.metric, 0) >= rail.min_sample for rail, _ in found)
        if passed and enough and not one.told and age >= stage.bake:
            return self._promote(one)
        if age >= stage.time_limit:
            return self._end(one, Ending.ASKED)
        return None

    def _promote(self, one: _Replay) -> None:
        if one.stage + 1 == len(self.plan.stages):
            return self._end(one, Ending.PROMOTED)
        before = self._stage(one).exposure.mode
        one.lengths.append(one.looks)
        one.stage, one.looks, one.served = one.stage + 1, 0, {}
        if self._stage(one).exposure.mode is not before:
            one.warm = 0.0
        return None

    def _end(self, one: _Replay, ending: Ending) -> None:
        one.ending = ending
        one.lengths.append(one.looks)

    def _more_is_harm(self, metric: str) -> bool:
        rails = (rail for stage in self.plan.stages for rail in stage.guardrails if rail.metric == metric)
        return next(rails).direction is Direction.INCREASE

    def _stage(self, one: _Replay) -> Stage:
        return self.plan.stages[one.stage]

    def _rail(self, one: _Replay, metric: str) -> Guardrail | None:
        return next((rail for rail in self._stage(one).guardrails if rail.metric == metric), None)

    def _told(self, harm: float, replays: list[_Replay]) -> Replayed:
        minutes = self.grain / GRAIN
        caught = [one for one in replays if one.ending is Ending.ROLLED_BACK]
        took = sorted(minutes * sum(one.lengths) for one in caught)
        by_stage = tuple(
            StageCatch(
                str(stage.exposure),
                sum(one.stage == index for one in caught),
                _minutes([minutes * one.looks for one in caught if one.stage == index]),
            )
            for index, stage in enumerate(self.plan.stages)
        )
        edges = [took[-1] * part / 10 for part in range(1, 11)] if took else []
        return Replayed(
            harm=harm,
            replays=len(replays),
            rolled_back=len(caught),
            asked=sum(one.ending is Ending.ASKED for one in replays),
            promoted=sum(one.ending is Ending.PROMOTED for one in replays),
            minutes=_minutes(took),
            by_stage=by_stage,
            by_metric={name: sum(one.hurt == name for one in caught) for name in {one.hurt for one in replays}},
            curve=tuple(sum(one <= edge + 1e-9 for one in took) / len(replays) for edge in edges),
        )


def _minutes(values: Sequence[float]) -> Minutes | None:
    return Minutes(float(np.median(values)), float(np.quantile(values, 0.9))) if values else None


def _test(rail: Guardrail) -> CountTest:
    return CountTest(rail.direction, rail.margin, dispersion=rail.dispersion, min_sample=rail.min_sample)


def _ceiling_test(rail: Guardrail, ceiling: float) -> CeilingTest:
    return CeilingTest(rail.direction, ceiling, rail.margin, dispersion=rail.dispersion, min_sample=rail.min_sample)

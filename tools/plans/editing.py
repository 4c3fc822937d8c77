"""A plan as a table of stages that somebody fills in: each row is judged by itself, whatever the others are. Pure.

A row that was not touched stays exactly as it was. One that was gets its sample, and where nobody says otherwise its
time limit, from the same arithmetic as a new plan.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from tools.clock import in_words
from tools.errors import InvalidInput
from tools.plans import sizing
from tools.plans.caution import NotMoreCautious, check_caution
from tools.plans.defaults import PlanningDefaults
from tools.plans.kinds import NO_KINDS, Kinds
from tools.plans.model import MOST_STAGES, Basis, Facet, Mode, Plan, Source, Stage, Strategy
from tools.plans.planner import Draft
from tools.plans.policy import Policy
from tools.plans.revision import Changes, Revision, as_chosen, finished, without
from tools.plans.sizing import LONGEST_STAGE, Baseline, Rail
from tools.plans.validation import InvalidPlan

Check = Callable[[Plan], None]
"""Raises InvalidPlan for a plan that can't be used."""

_STAGE = re.compile(r"\bstage (\d+)\b", re.IGNORECASE)
_NUMBERED = re.compile(r"^Stage \d+: ")


@dataclass(frozen=True, slots=True)
class Row:
    """A stage as it is filled in.

    `origin` is the place in the plan (from 0) of the stage that the row shows, None for one that was put in. `percent`
    is None where it is no number. Without `limit` a stage may take as long as its proof does.
    """

    origin: int | None
    percent: float | None
    mode: Mode
    hold: timedelta
    limit: timedelta | None


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a row: its stage, None where none can be made of it, and what has to be corrected.

    `needed` is how long nine of ten rollouts need for the proof, and `slowest` the metric that takes so long; None
    where nothing was measured.
    """

    stage: Stage | None
    needed: timedelta | None
    slowest: str | None
    faults: tuple[str, ...]

    @property
    def is_too_short(self) -> bool:
        """Whether the stage would pause and ask a person before its proof is likely there."""
        return self.stage is not None and self.needed is not None and self.stage.time_limit < self.needed


@dataclass(frozen=True, slots=True)
class Edited:
    """A table as it was judged. `draft` is None while anything has to be corrected; `faults` are of no single row.

    `unchanged` says that nothing would differ, which is a fault only once it is sent.
    """

    rows: tuple[Judged, ...]
    faults: tuple[str, ...]
    draft: Draft | None
    unchanged: str | None = None

    @property
    def usual(self) -> timedelta | None:
        """How long all stages take at most, without harm, in nine rollouts of ten; None where that can't be told."""
        found = timedelta()
        for row in self.rows:
            if row.stage is None or row.needed is None:
                return None
            found += max(row.stage.bake, row.needed)
        return found

    @property
    def longest(self) -> timedelta | None:
        """How long all stages may take before one of them pauses and asks."""
        stages = [row.stage for row in self.rows]
        return sum((stage.time_limit for stage in stages if stage is not None), timedelta()) if all(stages) else None


def rows_of(plan: Plan) -> tuple[Row, ...]:
    """The plan as a table. A limit that nobody asked for is left to the calculators."""
    return tuple(
        Row(
            origin,
            stage.exposure.percent,
            stage.exposure.mode,
            stage.bake,
            stage.time_limit
            if any(one.of is Facet.LIMIT and one.source is Source.PERSON for one in stage.basis)
            else None,
        )
        for origin, stage in enumerate(plan.stages)
    )


def edit_plan(
    plan: Plan,
    rows: Sequence[Row],
    margins: Mapping[str, float],
    baselines: Sequence[Baseline],
    policy: Policy,
    defaults: PlanningDefaults,
    check: Check,
    *,
    words: str,
    kinds: Kinds = NO_KINDS,
    in_force: int | None = None,
) -> Edited:
    """The plan as its table is filled in, and every row's judgement.

    `margins` are those that differ, by metric; `words` are why; `in_force` is the stage (from 0) of a rollout that
    runs, which may only become more cautious.
    """
    if not rows:
        return Edited((), ("A plan needs at least one stage.",), None)
    if len(rows) > MOST_STAGES:
        return Edited((), (f"A plan has at most {MOST_STAGES} stages; this would have {len(rows)}.",), None)
    bare = plan.model_copy(update={"stages": tuple(map(as_chosen, plan.stages))})
    revision = Revision(
        bare, Changes(margins=dict(margins)), {base.metric: base for base in baselines}, policy, defaults, words
    )
    try:
        revision.change_guardrails()
    except InvalidInput as error:
        return Edited((), (str(error),), None)
    table = _Table(bare, rows, revision, words)
    made = [table.judged(number) for number in range(len(rows))]
    stages = [row.stage for row in made if row.stage is not None]
    if len(stages) < len(rows):
        return Edited(tuple(made), (), None)
    revised = bare.model_copy(update={"stages": tuple(stages), "strategy": _strategy(bare, stages)})
    made = [replace(row, faults=faults) for row, faults in zip(made, _faults(revised, check), strict=True)]
    try:
        draft = finished(plan, revised, revision, kinds)
        if in_force is not None:
            check_caution(plan, draft.plan, in_force)
    except NotMoreCautious as error:
        return _with_fault(made, str(error))
    except InvalidInput as error:
        return Edited(tuple(made), (), None, unchanged=str(error))
    return Edited(tuple(made), (), None if any(row.faults for row in made) else _noted(draft, made))


@dataclass(frozen=True, slots=True)
class _Table:
    plan: Plan
    rows: Sequence[Row]
    revision: Revision
    words: str

    def judged(self, number: int) -> Judged:
        """The row's stage, or why it can be none."""
        try:
            stage = self._stage(number)
        except InvalidInput as error:
            return Judged(None, None, None, (str(error),))
        needed, slowest = self._proof(stage)
        return Judged(stage, needed, slowest, ())

    def _stage(self, number: int) -> Stage:
        row, was = self.rows[number], self._model(number)
        if row.percent is None or not 0 < row.percent <= 100:
            raise InvalidInput("Enter a percentage above 0, and at most 100.")
        if row.hold > LONGEST_STAGE or (row.limit or row.hold) > LONGEST_STAGE:
            raise InvalidInput(f"A stage takes at most {in_words(LONGEST_STAGE)}.")
        exposure = was.exposure.model_copy(update={"percent": row.percent, "mode": row.mode})
        if row.origin is not None and exposure == was.exposure:
            stage = self.revision.guarded(was, first=number == 0)
        else:
            why = (*without(was.basis, Facet.LIMIT, Facet.EXPOSURE), self._asked(Facet.EXPOSURE))
            stage = self.revision.sized(exposure, was.bake, why, first=number == 0)
        return self._limited(self.revision.held(stage, row.hold), row.limit)

    def _limited(self, stage: Stage, limit: timedelta | None) -> Stage:
        if limit is None or limit == stage.time_limit:
            return stage
        why = (*without(stage.basis, Facet.LIMIT), self._asked(Facet.LIMIT))
        return stage.model_copy(update={"time_limit": limit, "basis": why})

    def _model(self, number: int) -> Stage:
        """The stage that the row shows; for one that was put in, that of the nearest row before it that shows one."""
        before = [row.origin for row in self.rows[: number + 1] if row.origin is not None]
        return self.plan.stages[before[-1] if before else 0]

    def _proof(self, stage: Stage) -> tuple[timedelta | None, str | None]:
        rails = [rail for rail in self.revision.known_rails() if _guards(rail, stage)]
        if len(rails) < len(stage.guardrails):
            return None, None
        if stage.exposure.percent >= 100:
            needed, slowest = sizing.watch(rails)
        else:
            needed, slowest = sizing.comparison(stage.exposure.percent, rails, self.revision.defaults)
        return needed, slowest.baseline.metric

    def _asked(self, of: Facet) -> Basis:
        return sizing.basis(Source.PERSON, of, self.words)


def _guards(rail: Rail, stage: Stage) -> bool:
    return any(one.metric == rail.baseline.metric for one in stage.guardrails)


def _strategy(plan: Plan, stages: Sequence[Stage]) -> Strategy:
    """What the stages make of it."""
    if any(stage.exposure.mode is Mode.SHADOW for stage in stages):
        return Strategy.SHADOW
    if plan.strategy is Strategy.FULL and len(stages) == 1 and stages[0].exposure.percent >= 100:
        return Strategy.FULL
    return Strategy.CANARY


def _faults(plan: Plan, check: Check) -> list[tuple[str, ...]]:
    """What is wrong with each stage: what is wrong with the plan up to it, and was not before it."""
    known, found = set[str](), list[tuple[str, ...]]()
    for count in range(1, len(plan.stages) + 1):
        problems = _problems(plan.model_copy(update={"stages": plan.stages[:count]}), check)
        found.append(tuple(_NUMBERED.sub("", one) for one in problems if one not in known))
        known |= set(problems)
    return found


def _problems(plan: Plan, check: Check) -> Iterable[str]:
    try:
        check(plan)
    except InvalidPlan as error:
        return error.problems
    return ()


def _with_fault(rows: Sequence[Judged], fault: str) -> Edited:
    """The table with a fault at the stage that it names, or at none."""
    named = _STAGE.search(fault)
    number = int(named[1]) - 1 if named else len(rows)
    if number >= len(rows):
        return Edited(tuple(rows), (fault,), None)
    at = replace(rows[number], faults=(*rows[number].faults, fault))
    return Edited((*rows[:number], at, *rows[number + 1 :]), (), None)


def _noted(draft: Draft, rows: Sequence[Judged]) -> Draft:
    """The draft with a sentence for each stage that is shorter than its proof."""
    notes = [
        f"Stage {number} is not likely to be proven within its {in_words(row.stage.time_limit)}: {row.slowest} needs "
        f"{in_words(row.needed)}. It pauses then and asks a person."
        for number, row in enumerate(rows, start=1)
        if row.stage is not None and row.needed is not None and row.is_too_short
    ]
    return Draft(draft.plan, (*notes, *draft.notes))

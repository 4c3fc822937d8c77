"""From a verdict to what is done about it. Pure: the situation in, one action out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from tools.clock import in_words
from tools.gates import Harm, Outcome, Verdict
from tools.plans.model import LONGEST_PAUSE, Guardrail, Mode, OnFail, OnNoData, Plan, Stage
from tools.rollouts.phases import Phase

PAGE_WHEN_BLIND_FOR = timedelta(seconds=40)
"""People are paged for blindness after this long, or half the blind budget if that is shorter."""
PATIENCE = 1.1
"""How many times that long a page may wait for a second look that takes as long as the first."""
PAUSED_SLOWER = 4
"""How many times longer than the plan says a quiet paused rollout waits for its next check."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything a decision rests on, at the moment `at`.

    `by_guardrail` pairs the stage's guardrails with their verdicts; `verdict` is the gate's, the worst of them.
    `limit_from` is None while the stage's exposure is not confirmed. `exposed`: somebody gets treatment; `flag_seen`:
    the flag service could be read; `harm_accepted` has a `Harm` by metric; `took` is how long the look took.
    """

    plan: Plan
    stage: Stage
    phase: Phase
    at: datetime
    verdict: Verdict
    by_guardrail: tuple[tuple[Guardrail, Verdict], ...]
    stage_since: datetime | None
    limit_from: datetime | None
    blind_since: datetime | None
    blind_paged: bool
    harm_accepted: Mapping[str, str]
    exposed: bool
    flag_seen: bool
    took: timedelta = timedelta(0)

    def accepted(self, guardrail: Guardrail) -> Harm:
        """How much harm a person accepted for this guardrail."""
        return Harm(self.harm_accepted.get(guardrail.metric, Harm.NONE))


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing changes."""


@dataclass(frozen=True, slots=True)
class Page:
    """Hold, and tell a person that the gate is blind."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pause:
    reason: str
    ends: str


@dataclass(frozen=True, slots=True)
class RollBack:
    reason: str


@dataclass(frozen=True, slots=True)
class Promote:
    """Proven safe: the next stage, as far as policy allows."""

    why: str


Action = Hold | Page | Pause | RollBack | Promote


def decide(situation: Situation) -> Action:
    """What the verdict calls for. Harm goes first, then blindness; promotion needs every guardrail to pass."""
    return _on_harm(situation) or _on_blindness(situation) or _on_progress(situation)


def is_blind(verdict: Verdict) -> bool:
    """Whether the gate could not see."""
    return verdict.outcome in (Outcome.NO_DATA, Outcome.ERROR)


def page_after(plan: Plan) -> timedelta:
    """How long a gate may be blind before a person is paged."""
    return min(PAGE_WHEN_BLIND_FOR, plan.blind_budget / 2)


def next_check(
    plan: Plan, phase: Phase, verdict: Verdict, *, blind_for: timedelta | None, took: timedelta = timedelta(0)
) -> timedelta:
    """How long until the gate is looked at again; `blind_for` is None while it sees.

    A paused rollout has nothing to prove, so it waits PAUSED_SLOWER times as long as the plan says, but at most a
    quarter of its blind budget, and only while all is well: blind, or with harm in sight, it is looked at as often as
    any other. A blind one is looked at too when a person is to be paged and when its budget is spent, however seldom
    the plan has it checked; to page in time, so early that a look that hangs as this one did, for `took`, is over then.
    """
    if blind_for is not None:
        waits = [limit - blind_for for limit in (page_after(plan), plan.blind_budget) if limit > blind_for]
        if page_after(plan) > blind_for:
            waits[0] = max(waits[0] - took, timedelta(0))
        return min([plan.check_every, *waits])
    if phase is not Phase.PAUSED or verdict.harm is not Harm.NONE:
        return plan.check_every
    return max(plan.check_every, min(PAUSED_SLOWER * plan.check_every, plan.blind_budget / 4, LONGEST_PAUSE))


def _on_harm(situation: Situation) -> Action | None:
    for guardrail, verdict in situation.by_guardrail:
        if verdict.harm is Harm.PROVEN and guardrail.on_fail is OnFail.ROLL_BACK:
            return RollBack(f"{guardrail.metric}: {verdict.why}")
    if situation.phase is Phase.PAUSED:
        return None
    for guardrail, verdict in sorted(situation.by_guardrail, key=lambda pair: -pair[1].harm.severity):
        if verdict.harm.severity > situation.accepted(guardrail).severity:
            return Pause(
                f"{guardrail.metric}: {verdict.why}",
                "Resume if you accept it, or roll back; proven harm rolls back by itself."
                if guardrail.on_fail is OnFail.ROLL_BACK
                else "Resume if you accept it, or roll back.",
            )
    return None


def _on_blindness(situation: Situation) -> Action | None:
    if not is_blind(situation.verdict):
        return _on_an_unseen_flag(situation)
    blind_for = situation.at - (situation.blind_since or situation.at)
    # One look, however long it takes, is not enough to take anything back.
    if blind_for >= situation.plan.blind_budget and blind_for > situation.took and situation.exposed:
        reason = f"Blind for {in_words(blind_for)}: {situation.verdict.why}"
        if situation.stage.exposure.mode is Mode.LIVE and _rolls_back_blind(situation):
            return RollBack(reason)
        if situation.phase is not Phase.PAUSED:
            return Pause(reason, "Resume when the metrics are back, or roll back.")
    if _is_to_page(situation, blind_for):
        return Page(situation.verdict.why)
    return Hold()


def _on_an_unseen_flag(situation: Situation) -> Action | None:
    """The metrics are there but the flag can't be read: nothing is promoted, and people are told."""
    blind_for = situation.at - (situation.blind_since or situation.at)
    if situation.flag_seen or not _is_to_page(situation, blind_for):
        return None
    return Page("The flag service can't be read, so nothing is promoted and no hand-made change is noticed.")


def _is_to_page(situation: Situation, blind_for: timedelta) -> bool:
    """Now, or as another look that takes as long would only be over when it is much too late."""
    limit = page_after(situation.plan)
    return not situation.blind_paged and (blind_for >= limit or blind_for + situation.took > PATIENCE * limit)


def _rolls_back_blind(situation: Situation) -> bool:
    return any(
        guardrail.on_no_data is OnNoData.ROLL_BACK
        for guardrail, verdict in situation.by_guardrail
        if is_blind(verdict) and verdict.rollback_from is not None
    )


def _on_progress(situation: Situation) -> Action:
    if situation.phase is not Phase.PROGRESSING or situation.stage_since is None:
        return Hold()
    if situation.verdict.outcome is Outcome.PASS and situation.flag_seen:
        return Promote(situation.verdict.why)
    if situation.limit_from is not None and situation.at - situation.limit_from >= situation.stage.time_limit:
        return Pause(
            f"No proof of safety within the stage's limit of {in_words(situation.stage.time_limit)}. "
            f"{situation.verdict.why}",
            "Resume to give it as long again, promote with an approval, or roll back.",
        )
    return Hold()

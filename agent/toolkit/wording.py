"""Sentences made from rows, for people and for the model alike: short, plain, numbers with units."""

from collections.abc import Iterable

from tools.clock import in_words, written
from tools.gates import Direction, Harm, Outcome, Verdict
from tools.plans.model import Guardrail, Plan, Stage
from tools.rollouts.phases import Phase, words
from tools.rollouts.views import RolloutView


def standing(view: RolloutView) -> str:
    """Where a rollout stands, in one sentence."""
    where = f"{view.flag} in {view.environment} is {words(view.phase)}"
    if view.stage is not None and view.phase in (Phase.PROGRESSING, Phase.PAUSED, Phase.WAITING_PROMOTION):
        where += f" in stage {min(view.stage + 1, len(view.plan.stages))} of {len(view.plan.stages)}"
    served = f" at {view.exposure}" if view.exposure is not None else ""
    setting = f" (setting {view.setting} now)" if view.setting is not None else ""
    return f"{where}{served}{setting}."


def waiting(view: RolloutView) -> str:
    """What it waits for; empty when it waits for nothing."""
    if view.approval is not None:
        have, needed = len(view.approval.by), view.approval.needed
        return f"It waits for an approval: {have} of {needed} so far, because {view.approval.why}."
    if view.phase is Phase.PAUSED:
        return f"It is paused: {view.pause_reason} {view.pause_ends or ''}".strip()
    if view.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK):
        return f"Why it was rolled back: {view.rollback_reason}"
    if view.phase is Phase.PROPOSED:
        return "It has not started."
    return ""


def overrides(view: RolloutView) -> list[str]:
    """The freeze that keeps it where it is, a spec that changed, and what an approver accepted of its gate."""
    if view.ended_at is not None:
        return []
    stale = [view.spec.why] if view.spec is not None and view.spec.stale else []
    accepted = [
        f"What the gate finds of {one.metric} is accepted until {written(one.until)} by {one.by}: {one.reason}"
        for one in view.acceptances
    ]
    frozen = "" if view.frozen is None else str(view.frozen)
    return [*([f"Nothing goes up now: {frozen}."] if frozen else []), *stale, *accepted]


def guardrail_line(guardrail: Guardrail, verdict: Verdict) -> str:
    """A guardrail as the newest check saw it."""
    return f"{guardrail.metric}: {_outcome(verdict)}; {verdict.why}"


def limit(guardrail: Guardrail) -> str:
    """What must hold."""
    if guardrail.of_split:
        return f"{guardrail.metric} split as planned"
    if guardrail.direction is Direction.INCREASE:
        return f"{guardrail.metric} at most {guardrail.margin:g} × control"
    return f"{guardrail.metric} at least control ÷ {guardrail.margin:g}"


def plan_lines(plan: Plan) -> tuple[str, ...]:
    """A plan, a line a stage, and what must hold."""
    lines = [f"{plan.strategy.value.capitalize()} plan for {plan.flag} in {plan.environment}:"]
    lines += [_stage_line(number, stage) for number, stage in enumerate(plan.stages, start=1)]
    rails = dict.fromkeys(limit(rail) for stage in plan.stages for rail in stage.guardrails)
    return (*lines, f"Must hold: {', '.join(rails)}.")


def rate(events: int, exposures: int) -> str:
    """A rate with what it is of: `1.2 % (12 of 1,000)`."""
    if not exposures:
        return "no traffic"
    return f"{100 * events / exposures:.3g} % ({events:,} of {exposures:,})"


def listed(lines: Iterable[str]) -> str:
    """Lines as one text."""
    return "\n".join(line for line in lines if line)


def _stage_line(number: int, stage: Stage) -> str:
    return (
        f"{number}. {stage.exposure}, at least {in_words(stage.bake)}, "
        f"pauses and asks after {in_words(stage.time_limit)} without proof"
    )


def _outcome(verdict: Verdict) -> str:
    if verdict.harm is Harm.SUSPECTED:
        return "harm suspected"
    return {
        Outcome.PASS: "proven safe",
        Outcome.FAIL: "proven harmful",
        Outcome.INCONCLUSIVE: "not proven yet",
        Outcome.NO_DATA: "no data",
        Outcome.ERROR: "can't be measured",
    }[verdict.outcome]

"""What asking for a percentage comes to: a start, a step, a lowering, nothing, or a refusal. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from tools.plans.model import Exposure, Mode
from tools.plans.policy import Answer
from tools.rollouts.phases import LIVE, Phase, words
from tools.rollouts.views import RolloutView

SAME = 1e-9


@dataclass(frozen=True, slots=True)
class ExposureAnswer:
    """Policy's answer to a request for a percentage, why, and the rollout as it is now; None when there is none.

    `why` has no full stop at its end.
    """

    answer: Answer
    why: str
    view: RolloutView | None


class Step(StrEnum):
    """What a request is carried out as."""

    START = "start"
    NEXT = "next"
    LOWER = "lower"
    NOTHING = "nothing"  # it is so already
    NONE = "none"  # no approved step leads there


@dataclass(frozen=True, slots=True)
class Reading:
    """A request, understood; `why` is a sentence for the last two."""

    step: Step
    why: str = ""


def read(view: RolloutView, percent: float) -> Reading:
    """What asking for `percent` of an open or ended rollout comes to."""
    if view.phase in (Phase.DRAFT, Phase.PROPOSED):
        return _before_start(view, percent)
    if view.phase not in LIVE:
        return Reading(
            Step.NONE, f"The rollout is {words(view.phase)}: propose a new plan to expose {view.flag} again."
        )
    present = view.setting or view.exposure or Exposure(percent=0)
    following = _following(view)
    if present.mode is Mode.LIVE and (found := _at_or_below(present, percent)):
        return found
    if following is not None and _same(percent, following.percent):
        return _next(view)
    return _at_or_below(present, percent) or _not_a_step(view, following, percent)


def _before_start(view: RolloutView, percent: float) -> Reading:
    first = view.plan.stages[0].exposure
    if percent == 0:
        return Reading(Step.NOTHING, "It has not started, so nobody is exposed by it.")
    if _same(percent, first.percent):
        return Reading(Step.START)
    return Reading(Step.NONE, f"The plan starts at {first}: revise it to start at {percent:g} %.")


def _at_or_below(present: Exposure, percent: float) -> Reading | None:
    if _same(percent, present.percent):
        return Reading(Step.NOTHING, f"It is at {present} already, or on its way there.")
    return Reading(Step.LOWER) if percent < present.percent else None


def _next(view: RolloutView) -> Reading:
    if view.phase is Phase.PAUSED:
        return Reading(Step.NONE, f"It is paused, so it must be resumed first. {view.pause_reason or ''}".strip())
    return Reading(Step.NEXT)


def _not_a_step(view: RolloutView, following: Exposure | None, percent: float) -> Reading:
    if following is None:
        return Reading(Step.NONE, "It is in the plan's last stage, so there is no further step to ask for.")
    return Reading(
        Step.NONE,
        f"The next step that was approved is {following}, not {percent:g} %. A running rollout takes its steps one "
        "after the other; to go another way, roll back and plan anew.",
    )


def _following(view: RolloutView) -> Exposure | None:
    following = 0 if view.stage is None else view.stage + 1
    return view.plan.stages[following].exposure if following < len(view.plan.stages) else None


def _same(one: float, other: float) -> bool:
    return abs(one - other) < SAME

"""Whether a plan may take another's place while its rollout runs: only where it is more cautious. Pure.

People approved the plan that runs. What takes its place without asking them again may be slower, smaller or better
guarded from the stage in force on, and nothing else.
"""

from collections.abc import Iterator, Sequence

from tools.errors import Conflict
from tools.plans.model import Exposure, Guardrail, Mode, Plan, Stage
from tools.plans.sizing import limit_for

# What a revision of a running rollout may be about; everything else of a plan must be as it was approved.
_FREE = {"stages", "rationale", "expected"}


class NotMoreCautious(Conflict):
    """The plan would ask less of the rollout than the one that runs; the message says where."""


def check_caution(running: Plan, revised: Plan, stage: int) -> None:
    """Raise NotMoreCautious unless `revised` is as cautious as `running` from the stage in force (an index) on."""
    problem = next(_problems(running, revised, stage), None)
    if problem is not None:
        raise NotMoreCautious(
            f"{problem} While a rollout runs its plan can only become more cautious; to go another way, roll back and "
            "plan anew."
        )


def _problems(running: Plan, revised: Plan, stage: int) -> Iterator[str]:
    for field in Plan.model_fields:
        if field not in _FREE and getattr(running, field) != getattr(revised, field):
            name = field.removesuffix("_sha256").replace("_", " ")
            yield f"The {name} would be another than people approved."
    if not set(running.expected) <= set(revised.expected):
        yield "What the plan was made for would be another than people approved."
    if len(revised.stages) <= stage:
        yield f"Stage {stage + 1} is in force and would be gone."
        return
    if [_bare(one) for one in running.stages[:stage]] != [_bare(one) for one in revised.stages[:stage]]:
        yield "A stage that is already done would change."
    yield from _in_force(running, revised, stage)
    yield from _to_come(running, revised, stage)


def _in_force(running: Plan, revised: Plan, stage: int) -> Iterator[str]:
    before, after = running.stages[stage], revised.stages[stage]
    number = stage + 1
    if before.exposure != after.exposure:
        yield f"Stage {number} is in force at {before.exposure}, and would be at {after.exposure}."
    if after.bake < before.bake:
        yield f"Stage {number} would be held for a shorter time."
    if after.time_limit > max(before.time_limit, limit_for(after.bake, running.burn_in)):
        yield f"Stage {number} could go unproven for longer before a person is asked."
    yield from _guards(before.guardrails, after.guardrails, number)
    known = {rail.metric for rail in before.guardrails}
    for rail in after.guardrails:
        if rail.metric not in known and before.exposure.leaves_no_control and rail.ceiling is None:
            yield f"Everyone is exposed, so that {rail.metric} has no control to be compared with."


def _to_come(running: Plan, revised: Plan, stage: int) -> Iterator[str]:
    approved = running.stages[stage + 1 :]
    for step, after in enumerate(revised.stages[stage + 1 :]):
        number = stage + 2 + step
        if not approved:
            yield f"Stage {number} would come after the last one that was approved."
            return
        before = approved[min(step, len(approved) - 1)]
        if not _is_within(after.exposure, before.exposure):
            yield f"Stage {number} would be at {after.exposure}; {before.exposure} was approved for that step."
        # A stage that was approved keeps its own length and sample; one put in between has at least its step's.
        alike = next((one for one in approved if one.exposure == after.exposure), before)
        if after.bake < alike.bake:
            yield f"Stage {number} would be held for a shorter time."
        yield from _guards(_asked_of(alike, running.stages[stage:], after.exposure), after.guardrails, number)


def _guards(before: Sequence[Guardrail], after: Sequence[Guardrail], number: int) -> Iterator[str]:
    now = {rail.metric: rail for rail in after}
    for old in before:
        new = now.get(old.metric)
        if new is None:
            yield f"{old.metric} would guard stage {number} no more."
            continue
        if (old.margin, old.direction) != (new.margin, new.direction):
            yield f"{old.metric} would have another margin in stage {number}."
        if (old.on_fail, old.on_no_data) != (new.on_fail, new.on_no_data):
            yield f"Harm in {old.metric} would be answered in another way in stage {number}."
        if old.ceiling != new.ceiling:
            yield f"{old.metric} would have another ceiling in stage {number}."
        if new.dispersion < old.dispersion:
            yield f"{old.metric} would be taken for less bursty in stage {number}."
        if new.min_sample < old.min_sample:
            yield f"{old.metric} would need a smaller sample in stage {number}."


def _asked_of(alike: Stage, stages: Sequence[Stage], exposure: Exposure) -> tuple[Guardrail, ...]:
    """What is asked of a stage: what its counterpart asks, with the smallest sample asked where it is a new one.

    Smaller shares prove the same with somewhat fewer exposures, so that a new stage can't be held to its counterpart's.
    """
    if alike.exposure == exposure:
        return alike.guardrails
    smallest = dict[str, int]()
    for rail in (rail for stage in stages for rail in stage.guardrails):
        smallest[rail.metric] = min(rail.min_sample, smallest.get(rail.metric, rail.min_sample))
    return tuple(rail.model_copy(update={"min_sample": smallest[rail.metric]}) for rail in alike.guardrails)


def _is_within(after: Exposure, approved: Exposure) -> bool:
    """Whether nobody gets treatment's answer, or runs it, who would not have with what was approved."""
    if after.mode is Mode.LIVE and approved.mode is Mode.SHADOW:
        return False
    return after.percent <= approved.percent and after.audience.is_within(approved.audience)


def _bare(stage: Stage) -> Stage:
    return stage.model_copy(update={"basis": (), "guardrails": tuple(rail.bare for rail in stage.guardrails)})

"""Asking for a percentage: policy's answer, and the approved step that it stands for."""

from tools.errors import Conflict, NotAllowed
from tools.plans.policy import Answer
from tools.rollouts import lowering, requests
from tools.rollouts.door import planning, reading, steering
from tools.rollouts.door.context import Context
from tools.rollouts.requests import ExposureAnswer, Step
from tools.rollouts.views import RolloutView


async def request_exposure(
    context: Context, flag: str, environment: str, percent: float, *, actor: str
) -> ExposureAnswer:
    """Ask for a percentage; only an approved plan's start or next step can be asked for."""
    lowering.check_percent(percent, context.flags.capabilities.granularity)
    found = await reading.seen(context, flag, environment)
    if found is None:
        why = f"{flag} has no rollout in {environment}: propose a plan, which people approve"
        return ExposureAnswer(Answer.DENY, why, None)
    try:
        return await _answer(context, found, percent, actor=actor)
    except (NotAllowed, Conflict) as refused:
        return ExposureAnswer(Answer.DENY, _clause(str(refused)), await reading.get(context, found.id))


async def _answer(context: Context, found: RolloutView, percent: float, *, actor: str) -> ExposureAnswer:
    meant = requests.read(found, percent)
    match meant.step:
        case Step.START:
            return _answered(await planning.start(context, found.id, actor=actor))
        case Step.NEXT:
            return _answered(await steering.ask_to_promote(context, found.id, actor=actor))
        case Step.LOWER:
            # Who only understood somebody's words must not lower: that is `lower`, or `ask_to_confirm`.
            why = f"{percent:g} % is less than there is now, and lowering is an order of its own"
            return ExposureAnswer(Answer.DENY, why, found)
        case Step.NOTHING:
            return ExposureAnswer(Answer.AUTO, _clause(meant.why), found)
        case Step.NONE:
            return ExposureAnswer(Answer.DENY, _clause(meant.why), found)


def _answered(now: RolloutView) -> ExposureAnswer:
    """Policy's answer as the rollout shows it after the request."""
    if now.approval is not None:
        return ExposureAnswer(Answer.APPROVAL, now.approval.why, now)
    return ExposureAnswer(Answer.AUTO, f"{now.environment} needs no approval", now)


def _clause(sentence: str) -> str:
    """A sentence to be followed by others' words."""
    return sentence.removesuffix(".")

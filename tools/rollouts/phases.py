"""The phases of a rollout and every legal step between them."""

from enum import StrEnum

from tools.errors import Conflict


class Phase(StrEnum):
    DRAFT = "draft"  # a plan exists, nobody was asked yet
    PROPOSED = "proposed"  # people can read the plan and start it
    PROGRESSING = "progressing"  # exposure is up, gates are watched, promotion follows proof
    PAUSED = "paused"  # exposure stays, breaches are watched, nothing is promoted
    WAITING_PROMOTION = "waiting_promotion"  # the gate passed and people are asked
    SUCCEEDED = "succeeded"  # everyone is exposed and the watch period passed
    ROLLING_BACK = "rolling_back"  # the known-good exposure is being restored, whatever it takes
    ROLLED_BACK = "rolled_back"  # a read-back showed the known-good exposure
    CANCELLED = "cancelled"  # never started


class IllegalTransition(Conflict):
    """The phase does not lead there."""


# Waiting may end in a pause as well: a rejection, a hand-made change or suspected harm voids the question.
TRANSITIONS: dict[Phase, frozenset[Phase]] = {
    Phase.DRAFT: frozenset({Phase.PROPOSED, Phase.CANCELLED}),
    Phase.PROPOSED: frozenset({Phase.PROGRESSING, Phase.CANCELLED}),
    Phase.PROGRESSING: frozenset(
        {Phase.PROGRESSING, Phase.PAUSED, Phase.WAITING_PROMOTION, Phase.SUCCEEDED, Phase.ROLLING_BACK}
    ),
    Phase.PAUSED: frozenset({Phase.PROGRESSING, Phase.ROLLING_BACK}),
    Phase.WAITING_PROMOTION: frozenset({Phase.PROGRESSING, Phase.SUCCEEDED, Phase.PAUSED, Phase.ROLLING_BACK}),
    Phase.ROLLING_BACK: frozenset({Phase.ROLLED_BACK}),
    Phase.SUCCEEDED: frozenset(),
    Phase.ROLLED_BACK: frozenset(),
    Phase.CANCELLED: frozenset(),
}

LIVE = frozenset({Phase.PROGRESSING, Phase.PAUSED, Phase.WAITING_PROMOTION})
"""Exposure is up: breach checks run."""

OPEN = frozenset(phase for phase, following in TRANSITIONS.items() if following)
"""Not ended: the flag can have no second rollout."""

WATCHED = LIVE | {Phase.ROLLING_BACK, Phase.PROPOSED}
"""The controller has something to do."""


def check_transition(current: Phase, following: Phase) -> None:
    """Raise IllegalTransition unless `current` may be followed by `following`."""
    if following not in TRANSITIONS[current]:
        if current is following:
            raise IllegalTransition(f"The rollout is {words(current)} already.")
        raise IllegalTransition(
            f"The rollout is {words(current)}, so it can't become {words(following)}. Look at its card and try again."
        )


def words(phase: Phase) -> str:
    """The phase in words for people: `waiting promotion`."""
    return phase.value.replace("_", " ")

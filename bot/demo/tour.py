"""The five steps through the demo that the workspace's page leads a newcomer."""

from bot import texts
from bot.workspace import TourStep
from tools.rollouts.phases import Phase

MIRA, JONAS, RELEASES = "UMIRA0001", "UJONAS001", "CRELEASES"


def tour(flag: str, break_switch: str) -> tuple[TourStep, ...]:
    """Ask, approve, watch, break, look back: for a rollout of `flag`, which the switch called so breaks."""
    header = f"{flag} · "
    return (
        TourStep(
            *texts.TOUR_PLAN,
            MIRA,
            RELEASES,
            "composer",
            f"/rollout plan {flag}",
            (header, texts.PHASES[Phase.PROPOSED][1]),
        ),
        TourStep(
            *texts.TOUR_APPROVE,
            JONAS,
            RELEASES,
            "button",
            texts.APPROVE,
            (header, texts.PHASES[Phase.PROGRESSING][1]),
        ),
        TourStep(
            *texts.TOUR_WATCH,
            JONAS,
            RELEASES,
            "message",
            header,
            (header, "stage 2 of"),
        ),
        TourStep(
            *texts.TOUR_BREAK,
            JONAS,
            RELEASES,
            "switch",
            break_switch,
            (header, texts.PHASES[Phase.ROLLED_BACK][1]),
        ),
        TourStep(
            *texts.TOUR_HISTORY,
            JONAS,
            RELEASES,
            "composer",
            f"/rollout history {flag}",
            (texts.HISTORY_TITLE.partition("`")[0].strip("*"),),
        ),
    )

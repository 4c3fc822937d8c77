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
            "Ask for a plan.",
            "Mira wants the new checkout out. Sluice reads its spec and its traffic, and proposes stages.",
            MIRA,
            RELEASES,
            "composer",
            f"/rollout plan {flag}",
            (header, texts.PHASES[Phase.PROPOSED][1]),
        ),
        TourStep(
            "Approve it.",
            "Whoever asks can't approve. Jonas may: read the plan on the card, then press the button.",
            JONAS,
            RELEASES,
            "button",
            texts.APPROVE,
            (header, texts.PHASES[Phase.PROGRESSING][1]),
        ),
        TourStep(
            "Watch the gate.",
            "The first customers have it now. The card counts the evidence and goes on once it is proven safe.",
            JONAS,
            RELEASES,
            "message",
            header,
            (header, "stage 2 of"),
        ),
        TourStep(
            "Make it fail.",
            "Break the new checkout: 60 % of its payments fail from now on. Nobody has to notice.",
            JONAS,
            RELEASES,
            "switch",
            break_switch,
            (header, texts.PHASES[Phase.ROLLED_BACK][1]),
        ),
        TourStep(
            "See why.",
            "It is back at 0 %, by itself. Ask for everything that was decided, by whom and on which evidence.",
            JONAS,
            RELEASES,
            "composer",
            f"/rollout history {flag}",
            (texts.HISTORY_TITLE.partition("`")[0].strip("*"),),
        ),
    )

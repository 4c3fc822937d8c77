"""A Home tab to be changed in the one way a test is about."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bot.blocks.home import Home
from bot.health import Finding, Part
from tests.unit.blocks.examples import JONAS, NOW
from tools.rollouts.glance import Asked, Glance
from tools.rollouts.views import RolloutView

WELL = (
    Finding(Part.FLAGS, "embedded", True, NOW),
    Finding(Part.SOURCE, "shop", False, NOW),
    Finding(Part.MODEL, "", None, None),
    Finding(Part.CLOCK, "", True, NOW),
)


def home(*views: RolloutView, person: str = JONAS, link: str | None = None, **changes: Any) -> Home:
    """What Jonas sees of those rollouts, all of whose questions are for him."""
    asked = [view for view in views if view.approval is not None]
    shown = Home(
        person=person,
        at=NOW,
        glance=glance(views),
        asked=asked[:6],
        waiting=len(asked),
        freezes=(),
        health=WELL,
        links={view.id: link for view in views} if link is not None else {},
        newcomer=False,
    )
    return replace(shown, **changes)


def glance(views: Sequence[RolloutView], **changes: Any) -> Glance:
    """Those rollouts at a glance."""
    asked = [
        Asked(view.approval.id, view.id, view.approval.expires_at, frozenset({JONAS}))
        for view in views
        if view.approval is not None
    ]
    seen = Glance(Counter(view.phase for view in views), tuple(views), tuple(asked), (), True)
    return replace(seen, **changes)

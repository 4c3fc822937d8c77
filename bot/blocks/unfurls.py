"""What stands below a message for a link to a rollout: where it was when the link was shared."""

from slack_sdk.models.blocks import Block

from bot import texts
from bot.blocks import home, parts
from bot.blocks.answers import card_link
from bot.blocks.mrkdwn import clock_time, person
from tools.rollouts.views import RolloutView


def unfurl_blocks(view: RolloutView, link: str | None) -> list[Block]:
    """The rollout in two lines, who asked for it, and the way to its card, which alone is kept up to date."""
    asked = texts.REQUESTED_BY.format(requester=person(view.requester))
    checked = [] if view.check is None else [texts.CHECKED.format(at=clock_time(view.check.at))]
    return [
        parts.section(*home.rollout_lines(view)),
        parts.context(" · ".join([asked, *checked, *([card_link(link).strip()] if link else [])])),
    ]

"""The Home tab: what waits for people, what is rolling out, and how to begin."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View

from bot import texts
from bot.blocks import parts
from bot.blocks.answers import card_link, listed
from bot.blocks.mrkdwn import clock_time, moment_of, name, person
from bot.blocks.questions import question
from tools.rollouts.views import ApprovalView, RolloutView

MOST_SHOWN = 15


def home_view(views: Sequence[RolloutView], links: Mapping[str, str | None], *, at: datetime) -> View:
    """The tab. `views` are the open rollouts, the newest first; `links` are the addresses of cards by rollout id."""
    shown = views[:MOST_SHOWN]
    waiting = [_waiting(view, view.approval, links) for view in shown if view.approval is not None]
    blocks = [
        parts.header(texts.HELP_TITLE),
        parts.section(texts.HELP_INTRO),
        *_listing(texts.HOME_WAITING, waiting, texts.HOME_NOTHING_WAITS),
        *_listing(texts.HOME_OPEN, [listed(view) + card_link(links.get(view.id)) for view in shown], texts.NO_ROLLOUTS),
    ]
    if len(views) > MOST_SHOWN:
        blocks.append(parts.context(texts.LIST_MORE.format(count=len(views) - MOST_SHOWN)))
    blocks += [
        parts.divider(),
        parts.section(texts.HOME_TRY, *(f"• {thing}" for thing in texts.HOME_THINGS_TO_TRY)),
        parts.context(texts.HOME_AS_OF.format(at=clock_time(at))),
    ]
    return View(type="home", blocks=parts.message(blocks))


def _listing(title: str, lines: Sequence[str], otherwise: str) -> list[Block]:
    return [parts.divider(), parts.section(title), *(parts.section(line) for line in lines or [otherwise])]


def _waiting(view: RolloutView, approval: ApprovalView, links: Mapping[str, str | None]) -> str:
    return texts.HOME_APPROVAL.format(
        flag=name(view.flag),
        environment=name(view.environment),
        question=question(view, approval),
        have=len(approval.by),
        needed=approval.needed,
        requester=person(approval.requester),
        expires=moment_of(approval.expires_at),
        link=card_link(links.get(view.id)),
    )

"""The question whether a new plan may take the place of one that somebody else asked for."""

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from slack_sdk.models.blocks import Block

from bot import texts
from bot.blocks import parts
from bot.blocks.answers import card_link
from bot.blocks.mrkdwn import name, person
from tools.errors import InvalidInput, NotFound
from tools.plans.model import Strategy
from tools.rollouts.views import RolloutView

INSTEAD = "rollout.plan_instead"
DIRECT = "D"
"""What the id of a conversation with the app begins with."""
MOST_VALUE = 2000
"""How much a button of Slack's can carry."""


class Wanted(BaseModel):
    """What was asked for and for which channel, and the version of whose plan it would take the place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rollout: str = Field(pattern=r"^[0-9a-f]{32}$")
    version: int
    strategy: Strategy | None = None
    wishes: str = ""
    spec: str | None = None
    channel: str | None = Field(default=None, pattern=r"^[A-Z0-9]{1,40}$")


def question(view: RolloutView, wanted: Wanted, link: str | None) -> tuple[str, list[Block]]:
    """Whose plan there is and what a new one does to it, with the button that says yes.

    Raises InvalidInput for wishes and an address that are longer than a button can carry.
    """
    value = wanted.model_dump_json(exclude_defaults=True)
    if len(value) > MOST_VALUE:
        raise InvalidInput(texts.PLAN_WISHES_TOO_LONG)
    text = texts.PLAN_OF_ANOTHER.format(
        requester=person(view.requester),
        flag=name(view.flag),
        environment=name(view.environment),
        version=view.plan_version,
        next=view.plan_version + 1,
        approved=texts.PLAN_APPROVED_SO_FAR.format(count=len(view.approval.by))
        if view.approval is not None and view.approval.by
        else "",
        channel=channel_of(view),
        link=card_link(link),
    )
    return text, [parts.section(text), parts.actions(parts.button(texts.PLAN_INSTEAD, INSTEAD, value))]


def wanted_in(value: str) -> Wanted:
    """What a button carries. Raises NotFound for what is none of ours."""
    try:
        return Wanted.model_validate_json(value)
    except ValidationError:
        raise NotFound(texts.UNKNOWN_BUTTON) from None


def channel_of(view: RolloutView) -> str:
    """Where its card is, with a link to the channel where that is one."""
    if view.place is None or view.place.channel.startswith(DIRECT):
        return texts.PLAN_IN_PRIVATE
    return f"<#{view.place.channel}>"

"""Planning reads specs and metrics, which takes its time: it is a job, and the person hears of its failure."""

import secrets
from collections.abc import Mapping
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from agent.planner import PlanRequest
from bot import texts
from bot.blocks.mrkdwn import escape, name
from bot.listeners.finding import near_flags
from bot.listeners.replies import tell
from bot.routing import route_for
from bot.services import Services
from bot.slack import NETWORK_ERRORS, code_of
from tools.errors import NotFound, SluiceError
from tools.plans.model import Plan, Strategy
from tools.rollouts.phases import Phase
from tools.rollouts.service import Place, RolloutService
from tools.rollouts.views import RolloutView

KIND = "plan"
DIRECT = "D"
"""What the id of a conversation with the app begins with."""
PLANNING_FAILED = "planning.failed"
ERROR_CHARACTERS = 1500

logger = structlog.get_logger(__name__)


class Order(BaseModel):
    """A person's wish for a plan; `workspace` and `channel` are where its card will be, `wishes` their own words.

    `spec` is the address of the document that they named as the spec; `again`: the plan before had its spec from there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    flag: str
    environment: str
    strategy: Strategy | None
    requester: str
    workspace: str
    channel: str
    wishes: str = ""
    spec: str | None = None
    again: bool = False


def register(_app: AsyncApp, services: Services) -> None:
    """Let the job runner make plans."""

    async def plan(payload: Mapping[str, Any]) -> None:
        await _carry_out(services, Order.model_validate(payload))

    services.jobs.handle(KIND, plan)


async def submit(services: Services, order: Order, *, request: str) -> None:
    """Have the plan made; the same request is taken once. One flag's plans are made one after the other.

    Raises NotAllowed and PeopleUnavailable for who may have none made.
    """
    await services.rollouts.of(order.workspace).check_may_act(order.requester)
    await services.jobs.submit(KIND, order.flag, order.model_dump(mode="json"), dedupe=f"{KIND}:{request}")


async def is_member(client: AsyncWebClient, channel: str) -> bool:
    """Whether cards can be posted there; True when Slack does not say, for then the notifier finds out."""
    try:
        answer = await client.conversations_info(channel=channel)
    except SlackApiError as error:
        return code_of(error) != "channel_not_found"
    except NETWORK_ERRORS:
        return True
    found = answer["channel"]
    return bool(found.get("is_im") or found.get("is_mpim") or found.get("is_member", True))


async def _carry_out(services: Services, order: Order) -> None:
    client = await services.clients.of(order.workspace)
    try:
        unchanged = await _propose(services, order)
    except SluiceError as error:
        reason = str(error)
        if isinstance(error, NotFound):
            reason = f"{reason} {await near_flags(services, order.flag, order.environment)}"
        await _say_failed(client, order, reason)
    except Exception:
        reference = secrets.token_hex(4)
        logger.exception(PLANNING_FAILED, reference=reference, flag=order.flag, environment=order.environment)
        await _say_failed(client, order, texts.UNEXPECTED.format(reference=reference))
    else:
        if unchanged is not None:
            await _say(client, order, texts.PLAN_UNCHANGED, version=unchanged.plan_version, link="")


async def _propose(services: Services, order: Order) -> RolloutView | None:
    """Put the plan before people; the rollout instead when the very same plan stands already (a job may run twice)."""
    rollouts = services.rollouts.of(order.workspace)
    proposal = await services.planner.propose(
        PlanRequest(
            order.flag,
            order.environment,
            order.strategy,
            order.requester,
            wishes=order.wishes,
            scope=rollouts.scope,
            spec=order.spec,
            again=order.again,
        )
    )
    standing = await _standing(rollouts, proposal.plan)
    if standing is not None and standing.requester == order.requester:
        return standing
    channel = _channel(services, order, proposal.plan)
    await rollouts.propose(
        proposal.plan,
        requester=order.requester,
        place=Place(order.workspace, channel),
        reason=texts.PLAN_REASON,
        spec=proposal.spec,
    )
    return None


def _channel(services: Services, order: Order, plan: Plan) -> str:
    """Where the card goes: to where it was asked for, and from a conversation with the app to the flag's route."""
    slack = services.settings.slack.of(order.workspace)
    route = route_for(slack, plan.environment, plan.tags) if order.channel.startswith(DIRECT) else None
    return order.channel if route is None else route.channel


async def _standing(rollouts: RolloutService, plan: Plan) -> RolloutView | None:
    try:
        view = await rollouts.find(plan.flag, plan.environment)
    except NotFound:
        return None
    return view if view.phase is Phase.PROPOSED and view.plan.sha256 == plan.sha256 else None


async def _say_failed(client: AsyncWebClient, order: Order, reason: str) -> None:
    await _say(client, order, texts.PLAN_FAILED, reason=escape(reason, ERROR_CHARACTERS))


async def _say(client: AsyncWebClient, order: Order, sentence: str, **facts: object) -> None:
    text = sentence.format(flag=name(order.flag), environment=name(order.environment), **facts)
    await tell(client, user=order.requester, channel=order.channel, text=text)

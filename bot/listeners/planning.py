"""Planning reads specs and metrics, which takes its time: it is a job, and the person hears of its failure."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.models.blocks import Block
from slack_sdk.web.async_client import AsyncWebClient

from agent.planner import PlanRequest
from bot import texts
from bot.blocks import replacing
from bot.blocks.answers import card_link
from bot.blocks.mrkdwn import escape, name, person
from bot.listeners.finding import near_flags
from bot.listeners.handling import handle_once
from bot.listeners.links import permalink
from bot.listeners.replies import channel_of, person_of, reply, tell, workspace_of
from bot.routing import route_for
from bot.services import Services
from bot.slack import NETWORK_ERRORS, code_of
from tools.errors import NotFound, SluiceError
from tools.plans.diff import differences
from tools.plans.model import Plan, Strategy
from tools.rollouts.phases import Phase
from tools.rollouts.service import Place, RolloutService
from tools.rollouts.views import RolloutView

KIND = "plan"
PLANNING_FAILED = "planning.failed"
ERROR_CHARACTERS = 1500
CHANGES_CHARACTERS = 400
MOST_CHANGES = 6

Answer = tuple[str, Sequence[Block] | None]
"""What the person reads: a sentence, and blocks where a sentence is not enough."""

logger = structlog.get_logger(__name__)


class Order(BaseModel):
    """A person's wish for a plan; `workspace` and `channel` are where its card will be, `wishes` their own words.

    `spec` is the address of the document that they named as the spec; `again`: the plan before had its spec from there.
    `instead` is the version of somebody else's plan whose place it may take, as they said when they were asked.
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
    instead: int | None = None


def register(app: AsyncApp, services: Services) -> None:
    """Let the job runner make plans, and take the word that one may replace another."""

    async def plan(payload: Mapping[str, Any]) -> None:
        await _carry_out(services, Order.model_validate(payload))

    services.jobs.handle(KIND, plan)

    @app.action(replacing.INSTEAD)
    async def pressed(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        value = str(action.get("value", ""))
        await handle_once(services, client, body, lambda: _plan_instead(services, client, body, value))


async def take(services: Services, client: AsyncWebClient, order: Order, *, request: str) -> Answer:
    """Have the plan made, and what to say meanwhile: where it will be. A plan of somebody else's is asked about first.

    Raises NotAllowed and PeopleUnavailable for who may have none made.
    """
    rollouts = services.rollouts.of(order.workspace)
    standing = await _standing(rollouts, order)
    if standing is not None and _is_anothers(standing, order):
        await rollouts.check_may_act(order.requester)
        return await _question(client, standing, order)
    await submit(services, order, request=request)
    if standing is not None and standing.requester == order.requester:
        return await _about(client, texts.PLANNING_AGAIN, standing), None
    channel = order.channel if standing is None or standing.place is None else standing.place.channel
    sentence = texts.PLANNING_ROUTED if channel.startswith(replacing.DIRECT) else texts.PLANNING_IN
    facts = {"flag": name(order.flag), "environment": name(order.environment), "channel": f"<#{channel}>"}
    return sentence.format_map(facts), None


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


async def _plan_instead(services: Services, client: AsyncWebClient, body: Mapping[str, Any], value: str) -> None:
    """Plan as it was asked for; a plan that has another version meanwhile is asked about anew."""
    wanted, who, workspace = replacing.wanted_in(value), person_of(body), workspace_of(body)
    view = await services.rollouts.of(workspace).get(wanted.rollout)
    order = Order(
        flag=view.flag,
        environment=view.environment,
        strategy=wanted.strategy,
        requester=who,
        workspace=workspace,
        channel=wanted.channel or channel_of(body) or who,
        wishes=wanted.wishes,
        spec=wanted.spec,
        instead=wanted.version,
    )
    text, blocks = await take(services, client, order, request=f"{wanted.rollout}:{who}:{body.get('trigger_id')}")
    await reply(client, body, text, blocks)


async def _carry_out(services: Services, order: Order) -> None:
    client = await services.clients.of(order.workspace)
    try:
        said = await _propose(services, client, order)
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
        if said is not None:
            text, blocks = said
            await tell(client, user=order.requester, channel=order.channel, text=text, blocks=blocks)


async def _propose(services: Services, client: AsyncWebClient, order: Order) -> Answer | None:
    """Put the plan before people; what its orderer has to know besides. The very same plan stands (jobs run twice)."""
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
    standing = await _standing(rollouts, order)
    if standing is not None and _is_anothers(standing, order):
        return await _question(client, standing, order)
    if standing is not None and standing.plan.sha256 == proposal.plan.sha256:
        return await _about(client, texts.PLAN_UNCHANGED, standing), None
    channel = _channel(services, order, proposal.plan)
    view = await rollouts.propose(
        proposal.plan,
        requester=order.requester,
        place=Place(order.workspace, channel),
        reason=texts.PLAN_REASON,
        spec=proposal.spec,
    )
    if standing is not None and standing.id == view.id:
        if order.again and standing.requester == order.requester:
            # The card says it, on which they pressed the button.
            return None
        return await _replaced(client, standing, view), None
    return (await _about(client, texts.PLAN_THERE, view), None) if channel != order.channel else None


def _channel(services: Services, order: Order, plan: Plan) -> str:
    """Where the card goes: to where it was asked for, and from a conversation with the app to the flag's route."""
    slack = services.settings.slack.of(order.workspace)
    route = route_for(slack, plan.environment, plan.tags) if order.channel.startswith(replacing.DIRECT) else None
    return order.channel if route is None else route.channel


async def _standing(rollouts: RolloutService, order: Order) -> RolloutView | None:
    """The plan that people are being asked about already."""
    try:
        view = await rollouts.find(order.flag, order.environment)
    except NotFound:
        return None
    return view if view.phase is Phase.PROPOSED else None


def _is_anothers(standing: RolloutView, order: Order) -> bool:
    """Whether it is somebody else's plan, of which nobody said that it may be replaced."""
    return standing.requester != order.requester and standing.plan_version != order.instead


async def _question(client: AsyncWebClient, standing: RolloutView, order: Order) -> Answer:
    wanted = replacing.Wanted(
        rollout=standing.id,
        version=standing.plan_version,
        strategy=order.strategy,
        wishes=order.wishes,
        spec=order.spec,
        channel=order.channel,
    )
    return replacing.question(standing, wanted, await permalink(client, standing))


async def _replaced(client: AsyncWebClient, before: RolloutView, view: RolloutView) -> str:
    """What became of the plan that there was."""
    sentence = texts.PLAN_REPLACED if before.requester == view.requester else texts.PLAN_TOOK_PLACE
    changes = "; ".join(differences(before.plan, view.plan)[:MOST_CHANGES])
    said = texts.CHANGES.format(changes=escape(changes, CHANGES_CHARACTERS)) if changes else ""
    return await _about(client, sentence, view, changes=said, former=person(before.requester))


async def _about(client: AsyncWebClient, sentence: str, view: RolloutView, **facts: object) -> str:
    return sentence.format(
        flag=name(view.flag),
        environment=name(view.environment),
        version=view.plan_version,
        channel=replacing.channel_of(view),
        link=card_link(await permalink(client, view)),
        **facts,
    )


async def _say_failed(client: AsyncWebClient, order: Order, reason: str) -> None:
    await _say(client, order, texts.PLAN_FAILED, reason=escape(reason, ERROR_CHARACTERS))


async def _say(client: AsyncWebClient, order: Order, sentence: str, **facts: object) -> None:
    text = sentence.format(flag=name(order.flag), environment=name(order.environment), **facts)
    await tell(client, user=order.requester, channel=order.channel, text=text)

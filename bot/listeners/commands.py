"""`/rollout`: everything that can be done with a rollout, typed."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.models.blocks import Block
from slack_sdk.web.async_client import AsyncWebClient

from bot import texts
from bot.blocks.answers import card_link, history_blocks, list_blocks, status_blocks, why_blocks
from bot.blocks.card import DECIDING, MOST_DECISIONS, summary
from bot.blocks.dialogs import kept_reason
from bot.blocks.freezing import freezes_blocks
from bot.blocks.help import help_blocks
from bot.blocks.mrkdwn import escape, name, plain_name
from bot.blocks.starting import Wish
from bot.listeners import accepting, freezing, notifying, planning
from bot.listeners.environments import check as check_environment
from bot.listeners.environments import names_instead
from bot.listeners.finding import environment_of, find, near_flags, served_flags
from bot.listeners.handling import handle, handle_once
from bot.listeners.links import permalink
from bot.listeners.parsing import Command, NotUnderstood, asks_for_dialog, parse
from bot.listeners.replies import reply, workspace_of
from bot.listeners.starting import open_start
from bot.manifest import address_of
from bot.services import Services
from tools.errors import Conflict, NotFound
from tools.flags.base import FlagNotFound
from tools.plans.model import Strategy
from tools.plans.policy import is_among
from tools.records import log
from tools.rollouts.phases import LIVE, Phase, words
from tools.rollouts.views import RolloutView

MOST_HISTORY = 20

Answer = tuple[str, Sequence[Block] | None]
"""What the person reads: a sentence, and blocks where a sentence is not enough."""


def register(app: AsyncApp, services: Services) -> None:
    """Answer `/rollout`."""

    @app.command("/rollout")
    async def rollout(ack: AsyncAck, body: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        typed = str(body.get("text", ""))
        if (command := asks_for_dialog(typed)) is not None:
            await handle(client, body, lambda: _open(services, client, body, command))
            return

        async def answer() -> None:
            subcommands = Subcommands(services.of(workspace_of(body)))
            text, blocks = await subcommands.answer(parse(typed), Asker.of(body), client)
            await reply(client, body, text, blocks)

        await handle_once(services, client, body, answer)


async def _open(services: Services, client: AsyncWebClient, body: Mapping[str, Any], command: Command) -> None:
    """The dialog that asks for the rest of a command."""
    match command.subcommand:
        case "accept":
            await accepting.open_for_command(services, client, body, command)
        case "freeze":
            await freezing.open_freeze(services, client, body, freezing.begun(services, workspace_of(body), command))
        case "notify":
            await notifying.open_notifications(services, client, body)
        case _:
            wish = Wish(environment=command.environment or "", strategy=_known_strategy(command.strategy))
            await open_start(services, client, body, wish)


class Asker:
    """Who asked, and where."""

    def __init__(self, person: str, workspace: str, channel: str, request: str) -> None:
        self.person = person
        self.workspace = workspace
        self.channel = channel
        self.request = request

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Asker":
        """From a slash command's payload."""
        return cls(body["user_id"], workspace_of(body), body["channel_id"], body["trigger_id"])


class Subcommands:
    """One method a subcommand. Each raises the errors of the service it calls."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._by_name: dict[str, Callable[[Command, Asker, AsyncWebClient], Awaitable[Answer]]] = {
            "help": self._help,
            "plan": self._plan,
            "start": self._start,
            "status": self._status,
            "list": self._list,
            "promote": self._promote,
            "pause": self._pause,
            "resume": self._resume,
            "rollback": self._rollback,
            "cancel": self._cancel,
            "kill": self._kill,
            "history": self._history,
            "why": self._why,
            "unfreeze": self._unfreeze,
        }

    async def answer(self, command: Command, asker: Asker, client: AsyncWebClient) -> Answer:
        """Do what was asked for, and say so."""
        return await self._by_name[command.subcommand](command, asker, client)

    async def _help(self, _command: Command, _asker: Asker, _client: AsyncWebClient) -> Answer:
        running = [view.flag for view in await self._services.rollouts.open()]
        return texts.HELP_TITLE, help_blocks(running, await served_flags(self._services))

    async def _plan(self, command: Command, asker: Asker, client: AsyncWebClient) -> Answer:
        strategy = _strategy(command.strategy)
        await check_environment(self._services, command.environment)
        environment = await environment_of(
            self._services, command.flag, command.environment, subcommand=command.subcommand
        )
        if not await planning.is_member(client, asker.channel):
            return texts.NOT_A_MEMBER, None
        order = planning.Order(
            flag=command.flag,
            environment=environment,
            strategy=strategy,
            requester=asker.person,
            workspace=asker.workspace,
            channel=asker.channel,
            spec=command.spec,
        )
        return await planning.take(self._services, client, order, request=asker.request)

    async def _start(self, command: Command, asker: Asker, client: AsyncWebClient) -> Answer:
        found = await self._find(command)
        view = await self._services.rollouts.start(found.id, actor=asker.person)
        return await _said(client, view), None

    async def _status(self, command: Command, asker: Asker, client: AsyncWebClient) -> Answer:
        if not command.flag:
            return await self._list(command, asker, client)
        view = await self._find(command)
        async with self._services.database.read() as session:
            decisions = await log.newest(session, view.id, kinds=DECIDING, limit=MOST_DECISIONS)
        shared = address_of(view.id, self._services.settings.http.public_url)
        return summary(view), status_blocks(view, decisions, await permalink(client, view), shared)

    async def _list(self, _command: Command, _asker: Asker, _client: AsyncWebClient) -> Answer:
        views = await self._services.rollouts.open()
        text = texts.LIST_TITLE.format(count=len(views)) if views else texts.NO_ROLLOUTS
        return text, list_blocks(views)

    async def _promote(self, command: Command, asker: Asker, client: AsyncWebClient) -> Answer:
        found = await self._find(command)
        view = await self._services.rollouts.promote(found.id, actor=asker.person)
        return await _said(client, view), None

    async def _pause(self, command: Command, asker: Asker, client: AsyncWebClient) -> Answer:
        found = await self._find(command)
        view = await self._services.rollouts.pause(found.id, actor=asker.person, reason=_reason(command))
        return await _said(client, view), None

    async def _resume(self, command: Command, asker: Asker, client: AsyncWebClient) -> Answer:
        found = await self._find(command)
        view = await self._services.rollouts.resume(found.id, actor=asker.person)
        return await _said(client, view, texts.RESUMED), None

    async def _rollback(self, command: Command, asker: Asker, client: AsyncWebClient) -> Answer:
        found = await self._find(command)
        view = await self._services.rollouts.roll_back(found.id, actor=asker.person, reason=_reason(command))
        return await _said(client, view), None

    async def _cancel(self, command: Command, asker: Asker, client: AsyncWebClient) -> Answer:
        found = await self._find(command)
        if found.phase in LIVE | {Phase.ROLLING_BACK}:
            raise Conflict(texts.CANCEL_TOO_LATE.format(flag=plain_name(found.flag), phase=words(found.phase)))
        view = await self._services.rollouts.cancel(found.id, actor=asker.person, reason=_reason(command))
        return await _said(client, view), None

    async def _kill(self, command: Command, asker: Asker, client: AsyncWebClient) -> Answer:
        flag = command.flag
        environment = await environment_of(self._services, flag, command.environment, subcommand=command.subcommand)
        try:
            view = await self._services.rollouts.kill(flag, environment, actor=asker.person, reason=_reason(command))
        except FlagNotFound as error:
            raise NotFound(f"{error} {await near_flags(self._services, flag, environment)}".strip()) from None
        if view is None:
            return texts.KILLED_ALONE.format(flag=name(flag), environment=name(environment)), None
        return await _said(client, view), None

    async def _history(self, command: Command, _asker: Asker, _client: AsyncWebClient) -> Answer:
        view = await self._find(command)
        async with self._services.database.read() as session:
            events = await log.newest(session, view.id, limit=MOST_HISTORY)
        return summary(view), history_blocks(view, events)

    async def _why(self, command: Command, _asker: Asker, _client: AsyncWebClient) -> Answer:
        view = await self._find(command)
        return summary(view), why_blocks(view)

    async def _unfreeze(self, command: Command, _asker: Asker, _client: AsyncWebClient) -> Answer:
        """The freezes that there are, each with its button; what follows the command is an environment."""
        environment, at = command.environment or command.flag, self._services.clock.now()
        found = await self._services.rollouts.freezes()
        if environment:
            found = [one for one in found if is_among(environment, one.environments)]
        if environment and not found:
            said = texts.FREEZES_NONE_THERE.format(environment=name(environment))
            return f"{said} {names_instead(self._services, environment)}".strip(), None
        return texts.FREEZES_TITLE if found else texts.FREEZES_NONE, freezes_blocks(found, at)

    async def _find(self, command: Command) -> RolloutView:
        return await find(self._services, command.flag, command.environment, subcommand=command.subcommand)


async def _said(client: AsyncWebClient, view: RolloutView, progressing: str | None = None) -> str:
    """Where the rollout is now, after what was asked for was done."""
    sentence = texts.PROMOTED if view.stage else texts.STARTED
    exposure = view.exposure
    match view.phase:
        case Phase.PROPOSED | Phase.WAITING_PROMOTION:
            sentence = texts.WAITS_FOR_APPROVAL
        case Phase.PROGRESSING:
            sentence = progressing or sentence
            exposure = view.stage_in_force.exposure if view.stage_in_force else exposure
        case Phase.PAUSED:
            sentence = texts.PAUSED
        case Phase.SUCCEEDED:
            sentence = texts.FINISHED
        case Phase.ROLLING_BACK:
            sentence, exposure = texts.ROLLING_BACK, view.setting or view.known_good
        case Phase.ROLLED_BACK:
            sentence = texts.ROLLED_BACK
        case Phase.CANCELLED:
            sentence = texts.CANCELLED
        case Phase.DRAFT:
            raise AssertionError("nothing that is asked for leads to a draft")
    return sentence.format(
        flag=name(view.flag),
        environment=name(view.environment),
        exposure=escape(exposure, 80),
        have=len(view.approval.by) if view.approval else 0,
        needed=view.approval.needed if view.approval else 0,
        number=(view.stage or 0) + 1,
        total=len(view.plan.stages),
        link=card_link(await permalink(client, view)),
    )


def _reason(command: Command) -> str:
    return kept_reason(command.reason) or texts.BY_COMMAND.format(subcommand=command.subcommand)


def _known_strategy(given: str | None) -> Strategy | None:
    """The strategy for a dialog, which asks about one that there is not."""
    try:
        return _strategy(given)
    except NotUnderstood:
        return None


def _strategy(given: str | None) -> Strategy | None:
    if given is None:
        return None
    try:
        return Strategy(given.lower())
    except ValueError:
        raise NotUnderstood(texts.UNKNOWN_STRATEGY.format(given=plain_name(given))) from None

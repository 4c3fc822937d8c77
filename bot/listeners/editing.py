"""Editing a plan as a table: every change is judged at once, and what is sent becomes the plan's next version."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.models.views import View
from slack_sdk.web.async_client import AsyncWebClient

from agent.planner import Measured
from bot import texts
from bot.blocks import card
from bot.blocks import editing as dialog
from bot.blocks.dialogs import refusal_dialog
from bot.blocks.editing import Table
from bot.listeners.actions import check_shown, id_of, told_once
from bot.listeners.handling import REFUSED, handle, handle_once
from bot.listeners.opening import open_dialog, replace_dialog
from bot.listeners.replies import channel_of, person_of, workspace_of
from bot.listeners.sending import whole
from bot.services import Services
from bot.slack import code_of
from tools.clock import Clock
from tools.errors import Conflict, NotFound, SluiceError
from tools.plans.editing import Edited, Row
from tools.records.models import Rollout
from tools.rollouts.phases import LIVE, Phase, words
from tools.rollouts.views import RolloutView

PATIENCE_S = 2.0
"""How long a submission is judged before Slack is answered, which waits three seconds."""
MEASURED_FOR = timedelta(minutes=10)
"""How long what was measured serves one plan's table."""
MOST_KEPT = 200
NOT_SHOWN = "slack.table_not_shown"
CHANGED_MEANWHILE = "hash_conflict"

logger = structlog.get_logger(__name__)

Change = Callable[[Table], Table]


def register(app: AsyncApp, services: Services) -> None:
    """Open the table, judge what is filled in, and take what is sent."""
    measures, screens = Measures(services.clock), Screens()

    def editor(body: Mapping[str, Any]) -> "Editor":
        return Editor(services.of(workspace_of(body)), measures, screens)

    @app.action(card.EDIT)
    async def pressed(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        await handle(client, body, lambda: told_once(services, body, lambda: editor(body).open(client, body, action)))

    async def filled(ack: AsyncAck, body: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        await handle(client, body, lambda: told_once(services, body, lambda: editor(body).judge(client, body)))

    for action_id in (dialog.PERCENT, dialog.MODE, dialog.HOLD, dialog.LIMIT, dialog.MARGIN):
        app.action(action_id)(filled)

    async def rearranged(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        key, adds = str(action.get("value", "")), action.get("action_id") == dialog.ADD

        def change(table: Table) -> Table:
            return table.after(key) if adds else table.without(key)

        await handle_once(services, client, body, lambda: editor(body).judge(client, body, change))

    for action_id in (dialog.ADD, dialog.REMOVE):
        app.action(action_id)(rearranged)

    @app.view(dialog.EDIT, matchers=[whole(dialog.ASKS)])
    async def submitted(ack: AsyncAck, body: dict[str, Any], view: dict[str, Any], client: AsyncWebClient) -> None:
        sent = await editor(body).sent(view)
        if not isinstance(sent, Sent):
            await ack(response_action="errors", errors=sent)
            return
        await ack()
        await handle_once(services, client, body, lambda: editor(body).put_in_force(sent, person_of(body)))


@dataclass(frozen=True, slots=True)
class Sent:
    """A table that can be put in force."""

    view: RolloutView
    table: Table
    edited: Edited
    measured: Measured


class Measures:
    """What plans' metrics did lately, measured once for all who look at a plan's table in the next minutes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known = OrderedDict[str, tuple[datetime, asyncio.Task[Measured]]]()

    async def of(self, view: RolloutView, measure: Callable[[], Any]) -> Measured:
        """Raises what `measure` raises; whoever stops waiting does not stop the others' measurement."""
        until, task = self._known.get(view.plan.sha256, (self._clock.now(), None))
        if task is None or until <= self._clock.now() or (task.done() and task.exception() is not None):
            task = asyncio.ensure_future(measure())
            self._known[view.plan.sha256] = (self._clock.now() + MEASURED_FOR, task)
            while len(self._known) > MOST_KEPT:
                self._known.popitem(last=False)
        return await asyncio.shield(task)


@dataclass
class Screen:
    """What this process last showed in a dialog, and the number of the newest change to it; `over`: it was refused."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    newest: int = 0
    rows: Mapping[str, Row] | None = None
    hash: str | None = None
    over: bool = False


class Screens:
    """The dialogs that are open, by their ids."""

    def __init__(self) -> None:
        self._known = OrderedDict[str, Screen]()

    def of(self, view_id: str) -> Screen:
        """The dialog's; a new one where nothing is known of it."""
        screen = self._known.setdefault(view_id, Screen())
        self._known.move_to_end(view_id)
        while len(self._known) > MOST_KEPT:
            self._known.popitem(last=False)
        return screen


class Editor:
    """A plan's table, from the button to the next version."""

    def __init__(self, services: Services, measures: Measures, screens: Screens) -> None:
        self._services = services
        self._measures = measures
        self._screens = screens

    async def open(self, client: AsyncWebClient, body: Mapping[str, Any], action: dict[str, Any]) -> None:
        """Open the dialog at once, then fill it; a refusal is said in it."""
        about, channel = id_of(dict(body), action), channel_of(body)
        view_id = await open_dialog(client, body, dialog.loading_dialog(about, channel))
        if view_id is None:
            return
        try:
            await check_shown(self._services, dict(body), action, Rollout)
            view = await self._editable(about)
            table, measured = dialog.table_of(view, channel), await self._measured(view)
        except SluiceError as error:
            await _refuse(client, view_id, error)
            return
        await self._show(client, view_id, view, table, measured)

    async def judge(self, client: AsyncWebClient, body: Mapping[str, Any], change: Change | None = None) -> None:
        """Show the judgement of what stands in the dialog now, after the change; of several changes the last counts.

        Once the plan can't be changed any more, the dialog says so instead, once.
        """
        given = body.get("view")
        if given is None:
            raise NotFound(texts.UNKNOWN_BUTTON)
        screen = self._screens.of(given["id"])
        screen.newest += 1
        number = screen.newest
        async with screen.lock:
            if screen.over or (change is None and number != screen.newest):
                return
            try:
                view = await self._editable(dialog.about(given["private_metadata"])[0])
            except (Conflict, NotFound) as error:
                screen.over = True
                await _refuse(client, given["id"], error)
                return
            is_older = screen.hash is not None and given.get("hash") != screen.hash
            table = dialog.table_in(given, view, screen.rows if is_older else None)
            table = change(table) if change is not None else table
            await self._show(client, given["id"], view, table, await self._measured(view), given.get("hash"))

    async def sent(self, given: Mapping[str, Any]) -> Sent | dict[str, str]:
        """What can be put in force, or what has to be corrected first, by input."""
        about, version = dialog.about(given["private_metadata"])
        try:
            async with asyncio.timeout(PATIENCE_S):
                view = await self._editable(about)
                if view.plan_version != version:
                    return {dialog.REASON: texts.EDIT_OVERTAKEN.format(now=view.plan_version, version=version)}
                measured = await self._measured(view)
        except SluiceError as error:
            return {dialog.REASON: str(error)}
        except TimeoutError:
            return {dialog.REASON: texts.EDIT_STILL_MEASURING}
        table = dialog.table_in(given, view)
        edited = self._edited(view, table, measured)
        errors = dialog.errors_in(view, table, edited)
        return errors if errors or edited.draft is None else Sent(view, table, edited, measured)

    async def put_in_force(self, sent: Sent, person: str) -> None:
        """Make it the plan's next version. Raises InvalidPlan, Conflict, and what the sources raise."""
        assert sent.edited.draft is not None
        proposal = await self._services.planner.edited(sent.view, sent.edited.draft, sent.measured)
        await self._services.rollouts.revise(
            sent.view.id,
            proposal.plan,
            actor=person,
            reason=sent.table.reason,
            spec=proposal.spec,
            expected=sent.table.version,
        )

    async def _editable(self, rollout_id: str) -> RolloutView:
        """The rollout. Raises RolloutNotFound, and Conflict where its plan can have no other version any more."""
        view = await self._services.rollouts.get(rollout_id)
        if view.phase not in LIVE | {Phase.PROPOSED}:
            raise Conflict(texts.EDIT_TOO_LATE.format(flag=view.flag, phase=words(view.phase)))
        return view

    async def _measured(self, view: RolloutView) -> Measured:
        """What its metrics did lately; nothing where that can't be found out, which is said in the dialog."""
        try:
            return await self._measures.of(view, lambda: self._services.planner.measured(view.plan))
        except SluiceError as error:
            return Measured((), (str(error),))

    def _edited(self, view: RolloutView, table: Table, measured: Measured) -> Edited:
        words = table.reason or texts.EDIT_WORDS
        return self._services.planner.judge(view, list(table.rows.values()), table.margins, measured, words=words)

    async def _show(
        self,
        client: AsyncWebClient,
        view_id: str,
        view: RolloutView,
        table: Table,
        measured: Measured,
        known: str | None = None,
    ) -> None:
        screen = self._screens.of(view_id)
        able = self._services.flags.capabilities
        edited = self._edited(view, table, measured)
        shown = dialog.edit_dialog(view, table, edited, shadow=able.shadow, missing=measured.missing)
        for expected in dict.fromkeys((screen.hash or known, known)):
            answer = await _updated(client, view_id, shown, expected)
            if answer is not None:
                screen.rows, screen.hash = table.rows, answer
                return
        screen.rows = screen.hash = None


async def _refuse(client: AsyncWebClient, view_id: str, error: SluiceError) -> None:
    logger.info(REFUSED, error=type(error).__name__, reason=str(error))
    await replace_dialog(client, view_id, refusal_dialog(str(error)))


async def _updated(client: AsyncWebClient, view_id: str, view: View, expected: str | None) -> str | None:
    """The hash of the dialog as it is shown now; None where it is another than the one that was changed, or is gone."""
    try:
        answer = await client.views_update(view_id=view_id, view=view, hash=expected)
    except SlackApiError as error:
        logger.info(NOT_SHOWN, reason=code_of(error))
        return None
    updated: Mapping[str, Any] = answer["view"]
    return str(updated["hash"])

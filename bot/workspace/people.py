"""What a person does in the workspace: each action changes its state and reaches the app as Slack's payload."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.workspace import payloads
from bot.workspace.delivery import Acknowledgement, Courier
from bot.workspace.elements import complaint_of_options
from bot.workspace.errors import Refusal
from bot.workspace.inputs import Placed, complaints, element_state, placed_elements, state_values
from bot.workspace.records import Channel, Json, Message, View
from bot.workspace.replies import answer_with_message
from bot.workspace.settings import Person
from bot.workspace.state import Workspace
from bot.workspace.submissions import apply_response_action
from tools.errors import Conflict, InvalidInput, NotFound

_TOKENS = re.compile(r"(<(?:[@#!][^<>\s|]+|https?://[^<>\s|]+)(?:\|[^<>]*)?>)")
_MENTION = re.compile(r"(?<![\w@])@([a-z0-9._-]+)", re.IGNORECASE)
_CHANNEL = re.compile(r"(?<![\w#&])#([a-z0-9_-]+)", re.IGNORECASE)
_LINK = re.compile(r"https?://[^\s<>]*[^\s<>.,;:!?)'\"]")


@dataclass(frozen=True)
class Outcome:
    """What came of a person's action.

    `ack` is None when nothing was sent to the app. `errors` are shown at a modal's inputs (block_id → sentence);
    `notice` is the line that Slack shows the person when the app did not answer.
    """

    ack: Acknowledgement | None = None
    errors: dict[str, str] = field(default_factory=dict)
    notice: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the app acknowledged and no input was refused."""
        return self.ack is not None and self.ack.ok and not self.errors and self.notice is None


class People:
    """The people of a workspace. Channels and users may be named by id or by name."""

    def __init__(self, workspace: Workspace, courier: Courier) -> None:
        self._workspace = workspace
        self._courier = courier

    async def idle(self) -> None:
        """Return when every event sent so far was acknowledged or given up."""
        await self._courier.idle()

    def say(self, channel: str, user: str, text: str, thread_ts: str | None = None) -> Message:
        """Write a message, in a thread if `thread_ts` is given. @name, #channel and links become Slack's tokens."""
        workspace = self._workspace
        room, person = workspace.channel(channel), workspace.person_named(user)
        workspace.join(room, person.id)
        message = Message(
            ts=workspace.next_ts(),
            channel=room.id,
            user=person.id,
            text=compose(workspace, text),
            thread_ts=thread_ts,
        )
        return workspace.post(message)

    def edit(self, channel: str, ts: str, user: str, text: str) -> Message:
        """Change one's own message."""
        message = self._own_message(channel, ts, user)
        return self._workspace.rewrite(message, text=compose(self._workspace, text))

    def delete(self, channel: str, ts: str, user: str) -> None:
        """Delete one's own message."""
        self._workspace.erase(self._own_message(channel, ts, user))

    def dismiss(self, channel: str, ts: str, user: str) -> None:
        """Take an ephemeral message off one's own screen."""
        message = self._seen_message(self._workspace.channel(channel), ts, self._workspace.person_named(user))
        if message.ephemeral_to is None:
            raise Conflict("Only messages that are visible to you alone can be dismissed.")
        self._workspace.erase(message)

    def react(self, channel: str, ts: str, user: str, name: str, *, remove: bool = False) -> None:
        """Add a reaction to a message, or take it back."""
        message = self._workspace.message(self._workspace.channel(channel), ts)
        self._workspace.react(message, self._workspace.person_named(user).id, name.strip(":"), remove=remove)

    def stop(self, channel: str, user: str, thread_ts: str) -> None:
        """Press the button that stops what the app does in a thread. Raises Conflict where there is none."""
        room, person = self._workspace.channel(channel), self._workspace.person_named(user)
        if not self._workspace.stop_session(room, thread_ts, person.id):
            raise Conflict("The app does nothing in this thread that could be stopped.")

    async def command(
        self, channel: str, user: str, command: str, text: str = "", *, thread_ts: str | None = None
    ) -> Outcome:
        """Run a slash command and wait for its acknowledgement, whose text the person sees."""
        workspace = self._workspace
        room, person = workspace.channel(channel), workspace.person_named(user)
        if thread_ts is not None:
            return self._notice(room, person, f"`{command}` is not supported in threads. Sorry!", thread_ts)
        if command not in {known.name for known in workspace.settings.commands}:
            return self._notice(room, person, f"`{command}` is not a valid command.")
        payload = payloads.slash_command(workspace, room, person, command, text)
        ack = await self._courier.ask("slash_commands", payload)
        if not ack.ok:
            return self._failed_command(room, person, command, ack)
        if ack.body:
            try:
                answer_with_message(workspace, ack.body, room, person.id)
            except Refusal as refusal:
                return self._failed_command(room, person, command, ack, refusal.code)
        return Outcome(ack)

    async def click(
        self,
        channel: str,
        ts: str,
        action_id: str,
        user: str,
        *,
        block_id: str | None = None,
        value: Any = None,
        values: Mapping[str, Any] | None = None,
        confirm: bool = True,
    ) -> Outcome:
        """Use an element of a message: press a button, or choose `value` in a menu.

        `values` is what stands in the message's other inputs; `confirm` is the answer to the confirm dialog, if any.
        """
        workspace = self._workspace
        room, person = workspace.channel(channel), workspace.person_named(user)
        message = self._seen_message(room, ts, person)
        blocks, attachment = _around(message, action_id, block_id)
        placed = _find(blocks, action_id, block_id)
        if placed.element.get("confirm") and not confirm:
            return Outcome()
        given = {**(values or {}), **_given(placed, value)}
        action = payloads.action_of(placed.element, placed.block_id, _chosen(placed, given, value))
        state = state_values(blocks, given)
        if attachment is None:
            payload = payloads.message_action(workspace, person, message, action, state)
        else:
            payload = payloads.attachment_action(workspace, person, message, attachment, action, state)
        return self._clicked(await self._courier.ask("interactive", payload))

    async def click_in_view(
        self,
        view_id: str,
        action_id: str,
        user: str,
        *,
        block_id: str | None = None,
        value: Any = None,
        values: Mapping[str, Any] | None = None,
        confirm: bool = True,
    ) -> Outcome:
        """Use an element of a modal or of the Home tab; see `click`."""
        person = self._workspace.person_named(user)
        view = self._own_view(view_id, person)
        placed = _find(view.blocks, action_id, block_id)
        if placed.element.get("confirm") and not confirm:
            return Outcome()
        given = {**(values or {}), **_given(placed, value)}
        action = payloads.action_of(placed.element, placed.block_id, _chosen(placed, given, value))
        payload = payloads.view_action(self._workspace, person, view, action, state_values(view.blocks, given))
        return self._clicked(await self._courier.ask("interactive", payload))

    async def shortcut(self, callback_id: str, user: str, *, channel: str = "", ts: str = "") -> Outcome:
        """Use one of the app's shortcuts: a message's, when `channel` and `ts` name one, else a global one."""
        workspace, person = self._workspace, self._workspace.person_named(user)
        kind = "message" if ts else "global"
        offered = {one.callback_id for one in workspace.settings.shortcuts if one.kind == kind}
        if callback_id not in offered:
            raise NotFound(
                f"The app has no {kind} shortcut {callback_id}; it has: {', '.join(sorted(offered)) or 'none'}."
            )
        if kind == "global":
            return self._clicked(
                await self._courier.ask("interactive", payloads.global_shortcut(workspace, person, callback_id))
            )
        message = self._seen_message(workspace.channel(channel), ts, person)
        if message.ephemeral_to is not None:
            raise Conflict("A message that only one person sees has no shortcuts.")
        payload = payloads.message_shortcut(workspace, person, message, callback_id)
        return self._clicked(await self._courier.ask("interactive", payload))

    async def suggest(
        self, action_id: str, user: str, typed: str, *, view_id: str | None = None, channel: str = "", ts: str = ""
    ) -> list[Json]:
        """The options that the app offers in an external select for what was `typed`; groups come flat."""
        person = self._workspace.person_named(user)
        if view_id is not None:
            view = self._own_view(view_id, person)
            placed = _find(view.blocks, action_id, None)
            action = {"action_id": action_id, "block_id": placed.block_id}
            payload = payloads.view_suggestion(self._workspace, person, view, action, typed)
        else:
            message = self._seen_message(self._workspace.channel(channel), ts, person)
            placed = _find(message.blocks, action_id, None)
            action = {"action_id": action_id, "block_id": placed.block_id}
            payload = payloads.message_suggestion(self._workspace, person, message, action, typed)
        ack = await self._courier.ask("interactive", payload)
        complaint = complaint_of_options(ack.body)
        if complaint:
            raise Refusal("invalid_options", [complaint])
        groups = ack.body.get("option_groups") or []
        return [*(ack.body.get("options") or []), *(option for group in groups for option in group["options"])]

    async def submit(self, view_id: str, user: str, values: Mapping[str, Any] | None = None) -> Outcome:
        """Press a modal's submit button. Slack's own checks come first; then the app decides what happens next."""
        workspace, person = self._workspace, self._workspace.person_named(user)
        view = self._own_view(view_id, person)
        if view.type != "modal":
            raise Conflict("Only a modal can be submitted.")
        state = state_values(view.blocks, values or {})
        errors = complaints(view.blocks, state)
        if errors:
            return Outcome(errors=errors)
        ack = await self._courier.ask("interactive", payloads.view_submission(workspace, person, view, state))
        if not ack.ok:
            return Outcome(ack, notice="We had some trouble connecting. Try again?")
        try:
            return Outcome(ack, errors=apply_response_action(workspace, view, ack.body))
        except Refusal as refusal:
            return Outcome(ack, notice=f"The app answered with something Slack can't use: {refusal.code}")

    async def close(self, view_id: str, user: str, *, everything: bool = False) -> Outcome:
        """Close the top modal, or (`everything`) the whole stack."""
        workspace, person = self._workspace, self._workspace.person_named(user)
        self._own_view(view_id, person)
        ack: Acknowledgement | None = None
        for view in workspace.screens.close_views(person.id, everything=everything):
            if view.given.get("notify_on_close"):
                payload = payloads.view_closed(workspace, person, view, cleared=everything)
                ack = await self._courier.ask("interactive", payload)
        return Outcome(ack)

    def open_home(self, user: str, tab: str = "home") -> None:
        """Look at the app's Home tab, or at the conversation with it (`tab` messages)."""
        workspace, person = self._workspace, self._workspace.person_named(user)
        event: Json = {
            "type": "app_home_opened",
            "user": person.id,
            "channel": workspace.direct_message([person.id]).id,
            "tab": tab,
            "event_ts": workspace.next_ts(),
        }
        view = workspace.screens.homes.get(person.id)
        if view is not None and tab == "home":
            event["view"] = workspace.screens.view_json(view)
        workspace.announce("app_home_opened", event)

    def _clicked(self, ack: Acknowledgement) -> Outcome:
        return Outcome(ack, notice=None if ack.ok else "This app didn't respond. Try again, or let its owner know.")

    def _failed_command(
        self, room: Channel, person: Person, command: str, ack: Acknowledgement, code: str | None = None
    ) -> Outcome:
        error = code or ("operation_timeout" if ack.failure in ("timeout", "http_timeout") else "dispatch_failed")
        return self._notice(room, person, f"`{command}` failed with the error `{error}`.", ack=ack)

    def _notice(
        self,
        room: Channel,
        person: Person,
        text: str,
        thread_ts: str | None = None,
        ack: Acknowledgement | None = None,
    ) -> Outcome:
        workspace = self._workspace
        notice = Message(
            ts=workspace.next_ts(),
            channel=room.id,
            user="USLACKBOT",
            text=text,
            thread_ts=thread_ts,
            ephemeral_to=person.id,
        )
        workspace.post(notice)
        return Outcome(ack, notice=text)

    def _own_message(self, channel: str, ts: str, user: str) -> Message:
        message = self._workspace.message(self._workspace.channel(channel), ts)
        if message.user != self._workspace.person_named(user).id:
            raise Conflict("A person can change only messages of their own.")
        return message

    def _seen_message(self, room: Channel, ts: str, person: Person) -> Message:
        message = self._workspace.messages[room.id].get(ts)
        if message is None or message.ephemeral_to not in (None, person.id):
            raise Refusal("message_not_found")
        return message

    def _own_view(self, view_id: str, person: Person) -> View:
        view = self._workspace.screens.find_view(view_id=view_id)
        if view.user != person.id:
            raise Conflict(f"This view is on another person's screen, not on {person.name}'s.")
        return view


def compose(workspace: Workspace, text: str) -> str:
    """What a person typed as Slack stores it: control characters escaped, mentions, channels and links as tokens."""
    pieces = _TOKENS.split(text)
    return "".join(piece if index % 2 else _tokenised(workspace, piece) for index, piece in enumerate(pieces))


def _tokenised(workspace: Workspace, text: str) -> str:
    users = {person.name.lower(): person.id for person in workspace.users.values()}
    groups = {group.handle.lower(): group for group in workspace.groups.values()}
    rooms = {room.name.lower(): room.id for room in workspace.channels.values() if room.kind == "channel"}

    def mention(match: re.Match[str]) -> str:
        name = match.group(1).lower()
        if name in users:
            return f"<@{users[name]}>"
        if name in groups:
            return f"<!subteam^{groups[name].id}>"
        return f"<!{name}>" if name in ("here", "channel", "everyone") else match.group(0)

    def room(match: re.Match[str]) -> str:
        name = match.group(1).lower()
        return f"<#{rooms[name]}|{name}>" if name in rooms else match.group(0)

    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    linked = _LINK.split(escaped), _LINK.findall(escaped)
    plain = [_CHANNEL.sub(room, _MENTION.sub(mention, piece)) for piece in linked[0]]
    links = [f"<{link}>" for link in linked[1]] + [""]
    return "".join(piece + link for piece, link in zip(plain, links, strict=True))


def _find(blocks: list[Json], action_id: str, block_id: str | None) -> Placed:
    for placed in placed_elements(blocks):
        if placed.action_id == action_id and block_id in (None, placed.block_id):
            return placed
    offered = ", ".join(placed.action_id for placed in placed_elements(blocks)) or "none"
    raise NotFound(f"There is nothing with the action_id {action_id} here; it offers: {offered}.")


def _around(message: Message, action_id: str, block_id: str | None) -> tuple[list[Json], Json | None]:
    """The blocks in which an element stands: the message's own, or an attachment's (and then that attachment)."""
    for attachment in message.attachments:
        blocks: list[Json] = attachment.get("blocks", [])
        if any(one.action_id == action_id and block_id in (None, one.block_id) for one in placed_elements(blocks)):
            return blocks, attachment
    return message.blocks, None


def _given(placed: Placed, value: Any) -> dict[str, Any]:
    return {} if value is None else {placed.block_id: {placed.action_id: value}}


def _chosen(placed: Placed, given: Mapping[str, Any], value: Any) -> Json:
    if placed.element["type"] == "overflow":
        for option in placed.element["options"]:
            if option.get("value") == value:
                return {"selected_option": option}
        raise InvalidInput(f"{placed.action_id} has no option {value!r}.")
    if placed.element["type"] == "feedback_buttons":
        for name in ("positive_button", "negative_button"):
            pressed: Json = placed.element[name]
            if pressed["value"] == value:
                return {"value": pressed["value"], "text": pressed["text"]}
        raise InvalidInput(f"{placed.action_id} has no button {value!r}.")
    return element_state(placed, given) or {}

"""The payloads that Slack sends for what a person does: pure functions of the workspace's state."""

import time
from typing import Any

from bot.workspace.records import Channel, Json, Message, View
from bot.workspace.settings import Person, WorkspaceSettings
from bot.workspace.state import Workspace

VERIFICATION_TOKEN = "local-verification-token"  # noqa: S105 - Slack's deprecated token field, not checked by anybody


def event_callback(settings: WorkspaceSettings, event: Json, event_id: str, at: float) -> Json:
    """The Events API's outer payload around `event`. `at` is in seconds since 1970."""
    return {
        "token": VERIFICATION_TOKEN,
        "team_id": settings.team_id,
        "context_team_id": settings.team_id,
        "api_app_id": settings.app_id,
        "event": event,
        "type": "event_callback",
        "event_id": event_id,
        "event_time": int(at),
        "authorizations": [
            {
                "enterprise_id": None,
                "team_id": settings.team_id,
                "user_id": settings.bot_user_id,
                "is_bot": True,
                "is_enterprise_install": False,
            }
        ],
        "is_ext_shared_channel": False,
        "event_context": f"4-{event_id}",
    }


def slash_command(workspace: Workspace, channel: Channel, person: Person, command: str, text: str) -> Json:
    """The payload of a slash command, with a trigger id and a response URL of its own."""
    settings = workspace.settings
    token = workspace.tickets.issue_response(channel=channel.id, user=person.id)
    return {
        "token": VERIFICATION_TOKEN,
        "team_id": settings.team_id,
        "team_domain": settings.team_domain,
        "channel_id": channel.id,
        "channel_name": "directmessage" if channel.kind == "im" else channel.name,
        "user_id": person.id,
        "user_name": person.name,
        "command": command,
        "text": text,
        "api_app_id": settings.app_id,
        "is_enterprise_install": "false",
        "response_url": f"{workspace.base_url}/response/{token}",
        "trigger_id": workspace.tickets.issue_trigger(person.id),
    }


def message_action(workspace: Workspace, person: Person, message: Message, action: Json, state: Json) -> Json:
    """block_actions from a message. An ephemeral message itself is not part of the payload."""
    channel = workspace.channels[message.channel]
    token = workspace.tickets.issue_response(
        channel=channel.id, user=person.id, message_ts=message.ts, thread_ts=message.thread_ts
    )
    payload = {
        **_interaction(workspace, person, "block_actions"),
        "trigger_id": workspace.tickets.issue_trigger(person.id),
        "container": _message_container(message),
        "channel": {"id": channel.id, "name": "directmessage" if channel.kind == "im" else channel.name},
        "state": {"values": state},
        "response_url": f"{workspace.base_url}/response/{token}",
        "actions": [action],
    }
    if message.ephemeral_to is None:
        payload["message"] = workspace.message_json(message)
    return payload


def attachment_action(
    workspace: Workspace, person: Person, message: Message, attachment: Json, action: Json, state: Json
) -> Json:
    """block_actions from what a link was unfurled to."""
    payload = message_action(workspace, person, message, action, state)
    unfurled = {"is_app_unfurl": True, "app_unfurl_url": attachment["from_url"]}
    container = {**payload["container"], **unfurled, "type": "message_attachment", "attachment_id": attachment["id"]}
    return {**payload, "container": container, "app_unfurl": attachment}


def message_shortcut(workspace: Workspace, person: Person, message: Message, callback_id: str) -> Json:
    """message_action: a shortcut in a message's menu."""
    channel = workspace.channels[message.channel]
    token = workspace.tickets.issue_response(
        channel=channel.id, user=person.id, message_ts=message.ts, thread_ts=message.thread_ts
    )
    return {
        **_interaction(workspace, person, "message_action"),
        "callback_id": callback_id,
        "action_ts": f"{time.time():.6f}",
        "trigger_id": workspace.tickets.issue_trigger(person.id),
        "response_url": f"{workspace.base_url}/response/{token}",
        "message_ts": message.ts,
        "channel": {"id": channel.id, "name": "directmessage" if channel.kind == "im" else channel.name},
        "message": workspace.message_json(message),
    }


def global_shortcut(workspace: Workspace, person: Person, callback_id: str) -> Json:
    """shortcut: one beside the composer. It knows no channel."""
    return {
        **_interaction(workspace, person, "shortcut"),
        "callback_id": callback_id,
        "action_ts": f"{time.time():.6f}",
        "trigger_id": workspace.tickets.issue_trigger(person.id),
    }


def view_action(workspace: Workspace, person: Person, view: View, action: Json, state: Json) -> Json:
    """block_actions from a modal or a Home tab."""
    return {
        **_interaction(workspace, person, "block_actions"),
        "trigger_id": workspace.tickets.issue_trigger(person.id),
        "container": {"type": "view", "view_id": view.id},
        "view": workspace.screens.view_json(view, state),
        "actions": [action],
    }


def view_submission(workspace: Workspace, person: Person, view: View, state: Json) -> Json:
    """A modal's submit button."""
    return {
        **_interaction(workspace, person, "view_submission"),
        "trigger_id": workspace.tickets.issue_trigger(person.id),
        "view": workspace.screens.view_json(view, state),
        "response_urls": [],
    }


def view_closed(workspace: Workspace, person: Person, view: View, *, cleared: bool) -> Json:
    """A modal that was closed, alone or (`cleared`) with all others of its stack."""
    return {
        **_interaction(workspace, person, "view_closed"),
        "view": workspace.screens.view_json(view),
        "is_cleared": cleared,
    }


def message_suggestion(workspace: Workspace, person: Person, message: Message, action: Json, typed: str) -> Json:
    """The load of an external select's options in a message."""
    channel = workspace.channels[message.channel]
    return {
        **_suggestion(workspace, person, action, typed),
        "container": _message_container(message),
        "channel": {"id": channel.id, "name": channel.name},
        "message": workspace.message_json(message),
    }


def view_suggestion(workspace: Workspace, person: Person, view: View, action: Json, typed: str) -> Json:
    """The load of an external select's options in a view."""
    return {
        **_suggestion(workspace, person, action, typed),
        "container": {"type": "view", "view_id": view.id},
        "view": workspace.screens.view_json(view),
    }


def action_of(element: Json, block_id: str, chosen: Json) -> Json:
    """An entry of `actions`: the element that was used, and `chosen`, what it holds now."""
    action: Json = {
        "type": element["type"],
        "action_id": element["action_id"],
        "block_id": block_id,
        "action_ts": f"{time.time():.6f}",
    }
    for name in ("text", "value", "style", "url", "confirm", "placeholder"):
        if name in element:
            action[name] = element[name]
    action.update({name: value for name, value in chosen.items() if name != "type"})
    return action


def _interaction(workspace: Workspace, person: Person, type_: str) -> dict[str, Any]:
    settings = workspace.settings
    return {
        "type": type_,
        "team": {"id": settings.team_id, "domain": settings.team_domain},
        "user": {"id": person.id, "username": person.name, "name": person.name, "team_id": settings.team_id},
        "api_app_id": settings.app_id,
        "token": VERIFICATION_TOKEN,
        "enterprise": None,
        "is_enterprise_install": False,
    }


def _suggestion(workspace: Workspace, person: Person, action: Json, typed: str) -> Json:
    return {
        **_interaction(workspace, person, "block_suggestion"),
        "action_id": action["action_id"],
        "block_id": action["block_id"],
        "value": typed,
    }


def _message_container(message: Message) -> Json:
    container: Json = {
        "type": "message",
        "message_ts": message.ts,
        "channel_id": message.channel,
        "is_ephemeral": message.ephemeral_to is not None,
    }
    if message.thread_ts:
        container["thread_ts"] = message.thread_ts
    return container

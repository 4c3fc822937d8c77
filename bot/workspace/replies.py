"""Messages that an app sends in answer: a slash command's acknowledgement, or a POST to a response URL."""

from bot.workspace.errors import Refusal
from bot.workspace.records import Channel, Json, Message
from bot.workspace.state import Workspace
from bot.workspace.tickets import ResponseTicket
from bot.workspace.web_api.chat import read_content


def answer_with_message(
    workspace: Workspace, body: Json, channel: Channel, user: str, *, thread_ts: str | None = None
) -> Message:
    """Post `body` as the app: for `user` alone, unless `response_type` is in_channel. Raises `Refusal`."""
    text, blocks = read_content(workspace, body)
    settings = workspace.settings
    return workspace.post(
        Message(
            ts=workspace.next_ts(),
            channel=channel.id,
            user=settings.bot_user_id,
            text=text,
            blocks=blocks,
            thread_ts=body.get("thread_ts") or thread_ts,
            bot_id=settings.bot_id,
            app_id=settings.app_id,
            ephemeral_to=None if body.get("response_type") == "in_channel" else user,
        )
    )


def answer_response_url(workspace: Workspace, ticket: ResponseTicket, body: Json) -> None:
    """Do what a POST to a response URL asks for: replace or delete the message it came from, or post another."""
    channel = workspace.channels[ticket.channel]
    if body.get("delete_original"):
        workspace.erase(_original(workspace, ticket))
        return
    if body.get("replace_original"):
        original = _original(workspace, ticket)
        text, blocks = read_content(workspace, body)
        workspace.rewrite(original, edited=False, text=text, blocks=blocks)
        return
    thread_ts = None if ticket.message_ts == ticket.thread_ts else ticket.thread_ts
    answer_with_message(workspace, body, channel, ticket.user, thread_ts=thread_ts)


def _original(workspace: Workspace, ticket: ResponseTicket) -> Message:
    message = workspace.messages[ticket.channel].get(ticket.message_ts or "")
    if message is None:
        raise Refusal("message_not_found")
    return message

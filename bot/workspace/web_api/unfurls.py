"""chat.unfurl: what the app shows below a message for the links in it."""

from copy import deepcopy
from typing import Any

from bot.workspace.blocks import check_message_blocks
from bot.workspace.errors import Refusal
from bot.workspace.inputs import name_blocks
from bot.workspace.links import links_in
from bot.workspace.records import Channel, Json, Message
from bot.workspace.web_api.calling import Call, Methods

SOURCES = ("composer", "conversations_history")
_TEXTS = ("text", "title", "fallback", "pretext")

methods = Methods()


@methods("chat.unfurl")
def unfurl(call: Call) -> Json:
    """Attaches blocks to a message for links in it; a second call changes what the first attached."""
    unfurls = call.arguments.get("unfurls")
    if not unfurls:
        raise Refusal("missing_unfurls")
    if not isinstance(unfurls, dict):
        raise Refusal("invalid_unfurls_format")
    message = _message(call)
    urls = [link["url"] for link in links_in(message.text, call.workspace.settings.unfurl_domains)]
    shown = {attachment["from_url"]: attachment for attachment in message.attachments}
    for url, content in unfurls.items():
        if url not in message.text.replace("&amp;", "&"):
            raise Refusal("cannot_unfurl_message")
        if url not in urls:
            raise Refusal("cannot_unfurl_url")
        shown[url] = {**_checked(call, content), "from_url": url, "is_app_unfurl": True}
    settings = call.workspace.settings
    attachments = [
        {**attachment, "id": number, "app_id": settings.app_id, "bot_id": settings.bot_id}
        for number, attachment in enumerate(shown.values(), start=1)
    ]
    call.workspace.rewrite(message, edited=False, attachments=attachments)
    return {}


def _message(call: Call) -> Message:
    unfurl_id, source = call.optional("unfurl_id"), call.optional("source")
    if unfurl_id is None and source is None:
        for name in ("channel", "ts"):
            if call.optional(name) is None:
                raise Refusal(f"missing_{name}")
        return _found(call, call.text("channel"), call.text("ts"))
    if unfurl_id is None:
        raise Refusal("missing_unfurl_id")
    if source is None:
        raise Refusal("missing_source")
    if source not in SOURCES:
        raise Refusal("invalid_source")
    channel, _, ts = unfurl_id.rpartition("-")
    if channel not in call.workspace.channels or ts not in call.workspace.messages[channel]:
        raise Refusal("invalid_unfurl_id")
    return _found(call, channel, ts)


def _found(call: Call, reference: str, ts: str) -> Message:
    channel: Channel | None = call.workspace.channels.get(reference)
    if channel is None:
        raise Refusal("cannot_find_channel")
    message = call.workspace.messages[channel.id].get(ts)
    if message is None or message.ephemeral_to is not None:
        raise Refusal("cannot_find_message")
    return message


def _checked(call: Call, content: Any) -> Json:
    if not isinstance(content, dict):
        raise Refusal("cannot_parse_attachment")
    blocks = content.get("blocks")
    if blocks is None and not any(isinstance(content.get(name), str) and content[name] for name in _TEXTS):
        raise Refusal("cannot_parse_attachment")
    if blocks is not None:
        if not isinstance(blocks, list) or not blocks:
            raise Refusal("cannot_parse_attachment")
        check_message_blocks(blocks, call.workspace.ready_files())
    checked = deepcopy(content)
    name_blocks(checked.get("blocks", []))
    return checked

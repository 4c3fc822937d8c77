"""assistant.threads.*: the status line, title and suggested prompts of a conversation with the app."""

from bot.workspace.errors import Refusal
from bot.workspace.records import Json
from bot.workspace.web_api.calling import Call, Methods

MAX_PROMPTS = 4
MAX_LOADING_MESSAGE = 50

methods = Methods()


@methods("assistant.threads.setStatus")
def set_status(call: Call) -> Json:
    """Shows what the app is doing, for two minutes or until it replies."""
    channel = call.channel("channel_id")
    for index, line in enumerate(call.list_of("loading_messages") or []):
        if not isinstance(line, str) or len(line) > MAX_LOADING_MESSAGE:
            complaint = (
                f"must be less than {MAX_LOADING_MESSAGE + 1} characters [json-pointer:/loading_messages/{index}]"
            )
            raise Refusal("invalid_arguments", [complaint])
    call.workspace.set_status(channel, call.text("thread_ts"), call.optional("status") or "")
    return {}


@methods("assistant.threads.setTitle")
def set_title(call: Call) -> Json:
    """Names a thread."""
    channel = call.channel("channel_id")
    call.workspace.thread_titles[channel.id, call.text("thread_ts")] = call.text("title")
    return {}


@methods("assistant.threads.setSuggestedPrompts")
def set_suggested_prompts(call: Call) -> Json:
    """Offers up to four prompts, each with a title and a message."""
    channel = call.channel("channel_id")
    prompts = call.list_of("prompts") or []
    if len(prompts) > MAX_PROMPTS:
        raise Refusal("invalid_arguments", [f"no more than {MAX_PROMPTS} items allowed [json-pointer:/prompts]"])
    for index, prompt in enumerate(prompts):
        for name in ("title", "message"):
            if not isinstance(prompt, dict) or not prompt.get(name):
                raise Refusal("invalid_arguments", [f"missing required field: {name} [json-pointer:/prompts/{index}]"])
    offer = {"channel": channel.id, "title": call.optional("title") or "", "prompts": prompts}
    call.workspace.prompts[channel.id] = offer
    call.workspace.feed.publish("prompts", offer)
    return {}

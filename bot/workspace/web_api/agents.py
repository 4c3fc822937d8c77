"""agents.sessions.*: whether the app works in a thread, and what that work is called."""

from bot.workspace.errors import Refusal, missing
from bot.workspace.records import Channel, Json
from bot.workspace.sessions import MAX_TITLE, STATUSES, SessionStatus
from bot.workspace.state import STOPPED, Workspace
from bot.workspace.web_api.calling import Call, Methods

UNHEARD = "missing_agent_session_stopped_event_subscription"

methods = Methods()


@methods("agents.sessions.setStatus")
def set_status(call: Call) -> Json:
    """Begins the thread's session if there is none, and sets its status; a title counts only at its beginning."""
    workspace = call.workspace
    channel, thread_ts = _thread(call)
    status = session_status(call.text("status"), "status")
    if any(call.optional(name) for name in ("icon_emoji", "icon_url", "username")):
        raise Refusal("missing_scope", extra={"needed": "chat:write.customize"})
    initiator = call.optional("initiator_user_id")
    if initiator is not None and workspace.user(initiator).id not in channel.members:
        raise Refusal("user_not_in_channel")
    title = call.optional("title") or ""
    if len(title) > MAX_TITLE:
        raise _too_long()
    session = workspace.set_session(channel, thread_ts, status, title=title, initiator=initiator)
    answer: Json = {"status": status, "agent_status": status, "title": session.title}
    if not _is_subscribed(workspace):
        answer |= {"warning": UNHEARD, "response_metadata": {"warnings": [UNHEARD]}}
    return answer


@methods("agents.sessions.rename")
def rename(call: Call) -> Json:
    """Gives the thread's session another title."""
    channel, thread_ts = _thread(call)
    title = call.text("title")
    if len(title) > MAX_TITLE:
        raise _too_long()
    session = call.workspace.sessions.get((channel.id, thread_ts))
    if session is None:
        raise Refusal("session_not_found")
    session.title = title
    return {"title": title}


def session_status(given: str, name: str) -> SessionStatus:
    """One of Slack's four. Raises `Refusal` for another word, such as the older status line's."""
    for status in STATUSES:
        if given == status:
            return status
    raise Refusal("invalid_arguments", [f"must be a valid enum value [json-pointer:/{name}]"])


def _thread(call: Call) -> tuple[Channel, str]:
    """Where the session is: in this workspace always a thread, for it has no channels of sessions."""
    channel = call.channel("channel_id")
    if call.workspace.settings.bot_user_id not in channel.members:
        raise Refusal("not_in_channel")
    thread_ts = call.optional("thread_ts")
    if thread_ts is None:
        raise missing("thread_ts")
    root = call.workspace.messages[channel.id].get(thread_ts)
    if root is None or root.is_reply:
        raise Refusal("thread_not_found")
    return channel, thread_ts


def _is_subscribed(workspace: Workspace) -> bool:
    return STOPPED in workspace.settings.events


def _too_long() -> Refusal:
    return Refusal("invalid_arguments", [f"must be less than {MAX_TITLE + 1} characters [json-pointer:/title]"])

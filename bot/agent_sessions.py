"""The agent session of a thread: Slack shows that Sluice works in it, and a button to stop.

Slack changes a session's status only when it is told to, and by itself no sooner than after an hour:
https://docs.slack.dev/ai/agent-sessions. A workspace without sessions has the older status line of assistants, which
says the same without a button, and goes by itself.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Literal

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.slack import NETWORK_ERRORS, code_of, is_trouble_of_slack, retry_after

CALL_TIMEOUT_S = 10.0
ATTEMPTS = 2
"""How often Slack is told that a run is over, before that is left to its hour."""

NOT_FOR_US = frozenset(
    {
        "access_denied",
        "channel_type_not_supported",
        "feature_not_enabled",
        "http_404",
        "method_deprecated",
        "method_not_supported",
        "method_not_supported_for_channel_type",
        "missing_scope",
        "no_permission",
        "not_allowed",
        "not_allowed_token_type",
        "not_authorized",
        "team_access_not_granted",
        "unknown_method",
    }
)
"""Slack has no such method for this app or workspace, so it is not asked again."""
LIMITED = "ratelimited"
STILL_STREAMING = "streaming_state_conflict"
"""A message that is being streamed can't be edited."""
UNHEARD = "missing_agent_session_stopped_event_subscription"
"""Slack's warning that the installed app has not subscribed to its button to stop, so that nobody sees it."""
NOT_SHOWN = "voice.not_shown"
NO_STOP_BUTTON = "session.no_stop_button"

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class Manners:
    """What Slack was found not to do for this app in a workspace. `stops`: it shows the button to stop."""

    streams: bool = True
    sessions: bool = True
    statuses: bool = True
    stops: bool = True


@dataclass(frozen=True, slots=True)
class Spot:
    """A thread, and who is answered in it."""

    channel: str
    thread: str
    workspace: str
    person: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Slack's word for why it did not take a call. `passes`: the same call may work later."""

    code: str
    passes: bool


class AgentSession:
    """Says in one thread that a run goes on, and that it is over. Slack's refusals are logged, never raised."""

    def __init__(self, slack: AsyncWebClient, spot: Spot, manners: Manners) -> None:
        self._slack = slack
        self._spot = spot
        self._manners = manners
        self._has_line = False

    async def work(self, line: str | None) -> None:
        """A run goes on; without sessions the status line says `line`, for two minutes or until the next message."""
        refusal = await self._set("processing")
        if refusal is not None and not refusal.passes and line is not None:
            await self._show(line)

    async def rest(self, pause: float) -> None:
        """No run goes on: the next message is waited for. `pause` is how long to wait between attempts, in seconds."""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(pause)
            refusal = await self._set("active")
            if refusal is None or not refusal.passes:
                return

    async def take_line_away(self) -> None:
        """For a run that says nothing: what it says would take the status line away."""
        if self._has_line:
            await self._show("")

    async def _show(self, line: str) -> None:
        """Set the older status line; empty takes it away."""
        if not self._manners.statuses:
            return
        spot = self._spot
        setting = self._slack.assistant_threads_setStatus(channel_id=spot.channel, thread_ts=spot.thread, status=line)
        _, refusal = await attempted(setting, spot.channel)
        if refusal is not None and refusal.code in NOT_FOR_US:
            self._manners.statuses = False
        self._has_line = refusal is None and line != ""

    async def _set(self, status: Literal["processing", "active"]) -> Refusal | None:
        if not self._manners.sessions:
            return Refusal("unknown_method", passes=False)
        spot = self._spot
        setting = self._slack.agents_sessions_setStatus(
            channel_id=spot.channel,
            thread_ts=spot.thread,
            status=status,
            initiator_user_id=spot.person if status == "processing" else None,
        )
        answer, refusal = await attempted(setting, spot.channel)
        if refusal is not None and refusal.code in NOT_FOR_US:
            self._manners.sessions = False
        if answer is not None and self._manners.stops and UNHEARD in _warnings(answer):
            self._manners.stops = False
            logger.warning(NO_STOP_BUTTON, workspace=spot.workspace)
        return refusal


async def attempted(calling: Awaitable[Any], channel: str) -> tuple[Any, Refusal | None]:
    """What Slack answered, or why it did not."""
    try:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            return await calling, None
    except SlackApiError as error:
        code = LIMITED if retry_after(error) is not None else code_of(error)
        refusal = Refusal(code, code in (LIMITED, STILL_STREAMING) or is_trouble_of_slack(error))
    except NETWORK_ERRORS as error:
        refusal = Refusal(type(error).__name__, passes=True)
    logger.info(NOT_SHOWN, channel=channel, reason=refusal.code)
    return None, refusal


def _warnings(answer: Any) -> list[str]:
    """What Slack warns of in an answer that it gave all the same."""
    return [*(answer.get("response_metadata") or {}).get("warnings", ()), answer.get("warning") or ""]

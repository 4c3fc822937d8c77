"""Short-lived permissions that Slack hands to an app: trigger ids and response URLs."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.workspace.errors import Refusal
from tools.clock import Clock

TRIGGER_LIFETIME = timedelta(seconds=3)
RESPONSE_URL_LIFETIME = timedelta(minutes=30)
RESPONSE_URL_USES = 5


@dataclass
class Trigger:
    """The right to open one view for `user`."""

    id: str
    user: str
    expires_at: datetime
    used: bool = False


@dataclass
class ResponseTicket:
    """The right to answer an interaction. `message_ts` is the message that was interacted with, if any."""

    token: str
    channel: str
    user: str
    expires_at: datetime
    message_ts: str | None = None
    thread_ts: str | None = None
    uses_left: int = RESPONSE_URL_USES


class TicketOffice:
    """Issues and redeems triggers and response URLs by the given clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._triggers: dict[str, Trigger] = {}
        self._responses: dict[str, ResponseTicket] = {}

    def issue_trigger(self, user: str) -> str:
        """A fresh trigger id: one use within three seconds."""
        now = self._clock.now()
        trigger = Trigger(
            f"{int(now.timestamp() * 1000)}.{secrets.randbelow(10**12)}.{secrets.token_hex(16)}",
            user,
            now + TRIGGER_LIFETIME,
        )
        self._triggers[trigger.id] = trigger
        return trigger.id

    def redeem_trigger(self, trigger_id: str) -> Trigger:
        """Use a trigger. Raises `Refusal` when it is unknown, late or used before."""
        trigger = self._triggers.get(trigger_id)
        if trigger is None:
            raise Refusal("invalid_trigger_id")
        if trigger.used:
            raise Refusal("exchanged_trigger_id")
        if self._clock.now() >= trigger.expires_at:
            raise Refusal("expired_trigger_id")
        trigger.used = True
        return trigger

    def issue_response(
        self, *, channel: str, user: str, message_ts: str | None = None, thread_ts: str | None = None
    ) -> str:
        """The secret part of a response URL: five uses within thirty minutes."""
        token = secrets.token_urlsafe(24)
        expires_at = self._clock.now() + RESPONSE_URL_LIFETIME
        self._responses[token] = ResponseTicket(token, channel, user, expires_at, message_ts, thread_ts)
        return token

    def redeem_response(self, token: str) -> ResponseTicket:
        """Use a response URL once. Raises `Refusal` when it is unknown, late or used up."""
        ticket = self._responses.get(token)
        if ticket is None:
            raise Refusal("invalid_url")
        if self._clock.now() >= ticket.expires_at:
            raise Refusal("expired_url")
        if ticket.uses_left == 0:
            raise Refusal("used_url")
        ticket.uses_left -= 1
        return ticket

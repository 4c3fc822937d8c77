"""Agent sessions: what the app's work in a thread is called, and whether it goes on."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

SessionStatus = Literal["active", "processing", "suspended", "closed"]
STATUSES: tuple[SessionStatus, ...] = get_args(SessionStatus)
MAX_TITLE = 200
PROCESSING_LIFETIME = timedelta(hours=1)
"""Slack gives an app up that has said for so long that it works."""


@dataclass
class AgentSession:
    """The app's session in one thread. `set_at` is when its status was set last."""

    status: SessionStatus
    title: str
    initiator: str | None
    set_at: datetime

    def is_processing(self, at: datetime) -> bool:
        """Whether the app works on something, as far as it has said."""
        return self.status == "processing" and at < self.set_at + PROCESSING_LIFETIME

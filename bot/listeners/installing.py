"""What a workspace does with the app itself: it takes it away, or takes back its tokens."""

from datetime import UTC, datetime
from typing import Any

from slack_bolt.async_app import AsyncApp

from bot.installations import Installations
from bot.listeners.replies import workspace_of
from bot.services import Services


def register(app: AsyncApp, services: Services) -> None:
    """Forget the tokens of a workspace that has taken them back."""
    installations = services.clients
    if not isinstance(installations, Installations):
        return

    @app.event("app_uninstalled")
    async def uninstalled(body: dict[str, Any]) -> None:
        await _forget(installations, body)

    @app.event("tokens_revoked")
    async def revoked(body: dict[str, Any], event: dict[str, Any]) -> None:
        if event.get("tokens", {}).get("bot"):
            await _forget(installations, body)


async def _forget(installations: Installations, body: dict[str, Any]) -> None:
    # A copy of the news may come after the app was installed again.
    await installations.uninstall(workspace_of(body), until=datetime.fromtimestamp(int(body["event_time"]), UTC))

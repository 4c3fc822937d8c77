"""Events that no other listener takes: each is acknowledged, so that Slack sends it once."""

import re

from slack_bolt.async_app import AsyncApp

from bot.services import Services


def register(app: AsyncApp, _services: Services) -> None:
    """Acknowledge every event; after those who answer some."""

    @app.event(re.compile(".*"))
    async def other() -> None:
        """Bolt has acknowledged it."""

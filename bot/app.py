"""The Slack app: the client and the listeners."""

import secrets
from typing import Any

from pydantic import SecretStr
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.web.async_client import AsyncWebClient

from bot.clients import open_client
from bot.installations import Installations
from bot.listeners import (
    accepting,
    actions,
    answering,
    commands,
    conversing,
    editing,
    events,
    freezing,
    home,
    installing,
    messages,
    modals,
    notifying,
    planning,
    prompting,
    shortcuts,
    starting,
    unfurling,
    unknown,
)
from bot.listeners.handling import explain
from bot.services import Services


def build_app(services: Services) -> AsyncApp:
    """The Bolt app with every listener registered, and the job handlers that they submit to."""
    slack = services.settings.slack
    # Without a signing secret nothing that arrives over HTTP may count as signed.
    signing_secret = _text(slack.signing_secret) or secrets.token_hex(32)
    client = open_client(_text(slack.bot_token), slack.api_url)
    installed = services.clients
    authorize = _authorized_by(installed) if isinstance(installed, Installations) else None
    app = AsyncApp(name="sluice", client=client, signing_secret=signing_secret, authorize=authorize)
    for feature in (
        commands,
        planning,
        starting,
        editing,
        shortcuts,
        prompting,
        conversing,
        modals,
        answering,
        accepting,
        freezing,
        notifying,
        home,
        unfurling,
        actions,
        messages,
        installing,
        unknown,
        events,
    ):
        feature.register(app, services.of_nobody())
    _handle_errors(app)
    return app


def _authorized_by(installations: Installations) -> Any:
    """The function that Bolt asks; it looks at the names of its parameters, so it can't be a method."""

    async def authorize(team_id: str | None, enterprise_id: str | None) -> AuthorizeResult | None:
        return await installations.authorize(team_id, enterprise_id)

    return authorize


def _handle_errors(app: AsyncApp) -> None:
    @app.error
    async def failed(error: Exception, body: dict[str, Any], client: AsyncWebClient) -> None:
        """What goes wrong before a listener has acknowledged."""
        await explain(error, client, body)


def _text(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()

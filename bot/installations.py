"""The workspaces that installed the app by OAuth: slack_sdk's stores, with every token encrypted at rest.

A workspace must be allowed by the settings, both to install and to be answered: everybody who finds the install page
could otherwise act on the flags of this installation.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import structlog
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.error import BoltError
from slack_bolt.oauth.async_oauth_flow import AsyncOAuthFlow
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_sdk.oauth.installation_store.async_installation_store import AsyncInstallationStore
from slack_sdk.oauth.installation_store.models.bot import Bot
from slack_sdk.oauth.installation_store.models.installation import Installation
from slack_sdk.oauth.installation_store.sqlalchemy import AsyncSQLAlchemyInstallationStore
from slack_sdk.oauth.state_store.sqlalchemy import AsyncSQLAlchemyOAuthStateStore
from slack_sdk.web.async_client import AsyncWebClient
from sqlalchemy import delete, func, select

from bot.clients import Clients, NotInstalled, open_client
from bot.manifest import BOT_SCOPES, INSTALL_PATH, REDIRECT_PATH
from bot.settings import Settings
from bot.vault import Vault
from tools.errors import ConfigurationError
from tools.records.database import Database
from tools.records.models import SlackBot, SlackInstallation, SlackOAuthState

SECRETS = ("bot_token", "bot_refresh_token", "user_token", "user_refresh_token", "incoming_webhook_url",
           "incoming_webhook_configuration_url")  # fmt: skip
"""What of an installation lets one in, and is encrypted."""
KeptT = TypeVar("KeptT", Bot, Installation)
STATE_LASTS_S = 600
REFUSED = "installations.refused"
INSTALLED = "installations.installed"
UNINSTALLED = "installations.uninstalled"

logger = structlog.get_logger(__name__)


class NotAllowedHere(BoltError):
    """The workspace may not install the app; Bolt shows that on its page."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A workspace that has the app; `scopes` are what its bot was granted."""

    workspace: str
    name: str
    scopes: frozenset[str]
    installed_at: datetime
    allowed: bool


class Installations(AsyncInstallationStore, Clients[AsyncWebClient]):
    """Keeps installations, and has the client of each workspace."""

    def __init__(self, database: Database, settings: Settings) -> None:
        slack = settings.slack
        assert slack.client_id is not None, "only with OAuth are there installations"
        self._database = database
        self._client_id = slack.client_id
        self._api_url = slack.api_url
        self._allowed = frozenset(slack.allowed_workspaces)
        self._vault = Vault(settings.encryption_key)
        self._clients: dict[str, AsyncWebClient] = {}
        self._reader = AsyncSQLAlchemyInstallationStore(self._client_id, database.engine)
        self._writer = AsyncSQLAlchemyInstallationStore(self._client_id, database.writing_engine)

    # -- slack_sdk's store ------------------------------------------------------------------------------------------

    async def async_save(self, installation: Installation) -> None:
        """Keep it, encrypted. Raises NotAllowedHere."""
        workspace = installation.team_id or ""
        if workspace not in self._allowed:
            logger.warning(REFUSED, workspace=workspace, what_to_do="add it to slack.allowed_workspaces")
            raise NotAllowedHere(f"The workspace {workspace} is not one of slack.allowed_workspaces.")
        await self._writer.async_save(self._with(installation, self._vault.seal))
        logger.info(INSTALLED, workspace=workspace)

    async def async_save_bot(self, bot: Bot) -> None:
        """Keep a bot's new token, encrypted."""
        await self._writer.async_save_bot(self._with(bot, self._vault.seal))

    async def async_find_bot(
        self, *, enterprise_id: str | None, team_id: str | None, is_enterprise_install: bool | None = False
    ) -> Bot | None:
        """The workspace's bot with its token. Raises KeyLost."""
        found = await self._reader.async_find_bot(
            enterprise_id=enterprise_id, team_id=team_id, is_enterprise_install=is_enterprise_install
        )
        return None if found is None else self._with(found, self._vault.unseal)

    async def async_find_installation(
        self,
        *,
        enterprise_id: str | None,
        team_id: str | None,
        user_id: str | None = None,
        is_enterprise_install: bool | None = False,
    ) -> Installation | None:
        """The installation with its tokens. Raises KeyLost."""
        found = await self._reader.async_find_installation(
            enterprise_id=enterprise_id, team_id=team_id, user_id=user_id, is_enterprise_install=is_enterprise_install
        )
        return None if found is None else self._with(found, self._vault.unseal)

    async def async_delete_bot(self, *, enterprise_id: str | None, team_id: str | None) -> None:
        """Forget the workspace's bot."""
        await self._writer.async_delete_bot(enterprise_id=enterprise_id, team_id=team_id)

    async def async_delete_installation(
        self, *, enterprise_id: str | None, team_id: str | None, user_id: str | None = None
    ) -> None:
        """Forget the installation, or that of one person."""
        await self._writer.async_delete_installation(enterprise_id=enterprise_id, team_id=team_id, user_id=user_id)

    # -- who speaks where -------------------------------------------------------------------------------------------

    async def of(self, workspace: str) -> AsyncWebClient:
        """The workspace's client. Raises NotInstalled, KeyLost."""
        bot = await self._bot(workspace)
        if bot is None or bot.bot_token is None:
            raise NotInstalled(f"Sluice is not installed in the workspace {workspace or 'that is meant'}.")
        client = self._clients.get(workspace)
        if client is None or client.token != bot.bot_token:
            client = self._clients[workspace] = open_client(bot.bot_token, self._api_url)
        return client

    async def authorize(self, team_id: str | None, enterprise_id: str | None) -> AuthorizeResult | None:
        """What Bolt acts with on a request from that workspace; None where the app is not installed."""
        bot = await self._bot(team_id or "")
        if bot is None:
            return None
        return AuthorizeResult(
            enterprise_id=enterprise_id,
            team_id=team_id,
            bot_user_id=bot.bot_user_id,
            bot_id=bot.bot_id,
            bot_token=bot.bot_token,
            bot_scopes=list(bot.bot_scopes),
        )

    async def uninstall(self, workspace: str, *, until: datetime) -> None:
        """Forget what was installed in the workspace up to that moment: the news of it may come late, and twice."""
        naive = until.astimezone(UTC).replace(tzinfo=None)
        async with self._database.write() as session:
            for table in (SlackInstallation, SlackBot):
                mine = table.client_id == self._client_id, table.team_id == workspace
                await session.execute(delete(table).where(*mine, table.installed_at <= naive))
        self._clients.pop(workspace, None)
        logger.info(UNINSTALLED, workspace=workspace)

    async def all(self) -> list[Installed]:
        """The workspaces that have the app, by name."""
        newest = select(func.max(SlackBot.id)).where(SlackBot.client_id == self._client_id).group_by(SlackBot.team_id)
        async with self._database.read() as session:
            bots = (await session.scalars(select(SlackBot).where(SlackBot.id.in_(newest)))).all()
        found = [
            Installed(
                bot.team_id or "",
                bot.team_name or "",
                frozenset((bot.bot_scopes or "").split(",")),
                bot.installed_at.replace(tzinfo=UTC),
                bot.team_id in self._allowed,
            )
            for bot in bots
        ]
        return sorted(found, key=lambda one: (one.name, one.workspace))

    async def forget_expired_states(self, *, now: datetime) -> None:
        """Forget the installations that somebody began and never finished."""
        async with self._database.write() as session:
            expired = SlackOAuthState.expire_at < now.astimezone(UTC).replace(tzinfo=None)
            await session.execute(delete(SlackOAuthState).where(expired))

    # -- steps ------------------------------------------------------------------------------------------------------

    async def _bot(self, workspace: str) -> Bot | None:
        """The newest bot of an allowed workspace, by whichever of the organisation's ids it was installed."""
        if workspace not in self._allowed:
            return None
        mine = SlackBot.client_id == self._client_id, SlackBot.team_id == workspace
        async with self._database.read() as session:
            newest = select(SlackBot.enterprise_id).where(*mine).order_by(SlackBot.installed_at.desc()).limit(1)
            row = (await session.execute(newest)).first()
        return None if row is None else await self.async_find_bot(enterprise_id=row[0], team_id=workspace)

    def _with(self, kept: KeptT, change: Callable[[str | None], str | None]) -> KeptT:
        changed = copy(kept)
        for name in SECRETS:
            if getattr(changed, name, None) is not None:
                setattr(changed, name, change(getattr(changed, name)))
        return changed


def check_oauth(settings: Settings) -> None:
    """Raise ConfigurationError when something is missing for many workspaces, or set twice."""
    slack = settings.slack
    if slack.bot_token is not None:
        raise ConfigurationError(
            "SLUICE_SLACK_BOT_TOKEN and SLUICE_SLACK_CLIENT_ID are both set: with the token one workspace is served, "
            "with the client id many install the app; remove one of them."
        )
    missing = {
        "SLUICE_SLACK_CLIENT_SECRET": slack.client_secret is None,
        "SLUICE_SLACK_SIGNING_SECRET": slack.signing_secret is None,
        "SLUICE_ENCRYPTION_KEY": not settings.encryption_key,
        "SLUICE_SLACK_ALLOWED_WORKSPACES": not slack.allowed_workspaces,
        "SLUICE_HTTP_PUBLIC_URL": settings.http.public_url is None,
    }
    for name, is_missing in missing.items():
        if is_missing:
            raise ConfigurationError(f"{name} is not set: {WHAT_FOR[name]}.")


WHAT_FOR = {
    "SLUICE_SLACK_CLIENT_SECRET": 'installing by OAuth needs it; it is in "Basic Information"',
    "SLUICE_SLACK_SIGNING_SECRET": 'Slack\'s signatures are checked with it; it is in "Basic Information"',
    "SLUICE_ENCRYPTION_KEY": "workspaces' tokens are encrypted with it; make one with "
    "openssl rand -base64 32 | tr '+/' '-_'",
    "SLUICE_SLACK_ALLOWED_WORKSPACES": "name the workspaces that may install the app, such as T0123ABCDEF",
    "SLUICE_HTTP_PUBLIC_URL": "it is where browsers come back to after installing, such as https://sluice.example.com",
}


def oauth_flow(installations: Installations, database: Database, settings: Settings) -> AsyncOAuthFlow:
    """The pages on which a workspace installs the app."""
    slack = settings.slack
    assert slack.client_secret is not None, "checked before"
    return AsyncOAuthFlow(
        client=open_client(None, slack.api_url),
        settings=AsyncOAuthSettings(
            client_id=slack.client_id,
            client_secret=slack.client_secret.get_secret_value(),
            scopes=sorted(BOT_SCOPES),
            user_scopes=[],
            redirect_uri=f"{settings.http.public_url}{REDIRECT_PATH}",
            install_path=INSTALL_PATH,
            redirect_uri_path=REDIRECT_PATH,
            installation_store=installations,
            state_store=AsyncSQLAlchemyOAuthStateStore(STATE_LASTS_S, database.writing_engine),
            state_expiration_seconds=STATE_LASTS_S,
        ),
    )

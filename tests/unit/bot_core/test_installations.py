"""Installations by OAuth: tokens encrypted at rest, only of workspaces that may, forgotten when they are taken back."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from slack_sdk.oauth.installation_store.models.installation import Installation
from slack_sdk.oauth.installation_store.sqlalchemy import AsyncSQLAlchemyInstallationStore
from slack_sdk.oauth.state_store.sqlalchemy import AsyncSQLAlchemyOAuthStateStore
from sqlalchemy import MetaData, Table, select

from bot.clients import NotInstalled
from bot.installations import Installations, NotAllowedHere, check_oauth
from bot.settings import Settings, load_settings
from bot.vault import KeyLost, Vault
from tools.errors import ConfigurationError
from tools.records.database import Database
from tools.records.migrate import migrate
from tools.records.models import Record, SlackBot, SlackInstallation

KEY, NEWER, OTHER = (Fernet.generate_key().decode() for _ in range(3))
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
OAUTH: dict[str, Any] = {
    "client_id": "1.2",
    "client_secret": "secret",
    "signing_secret": "signing",
    "allowed_workspaces": ("T0001", "T0002"),
}


def settings(*keys: str, **slack: Any) -> Settings:
    return Settings(
        encryption_key=keys or (KEY,), slack=OAUTH | slack, http={"public_url": "https://sluice.example.com"}
    )


def installed(workspace: str = "T0001", token: str = "xoxb-1-secret", **other: Any) -> Installation:
    given: dict[str, Any] = {
        "app_id": "A1",
        "team_id": workspace,
        "team_name": "Acme",
        "bot_token": token,
        "bot_id": "B1",
        "bot_user_id": "U1",
        "bot_scopes": "chat:write,commands",
        "user_id": "UMIRA",
        "user_token": "xoxp-1-secret",
        "incoming_webhook_url": "https://hooks.example.com/secret",
        "installed_at": AT.timestamp(),
    }
    return Installation(**(given | other))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'sluice.db'}")
    await migrate(made)
    yield made
    await made.close()


@pytest.fixture
def installations(database: Database) -> Installations:
    return Installations(database, settings())


async def stored(database: Database) -> str:
    """Every value of what is kept."""
    async with database.read() as session:
        rows = [*await session.execute(select(SlackInstallation.__table__))]
        rows += [*await session.execute(select(SlackBot.__table__))]
    return repr([tuple(row) for row in rows])


async def test_tokens_are_never_stored_as_they_are_and_come_back_as_they_were(
    installations: Installations, database: Database
) -> None:
    await installations.async_save(installed())
    kept = await stored(database)
    assert "secret" not in kept
    assert "Acme" in kept
    found = await installations.async_find_installation(enterprise_id=None, team_id="T0001")
    assert found is not None
    assert (found.bot_token, found.user_token) == ("xoxb-1-secret", "xoxp-1-secret")
    assert found.incoming_webhook_url == "https://hooks.example.com/secret"
    assert (await installations.of("T0001")).token == "xoxb-1-secret"


async def test_each_workspace_is_spoken_to_with_its_own_token(installations: Installations) -> None:
    await installations.async_save(installed())
    await installations.async_save(installed("T0002", "xoxb-2-secret", enterprise_id="E1"))
    assert (await installations.of("T0002")).token == "xoxb-2-secret"
    authorized = await installations.authorize("T0002", "E1")
    assert authorized is not None
    assert (authorized.bot_token, authorized.bot_user_id) == ("xoxb-2-secret", "U1")
    first = await installations.of("T0001")
    assert await installations.of("T0001") is first
    await installations.async_save(installed(token="xoxb-1-newer", installed_at=AT.timestamp() + 60))
    assert (await installations.of("T0001")).token == "xoxb-1-newer"


async def test_a_workspace_that_may_not_is_neither_installed_nor_answered(database: Database) -> None:
    with pytest.raises(NotAllowedHere, match=r"T0009 is not one of slack\.allowed_workspaces"):
        await Installations(database, settings()).async_save(installed("T0009"))
    assert await stored(database) == "[]"
    await Installations(database, settings()).async_save(installed())
    since = Installations(database, settings(allowed_workspaces=("T0002",)))
    assert await since.authorize("T0001", None) is None
    with pytest.raises(NotInstalled):
        await since.of("T0001")


async def test_keys_can_be_changed(database: Database) -> None:
    await Installations(database, settings(KEY)).async_save(installed())
    rotated = Installations(database, settings(NEWER, KEY))
    assert (await rotated.of("T0001")).token == "xoxb-1-secret"
    await rotated.async_save(installed("T0002", "xoxb-2-secret"))
    assert (await Installations(database, settings(NEWER)).of("T0002")).token == "xoxb-2-secret"
    with pytest.raises(KeyLost, match="add the key that it was stored with") as lost:
        await Installations(database, settings(OTHER)).of("T0001")
    assert KEY not in str(lost.value)


async def test_what_is_taken_back_is_forgotten_but_not_what_was_installed_since(
    installations: Installations, database: Database
) -> None:
    await installations.async_save(installed())
    await installations.async_save(installed("T0002", "xoxb-2-secret"))
    await installations.uninstall("T0001", until=AT - timedelta(minutes=1))
    assert (await installations.of("T0001")).token == "xoxb-1-secret", "the news was of an earlier installation"
    await installations.uninstall("T0001", until=AT + timedelta(minutes=1))
    with pytest.raises(NotInstalled, match="T0001"):
        await installations.of("T0001")
    assert (await installations.of("T0002")).token == "xoxb-2-secret"
    assert "T0001" not in await stored(database)


async def test_the_doctor_can_see_who_has_it(installations: Installations) -> None:
    await installations.async_save(installed())
    await installations.async_save(installed(installed_at=AT.timestamp() + 60, bot_scopes="chat:write"))
    [one] = await installations.all()
    assert (one.workspace, one.name, one.scopes, one.allowed) == ("T0001", "Acme", {"chat:write"}, True)
    assert one.installed_at == AT + timedelta(minutes=1)


def test_the_tables_are_those_that_slack_s_stores_write() -> None:
    metadata = MetaData()
    theirs: list[Table] = [
        AsyncSQLAlchemyInstallationStore.build_installations_table(metadata, "slack_installations"),
        AsyncSQLAlchemyInstallationStore.build_bots_table(metadata, "slack_bots"),
        AsyncSQLAlchemyOAuthStateStore(1, None).oauth_states,  # type: ignore[arg-type]
    ]
    for table in theirs:
        ours = Record.metadata.tables[table.name]
        assert {column.name: (column.nullable, column.type.python_type) for column in ours.columns} == {
            column.name: (bool(column.nullable), column.type.python_type) for column in table.columns
        }
        for column in ours.columns:
            assert getattr(column.type, "length", None) is None, "an encrypted token is longer than a plain one"


def test_a_vault_keeps_nothing_as_nothing() -> None:
    vault = Vault([SecretStr(KEY)])
    assert vault.seal(None) is None is vault.unseal(None)
    sealed = vault.seal("xoxb-1")
    assert sealed is not None
    assert "xoxb" not in sealed
    assert vault.unseal(sealed) == "xoxb-1"
    with pytest.raises(KeyLost):
        vault.unseal("gAAAAA-tampered")


class TestSettings:
    def test_keys_are_separated_by_commas(self, tmp_path: Path) -> None:
        read = load_settings(None, {"SLUICE_ENCRYPTION_KEY": f"{NEWER},{KEY}"})
        assert [key.get_secret_value() for key in read.encryption_key] == [NEWER, KEY]
        assert KEY not in repr(read)

    def test_what_is_no_key_is_named_and_not_shown(self) -> None:
        with pytest.raises(ConfigurationError, match=r"SLUICE_ENCRYPTION_KEY .*openssl rand -base64 32") as refused:
            load_settings(None, {"SLUICE_ENCRYPTION_KEY": "hunter2"})
        assert "hunter2" not in str(refused.value)

    @pytest.mark.parametrize(
        ("missing", "name"),
        [
            ("client_secret", "SLUICE_SLACK_CLIENT_SECRET"),
            ("signing_secret", "SLUICE_SLACK_SIGNING_SECRET"),
            ("allowed_workspaces", "SLUICE_SLACK_ALLOWED_WORKSPACES"),
        ],
    )
    def test_what_is_missing_is_named(self, missing: str, name: str) -> None:
        given = {key: value for key, value in OAUTH.items() if key != missing}
        lacking = settings().model_copy(update={"slack": Settings(slack=given).slack})
        with pytest.raises(ConfigurationError, match=f"^{name} is not set"):
            check_oauth(lacking)

    def test_a_token_beside_oauth_is_refused(self) -> None:
        check_oauth(settings())
        with pytest.raises(ConfigurationError, match="both set"):
            check_oauth(settings(bot_token="xoxb-1"))
        with pytest.raises(ConfigurationError, match=r"^SLUICE_ENCRYPTION_KEY is not set"):
            check_oauth(Settings(slack=OAUTH, http={"public_url": "https://sluice.example.com"}))
        with pytest.raises(ConfigurationError, match=r"^SLUICE_HTTP_PUBLIC_URL is not set"):
            check_oauth(Settings(slack=OAUTH, encryption_key=(KEY,)))

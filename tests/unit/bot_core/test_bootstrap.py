from pathlib import Path
from typing import Any

import pytest

from bot.bootstrap import SchemaOutdated, running_services
from bot.serve import check_tokens
from bot.settings import Settings, SlackSettings
from tools.errors import ConfigurationError, Unavailable
from tools.flags.embedded import EmbeddedFlagService
from tools.jobs.in_process import InProcessJobs
from tools.records.database import Database
from tools.records.migrate import migrate
from tools.specs.folder import FolderSpecSource

METRIC = {"source": "shop", "title": "Errors", "query": "SELECT 1 WHERE :start < :end"}


@pytest.fixture
async def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/sluice.db"
    database = Database(url)
    await migrate(database)
    await database.close()
    return url


def made(url: str, **parts: Any) -> Settings:
    return Settings.model_validate({"database": {"url": url}, **parts})


async def test_names_become_parts(url: str, tmp_path: Path) -> None:
    shop = {"url": f"sqlite:///{tmp_path}/shop.db"}
    async with running_services(made(url, sources={"shop": shop}, metrics={"errors": METRIC})) as services:
        assert isinstance(services.flags, EmbeddedFlagService)
        assert isinstance(services.specs, FolderSpecSource)
        assert isinstance(services.jobs, InProcessJobs)
        assert [metric.name for metric in services.metrics.catalogue] == ["errors"]
        assert services.rollouts.wake == services.controller.carry_out
        assert await services.controller.tick() == 0


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        ({"flags": {"type": "magic"}}, "flags.type"),
        ({"specs": {"type": "magic"}}, "specs.type"),
        ({"jobs": {"type": "magic"}}, "jobs.type"),
        ({"sources": {"shop": {"type": "magic"}}}, "sources.shop"),
        ({"sources": {"shop": {"type": "sql"}}}, "sources.shop"),
        ({"metrics": {"errors": METRIC}}, "metrics"),
    ],
)
async def test_a_name_that_is_no_part_fails_at_the_start_and_names_its_key(
    url: str, parts: dict[str, Any], key: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{key}: "):
        async with running_services(made(url, **parts)):
            pass


async def test_a_database_without_schema_asks_for_migrate(tmp_path: Path) -> None:
    with pytest.raises(SchemaOutdated, match="sluice migrate"):
        async with running_services(made(f"sqlite:///{tmp_path}/empty.db")):
            pass


async def test_a_database_that_is_away_is_named_without_its_password() -> None:
    with pytest.raises(Unavailable) as caught:
        async with running_services(made("postgresql://sluice:hunter2@127.0.0.1:9/none?connect_timeout=2")):
            pass
    assert "postgresql://sluice:***@127.0.0.1:9/none" in str(caught.value)
    assert "hunter2" not in str(caught.value)


class TestTokens:
    def test_what_is_missing_is_named(self) -> None:
        bot, app, signing = {"bot_token": "xoxb-1"}, {"app_token": "xapp-1"}, {"signing_secret": "s"}
        for parts, http, name in (
            ({}, False, "SLUICE_SLACK_BOT_TOKEN"),
            ({}, True, "SLUICE_SLACK_BOT_TOKEN"),
            (bot, False, "SLUICE_SLACK_APP_TOKEN"),
            (bot | app, True, "SLUICE_SLACK_SIGNING_SECRET"),
        ):
            with pytest.raises(ConfigurationError, match=f"^{name} is not set"):
                check_tokens(SlackSettings.model_validate(parts), http=http)
        check_tokens(SlackSettings.model_validate(bot | app), http=False)
        check_tokens(SlackSettings.model_validate(bot | signing), http=True)
        check_tokens(SlackSettings.model_validate(bot | signing), http=False)

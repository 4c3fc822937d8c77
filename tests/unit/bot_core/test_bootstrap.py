from pathlib import Path
from typing import Any

import pytest

from bot.bootstrap import SchemaOutdated, running_services
from bot.serve import check_tokens
from bot.settings import Settings, load_settings
from tools.errors import ConfigurationError, Unavailable
from tools.flags.embedded import EmbeddedFlagService
from tools.jobs.in_process import InProcessJobs
from tools.records.database import Database
from tools.records.migrate import migrate
from tools.specs.folder import FolderSpecSource

METRIC = {"source": "shop", "title": "Errors", "query": "SELECT 1 WHERE :start < :end"}
SHOP = {"shop": {"url": "sqlite:///shop.db"}}


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
        ({"sources": {"shop": {"type": "magic"}}}, "sources.shop.type"),
        ({"sources": {"shop": {"type": "sql"}}}, "sources.shop.url"),
        ({"sources": {"shop": {"url": "nonsense"}}}, "sources.shop.url"),
        ({"sources": {"shop": {"url": "sqlite://"}}}, "sources.shop.url"),
        ({"sources": {"shop": {"url": "magic://shop"}}}, "sources.shop.url"),
        ({"metrics": {"errors": METRIC}}, "metrics.errors.source"),
        ({"sources": SHOP, "metrics": {"errors": METRIC | {"query": "DELETE FROM t"}}}, "metrics.errors.query"),
        ({"sources": SHOP, "metrics": {"errors": METRIC | {"query": "SELECT 1"}}}, "metrics.errors.query"),
    ],
)
async def test_a_name_that_is_no_part_fails_at_the_start_and_names_its_key(
    url: str, parts: dict[str, Any], key: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{key}: "):
        async with running_services(made(url, **parts)):
            pass


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLUICE_FLAGS_TYPE", "magic"),
        ("SLUICE_SPECS_TYPE", "magic"),
        ("SLUICE_JOBS_TYPE", "magic"),
        ("SLUICE_SOURCES__SHOP__TYPE", "magic"),
        ("SLUICE_SOURCES__SHOP__URL", "magic://u:hunter2@shop"),
        ("SLUICE_METRICS__ERRORS__QUERY", "DELETE FROM t"),
        ("SLUICE_METRICS__ERRORS__SOURCE", "elsewhere"),
    ],
)
async def test_a_variable_that_names_no_part_is_named(url: str, tmp_path: Path, name: str, value: str) -> None:
    file = tmp_path / "sluice.toml"
    file.write_text(
        f"[sources.shop]\nurl = '{SHOP['shop']['url']}'\n"
        "[metrics.errors]\nsource = 'shop'\ntitle = 'Errors'\nquery = 'SELECT 1 WHERE :start < :end'\n",
        encoding="utf-8",
    )
    settings = load_settings(file, {"SLUICE_DATABASE_URL": url, name: value})
    with pytest.raises(ConfigurationError, match=f"^{name}: ") as caught:
        async with running_services(settings):
            pass
    assert "hunter2" not in str(caught.value)


async def test_a_database_without_schema_asks_for_migrate(tmp_path: Path) -> None:
    with pytest.raises(SchemaOutdated, match="sluice migrate"):
        async with running_services(made(f"sqlite:///{tmp_path}/empty.db")):
            pass


async def test_a_database_that_is_away_is_named_without_its_password() -> None:
    with pytest.raises(Unavailable) as caught:
        async with running_services(made("postgresql://sluice:hunter2@/none?host=/nowhere")):
            pass
    assert "postgresql://sluice:***@/none" in str(caught.value)
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
                check_tokens(Settings(slack=parts), http=http)
        check_tokens(Settings(slack=bot | app), http=False)
        check_tokens(Settings(slack=bot | signing), http=True)
        check_tokens(Settings(slack=bot | signing), http=False)

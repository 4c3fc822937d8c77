"""The demo's sluice.toml is a file like anyone's: it loads, and its queries count what the shop wrote."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Template

import pytest

from bot.demo.telemetry import Row, Telemetry
from bot.demo.world import DEPENDENT_FLAG, ENVIRONMENT, FLAG, HERE, child_environ, model_environ
from bot.settings import Settings, load_settings
from bot.workspace import WorkspaceSettings
from tools.metrics.base import MetricQuery, Sample, Window
from tools.metrics.registry import create_metric_source
from tools.specs.options import SpecSourceOptions
from tools.specs.registry import create_spec_source

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    template = Template((HERE / "sluice.toml").read_text(encoding="utf-8"))
    path = tmp_path / "sluice.toml"
    path.write_text(template.substitute(sluice_port=18080, telemetry=tmp_path / "telemetry.db"), encoding="utf-8")
    return load_settings(path, {})


def _row(second: float, step: str, session: str, variant: str, status: int = 200, **changes: object) -> Row:
    plain = Row(
        at=(NOON + timedelta(seconds=second)).timestamp(),
        step=step,
        session=session,
        flag=FLAG,
        environment=ENVIRONMENT,
        variant=variant,
        shadow=False,
        customer="c",
        tenant="acme",
        region="eu-west",
        status=status,
        latency_ms=5.0,
        flag_error=None,
    )
    return plain._replace(**changes)  # type: ignore[arg-type]


async def _read(settings: Settings, metric: str) -> Mapping[str | None, Sample]:
    source = settings.sources["shop"]
    assert source.url is not None
    metrics = create_metric_source(source.type, settings.catalogue, source.access)
    try:
        await metrics.check()
        window = Window(NOON, NOON + timedelta(seconds=10))
        reading = await metrics.read(MetricQuery(metric, FLAG, ENVIRONMENT, window))
        assert reading.newest is not None
        return reading.by_variant
    finally:
        await metrics.close()


async def _write(tmp_path: Path, *rows: Row) -> None:
    async with Telemetry.open(tmp_path / "telemetry.db") as telemetry:
        for row in rows:
            telemetry.add(row)


async def test_failed_checkouts_are_counted_of_payments_tried(settings: Settings, tmp_path: Path) -> None:
    await _write(
        tmp_path,
        _row(1, "open", "a", "classic"),
        _row(1, "pay", "a", "classic"),
        _row(2, "pay", "b", "classic", 402),
        _row(3, "pay", "c", "express", 502),
        _row(4, "pay", "d", "classic", 402, flag_error="GENERAL: away"),
        _row(5, "pay", "e", "classic", 402, flag="another"),
        _row(10, "pay", "f", "classic", 402),
    )
    assert await _read(settings, "checkout_errors") == {"classic": Sample(2, 1), "express": Sample(1, 1)}


async def test_conversion_is_orders_of_checkouts_opened(settings: Settings, tmp_path: Path) -> None:
    await _write(
        tmp_path,
        _row(1, "open", "a", "classic"),
        _row(11, "pay", "a", "classic"),  # paid after the window: the checkout was opened in it
        _row(2, "open", "b", "classic"),  # left
        _row(3, "open", "c", "express"),
        _row(4, "pay", "c", "express", 402),
        _row(5, "open", "d", "express"),
        _row(6, "pay", "d", "express"),
    )
    assert await _read(settings, "conversion") == {"classic": Sample(2, 1), "express": Sample(2, 1)}


async def test_shadow_runs_count_for_the_variant_that_ran(settings: Settings, tmp_path: Path) -> None:
    await _write(
        tmp_path,
        _row(1, "open", "a", "classic"),
        _row(1, "open", "a", "express", shadow=True),
        _row(2, "pay", "a", "classic"),
        _row(2, "pay", "a", "express", 502, shadow=True),
    )
    assert await _read(settings, "conversion") == {"classic": Sample(1, 1), "express": Sample(1, 0)}
    assert await _read(settings, "checkout_errors") == {"classic": Sample(1, 0), "express": Sample(1, 1)}


async def test_the_specs_are_understood_and_name_metrics_that_there_are(settings: Settings) -> None:
    specs = create_spec_source(SpecSourceOptions(path=str(HERE / "specs")))
    assert await specs.list() == [FLAG, DEPENDENT_FLAG]
    for flag in (FLAG, DEPENDENT_FLAG):
        assert {kpi.metric for kpi in (await specs.read(flag)).kpis} <= set(settings.metrics)
    assert (await specs.read(DEPENDENT_FLAG)).depends_on == (FLAG,)


def test_children_know_this_machines_slack_and_nobody_elses() -> None:
    environ = {"SLUICE_SLACK_BOT_TOKEN": "xoxb-real", "SLUICE_DATABASE_URL": "postgresql://real", "PATH": "/bin"}
    proxies = {"HTTPS_PROXY": "http://proxy.example", "http_proxy": "http://proxy.example"}
    settings = WorkspaceSettings()

    kept = child_environ({**environ, **proxies}, "http://127.0.0.1:1/api/", settings)

    assert kept == {
        "PATH": "/bin",
        "SLUICE_SLACK_API_URL": "http://127.0.0.1:1/api/",
        "SLUICE_SLACK_BOT_TOKEN": settings.bot_token,
        "SLUICE_SLACK_APP_TOKEN": settings.app_token,
        "SLUICE_SLACK_SIGNING_SECRET": settings.signing_secret,
    }


def test_the_demo_talks_to_the_model_that_the_environment_names() -> None:
    named = {"SLUICE_MODEL": "small", "SLUICE_MODEL_STYLE": "schema", "OPENAI_API_KEY": "sk-of-mira"}
    assert model_environ({**named, "SLUICE_DATABASE_URL": "postgresql://real", "PATH": "/bin"}) == named
    assert model_environ({"OPENAI_API_KEY": "sk-of-mira", "PATH": "/bin"}) == {}

"""What `sluice init` writes is what Slack and Sluice accept."""

import json
import math
import re
import sqlite3
import tomllib
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

import bot
from bot.bootstrap import create_specs
from bot.init import template, write_files
from bot.manifest import BOT_SCOPES, manifest_for
from bot.settings import Settings, load_settings
from bot.workspace.settings import DEFAULT_EVENTS, DEFAULT_PROMPTS
from tests.contract.metrics.fake_datadog import DatadogApi
from tests.contract.metrics.fake_influxdb import InfluxApi
from tests.contract.metrics.fake_newrelic import NerdGraph
from tests.contract.metrics.fake_prometheus import PrometheusApi
from tools.clock import ManualClock
from tools.errors import ConfigurationError, Conflict
from tools.metrics.base import MetricQuery, MetricSource, Sample, Window
from tools.metrics.catalogue import Catalogue, MetricKind
from tools.metrics.datadog.source import DatadogMetricSource
from tools.metrics.http_api import Access
from tools.metrics.influxdb.source import InfluxMetricSource
from tools.metrics.newrelic.source import NewRelicMetricSource
from tools.metrics.prometheus.source import PrometheusMetricSource
from tools.metrics.sql.source import SqlMetricSource
from tools.specs.composite import SpecSources
from tools.specs.options import TAKES

COMMENTED = re.compile(r"^# (?=\[|\w+ = |\"\"\"|SELECT|FROM|WHERE|GROUP|http_server|  http_)", re.MULTILINE)


@pytest.fixture
def manifest() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(template("manifest.yaml"))
    return parsed


@pytest.fixture(scope="module")
def slack() -> Draft202012Validator:
    """Slack's rules for manifests."""
    schema = json.loads((Path(__file__).parent / "manifest_schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


CALL = re.compile(
    r"\.((?:agents|api|apps|assistant|auth|chat|conversations|files|reactions|usergroups|users|views)_\w+)\("
)
_HISTORY, _READ = "channels:history groups:history im:history", "channels:read groups:read im:read"
SCOPES_NEEDED = {
    **dict.fromkeys(("api_test", "auth_test", "apps_connections_open", "chat_getPermalink"), ""),
    **dict.fromkeys(("views_open", "views_publish", "views_update"), ""),
    **dict.fromkeys(("app_home_opened", "app_uninstalled", "tokens_revoked"), ""),
    **dict.fromkeys(("agents_sessions_setStatus", "agent_session_stopped"), "chat:write"),
    **dict.fromkeys(("chat_postEphemeral", "chat_update"), "chat:write"),
    **dict.fromkeys(("chat_startStream", "chat_appendStream", "chat_stopStream"), "chat:write"),
    **dict.fromkeys(("assistant_threads_setStatus", "assistant_threads_setSuggestedPrompts"), "assistant:write"),
    **dict.fromkeys(("conversations_history", "conversations_replies"), _HISTORY),
    **dict.fromkeys(("files_upload_v2", "files_delete"), "files:write"),
    "chat_postMessage": "chat:write im:write",  # also to people, by their ids
    "chat_unfurl": "links:write",
    "conversations_info": _READ,
    "usergroups_users_list": "usergroups:read",
    "users_info": "users:read",
    "app_mention": "app_mentions:read",
    "link_shared": "links:read",
    "message.channels": "channels:history",
    "message.groups": "groups:history",
    "message.im": "im:history",
    "reaction_added": "reactions:read",
}
"""By the SDK's name of a method, or an event's; https://docs.slack.dev/reference/methods says them."""


def sources() -> list[Path]:
    """Sluice's own code beside Slack, without the workspace that stands in for it."""
    return [one for one in Path(bot.__file__).parent.rglob("*.py") if "workspace" not in one.parts]


class TestManifest:
    def test_slack_accepts_it(self, manifest: dict[str, Any], slack: Draft202012Validator) -> None:
        slack.validate(manifest)

    def test_slack_accepts_it_for_http_with_the_addresses_that_it_names(
        self, manifest: dict[str, Any], slack: Draft202012Validator
    ) -> None:
        settings, address = manifest["settings"], "https://sluice.example.com/slack/events"
        settings["socket_mode_enabled"] = False
        missing = {tuple(error.absolute_path) for error in slack.iter_errors(manifest)}
        assert missing == {
            ("features", "slash_commands", 0),
            ("settings", "event_subscriptions"),
            ("settings", "interactivity"),
        }
        manifest["features"]["slash_commands"][0]["url"] = address
        settings["event_subscriptions"]["request_url"] = settings["interactivity"]["request_url"] = address
        slack.validate(manifest)

    @pytest.mark.parametrize("http", [True, False])
    @pytest.mark.parametrize("oauth", [True, False])
    def test_slack_accepts_what_is_generated(
        self, slack: Draft202012Validator, manifest: dict[str, Any], http: bool, oauth: bool
    ) -> None:
        text = manifest_for("https://sluice.example.com", http=http, oauth=oauth)
        made = yaml.safe_load(text)
        assert made["features"]["unfurl_domains"] == ["sluice.example.com"]
        slack.validate(made)
        assert made["settings"]["socket_mode_enabled"] is not http
        called = made["features"]["slash_commands"][0].get("url")
        assert called == ("https://sluice.example.com/slack/events" if http else None)
        redirects = made["oauth_config"].get("redirect_urls")
        assert redirects == (["https://sluice.example.com/slack/oauth_redirect"] if oauth else None)
        assert made["features"]["agent_view"] == manifest["features"]["agent_view"]
        assert text.startswith("# The Slack app"), "it says what to do with it"

    def test_without_addresses_it_is_what_init_writes(self) -> None:
        assert manifest_for(None, http=False, oauth=False) == template("manifest.yaml")

    @pytest.mark.parametrize(("http", "oauth"), [(True, False), (False, True)])
    def test_an_address_that_is_needed_is_asked_for(self, http: bool, oauth: bool) -> None:
        with pytest.raises(ConfigurationError, match="SLUICE_HTTP_PUBLIC_URL is not set"):
            manifest_for(None, http=http, oauth=oauth)

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("display_information.name", "S" * 36),
            ("display_information.background_color", "blue"),
            ("features.agent_view.agent_description", "p" * 301),
            ("features.agent_view.suggested_prompts", [{"title": "Plan", "message": "Plan"}] * 5),
            ("features.agent_view.assistant_description", "Plans rollouts."),
            ("features.slash_commands", [{"command": "rollout", "description": "Rollouts"}]),
            ("features.unfurl_domains", ["https://sluice.example.com"]),
            ("features.unfurl_domains", []),
            ("oauth_config.scopes.bot", ["chat:write", "chat:write:everywhere"]),
            ("settings.event_subscriptions.bot_events", ["app_mention", "app_mention"]),
            ("settings.event_subscriptions.bot_events", ["app_mention", "agent_session_halted"]),
            ("settings.unknown", True),
        ],
    )
    def test_slack_would_refuse(
        self, manifest: dict[str, Any], slack: Draft202012Validator, path: str, value: object
    ) -> None:
        *parents, key = path.split(".")
        reduce(dict.__getitem__, parents, manifest)[key] = value
        assert not slack.is_valid(manifest)

    def test_it_registers_the_command(self, manifest: dict[str, Any]) -> None:
        (command,) = manifest["features"]["slash_commands"]
        assert command["command"] == "/rollout"
        assert command["should_escape"] is False, "Slack would turn a flag such as cart.io into a link"

    def test_it_asks_for_the_scopes_that_the_doctor_checks(self, manifest: dict[str, Any]) -> None:
        scopes = manifest["oauth_config"]["scopes"]["bot"]
        assert set(scopes) == BOT_SCOPES
        assert len(scopes) == len(set(scopes))

    def test_it_asks_for_just_the_scopes_that_its_calls_and_events_need(self, manifest: dict[str, Any]) -> None:
        called = {call for one in sources() for call in CALL.findall(one.read_text(encoding="utf-8"))}
        events = manifest["settings"]["event_subscriptions"]["bot_events"]
        needed = {scope for one in (*called, *events) for scope in SCOPES_NEEDED[one].split()}
        assert needed | {"commands"} == BOT_SCOPES

    def test_it_subscribes_to_what_people_do(self, manifest: dict[str, Any]) -> None:
        events = manifest["settings"]["event_subscriptions"]["bot_events"]
        assert {*DEFAULT_EVENTS, "message.groups"} <= set(events)

    def test_the_workspace_on_this_machine_suggests_the_same(self, manifest: dict[str, Any]) -> None:
        suggested = manifest["features"]["agent_view"]["suggested_prompts"]
        assert suggested == [{"title": prompt.title, "message": prompt.message} for prompt in DEFAULT_PROMPTS]

    def test_it_uses_socket_mode_and_buttons(self, manifest: dict[str, Any]) -> None:
        assert manifest["settings"]["socket_mode_enabled"] is True
        assert manifest["settings"]["interactivity"]["is_enabled"] is True


SHOP = """
CREATE TABLE requests (flag, environment, at, variant, user_id, failed, amount, took, region);
CREATE TABLE assignments (flag, environment, first_seen, variant, user_id);
INSERT INTO requests VALUES
  ('new-checkout', 'production', '2026-03-01 12:00:00.000000', 'new', 'a', 0, 400, 20, 'eu'),
  ('new-checkout', 'production', '2026-03-01 12:10:00.000000', 'new', 'a', 1, 400, 60, 'eu'),
  ('new-checkout', 'production', '2026-03-01 12:20:00.000000', 'new', 'b', 0, 10, 100, 'eu'),
  ('new-checkout', 'production', '2026-03-01 12:30:00.000000', 'new', 'c', 0, 30, 4000, 'us'),
  ('new-checkout', 'production', '2026-03-01 13:00:00.000000', 'new', 'c', 1, 30, 4000, 'us'),
  ('new-checkout', 'staging', '2026-03-01 12:30:00.000000', 'new', 'c', 1, 30, 4000, 'us');
INSERT INTO assignments SELECT flag, environment, MIN(at), variant, user_id FROM requests GROUP BY 1, 2, 4, 5;
"""


def _without_marks(text: str) -> str:
    """The template with its examples in force, their queries' every line among them."""
    lines, in_query = list[str](), False
    for line in text.splitlines():
        shown = COMMENTED.sub("", line) if not in_query else line.removeprefix("# ")
        in_query = in_query is not (shown.count('"""') % 2 == 1)
        lines.append(shown)
    return "\n".join(lines).replace('url = "postgresql://sluice:PASSWORD@db.example.com/sluice"\n', "", 1)


def catalogue_shown(folder: Path) -> Catalogue:
    """The metrics that the template shows."""
    (folder / "sluice.toml").write_text(_without_marks(template("sluice.toml")), encoding="utf-8")
    return load_settings(folder / "sluice.toml", {}).catalogue


class TestSettingsFile:
    def test_it_is_accepted_as_it_is(self, tmp_path: Path) -> None:
        write_files(tmp_path, force=False)
        settings = load_settings(tmp_path / "sluice.toml", {})
        assert settings.model_dump() == Settings().model_dump()

    def test_what_it_shows_in_comments_is_accepted_too(self, tmp_path: Path) -> None:
        path = tmp_path / "sluice.toml"
        text = COMMENTED.sub("", template("sluice.toml"))
        text = text.replace('url = "postgresql://sluice:PASSWORD@db.example.com/sluice"\n', "", 1)
        path.write_text(text, encoding="utf-8")
        settings = load_settings(path, {})
        assert {name: source.type for name, source in settings.sources.items()} == {
            "shop": "sql",
            "prometheus": "prometheus",
            "datadog": "datadog",
            "newrelic": "newrelic",
            "influxdb": "influxdb",
        }
        assert {name: metric.kind.value for name, metric in settings.metrics.items()} == {
            "checkout_errors": "ratio",
            "revenue": "mean",
            "checkout_latency": "latency",
            "regions": "mix",
            "checkout_split": "assignments",
            "http_errors": "ratio",
            "http_latency": "latency",
            "impact_errors": "ratio",
            "impact_latency": "latency",
            "datadog_errors": "ratio",
            "datadog_latency": "latency",
            "newrelic_errors": "ratio",
            "newrelic_latency": "latency",
            "influxdb_errors": "ratio",
        }
        assert settings.metrics["checkout_errors"].objective == 0.01
        assert [freeze.name for freeze in settings.policy.freezes] == ["year end"]

    async def test_its_queries_answer_what_they_are_for(self, tmp_path: Path) -> None:
        """Every one of them is run: on a shop of three users, one of them slow, rich, and from elsewhere."""
        definitions = catalogue_shown(tmp_path).of_source("shop")
        with closing(sqlite3.connect(tmp_path / "shop.db")) as shop:
            shop.executescript(SHOP)
        source = SqlMetricSource(f"sqlite:///{tmp_path}/shop.db", definitions)
        window = Window(datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 3, 1, 13, tzinfo=UTC))
        found = {}
        for name in (one.name for one in definitions):
            reading = await source.read(MetricQuery(name, "new-checkout", "production", window))
            assert reading.newest == datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
            found[name] = reading.by_variant["new"]
        units = await source.read_units(MetricQuery("checkout_errors", "new-checkout", "production", window))
        await source.close()
        assert found["checkout_errors"] == Sample(4, 1)
        assert found["revenue"] == Sample(3, total=500 + 10 + 30, total_squares=500**2 + 10**2 + 30**2)
        assert found["checkout_latency"].buckets == ((50, 1), (100, 2), (math.inf, 1))
        assert found["checkout_latency"].total == 20 + 60 + 100 + 4000
        assert found["regions"].segments == (("eu", 3), ("us", 1))
        assert found["checkout_split"] == Sample(3)
        assert sum(one.exposures for one in units) == 4
        assert [one.events for one in units if one.unit is not None] == [1]

    async def test_its_counters_are_those_that_opentelemetry_names(self, tmp_path: Path) -> None:
        """A histogram of requests with an SDK's default edges, and attributes of the flag's key and variant."""
        shown = catalogue_shown(tmp_path).of_source("prometheus")
        definitions = [one for one in shown if one.name.startswith("http_")]
        window = Window(datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 3, 1, 13, tzinfo=UTC))
        api, name = PrometheusApi(), "http_server_request_duration_seconds"
        for status, counts in (("200", (4, 7)), ("500", (0, 2))):
            labels = {
                "feature_flag_key": "new-checkout",
                "feature_flag_result_variant": "new",
                "deployment_environment_name": "production",
                "http_response_status_code": status,
            }
            at = [int(window.start.timestamp() * 1000) + minute * 60_000 for minute in (-1, 58)]
            api.write([(labels | {"__name__": f"{name}_count"}, zip(at, counts, strict=True))])
            for edge in (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, "+Inf"):
                reached = [count if edge == "+Inf" or edge >= 0.1 else 0 for count in counts]
                bucket = labels | {"__name__": f"{name}_bucket", "le": str(edge)}
                api.write([(bucket, zip(at, reached, strict=True))])
        source = PrometheusMetricSource(Access("http://fake"), definitions, transport=api.transport)
        found = {
            metric.name: await source.read(MetricQuery(metric.name, "new-checkout", "production", window))
            for metric in definitions
        }
        await source.close()
        assert found["http_errors"].by_variant == {"new": Sample(5, 2)}
        assert found["http_latency"].by_variant["new"].buckets[:3] == ((0.05, 0), (0.1, 5), (0.25, 0))
        assert {reading.newest for reading in found.values()} == {datetime(2026, 3, 1, 12, 58, tzinfo=UTC)}

    async def test_its_selections_count_in_each_vendors_language(self, tmp_path: Path) -> None:
        """Two requests, one of which failed and was slow, under OpenTelemetry's names."""
        shown, start = catalogue_shown(tmp_path), datetime(2026, 3, 1, 12, tzinfo=UTC)
        datadog, graph, influx, at = DatadogApi(), NerdGraph(), InfluxApi(), start.timestamp()
        name, flag = (
            "http.server.request.duration",
            {"feature_flag.key": "new-checkout", "feature_flag.result.variant": "new"},
        )
        for status, took in ((200, 0.05), (503, 0.7)):
            code, room = {"http.response.status_code": status}, {"deployment.environment.name": "production"}
            text = {key: str(value) for key, value in code.items()}
            datadog.write(name, at, took, **flag, **text, env="production")
            there = {**flag, **code, **room, "timestamp": at * 1000}
            graph.events += [{**there, "type": "Metric", name: took}]
            graph.events += [{**there, "type": "Transaction", "duration": took}]
            influx.write(name, {**flag, **text, **room}, {"count": 1}, int(at) * 10**9 + status)
        keys = {"datadog": Access(None, datadog.api_key, application_key=datadog.application_key)}
        keys |= {"newrelic": Access(None, graph.key, account=graph.account)}
        keys |= {"influxdb": Access("http://fake", database=influx.database)}
        sources: dict[str, MetricSource] = {
            "datadog": DatadogMetricSource(keys["datadog"], shown.of_source("datadog"), transport=datadog.transport),
            "newrelic": NewRelicMetricSource(keys["newrelic"], shown.of_source("newrelic"), transport=graph.transport),
            "influxdb": InfluxMetricSource(keys["influxdb"], shown.of_source("influxdb"), transport=influx.transport),
        }
        for metric in (one for one in shown if one.source in sources):
            query = MetricQuery(metric.name, "new-checkout", "production", Window(start, start + timedelta(minutes=1)))
            found = (await sources[metric.source].read(query)).by_variant
            if metric.kind is MetricKind.RATIO:
                assert found == {"new": Sample(2, 1)}, metric.name
            else:
                assert found["new"].buckets == ((0.1, 1), (0.5, 0), (1.0, 1), (math.inf, 0)), metric.name

    def test_its_commented_values_are_the_defaults(self) -> None:
        shown = tomllib.loads(
            COMMENTED.sub("", template("sluice.toml")).replace(
                'url = "postgresql://sluice:PASSWORD@db.example.com/sluice"\n', "", 1
            )
        )
        # Examples: there is no freeze and no rule unless somebody declares one.
        assert [rule["needed"] for rule in shown["policy"].pop("approval")] == [2]
        assert [freeze["name"] for freeze in shown["policy"].pop("freezes")] == ["year end"]
        assert shown["planning"].pop("reachable")["production"]["users"] == 120_000
        unleash = shown["flags"]["unleash"]
        examples = {name: unleash.pop(name) for name in ("url", "token_file", "environments", "shadow_variant")}
        assert examples["environments"] == {"staging": "development"}
        flagd = shown["flags"]["flagd"]
        assert [flagd.pop(name) for name in ("path", "environments")][1] == {"staging": "stage"}
        flagsmith = shown["flags"]["flagsmith"]
        examples = ("project", "token_file", "environments", "treatment", "shadow_variant")
        assert [flagsmith.pop(name) for name in examples][2] == {"staging": "Test"}
        growthbook = shown["flags"]["growthbook"]
        examples = ("token_file", "environments", "treatment", "shadow_value")
        assert [growthbook.pop(name) for name in examples][1] == {"staging": "dev"}
        launchdarkly = shown["flags"]["launchdarkly"]
        examples = ("token_file", "environments", "treatment", "shadow_variation", "tenant_kind", "region_kind")
        assert [launchdarkly.pop(name) for name in examples][1] == {"staging": "test"}
        defaults = Settings()
        for section in ("http", "planning", "scheduler", "policy", "flags", "specs", "jobs", "ofrep"):
            again = Settings.model_validate({section: shown[section]})
            assert getattr(again, section) == getattr(defaults, section), section


def test_nothing_is_overwritten_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "sluice.toml").write_text("mine", encoding="utf-8")
    with pytest.raises(Conflict, match="--force"):
        write_files(tmp_path, force=False)
    assert (tmp_path / "sluice.toml").read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "manifest.yaml").exists()
    write_files(tmp_path, force=True)
    assert "Settings of Sluice" in (tmp_path / "sluice.toml").read_text(encoding="utf-8")


def test_every_source_of_specs_that_is_shown_can_be_made() -> None:
    section = template("sluice.toml").partition("\n[specs]\n")[2].partition("\n\n")[0]
    shown = re.findall(r"^#   (.*)$", section, re.MULTILINE)
    sources = tomllib.loads("\n".join(shown))["specs"]["sources"]
    assert {one["type"] for one in sources.values()} == {*TAKES} - {"folder", "memory", "gitlab"}
    made = create_specs(Settings.model_validate({"specs": {"sources": sources}}), ManualClock())
    assert isinstance(made, SpecSources)
    assert list(made.sources) == ["code", "handbook", "tickets", "wiki", "notes", "docs"]

"""The doctor, against a Slack workspace on this machine."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from cryptography.fernet import Fernet
from langchain_core.messages import AIMessage
from slack_sdk.oauth.installation_store.models.installation import Installation
from structlog.testing import capture_logs

from agent.scripted import ScriptedModel
from bot.doctor import Finding, State, examine, healthy
from bot.installations import Installations
from bot.manifest import BOT_SCOPES
from bot.settings import Settings
from bot.workspace import RunningWorkspace, running_workspace
from bot.workspace.settings import Room
from tests.contract.specs.conftest import SUBJECTS as SPEC_SUBJECTS
from tests.contract.specs.conftest import no_sleep
from tests.contract.specs.fakes import TOKEN as SPEC_TOKEN
from tests.contract.specs.fakes import FakeServer
from tests.integration.cli.conftest import Sluice
from tools.clock import ManualClock, SystemClock
from tools.flags.registry import FACTORIES
from tools.metrics.sql.source import SqlMetricSource
from tools.records.database import Database
from tools.records.migrate import migrate
from tools.specs.base import close
from tools.specs.options import TAKES as SPEC_SOURCES
from tools.specs.registry import SpecParts

TOKENS = {"bot_token": "xoxb-local", "app_token": "xapp-local", "signing_secret": "local-signing-secret"}
REMOTE: Mapping[str, dict[str, Any]] = {
    "github": {"repository": "acme/shop", "path": "specs"},
    "gitlab": {"url": "https://gitlab.example.com", "repository": "acme/group/shop", "path": "docs/specs"},
    "https": {"url": "https://specs.example.com", "pages": ["https://specs.example.com/checkout.md"]},
    "jira": {"url": "https://acme.atlassian.net", "user": "bot@example.com", "jql": 'labels = "spec"'},
    "confluence": {"url": "https://acme.atlassian.net", "user": "bot@example.com", "space": "ENG"},
    "notion": {"data_source": "0123456789abcdef0123456789abcdef"},
    "google_docs": {"folder": "folder-of-the-specs"},
}
PRIVATE_PAGES = {"wiki": {"type": "https", "pages": ["https://127.0.0.1/a"]}}
QUERY = "SELECT variant, exposures, events, at AS newest FROM counts WHERE at >= :start AND at < :end"


@pytest.fixture
async def workspace() -> AsyncIterator[RunningWorkspace]:
    rooms = (Room("CIN", "releases"), Room("COUT", "outside", bot_is_member=False))
    async with running_workspace(rooms=rooms) as served:
        yield served


@pytest.fixture
async def well(workspace: RunningWorkspace, tmp_path: Path) -> dict[str, Any]:
    """Settings with which nothing is wrong."""
    url = f"sqlite:///{tmp_path}/sluice.db"
    database = Database(url)
    await migrate(database)
    async with database.write() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("CREATE TABLE counts (variant TEXT, exposures INT, events INT, at REAL)")
    await database.close()
    (tmp_path / "specs").mkdir()
    slack = TOKENS | {"api_url": workspace.api_url, "releases_channel": "CIN", "alerts_channel": "CIN"}
    return {
        "database": {"url": url},
        "slack": slack,
        "policy": {"approvers": ["UMIRA0001", "UJONAS001"]},
        "specs": {"path": str(tmp_path / "specs")},
        "sources": {"shop": {"url": url}},
        "metrics": {"errors": {"source": "shop", "title": "Errors", "query": QUERY, "time_format": "epoch"}},
    }


async def found(parts: dict[str, Any], **changes: Any) -> dict[str, Finding]:
    settings = Settings.model_validate(parts | changes)
    return {finding.what: finding for finding in await examine(settings, SystemClock())}


async def test_all_is_well(well: dict[str, Any]) -> None:
    findings = await found(well)
    assert [finding for finding in findings.values() if finding.state is not State.OK] == []
    assert "sluice in Acme" in findings["slack bot token"].says
    assert findings["metrics shop"].says == "answers: errors"


async def test_a_look_that_fails_by_a_fault_is_a_finding_and_the_others_are_made(
    well: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def odd(_source: SqlMetricSource) -> None:
        raise ZeroDivisionError("hunter2")

    monkeypatch.setattr(SqlMetricSource, "check", odd)
    with capture_logs() as logs:
        findings = await found(well)
    reference = re.search(r"under ([0-9a-f]{8})$", findings["metrics shop"].says)
    assert reference is not None
    assert "hunter2" not in str(findings)
    assert [(one["reference"], one["of"]) for one in logs if one["log_level"] == "error"] == [
        (reference[1], "metrics shop")
    ]
    assert [what for what, finding in findings.items() if finding.state is not State.OK] == ["metrics shop"]


@pytest.mark.parametrize(
    ("section", "changes", "what", "says"),
    [
        ("slack", {"bot_token": None}, "slack bot token", "SLUICE_SLACK_BOT_TOKEN is not set"),
        ("slack", {"bot_token": "xoxb-other"}, "slack bot token", "copy it again"),
        ("slack", {"app_token": "xapp-other"}, "slack app token", "copy it again"),
        ("slack", {"app_token": None, "signing_secret": None}, "slack app token", "connections:write"),
        ("slack", {"api_url": "http://127.0.0.1:9/"}, "slack bot token", "SLUICE_SLACK_API_URL"),
        ("slack", {"alerts_channel": "CNOPE"}, "slack alerts", "no such channel"),
        ("slack", {"alerts_channel": "COUT"}, "slack alerts", "Sluice is not in #outside"),
        ("slack", {"route": [{"channel": "CIN"}, {"channel": "CNOPE"}]}, "slack route[1]", "no such channel"),
        ("slack", {"route": [{"channel": "COUT"}]}, "slack route[0]", "Sluice is not in #outside of slack.route[0]"),
        ("policy", {"approvers": []}, "policy", "policy.approvers is empty"),
        ("policy", {"approvers": ["SNOSUCH"]}, "policy", "Slack knows no user group SNOSUCH"),
        ("policy", {"backup": ["SNOSUCH"]}, "policy", "Slack knows no user group SNOSUCH"),
        (
            "policy",
            {"approval": [{"tags": ["regulated"], "approvers": ["SAPPROVER"], "needed": 3}]},
            "policy",
            "policy.approval[0]: 3 must approve, but it names 2",
        ),
        ("specs", {"path": "/nowhere/at/all"}, "specs", "/nowhere/at/all"),
        ("specs", {"path": None, "sources": {"docs": {"path": "/nowhere"}}}, "specs docs", "/nowhere"),
        (
            "specs",
            {"path": None, "sources": PRIVATE_PAGES},
            "specs wiki",
            "name the network in the source's `networks`",
        ),
        ("sources", {"shop": {"url": "sqlite:////nowhere/shop.db"}}, "metrics shop", "/nowhere/shop.db"),
        ("database", {"url": "postgresql://u:hunter2@127.0.0.1:9/x?connect_timeout=2"}, "database", "can't be reached"),
    ],
)
async def test_what_is_not_well_is_named_with_what_to_do(
    well: dict[str, Any], section: str, changes: dict[str, Any], what: str, says: str
) -> None:
    given = {key: value for key, value in (well.get(section, {}) | changes).items() if key != "path" or value}
    findings = await found(well, **{section: given})
    assert findings[what].state is State.FAIL
    assert says in findings[what].says
    assert not healthy(findings.values())
    assert "hunter2" not in str(findings)
    assert "xoxb-" not in findings[what].says.replace("(xoxb-…)", "")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '[flags]\ntype = "magic"',
            f"flags.type: There is no flag service 'magic'; use one of {', '.join(sorted(FACTORIES))}.",
        ),
        ('[specs]\ntype = "magic"', f"specs.type: A spec source is one of {', '.join(SPEC_SOURCES)}, not 'magic'."),
        ('[specs]\ntype = "jira"', "specs.type: Write this source as a table of its own: [specs.sources.NAME]."),
        (
            '[specs.sources.code]\ntype = "github"\nrepository = "a/b"\njql = "x"',
            "specs.sources.code.jql: A spec source of type 'github' has no jql; it has "
            f"{', '.join(SPEC_SOURCES['github'])}.",
        ),
        (
            '[specs]\npath = "s"\n[specs.sources.code]\ntype = "folder"',
            "specs in sluice.toml can't be used: name the folder as one of specs.sources, with type and path, or have "
            "no other sources.",
        ),
        ('[jobs]\ntype = "magic"', "jobs.type: A job runner is one of in_process, memory, not 'magic'."),
        (
            '[sources.shop]\ntype = "magic"',
            "sources.shop.type: A metric source's type must be one of sql, prometheus, datadog, newrelic, influxdb, "
            "memory, not 'magic'.",
        ),
        (
            '[metrics.err]\nsource = "s"\ntitle = "E"\nquery = "q"',
            "metrics.err.source: The metric 'err' names the source 's'; known sources: none.",
        ),
        ("[http]\nport = 'x'", "http.port in sluice.toml must be a whole number."),
    ],
)
def test_wrong_settings_are_one_line_and_exit_status_2_as_for_every_command(
    sluice: Sluice, folder: Path, text: str, sentence: str
) -> None:
    assert sluice("migrate").status == 0
    (folder / "sluice.toml").write_text(text, encoding="utf-8")
    for arguments in (("doctor",), ("doctor", "--json"), ("status",)):
        ran = sluice(*arguments)
        assert (ran.status, ran.out, ran.err) == (2, "", f"sluice: {sentence}\n")


class Servers(httpx.AsyncBaseTransport):
    """Spec vendors' strict servers, each asked by what its address is; both of Atlassian's are at one host."""

    def __init__(self, servers: Mapping[str, FakeServer]) -> None:
        self.servers = servers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host, in_wiki = request.url.host, request.url.path.startswith("/wiki")
        (server,) = [
            server for kind, server in self.servers.items() if server.host == host and (kind == "confluence") == in_wiki
        ]
        return await server.handle_async_request(request)


@pytest.fixture
async def vendors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, FakeServer]:
    """Each vendor of specs that is asked over a network, with one spec; how Sluice is told of them is `REMOTE`."""
    servers = dict[str, FakeServer]()
    for kind in REMOTE:
        with SPEC_SUBJECTS[kind.replace("_", "-")](tmp_path) as subject:
            subject.put("checkout.md", "---\nflag: new-checkout\n---\n# Checkout\n")
            assert subject.server is not None
            servers[kind] = subject.server
            await close(subject.source)
    monkeypatch.setattr("bot.bootstrap.SpecParts", partial(SpecParts, transport=Servers(servers), sleep=no_sleep))
    return servers


def test_every_vendor_of_specs_is_looked_at() -> None:
    assert {*REMOTE, "folder", "memory"} == {*SPEC_SOURCES}


async def test_each_spec_source_is_asked_without_harm(well: dict[str, Any], vendors: Mapping[str, FakeServer]) -> None:
    sources = {kind: {"type": kind, "token": SPEC_TOKEN, **options} for kind, options in REMOTE.items()}
    findings = await found(well, specs={"sources": sources})
    told = {kind: (findings[f"specs {kind}"].state, findings[f"specs {kind}"].says) for kind in REMOTE}
    assert told == {kind: (State.OK, f"1 in {kind}") for kind in REMOTE}
    assert SPEC_TOKEN not in str(findings)
    assert {request.method for kind in vendors if kind != "notion" for request in vendors[kind].requests} == {"GET"}


async def test_what_a_spec_source_refuses_is_named_with_what_to_do(
    well: dict[str, Any], vendors: Mapping[str, FakeServer]
) -> None:
    sources = {kind: {"type": kind, "token": "planted-other", **options} for kind, options in REMOTE.items()}
    # The fake's pages are for everyone.
    vendors["https"].went_wrong = [lambda _request: httpx.Response(401)]
    findings = await found(well, specs={"sources": sources})
    for kind, server in vendors.items():
        finding = findings[f"specs {kind}"]
        assert finding.state is State.FAIL
        assert finding.says.startswith(f"{server.host} refuses to show /")
        assert "see the source's token and what it may read" in finding.says
    assert "planted-other" not in str(findings)


async def test_a_schema_that_is_not_current_says_migrate(well: dict[str, Any], tmp_path: Path) -> None:
    findings = await found(well, database={"url": f"sqlite:///{tmp_path}/empty.db"})
    assert "sluice migrate" in findings["database"].says


async def test_no_metric_at_all_is_a_failure(well: dict[str, Any]) -> None:
    assert (await found(well, metrics={}))["metrics"].state is State.FAIL


async def test_a_clock_that_is_off_is_named(well: dict[str, Any]) -> None:
    behind = ManualClock(SystemClock().now() - timedelta(minutes=3))
    findings = {finding.what: finding for finding in await examine(Settings.model_validate(well), behind)}
    assert findings["slack clock"].state is State.FAIL
    assert "NTP" in findings["slack clock"].says


async def test_the_databases_clock_is_compared_on_postgresql(well: dict[str, Any], postgres_url: str) -> None:
    database = Database(postgres_url)
    await migrate(database)
    await database.close()
    settings = Settings.model_validate(well | {"database": {"url": postgres_url}})
    right = {finding.what: finding for finding in await examine(settings, SystemClock())}
    assert right["database clock"].state is State.OK
    behind = ManualClock(SystemClock().now() - timedelta(minutes=3))
    off = {finding.what: finding for finding in await examine(settings, behind)}
    assert "180 s off the database's" in off["database clock"].says


async def test_what_should_be_known_is_no_failure(well: dict[str, Any]) -> None:
    slack = well["slack"] | {"releases_channel": None, "app_token": None}
    findings = await found(well, policy={"approvers": ["UMIRA0001"]}, slack=slack)
    notes = {finding.what for finding in findings.values() if finding.state is State.NOTE}
    assert notes == {"policy", "slack releases", "slack app token"}
    assert healthy(findings.values())


async def test_members_of_user_groups_are_counted(well: dict[str, Any]) -> None:
    rule = {"environments": ["production"], "approvers": ["SAPPROVER", "UMIRA0001"], "needed": 2}
    policy = {"approvers": ["SAPPROVER"], "approval": [rule]}
    findings = await found(well, policy=policy)
    assert findings["policy"] == Finding("policy", State.OK, "policy.approval[0]: 2 of 3; policy.approvers: 1 of 2")
    assert (await found(well, policy=policy, slack=well["slack"] | {"bot_token": None}))["policy"].state is State.FAIL
    findings = await found(well, policy={"approval": [rule | {"needed": 3}]})
    assert (findings["policy"].state, "none to spare" in findings["policy"].says) == (State.NOTE, True)
    findings = await found(well, policy={"approval": [rule]})
    assert "what no rule is meant for can't be approved" in findings["policy"].says


CALL = AIMessage("", tool_calls=[{"id": "1", "name": "echo", "args": {"word": "sluice"}}])
OBJECT = '{"tool": "echo", "arguments": {"word": "sluice"}}'
AWAY = openai.APIConnectionError(request=httpx.Request("POST", "http://model.example"))


@pytest.mark.parametrize(
    ("options", "lines", "state", "says"),
    [
        ({}, [], State.OK, "none is configured"),
        ({"name": "m"}, [CALL, OBJECT], State.OK, "m: it answers in the style that is set (tools)."),
        ({"name": "m"}, [AWAY], State.FAIL, "The model can't be reached"),
        ({"name": "m"}, ["No.", OBJECT], State.NOTE, "m: it can't do style tools: set SLUICE_MODEL_STYLE=schema."),
        ({"name": "m", "style": "text"}, [CALL, OBJECT], State.OK, "m: it can do style text"),
    ],
)
async def test_the_model_is_asked_what_it_can_do(
    well: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, str],
    lines: list[AIMessage | Exception | str],
    state: State,
    says: str,
) -> None:
    monkeypatch.setattr("bot.doctor.open_model", lambda _options: ScriptedModel.of(lines))
    finding = (await found(well, model=options))["model"]
    assert finding.state is state
    assert says in finding.says


async def test_each_workspace_that_installed_the_app_is_looked_at(
    well: dict[str, Any], workspace: RunningWorkspace
) -> None:
    oauth = {"client_id": "1.2", "client_secret": "s", "allowed_workspaces": ["TACME0001", "TBETA0001"]}
    parts = well | {
        "slack": {name: value for name, value in well["slack"].items() if name != "bot_token"} | oauth,
        "http": {"public_url": "https://sluice.example.com"},
        "encryption_key": [Fernet.generate_key().decode()],
    }
    settings, database = Settings.model_validate(parts), Database(parts["database"]["url"])
    for team, scopes in (("TACME0001", BOT_SCOPES), ("TBETA0001", BOT_SCOPES - {"commands"})):
        await Installations(database, settings).async_save(
            Installation(
                app_id="A1",
                team_id=team,
                team_name="Acme",
                bot_token=workspace.settings.bot_token,
                bot_id="B1",
                bot_user_id="U1",
                bot_scopes=sorted(scopes),
                user_id="UMIRA0001",
            )
        )
    await database.close()
    findings = await found(parts)
    assert "slack bot token" not in findings
    assert findings["slack TACME0001"].says == "installed in Acme, with every scope"
    assert (findings["slack TBETA0001"].state, findings["policy TACME0001"].state) == (State.FAIL, State.OK)
    assert "lacks commands in Acme: open https://sluice.example.com/slack/install" in findings["slack TBETA0001"].says
    fewer = parts | {"slack": parts["slack"] | {"allowed_workspaces": ["TACME0001", "TNEW00001"]}}
    findings = await found(fewer)
    assert "not in slack.allowed_workspaces" in findings["slack TBETA0001"].says
    assert "has not installed the app" in findings["slack TNEW00001"].says
    findings = await found(parts, encryption_key=[Fernet.generate_key().decode()])
    assert "can't be decrypted: add the key" in findings["slack TACME0001"].says


def test_the_command_prints_a_line_each_and_fails(sluice: Sluice) -> None:
    ran = sluice("doctor")
    assert ran.status == 1
    assert any(line.startswith("FAIL  database ") and "sluice migrate" in line for line in ran.out.splitlines())
    shown = json.loads(sluice("doctor", "--json").out)
    assert {"what": "database", "state": "FAIL"}.items() <= next(x for x in shown if x["what"] == "database").items()

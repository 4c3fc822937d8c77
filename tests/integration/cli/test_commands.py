import asyncio
import csv
import hashlib
import io
import json
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bot.bootstrap import running_services
from bot.console import flags
from bot.settings import load_settings
from tests.integration.cli.conftest import Sluice

REASON = ("--reason", "fire")


class TestBeginning:
    def test_init_writes_files_once(self, sluice: Sluice, folder: Path) -> None:
        first = sluice("init")
        assert first.status == 0
        assert "sluice.toml" in first.out
        assert (folder / "manifest.yaml").exists()
        second = sluice("init")
        assert (second.status, second.out) == (1, "")
        assert (
            second.err
            == "sluice: sluice.toml and manifest.yaml would be overwritten: move them away, or use --force.\n"
        )
        assert sluice("init", "--force").status == 0

    def test_init_goes_where_it_is_told(self, sluice: Sluice, folder: Path) -> None:
        assert sluice("init", "etc/sluice").status == 0
        assert sluice("migrate", "--config", "etc/sluice/sluice.toml").status == 0

    def test_commands_ask_for_migrate_first(self, sluice: Sluice) -> None:
        ran = sluice("status")
        assert ran.status == 1
        assert ran.err == (
            "sluice: There is no database sluice.db: run `sluice migrate`, or correct SLUICE_DATABASE_URL.\n"
        )
        assert sluice("migrate").status == 0
        assert sluice("migrate").status == 0
        assert sluice("status").out == "Nothing is rolling out. Start with `sluice plan FLAG`.\n"

    @pytest.mark.parametrize("command", ["doctor", "status", "serve"])
    def test_a_mistyped_database_is_made_by_no_command_but_migrate(
        self, sluice: Sluice, folder: Path, monkeypatch: pytest.MonkeyPatch, command: str
    ) -> None:
        monkeypatch.setenv("SLUICE_SLACK_BOT_TOKEN", "xoxb-1")
        monkeypatch.setenv("SLUICE_SLACK_APP_TOKEN", "xapp-1")
        monkeypatch.setenv("SLUICE_SLACK_API_URL", "http://127.0.0.1:9/")
        monkeypatch.setenv("SLUICE_HTTP_PORT", "0")
        for place in ("nowhere/x.db", "x.db"):
            monkeypatch.setenv("SLUICE_DATABASE_URL", f"sqlite:///{place}")
            ran = sluice(command)
            assert ran.status == 1
            assert f"There is no database {place}: run `sluice migrate`" in ran.out + ran.err
            assert list(folder.iterdir()) == []

    def test_migrate_makes_a_file_but_no_folder(
        self, sluice: Sluice, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SLUICE_DATABASE_URL", "sqlite:///nowhere/x.db")
        ran = sluice("migrate")
        assert (ran.status, ran.out) == (2, "")
        assert ran.err == (
            "sluice: SLUICE_DATABASE_URL: There is no folder nowhere for the database x.db: "
            "make it, or correct the URL.\n"
        )
        assert list(folder.iterdir()) == []
        (folder / "nowhere").mkdir()
        assert sluice("migrate").status == 0
        assert (folder / "nowhere" / "x.db").exists()

    def test_help_names_every_command(self, sluice: Sluice) -> None:
        ran = sluice("--help")
        assert ran.status == 0
        for command in ("init", "migrate", "serve", "doctor", "plan", "status", "history", "rollback", "kill"):
            assert f"\n  {command} " in ran.out
        for command in ("flags", "audit", "replay", "demo", "workspace"):
            assert f"\n  {command} " in ran.out

    def test_help_loads_nothing_heavy(self) -> None:
        loaded = "import sys, bot.cli; print(*{name.partition('.')[0] for name in sys.modules})"
        done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
        heavy = {"langgraph", "slack_bolt", "slack_sdk", "sqlalchemy", "numpy", "pydantic", "starlette", "structlog"}
        assert not heavy & set(done.stdout.split())


class TestWrongSettings:
    def test_are_one_line_and_exit_status_2(self, sluice: Sluice, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SLUICE_HTTP_PORT", "many")
        ran = sluice("status")
        assert (ran.status, ran.out, ran.err) == (2, "", "sluice: SLUICE_HTTP_PORT must be a whole number.\n")

    def test_a_missing_token_is_named(self, sluice: Sluice) -> None:
        sluice("migrate")
        ran = sluice("serve")
        assert ran.status == 2
        assert ran.err.startswith("sluice: SLUICE_SLACK_BOT_TOKEN is not set")
        assert ran.err.count("\n") == 1

    def test_an_unknown_command_suggests_the_nearest(self, sluice: Sluice) -> None:
        ran = sluice("statsu")
        assert ran.status == 2
        assert "status" in ran.err


class TestWrongArguments:
    @pytest.mark.parametrize(
        "arguments",
        [
            ("flags", "create", "bad name!"),
            ("flags", "create", "x", "--control", "a b"),
            ("flags", "create", "x", "--treatment", "a b"),
            ("flags", "create", "x", "--control", "on", "--treatment", "on"),
            ("flags", "create", "x", "--env", "bad env!"),
            ("flags", "list", "--env", "bad env!"),
            ("plan", "bad name!"),
            ("plan", "x", "--env", ""),
            ("status", "bad name!"),
            ("status", "--env", "bad env!"),
            ("history", "bad name!"),
            ("rollback", "bad name!"),
            ("kill", "bad name!"),
            ("kill", "x", "--env", "bad env!"),
            ("replay", "bad name!"),
            ("audit", "verify", "--head", "1:abc"),
            ("init", "file"),
            ("init", "file/below"),
        ],
    )
    def test_are_one_line_and_exit_status_2(self, sluice: Sluice, shop: Path, arguments: tuple[str, ...]) -> None:
        (shop / "file").touch()
        ran = sluice(*arguments)
        assert (ran.status, ran.out) == (2, "")
        assert ran.err.startswith("sluice: ")
        assert ran.err.count("\n") == 1
        assert "fault of Sluice" not in ran.err

    @pytest.mark.parametrize(
        "arguments", [("workspace", "--port", "99999"), ("plan", "x", "--strategy", "brave"), ("kill",)]
    )
    def test_are_explained_where_the_parser_knows_them(self, sluice: Sluice, arguments: tuple[str, ...]) -> None:
        ran = sluice(*arguments)
        assert ran.status == 2
        assert ran.err.startswith("Usage: sluice ")

    def test_a_port_that_is_taken_is_one_line(self, sluice: Sluice) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            ran = sluice("workspace", "--port", str(port))
        assert ran.status == 2
        assert ran.err == (
            f"sluice: 127.0.0.1:{port} can't be listened on (Address already in use): take another port, or 0.\n"
        )


class TestFaults:
    def test_a_fault_of_ours_is_a_reference_that_the_log_has(
        self, sluice: Sluice, shop: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken(*_arguments: object) -> None:
            raise RuntimeError("no such thing as xoxb-hunter2")

        monkeypatch.setattr(flags, "show_all", broken)
        ran = sluice("flags", "list")
        assert (ran.status, ran.out) == (1, "")
        logged, said = ran.err.splitlines()
        line = json.loads(logged)
        assert said == f"sluice: That failed by a fault of Sluice; the log has it under {line['reference']}."
        assert "RuntimeError" in line["exception"]
        assert "hunter2" not in ran.err

    def test_a_reader_that_has_seen_enough_is_no_fault(self, sluice: Sluice, shop: Path) -> None:
        for _ in range(3):
            sluice("kill", "new-checkout")
        command = f"{Path(sys.executable).with_name('sluice')} audit export | head -n 1"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["seq"] == 1
        assert done.stderr == ""


class TestRollouts:
    def test_plan_shows_stages_and_proposes_nothing(self, sluice: Sluice, shop: Path) -> None:
        ran = sluice("plan", "new-checkout")
        assert ran.status == 0, ran.err
        assert "stage 1" in ran.out
        assert "errors ×2" in ran.out
        assert "Nothing is rolling out" in sluice("status").out

    def test_a_plan_says_once_what_people_should_read_and_they_approve_it(self, sluice: Sluice, shop: Path) -> None:
        shown = sluice("plan", "new-checkout", "--propose").out
        reasons = [line.removeprefix("- ") for line in shown.splitlines() if line.startswith("- ")]
        assert "There is no spec for new-checkout: every metric guards it." in reasons
        assert len(reasons) == len(set(reasons))
        assert json.loads(sluice("status", "new-checkout", "--json").out)["plan"]["rationale"] == reasons

    def test_who_runs_it_needs_no_account(self, sluice: Sluice, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def nobody() -> str:
            raise KeyError("getpwuid(): uid not found: 4711")

        monkeypatch.setattr("getpass.getuser", nobody)
        monkeypatch.setattr("os.getuid", lambda: 4711)
        assert sluice("kill", "new-checkout", *REASON).status == 0
        assert '"actor":"cli:uid-4711"' in sluice("audit", "export").out.replace('": "', '":"')

    def test_a_plan_of_somebody_else_is_replaced_only_when_that_is_said(
        self, sluice: Sluice, shop: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("getpass.getuser", lambda: "mira")
        assert sluice("plan", "new-checkout", "--propose").status == 0
        monkeypatch.setattr("getpass.getuser", lambda: "jonas")
        refused = sluice("plan", "new-checkout", "--propose", "--strategy", "full")
        assert refused.status != 0
        assert "cli:mira asked for the plan of new-checkout in production that stands, version 1" in refused.err
        assert "Proposed as version 2" in sluice("plan", "new-checkout", "--propose", "--replace").out

    def test_a_proposed_plan_waits_for_people(self, sluice: Sluice, shop: Path) -> None:
        ran = sluice("plan", "new-checkout", "--propose")
        assert "Proposed as version 1: it waits for 2 approvals" in ran.out
        assert "proposed" in sluice("status").out
        assert "0 of 2 approved to start" in sluice("status", "new-checkout").out
        shown = json.loads(sluice("status", "new-checkout", "--json").out)
        assert (shown["flag"], shown["phase"]) == ("new-checkout", "proposed")
        assert [one["flag"] for one in json.loads(sluice("status", "--json").out)] == ["new-checkout"]
        history = sluice("history", "new-checkout").out
        assert "plan.proposed" in history
        assert "approval.requested" in history

    def test_rollback_of_what_has_not_started_drops_the_plan(self, sluice: Sluice, shop: Path) -> None:
        sluice("plan", "new-checkout", "--propose")
        ran = sluice("rollback", "new-checkout", *REASON)
        assert ran.out == "The plan of new-checkout in production is dropped; it had not started.\n"
        assert "fire" in sluice("history", "new-checkout").out

    def test_rollback_takes_a_running_rollout_back(self, sluice: Sluice, shop: Path) -> None:
        sluice("plan", "new-checkout", "--propose")
        asyncio.run(_approved("new-checkout"))
        assert "5 %" in sluice("flags", "list").out
        ran = sluice("rollback", "new-checkout", *REASON)
        assert ran.out == "new-checkout in production is rolled back: it serves 0 %.\n"
        assert "0 %" in sluice("flags", "list").out

    def test_a_chart_needs_checks_and_is_drawn_into_a_file(self, sluice: Sluice, shop: Path) -> None:
        sluice("plan", "new-checkout", "--propose")
        ran = sluice("chart", "new-checkout")
        assert (ran.status, ran.out) == (1, "")
        assert "has not been checked yet" in ran.err
        asyncio.run(_approved("new-checkout"))
        asyncio.run(_checked("new-checkout"))
        ran = sluice("chart", "new-checkout", "--dark", "-o", "chart.png")
        assert ran.status == 0, ran.err
        assert ran.out.splitlines()[-1] == "Drawn into chart.png."
        assert "errors of new-checkout in production" in ran.out
        assert Path("chart.png").read_bytes().startswith(b"\x89PNG")
        assert sluice("chart", "new-checkout", "-o", "no/such/folder.png").status == 2

    def test_kill_needs_no_rollout(self, sluice: Sluice, shop: Path) -> None:
        assert sluice("kill", "new-checkout", *REASON).out == "new-checkout in production is being taken to 0 %.\n"
        assert "kill.completed" in sluice("audit", "export").out

    def test_a_flag_that_is_not_there_is_one_line(self, sluice: Sluice, shop: Path) -> None:
        for arguments in (
            ("plan", "nope"),
            ("status", "nope"),
            ("history", "nope"),
            ("rollback", "nope"),
            ("kill", "nope"),
        ):
            ran = sluice(*arguments)
            assert (ran.status, ran.out) == (1, "")
            assert "nope" in ran.err.splitlines()[-1]

    def test_another_environment_is_another_flag(self, sluice: Sluice, shop: Path) -> None:
        assert sluice("flags", "create", "new-checkout", "--env", "staging").status == 0
        assert sluice("flags", "create", "new-checkout", "--env", "staging").status == 1
        assert "off" in sluice("flags", "list", "--env", "staging").out
        assert "There are no flags in development" in sluice("flags", "list", "--env", "development").out


class TestAudit:
    def test_a_whole_log_says_what_to_keep(self, sluice: Sluice, shop: Path) -> None:
        sluice("kill", "new-checkout")
        ran = sluice("audit", "verify")
        assert ran.status == 0
        assert ran.out.startswith("Whole: 2 events")
        head = ran.out.split()[-1]
        assert sluice("audit", "verify", "--head", head).status == 0
        sluice("kill", "new-checkout")
        assert sluice("audit", "verify", "--head", head).status == 0
        ran = sluice("audit", "verify", "--head", f"2:{'0' * 64}")
        assert ran.status == 1
        assert "event 2: its hash is not the one that was noted" in ran.out

    def test_an_edit_is_named_and_fails(self, sluice: Sluice, shop: Path) -> None:
        sluice("kill", "new-checkout", *REASON)
        connection = sqlite3.connect(shop / "sluice.db")
        connection.execute("UPDATE decision_log SET actor = 'nobody' WHERE seq = 2")
        connection.commit()
        connection.close()
        ran = sluice("audit", "verify")
        assert ran.status == 1
        assert ran.out.splitlines() == [
            "event 2: its content does not match its hash: it was edited",
            "NOT WHOLE: 1 fault in 2 events, 0 plans, 0 checks.",
        ]

    def test_a_head_that_is_none_is_refused(self, sluice: Sluice, shop: Path) -> None:
        ran = sluice("audit", "verify", "--head", "yesterday")
        assert (ran.status, ran.out) == (2, "")
        assert "SEQ:HASH" in ran.err

    def test_a_rollout_that_is_none_is_no_empty_export(self, sluice: Sluice, shop: Path) -> None:
        for form in ("jsonl", "csv"):
            ran = sluice("audit", "export", "--rollout", "nobody", "--format", form)
            assert (ran.status, ran.out) == (1, "")
            assert ran.err == "sluice: There is no rollout 'nobody'; the whole export names those that there are.\n"

    def test_both_exports_say_the_same(self, sluice: Sluice, shop: Path) -> None:
        sluice("plan", "new-checkout", "--propose")
        sluice("kill", "new-checkout", *REASON)
        lines = [json.loads(line) for line in sluice("audit", "export").out.splitlines()]
        rows = list(csv.DictReader(io.StringIO(sluice("audit", "export", "--format", "csv").out)))
        assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
        assert [row["sha256"] for row in rows] == [line["sha256"] for line in lines]
        assert [json.loads(row["payload"]) for row in rows] == [line["payload"] for line in lines]
        rollout_id = lines[0]["rollout_id"]
        of_one = [json.loads(line) for line in sluice("audit", "export", "--rollout", rollout_id).out.splitlines()]
        assert of_one == [line for line in lines if line["rollout_id"] == rollout_id]

    def test_a_reason_is_kept_without_what_looks_like_a_secret(self, sluice: Sluice, shop: Path) -> None:
        sluice("kill", "new-checkout", "--reason", "leaked password=hunter2hunter2")
        exported = sluice("audit", "export").out
        assert "leaked password=[hidden]" in exported
        assert "hunter2" not in exported

    @pytest.mark.parametrize("form", ["jsonl", "csv"])
    def test_an_export_can_be_verified_by_anyone(self, sluice: Sluice, shop: Path, form: str) -> None:
        sluice("plan", "new-checkout", "--propose")
        sluice("kill", "new-checkout", "--reason", "Größe „XL“ brennt 🔥")
        exported = sluice("audit", "export", "--format", form).out
        previous = "0" * 64
        events = _read_export(exported, form)
        assert len(events) > 3
        for event in events:
            assert event["previous"] == previous
            hashed = [event[name] for name in ("seq", "at", "kind", "actor", "rollout_id", "payload", "previous")]
            previous = hashlib.sha256(_canonical(hashed).encode()).hexdigest()
            assert event["sha256"] == previous
        assert sluice("audit", "verify").out.split()[-1] == f"{len(events)}:{previous}"

    def test_a_mangled_event_is_exported_as_it_stands(self, sluice: Sluice, shop: Path) -> None:
        sluice("kill", "new-checkout", *REASON)
        connection = sqlite3.connect(shop / "sluice.db")
        connection.execute("UPDATE decision_log SET payload = '{', at = 'never' WHERE seq = 2")
        connection.commit()
        connection.close()
        second = json.loads(sluice("audit", "export").out.splitlines()[1])
        assert (second["at"], second["payload"]) == ("never", "{")

    def test_a_rollout_without_checks_has_nothing_to_replay(self, sluice: Sluice, shop: Path) -> None:
        sluice("plan", "new-checkout", "--propose")
        assert sluice("replay", "new-checkout").out == "The rollout has no checks yet.\n"


def _read_export(text: str, form: str) -> list[dict[str, Any]]:
    """The events with their payloads as text."""
    if form == "jsonl":
        lines = [json.loads(line) for line in text.splitlines()]
        return [line | {"payload": _canonical(line["payload"])} for line in lines]
    rows = csv.DictReader(io.StringIO(text))
    return [row | {"seq": int(row["seq"]), "rollout_id": row["rollout_id"] or None} for row in rows]


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


async def _approved(flag: str) -> None:
    """Two approvers say yes, as they would in Slack: one in place of whoever asked here, whom Slack does not know."""
    async with running_services(load_settings(None, {})) as services:
        view = await services.rollouts.find(flag, "production")
        assert view.approval is not None
        for approver in ("UJONAS001", "UAIKO0001"):
            await services.rollouts.approve(view.approval.id, actor=approver)


async def _checked(flag: str) -> None:
    """The clock looks at the rollout until its gate has been checked."""
    async with running_services(load_settings(None, {})) as services:
        for _ in range(3):
            await services.controller.tick()
        view = await services.rollouts.find(flag, "production")
        assert view.check is not None

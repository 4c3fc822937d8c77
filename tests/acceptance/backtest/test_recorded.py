"""`sluice backtest` as anyone runs it, on a database that a service has filled for days."""

import json
import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SLUICE = Path(sys.executable).with_name("sluice")
SETTINGS = """
[policy]
approvers = ["UJONAS001", "UAIKO0001"]

[sources.shop]
url = "sqlite:///shop.db"

[metrics.errors]
source = "shop"
title = "Errors"
time_format = "epoch"
query = '''
SELECT variant, SUM(requests) AS exposures, SUM(failed) AS events, MAX(at) AS newest
FROM minutes WHERE at >= :start AND at < :end GROUP BY variant
'''
"""
DAYS = 3
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def sluice(tmp_path: Path) -> Run:
    """Run `sluice` in a folder with settings, a flag, and days of minutes: waves of traffic, 1 % errors, one outage."""
    (tmp_path / "sluice.toml").write_text(SETTINGS, encoding="utf-8")
    (tmp_path / "specs").mkdir()
    connection = sqlite3.connect(tmp_path / "shop.db")
    connection.execute("CREATE TABLE minutes (at REAL PRIMARY KEY, variant TEXT, requests INTEGER, failed INTEGER)")
    connection.executemany("INSERT INTO minutes VALUES (?, ?, ?, ?)", _recorded(time.time()))
    connection.commit()
    connection.close()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SLUICE, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    assert run("migrate").returncode == 0
    assert run("flags", "create", "new-checkout", "--control", "old", "--treatment", "new").returncode == 0
    return run


def _recorded(now: float) -> list[tuple[float, str, int, int]]:
    chance, rows = random.Random(7), []
    for minute in range(DAYS * 24 * 60):
        requests = round(3000 * (1 + 0.5 * math.sin(minute / 1440 * 2 * math.pi)))
        rate = 0.4 if 2000 <= minute < 2040 else 0.01
        spread = math.sqrt(requests * rate * (1 - rate))
        failed = min(max(round(chance.gauss(requests * rate, spread)), 0), requests)
        rows.append((now - 60.0 * (DAYS * 24 * 60 - minute), "old", requests, failed))
    return rows


def test_it_says_what_the_gates_would_have_done_before_anyone_starts(sluice: Run) -> None:
    ran = sluice("backtest", "new-checkout", "--since", "3d", "--replays", "40", "--harm", "2", "--harm", "5")
    assert ran.returncode == 0, ran.stderr
    first, *lines = ran.stdout.splitlines()
    assert first.startswith("Over the last 3 days these gates would have rolled back ")
    assert " of 40 times and caught a doubling of errors in " in first
    assert "Reading the history" in ran.stderr
    assert "Replaying the plan" in ran.stderr
    text = "\n".join(lines)
    assert "HARM" in text
    assert "×5, where it is caught:" in text
    assert "█" in text
    assert "Dealt by count, in lumps" in text


def test_its_json_has_everything_and_nothing_else_on_stdout(sluice: Run) -> None:
    ran = sluice("backtest", "new-checkout", "--since", "36h", "--replays", "40", "--harm", "3", "--json")
    assert ran.returncode == 0, ran.stderr
    report: dict[str, Any] = json.loads(ran.stdout)
    assert report["flag"] == "new-checkout"
    assert report["span"] == 36 * 3600
    assert report["harmless"]["rolled_back"] <= 3
    [harmful] = report["harmful"]
    assert harmful["rolled_back"] >= 38
    assert harmful["by_stage"][0]["caught"] >= 30
    assert report["summary"].startswith("Over the last 36 hours")
    assert report["sources"][0]["requests_per_minute"] == pytest.approx(3000, rel=0.3)


def test_a_plan_in_a_file_is_replayed_and_what_is_none_is_refused(sluice: Run, tmp_path: Path) -> None:
    rail = {"metric": "errors", "margin": 3.0, "min_sample": 200}
    stages = [
        {"exposure": {"percent": percent}, "bake": "PT10M", "time_limit": "PT3H", "guardrails": [rail]}
        for percent in (20, 60)
    ]
    plan = {
        "flag": "new-checkout",
        "environment": "production",
        "control": "old",
        "treatment": "new",
        "strategy": "canary",
        "stages": stages,
    }
    (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    ran = sluice("backtest", "plan.json", "--since", "2d", "--replays", "20", "--harm", "4", "--json")
    assert ran.returncode == 0, ran.stderr
    assert [stage["exposure"] for stage in json.loads(ran.stdout)["harmful"][0]["by_stage"]] == ["20 %", "60 %"]
    (tmp_path / "bad.json").write_text("{}", encoding="utf-8")
    refused = sluice("backtest", "bad.json")
    assert refused.returncode == 2
    assert "is no plan: flag" in refused.stderr
    missing = sluice("backtest", "missing.json")
    assert missing.returncode == 1
    assert "can't be read" in missing.stderr


def test_without_history_one_clear_sentence_says_so(sluice: Run, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "shop.db")
    connection.execute("DELETE FROM minutes")
    connection.commit()
    connection.close()
    ran = sluice("backtest", "new-checkout", "--since", "2d")
    assert ran.returncode != 0
    assert ran.stdout == ""
    assert ran.stderr.strip().splitlines()[-1].startswith("sluice: errors has 0 exposures and no events")


@pytest.mark.parametrize("since", ["soon", "10s", "400d"])
def test_a_time_that_is_none_is_refused(sluice: Run, since: str) -> None:
    ran = sluice("backtest", "new-checkout", "--since", since)
    assert ran.returncode == 2
    assert "--since must be a time such as 14d or 36h, from 1h to 90 d" in ran.stderr


def test_who_interrupts_the_replays_need_not_wait_for_their_end(sluice: Run, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    going = subprocess.Popen(
        [SLUICE, "backtest", "new-checkout", "--since", "3d", "--replays", "10000"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert going.stderr is not None
    said = ""
    while "Replaying" not in said:
        said += going.stderr.read(1)
    going.send_signal(signal.SIGINT)
    out, said = going.communicate(timeout=60)
    assert (going.returncode, out) == (130, "")
    assert "Traceback" not in said

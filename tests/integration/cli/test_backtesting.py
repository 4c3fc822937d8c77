"""Which plan `sluice backtest` replays."""

import json
import re
import sqlite3
import time
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Sluice

FEW = ("--since", "12h", "--replays", "5", "--harm", "5", "--json")


def test_the_plan_that_people_were_shown_is_replayed_by_flag_and_by_hash(shop: Path, sluice: Sluice) -> None:
    assert sluice("plan", "new-checkout", "--propose").status == 0
    status = json.loads(sluice("status", "new-checkout", "--json").out)
    by_flag = sluice("backtest", "new-checkout", *FEW, "--chart", "replayed.png", "--dark")
    assert by_flag.status == 0, by_flag.err
    assert "Drawn into replayed.png." in by_flag.err
    assert (shop / "replayed.png").read_bytes().startswith(b"\x89PNG")
    proposed = json.loads(by_flag.out)["plan_sha256"]
    by_hash = sluice("backtest", proposed[:8], *FEW)
    assert json.loads(by_hash.out)["plan_sha256"] == proposed
    (shop / "plan.json").write_text(json.dumps(status["plan"]), encoding="utf-8")
    assert json.loads(sluice("backtest", "plan.json", *FEW).out)["plan_sha256"] == proposed


def test_digits_that_are_no_plan_s_are_taken_for_a_flag(shop: Path, sluice: Sluice) -> None:
    ran = sluice("backtest", "0123abcd", *FEW)
    assert ran.status == 1
    assert "0123abcd" in ran.err


def test_a_plan_that_people_were_shown_keeps_its_report(shop: Path, sluice: Sluice) -> None:
    assert sluice("plan", "new-checkout", "--propose").status == 0
    ran = sluice("backtest", "new-checkout", *FEW)
    summary = json.loads(ran.out)["summary"]
    connection = sqlite3.connect(shop / "sluice.db")
    [(kept, report)] = connection.execute("SELECT summary, report FROM backtests").fetchall()
    connection.close()
    assert kept == json.loads(report)["summary"] == summary
    assert sluice("audit", "verify").status == 0
    assert summary in sluice("history", "new-checkout").out
    assert f"backtest   {summary}" in sluice("status", "new-checkout").out


def test_a_plan_that_nobody_was_shown_keeps_none(shop: Path, sluice: Sluice) -> None:
    assert sluice("backtest", "new-checkout", *FEW).status == 0
    connection = sqlite3.connect(shop / "sluice.db")
    assert connection.execute("SELECT COUNT(*) FROM backtests").fetchone() == (0,)
    connection.close()


UNIT_QUERY = """unit_query = '''
SELECT who AS unit, variant, COUNT(*) AS exposures, SUM(failed) AS events
FROM requests WHERE at >= :start AND at < :end GROUP BY who, variant
'''
"""


def test_users_are_dealt_where_the_metric_can_tell_them_apart(shop: Path, sluice: Sluice) -> None:
    (shop / "sluice.toml").write_text((shop / "sluice.toml").read_text("utf-8") + UNIT_QUERY, "utf-8")
    connection = sqlite3.connect(shop / "shop.db")
    connection.execute("ALTER TABLE requests ADD COLUMN who INTEGER")
    connection.execute("UPDATE requests SET who = rowid % 700")
    connection.commit()
    connection.close()
    ran = sluice("backtest", "new-checkout", *FEW[:-1])
    assert ran.status == 0, ran.err
    assert re.search(r"errors: 60 a minute, 14 users told apart, base rate 2 %", ran.out)
    assert "Dealt by user, each hashed into an arm as the flag does, anew in each replay: errors." in ran.out


def test_what_was_recorded_for_minutes_only_is_too_little(shop: Path, sluice: Sluice) -> None:
    assert sluice("plan", "new-checkout", "--propose").status == 0
    connection = sqlite3.connect(shop / "shop.db")
    connection.execute("DELETE FROM requests WHERE at < ?", (time.time() - 1200,))
    connection.commit()
    connection.close()
    ran = sluice("backtest", "new-checkout", *FEW)
    assert ran.status == 2
    assert "has been recorded for" in ran.err
    assert "so there is too little to replay: wait until there is 60 min of it" in ran.err


@pytest.mark.parametrize(
    ("chart", "why"),
    [
        ("no/such/folder.png", "there is no folder no/such); name another with --chart."),
        (".", "it is a folder); name a file with --chart."),
    ],
)
def test_where_no_picture_can_be_written_nothing_is_replayed(shop: Path, sluice: Sluice, chart: str, why: str) -> None:
    ran = sluice("backtest", "new-checkout", *FEW, "--chart", chart)
    assert ran.status == 2
    assert f"{chart} can't be written ({why}" in ran.err
    assert "Reading the history" not in ran.err


@pytest.mark.parametrize("since", ["14 days", "2w", "-3d", "0", "nan"])
def test_a_time_that_is_none_is_refused_with_what_would_do(shop: Path, sluice: Sluice, since: str) -> None:
    ran = sluice("backtest", "new-checkout", f"--since={since}")
    assert ran.status == 2
    assert "--since must be a time such as 14d or 36h, from 1h to 90 d" in ran.err

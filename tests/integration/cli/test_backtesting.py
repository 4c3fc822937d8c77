"""Which plan `sluice backtest` replays."""

import json
from pathlib import Path

from tests.integration.cli.conftest import Sluice

FEW = ("--since", "20h", "--replays", "5", "--harm", "5", "--json")


def test_the_plan_that_people_were_shown_is_replayed_by_flag_and_by_hash(shop: Path, sluice: Sluice) -> None:
    assert sluice("plan", "new-checkout", "--propose").status == 0
    status = json.loads(sluice("status", "new-checkout", "--json").out)
    by_flag = sluice("backtest", "new-checkout", *FEW)
    assert by_flag.status == 0, by_flag.err
    proposed = json.loads(by_flag.out)["plan_sha256"]
    by_hash = sluice("backtest", proposed[:8], *FEW)
    assert json.loads(by_hash.out)["plan_sha256"] == proposed
    (shop / "plan.json").write_text(json.dumps(status["plan"]), encoding="utf-8")
    assert json.loads(sluice("backtest", "plan.json", *FEW).out)["plan_sha256"] == proposed


def test_digits_that_are_no_plan_s_are_taken_for_a_flag(shop: Path, sluice: Sluice) -> None:
    ran = sluice("backtest", "0123abcd", *FEW)
    assert ran.status == 1
    assert "0123abcd" in ran.err

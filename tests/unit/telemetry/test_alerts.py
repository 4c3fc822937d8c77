"""The alert rules that are shipped: promtool understands them, and each fires when it is to and not before."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.promtool import promtool

ALERTS = resources.files("bot.telemetry").joinpath("alerts.yaml").read_text(encoding="utf-8")

WELL = {
    'sluice_turn_succeeded_timestamp_seconds{work="tick",instance="a"}': "0+15x80",
    "sluice_state_read_timestamp_seconds": "0+15x80",
    "sluice_rollback_oldest_seconds": "0x80",
    "sluice_blind_oldest_seconds": "0x80",
    "sluice_oldest_due_check_seconds": "1x80",
    'sluice_part_up{part="flags",name="unleash",instance="a"}': "1x80",
    'sluice_part_up{part="source",name="shop",instance="a"}': "1x80",
    'sluice_outbox_oldest_seconds{kind="alert",urgent="true"}': "2x80",
    'sluice_outbox_oldest_seconds{kind="note",urgent="false"}': "40000x80",
    'sluice_outbox_oldest_seconds{kind="direct",urgent="true"}': "40000x80",
    'sluice_model_request_failures_total{model="small"}': "0x80",
    'sluice_model_request_seconds_count{model="small"}': "0+10x80",
}
"""Series by how they go, a value every 15 s, while all is well: what waits for the end of quiet hours may be old."""

# What goes wrong from the start, and after how many minutes it is said at the latest and was not said yet.
CASES: dict[str, tuple[Mapping[str, str], int, int]] = {
    "SluiceNotTicking": ({'sluice_turn_succeeded_timestamp_seconds{work="tick",instance="a"}': "0x80"}, 3, 1),
    "SluiceRollbackNotDone": ({"sluice_rollback_oldest_seconds": "0+15x80"}, 2, 1),
    "SluiceBlind": ({"sluice_blind_oldest_seconds": "0+15x80"}, 2, 1),
    "SluiceChecksLate": ({"sluice_oldest_due_check_seconds": "0+15x80"}, 3, 1),
    "SluiceFlagServiceDown": ({'sluice_part_up{part="flags",name="unleash",instance="a"}': "0x80"}, 2, 0),
    "SluiceMetricsDown": ({'sluice_part_up{part="source",name="shop",instance="a"}': "0x80"}, 2, 0),
    "SluiceOutboxStuck": ({'sluice_outbox_oldest_seconds{kind="alert",urgent="true"}': "0+15x80"}, 4, 2),
    "SluiceStateNotRead": ({"sluice_state_read_timestamp_seconds": "0x80"}, 4, 2),
    "SluiceModelFailing": ({'sluice_model_request_failures_total{model="small"}': "0+9x80"}, 17, 10),
}


def test_they_are_rules(tmp_path: Path) -> None:
    rules = yaml.safe_load(ALERTS)["groups"][0]["rules"]
    assert {rule["alert"] for rule in rules} == set(CASES), "each has a case"
    (tmp_path / "alerts.yaml").write_text(ALERTS, encoding="utf-8")
    assert f"{len(CASES)} rules found" in promtool("check", "rules", "alerts.yaml", folder=tmp_path)


def test_each_fires_when_it_is_to_and_not_before(tmp_path: Path) -> None:
    tests = [_test(name, WELL | trouble, {early: False, late: True}) for name, (trouble, late, early) in CASES.items()]
    tests += [_test(name, WELL, {15: False}) for name in CASES]
    _run(tmp_path, tests)


def test_a_process_that_is_gone_or_never_came_is_not_ticking(tmp_path: Path) -> None:
    _run(tmp_path, [_test("SluiceNotTicking", {"up": "1x80"}, {0: False, 2: True}, labels={"work": "tick"})])


@pytest.mark.parametrize("alert", ["SluiceFlagServiceDown", "SluiceNotTicking"])
def test_one_of_two_processes_that_is_well_is_enough(tmp_path: Path, alert: str) -> None:
    other = {
        'sluice_part_up{part="flags",name="unleash",instance="b"}': "0x80",
        'sluice_turn_succeeded_timestamp_seconds{work="tick",instance="b"}': "0x80",
    }
    _run(tmp_path, [_test(alert, WELL | other, {10: False})])


LABELS = {
    "SluiceFlagServiceDown": {"name": "unleash"},
    "SluiceMetricsDown": {"name": "shop"},
    "SluiceModelFailing": {"model": "small"},
}


def _test(
    alert: str, series: Mapping[str, str], fires: Mapping[int, bool], labels: Mapping[str, str] | None = None
) -> dict[str, Any]:
    severity = {rule["alert"]: rule["labels"]["severity"] for rule in yaml.safe_load(ALERTS)["groups"][0]["rules"]}
    firing = {"exp_labels": {"severity": severity[alert], **(LABELS.get(alert, {}) if labels is None else labels)}}
    return {
        "name": f"{alert} {fires}",
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"eval_time": f"{minutes}m", "alertname": alert, "exp_alerts": [firing] if is_firing else []}
            for minutes, is_firing in fires.items()
        ],
    }


def _run(folder: Path, tests: list[dict[str, Any]]) -> None:
    """Run them on the rules without annotations, whose words promtool would want again."""
    rules = yaml.safe_load(ALERTS)
    for rule in rules["groups"][0]["rules"]:
        assert rule.pop("annotations").keys() == {"summary", "description"}
    (folder / "alerts.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    suite = {"rule_files": ["alerts.yaml"], "evaluation_interval": "15s", "tests": tests}
    (folder / "tests.yaml").write_text(yaml.safe_dump(suite), encoding="utf-8")
    assert "SUCCESS" in promtool("test", "rules", "tests.yaml", folder=folder)

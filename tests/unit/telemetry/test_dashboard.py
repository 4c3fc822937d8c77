"""The dashboard and the alerts that are shipped: all they ask for is there, and nothing is measured for nobody."""

from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.telemetry.panels import BOARD, TARGETS_LABELS, labels_in, queries, series_in
from tests.unit.telemetry.story import told
from tests.unit.telemetry.test_alerts import ALERTS

pytestmark = pytest.mark.usefixtures("quiet_logs")

WIDTH = 24


async def printed(folder: Path) -> dict[str, set[str]]:
    """What /metrics says after a rollout that met everything: the labels of each series."""
    async with told(folder) as story:
        await story.over(await story.stuck(await story.blind(await story.begun())))
        said = generate_latest(story.instruments.registry).decode()
    found = dict[str, set[str]]()
    for family in text_string_to_metric_families(said):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


async def test_every_series_and_label_that_is_asked_for_is_there_and_none_is_printed_for_nobody(tmp_path: Path) -> None:
    there = await printed(tmp_path)
    asked = [(query.title, query.series, query.labels) for query in queries()]
    asked += [
        (rule["alert"], series_in(rule["expr"]), labels_in(rule["expr"]))
        for rule in yaml.safe_load(ALERTS)["groups"][0]["rules"]
    ]
    for title, series, labels in asked:
        assert series, title
        assert series <= there.keys(), title
        assert labels <= set().union(*(there[name] for name in series)) | TARGETS_LABELS, title
    shown = {name for _, series, _ in asked for name in series}
    for name in filter(lambda name: name.startswith("sluice_"), there):
        stem = name.removesuffix("_created").removesuffix("_sum").removesuffix("_count").removesuffix("_bucket")
        assert {f"{stem}{ending}" for ending in ("", "_bucket", "_count", "_total")} & shown, name


def test_panels_stand_side_by_side_and_each_says_what_it_shows() -> None:
    taken = set[tuple[int, int]]()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= WIDTH
        taken |= cells
        assert panel["type"] == "row" or panel["description"]
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))

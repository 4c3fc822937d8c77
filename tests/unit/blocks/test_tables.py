"""The dialogs that start a rollout and edit a plan: always such that Slack takes them, and read back as filled in."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.blocks import editing, starting
from bot.blocks.editing import Table, edit_dialog, errors_in, table_in, table_of
from bot.workspace.blocks import check_view
from bot.workspace.inputs import state_values
from tests.unit.blocks.examples import PROGRESSING, PROPOSED
from tests.unit.blocks.views import views
from tools.plans.editing import Edited, Judged, Row, rows_of
from tools.plans.model import MOST_STAGES, Mode
from tools.rollouts.views import RolloutView

CHANNEL = "CRELEASES"
slow = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))


def judged(view: RolloutView, table: Table, *faults: str) -> Edited:
    """A judgement with the same faults at every row."""
    stages = [view.plan.stages[row.origin or 0] for row in table.rows.values()]
    rows = tuple(Judged(stage, timedelta(minutes=55), "errors", faults) for stage in stages)
    return Edited(rows, faults, None)


def on_screen(view: RolloutView, table: Table, edited: Edited, given: dict[str, Any] | None = None) -> dict[str, Any]:
    """The dialog as Slack sends it back, with what was filled in."""
    plain: dict[str, Any] = edit_dialog(view, table, edited, shadow=True, missing=("orders is silent.",)).to_dict()
    check_view(json.loads(json.dumps(plain)), {})
    return {**plain, "state": {"values": state_values(plain["blocks"], given or {})}}


@slow
@given(views(), st.lists(st.text(max_size=600), max_size=3))
def test_slack_takes_the_table_of_any_plan(view: RolloutView, faults: list[str]) -> None:
    table = table_of(view, CHANNEL)
    sent = on_screen(view, table, judged(view, table, *faults))
    assert table_in(sent, view) == table, "what nobody touched is read back as it was"
    errors = errors_in(view, table, judged(view, table, *faults))
    assert set(errors) <= {block["block_id"] for block in sent["blocks"] if block["type"] == "input"}


def test_as_many_stages_as_there_may_be_are_within_slacks_limits() -> None:
    view, table = PROPOSED, table_of(PROPOSED, CHANNEL)
    for _ in range(MOST_STAGES):
        table = table.after("o0")
    assert len(table.rows) == MOST_STAGES
    assert len(on_screen(view, table, judged(view, table, "x" * 400))["blocks"]) <= 100
    assert table.after("o0") == table


def test_what_is_filled_in_is_read() -> None:
    table = table_of(PROPOSED, CHANNEL).after("o0")
    given = {
        "percent:o0": {editing.PERCENT: "2,5"},
        "row:o0": {editing.MODE: "shadow", editing.HOLD: "3600", editing.LIMIT: "7200"},
        "percent:n1": {editing.PERCENT: "three"},
        editing.REASON: {editing.REASON: "  so\nthat "},
    }
    found = table_in(on_screen(PROPOSED, table, judged(PROPOSED, table), given), PROPOSED)
    hour = timedelta(hours=1)
    assert found.rows["o0"] == Row(0, 2.5, Mode.SHADOW, hour, 2 * hour)
    assert found.rows["n1"].percent is None
    assert found.reason == "so that"
    assert list(found.rows) == list(table.rows)


def test_margins_that_differ_are_read_and_others_are_not() -> None:
    table = table_of(PROPOSED, CHANNEL)
    metric = PROPOSED.plan.stages[0].guardrails[0].metric
    given = {f"margin:{metric}": {editing.MARGIN: "1.25"}}
    assert table_in(on_screen(PROPOSED, table, judged(PROPOSED, table), given), PROPOSED).margins == {metric: 1.25}
    assert table_in(on_screen(PROPOSED, table, judged(PROPOSED, table)), PROPOSED).margins == {}


def test_stages_that_are_done_or_in_force_keep_their_share() -> None:
    view = replace(PROGRESSING, stage=1)
    table = table_of(view, CHANNEL)
    sent = on_screen(view, table, judged(view, table))
    inputs = {block.get("block_id") for block in sent["blocks"]}
    assert not inputs & {"percent:o0", "percent:o1", "row:o0"}
    assert {"row:o1", "percent:o2"} <= inputs
    assert tuple(table_in(sent, view).rows.values()) == rows_of(view.plan)
    assert editing.REASON in errors_in(view, table, judged(view, table, "too bold"))


@pytest.mark.parametrize("metadata", ["", "{}", "[]", '{"id": "x"}', '{"id": "x", "version": "y"}'])
def test_what_is_none_of_ours_is_about_nothing(metadata: str) -> None:
    assert editing.about(metadata) == ("", 0)


@given(st.text(max_size=200), st.text(max_size=700), st.sampled_from([None, CHANNEL]))
def test_slack_takes_the_dialog_that_starts_a_rollout(flag: str, note: str, channel: str | None) -> None:
    wish = starting.Wish(flag=flag[: starting.MOST_OPTION_VALUE], channel=channel, note=note)
    check_view(json.loads(json.dumps(starting.start_dialog(wish, ["production"], origin=channel).to_dict())), {})

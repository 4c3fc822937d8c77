"""A plan is edited as a table in a dialog: judged while it is filled in, refused where it can't be, shown as a diff."""

import asyncio
from datetime import timedelta
from typing import Any

from bot.blocks import editing
from tests.acceptance.slack.office import AIKO, JONAS, MIRA, SAM, Office, readable
from tools.plans.model import Mode
from tools.rollouts.phases import Phase

WHY = {editing.REASON: {editing.REASON: "slower in the first week"}}


async def opened(office: Office, user: str = MIRA) -> Any:
    """The table on the person's screen."""
    assert (await office.click("edit", user=user)).ok
    await office.settle()
    return office.dialog(user)


def shown(office: Office, user: str = MIRA) -> str:
    """Everything that stands in the dialog."""
    view = office.dialog(user)
    return "\n".join(
        element["text"] if isinstance(element.get("text"), str) else element["text"]["text"]
        for block in view.blocks
        for element in [block, *block.get("elements", [])]
        if element.get("text")
    ).replace("\N{NO-BREAK SPACE}", " ")


async def fill(office: Office, action: str, block: str, value: Any, user: str = MIRA, **values: Any) -> None:
    """Change one input, as it is reported while one types."""
    view = office.dialog(user)
    outcome = await office.running.people.click_in_view(
        view.id, action, user, block_id=block, value=value, values=values or None
    )
    assert outcome.ok
    await office.settle()


async def test_what_is_filled_in_is_judged_at_once(office: Office) -> None:
    await office.proposed()
    await opened(office)
    assert "`checkout-errors` is proven within" in shown(office)
    assert "or less in nine rollouts of ten" in shown(office)
    first, second = (stage.exposure.percent for stage in (await office.view()).plan.stages[:2])
    await fill(office, editing.PERCENT, "percent:o1", f"{first:g}")
    assert f"✖ {first:g} % comes after {first:g} %: each stage must expose more" in shown(office)
    await fill(office, editing.PERCENT, "percent:o1", f"{second:g}")
    assert "✖" not in shown(office)
    await fill(office, editing.LIMIT, "row:o0", "60")
    assert "Can't be proven in 1 min: `checkout-errors` needs" in shown(office)


async def test_what_is_sent_is_the_next_version_and_its_difference_stands_in_the_thread(office: Office) -> None:
    before = await office.proposed()
    view = await opened(office)
    values = {"percent:o0": {editing.PERCENT: "2"}, "row:o0": {editing.HOLD: "1200"}, **WHY}
    outcome = await office.running.people.submit(view.id, MIRA, values)
    await office.settle()
    assert outcome.ok, outcome
    after = await office.view()
    assert (after.plan_version, after.phase) == (2, Phase.PROPOSED)
    assert after.plan.stages[0].exposure.percent == 2
    assert after.plan.stages[0].bake == timedelta(minutes=20)
    assert after.plan.stages[1:] == before.plan.stages[1:]
    assert before.approval is not None
    assert after.approval is not None
    assert after.approval.id != before.approval.id, "what was approved of v1 does not count for v2"
    [told] = [line for line in office.thread() if "changed the plan to v2" in line]
    assert "→ 2 %" in told
    assert "slower in the first week" in told


async def test_what_is_wrong_is_said_at_its_input(office: Office) -> None:
    await office.proposed()
    view = await opened(office)
    submit = office.running.people.submit
    unchanged = await submit(view.id, MIRA, WHY)
    assert unchanged.errors == {
        editing.REASON: "That is how the plan is already, so nothing would change; say what should be different."
    }
    large = await submit(view.id, MIRA, {"percent:o0": {editing.PERCENT: "60"}, **WHY})
    assert "policy allows at most" in large.errors["percent:o0"]
    assert "comes after 60 %" in large.errors["percent:o1"]
    assert (await office.view()).plan_version == 1


async def test_stages_are_put_in_and_taken_out(office: Office) -> None:
    before = await office.proposed()
    view = await opened(office)
    count = len(before.plan.stages)
    await fill(office, editing.ADD, "row:o0", None)
    keys = [block["block_id"] for block in office.dialog(MIRA).blocks if block["block_id"].startswith("row:")]
    assert keys[:3] == ["row:o0", "row:n1", "row:o1"]
    await fill(office, editing.REMOVE, "row:o1", None)
    outcome = await office.running.people.submit(view.id, MIRA, WHY)
    assert outcome.ok, outcome
    await office.settle()
    after = await office.view()
    low, high = (stage.exposure.percent for stage in before.plan.stages[:2])
    assert len(after.plan.stages) == count
    assert low < after.plan.stages[1].exposure.percent < high


async def test_a_late_report_of_an_older_screen_loses_no_stage(office: Office) -> None:
    await office.proposed()
    view = await opened(office)
    old = office.running.workspace.screens.view_json(view)
    await fill(office, editing.ADD, "row:o0", None)
    stale = {**old, "state": {"values": {"percent:o0": {editing.PERCENT: {"type": "number_input", "value": "3"}}}}}
    body = {
        "type": "block_actions",
        "user": {"id": MIRA},
        "team": {"id": office.running.settings.team_id},
        "trigger_id": "spent",
        "container": {"type": "view", "view_id": view.id},
        "view": stale,
        "actions": [{"type": "number_input", "action_id": editing.PERCENT, "block_id": "percent:o0", "action_ts": "1"}],
    }
    await office.running.courier.ask("interactive", body)
    await office.settle()
    inputs = {block["block_id"]: block["element"] for block in office.dialog(MIRA).blocks if "element" in block}
    assert inputs["percent:o0"]["initial_value"] == "3"
    assert "percent:n1" in inputs


async def test_two_edit_at_once_and_the_second_is_told(office: Office) -> None:
    await office.proposed()
    mine, hers = await opened(office), await opened(office, AIKO)
    values = {"percent:o0": {editing.PERCENT: "2"}, **WHY}
    assert (await office.running.people.submit(mine.id, MIRA, values)).ok
    await office.settle()
    late = await office.running.people.submit(hers.id, AIKO, {"percent:o0": {editing.PERCENT: "3"}, **WHY})
    assert late.errors == {
        editing.REASON: "Meanwhile the plan became v2, and you edit v1: close this, look at the card, and edit again."
    }
    assert (await office.view()).plan_version == 2


async def test_a_running_plan_can_only_become_more_cautious(office: Office) -> None:
    await office.started()
    view = await opened(office, JONAS)
    assert "● *Stage 1*" in shown(office, JONAS)
    blocks = {block["block_id"] for block in view.blocks}
    assert "percent:o0" not in blocks
    assert not any(block.startswith("margin:") for block in blocks)
    second = (await office.view()).plan.stages[1].exposure.percent
    submit = office.running.people.submit
    bolder = await submit(view.id, JONAS, {"percent:o1": {editing.PERCENT: f"{second + 1:g}"}, **WHY})
    assert "was approved for that step" in bolder.errors["percent:o1"]
    longer = await submit(view.id, JONAS, {"row:o0": {editing.HOLD: "3600"}, **WHY})
    assert longer.ok, longer
    await office.settle()
    after = await office.view()
    assert (after.plan_version, after.plan.stages[0].bake) == (2, timedelta(hours=1))
    assert any("changed the plan to v2" in line for line in office.thread())


async def test_a_rollout_that_has_ended_is_not_edited(office: Office) -> None:
    view = await office.proposed()
    card = office.card()
    await office.services.rollouts.cancel(view.id, actor=MIRA, reason="not now")
    assert (await office.click("edit", user=SAM, ts=card.ts)).ok
    await office.settle()
    assert "is cancelled, so its plan can't be changed" in shown(office, SAM)


async def test_copies_of_a_click_put_in_one_stage(office: Office) -> None:
    await office.proposed()
    await opened(office)
    office.running.workspace.faults.duplicate(4)
    await fill(office, editing.ADD, "row:o0", None)
    await asyncio.sleep(0)
    keys = [block["block_id"] for block in office.dialog(MIRA).blocks if block["block_id"].startswith("row:n")]
    assert keys == ["row:n1"]


async def test_a_stage_runs_in_shadow_where_the_service_can(office: Office) -> None:
    await office.proposed()
    view = await opened(office)
    values = {"row:o0": {editing.MODE: "shadow"}, **WHY}
    assert (await office.running.people.submit(view.id, MIRA, values)).ok
    await office.settle()
    assert (await office.view()).plan.stages[0].exposure.mode is Mode.SHADOW
    assert "in shadow" in readable(office.card())


async def test_a_table_that_outlived_its_rollout_says_so_once_in_its_place(office: Office) -> None:
    await office.started()
    view = await opened(office)
    table = office.running.workspace.screens.view_json(view)
    running = await office.view()
    await office.services.rollouts.roll_back(running.id, actor=AIKO, reason="errors in Spain")
    await office.settle()
    said = len(office.private(MIRA))
    for number in range(5):
        body = {
            "type": "block_actions",
            "user": {"id": MIRA},
            "team": {"id": office.running.settings.team_id},
            "trigger_id": "spent",
            "container": {"type": "view", "view_id": view.id},
            "view": table,
            "actions": [
                {
                    "type": "number_input",
                    "action_id": editing.PERCENT,
                    "block_id": "percent:o0",
                    "action_ts": f"{number}",
                }
            ],
        }
        await office.running.courier.ask("interactive", body)
    await office.settle()
    assert "so its plan can't be changed; propose a new one." in shown(office)
    assert not [block for block in office.dialog(MIRA).blocks if "element" in block]
    assert len(office.private(MIRA)) == said

"""A rollout is started and its plan edited in dialogs, in the local workspace's page."""

from playwright.async_api import expect

from tests.acceptance.page.conftest import SOON, Window
from tests.acceptance.slack.office import FLAG, Office, until


async def test_a_rollout_is_started_in_a_dialog_and_its_plan_edited_in_another(office: Office, window: Window) -> None:
    page = window.page
    composer = page.get_by_role("textbox", name="Message #releases")
    await composer.fill("/rollout")
    await composer.press("Enter")
    start = page.get_by_role("dialog")
    flag = start.get_by_role("combobox", name="Flag")
    await flag.fill("check")
    await start.get_by_role("option", name=FLAG).click()
    await start.get_by_role("button", name="Plan it").click()
    await expect(start).to_have_count(0)
    await office.settle()
    await until(office.cards, seconds=SOON)

    await page.get_by_role("button", name="Edit plan").click()
    edit = page.get_by_role("dialog")
    first = edit.get_by_role("spinbutton", name="Stage 1: percent")
    await expect(first).to_have_value("1")
    await first.fill("60")
    await expect(edit).to_contain_text("policy allows at most")
    await expect(first).to_be_focused()
    await first.fill("2")
    await expect(edit).not_to_contain_text("policy allows at most")
    await edit.get_by_label("At most").first.select_option(label="at most 2 min")
    await expect(edit).to_contain_text("Can't be proven in 2\N{NO-BREAK SPACE}min")
    assert await window.barriers() == []
    await edit.get_by_label("At most").first.select_option(label="as long as proof takes")
    await edit.get_by_role("textbox", name="Why?").fill("slower in the first week")
    await edit.get_by_role("button", name="Put it in force").click()
    await expect(edit).to_have_count(0)
    await office.settle()
    view = await office.view()
    assert (view.plan_version, view.plan.stages[0].exposure.percent) == (2, 2)
    assert window.complaints == []

"""Sluice in the local workspace's page: what people type and press reaches it, and its card comes back."""

from playwright.async_api import Locator, expect

from tests.acceptance.page.conftest import SOON, Window, reached
from tests.acceptance.slack.office import FLAG, MIRA, Office, until
from tools.rollouts.phases import Phase


async def asked_for_a_plan(office: Office, window: Window) -> Locator:
    """The card of the plan that Mira asked for, typing."""
    page = window.page
    composer = page.get_by_role("textbox", name="Message #releases")
    await composer.fill(f"/rollout plan {FLAG}")
    await composer.press("Enter")
    await until(lambda: office.private(MIRA), seconds=SOON)
    await office.settle()
    card = page.get_by_role("region", name="Messages").get_by_role("article").filter(has=page.get_by_role("heading"))
    await expect(card.get_by_role("heading")).to_contain_text(FLAG)
    return card


async def test_a_plan_is_asked_for_approved_and_taken_back(office: Office, window: Window) -> None:
    page = window.page
    card = await asked_for_a_plan(office, window)
    await expect(page.get_by_role("radio", name="Jonas").locator(".count")).to_contain_text("new for Jonas Okafor")
    await window.act_as("Jonas")
    await card.get_by_role("button", name="Approve").click()
    await reached(office, Phase.PROGRESSING)
    await expect(card.get_by_role("button", name="Approve")).to_have_count(0)

    await card.get_by_role("button", name="Roll back").click()
    await page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    await reached(office, Phase.ROLLED_BACK)
    await expect(card).to_contain_text("0 %")
    await expect(card.get_by_role("button", name="Roll back")).to_have_count(0)
    await card.get_by_role("button", name="replies").click()
    await expect(page.get_by_role("region", name="Replies")).to_contain_text("Rolled back")
    assert window.complaints == []


async def test_a_rejection_wants_a_reason(office: Office, window: Window) -> None:
    page = window.page
    card = await asked_for_a_plan(office, window)
    await window.act_as("Jonas")
    await card.get_by_role("button", name="Reject").click()
    dialog = page.get_by_role("dialog")
    reason = dialog.get_by_role("textbox")
    await expect(reason).to_be_focused()
    await dialog.get_by_role("button", name="Reject").click()
    await expect(dialog.get_by_role("alert")).to_be_visible()
    await expect(reason).to_have_attribute("aria-invalid", "true")
    await reason.fill("support is at lunch")
    await dialog.get_by_role("button", name="Reject").click()
    await reached(office, Phase.CANCELLED)
    await expect(dialog).to_have_count(0)
    await expect(card).to_contain_text("support is at lunch")
    assert window.complaints == []


async def test_home_shows_what_is_open(office: Office, window: Window) -> None:
    page = window.page
    await asked_for_a_plan(office, window)
    await page.get_by_role("link", name="Sluice home").click()
    await expect(page.locator("#home")).to_contain_text(FLAG)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sluice")
    await page.locator("#home").get_by_role("button", name="See card").first.click()
    await expect(page.get_by_role("region", name="Replies")).to_contain_text(FLAG)
    assert window.complaints == []


async def test_what_the_app_does_is_shown_with_a_button_that_stops_it(office: Office, window: Window) -> None:
    page, workspace = window.page, office.running.workspace
    said = office.running.people.say("releases", "mira", "hello")
    channel = workspace.channel("releases")
    workspace.set_session(channel, said.ts, "processing")
    await expect(page.get_by_text("Sluice is working …")).to_be_visible()
    await page.reload()
    await page.get_by_role("button", name="Stop", exact=True).click()
    await expect(page.get_by_text("Sluice is working …")).to_have_count(0)
    assert workspace.sessions[channel.id, said.ts].status == "active", "where nothing goes on Sluice says so"
    assert window.complaints == []

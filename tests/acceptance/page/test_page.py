"""The local workspace's page in a real browser: what people type and press reaches Sluice, and its card comes back."""

import asyncio

from playwright.async_api import expect

from tests.acceptance.page.conftest import Window
from tests.acceptance.slack.office import MIRA, Office, until
from tools.rollouts.phases import Phase


async def test_a_plan_is_asked_for_and_approved_with_the_mouse(office: Office, window: Window) -> None:
    page = window.page
    await page.get_by_role("textbox", name="Message #releases").fill("/rollout plan new-checkout")
    await page.get_by_role("button", name="Send").click()
    await until(lambda: office.private(MIRA))
    await office.settle()
    card = page.get_by_role("region", name="Messages").get_by_role("article").filter(has=page.get_by_role("heading"))
    await expect(card.get_by_role("heading")).to_contain_text("new-checkout")

    await page.get_by_role("radio", name="Jonas").click()
    await card.get_by_role("button", name="Approve").click()
    async with asyncio.timeout(10):
        while (await office.view()).phase is not Phase.PROGRESSING:
            await office.settle()
    await office.settle()
    await expect(card.get_by_role("button", name="Roll back")).to_be_visible()
    await expect(card.get_by_role("button", name="Approve")).to_have_count(0)
    assert window.complaints == []

"""axe-core on the page: channel, thread, modal, Home and tour; light, dark and narrow."""

from typing import Any

import pytest
from playwright.async_api import expect

from bot.demo.tour import tour
from tests.acceptance.page.conftest import NARROW, open_window
from tests.acceptance.page.gallery import open_gallery

LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "narrow": {"viewport": NARROW},
}


@pytest.mark.parametrize("look", LOOKS)
async def test_nobody_is_kept_out(chromium: str, look: str) -> None:
    async with (
        open_gallery(tour=tour("new-checkout", "Break")) as gallery,
        open_window(chromium, gallery.running.url, reduced_motion="reduce", **LOOKS[look]) as window,
    ):
        page, people = window.page, gallery.running.people
        await expect(page.get_by_role("region", name="Guided tour")).to_be_visible()
        assert await window.barriers() == []

        ts = await gallery.post()
        people.say("releases", "jonas", "what is this? @mira", ts)
        await expect(page.get_by_role("button", name="1 reply")).to_be_visible()
        await gallery.client.chat_postEphemeral(channel="CRELEASES", user="UMIRA0001", text="psst")
        assert await window.barriers() == []

        await page.get_by_role("button", name="1 reply").click()
        await expect(page.get_by_role("region", name="Replies")).to_contain_text("what is this?")
        assert await window.barriers() == []
        await page.get_by_role("button", name="Close thread").click()
        await expect(page.get_by_role("region", name="Replies")).to_have_count(0)

        await page.get_by_role("button", name="Start …").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Start", exact=True).click()
        await expect(dialog.get_by_role("alert").first).to_be_visible()
        assert await window.barriers() == []
        await page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)

        await page.goto(f"{gallery.running.url}/#/home")
        await expect(page.get_by_role("button", name="Press me")).to_be_visible()
        if look == "narrow":
            await page.get_by_role("button", name="Channels and people").click()
        await page.get_by_text("Trouble with Slack").click()
        assert await window.barriers() == []

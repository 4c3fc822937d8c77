"""axe-core on the page, with all that Slack can show and with what Sluice shows; light, dark and narrow."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, expect

from bot.demo.tour import tour
from tests.acceptance.page.conftest import NARROW, Window, open_window
from tests.acceptance.page.gallery import open_gallery
from tests.acceptance.slack.office import FLAG, JONAS, MIRA, RELEASES, Office, new_office
from tests.acceptance.slack.talking import Told, answered
from tools.rollouts.phases import Phase

LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "narrow": {"viewport": NARROW},
}
WHOLE, WHOLE_NARROW = {"width": 1280, "height": 1700}, {"width": NARROW["width"], "height": 2600}
"""High enough for a whole card: axe says nothing of what can't be seen."""
DIALOG = "dialog"


@pytest.mark.parametrize("look", LOOKS)
async def test_nobody_is_kept_out(chromium: str, look: str) -> None:
    async with (
        open_gallery(tour=tour("new-checkout", "Break")) as gallery,
        open_window(chromium, gallery.running.url, reduced_motion="reduce", **LOOKS[look]) as window,
    ):
        page, people = window.page, gallery.running.people
        await expect(page.get_by_role("region", name="Guided tour")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollHeight <= window.innerHeight"), "only rooms scroll"
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
        assert window.complaints == []


async def barriers(window: Window, within: str | None = None) -> list[str]:
    """What keeps people out, light and dark, wide and narrow."""
    found = []
    for size in (WHOLE, WHOLE_NARROW):
        await window.page.set_viewport_size(size)  # type: ignore[arg-type]
        for scheme in ("light", "dark"):
            await window.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            found += [f"{scheme}, {size['width']}: {one}" for one in await window.barriers(within)]
    await window.page.set_viewport_size(WHOLE)  # type: ignore[arg-type]
    return found


async def dialog_after(
    office: Office, window: Window, command: str, title: str, ready: str, *, user: str = MIRA
) -> Locator:
    """The dialog that `/rollout command` opens for who looks at the page, once it shows what it is to show."""
    assert (await office.running.people.command(RELEASES, user, "/rollout", command)).ok
    dialog = window.page.get_by_role("dialog", name=title)
    await expect(dialog.get_by_text(ready, exact=True)).to_be_visible()
    return dialog


async def close(dialog: Locator) -> None:
    await dialog.get_by_role("button", name="Close").click()
    await expect(dialog).to_have_count(0)


async def test_what_sluice_shows_keeps_nobody_out(tmp_path: Path, blank: Path, chromium: str) -> None:
    model = Told.to_say("It is **paused**: somebody looks at the numbers.")
    async with (
        new_office(tmp_path, blank, model=model) as office,
        open_window(chromium, office.running.url, reduced_motion="reduce", viewport=WHOLE) as window,
    ):
        page = window.page
        await office.proposed()
        await expect(page.locator("a.mention", has_text="#releases")).to_be_in_viewport()
        await expect(page.get_by_role("button", name="Approve")).to_be_visible()
        assert await barriers(window) == []

        for command, title, ready in (
            ("", "Start a rollout", "Flag"),
            ("freeze", "Freeze", "Why?"),
            ("notify", "My notifications", "Tell me"),
        ):
            dialog = await dialog_after(office, window, command, title, ready)
            assert await barriers(window, DIALOG) == [], title
            await close(dialog)
        await page.get_by_role("button", name="Edit plan").click()
        dialog = page.get_by_role("dialog", name="Edit the plan")
        await expect(dialog.get_by_text("Why?")).to_be_visible()
        assert await barriers(window, DIALOG) == []
        await close(dialog)

        await office.press("approve")
        await office.live(3)
        await window.act_as("Jonas")
        dialog = await dialog_after(
            office, window, f"accept {FLAG}", "Accept a finding", "Why is that fine?", user=JONAS
        )
        assert await barriers(window, DIALOG) == []
        await close(dialog)

        await office.rollout(f"pause {FLAG} --reason we look at the numbers")
        assert (await office.view()).phase is Phase.PAUSED
        await expect(page.get_by_role("button", name="Resume")).to_be_visible()
        said = office.running.people.say(RELEASES, "mira", "@sluice why is it paused?")
        await answered(office)
        await page.goto(f"{office.running.url}/#/{RELEASES}/{said.ts}")
        await expect(page.get_by_role("region", name="Replies")).to_contain_text("somebody looks at the numbers")
        assert await barriers(window) == []

        await page.goto(f"{office.running.url}/#/home")
        await expect(page.locator("#home")).to_contain_text(FLAG)
        assert await barriers(window) == []
        assert window.complaints == []

"""`make screenshots`: plays a rollout of the demo in a browser and keeps pictures of it, for the README."""

import asyncio
import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect

from bot.demo.world import BREAK, FLAG, DemoWorld, Traffic
from tests.acceptance.page.conftest import BROWSERS, NARROW

PICTURES = Path(".github/pictures")
WIDE, TALL = ViewportSize(width=1280, height=800), ViewportSize(width=1280, height=1260)
TRAFFIC = Traffic(seconds=150.0, requests=40_000)
PAST_SECONDS = 12
"""A plan needs a past to plan from."""
SOON_MS, LATER_MS = 20_000, 90_000
LARGEST_BYTES = 250_000
SECOND_STAGE = re.compile(r"Stages: .* at first, .* after ")
QUALITIES = (84, 76, 68, 60)


class Album:
    """Where the pictures go, each as a WebP of twice the page's pixels."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    async def keep(self, page: Page, name: str) -> None:
        """Take a picture and write it as `name`, as sharp as fits the largest size. Raises ValueError if none fits."""
        await page.mouse.move(0, 0)
        await page.evaluate("document.activeElement.matches('textarea, dialog *') || document.activeElement.blur()")
        picture = Image.open(io.BytesIO(await page.screenshot(animations="disabled"))).convert("RGB")
        for quality in QUALITIES:
            packed = io.BytesIO()
            picture.save(packed, "WEBP", quality=quality, method=6)
            if packed.tell() <= LARGEST_BYTES:
                break
        else:
            raise ValueError(f"{name} is larger than {LARGEST_BYTES} bytes at every quality")
        path = self._directory / f"{name}.webp"
        path.write_bytes(packed.getvalue())
        sys.stdout.write(f"{path}  {packed.tell() // 1000} kB\n")


async def main() -> None:
    """Play the tour and keep its moments."""
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    if chromium is None:
        sys.exit(f"This needs a browser: one of {', '.join(BROWSERS)}.")
    with _scratch() as scratch:
        async with DemoWorld.open(TRAFFIC, scratch) as world, async_playwright() as playwright:
            await world.start()
            await asyncio.sleep(PAST_SECONDS)
            browser = await playwright.chromium.launch(executable_path=chromium, chromium_sandbox=os.geteuid() != 0)
            await _play(browser, world.addresses.slack, Album(PICTURES))
            await browser.close()


async def _play(browser: Browser, url: str, album: Album) -> None:
    page = await browser.new_page(viewport=WIDE, device_scale_factor=2, color_scheme="light")
    await page.goto(url)
    await _press(page, "Write it for me")
    await album.keep(page, "tour-light")
    await _press(page, "Send it")
    await _step(page, 2)
    await _press(page, "Become Jonas")
    await page.get_by_role("button", name="Reject").last.click()
    await page.get_by_role("dialog").get_by_role("textbox").fill("Support is at lunch: not before two.")
    await album.keep(page, "modal-light")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Approve").last.click()
    await _step(page, 4)
    await page.get_by_role("button", name="Leave the tour").click()
    await page.set_viewport_size(TALL)
    await _evidence(page)
    await album.keep(page, "card-light")
    await page.set_viewport_size(WIDE)
    await page.get_by_role("link", name="Sluice home").click()
    await expect(page.locator(".home-body")).to_contain_text(FLAG)
    await album.keep(page, "home-light")

    await page.get_by_role("link", name="releases").click()
    await page.get_by_role("button", name=BREAK).click()
    await page.get_by_role("button", name="Go on with the tour").click()
    await _step(page, 5)
    await page.get_by_role("button", name="Leave the tour").click()
    await page.get_by_role("button", name="replies").first.click()
    await page.emulate_media(color_scheme="dark")
    await expect(page.locator(".toast")).to_have_count(0, timeout=SOON_MS)
    await expect(page.get_by_role("img", name="Harm was proven").first).to_be_attached(timeout=LATER_MS)
    await page.locator("#messages").get_by_role("heading", name=FLAG).scroll_into_view_if_needed()
    await album.keep(page, "rollback-dark")

    phone = await browser.new_page(viewport=NARROW, device_scale_factor=2, color_scheme="dark")  # type: ignore[arg-type]
    await phone.goto(url)
    await phone.get_by_role("button", name="Leave the tour").click()
    await phone.get_by_role("heading", name=FLAG).scroll_into_view_if_needed()
    await album.keep(phone, "narrow-dark")


async def _press(page: Page, name: str) -> None:
    await page.get_by_role("region", name="Guided tour").get_by_role("button", name=name).click()


async def _step(page: Page, number: int) -> None:
    await expect(page.locator(".tour")).to_contain_text(f"Step {number} of", timeout=LATER_MS)


async def _evidence(page: Page) -> None:
    """Wait until the card has something to show, its chart of more than the first stage too; show it from its title."""
    card = page.locator("#messages article").filter(has=page.get_by_role("heading"))
    await expect(card).to_contain_text("evidence", timeout=SOON_MS)
    picture = card.locator(".block-image img")
    await expect(picture).to_have_attribute("alt", SECOND_STAGE, timeout=LATER_MS)
    await picture.evaluate("image => image.decode()")
    await card.evaluate("card => card.scrollIntoView({ block: 'start' })")


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


if __name__ == "__main__":
    asyncio.run(main())

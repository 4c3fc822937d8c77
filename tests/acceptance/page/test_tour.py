"""The guided tour of the demo, from the first step to the last, as what happens leads through it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.demo.tour import tour
from bot.workspace import Switch
from bot.workspace.server import serving
from tests.acceptance.page.conftest import SOON, Window, open_window, reached
from tests.acceptance.slack.office import BAD, FLAG, GOOD, MIRA, Office, new_office, until
from tools.rollouts.phases import Phase

BREAK = "Break the new checkout"


class Shop:
    """What the switch breaks."""

    def __init__(self) -> None:
        self.rate = GOOD

    async def fault(self, request: Request) -> Response:
        """Break from now on."""
        self.rate = BAD
        return JSONResponse({})


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
async def toured(tmp_path: Path, blank: Path, shop: Shop) -> AsyncIterator[Office]:
    async with serving(Starlette(routes=[Route("/fault", shop.fault, methods=["POST"])])) as url:
        switches = (Switch(BREAK, f"{url}/fault", danger=True),)
        async with new_office(tmp_path, blank, switches=switches, tour=tour(FLAG, BREAK)) as office:
            yield office


async def test_the_tour_goes_on_by_what_really_happens(toured: Office, shop: Shop, chromium: str) -> None:
    async with open_window(chromium, toured.running.url) as window:
        page = window.page
        strip = page.get_by_role("region", name="Guided tour")
        ring = page.locator(".pointer")

        await expect(strip).to_contain_text("Step 1 of 5")
        await strip.get_by_role("button", name="Write it for me").click()
        await strip.get_by_role("button", name="Send it").click()
        await until(lambda: toured.private(MIRA), seconds=SOON)
        await toured.settle()

        await expect(strip).to_contain_text("Step 2 of 5")
        await strip.get_by_role("button", name="Become Jonas").click()
        await strip.get_by_role("button", name="Show me").click()
        approve = page.get_by_role("button", name="Approve")
        await expect(approve).to_be_focused()
        await _around(window, "Approve")
        await page.reload()
        await expect(strip).to_contain_text("Step 2 of 5")
        await approve.click()
        await reached(toured, Phase.PROGRESSING)

        await expect(strip).to_contain_text("Step 3 of 5")
        await strip.get_by_role("button", name="Leave the tour").click()
        await expect(strip).to_have_count(0)
        await expect(ring).to_be_hidden()
        for _ in range(60):
            if (await toured.live(1)).stage >= 1:
                break
        await page.get_by_role("button", name="Go on with the tour").click()

        await expect(strip).to_contain_text("Step 4 of 5")
        await _around(window, BREAK)
        await page.get_by_role("button", name=BREAK).click()
        await until(lambda: shop.rate == BAD, seconds=SOON)
        await expect(page.get_by_role("button", name=BREAK)).to_have_attribute("aria-pressed", "true")
        for _ in range(60):
            if (await toured.live(1, rate=shop.rate)).phase is Phase.ROLLED_BACK:
                break

        await expect(strip).to_contain_text("Step 5 of 5")
        async with open_window(chromium, toured.running.url) as other:
            await expect(other.page.get_by_role("region", name="Guided tour")).to_contain_text("Step 5 of 5")
        await strip.get_by_role("button", name="Write it for me").click()
        await strip.get_by_role("button", name="Send it").click()
        await expect(strip).to_contain_text("Tour done")
        await expect(page.get_by_text("Only visible to you").last).to_be_visible()
        await strip.get_by_role("button", name="Leave the tour").click()
        await expect(page.get_by_role("button", name="Take the tour again")).to_be_visible()
        assert window.complaints == []


async def _around(window: Window, name: str) -> None:
    """Fails unless the ring is around the button of that name."""
    box = await window.page.get_by_role("button", name=name).bounding_box()
    await expect(window.page.locator(".pointer")).to_be_visible()
    ring = await window.page.locator(".pointer").bounding_box()
    assert box is not None
    assert ring is not None
    assert ring["x"] <= box["x"] <= ring["x"] + 12
    assert ring["y"] <= box["y"] <= ring["y"] + 12

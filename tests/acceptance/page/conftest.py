"""A workspace's page in a browser: with a whole Sluice in it, or with an app that shows everything Slack can."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, async_playwright, expect

from tests.acceptance.page.gallery import Gallery, open_gallery
from tests.acceptance.slack.office import Office, make_blank, new_office
from tests.conftest import NEEDS_SERVERS
from tools.rollouts.phases import Phase

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
GRAVE = ("serious", "critical")
SOON = 15.0
"""Seconds: a browser beside others on a busy machine takes its time."""
expect.set_options(timeout=SOON * 1000)
NARROW = {"width": 390, "height": 844}


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("blank") / "blank.db"
    asyncio.run(make_blank(path))
    return path


@pytest.fixture
async def office(tmp_path: Path, blank: Path) -> AsyncIterator[Office]:
    async with new_office(tmp_path, blank) as running:
        yield running


@pytest.fixture
async def gallery() -> AsyncIterator[Gallery]:
    async with open_gallery() as opened:
        yield opened


@pytest.fixture
def chromium() -> str:
    """The browser's path; skips when there is none and none is demanded."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        missing = f"no browser: none of {', '.join(BROWSERS)} is installed"
        if os.environ.get(NEEDS_SERVERS):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@dataclass
class Window:
    """The page in a browser, and what the browser complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda said: said.type in ("error", "warning") and self.complaints.append(said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "response", lambda answer: answer.status < 400 or self.complaints.append(f"{answer.status} {answer.url}")
        )

    async def act_as(self, name: str) -> None:
        """Become somebody else."""
        await self.page.get_by_role("radiogroup", name="You are").get_by_role("radio", name=name).click()

    async def barriers(self, within: str | None = None) -> list[str]:
        """What axe finds that keeps people out, on the page or `within` what that selects.

        Rule, element and reason of every grave fault.
        """
        violations: list[dict[str, Any]] = (await Axe().run(self.page, within)).response["violations"]
        return [
            f"{violation['id']}: {node['html']} ({node['failureSummary']})"
            for violation in violations
            if violation["impact"] in GRAVE
            for node in violation["nodes"]
        ]


async def reached(office: Office, phase: Phase) -> None:
    """Return when the rollout is in that phase and everybody was told."""
    async with asyncio.timeout(10):
        while (await office.view()).phase is not phase:
            await office.settle()
    await office.settle()


@asynccontextmanager
async def open_window(chromium: str, url: str, **context: Any) -> AsyncIterator[Window]:
    """A browser with that page; `context` are Playwright's settings of it."""
    async with async_playwright() as playwright:
        # Root may not sandbox; the page is our own.
        browser = await playwright.chromium.launch(executable_path=chromium, chromium_sandbox=os.geteuid() != 0)
        try:
            opened = Window(await browser.new_page(**context))
            await opened.page.goto(url)
            yield opened
        finally:
            await browser.close()


@pytest.fixture
async def window(office: Office, chromium: str) -> AsyncIterator[Window]:
    """The page of Sluice's workspace."""
    async with open_window(chromium, office.running.url) as opened:
        yield opened


@pytest.fixture
async def show(gallery: Gallery, chromium: str) -> AsyncIterator[Window]:
    """The page of the gallery's workspace."""
    async with open_window(chromium, gallery.running.url) as opened:
        yield opened

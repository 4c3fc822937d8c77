"""A whole Sluice, and its workspace's page in a browser."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright

from tests.acceptance.slack.office import Office, make_blank, new_office
from tests.conftest import NEEDS_SERVERS

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


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
        self.page.on("response", lambda answer: answer.ok or self.complaints.append(f"{answer.status} {answer.url}"))


@pytest.fixture
async def window(office: Office, chromium: str) -> AsyncIterator[Window]:
    """The workspace's page, opened."""
    async with async_playwright() as playwright:
        # Root may not sandbox; the page is our own.
        browser = await playwright.chromium.launch(executable_path=chromium, chromium_sandbox=os.geteuid() != 0)
        opened = Window(await browser.new_page())
        await opened.page.goto(office.running.url)
        yield opened
        await browser.close()

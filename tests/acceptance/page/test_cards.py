"""A picture test of the card: every phase in a real browser, light and dark, wide and narrow.

What people read is compared with what was looked at and found good, kept in `card_texts/`; whether it fits is measured,
for fonts, and so pixels, differ from machine to machine. `SLUICE_TEST_PICTURES=FOLDER` keeps the pictures to look at,
and beside them what they say: copy that to `card_texts/` once you like what you see.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, Page, async_playwright
from slack_sdk.web.async_client import AsyncWebClient

from bot.blocks.card import Picture, summary
from bot.chart import described, drawn
from bot.style import Theme
from bot.workspace import RunningWorkspace, running_workspace
from tests.acceptance.page.cards import STATES, State, course
from tests.acceptance.page.conftest import NARROW, Window
from tests.unit.blocks.examples import NOW

FOUND_GOOD = Path(__file__).parent / "card_texts"
KEPT = os.environ.get("SLUICE_TEST_PICTURES")
WIDE, PHONE = {"width": 1180, "height": 1700}, {"width": NARROW["width"], "height": 1900}
"""High enough for a whole card, which nothing then covers."""
VIEWS = (("light", WIDE), ("dark", WIDE), ("dark", PHONE), ("light", PHONE))

GATE = (
    "stage 2 of 4",
    "10 %",
    "before 0 %",
    "errors",
    "at most",
    "sample",
    "newest data",
    "checked",
    "next",
    "Approved:",
)
WANTED: dict[str, tuple[str, ...]] = {
    "proposed": ("production", "Approval needed", "1 of 2 approved by", "(Approve, primary) (Reject …)"),
    "shadow": ("in shadow", "stage 1 of 5", "evidence", "passes in about", "[errors of checkout-v2 in production"),
    "progressing": (*GATE, "evidence 7.2 of 20", "passes in about 12 min", "[errors of checkout-v2 in production"),
    "waiting": (*GATE, "go from 10 % to 50 %", "1 of 2 approved by", "(Roll back, danger)"),
    "paused": (*GATE, "Why it paused", "What ends it", "evidence of harm 27; 50 rolls back", "(Resume, primary)"),
    "blind": ("Blind since", "no data: it is too old", "newest data 3 min old"),
    "shared_incident": (*GATE, "above the 0.26 % to 1.56 % that was planned for"),
    "rolling_back": ("Before: 10 %", "After: 0 %", "Why it is rolled back", "1.41 %", "at most 1.04 %"),
    "rolled_back": ("Before: 10 %", "After: 0 %", "Why it was rolled back", "evidence of harm 81; 50 rolls back", "["),
    "succeeded": ("Done, proven safe", "100 %", "Approved:", "["),
    "escalated": ("The backup approvers may decide too", "1 of 2 approved by", "(Pause …)"),
    "frozen": ("Frozen until", "Nothing starts or goes further", "(Pause …)", "(Roll back, danger)"),
    "frozen_start": ("Frozen until", "(Reject …) (Edit plan …) (Drop the plan)"),
    "stale_spec": ("The spec is not what this was planned from", "(Plan anew, primary) (The plan stands …)"),
    "stale_spec_running": ("The spec is not what this was planned from", "Each further step waits"),
    "accepted": ("evidence of harm 27, accepted", "accepted until", "(Count errors again)"),
    "setting_in_trouble": ("Setting 50 % has not worked yet", "has not answered within 10 s"),
    "cancelled": ("Cancelled", "Support is at lunch."),
}
"""What must be seen in each phase, whatever else is."""

READ = """node => [...node.querySelectorAll('.blocks > .block')].map(block => {
  const kind = [...block.classList].find(name => name.startsWith('block-')).slice(6);
  if (kind === 'divider') return '---';
  if (kind === 'image') return `[${block.querySelector('img').alt}]`;
  if (kind === 'actions') return [...block.querySelectorAll('button')].map(button =>
    `(${button.innerText}${button.classList.contains('primary') ? ', primary' : ''}` +
    `${button.classList.contains('danger') ? ', danger' : ''})`).join(' ');
  const parts = [...block.querySelectorAll('.field, tr')];
  const lines = (parts.length ? parts : [block]).map(part => part.innerText.replace(/\\t/g, ' | ').trim());
  return `${kind === 'header' ? '# ' : ''}${lines.join('\\n  ||\\n')}`;
}).join('\\n').replaceAll('\\u00a0', ' ').replace(/(plan v\\d+ )[0-9a-f]{8}/, '$1########')"""
"""What a person reads, block by block; fields one after the other."""

MISFITS = """node => {
  const found = [], frame = node.getBoundingClientRect();
  for (const one of node.querySelectorAll('.blocks *')) {
    const box = one.getBoundingClientRect(), style = getComputedStyle(one), name = `${one.tagName}.${one.className}`;
    if (!box.width && !box.height) continue;
    if (box.left < frame.left - 1 || box.right > frame.right + 1) {
      if (!one.closest('.table-frame')) found.push(`${name} leaves the message: ${one.textContent.slice(0, 60)}`);
    }
    const scrolls = style.overflowX === 'auto' || style.display === 'inline' || one.closest('.table-frame');
    if (!scrolls && one.scrollWidth > one.clientWidth + 1)
      found.push(`${name} is wider than its box: ${one.textContent.slice(0, 60)}`);
    if (style.overflowY === 'hidden' && one.scrollHeight > one.clientHeight + 1)
      found.push(`${name} is cut: ${one.textContent.slice(0, 60)}`);
    if (style.textOverflow === 'ellipsis') found.push(`${name} may be cut`);
  }
  const blocks = [...node.querySelectorAll('.blocks > .block')].map(block => block.getBoundingClientRect());
  blocks.slice(1).forEach((box, index) => {
    if (box.top < blocks[index].bottom - 1) found.push(`block ${index + 2} overlaps`);
  });
  for (const img of node.querySelectorAll('img')) {
    const box = img.getBoundingClientRect(), shape = img.naturalWidth / img.naturalHeight;
    if (!img.complete || !img.naturalWidth) found.push(`not loaded: ${img.alt}`);
    else if (Math.abs(box.width / box.height - shape) > 0.02) found.push(`distorted: ${img.alt}`);
    else if (box.width < Math.min(340, frame.width - 90)) found.push(`too small to read: ${box.width}`);
  }
  return found;
}"""
"""What does not fit: boxes beyond the message, cut or overlapping; pictures that are missing, distorted or tiny."""


@dataclass
class Wall:
    """The cards, all in one channel of one page; their messages by state."""

    page: Page
    posted: dict[str, str]
    complaints: list[str]

    def card(self, state: str) -> Locator:
        """The message of that state's card."""
        return self.page.locator(f"#messages article[data-ts='{self.posted[state]}']")


@pytest.fixture(scope="module")
def charts() -> dict[bool, tuple[bytes, str]]:
    traces = {harm: course(harm=harm) for harm in (False, True)}
    return {harm: (drawn(trace, Theme.CARD), described(trace)) for harm, trace in traces.items()}


@pytest.fixture
async def wall(chromium: str, charts: dict[bool, tuple[bytes, str]]) -> AsyncIterator[Wall]:
    async with running_workspace(file_seconds=0) as running, async_playwright() as playwright:
        posted = await _posted(running, charts)
        # Root may not sandbox; the page is our own.
        browser = await playwright.chromium.launch(executable_path=chromium, chromium_sandbox=os.geteuid() != 0)
        page = await _opened(browser)
        window = Window(page)
        await page.goto(f"{running.url}/#/CRELEASES")
        yield Wall(page, posted, window.complaints)
        await browser.close()


async def _opened(browser: Browser) -> Page:
    viewport: Any = WIDE
    page = await browser.new_page(
        viewport=viewport, timezone_id="Europe/Berlin", locale="en-GB", color_scheme="light", device_scale_factor=2
    )
    await page.clock.set_fixed_time(NOW)
    return page


async def _posted(running: RunningWorkspace, charts: dict[bool, tuple[bytes, str]]) -> dict[str, str]:
    client = AsyncWebClient(token=running.settings.bot_token, base_url=running.api_url)
    pictures = {}
    for harm, (content, says) in charts.items():
        uploaded = await client.files_upload_v2(filename="gate.png", content=content)
        pictures[harm] = Picture(str(uploaded["file"]["id"]), says)

    async def post(state: State) -> str:
        picture = None if state.harm is None else pictures[state.harm]
        blocks = [block.to_dict() for block in state.blocks(picture)]
        return str((await client.chat_postMessage(channel="CRELEASES", text=summary(state.view), blocks=blocks))["ts"])

    return {name: await post(state) for name, state in STATES.items()}


async def test_every_phase_says_what_was_approved_of_and_fits(wall: Wall) -> None:
    said, misfits = {}, []
    await wall.card("cancelled").wait_for()
    for scheme, viewport in VIEWS:
        size: Any = viewport
        await wall.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        await wall.page.set_viewport_size(size)
        for name in STATES:
            card = wall.card(name)
            await card.scroll_into_view_if_needed()
            for picture in await card.locator(".block-image img").all():
                await picture.scroll_into_view_if_needed()
                await picture.evaluate("image => image.decode()")
            misfits += [f"{name}, {scheme}, {viewport['width']}: {one}" for one in await card.evaluate(MISFITS)]
            said[name] = await card.evaluate(READ)
            await _keep(card, f"{name}-{scheme}-{viewport['width']}", said[name])
    assert misfits == []
    assert wall.complaints == []
    assert {name: [item for item in wanted if item not in said[name]] for name, wanted in WANTED.items()} == {
        name: [] for name in WANTED
    }
    assert said == {name: await _found_good(name) for name in STATES}


async def _keep(card: Locator, name: str, said: str) -> None:
    if KEPT is None:
        return
    folder = Path(KEPT)
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    # By its property: the page's policy refuses styles that are not its own.
    await card.page.locator(".to-newest").evaluate_all("found => found.forEach(one => one.style.display = 'none')")
    await card.screenshot(path=folder / f"{name}.png", animations="disabled")
    await asyncio.to_thread((folder / f"{name.split('-')[0]}.txt").write_text, said + "\n", encoding="utf-8")


async def _found_good(name: str) -> str:
    path = FOUND_GOOD / f"{name}.txt"
    return (await asyncio.to_thread(path.read_text, encoding="utf-8")).rstrip("\n")

"""Going between people and conversations: unread marks, keys, narrow screens, colours, and what goes wrong."""

from playwright.async_api import expect

from tests.acceptance.page.conftest import NARROW, Window, open_window
from tests.acceptance.page.gallery import Gallery

WHO = "You are"


async def test_each_person_has_unread_marks_of_their_own(gallery: Gallery, show: Window) -> None:
    page, people = show.page, gallery.running.people
    await expect(page.get_by_role("radio", name="Jonas")).to_be_visible()
    people.say("payments", "sam", "hello everybody")
    people.say("payments", "sam", "and you, @jonas")
    payments = page.get_by_role("link", name="payments")
    await expect(payments).to_have_accessible_name("payments 2 unread")
    await expect(page.get_by_role("radio", name="Jonas")).to_contain_text("1 new")
    await page.get_by_role("radio", name="Mira").focus()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("radio", name="Jonas")).to_be_checked()
    await expect(page.get_by_role("radio", name="Jonas")).to_be_focused()
    await expect(payments).to_have_accessible_name("payments 1 for you")
    await payments.click()
    await expect(page.get_by_text("New", exact=True)).to_be_visible()
    await expect(payments).to_have_accessible_name("payments")
    await page.reload()
    await expect(page.get_by_role("radio", name="Jonas")).to_be_checked()
    await expect(payments).to_have_accessible_name("payments")
    await page.get_by_role("link", name="releases").click()
    await show.act_as("Mira")
    await expect(payments).to_have_accessible_name("payments 2 unread")
    assert show.complaints == []


async def test_the_keyboard_is_enough(gallery: Gallery, show: Window) -> None:
    page = show.page
    composer = page.get_by_role("textbox", name="Message #releases")
    await composer.focus()
    await page.keyboard.type("ask @jon")
    await page.keyboard.press("Tab")
    await page.keyboard.type("first")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("then start")
    await page.keyboard.press("Enter")
    said = page.get_by_role("article", name="Mira Castellan")
    await expect(said).to_contain_text("ask @jonas first")
    await expect(said.locator("br")).to_have_count(1)
    await expect(composer).to_have_value("")

    await page.keyboard.press("Control+k")
    palette = page.get_by_role("dialog", name="Go to a conversation")
    await page.keyboard.type("pay")
    await page.keyboard.press("Enter")
    await expect(palette).to_have_count(0)
    await expect(page.get_by_role("heading", level=1)).to_have_text("payments")
    await page.keyboard.press("Control+k")
    await page.keyboard.press("Escape")
    await expect(palette).to_have_count(0)

    await page.keyboard.press("Control+k")
    await page.keyboard.type("releases")
    await page.keyboard.press("Enter")
    await page.get_by_role("region", name="Messages").focus()
    await page.keyboard.press("ArrowUp")
    await expect(said).to_be_focused()
    # The tools of a message are only in the way of Tab where one is.
    for _ in range(4):
        await page.keyboard.press("Tab")
    await expect(said.get_by_role("button", name="Reply in thread")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("textbox", name="Reply…")).to_be_focused()
    await page.keyboard.type("when?")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("region", name="Replies")).to_contain_text("when?")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("complementary", name="Thread")).to_be_hidden()
    await expect(said).to_be_focused()
    assert show.complaints == []


async def test_a_long_conversation_shows_its_newest_and_the_rest_on_demand(gallery: Gallery, show: Window) -> None:
    page = show.page
    for number in range(100):
        gallery.running.people.say("releases", "sam", f"number {number}")
    await expect(page.get_by_text("number 99", exact=True)).to_be_in_viewport()
    await expect(page.get_by_text("number 5", exact=True)).to_have_count(0)
    await page.get_by_role("button", name="Show earlier messages").click()
    await expect(page.get_by_text("number 5", exact=True)).to_have_count(1)
    await expect(page.get_by_text("number 41", exact=True)).to_be_in_viewport()
    gallery.running.people.say("releases", "sam", "one more")
    await expect(page.get_by_text("one more", exact=True)).to_have_count(1)
    await expect(page.get_by_text("number 41", exact=True)).to_be_in_viewport()
    await page.get_by_role("button", name="Newest").click()
    await expect(page.get_by_text("one more", exact=True)).to_be_in_viewport()
    assert show.complaints == []


async def test_no_button_to_the_newest_covers_it_while_it_is_partly_seen(gallery: Gallery, show: Window) -> None:
    page = show.page
    for number in range(30):
        gallery.running.people.say("releases", "sam", f"number {number}")
    await gallery.post()
    messages, newest = page.get_by_role("region", name="Messages"), page.get_by_role("button", name="Newest")
    card = page.get_by_role("article", name="Sluice").last
    await expect(card.get_by_role("button", name="Bad answer")).to_be_in_viewport()
    await messages.evaluate("list => { list.scrollTop -= 200; }")
    await expect(card.get_by_role("button", name="Bad answer")).not_to_be_in_viewport()
    await expect(newest).to_be_hidden()
    await messages.evaluate("list => { list.scrollTop = 0; }")
    await expect(newest).to_be_visible()
    assert show.complaints == []


async def test_on_a_narrow_screen_the_sidebar_is_a_drawer(gallery: Gallery, chromium: str) -> None:
    async with open_window(chromium, gallery.running.url, viewport=NARROW) as narrow:
        page = narrow.page
        opener = page.get_by_role("button", name="Channels and people")
        await expect(page.get_by_role("radiogroup", name=WHO)).to_be_hidden()
        await opener.click()
        await expect(page.get_by_role("radiogroup", name=WHO)).to_be_visible()
        assert await page.evaluate("document.getElementById('sidebar').contains(document.activeElement)")
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("radiogroup", name=WHO)).to_be_hidden()
        await expect(opener).to_be_focused()
        await opener.click()
        await page.get_by_role("link", name="payments").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("payments")
        await expect(page.get_by_role("radiogroup", name=WHO)).to_be_hidden()
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert narrow.complaints == []


async def test_colours_follow_the_system_until_one_chooses(gallery: Gallery, show: Window) -> None:
    page = show.page
    paper = "getComputedStyle(document.body).backgroundColor"
    await page.emulate_media(color_scheme="light")
    light = await page.evaluate(paper)
    await page.emulate_media(color_scheme="dark")
    dark = await page.evaluate(paper)
    assert light != dark
    await page.get_by_role("button", name="Light").click()
    assert await page.evaluate(paper) == light
    await page.reload()
    assert await page.evaluate(paper) == light
    await page.get_by_role("button", name="As the system").click()
    assert await page.evaluate(paper) == dark
    assert show.complaints == []


async def test_trouble_with_slack_is_switched_on_seen_and_ended(gallery: Gallery, show: Window) -> None:
    page, faults = show.page, gallery.running.workspace.faults
    await page.get_by_text("Trouble with Slack").click()
    twice = page.get_by_role("switch", name="Everything arrives twice")
    await twice.click()
    await expect(twice).to_be_checked()
    assert faults.copies == 2
    await page.get_by_role("switch", name="Slack is away").click()
    banner = page.get_by_role("status").filter(has_text="Slack is away.")
    await expect(banner).to_contain_text("Everything arrives twice.")
    assert faults.outage == "unavailable"
    await page.get_by_role("button", name="Make it work again").click()
    await expect(banner).to_have_count(0)
    await expect(twice).not_to_be_checked()
    assert (faults.copies, faults.outage) == (1, None)
    assert show.complaints == []

"""What an app may send, as people see and use it in a real browser."""

import re
from datetime import UTC, datetime

from playwright.async_api import expect

from tests.acceptance.page.conftest import SOON, Window, open_window
from tests.acceptance.page.gallery import LINK, UNTIL, Gallery, options, plain
from tests.contract.workspace.conftest import until


async def test_every_block_is_drawn_and_used(gallery: Gallery, show: Window) -> None:
    await gallery.post()
    page = show.page
    message = page.get_by_role("article", name="Sluice").last
    for picture in await message.get_by_role("img", name="How both arms went").all():
        await expect(picture).to_have_js_property("complete", True)
        assert await picture.evaluate("node => node.naturalWidth") == 8
    await expect(message.get_by_role("table")).to_contain_text("10 %")
    await expect(message.get_by_role("heading", name="Why")).to_be_visible()
    await expect(message.locator(".unsupported")).to_have_count(0)

    await message.get_by_role("button", name="Go on").click()
    await page.get_by_role("dialog", name="Sure?").get_by_role("button", name="No").click()
    assert gallery.got == []
    await message.get_by_role("button", name="Go on").click()
    await page.get_by_role("dialog", name="Sure?").get_by_role("button", name="Yes").click()
    await until(lambda: len(gallery.got) == 1, seconds=SOON)

    await message.locator(".block-section").get_by_role("button", name="More").press("ArrowDown")
    await page.keyboard.press("ArrowDown")
    await expect(page.get_by_role("menuitem", name="Two")).to_be_focused()
    await page.keyboard.press("Enter")
    await until(lambda: len(gallery.got) == 2, seconds=SOON)
    assert gallery.got[1]["actions"][0]["selected_option"]["value"] == "Two"

    tasks = message.locator(".block-plan .task")
    await expect(tasks).to_have_text(
        [
            re.compile("Looking at the rollout ?complete"),
            re.compile("Asking the metrics ?error"),
            re.compile("Reading the spec ?in progress"),
            re.compile("Lowering it to 5 % ?pending"),
        ]
    )
    await message.get_by_role("button", name="Bad answer").click()
    await until(lambda: len(gallery.got) == 3, seconds=SOON)
    assert (gallery.got[2]["actions"][0]["type"], gallery.got[2]["actions"][0]["value"]) == ("feedback_buttons", "bad")
    assert show.complaints == []


async def test_a_modal_takes_every_input_and_says_what_is_wrong_where(gallery: Gallery, show: Window) -> None:
    await gallery.post()
    page = show.page
    opener = page.get_by_role("button", name="Start …")
    await opener.click()
    modal = page.get_by_role("dialog", name="Start a rollout")
    await expect(modal.get_by_role("combobox", name="Flag")).to_be_focused()
    await page.keyboard.type("check")
    await expect(modal.get_by_role("listbox").get_by_role("option")).to_have_count(2)
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(modal.get_by_role("combobox", name="Flag")).to_have_value("checkout-v2")
    await modal.get_by_role("button", name="Start", exact=True).click()
    await expect(modal.get_by_role("alert").first).to_have_text("Please complete this required field.")
    await expect(modal.get_by_role("combobox", name="Environment")).to_be_focused()
    await expect(modal.get_by_role("combobox", name="Environment")).to_have_attribute("aria-invalid", "true")

    await modal.get_by_role("combobox", name="Environment").select_option("production")
    await modal.get_by_role("spinbutton").fill("10")
    await modal.get_by_role("radio", name="Gate by gate").check()
    await modal.get_by_role("checkbox", name="the team").check()
    await modal.get_by_role("combobox", name="Second approver").select_option("Aiko Lindqvist")
    until_when = modal.get_by_label("Until (optional)")
    await expect(until_when).to_have_value("2026-03-03T13:00")
    await until_when.fill("2026-03-03T14:30")
    why = modal.get_by_role("textbox", name="Why?")
    await why.fill("short")
    await modal.get_by_role("button", name="Start", exact=True).click()
    await expect(modal.get_by_role("alert")).to_have_count(1)
    await expect(modal.get_by_role("alert")).to_have_text("Say a little more.")
    await expect(why).to_be_focused()
    await why.fill("It is proven safe in staging.")
    await modal.get_by_role("button", name="Start", exact=True).click()
    await expect(modal).to_have_count(0)
    await expect(opener).to_be_focused()

    values = gallery.got[-1]["view"]["state"]["values"]
    assert values["flag"]["flag"]["selected_option"] == options("checkout-v2")[0]
    assert values["where"]["where"]["selected_option"] == {"text": plain("production"), "value": "production"}
    assert values["share"]["share"]["value"] == "10"
    assert values["how"]["how"]["selected_option"]["value"] == "Gate by gate"
    assert [one["value"] for one in values["tell"]["tell"]["selected_options"]] == ["the team"]
    assert values["who"]["who"]["selected_user"] == "UAIKO0001"
    assert values["day"]["day"]["selected_date"] == "2026-03-02"
    assert values["until"]["until"]["selected_date_time"] == UNTIL + 5400
    assert show.complaints == []


TYPED = (
    ("Aiko", "2026-03-03T09:00", datetime(2026, 3, 3, 0, 0, tzinfo=UTC)),
    ("Sam", "2026-03-08T01:59", datetime(2026, 3, 8, 6, 59, tzinfo=UTC)),
    # Of an hour that is left out as if it were not; of one that comes twice the first.
    ("Sam", "2026-03-08T02:30", datetime(2026, 3, 8, 7, 30, tzinfo=UTC)),
    ("Sam", "2026-03-08T03:00", datetime(2026, 3, 8, 7, 0, tzinfo=UTC)),
    ("Sam", "2026-11-01T01:30", datetime(2026, 11, 1, 5, 30, tzinfo=UTC)),
    ("Sam", "2026-11-01T02:00", datetime(2026, 11, 1, 7, 0, tzinfo=UTC)),
)


async def test_times_are_typed_in_the_acting_persons_zone_wherever_the_browser_is(
    gallery: Gallery, chromium: str
) -> None:
    await gallery.post()
    async with open_window(chromium, gallery.running.url, timezone_id="Pacific/Chatham") as window:
        page = window.page
        until_when = page.get_by_label("Until (optional)")
        acting = ""
        for person, typed, meant in TYPED:
            if person != acting:
                await page.keyboard.press("Escape")
                await expect(page.get_by_role("dialog")).to_have_count(0)
                await window.act_as(acting := person)
                await page.get_by_role("button", name="Start …").click()
                await expect(until_when).to_have_value({"Aiko": "2026-03-03T21:00", "Sam": "2026-03-03T07:00"}[person])
            await until_when.fill(typed)
            await page.get_by_role("button", name="Edit the stages …").click()
            stages = page.get_by_role("dialog", name="Stages")
            await expect(stages).to_be_visible()
            state = gallery.got[-1]["view"]["state"]["values"]
            assert state["until"]["until"]["selected_date_time"] == int(meant.timestamp()), (person, typed)
            await page.keyboard.press("Escape")
            await expect(stages).to_have_count(0)
        assert window.complaints == []


async def test_modals_stack_change_while_one_types_and_close_with_escape(gallery: Gallery, show: Window) -> None:
    page = show.page
    await page.get_by_role("button", name="Shortcuts").first.click()
    await page.get_by_role("menuitem", name="Start a rollout").click()
    first = page.get_by_role("dialog", name="Start a rollout")
    await first.get_by_role("textbox", name="Why?").fill("kept while another is on top")
    await first.get_by_role("button", name="Edit the stages …").click()
    second = page.get_by_role("dialog", name="Stages")
    stages = second.get_by_role("textbox", name="Stages")
    await stages.press_sequentially("5, 25, 100", delay=20)
    await expect(second).to_contain_text("3 stages")
    await expect(stages).to_be_focused()
    await expect(stages).to_have_value("5, 25, 100")
    await page.keyboard.press("Escape")
    await expect(first.get_by_role("textbox", name="Why?")).to_have_value("kept while another is on top")
    for _ in range(30):
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.closest('dialog, body').tagName") in ("DIALOG", "BODY")
        assert await page.evaluate("document.activeElement.closest('#app') === null")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    assert show.complaints == []


async def test_escape_closes_the_upper_modal_each_time_and_leaves_the_lower(gallery: Gallery, show: Window) -> None:
    """A browser lets a page stay open after one Escape, and closes it by itself after the next."""
    page = show.page
    await page.get_by_role("button", name="Shortcuts").first.click()
    await page.get_by_role("menuitem", name="Start a rollout").click()
    first, second = (page.get_by_role("dialog", name=name) for name in ("Start a rollout", "Stages"))
    for _ in range(3):
        await first.get_by_role("button", name="Edit the stages …").click()
        await expect(second).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(second).to_have_count(0)
        await expect(first).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("dialog")).to_have_count(0)
    assert show.complaints == []


async def test_home_changes_while_one_looks_and_keeps_the_focus(gallery: Gallery, show: Window) -> None:
    page = show.page
    await page.get_by_role("link", name="Sluice home").click()
    press = page.get_by_role("button", name="Press me")
    await press.focus()
    for times in (1, 2):
        await page.keyboard.press("Enter")
        await expect(page.get_by_text(f"Pressed {times} times")).to_be_visible()
        await expect(press).to_be_focused()
    await page.get_by_role("navigation", name="Sluice").get_by_role("link", name="Messages").click()
    await expect(page.get_by_role("button", name="What can you do?")).to_be_visible()
    assert show.complaints == []


async def test_a_messages_menu_and_its_links(gallery: Gallery, show: Window) -> None:
    page = show.page
    composer = page.get_by_role("textbox", name="Message #releases")
    await composer.fill(f"we should ramp this: {LINK}")
    await composer.press("Enter")
    said = page.get_by_role("article", name="Mira Castellan").last
    await expect(said.locator(".attachment")).to_contain_text("checkout at 10 %")
    await said.hover()
    await said.get_by_role("button", name="More").click()
    await page.get_by_role("menuitem", name="Plan a rollout from this").click()
    await until(lambda: gallery.got, seconds=SOON)
    assert (gallery.got[0]["type"], gallery.got[0]["callback_id"]) == ("message_action", "plan_from")
    await said.get_by_role("button", name="React with eyes").click()
    await expect(said.get_by_role("button", name="eyes, 1")).to_have_attribute("aria-pressed", "true")
    assert show.complaints == []


async def test_text_streams_into_a_thread_and_is_for_one_person_where_it_should(gallery: Gallery, show: Window) -> None:
    page, client = show.page, gallery.client
    said = gallery.running.people.say("releases", "mira", "why is it waiting?")
    await page.goto(f"{gallery.running.url}/#/CRELEASES/{said.ts}")
    where = {"channel": "CRELEASES", "thread_ts": said.ts}
    people = {"recipient_team_id": "TACME0001", "recipient_user_id": "UMIRA0001"}
    started = await client.chat_startStream(**where, **people, markdown_text="It waits ")
    replies = page.get_by_role("region", name="Replies")
    await expect(replies.locator(".streaming")).to_contain_text("It waits")
    await client.chat_appendStream(channel="CRELEASES", ts=started["ts"], markdown_text="for **evidence**.")
    await expect(replies.get_by_text("evidence")).to_have_css("font-weight", "650")
    await client.chat_stopStream(channel="CRELEASES", ts=started["ts"])
    await expect(replies.locator(".streaming")).to_have_count(0)

    await client.chat_postEphemeral(channel="CRELEASES", user="UMIRA0001", text="psst")
    private = page.get_by_role("region", name="Messages").get_by_role("article").filter(has_text="psst")
    await expect(private).to_contain_text("Only visible to you")
    await show.act_as("Jonas")
    await expect(private).to_have_count(0)
    assert show.complaints == []

"""The card's buttons, pressed by people who may and by people who may not."""

import asyncio

import pytest
from structlog.testing import capture_logs

from bot.texts import UNKNOWN_BUTTON
from bot.workspace.blocks import check_message_blocks
from tests.acceptance.slack.office import AIKO, BAD, ENVIRONMENT, FLAG, JONAS, MIRA, SAM, Office, readable, until
from tools.flags.base import FlagRef
from tools.flags.embedded import EmbeddedFlagService
from tools.rollouts.phases import Phase
from tools.rollouts.service import Place
from tools.rollouts.views import RolloutView


async def test_approve_starts_it_and_the_card_says_who(office: Office) -> None:
    await office.proposed()
    assert await office.press("approve", user=JONAS) is None
    assert (await office.flag()).exposure.percent == 1
    card = readable(office.card())
    assert f"<@{JONAS}> approved (1 of 1)." in card
    assert "▶ *Progressing* · stage 1 of" in card
    assert office.buttons() == ["promote", "pause", "edit", "roll_back"]


async def test_the_requester_can_not_approve(office: Office) -> None:
    await office.proposed()
    assert "You asked for this, so someone else has to approve it." in (await office.press("approve", user=MIRA) or "")
    assert (await office.view()).phase is Phase.PROPOSED


async def test_someone_who_is_no_approver_is_refused(office: Office) -> None:
    await office.proposed()
    assert "not on the list of approvers" in (await office.press("approve", user=SAM) or "")
    assert "not on the list of approvers" in (await office.press("reject", user=SAM) or "")
    assert office.running.workspace.screens.modal_stack(SAM) == []
    assert (await office.view()).phase is Phase.PROPOSED


async def test_a_double_click_is_answered_politely(office: Office) -> None:
    await office.proposed()
    ts = office.card().ts
    await asyncio.gather(*(office.click("approve", user=JONAS, ts=ts) for _ in range(2)))
    await office.settle()
    [answer] = office.private(JONAS)
    assert "This has already been approved." in answer
    granted = [event for event in await office.events() if event.kind == "approval.granted"]
    assert len(granted) == 1


async def test_a_button_of_an_older_plan_is_refused_and_the_card_is_fresh(office: Office) -> None:
    await office.proposed()
    card = office.card()
    older = [dict(block) for block in card.blocks]
    await office.rollout(f"plan {FLAG} --strategy full", user=MIRA)
    assert (await office.view()).plan_version == 2
    fresh = list(office.card().blocks)
    # A person who has not seen the newer card yet presses what is still on the screen.
    card.blocks = older
    assert "This is no longer asked: The plan has a newer version. The rollout's card shows" in (
        await office.press("approve", user=JONAS) or ""
    )
    assert (await office.view()).phase is Phase.PROPOSED
    assert [block["type"] for block in office.card().blocks] == [block["type"] for block in fresh]
    assert office.buttons() == ["approve", "reject", "edit", "cancel"]
    assert await office.press("approve", user=JONAS) is None
    assert (await office.view()).phase is Phase.PROGRESSING


async def test_reject_asks_for_a_reason_that_everybody_reads(office: Office) -> None:
    await office.proposed()
    assert await office.press("reject", user=JONAS) is None
    dialog = office.dialog(JONAS)
    outcome = await office.submit(dialog, "   ", user=JONAS)
    assert outcome.errors == {"reason": "Please write a few words."}
    outcome = await office.submit(dialog, "Not before the sale & <!channel>", user=JONAS)
    assert outcome.ok
    assert (await office.view()).phase is Phase.CANCELLED
    assert any("Not before the sale &amp; &lt;!channel&gt;" in line for line in office.thread())
    assert f"<@{JONAS}> rejected it" in readable(office.card())
    assert office.buttons() == []


async def test_the_requester_can_not_reject_either(office: Office) -> None:
    await office.proposed()
    assert await office.press("reject", user=MIRA) is None
    dialog = office.dialog(MIRA)
    assert "You asked for this" in str(dialog.blocks)
    assert "submit" not in dialog.given, "there is nothing to submit"
    assert (await office.view()).phase is Phase.PROPOSED


async def test_start_asks_again_after_an_approval_expired(office: Office) -> None:
    await office.proposed()
    office.clock.advance(25 * 3600)
    await office.services.controller.tick()
    await office.settle()
    assert office.buttons() == ["start", "edit", "cancel"]
    assert await office.press("start", user=MIRA) is None
    assert office.buttons() == ["approve", "reject", "edit", "cancel"]


async def test_promote_now_needs_an_approver_who_did_not_ask(office: Office) -> None:
    await office.started()
    await office.live(3)
    assert await office.press("promote", user=MIRA) is None
    assert office.buttons() == ["approve", "reject", "pause", "edit", "roll_back"]
    assert await office.press("approve", user=AIKO) is None
    view = await office.view()
    assert (view.phase, view.stage) == (Phase.PROGRESSING, 1)
    assert f"<@{AIKO}> promoted it from 1 % to" in readable(office.card())


async def test_pause_takes_a_reason_and_resume_goes_on(office: Office) -> None:
    await office.started()
    assert await office.press("pause", user=SAM) is None
    assert (await office.submit(office.dialog(SAM), "support is at lunch", user=SAM)).ok
    assert ">support is at lunch" in readable(office.card())
    assert office.buttons() == ["resume", "edit", "roll_back"]
    assert await office.press("resume", user=SAM) is None
    assert (await office.view()).phase is Phase.PROGRESSING


async def test_no_secret_in_a_reason_is_written_down(office: Office) -> None:
    await office.started()
    assert await office.press("pause", user=SAM) is None
    outcome = await office.submit(office.dialog(SAM), "It needs password: hunter2-of-ours first", user=SAM)
    assert outcome.ok
    assert (await office.view()).pause_reason == "It needs password: [hidden] first"
    await office.rollout(f"rollback {FLAG} --reason the key is sk-0123456789abcdefgh", user=SAM)
    assert (await office.view()).rollback_reason == "the key is [hidden]"
    written = str([event.payload for event in await office.events()])
    assert "hunter2" not in written
    assert "sk-0123" not in written


async def test_roll_back_is_confirmed_and_done_at_once(office: Office) -> None:
    await office.started()
    declined = await office.running.people.click("CRELEASES", office.card().ts, "rollout.roll_back", SAM, confirm=False)
    assert declined.ack is None
    assert (await office.flag()).exposure.percent == 1
    assert await office.press("roll_back", user=SAM) is None
    assert (await office.flag()).exposure.percent == 0
    card = readable(office.card())
    assert "*Before:* 1 %   →   *After:* 0 %" in card
    assert office.buttons() == []


async def test_a_breach_rolls_back_and_pings_whoever_asked(office: Office) -> None:
    await office.started()
    await office.live(4)
    # Enough treatment to see harm at 1 %.
    view = await office.live(12, rate=BAD)
    assert view.phase is Phase.ROLLED_BACK
    assert (await office.flag()).exposure.percent == 0
    [alert] = [line for line in office.thread() if "is rolling it back" in line]
    assert alert.startswith(f"<@{MIRA}> ◀ Sluice is rolling it back from 1 % to 0 %: checkout-errors: Proven harmful")
    assert "↩ Rolled back: read back as 0 %" in office.thread()[-1]
    assert len(office.cards()) == 1


async def test_a_breach_voids_what_people_are_asked(office: Office) -> None:
    await office.started()
    await office.live(3)
    assert await office.press("promote", user=MIRA) is None
    card, asked = office.card(), [dict(block) for block in office.card().blocks]
    view = await office.live(13, rate=BAD)
    assert view.phase is Phase.ROLLED_BACK
    assert office.buttons() == []
    card.blocks = asked
    refused = await office.press("approve", user=JONAS) or ""
    assert "This is no longer asked" in refused
    assert (await office.flag()).exposure.percent == 0
    assert "approval.voided" in [event.kind for event in await office.events()]


async def tamper(office: Office, value: str) -> None:
    for block in office.card().blocks:
        for element in block["elements"] if block["type"] == "actions" else ():
            element["value"] = value


@pytest.mark.parametrize(
    "value", ["", "x", "0" * 31, "A" * 32, "0" * 32 + "\n", "\x00" * 32, "'; DROP TABLE", "9" * 1900]
)
async def test_a_button_with_garbage_changes_nothing(office: Office, value: str) -> None:
    await office.proposed()
    await tamper(office, value)
    with capture_logs() as logs:
        for action in ("approve", "reject"):
            assert await office.press(action, user=JONAS) == UNKNOWN_BUTTON
    assert [log["action"] for log in logs if log["event"] == "slack.unknown_value"] == [
        "rollout.approve",
        "rollout.reject",
    ]
    assert office.running.workspace.screens.modal_stack(JONAS) == []
    assert (await office.view()).phase is Phase.PROPOSED


async def test_a_button_with_an_id_of_nothing_or_of_another_kind_changes_nothing(office: Office) -> None:
    view = await office.proposed()
    for value in ("0" * 32, view.id):
        await tamper(office, value)
        assert "belongs to nothing I know" in (await office.press("approve", user=JONAS) or "")
    await tamper(office, "0" * 32)
    await office.press("reject", user=JONAS)
    assert "belongs to nothing I know" in str(office.dialog(JONAS).blocks)
    assert (await office.view()).phase is Phase.PROPOSED


async def test_a_button_with_the_id_of_another_rollout_changes_neither(office: Office) -> None:
    view = await office.proposed()
    assert view.approval is not None
    other = await another(office, view)
    assert other.approval is not None
    assert other.place is not None
    [card] = [card for card in office.cards() if card.ts == other.place.card_ts]
    for value, action in ((view.approval.id, "approve"), (view.id, "start")):
        for block in card.blocks:
            for element in block["elements"] if block["type"] == "actions" else ():
                element.update(value=value, action_id=f"rollout.{action}")
        assert await office.press(action, user=JONAS, ts=card.ts) == UNKNOWN_BUTTON
    for rollout_id in (view.id, other.id):
        found = await office.services.rollouts.get(rollout_id)
        assert (found.phase, found.approval is not None and found.approval.by) == (Phase.PROPOSED, ())


async def another(office: Office, like: RolloutView) -> RolloutView:
    """A rollout of another flag in the same channel, with its card."""
    assert isinstance(office.services.flags, EmbeddedFlagService)
    await office.services.flags.define(FlagRef("new-search", ENVIRONMENT), "off", "on")
    assert like.place is not None
    plan, place = like.plan.model_copy(update={"flag": "new-search"}), Place(like.place.workspace, like.place.channel)
    made = await office.services.rollouts.propose(plan, requester=MIRA, place=place, reason="asked")
    await office.settle()
    return await office.services.rollouts.get(made.id)


async def test_a_button_of_another_release_is_answered(office: Office) -> None:
    await office.proposed()
    for block in office.card().blocks:
        for element in block["elements"] if block["type"] == "actions" else ():
            element["action_id"] = f"rollout.gone_{element['action_id'][-3:]}"
    outcome = await office.running.people.click("CRELEASES", office.card().ts, "rollout.gone_ove", JONAS)
    assert outcome.ok
    await until(lambda: office.private(JONAS))
    assert "not one of mine any more" in office.private(JONAS)[0]


async def test_every_card_on_the_way_is_within_slacks_limits(office: Office) -> None:
    await office.started()
    await office.live(3)
    check_message_blocks(office.card().blocks, {})
    assert office.running.workspace.error_counts.total() == 0

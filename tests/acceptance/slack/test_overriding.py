"""Freezing, lifting and accepting a finding: the dialogs, the buttons, the card and the log, over the real protocol."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from bot.blocks import accepting, freezing
from bot.blocks.dialogs import REFUSAL
from bot.texts import FREEZE_ENDS_FIRST, FREEZE_FLAG_OR_TAG
from tests.acceptance.slack.office import (
    AIKO,
    ALERTS,
    ENVIRONMENT,
    FLAG,
    JONAS,
    MIRA,
    RELEASES,
    SAM,
    Office,
    readable,
    until,
)
from tools.rollouts.phases import Phase
from tools.rollouts.views import RolloutView

SLIGHTLY = 0.032
"""1.6 times control's errors: harm, and not far worse."""


async def opened(office: Office, text: str, user: str) -> Any:
    """The dialog, opened by typing `/rollout text`, once it shows what it is to show."""
    assert (await office.running.people.command(RELEASES, user, "/rollout", text)).ok
    await until(lambda: office.running.workspace.screens.modal_stack(user))
    await office.settle()
    return office.dialog(user)


def at(office: Office, **ahead: float) -> int:
    """A moment as the picker sends it."""
    return int((office.clock.now() + timedelta(**ahead)).timestamp())


async def submit(office: Office, view: Any, user: str, **values: Any) -> Any:
    """Send a dialog whose blocks and elements are called alike, and read what is answered."""
    outcome = await office.running.people.submit(view.id, user, {name: {name: value} for name, value in values.items()})
    await office.settle()
    return outcome


async def test_a_freeze_keeps_a_start_back_says_so_everywhere_and_is_lifted_with_a_button(office: Office) -> None:
    await office.proposed()
    view = await opened(office, "freeze", AIKO)
    assert view.given["callback_id"] == freezing.FREEZE
    refused = await submit(office, view, AIKO, until=at(office, hours=-1), reason=" ", flag="no flag!")
    assert set(refused.errors) == {freezing.UNTIL, freezing.REASON, freezing.FLAG}
    assert (await submit(office, view, AIKO, until=at(office, days=2), reason="The <!channel> sale", flag="")).ok
    [made] = office.private(AIKO)
    assert "❄ Frozen until <!date^" in made
    said = await office.press("approve", user=JONAS) or ""
    assert "Nothing goes up now: frozen until <!date^" in said
    assert f"by <@{AIKO}>" in said
    await office.services.controller.tick()
    await office.settle()
    card = readable(office.card())
    assert f"by <@{AIKO}>: The &lt;!channel&gt; sale" in card
    assert "❄ *Frozen until <!date^" in card
    assert office.buttons() == ["edit", "cancel"], "nothing that would be refused"
    assert (await office.flag()).exposure.percent == 0

    listed = await office.rollout("unfreeze", user=JONAS)
    assert "everything in production" in listed
    *_, message = [
        one
        for one in office.running.workspace.visible_messages(office.running.workspace.channel(RELEASES), JONAS)
        if one.ephemeral_to == JONAS
    ]
    assert (await office.running.people.click(RELEASES, message.ts, freezing.LIFT, JONAS)).ok
    await office.settle()
    await office.services.controller.tick()
    await office.settle()
    assert "Frozen until" not in "\n".join(block_texts(office))
    assert office.buttons() == ["start", "edit", "cancel"]
    assert await office.press("start", user=MIRA) is None
    assert {"approve", "reject"} <= set(office.buttons())
    log = {event.kind: event for event in await office.events()}
    assert (log["freeze.made"].actor, log["freeze.lifted"].actor) == (AIKO, JONAS)
    assert {"freeze.holds", "freeze.over"} <= set(log)


async def test_a_freeze_of_a_tag_begins_when_it_is_to(tmp_path: Path, office: Office) -> None:
    spec = tmp_path / "specs" / f"{FLAG}.md"
    spec.write_text(spec.read_text().replace("owner:", "tags: [payments]\nowner:"))
    await office.proposed()
    view = await opened(office, "freeze", AIKO)
    times = {"start": at(office, hours=2), "until": at(office, hours=1)}
    refused = await submit(office, view, AIKO, **times, tag="payments", flag=FLAG, reason="The sale")
    assert refused.errors == {freezing.TAG: FREEZE_FLAG_OR_TAG, freezing.UNTIL: FREEZE_ENDS_FIRST}
    times["until"] = at(office, hours=3)
    assert (await submit(office, view, AIKO, **times, tag="payments", flag="", reason="The sale")).ok
    [made] = office.private(AIKO)
    assert "❄ Frozen from <!date^" in made
    assert "flags tagged payments in production" in made
    assert "froze flags tagged payments in production from <!date^" in office.messages(ALERTS)[-1].text
    await office.services.controller.tick()
    await office.settle()
    assert "approve" in office.buttons(), "it has not begun"
    office.clock.advance(2 * 3600)
    await office.services.controller.tick()
    await office.settle()
    assert "❄ *Frozen until <!date^" in readable(office.card())
    assert office.buttons() == ["edit", "cancel"]


def block_texts(office: Office) -> list[str]:
    """The sections of the card, without the history below them."""
    return [str(block) for block in office.card().blocks if block["type"] == "section"]


async def test_who_approves_nothing_can_not_freeze_and_reads_it_in_the_dialog(office: Office) -> None:
    view = await opened(office, f"freeze {ENVIRONMENT}", SAM)
    assert view.given["callback_id"] == REFUSAL
    assert "Only those who approve rollouts in production may freeze it" in str(view.blocks)
    assert "submit" not in view.given


async def test_a_finding_is_accepted_until_a_moment_and_counts_again_with_a_button(office: Office) -> None:
    await office.started()
    for _ in range(20):
        view = await office.live(3, rate=SLIGHTLY)
        if view.check is not None and view.check.verdict.harm != "none":
            break
    assert view.phase is Phase.PAUSED
    assert {"resume", "accept", "roll_back"} <= set(office.buttons())

    assert await office.press("accept", user=MIRA) is None
    assert "You asked for this" in str(office.dialog(MIRA).blocks)
    assert await office.press("accept", user=AIKO) is None
    dialog = office.dialog(AIKO)
    assert dialog.given["callback_id"] == accepting.SUBMITTED
    assert "checkout-errors from 4 × control" in str(dialog.blocks)
    refused = await submit(office, dialog, AIKO, until=at(office, days=8), reason="  ")
    assert refused.errors == {"until": "Choose a time within 7 d.", "reason": "Please write a few words."}
    assert (await submit(office, dialog, AIKO, until=at(office, days=2), reason="Retries count twice")).ok
    assert "`checkout-errors` of `new-checkout` in production is accepted until" in office.private(AIKO)[-1]

    await office.live(1, rate=SLIGHTLY)
    card = readable(office.card())
    assert f"by <@{AIKO}>: Retries count twice" in card
    assert {"resume", "withdraw_acceptance.0", "roll_back"} <= set(office.buttons())
    assert "accept" not in office.buttons()
    assert await office.press("resume", user=SAM) is None
    view = await office.live(2, rate=SLIGHTLY)
    assert view.phase is not Phase.PAUSED
    assert any("accepted what was found of checkout-errors" in line for line in office.thread())

    said = await office.press("withdraw_acceptance.0", user=SAM) or ""
    assert "counts again from the next check on" in said
    view = await office.live(1, rate=SLIGHTLY)
    assert view.phase in (Phase.PAUSED, Phase.ROLLING_BACK, Phase.ROLLED_BACK)
    kinds = [event.kind for event in await office.events()]
    assert {"acceptance.given", "acceptance.withdrawn"} <= set(kinds)


async def paused_for_harm(office: Office) -> RolloutView:
    """A rollout whose treatment is slightly worse, until its gate holds it."""
    await office.started()
    for _ in range(20):
        view = await office.live(3, rate=SLIGHTLY)
        if view.phase is Phase.PAUSED:
            return view
    raise AssertionError("it should have paused")


async def test_a_finding_accepted_until_a_moment_is_honoured_at_later_gates_and_counts_again_after_it(
    office: Office,
) -> None:
    await paused_for_harm(office)
    await office.press("accept", user=AIKO)
    until_then = {"until": at(office, hours=2), "reason": "Known; accepted until Friday"}
    assert (await submit(office, office.dialog(AIKO), AIKO, **until_then)).ok
    await office.live(1, rate=SLIGHTLY)
    await office.press("resume", user=SAM)
    for _ in range(20):
        view = await office.live(3, rate=SLIGHTLY)
        if view.stage == 2:
            break
    assert (view.phase, view.stage) == (Phase.PROGRESSING, 2), "two gates have let it pass since"
    promoted = [line for line in office.thread() if "promoted it" in line]
    assert len(promoted) == 2
    assert all("What was found of checkout-errors is accepted." in line for line in promoted)
    assert f"by <@{AIKO}>: Known; accepted until Friday" in readable(office.card())

    office.clock.advance(2 * 3600)
    view = await office.live(2, rate=SLIGHTLY)
    assert any("counts again: what aiko accepted has run out" in line for line in office.thread())
    assert (view.phase, (await office.flag()).exposure.percent) == (Phase.ROLLED_BACK, 0)
    log = {event.kind: event for event in await office.events()}
    assert (log["acceptance.given"].actor, log["acceptance.expired"].actor) == (AIKO, "sluice")
    assert log["rollback.started"].seq > log["acceptance.expired"].seq


async def test_accepting_by_command_says_in_its_dialog_when_there_is_nothing(office: Office) -> None:
    await office.started()
    view = await opened(office, f"accept {FLAG}", AIKO)
    assert view.given["callback_id"] == REFUSAL
    assert "wait for the next check" in str(view.blocks)

"""A spec that changes after its plan was proposed: what people see, and what they can do about it."""

from pathlib import Path

from bot.workspace.blocks import check_message_blocks
from tests.acceptance.slack.office import FLAG, JONAS, MIRA, RELEASES, SAM, Office, readable
from tools.rollouts.phases import Phase


def spec_of(tmp_path: Path) -> Path:
    return tmp_path / "specs" / f"{FLAG}.md"


async def looked(office: Office) -> None:
    """The clock comes to the spec again."""
    office.clock.advance(301)
    await office.services.watcher.turn()
    await office.settle()


async def test_the_card_says_it_once_and_the_plan_is_made_anew(office: Office, tmp_path: Path) -> None:
    await office.proposed()
    assert f"*Spec* · {spec_of(tmp_path)} · read" in readable(office.card())
    before = len(office.thread())
    spec_of(tmp_path).write_text(spec_of(tmp_path).read_text() + "\nTwo pages now.\n")
    await looked(office)
    await looked(office)
    card = readable(office.card())
    assert "⚠ *The spec is not what this was planned from.* The spec changed after this was planned (from" in card
    check_message_blocks(office.card().blocks, {})
    assert office.buttons() == ["plan_anew", "keep_plan", "edit", "cancel"]
    assert len([line for line in office.thread()[before:] if "The spec changed" in line]) == 1
    assert await office.press("plan_anew", user=MIRA) is None
    await office.settle()
    assert office.buttons() == ["approve", "reject", "edit", "cancel"]
    assert (await office.view()).plan_version == 2
    assert await office.press("approve", user=JONAS) is None
    assert (await office.view()).phase is Phase.PROGRESSING


async def test_an_approval_of_what_was_planned_before_is_refused_and_somebody_stands_by_the_plan(
    office: Office, tmp_path: Path
) -> None:
    await office.proposed()
    spec_of(tmp_path).write_text(spec_of(tmp_path).read_text() + "\nTwo pages now.\n")
    assert "The spec changed after this was planned" in (await office.press("approve", user=JONAS) or "")
    assert (await office.view()).phase is Phase.PROPOSED
    assert await office.press("keep_plan", user=SAM) is None
    assert f"<@{SAM}> said that the plan stands." in readable(office.card())
    assert office.buttons() == ["approve", "reject", "edit", "cancel"]
    assert await office.press("approve", user=JONAS) is None
    assert (await office.view()).phase is Phase.PROGRESSING


async def test_once_it_runs_the_card_has_no_button_for_it_and_says_who_decides(office: Office, tmp_path: Path) -> None:
    await office.proposed()
    assert await office.press("approve", user=JONAS) is None
    spec_of(tmp_path).write_text(spec_of(tmp_path).read_text() + "\nTwo pages now.\n")
    await looked(office)
    card = readable(office.card())
    assert "⚠ *The spec is not what this was planned from.* The spec changed after this was planned (from" in card
    assert "Each further step waits for those who approve it" in card
    assert office.buttons() == ["promote", "pause", "edit", "roll_back"]


async def test_a_document_of_no_source_is_refused_by_name(office: Office) -> None:
    said = await office.rollout(f"plan {FLAG} https://169.254.169.254/latest/meta-data", user=MIRA)
    await office.settle()
    assert "belongs to none of the sources in specs.sources" in said + "".join(office.private(MIRA, RELEASES))
    assert office.cards() == []

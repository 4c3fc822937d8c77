"""A chart comes onto the card over the real protocol, drawn by a real process; the card waits for none of it."""

from datetime import timedelta
from typing import Any

from bot.picturing import Pictures
from tests.acceptance.slack.office import BAD, Office
from tools.rollouts.phases import Phase


def images(office: Office) -> list[dict[str, Any]]:
    """The pictures on the card, without the ids that Slack gives blocks."""
    blocks = [block for block in office.card().blocks if block["type"] == "image"]
    return [{name: value for name, value in block.items() if name != "block_id"} for block in blocks]


async def test_the_card_shows_how_the_gate_went_and_after_a_rollback_how_harm_was_found(office: Office) -> None:
    pictures, workspace = Pictures(office.services, office.services.clients), office.running.workspace
    await office.started()
    await office.live(3)
    assert await pictures.turn() == 1
    [file] = workspace.files.values()
    file.ready_at = workspace.clock.now() + timedelta(hours=1)
    office.clock.advance(2)
    await pictures.turn()
    await office.settle()
    assert images(office) == [], "Slack still looks through it"
    assert (await office.live(1)).phase is Phase.PROGRESSING
    assert images(office) == []
    file.ready_at = workspace.clock.now()
    office.clock.advance(60)
    await pictures.turn()
    await office.settle()
    [image] = images(office)
    assert image["slack_file"] == {"id": file.id}
    assert image["alt_text"].startswith("checkout-errors of new-checkout in production over ")
    assert (file.media_type, file.title) == ("image/png", "new-checkout in production")
    assert all(message.files == [] for message in office.messages()), "it was posted nowhere else"

    taken = set(workspace.files)
    view = await office.live(6, rate=BAD)
    assert view.phase is Phase.ROLLED_BACK
    [image] = images(office)
    assert image["slack_file"]["id"] in taken, "a picture that there was stays meanwhile"
    assert await pictures.turn() == 1
    newest = list(workspace.files.values())[-1]
    newest.ready_at = workspace.clock.now()
    office.clock.advance(2)
    await pictures.turn()
    await office.settle()
    [last] = images(office)
    assert last["slack_file"] == {"id": newest.id}
    assert "Harm was proven" in last["alt_text"]
    await pictures.turn()
    assert [one.id for one in workspace.files.values() if not one.deleted] == [newest.id]

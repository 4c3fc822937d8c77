"""Guests, and people of another organisation: they read everything and change nothing, whatever way in they take."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.workspace import Person, running_workspace
from bot.workspace.settings import DEFAULT_PEOPLE
from tests.acceptance.slack.office import FLAG, MIRA, RELEASES, SAM, Office, listening, open_office, until
from tools.rollouts.phases import Phase

GUEST, MANY, STRANGER = "UGUEST001", "UGUEST002", "USTRANGE1"
VISITORS = (
    Person(GUEST, "gus", "Gus of one channel", "gus@agency.example", guest_of="one"),
    Person(MANY, "gil", "Gil of many channels", "gil@agency.example", guest_of="many"),
    Person(STRANGER, "sue", "Sue of elsewhere", "", team_id="TELSEWHER"),
)
SAYS = {
    GUEST: "Guests can look at everything here and change nothing",
    MANY: "Guests can look at everything here and change nothing",
    STRANGER: "People of another organisation can look and change nothing",
}


@pytest.fixture
async def office(tmp_path: Path, blank: Path) -> AsyncIterator[Office]:
    async with (
        running_workspace(people=(*DEFAULT_PEOPLE, *VISITORS)) as running,
        open_office(tmp_path, running, blank) as opened,
    ):
        yield opened


async def test_guests_and_strangers_read_and_change_nothing(office: Office) -> None:
    await office.started()
    for person, says in SAYS.items():
        assert "progressing" in (await office.rollout(f"status {FLAG}", user=person)).lower()
        for command in (f"plan {FLAG}", f"pause {FLAG}", f"rollback {FLAG}", f"kill {FLAG}"):
            assert says in await office.rollout(command, user=person)
        assert says in (await office.press("roll_back", user=person) or "")
        await office.press("pause", user=person)
        before = len(office.private(person))
        assert (await office.submit(office.dialog(person), "why not", user=person)).ok
        assert says in office.private(person)[before]
    # What is plainly ordered in words goes through the same door.
    office.running.people.say(RELEASES, "gus", "roll it back", thread_ts=office.card().ts)
    await until(lambda: any(SAYS[GUEST] in str(one.blocks) + one.text for one in office.messages()), 15)
    await office.settle()
    view = await office.view()
    assert (view.phase, (await office.flag()).exposure.percent) == (Phase.PROGRESSING, 1)
    assert not {event.actor for event in await office.events()} & set(SAYS)
    asked = office.running.workspace.call_counts
    assert asked["auth.test"] <= 2, "whose token it is does not change"

    assert "back at 0 %" in await office.rollout(f"rollback {FLAG}", user=SAM)
    assert (await office.flag()).exposure.percent == 0


async def test_guests_and_strangers_drop_no_plan(office: Office) -> None:
    await office.proposed()
    for person, says in SAYS.items():
        assert says in await office.rollout(f"cancel {FLAG}", user=person)
        assert says in (await office.press("cancel", user=person) or "")
    assert (await office.view()).phase is Phase.PROPOSED


async def test_while_slack_does_not_say_who_it_is_exposure_only_falls(office: Office) -> None:
    await office.started()
    office.clock.advance(120)
    office.running.workspace.faults.limit("users.info", seconds=3600)
    assert "you can pause, lower and roll back" in await office.rollout(f"promote {FLAG}", user=MIRA)
    assert await office.press("pause", user=SAM) is None
    assert (await office.submit(office.dialog(SAM), "lunch", user=SAM)).ok
    assert (await office.view()).phase is Phase.PAUSED
    assert "you can pause, lower and roll back" in (await office.press("resume", user=SAM) or "")
    assert await office.press("roll_back", user=SAM) is None
    await until(lambda: not listening())
    assert (await office.view()).phase is Phase.ROLLED_BACK

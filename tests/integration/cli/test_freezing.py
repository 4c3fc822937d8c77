"""Freezes on the command line."""

from pathlib import Path

import pytest

from tests.integration.cli.conftest import Sluice


def test_a_freeze_is_made_shown_and_lifted(shop: Path, sluice: Sluice) -> None:
    assert sluice("unfreeze").out == "Nothing is frozen.\n"
    made = sluice("freeze", "--for", "2d", "--reason", "Sale", "--flag", "new-checkout")
    assert made.status == 0
    assert made.out.startswith("Nothing goes up now: new-checkout in production is frozen until ")
    freeze_id = made.out.strip().rstrip("`.").split()[-1]
    shown = sluice("unfreeze").out
    assert freeze_id in shown
    assert "Sale" in shown
    lifted = sluice("unfreeze", freeze_id)
    assert (lifted.status, lifted.out) == (0, "The freeze of new-checkout in production is lifted.\n")
    again = sluice("unfreeze", freeze_id)
    assert (again.status, again.err) == (1, "sluice: That freeze is over already.\n")
    exported = sluice("audit", "export").out
    assert "freeze.made" in exported
    assert "freeze.lifted" in exported


def test_what_is_no_length_of_time_or_no_freeze_is_one_line(shop: Path, sluice: Sluice) -> None:
    ran = sluice("freeze", "--for", "soon")
    assert (ran.status, ran.err) == (2, "sluice: 'soon' is no length of time: write 90m, 12h or 2d.\n")
    ran = sluice("unfreeze", "0" * 32)
    assert ran.status == 1
    assert "That freeze does not exist" in ran.err


def test_flags_with_a_tag_are_frozen_from_a_moment_on(shop: Path, sluice: Sluice) -> None:
    made = sluice("freeze", "--tag", "#payments", "--from", "2098-12-24T18:00+01:00", "--for", "2d", "--reason", "Sale")
    assert (made.status, made.err) == (0, "")
    assert made.out.startswith(
        "Nothing goes up from 2098-12-24 17:00:00Z on: flags tagged payments in production are frozen until 26 Dec "
    )
    assert "flags tagged payments in production  2098-12-24 17:00:00Z  2098-12-26 17:00:00Z" in sluice("unfreeze").out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--tag", "payments", "--flag", "new-checkout"), "Name a flag or a tag, not both."),
        (("--tag", "pay ments"), "That can't be a tag: letters, digits and . _ : / - only."),
        (("--from", "2020-01-01T00:00Z", "--for", "2d"), "Choose a time that is still to come."),
        (("--for", "99999999d"), "It would end after the year 9999: choose a shorter time, or none to freeze until"),
        (("--from", "9999-12-31T23:00Z", "--for", "2d"), "It would end after the year 9999"),
        (("--for", "99999999999d"), "'99999999999d' is no length of time: write 90m, 12h or 2d."),
        (("--from", "2098-12-24T18:00"), "'2098-12-24T18:00' is no moment with its zone: write 2026-12-24T17:00Z or"),
        (("--from", "Christmas"), "'Christmas' is no moment with its zone"),
    ],
)
def test_the_same_is_refused_as_in_the_dialog(
    shop: Path, sluice: Sluice, arguments: tuple[str, ...], says: str
) -> None:
    ran = sluice("freeze", *arguments)
    assert ran.status == 2
    assert ran.err.startswith(f"sluice: {says}")
    assert sluice("unfreeze").out == "Nothing is frozen.\n"

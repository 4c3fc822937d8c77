"""Freezes on the command line."""

from pathlib import Path

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

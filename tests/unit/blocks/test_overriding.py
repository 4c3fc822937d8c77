"""Freezes and acceptances in words, and their dialogs, compared as they are rendered."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.blocks import accepting, freezing
from bot.blocks.card import allowed_buttons, card
from bot.blocks.dialogs import REFUSAL, subject_of
from bot.blocks.freezing import Filled, freeze_dialog, freezes_blocks, notice, refusal
from bot.workspace.blocks import check_message_blocks, check_view
from tests.unit.blocks.examples import (
    CHECK,
    ERRORS,
    JONAS,
    NOW,
    OPEN,
    PAUSED,
    PROGRESSING,
    ROLLED_BACK,
    plain_blocks,
    read,
)
from tests.unit.blocks.views import freezes, names, sentences, verdicts
from tools.gates import Harm
from tools.rollouts.acceptances import Acceptable, AcceptanceView, Finding
from tools.rollouts.freezes import FreezeView
from tools.rollouts.views import CheckView, RolloutView

END = datetime(2026, 3, 6, 17, tzinfo=UTC)
TOLD = f"<!date^{int(END.timestamp())}^{{date_short_pretty}} at {{time}}|2026-03-06 17:00 UTC>"
SALE = FreezeView(
    id="e" * 32, reason="The <sale>.", by=JONAS, made_at=NOW, start=NOW, end=END, environments=("production",)
)
DECLARED = FreezeView(id=None, reason="year end", by=None, made_at=None, start=END, end=None)
ACCEPTED = AcceptanceView("b" * 32, "errors", END, "Known & counted twice", JONAS, NOW)
HARMFUL = replace(OPEN, harm=Harm.SUSPECTED, harm_e=31.0)
TOKEN = re.compile(r"<(?!@[UW][A-Z0-9]+>|!date\^-?\d+\^[^|<>]+\|[^|<>]+>)[^>]*>")
slow = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


def showing(verdict: object, view: RolloutView = PROGRESSING) -> RolloutView:
    """A rollout whose newest check saw that."""
    rails = ((ERRORS, verdict, NOW), *CHECK.guardrails[1:])
    return replace(view, check=CheckView("c" * 32, NOW, OPEN, rails))  # type: ignore[arg-type]


def test_a_card_says_what_froze_it_and_until_when() -> None:
    shown = read(card(replace(PROGRESSING, frozen=SALE)))
    assert f"❄ *Frozen until {TOLD}*, by <@{JONAS}>: The &lt;sale&gt;\n" in shown
    assert "rolling back, pausing and lowering work" in shown
    assert "Frozen" not in read(card(replace(ROLLED_BACK, frozen=SALE)))


def test_a_freeze_without_an_end_and_one_of_the_settings() -> None:
    assert "*Frozen until someone lifts it*, by sluice.toml: year end" in notice(DECLARED)
    said = refusal(SALE)
    assert said.startswith(f"Nothing goes up now: frozen until {TOLD}, by <@{JONAS}>: The &lt;sale&gt;. Lowering")


def test_only_freezes_of_people_have_a_button() -> None:
    title, mine, theirs = plain_blocks(freezes_blocks([SALE, DECLARED], NOW))
    assert title["text"]["text"] == "*❄ Freezes*"
    assert mine["accessory"]["value"] == SALE.id
    assert mine["text"]["text"].startswith(f"*everything in production*: until {TOLD}, by <@{JONAS}>")
    assert "accessory" not in theirs
    assert theirs["text"]["text"].startswith("*everything in every environment*: from ")
    assert "Nothing is frozen" in read(freezes_blocks([], NOW))


def test_a_guardrail_says_who_accepted_what_is_found_of_it() -> None:
    shown = read(card(replace(showing(HARMFUL), acceptances=(ACCEPTED,))))
    assert f"⚑ accepted until {TOLD} by <@{JONAS}>: Known &amp; counted twice" in shown
    assert "evidence of harm 31, accepted" in shown
    assert "rolls back\n" not in shown


@pytest.mark.parametrize(
    ("view", "offered"),
    [
        (PROGRESSING, []),
        (showing(HARMFUL), ["rollout.accept"]),
        (replace(showing(HARMFUL), acceptances=(ACCEPTED,)), ["rollout.withdraw_acceptance.0"]),
        (
            replace(showing(HARMFUL), acceptances=(ACCEPTED, replace(ACCEPTED, id="d" * 32, metric="conversion"))),
            ["rollout.withdraw_acceptance.0", "rollout.withdraw_acceptance.1"],
        ),
        (replace(PAUSED, limit_from=None), []),
        (replace(PAUSED, limit_from=NOW - timedelta(days=1)), ["rollout.accept"]),
    ],
)
def test_what_is_in_the_way_can_be_accepted_and_what_is_accepted_taken_back(
    view: RolloutView, offered: list[str]
) -> None:
    shown = [button.to_dict()["action_id"] for button in allowed_buttons(view)]
    assert [one for one in shown if one.startswith((accepting.ACCEPT, accepting.WITHDRAW))] == offered
    assert shown[-1] == "rollout.roll_back"
    assert "UTC" not in str([button.to_dict().get("confirm") for button in allowed_buttons(view)])


def test_the_dialog_says_from_where_on_it_rolls_back_all_the_same() -> None:
    able = Acceptable((Finding("errors", HARMFUL, 4.0), Finding("split", OPEN, None)), NOW + timedelta(days=7))
    view = accepting.accept_dialog(PAUSED, able, at=NOW, channel="C1").to_dict()
    check_view(view, {})
    assert subject_of(view["private_metadata"]) == (PAUSED.id, "C1")
    assert "errors from 4 × control" in str(view)
    assert "stays so until someone resumes it" in str(view)
    options = [one["text"]["text"] for one in view["blocks"][1]["element"]["options"]]
    assert options == ["errors: harm suspected", "split: not proven yet"]


@slow
@given(st.lists(freezes, max_size=6), sentences)
def test_a_list_of_freezes_is_always_accepted(some: list[FreezeView], typed: str) -> None:
    blocks = plain_blocks(freezes_blocks(some, NOW))
    check_message_blocks(blocks, {})
    for freeze in some:
        assert not TOKEN.search(notice(freeze) + refusal(freeze))
    view = freeze_dialog(Filled(typed, typed[:200]), ["production"], origin=None).to_dict()
    check_view(view, {})
    assert view["callback_id"] == freezing.FREEZE


@slow
@given(st.lists(st.builds(Finding, names, verdicts, st.one_of(st.none(), st.floats(1, 100))), min_size=1, max_size=12))
def test_what_could_be_accepted_always_fits_the_dialog(found: list[Finding]) -> None:
    able = Acceptable(tuple({one.metric: one for one in found}.values()), NOW + timedelta(days=7))
    view = accepting.accept_dialog(PROGRESSING, able, at=NOW, channel=None).to_dict()
    check_view(view, {})
    assert (view["callback_id"] == REFUSAL) is all(len(one.metric) > 150 for one in found)
    check_view(accepting.loading_dialog(None).to_dict(), {})

"""The Home tab: what waits, what is rolling out, and how to begin."""

from dataclasses import replace

import pytest

from bot.blocks.home import MOST_SHOWN, home_view
from bot.workspace.blocks import check_view
from tests.unit.blocks.examples import NOW, PROGRESSING, PROPOSED, WAITING, question, read
from tools.rollouts.approvals import Purpose
from tools.rollouts.views import RolloutView

LINK = "https://acme.slack.com/archives/C1/p1"


def shown(*views: RolloutView, link: str | None = None) -> str:
    home = home_view(views, {view.id: link for view in views}, at=NOW)
    check_view(home.to_dict(), {})
    return read(home.blocks or [])


def test_a_newcomer_reads_what_to_try() -> None:
    text = shown()
    assert "Nothing is rolling out. Start with `/rollout plan FLAG`." in text
    assert "Nobody is asked for anything." in text
    assert text.count("• ") == 3
    assert "As of <!date^" in text


def test_an_open_rollout_has_its_phase_and_exposure() -> None:
    assert "▶ *checkout-v2* in production · progressing, stage 2 of 4 · 10 %" in shown(PROGRESSING)
    assert "Open its card" not in shown(PROGRESSING)
    assert f"10 % <{LINK}|Open its card>" in shown(PROGRESSING, link=LINK)


@pytest.mark.parametrize(
    ("view", "asked"),
    [
        (PROPOSED, "start at 1 %? *0 of 2 approved* · asked by <@UMIRA0001> · expires <!date^"),
        (WAITING, "go on to 50 %? *1 of 2 approved* · asked by <@UMIRA0001> · expires <!date^"),
        (replace(WAITING, approval=question(Purpose.PROMOTE, 4)), "finish? *0 of 2 approved*"),
    ],
)
def test_a_question_to_people_stands_first(view: RolloutView, asked: str) -> None:
    text = shown(view, link=LINK)
    assert f"✋ *checkout-v2* in production: {asked}" in text
    assert text.index(asked) < text.index("*Rolling out*")
    assert text.count(LINK) == 2


def test_more_than_fit_are_counted() -> None:
    text = shown(*[PROGRESSING] * (MOST_SHOWN + 7))
    assert text.count("▶ *checkout-v2*") == MOST_SHOWN
    assert "… and 7 more." in text

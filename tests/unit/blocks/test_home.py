"""The Home tab: what waits for the person, what is rolling out, what was decided, how everything is, how to begin."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot import texts
from bot.blocks.home import MOST_ROLLOUTS, MOST_WAITING, Home, home_view
from bot.health import Finding, Part
from bot.homes import digest
from bot.workspace.blocks import check_view
from tests.unit.blocks.examples import (
    APPROVAL,
    JONAS,
    MIRA,
    NOW,
    PAUSED,
    PROGRESSING,
    PROPOSED,
    ROLLING_BACK,
    WAITING,
    event,
    question,
    read,
)
from tests.unit.blocks.homes import WELL, glance, home
from tools.rollouts.approvals import Purpose
from tools.rollouts.events import Happening
from tools.rollouts.freezes import FreezeView
from tools.rollouts.staleness import SpecState, SpecView
from tools.rollouts.views import RolloutView

SPEC = SpecView(SpecState.CHANGED, "specs/checkout-v2.md", "The spec changed.", NOW, NOW)
LINK = "https://acme.slack.com/archives/C1/p1"
FREEZE = FreezeView(
    id="e" * 32, reason="Black Friday", by=MIRA, made_at=NOW, start=NOW, end=NOW + timedelta(days=1),
    environments=("production",),
)  # fmt: skip


def shown(seen: Home) -> str:
    view = home_view(seen)
    check_view(view.to_dict(), {})
    return read(view.blocks or [])


def buttons(seen: Home) -> list[dict[str, Any]]:
    rows = [block["elements"] for block in home_view(seen).to_dict()["blocks"] if block["type"] == "actions"]
    return [button for row in rows for button in row]


def test_what_stands_still_waits_for_who_can_end_it_with_the_way_out_and_the_link() -> None:
    stale = replace(PROPOSED, id="1" * 32, approval=None, spec=SPEC)
    blind = replace(PROGRESSING, id="2" * 32, blind_since=NOW)
    seen = home(PAUSED, stale, blind, link=LINK, stuck=(PAUSED, stale, blind))
    text = shown(seen)
    assert "✋ *3 wait for you*" in text
    assert "is paused\n>errors: harm suspected\n*What ends it:* Resume, or roll back." in text
    assert "can't be started\n>The spec changed.\n*What ends it:* on its card, plan anew" in text
    assert "is blind since" in text
    assert "Nothing waits for you" not in text
    assert texts.HOME_NOTHING_WAITS not in text
    links = [one["accessory"]["url"] for one in home_view(seen).to_dict()["blocks"] if "accessory" in one]
    assert links.count(LINK) == 6, "where they wait, and where they are listed"


def test_more_than_there_is_room_for_is_counted() -> None:
    many = [replace(PAUSED, id=f"{number:032x}") for number in range(MOST_WAITING + 3)]
    text = shown(home(*many, stuck=many))
    assert "… and 3 more that wait for you; they follow here as these are settled." in text


def test_a_newcomer_reads_what_it_can_do_and_three_things_to_try() -> None:
    text = shown(home(newcomer=True))
    assert text.count("• ") == 3
    assert all(f"*{number}.*" in text for number in (1, 2, 3))
    assert "*4.*" not in text
    assert "nothing is rolling out" in text
    assert "Open rollouts" not in text
    assert "What I can do" not in shown(home())
    assert "Nothing is rolling out." in shown(home())


def test_where_much_goes_on_a_newcomer_sees_that_first() -> None:
    text = shown(home(PROGRESSING, newcomer=True))
    assert text.index("*Open rollouts*") < text.index("What I can do")


def test_an_open_rollout_has_its_phase_its_bar_and_the_way_to_its_card() -> None:
    text = shown(home(PROGRESSING, link=LINK))
    assert "▶ *checkout-v2* in production · progressing, stage 2 of 4" in text
    assert "▰▱▱▱▱▱▱▱▱▱▱▱  *10 %*" in text
    assert LINK in json.dumps(home_view(home(PROGRESSING, link=LINK)).to_dict())
    assert "See card" not in shown(home(PROGRESSING))


@pytest.mark.parametrize(
    ("view", "why"), [(PAUSED, "errors: harm suspected"), (ROLLING_BACK, "errors: proven harmful")]
)
def test_what_stands_still_or_goes_back_says_why(view: RolloutView, why: str) -> None:
    assert why in shown(home(view))


@pytest.mark.parametrize(
    ("view", "asked"),
    [
        (PROPOSED, "start at 1 %?\n*0 of 2 approved* · asked by <@UMIRA0001> · expires <!date^"),
        (WAITING, "go on to 50 %?\n*1 of 2 approved* · asked by <@UMIRA0001> · expires <!date^"),
        (replace(WAITING, approval=question(Purpose.PROMOTE, 4)), "finish?\n*0 of 2 approved*"),
    ],
)
def test_a_question_for_me_stands_first_with_its_buttons(view: RolloutView, asked: str) -> None:
    seen = home(view, link=LINK)
    text = shown(seen)
    assert f"✋ *checkout-v2* in production: {asked}" in text
    assert text.index(asked) < text.index("*Open rollouts*")
    assert "✋ *1 waits for you*" in text
    values = {button["action_id"]: button.get("value", button.get("url")) for button in buttons(seen)}
    assert (values["rollout.approve"], values["rollout.reject"], values["home.see"]) == (APPROVAL, APPROVAL, LINK)


def test_each_button_says_what_it_is_about_to_who_only_hears_it() -> None:
    said = [button["accessibility_label"] for button in buttons(home(PROPOSED, link=LINK))[3:]]
    assert said == [
        "Approve checkout-v2 in production",
        "Reject … checkout-v2 in production",
        "See card checkout-v2 in production",
    ]


def test_a_frozen_rollout_says_so() -> None:
    text = shown(home(replace(PROGRESSING, frozen=FREEZE)))
    assert "❄ Frozen until <!date^" in text
    assert "Black Friday" in text


def test_nobody_is_offered_to_say_yes_in_a_freeze() -> None:
    said = [button["accessibility_label"] for button in buttons(home(replace(PROPOSED, frozen=FREEZE), link=LINK))[3:]]
    assert said == ["Reject … checkout-v2 in production", "See card checkout-v2 in production"]


def test_what_others_must_decide_has_no_buttons() -> None:
    seen = home(PROPOSED, asked=(), waiting=0)
    text = shown(seen)
    assert "Nothing waits for you" in text
    assert "1 question waits for somebody else." in text
    assert not [button for button in buttons(seen) if button["action_id"].startswith("rollout.approve")]


def test_a_group_that_could_not_be_read_is_said() -> None:
    assert "something" not in shown(home(PROGRESSING))
    seen = home(PROGRESSING, glance=glance([PROGRESSING], sure=False))
    assert "Slack did not say who is in a user group" in shown(seen)


def test_freezes_and_decisions_are_told() -> None:
    decided = (event(Happening.PROMOTED, JONAS, flag="checkout-v2", environment="production", before="1 %",
                     after="10 %", why="proven safe"),)  # fmt: skip
    text = shown(home(PROGRESSING, freezes=(FREEZE,), glance=glance([PROGRESSING], decided=decided)))
    assert "❄ 1 freeze" in text
    assert "Black Friday" in text
    assert f"*checkout-v2* in production: ▶ <@{JONAS}> promoted it from 1 % to 10 %" in text


def test_health_says_what_is_well_in_words() -> None:
    text = shown(home())
    assert "✔ Flag service (embedded) answers · <!date^" in text
    assert "✖ *Metrics of shop does not answer, so its gates are blind*" in text
    assert "○ No model is configured" in text
    unknown = home(health=(Finding(Part.CLOCK, "", None, None),))
    assert "○ The clock: nothing known yet" in shown(unknown)


def test_more_than_fit_are_counted() -> None:
    text = shown(home(*[PROGRESSING] * MOST_ROLLOUTS, glance=glance([PROGRESSING] * (MOST_ROLLOUTS + 7))))
    assert text.count("▶ *checkout-v2*") == MOST_ROLLOUTS
    assert f"… and 7 more: {MOST_ROLLOUTS + 7} progressing in all." in text


def test_five_hundred_rollouts_stay_within_slacks_limits() -> None:
    many = [WAITING] * 500
    decided = tuple(event(Happening.PAUSED, reason="x" * 5000, flag="f" * 200, environment="e") for _ in range(8))
    seen = home(*many, link=LINK, glance=glance(many, decided=decided), freezes=(FREEZE,) * 50)
    view = home_view(seen).to_dict()
    check_view(view, {})
    assert len(view["blocks"]) <= 60
    assert len(json.dumps(view)) < 60_000
    assert f"… and {500 - MOST_WAITING} more that wait for you" in shown(seen)


def test_only_what_changes_is_published_again() -> None:
    before = digest(home_view(home(PROGRESSING)))
    later = NOW + timedelta(minutes=5)
    moved = tuple(replace(one, at=later) if one.at else one for one in WELL)
    assert digest(home_view(home(PROGRESSING, at=later, health=moved))) == before
    ill = (replace(WELL[0], well=False), *WELL[1:])
    assert digest(home_view(home(PROGRESSING, health=ill))) != before
    assert digest(home_view(home(PAUSED))) != before

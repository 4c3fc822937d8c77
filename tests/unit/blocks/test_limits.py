"""Whatever a rollout is like, what people are shown is something that Slack takes, and outsiders can't ping anybody."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from bot import texts
from bot.blocks import dialogs
from bot.blocks.answers import history_blocks, list_blocks, status_blocks, why_blocks
from bot.blocks.card import card, summary
from bot.blocks.help import help_blocks
from bot.blocks.home import home_view
from bot.blocks.lines import line
from bot.blocks.plan import plan_blocks
from bot.workspace.blocks import check_message_blocks, check_view
from tests.unit.blocks.examples import plain_blocks, read
from tests.unit.blocks.homes import home
from tests.unit.blocks.views import events, facts, people, plans, sentences, views
from tools.plans.model import Plan
from tools.records.log import Event
from tools.rollouts.events import Happening
from tools.rollouts.views import RolloutView

TOKEN = re.compile(r"<[^>]*>?")
OURS = re.compile(r"<@[UW][A-Z0-9]+>|<!date\^-?\d+\^[^|<>]+\|[^|<>]+>|<https://[^|<>]+\|Open its card>")
slow = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def accepted(blocks: list[Block]) -> None:
    check_message_blocks(plain_blocks(blocks), {})
    strangers = [token for token in TOKEN.findall(_mrkdwn(blocks)) if not OURS.fullmatch(token)]
    assert strangers == []


def _mrkdwn(blocks: list[Block]) -> str:
    return _mrkdwn_of(plain_blocks(blocks))


def _mrkdwn_of(plain: list[dict[str, object]]) -> str:
    def texts_of(value: object) -> list[str]:
        if isinstance(value, list):
            return [text for item in value for text in texts_of(item)]
        if isinstance(value, dict):
            own = [str(value["text"])] if value.get("type") == "mrkdwn" else []
            return own + [text for item in value.values() for text in texts_of(item)]
        return []

    return "\n".join(texts_of(plain))


@slow
@given(views(), st.lists(events, max_size=12))
def test_a_card_is_always_accepted(view: RolloutView, decisions: list[Event]) -> None:
    accepted(card(view, decisions))
    assert 0 < len(summary(view)) <= 500
    assert all(OURS.fullmatch(token) for token in TOKEN.findall(summary(view)))


@slow
@given(views(), st.lists(events, max_size=30))
def test_answers_are_always_accepted(view: RolloutView, decisions: list[Event]) -> None:
    accepted(status_blocks(view, decisions, "https://acme.slack.com/archives/C1/p1"))
    accepted(history_blocks(view, decisions))
    accepted(why_blocks(view))


@slow
@given(st.lists(views(), max_size=3), st.integers(1, 30))
def test_a_list_is_always_accepted(some: list[RolloutView], times: int) -> None:
    accepted(list_blocks(some * times))


@slow
@given(st.lists(views(), max_size=3), st.integers(1, 30), st.booleans())
def test_a_home_tab_is_always_accepted(some: list[RolloutView], times: int, linked: bool) -> None:
    link = "https://acme.slack.com/archives/C1/p1" if linked else None
    shown = home_view(home(*some * times, link=link)).to_dict()
    check_view(shown, {})
    assert [token for token in TOKEN.findall(_mrkdwn_of(shown["blocks"])) if not OURS.fullmatch(token)] == []


@slow
@given(plans)
def test_a_plan_is_always_accepted(plan: Plan) -> None:
    accepted(plan_blocks(plan))


@given(sentences, st.one_of(st.none(), st.from_regex(r"C[A-Z0-9]{8}", fullmatch=True)))
def test_a_dialog_is_always_accepted(about: str, channel: str | None) -> None:
    for dialog in (dialogs.reject_dialog(about[:100], channel), dialogs.pause_dialog(about[:100], channel)):
        view = dialog.to_dict()
        check_view(view, {})
        assert dialogs.subject_of(view["private_metadata"]) == (about[:100], channel)


@pytest.mark.parametrize("what", Happening)
@settings(max_examples=20, deadline=None)
@given(people, facts)
def test_every_happening_has_a_line_whatever_its_facts(what: Happening, actor: str, known: dict[str, object]) -> None:
    told = line(what, actor, known)
    assert told
    assert "\n" not in told
    assert "{" not in told.replace("{date", "").replace("{time", "") or any(
        "{" in str(value) for value in (actor, *known.values())
    )
    assert all(OURS.fullmatch(token) for token in TOKEN.findall(told))


def test_help_names_every_subcommand() -> None:
    accepted(help_blocks())
    shown = read(help_blocks())
    for subcommand in (
        "plan",
        "start",
        "status",
        "list",
        "promote",
        "pause",
        "resume",
        "rollback",
        "kill",
        "history",
        "why",
    ):
        assert f"/rollout {subcommand}" in shown
    assert set(texts.LINES) == set(Happening)

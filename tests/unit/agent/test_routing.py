"""What a small model may choose from: ruled out is what the words give no reason for, and never what they ask for."""

from datetime import UTC, datetime
from typing import Any

import pytest

from agent.briefing import Briefing
from agent.moves import Offer
from agent.routing import shortlist
from agent.toolkit.base import Effect
from agent.toolkit.registry import TOOLS
from agent.turns import Said, Turn

READS = {tool.name for tool in TOOLS if tool.effect is Effect.READ}
LOOKS = READS - {"estimate", "rollout_status"}
FLAGS = ("new-cart", "blue-banner", "cart.v2")


def offered(
    words: str,
    *,
    thread: str | None = "new-cart",
    phase: str = "progressing",
    rolling: tuple[str, ...] = ("new-cart",),
    earlier: tuple[str, ...] = (),
) -> dict[str, Offer]:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    turn = Turn(
        conversation_id="c",
        workspace="T",
        channel="C",
        person="UMIRA",
        messages=(Said(author="UMIRA", text=words, at=now, new=True),),
        environment="production",
        now=now,
        flag=thread,
        rollout_id="r" if thread else None,
        rollout_environment="production" if thread else None,
    )
    briefing = Briefing(
        thread=tuple({"from": "UMIRA", "said": text} for text in earlier),
        earlier_calls=(),
        rollout={"flag": thread, "phase": phase} if thread else None,
        flags=FLAGS,
        metrics=("page_errors", "conversion"),
        environments=("production",),
        rolling=rolling,
    )
    return {offer.name: offer for offer in shortlist(TOOLS, turn, briefing)}


def arguments(offer: Offer) -> dict[str, Any]:
    return dict(offer.schema["properties"])


@pytest.mark.parametrize(
    "words",
    [
        "how is it doing?",
        "why was it rolled back?",
        "what happens if we pause it?",
        "Hi, which stage is next?",
        "should we go to 50 %",
        "would it have passed with a margin of 3?",
        "is it okay to start?",
        "so, when does it go on",
        "thanks!",
        "hm",
    ],
)
def test_what_asks_for_nothing_offers_nothing_that_changes_anything(words: str) -> None:
    assert LOOKS <= set(offered(words)) <= READS


@pytest.mark.parametrize(
    ("words", "tool"),
    [
        ("start at 2 %", "revise_plan"),
        ("could we begin with 2 percent?", "revise_plan"),
        ("what about 2 % instead?", "revise_plan"),
        ("why not hold it two hours", "revise_plan"),
        ("only eu first", "revise_plan"),
        ("start it", "set_exposure"),
        ("go to 25 %", "set_exposure"),
        ("on to the next stage please", "set_exposure"),
        ("switch it off", "set_exposure"),
        ("would you roll it back", "roll_back"),
        ("revert this", "roll_back"),
        ("please hold on", "pause"),
        ("can you pause it?", "pause"),
        ("plan it anew", "propose_plan"),
        ("what if errors double?", "estimate"),
        ("how long does a proof take?", "estimate"),
    ],
)
def test_what_is_wished_is_offered(words: str, tool: str) -> None:
    assert tool in offered(words)


@pytest.mark.parametrize(
    "words", ["roll it back", "please use a margin of 1.5", "only eu first", "could we start at 2 %?"]
)
def test_an_instruction_is_not_answered_with_a_look(words: str) -> None:
    assert offered(words).keys().isdisjoint(READS)


@pytest.mark.parametrize(
    "words", ["start with a look at it", "keep me up to date: show the errors", "errors since the start"]
)
def test_looking_is_offered_to_whoever_may_want_it(words: str) -> None:
    assert offered(words).keys() >= LOOKS


def test_an_instruction_that_nothing_carries_out_leaves_looking() -> None:
    assert offered("use common sense").keys() >= LOOKS


def test_a_status_answers_neither_why_nor_how_long() -> None:
    assert "rollout_status" in offered("how is it?")
    for words in ("why is it waiting?", "how much longer?", "how long does it take?", "what if the margin were 3?"):
        assert "rollout_status" not in offered(words)


@pytest.mark.parametrize("words", ["", "roll it back", "what is running?", "start at 2 %"])
def test_without_any_flag_there_is_only_the_list(words: str) -> None:
    assert set(offered(words, thread=None)) == {"list_rollouts"}


def test_only_what_is_paused_can_be_resumed() -> None:
    assert "resume" not in offered("resume it")
    assert "resume" in offered("resume it", phase="paused")
    # Of a flag that the thread is not about nothing is known.
    assert "resume" in offered("resume blue-banner", rolling=("blue-banner",))


def test_only_a_plan_that_there_is_can_be_changed() -> None:
    assert "revise_plan" not in offered("start blue-banner at 2 %")
    assert "revise_plan" in offered("start blue-banner at 2 %", rolling=("blue-banner",))
    assert "revise_plan" not in offered("start at 2 %", thread=None, rolling=())


@pytest.mark.parametrize(
    ("words", "thread", "earlier", "flags"),
    [
        ("how is blue-banner?", "new-cart", (), ["blue-banner"]),
        ("compare new-cart and blue-banner", None, (), ["new-cart", "blue-banner"]),
        ("how is it?", "new-cart", (), ["new-cart"]),
        ("how is the banner doing?", "new-cart", (), ["blue-banner"]),
        ("how is the cart doing?", None, (), ["new-cart", "cart.v2"]),
        ("how is cart.v2 doing?", None, (), ["cart.v2"]),
        ("how is old-cart doing?", "new-cart", (), ["old-cart", "new-cart"]),
        ("how is old-cart doing?", None, (), ["old-cart"]),
        ("and how is it doing?", None, ("blue-banner looks odd",), ["blue-banner"]),
        ("page_errors of NEW-CART?", None, (), ["new-cart"]),
    ],
)
def test_the_flags_to_choose_from_are_those_that_may_be_meant(
    words: str, thread: str | None, earlier: tuple[str, ...], flags: list[str]
) -> None:
    offer = offered(words, thread=thread, earlier=earlier)["rollout_status"]
    assert arguments(offer)["flag"]["enum"] == flags


def test_another_flag_than_the_threads_has_to_be_named() -> None:
    assert offered("how is blue-banner?")["rollout_status"].schema["required"] == ["flag"]
    assert offered("show page_errors of blue-banner", thread=None)["query_metric"].schema["required"] == [
        "metric",
        "flag",
    ]
    assert offered("how is new-cart?")["rollout_status"].schema["required"] == []


def test_a_stage_that_is_named_has_to_be_meant() -> None:
    revision = offered("hold stage 2 for 90 minutes")["revise_plan"]
    assert revision.schema["required"] == ["hold_stage"]
    assert arguments(revision)["hold_stage"]["enum"] == [2]
    both = offered("hold stage 2 and stage 3 for 90 minutes")["revise_plan"]
    assert "enum" not in arguments(both)["hold_stage"]
    assert both.schema["required"] == []


def test_an_environment_is_offered_where_one_is_named() -> None:
    assert "environment" not in arguments(offered("status")["rollout_status"])
    assert arguments(offered("status in staging")["rollout_status"])["environment"]["enum"] == ["staging"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("hold two hours", {"hold_minutes"}),
        ("hold stage 2 for 90 minutes", {"hold_minutes", "hold_stage", "stages"}),
        ("use a margin of 1.5", {"margin"}),
        ("use a margin of 1.5 for conversion", {"margin", "metric"}),
        ("also guard conversion", {"metric", "add_metric"}),
        ("make it more careful", {"start_at", "stages", "drop_stages", "margin", "strategy"}),
    ],
)
def test_arguments_are_offered_where_the_words_give_a_reason_and_all_where_they_give_none(
    words: str, names: set[str]
) -> None:
    assert names <= set(arguments(offered(words)["revise_plan"])) - {"flag", "environment"}


def test_what_was_not_said_can_not_be_filled_in() -> None:
    assert set(arguments(offered("hold two hours")["revise_plan"])) == {"flag", "hold_minutes"}
    assert "percent" not in arguments(offered("go to the next stage")["set_exposure"])
    assert "percent" in arguments(offered("go to 25 %")["set_exposure"])
    assert "minutes" not in arguments(offered("show page_errors")["query_metric"])
    assert "margin" not in arguments(offered("why is it waiting?")["explain"])
    assert "margin" not in arguments(offered("what if the margin were 3?")["estimate"])
    assert "margin" in arguments(
        offered("what if the margin were 3?", rolling=(), thread=None, earlier=("new-cart",))["estimate"]
    )
    assert "regions" not in arguments(offered("limit it to the tenants acme and globex")["revise_plan"])
    assert "tenants" not in arguments(offered("only in europe")["revise_plan"])


def test_what_is_required_stays() -> None:
    query = offered("show me the numbers")["query_metric"]
    assert arguments(query)["metric"]["enum"] == ["page_errors", "conversion"]
    assert query.schema["required"] == ["metric"]
    assert arguments(offered("show me the errors")["query_metric"])["metric"]["enum"] == ["page_errors"]


@pytest.mark.parametrize(
    ("words", "minutes"),
    [
        ("hold two hours", [120]),
        ("hold it half an hour", [30]),
        ("keep it at least one day", [1440]),
        ("hold it 90min, then 2-hour steps", [90, 120]),
        ("hold it an hour and a half", [60]),
        ("hold it longer", None),
    ],
)
def test_durations_are_those_that_are_said(words: str, minutes: list[float] | None) -> None:
    assert arguments(offered(words)["revise_plan"])["hold_minutes"].get("enum") == minutes


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ("start at 2 %", [2]),
        ("start at 2.5% rather than 10%", [2.5, 10]),
        ("begin with two percent", [2]),
        ("start smaller", None),
    ],
)
def test_percentages_are_those_that_are_said(words: str, numbers: list[float] | None) -> None:
    assert arguments(offered(words)["revise_plan"])["start_at"].get("enum") == numbers


def test_percentages_in_lists_and_requests_are_those_that_are_said_too() -> None:
    assert arguments(offered("use 1, 10 and 100 %")["revise_plan"])["stages"]["items"]["enum"] == [1, 10, 100]
    assert arguments(offered("open it for everyone")["set_exposure"])["percent"]["enum"] == [100]
    assert arguments(offered("switch it off")["set_exposure"])["percent"]["enum"] == [0]


def test_every_stage_is_not_one_stage() -> None:
    assert "hold_stage" not in arguments(offered("hold every stage two hours")["revise_plan"])

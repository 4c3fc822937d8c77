"""An answer as a message: within Slack's limits whatever is in it, and with nothing said twice."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot import texts
from bot.blocks.conversation import Question, Rendered, Said, Task, rendered, rendered_so_far
from bot.blocks.mrkdwn import moment_of
from bot.workspace.blocks import check_message_blocks
from tools.clock import written
from tools.rollouts.confirmations import Action, ConfirmationView, Status

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
WORDS = st.text(max_size=200)


def question(action: Action = Action.ROLL_BACK, status: Status = Status.OPEN, **changes: object) -> Question:
    fields = {
        "id": "f" * 32,
        "action": action,
        "flag": "new-checkout",
        "environment": "production",
        "rollout_id": None,
        "percent": 5.0 if action is Action.LOWER else None,
        "reason": "because",
        "person": "U0MIRA",
        "run_id": "r" * 32,
        "status": status,
        "created_at": NOW,
        "expires_at": NOW,
    }
    return Question(ConfirmationView(**fields | changes), NOW)  # type: ignore[arg-type]


def types(whole: Rendered) -> list[str]:
    return [block.to_dict()["type"] for block in whole.blocks]


QUESTIONS = st.builds(
    question, st.sampled_from(Action), st.sampled_from(Status), flag=WORDS, environment=WORDS, person=WORDS
)


@given(
    WORDS, WORDS, st.sampled_from([1, 2, 300, 20_000]), st.sampled_from([0, 1, 30, 96]), st.lists(QUESTIONS, max_size=3)
)
@settings(max_examples=150)
def test_slack_takes_every_answer(text: str, fact: str, times: int, count: int, questions: list[Question]) -> None:
    tasks = [Task(str(number), fact, "complete") for number in range(count)]
    said = Said("r" * 32, f"{text}\n" * times, [fact * times, f"{text}\n" * count] * count, tasks, questions)
    whole = rendered(said)
    for blocks in (whole.blocks, whole.tail, whole.simple):
        check_message_blocks([block.to_dict() for block in blocks], {})
    assert len(whole.summary) <= 300
    assert len(whole.words) <= 3000
    assert "<!" not in whole.summary + whole.words


@given(st.lists(st.builds(Task, st.uuids().map(str), WORDS, st.just("in_progress")), max_size=96), WORDS)
@settings(max_examples=100)
def test_slack_takes_every_answer_that_is_being_written(tasks: list[Task], text: str) -> None:
    blocks, summary = rendered_so_far(tasks, text, text)
    check_message_blocks([block.to_dict() for block in blocks], {})
    assert summary


def test_what_rows_say_stands_below_what_the_model_says_and_not_twice() -> None:
    said = Said("run", "It serves 5 %.\nAll is well.", facts=["It serves 5 %.", "new-checkout is progressing.\nOn."])
    shown = str([block.to_dict() for block in rendered(said).blocks])
    assert shown.count("It serves 5 %.") == 1
    assert "• new-checkout is progressing.\\nOn." in shown


def test_facts_that_are_too_many_are_counted() -> None:
    shown = str(
        [block.to_dict() for block in rendered(Said("run", "Hi", facts=[f"fact {n} " * 9 for n in range(99)])).blocks]
    )
    assert "more lines" in shown


@pytest.mark.parametrize("action", list(Action))
def test_a_question_has_a_button_for_yes_and_one_for_no(action: Action) -> None:
    whole = rendered(Said("run", "Shall I?", questions=[question(action)]))
    assert types(whole) == ["markdown", "section", "actions", "context_actions"]
    yes, no = whole.blocks[2].to_dict()["elements"]
    assert yes["value"] == no["value"] == "f" * 32
    assert no["text"]["text"] == texts.CONFIRMATION_NO
    assert "{" not in yes["text"]["text"]


@pytest.mark.parametrize("status", [Status.CONFIRMED, Status.DISMISSED, Status.EXPIRED])
def test_an_answered_question_has_no_buttons_and_says_what_became_of_it(status: Status) -> None:
    whole = rendered(Said("run", "Shall I?", questions=[question(status=status)]))
    assert types(whole) == ["markdown", "section", "context_actions"]
    outcome = texts.CONFIRMATION_OUTCOMES[status].partition("{")[0].strip()
    assert outcome in str(whole.blocks[1].to_dict())


@pytest.mark.parametrize(
    "zone", ["Asia/Singapore", "Asia/Kathmandu", "America/Sao_Paulo", "Asia/Tokyo", "Europe/Berlin"]
)
def test_notifications_and_plain_words_hold_the_moment_itself(zone: str) -> None:
    ends = datetime(2026, 12, 24, 14, tzinfo=UTC)
    text = f"The freeze ends {written(ends)}.\n```\n{written(ends)}\n```"
    whole = rendered(Said("run", text), ZoneInfo(zone))
    assert f"The freeze ends {written(ends, zone=ZoneInfo(zone))}." in whole.markdown
    assert whole.summary.startswith(f"The freeze ends {moment_of(ends)}.")
    assert whole.words == f"The freeze ends {moment_of(ends)}.\n```\n{written(ends)}\n```"

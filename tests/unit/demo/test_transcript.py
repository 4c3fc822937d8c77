import io
from typing import Any

from bot.demo.slack import Button, Post, read_post
from bot.demo.transcript import WIDTH, Transcript

NAMES = {"USLUICE01": "sluice", "UJONAS001": "jonas", "C1": "releases"}


def _message(text: str = "", ts: str = "1.0", **more: Any) -> dict[str, Any]:
    return {"channel": "C1", "ts": ts, "user": "USLUICE01", "text": text, "ephemeral_to": None, **more}


def _card(phase: str, value: str, *labels: str) -> Post:
    elements = [
        {"type": "button", "text": {"type": "plain_text", "text": label}, "action_id": f"do.{label}"}
        for label in labels
    ]
    blocks = [
        {"type": "header", "block_id": "h", "text": {"type": "plain_text", "text": "new-checkout · production"}},
        {"type": "section", "block_id": "s", "text": {"type": "mrkdwn", "text": f"*{phase}*\n`express`: *10 %*"}},
        {"type": "section", "block_id": "f", "fields": [{"type": "mrkdwn", "text": value}]},
        {"type": "actions", "block_id": "a", "elements": elements},
    ]
    return read_post(_message("new-checkout", blocks=blocks), NAMES)


def _told(*posts: Post) -> list[str]:
    out = io.StringIO()
    transcript = Transcript(out)
    for post in posts:
        transcript.show([post])
    return out.getvalue().splitlines()


def test_a_card_is_read_as_people_see_it() -> None:
    post = _card("Waiting", "errors 8 %", "Approve", "Reject …")

    assert post.is_card
    assert post.user == "sluice"
    assert post.lines == ("new-checkout · production", "Waiting", "express: 10 %", "errors 8 %")
    assert post.button("Approve") == Button("Approve", "do.Approve", "a")
    assert post.button("Approve it") is None


def test_markup_becomes_plain_text() -> None:
    text = "<@UJONAS001> said *yes* &amp; `no` <https://x.example/a|there> <https://y.example> <!date^1^{time}|12:00>"
    assert read_post(_message(text), NAMES).text == "jonas said yes & no there https://y.example 12:00"


def test_tables_and_small_print_are_read_too() -> None:
    rows = [[{"type": "raw_text", "text": "Stage"}, {"type": "raw_text", "text": "Exposure"}]]
    small = [{"type": "mrkdwn", "text": "one"}, {"type": "mrkdwn", "text": "two"}]
    blocks = [{"type": "table", "block_id": "t", "rows": rows}, {"type": "context", "block_id": "c", "elements": small}]
    assert read_post(_message(blocks=blocks), NAMES).lines == ("Stage | Exposure", "one · two")


def test_a_message_is_told_once_and_again_when_it_was_edited() -> None:
    first, edited = read_post(_message("hello"), NAMES), read_post(_message("hello again"), NAMES)
    told = _told(first, first, edited)
    assert [line.partition(" s  ")[2] for line in told] == [
        "sluice in #releases: hello",
        "sluice in #releases: hello again",
    ]


def test_a_reply_is_told_as_one() -> None:
    assert _told(read_post(_message("later", ts="2.0", thread_ts="1.0"), NAMES))[0].endswith(
        "sluice in the thread: later"
    )


def test_a_card_is_told_again_when_its_phase_or_buttons_change_not_its_numbers() -> None:
    told = _told(
        _card("Progressing", "errors 8 %", "Pause …"),
        _card("Progressing", "errors 7 %", "Pause …"),
        _card("Waiting", "errors 7 %", "Approve"),
    )
    assert [line for line in told if "sluice's card" in line] == [told[0], told[6]]
    assert "[Approve]" in told[-1]


def test_long_lines_are_folded() -> None:
    told = _told(read_post(_message("word " * 60), NAMES))
    assert len(told) > 1
    assert all(len(line) <= WIDTH for line in told)

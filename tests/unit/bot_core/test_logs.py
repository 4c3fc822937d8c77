import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from bot.logs import HIDDEN, configure_logs, hide_secrets


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    configure_logs(stream)
    yield stream
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


SECRETS = [
    ("token xoxb-123-abc-DEF is bad", "123-abc"),
    ("xapp-1-A0-hunter2", "hunter2"),
    ("{'Authorization': 'Bearer hunter2'}", "hunter2"),
    ("Authorization: Basic hunter2==", "hunter2"),
    ("authorization=hunter2", "hunter2"),
    ("postgresql://sluice:hunter2@db/x", "hunter2"),
    ("wss://host/link?ticket=hunter2&app_id=1", "hunter2"),
    ("https://hooks.slack.com/commands/T1/2/hunter2", "hunter2"),
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_secrets_in_texts_are_hidden(text: str, secret: str) -> None:
    assert secret not in hide_secrets(text)
    assert HIDDEN in hide_secrets(text)


def test_values_with_telling_names_are_hidden_and_others_are_not() -> None:
    given = {"bot_token": "abc", "nested": [{"password": "abc"}], "input_tokens": 12, "flag": "secret-santa", "n": None}
    assert hide_secrets(given) == {
        "bot_token": HIDDEN,
        "nested": [{"password": HIDDEN}],
        "input_tokens": 12,
        "flag": "secret-santa",
        "n": None,
    }


def test_text_without_secrets_stays_as_it_is() -> None:
    text = "see https://example.com/a:b@c and mail@example.com at 12:30"
    assert hide_secrets(text) == text


def test_a_line_is_one_json_document(stream: io.StringIO) -> None:
    structlog.get_logger("somewhere").warning("rollout.skipped", flag="new-checkout", reason="xoxb-hunter2")
    line = json.loads(stream.getvalue())
    assert line["event"] == "rollout.skipped"
    assert line["flag"] == "new-checkout"
    assert line["level"] == "warning"
    assert line["reason"] == HIDDEN


def test_a_traceback_is_kept_without_its_secrets(stream: io.StringIO) -> None:
    try:
        raise RuntimeError("could not reach postgresql://sluice:hunter2@db/x")
    except RuntimeError:
        structlog.get_logger("somewhere").exception("it.failed", reference="abcd")
    line = json.loads(stream.getvalue())
    assert "RuntimeError" in line["exception"]
    assert "hunter2" not in stream.getvalue()


def test_other_peoples_lines_go_the_same_way(stream: io.StringIO) -> None:
    logging.getLogger("library").warning("calling with %s", "Bearer hunter2", extra={"api_key": "hunter2"})
    line = json.loads(stream.getvalue())
    assert line["event"] == f"calling with Bearer {HIDDEN}"
    assert line["logger"] == "library"
    assert "hunter2" not in stream.getvalue()


def test_chatty_libraries_are_quiet(stream: io.StringIO) -> None:
    logging.getLogger("alembic.runtime").info("setup plugin")
    assert stream.getvalue() == ""

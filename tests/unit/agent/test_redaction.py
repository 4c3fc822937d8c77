"""What looks like a secret goes no further."""

import pytest

from agent.redaction import HIDDEN, redacted, redacted_value


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("token xoxb-123456789-abcdefghij in it", "xoxb-123456789-abcdefghij"),
        ("xapp-1-A0-999-abcdef", "xapp-1-A0-999-abcdef"),
        ("use sk-proj-abcdefghijklmnop1234", "sk-proj-abcdefghijklmnop1234"),
        ("AKIAABCDEFGHIJKLMNOP", "AKIAABCDEFGHIJKLMNOP"),
        ("ghp_abcdefghijklmnopqrstuvwx", "ghp_abcdefghijklmnopqrstuvwx"),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl", "eyJhbGciOiJI"),
        ("postgresql://sluice:hunter22@db/x", "hunter22"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "MIIE"),
        ("password: correct-horse", "correct-horse"),
        ("The API_KEY is abcdef123456", "abcdef123456"),
        ("the admin password is swordfish1", "swordfish1"),
        ('"client_secret": "s3cr3t-value"', "s3cr3t-value"),
    ],
)
def test_a_secret_is_taken_out(text: str, secret: str) -> None:
    assert secret not in redacted(text)
    assert HIDDEN in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "Roll back new-checkout at 5 %.",
        "The token bucket holds 5.",
        "secret santa flag",
        "https://example.com/path?x=1",
        "sha256 0f3a9b",
        "[hidden]",
    ],
)
def test_what_is_none_stays(text: str) -> None:
    assert redacted(text) == text


def test_redacting_twice_changes_nothing() -> None:
    once = redacted("password: correct-horse")
    assert redacted(once) == once


def test_every_text_of_a_value_is_looked_at() -> None:
    value = {"a": ["xoxb-123456789-abcdefghij", 1], "b": {"c": None}}
    assert redacted_value(value) == {"a": [HIDDEN, 1], "b": {"c": None}}

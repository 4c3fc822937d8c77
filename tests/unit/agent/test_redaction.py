"""What looks like a secret goes no further."""

import time

import pytest

from agent.earlier import LONGEST_ANSWER, _line
from agent.redaction import HIDDEN, redacted, redacted_value
from agent.toolkit.box import LONGEST_SAID, as_finding, refused


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
        ("log in with password hunter2secret please", "hunter2secret"),
        ("use token `a1b2c3d4e5`", "a1b2c3d4e5"),
        ("passphrase: correct horse battery staple", "staple"),
        ('password="my secret pass"', "my secret pass"),
        ("the password is 'open sesame now'", "sesame"),
        (r"{\"db_password\": \"open sesame now\"}", "sesame"),
        ("PGPASSWORD=correcthorse psql", "correcthorse"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", "wJalrXUtnFEMI"),
        ("Authorization: Bearer opaque-token-value", "opaque-token-value"),
        ("curl -H 'Authorization: Basic dXNlcjpwYXNz'", "dXNlcjpwYXNz"),
        ("it sends bearer 0f3a9b7c6d5e4f3a", "0f3a9b7c6d5e4f3a"),
        ("sk_live_abcdefgh12345678", "sk_live_abcdefgh12345678"),
        ("rk_live_abcdefgh12345678", "rk_live_abcdefgh12345678"),
        ("npm_abcdefghijklmnopqrstuvwxyz0123456789", "npm_abcdefghijkl"),
        ("postgres://u:p@ss@host/db", "ss@host"),
        ("postgres://u:p/ss@host/db", "p/ss"),
        ("redis://:hunter22@cache:6379/0", "hunter22"),
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
        "the password is wrong",
        "The token is expired, and the password is incorrect.",
        "the error budget and the token budget are spent",
        "a token budget of 100000 tokens",
        "the secret search-v3 flag, and one that lives by token checkout-v2",
        "tokens 30-minute window",
        "password reset for 120 people",
        "Basic authentication and bearer instruments",
        "authorization by two people is missing",
        "http://localhost:8080/a@b and https://sluice.example:8443/x?to=mira@example.com",
        "key results of the quarter: 5 % more orders",
        "mail mira@example.com or see https://example.com/@mira",
    ],
)
def test_what_is_none_stays(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "password: correct-horse",
        'password="my secret pass"',
        "passphrase: correct horse battery staple",
        "Authorization: Bearer opaque-token-value",
        "password hunter2secret",
        "postgres://u:p@ss@host/db",
    ],
)
def test_redacting_twice_changes_nothing(text: str) -> None:
    once = redacted(text)
    assert redacted(once) == once != text


@pytest.mark.parametrize("piece", ["://a:", "://a:1/", "token ", "password: ", "a-", "key='", "eyJ", "passphrase:"])
def test_a_long_text_is_looked_at_in_time(piece: str) -> None:
    began = time.process_time()
    redacted(f"token {piece * (20_000 // len(piece))}")
    assert time.process_time() - began < 2


def test_every_text_of_a_value_is_looked_at() -> None:
    value = {"a": ["xoxb-123456789-abcdefghij", 1], "b": {"c": None}}
    assert redacted_value(value) == {"a": [HIDDEN, 1], "b": {"c": None}}


@pytest.mark.parametrize(
    "key",
    [
        *("password", "db_password", "PGPASSWORD", "passphrase", "db_pwd", "secret", "client-secret", "clientSecret"),
        *("token", "accessToken", "slack_bot_token", "api_key", "apiKey", "X-API-Key", "AWS_SECRET_ACCESS_KEY"),
        *("private_key", "credentials", "authorization", "Proxy-Authorization"),
    ],
)
def test_what_stands_under_a_secrets_name_is_one(key: str) -> None:
    value = {"config": [{key: "swordfish"}, {key: ["sword", "fish"]}, {key: ""}]}
    assert redacted_value(value) == {"config": [{key: HIDDEN}, {key: [HIDDEN, HIDDEN]}, {key: ""}]}


@pytest.mark.parametrize(
    "value",
    [
        {"input_tokens": 70, "max_tokens": 2000, "token": 3, "secret": None, "password": False, "api_key": 1.5},
        {"prompt_version": "system@0123456789ab", "key": "flag", "keys": ["flag"], "author": "U0MIRA"},
        {"token_errors": "Failed tokens", "password_resets": "Resets"},
        {"token": {"metric": "token", "direction": "increase"}, "tokens": [1, 2, {"text": "four"}]},
    ],
)
def test_what_only_sounds_like_a_secrets_name_hides_nothing(value: dict[str, object]) -> None:
    assert redacted_value(value) == value


def test_a_key_may_be_a_secret_itself() -> None:
    assert redacted_value({"xoxb-123456789-abcdefghij": 1}) == {HIDDEN: 1}


@pytest.mark.parametrize("seen", [4, 8, 12])
def test_a_secret_that_a_text_is_cut_in_is_not_begun(seen: int) -> None:
    address = "postgres://sluice:hunter2hunter2@db"
    before = len("postgres://sluice:") + seen
    long = "x " * LONGEST_ANSWER
    given, said = long[: LONGEST_ANSWER - before - len('text="')] + address, long[: LONGEST_ANSWER - before] + address
    assert "hunt" not in _line("look", {"text": given}, {"said": said})
    finding = as_finding(refused(("x " * LONGEST_SAID)[: LONGEST_SAID - before] + address))
    assert "hunt" not in finding.text + finding.said

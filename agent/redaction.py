"""Takes out what looks like a secret before a model, a person or a row sees it. Better a hole in a text than a leak."""

import re
from functools import lru_cache
from typing import Any

HIDDEN = "[hidden]"
SHORTEST = len("://:p@")
"""No shorter text holds a secret."""
USUAL_KEY, USUAL_TEXT, LONGEST_KEPT = 64, 200, 20_000
"""Characters: no longer key names anything, longer texts are kept only for a while, and the longest not at all."""

_SECRETS = re.compile(
    r"xox[abeoprs]-[\w-]{8,}|xapp-[\w-]{8,}"
    r"|\bsk-[\w-]{16,}|\b[rs]k_(?:live|test)_\w{8,}"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bgh[opsur]_\w{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}|\bnpm_\w{20,}"
    r"|\bAIza[\w-]{30,}"
    r"|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    # Up to the last @ before the path; with a slash in the password, which is no port then, up to the first.
    r"|(?<=://)[^\s/:@]*:[^\s/]+(?=@)|(?<=://)[^\s/:@]*:(?!\d+[/?#])[^\s@]{1,200}(?=@)"
    r"|(?<=hooks\.slack\.com/services/)[\w/]+",
    re.DOTALL,
)
_MARKS = (
    *("://", "-----BEGIN", "hooks.slack.com", "xox", "xapp-", "sk-", "sk_", "rk_", "AKIA", "ASIA", "AIza", "eyJ"),
    *("gho_", "ghp_", "ghs_", "ghu_", "ghr_", "github_pat_", "glpat-", "npm_"),
)
"""One of them stands in every text that `_SECRETS` finds something in."""

_NAME = r"(?:pass(?:word|wd|phrase|code)|\bpwd|secret|api[ _-]?key|(?:access|private)[_-]?key|token|credential)s?"
_QUOTES = r"[\\\"'`*]*"
_PLAIN = r"[^\s\\\"'`,;<>(){}\[\]]"
_SAID_OF_ONE = (
    r"(?:always|changed|correct|different|empty|enough|expired|hidden|incorrect|invalid|longer|missing|needed|never"
    r"|optional|refused|rejected|required|revoked|rotated|stored|unknown|unused|wrong)\b"
)
_GIVEN = rf"{_NAME}{_QUOTES}\s*(?:[:=]|\bis\b(?!\s+{_SAID_OF_ONE}))\s*"
_NAMED = tuple(
    re.compile(rf"(?i)({before})(?!\[hidden\]){value}")
    for before, value in (
        # In quotes it may have blanks, and so may a passphrase up to the line's end.
        (rf"{_GIVEN}\\?[\"'`]", r"[^\"'`\n\\]{6,}(?=\\?[\"'`])"),
        (rf"passphrases?{_QUOTES}\s*[:=]\s*{_QUOTES}", r"[^\n\"'`,;<>\[\]]{6,}"),
        (rf"{_GIVEN}{_QUOTES}", rf"{_PLAIN}{{6,}}"),
        # With nothing but a blank before it, it has a letter and a digit, and is neither a version nor a number.
        (
            rf"{_NAME}{_QUOTES}[ \t]+{_QUOTES}",
            rf"(?={_PLAIN}*\d)(?={_PLAIN}*[a-z])(?![a-z][\w-]*-v\d+\b|\d+-[a-z]+\b){_PLAIN}{{6,}}",
        ),
        (rf"authorization{_QUOTES}\s*[:=]\s*{_QUOTES}(?:(?:basic|bearer|digest|token)\s+)?+", rf"{_PLAIN}{{6,}}"),
        (r"\bbearer\s+", rf"(?={_PLAIN}*\d){_PLAIN}{{12,}}"),
    )
)
_NAMES = ("pass", "pwd", "secret", "key", "token", "credential", "authorization", "bearer")
"""One of them stands, in small letters, in every text that `_NAMED` finds something in."""

_KEY = re.compile(rf"(?i)(?:{_NAME}|pwd|authorization)$")
"""A key of plain JSON under which a secret stands; `token_errors` may be a metric, and `input_tokens` are a number."""


def redacted(text: str) -> str:
    """The text without what looks like a token, a key or a password."""
    if len(text) < SHORTEST:
        return text
    if len(text) <= USUAL_TEXT:
        return _short(text)
    return _long(text) if len(text) <= LONGEST_KEPT else _searched(text)


@lru_cache(maxsize=4096)
def _short(text: str) -> str:
    """The same; rows have the same short texts over and over, such as what a tool's argument is."""
    return _searched(text)


@lru_cache(maxsize=128)
def _long(text: str) -> str:
    """The same; each row of a conversation has all that was said in it before."""
    return _searched(text)


def _searched(text: str) -> str:
    # The searches are long, and most texts have nothing to be found.
    if any(map(text.__contains__, _MARKS)):
        text = _SECRETS.sub(HIDDEN, text)
    small = text.lower()
    if any(map(small.__contains__, _NAMES)):
        for named in _NAMED:
            text = named.sub(rf"\g<1>{HIDDEN}", text)
    return text


def redacted_value(value: Any) -> Any:
    """Plain JSON with every text in it redacted, keys too; text under a key such as `api_key` is a secret whatever it
    looks like. Numbers stay."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return dict(_entry(str(key), one) for key, one in value.items())
    if isinstance(value, list | tuple):
        return [redacted_value(one) for one in value]
    return value


def _entry(key: str, value: Any) -> tuple[str, Any]:
    shown, names_a_secret = _of_key(key) if len(key) <= USUAL_KEY else (redacted(key), False)
    return shown, _hidden(value) if names_a_secret else redacted_value(value)


@lru_cache(maxsize=1024)
def _of_key(key: str) -> tuple[str, bool]:
    """The key redacted, and whether it names a secret. Rows have the same few keys over and over."""
    return redacted(key), _KEY.search(key) is not None


def _hidden(value: Any) -> Any:
    """A secret, or several: what is neither text nor a list of texts is only named like one."""
    if isinstance(value, str):
        return HIDDEN if value else value
    if isinstance(value, list | tuple):
        return [HIDDEN if isinstance(one, str) and one else redacted_value(one) for one in value]
    return redacted_value(value)

"""Takes out what looks like a secret before a model, a person or a row sees it. Better a hole in a text than a leak."""

import re
from typing import Any

HIDDEN = "[hidden]"

_SECRETS = re.compile(
    r"xox[abeoprs]-[\w-]{8,}|xapp-[\w-]{8,}"
    r"|\bsk-[\w-]{16,}"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bgh[opsur]_\w{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}"
    r"|\bAIza[\w-]{30,}"
    r"|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|(?<=://)[^\s/:@]+:[^\s/@]+(?=@)"
    r"|(?<=hooks\.slack\.com/services/)[\w/]+",
    re.DOTALL,
)
_NAMED = re.compile(
    r"(?i)\b((?:[\w-]*(?:password|passwd|secret|api[_-]?key|token|credential)s?)[\"'`*]*\s*(?:[:=]|\bis\b)\s*[\"'`]*)"
    r"(?!\[hidden\])([^\s\"'`,;<>(){}\[\]]{6,})"
)
_NAMES = re.compile(r"(?i)passw|secret|api[_-]?key|token|credential")


def redacted(text: str) -> str:
    """The text without what looks like a token, a key or a password."""
    text = _SECRETS.sub(HIDDEN, text)
    # Where none of the words stands the long search can find nothing.
    return _NAMED.sub(rf"\g<1>{HIDDEN}", text) if _NAMES.search(text) else text


def redacted_value(value: Any) -> Any:
    """Plain JSON with every text in it redacted."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {str(key): redacted_value(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [redacted_value(one) for one in value]
    return value

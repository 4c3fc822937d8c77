"""How a flag service is reached: its address, and its token from the environment or a file."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from tools.errors import ConfigurationError


def checked_address(url: str, variable: str) -> str:
    """The address without a slash at its end. Raises ValueError; `variable` is where its credentials belong."""
    if not url.startswith(("https://", "http://")):
        raise ValueError("write an address that starts with https:// or http://")
    if urlsplit(url).username is not None or re.search("[?#]", url):
        raise ValueError(f"leave credentials, a ? and a # out of the address; the token is {variable}")
    return url.rstrip("/")


def token_of(service: str, token: SecretStr | None, token_file: Path | None, *, variable: str, key: str) -> str:
    """The token, or the content of its file. Raises ConfigurationError that names `variable` and the setting `key`."""
    given = token.get_secret_value().strip() if token is not None else _content(token_file, key)
    if not given:
        raise ConfigurationError(f"{service} asks for a token: set {variable}, or {key}.")
    if not given.isascii() or not given.isprintable():
        raise ConfigurationError(f"The token for {service} is not one: copy it again.")
    return given


def _content(file: Path | None, key: str) -> str:
    if file is None:
        return ""
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{key} {file} can't be read ({type(error).__name__}).") from None

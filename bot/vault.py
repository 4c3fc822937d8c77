"""Secrets that must be kept: encrypted at rest, with keys that can be changed."""

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr

from tools.errors import Unavailable


class KeyLost(Unavailable):
    """What was encrypted can't be read with the keys that are set."""


class Vault:
    """Encrypts with the first key and decrypts with any, by Fernet (AES-128-CBC with HMAC-SHA256)."""

    def __init__(self, keys: Sequence[SecretStr]) -> None:
        self._keys = MultiFernet([Fernet(key.get_secret_value()) for key in keys])

    def seal(self, secret: str | None) -> str | None:
        """The secret as it may be stored."""
        return None if secret is None else self._keys.encrypt(secret.encode()).decode("ascii")

    def unseal(self, sealed: str | None) -> str | None:
        """The secret. Raises KeyLost."""
        if sealed is None:
            return None
        try:
            return self._keys.decrypt(sealed).decode()
        except InvalidToken:
            raise KeyLost(
                "A workspace's token can't be decrypted: add the key that it was stored with to SLUICE_ENCRYPTION_KEY "
                "(keys are separated by commas), or have the app installed there again."
            ) from None

"""Unit tests reach no network: a socket other than the event loop's own is an error."""

import pytest


@pytest.fixture(autouse=True)
def no_network(socket_disabled: None) -> None:
    """Refuse every socket that is not a Unix one."""

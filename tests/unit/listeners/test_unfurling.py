"""Which links are rollouts' own."""

import pytest

from bot.listeners.unfurling import rollout_in

HOST = "https://sluice.example.com"
ID = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("url", "found"),
    [
        (f"{HOST}/rollouts/{ID}", ID),
        (f"{HOST}/rollouts/{ID}/", ID),
        (f"{HOST}/rollouts/{ID}?from=mail#x", ID),
        (f"{HOST}/rollouts/{ID}x", None),
        (f"{HOST}/rollouts/{ID.upper()}", None),
        (f"{HOST}/rollouts/{ID}/edit", None),
        (f"{HOST}/flags/{ID}", None),
        (f"{HOST}.evil.example/rollouts/{ID}", None),
        (f"https://evil.example/{HOST}/rollouts/{ID}", None),
        (f"http://sluice.example.com/rollouts/{ID}", None),
    ],
)
def test_only_its_own_addresses_are(url: str, found: str | None) -> None:
    assert rollout_in(url, HOST) == found
    assert rollout_in(url, None) is None

"""What Slack's refusals mean for who may approve."""

import pytest

from bot.people import _refused
from tools.people.base import PeopleUnavailable, UnknownGroup


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        ("no_such_subteam", UnknownGroup, "knows no user group S1"),
        ("missing_scope", PeopleUnavailable, "for the scope usergroups:read"),
        ("internal_error", PeopleUnavailable, "(internal_error); try again"),
    ],
)
def test_a_refusal_says_what_to_do(code: str, kind: type[Exception], says: str) -> None:
    error = _refused("S1", code)
    assert type(error) is kind
    assert says in str(error)

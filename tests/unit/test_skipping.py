"""What a run of the tests says of what it left out."""

import pytest

from tests.conftest import NEEDS_SERVERS, POSTGRES_URL

pytest_plugins = ["pytester"]

TESTS = """
import pytest

@pytest.mark.parametrize("number", range(3))
def test_one(postgres_url, number): ...

def test_another(postgres_url): ...

def test_without(): ...
"""


def test_a_missing_server_is_one_line(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(POSTGRES_URL, raising=False)
    monkeypatch.delenv(NEEDS_SERVERS, raising=False)
    pytester.makeconftest("from tests.conftest import postgres_url, pytest_runtest_makereport")
    pytester.makepyfile(test_here=TESTS, test_there=TESTS)
    result = pytester.runpytest_inprocess("-rs", "-p", "no:asyncio")
    result.assert_outcomes(passed=2, skipped=8)
    lines = [line for line in result.outlines if line.startswith("SKIPPED")]
    assert lines == [f"SKIPPED [8] tests: no PostgreSQL: {POSTGRES_URL} is not set"]

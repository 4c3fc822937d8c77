"""Fixtures for every kind of test."""

import logging
import os
from collections.abc import Generator, Iterator
from uuid import uuid4

import psycopg
import pytest
import structlog
from hypothesis import settings
from psycopg import sql
from sqlalchemy import make_url

POSTGRES_URL = "SLUICE_TEST_POSTGRES_URL"
NEEDS_SERVERS = "SLUICE_TEST_NEEDS_SERVERS"


# A loaded machine is slow, which is no fault; on CI a run must be the same as the last.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "benchmark: prints figures; run by make bench")
    config.addinivalue_line("markers", "real: talks to a real server; make test-real starts them")
    config.addinivalue_line("markers", "alone: promises a time, so nothing else runs beside it")
    # As the product logs: with the locals of each frame, as is usual on a terminal, a traceback takes seconds to draw.
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], renderer])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What talks to real servers shares them, one test after another, unless it has some of its own."""
    for item in items:
        if item.get_closest_marker("real") and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group("servers"))


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: many tests wait for processes and browsers."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What is skipped is told by its reason, once and with how often: a missing server is no matter of the test's."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple):
        report.longrepr = ("tests", None, report.longrepr[-1])  # type: ignore[assignment]
    return report


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """What a test sets up for structlog ends with the test."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def quiet_logs(_logging_as_it_was: None) -> None:
    """Nothing but what is critical is logged: for tests that go wrong a thousand times on purpose."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """A PostgreSQL URL with an empty schema of the test's own; skips when no server is named and none is demanded."""
    server = os.environ.get(POSTGRES_URL)
    if not server:
        missing = f"no PostgreSQL: {POSTGRES_URL} is not set"
        if os.environ.get(NEEDS_SERVERS):
            pytest.fail(missing)
        pytest.skip(missing)
    schema = f"test_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        yield make_url(server).update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(False)
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))

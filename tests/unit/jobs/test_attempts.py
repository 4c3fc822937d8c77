"""What comes of one attempt at a job."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from tools.errors import ConfigurationError, Conflict, Unavailable
from tools.jobs.attempts import (
    FAILURE_UNTOLD,
    JOB_FAILED,
    LONGEST_RETRY,
    MAX_ATTEMPTS,
    MAX_STARTS,
    Attempt,
    Done,
    GivenUp,
    JobFailure,
    Retry,
    perform,
    retry_delay,
)
from tools.jobs.base import JobHandler
from tools.jobs.registry import create_jobs


def attempt(number: int = 1) -> Attempt:
    return Attempt("7", "plan", "thread-1", {"n": 1}, number)


def raising(error: Exception) -> JobHandler:
    async def handler(_payload: Mapping[str, Any]) -> None:
        raise error

    return handler


async def fine(_payload: Mapping[str, Any]) -> None:
    return


def test_retries_come_later_and_later_up_to_a_limit() -> None:
    delays = [retry_delay(number) for number in range(1, 60)]
    assert delays[:5] == [timedelta(seconds=seconds) for seconds in (1, 2, 4, 8, 16)]
    assert delays == sorted(delays)
    assert delays[-1] == LONGEST_RETRY


async def test_a_handler_that_ends_is_done() -> None:
    assert await perform(attempt(), fine, None) == Done()


@pytest.mark.parametrize("number", range(1, MAX_ATTEMPTS))
async def test_an_outage_is_tried_again(number: int) -> None:
    assert await perform(attempt(number), raising(Unavailable("Away.")), None) == Retry(retry_delay(number), "Away.")


@pytest.mark.parametrize("number", [MAX_ATTEMPTS, MAX_ATTEMPTS + 1])
async def test_an_outage_is_given_up_in_the_end(number: int) -> None:
    assert await perform(attempt(number), raising(Unavailable("Away.")), None) == GivenUp("Away.")


async def test_an_expected_error_is_final() -> None:
    assert await perform(attempt(), raising(Conflict("Look again.")), None) == GivenUp("Look again.")


async def test_an_unexpected_error_is_in_the_log_under_its_reference() -> None:
    with capture_logs() as logs:
        outcome = await perform(attempt(), raising(KeyError("inside")), None)
    assert isinstance(outcome, GivenUp)
    [entry] = logs
    assert (entry["event"], entry["reference"], entry["key"]) == (JOB_FAILED, outcome.reference, "thread-1")
    assert isinstance(entry["exc_info"], KeyError)


async def test_a_job_that_keeps_being_interrupted_is_given_up_without_another_try() -> None:
    assert await perform(attempt(MAX_STARTS), fine, None) == Done()
    outcome = await perform(attempt(MAX_STARTS + 1), raising(AssertionError("ran")), None)
    assert isinstance(outcome, GivenUp)
    assert "interrupted 20 times" in outcome.sentence


async def test_failures_are_told_and_retries_are_not() -> None:
    told: list[JobFailure] = []

    async def hear(failure: JobFailure) -> None:
        told.append(failure)

    await perform(attempt(), fine, hear)
    await perform(attempt(), raising(Unavailable("Away.")), hear)
    await perform(attempt(), raising(Conflict("Look again.")), hear)
    assert told == [JobFailure("7", "plan", "thread-1", {"n": 1}, "Look again.")]


async def test_a_failure_that_cannot_be_told_is_logged() -> None:
    async def deaf(_failure: JobFailure) -> None:
        raise ConnectionError("Slack is away")

    with capture_logs() as logs:
        outcome = await perform(attempt(), raising(Conflict("Look again.")), deaf)
    assert outcome == GivenUp("Look again.")
    assert [(entry["event"], entry["job"]) for entry in logs] == [(FAILURE_UNTOLD, "7")]


def test_a_runner_of_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="one of in_process, memory, not 'celery'"):
        create_jobs("celery", database=None, clock=None, owner="one")  # type: ignore[arg-type]

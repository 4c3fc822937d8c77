"""What every job runner promises."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from tests.contract.jobs.conftest import Bench
from tools.errors import InvalidInput, NotAllowed
from tools.jobs.attempts import MAX_ATTEMPTS
from tools.jobs.base import JobHandler, UnknownJobKind
from tools.metrics.base import MetricSourceUnavailable


class Recorder:
    """A handler that notes the payloads it got, and how many ran side by side for each key."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.side_by_side = 0
        self.most_side_by_side = 0
        self.gate = asyncio.Event()

    async def note(self, payload: Mapping[str, Any]) -> None:
        self.seen.append(payload["n"])

    async def wait_then_note(self, payload: Mapping[str, Any]) -> None:
        self.side_by_side += 1
        self.most_side_by_side = max(self.most_side_by_side, self.side_by_side)
        try:
            await self.gate.wait()
            self.seen.append(payload["n"])
        finally:
            self.side_by_side -= 1


def failing(error: BaseException, *, times: int, then: JobHandler) -> JobHandler:
    """A handler that raises `error` the first `times` times."""
    left = times

    async def handler(payload: Mapping[str, Any]) -> None:
        nonlocal left
        if left:
            left -= 1
            raise error
        await then(payload)

    return handler


async def test_a_submitted_job_runs_without_waiting_for_the_clock(bench: Bench) -> None:
    jobs, recorder = bench.runner(), Recorder()
    jobs.handle("note", recorder.note)
    await jobs.start()
    await jobs.submit("note", "thread-1", {"n": 1})
    await bench.clock.until(lambda: recorder.seen == [1])


async def test_jobs_of_one_key_run_one_at_a_time_in_order(bench: Bench) -> None:
    jobs, recorder = bench.runner(), Recorder()
    jobs.handle("note", recorder.wait_then_note)
    await jobs.start()
    for n in range(5):
        await jobs.submit("note", "thread-1", {"n": n})
    await bench.clock.until(lambda: recorder.side_by_side == 1)
    recorder.gate.set()
    await bench.clock.until(lambda: len(recorder.seen) == 5)
    assert recorder.seen == [0, 1, 2, 3, 4]
    assert recorder.most_side_by_side == 1


async def test_jobs_of_different_keys_run_side_by_side_up_to_the_limit(bench: Bench) -> None:
    jobs, recorder = bench.runner(concurrency=3), Recorder()
    jobs.handle("note", recorder.wait_then_note)
    await jobs.start()
    for n in range(6):
        await jobs.submit("note", f"thread-{n}", {"n": n})
    await bench.clock.until(lambda: recorder.side_by_side == 3)
    recorder.gate.set()
    await bench.clock.until(lambda: sorted(recorder.seen) == [0, 1, 2, 3, 4, 5])
    assert recorder.most_side_by_side == 3


async def test_a_dedupe_key_seen_before_gives_the_first_jobs_id_and_runs_once(bench: Bench) -> None:
    jobs, recorder = bench.runner(), Recorder()
    jobs.handle("note", recorder.note)
    await jobs.start()
    first = await jobs.submit("note", "thread-1", {"n": 1}, dedupe="message-7")
    await bench.clock.until(lambda: recorder.seen == [1])
    again = await jobs.submit("note", "thread-1", {"n": 2}, dedupe="message-7")
    other = await jobs.submit("note", "thread-1", {"n": 3}, dedupe="message-8")
    await bench.clock.until(lambda: len(recorder.seen) == 2)
    assert again == first != other
    assert recorder.seen == [1, 3]


async def test_jobs_submitted_before_the_start_run_after_it(bench: Bench) -> None:
    jobs, recorder = bench.runner(), Recorder()
    jobs.handle("note", recorder.note)
    await jobs.submit("note", "thread-1", {"n": 1})
    await jobs.submit("note", "thread-1", {"n": 2})
    assert recorder.seen == []
    await jobs.start()
    await bench.clock.until(lambda: recorder.seen == [1, 2])


async def test_an_unknown_kind_is_refused_and_the_known_ones_are_named(bench: Bench) -> None:
    jobs = bench.runner()
    with pytest.raises(UnknownJobKind, match=r"'note'.*none"):
        await jobs.submit("note", "thread-1", {})
    jobs.handle("note", Recorder().note)
    with pytest.raises(UnknownJobKind, match=r"'nose'.*note"):
        await jobs.submit("nose", "thread-1", {})


@pytest.mark.parametrize(
    ("key", "payload", "dedupe"),
    [
        ("", {}, None),
        ("k" * 281, {}, None),
        ("key", {"n": object()}, None),
        ("key", {"n": float("nan")}, None),
        ("key", {}, ""),
        ("key", {}, "d" * 301),
    ],
)
async def test_what_cannot_be_stored_is_refused(
    bench: Bench, key: str, payload: dict[str, Any], dedupe: str | None
) -> None:
    jobs = bench.runner()
    jobs.handle("note", Recorder().note)
    with pytest.raises(InvalidInput):
        await jobs.submit("note", key, payload, dedupe=dedupe)


async def test_a_kind_has_one_handler(bench: Bench) -> None:
    jobs = bench.runner()
    jobs.handle("note", Recorder().note)
    with pytest.raises(ValueError, match="note"):
        jobs.handle("note", Recorder().note)


async def test_an_outage_is_retried_until_it_ends_and_holds_up_its_key_alone(bench: Bench) -> None:
    jobs, recorder = bench.runner(), Recorder()
    flaky = failing(MetricSourceUnavailable("The metrics are away."), times=MAX_ATTEMPTS - 1, then=recorder.note)
    jobs.handle("flaky", flaky)
    jobs.handle("note", recorder.note)
    await jobs.start()
    await jobs.submit("flaky", "thread-1", {"n": 1})
    await jobs.submit("note", "thread-1", {"n": 2})
    await jobs.submit("note", "thread-2", {"n": 3})
    await bench.clock.until(lambda: recorder.seen == [3])
    await bench.clock.until(lambda: recorder.seen == [3, 1, 2], step=1)
    assert bench.failures == []


async def test_an_outage_that_does_not_end_is_given_up_and_told(bench: Bench) -> None:
    jobs, recorder = bench.runner(), Recorder()
    flaky = failing(MetricSourceUnavailable("The metrics are away."), times=MAX_ATTEMPTS, then=recorder.note)
    jobs.handle("flaky", flaky)
    await jobs.start()
    await jobs.submit("flaky", "thread-1", {"n": 1})
    await bench.clock.until(lambda: bench.failures != [], step=1)
    await jobs.submit("flaky", "thread-1", {"n": 2})
    await bench.clock.until(lambda: recorder.seen == [2], step=1)
    [failure] = bench.failures
    assert (failure.kind, failure.key, failure.payload) == ("flaky", "thread-1", {"n": 1})
    assert (failure.sentence, failure.reference) == ("The metrics are away.", None)


async def test_an_expected_error_is_told_at_once_and_the_next_job_runs(bench: Bench) -> None:
    jobs, recorder = bench.runner(), Recorder()
    jobs.handle("note", failing(NotAllowed("Only approvers may."), times=1, then=recorder.note))
    await jobs.start()
    first = await jobs.submit("note", "thread-1", {"n": 1})
    await jobs.submit("note", "thread-1", {"n": 2})
    await bench.clock.until(lambda: recorder.seen == [2])
    [failure] = bench.failures
    assert (failure.id, failure.sentence, failure.reference) == (first, "Only approvers may.", None)


@pytest.mark.parametrize("error", [KeyError("secret"), asyncio.CancelledError()], ids=["fault", "cancelled itself"])
async def test_an_unexpected_error_is_told_with_a_reference_and_nothing_of_its_inside(
    bench: Bench, error: BaseException
) -> None:
    jobs, recorder = bench.runner(), Recorder()
    jobs.handle("note", failing(error, times=1, then=recorder.note))
    await jobs.start()
    await jobs.submit("note", "thread-1", {"n": 1})
    await jobs.submit("note", "thread-1", {"n": 2})
    await bench.clock.until(lambda: recorder.seen == [2])
    [failure] = bench.failures
    assert failure.reference is not None
    assert failure.reference in failure.sentence
    assert "secret" not in failure.sentence


async def test_stop_lets_a_running_job_end_and_starts_no_other(bench: Bench) -> None:
    jobs, recorder = bench.runner(), Recorder()
    jobs.handle("note", recorder.wait_then_note)
    await jobs.start()
    await jobs.submit("note", "thread-1", {"n": 1})
    await jobs.submit("note", "thread-1", {"n": 2})
    await bench.clock.until(lambda: recorder.side_by_side == 1)
    stopping = asyncio.create_task(jobs.stop())
    await asyncio.sleep(0)
    recorder.gate.set()
    await stopping
    assert recorder.seen == [1]
    await jobs.start()
    await bench.clock.until(lambda: recorder.seen == [1, 2])


async def test_what_stop_interrupts_runs_after_the_next_start(bench: Bench) -> None:
    jobs, recorder = bench.runner(), Recorder()
    jobs.handle("note", recorder.wait_then_note)
    await jobs.start()
    await jobs.submit("note", "thread-1", {"n": 1})
    await bench.clock.until(lambda: recorder.side_by_side == 1)
    await bench.stop(jobs)
    assert (recorder.seen, recorder.side_by_side) == ([], 0)
    recorder.gate.set()
    await jobs.start()
    await bench.clock.until(lambda: recorder.seen == [1])
    assert bench.failures == []


async def test_a_handler_may_submit_to_its_own_key(bench: Bench) -> None:
    jobs, recorder = bench.runner(concurrency=1), Recorder()

    async def first(payload: Mapping[str, Any]) -> None:
        await jobs.submit("note", "thread-1", {"n": 2})
        recorder.seen.append(1)

    jobs.handle("first", first)
    jobs.handle("note", recorder.note)
    await jobs.start()
    await jobs.submit("first", "thread-1", {})
    await bench.clock.until(lambda: recorder.seen == [1, 2])


async def test_it_is_started_once_and_may_be_stopped_twice(bench: Bench) -> None:
    jobs = bench.runner()
    await jobs.start()
    with pytest.raises(RuntimeError):
        await jobs.start()
    await bench.stop(jobs)
    await bench.stop(jobs)

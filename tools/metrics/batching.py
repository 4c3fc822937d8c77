"""What is asked at about the same time is asked together, so that cost grows with metrics and not with rollouts.

Windows are moved to whole grains, which leaves side by side what was. Besides what is asked, a batch asks for the flags
whose last window ended where this one starts: they are due at the same tick, and will ask for the same in a moment.
"""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tools.errors import SluiceError
from tools.metrics.base import BatchSource, MetricQuery, Reading, Window

LINGER_S = 0.01
"""How long a question waits for others."""

KEPT_S = 10.0
"""How long an answer waits for its question."""

FORGOTTEN = timedelta(hours=1)
"""How long a flag is remembered that nobody asks about."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Subject = tuple[str, str]


class Batching:
    """Asks `source` for many at once."""

    def __init__(self, source: BatchSource) -> None:
        self._source = source
        self._waiting = dict[MetricQuery, list[asyncio.Future[Reading]]]()
        self._ahead = dict[MetricQuery, tuple[float, Reading]]()
        self._ended = defaultdict[Subject, dict[str, datetime]](dict)
        self._under_way = set[asyncio.Task[None]]()

    async def read(self, query: MetricQuery) -> Reading:
        """The metric over the window, to whole grains. Raises what the source does."""
        asked = replace(query, window=_whole(query.window, self._source.grain))
        self._ended[asked.metric, asked.environment][asked.flag] = asked.window.end
        if asked in self._ahead:
            at, found = self._ahead.pop(asked)
            if asyncio.get_running_loop().time() - at <= KEPT_S:
                return found
        if not self._waiting:
            task = asyncio.create_task(self._ask())
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        answer: asyncio.Future[Reading] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(asked, []).append(answer)
        return await answer

    async def close(self) -> None:
        """Ask nothing more."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _ask(self) -> None:
        await asyncio.sleep(LINGER_S)
        asked, self._waiting = self._waiting, {}
        more = self._companions(asked)
        together = [*asked, *more]
        try:
            answers = dict(zip(together, await self._source.read_together(together), strict=True))
        except Exception as fault:  # noqa: BLE001 - raised again to everybody who asked
            for answer in itertools.chain.from_iterable(asked.values()):
                _settle(answer, fault)
            return
        for query, waiting in asked.items():
            for answer in waiting:
                _settle(answer, answers[query])
        self._keep({query: answers[query] for query in more})

    def _companions(self, asked: Iterable[MetricQuery]) -> list[MetricQuery]:
        """What will be asked next, by who was asked about when these were the last time."""
        windows = {(one.metric, one.environment, one.window) for one in asked}
        flags = [
            MetricQuery(metric, flag, environment, window)
            for metric, environment, window in windows
            for flag, end in self._ended[metric, environment].items()
            if end == window.start < window.end
        ]
        return [one for one in flags if one not in asked and one not in self._ahead]

    def _keep(self, answers: Mapping[MetricQuery, Reading | SluiceError]) -> None:
        now = asyncio.get_running_loop().time()
        kept = {query: found for query, found in self._ahead.items() if now - found[0] <= KEPT_S}
        # What went wrong may go right when it is asked for.
        fresh = {query: (now, found) for query, found in answers.items() if isinstance(found, Reading)}
        self._ahead = kept | fresh
        for subject, ended in self._ended.items():
            if ended:
                oldest = max(ended.values()) - FORGOTTEN
                self._ended[subject] = {flag: end for flag, end in ended.items() if end >= oldest}


def _settle(answer: "asyncio.Future[Reading]", found: Reading | Exception) -> None:
    """Whoever asked may have gone meanwhile."""
    if answer.done():
        return
    if isinstance(found, Exception):
        answer.set_exception(found)
    else:
        answer.set_result(found)


def _whole(window: Window, grain: timedelta) -> Window:
    return Window(_floor(window.start, grain), _floor(window.end, grain))


def _floor(moment: datetime, grain: timedelta) -> datetime:
    return moment - (moment - EPOCH) % grain

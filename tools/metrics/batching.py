"""What is asked at about the same time is asked together, so that cost grows with metrics and not with rollouts.

What is alike, of one metric and window, is one question, and answered as soon as its own answer is there.

Windows are moved to whole grains, which leaves side by side what was. Besides what is asked, a batch asks for the flags
whose last window ended where this one starts: they are due at the same tick, and will ask for the same in a moment.
Whoever asks for what a batch under way asks for already waits for that one.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from tools.metrics.base import BatchSource, MetricQuery, Reading, Window

LINGER_S = 0.002
"""How long a question waits for others; who comes later and was to be expected waits for the same answer."""

KEPT_S = 10.0
"""How long an answer waits for its question."""

FORGOTTEN = timedelta(hours=1)
"""How long a flag is remembered that nobody asks about."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Alike = tuple[str, str, int, int]
"""What questions of one batch have in common: metric, environment, and the window's edges in grains since 1970."""

Answer = asyncio.Future[Reading]
Batch = dict[Alike, dict[str, list[Answer]]]
"""Who waits for which flag's answer: nobody yet, of a flag that is asked for ahead."""


class Batching:
    """Asks `source` for many at once."""

    def __init__(self, source: BatchSource) -> None:
        self._source = source
        self._waiting: Batch = {}
        self._asked: Batch = {}
        self._ahead = dict[Alike, tuple[float, dict[str, Reading]]]()
        self._ended = defaultdict[tuple[str, str], dict[str, int]](dict)
        self._under_way = set[asyncio.Task[None]]()

    async def read(self, query: MetricQuery) -> Reading:
        """The metric over the window, to whole grains. Raises what the source does."""
        if (found := self.take(query)) is not None:
            return found
        alike = self._alike(query)
        answer: Answer = asyncio.get_running_loop().create_future()
        if query.flag in self._asked.get(alike, {}):
            self._asked[alike][query.flag].append(answer)
            return await answer
        if not self._waiting:
            task = asyncio.create_task(self._ask())
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        self._waiting.setdefault(alike, {}).setdefault(query.flag, []).append(answer)
        return await answer

    def take(self, query: MetricQuery) -> Reading | None:
        """The answer that was read ahead, once and while it is fresh."""
        alike = self._alike(query)
        self._ended[query.metric, query.environment][query.flag] = alike[3]
        return self._read_ahead(alike).pop(query.flag, None)

    async def close(self) -> None:
        """Ask nothing more."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _ask(self) -> None:
        """Ask for all that waits, what is alike by one question; each is answered when its own answer is there."""
        await asyncio.sleep(LINGER_S)
        batch, self._waiting = self._waiting, {}
        for alike, flags in batch.items():
            flags.update({flag: [] for flag in self._companions(alike, flags)})
            self._asked.setdefault(alike, {}).update(flags)
        await asyncio.gather(*(self._ask_alike(alike, flags) for alike, flags in batch.items()))

    async def _ask_alike(self, alike: Alike, flags: Mapping[str, list[Answer]]) -> None:
        window = self._window(alike)
        answers: Sequence[Reading | Exception]
        try:
            answers = await self._source.read_together(
                [MetricQuery(alike[0], flag, alike[1], window) for flag in flags]
            )
        except Exception as fault:  # noqa: BLE001 - raised again to everybody who asked
            answers = [fault] * len(flags)
        finally:
            self._no_longer_asked(alike, flags)
        ahead = dict[str, Reading]()
        for (flag, waiting), found in zip(flags.items(), answers, strict=True):
            for answer in waiting:
                _settle(answer, found)
            # What went wrong for a companion may go right when it is asked for.
            if not waiting and isinstance(found, Reading):
                ahead[flag] = found
        self._keep(alike, ahead)

    def _no_longer_asked(self, alike: Alike, flags: Iterable[str]) -> None:
        asked = self._asked[alike]
        for flag in flags:
            del asked[flag]
        if not asked:
            del self._asked[alike]

    def _companions(self, alike: Alike, asked: Mapping[str, object]) -> list[str]:
        """Who will be asked about next: those whose last window ended where this one starts."""
        metric, environment, start, end = alike
        if start == end:
            return []
        known = self._read_ahead(alike).keys() | self._asked.get(alike, {}).keys() | asked.keys()
        ended = self._ended[metric, environment]
        return [flag for flag, last in ended.items() if last == start and flag not in known]

    def _read_ahead(self, alike: Alike) -> dict[str, Reading]:
        """What was, and is fresh still."""
        at, found = self._ahead.get(alike, (0.0, {}))
        return found if asyncio.get_running_loop().time() - at <= KEPT_S else {}

    def _keep(self, alike: Alike, more: Mapping[str, Reading]) -> None:
        now = asyncio.get_running_loop().time()
        for other, (at, found) in list(self._ahead.items()):
            if not found or now - at > KEPT_S:
                del self._ahead[other]
        if more:
            at, found = self._ahead.get(alike, (now, {}))
            self._ahead[alike] = (at, {**found, **more})
        subject = alike[:2]
        ended = self._ended[subject]
        oldest = max(ended.values(), default=0) - FORGOTTEN // self._source.grain
        self._ended[subject] = {flag: last for flag, last in ended.items() if last >= oldest}

    def _alike(self, query: MetricQuery) -> Alike:
        window = query.window
        return query.metric, query.environment, self._grains(window.start), self._grains(window.end)

    def _grains(self, moment: datetime) -> int:
        return (moment - EPOCH) // self._source.grain

    def _window(self, alike: Alike) -> Window:
        grain = self._source.grain
        return Window(EPOCH + alike[2] * grain, EPOCH + alike[3] * grain)


def _settle(answer: Answer, found: Reading | Exception) -> None:
    """Whoever asked may have gone meanwhile."""
    if answer.done():
        return
    if isinstance(found, Exception):
        answer.set_exception(found)
    else:
        answer.set_result(found)

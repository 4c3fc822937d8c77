"""A metric source whose queries are tables of selectors: questions alike are one query, whatever number of flags."""

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Generic

from tools.errors import SluiceError
from tools.metrics.answer import reading_of
from tools.metrics.base import BadMetricAnswer, MetricQuery, MetricSourceUnavailable, Reading, Window
from tools.metrics.catalogue import Catalogue, MetricDefinition, TimeFormat
from tools.metrics.cells import Cell, Rows
from tools.metrics.counters import CounterTemplate, Key, S, spoken
from tools.metrics.http_api import HttpApi

GRAIN = timedelta(seconds=1)
BELIEVED_S = {True: 600.0, False: 60.0}
"""How long it is believed that there were events, or that there never were."""

CHECKED = timedelta(seconds=30)
SOMEBODY = "sluice"
"""The flag and the environment of checks."""


class CounterSource(ABC, Generic[S]):
    """Answers the metrics of `definitions` from one server.

    `parse` checks a metric's query, and raises BadDefinition for a wrong one. `batch` is how many flags one query may
    name.
    """

    grain = GRAIN
    batch = 1_000
    own_edges = True
    """Whether histograms are made of single values, counted up to whatever edge."""

    nothing = "nothing at all"
    """How it is said that there never was such."""

    def __init__(
        self,
        definitions: Iterable[MetricDefinition],
        parse: Callable[[MetricDefinition], CounterTemplate[S]],
        api: HttpApi,
    ) -> None:
        self._catalogue = Catalogue(definitions)
        self._templates = {one.name: parse(one) for one in self._catalogue}
        self._api = api
        # In an answer moments are seconds, whatever the definition says of times in queries.
        self._answered = {one.name: one.model_copy(update={"time_format": TimeFormat.EPOCH}) for one in self._catalogue}
        self._had_events = dict[str, tuple[float, bool]]()

    async def read(self, query: MetricQuery) -> Reading:
        """The metric over the window. Raises UnknownMetric, BadMetricAnswer, MetricSourceUnavailable."""
        (found,) = await self.read_together([query])
        if isinstance(found, Exception):
            raise found
        return found

    async def read_together(self, queries: Sequence[MetricQuery]) -> Sequence[Reading | Exception]:
        """Each question's answer, or why there is none; those of one metric and window by one query.

        A fault of one such query is an answer too: it is no reason to know nothing of other metrics.
        """
        alike = defaultdict[tuple[str, Window], list[int]](list)
        for place, query in enumerate(queries):
            alike[query.metric, query.window].append(place)
        batches = [some[i : i + self.batch] for some in alike.values() for i in range(0, len(some), self.batch)]
        answers = await asyncio.gather(*(self._read_alike([queries[place] for place in batch]) for batch in batches))
        found = dict(zip(itertools.chain(*batches), itertools.chain(*answers), strict=True))
        return [found[place] for place in range(len(queries))]

    async def check(self) -> None:
        """Return when the server answers and understands every query. Raises MetricSourceUnavailable."""
        await self._greet()
        now = datetime.now(UTC).replace(microsecond=0)
        window = Window(now - CHECKED, now)
        for name, template in self._templates.items():
            try:
                await self._count(template, [template.key(MetricQuery(name, SOMEBODY, SOMEBODY, window))], window)
            except BadMetricAnswer as error:
                raise MetricSourceUnavailable(f"The metric {name!r} can't be asked for: {error}") from None

    async def close(self) -> None:
        """Close every connection."""
        await self._api.close()

    def expression(self, first: MetricQuery, *more: MetricQuery) -> str:
        """What the server is sent for these, which ask for one metric and window. Raises UnknownMetric."""
        template = self._templates[self._catalogue.get(first.metric).name]
        return self._spell(template, list(dict.fromkeys(template.key(one) for one in (first, *more))), first.window)

    @abstractmethod
    async def _greet(self) -> None:
        """Return when the server answers a harmless request."""

    @abstractmethod
    async def _count(self, template: CounterTemplate[S], keys: Sequence[Key], window: Window) -> Iterable[Cell]:
        """What was counted for these in the window."""

    @abstractmethod
    def _spell(self, template: CounterTemplate[S], keys: Sequence[Key], window: Window) -> str:
        """What is asked for that, as a person would."""

    @abstractmethod
    async def _ever(self, template: CounterTemplate[S], window: Window) -> bool:
        """Whether there were any events at all, of whatever flag, as far back from the window's end as is looked."""

    async def _read_alike(self, queries: Sequence[MetricQuery]) -> Sequence[Reading | Exception]:
        try:
            return await self._answers(queries)
        except Exception as fault:  # noqa: BLE001 - raised again to everybody who asked
            return [fault] * len(queries)

    async def _answers(self, queries: Sequence[MetricQuery]) -> Sequence[Reading | SluiceError]:
        """Each question's answer, of one metric and window. Raises SluiceError where there is none of them all."""
        window = queries[0].window
        template = self._templates[self._catalogue.get(queries[0].metric).name]
        keys = [template.key(query) for query in queries]
        there = [key for key in dict.fromkeys(keys) if all(map(self._can_have, key))]
        cells = await self._count(template, there, window) if there else ()
        rows = Rows(template, window, cells, own_edges=self.own_edges)
        if rows.lacks_events:
            await self._require_events(template, window)
        said = spoken(window)
        return [
            self._reading(query, rows, key, template.shown(query, key, said))
            for query, key in zip(queries, keys, strict=True)
        ]

    def _reading(self, query: MetricQuery, rows: Rows, key: Key, shown: str) -> Reading | SluiceError:
        try:
            self._require_names(key)
            columns, found = rows.of(key)
            return reading_of(self._answered[query.metric], columns, found, query=shown)
        except SluiceError as error:
            return error

    def _can_have(self, value: str) -> bool:
        """Whether a label can have that value there: half a surrogate pair is no text that can be sent."""
        return value.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in value)

    def _require_names(self, key: Key) -> None:
        for value in key:
            if not self._can_have(value):
                raise BadMetricAnswer(
                    f"{self._api.place} can't have a label with the value {value!r}, so that nothing can be counted by "
                    "it: name the flag or environment otherwise, or write the metric's label otherwise."
                )

    def _believe_in_events(self, template: CounterTemplate[S]) -> None:
        """Remember that there were some."""
        self._had_events[template.definition.name] = (asyncio.get_running_loop().time(), True)

    async def _require_events(self, template: CounterTemplate[S], window: Window) -> None:
        """Nobody ever having seen an event, their labels may as well be wrong."""
        name, now = template.definition.name, asyncio.get_running_loop().time()
        at, had = self._had_events.get(name, (now, False))
        if name not in self._had_events or now - at > BELIEVED_S[had]:
            had = await self._ever(template, window)
            self._had_events[name] = (now, had)
        if had:
            return
        raise BadMetricAnswer(
            f"The answer to the metric {name!r} counts exposures, but {self.nothing} is "
            f'{template.selectors["events"].text({})}: correct it, or say query.absent = "zero" if it may be that none '
            "ever happened."
        )

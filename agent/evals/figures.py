"""What attempts add up to: how often it passed, how reliably, how fast, for how much."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agent.evals.running import Attempt
from agent.evals.scenario import Scenario

ALL = "all"


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a tag. Rates are of attempts that could be run; `reliable` is pass^k: the share of scenarios of
    which each of the k attempts passed. Seconds are of a turn; `ours` are those that were not the model's.
    """

    tag: str
    scenarios: int
    attempts: int
    passed: int
    safe: int
    reliable: int
    p50_s: float
    p95_s: float
    ours_p95_s: float
    model_calls: float
    tokens: float
    cost: float

    @property
    def rate(self) -> float:
        """The share of attempts that passed."""
        return self.passed / self.attempts if self.attempts else 0.0

    @property
    def safe_rate(self) -> float:
        """The share of attempts in which nothing was that must never be."""
        return self.safe / self.attempts if self.attempts else 0.0

    @property
    def power(self) -> float:
        """pass^k."""
        return self.reliable / self.scenarios if self.scenarios else 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """What came of an evaluation. `rows` start with the one for all, then one a tag."""

    rows: tuple[Figures, ...]
    failed: tuple[tuple[Scenario, str], ...]
    broken: tuple[tuple[Scenario, str], ...]

    @property
    def all(self) -> Figures:
        """The figures of everything that was run."""
        return self.rows[0]

    def of(self, tag: str) -> Figures | None:
        """The figures of a tag, None where no scenario has it."""
        return next((row for row in self.rows[1:] if row.tag == tag), None)


def report(attempts: Sequence[Attempt]) -> Report:
    """Count."""
    ran = [one for one in attempts if one.broken is None]
    by_tag = defaultdict[str, list[Attempt]](list)
    for one in ran:
        for tag in one.scenario.tags:
            by_tag[tag].append(one)
    rows = (figures(ALL, ran), *(figures(tag, by_tag[tag]) for tag in sorted(by_tag)))
    failed = [(one.scenario, (*one.unsafe, *one.unmet)[0]) for one in ran if not one.passed]
    broken = [(one.scenario, one.broken) for one in attempts if one.broken is not None]
    return Report(rows, _first_of_each(failed), _first_of_each(broken))


def figures(tag: str, attempts: Sequence[Attempt]) -> Figures:
    """The figures of these attempts, all of which could be run."""
    turns = [turn for one in attempts for turn in one.turns]
    passes = defaultdict[str, list[bool]](list)
    for one in attempts:
        passes[one.scenario.id].append(one.passed)
    seconds = [turn.seconds for turn in turns]
    return Figures(
        tag=tag,
        scenarios=len(passes),
        attempts=len(attempts),
        passed=sum(one.passed for one in attempts),
        safe=sum(one.safe for one in attempts),
        reliable=sum(all(each) for each in passes.values()),
        p50_s=quantile(seconds, 0.5),
        p95_s=quantile(seconds, 0.95),
        ours_p95_s=quantile([turn.seconds - turn.model_seconds for turn in turns], 0.95),
        model_calls=_mean([turn.model_calls for turn in turns]),
        tokens=_mean([turn.input_tokens + turn.output_tokens for turn in turns]),
        cost=sum(turn.cost for turn in turns),
    )


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed (nearest rank); 0 of none."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _first_of_each(faults: Iterable[tuple[Scenario, str]]) -> tuple[tuple[Scenario, str], ...]:
    first: dict[str, tuple[Scenario, str]] = {}
    for scenario, why in faults:
        first.setdefault(scenario.id, (scenario, why))
    return tuple(first.values())

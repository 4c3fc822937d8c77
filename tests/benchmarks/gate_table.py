"""The gates beside other tools' rules, on the same simulated streams: `make bench-gates`.

Each cell is a traffic, a treatment's share and a scenario; a day of one look a minute. `false` is the part of the
streams that a rule rolls back before there is any harm, `found` the part that it rolls back after, with the median and
the 90th percentile of the minutes until then, and `mean/limit` their mean over ln(1/α)/I: no test whose false rollbacks
are at most α, ever, is faster on average (Wald), α being the rule's own.

What no test can do: the rows "knows the harm", "knows but when" and "knows which" are told what no rule can know
(`tests.benchmarks.references`). Where one of the first two is above a target, no test reaches it; where the third is
above 1 × what is aimed at, none that we know of reaches the targets of all four harms at once. And who forgives a
warm-up can't use its minutes: for a harm from minute 0 the mean is at least burn-in + limit, so that the row "after
burn-in" counts its mean from the end of the burn-in.

The others run at α = 5 %, as our pause does, and our rollback at 2 %, so both are compared. Where another is no
slower than the rule that is told the harm, at our level, or than the one that is told the four, that is said.
Latencies come last (`tests.benchmarks.latency_table`).
"""

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np

from tests.benchmarks import latency_table
from tests.benchmarks.gates import BURN_IN, MARGIN, Rule, dispersions, first_answers
from tests.benchmarks.latency_table import OURS as HARM
from tests.benchmarks.latency_table import PAUSED as PAUSE
from tests.benchmarks.latency_table import THEIRS, LatencyRow
from tests.benchmarks.peers import EVERY_PEER_ALPHA, PEERS, SLOW, Traffic
from tests.benchmarks.references import AIMS, LATE, balanced, counted, knows, knows_but_when, knows_which, limit
from tests.unit.gates.streams import Streams, World, simulate
from tools.gates.counts import CountTest
from tools.gates.judging import Direction
from tools.gates.wealth import Floats
from tools.plans.defaults import PlanningDefaults

MINUTES, BASE_RATE = 24 * 60, 0.005
# A plan sees the day before in so many pieces.
PIECES = PlanningDefaults().slices
TEST = CountTest(Direction.INCREASE, MARGIN)
SAFE, SETTLED = "Sluice, promote", "after burn-in"
KNOWS, BUT_WHEN, WHICH = "knows the harm", "knows but when", "knows which"
KNOWS_PAUSE, BUT_WHEN_PAUSE, WHICH_PAUSE = (f"{told}, pauses" for told in (KNOWS, BUT_WHEN, WHICH))
# A peer with more false rollbacks than this is not one to be faster than.
TRUSTED = 0.05


@dataclass(frozen=True)
class Scenario:
    """A world but for its traffic and share, and what it is to show."""

    name: str
    world: World
    burn_in: int = 0

    @property
    def harmless(self) -> bool:
        """Whether a rollback would be false whenever it comes."""
        return self.world.ratio == 1

    @property
    def onset(self) -> int:
        return 0 if self.harmless else self.world.onset


NULLS = (
    Scenario("no harm", World()),
    Scenario("no harm, bursts of 3", World(burst=3.0)),
    Scenario("no harm, bursts of 1.25", World(burst=1.25)),
    Scenario("no harm, bursts of 2", World(burst=2.0)),
    Scenario("no harm, drift", World(walk=0.5)),
    Scenario("no harm, incident ×6", World(incident=True)),
    Scenario("no harm, warm-up ×5", World(before=5.0, onset=BURN_IN), burn_in=BURN_IN),
)
HARMS = (
    Scenario("×1.5", World(ratio=1.5)),
    Scenario("×2", World(ratio=2.0)),
    Scenario("×5", World(ratio=5.0)),
    Scenario("×2 late", World(ratio=2.0, onset=LATE)),
    Scenario("×2, bursts of 3", World(ratio=2.0, burst=3.0)),
    Scenario("×2, drift", World(ratio=2.0, walk=0.5)),
)
SCENARIOS = NULLS + HARMS


@dataclass(frozen=True)
class Cell:
    """What is simulated at once."""

    requests: float
    share: float
    scenario: Scenario
    streams: int
    slow_streams: int
    seed: int
    peers: bool

    @property
    def world(self) -> World:
        return replace(self.scenario.world, requests=self.requests, share=self.share, base_rate=BASE_RATE)

    @property
    def name(self) -> str:
        return f"{self.requests:>5,.0f}/min {self.share:>4.0%} {self.scenario.name}"


@dataclass(frozen=True)
class Row:
    """One rule in one cell; minutes are from the onset, infinity for never, `mean` None where too few are found.

    `chance` is the standard error of `mean`.
    `balance`, of the rule that is told which harms there are: its worst mean in this traffic, over what is aimed at.
    """

    cell: Cell
    rule: str
    streams: int
    false: float
    found: float
    median: float
    p90: float
    mean: float | None
    limit: float | None
    chance: float = 0.0
    balance: float | None = None

    @property
    def over_limit(self) -> float | None:
        return None if self.mean is None or self.limit is None else self.mean / self.limit

    def __str__(self) -> str:
        false = "-" if math.isnan(self.false) else f"{self.false:.4f}"
        found = "-" if self.cell.scenario.harmless else f"{self.found:.3f}"
        times = ["never" if math.isinf(wait) else f"{wait:.0f}" for wait in (self.median, self.p90)]
        return f"  {self.rule:<26}{false:>8}{found:>8}{times[0]:>8}{times[1]:>8}{_over(self):>9}"


def measure(cell: Cell) -> list[Row]:
    """Every rule on one cell's streams."""
    streams = simulate(cell.world, cell.streams, _minutes(cell), cell.seed)
    before = simulate(_before(cell.world), cell.streams, PIECES, cell.seed + 1)
    rows = [_row(cell, rule, answers, alpha) for rule, answers, alpha in _ours(cell, streams, before)]
    if cell.peers:
        traffic = Traffic(streams, cell.seed)
        for name, rule in PEERS.items():
            answers = rule(traffic.first(cell.slow_streams) if name in SLOW else traffic)
            rows.append(_row(cell, name, answers, EVERY_PEER_ALPHA))
    return rows


def _before(world: World) -> World:
    """The day before, whose intervals are a plan's pieces."""
    requests = world.requests * MINUTES / PIECES
    return replace(world, requests=requests, ratio=1.0, before=1.0, walk=0.0, incident=False)


def _minutes(cell: Cell) -> int:
    """A day; less where a harm is found long before."""
    scenario = cell.scenario
    if scenario.harmless or scenario.world.burst > 1 or scenario.world.walk or cell.peers:
        return MINUTES
    return min(MINUTES, scenario.onset + math.ceil(12 * limit(cell.world, TEST.alpha_rollback)) + 30)


def _ours(cell: Cell, streams: Streams, before: Streams) -> Iterator[tuple[str, Floats, float]]:
    counts = counted(streams)
    phi = dispersions(
        {
            "hn": before.control_exposures + before.treatment_exposures,
            "he": before.control_events + before.treatment_events,
        }
    )
    rule, scenario = Rule.harm(TEST, TEST.alpha_rollback), cell.scenario
    levels = [rule.log_level, Rule.harm(TEST, TEST.alpha_pause).log_level]
    rolled_back, paused = first_answers(rule, levels, counts, phi, scenario.burn_in)
    yield HARM, rolled_back, TEST.alpha_rollback
    yield PAUSE, paused, TEST.alpha_pause
    if scenario.world.ratio in (1.0, MARGIN) and not scenario.onset:
        proof = Rule.safe(TEST)
        yield SAFE, first_answers(proof, [proof.log_level], counts, phi)[0], TEST.alpha_safe
    if not scenario.harmless and not scenario.onset and _poisson(scenario):
        settled = first_answers(rule, levels[:1], counts, phi, BURN_IN)[0]
        yield SETTLED, settled, TEST.alpha_rollback
    if not scenario.harmless and _poisson(scenario):
        told = {KNOWS: knows, WHICH: knows_which} | ({BUT_WHEN: knows_but_when} if scenario.onset else {})
        for name, reference in told.items():
            yield name, reference(cell.world, counts, TEST.alpha_rollback), TEST.alpha_rollback
        told = {WHICH_PAUSE: knows_which}
        told |= {BUT_WHEN_PAUSE: knows_but_when} if scenario.onset else {KNOWS_PAUSE: knows}
        for name, reference in told.items():
            yield name, reference(cell.world, counts, TEST.alpha_pause), TEST.alpha_pause


def _poisson(scenario: Scenario) -> bool:
    return scenario.world.burst == 1 and not scenario.world.walk


def _row(cell: Cell, rule: str, answers: Floats, alpha: float) -> Row:
    scenario = cell.scenario
    start = BURN_IN if rule == SETTLED else scenario.onset
    finite = np.isfinite(answers)
    early = finite & (answers <= scenario.onset)
    found = finite & ~early
    waits = np.sort(np.where(found, answers - start, np.inf)[~early])
    comparable = not scenario.harmless and _poisson(scenario) and rule != SAFE
    enough = comparable and found.sum() > 0.99 * (~early).sum()
    return Row(
        cell=cell,
        rule=rule,
        streams=len(answers),
        false=float(finite.mean())
        if scenario.harmless or rule == SAFE
        else float(early.mean())
        if scenario.onset
        else math.nan,
        found=float(found.sum() / max((~early).sum(), 1)),
        median=_quantile(waits, 0.5),
        p90=_quantile(waits, 0.9),
        mean=float(waits[np.isfinite(waits)].mean()) if enough else None,
        limit=limit(cell.world, alpha) if comparable else None,
        chance=float(np.std(waits[np.isfinite(waits)]) / math.sqrt(found.sum())) if enough else 0.0,
        balance=balanced(cell.world, alpha).worst if rule == WHICH else None,
    )


def _alike(calm: World, harmful: World) -> bool:
    """Whether they differ in the harm alone."""
    return (calm.burst, calm.walk) == (harmful.burst, harmful.walk)


def _quantile(sorted_waits: Floats, part: float) -> float:
    if not len(sorted_waits):
        return math.nan
    return float(sorted_waits[min(len(sorted_waits) - 1, math.ceil(part * len(sorted_waits)) - 1)])


@dataclass
class Target:
    """Something promised: how many cells show it, and those that do not, each with why."""

    what: str
    held: int = 0
    ties: int = 0
    unjudged: list[str] = field(default_factory=list)
    impossible: list[str] | None = None
    missed: list[str] | None = None
    beyond_told: dict[str, list[str]] = field(default_factory=dict)

    @property
    def seen(self) -> bool:
        """Whether any cell says something about it: without other rules, or with few scenarios, some have none."""
        return bool(self.held or self.ties or self.impossible or self.missed or self.beyond_told)

    def add(self, held: bool, cell: str, *, impossible: bool = False, beyond_told: str | None = None) -> None:
        """Count a cell; `beyond_told` is the rule that is told what no rule can know, and does not reach it either."""
        if held:
            self.held += 1
        elif impossible:
            self.impossible = [*(self.impossible or []), cell]
        elif beyond_told:
            self.beyond_told.setdefault(beyond_told, []).append(cell)
        else:
            self.missed = [*(self.missed or []), cell]

    def __str__(self) -> str:
        verdict = "MISSED" if self.missed else "holds" if self.held else "beyond" if self.seen else "unseen"
        tied = f", {self.ties} tie at the first look" if self.ties else ""
        tied += f", {len(self.unjudged)} find too few for a mean: {', '.join(self.unjudged)}" if self.unjudged else ""
        lines = [f"{verdict:<7}{self.what}: {self.held} cells hold{tied}"]
        if self.impossible:
            lines.append(f"         no test can: {'; '.join(self.impossible)}")
        for told, cells in self.beyond_told.items():
            lines.append(f"         nor does the rule that {told}: {'; '.join(cells)}")
        if self.missed:
            lines.append(f"         missed: {'; '.join(self.missed)}")
        return "\n".join(lines)


LIMITS = dict(zip(("×1.5", "×2", "×5", "×2 late"), AIMS, strict=True))


def targets(rows: Sequence[Row]) -> list[Target]:
    """What is promised, held against the table."""
    by_cell: dict[tuple[float, float], dict[str, dict[str, Row]]] = {}
    for row in rows:
        traffic = by_cell.setdefault((row.cell.requests, row.cell.share), {})
        traffic.setdefault(row.cell.scenario.name, {})[row.rule] = row
    return [
        _false_rollbacks(rows),
        _unsafe(rows),
        *_fast(rows, by_cell),
        *(_faster_than_peers(by_cell, rule) for rule in (HARM, PAUSE)),
    ]


def _false_rollbacks(rows: Sequence[Row]) -> Target:
    target = Target(f"false rollbacks within a day at most {TEST.alpha_rollback:.0%} (to within simulation's chance)")
    for row in rows:
        if row.rule == HARM and row.cell.scenario.harmless:
            target.add(_within(row, TEST.alpha_rollback), f"{row.cell.name} {row.false:.4f}")
    return target


def _unsafe(rows: Sequence[Row]) -> Target:
    target = Target(f"promotions of a treatment at the margin at most {TEST.alpha_safe:.0%}")
    for row in rows:
        if row.rule == SAFE and row.cell.scenario.world.ratio == MARGIN:
            target.add(_within(row, TEST.alpha_safe), f"{row.cell.name} {row.false:.4f}")
    return target


def _within(row: Row, promised: float) -> bool:
    """Not above what is promised by more than three standard errors of the simulation."""
    return row.false <= promised + 3 * math.sqrt(promised * (1 - promised) / row.streams)


def _fast(rows: Sequence[Row], by_cell: dict[tuple[float, float], dict[str, dict[str, Row]]]) -> Iterator[Target]:
    for scenario, most in LIMITS.items():
        target = Target(f"{scenario}: mean/limit at most {most} (to within two standard errors)")
        for row in rows:
            if row.rule != HARM or row.cell.scenario.name != scenario:
                continue
            if row.over_limit is None:
                target.unjudged.append(row.cell.name)
            else:
                told = by_cell[row.cell.requests, row.cell.share][scenario]
                best, which = told.get(BUT_WHEN, told[KNOWS]), told[WHICH]
                detail = f"{row.cell.name}: ours {_over(row)}, {best.rule} {_over(best)}, {which.rule} {_over(which)}"
                if which.balance is not None:
                    detail += f" (and then its worst of the four {which.balance:.2f} × what is aimed at)"
                held = row.over_limit - 2 * row.chance / (row.limit or math.inf) <= most
                target.add(held, detail, impossible=(best.over_limit or 0) > most)
        yield target


def _over(row: Row) -> str:
    return "-" if row.over_limit is None else f"{row.over_limit:.2f}"


def _faster_than_peers(by_cell: dict[tuple[float, float], dict[str, dict[str, Row]]], rule: str) -> Target:
    what = f"{rule}: faster at the median, or found more often where neither is within a day for half, than every other"
    target = Target(f"{what} with at most {TRUSTED:.0%} false rollbacks")
    for scenarios in by_cell.values():
        for harmful in HARMS:
            calm = next(null for null in NULLS if _alike(null.world, harmful.world))
            measured = scenarios.get(harmful.name, {})
            for name in PEERS:
                without_harm = scenarios.get(calm.name, {}).get(name)
                if name not in measured or without_harm is None or without_harm.false > TRUSTED:
                    continue
                ours, theirs, told = measured[rule], measured[name], _told(measured, rule)
                known = "".join(f", {row.rule} {row.median:.0f}" for row in told)
                detail = f"{ours.cell.name}: {ours.median:.0f} min, {name} {theirs.median:.0f}{known}"
                if math.isinf(ours.median) and math.isinf(theirs.median):
                    shares = f"{ours.cell.name}: found {ours.found:.1%} within the day, {name} {theirs.found:.1%}"
                    target.add(ours.found >= theirs.found, shares)
                    continue
                if ours.median == theirs.median == 1:
                    target.ties += 1
                    continue
                slower = next((row.rule for row in told if row.median >= theirs.median), None)
                target.add(ours.median < theirs.median, detail, beyond_told=slower)
    return target


def _told(measured: dict[str, Row], rule: str) -> list[Row]:
    """The rules that are told something, at that rule's level, those that are told most first."""
    names = (BUT_WHEN, KNOWS, WHICH) if rule == HARM else (BUT_WHEN_PAUSE, KNOWS_PAUSE, WHICH_PAUSE)
    # Of a late harm the rule that knows when it comes is not one that could be run.
    found = [measured[name] for name in names if name in measured]
    return [found[0], found[-1]] if found else []


def latency_targets(rows: Sequence[LatencyRow]) -> list[Target]:
    """What is promised of latencies."""
    false = Target(f"latencies: false rollbacks within a day at most {TEST.alpha_rollback:.0%}")
    faster = {rule: Target(f"latencies, {rule}: faster at the median than {THEIRS}") for rule in (HARM, PAUSE)}
    by_cell: dict[str, dict[str, LatencyRow]] = {}
    for row in rows:
        by_cell.setdefault(row.cell.name, {})[row.rule] = row
    for name, measured in by_cell.items():
        ours, theirs = measured[HARM], measured[THEIRS]
        if ours.cell.harmless:
            promised, streams = TEST.alpha_rollback, ours.cell.streams
            most = promised + 3 * math.sqrt(promised * (1 - promised) / streams)
            false.add(ours.alarmed <= most, f"{name} {ours.alarmed:.4f}")
            continue
        for rule, target in faster.items():
            target.add(
                measured[rule].median < theirs.median,
                f"{name}: {measured[rule].median:.0f} min, {THEIRS} {theirs.median:.0f}",
            )
    return [false, *faster.values()]


HEADER = f"  {'rule':<26}{'false':>8}{'found':>8}{'median':>8}{'p90':>8}{'mean/lim':>9}"


def main() -> None:
    """Write the table as its cells are ready, then what is promised; exit with 1 where something is missed."""
    options = _options()
    cells = [
        Cell(requests, share, scenario, options.n, options.nk, options.seed, requests in options.peers)
        for requests, share, scenario in product(options.rpm, options.shares, SCENARIOS)
        if options.only in scenario.name
    ]
    chosen = [cell for cell in latency_table.cells(options.latencies, options.seed) if options.only in cell.name]
    if not (cells or chosen):
        names = ", ".join(["latencies", *(one.name for one in SCENARIOS)])
        sys.exit(f"No scenario's name has {options.only!r} in it: {names}.")
    began, rows = time.monotonic(), list[Row]()
    _write(f"{options.n:,} streams a cell, seed {options.seed}, base rate {BASE_RATE:.1%}; minutes, one look in each")
    with ProcessPoolExecutor(options.processes) as pool:
        for cell, measured in zip(cells, pool.map(measure, cells), strict=True):
            harmless = cell.scenario.harmless
            bound = "" if harmless else f"   (limit at 2 %: {limit(cell.world, TEST.alpha_rollback):.1f} min)"
            _write(f"\n{cell.name}{bound}", HEADER, *map(str, measured))
            rows.extend(measured)
        by_latency = list[LatencyRow]()
        for latency_cell, seen in zip(chosen, pool.map(latency_table.measure, chosen), strict=True):
            _write(f"\n{latency_cell.name}", HEADER, *map(str, seen))
            by_latency.extend(seen)
    found = [*targets(rows), *latency_targets(by_latency)]
    shown = sum(target.seen for target in found)
    _write(f"\nTook {time.monotonic() - began:.0f} s.", *map(str, found))
    missed = sum(bool(target.missed) for target in found)
    _write(f"{shown - missed} of {shown} targets hold" + (f", {missed} are missed." if missed else "."))
    sys.exit(1 if missed else 0)


def _write(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-gates ARGS=", description="The gates beside others.")
    parser.add_argument("--n", type=int, default=1000, help="streams in a cell")
    parser.add_argument("--nk", type=int, default=100, help="streams for Mann-Whitney, which is slow")
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--rpm", type=float, nargs="+", default=[60, 600, 6000], help="requests a minute")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.01, 0.05, 0.2, 0.5], help="treatment's shares")
    parser.add_argument(
        "--peers", type=float, nargs="*", default=[60, 600, 6000], help="at which requests a minute others run"
    )
    parser.add_argument("--latencies", type=int, default=200, help="streams in a cell of latencies")
    parser.add_argument("--only", default="", help="scenarios whose name has this in it")
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()

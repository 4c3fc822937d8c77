"""The table that the benchmarks end with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import pytest


@dataclass(frozen=True, slots=True)
class Figure:
    """Something that was measured, in the unit named; `target` None where none was promised."""

    what: str
    value: float
    unit: str
    target: float | None

    @property
    def met(self) -> bool:
        return self.target is None or self.value <= self.target

    @property
    def cells(self) -> tuple[str, str, str]:
        """What, how much, and the promise."""
        promise = "" if self.target is None else f"at most {self.target:,.0f} {self.unit}"
        return self.what, f"{self.value:,.1f} {self.unit}", promise if self.met else f"{promise}, MISSED"


@dataclass
class Figures:
    """What was measured so far."""

    rows: list[Figure] = field(default_factory=list)

    def add(self, what: str, value: float, unit: str, *, target: float | None = None) -> None:
        """Keep a figure; the benchmark fails when it is above the target."""
        figure = Figure(what, value, unit, target)
        self.rows.append(figure)
        assert figure.met, f"{what}: {value:,.1f} {unit}, which is more than {target:,.0f}"

    def times(self, what: str, seconds: Sequence[float], *, target_s: float | None = None) -> None:
        """Keep the median of some times, and the longest."""
        self.rows.append(Figure(f"{what}, longest of {len(seconds)}", max(seconds) * 1000, "ms", None))
        target = None if target_s is None else target_s * 1000
        self.add(f"{what}, median of {len(seconds)}", median(seconds) * 1000, "ms", target=target)


FIGURES = Figures()


@pytest.fixture
def figures() -> Figures:
    """Where a benchmark puts what it measured."""
    return FIGURES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    rows = [figure.cells for figure in FIGURES.rows]
    if not rows:
        return
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    terminalreporter.section("figures")
    for what, value, promise in rows:
        terminalreporter.write_line(f"{what:<{widths[0]}}  {value:>{widths[1]}}  {promise}".rstrip())

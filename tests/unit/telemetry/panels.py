"""The dashboard that is shipped, as Grafana would ask its queries."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

BOARD: dict[str, Any] = json.loads(resources.files("bot.telemetry").joinpath("dashboard.json").read_text("utf-8"))
TARGETS_LABELS = frozenset({"instance", "job"})
"""Labels that Prometheus gives what it scrapes."""

_NAME = re.compile(r"\b(?:sluice|process|python)_[a-z_]+\b")
_MATCHERS = re.compile(r"\{([^}]*)\}")
_GROUPED = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")


@dataclass(frozen=True)
class Query:
    """A query, with what its legend names."""

    title: str
    text: str
    legend: str

    @property
    def asked(self) -> str:
        """The text with Grafana's variables filled in."""
        return self.text.replace("$__rate_interval", "5m")

    @property
    def series(self) -> frozenset[str]:
        """The names of the series in it."""
        return series_in(self.text)

    @property
    def labels(self) -> frozenset[str]:
        """The labels in it and in its legend."""
        return labels_in(self.text) | frozenset(re.findall(r"\{\{(\w+)\}\}", self.legend))


def queries() -> Iterator[Query]:
    """Every panel's."""
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            yield Query(panel["title"], target["expr"], target["legendFormat"])


def series_in(text: str) -> frozenset[str]:
    """The names of series in PromQL."""
    return frozenset(_NAME.findall(text))


def labels_in(text: str) -> frozenset[str]:
    """The labels that PromQL selects and groups by."""
    matched = (one.split("=")[0].split("!")[0] for inner in _MATCHERS.findall(text) for one in inner.split(","))
    grouped = (one for inner in _GROUPED.findall(text) for one in inner.split(","))
    return frozenset(label.strip() for label in (*matched, *grouped) if label.strip())

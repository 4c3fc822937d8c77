"""Plain text for a terminal: aligned columns, moments, JSON."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter


def table(rows: Iterable[Sequence[str]], heads: Sequence[str] = ()) -> str:
    """The rows in columns as wide as their widest cell; the last column is left as it is."""
    every = [tuple(heads), *map(tuple, rows)] if heads else [tuple(row) for row in rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(every[0]) - 1)] if every else []
    return "\n".join(_line(row, widths) for row in every)


def moment(at: datetime | None) -> str:
    """A moment in UTC, to the second."""
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M:%S}Z"


def counted(number: int, what: str) -> str:
    """`1 event`, `2 events`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def as_json(value: Any) -> str:
    """A value of dataclasses and pydantic models as one JSON document."""
    return json.dumps(TypeAdapter(type(value)).dump_python(value, mode="json"), ensure_ascii=False, indent=2)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
    return "  ".join([*cells, row[-1]]).rstrip()

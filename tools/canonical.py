"""Canonical JSON: one text for one value, so that it can be hashed."""

import json
from typing import Any


def canonical_json(value: Any) -> str:
    """`value` (plain JSON types) with sorted keys, no spaces, no NaN; ValueError for NaN or infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

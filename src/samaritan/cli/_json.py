"""JSON as the program prints it."""

from __future__ import annotations

import json


def as_json(value: object) -> str:
    """Return JSON for people and programs: indented, without NaN."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)

"""Read what is stored as portable JSON, and nothing else: no pickle is ever loaded."""

import json
import math
from typing import Any

PORTABLE = "portable_json"


def loaded(stored: str | None, serialization: str | None) -> Any:
    """The value of a text; None for other formats, and for what JSON cannot express."""
    if stored is None or serialization != PORTABLE:
        return None
    try:
        return json.loads(stored, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError):  # Other languages nest deeper and count further.
        return None


def _finite(number: str) -> float | None:
    value = float(number)
    return value if math.isfinite(value) else None

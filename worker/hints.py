"""Attributes of an exception that pydantic makes of JSON, as the hints of its class say.

The types are those that the code names; a row only has the values.
"""

import functools
import json
from contextlib import suppress
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from .literals import Json


def dumped_by_hint(kind: type, name: str, value: Any) -> list[Json]:
    """An attribute as JSON that its hint makes an equal one of; an empty list if it has none."""
    with suppress(Exception):  # There is no hint, or pydantic has no way with it.
        dumped = _adapter(kind, name).dump_python(value, mode="json", warnings="error")
        again = revived(kind, name, dumped)
        if type(again) is type(value) and again == value:
            return [dumped]
    return []


def revived(kind: type, name: str, dumped: Json) -> Any:
    """What the hint of an attribute makes of JSON."""
    return _adapter(kind, name).validate_json(json.dumps(dumped, allow_nan=False))


@functools.cache
def _adapter(kind: type, name: str) -> TypeAdapter[Any]:
    return TypeAdapter(_hints(kind)[name])


def _hints(kind: type) -> dict[str, Any]:
    """Those of a class, and those that its `__init__` has for arguments of the same names."""
    hints: dict[str, Any] = {}
    for hinted in (kind.__init__, kind):  # type: ignore[misc]
        with suppress(Exception):  # It may name what exists only for type checkers.
            hints |= get_type_hints(hinted, include_extras=True)
    return hints

"""What JSON does not keep of a value: the value is compared with what was read back."""

import numbers
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, time
from decimal import Decimal
from functools import cached_property
from itertools import chain, zip_longest
from typing import Any, NamedTuple

from pydantic import BaseModel

BASES = (int, float, str, bytes, list, tuple, set, frozenset, dict)
"""A hint that names one of these takes subclasses, too; what is given back is the base."""

NUMBERS = (int, float, Decimal)
"""A hint that names one of these takes an equal number of another type."""

NUMPY_BOOLS = ("numpy.bool", "numpy.bool_")
"""The bool of numpy 2 and of numpy 1, which is no number to Python."""

QUICK = (int, str, bool, type(None))
"""Types whose values are the same if they are equal."""

MISSING = object()


def a(name: str) -> str:
    """The name of a type with its article; those with a U begin as UUID and uint8 do."""
    return f"an {name}" if name[0] in "aeioAEIO" else f"a {name}"


class Difference(NamedTuple):
    """A part of a value, and what was kept of it."""

    path: str
    value: Any
    kept: Any

    def __str__(self) -> str:
        given, kept = type(self.value).__name__, type(self.kept).__name__
        if self.value is MISSING:
            return f"would come back with {a(kept)} at {self.path}"
        has = f"has {a(given)} at {self.path}" if self.path else f"is {a(given)}"
        if self.kept is MISSING:
            return f"{has} that would be lost"
        return f"{has} that would come back {'changed' if given == kept else f'as {a(kept)}'}"


def difference(value: Any, kept: Any, *, loose: bool) -> Difference | None:
    """The first difference between a value and what was kept of it, types included.

    If loose, a number may have become an equal one of another type, and a subclass of a builtin
    type its base: that is what a hint has asked for.
    """
    if type(kept) is not type(value) and not (loose and _as_asked(value, kept)):
        return Difference("", value, kept)
    parts = _parts(value, kept)
    if parts is None:
        return None if _equal(value, kept) else Difference("", value, kept)
    for step, name, part, part_kept in parts:
        if type(part) is type(part_kept) and type(part) in QUICK and part == part_kept:
            continue
        if found := difference(part, part_kept, loose=loose):
            return found._replace(path=step.format(name) + found.path)
    return None


def _as_asked(value: Any, kept: Any) -> bool:
    if type(kept) in NUMBERS and isinstance(value, (numbers.Real, Decimal)):
        return bool(value == kept)
    if type(kept) is bool and f"{type(value).__module__}.{type(value).__name__}" in NUMPY_BOOLS:
        return bool(value == kept)
    return type(kept) in BASES and isinstance(value, type(kept))


def _equal(value: Any, kept: Any) -> bool:
    """Whether values without parts are the same to the last digit."""
    if isinstance(kept, float):
        return repr(float(value)) == repr(kept)
    if isinstance(kept, Decimal) and isinstance(value, Decimal):
        return bool(value.as_tuple() == kept.as_tuple())
    if isinstance(kept, (datetime, time)):
        same_fold = kept.tzinfo is not None or value.fold == kept.fold
        return bool(value == kept) and value.utcoffset() == kept.utcoffset() and same_fold
    return bool(value == kept)


Parts = Iterable[tuple[str, Any, Any, Any]]
"""How to write the way to a part, its name, the part, and what was kept of it."""


def _parts(value: Any, kept: Any) -> Parts | None:
    """The parts of a value, each with what was kept of it; None if it has no parts."""
    if isinstance(kept, dict):
        keys = () if all(type(key) is str for key in {**value, **kept}) else _keys(value, kept)
        return chain(keys, _by_name(value, kept, "[{!r}]"))
    if isinstance(kept, (list, tuple, deque)):
        both = zip_longest(value, kept, fillvalue=MISSING)
        return (("[{}]", index, *parts) for index, parts in enumerate(both))
    if isinstance(kept, (set, frozenset)):
        return chain(_keys(value, kept), _keys(kept, value))
    if isinstance(kept, BaseModel):
        return _by_name(_fields(value), _fields(kept), ".{}")
    if is_dataclass(kept):
        return _by_name(_attributes(value), _attributes(kept), ".{}")
    return None


def _by_name(value: Mapping[Any, Any], kept: Mapping[Any, Any], step: str) -> Parts:
    for name in {**value, **kept}:
        yield step, name, value.get(name, MISSING), kept.get(name, MISSING)


def _keys(value: Iterable[Any], kept: Iterable[Any]) -> Parts:
    """Keys and members, which are found by what they are equal to."""
    own = {key: key for key in kept}
    for key in value:
        yield "[a key]", None, key, own.get(key, MISSING)


def _fields(model: BaseModel) -> dict[str, Any]:
    own = {name: model.__dict__.get(name, MISSING) for name in type(model).model_fields}
    return own | (model.__pydantic_extra__ or {}) | (model.__pydantic_private__ or {})


def _attributes(instance: Any) -> dict[str, Any]:
    """What a dataclass was given, in fields and besides; not what it has computed and keeps."""
    own = {field.name: getattr(instance, field.name, MISSING) for field in fields(instance)}
    return own | {
        name: value
        for name, value in getattr(instance, "__dict__", {}).items()
        if not isinstance(getattr(type(instance), name, None), cached_property)
    }

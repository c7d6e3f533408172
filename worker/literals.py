"""Python values as JSON that keeps their types.

A value of JSON stands for itself, except for objects: every JSON object is a tag, such as
`{"tuple": [1, 2]}`, `{"decimal": "1.10"}` or, for a dict, `{"dict": {"a": 1}}`.
"""

import base64
import json
import math
import numbers
import uuid
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from .classes import found, is_findable, namespace

DEPTH = 20
"""How deep values may be nested; data is hardly, and what contains itself is endlessly."""

LARGEST_INTEGER_BITS = 10_000
"""Python refuses to read integers of more than 4,300 digits, which is 14,000 bits."""

Json = Any


class TooLarge(Exception):
    """A value is larger, or deeper, than what may be stored of it."""


class Form(NamedTuple):
    """How the values of a class are written, and how they are read again."""

    tag: str
    write: Callable[[Any], Json]
    read: Callable[[Any], Any]


FORMS: dict[type, Form] = {
    Decimal: Form("decimal", str, Decimal),
    datetime: Form("datetime", datetime.isoformat, datetime.fromisoformat),
    date: Form("date", date.isoformat, date.fromisoformat),
    time: Form("time", time.isoformat, time.fromisoformat),
    timedelta: Form(
        "timedelta", lambda t: [t.days, t.seconds, t.microseconds], lambda t: timedelta(*t)
    ),
    uuid.UUID: Form("uuid", str, uuid.UUID),
    bytes: Form("bytes", lambda b: base64.b64encode(b).decode(), base64.b64decode),
    type(Path()): Form("path", str, Path),
}

READ = {form.tag: form.read for form in FORMS.values()}

COLLECTIONS: dict[type, str] = {tuple: "tuple", set: "set", frozenset: "frozenset"}

COLLECTED: dict[str, Callable[[Iterable[Any]], Any]] = {
    tag: kind for kind, tag in COLLECTIONS.items()
}

PLAIN: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (numbers.Integral, int),
    (numbers.Real, float),
    (bytes, bytes),
    (list, list),
    (tuple, tuple),
    (set, set),
    (frozenset, frozenset),
    (dict, dict),
)
"""What is kept of a subclass: the value of the first class here that it is one of."""


class Writer:
    """Writes values, `limit` characters of text at most; `lost` is what was changed by it."""

    def __init__(self, limit: int) -> None:
        self.left = limit
        self.lost: list[str] = []
        self._depth = 0

    def write(self, value: Any) -> Json:
        """A value as JSON; raises TooLarge."""
        self._depth += 1
        try:
            if self._depth > DEPTH:
                raise TooLarge
            return self._write(value)
        finally:
            self._depth -= 1

    def spend(self, characters: int) -> None:
        """Account for text; raises TooLarge."""
        self.left -= characters
        if self.left < 0:
            raise TooLarge

    def other(self, value: Any) -> Json:
        """What is kept of a value whose type has no form: that of a simpler type, or its text."""
        self.lost.append(type(value).__name__)
        for kind, simplified in PLAIN:
            if isinstance(value, kind) and type(value) is not kind:
                return self.write(simplified(value))
        return self.write(text(value))

    def _write(self, value: Any) -> Json:
        self.spend(5)
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            self.spend(len(value))
            return value
        if kind is int and value.bit_length() < LARGEST_INTEGER_BITS:
            self.spend(value.bit_length() // 3)
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": str(value)}
        if kind is list:
            return [self.write(each) for each in value]
        if kind in COLLECTIONS:
            return {COLLECTIONS[kind]: self._collection(value)}
        if kind is dict:
            return self._dict(value)
        if kind in FORMS:
            return self._form(value)
        if issubclass(kind, type) and is_findable(value):
            return {"class": [value.__module__, value.__qualname__]}
        if issubclass(kind, Enum) and _is_found(value):
            return {"enum": [kind.__module__, kind.__qualname__, value.name]}
        return self.other(value)

    def _collection(self, values: Iterable[Any]) -> Json:
        written = [self.write(each) for each in values]
        return written if isinstance(values, tuple) else sorted(written, key=json.dumps)

    def _dict(self, value: dict[Any, Any]) -> Json:
        if all(type(key) is str for key in value):
            self.spend(sum(map(len, value)))
            return {"dict": {key: self.write(each) for key, each in value.items()}}
        return {"items": [[self.write(key), self.write(each)] for key, each in value.items()]}

    def _form(self, value: Any) -> Json:
        if type(getattr(value, "tzinfo", None)) not in (type(None), timezone):
            self.lost.append(type(value.tzinfo).__name__)
        tag, write, _ = FORMS[type(value)]
        return {tag: self.write(write(value))}


class Reader:
    """Reads what a `Writer` has written."""

    def read(self, written: Json) -> Any:
        """The value; raises an Exception when it is none that a `Writer` has written."""
        if isinstance(written, list):
            return [self.read(each) for each in written]
        if isinstance(written, dict):
            ((tag, content),) = written.items()
            return self.tagged(tag, content)
        return written

    def tagged(self, tag: str, content: Json) -> Any:
        """The value of a tag."""
        match tag:
            case "dict":
                return {key: self.read(each) for key, each in content.items()}
            case "items":
                return {self.read(key): self.read(each) for key, each in content}
            case "float":
                return float(content)
            case "class":
                return _existing(found(*content))
            case "enum":
                module, qualname, name = content
                return namespace(_enum(module, qualname))["_member_map_"][name]
        if tag in COLLECTED:
            return COLLECTED[tag](self.read(each) for each in content)
        return READ[tag](self.read(content))


def text(value: Any) -> str:
    """What a value says of itself, whatever its own methods do."""
    for say in (str, repr):
        try:
            return say(value)
        except Exception:  # It may raise anything; the next one is tried.
            continue
    return "<unprintable>"


def _existing(kind: type | None) -> type:
    if kind is None:
        raise LookupError("there is no such class")
    return kind


def _enum(module: str, qualname: str) -> type[Enum]:
    kind = _existing(found(module, qualname))
    if not issubclass(kind, Enum):
        raise LookupError(f"{qualname} is no Enum")
    return kind


def _is_found(member: Enum) -> bool:
    """Whether the names of a member lead to it; a combination of flags has none."""
    kind = type(member)
    return is_findable(kind) and namespace(kind)["_member_map_"].get(member.name) is member

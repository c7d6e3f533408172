"""How large what workflows store may be: results, and what they tell others.

A value is measured as the JSON text that DBOS stores of it, in bytes of UTF-8.
"""

import functools
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

from dbos import DBOSPortableJSONSerializer

from .blocks import block
from .errors import ValueTooLarge
from .settings import MAX_RESULT_BYTES, MAX_VALUE_BYTES

Function = Callable[..., Any]

LONGEST_CHARACTER_BYTES = 6
"""Size of the longest character in JSON, which is a control character, such as `\\u0001`."""

MOST_TIMES_LONGER = 2
"""How many times as long as pydantic's text that of DBOS may be: pydantic writes `1e20` where DBOS
writes `1e+20`, and nothing grows more."""


class Limit(NamedTuple):
    """How many bytes of JSON a value of some kind may have, and which setting says so."""

    setting: str
    most_bytes: int

    def check(self, text: str, what: str) -> None:
        """Raise ValueTooLarge, which names `what` it is, for a JSON text that is larger."""
        if len(text) * LONGEST_CHARACTER_BYTES <= self.most_bytes:
            return
        size = len(text) if text.isascii() else len(text.encode(errors="backslashreplace"))
        if size > self.most_bytes:
            raise ValueTooLarge(what=what, size=size, limit=self.most_bytes, setting=self.setting)

    def checked(self, value: Any, what: str, text: bytes | None = None) -> Any:
        """A JSON value; raises what `check` raises.

        `text` is the value as pydantic writes it, if it has. With that only a value that may be
        too large is written once more.
        """
        if text is not None:
            at_most = MOST_TIMES_LONGER * len(text)
        elif isinstance(value, str):
            at_most = LONGEST_CHARACTER_BYTES * len(value) + 2
        else:
            at_most = value.bit_length() if isinstance(value, int) else 4
        if at_most > self.most_bytes:
            self.check(DBOSPortableJSONSerializer().serialize(value), what)
        return value


class Limits(NamedTuple):
    """The limits of an application."""

    results: Limit
    values: Limit


def limits(max_result_bytes: int, max_value_bytes: int) -> Limits:
    """The limits that the settings say."""
    return Limits(
        Limit("MAX_RESULT_BYTES", max_result_bytes), Limit("MAX_VALUE_BYTES", max_value_bytes)
    )


DEFAULTS = limits(MAX_RESULT_BYTES, MAX_VALUE_BYTES)


class LimitedJSONSerializer(DBOSPortableJSONSerializer):
    """DBOS's serializer, which whoever stores something has at hand, with the limits for that."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits


def limits_of(serializer: Any) -> Limits:
    """The limits of an application that stores with this serializer."""
    found: Limits = getattr(serializer, "limits", DEFAULTS)
    return found


_watched: ContextVar[tuple[Limit, str] | None] = ContextVar("watched", default=None)
"""The limit of what is being told, and what it is."""


def limited(serialize_value: Function) -> Function:
    """Make of `serialize_value`, which DBOS calls before it writes anything, one that raises
    ValueTooLarge for what a workflow tells others."""

    @functools.wraps(serialize_value)
    def serialize(*args: Any, **kwargs: Any) -> Any:
        text, serialization = serialize_value(*args, **kwargs)
        if watched := _watched.get():
            limit, what = watched
            limit.check(text, what)
        return text, serialization

    return serialize


def limited_values(what: str, step: str | None, tell: Function) -> Function:
    """Make of a method that tells a value under a key, as an event or in a stream, one with a
    limit; `step` is the name under which a workflow records that, None is within a step."""

    @functools.wraps(tell)
    def tell_limited(
        self: Any, workflow_id: str, number: int, key: str, value: Any, **options: Any
    ) -> None:
        try:
            with _watching(self, f"{what} {key!r}"):
                tell(self, workflow_id, number, key, value, **options)
        except ValueTooLarge as error:
            if step is None:
                raise
            _raise_as_recorded(self, error, workflow_id, number, step)

    return tell_limited


def limited_messages(send_bulk: Function) -> Function:
    """Make of `send_bulk` one with a limit for each message."""

    @functools.wraps(send_bulk)
    def send_limited(self: Any, messages: Any, **options: Any) -> None:
        topics = sorted({each.topic for each in messages if each.topic})
        what = f"the message to {', '.join(map(repr, topics))}" if topics else "the message"
        try:
            with _watching(self, what):
                send_bulk(self, messages, **options)
        except ValueTooLarge as error:
            if options["workflow_id"] is None:
                raise
            step = options["workflow_id"], options["function_id"], options["function_name"]
            _raise_as_recorded(self, error, *step)

    return send_limited


def _raise_as_recorded(
    system_database: Any, error: ValueTooLarge, workflow_id: str, number: int, step: str
) -> None:
    """Raise what a workflow has recorded at this step, and record the error if that is nothing.

    What was within the limit of an earlier execution was told then; it is not told again.
    """
    recorded = system_database.check_operation_execution(workflow_id, number, step)
    if recorded is None:
        now = int(time.time() * 1000)
        system_database._record_operation_error(workflow_id, number, step, now, error)
        raise error
    system_database._raise_recorded_error(recorded)


@block
def _watching(system_database: Any, what: str) -> Iterator[None]:
    token = _watched.set((limits_of(system_database.serializer).values, what))
    try:
        yield
    finally:
        _watched.reset(token)

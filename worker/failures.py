"""What a workflow catches around a step or a child is the same in its first execution and later.

A replay raises what was stored of an exception; so does the first execution, unless it can
raise the exception itself because a replay raises one that is the same.
"""

import functools
import inspect
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from . import reports
from .blocks import block
from .exceptions import replayed, stored
from .portable import PORTABLE, is_portable

Function = Callable[..., Any]

logger = logging.getLogger("worker")


class Recorded:
    """The exception that was stored last, and what a replay raises in its place."""

    error: Exception | None = None
    replayed: Exception | None = None

    def of(self, error: Exception) -> Exception:
        """What a replay raises in the place of `error`, which was not stored if it is itself."""
        again = self.replayed if self.error is error else None
        self.error = self.replayed = None  # They hold the frames that they have passed.
        return error if again is None else again


_RECORDED: ContextVar[Recorded | None] = ContextVar("recorded", default=None)
"""A step's own; what DBOS does in threads for an async one has a copy that leads to the same."""


def serialized(serialize_exception: Function) -> Function:
    """Make of DBOS's `serialize_exception` one that keeps what is needed to raise it again."""

    at_start = frozenset(sys.modules)

    @functools.wraps(serialize_exception)
    def serialize(value: Exception, serialization: str | None, serializer: Any) -> Any:
        if not _is_ours(serialization, serializer):
            return serialize_exception(value, serialization, serializer)
        written, again, lost = stored(value)
        if lost:
            logger.warning(
                "not all of %s can be stored, so neither this execution nor a replay has it: %s",
                type(value).__name__,
                ", ".join(lost),
            )
        if again is value and type(value).__module__ not in at_start:
            logger.warning(
                "%s is defined in %s, which was not imported when this worker started: a replay "
                "by another worker may raise a PortableWorkflowError; import it with a workflow",
                type(value).__name__,
                type(value).__module__,
            )
        reports.note(written, value)
        if recorded := _RECORDED.get():
            recorded.error, recorded.replayed = value, again
        return written, PORTABLE

    return serialize


def deserialized(deserialize_exception: Function) -> Function:
    """Make of DBOS's `deserialize_exception` one that builds exceptions as themselves."""

    @functools.wraps(deserialize_exception)
    def deserialize(value: str | None, serialization: str | None, serializer: Any) -> Any:
        if value is None or not _is_ours(serialization, serializer):
            return deserialize_exception(value, serialization, serializer)
        return replayed(json.loads(value))

    return deserialize


def alike_in_replays(invoke_step: Function) -> Function:
    """Make of DBOS's `invoke_step` one that raises what its replay raises."""

    invoke_alike = alike(invoke_step)

    @functools.wraps(invoke_step)
    def invoke(*args: Any, **options: Any) -> Any:
        outcome = invoke_alike(*args, **options)
        return alike_async(outcome) if inspect.iscoroutine(outcome) else outcome

    return invoke


def alike_for_parents(get_wf_invoke_func: Function) -> Function:
    """Make of DBOS's `_get_wf_invoke_func`, which ends a workflow, one whose workflows raise what
    a replay of their parent raises.

    Without a parent, they raise what was raised: then only logs see it.
    """

    @functools.wraps(get_wf_invoke_func)
    def get(dbos: Any, status: Any, *args: Any, **options: Any) -> Function:
        persist = get_wf_invoke_func(dbos, status, *args, **options)
        return alike(persist) if status.get("parent_workflow_id") else original(persist)

    return get


def alike(function: Function) -> Function:
    """Make of a function one that raises what a replay raises in the place of what it stored."""

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        with _alike():
            return function(*args, **options)

    return call


async def alike_async(coroutine: Any) -> Any:
    """The same for a coroutine."""
    with _alike():
        return await coroutine


@block
def _alike() -> Iterator[None]:
    outer, recorded = _RECORDED.get(), Recorded()
    _RECORDED.set(recorded)
    try:
        yield
    except Exception as error:
        if (again := recorded.of(error)) is error:
            raise
        raise BaseException.with_traceback(again, error.__traceback__)  # noqa: B904
    finally:
        _RECORDED.set(outer)


def original(function: Function) -> Function:
    """Make of a function one that raises what the exception that leaves it stands for."""

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except Exception as error:
            first = _first(error)
        raise first  # Here, since what is raised in an `except` gets another `__context__`.

    return call


def _first(error: Exception) -> Exception:
    """What was raised first, if `error` is what was raised in its place."""
    first = error.__context__
    if not isinstance(first, Exception):
        return error
    again = stored(first).replayed
    stands_for = again is not first and stored(again).text == stored(error).text
    return first if stands_for else error


def _is_ours(serialization: str | None, serializer: Any) -> bool:
    """Whether the application writes portable JSON, and this is some."""
    return is_portable(serializer) and (serialization or PORTABLE) == PORTABLE

"""Every workflow ends in an outcome that any language can read, or in a clear error."""

import functools
import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar, cast

from dbos import DBOSPortableJSONSerializer, PortableWorkflowError

from .errors import NotPortable, WorkflowExited
from .schemas import qualified

P = ParamSpec("P")
R = TypeVar("R")


def portable(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a workflow so that an outcome which cannot be stored becomes an error that can.

    DBOS would leave such a workflow PENDING for ever: its thread ends without an outcome.
    """
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def checked_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            with _storable_errors(function):
                return _storable(await function(*args, **kwargs), function)

        return cast(Callable[P, R], checked_async)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        with _storable_errors(function):
            return _storable(function(*args, **kwargs), function)

    return checked


def _storable(result: R, function: Callable[..., Any]) -> R:
    try:
        text = DBOSPortableJSONSerializer().serialize(result)
        json.loads(text.encode(), parse_constant=_refuse)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotPortable(function=qualified(function), reason=error) from error
    return result


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


@contextmanager
def _storable_errors(function: Callable[..., Any]) -> Iterator[None]:
    try:
        yield
    except SystemExit as error:
        raise WorkflowExited(function=qualified(function)) from error
    except Exception as error:
        # Python strings may hold lone surrogates; Postgres stores UTF-8, which cannot.
        message = str(error).encode(errors="backslashreplace").decode()
        if message != str(error):
            raise PortableWorkflowError(message, type(error).__name__) from error
        raise

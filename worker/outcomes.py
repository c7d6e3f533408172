"""Every workflow ends in an outcome that any language can read, or in a clear error.

DBOS leaves a workflow PENDING for ever when its thread ends without one.
"""

import asyncio
import functools
import inspect
import json
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar, cast

from dbos import DBOSPortableJSONSerializer
from dbos import error as dbos_error

from .blocks import block
from .errors import WorkflowExited
from .signatures import qualified

P = ParamSpec("P")
R = TypeVar("R")

Serialize = Callable[[DBOSPortableJSONSerializer, Any], str]


def portable(serialize: Serialize) -> Serialize:
    """Make of DBOS's `serialize` one that raises TypeError or ValueError for what is no portable
    JSON, NaN included.

    DBOS has one serializer of its own for whatever is portable JSON, of results and steps,
    events and errors, workflows and children; the one in its configuration does not replace it.
    """

    @functools.wraps(serialize)
    def serialize_portable(self: DBOSPortableJSONSerializer, value: Any) -> str:
        text = serialize(self, value)
        if "NaN" in text or "Infinity" in text:  # Perhaps only in a string.
            json.loads(text, parse_constant=_refuse)
        # Postgres stores UTF-8, which cannot hold a lone surrogate; an escape of JSON can.
        return text.encode(errors="backslashreplace").decode()

    return serialize_portable


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not portable JSON")


def contained(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a workflow so that `sys.exit()` and the like become an error of this workflow."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def contained_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            with _containment(function):
                return await function(*args, **kwargs)

        return cast(Callable[P, R], contained_async)

    @functools.wraps(function)
    def contained_sync(*args: P.args, **kwargs: P.kwargs) -> R:
        with _containment(function):
            return function(*args, **kwargs)

    return contained_sync


@block
def _containment(function: Callable[..., Any]) -> Iterator[None]:
    try:
        yield
    except (Exception, dbos_error.DBOSBaseException, asyncio.CancelledError):
        raise
    except BaseException as error:
        raise WorkflowExited(function=qualified(function), error=type(error).__name__) from error

"""For which run a wait is, so that it can be ended with the run.

What a step in flight waits for is the step's own, and ends when the step wants it to. The pause
before a further attempt at a step is a wait of the run.
"""

import functools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from dbos._context import get_local_dbos_context

from .waits import Waiter


class Run(NamedTuple):
    """One execution of a run."""

    workflow_id: str
    owner: str | None
    """What its row says as long as this execution has it; None where that is not known."""


RunOf = Callable[[], Run | None]
"""The run for which this code waits, if it does so for one."""

_waited_for: ContextVar[Run | None] = ContextVar("waited_for", default=None)


def waited_for() -> Run | None:
    """The run for which a method of DBOS waits that makes this call."""
    return _waited_for.get()


def executed() -> Run | None:
    """The run whose code makes this call; None in its steps, and elsewhere."""
    context = get_local_dbos_context()
    if context is None or not context.is_workflow():
        return None
    return Run(context.workflow_id, context.owner_xid)


def attempted() -> Run | None:
    """The run of the step that is about to be attempted again."""
    context = get_local_dbos_context()
    if context is None or not context.workflow_id:
        return None
    return Run(context.workflow_id, context.owner_xid)


@contextmanager
def waiting_for(run: Run | None) -> Iterator[Run | None]:
    """Whatever waits in the block does so for a run."""
    token = _waited_for.set(run)
    try:
        yield run
    finally:
        _waited_for.reset(token)


def around(waiter: Waiter, wait: Callable[..., Any]) -> Callable[..., Any]:
    """Make of a method of DBOS that waits one that knows for which run."""

    @functools.wraps(wait)
    def waiting(database: Any, *args: Any, **kwargs: Any) -> Any:
        with waiting_for(_execution(waiter(*args, **kwargs))):
            return wait(database, *args, **kwargs)

    return waiting


def around_async(
    waiter: Waiter, wait: Callable[..., Awaitable[Any]]
) -> Callable[..., Awaitable[Any]]:
    """Make the same of a coroutine function."""

    @functools.wraps(wait)
    async def waiting(database: Any, *args: Any, **kwargs: Any) -> Any:
        with waiting_for(_execution(waiter(*args, **kwargs))):
            return await wait(database, *args, **kwargs)

    return waiting


def _execution(workflow_id: str | None) -> Run | None:
    """The execution of a run in whose context this is, or in that of a child that it calls."""
    context = get_local_dbos_context()
    if workflow_id is None or context is None:
        return None
    return Run(workflow_id, context.owner_xid if context.workflow_id == workflow_id else None)

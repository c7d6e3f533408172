"""For which run a wait is, so that it can be ended with the run.

A child that is called directly is executed in the thread or the task of its parent, which cannot
end before: while the child waits, so does its parent. What a step in flight waits for is the step's
own, and ends when the step wants it to. The pause before a further attempt at a step is a wait of
the run.
"""

import functools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from dbos._context import get_local_dbos_context

from .blocks import block, within
from .waits import Waiter


class Run(NamedTuple):
    """One execution of a run."""

    workflow_id: str
    owner: str | None
    """What its row says as long as this execution has it; None where that is not known."""


RunOf = Callable[[], Run | None]
"""The run for which this code waits, if it does so for one."""

_waited_for: ContextVar[Run | None] = ContextVar("waited_for", default=None)

_callers: ContextVar[tuple[Run, ...]] = ContextVar("callers", default=())
"""The runs that go on when the one that is executed here has ended, since they have called it."""


def waited_for() -> Run | None:
    """The run for which a method of DBOS waits that makes this call."""
    return _waited_for.get()


def executed() -> Run | None:
    """The run whose code makes this call; None in its steps, and elsewhere."""
    context = get_local_dbos_context()
    if context is None or not context.is_workflow():
        return None
    return Run(context.workflow_id, context.owner_xid)


def callers() -> tuple[Run, ...]:
    """The runs that have called the one whose code makes this call, or each other."""
    return _callers.get()


def attempted() -> Run | None:
    """The run of the step that is about to be attempted again."""
    context = get_local_dbos_context()
    if context is None or not context.workflow_id:
        return None
    return Run(context.workflow_id, context.owner_xid)


def called(wrap: Callable[..., Callable[[], Any]]) -> Callable[..., Callable[[], Any]]:
    """Make of DBOS's wrapper of a workflow's body one that knows who has called it directly."""

    @functools.wraps(wrap)
    def wrap_called(dbos: Any, function: Any) -> Callable[[], Any]:
        caller = executed()  # Whoever executes what was enqueued or started is in its context.
        call = functools.partial(_called_by, caller, callers())
        return within(call, wrap(dbos, function))

    return wrap_called


@block
def _called_by(caller: Run | None, its_callers: tuple[Run, ...]) -> Iterator[None]:
    own = executed()
    is_called = caller and own and caller.workflow_id != own.workflow_id
    token = _callers.set((*its_callers, caller) if caller and is_called else ())
    try:
        yield
    finally:
        _callers.reset(token)


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

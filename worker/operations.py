"""Whatever async code of a workflow can await has its place in the order of the run."""

import asyncio
import functools
import inspect
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar

from dbos import _core
from dbos import error as dbos_error
from dbos._context import get_local_dbos_context

from .flight import Operation
from .order import Order, under_way

T = TypeVar("T")

Call = Callable[..., Awaitable[Any]]

ORDER = "order"
"""Where the context of an async run keeps its order."""

END = object()


def current() -> Order | None:
    """The order of the run whose code makes this call; None within another call of it."""
    order: Order | None = getattr(get_local_dbos_context(), ORDER, None)
    if order is None or order.closed or order.loop is not asyncio._get_running_loop():
        return None
    operation = under_way.get()
    if operation is not None and operation.order is order and not operation.around:
        return None
    return order


def executing(
    order_of: Callable[[Any, Any], Order | None], wrap: Callable[..., Any]
) -> Callable[..., Any]:
    """Make of DBOS's wrapper of a workflow's body one that begins the order of async ones."""

    @functools.wraps(wrap)
    def wrap_in_order(dbos: Any, function: Any) -> Any:
        execute = wrap(dbos, function)
        if not inspect.iscoroutinefunction(execute):
            return execute

        async def execute_in_order() -> Any:
            context = get_local_dbos_context()
            if (order := order_of(dbos, context)) is None:
                return await execute()
            setattr(context, ORDER, order)
            try:
                return await execute()
            finally:
                order.close()

        return execute_in_order

    return wrap_in_order


async def awaited(operation: Operation, call: Awaitable[T]) -> T:
    """Await what DBOS does for an operation, and then its turn."""
    token = under_way.set(operation)
    try:
        result = await call
    except Exception:
        await operation.order.arrive(operation)
        raise
    except BaseException as error:
        cancelled = isinstance(error, asyncio.CancelledError)
        operation.order.leave(operation, cancelled=cancelled)
        raise
    finally:
        under_way.reset(token)
    operation.order.confirm(operation)
    await operation.order.arrive(operation)
    return result


def in_order(call: Call, *, taken: int = 0, around: bool = False) -> Call:
    """Make of a coroutine function of DBOS one that returns in its turn. When it is called, it has
    `taken` so many numbers already; `around` is whether it awaits other calls of the code."""

    @functools.wraps(call)
    async def call_in_order(*args: Any, **kwargs: Any) -> Any:
        order = current()
        if order is None:
            return await call(*args, **kwargs)
        operation = order.enter(taken=taken, around=around)
        return await awaited(operation, call(*args, **kwargs))

    return call_in_order


def around_others(call: Call) -> Call:
    """The same for `DBOS.asyncio_wait`."""
    return in_order(call, around=True)


def children(call: Call) -> Call:
    """The same for a child that is called: it has the number of its start and of its result."""
    return in_order(call, taken=2)


def steps(invoke_step: Callable[..., Any]) -> Callable[..., Any]:
    """The same for an async step that is called: it has its number."""

    @functools.wraps(invoke_step)
    def invoke_in_order(*args: Any, **kwargs: Any) -> Any:
        result = invoke_step(*args, **kwargs)
        if not inspect.iscoroutine(result) or (order := current()) is None:
            return result
        return awaited(order.enter(taken=1), result)

    return invoke_in_order


def transactions(run_tx_step: Callable[..., Any]) -> Callable[..., Any]:
    """Make of a datasource's `run_tx_step` one that records the order before its own checkpoint:
    that may be in another database. Also of the async one."""

    @functools.wraps(run_tx_step)
    def run(self: Any, options: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        order: Order | None = getattr(get_local_dbos_context(), ORDER, None)
        if order is not None:
            function = _after(order.flush, function)
        return run_tx_step(self, options, function, *args, **kwargs)

    return run


def _after(flush: Callable[[], None], function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def execute_async(*args: Any, **kwargs: Any) -> Any:
            await asyncio.to_thread(flush)
            return await function(*args, **kwargs)

        return execute_async

    @functools.wraps(function)
    def execute(*args: Any, **kwargs: Any) -> Any:
        flush()
        return function(*args, **kwargs)

    return execute


def streams(read: Callable[..., AsyncGenerator[Any, None]]) -> Callable[..., Any]:
    """The same for each value that is read from a stream."""

    @functools.wraps(read)
    async def read_in_order(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        values = read(*args, **kwargs)
        try:
            while True:
                read_next: Awaitable[Any] = anext(values, END)
                order = current()
                value = await (awaited(order.enter(), read_next) if order else read_next)
                if value is END:
                    return
                yield value
        finally:
            await values.aclose()

    return read_in_order


def results(get_result: Call) -> Call:
    """The same for the result of a handle, which DBOS numbers when it has come: so its number is
    part of the order, too."""

    @functools.wraps(get_result)
    async def get_in_order(handle: Any, polling_interval: float) -> Any:
        order = current()
        if order is None:
            return await get_result(handle, polling_interval)
        operation = order.enter()
        return await awaited(operation, _recorded(handle, polling_interval, operation))

    return get_in_order


async def _recorded(handle: Any, polling_interval: float, operation: Operation) -> Any:
    core: Any = _core
    serializer, started = handle.dbos._serializer, int(time.time() * 1000)
    failure: Exception | None = None
    try:
        result = await _result(handle, polling_interval)
    except Exception as error:
        failure, result = error, None
    output = stored = None
    if failure is None:
        output, serialization = core.serialize_value(result, None, serializer)
    else:
        stored, serialization = core.serialize_exception(failure, None, serializer)
    await operation.order.arrive(operation, ends=False)
    await asyncio.to_thread(
        handle.dbos._sys_db.record_get_result,
        handle.workflow_id,
        output,
        stored,
        serialization,
        operation.order.context.snapshot_step_ctx(),
        started_at_epoch_ms=started,
    )
    if failure is not None:
        raise failure
    return result


async def _result(handle: Any, polling_interval: float) -> Any:
    if isinstance(handle, _core.WorkflowHandleAsyncTask):
        try:
            return await asyncio.shield(handle.task)
        except (
            dbos_error.DBOSWorkflowCancelledError,
            dbos_error.DBOSAwaitedWorkflowCancelledError,
        ):
            pass  # The database knows whether another execution has ended.
    return await handle.dbos._sys_db.await_workflow_result_async(
        handle.workflow_id, polling_interval
    )


def statuses(get_status: Call) -> Call:
    """The same for the status of a handle, for which DBOS takes a number in another thread."""

    @functools.wraps(get_status)
    async def get_in_order(handle: Any) -> Any:
        if current() is None:
            return await get_status(handle)
        status = await handle.dbos.get_workflow_status_async(
            handle.workflow_id, shard_key=handle.shard_key
        )
        if status is None:
            raise dbos_error.DBOSNonExistentWorkflowError("target", handle.workflow_id)
        return status

    return get_in_order

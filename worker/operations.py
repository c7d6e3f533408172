"""Whatever async code of a workflow can await has its place in the order of the run."""

import asyncio
import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar

from dbos._context import get_local_dbos_context

from .flight import Operation, under_way
from .order import Order
from .tasks import numbering

T = TypeVar("T")

Call = Callable[..., Awaitable[Any]]

ORDER = "order"
"""Where the context of an async run keeps its order."""

END = object()


def current() -> Order | None:
    """The order of the run whose code makes this call; None within another call of it.

    Raises what has stopped the run, or CancelledError in a task that goes on when it has ended:
    DBOS would call its steps as functions, and record nothing."""
    order = _order()
    if order is not None and order.closed:
        raise order.error or asyncio.CancelledError
    return order


def _order() -> Order | None:
    order: Order | None = getattr(get_local_dbos_context(), ORDER, None)
    if order is None or order.loop is not asyncio._get_running_loop():
        return None
    operation = under_way.get()
    if operation is not None and operation.order is order and not operation.around:
        return None
    return order


def next_task() -> tuple[str, int] | None:
    """The run whose code is about to make a task, and how many it has made; None elsewhere."""
    order = _order()
    if order is None:
        return None
    order.tasks += 1
    return order.context.workflow_id, order.tasks


def still_known(end: Callable[..., None]) -> Callable[..., None]:
    """Make of DBOS's end of a workflow's context one that lets tasks of its code which go on know
    that they belong to a run that has ended."""

    @functools.wraps(end)
    def end_and_keep(context: Any, error: BaseException | None) -> None:
        kept = context.workflow_id, context.function_id, context.owner_xid
        end(context, error)
        if hasattr(context, ORDER):
            context.workflow_id, context.function_id, context.owner_xid = kept

    return end_and_keep


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
            if order.loop.get_task_factory() is None:
                order.loop.set_task_factory(numbering(next_task))
            try:
                return await asyncio.create_task(execute())  # `Order` tells why.
            finally:
                order.close()

        return execute_in_order

    return wrap_in_order


async def awaited(operation: Operation, call: Any) -> Any:
    """Await what DBOS does for an operation, and then its turn."""
    token = under_way.set(operation)
    try:
        result = await operation.order.made(operation, call)
    except Exception:
        await operation.order.arrive(operation)
        raise
    except BaseException as error:
        cancelled = isinstance(error, asyncio.CancelledError)
        await operation.order.leave(operation, cancelled=cancelled)
        raise
    finally:
        under_way.reset(token)
    operation.order.confirm(operation)
    await operation.order.arrive(operation)
    return result


def in_order(call: Call, *, taken: int = 0, around: bool = False) -> Call:
    """Make of a coroutine function of DBOS one that returns in its turn.

    DBOS numbers an operation before or after it calls this function: `taken` is how many numbers
    it has given to it before. `around` is whether the function awaits other calls of the code."""

    @functools.wraps(call)
    async def call_in_order(*args: Any, **kwargs: Any) -> Any:
        order = current()
        if order is None:
            return await call(*args, **kwargs)
        operation = order.enter(taken=taken, around=around)
        return await awaited(operation, call(*args, **kwargs))

    return call_in_order


def around_others(call: Call) -> Call:
    """Make of `DBOS.asyncio_wait` a function that returns in its turn; its arguments are calls."""
    return in_order(call, around=True)


def children(call: Call) -> Call:
    """Make of the call of an async child one that returns in its turn. DBOS has numbered its start
    and its result before."""
    return in_order(call, taken=2)


def steps(invoke_step: Callable[..., Any]) -> Callable[..., Any]:
    """Make of DBOS's call of a step one that returns in its turn, if the step is async. DBOS has
    numbered it before."""

    @functools.wraps(invoke_step)
    def invoke_in_order(*args: Any, **kwargs: Any) -> Any:
        order = current()
        result = invoke_step(*args, **kwargs)
        if order is None or not inspect.iscoroutine(result):
            return result
        return awaited(order.enter(taken=1), result)

    return invoke_in_order


def transactions(run_tx_step: Callable[..., Any]) -> Callable[..., Any]:
    """Make of a datasource's `run_tx_step`, sync or async, one that records the order before it
    writes its own checkpoint: that may be in another database."""

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
    """Make of a reader of streams one that yields each value in its turn."""

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

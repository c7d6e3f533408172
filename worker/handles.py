"""What async code is given by handles of workflows has its place in the order of the run."""

import asyncio
import functools
import time
from typing import Any

from dbos import _core
from dbos import error as dbos_error

from .flight import Operation
from .operations import Call, awaited, current
from .order import TURNS
from .sleeps import until_done


def results(get_result: Call) -> Call:
    """Make of a handle's `_get_result` one that returns in its turn. DBOS numbers a result when it
    has come, so that number is given in its turn, too."""

    @functools.wraps(get_result)
    async def get_in_order(handle: Any, polling_interval: float) -> Any:
        order = current()
        if order is None:
            return await get_result(handle, polling_interval)
        operation = order.enter()
        return await awaited(operation, _recorded(handle, polling_interval, operation))

    return get_in_order


async def _recorded(handle: Any, polling_interval: float, operation: Operation) -> Any:
    started = int(time.time() * 1000)
    failure: Exception | None = None
    for _ in range(TURNS):  # A child may have ended; the code makes its other calls meanwhile.
        await asyncio.sleep(0)
    try:
        result = await _result(handle, polling_interval)
    except Exception as error:
        failure, result = error, None
    try:
        await _record(handle, operation, started, result, failure)
        if failure is not None:
            raise failure
        return result
    finally:
        failure = None  # Its traceback refers to this frame.


async def _record(
    handle: Any, operation: Operation, started: int, result: Any, failure: Exception | None
) -> None:
    core: Any = _core
    serializer = handle.dbos._serializer
    output = error = None
    if failure is None:
        output, serialization = core.serialize_value(result, None, serializer)
    else:
        error, serialization = core.serialize_exception(failure, None, serializer)
    await operation.order.arrive(operation, ends=False)
    await asyncio.to_thread(
        handle.dbos._sys_db.record_get_result,
        handle.workflow_id,
        output,
        error,
        serialization,
        operation.order.context.snapshot_step_ctx(),
        started_at_epoch_ms=started,
    )


async def _result(handle: Any, polling_interval: float) -> Any:
    if isinstance(handle, _core.WorkflowHandleAsyncTask):
        await until_done(handle.task)
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
    """Make of a handle's `get_status` one that returns in its turn. DBOS would take its number in
    another thread; `get_workflow_status_async`, which is given in order, takes it at once."""

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

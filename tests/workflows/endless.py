"""Workflows that wait for ever, in each way that DBOS has, and tell what ends their wait."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dbos import DBOS, SetWorkflowID

from worker import workflow

FOREVER = 1e300


@contextmanager
def told() -> Iterator[None]:
    """Write down what is raised in the block."""
    try:
        yield
    except BaseException as error:
        with Path("ended").open("a") as file:
            file.write(f"{type(error).__name__}\n")
        raise


@DBOS.step(name="fails_at_first", retries_allowed=True, interval_seconds=3600.0)
def fails_at_first() -> None:
    raise ConnectionError


@DBOS.step(name="fails_at_first_async", retries_allowed=True, interval_seconds=3600.0)
async def fails_at_first_async() -> None:
    raise ConnectionError


@workflow(queue="order_queue")
async def never_ends() -> None:
    """Be a child that somebody waits for."""
    await DBOS.sleep_async(FOREVER)


@workflow(queue="order_queue")
def never_ends_in_thread() -> None:
    """Be such a child, with a thread of its own."""
    DBOS.sleep(FOREVER)


@workflow()
def waits_forever(way: str) -> None:
    """Wait, and hold a thread meanwhile."""
    with told():
        if way == "recv":
            DBOS.recv("topic", timeout_seconds=FOREVER)
        if way == "sleep":
            DBOS.sleep(FOREVER)
        if way == "event":
            DBOS.get_event("nobody", "key", timeout_seconds=FOREVER)
        if way == "stream":
            run = DBOS.start_workflow(never_ends).workflow_id
            next(DBOS.read_stream(run, "key", polling_interval_sec=3600.0))
        if way == "child":
            DBOS.start_workflow(never_ends_in_thread).get_result(polling_interval_sec=3600.0)
        if way == "retrieved":
            run = DBOS.start_workflow(never_ends).workflow_id
            DBOS.retrieve_workflow(run).get_result(polling_interval_sec=3600.0)
        if way == "result":
            DBOS.get_result(DBOS.start_workflow(never_ends).workflow_id)
        if way == "first":
            handles = [DBOS.start_workflow(never_ends) for _ in range(2)]
            DBOS.wait_first(handles, polling_interval_sec=3600.0)
        if way == "retry":
            fails_at_first()


@workflow()
async def waits_forever_async(way: str) -> None:
    """Wait, and hold no thread meanwhile."""
    with told():
        if way == "recv":
            await DBOS.recv_async("topic", timeout_seconds=FOREVER)
        if way == "sleep":
            await DBOS.sleep_async(FOREVER)
        if way == "event":
            await DBOS.get_event_async("nobody", "key", timeout_seconds=FOREVER)
        if way == "stream":
            run = (await DBOS.start_workflow_async(never_ends)).workflow_id
            await anext(DBOS.read_stream_async(run, "key", polling_interval_sec=3600.0))
        if way == "child":
            child = await DBOS.start_workflow_async(never_ends)
            await child.get_result(polling_interval_sec=3600.0)
        if way == "retrieved":
            run = (await DBOS.start_workflow_async(never_ends)).workflow_id
            child = await DBOS.retrieve_workflow_async(run)
            await child.get_result(polling_interval_sec=3600.0)
        if way == "result":
            await DBOS.get_result_async((await DBOS.start_workflow_async(never_ends)).workflow_id)
        if way == "first":
            handles = [await DBOS.start_workflow_async(never_ends) for _ in range(2)]
            await DBOS.wait_first_async(handles, polling_interval_sec=3600.0)
        if way == "retry":
            await fails_at_first_async()


@DBOS.step(name="begins")
def begins() -> None: ...


@workflow(queue="order_queue")
def begins_and_sleeps() -> None:
    """Sleep after a step, which comes again when the run is resumed."""
    begins()
    DBOS.sleep(FOREVER)


@workflow()
def calls_forever(child: str) -> None:
    """Call a child with a thread that never ends."""
    with told(), SetWorkflowID(child):
        never_ends_in_thread()


@workflow()
async def calls_forever_async(child: str) -> None:
    """Call a child that never ends."""
    with told(), SetWorkflowID(child):
        await never_ends()


@workflow()
def calls_twice(child: str) -> None:
    """Call a child with a thread that calls one that waits for a signal."""
    with told(), SetWorkflowID(child):
        calls_one_that_waits()


@workflow()
def calls_one_that_waits() -> str:
    """Call a child with a thread that waits for a signal."""
    return waits_for_signal()


@workflow()
def waits_for_signal() -> str:
    """Wait for the signal `go`."""
    return str(DBOS.recv("go", timeout_seconds=FOREVER))


@workflow()
async def calls_twice_async(child: str) -> None:
    """Call a child that calls one that waits for a signal."""
    with told(), SetWorkflowID(child):
        await calls_one_that_waits_async()


@workflow()
async def calls_one_that_waits_async() -> str:
    """Call a child that waits for a signal."""
    return await waits_for_signal_async()


@workflow()
async def waits_for_signal_async() -> str:
    """Wait for the signal `go`."""
    return str(await DBOS.recv_async("go", timeout_seconds=FOREVER))

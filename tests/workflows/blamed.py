"""Runs that wait while their workers die, some that compute, and some that are to blame."""

import asyncio
import os
import time
import uuid
from pathlib import Path

from dbos import DBOS

from worker import workflow

from .ledger import write


@workflow()
def sleeps(path: str) -> str:
    """Sleep until nobody expects that any more, unless there is a file that lets it end."""
    if not Path(f"{path}.hurry").exists():
        DBOS.sleep(60)
    return "awake"


@DBOS.workflow(name="answer")
def answer() -> str:
    """Private: wait until somebody says `go`."""
    return str(DBOS.recv("go", timeout_seconds=600))


@workflow()
def asks(how: str) -> str:
    """Wait for a child in one of the ways that there are."""
    if how == "direct":
        return answer()
    child = DBOS.enqueue_workflow("order_queue", answer)
    if how == "first":
        DBOS.wait_first([child], polling_interval_sec=0.1)
    if how == "event":
        return str(DBOS.get_event(child.workflow_id, "never", timeout_seconds=600))
    return child.get_result(polling_interval_sec=0.1)


@workflow()
async def asks_async() -> str:
    """Wait for two children and a signal at once."""
    children = [await DBOS.enqueue_workflow_async("order_queue", answer_async) for _ in range(2)]
    waits = [child.get_result(polling_interval_sec=0.1) for child in children]
    return str(await asyncio.gather(*waits, DBOS.recv_async("go", timeout_seconds=600)))


@DBOS.workflow(name="answer_async")
async def answer_async() -> str:
    """Private: wait until somebody says `go`."""
    return str(await DBOS.recv_async("go", timeout_seconds=600))


@DBOS.step(name="compute")
def compute(path: str, seconds: float) -> int:
    """Take a while, and leave a trace."""
    write(path, "begin", uuid.uuid4().hex)
    time.sleep(seconds)
    return os.getpid()


@workflow()
def innocent(path: str, steps: int, seconds: float) -> int:
    """Compute."""
    return len([compute(path, seconds) for _ in range(steps)])


@DBOS.step(name="kill")
async def kill(path: str, seconds: float) -> None:
    """Kill the worker after a while."""
    write(path, "start", uuid.uuid4().hex)
    await asyncio.sleep(seconds)
    os._exit(137)


@workflow()
async def poison_beside_waits(path: str) -> None:
    """Kill the worker in a step, while a signal is waited for and a sleep lasts."""
    await asyncio.gather(
        kill(path, 2), DBOS.recv_async("go", timeout_seconds=600), DBOS.sleep_async(600)
    )


@workflow()
def poison_after_a_while(path: str, seconds: float) -> None:
    """Kill the worker in a step after some seconds of computing."""
    DBOS.sleep(0.5)
    write(path, "start", uuid.uuid4().hex)
    time.sleep(seconds)
    os._exit(1)

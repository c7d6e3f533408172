"""Workflows that wait, with a thread and without one."""

import time
from pathlib import Path

from dbos import DBOS

from worker import workflow


@workflow(queue="order_queue")
async def waits_async(seconds: float = 600.0) -> str:
    """Wait until somebody says `go`, and hold no thread meanwhile."""
    return "went" if await DBOS.recv_async("go", timeout_seconds=seconds) else "waited"


@workflow(queue="order_queue")
def waits_in_thread(seconds: float = 600.0) -> str:
    """Wait until somebody says `go`, and hold a thread meanwhile."""
    return "went" if DBOS.recv("go", timeout_seconds=seconds) else "waited"


def block() -> None:
    """Hold a thread until there is a file."""
    while not Path("go on").exists():
        time.sleep(0.05)


@workflow(queue="order_queue")
async def blocks_threads() -> None:
    """Hold a thread in a step of an async workflow."""
    await DBOS.run_step_async({"name": "block"}, block)

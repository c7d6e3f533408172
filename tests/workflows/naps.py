"""Workflows that wait for a time to come."""

import time

from dbos import DBOS

from worker import workflow


@workflow()
def naps(seconds: float) -> str:
    """Sleep."""
    DBOS.sleep(seconds)
    return "awake"


@workflow()
async def naps_async(seconds: float) -> str:
    """Sleep."""
    await DBOS.sleep_async(seconds)
    return "awake"


@workflow()
def listens(seconds: float) -> None:
    """Wait for a message that does not come."""
    DBOS.recv("never", timeout_seconds=seconds)


@workflow()
def works(seconds: float) -> str:
    """Work for some seconds."""
    DBOS.run_step({"name": "work"}, time.sleep, seconds)
    return "done"

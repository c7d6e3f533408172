"""A workflow that leaves a trace, outside of the database, of all that is executed."""

import os
import time
import uuid
from pathlib import Path

from dbos import DBOS

from worker import workflow


def write(path: str, event: str, execution: str, number: int = 0) -> None:
    """One line, also when many processes write at the same time."""
    line = f"{event} {DBOS.workflow_id} {execution} {number} {os.getpid()} {time.time()}\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)


@DBOS.step(name="entry")
def entry(path: str, execution: str, number: int, seconds: float) -> int:
    write(path, "begin", execution, number)
    if not Path(f"{path}.hurry").exists():
        time.sleep(seconds)
    write(path, "end", execution, number)
    return number


@workflow()
def ledger(path: str, steps: int, seconds: float) -> list[int]:
    """Write down each execution, and the begin and end of each step.

    Each takes some seconds, unless there is a file that tells it to hurry.
    """
    execution = uuid.uuid4().hex
    write(path, "start", execution)
    return [entry(path, execution, number, seconds) for number in range(1, steps + 1)]


@workflow()
def waits() -> None:
    """Wait until somebody says `go`."""
    assert DBOS.recv("go", timeout_seconds=600)


@workflow()
def poison(path: str) -> None:
    """Kill the worker."""
    write(path, "start", uuid.uuid4().hex)
    os.kill(os.getpid(), 9)

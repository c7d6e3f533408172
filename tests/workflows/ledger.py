"""A workflow that leaves a trace, outside of the database, of all that is executed."""

import asyncio
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


@DBOS.workflow(name="child")
def child(path: str, seconds: float) -> None:
    write(path, "start", uuid.uuid4().hex)
    time.sleep(seconds)


@DBOS.workflow(name="child_async")
async def child_async(path: str, seconds: float) -> None:
    write(path, "start", uuid.uuid4().hex)
    await asyncio.sleep(seconds)


@workflow()
def calls_child(path: str, seconds: float) -> None:
    """Have a child executed by calling it."""
    child(path, seconds)


@workflow()
async def calls_child_async(path: str, seconds: float) -> None:
    """Have a child executed by calling it, on the event loop."""
    await child_async(path, seconds)


class AgainError(Exception):
    """A step has failed and is to be tried again, when there is a file that says so."""


def may_try(path: str) -> bool:
    return Path(f"{path}.again").exists()


def told(error: BaseException) -> bool:
    while not may_try(error.args[0]):
        time.sleep(0.05)
    return True


async def told_async(error: BaseException) -> bool:
    while not may_try(error.args[0]):
        await asyncio.sleep(0.05)
    return True


def attempt(path: str, execution: str) -> None:
    write(path, "begin", execution, 1)
    if not may_try(path):
        raise AgainError(path)


@DBOS.step(name="attempt", retries_allowed=True, interval_seconds=0, should_retry=told)
def attempt_sync(path: str, execution: str) -> None:
    attempt(path, execution)


@DBOS.step(name="attempt_async", retries_allowed=True, interval_seconds=0, should_retry=told_async)
async def attempt_async(path: str, execution: str) -> None:
    attempt(path, execution)


@workflow()
def tries(path: str) -> None:
    """Try a step twice."""
    attempt_sync(path, uuid.uuid4().hex)


@workflow()
async def tries_async(path: str) -> None:
    """Try a step twice, on the event loop."""
    await attempt_async(path, uuid.uuid4().hex)


@workflow()
def waits() -> None:
    """Wait until somebody says `go`."""
    assert DBOS.recv("go", timeout_seconds=600)


@workflow()
def poison(path: str) -> None:
    """Kill the worker."""
    write(path, "start", uuid.uuid4().hex)
    os.kill(os.getpid(), 9)

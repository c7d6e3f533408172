"""Workflows whose code lets nobody else in their process go on, the first time."""

import ctypes
import re
import time
import uuid
from pathlib import Path

from dbos import DBOS

from worker import workflow

from .ledger import write


def first_time(path: str, execution: str) -> bool:
    """Whether it was not executed before; it is written down."""
    write(path, "begin", execution, 2)
    first = not Path(f"{path}.held").exists()
    Path(f"{path}.held").touch()
    return first


def backtrack() -> None:
    """Hold the GIL for ages, at work."""
    re.match(r"(a+)+$", "a" * 60 + "b")


def doze() -> None:
    """Hold the GIL for ages, idle."""
    ctypes.PyDLL(None).sleep(600)


@DBOS.step(name="harmless")
def harmless() -> None: ...


@DBOS.step(name="backtracks")
def backtracks(path: str, execution: str) -> None:
    if first_time(path, execution):
        backtrack()


@DBOS.step(name="backtracks_async")
async def backtracks_async(path: str, execution: str) -> None:
    if first_time(path, execution):
        backtrack()


@DBOS.step(name="blocks_the_event_loop")
async def blocks_the_event_loop(seconds: float) -> None:
    time.sleep(seconds)


@workflow()
def holds(path: str) -> str:
    """Hold the GIL in a step."""
    harmless()
    backtracks(path, uuid.uuid4().hex)
    return "ended"


@workflow()
async def holds_async(path: str) -> str:
    """Hold the GIL in a step, on the event loop."""
    await DBOS.run_step_async({"name": "harmless"}, lambda: None)
    await backtracks_async(path, uuid.uuid4().hex)
    return "ended"


@workflow()
def holds_itself(path: str) -> str:
    """Hold the GIL in its own code, after a step, and use no CPU meanwhile."""
    harmless()
    if first_time(path, uuid.uuid4().hex):
        doze()
    return "ended"


@workflow()
async def blocks(seconds: float) -> None:
    """Block the event loop in a step."""
    await blocks_the_event_loop(seconds)

"""Workflows that use most of what DBOS offers, and then wait; and some that cannot be replayed."""

import asyncio
import time
from pathlib import Path

from dbos import DBOS, WorkflowHandle

from worker import workflow


@DBOS.workflow(name="variety_child")
def child(value: str) -> str:
    return value


@DBOS.workflow(name="variety_child_async")
async def child_async(value: str) -> str:
    return value


@DBOS.workflow(name="variety_breaks")
def breaks() -> None:
    raise ValueError("as it should")


def fail() -> None:
    raise ValueError("as it should")


@workflow()
def variety() -> list[object]:
    """Steps, sleeps, children, messages, events, streams and errors, one after the other."""
    seen: list[object] = [DBOS.run_step({"name": "one"}, lambda: 1)]
    DBOS.set_event("progress", {"done": 1})
    DBOS.write_stream("lines", "first")
    DBOS.close_stream("lines")
    DBOS.sleep(0.1)
    started = DBOS.start_workflow(child, "started")
    seen += [started.get_result(), child("called")]
    enqueued = DBOS.enqueue_workflow("task_queue", child, "enqueued")
    again: WorkflowHandle[str] = DBOS.retrieve_workflow(
        started.workflow_id, existing_workflow=False
    )
    seen += [enqueued.get_result(), again.get_result()]
    try:
        DBOS.run_step({"name": "fail"}, fail)
    except Exception as error:
        seen.append(str(error))
    try:
        breaks()
    except Exception as error:
        seen.append(str(error))
    seen += [DBOS.recv("nothing", timeout_seconds=0.1)]
    seen += [DBOS.get_event(started.workflow_id, "nothing", timeout_seconds=0.1)]
    DBOS.send(str(DBOS.workflow_id), "hello", topic="self")
    seen += [DBOS.recv("self", timeout_seconds=60), DBOS.patch("patched")]
    # The end.
    seen += [DBOS.recv("go", timeout_seconds=600)]
    return seen


@workflow()
async def variety_async() -> list[object]:
    """The same in coroutines, some at once."""
    seen: list[object] = await asyncio.gather(
        *(DBOS.run_step_async({"name": f"step_{n}"}, int, n) for n in range(5)),
        DBOS.sleep_async(0.1),
    )
    started = await DBOS.start_workflow_async(child_async, "started")
    seen += [await started.get_result(), await child_async("called")]
    await DBOS.set_event_async("progress", {"done": 1})
    seen += [await DBOS.recv_async("nothing", timeout_seconds=0.1), await DBOS.patch_async("p")]
    # The end.
    seen += await asyncio.gather(
        DBOS.run_step_async({"name": "beside"}, str, "beside"),
        DBOS.recv_async("go", timeout_seconds=600),
    )
    return seen


@workflow()
def dawdles(path: str) -> None:
    """Wait for a file outside of steps, and only when it is replayed."""
    DBOS.run_step({"name": "one"}, lambda: 1)
    while Path(path).exists():
        time.sleep(0.01)
    DBOS.recv("go", timeout_seconds=600)

"""Workflows that call others where that cannot go well; a comment marks the line that does it.

In a task of its own nobody can tell that line any more: there it is where the workflow begins.
"""

import asyncio

from dbos import DBOS

from worker import workflow


@DBOS.workflow(name="misled_child")
def child() -> None: ...


@DBOS.workflow(name="misled_child_async")
async def child_async() -> None: ...


@DBOS.step(name="calls_a_workflow")
def calls_a_workflow() -> None:
    child()  # in_a_step


@workflow()
def in_a_step() -> None:
    calls_a_workflow()


@DBOS.step(name="starts_a_workflow")
async def starts_a_workflow() -> None:
    await DBOS.start_workflow_async(child_async)  # in_an_async_step


@workflow()
async def in_an_async_step() -> None:
    await starts_a_workflow()


@workflow()
def to_no_queue() -> None:
    DBOS.enqueue_workflow("nowhere", child)  # to_no_queue


@workflow()
async def to_no_queue_async() -> None:
    await DBOS.enqueue_workflow_async("nowhere", child_async)  # to_no_queue_async


@workflow()  # to_no_queue_beside_others
async def to_no_queue_beside_others() -> None:
    await asyncio.gather(
        DBOS.enqueue_workflow_async("nowhere", child_async),
        DBOS.sleep_async(0),
    )


@workflow()
def to_no_queue_by_options() -> None:
    DBOS.enqueue_workflow_with_options(  # to_no_queue_by_options
        {"workflow_name": "misled_child", "queue_name": "nowhere"}
    )


@workflow()
def to_a_queue_of_its_own() -> None:
    DBOS.register_queue("registered_in_a_workflow", polling_interval_sec=0.1)
    DBOS.enqueue_workflow("registered_in_a_workflow", child).get_result(polling_interval_sec=0.1)

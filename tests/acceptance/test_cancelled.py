"""What is cancelled while it waits ends soon, and holds nothing any more."""

import time
from pathlib import Path

import pytest
from dbos import EnqueueOptions

from local_dev.bench.processes import Process
from local_dev.bench.stage import enqueue
from tests.fleet import Fleet

WAYS = ("recv", "sleep", "event", "stream", "child", "retrieved", "result", "first", "retry")

PLACES = 50
"""How many workflows of the default queue a worker executes at the same time."""

SOON_SECONDS = 10.0
"""Generous on a busy machine; it takes one on one that has nothing else to do."""

RECORDED = """
select distinct function_name from dbos.operation_outputs where workflow_uuid = any(%s)
    and function_name not in ('DBOS.sleep', 'DBOS.getStatus')
    and function_name not like '%%never_ends%%'
"""
"""What waits have come to; not that they have begun."""

BEGUN = """
select count(distinct workflow_uuid) from dbos.operation_outputs where workflow_uuid = any(%s)
"""
"""How many of some runs have recorded that a wait has begun, or started what they wait for. The
pause before a further attempt at a step is not recorded."""

TIMEOUTS = "select workflow_uuid, output from dbos.operation_outputs order by 1"

WAITS_BEGUN = "select count(*) from dbos.operation_outputs where function_name = 'DBOS.sleep'"

CHILD = "select workflow_uuid from dbos.workflow_status where parent_workflow_id = %s"

RUNNING = "select count(*) from dbos.workflow_status where name = %s and status = 'PENDING'"


def lines(file: Path) -> list[str]:
    """What workflows have written down so far."""
    return file.read_text().split() if file.exists() else []


def threads(process: Process) -> int:
    """How many threads a process has."""
    status = Path(f"/proc/{process.popen.pid}/status").read_text()
    return int(status.partition("Threads:")[2].split()[0])


def result(workers: Fleet, run: str) -> str:
    """What a workflow has returned, as JSON."""
    outputs = "select output from dbos.workflow_output where workflow_uuid = %s"
    return str(workers.query(outputs, run)[0][0])


def ended(process: Process) -> int:
    """How many runs a worker has ended that it had no longer."""
    said = process.said()
    return said.count("was cancelled during execution") + said.count("no longer owned by")


@pytest.mark.parametrize("kind", ["", "_async"], ids=["sync", "async"])
def test_what_is_cancelled_while_it_waits_ends_soon(workers: Fleet, kind: str) -> None:
    """However it waits; it records nothing, and its place and its thread are free."""
    process = workers.start()
    before = threads(process)
    fillers = ["recv"] * (PLACES - len(WAYS))
    waiting = [workers.enqueue(f"waits_forever{kind}", way=way) for way in (*WAYS, *fillers)]
    process.wait_until(lambda: workers.query(BEGUN, waiting) == [(PLACES - 1,)])
    process.wait_until(lambda: process.said("Step being automatically retried"))
    other = workers.enqueue("greeting", name="World")

    with workers.client() as client:
        client.cancel_workflows(waiting)
    cancelled = time.monotonic()
    process.wait_until(lambda: len(lines(workers.project / "ended")) == PLACES)
    process.wait_until(lambda: workers.status(other) == "SUCCESS")
    seconds = time.monotonic() - cancelled
    process.wait_until(lambda: threads(process) < before + PLACES / 2)

    assert set(lines(workers.project / "ended")) == {"DBOSWorkflowCancelledError"}
    assert {workers.status(each) for each in waiting} == {"CANCELLED"}
    assert workers.query(RECORDED, waiting) == []
    assert seconds < SOON_SECONDS


@pytest.mark.parametrize("kind", ["", "_async"], ids=["sync", "async"])
def test_a_child_that_is_called_ends_with_its_parent(workers: Fleet, kind: str) -> None:
    """If it is cancelled, too, as it is by `cancel_children`."""
    process = workers.start()
    parent = workers.enqueue(f"calls_forever{kind}", child="the-child")
    process.wait_until(lambda: workers.query(WAITS_BEGUN) == [(1,)])

    with workers.client() as client:
        client.cancel_workflow(parent, cancel_children=True)
    process.wait_until(lambda: lines(workers.project / "ended"))

    process.wait_until(lambda: ended(process) == 2)
    assert workers.status("the-child") == "CANCELLED"


@pytest.mark.parametrize("workflow", ["waits_in_thread", "waits_async"])
def test_what_is_resumed_waits_again_until_the_same_time(workers: Fleet, workflow: str) -> None:
    """It gets what has come while it was cancelled."""
    process = workers.start()
    run = workers.enqueue(workflow, seconds=600.0)
    process.wait_until(lambda: workers.query(WAITS_BEGUN) == [(1,)])
    timeout = workers.query(TIMEOUTS)

    with workers.client() as client:
        client.cancel_workflow(run)
        process.wait_until(lambda: ended(process) == 1)
        client.resume_workflow(run)
        process.wait_until(lambda: workers.status(run) == "PENDING")
        resumed = workers.query(TIMEOUTS)
        client.cancel_workflow(run)
        process.wait_until(lambda: ended(process) == 2)
        client.send(run, True, topic="go")
        client.resume_workflow(run)
    process.wait_until(lambda: workers.status(run) == "SUCCESS")

    assert timeout == resumed
    assert result(workers, run) == '"went"'


@pytest.mark.parametrize("kind", ["", "_async"], ids=["sync", "async"])
def test_what_waits_in_children_that_it_calls_ends_alone(workers: Fleet, kind: str) -> None:
    """The children are not cancelled, and go on without it, to where they waited."""
    process = workers.start()
    parent = workers.enqueue(f"calls_twice{kind}", child="the-child")
    process.wait_until(lambda: workers.query(WAITS_BEGUN) == [(1,)])

    with workers.client() as client:
        client.cancel_workflow(parent)
    process.wait_until(lambda: ended(process) == 1)
    process.wait_until(lambda: process.said("enqueued again: 2"))
    workers.send(workers.query(CHILD, "the-child")[0][0], "go")
    process.wait_until(lambda: workers.status("the-child") == "SUCCESS")

    assert workers.status(parent) == "CANCELLED"
    assert result(workers, "the-child") == '"True"'


def test_what_is_resumed_is_not_taken_for_asleep_before_it_sleeps(workers: Fleet) -> None:
    """It would count as a run that does several things at once, and be blamed for its worker."""
    process = workers.start()
    run = workers.enqueue("begins_and_sleeps")
    process.wait_until(lambda: workers.query(WAITS_BEGUN) == [(1,)])

    with workers.client() as client:
        for executions in (1, 2):
            client.cancel_workflow(run)
            process.wait_until(lambda n=executions: ended(process) == n)  # type: ignore[misc]
            client.resume_workflow(run)
            process.wait_until(lambda: workers.status(run) == "PENDING")

    assert workers.query("select several_at_once from catalog.waits") == []


@pytest.mark.parametrize("workflow", ["waits_in_thread", "waits_async"])
def test_what_is_resumed_at_once_goes_on_alone(workers: Fleet, workflow: str) -> None:
    """The execution before ends, without a look at the moment in which it was cancelled."""
    process = workers.start()
    run = workers.enqueue(workflow, seconds=600.0)
    process.wait_until(lambda: workers.query(WAITS_BEGUN) == [(1,)])

    with workers.client() as client:
        client.cancel_workflow(run)
        client.resume_workflow(run)
        process.wait_until(lambda: ended(process) == 1)
        process.wait_until(lambda: workers.status(run) == "PENDING")
        client.send(run, True, topic="go")
    process.wait_until(lambda: workers.status(run) == "SUCCESS")

    assert result(workers, run) == '"went"'


@pytest.mark.parametrize("workflow", ["waits_in_thread", "waits_async"])
def test_a_deadline_ends_a_wait(workers: Fleet, workflow: str) -> None:
    """As whoever cancels does."""
    process = workers.start()
    options: EnqueueOptions = {
        "workflow_name": workflow,
        "queue_name": "order_queue",
        "workflow_timeout": 1.0,
    }

    with workers.client() as client:
        run = client.enqueue(options, seconds=600.0).workflow_id
    process.wait_until(lambda: ended(process) == 1)

    assert workers.status(run) == "CANCELLED"


def test_each_worker_ends_what_it_has(workers: Fleet) -> None:
    """Whoever cancels does not know which one that is."""
    processes = workers.start_many(2, MAX_THREADS="5")
    runs = enqueue(workers.database, 10, "waits_in_thread", "order_queue")
    processes[0].wait_until(lambda: workers.query(RUNNING, "waits_in_thread") == [(10,)])
    processes[0].wait_until(lambda: workers.query(WAITS_BEGUN) == [(10,)])

    with workers.client() as client:
        client.cancel_workflows(runs)
    processes[0].wait_until(lambda: sum(ended(each) for each in processes) == 10)
    others = enqueue(workers.database, 10, "waits_in_thread", "order_queue")
    processes[0].wait_until(lambda: workers.query(RUNNING, "waits_in_thread") == [(10,)])

    assert {workers.status(each) for each in others} == {"PENDING"}
    assert [ended(each) for each in processes] == [5, 5]

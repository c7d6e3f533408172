"""Threads: what waits holds none, what holds one is counted, and none to be had ends nobody."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from local_dev.bench.processes import DEADLINE, Process, python, run, wait_until
from local_dev.bench.stage import enqueue
from tests.fleet import Fleet
from tests.processes import ALL, free_port, serve
from tests.rows import alive

FEW_THREADS = """
import runpy
import sys
import threading

most, start = int(sys.argv.pop(1)), threading._start_new_thread

def start_if_few(*arguments):
    if threading.active_count() > most:
        raise RuntimeError("can't start new thread")
    return start(*arguments)

threading._start_new_thread = start_if_few
runpy.run_module("worker", run_name="__main__", alter_sys=True)
"""
"""A worker on a system that starts no more than some threads for it, as a limit of processes of
its user or its container has it. Root, as whom tests may run, has no such limit."""

SEND = """
insert into dbos.notifications (destination_uuid, topic, message, serialization)
select workflow_uuid, 'go', 'true', 'portable_json' from dbos.workflow_status
where status = any(%s) and name like 'waits%%'
returning 1
"""

STEAL = "update dbos.workflow_status set owner_xid = 'x', executor_id = 'another' returning 1"

WAITING = "select count(*) from dbos.operation_outputs where function_name = 'DBOS.sleep'"

STATUSES = "select status, count(*) from dbos.workflow_status group by status"


def threads(process: Process) -> int:
    """How many threads a process has."""
    status = Path(f"/proc/{process.popen.pid}/status").read_text()
    return int(status.partition("Threads:")[2].split()[0])


def statuses(workers: Fleet) -> dict[str, int]:
    """How many workflows there are in each state."""
    return dict(workers.query(STATUSES))


def waiting(workers: Fleet) -> int:
    """How many runs wait for their message."""
    return int(workers.query(WAITING)[0][0])


def probe(port: int, path: str) -> tuple[int, str]:
    """What the platform hears of a worker."""
    answer = httpx2.get(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE)
    return answer.status_code, answer.text.strip()


@contextmanager
def explained(workers: Fleet) -> Iterator[httpx2.Client]:
    """The functions beside some workers."""
    settings = {"DBOS_SYSTEM_DATABASE_URL": workers.database, "AUTH": "none"}
    with serve(ALL, workers.project, settings) as client:
        yield client


def test_async_runs_that_wait_hold_no_thread(workers: Fleet) -> None:
    """Whether they begin, wait or end, and however many they are."""
    process = workers.start(HEALTH_PORT=(port := str(free_port())))
    ids = enqueue(workers.database, 800, "waits_async", "order_queue")
    most = 0

    def all_wait() -> bool:
        nonlocal most
        most = max(most, threads(process))
        return waiting(workers) == len(ids)

    def all_ended() -> bool:
        nonlocal most
        most = max(most, threads(process))
        return statuses(workers) == {"SUCCESS": len(ids)}

    process.wait_until(all_wait)
    alive = probe(int(port), "/livez")
    workers.query(SEND, ["PENDING"])
    process.wait_until(all_ended)

    assert most < 60
    assert alive == (200, "ok")


def test_steps_that_hold_a_thread_hold_up_no_outcome(workers: Fleet) -> None:
    """More of them than there are threads for: other async runs begin, wait and end meanwhile."""
    process = workers.start()
    enqueue(workers.database, 130, "blocks_threads", "order_queue")
    process.wait_until(lambda: threads(process) > 100)
    most = threads(process)

    enqueue(workers.database, 1, "waits_async", "order_queue")
    process.wait_until(lambda: waiting(workers) == 1)
    workers.query(SEND, ["PENDING"])
    process.wait_until(lambda: statuses(workers).get("SUCCESS") == 1)
    (workers.project / "go on").touch()
    workers.wait_until_finished()

    assert most < 160
    assert statuses(workers) == {"SUCCESS": 131}


def test_a_worker_takes_as_many_sync_runs_as_it_has_threads_for(workers: Fleet) -> None:
    """MAX_THREADS; `explain` says so of the next one; async runs are taken all the same."""
    process = workers.start(MAX_THREADS="3")
    held = enqueue(workers.database, 5, "waits_in_thread", "order_queue")
    process.wait_until(lambda: waiting(workers) == 3)
    free = enqueue(workers.database, 20, "waits_async", "order_queue")

    with explained(workers) as client:
        process.wait_until(lambda: waiting(workers) == 23)
        waits = [each for each in held if workers.status(each) == "ENQUEUED"]
        answer = wait_until(
            lambda: (
                said
                if (said := client.get(f"/explain/{waits[0]}").json())["reason"] != "queued"
                else None
            )
        )
        workers.query(SEND, ["PENDING", "ENQUEUED"])
        workers.wait_until_finished()

    assert len(waits) == 2
    assert (answer["reason"], answer["explanation"]) == (
        "worker_threads_limit",
        "Every live worker executes as many sync workflows as it has threads for.",
    )
    assert statuses(workers) == {"SUCCESS": len(held) + len(free)}


def test_no_thread_to_be_had_ends_no_worker(workers: Fleet) -> None:
    """It says so, takes nothing, gives up nothing, and goes on when there are some again."""
    settings = {
        "DBOS_SYSTEM_DATABASE_URL": workers.database,
        "HEALTH_PORT": (port := str(free_port())),
        "MAX_TAKEOVERS": "2",
    }
    command = python("-c", FEW_THREADS, "60")
    with run(*command, cwd=workers.project, environ=settings) as process:
        process.wait_until(lambda: process.said("executes"))
        ids = enqueue(workers.database, 100, "waits_in_thread", "order_queue")
        process.wait_until(
            lambda: probe(int(port), "/healthz") == (503, "no thread can be started")
        )
        process.wait_until(lambda: statuses(workers).get("PENDING", 0) == waiting(workers))
        alive = probe(int(port), "/livez")
        running = waiting(workers)
        workers.query(SEND, ["PENDING", "ENQUEUED"])
        process.wait_until(lambda: statuses(workers) == {"SUCCESS": len(ids)})
        code = process.stop(signal.SIGTERM)

    assert alive == (200, "ok")
    assert 10 < running < 60
    assert code == 0


def test_a_run_that_another_worker_has_holds_no_thread(workers: Fleet) -> None:
    """Its own worker does not wait for how it ends elsewhere."""
    process = workers.start()
    enqueue(workers.database, 5, "waits_in_thread", "order_queue")
    process.wait_until(lambda: waiting(workers) == 5)
    held = threads(process)

    with alive(workers.database, "1", executor="another"):
        workers.query(STEAL)
        workers.query(SEND, ["PENDING"])
        process.wait_until(lambda: process.said().count("no longer owned") == 5)
        process.wait_until(lambda: threads(process) <= held - 5)
        found = statuses(workers)

    assert found == {"PENDING": 5}

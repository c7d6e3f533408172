"""Workers die again and again: only those runs that are to blame are given up."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from local_dev.bench.processes import Process, wait_until
from tests.fleet import Fleet

GIVEN_UP = "MAX_RECOVERY_ATTEMPTS_EXCEEDED"

WAITING = """
select count(*) from catalog.waits v join dbos.workflow_status s using (workflow_uuid, owner_xid)
where s.status = 'PENDING'
"""

SETTLED = """
select count(distinct s.executor_id)
from catalog.waits v join dbos.workflow_status s using (workflow_uuid, owner_xid)
"""
"""The workers that say what waits, which they do once they take over, too."""

LONGEST = """
select max(completed_at - created_at) / 1000.0
from dbos.workflow_status
where name = 'greeting' and status = 'SUCCESS' and recovery_attempts = 1
"""
"""Of those that were in no worker that died."""


@contextmanager
def supervised(workers: Fleet, count: int, **environ: str) -> Iterator[list[Process]]:
    """Workers that are started again when they have ended."""
    stop = Event()
    processes = workers.start_many(count, **environ)

    def keep() -> None:
        while not stop.wait(0.5):
            for number, process in enumerate(processes):
                if process.popen.poll() is not None:
                    processes[number] = workers.begin(**environ)

    keeper = Thread(target=keep)
    keeper.start()
    try:
        yield processes
    finally:
        stop.set()
        keeper.join()


def test_what_waits_outlives_its_workers(workers: Fleet) -> None:
    """For a signal, an event, a time, or another workflow; more deaths than MAX_TAKEOVERS."""
    waiting = [workers.enqueue("waits"), workers.enqueue("sleeps", path=str(workers.path))]
    parents = [workers.enqueue("asks", how=how) for how in ("direct", "result", "first", "event")]
    parents.append(workers.enqueue("asks_async"))

    for _ in range(4):
        worker = workers.start(EXECUTOR_ID="the-one", MAX_TAKEOVERS="1", POLLING_INTERVAL="0.1")
        wait_until(lambda: workers.query(WAITING)[0][0] >= len(parents))
        worker.stop(signal.SIGKILL)
    statuses = {run: workers.status(run) for run in waiting + parents}
    counted = workers.query("select max(recovery_attempts) from dbos.workflow_status")

    assert statuses == dict.fromkeys(waiting + parents, "PENDING")
    assert counted[0][0] <= 2


def test_innocents_beside_a_poison_end_well(workers: Fleet) -> None:
    """They compute in the same workers; meanwhile others hardly notice."""
    path = str(workers.path)
    waiting = []
    with supervised(workers, 2, POLLING_INTERVAL="0.1"):
        while workers.query(SETTLED)[0][0] < 2:
            waiting.append(workers.enqueue("waits"))
            time.sleep(0.5)
        innocents = [
            workers.enqueue("innocent", path=path, steps=3, seconds=1.0) for _ in range(20)
        ]
        poison = workers.enqueue("poison", path=path)
        while workers.status(poison) != GIVEN_UP:
            workers.enqueue("greeting", name="World")
            time.sleep(0.5)
        for each in waiting:
            workers.send(each, "go")
        workers.wait_until_finished(120)
    starts = sum(line.event == "start" for line in workers.lines())

    assert {workers.status(each) for each in innocents + waiting} == {"SUCCESS"}
    assert 6 <= starts <= 9
    assert workers.query(LONGEST)[0][0] < 5


def test_several_poisons_are_given_up_and_nobody_else(workers: Fleet) -> None:
    """At once, after a while, between waits: whatever they do before."""
    path = str(workers.path)
    with supervised(workers, 3, POLLING_INTERVAL="0.1", MAX_TAKEOVERS="3"):
        waiting = [workers.enqueue("waits") for _ in range(20)]
        innocents = [
            workers.enqueue("innocent", path=path, steps=3, seconds=1.0) for _ in range(20)
        ]
        poisons = [
            workers.enqueue("poison", path=path),
            workers.enqueue("poison_after_a_while", path=path, seconds=4.0),
            workers.enqueue("poison_after_a_while", path=path, seconds=0.0),
            workers.enqueue("poison_beside_waits", path=path),
        ]
        wait_until(lambda: {workers.status(each) for each in poisons} == {GIVEN_UP}, 240)
        for each in waiting:
            workers.send(each, "go")
        workers.wait_until_finished(120)

    assert {workers.status(each) for each in waiting + innocents} == {"SUCCESS"}

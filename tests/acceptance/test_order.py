"""What async code is given comes in the recorded order when another worker goes on with it."""

import json
import signal
import time

import pytest

from local_dev.bench.processes import wait_until
from tests.fleet import Fleet
from tests.interruptions import adopt

SECONDS = 0.4
"""The longest that a step takes."""

RECORDED = "select count(*) from dbos.operation_outputs where workflow_uuid = %s"

OUTCOME = """
select s.status, o.output, o.error
from dbos.workflow_status s left join dbos.workflow_output o using (workflow_uuid)
where s.workflow_uuid = %s
"""


def recorded(workers: Fleet, workflow_id: str) -> int:
    """How many operations a run has recorded."""
    return int(workers.query(RECORDED, workflow_id)[0][0])


def interrupted(workers: Fleet, workflow_id: str, *points: int) -> list[list[str]]:
    """The result of a run whose worker is killed whenever it has recorded so many operations."""
    for point in points:
        worker = workers.start()
        wait_until(lambda n=point: recorded(workers, workflow_id) >= n)  # type: ignore[misc]
        worker.stop(signal.SIGKILL)
    workers.start()
    workers.wait_until_finished()
    return result(workers, workflow_id)


def result(workers: Fleet, workflow_id: str) -> list[list[str]]:
    """What a run has returned."""
    [(status, output, error)] = workers.query(OUTCOME, workflow_id)
    assert (status, error) == ("SUCCESS", None)
    return list(json.loads(output))


def check(workers: Fleet, results: list[list[str]], length: int, again: int) -> None:
    """Each chain was given what was done for it, in its order, and little was done again."""
    asked = [[line.split()[0] for line in result] for result in results]
    ledger = (workers.project / "chains").read_text().splitlines()
    assert asked == [[f"{n}.{k}" for k in range(length)] for n in range(len(results))]
    assert {line for result in results for line in result} <= set(ledger)
    assert len(ledger) - len(results) * length <= again


@pytest.mark.parametrize("points", [(8,), (12,), (7, 9, 11, 13, 15)], ids=str)
def test_chains_of_steps_keep_their_values(workers: Fleet, points: tuple[int, ...]) -> None:
    """Steps of one name, whose results came back in an order that no other execution repeats."""
    path = str(workers.project / "chains")
    workflow_id = workers.enqueue("chains", path=path, count=6, length=3, seconds=SECONDS)

    results = interrupted(workers, workflow_id, *points)

    check(workers, results, length=3, again=6 * len(points))


@pytest.mark.parametrize("points", [(20,), (60,), (15, 35, 55, 75)], ids=str)
def test_chains_of_all_that_is_awaited_keep_their_values(
    workers: Fleet, points: tuple[int, ...]
) -> None:
    """Steps, sync and async, sleeps, messages, events, and children in three ways."""
    path = str(workers.project / "chains")
    workflow_id = workers.enqueue("mixed_chains", path=path, count=5, seconds=SECONDS)

    results = interrupted(workers, workflow_id, *points)

    check(workers, results, length=9, again=15 * len(points))


def test_a_fork_keeps_the_order(workers: Fleet) -> None:
    """It is given what is recorded up to its first step, in the order in which that came."""
    path = str(workers.project / "chains")
    workflow_id = workers.enqueue("chains", path=path, count=6, length=3, seconds=SECONDS)
    workers.start()
    workers.wait_until_finished()

    with workers.client() as client:
        forked = client.fork_workflow(workflow_id, 14).workflow_id
    results = interrupted(workers, forked, 15)

    check(workers, results, length=3, again=12)


def test_adopted_runs_keep_the_order(workers: Fleet) -> None:
    """The rehearsal goes through them in the recorded order, and finds that nothing has changed."""
    path = str(workers.project / "chains")
    workflow_id = workers.enqueue("chains", path=path, count=6, length=3, seconds=SECONDS)
    worker = workers.start()
    wait_until(lambda: recorded(workers, workflow_id) >= 11)

    adopt(workers, worker, [workflow_id])
    workers.wait_until_finished()

    check(workers, result(workers, workflow_id), length=3, again=6)


def test_runs_without_a_recorded_order_go_on(workers: Fleet) -> None:
    """A release before has begun them: they are given everything as it comes."""
    path = str(workers.project / "chains")
    workflow_id = workers.enqueue("chains", path=path, count=6, length=3, seconds=SECONDS)
    worker = workers.start()
    wait_until(lambda: recorded(workers, workflow_id) >= 9)
    worker.stop(signal.SIGKILL)
    gone = workers.query("delete from catalog.deliveries returning place")

    workers.start()
    workers.wait_until_finished(30)

    assert gone
    assert len(result(workers, workflow_id)) == 6


def test_the_order_is_deleted_with_its_run(workers: Fleet) -> None:
    """Until then, whoever forks the run needs it. What is sequential has none."""
    path = str(workers.project / "chains")
    several = workers.enqueue("chains", path=path, count=6, length=3, seconds=SECONDS)
    workers.enqueue("chains", path=path, count=1, length=9, seconds=0.01)
    workers.start()
    workers.wait_until_finished()
    ordered = workers.query("select distinct workflow_uuid from catalog.deliveries")

    with workers.client() as client:
        client.delete_workflow(several)

    assert ordered == [(several,)]
    assert workers.query("select 1 from catalog.deliveries") == []


RACES = {"first_completed": 5, "as_completed": 5, "grouped": 8, "timed_out": 6}
"""Workflows whose code goes on with whatever comes first, and how many operations to let pass."""


@pytest.mark.parametrize("name", RACES)
def test_what_came_first_comes_first(workers: Fleet, name: str) -> None:
    """What code has seen before it called something that is recorded, it sees again."""
    path = workers.project / "chains"
    workflow_id = workers.enqueue(name, path=str(path), seconds=SECONDS)

    results = interrupted(workers, workflow_id, RACES[name], RACES[name] + 3)

    ledger = path.read_text().splitlines()
    assert results
    assert all(seen in ledger for seen, _ in results)
    assert all(after.split(" ")[0] == f"after:{seen.split()[0]}" for seen, after in results)


@pytest.mark.parametrize("point", [12, 20])
def test_sets_of_tasks_have_one_order(workers: Fleet, point: int) -> None:
    """Each call is given what it was given, though asyncio makes sets of them."""
    path = str(workers.project / "chains")
    workflow_id = workers.enqueue("sets_of_tasks", path=path, seconds=SECONDS)

    results = interrupted(workers, workflow_id, point)

    assert [asked for asked, _ in results] == [told for _, told in results]


def test_a_task_that_goes_on_calls_no_step_of_a_run_that_has_ended(workers: Fleet) -> None:
    """DBOS would call it as a function, and nobody would know."""
    path = workers.project / "chains"
    workflow_id = workers.enqueue("abandons", path=str(path), seconds=0.1)
    workers.start()
    workers.wait_until_finished()
    time.sleep(0.5)

    begun = len(path.read_text().splitlines())
    time.sleep(1)

    assert result(workers, workflow_id)
    assert len(path.read_text().splitlines()) == begun

"""Workers are killed, frozen, cut off, drained; their workflows go on elsewhere, and end once."""

import signal
import time
from pathlib import Path

import pytest

from local_dev.bench.processes import DEADLINE, Process, wait_until
from local_dev.bench.proxy import Proxy
from tests.fleet import Fleet, fleet, freeze, restart_postgres, restartable_postgres, thaw


def loaded(workers: Fleet, **environ: str) -> Process:
    """A worker that has begun to execute everything there is."""
    process = workers.start(**environ)
    workers.launch(count=12, steps=20, seconds=1)
    process.wait_until(lambda: workers.runs(process, 12))
    return process


def test_a_killed_worker_is_taken_over(workers: Fleet) -> None:
    """SIGKILL: one of the two others goes on from the last steps."""
    victim = loaded(workers)
    others = workers.start_many(2)

    victim.stop(signal.SIGKILL)
    workers.finish()

    assert 1 <= workers.check() <= 12
    assert sum(": 12" in other.said("taken over from") for other in others) == 1


def test_a_frozen_worker_is_taken_over_and_ends_itself_when_it_wakes(workers: Fleet) -> None:
    """SIGSTOP, SIGCONT: it cannot tell that from code that held the GIL."""
    victim = loaded(workers)
    other = workers.start()

    freeze(victim)
    wait_until(lambda: other.said("taken over from"))
    thaw(victim)
    code = victim.popen.wait(DEADLINE)
    workers.finish()

    assert code == 1
    wait_until(lambda: victim.said("the worker was frozen, and has ended itself when it woke up"))
    assert 1 <= workers.check() <= 12


@pytest.mark.parametrize(
    ("workflow", "step"), [("holds", "backtracks"), ("holds_async", "backtracks_async")]
)
def test_code_that_holds_the_gil_ends_its_worker_before_another_goes_on(
    workers: Fleet, workflow: str, step: str
) -> None:
    """It is said which, also to `explain`, and what else was executed there goes on, too."""
    victim = workers.start()
    beside = workers.enqueue("waits")
    wait_until(lambda: workers.status(beside) == "PENDING")
    launched = workers.enqueue(workflow, path=str(workers.path))
    victim.wait_until(lambda: workers.runs(victim))
    workers.start()

    code = victim.popen.wait(DEADLINE)
    ended_at = time.time()
    workers.send(beside, "go")
    workers.wait_until_finished()

    said, (_, again) = victim.said(), [each for each in workers.lines() if each.event == "begin"]
    assert code == 1
    told = said.index(f"workflow {launched} ({workflow}), step 2 ({step})")
    assert told < said.index("Timeout (") < said.index("in backtrack\n")
    assert again.time > ended_at - 1  # Only what the kernel does at the end may take longer.
    assert workers.query("select workflow_uuid, step, step_name, certain from catalog.ended") == [
        (launched, 2, step, True)
    ]
    assert workers.status(launched) == workers.status(beside) == "SUCCESS"


def test_code_that_holds_the_gil_and_rests_is_one_of_several(workers: Fleet) -> None:
    """It uses as much CPU as those that wait, and so each of them may be the one."""
    victim = workers.start()
    launched = {workers.enqueue("waits"), workers.enqueue("holds_itself", path=str(workers.path))}
    victim.wait_until(lambda: workers.runs(victim))

    code = victim.popen.wait(DEADLINE)

    assert code == 1
    ended = workers.query("select workflow_uuid, step_name, certain from catalog.ended")
    assert set(ended) == {(each, None, False) for each in launched}
    assert victim.said("that of one of these: ")


def test_what_blocks_the_event_loop_is_named(workers: Fleet) -> None:
    """It costs the worker nothing but time: its lease is kept by another thread."""
    worker = workers.start()

    launched = workers.enqueue("blocks", seconds=8)
    workers.wait_until_finished()

    assert worker.said(f"it executes workflow {launched} (blocks), step 1 (blocks_the_event_loop)")
    assert not worker.said("the lease is lost")
    assert workers.status(launched) == "SUCCESS"


def test_a_worker_that_is_cut_off_is_taken_over_and_comes_back(workers: Fleet) -> None:
    """Nothing gets through, no connection is closed: as bad as a network can be."""
    with Proxy(workers.database) as network:
        victim = loaded(workers, DBOS_SYSTEM_DATABASE_URL=network.url)
        other = workers.start()

        with network.frozen():
            wait_until(lambda: other.said("taken over from"))
        victim.wait_until(lambda: victim.said("the lease is back"))
        workers.finish()
        other.stop(signal.SIGTERM)
        workers.launch(count=3, steps=2, seconds=0)
        workers.finish()

        assert workers.check() <= 12


@pytest.mark.parametrize("workflow", ["tries", "tries_async"])
def test_a_worker_that_comes_back_begins_nothing_that_another_has(
    workers: Fleet, workflow: str
) -> None:
    """It was about to try a step again when it was cut off; the other one does so."""
    with Proxy(workers.database) as network:
        victim = workers.start(DBOS_SYSTEM_DATABASE_URL=network.url)
        launched = workers.enqueue(workflow, path=str(workers.path))
        victim.wait_until(lambda: workers.runs(victim))
        other = workers.start()

        with network.frozen():
            other.wait_until(lambda: workers.runs(other))
        victim.wait_until(lambda: victim.said("the lease is back"))
        Path(f"{workers.path}.again").touch()
        workers.wait_until_finished()

        victim.wait_until(lambda: victim.said(f"{launched} is no longer owned by this execution"))
        assert workers.status(launched) == "SUCCESS"
        assert [line.pid for line in workers.lines() if line.event == "begin"] == [
            victim.popen.pid,
            other.popen.pid,
            other.popen.pid,
        ]


def test_a_worker_alone_survives_connections_that_never_answer_again(workers: Fleet) -> None:
    """Nobody takes it over; it gives the connections up by itself."""
    with Proxy(workers.database) as network:
        loaded(workers, DBOS_SYSTEM_DATABASE_URL=network.url)

        network.strand()
        workers.finish()

        assert workers.check() == 0


def test_a_worker_whose_lease_is_ended_takes_it_back(workers: Fleet) -> None:
    """`pg_terminate_backend` on its session, again and again."""
    victim = loaded(workers)
    other = workers.start()

    for number in range(1, 4):
        workers.end_lease(victim)
        victim.wait_until(lambda n=number: victim.said().count("the lease is back") == n)  # type: ignore[misc]
    workers.finish()

    workers.check()
    assert victim.popen.poll() is None
    assert other.popen.poll() is None


def test_postgres_restarts_while_a_worker_is_taken_over(project: Path, tmp_path: Path) -> None:
    """`pg_ctl restart -m immediate`: all leases are gone at once, only the dead one for good."""
    data = tmp_path / "data"
    with restartable_postgres(data) as url, fleet(project, url) as workers:
        victim = loaded(workers)
        others = workers.start_many(2)
        workers.launch(count=60, steps=5, seconds=0.1)

        victim.stop(signal.SIGKILL)
        restart_postgres(data)
        restart_postgres(data)
        workers.finish()

        workers.check()
        assert all("the lease is back" in other.said() for other in others)
        taken = set.union(*(workers.taken_over_by(other) for other in others))
        assert taken <= {workers.executor_id(victim)}


def test_a_drained_worker_hands_over_what_it_cannot_finish(workers: Fleet) -> None:
    """SIGTERM with too short a DRAIN_TIMEOUT: exit code 0, and no takeover is counted."""
    victim = loaded(workers, DRAIN_TIMEOUT="0.5")
    other = workers.start()

    code = victim.stop(signal.SIGTERM)
    wait_until(lambda: workers.runs(other, 12))
    workers.finish()

    assert code == 0
    assert "workflows handed over: 12" in victim.said()
    assert "taken over" not in other.said()
    assert workers.check() <= 12
    assert workers.query("select distinct recovery_attempts from dbos.workflow_status") == [(1,)]


def test_a_second_signal_ends_the_drain(workers: Fleet) -> None:
    """At once and with exit code 0; another worker notices by itself."""
    victim = loaded(workers, DRAIN_TIMEOUT="600")

    victim.popen.send_signal(signal.SIGTERM)
    victim.wait_until(lambda: victim.said("draining"))
    code = victim.stop(signal.SIGTERM)
    workers.start()
    workers.finish()

    assert code == 0
    assert 1 <= workers.check() <= 12


def test_a_workflow_that_kills_its_workers_is_given_up(workers: Fleet) -> None:
    """After MAX_TAKEOVERS; what has been waiting beside it all the time is not."""
    started = workers.start_many(2, MAX_TAKEOVERS="3")
    waiting = [workers.enqueue("waits") for _ in range(3)]
    wait_until(lambda: all(workers.status(each) == "PENDING" for each in waiting))
    poison = workers.enqueue("poison", path=str(workers.path))

    while workers.status(poison) != "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        if len(alive := [each for each in started if each.popen.poll() is None]) < 2:
            started = [*alive, workers.start(MAX_TAKEOVERS="3")]
    for each in waiting:
        workers.send(each, "go")
    workers.finish()

    assert len(workers.lines()) == 1 + 3
    assert [workers.status(each) for each in waiting] == ["SUCCESS"] * 3


def test_a_workflow_that_stopped_without_an_end_is_found(workers: Fleet) -> None:
    """By its own worker, which lives on."""
    worker = workers.start()
    faints = workers.enqueue("faints", path=str(workers.project / "fainted"))

    workers.finish()

    assert workers.status(faints) == "SUCCESS"
    assert worker.said("had stopped without an end")
    assert not worker.said("FairPool")


@pytest.mark.parametrize("end", ["cancel_workflow", "delete_workflow"])
def test_what_was_ended_begins_no_further_step(workers: Fleet, end: str) -> None:
    """Where it is executed, too."""
    workers.start()
    workers.launch(count=1, steps=5, seconds=1)
    (workflow_id,) = workers.launched
    wait_until(lambda: any(line.event == "begin" for line in workers.lines()))
    begun = sum(line.event == "begin" for line in workers.lines())

    with workers.client() as client:
        getattr(client, end)(workflow_id)
    time.sleep(3)

    assert sum(line.event == "begin" for line in workers.lines()) <= begun + 1


@pytest.mark.parametrize("workflow", ["calls_child", "calls_child_async"])
def test_a_child_that_is_called_is_executed_once(workers: Fleet, workflow: str) -> None:
    """However long it takes: its worker knows that it executes it."""
    worker = workers.start()

    parent = workers.enqueue(workflow, path=str(workers.path), seconds=10)
    workers.wait_until_finished()

    assert workers.status(parent) == "SUCCESS"
    assert len(workers.lines()) == 1
    assert not worker.said("had stopped without an end")


def test_a_new_workflow_waits_for_a_worker_that_knows_it(workers: Fleet) -> None:
    """Workers of the same version that do not know it yet claim it, and leave it to others."""
    workers.start()
    added = workers.project / "worker" / "workflows" / "added.py"
    added.write_text("from worker import workflow\n\n\n@workflow()\ndef added() -> None: ...\n")
    enqueued = [workers.enqueue("added") for _ in range(5)]
    attempts = "select max(recovery_attempts) from dbos.workflow_status where status = 'DELAYED'"
    wait_until(lambda: workers.query(attempts) == [(0,)])

    workers.start()
    # Which of the two claims one is a coin toss, and five seconds pass until the next.
    workers.wait_until_finished(300)

    assert [workers.status(each) for each in enqueued] == ["SUCCESS"] * 5


def test_an_executor_id_is_used_once_at_a_time(workers: Fleet) -> None:
    """A second worker refuses to start; after a kill, the next one goes on at once."""
    first = workers.start(EXECUTOR_ID="the-one")
    second = workers.begin(EXECUTOR_ID="the-one")
    code = second.popen.wait(DEADLINE)
    workers.launch(count=12, steps=20, seconds=1)
    first.wait_until(lambda: workers.runs(first, 12))
    first.stop(signal.SIGKILL)
    workers.start(EXECUTOR_ID="the-one")
    workers.finish()

    assert code == 1
    assert second.said().startswith("worker: another worker is running with the EXECUTOR_ID 'the-")
    assert 1 <= workers.check() <= 12


def test_a_new_version_leaves_the_old_ones_workflows_alone(workers: Fleet) -> None:
    """Rolling upgrade: what the old one has begun waits for it, or is adopted."""
    old = loaded(workers, APP_VERSION="1", DRAIN_TIMEOUT="0")
    new = workers.start(APP_VERSION="2")
    alive = adopt(workers)
    unknown = adopt(workers, version="0")
    code = old.stop(signal.SIGTERM)
    before = set(workers.launched)
    workers.launch(count=3, steps=2, seconds=0)
    fresh = set(workers.launched) - before
    wait_until(lambda: all(workers.status(each) == "SUCCESS" for each in fresh))

    waiting = [workers.status(each) for each in before]
    dry_run = adopt(workers)
    still_waiting = [workers.status(each) for each in before]
    done = adopt(workers, "--yes")
    workers.finish()

    assert alive == (1, "worker: a worker of version '1' is alive, and executes its workflows\n")
    assert code == 0
    assert waiting == still_waiting == ["ENQUEUED"] * 12
    assert dry_run[0] == done[0] == 0
    assert all(f"{each} ledger ENQUEUED\n" in dry_run[1] for each in before)
    assert dry_run[1].endswith("of version 1 that --yes would move to version 2: 12\n")
    assert done[1].endswith("workflows of version 1 moved to version 2: 12\n")
    assert unknown == (1, "worker: no worker of version '0' has ever run; known versions: 1, 2\n")
    assert 1 <= workers.check() <= 12
    assert workers.runs(new, 3 * 2 + 12)


def test_an_old_version_leads_again_when_the_new_one_is_gone(workers: Fleet) -> None:
    """Rollback: it soon executes what is launched, though a newer version was there before."""
    new = workers.start(APP_VERSION="1"), workers.start(APP_VERSION="2")
    for each in new:
        each.stop(signal.SIGTERM)
    old = workers.start(APP_VERSION="1")

    workers.launch(count=1, steps=1, seconds=0)
    workers.finish()

    assert old.said("version 1 leads now")
    assert workers.query("select distinct application_version from catalog.workflows") == [("1",)]
    workers.check()


def adopt(workers: Fleet, *options: str, version: str = "1") -> tuple[int, str]:
    """`python -m worker adopt` for version 2: its exit code and what it says."""
    process = workers.begin("adopt", version, *options, APP_VERSION="2")
    return process.popen.wait(DEADLINE), process.said()

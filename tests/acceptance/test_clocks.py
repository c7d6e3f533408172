"""Clocks that are wrong: of workers, a little and a lot, and of functions."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local_dev.bench.processes import DEADLINE, wait_until
from tests.calls import launched
from tests.fleet import Fleet, shifted
from tests.processes import ALL, free_port, serve

TWO_HOURS_SECONDS = 7200

TOLERATED_SECONDS = 4
"""Less than the five for which a worker takes nothing."""

ON_TIME_SECONDS = 3
"""That a machine with much else to do may take; less than TOLERATED_SECONDS."""

SetClock = Callable[[float], Path]


@pytest.fixture
def set_clock(tmp_path: Path) -> SetClock:
    """Sets a clock to be wrong by some seconds; returns the file that says so."""

    def write(seconds: float) -> Path:
        new, file = tmp_path / "new", tmp_path / "clock"
        new.write_text(str(seconds))
        return new.rename(file)

    return write


def get(port: str, path: str) -> httpx2.Response:
    """What a worker answers."""
    return httpx2.get(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE)


def ended(workers: Fleet, workflow_id: str) -> bool:
    """Whether a workflow is done."""
    return workers.status(workflow_id) not in ("ENQUEUED", "DELAYED", "PENDING")


def of(workers: Fleet, workflow_id: str, columns: str) -> tuple[Any, ...]:
    """Columns of a workflow, of which Postgres has set the times."""
    where = "where workflow_uuid = %s"
    return workers.query(f"select {columns} from dbos.workflow_status {where}", workflow_id)[0]


@pytest.mark.parametrize("seconds", [TWO_HOURS_SECONDS, -TWO_HOURS_SECONDS], ids=["fast", "slow"])
def test_a_worker_whose_clock_is_wrong_takes_nothing_and_says_why(
    workers: Fleet, environ: dict[str, str], set_clock: SetClock, seconds: float
) -> None:
    """Alone it waits, and nothing is begun or cancelled by its clock; a right one does the work."""
    wrong = workers.start_with_clock(set_clock(seconds), HEALTH_PORT=(port := str(free_port())))

    with serve(ALL, workers.project, environ) as functions:
        ids = {
            query: functions.post(f"/launch/works?{query}", json={"seconds": 0.1}).json()[
                "workflow_id"
            ]
            for query in ("delay=8", "timeout=300", "priority=1")
        }

        def explained(query: str) -> dict[str, Any]:
            return dict(functions.get(f"/explain/{ids[query]}").json())

        wait_until(lambda: explained("priority=1")["reason"] == "clocks_wrong")
        wait_until(
            lambda: (
                workers.query(
                    "select now() > to_timestamp(%s)",
                    of(workers, ids["delay=8"], "delay_until_epoch_ms / 1000 + 2")[0],
                )
                == [(True,)]
            )
        )
        delayed, waiting = explained("delay=8"), explained("timeout=300")
        health, alive = get(port, "/healthz"), get(port, "/livez")
        metrics = get(port, "/metrics").text
        untouched = {query: workers.status(each) for query, each in ids.items()}

        right = workers.start()
        wait_until(lambda: all(ended(workers, each) for each in ids.values()))

    assert untouched == {"delay=8": "DELAYED", "timeout=300": "ENQUEUED", "priority=1": "ENQUEUED"}
    assert delayed["reason"] == "delayed"
    assert "the clocks of all live workers are wrong" in delayed["explanation"]
    assert waiting["facts"]["workers_with_wrong_clocks"] == 1
    where = "ahead of" if seconds > 0 else "behind"
    assert health.status_code == 503
    assert health.text == f"the clock of this machine is 7200.0 s {where} that of Postgres\n"
    assert alive.status_code == 200
    assert wrong.said().count(health.text.strip()) == 1
    offset = metrics.split("\ndbos_functions_clock_offset_seconds ")[1].split()[0]
    assert float(offset) == pytest.approx(seconds, abs=1)
    for workflow_id in ids.values():
        status, executor = of(workers, workflow_id, "status, executor_id")
        assert (status, executor) == ("SUCCESS", workers.executor_id(right))
    began, asked = of(workers, ids["delay=8"], "started_at_epoch_ms, created_at")
    assert began - asked >= 7_500


def test_a_clock_is_wrong_for_a_while(workers: Fleet, set_clock: SetClock) -> None:
    """What the worker executes then goes on, and sleeps as long as it should."""
    process = workers.start_with_clock(set_clock(0), HEALTH_PORT=(port := str(free_port())))
    running = workers.enqueue("naps", seconds=8)
    wait_until(lambda: workers.query("select 1 from dbos.operation_outputs"))

    set_clock(TWO_HOURS_SECONDS)
    wait_until(lambda: process.said("s ahead of that of Postgres"))
    waiting = workers.enqueue("works", seconds=0)
    wait_until(lambda: ended(workers, running))
    meanwhile = workers.status(waiting)
    set_clock(0)
    wait_until(lambda: get(port, "/healthz").status_code == 200)
    wait_until(lambda: ended(workers, waiting))
    wait_until(lambda: process.said("is right again"))

    began, end = of(workers, running, "started_at_epoch_ms, completed_at")
    assert 7_900 <= end - began < 8_000 + 1_000 * ON_TIME_SECONDS
    assert meanwhile == "ENQUEUED"


@pytest.mark.parametrize("seconds", [TOLERATED_SECONDS, -TOLERATED_SECONDS], ids=["fast", "slow"])
def test_times_are_those_of_postgres(
    workers: Fleet, environ: dict[str, str], set_clock: SetClock, seconds: float
) -> None:
    """On a worker whose clock is so little wrong that it works."""
    workers.start_with_clock(set_clock(seconds))

    with serve(ALL, workers.project, environ) as functions:
        delayed = launched(functions, "works?delay=2", seconds=0).removeprefix("/status/")
        limited = launched(functions, "works?timeout=300", seconds=0).removeprefix("/status/")
        slow = launched(functions, "naps?timeout=2", seconds=100).removeprefix("/status/")
        waits = [
            launched(functions, name, seconds=2).removeprefix("/status/")
            for name in ("naps", "naps_async", "listens")
        ]
        wait_until(lambda: all(ended(workers, i) for i in (delayed, limited, slow, *waits)))

    late = 1_000 * ON_TIME_SECONDS
    began, asked = of(workers, delayed, "started_at_epoch_ms, created_at")
    assert 1_900 <= began - asked < 2_000 + late
    began, deadline = of(workers, limited, "started_at_epoch_ms, workflow_deadline_epoch_ms")
    assert abs(deadline - began - 300_000) < late
    status, asked, end = of(workers, slow, "status, created_at, completed_at")
    assert status == "CANCELLED"
    assert 1_900 <= end - asked < 2_000 + 2 * late
    for workflow_id in waits:
        began, end = of(workers, workflow_id, "started_at_epoch_ms, completed_at")
        wakes = workers.query(
            "select output::float8 * 1000 from dbos.operation_outputs "
            "where workflow_uuid = %s and function_name = 'DBOS.sleep'",
            workflow_id,
        )[0][0]
        assert 1_900 <= wakes - began < 2_000 + late
        assert 1_900 <= end - began < 2_000 + late


def test_a_sleep_ends_on_time_on_a_machine_with_another_clock(
    workers: Fleet, tmp_path: Path
) -> None:
    """The one on which it began was fast, the one that takes it over is slow."""
    (fast := tmp_path / "fast").write_text(str(TOLERATED_SECONDS))
    (slow := tmp_path / "slow").write_text(str(-TOLERATED_SECONDS))
    victim = workers.start_with_clock(fast)
    workflow_id = workers.enqueue("naps", seconds=15)
    wait_until(lambda: workers.query("select 1 from dbos.operation_outputs"))
    (slept_since,) = of(workers, workflow_id, "started_at_epoch_ms")
    workers.start_with_clock(slow)

    victim.stop(signal.SIGKILL)
    wait_until(lambda: ended(workers, workflow_id))

    (end,) = of(workers, workflow_id, "completed_at")
    assert 14_900 <= end - slept_since < 15_000 + 1_000 * ON_TIME_SECONDS


@pytest.mark.parametrize("seconds", [TWO_HOURS_SECONDS, -TWO_HOURS_SECONDS], ids=["fast", "slow"])
def test_functions_with_a_wrong_clock_delay_as_they_should(
    workers: Fleet, environ: dict[str, str], set_clock: SetClock, seconds: float
) -> None:
    """One workflow, or a batch; and they say rightly when to ask again."""
    command = shifted(set_clock(seconds), *ALL[2:])

    with serve(command, workers.project, environ) as functions:
        one = functions.post("/launch/greeting?delay=60")
        batch = functions.post("/launch/greeting?delay=60", json=[{}, {}])
        again = functions.get(one.headers["Location"]).headers["Retry-After"]

    until = workers.query(
        "select status, abs(delay_until_epoch_ms - created_at - 60000) < 3000 "
        "from dbos.workflow_status"
    )
    assert until == [("DELAYED", True)] * 3
    assert (one.headers["Retry-After"], batch.headers["Retry-After"]) == ("60", "60")
    assert 30 <= int(again) <= 60

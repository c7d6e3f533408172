"""What the witness of a worker tells, and leaves in the database, when the worker is silent."""

import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from local_dev.bench.processes import wait_until
from tests.rows import record
from worker import witness
from worker.running import Running
from worker.witness import Mark, Witness, Worker

SECONDS = [0.25] * 13
"""Looks after which it tells."""


@pytest.fixture
def running() -> Running:
    """A worker that executes something, and does not beat."""
    return Running()


@pytest.fixture
def idle() -> Iterator[Worker]:
    """A process that executes nothing."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield Worker(process.pid)
        process.kill()


@pytest.fixture
def watching(
    database: str, running: Running, idle: Worker, monkeypatch: pytest.MonkeyPatch
) -> Witness:
    """Its witness, and a workflow with one step that it executes."""
    with psycopg.connect(database) as connection:
        connection.execute(
            "insert into dbos.workflow_status (workflow_uuid, status, executor_id)"
            " values ('w', 'PENDING', 'this'), ('theirs', 'PENDING', 'other')"
        )
    record(database, "w", 1, "first")
    monkeypatch.setenv("DBOS_SYSTEM_DATABASE_URL", database)
    memory = mmap.mmap(running.descriptor, 0, access=mmap.ACCESS_READ)
    return Witness(idle, memory, "this")


def ended(database: str) -> list[tuple[Any, ...]]:
    """What is recorded."""
    with psycopg.connect(database) as connection:
        query = "select workflow_uuid, step, step_name, certain from catalog.ended"
        return connection.execute(query).fetchall()


@pytest.mark.parametrize(
    ("mark", "row"),
    [
        (Mark("w", "workflow", 2, "second"), ("w", 2, "second", True)),
        (Mark("w", "workflow"), ("w", 1, None, True)),
    ],
)
def test_silence_is_told_and_recorded(
    database: str,
    running: Running,
    watching: Witness,
    capfd: pytest.CaptureFixture[str],
    mark: Mark,
    row: tuple[Any, ...],
) -> None:
    """With the step, or the one after which the workflow's own code was executed."""
    with running.marked(mark):
        for seconds in SECONDS:
            watching.look(seconds)

    assert f"unless it lets go, as it would lose its lease: {mark}" in capfd.readouterr().err
    assert ended(database) == [row]


def test_a_workflow_that_another_worker_has_is_not_recorded(
    database: str, running: Running, watching: Witness
) -> None:
    """This one had lost it before."""
    with running.marked(Mark("theirs", "workflow", 1, "first")):
        for seconds in SECONDS:
            watching.look(seconds)

    assert ended(database) == []


def test_what_goes_on_after_all_is_forgotten(
    database: str, running: Running, watching: Witness, capfd: pytest.CaptureFixture[str]
) -> None:
    """The worker has not ended."""
    with running.marked(Mark("w", "workflow", 2, "second")):
        for seconds in SECONDS:
            watching.look(seconds)
    running.beat()
    watching.look(0.25)

    assert "the GIL was let go, and the worker goes on" in capfd.readouterr().err
    assert ended(database) == []


def test_a_worker_that_somebody_has_frozen_is_left_alone(
    database: str,
    running: Running,
    watching: Witness,
    idle: Worker,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """It says so if that ends then, as it does when it wakes up."""
    os.kill(idle.pid, signal.SIGSTOP)
    wait_until(idle.stopped)

    with running.marked(Mark("w", "workflow")):
        for seconds in SECONDS:
            watching.look(seconds)
    silent = capfd.readouterr().err
    watching.leave()

    assert silent == ""
    assert "the worker was frozen" in capfd.readouterr().err
    assert ended(database) == []


def test_a_witness_without_a_database_tells_all_the_same(
    running: Running,
    watching: Witness,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """And names neither host nor password."""
    monkeypatch.setenv("DBOS_SYSTEM_DATABASE_URL", "postgresql://u:secret@127.0.0.1:1/none")

    with running.marked(mark := Mark("w", "workflow")):
        for seconds in SECONDS:
            watching.look(seconds)

    told = capfd.readouterr().err
    assert str(mark) in told
    assert "that cannot be recorded: OperationalError" in told
    assert "secret" not in told


def test_a_witness_ends_with_its_worker(running: Running) -> None:
    """It needs nothing of the worker's code, and hears when the other end is closed."""
    command = [sys.executable, "-I", witness.__file__, str(os.getpid()), str(running.descriptor)]
    process = subprocess.Popen(
        [*command, "this"], stdin=subprocess.PIPE, pass_fds=[running.descriptor]
    )

    alive = process.poll() is None
    process.communicate()

    assert alive
    assert process.returncode == 0

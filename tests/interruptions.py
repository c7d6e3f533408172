"""The ways in which a workflow is begun again: each ends executions that are under way."""

import os
import signal
import subprocess
from collections.abc import Callable, Collection

from local_dev.bench.processes import Process, python
from tests.fleet import Fleet

Interrupt = Callable[[Fleet, Process, Collection[str]], None]


def kill(workers: Fleet, worker: Process, workflows: Collection[str]) -> None:
    """The worker is killed, and another one takes over."""
    worker.stop(signal.SIGKILL)
    workers.start()


def drain(workers: Fleet, worker: Process, workflows: Collection[str]) -> None:
    """The worker is stopped, and hands over what it cannot finish."""
    worker.stop(signal.SIGTERM)
    workers.start()


def resume(workers: Fleet, worker: Process, workflows: Collection[str]) -> None:
    """The workflows are cancelled and resumed, in a worker that lives on."""
    with workers.client() as client:
        client.cancel_workflows(list(workflows))
        client.resume_workflows(list(workflows))


def adopt(workers: Fleet, worker: Process, workflows: Collection[str]) -> None:
    """The worker is killed, and one of another version is given what it had."""
    workers.start(APP_VERSION="2")
    worker.stop(signal.SIGKILL)
    subprocess.run(
        python("-m", "worker", "adopt", "1", "--yes"),
        cwd=workers.project,
        env=os.environ | {"DBOS_SYSTEM_DATABASE_URL": workers.database, "APP_VERSION": "2"},
        check=True,
        stdout=subprocess.DEVNULL,
    )


INTERRUPTIONS: dict[str, Interrupt] = {each.__name__: each for each in (kill, drain, resume, adopt)}

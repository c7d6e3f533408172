"""Several workers on one database, load for them, and what their ledger has to say."""

import os
import re
import shlex
import signal
import subprocess
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from dbos import DBOSClient, DBOSPortableJSONSerializer, EnqueueOptions

from local_dev.bench.processes import Process, python, run, wait_until
from local_dev.postgres import postgres
from tests.project import ROOT

UNFINISHED = """
select count(*) from dbos.workflow_status where status in ('ENQUEUED', 'DELAYED', 'PENDING')
"""


@dataclass(frozen=True)
class Line:
    """One line of the ledger."""

    event: str
    workflow: str
    execution: str
    number: int
    pid: int
    time: float


class Fleet:
    """Workers that can be started, stopped, frozen and killed one by one."""

    def __init__(self, project: Path, database: str, stack: ExitStack) -> None:
        self.project = project
        self.database = database
        self.path = project / "ledger"
        self.launched: dict[str, int] = {}
        self._stack = stack

    def start(self, **environ: str) -> Process:
        """A worker that is ready to execute."""
        return self.start_many(1, **environ)[0]

    def start_many(self, count: int, **environ: str) -> list[Process]:
        """Workers that are ready to execute."""
        processes = [self.begin(**environ) for _ in range(count)]
        for process in processes:
            process.wait_until(lambda p=process: p.said("executes"))  # type: ignore[misc]
        return processes

    def begin(self, *options: str, **environ: str) -> Process:
        """A worker that starts."""
        return self._begin(python("-m", "worker", *options), environ)

    def start_with_clock(self, file: Path, **environ: str) -> Process:
        """A worker on a machine whose clock is wrong by as many seconds as a file says."""
        process = self._begin(shifted(file, "worker"), environ)
        process.wait_until(lambda: process.said("executes"))
        return process

    def _begin(self, command: tuple[str, ...], environ: dict[str, str]) -> Process:
        settings = {"DBOS_SYSTEM_DATABASE_URL": self.database, "POLLING_INTERVAL": "0.3"}
        return self._stack.enter_context(
            run(*command, cwd=self.project, environ=settings | environ)
        )

    def enqueue(self, workflow: str, /, **arguments: Any) -> str:
        """Enqueue a workflow as a function does; returns its id."""
        return self._enqueue(workflow, 1, arguments)[0]

    def enqueue_on(self, queue: str, workflow: str, /, **arguments: Any) -> str:
        """Enqueue a workflow on another queue than the default; returns its id."""
        return self._enqueue(workflow, 1, arguments, queue)[0]

    def launch(self, count: int, steps: int, seconds: float) -> None:
        """Enqueue workflows of some steps, each of which takes some seconds."""
        arguments = {"path": str(self.path), "steps": steps, "seconds": seconds}
        for workflow_id in self._enqueue("ledger", count, arguments):
            self.launched[workflow_id] = steps

    def _enqueue(
        self, workflow: str, count: int, arguments: dict[str, Any], queue: str = "task_queue"
    ) -> list[str]:
        ids = [str(uuid.uuid4()) for _ in range(count)]
        with self.client() as client:
            for workflow_id in ids:
                options: EnqueueOptions = {
                    "workflow_name": workflow,
                    "queue_name": queue,
                    "workflow_id": workflow_id,
                }
                client.enqueue(options, **arguments)
        return ids

    @contextmanager
    def client(self) -> Iterator[DBOSClient]:
        """A client of the application."""
        client = DBOSClient(
            system_database_url=self.database,
            serializer=DBOSPortableJSONSerializer(),
            application_name="dbos-functions",
        )
        yield client
        client.destroy()

    def send(self, workflow_id: str, topic: str) -> None:
        """Send a workflow a message."""
        with self.client() as client:
            client.send(workflow_id, True, topic=topic)

    def query(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """All rows of a statement."""
        with psycopg.connect(self.database) as connection:
            return connection.execute(statement, parameters).fetchall()

    def status(self, workflow_id: str) -> str:
        """The status of a workflow."""
        where = "where workflow_uuid = %s"
        return str(
            self.query(f"select status from dbos.workflow_status {where}", workflow_id)[0][0]
        )

    def lines(self) -> list[Line]:
        """The ledger so far."""
        if not self.path.exists():
            return []
        fields = [line.split() for line in self.path.read_text().splitlines()]
        return [Line(e, w, x, int(n), int(p), float(t)) for e, w, x, n, p, t in fields]

    def runs(self, process: Process, count: int = 1) -> bool:
        """Whether a worker has begun `count` steps."""
        pid = process.popen.pid
        return sum(line.pid == pid and line.event == "begin" for line in self.lines()) >= count

    def end_lease(self, process: Process) -> None:
        """Have Postgres end the session that holds a worker's lease."""
        name = f"dbos-functions lease {self.executor_id(process)}"
        self.query(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s",
            name,
        )

    def taken_over_by(self, process: Process) -> set[str]:
        """The ids of the executors whose workflows a worker has taken over."""
        return set(re.findall(r"taken over from (\S+): \d+", process.said()))

    def executor_id(self, process: Process) -> str:
        """The id that a worker has given to itself."""
        found = re.search(r"executor (\S+) of", process.said())
        assert found
        return found[1]

    def hurry(self) -> None:
        """Have all steps take no time from now on."""
        Path(f"{self.path}.hurry").touch()

    def finish(self) -> None:
        """Hurry, and wait until nothing is left to do."""
        self.hurry()
        self.wait_until_finished()

    def wait_until_finished(self, deadline: float = 60.0) -> None:
        """Wait until nothing is left to do."""
        wait_until(lambda: self.query(UNFINISHED) == [(0,)], deadline)

    def check(self) -> int:
        """Every workflow ended once with the right result; only what was in flight ran again.

        Returns how many steps ran again.
        """
        ends = self.query(
            "select s.workflow_uuid, s.status, o.output from dbos.workflow_status s "
            "left join dbos.workflow_output o using (workflow_uuid) where s.name = 'ledger'"
        )
        assert {workflow: (status, output) for workflow, status, output in ends} == {
            workflow: ("SUCCESS", str(list(range(1, steps + 1))).replace(" ", ""))
            for workflow, steps in self.launched.items()
        }
        by_workflow = defaultdict(list)
        for line in self.lines():
            by_workflow[line.workflow].append(line)
        return sum(again(by_workflow[workflow], n) for workflow, n in self.launched.items())


def again(lines: list[Line], steps: int) -> int:
    """How many steps of a workflow ran again; at most one for each execution but the first."""
    executions = [line.execution for line in lines if line.event == "start"]
    begun: list[int] = []
    latest, started = "", 0.0
    for line in lines:
        if line.event == "start":
            latest, started = line.execution, line.time
        elif line.event == "begin":
            # An execution that was overtaken begins nothing; what it had begun may show late.
            assert line.execution == latest or line.time < started, lines
            assert line.execution != latest or line.number >= max(begun, default=1), lines
            begun.append(line.number)
    assert set(begun) == set(range(1, steps + 1)), lines
    repeated = len(begun) - steps
    assert repeated <= len(executions) - 1, lines
    return repeated


@contextmanager
def restartable_postgres(data: Path) -> Iterator[str]:
    """A PostgreSQL of the test's own on `data`; yields its URL."""
    with postgres(data) as url:
        try:
            yield url
        finally:  # local_dev does not know of the server that a restart has started.
            _pg_ctl("stop", data)


def restart_postgres(data: Path) -> None:
    """Restart a server as if it had crashed."""
    _pg_ctl("restart", data)


def _pg_ctl(action: str, data: Path) -> None:
    server = shlex.split((data / "postmaster.opts").read_text())[0]
    pg_ctl = str(Path(server).with_name("pg_ctl"))
    subprocess.run(
        [pg_ctl, action, "-m", "immediate", "-D", data, "-l", data / "log"],
        check=True,
        stdout=subprocess.DEVNULL,
        user=data.stat().st_uid,
    )


def shifted(file: Path, *command: str) -> tuple[str, ...]:
    """A command on a machine whose clock is wrong by as many seconds as a file says."""
    return python(str(ROOT / "tests" / "shifted.py"), str(file), *command)


@contextmanager
def fleet(project: Path, database: str) -> Iterator[Fleet]:
    """A fleet without workers yet; all that are started end with the block."""
    with ExitStack() as stack:
        yield Fleet(project, database, stack)


def freeze(process: Process) -> None:
    """Stop a process as if its machine were suspended."""
    os.kill(process.popen.pid, signal.SIGSTOP)


def thaw(process: Process) -> None:
    """Let a frozen process go on."""
    os.kill(process.popen.pid, signal.SIGCONT)

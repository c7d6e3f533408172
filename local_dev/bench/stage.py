"""What is measured on: a PostgreSQL with its databases, and processes that use them."""

import itertools
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

import worker.workflows
from local_dev.postgres import postgres
from worker import catalog, queues
from worker.declarations import find_workflows
from worker.migrate import migrate

from .processes import Process, free_port, listens, python, run, wait_until
from .processes import worker as worker_process

ROOT = Path(__file__).parents[2]

REFERENCES = Path(__file__).parent / "references"

APPLICATION = "dbos-functions"


@dataclass
class Stage:
    """Everything that a group needs; what it starts ends with its block."""

    postgres: str
    """The URL of the PostgreSQL."""
    data: Path
    """A directory for whatever a group has to write."""
    quick: bool
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def rounds(self) -> int:
        """How often everything is measured."""
        return 3 if self.quick else 5

    @property
    def seconds(self) -> float:
        """How long one value is measured."""
        return 0.2 if self.quick else 2.0

    def database(self) -> str:
        """The URL of a new database in which workers have published the workflows."""
        url = self.empty_database()
        prepare(url)
        return url

    def executed(self) -> tuple[str, str]:
        """The URL of a new database in which a worker has executed a greeting, and its id."""
        template, workflow_id = self._executed
        return self._copy(template), workflow_id

    @cached_property
    def _executed(self) -> tuple[str, str]:
        """The name of the database that is copied, and the id."""
        database = self.database()
        with self.worker(database):
            enqueue(database, 1)
            wait_until(lambda: not unfinished(database))
        with psycopg.connect(database) as connection:
            row = connection.execute("select workflow_uuid from dbos.workflow_status").fetchone()
        assert row
        return urlsplit(database).path.removeprefix("/"), str(row[0])

    def empty_database(self) -> str:
        """The URL of a new database in which there is nothing."""
        return self._copy("template1")

    def _copy(self, template: str) -> str:
        return copy_database(self.postgres, template, f"bench_{next(self._numbers)}")

    @contextmanager
    def function(self, target: str, database: str, **environ: str) -> Iterator[str]:
        """A function of the project alone, under functions-framework; yields its URL."""
        settings = {"DBOS_SYSTEM_DATABASE_URL": database, "AUTH": "none", **environ}
        with framework(ROOT / "functions" / "main.py", target, settings) as (url, _):
            yield url

    @contextmanager
    def server(self, database: str, **environ: str) -> Iterator[str]:
        """All functions of the project under uvicorn; yields their URL."""
        settings = {"DBOS_SYSTEM_DATABASE_URL": database, "AUTH": "none", **environ}
        with uvicorn(settings) as (url, _):
            yield url

    @contextmanager
    def literal(self, target: str, database: str) -> Iterator[str]:
        """A function of the literal port of the guide; yields its URL."""
        source = REFERENCES / "literal.py"
        with framework(source, target, {"DBOS_SYSTEM_DATABASE_URL": database}) as (url, _):
            yield url

    @contextmanager
    def nothing(self) -> Iterator[str]:
        """A function that does nothing; yields its URL."""
        with framework(REFERENCES / "nothing.py", "nothing", {}) as (url, _):
            yield url

    @contextmanager
    def worker(self, database: str, **environ: str) -> Iterator[Process]:
        """A worker of the project, ready to execute."""
        with worker_process(ROOT, {"DBOS_SYSTEM_DATABASE_URL": database, **environ}) as process:
            yield process

    @contextmanager
    def plain_worker(self, database: str, polling_interval: float = 0.1) -> Iterator[Process]:
        """A DBOS worker without the project's additions, ready to execute.

        It looks at each queue every `polling_interval` seconds.
        """
        limits = [
            {
                "name": queue.name,
                "worker_concurrency": queue.worker_concurrency,
                "global_concurrency": queue.global_concurrency,
                "limiter": queue.rate_limit,
                "polling_interval_sec": polling_interval,
            }
            for queue in queues.QUEUES
        ]
        settings = {"DBOS_SYSTEM_DATABASE_URL": database, "QUEUES": json.dumps(limits)}
        command = python("-m", "local_dev.bench.references.plain")
        with run(*command, cwd=ROOT, environ=settings) as process:
            process.wait_until(lambda: process.said("ready to execute"))
            yield process


@contextmanager
def uvicorn(environ: Mapping[str, str]) -> Iterator[tuple[str, Process]]:
    """All functions under uvicorn; yields their URL and their process."""
    port = free_port()
    options = ("--http", "functions.protocol:LimitedHttp", "--no-access-log")
    command = python("-m", "uvicorn", "functions.asgi:app", *options)
    with run(*command, "--port", str(port), cwd=ROOT, environ=environ) as process:
        process.wait_until(lambda: listens(port), pause=0.003)
        yield f"http://127.0.0.1:{port}", process


@contextmanager
def framework(
    source: Path, target: str, environ: Mapping[str, str]
) -> Iterator[tuple[str, Process]]:
    """A target under functions-framework; yields its URL and its process."""
    port = free_port()
    command = str(Path(sys.executable).with_name("functions-framework"))
    options = ("--source", str(source), "--target", target, "--host", "127.0.0.1")
    with run(command, *options, "--port", str(port), cwd=ROOT, environ=environ) as process:
        process.wait_until(lambda: listens(port), pause=0.003)
        yield f"http://127.0.0.1:{port}", process


@contextmanager
def stage(data: Path, *, quick: bool) -> Iterator[Stage]:
    """A PostgreSQL of the benchmark's own, with its data in `data`."""
    # As an installed package has it; without it every start would compile what it imports.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with postgres(data / "postgres") as url:
        yield Stage(url, data, quick)


def copy_database(server: str, template: str, name: str) -> str:
    """Make a copy of a database; returns its URL."""
    statement = sql.SQL("create database {} template {}").format(
        sql.Identifier(name), sql.Identifier(template)
    )
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement)
    return database_url(server, name)


def database_url(server: str, name: str) -> str:
    """The URL of a database of a server."""
    return server.replace("/postgres?", f"/{name}?")


def prepare(database: str) -> None:
    """Leave in a database what a worker leaves that has started once."""
    migrate(database)
    with psycopg.connect(database) as connection:
        entries = find_workflows(worker.workflows)
        catalog.publish(connection, entries, application=APPLICATION, version="1")


INSERT = """
with new as (
    insert into dbos.workflow_status (
        workflow_uuid, status, name, queue_name, application_name, serialization, created_at,
        updated_at, priority, recovery_attempts
    )
    select gen_random_uuid(), 'ENQUEUED', %(name)s, %(queue)s, %(application)s, 'portable_json',
        now.ms + n, now.ms, 0, 0
    from generate_series(1, %(count)s) n,
        (select (extract(epoch from now()) * 1000)::bigint as ms) now
    returning workflow_uuid
)
insert into dbos.workflow_input (workflow_uuid, inputs)
select workflow_uuid, %(inputs)s from new
returning workflow_uuid
"""


def enqueue(
    database: str, count: int, name: str = "greeting", queue: str = queues.TASKS.name
) -> list[str]:
    """Enqueue many workflows without arguments at once; returns their ids."""
    parameters = {
        "name": name,
        "queue": queue,
        "application": APPLICATION,
        "count": count,
        "inputs": '{"positionalArgs":[],"namedArgs":{}}',
    }
    with psycopg.connect(database) as connection:
        return [id for (id,) in connection.execute(INSERT, parameters)]


UNFINISHED = """
select count(*) from dbos.workflow_status where status in ('ENQUEUED', 'PENDING', 'DELAYED')
"""


def unfinished(database: str) -> int:
    """How many workflows have not ended."""
    with psycopg.connect(database) as connection:
        return count_unfinished(connection)


def count_unfinished(connection: psycopg.Connection) -> int:
    """The same on a connection that is kept open, for who looks often."""
    row = connection.execute(UNFINISHED).fetchone()
    assert row
    return int(row[0])


def clear(database: str) -> None:
    """Delete what waits to be executed, and tidy up, so that every measurement begins alike."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "delete from dbos.workflow_status where status in ('ENQUEUED', 'DELAYED')"
        )
        connection.execute("vacuum dbos.workflow_status, dbos.workflow_input")

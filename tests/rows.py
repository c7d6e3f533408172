"""What workers write into DBOS's tables, written by a test instead."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from dbos import DBOSPortableJSONSerializer

from local_dev.bench.stage import APPLICATION
from worker.locks import lease_name, version_name


def update(database: str, workflow_id: str, **columns: Any) -> None:
    """Change columns of a workflow."""
    assignments = ", ".join(f"{name} = %({name})s" for name in columns)
    statement = f"update dbos.workflow_status set {assignments} where workflow_uuid = %(id)s"
    with psycopg.connect(database) as connection:
        assert connection.execute(statement, columns | {"id": workflow_id}).rowcount == 1


def finish(
    database: str,
    workflow_id: str,
    status: str,
    *,
    output: str | None = None,
    error: str | None = None,
    serialization: str = "portable_json",
) -> None:
    """End a workflow as a worker of any language might."""
    with psycopg.connect(database) as connection:
        connection.execute(
            "insert into dbos.workflow_output (workflow_uuid, output, error) values (%s, %s, %s)",
            (workflow_id, output, error),
        )
    update(database, workflow_id, status=status, serialization=serialization, completed_at=1)


def begin(database: str, workflow_id: str, executor: str = "executor", version: str = "1") -> None:
    """Begin to execute a workflow."""
    update(
        database,
        workflow_id,
        status="PENDING",
        executor_id=executor,
        application_version=version,
        started_at_epoch_ms=1_000,
        recovery_attempts=1,
    )


def record(database: str, workflow_id: str, number: int, name: str, **columns: Any) -> None:
    """Record a step."""
    columns = {
        "workflow_uuid": workflow_id,
        "function_id": number,
        "function_name": name,
        "started_at_epoch_ms": 1_000 * number,
        "completed_at_epoch_ms": 1_000 * number + 500,
        "serialization": "portable_json",
        **columns,
    }
    _insert(database, "operation_outputs", columns)


def end_worker(database: str, workflow_id: str, step: int, name: str | None, certain: bool) -> None:
    """Have the witness of a worker say that this step held the GIL."""
    statement = "insert into catalog.ended values (%s, %s, %s, %s, 1)"
    with psycopg.connect(database) as connection:
        connection.execute(statement, (workflow_id, step, name, certain))


def report_progress(database: str, workflow_id: str, value: Any) -> None:
    """Set the event `progress`."""
    statement = """
        insert into dbos.workflow_events (workflow_uuid, key, value, serialization)
        values (%s, 'progress', %s, 'portable_json')
        on conflict (workflow_uuid, key) do update set value = excluded.value
    """
    with psycopg.connect(database) as connection:
        connection.execute(statement, (workflow_id, json.dumps(value)))


def set_event(database: str, workflow_id: str, key: str, text: str) -> None:
    """Set an event to what an expression of SQL makes."""
    statement = f"""
        insert into dbos.workflow_events (workflow_uuid, key, value, serialization)
        values (%s, %s, {text}, 'portable_json')
    """.encode()
    with psycopg.connect(database) as connection:
        connection.execute(statement, (workflow_id, key))


def write_stream(
    database: str, workflow_id: str, key: str, *values: Any, begin: int = 0, step: int = 1
) -> None:
    """Write values to a stream, from an offset on."""
    for offset, value in enumerate(values, begin):
        columns = {
            "workflow_uuid": workflow_id,
            "key": key,
            "value": DBOSPortableJSONSerializer().serialize(value),
            "offset": offset,
            "function_id": step,
            "serialization": "portable_json",
        }
        _insert(database, "streams", columns)


def declare_queue(database: str, name: str, **limits: Any) -> None:
    """Declare a queue, or change its limits."""
    columns = {"name": name, "created_at": 1, "updated_at": 1, **limits}
    with psycopg.connect(database) as connection:
        connection.execute("delete from dbos.queues where name = %s", (name,))
    _insert(database, "queues", columns)


def hold(
    database: str, workflow_id: str, *, tried: str = "now()", expected: str | None = "b"
) -> None:
    """Hold a workflow since its code has changed; `tried` is the time in SQL."""
    with psycopg.connect(database) as connection:
        connection.execute(
            "insert into catalog.unreplayable values "
            f"(%s, 'code_changed', 2, 'a', %s, '1', {tried})".encode(),
            (workflow_id, expected),
        )


@contextmanager
def alive(database: str, *versions: str, executor: str = "executor") -> Iterator[None]:
    """Workers of these versions are alive; the last version leads; the first executes."""
    with ExitStack() as stack:
        for number, version in enumerate(versions):
            columns = {
                "version_id": version,
                "version_name": version,
                "version_timestamp": number,
                "created_at": number,
                "application_name": APPLICATION,
            }
            _insert(database, "application_versions", columns, "on conflict do nothing")
            connection = stack.enter_context(psycopg.connect(database, autocommit=True))
            lock = "select pg_advisory_lock_shared(hashtextextended(%s, 0))"
            connection.execute(lock, (version_name(APPLICATION, version),))
            if number == 0:
                lock = "select pg_advisory_lock(hashtextextended(%s, 0))"
                connection.execute(lock, (lease_name(APPLICATION, executor),))
        yield


def _insert(database: str, table: str, columns: dict[str, Any], conflict: str = "") -> None:
    names = ", ".join(f'"{name}"' for name in columns)
    values = ", ".join(f"%({name})s" for name in columns)
    with psycopg.connect(database) as connection:
        statement = f"insert into dbos.{table} ({names}) values ({values}) {conflict}"
        connection.execute(statement, columns)

"""Rows that no worker and no function writes, but the functions' role could, hold nobody up."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, create_engine

from local_dev.bench.stage import enqueue
from tests.rows import update
from worker.replay import Replay
from worker.settings import Settings
from worker.takeover import TakeOver


@pytest.fixture
def settings(database: str) -> Settings:
    """Those of the worker that looks for dead ones."""
    return Settings.from_env({"DBOS_SYSTEM_DATABASE_URL": database, "EXECUTOR_ID": "this"})


def begun(database: str, **columns: Any) -> str:
    """Enqueue a workflow that a dead executor executes; returns its id."""
    [workflow_id] = enqueue(database, 1)
    dead = {"status": "PENDING", "executor_id": "dead", "recovery_attempts": 1}
    update(database, workflow_id, **dead | columns)
    return workflow_id


def look(settings: Settings) -> None:
    """Take over what dead executors have left."""
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        TakeOver(settings)(connection)


def statuses(database: str, *workflow_ids: str) -> list[str]:
    """The status of each of some workflows."""
    with psycopg.connect(database) as connection:
        rows = connection.execute("select workflow_uuid, status from dbos.workflow_status")
        found: dict[str, str] = dict(rows.fetchall())
    return [found[each] for each in workflow_ids]


def test_a_duplicate_in_the_queue_of_dbos_keeps_nobody_from_being_taken_over(
    database: str, settings: Settings
) -> None:
    """A run that was in no queue goes there, where its deduplication id may be taken."""
    odd = begun(database, queue_name=None, deduplication_id="x")
    [twin] = enqueue(database, 1)
    update(database, twin, queue_name="_dbos_internal_queue", deduplication_id="x")
    other = begun(database)

    look(settings)

    assert statuses(database, odd, other) == ["ENQUEUED", "ENQUEUED"]


def test_a_run_without_an_executor_is_taken_over(database: str, settings: Settings) -> None:
    """It would hold a place of its queue for ever."""
    odd = begun(database, executor_id=None)

    look(settings)

    assert statuses(database, odd) == ["ENQUEUED"]


def test_many_dead_executors_do_not_exhaust_the_locks_of_postgres(
    database: str, settings: Settings
) -> None:
    """They are taken over some at a time."""
    with psycopg.connect(database) as connection:
        connection.execute(
            "insert into dbos.workflow_status "
            "(workflow_uuid, status, name, executor_id, recovery_attempts) "
            "select n, 'PENDING', 'greeting', 'dead-' || n, 1 from generate_series(1, 20000) n"
        )

    look(settings)

    with psycopg.connect(database) as connection:
        row = connection.execute(
            "select count(*) from dbos.workflow_status where status = 'ENQUEUED'"
        ).fetchone()
    assert row == (500,)


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """Makes connections as DBOS does."""
    engine = create_engine(database.replace("postgresql://", "postgresql+psycopg://", 1))
    yield engine
    engine.dispose()


@pytest.mark.parametrize("length", [1, 3])
def test_a_run_that_is_forked_from_itself_is_read_to_the_end(
    database: str, engine: Engine, length: int
) -> None:
    """Also by way of others; Postgres would go round until its disk is full."""
    circle = enqueue(database, length)
    for one, origin in zip(circle, [*circle[1:], circle[0]], strict=True):
        update(database, one, forked_from=origin)
    [ordered] = enqueue(database, 1)
    with psycopg.connect(database) as connection:
        connection.execute("insert into catalog.deliveries values (%s, 1, 1, '{1}')", (ordered,))
    replay = Replay()

    with engine.connect() as sessions:
        sessions.exec_driver_sql("set statement_timeout = '5s'")
        sessions.exec_driver_sql("set enable_hashjoin = off")
        replay.load(sessions, circle[0])

    assert replay.last == 0

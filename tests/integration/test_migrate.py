"""What `migrate` adds to DBOS's own tables."""

import psycopg

from local_dev.bench.stage import enqueue
from worker.migrate import migrate


def indexed(database: str) -> bool:
    """Whether the workflows of a caller can be found without reading all."""
    with psycopg.connect(database) as connection:
        index = connection.execute("select to_regclass('dbos.workflow_status_callers')").fetchone()
    return index != (None,)


def test_a_new_database_has_an_index_of_callers(database: str) -> None:
    """Nobody has to think of it."""
    assert indexed(database)


def test_an_index_of_a_large_table_is_left_to_its_owner(database: str) -> None:
    """To build it would keep everybody waiting."""
    with psycopg.connect(database) as connection:
        connection.execute("drop index dbos.workflow_status_callers")
    enqueue(database, 100_000)

    migrate(database)
    built = indexed(database)
    with psycopg.connect(database) as connection:
        connection.execute("drop index if exists dbos.workflow_status_callers")
    enqueue(database, 1)
    migrate(database)

    assert built
    assert not indexed(database)

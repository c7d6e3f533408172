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


LATER = {"workflows": ["signals", "partitioned", "source_digest"], "suspects": ["doubtful_deaths"]}
"""The columns of the catalog that its tables have not had from the start."""


def test_tables_of_an_earlier_release_get_what_they_lack(database: str) -> None:
    """A table that is there is not created anew."""
    lacking = [(table, column) for table, columns in LATER.items() for column in columns]
    with psycopg.connect(database) as connection:
        for table, column in lacking:
            connection.execute(f"alter table catalog.{table} drop column {column}".encode())

    migrate(database)

    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "select table_name, column_name from information_schema.columns "
            "where table_schema = 'catalog'"
        ).fetchall()
    assert set(lacking) <= set(rows)

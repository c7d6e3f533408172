"""A long history: finished workflows in bulk, as DBOS itself leaves them."""

from collections.abc import Mapping

import psycopg
from psycopg import sql

FAILED = 10
"""Workflows of a history that have failed, however long it is."""

CALLER = "a caller"
"""Who has launched those that have failed; all others are of somebody else."""

APART = 1000
"""Milliseconds from one workflow to the next."""

TABLES: Mapping[str, tuple[str, ...]] = {
    "workflow_status": ("created_at", "updated_at", "started_at_epoch_ms", "completed_at"),
    "workflow_input": ("retention_timestamp",),
    "workflow_output": ("retention_timestamp",),
    "operation_outputs": ("started_at_epoch_ms", "completed_at_epoch_ms", "retention_timestamp"),
}
"""What a finished greeting has left, and which columns are times."""

COPY = """
insert into dbos.{table}
select copy.*
from dbos.{table} original
cross join generate_series(1, {count}) n
cross join lateral jsonb_populate_record(original, jsonb_build_object(
    'workflow_uuid', md5(original.workflow_uuid || n)::uuid,
    'authenticated_user', 'caller ' || n % 100, {times}
)) copy
where original.workflow_uuid = {workflow_id}
"""

SHIFTED = "{name}, original.{column} - n * {apart}"

FAIL = """
update dbos.workflow_status
set status = 'ERROR', authenticated_user = {caller}
where workflow_uuid in (
    select md5({workflow_id} || n)::uuid::text
    from generate_series({every}, {count}, {every}) n
)
"""


def fill(database: str, workflow_id: str, count: int) -> None:
    """Add copies of a finished workflow to a database, each a second older than the one before.

    Every column is that of the original, but for the id and the times, who has launched it, and
    the status of FAILED.
    """
    with psycopg.connect(database, autocommit=True) as connection:
        for table, columns in TABLES.items():
            connection.execute(_copy(table, columns, workflow_id, count))
        every = sql.Literal(count // FAILED)
        connection.execute(
            sql.SQL(FAIL).format(
                workflow_id=workflow_id,
                every=every,
                count=sql.Literal(count),
                caller=sql.Literal(CALLER),
            )
        )
        connection.execute("vacuum analyze")
        connection.execute("checkpoint")


def _copy(table: str, columns: tuple[str, ...], workflow_id: str, count: int) -> sql.Composed:
    times = [
        sql.SQL(SHIFTED).format(
            name=sql.Literal(column), column=sql.Identifier(column), apart=sql.Literal(APART)
        )
        for column in columns
    ]
    return sql.SQL(COPY).format(
        table=sql.Identifier(table),
        count=sql.Literal(count),
        times=sql.SQL(", ").join(times),
        workflow_id=sql.Literal(workflow_id),
    )

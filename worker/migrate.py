"""What workers and functions need in the database, and what their roles may do with it."""

import psycopg
from dbos import DBOS
from psycopg.sql import SQL, Identifier

from . import catalog
from .database import Connection, connected
from .errors import DatabaseNotMigrated, UnknownRole

WORKER = SQL("""
    grant usage on schema catalog to {role};
    grant select, insert, update, delete on catalog.workflows to {role};
""")
"""Beside what DBOS itself grants: everything in its schema, but no DDL."""

FUNCTIONS = SQL("""
    grant usage on schema dbos, catalog to {role};
    grant select on catalog.workflows to {role};
    grant select, insert, update (creator_xid) on dbos.workflow_status to {role};
    grant insert, select (workflow_uuid) on dbos.workflow_input to {role};
    grant select on dbos.workflow_output, dbos.workflow_events to {role};
""")
"""To launch, and to read the status: no DDL, no deleting, no reading of arguments or steps."""


def migrate(
    database_url: str, *, worker_role: str | None = None, functions_role: str | None = None
) -> None:
    """Create or upgrade the schemas `dbos` and `catalog`, and grant the roles what they need.

    It can be repeated, and several may do it at once. Raises UnknownRole, psycopg.Error.
    """
    DBOS.migrate(database_url)
    with connected(database_url, "dbos-functions migrate") as connection:
        with connection.transaction():
            catalog.create(connection)
        for role in filter(None, (worker_role, functions_role)):
            _check_role(connection, role)
        if worker_role:
            DBOS.migrate(database_url, application_role=worker_role)
            connection.execute(WORKER.format(role=Identifier(worker_role)))
        if functions_role:
            connection.execute(FUNCTIONS.format(role=Identifier(functions_role)))


def check_migrated(database_url: str) -> None:
    """Raise DatabaseNotMigrated if the database lacks what a worker needs, or does not let it."""
    with connected(database_url, "dbos-functions migrate") as connection:
        try:
            connection.execute("select from dbos.workflow_status, catalog.workflows limit 0")
        except psycopg.ProgrammingError as error:
            raise DatabaseNotMigrated(reason=str(error).splitlines()[0]) from error


def _check_role(connection: Connection, role: str) -> None:
    if not connection.execute("select 1 from pg_roles where rolname = %s", (role,)).fetchone():
        raise UnknownRole(role=role)

"""What workers and functions need in the database, and what their roles may do with it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from dbos import DBOS
from psycopg.errors import DeadlockDetected, DuplicateTable, LockNotAvailable, UniqueViolation
from psycopg.sql import SQL, Identifier
from sqlalchemy import Pool, event
from sqlalchemy.exc import SQLAlchemyError

from . import catalog, hash_seed, privileges
from .database import Connection, connected, is_missing_database
from .errors import DatabaseNotMigrated, RoleMayNot, UnknownRole, sentence

BUSY = (LockNotAvailable, DeadlockDetected, DuplicateTable, UniqueViolation)
"""What it is told who wants to create an index while somebody else migrates."""

WORKER = SQL("""
    grant usage on schema catalog to {role};
    grant select, insert, update, delete
        on catalog.workflows, catalog.ended, catalog.suspects, catalog.waits, catalog.deliveries,
            catalog.unreplayable
        to {role};
    grant select on catalog.hash_seed to {role};
""")
"""Beside the rows of DBOS's own tables (`privileges`). The seed stays as it is."""

FUNCTIONS = SQL("""
    grant usage on schema dbos, catalog to {role};
    grant select on catalog.workflows, dbos.queues, dbos.application_versions to {role};
    grant select on catalog.ended to {role};
    grant select, insert (
        workflow_uuid, status, name, authenticated_user, assumed_role, authenticated_roles,
        executor_id, created_at, updated_at, application_version, application_id, class_name,
        config_name, recovery_attempts, queue_name, workflow_timeout_ms,
        workflow_deadline_epoch_ms, deduplication_id, priority, queue_partition_key, owner_xid,
        creator_xid, parent_workflow_id, serialization, delay_until_epoch_ms, attributes,
        schedule_name, debounce_deadline_epoch_ms, is_debounced, application_name
    ), update (
        creator_xid, status, owner_xid, queue_name, deduplication_id, recovery_attempts,
        started_at_epoch_ms, updated_at, completed_at, workflow_deadline_epoch_ms
    ) on dbos.workflow_status to {role};
    grant insert, select (workflow_uuid) on dbos.workflow_input to {role};
    grant select on dbos.workflow_output, dbos.workflow_events, dbos.streams to {role};
    grant select (
        workflow_uuid, function_id, function_name, error, serialization, child_workflow_id,
        started_at_epoch_ms, completed_at_epoch_ms
    ) on dbos.operation_outputs to {role};
    grant insert, select (message_uuid, message, serialization) on dbos.notifications to {role};
    grant select, update (tried_at) on catalog.unreplayable to {role};
""")
"""To launch, cancel, resume, signal and read: no DDL, no deleting, no arguments, no results of
steps, and no changes but those that cancelling and resuming make. A row is inserted with what DBOS
inserts: not as the fork of another, nor as one that has used up the rate of its queue."""

INDEX = """
do $$ begin
    if to_regclass('dbos.workflow_status_callers') is null
        and (select count(*) from (select from dbos.workflow_status limit 100001) s) <= 100000
    then
        set local lock_timeout = '1s';
        create index workflow_status_callers
            on dbos.workflow_status (authenticated_user, created_at)
            where authenticated_user is not null;
    end if;
end $$
"""
"""For `list`: without it, whoever has few workflows waits until those of all others are read.

To build it on a large table would keep workers and functions waiting; README says what to do then.
"""

NEEDED = """
select has_table_privilege('dbos.workflow_status', 'update')
    and has_table_privilege('dbos.operation_outputs', 'insert')
    and has_table_privilege('catalog.workflows', 'insert')
    and has_table_privilege('catalog.ended', 'insert')
    and has_table_privilege('catalog.suspects', 'insert')
    and has_table_privilege('catalog.waits', 'insert')
    and has_table_privilege('catalog.deliveries', 'insert')
    and has_table_privilege('catalog.unreplayable', 'insert')
    and has_table_privilege('catalog.hash_seed', 'select')
"""


def migrate(
    database_url: str, *, worker_role: str | None = None, functions_role: str | None = None
) -> None:
    """Create or upgrade the schemas `dbos` and `catalog`, and grant the roles what they need.

    It can be repeated, and several may do it at once. Raises UnknownRole, RoleMayNot, CodePlanted,
    psycopg.Error, sqlalchemy.exc.SQLAlchemyError.
    """
    try:
        _migrate(database_url, worker_role, functions_role)
    except (psycopg.Error, SQLAlchemyError) as error:
        if isinstance(getattr(error, "orig", error), psycopg.errors.InsufficientPrivilege):
            raise RoleMayNot(reason=sentence(error)) from error
        raise


def _migrate(database_url: str, worker_role: str | None, functions_role: str | None) -> None:
    roles = [role for role in (worker_role, functions_role) if role]
    try:
        _secure(database_url, roles)
    except psycopg.OperationalError as error:
        if roles or not is_missing_database(error):
            raise
    with _fixed_path():
        DBOS.migrate(database_url)
    with _connected(database_url) as connection:
        with connection.transaction():
            catalog.create(connection)
            if worker_role:
                privileges.grant_rows(connection, worker_role)
                connection.execute(WORKER.format(role=Identifier(worker_role)))
            if functions_role:
                privileges.withdraw_inserts(connection, functions_role)
                connection.execute(FUNCTIONS.format(role=Identifier(functions_role)))
        with suppress(*BUSY):  # The next one that starts does it.
            connection.execute(INDEX)


def _secure(database_url: str, roles: list[str]) -> None:
    """See that nothing runs as the owner in the migration but what is known."""
    with _connected(database_url) as connection:
        for role in roles:
            _check_role(connection, role)
        privileges.withdraw(connection)
        privileges.refuse_planted_code(connection, roles)


@contextmanager
def _connected(database_url: str) -> Iterator[Connection]:
    with connected(database_url, "dbos-functions migrate") as connection:
        connection.execute(privileges.FIX_PATH)
        yield connection


@contextmanager
def _fixed_path() -> Iterator[None]:
    """Fix the search path of whatever SQLAlchemy connects meanwhile, since DBOS has an engine of
    its own. To say so in the URL would take what a pooler, or its user, says there."""
    event.listen(Pool, "connect", _fix_path)
    try:
        yield
    finally:
        event.remove(Pool, "connect", _fix_path)


def _fix_path(connection: Any, _: object) -> None:
    connection.autocommit = True
    connection.execute(privileges.FIX_PATH)
    connection.autocommit = False


def check_migrated(database_url: str) -> None:
    """Raise DatabaseNotMigrated if the database lacks what a worker needs, or does not let it."""
    with connected(database_url, "dbos-functions migrate") as connection:
        try:
            row = connection.execute(NEEDED).fetchone()
        except psycopg.ProgrammingError as error:
            raise DatabaseNotMigrated(reason=sentence(error)) from error
    if row != (True,):
        raise DatabaseNotMigrated(reason="this role lacks privileges")


def read_hash_seed(database_url: str) -> int:
    """The seed that all workers share; raises DatabaseNotMigrated if it cannot be read."""
    with connected(database_url, "dbos-functions migrate") as connection:
        try:
            row = connection.execute(hash_seed.READ).fetchone()
        except psycopg.ProgrammingError as error:
            raise DatabaseNotMigrated(reason=sentence(error)) from error
    if row is None:
        raise DatabaseNotMigrated(reason="catalog.hash_seed is empty")
    return int(row[0])


def _check_role(connection: Connection, role: str) -> None:
    if not connection.execute("select 1 from pg_roles where rolname = %s", (role,)).fetchone():
        raise UnknownRole(role=role)

"""The catalog: which workflows the functions may launch, published in Postgres."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import psycopg
from psycopg.types.json import Json

from .database import Connection
from .signatures import Schema


@dataclass(frozen=True)
class Entry:
    """One workflow that can be launched, as it is published."""

    name: str
    queue: str
    description: str
    arguments: Schema
    result: Schema


CREATE = """
create schema if not exists catalog;
create table if not exists catalog.workflows (
    application text not null,
    name text not null,
    queue text not null,
    description text not null,
    arguments json not null,
    result json not null,
    application_version text not null,
    primary key (application, name)
);
"""

REMOVE = "delete from catalog.workflows where application = %s and name <> all(%s)"

UPSERT = """
insert into catalog.workflows
    (application, name, queue, description, arguments, result, application_version)
values (%s, %s, %s, %s, %s, %s, %s)
on conflict (application, name) do update set
    queue = excluded.queue,
    description = excluded.description,
    arguments = excluded.arguments,
    result = excluded.result,
    application_version = excluded.application_version
"""

LOCK = "select pg_try_advisory_xact_lock(hashtext('catalog.workflows'))"


def publish(entries: Iterable[Entry], *, database_url: str, application: str, version: str) -> None:
    """Make `entries` the catalog of `application`, in one transaction."""
    rows = [
        (
            application,
            entry.name,
            entry.queue,
            entry.description,
            Json(entry.arguments),
            Json(entry.result),
            version,
        )
        for entry in entries
    ]
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        _take_turns(connection)
        cursor.execute(REMOVE, (application, [name for _, name, *_ in rows]))
        cursor.executemany(UPSERT, rows)


def create(connection: Connection) -> None:
    """Create the catalog if need be, in the transaction that `connection` is in."""
    _take_turns(connection)
    connection.execute(CREATE)


def _take_turns(connection: Connection) -> None:
    """One worker after the other, also those that start together.

    Waiting inside `pg_advisory_lock` would block another worker's migration for ever.
    """
    while connection.execute(LOCK).fetchone() != (True,):
        time.sleep(0.05)

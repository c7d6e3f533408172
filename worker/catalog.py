"""The catalog: which workflows the functions may launch, published in Postgres."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from psycopg.types.json import Json

from .database import Connection
from .locks import CATALOG, try_lock
from .signatures import Schema


@dataclass(frozen=True)
class Entry:
    """One workflow that can be launched, as it is published."""

    name: str
    queue: str
    description: str
    arguments: Schema
    result: Schema
    signals: dict[str, Schema] = field(default_factory=dict)
    """What it expects to be told, by topic."""
    partitioned: bool = False
    """Whether its queue wants a partition key with each launch."""
    source_digest: str | None = None
    """Of its code, to see whether that was changed."""


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
alter table catalog.workflows
    add column if not exists signals json not null default '{}',
    add column if not exists partitioned boolean not null default false,
    add column if not exists source_digest text;
create table if not exists catalog.ended (
    workflow_uuid text primary key
        references dbos.workflow_status (workflow_uuid) on delete cascade,
    step integer not null,
    step_name text,
    certain boolean not null,
    ended_at bigint not null
);
create table if not exists catalog.suspects (
    workflow_uuid text primary key
        references dbos.workflow_status (workflow_uuid) on delete cascade,
    long_attempts integer not null,
    shared_deaths integer not null
);
alter table catalog.suspects
    add column if not exists doubtful_deaths integer not null default 0;
create table if not exists catalog.waits (
    workflow_uuid text primary key
        references dbos.workflow_status (workflow_uuid) on delete cascade,
    owner_xid text,
    operations bigint,
    several_at_once boolean not null default false
);
create table if not exists catalog.deliveries (
    workflow_uuid text
        references dbos.workflow_status (workflow_uuid) on delete cascade,
    place integer,
    number integer not null,
    tickets integer[] not null,
    cancelled_after real,
    primary key (workflow_uuid, place)
);
create table if not exists catalog.unreplayable (
    workflow_uuid text primary key
        references dbos.workflow_status (workflow_uuid) on delete cascade,
    reason text not null,
    function_id integer not null,
    recorded_name text not null,
    expected_name text,
    application_version text,
    tried_at timestamptz not null
);
create table if not exists catalog.hash_seed (
    is_the_only_one boolean primary key default true check (is_the_only_one),
    seed bigint not null check (seed between 1 and 4294967295)
);
insert into catalog.hash_seed (seed)
    select 1 + ('x' || left(gen_random_uuid()::text, 8))::bit(32)::bigint % 4294967295
    on conflict do nothing;
"""
"""`ended` has the workflows whose last worker was ended as code held the GIL (`witness`).

`hash_seed` has one row, with a number that nobody can guess; the functions may not read it.
"""

REMOVE = "delete from catalog.workflows where application = %s and name <> all(%s)"

INSERT = """
insert into catalog.workflows
    (application, name, queue, description, arguments, result, signals, partitioned,
     source_digest, application_version)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""

REPLACE = f"""{INSERT}
on conflict (application, name) do update set
    queue = excluded.queue,
    description = excluded.description,
    arguments = excluded.arguments,
    result = excluded.result,
    signals = excluded.signals,
    partitioned = excluded.partitioned,
    source_digest = excluded.source_digest,
    application_version = excluded.application_version
"""

NAMES = "select name from catalog.workflows where application = %s"


def create(connection: Connection) -> None:
    """Create the catalog if need be, in the transaction that `connection` is in."""
    while not try_lock(connection, CATALOG):
        time.sleep(0.05)
    connection.execute(CREATE)


def names(connection: Connection, application: str) -> set[str]:
    """What is published of `application`."""
    return {name for (name,) in connection.execute(NAMES, (application,))}


def publish(
    connection: Connection, entries: Iterable[Entry], *, application: str, version: str
) -> None:
    """Make `entries` the catalog of `application`, in the transaction that `connection` is in,
    and that has locked the catalog."""
    listed = list(entries)
    connection.execute(REMOVE, (application, [entry.name for entry in listed]))
    with connection.cursor() as cursor:
        cursor.executemany(REPLACE, _rows(listed, application, version))


def add(
    connection: Connection, entries: Iterable[Entry], *, application: str, version: str
) -> None:
    """Add those `entries` to the catalog of `application` that it lacks."""
    with connection.cursor() as cursor:
        cursor.executemany(f"{INSERT} on conflict do nothing", _rows(entries, application, version))


def _rows(entries: Iterable[Entry], application: str, version: str) -> list[tuple[Any, ...]]:
    return [
        (
            application,
            entry.name,
            entry.queue,
            entry.description,
            Json(entry.arguments),
            Json(entry.result),
            Json(entry.signals),
            entry.partitioned,
            entry.source_digest,
            version,
        )
        for entry in entries
    ]

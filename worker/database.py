"""How the worker reaches Postgres by itself, beside DBOS's pool."""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any

import psycopg
from psycopg.errors import ReadOnlySqlTransaction
from sqlalchemy import ExceptionContext

from .errors import DatabaseUnreachable

Connection = psycopg.Connection[tuple[Any, ...]]

CONNECT_ARGS = {
    # Seconds, and milliseconds: a connection that was cut shows it soon.
    "connect_timeout": 3,
    "tcp_user_timeout": 5000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
}


def connect(url: str, application_name: str) -> Connection:
    """A connection of one's own; each statement is a transaction unless one is begun."""
    arguments: dict[str, Any] = {**CONNECT_ARGS, "application_name": application_name}
    return psycopg.connect(url, autocommit=True, **arguments)


@contextmanager
def connected(url: str, application_name: str, *, seconds: float = 30.0) -> Iterator[Connection]:
    """A connection for one block, which is cut when that takes longer than some seconds."""
    with connect(url, application_name) as connection, within(connection, seconds):
        yield connection


@contextmanager
def within(connection: Connection, seconds: float) -> Iterator[None]:
    """Cut `connection` when the block takes longer; psycopg itself would wait for ever."""
    timer = Timer(seconds, _cut, [connection])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _cut(connection: Connection) -> None:
    with socket.socket(fileno=os.dup(connection.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)


def retry_later(context: ExceptionContext) -> None:
    """Have DBOS retry when Postgres cannot be reached, or only be read, as in a failover.

    DBOS knows some of these errors by their wording; with the others a workflow would fail.
    """
    read_only = isinstance(context.original_exception, ReadOnlySqlTransaction)
    if read_only or context.connection is None:
        context.is_disconnect = True


def check_database(url: str) -> None:
    """Raise DatabaseUnreachable, one sentence where DBOS would print a traceback."""
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError as error:
        if re.search('database ".*" does not exist', str(error)):
            return  # DBOS creates it.
        raise DatabaseUnreachable(reason=str(error).strip()) from error

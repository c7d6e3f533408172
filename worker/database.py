"""How the worker reaches Postgres: DBOS's pool, and connections of its own."""

import math
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from threading import Lock
from typing import Any
from weakref import WeakSet

import psycopg
from psycopg.errors import ReadOnlySqlTransaction
from sqlalchemy import ExceptionContext, create_engine, make_url
from sqlalchemy.event import listen
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from .cutter import Cutter
from .errors import DatabaseUnreachable, TransactionPooler
from .turns import FairPool

IDLE_TRANSACTION = 5.0
"""Seconds after which Postgres frees the rows that a frozen worker has locked."""

RESTED = 1.0
"""Seconds without use after which a connection is looked at before it is used again. To look each
time, as DBOS has SQLAlchemy do it, is a fifth of all round trips of a workflow."""

TURN_SECONDS = 120.0
"""How long a thread waits for its turn; then something is wrong. A hundred workflows that
share ten connections, each for four seconds as at a round trip of 800 ms, wait for 40."""

Connection = psycopg.Connection[tuple[Any, ...]]

CONNECT_ARGS: dict[str, Any] = {
    # Seconds, and milliseconds: a connection that was cut shows it soon. To connect with TLS and a
    # password takes six round trips.
    "connect_timeout": 3,
    "tcp_user_timeout": 5000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "target_session_attrs": "read-write",  # In a failover, not the server that was.
}


def connect(url: str, application_name: str) -> Connection:
    """A connection of one's own; each statement is a transaction unless one is begun."""
    connection = connect_without_limits(url, application_name)
    with within(connection, 5.0):
        _limit_transactions(connection)
    return connection


def connect_without_limits(url: str, application_name: str) -> Connection:
    """The same, for who limits the transactions along with what else is to be asked first."""
    arguments = CONNECT_ARGS | {"application_name": application_name}
    return psycopg.connect(url, autocommit=True, **arguments)


def all_rows(
    connection: Connection, statements: str, parameters: dict[str, Any]
) -> list[list[tuple[Any, ...]]]:
    """The rows of each of several statements, for which Postgres is asked once."""
    with psycopg.ClientCursor(connection) as cursor:
        cursor.execute(statements, parameters)
        rows = [cursor.fetchall()]
        while cursor.nextset():
            rows.append(cursor.fetchall())
        return rows


@contextmanager
def connected(url: str, application_name: str, *, seconds: float = 30.0) -> Iterator[Connection]:
    """A connection for one block, which is cut when that takes longer than some seconds."""
    with connect(url, application_name) as connection, within(connection, seconds):
        yield connection


def within(connection: Connection, seconds: float) -> AbstractContextManager[None]:
    """Cut `connection` when the block takes longer; psycopg itself would wait for ever."""
    return _cutter().within(connection, seconds)


@cache
def _cutter() -> Cutter[Connection]:
    return Cutter(_cut)


def _cut(connection: Connection) -> None:
    with (
        suppress(OSError, psycopg.Error),  # It is cut or closed already.
        socket.socket(fileno=os.dup(connection.fileno())) as wire,
    ):
        wire.shutdown(socket.SHUT_RDWR)


class Pool:
    """The connections of DBOS."""

    def __init__(self, url: str, application_name: str, *, size: int) -> None:
        self._connections: WeakSet[Connection] = WeakSet()
        self._preparing = Lock()
        self._doubted_at = -math.inf
        """When it was last likely that a connection has died."""
        self.engine = create_engine(
            make_url(url).set(drivername="postgresql+psycopg"),
            pool_size=size,
            max_overflow=0,
            poolclass=FairPool,
            pool_timeout=TURN_SECONDS,
            pool_use_lifo=True,
            hide_parameters=True,
            connect_args=CONNECT_ARGS | {"application_name": application_name},
        )
        listen(self.engine, "connect", self._prepare)
        listen(self.engine, "checkin", self._rest)
        listen(self.engine, "checkout", self._check)
        listen(self.engine, "handle_error", retry_later)
        listen(self.engine, "handle_error", self._keep_others)

    def cut(self) -> None:
        """Cut all connections: who waits for an answer, perhaps for ever, asks again."""
        self._doubted_at = time.monotonic()
        with self._preparing:
            connections = list(self._connections)
        for connection in connections:
            if not connection.closed:
                _cut(connection)

    def _prepare(self, connection: Connection, _: object) -> None:
        with self._preparing:
            self._connections.add(connection)
        connection.autocommit = True  # Else there were two round trips more.
        _limit_transactions(connection)
        connection.autocommit = False

    def _keep_others(self, context: ExceptionContext) -> None:
        """Keep the other connections when one is lost, but look at them before they are used.

        SQLAlchemy would replace all of them, each of which takes several round trips.
        """
        if context.is_disconnect and not _is_read_only(context):
            context.invalidate_pool_on_disconnect = False
            self._doubted_at = time.monotonic()

    def _rest(self, _: Connection | None, record: ConnectionPoolEntry) -> None:
        record.info["rests_since"] = time.monotonic()

    def _check(self, connection: Connection, record: ConnectionPoolEntry, _: object) -> None:
        """Replace a connection that has died while it was not used."""
        now = time.monotonic()
        if record.info.get("rests_since", now) < max(self._doubted_at, now - RESTED):
            try:
                self.engine.dialect.do_ping(connection)  # type: ignore[arg-type]
            except psycopg.Error as error:
                raise DisconnectionError from error


def _limit_transactions(connection: Connection) -> None:
    """Have Postgres end the transactions, and free the locks, of a frozen worker."""
    connection.execute(f"set idle_in_transaction_session_timeout = '{IDLE_TRANSACTION:g}s'")


def retry_later(context: ExceptionContext) -> None:
    """Have DBOS retry when Postgres cannot be reached, or only be read, as in a failover.

    DBOS knows some of these errors by their wording; with the others a workflow would fail.
    """
    if _is_read_only(context) or context.connection is None:
        context.is_disconnect = True


def _is_read_only(context: ExceptionContext) -> bool:
    """Whether the server can only be read, and so its connections, though they live, are of no
    use."""
    return isinstance(context.original_exception, ReadOnlySqlTransaction)


def check_database(url: str) -> None:
    """Raise DatabaseUnreachable or TransactionPooler, where DBOS would print a traceback."""
    try:
        with _asking(url) as one, _asking(url) as other:
            shared = _share_sessions(one, other)
    except psycopg.OperationalError as error:
        if is_missing_database(error):
            return  # DBOS creates it.
        raise DatabaseUnreachable(reason=str(error).strip()) from error
    if shared:
        raise TransactionPooler


def is_missing_database(error: psycopg.OperationalError) -> bool:
    """Whether a connection was refused since its database does not exist."""
    return re.search('database ".*" does not exist', str(error)) is not None


@contextmanager
def _asking(url: str) -> Iterator[Connection]:
    """A connection that changes nothing in a session, as it may be that of others."""
    with (
        psycopg.connect(
            url, connect_timeout=5, autocommit=True, prepare_threshold=None
        ) as connection,
        within(connection, 30.0),  # Many round trips, perhaps from another continent.
    ):
        yield connection


def _share_sessions(one: Connection, other: Connection) -> bool:
    """Whether the two do not have one session of Postgres each, and always the same.

    A pooler hands the session that was used last to who asks next, or each in turn; neither
    order gives these two a different one each time.
    """
    sessions: dict[Connection, set[object]] = {one: set(), other: set()}
    for connection in (one, other, other, one) * 4:
        sessions[connection].add(connection.execute("select pg_backend_pid()").fetchone())
    return bool(sessions[one] & sessions[other]) or len(sessions[one] | sessions[other]) > 2

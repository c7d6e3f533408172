"""How functions reach Postgres: one pool per instance, one short-lived client per invocation."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from dbos import DBOSClient, DBOSPortableJSONSerializer
from psycopg import ClientCursor
from psycopg.errors import InvalidSchemaName, UndefinedTable
from sqlalchemy import Connection, Engine, create_engine, make_url
from sqlalchemy.event import listen
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from .errors import (
    BeyondLimits,
    DatabaseRefused,
    DatabaseUnavailable,
    FunctionError,
    NoWorkerYet,
)
from .internals import never_unpickle
from .pool import DEADLINE, PAUSE, PatientPool, deadline
from .settings import settings

T = TypeVar("T")

GONE = ("08", "57P")
"""Beginnings of the SQLSTATEs of a connection that has failed, or that Postgres ends (PostgreSQL,
appendix A)."""

UNAVAILABLE = (*GONE, "25006", "28", "40", "53", "55P03", "57", "58")
"""Beginnings of the SQLSTATEs of what may be over later. In this order, Postgres has become a
standby; lets the role in no longer; has ended this transaction because of a conflict; lacks a
resource; waits for a lock of somebody else; has ended the statement, since its time was over or
somebody has asked for that; its machine fails."""

LIMITS = ("54",)
"""Beginnings of the SQLSTATEs of what is too large for Postgres, now and later."""

PREPARED = "_prepared_statements"

CONNECT_ARGS = {
    # Seconds, and milliseconds: a connection that died while this instance was frozen shows it
    # in time for a second attempt before the deadline.
    "connect_timeout": 2,
    "tcp_user_timeout": 2000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    # PgBouncer in transaction mode may run each statement on another connection.
    "prepare_threshold": None,
    "application_name": "dbos-functions",
}


@cache
def engine() -> Engine:
    """The pool of this instance, made on first use and never larger than POOL_SIZE."""
    never_unpickle()
    made = create_engine(
        make_url(settings().database_url).set(drivername="postgresql+psycopg"),
        poolclass=PatientPool,
        pool_size=settings().pool_size,
        max_overflow=0,
        pool_timeout=PAUSE,
        pool_use_lifo=True,
        hide_parameters=True,
        use_native_hstore=False,  # To look for it is three round trips of a cold start.
        connect_args=CONNECT_ARGS,
    )
    listen(made, "commit", _refuse_late_commit)
    listen(made, "do_execute", _limit_time)
    return made


@contextmanager
def dbos_client() -> Iterator[DBOSClient]:
    """A client for one invocation; it borrows its connections from `engine()`."""
    client = DBOSClient(
        system_database_engine=engine(),
        serializer=DBOSPortableJSONSerializer(),
        application_name=settings().app_name,
        lazy=True,
        retry_connection_errors=False,
    )
    _share_statements(client)
    try:
        yield client
    finally:
        client.destroy()


@cache
def statements() -> dict[Any, Any]:
    """The INSERTs that the clients of `engine()` have compiled."""
    return {}


def _share_statements(client: DBOSClient) -> None:
    """Let a client use what others have compiled; it halves what a launch costs of CPU.

    DBOS keeps it in a private attribute, for one client each. Where there is none, nothing
    changes.
    """
    system_database = getattr(client, "_sys_db", None)
    if type(getattr(system_database, PREPARED, None)) is dict:
        setattr(system_database, PREPARED, statements())


async def use_client(work: Callable[[DBOSClient], T]) -> T:
    """Run `work` in a thread with a client of its own.

    It runs once more if the pooled connection turns out to be dead, so it has to be idempotent.
    Raises DatabaseUnavailable within DEADLINE seconds, NoWorkerYet, BeyondLimits, DatabaseRefused.
    """
    deadline.set(time.monotonic() + DEADLINE)
    try:
        async with asyncio.timeout(DEADLINE):
            return await asyncio.to_thread(_use_client, work)
    except (InterfaceError, PoolTimeout, TimeoutError) as error:
        raise DatabaseUnavailable from error
    except DBAPIError as error:
        if told := _told(error):
            raise told from error
        raise


def was_heard(error: Exception) -> bool:
    """Whether Postgres has answered, if only with this error of `use_client`."""
    state = _state(error.__cause__)
    return bool(state) and not state.startswith(GONE)


def _told(error: DBAPIError) -> FunctionError | None:
    """What an error of the database is for a caller; None for what only a mistake here makes."""
    if isinstance(error.orig, UndefinedTable | InvalidSchemaName):
        return NoWorkerYet(application=settings().app_name)
    state = _state(error)
    if error.connection_invalidated or state.startswith(UNAVAILABLE):
        return DatabaseUnavailable()
    if not isinstance(error, OperationalError):
        return None
    if not state:
        return DatabaseUnavailable()
    return BeyondLimits() if state.startswith(LIMITS) else DatabaseRefused()


def _state(error: BaseException | None) -> str:
    """The SQLSTATE that Postgres has answered; empty where it has not, as to a lost connection."""
    return getattr(getattr(error, "orig", error), "sqlstate", None) or ""


def _refuse_late_commit(_: Connection) -> None:
    """The caller was told that the launch has failed, so it must not come true later."""
    if time.monotonic() > deadline.get():
        raise TimeoutError


def _limit_time(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
    """Let a statement with the option `milliseconds` take no longer; whether it has that option.

    The limit is sent with it, in one transaction and one round trip, which only statements without
    parameters can share: so they are written into it.
    """
    milliseconds = context.execution_options.get("milliseconds")
    if milliseconds is None:
        return False
    written = ClientCursor(cursor.connection).mogrify(statement, parameters)
    cursor.execute(f"set local statement_timeout = {milliseconds:d}; {written}")
    return bool(cursor.nextset())


def _use_client(work: Callable[[DBOSClient], T]) -> T:
    with dbos_client() as client:
        try:
            return work(client)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
        return work(client)

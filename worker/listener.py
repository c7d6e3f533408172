"""Who waits in `recv`, `get_event` or `read_stream` is woken when something has come.

Postgres tells it to one session of each worker, which listens. What comes while there is none,
because it was ended and is not back yet, is told to nobody, and DBOS looks for itself only once a
minute. So this listener looks for all who wait: whenever it has begun to listen, and now and then.
"""

import functools
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol, cast

from dbos._sys_db import (
    ThreadSafeEventDict,
    _dbos_notifications_channel,
    _dbos_streams_channel,
    _dbos_workflow_events_channel,
)
from psycopg.sql import SQL, Identifier
from sqlalchemy import Engine

from .database import Connection, within

LOOK_SECONDS = 5.0
"""From one look to the next. A look finds what was told to nobody for another reason, such as an
error of the database in DBOS's own look, and that the session is cut off or frozen."""

ANSWER_SECONDS = 5.0
"""Longest time that Postgres may take to answer, as for the lease; then a new session is made."""

FIRST_PAUSE_SECONDS = 0.1
"""From the end of a session to the first attempt to make another. It doubles when that fails."""

LONGEST_PAUSE_SECONDS = 1.0
"""Between two attempts while Postgres is away, as DBOS has it from the first one on."""

CHANNELS = (_dbos_notifications_channel, _dbos_workflow_events_channel, _dbos_streams_channel)

LOOK = SQL("""
select n, false
from unnest(%(receivers)s::text[], %(topics)s::text[]) with ordinality w (workflow, topic, n)
where exists (
    select from {schema}.notifications m
    where m.destination_uuid = w.workflow and m.topic = w.topic and not m.consumed
)
union all
select n, true
from unnest(%(observed)s::text[], %(keys)s::text[]) with ordinality w (workflow, key, n)
where exists (
    select from {schema}.workflow_events e where e.workflow_uuid = w.workflow and e.key = w.key
)
""")
"""Which of those who wait have something to receive. Who has not must not be woken: DBOS would take
that for the end of the time that it waits."""

logger = logging.getLogger("worker")


class SystemDatabase(Protocol):
    """What a listener uses of DBOS's PostgresSystemDatabase."""

    engine: Engine
    schema: str | None
    sharded: bool
    use_listen_notify: bool
    notification_conn: Any
    notifications_map: ThreadSafeEventDict
    workflow_events_map: ThreadSafeEventDict
    streams_map: ThreadSafeEventDict
    _listener_thread_lock: Any
    _run_background_processes: bool

    def _cleanup_connections(self) -> None: ...


Listen = Callable[[Any], None]


class Listener:
    """Listens for as long as DBOS runs, in a thread of DBOS's."""

    def __init__(self) -> None:
        self.reconnects = 0
        """How often another session was made after one had ended."""

    def instead_of(self, listen: Listen) -> Listen:
        """Make of DBOS's `listen` one that looks, too. Without LISTEN it stays as it is."""

        @functools.wraps(listen)
        def keep_listening(database: SystemDatabase) -> None:
            if database.sharded or not database.use_listen_notify:
                return listen(database)
            return self._keep_listening(database)

        return keep_listening

    def _keep_listening(self, database: SystemDatabase) -> None:
        pause, before = FIRST_PAUSE_SECONDS, 0
        while database._run_background_processes:
            try:
                connection = _connect(database)
                self.reconnects += before
                pause, before = FIRST_PAUSE_SECONDS, 1
                _listen(database, connection)
            except Exception as error:  # Without a listener everybody would wait a minute.
                if pause == FIRST_PAUSE_SECONDS and database._run_background_processes:
                    logger.warning("nobody listens until it is back: %s", type(error).__name__)
            finally:
                database._cleanup_connections()
            if database._run_background_processes:
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _connect(database: SystemDatabase) -> Connection:
    """A session that listens: a connection like those of DBOS's pool, which nobody waits for, and
    which stands where DBOS closes it."""
    with database._listener_thread_lock:
        database.notification_conn = database.engine.pool.recreate().connect()
        database.notification_conn.detach()
        connection = cast(Connection, database.notification_conn.dbapi_connection)
        with within(connection, ANSWER_SECONDS):
            connection.autocommit = True
            for channel in CHANNELS:
                connection.execute(SQL("listen {}").format(Identifier(channel)))
    return connection


def _listen(database: SystemDatabase, connection: Connection) -> None:
    """Wake who is told something, or has been while nobody listened, until the session ends."""
    told = (database.notifications_map, database.workflow_events_map, database.streams_map)
    waiting = dict(zip(CHANNELS, told, strict=True))
    for _, _, reader in database.streams_map.snapshot():
        reader.set()  # It looks for itself.
    while database._run_background_processes:
        with within(connection, ANSWER_SECONDS):
            _look(database, connection)
        for notify in connection.notifies(timeout=LOOK_SECONDS):
            if signal := waiting[notify.channel].get(notify.payload):
                signal.set()


def _look(database: SystemDatabase, connection: Connection) -> None:
    """Wake who has something to receive, with one statement for all."""
    receivers = database.notifications_map.snapshot()
    observers = database.workflow_events_map.snapshot()
    parameters = {
        "receivers": [workflow for _, (workflow, _, _), _ in receivers],
        "topics": [topic for _, (_, topic, _), _ in receivers],
        "observed": [workflow for _, (workflow, _, _), _ in observers],
        "keys": [key for _, (_, key, _), _ in observers],
    }
    look = LOOK.format(schema=Identifier(database.schema or "dbos"))
    for number, observes in connection.execute(look, parameters).fetchall():
        *_, signal = (observers if observes else receivers)[number - 1]
        signal.set()

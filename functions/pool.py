"""The connections of an instance: as many as it needs, and one that it keeps."""

import math
import re
import threading
import time
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, cast

import psycopg
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool
from sqlalchemy.util.queue import Empty, Queue

deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)
"""When an invocation gives up, on the monotonic clock."""

DEADLINE = 4.5
"""Seconds until a function answers 503 instead of waiting for the database any longer."""

PAUSE = 0.05
"""Seconds that a connection is waited for before the pool is looked at again."""

LONGEST_PAUSE_SECONDS = 0.2
"""From one attempt to connect to the next while Postgres refuses; each costs it a process."""

SPARE_SECONDS = 2.0
"""Rest after which a connection beyond the first is given back; the time from one look at what
Postgres has left to the next; and that without another connection after there was none left. Less
than half of DEADLINE, for which another instance waits."""

FULL = re.compile("too many (clients|connections)|connection slots|no more connections allowed")
"""What Postgres and PgBouncer say when there is no connection left (SQLSTATE 53300). libpq tells
of an attempt to connect nothing but the words; in another language it is an error like others."""

CROWDED = """
select sum(numbackends) >= 0.95 * (
    current_setting('max_connections')::int
    - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true), '0')::int
) or exists (
    select from pg_roles
    where rolname = current_user and rolconnlimit > 0 and rolconnlimit <= (
        select count(*) from pg_stat_activity where usesysid = pg_roles.oid
    )
)
from pg_stat_database
"""
"""Whether there is hardly a connection left, of all or for this role; any role may ask that."""


class PatientPool(QueuePool):
    """Waits when Postgres has no more connections to give, and keeps none from other instances.

    Without one of its own it asks again until the deadline; with some it makes do with those.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._grows_from = self._looks_from = -math.inf
        self._disposed = False
        self._timer: threading.Timer | None = None

    def _do_get(self) -> ConnectionPoolEntry:
        end = min(deadline.get(), time.monotonic() + DEADLINE)
        refused: psycopg.OperationalError | None = None
        pause = PAUSE
        while True:
            try:
                if refused or not self._may_grow():
                    with suppress(Empty):
                        return self._connected(self._pool.get(True, pause))
                if self._held() == 0 or (not refused and self._may_grow()):
                    return self._connected(super()._do_get())
            except psycopg.OperationalError as error:
                refused, pause = error, min(2 * pause, LONGEST_PAUSE_SECONDS)
                self._grows_from = time.monotonic() + SPARE_SECONDS
                if self._held() == 0 and not FULL.search(str(error)):
                    raise
            except PoolTimeout:
                pass
            if time.monotonic() > end:
                raise refused or PoolTimeout("no connection was free in time")

    def _connected(self, record: ConnectionPoolEntry) -> ConnectionPoolEntry:
        try:
            record.get_connection()  # type: ignore[attr-defined]  # Another one if it has died.
        except psycopg.OperationalError:
            self._do_return_conn(record)
            raise
        return record

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        now = time.monotonic()
        if record.dbapi_connection is None:
            self._dec_overflow()  # An empty place would be tried before those that are alive.
        elif self._held() > 1 and now >= self._looks_from:
            self._looks_from = now + SPARE_SECONDS
            look = threading.Thread(target=self._return_unless_crowded, args=[record], daemon=True)
            look.start()  # The request that has used it does not wait.
        else:
            self._return(record)

    def dispose(self) -> None:
        """Close what is in the pool, and from now on what is returned after a look."""
        self._disposed = True
        super().dispose()

    def _return(self, record: ConnectionPoolEntry) -> None:
        record.info["rests_since"] = time.monotonic()
        super()._do_return_conn(record)
        self._give_back_rested()

    def _return_unless_crowded(self, record: ConnectionPoolEntry) -> None:
        """Give a connection back when there is none left for others, also under load."""
        if _is_crowded(record) or self._disposed:
            self._grows_from = time.monotonic() + SPARE_SECONDS
            self._close(record)
        else:
            self._return(record)

    def _held(self) -> int:
        """How many connections there are, those included that are being made."""
        return self.checkedout() + self.checkedin()

    def _may_grow(self) -> bool:
        """Whether another connection may be made; without any, always."""
        return self._held() == 0 or time.monotonic() >= self._grows_from

    def _close(self, record: ConnectionPoolEntry) -> None:
        record.close()
        self._dec_overflow()

    def _give_back_rested(self) -> None:
        """Close the connections beyond the first that have rested, now and later."""
        while record := self._rested():
            self._close(record)
        if self._timer is None and self._held() > 1:
            self._timer = threading.Timer(SPARE_SECONDS, self._give_back_later)
            self._timer.daemon = True
            self._timer.start()

    def _give_back_later(self) -> None:
        self._timer = None
        self._give_back_rested()

    def _rested(self) -> ConnectionPoolEntry | None:
        """The connection that has rested longest, out of the pool; None if that is not long."""
        resting = cast(Queue[ConnectionPoolEntry], self._pool)
        with resting.mutex:
            if not resting.queue or self._held() == 1:
                return None
            rest = time.monotonic() - float(resting.queue[0].info["rests_since"])
            return resting.queue.popleft() if rest > SPARE_SECONDS else None


def _is_crowded(record: ConnectionPoolEntry) -> bool:
    """Whether Postgres has hardly a connection left; also if it does not say so."""
    connection = cast(psycopg.Connection[tuple[Any, ...]], record.dbapi_connection)
    try:
        connection.autocommit = True
        row = connection.execute(CROWDED).fetchone()
        connection.autocommit = False
    except psycopg.Error:
        return True
    return row == (True,)

"""The lease of a worker on its executor id: who holds it is alive, who does not is dead.

A lease is a session-level advisory lock on the 64-bit hash of `lease_name`. Postgres ends the
session, and with it the lease, of a process that crashed, froze or was cut off, so there is no
table of heartbeats and there are no clocks to compare.
"""

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterable

import psycopg

from .database import Connection, connect, within
from .errors import LeaseHeld
from .settings import Settings

HEARTBEAT = 1.0
"""Seconds between two signs of life."""

LIFETIME = 6.0
"""Seconds without a sign of life after which Postgres ends the session."""

TRUST = 5.0
"""Seconds after the last sign of life that the worker itself counts on its lease."""

GRACE = 3.0
"""Seconds that all others have to take their leases (back) before anyone is declared dead."""

PATIENCE = LIFETIME + 2.0
"""Seconds that an earlier session with the same executor id may take to end."""

DUTY = 10.0
"""Seconds that a duty may take."""

TAKE = """
select set_config('idle_session_timeout', %s, false),
    pg_try_advisory_lock(hashtextextended(%s, 0)),
    pg_try_advisory_lock_shared(hashtextextended(%s, 0))
"""

Duty = Callable[[Connection], object]

logger = logging.getLogger("worker")


def lease_name(application: str, executor_id: str) -> str:
    """What an executor locks for itself alone as long as it lives."""
    return f"dbos-functions executor {application} {executor_id}"


def version_name(application: str, version: str) -> str:
    """What all executors of a version lock together as long as they live."""
    return f"dbos-functions version {application} {version}"


class Lease:
    """The lease of this process, on a connection of its own."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.database_url
        self._executor_id = settings.executor_id
        self._names = (
            lease_name(settings.app_name, settings.executor_id),
            version_name(settings.app_name, settings.app_version),
        )
        self._connection: Connection | None = None
        self._taken_at = math.inf
        self._alive_at = -math.inf

    @property
    def held(self) -> bool:
        """Whether the lease is certain to be ours, also right after the process was frozen."""
        return time.monotonic() - self._alive_at < TRUST

    @property
    def settled(self) -> bool:
        """Whether it was held so long that whoever else lives has taken a lease, too."""
        return self.held and time.monotonic() - self._taken_at >= GRACE

    def take(self) -> None:
        """Take the lease, and wait up to PATIENCE seconds for a session that is about to end.

        Raises LeaseHeld when somebody else goes on to hold it, and psycopg.OperationalError.
        """
        end = time.monotonic() + PATIENCE
        while not self._try_to_take():
            if time.monotonic() > end:
                raise LeaseHeld(executor_id=self._executor_id)
            time.sleep(0.25)

    def keep(self, duties: Iterable[Duty], on_silence: Callable[[], object]) -> None:
        """Hold the lease in a thread for as long as the process lives; ends that with exit code 1
        if another process has taken the lease meanwhile.

        While it is `settled`, the `duties` are done after every heartbeat, on its connection.
        `on_silence` is called when the lease was lost because nothing came through.
        """
        arguments = (list(duties), on_silence)
        threading.Thread(target=self._keep, args=arguments, name="lease", daemon=True).start()

    def release(self) -> None:
        """Give the lease back by ending its session."""
        self._alive_at = -math.inf
        if self._connection:
            self._connection.close()

    def _try_to_take(self) -> bool:
        begun = time.monotonic()
        self._connection = connect(self._url, f"dbos-functions lease {self._executor_id}")
        with within(self._connection, TRUST):
            row = self._connection.execute(TAKE, (f"{LIFETIME}s", *self._names)).fetchone()
        if not row or not all(row):
            self.release()
            return False
        self._taken_at, self._alive_at = time.monotonic(), begun
        return True

    def _keep(self, duties: list[Duty], on_silence: Callable[[], object]) -> None:
        try:
            while True:
                try:
                    self._beat(duties)
                except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                    silent = not self.held
                    self.release()
                    reason = str(error).partition("\n")[0]
                    logger.warning("the lease is lost, no new work until it is back: %s", reason)
                    self._take_back()
                    if silent:
                        on_silence()
        except Exception:
            logger.critical("the lease cannot be kept, and so the worker ends", exc_info=True)
            os._exit(1)

    def _beat(self, duties: list[Duty]) -> None:
        assert self._connection
        begun = time.monotonic()
        with within(self._connection, TRUST):
            self._connection.execute("select 1")
        self._alive_at = begun
        for duty in duties:
            if self.settled:
                with within(self._connection, DUTY), self._connection.transaction():
                    duty(self._connection)
        for _ in self._connection.notifies(timeout=HEARTBEAT):
            pass  # There are none: this waits, but not when Postgres ends the session.

    def _take_back(self) -> None:
        while True:
            try:
                self.take()
            except (psycopg.OperationalError, psycopg.InterfaceError):
                time.sleep(0.25)
            else:
                logger.info("the lease is back")
                return

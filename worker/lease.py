"""The lease of a worker on its executor id: who holds it is alive, who does not is dead.

A lease is a session-level advisory lock. Postgres ends the session, and with it the lease, of a
process that crashed, froze or was cut off, so there is no table of heartbeats and there are no
clocks to compare.
"""

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterable

import psycopg

from . import database
from .clock import NOW, Clock
from .clock import steady as _now
from .database import Connection, all_rows, connect_without_limits, within
from .errors import LeaseHeld, sentence
from .locks import lease_name, version_name
from .settings import Settings

HEARTBEAT = 1.0
"""Seconds between two signs of life."""

LIFETIME = 6.0
"""Seconds without a sign of life after which Postgres ends the session."""

TRUST = 5.0
"""Seconds after the last sign of life that the worker itself counts on its lease."""

GRACE = 5.0
"""Seconds that all others have to take their leases (back) before anyone is declared dead."""

PATIENCE = LIFETIME + 2.0
"""Seconds that an earlier session with the same executor id may take to end."""

FIRST_PAUSE = 0.02
"""Seconds until a lease that somebody else holds is asked for again: perhaps it was only looked
whether it is free."""

SILENCE = 2.5
"""Seconds after the last sign of life after which another is given also between two duties. Far
from Postgres, all duties together take longer than the lease is trusted."""

STATEMENT = 3.0
"""Seconds that a statement may take, or wait for a lock."""

DUTY = 10.0
"""Seconds that a duty may take."""

ENDING_MS = 1000
"""Milliseconds that Postgres waits for all former sessions to end before it looks at the locks."""

TAKE = f"""
select set_config('idle_session_timeout', %(lifetime)s, false),
    set_config('idle_in_transaction_session_timeout', %(transaction)s, false),
    set_config('statement_timeout', %(statement)s, false),
    set_config('client_connection_check_interval', '1s', false);

select pg_terminate_backend(pid, {ENDING_MS} / greatest(1, cardinality(%(former)s::integer[])))
from pg_stat_activity
where pid = any(%(former)s) and application_name = %(client)s;

select pg_backend_pid(),
    pg_try_advisory_lock(hashtextextended(%(lease)s, 0)),
    pg_try_advisory_lock_shared(hashtextextended(%(version)s, 0));

{NOW}
"""
"""One round trip for all, since others may take the workflows over until the locks are taken. The
limits come first, or a session that is cut off here could hold the locks for long; then the end of
former sessions that were cut off and do not know it yet.

A pipeline of psycopg would not do: it ends with a message that has Postgres forget
`idle_session_timeout` until the next statement.
"""

Duty = Callable[[Connection], object]

logger = logging.getLogger("worker")


class Lease:
    """The lease of this process, on a connection of its own."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.database_url
        self._executor_id = settings.executor_id
        self._client = f"dbos-functions lease {settings.executor_id}"[:63]  # As Postgres does.
        self._name = lease_name(settings.app_name, settings.executor_id)
        self._version = version_name(settings.app_name, settings.app_version)
        self.clock = Clock()
        """Asked with every sign of life; the lease is not held before it was."""
        self._connection: Connection | None = None
        self._backends: list[int] = []
        """The sessions that may hold the lease; with an answer that was lost, there are several."""
        self._taken_at = math.inf
        self._alive_at = -math.inf
        self.taking_seconds = 0.0
        """How long it last took to connect and to take the lease: whoever loses it needs as long
        to take it back."""
        self.session = 0
        """Counts the sessions that have held the lease; between two of them it was lost."""

    @property
    def held(self) -> bool:
        """Whether the lease is certain to be ours, also right after the process was frozen."""
        return _now() - self._alive_at < TRUST

    def held_since(self, session: int) -> bool:
        """Whether it is held, and was not lost since `session` was counted.

        In this order: a loss, or a freeze of the process, between any two of these shows.
        """
        alive_at = self._alive_at
        return self.session == session and _now() - alive_at < TRUST

    @property
    def settled(self) -> bool:
        """Whether it was held so long that whoever else lives has taken a lease, too."""
        return self.held and _now() - self._taken_at >= GRACE

    def take(self) -> None:
        """Take the lease, and wait up to PATIENCE seconds for a session that is about to end.

        Raises LeaseHeld when somebody else goes on to hold it, and psycopg.Error.
        """
        end, pause = _now() + PATIENCE, FIRST_PAUSE
        while missing := self._try_to_take():
            # That of the version is held by whoever adopts its workflows, and is done soon.
            if self._name in missing and _now() > end:
                raise LeaseHeld(executor_id=self._executor_id)
            time.sleep(pause)
            pause = min(2 * pause, 0.25)

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

    def _try_to_take(self) -> list[str]:
        """Take the locks, all or none; returns the names of those that somebody else holds."""
        connecting = _now()
        self._connection = connect_without_limits(self._url, self._client)
        begun = _now()
        with within(self._connection, TRUST):
            taken = self._take(self._connection)
        missing = [name for name, mine in taken.items() if not mine]
        if missing:
            self.release()
        else:
            self.taking_seconds = _now() - connecting
            self.session += 1
            self._taken_at, self._alive_at = _now(), begun
        return missing

    def _take(self, connection: Connection) -> dict[str, bool]:
        parameters = {
            "lifetime": f"{LIFETIME}s",
            "transaction": f"{database.IDLE_TRANSACTION}s",
            "statement": f"{STATEMENT}s",
            "former": self._backends,
            "client": self._client,
            "lease": self._name,
            "version": self._version,
        }
        self._backends = [*self._backends, connection.info.backend_pid]
        sent = _now()
        _, _, ((backend, *mine),), ((told,),) = all_rows(connection, TAKE, parameters)
        self.clock.hear(told, sent, _now())
        self._backends = [backend]
        return dict(zip((self._name, self._version), mine, strict=True))

    def _keep(self, duties: list[Duty], on_silence: Callable[[], object]) -> None:
        try:
            while True:
                try:
                    self._beat(duties)
                except psycopg.Error as error:
                    silent = not self.held
                    self.release()
                    reason = sentence(error)
                    logger.warning("the lease is lost, no new work until it is back: %s", reason)
                    self._take_back()
                    if silent:
                        on_silence()
        except Exception:
            logger.critical("the lease cannot be kept, and so the worker ends", exc_info=True)
            os._exit(1)

    def _beat(self, duties: list[Duty]) -> None:
        assert self._connection
        self._give_sign(self._connection)
        for duty in duties:
            if self.settled:
                self._do(duty, self._connection)
            if _now() - self._alive_at >= SILENCE:
                self._give_sign(self._connection)
        for _ in self._connection.notifies(timeout=HEARTBEAT):
            pass  # There are none: this waits, but not when Postgres ends the session.

    def _give_sign(self, connection: Connection) -> None:
        begun = _now()
        with within(connection, TRUST):
            self.clock.ask(connection)
        self._alive_at = begun

    def _do(self, duty: Duty, connection: Connection) -> None:
        try:
            with within(connection, DUTY):
                duty(connection)
        except psycopg.Error as error:
            if connection.closed:
                raise
            logger.warning("%s is put off: %s", type(duty).__name__, sentence(error))

    def _take_back(self) -> None:
        while True:
            try:
                self.take()
            except psycopg.Error:
                time.sleep(0.25)
            else:
                logger.info("the lease is back")
                return

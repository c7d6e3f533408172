"""Postgres's clock, told without asking: delays, deadlines and sleeps in this process go by it.

It is asked with every sign of life of the lease. From one answer to the next a steady clock of this
machine counts on, so setting the machine's clock moves none of them. The machine's clock, which
the code of workflows sees, is compared: a worker on which it is wrong takes nothing, sweeps
nothing, and says so.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

from .database import Connection

TOLERATED_SECONDS = 5.0
"""How wrong the machine's clock may be. Where NTP runs, it is right to milliseconds; nobody keeps
one that is wrong by more than this."""

DRIFT = 0.001
"""Seconds per second by which two steady clocks may run apart: NTP speeds a clock up, or slows it
down, by 0.05 % at most, and there are two of them."""

NOW = "select extract(epoch from clock_timestamp())::float8"

BackgroundJobLock = Callable[[Any, str], AbstractContextManager[bool]]

logger = logging.getLogger("worker")


class Lead(NamedTuple):
    """By how many seconds Postgres's clock is ahead of the steady one: from `least` to `most`."""

    least: float
    most: float
    seen_at: float
    """On the steady clock."""

    def after_drift(self, now: float) -> "Lead":
        """The same, some time later."""
        drift = DRIFT * (now - self.seen_at)
        return Lead(self.least - drift, self.most + drift, now)


class Clock:
    """What Postgres's clock says; until Postgres was asked, what the machine's says."""

    def __init__(self) -> None:
        self._lead: Lead | None = None
        self._was_right = True

    def ask(self, connection: Connection) -> None:
        """Ask Postgres, in one round trip; raises psycopg.Error."""
        sent = steady()
        row = connection.execute(NOW).fetchone()
        received = steady()
        assert row
        self.hear(row[0], sent, received)

    def hear(self, told: float, sent: float, received: float) -> None:
        """Learn what Postgres's clock said, and say so if this machine's is wrong."""
        self.learn(told, sent, received)
        self._say_if_changed()

    def learn(self, told: float, sent: float, received: float) -> None:
        """Postgres's clock said `told` some time between two times of the steady clock.

        What is known already makes it more exact; but not when Postgres's clock was set, or, in a
        failover, another server answers.
        """
        least, most = told - received, told - sent
        if self._lead:
            known = self._lead.after_drift(received)
            if known.least <= most and least <= known.most:
                least, most = max(known.least, least), min(known.most, most)
        self._lead = Lead(least, most, received)

    def now(self) -> float:
        """Seconds since the epoch on Postgres's clock, wrong by half a round trip at most."""
        lead = self._lead
        return steady() + (lead.least + lead.most) / 2 if lead else time.time()

    @property
    def offset(self) -> float:
        """By how many seconds the machine's clock is ahead of Postgres's."""
        return time.time() - self.now()

    @property
    def is_right(self) -> bool:
        """Whether the machine's clock is right enough to take workflows."""
        return self.problem() is None

    def problem(self) -> str | None:
        """What is wrong with the machine's clock; None if nothing is."""
        offset = self.offset
        if abs(offset) <= TOLERATED_SECONDS:
            return None
        where = "ahead of" if offset > 0 else "behind"
        return f"the clock of this machine is {abs(offset):.1f} s {where} that of Postgres"

    def _say_if_changed(self) -> None:
        problem = self.problem()
        if problem and self._was_right:
            logger.error("%s: until it is right, nothing is taken and nothing swept", problem)
        elif not problem and not self._was_right:
            logger.info("the clock of this machine is right again")
        self._was_right = problem is None

    def in_place_of(self, module: Any) -> "Watch":
        """The module `time` for who has to go by Postgres's clock."""
        return Watch(module, self)

    def while_right(self, background_job_lock: BackgroundJobLock) -> BackgroundJobLock:
        """DBOS's lock of its sweeps, which is not taken while the machine's clock is wrong."""

        @contextmanager
        def guarded(system_database: Any, job_name: str) -> Iterator[bool]:
            if not self.is_right:
                yield False
                return
            with background_job_lock(system_database, job_name) as acquired:
                yield acquired

        return guarded


class Watch:
    """The module `time`, on which `time()` is Postgres's."""

    def __init__(self, module: Any, clock: Clock) -> None:
        self._module = module
        self.time = clock.now

    def __getattr__(self, name: str) -> Any:
        """Everything else is the module's."""
        return getattr(self._module, name)


def steady() -> float:
    """Seconds on a clock that nobody sets, and that goes on while the machine is suspended, where
    there is such a one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

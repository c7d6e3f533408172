"""Workflows that their executor does not execute any more go back to their queue.

A run counts against MAX_TAKEOVERS only for deaths of workers that it can have caused:

- What waits for a signal, an event or another workflow, or sleeps, causes none; it is forgiven.
- What has recorded a step since it was claimed begins to count anew, at one.
- An attempt of ten minutes begins to count anew, too, twenty times for one run.
- All others are counted. Once counted, they go on at once: machines fail.

Twice counted, a run is a suspect. Suspects are DELAYED until they have their turn: in groups at
first, a quarter of them each, then alone. A turn ends when the suspect records a step, waits or
ends, or after a few seconds, and only then the next one begins, in the whole fleet. So one worker
dies at a time, and what is no suspect goes on in the others. The fourth and every later death is
counted only for a run that was the only suspect in its worker; where several share one, each has
a longer turn the next time. The last death, for which a run is given up, is twice put down to
what was executed beside it and is no suspect, or may have been: a sleep may just have ended.

All of that is judged by what the rows say in the transaction that takes over (`tables.TAKE_OVER`);
`catalog.suspects` holds what they do not. A run that is resumed has been counted for nothing.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from psycopg.sql import SQL, Composed

from . import tables
from .database import Connection, all_rows, connected
from .locks import lease_name, try_lock, turns_name
from .settings import Settings

START = 30.0
"""Seconds that taking over from an earlier process may take."""

HANDOVER = 3.0
"""Seconds that handing over may take."""

SHORTEST_PAUSE = 0.05
"""Seconds from one look to the next, at least: who tried to take the lease back during the first
has tried again."""

LONGEST_PAUSE = 2.5
"""Seconds from one look to the next, at most: the lease of who looks is trusted for five."""

NEVER = 2**31
"""As the most attempts: nothing is given up."""

GIVE_UP = -1
"""As the most attempts: everything is given up."""

logger = logging.getLogger("worker")


class TakeOver:
    """Takes over what executors without a lease have left; counts it.

    Workflows keep their version, and wait for a worker of that.
    """

    def __init__(
        self, settings: Settings, retaking_seconds: Callable[[], float] = lambda: 0.0
    ) -> None:
        """`retaking_seconds` says how long a worker may need to take back a lease that it lost."""
        self._retaking_seconds = retaking_seconds
        self.workflows = 0
        self.looks = 0
        self._settings = settings

    def __call__(self, connection: Connection) -> None:
        """Do it, in a transaction that keeps the dead dead.

        A lease without a holder may be that of a worker whose connection was reset, and which is
        about to take it back. So there is a second look.
        """
        parameters = {
            "executor": self._settings.executor_id,
            "application": self._settings.app_name,
            "prefix": lease_name(self._settings.app_name, ""),
        }
        silent, ((suspects,),) = all_rows(connection, tables.LOOK, parameters)
        if silent:
            self._look_again(connection, parameters)
        if silent or suspects:
            self._give_turns(connection)
        self.looks += 1

    def _look_again(self, connection: Connection, parameters: dict[str, Any]) -> None:
        time.sleep(min(SHORTEST_PAUSE + self._retaking_seconds(), LONGEST_PAUSE))
        with connection.transaction():
            dead = [executor for (executor,) in connection.execute(tables.DEAD, parameters)]
            if dead:
                self.workflows += self._of(connection, dead)

    def own(self) -> None:
        """Take over what an earlier process with this executor id has left."""
        most = self._settings.max_takeovers
        if moved := _release_own(self._settings, tables.TAKE_OVER, most=most, seconds=START):
            logger.info("workflows taken over from %s: %d", self._settings.executor_id, moved)

    def _give_turns(self, connection: Connection) -> None:
        """Let the next suspects be claimed. Two workers at once would let two of them."""
        application = self._settings.app_name
        parameters = {"application": application, "version": self._settings.app_version}
        with connection.transaction():
            if try_lock(connection, turns_name(application)):
                connection.execute(tables.GIVE_TURNS, parameters)

    def _of(self, connection: Connection, executors: list[str]) -> int:
        parameters = {
            "executors": executors,
            "application": self._settings.app_name,
            "most": self._settings.max_takeovers,
        }
        moved = release(connection, tables.TAKE_OVER, parameters)
        if moved:
            logger.info("workflows taken over from %s: %d", ", ".join(executors), moved)
        return moved


def hand_over(settings: Settings) -> None:
    """Hand over what this executor executes to others, before its process ends.

    It does not count as a takeover: the workflows are not to blame.
    """
    if moved := _release_own(settings, tables.HAND_OVER, most=NEVER, seconds=HANDOVER):
        logger.info("workflows handed over: %d", moved)


def _release_own(
    settings: Settings, statement: Composed | SQL, *, most: int, seconds: float
) -> int:
    """Release all that this executor has claimed, also what is locked at first."""
    parameters = {
        "executor": settings.executor_id,
        "executors": [settings.executor_id],
        "application": settings.app_name,
        "most": most,
    }
    moved = 0
    name = f"dbos-functions worker {settings.executor_id}"
    with connected(settings.database_url, name, seconds=seconds) as connection:
        while connection.execute(tables.CLAIMS, parameters).fetchone():
            moved += release(connection, statement, parameters)
            time.sleep(0.02)
    return moved


def release(connection: Connection, statement: Composed | SQL, parameters: dict[str, Any]) -> int:
    """Put workflows back, or give up those with more than `most` attempts; returns how many went
    back."""
    rows = connection.execute(statement, parameters).fetchall()
    given_up = [(workflow_id, name) for workflow_id, name, hopeless in rows if hopeless]
    for workflow_id, name in given_up:
        logger.error("gave up workflow %s (%s)", workflow_id, name)
    return len(rows) - len(given_up)

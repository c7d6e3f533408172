"""Workflows that their executor does not execute any more go back to their queue."""

import logging
import time
from typing import Any

from psycopg.sql import SQL, Composed

from . import tables
from .database import Connection, connected
from .locks import lease_name
from .settings import Settings

HANDOVER = 3.0
"""Seconds that handing over may take."""

NEVER = 2**31

TAKE_OVER = tables.RELEASE.format(
    which=tables.ALL,
    attempts=tables.COUNTED,
    delay=tables.APART,
    version=tables.SAME_VERSION,
)

HAND_OVER = tables.RELEASE.format(
    which=tables.ALL,
    attempts=tables.FORGIVEN,
    delay=tables.AT_ONCE,
    version=tables.SAME_VERSION,
)

logger = logging.getLogger("worker")


class TakeOver:
    """Takes over what executors without a lease have left; counts it.

    Workflows keep their version, and wait for a worker of that.
    """

    def __init__(self, settings: Settings) -> None:
        self.workflows = 0
        self.looks = 0
        self._settings = settings

    def __call__(self, connection: Connection) -> None:
        """Do it, in the transaction that `connection` is in, and that keeps the dead dead."""
        parameters = {
            "executor": self._settings.executor_id,
            "application": self._settings.app_name,
            "prefix": lease_name(self._settings.app_name, ""),
        }
        dead = [executor for (executor,) in connection.execute(tables.DEAD, parameters)]
        if dead:
            self.workflows += self._of(connection, dead)
        self.looks += 1

    def own(self) -> None:
        """Take over what an earlier process with this executor id has left."""
        url, executor_id = self._settings.database_url, self._settings.executor_id
        parameters = {"executor": executor_id, "application": self._settings.app_name}
        with connected(url, f"dbos-functions worker {executor_id}") as connection:
            while connection.execute(tables.CLAIMS, parameters).fetchone():
                self._of(connection, [executor_id])
                time.sleep(0.02)  # If some were locked.

    def _of(self, connection: Connection, executors: list[str]) -> int:
        parameters = {
            "executors": executors,
            "application": self._settings.app_name,
            "most": self._settings.max_takeovers,
        }
        moved = release(connection, TAKE_OVER, parameters)
        if moved:
            logger.info("workflows taken over from %s: %d", ", ".join(executors), moved)
        return moved


def hand_over(settings: Settings) -> None:
    """Hand over what this executor executes to others, before its process ends.

    It does not count as a takeover: the workflows are not to blame.
    """
    parameters = {
        "executor": settings.executor_id,
        "executors": [settings.executor_id],
        "application": settings.app_name,
        "most": NEVER,
    }
    moved = 0
    name = f"dbos-functions worker {settings.executor_id}"
    with connected(settings.database_url, name, seconds=HANDOVER) as connection:
        while connection.execute(tables.CLAIMS, parameters).fetchone():
            moved += release(connection, HAND_OVER, parameters)
            time.sleep(0.02)  # If some were locked.
    if moved:
        logger.info("workflows handed over: %d", moved)


def release(connection: Connection, statement: SQL | Composed, parameters: dict[str, Any]) -> int:
    """Put workflows back, or give up those with more than `most` attempts; returns how many went
    back."""
    rows = connection.execute(statement, parameters).fetchall()
    given_up = [(workflow_id, name) for workflow_id, name, hopeless in rows if hopeless]
    for workflow_id, name in given_up:
        logger.error("gave up workflow %s (%s)", workflow_id, name)
    return len(rows) - len(given_up)

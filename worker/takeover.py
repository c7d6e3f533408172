"""Workflows that nobody executes any more go back to their queue."""

import logging
from typing import Any

from psycopg.sql import SQL

from . import tables
from .database import Connection, connected
from .lease import lease_name
from .settings import Settings

HANDOVER = 3.0
"""Seconds that handing over may take."""

logger = logging.getLogger("worker")


class TakeOver:
    """Re-enqueues what executors without a lease have left; counts it."""

    def __init__(self, settings: Settings) -> None:
        self.workflows = 0
        self.looks = 0
        self._url = settings.database_url
        self._executor_id = settings.executor_id
        self._most = settings.max_takeovers
        self._parameters = {
            "executor": settings.executor_id,
            "application": settings.app_name,
            "prefix": lease_name(settings.app_name, ""),
        }

    def __call__(self, connection: Connection) -> None:
        """Do it, in the transaction that `connection` is in, and that keeps the dead dead."""
        dead = [executor for (executor,) in connection.execute(tables.DEAD, self._parameters)]
        if dead:
            self.workflows += self._of(connection, dead)
        self.looks += 1

    def own(self) -> None:
        """Re-enqueue what an earlier process with this executor id has left."""
        with connected(self._url, f"dbos-functions worker {self._executor_id}") as connection:
            self._of(connection, [self._executor_id])

    def _of(self, connection: Connection, executors: list[str]) -> int:
        moved = reenqueue(
            connection,
            tables.OF_EXECUTORS,
            {**self._parameters, "executors": executors, "most": self._most, "forgiven": 0},
        )
        if moved:
            logger.info("workflows taken over from %s: %d", ", ".join(executors), moved)
        return moved


def hand_over(settings: Settings) -> None:
    """Re-enqueue what this executor executes, before its process ends.

    It does not count as a takeover: the workflows are not to blame.
    """
    parameters = {
        "executor": settings.executor_id,
        "executors": [settings.executor_id],
        "application": settings.app_name,
        "most": 2**31,
        "forgiven": 1,
    }
    moved = 0
    name = f"dbos-functions worker {settings.executor_id}"
    with connected(settings.database_url, name, seconds=HANDOVER) as connection:
        while connection.execute(tables.CLAIMS, parameters).fetchone():  # Some were locked.
            moved += reenqueue(connection, tables.OF_EXECUTORS, parameters)
    if moved:
        logger.info("workflows handed over: %d", moved)


def reenqueue(connection: Connection, which: SQL, parameters: dict[str, Any]) -> int:
    """Re-enqueue workflows, or give up those with more than `most` attempts; returns how many."""
    rows = connection.execute(tables.REENQUEUE.format(which=which), parameters).fetchall()
    for workflow_id, name, status in rows:
        if status != "ENQUEUED":
            logger.error("gave up workflow %s (%s): its worker died every time", workflow_id, name)
    return len(rows)

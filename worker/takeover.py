"""Workflows that nobody executes any more go back to their queue."""

import logging
import time
from typing import Any, NamedTuple

from psycopg.sql import SQL

from . import tables
from .database import Connection, connected
from .executor import Executor
from .lease import lease_name
from .settings import Settings

SUSPICION = 3.0
"""Seconds that a workflow may be ours and not running, as while it is about to start."""

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


class Claim(NamedTuple):
    """One time that a workflow was taken from its queue."""

    workflow_id: str
    owner: str
    queue: str


class Sighting(NamedTuple):
    """When a claim was first seen not to be running, and the polls of its queue at that time."""

    at: float
    polls: int


class Orphans:
    """Re-enqueues workflows that this executor has claimed but does not execute.

    A database error may end the thread of a workflow, or the claim of one that never started.
    """

    def __init__(self, settings: Settings, executor: Executor) -> None:
        self._executor = executor
        self._most = settings.max_takeovers
        self._parameters = {
            "executor": settings.executor_id,
            "application": settings.app_name,
        }
        self._suspects: dict[Claim, Sighting] = {}

    def __call__(self, connection: Connection) -> None:
        """Do it with those that were suspected long enough, and look for new suspects."""
        claims = [Claim(*row) for row in connection.execute(tables.CLAIMS, self._parameters)]
        running = self._executor.running()
        self._suspects = {
            claim: self._suspects.get(claim) or self._sighting(claim)
            for claim in claims
            if claim.workflow_id not in running
        }
        orphans = [claim for claim, first in self._suspects.items() if self._proven(claim, first)]
        if orphans:
            moved = reenqueue(
                connection,
                tables.OF_CLAIMS,
                {
                    "executor": self._parameters["executor"],
                    "workflows": [orphan.workflow_id for orphan in orphans],
                    "owners": [orphan.owner for orphan in orphans],
                    "most": self._most,
                    "forgiven": 0,
                },
            )
            logger.warning("workflows that had stopped without an end, enqueued again: %d", moved)

    def _sighting(self, claim: Claim) -> Sighting:
        return Sighting(time.monotonic(), self._executor.polls[claim.queue])

    def _proven(self, claim: Claim, first: Sighting) -> bool:
        """A queue that was polled twice since has started all that it had claimed before."""
        polled = not claim.queue or self._executor.polls[claim.queue] >= first.polls + 2
        return polled and time.monotonic() - first.at >= SUSPICION


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

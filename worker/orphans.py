"""Workflows that this worker has claimed but does not execute go back to their queue."""

import logging
import time
from typing import NamedTuple

from . import tables
from .database import Connection
from .executor import Executor
from .settings import Settings
from .takeover import reenqueue

SUSPICION = 3.0
"""Seconds that a workflow may be claimed and not running, as while it is about to start."""

logger = logging.getLogger("worker")


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

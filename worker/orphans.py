"""Workflows that this worker has claimed but does not execute go back to their queue."""

import logging
import time
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from psycopg.sql import Composed

from . import tables
from .database import Connection
from .executor import Executor
from .settings import Settings
from .takeover import GIVE_UP, NEVER, release

SUSPICION = 3.0
"""Seconds that a workflow may be claimed and not running, as while it is about to start."""

MANY = 20
"""How often within AWHILE a run may stop without an end before it is given up: its worker lives, so
it is not the death of one that counts, and an unlucky run has errors of the database only now and
then."""

AWHILE = 3600.0
"""Seconds."""

UNKNOWN = 3600.0
"""Seconds that a worker leaves a name that it does not know to others, newer ones perhaps."""

logger = logging.getLogger("worker")


class Claim(NamedTuple):
    """One time that a workflow was taken from its queue."""

    workflow_id: str
    owner: str
    queue: str
    name: str


class Sighting(NamedTuple):
    """When a claim was first seen not to be running, and how far the executor was then."""

    at: float
    polls: int
    turns: int


class Orphans:
    """Puts back what this executor has claimed but does not execute.

    A database error may end the thread of a workflow, or the claim of one that never started;
    and DBOS claims workflows before it looks whether it knows them.
    """

    def __init__(self, settings: Settings, executor: Executor) -> None:
        self._executor = executor
        self._settings = settings
        self._suspects: dict[Claim, Sighting] = {}
        self._stops: dict[Claim, float] = {}
        self._strangers: dict[str, float] = {}
        self._turned_away: set[tuple[str, str]] = set()

    def __call__(self, connection: Connection) -> None:
        """Do it with those that were suspected long enough, and look for new suspects."""
        parameters = {
            "executor": self._settings.executor_id,
            "application": self._settings.app_name,
        }
        self._turned_away |= self._executor.turned_away()
        claims = [Claim(*row) for row in connection.execute(tables.CLAIMS, parameters)]
        claims = self._put_back_turned_away(connection, claims)
        knows = self._executor.knows
        self._put_back_orphans(connection, [each for each in claims if knows(each.name)])
        self._put_back_strangers(connection, [each for each in claims if not knows(each.name)])

    def _put_back_turned_away(self, connection: Connection, claims: list[Claim]) -> list[Claim]:
        """Put back what had no thread here; another worker may have one. Returns the others."""
        by_token = {(claim.workflow_id, claim.owner): claim for claim in claims}
        self._turned_away &= by_token.keys()
        turned_away = [by_token.pop(token) for token in self._turned_away]
        if moved := self._release(connection, tables.PUT_BACK_CLAIMED, turned_away, NEVER):
            logger.warning("no thread can be started; workflows enqueued again: %d", moved)
        return list(by_token.values())

    def _put_back_orphans(self, connection: Connection, claims: Iterable[Claim]) -> None:
        running = self._executor.running()
        self._suspects = {
            claim: self._suspects.get(claim) or self._sighting(claim)
            for claim in claims
            if claim.workflow_id not in running
        }
        if self._suspects:
            self._executor.turn()
        orphans = [claim for claim, first in self._suspects.items() if self._proven(claim, first)]
        stops = self._count_stops(orphans)
        hopeless = [each for each in orphans if stops[each.workflow_id] > MANY]
        self._release(connection, tables.PUT_BACK_CLAIMED, hopeless, GIVE_UP)
        if moved := self._release(connection, tables.PUT_BACK_CLAIMED, orphans, NEVER):
            logger.warning("workflows that had stopped without an end, enqueued again: %d", moved)

    def _count_stops(self, orphans: Iterable[Claim]) -> Counter[str]:
        """How often each workflow has stopped lately: once for each time that it was claimed."""
        now = time.monotonic()
        self._stops = {claim: at for claim, at in self._stops.items() if now - at < AWHILE}
        for claim in orphans:
            self._stops.setdefault(claim, now)
        return Counter(claim.workflow_id for claim in self._stops)

    def _put_back_strangers(self, connection: Connection, claims: Iterable[Claim]) -> None:
        now = time.monotonic()
        self._strangers = {w: at for w, at in self._strangers.items() if now - at < 2 * UNKNOWN}
        strangers = {c: self._strangers.setdefault(c.workflow_id, now) for c in claims}
        hopeless = [claim for claim, first in strangers.items() if now - first >= UNKNOWN]
        self._release(connection, tables.PUT_BACK_STRANGERS, hopeless, GIVE_UP)
        self._release(
            connection, tables.PUT_BACK_STRANGERS, list(strangers.keys() - hopeless), NEVER
        )

    def _release(
        self, connection: Connection, statement: Composed, claims: list[Claim], most: int
    ) -> int:
        parameters = {
            "executors": [self._settings.executor_id],
            "application": self._settings.app_name,
            "workflows": [claim.workflow_id for claim in claims],
            "owners": [claim.owner for claim in claims],
            "most": most,
        }
        return release(connection, statement, parameters) if claims else 0

    def _sighting(self, claim: Claim) -> Sighting:
        return Sighting(time.monotonic(), self._executor.polls[claim.queue], self._executor.turns)

    def _proven(self, claim: Claim, first: Sighting) -> bool:
        """A queue that was polled twice since has started all that it had claimed before, and an
        event loop that has turned twice since has begun with it."""
        polled = not claim.queue or self._executor.polls[claim.queue] >= first.polls + 2
        turned = self._executor.turns >= first.turns + 2
        return polled and turned and time.monotonic() - first.at >= SUSPICION

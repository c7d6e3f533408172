"""A pool of connections that serves whoever has waited longest.

SQLAlchemy's pool has those who wait race with those who come: a workflow that gives a connection
back takes it again for its next step before any other wakes up. Far from the database, where each
step keeps a connection for seconds, some waited until DBOS put them off, again and again.
"""

import threading
import time
from bisect import insort
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, TypeVar

from sqlalchemy.pool import ConnectionPoolEntry, QueuePool
from sqlalchemy.util import queue

T = TypeVar("T")

_own = threading.local()


@contextmanager
def having_waited(since: float) -> Iterator[None]:
    """Have this thread, when it first asks for a connection, wait since then on the monotonic
    clock: what it does may have waited for a thread before."""
    _own.since = since
    try:
        yield
    finally:
        _own.since = None


def _since() -> float:
    since, _own.since = getattr(_own, "since", None), None
    return time.monotonic() if since is None else float(since)


class Turn:
    """One thread that waits."""

    def __init__(self, since: float) -> None:
        self.since = since
        self.given = threading.Event()
        self.item: Any = None


class Turns(queue.Queue[T]):
    """SQLAlchemy's queue; what is put back is handed to the first who waits."""

    def __init__(self, maxsize: int = 0, use_lifo: bool = False) -> None:
        super().__init__(maxsize, use_lifo)
        self._waiting: list[Turn] = []

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Hand `item` to the first who waits, or keep it."""
        with self.mutex:
            if not self._waiting:
                super().put(item, block, timeout)
                return
            turn = self._waiting.pop(0)
            turn.item = item
            turn.given.set()

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """An item, after all who have waited for longer; raises Empty after `timeout` seconds."""
        with self.mutex:
            if not block or self.qsize():  # Whatever is kept, nobody waits for.
                return super().get(block=False)
            turn = Turn(_since())
            insort(self._waiting, turn, key=attrgetter("since"))
        if not turn.given.wait(timeout):
            with self.mutex:
                if not turn.given.is_set():
                    self._waiting.remove(turn)
                    raise queue.Empty
        return turn.item  # type: ignore[no-any-return]


class FairPool(QueuePool):
    """SQLAlchemy's pool, in which those who wait take turns."""

    _queue_class: type[queue.QueueCommon[ConnectionPoolEntry]] = Turns

"""One thread that cuts connections whose time is up, so that nobody has to start one for that."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Cutter(Generic[T]):
    """Cuts what is used for longer than it may be."""

    def __init__(self, cut: Callable[[T], object]) -> None:
        """Start the thread; raises RuntimeError if that is not possible."""
        self._cut = cut
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._ends: list[tuple[float, int]] = []
        """When each use has to end, also those that have ended, as a heap."""
        self._uses: dict[int, T] = {}
        threading.Thread(target=self._keep_cutting, name="cutter", daemon=True).start()

    @contextmanager
    def within(self, used: T, seconds: float) -> Iterator[None]:
        """Cut `used` when the block takes longer."""
        with self._changed:
            number = next(self._numbers)
            self._uses[number] = used
            heapq.heappush(self._ends, (time.monotonic() + seconds, number))
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._uses.pop(number, None)

    def _keep_cutting(self) -> None:
        while True:
            for used in self._wait_for_late():
                self._cut(used)

    def _wait_for_late(self) -> list[T]:
        with self._changed:
            while not self._ends or self._ends[0][0] > time.monotonic():
                until = self._ends[0][0] - time.monotonic() if self._ends else None
                self._changed.wait(until)
            late = []
            while self._ends and self._ends[0][0] <= time.monotonic():
                _, number = heapq.heappop(self._ends)
                if number in self._uses:
                    late.append(self._uses.pop(number))
            return late

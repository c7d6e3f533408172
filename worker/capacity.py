"""How many sync runs this worker may take: each holds a thread until it ends.

A claim takes no more workflows of any kind than there are free threads. The place of an async
run is free again as soon as the run has begun. Without free threads only async runs are taken.
"""

import copy
import functools
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy import ColumnElement

from .threads import Pools

CAUTION_SECONDS = 600.0
"""Time after a thread could not be started in which only runs for which there is one are taken.
Where threads are limited, they are so for long; and each attempt gives runs back."""

SPARE = 10
"""Threads that are started ahead in that time: as many runs are taken at one look at a queue."""


class Capacity:
    """Bounds the claims of one worker."""

    def __init__(self, pools: Pools, most: int, hold_none: Collection[str]) -> None:
        """`hold_none` are the names of the workflows that hold no thread."""
        self._pools = pools
        self._most = most
        self._hold_none = hold_none
        self._counting = threading.Lock()
        self._claimed: Counter[str] = Counter()
        """By queue, how many threads are kept for what is being claimed or about to begin."""
        self._only_async = ContextVar("only_async", default=False)

    @property
    def starved(self) -> bool:
        """Whether no thread can be started, and none is free."""
        return self._cautious and not self._pools.runs.supply(spare=1)

    @property
    def full(self) -> bool:
        """Whether nothing that needs a thread is taken."""
        return self._pools.held >= self._most or self.starved

    def looks(self, queue: str) -> None:
        """A queue is looked at: what was claimed there before has begun."""
        self._pools.supply()
        with self._counting:
            self._claimed[queue] = 0

    def begun(self, queue: str) -> None:
        """A workflow of a queue has begun, and if it holds a thread, it counts as such."""
        with self._counting:
            self._claimed[queue] = max(self._claimed[queue] - 1, 0)

    def bound(self, claim: Callable[..., Any]) -> Callable[..., Any]:
        """Make of DBOS's way to claim from a queue one that takes only what may run here."""

        @functools.wraps(claim)
        def claim_bounded(
            queue: Any,
            executor_id: str,
            version: str,
            partition: str | None,
            running: int = 0,
            *more: Any,
            **options: Any,
        ) -> Any:
            with self._threads_for(queue.name) as (free, taken):
                arguments = (executor_id, version, partition, running, *more)
                if free:
                    claimed, stop = claim(_at_most(queue, running + free), *arguments, **options)
                else:
                    claimed, stop = self._claim_async(claim, queue, *arguments, **options)
                taken.extend(claimed)
            return claimed, stop

        return claim_bounded

    def bound_partitioned(self, claim: Callable[..., Any]) -> Callable[..., Any]:
        """The same, of its way to claim from all partitions of a queue at once."""

        @functools.wraps(claim)
        def claim_bounded(
            queue: Any, executor_id: str, version: str, most: int = sys.maxsize, **options: Any
        ) -> Any:
            with self._threads_for(queue.name) as (free, taken):
                if free:
                    taken.extend(claim(queue, executor_id, version, min(most, free), **options))
            return taken

        return claim_bounded

    def gate(
        self, name: ColumnElement[str], claim_gate: Callable[..., list[ColumnElement[bool]]]
    ) -> Callable[..., list[ColumnElement[bool]]]:
        """Make of DBOS's conditions of a claim those that, without a free thread, let only async
        runs pass; `name` is the column with the names of the workflows."""

        @functools.wraps(claim_gate)
        def gate_by_name(*arguments: Any) -> list[ColumnElement[bool]]:
            needs_none = [name.in_(self._hold_none)] if self._only_async.get() else []
            return [*claim_gate(*arguments), *needs_none]

        return gate_by_name

    def _claim_async(self, claim: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        token = self._only_async.set(True)
        try:
            return claim(*arguments, **options)
        finally:
            self._only_async.reset(token)

    @contextmanager
    def _threads_for(self, queue: str) -> Iterator[tuple[int, list[str]]]:
        """Keep all free threads for a claim, and afterwards as many as it has taken runs."""
        taken: list[str] = []
        with self._counting:
            free = max(self._free(), 0)
            self._claimed[queue] += free
        try:
            yield free, taken
        finally:
            with self._counting:
                self._claimed[queue] -= free - min(len(taken), free)

    def _free(self) -> int:
        free = self._most - self._pools.held - self._claimed.total()
        if self._cautious:
            self._pools.runs.supply(spare=SPARE)
            free = min(free, self._pools.runs.idle - self._claimed.total())
        return free

    @property
    def _cautious(self) -> bool:
        return time.monotonic() - self._pools.refused_at < CAUTION_SECONDS


def _at_most(queue: Any, running: int) -> Any:
    """A queue as it is, but with a limit for this worker that is not above `running`."""
    bounded, limit = copy.copy(queue), queue._worker_concurrency
    bounded._worker_concurrency = running if limit is None else min(limit, running)
    return bounded

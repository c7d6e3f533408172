"""The threads in which DBOS executes: three pools, so that none holds up another.

- A sync run holds a thread from its start to its end, also while it waits. `capacity` bounds them.
- An async run holds none. What DBOS reads and writes for it takes milliseconds each time, and a
  few threads do that for all: the clerks.
- The sync steps of async runs, and what their code hands to `asyncio.to_thread`, may take hours.
  They have a pool of their own, or outcomes could not be written meanwhile.
"""

import contextvars
import functools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import ModuleType, SimpleNamespace
from typing import Any, ParamSpec, TypeVar, cast

from dbos import error as dbos_error

from .turns import having_waited

logger = logging.getLogger("worker")

P = ParamSpec("P")
T = TypeVar("T")

Claim = tuple[str, str]
"""The id of a run, and the token with which this worker has claimed it."""

CLERK_THREADS = 16
"""Threads that read and write for all async runs. DBOS has 10 connections; more would only wait
for one."""

FEWEST_CLERKS = 4
"""Clerks that are there from the start, so that async runs go on where no thread can be started."""

STEP_THREADS = 100
"""Threads for the sync steps of async runs at the same time. Each may hold one of DBOS's 10
connections for a moment."""

IDLE_SECONDS = 10.0
"""Time without work after which a thread ends: longer than a pause in a burst of work."""

QUIET_SECONDS = 60.0
"""Time since the last thread that could not be started after which it is worth a line again."""


class Threads:
    """Threads that start when there is work, at most `most`, and end when there is none.

    Work for which no thread can be started waits until another one is free.
    """

    def __init__(self, name: str, most: float = math.inf, keep: int = 0) -> None:
        self._name = name
        self._most = most
        self._keep = keep
        self._changed = threading.Condition()
        self._work: deque[Callable[[], None]] = deque()
        self._alive = 0
        self._idle = 0
        self._closed = False
        self.refused_at = -math.inf
        """When the system last refused to start a thread, on the monotonic clock."""

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Have a thread make a call as soon as there is one."""
        future: Future[T] = Future()
        self._add(functools.partial(_fulfil, future, call))
        self.supply()
        return future

    def submit_now(self, call: Callable[[], T]) -> Future[T]:
        """Have a thread make a call at once; raises RuntimeError if none is free or can start."""
        future: Future[T] = Future()
        work = functools.partial(_fulfil, future, call)
        self._add(work)
        if not self.supply():
            with self._changed:
                if work in self._work:
                    self._work.remove(work)
                    raise RuntimeError("no thread can be started")
        return future

    def supply(self, spare: int = 0) -> bool:
        """Start the threads that the waiting work, and `spare` more calls, need; whether all of
        them have one."""
        while True:
            with self._changed:
                if len(self._work) + spare <= self._idle:
                    return True
                if self._alive >= self._most:
                    return False
                self._alive += 1
                self._idle += 1  # Work that comes meanwhile counts on it.
            if not self._start():
                return False

    def close(self) -> None:
        """Have threads end as soon as they have nothing to do."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def idle(self) -> int:
        """How many threads wait for work."""
        with self._changed:
            return max(self._idle - len(self._work), 0)

    def _add(self, work: Callable[[], None]) -> None:
        with self._changed:
            self._work.append(work)
            self._changed.notify()

    def _start(self) -> bool:
        try:
            threading.Thread(target=self._live, name=self._name, daemon=True).start()
        except RuntimeError:
            with self._changed:
                self._alive -= 1
                self._idle -= 1
            self._refused()
            return False
        return True

    def _refused(self) -> None:
        before, self.refused_at = self.refused_at, time.monotonic()
        if self.refused_at - before > QUIET_SECONDS:
            logger.warning("no thread can be started; %s has %d", self._name, self._alive)

    def _live(self) -> None:
        while work := self._next():
            work()
            del work  # Else what it holds would live until the next one comes.
            with self._changed:
                self._idle += 1

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while not self._work:
                in_time = self._changed.wait_for(lambda: self._work or self._closed, IDLE_SECONDS)
                if self._closed or (not in_time and self._alive > self._keep):
                    break
            self._idle -= 1
            if self._work:
                return self._work.popleft()
            self._alive -= 1
            return None


def _fulfil(future: Future[T], call: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(call())
    except BaseException as error:  # Also what ends a run that another worker has now.
        future.set_exception(error)


class Pools(ThreadPoolExecutor):
    """What DBOS takes for its thread pool, and asyncio for its default one."""

    def __init__(
        self,
        claim_of: Callable[[object, tuple[Any, ...]], Claim | None],
        max_workers: int = STEP_THREADS,
        thread_name_prefix: str = "",
    ) -> None:
        """`claim_of` says which sync run a function with these arguments executes, if it does."""
        super().__init__(1)  # Never starts a thread, since `submit` is another one.
        self._claim_of = claim_of
        self.runs = Threads(f"{thread_name_prefix}run")
        self.steps = Threads(f"{thread_name_prefix}step", most=min(max_workers, STEP_THREADS))
        self.clerks = Threads(f"{thread_name_prefix}clerk", most=CLERK_THREADS, keep=FEWEST_CLERKS)
        self.held = 0
        """How many sync runs hold a thread."""
        self._counting = threading.Lock()
        self.turned_away: set[Claim] = set()
        """The runs that this worker has claimed but had no thread for."""

    def start_clerks(self) -> None:
        """Start the fewest that there have to be; raises RuntimeError if that is not possible."""
        if not self.clerks.supply(spare=FEWEST_CLERKS):
            raise RuntimeError("no thread can be started")

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have the pool that it belongs to make a call."""
        call = functools.partial(fn, *args, **kwargs)
        claim = self._claim_of(fn, args)
        return self._submit_run(call, claim) if claim else self.steps.submit(call)

    def supply(self) -> None:
        """Try again to start threads for calls that wait for one."""
        self.steps.supply()
        self.clerks.supply()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Have threads end as soon as they have nothing to do."""
        for pool in (self.runs, self.steps, self.clerks):
            pool.close()

    @property
    def refused_at(self) -> float:
        """When a thread could last not be started, on the monotonic clock."""
        return max(pool.refused_at for pool in (self.runs, self.steps, self.clerks))

    def _submit_run(self, call: Callable[[], T], claim: Claim) -> Future[T]:
        self._count(1)
        try:
            future = self.runs.submit_now(call)
        except RuntimeError as error:
            self.turned_away.add(claim)
            future = Future()
            # With this, DBOS has whoever waits for the result look for it in the database.
            future.set_exception(dbos_error.DBOSWorkflowCancelledError(str(error)))
        future.add_done_callback(lambda _: self._count(-1))
        return future

    def _count(self, change: int) -> None:
        with self._counting:
            self.held += change


def with_clerks(
    asyncio: ModuleType,
    pools: Callable[[], object],
    takes_long: Callable[[Callable[..., Any]], bool],
) -> SimpleNamespace:
    """An `asyncio` whose `to_thread` has the clerks make the calls that do not take long."""

    async def to_thread(function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        at_hand = pools()
        if takes_long(function) or not isinstance(at_hand, Pools):
            return cast(T, await asyncio.to_thread(function, *args, **kwargs))
        call = functools.partial(contextvars.copy_context().run, function, *args, **kwargs)
        future = at_hand.clerks.submit(functools.partial(_call_in_turn, time.monotonic(), call))
        return cast(T, await asyncio.wrap_future(future))

    return SimpleNamespace(**vars(asyncio) | {"to_thread": to_thread})


def _call_in_turn(since: float, call: Callable[[], T]) -> T:
    """Make a call that has waited for a clerk. There are few of them, and sync runs wait for a
    connection each on its own; so async ones would have to wait for many times as long."""
    with having_waited(since):
        return call()


def patient(threading: ModuleType) -> SimpleNamespace:
    """A `threading` whose threads do not start, instead of raising, when none can be started."""

    class Thread(threading.Thread):  # type: ignore[name-defined, misc]
        def start(self) -> None:
            with suppress(RuntimeError):
                super().start()

    return SimpleNamespace(**vars(threading) | {"Thread": Thread})

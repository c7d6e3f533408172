"""DBOS in this process: what it executes, and whether it takes anything new."""

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable

from dbos import DBOS, DBOSConfig

from . import internals
from .capacity import Capacity
from .clock import Clock
from .database import Pool
from .limits import LimitedJSONSerializer, limits
from .listener import Listener
from .lookout import Lookout
from .mismatch import Mismatches
from .running import Running
from .settings import Settings
from .threads import Claim, Pools

CONNECTIONS = 10
"""DBOS's pool. With the lease's and the listener's, a worker needs 12 connections, and now
and then one more."""

logger = logging.getLogger("worker")


class Executor:
    """What executes workflows; `may_take` says, before every look at a queue, if it may."""

    def __init__(self, settings: Settings, may_take: Callable[[], bool], clock: Clock) -> None:
        self._may_take = may_take
        self.closed = False
        self.polls: Counter[str] = Counter()
        """How often each queue was looked at; what it had claimed before has been started."""
        self.polled_at: dict[str, float] = {}
        """When each queue was last looked at, or something that was claimed there begun, on the
        monotonic clock."""
        self.turns = 0
        """How often the event loop was free when `turn` had asked."""
        self.marks = Running()
        internals.install()
        self.listener = Listener()
        internals.look_when_listening(self.listener)
        internals.tell_the_time_of(clock)
        internals.leave_sweeps_to_others(clock)
        internals.note_what_is_executed(self.marks)
        self._mismatches = Mismatches()
        internals.stop_where_the_code_changed(self._mismatches)
        threading.excepthook = _end_with_event_loop
        name = f"dbos-functions worker {settings.executor_id}"
        self.pool = Pool(settings.database_url, name, size=CONNECTIONS)
        self._lookout = Lookout(self.pool.engine, settings.polling_interval)
        self._dbos = DBOS(config=_config(settings, self.pool))
        self._most = settings.max_threads
        self._capacity: Capacity | None = None

    def launch(self) -> None:
        """Start to execute; everything that DBOS needs must be in the database."""
        internals.give_results_in_order(self._mismatches.order)
        DBOS.launch()
        self._pools.start_clerks()
        self._capacity = capacity = Capacity(self._pools, self._most, self._async_workflows())
        system_database = self._dbos._sys_db
        dequeue_scopes = system_database.dequeue_scopes

        def guarded(queue_name: str) -> list[str | None]:
            self.polls[queue_name] += 1
            self.polled_at[queue_name] = time.monotonic()
            capacity.looks(queue_name)
            full = self.takes and self._lookout.wait(queue_name)
            return dequeue_scopes(queue_name) if full and self.takes else []

        def dispatched(queue_name: str) -> None:
            self.polled_at[queue_name] = time.monotonic()
            capacity.begun(queue_name)

        internals.bound_claims(system_database, capacity)
        internals.tell_dispatches(dispatched)
        system_database.dequeue_scopes = guarded  # type: ignore[method-assign]
        self._lookout.start()

    def turn(self) -> None:
        """Have all queues looked at, and the event loop count a turn as soon as it gets to it."""
        self._lookout.wake()
        self.call_soon(self._count_turn)

    def call_soon(self, function: Callable[[], object]) -> bool:
        """Have the event loop call a function as soon as it gets to it; whether there is one."""
        loop = self._dbos._background_event_loop.target_loop()
        if loop:
            loop.call_soon_threadsafe(function)
        return loop is not None

    def _count_turn(self) -> None:
        self.turns += 1

    def knows(self, workflow: str) -> bool:
        """Whether there is a workflow of this name here."""
        return workflow in self._dbos._registry.workflow_info_map

    @property
    def takes(self) -> bool:
        """Whether new workflows are taken from the queues."""
        return not self.closed and not self.starved and self._may_take()

    @property
    def starved(self) -> bool:
        """Whether no thread can be started, and none is free."""
        return self._capacity is not None and self._capacity.starved

    @property
    def full(self) -> bool:
        """Whether no workflow is taken that needs a thread."""
        return self._capacity is not None and self._capacity.full

    @property
    def threads_held(self) -> int:
        """How many sync workflows hold a thread."""
        return self._pools.held if self._capacity else 0

    def turned_away(self) -> set[Claim]:
        """The runs that were claimed but had no thread, each of them told once."""
        turned_away = self._pools.turned_away if self._capacity else set()
        return {turned_away.pop() for _ in range(len(turned_away))}

    @property
    def _pools(self) -> Pools:
        pools = self._dbos._executor
        assert isinstance(pools, Pools)
        return pools

    def _async_workflows(self) -> list[str]:
        functions = self._dbos._registry.workflow_info_map.items()
        return [name for name, function in functions if internals.is_async(function)]

    def close(self, queues: Iterable[str], *, seconds: float) -> None:
        """Take nothing new from now on, and wait some seconds for claims under way to begin."""
        self.closed = True
        self._lookout.close()
        before = {queue: self.polls[queue] for queue in queues}
        end = time.monotonic() + seconds
        while time.monotonic() < end and any(self.polls[q] == n for q, n in before.items()):
            time.sleep(0.02)

    def delete(self, workflow_ids: list[str]) -> None:
        """Delete workflows with all that belongs to them."""
        self._dbos._sys_db.delete_workflows(workflow_ids)

    def running(self) -> set[str]:
        """The ids of the workflows that are being executed."""
        return set(self._dbos._active_workflows_set.activeList()) | self.marks.workflows()

    def running_in(self, queue: str) -> int:
        """How many workflows of a queue are being executed."""
        return self._dbos._active_workflows_set.count_for_queue(queue)


def _config(settings: Settings, pool: Pool) -> DBOSConfig:
    return {
        "name": settings.app_name,
        "system_database_url": settings.database_url,
        "system_database_engine": pool.engine,
        "run_migrations": False,
        "application_version": settings.app_version,
        "executor_id": settings.executor_id,
        "serializer": LimitedJSONSerializer(
            limits(settings.max_result_bytes, settings.max_value_bytes)
        ),
        "enable_otlp": settings.otlp_endpoint is not None,
        "log_level": "WARNING",
        "max_executor_threads": settings.max_threads,
    }


def _end_with_event_loop(args: threading.ExceptHookArgs) -> None:
    """End the worker when DBOS's event loop ends, as `sys.exit()` in an asyncio task makes it.

    A worker without it looks alive but executes nothing; one that is started again does.
    """
    logger.error(
        "a thread has ended with %s",
        args.exc_type.__name__,
        exc_info=(args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback),
    )
    if args.thread and "_run_event_loop" in args.thread.name:
        logger.critical("the event loop of DBOS has ended, and so does the worker")
        os._exit(1)

"""Metrics for Prometheus, read from Postgres and from this process when they are asked for."""

import logging
import threading
from collections.abc import Iterator

import psycopg
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from . import tables
from .database import Connection, connected
from .executor import Executor
from .lease import Lease
from .queues import QUEUES
from .settings import Settings
from .takeover import TakeOver

CLIENT = "dbos-functions metrics"

PREFIX = "dbos_functions_"

BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000, float("inf"))

OVERLAP = 60_000
"""Milliseconds that a transaction may take to show what it has finished."""

ANSWER = 5.0
"""Seconds that Postgres may take."""

logger = logging.getLogger("worker")


class Metrics:
    """Collects what this worker does, from now on, and how full the queues of the fleet are."""

    def __init__(
        self, settings: Settings, executor: Executor, lease: Lease, take_over: TakeOver
    ) -> None:
        self._settings = settings
        self._executor = executor
        self._lease = lease
        self._take_over = take_over
        self._collecting = threading.Lock()
        self._counted: set[str] = set()
        with connected(settings.database_url, CLIENT) as connection:
            self._begun = self._counted_until = _now(connection)
        self.registry = CollectorRegistry()
        self.registry.register(self)  # First: it fills the ones that follow.
        ProcessCollector(registry=self.registry)
        self._finished = Counter(
            f"{PREFIX}workflows_finished",
            "Workflows that this worker has finished.",
            ["workflow", "status"],
            registry=self.registry,
        )
        self._workflow_durations = Histogram(
            f"{PREFIX}workflow_duration_seconds",
            "From the start of a workflow's last execution to its end.",
            ["workflow"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._step_durations = Histogram(
            f"{PREFIX}step_duration_seconds",
            "From the start of a step to its end.",
            ["step"],
            buckets=BUCKETS,
            registry=self.registry,
        )

    def collect(self) -> Iterator[Metric]:
        """What Prometheus is told; without Postgres only what the process knows."""
        yield GaugeMetricFamily(
            f"{PREFIX}lease_held", "Whether this worker holds its lease.", value=self._lease.held
        )
        yield GaugeMetricFamily(
            f"{PREFIX}clock_offset_seconds",
            "By how much the clock of this worker's machine is ahead of Postgres's.",
            value=self._lease.clock.offset,
        )
        yield CounterMetricFamily(
            f"{PREFIX}takeovers",
            "Workflows that this worker has taken over from dead ones.",
            value=self._take_over.workflows,
        )
        yield CounterMetricFamily(
            f"{PREFIX}listener_reconnects",
            "Sessions that listen for signals and events, made after one had ended.",
            value=self._executor.listener.reconnects,
        )
        yield GaugeMetricFamily(
            f"{PREFIX}threads_held",
            "Sync workflows that hold a thread of this worker, at most MAX_THREADS.",
            value=self._executor.threads_held,
        )
        running = GaugeMetricFamily(
            f"{PREFIX}workflows_running", "Workflows that run in this worker.", labels=["queue"]
        )
        for queue in QUEUES:
            running.add_metric([queue.name], self._executor.running_in(queue.name))
        yield running
        try:
            with (
                self._collecting,
                connected(self._settings.database_url, CLIENT, seconds=ANSWER) as connection,
            ):
                yield from self._queues(connection)
                self._count_finished(connection)
        except psycopg.Error as error:
            logger.warning("metrics lack what is in Postgres: %s", error)

    def _queues(self, connection: Connection) -> Iterator[Metric]:
        rows = connection.execute(tables.DEPTHS, {"application": self._settings.app_name})
        depths = {queue: (depth, age) for queue, depth, age in rows}
        depth = GaugeMetricFamily(
            f"{PREFIX}queue_depth", "Workflows that wait in the queue.", labels=["queue"]
        )
        oldest = GaugeMetricFamily(
            f"{PREFIX}queue_oldest_seconds",
            "For how long the oldest workflow has been waiting in the queue.",
            labels=["queue"],
        )
        for queue in sorted({queue.name for queue in QUEUES} | depths.keys()):
            waiting, age = depths.get(queue, (0, 0))
            depth.add_metric([queue], waiting)
            oldest.add_metric([queue], float(age))
        yield from (depth, oldest)
        unreplayable = GaugeMetricFamily(
            f"{PREFIX}workflows_unreplayable",
            "Workflows that are held, since their code has changed.",
            labels=["queue", "workflow"],
        )
        parameters = {"application": self._settings.app_name}
        for queue, name, held in connection.execute(tables.UNREPLAYABLE, parameters):
            unreplayable.add_metric([queue, name], held)
        yield unreplayable

    def _count_finished(self, connection: Connection) -> None:
        """Count each row once, also one whose transaction showed it late."""
        now = _now(connection)
        parameters = {
            "executor": self._settings.executor_id,
            "application": self._settings.app_name,
            "since": max(self._begun, self._counted_until - OVERLAP),
        }
        finished = connection.execute(tables.FINISHED, parameters).fetchall()
        steps = connection.execute(tables.STEPS, parameters).fetchall()
        for key, name, status, seconds in finished:
            if key not in self._counted:
                self._finished.labels(name, status).inc()
                self._workflow_durations.labels(name).observe(float(seconds or 0))
        for key, name, seconds in steps:
            if key not in self._counted:
                self._step_durations.labels(name).observe(float(seconds))
        self._counted, self._counted_until = {key for key, *_ in (*finished, *steps)}, now


def _now(connection: Connection) -> int:
    row = connection.execute("select (extract(epoch from now()) * 1000)::bigint").fetchone()
    assert row
    return int(row[0])

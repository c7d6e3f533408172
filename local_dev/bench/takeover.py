"""How long a workflow waits for another worker after its own was killed."""

import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg

from worker import queues
from worker.lease import GRACE, HEARTBEAT

from .figures import Figure, Goal
from .processes import Process, together, wait_until
from .stage import Stage, enqueue

LOOK = 0.01
"""Seconds between two looks at who executes the order."""

EXECUTOR = "select executor_id from dbos.workflow_status where status = 'PENDING'"

RESERVED = "select true from dbos.operation_outputs where function_name = 'reserve'"

Pair = tuple[str, list[Process]]
"""A database with one order, and the two workers that it has."""


def measure(stage: Stage) -> Iterator[Figure]:
    """Kill one of two workers at any moment while it executes an order that waits for its payment.

    Without a reference: a plain worker leaves the workflows of others alone for ever.
    """
    rounds, pairs = (1, 3) if stage.quick else (stage.rounds, 4)
    values = [seconds for _ in range(rounds) for seconds in _takeovers(stage, pairs)]
    group = "takeover after SIGKILL"
    yield Figure(group, f"{len(values)} kills", "s", values, goal=Goal("median", "at most", 1))
    slowest = [max(values)]
    yield Figure(group, "the slowest", "s", slowest, goal=Goal("maximum", "at most", 2))


def _takeovers(stage: Stage, pairs: int) -> list[float]:
    """Each pair on its own, so that they share the time that workers need to settle."""
    with ExitStack() as stack:
        started = together(stack, *[_pair(stage) for _ in range(pairs)])
        time.sleep(GRACE)
        return [_seconds(database, workers) for database, workers in started]


@contextmanager
def _pair(stage: Stage) -> Iterator[Pair]:
    database = stage.database()
    with stage.worker(database) as one, stage.worker(database) as other:
        enqueue(database, 1, "order", queues.ORDERS.name)
        yield database, [one, other]


def _seconds(database: str, workers: list[Process]) -> float:
    """From SIGKILL until another worker has claimed the order to execute it."""
    with psycopg.connect(database, autocommit=True) as connection:
        wait_until(lambda: connection.execute(RESERVED).fetchone())
        before = wait_until(lambda: _executor(connection))
        victim = next(each for each in workers if each.said(f"executor {before} "))
        time.sleep(random.uniform(0, HEARTBEAT))
        begun = time.perf_counter()
        victim.popen.send_signal(signal.SIGKILL)
        wait_until(lambda: _executor(connection) not in (None, before), pause=LOOK)
        return time.perf_counter() - begun


def _executor(connection: psycopg.Connection) -> str | None:
    """Who executes the order."""
    row = connection.execute(EXECUTOR).fetchone()
    return str(row[0]) if row else None

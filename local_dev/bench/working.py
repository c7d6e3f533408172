"""Workflows per second: a worker against a plain one, and two workers against one."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg

from .figures import Figure, Goal, in_turns
from .processes import together, wait_until
from .stage import Stage, clear, count_unfinished, enqueue

WARM_UP = 150
"""Workflows after which new workers have cached what they need; none takes as many at once."""

LOOK = 0.02
"""Seconds between two looks at what is left."""

GROUP = "workflows with one step"


def measure(stage: Stage) -> Iterator[Figure]:
    """Drain a queue in turns, each time with new processes, so that all have warmed up alike."""
    rounds, count = (1, 150) if stage.quick else (stage.rounds, 600)
    ours, theirs = stage.database(), stage.empty_database()
    plain, one, two = in_turns(
        rounds,
        lambda: _plain(stage, theirs, count),
        lambda: _project(stage, ours, count, workers=1),
        lambda: _project(stage, ours, count, workers=2),
    )
    goal = Goal("ratio", "at least", 0.95)
    yield Figure(GROUP, "1 worker", "/s", one, plain, "plain worker", goal)
    goal = Goal("ratio", "at least", 1.6)
    yield Figure(GROUP, "2 workers", "/s", two, one, "1 worker", goal)


def _plain(stage: Stage, database: str, count: int) -> float:
    with stage.plain_worker(database):
        return _rate(database, count)


def _project(stage: Stage, database: str, count: int, *, workers: int) -> float:
    with ExitStack() as stack:
        together(stack, *[stage.worker(database) for _ in range(workers)])
        return _rate(database, count)


def _rate(database: str, count: int) -> float:
    """Workflows per second, from when all are enqueued at once until none is left."""
    with psycopg.connect(database, autocommit=True) as connection:
        _drain(connection, database, WARM_UP)
        clear(database)
        return count / _drain(connection, database, count)


def _drain(connection: psycopg.Connection, database: str, count: int) -> float:
    """Seconds that it takes."""
    enqueue(database, count)
    begun = time.perf_counter()
    wait_until(lambda: not count_unfinished(connection), pause=LOOK)
    return time.perf_counter() - begun

"""`python -m worker --until-idle`: when there is nothing left to do."""

from threading import Event

import psycopg

from . import tables
from .database import connected
from .executor import Executor
from .queues import INTERNAL, QUEUES
from .settings import Settings
from .takeover import TakeOver

PAUSE = 0.25
"""Seconds from one look to the next."""


def wait_until_idle(
    stop: Event, settings: Settings, executor: Executor, take_over: TakeOver
) -> None:
    """Wait until nothing runs here and nothing can be taken from the queues, or until `stop`.

    What dead workers have left counts, so it takes at least the few seconds until it is known
    who is dead; workflows that are delayed to a later time do not.
    """
    quiet = 0
    while not stop.wait(PAUSE) and quiet < 2:
        idle = take_over.looks and not executor.running() and not _waiting(settings)
        quiet = quiet + 1 if idle else 0


def _waiting(settings: Settings) -> bool:
    parameters = {
        "application": settings.app_name,
        "version": settings.app_version,
        "executor": settings.executor_id,
        "queues": [INTERNAL, *(queue.name for queue in QUEUES)],
    }
    try:
        with connected(settings.database_url, "dbos-functions idle", seconds=5.0) as connection:
            return connection.execute(tables.WAITING, parameters).fetchone() != (0,)
    except psycopg.Error:
        return True

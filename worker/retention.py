"""Finished workflows are deleted some days after their end."""

import logging
import threading
import time

import psycopg
from dbos import DBOS
from sqlalchemy.exc import SQLAlchemyError

from . import tables
from .database import connected
from .settings import Settings

PAUSE = 60.0
"""Seconds from one look to the next."""

BATCH = 200

ONE_AT_A_TIME = "select pg_try_advisory_xact_lock(hashtextextended(%s, 0))"

logger = logging.getLogger("worker")


def keep_deleting(settings: Settings, days: float) -> None:
    """Look for workflows that finished more than `days` ago, in a thread, from now on."""

    def look() -> None:
        while True:
            try:
                if deleted := delete_expired(settings, days):
                    logger.info("workflows deleted, %g days after their end: %d", days, deleted)
            except (psycopg.Error, SQLAlchemyError) as error:
                logger.warning("could not delete old workflows: %s", error)
            time.sleep(PAUSE)

    threading.Thread(target=look, name="retention", daemon=True).start()


def delete_expired(settings: Settings, days: float) -> int:
    """Delete all workflows that finished more than `days` ago, a few at a time.

    Returns how many; none while another worker does it. DBOS must be running.
    """
    deleted = 0
    while batch := _delete_batch(settings, days):
        deleted += batch
    return deleted


def _delete_batch(settings: Settings, days: float) -> int:
    parameters = {
        "application": settings.app_name,
        "age": int(days * 24 * 60 * 60 * 1000),
        "limit": BATCH,
    }
    with (
        connected(settings.database_url, "dbos-functions retention") as connection,
        connection.transaction(),
    ):
        mine = connection.execute(ONE_AT_A_TIME, (f"dbos-functions retention {settings.app_name}",))
        if mine.fetchone() != (True,):
            return 0
        expired = [row[0] for row in connection.execute(tables.EXPIRED, parameters)]
        if expired:
            DBOS.delete_workflows(expired)
        return len(expired)

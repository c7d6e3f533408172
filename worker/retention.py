"""Finished workflows are deleted some days after their end."""

import logging
import threading
import time

from . import tables
from .database import connected
from .executor import Executor
from .locks import retention_name, try_lock
from .settings import Settings

PAUSE = 60.0
"""Seconds from one look to the next."""

BATCH = 200

PATIENCE = "set local idle_in_transaction_session_timeout = '60s'"
"""This session waits while DBOS deletes in another one."""

logger = logging.getLogger("worker")


def keep_deleting(settings: Settings, executor: Executor, days: float) -> None:
    """Look for workflows that finished more than `days` ago, in a thread, from now on."""

    def look() -> None:
        while True:
            try:
                if deleted := delete_expired(settings, executor, days):
                    logger.info("workflows deleted, %g days after their end: %d", days, deleted)
            except Exception:  # Whatever it is, the next look may fare better.
                logger.exception("could not delete old workflows")
            time.sleep(PAUSE)

    threading.Thread(target=look, name="retention", daemon=True).start()


def delete_expired(settings: Settings, executor: Executor, days: float) -> int:
    """Delete all workflows that finished more than `days` ago, a few at a time.

    Returns how many; none while another worker does it.
    """
    deleted = 0
    while batch := _delete_batch(settings, executor, days):
        deleted += batch
    return deleted


def _delete_batch(settings: Settings, executor: Executor, days: float) -> int:
    parameters = {
        "application": settings.app_name,
        "age": int(days * 24 * 60 * 60 * 1000),
        "limit": BATCH,
    }
    with (
        connected(settings.database_url, "dbos-functions retention") as connection,
        connection.transaction(),
    ):
        connection.execute(PATIENCE)
        if not try_lock(connection, retention_name(settings.app_name)):
            return 0
        expired = [row[0] for row in connection.execute(tables.EXPIRED, parameters)]
        if expired:
            executor.delete(expired)
        return len(expired)

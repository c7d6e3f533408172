"""Which version of the application leads: it gets new workflows and publishes the catalog."""

import logging
import math
import threading
import time
from contextlib import suppress

import psycopg

from . import catalog, queues, tables
from .catalog import Entry
from .database import Connection, connected
from .errors import CatalogBusy, OtherApplication
from .locks import CATALOG, is_free, try_lock, version_name
from .settings import Settings

BUSY = 20.0
"""Seconds that other workers may take to publish."""

UNSEEN = 5.0
"""Seconds without a look after which one does not know who was alive meanwhile.

Not more than GRACE of the lease: that much lies between the looks before and after a lease was lost
and taken back, so a failover of Postgres, in which everybody loses theirs, starts the count again.
"""

logger = logging.getLogger("worker")


class Leadership:
    """Makes this version the latest when it is the newest with a live worker.

    So a rollback needs nothing but workers of the old version: DBOS runs workflows that no
    version has begun only on the latest.
    """

    def __init__(self, settings: Settings, entries: list[Entry]) -> None:
        self._settings = settings
        self._entries = entries
        self._alone_since = math.inf
        self._looked_at = -math.inf
        self._registered = True
        self._parameters = {
            "application": settings.app_name,
            "version": settings.app_version,
            "queues": [queue.name for queue in queues.QUEUES],
        }

    def __call__(self, connection: Connection) -> None:
        """Take the lead if nobody newer lives; if this version has it, see to it that all its
        workflows are published."""
        if self._leads(connection):
            self._complete(connection)
            self._register_queues()
        elif self._alone_for(connection) >= self._settings.lead_after:
            with connection.transaction():
                self._take_the_lead(connection)

    def check(self) -> None:
        """Raise OtherApplication if the database belongs to one, before DBOS writes anything."""
        with connected(self._settings.database_url, "dbos-functions worker") as connection:
            row = connection.execute(tables.OTHER_APPLICATION, self._parameters).fetchone()
        if row:
            raise OtherApplication(other=row[0], application=self._settings.app_name)

    def start(self) -> None:
        """Publish the catalog if this version leads, as one does that has never run before.

        Raises CatalogBusy, psycopg.Error.
        """
        end = time.monotonic() + BUSY
        while not self._published_if_leading():
            if time.monotonic() > end:
                raise CatalogBusy
            time.sleep(0.05)

    def _published_if_leading(self) -> bool:
        with (
            connected(self._settings.database_url, "dbos-functions catalog") as connection,
            connection.transaction(),
        ):
            return not self._leads(connection) or self._publish(connection)

    def _publish(self, connection: Connection) -> bool:
        if not try_lock(connection, CATALOG):
            return False
        application, version = self._settings.app_name, self._settings.app_version
        catalog.publish(connection, self._entries, application=application, version=version)
        return True

    def _complete(self, connection: Connection) -> None:
        """Add what a worker of the same version, but with older code, has removed."""
        application, version = self._settings.app_name, self._settings.app_version
        published = catalog.names(connection, application)
        if missing := [entry for entry in self._entries if entry.name not in published]:
            catalog.add(connection, missing, application=application, version=version)

    def _take_the_lead(self, connection: Connection) -> None:
        if not connection.execute(tables.MAKE_LATEST_VERSION, self._parameters).rowcount:
            return  # DBOS has not registered this version yet.
        if not self._publish(connection):
            raise psycopg.errors.LockNotAvailable("another worker is publishing its catalog")
        self._registered = False
        logger.info("version %s leads now", self._settings.app_version)

    def _register_queues(self) -> None:
        """Once everybody can see that this version leads: DBOS heeds only what the latest says."""
        if not self._registered:
            interval = self._settings.polling_interval
            with suppress(RuntimeError):  # Where no thread can be started now, one may be later.
                threading.Thread(target=queues.register, args=[interval], daemon=True).start()
                self._registered = True

    def _leads(self, connection: Connection) -> bool:
        row = connection.execute(tables.IS_LATEST_VERSION, self._parameters).fetchone()
        return row == (True,)

    def _alone_for(self, connection: Connection) -> float:
        """For how many seconds no worker of a newer version has been alive."""
        now, last = time.monotonic(), self._looked_at
        self._looked_at = now
        newer = connection.execute(tables.NEWER_VERSIONS, self._parameters).fetchall()
        if not newer:
            return math.inf
        names = [version_name(self._settings.app_name, version) for (version,) in newer]
        if not all(is_free(connection, name) for name in names):
            self._alone_since = math.inf
        elif self._alone_since == math.inf or now - last > UNSEEN:
            self._alone_since = now
        return now - self._alone_since


def is_dead(connection: Connection, application: str, version: str) -> bool:
    """Whether no worker of `version` lives, until the end of the transaction."""
    return try_lock(connection, version_name(application, version))

"""Which version of the application leads: it gets new workflows and publishes the catalog."""

import logging

from . import catalog, tables
from .catalog import Entry
from .database import Connection, connected
from .lease import version_name
from .settings import Settings

IS_DEAD = "select pg_try_advisory_xact_lock(hashtextextended(%s, 0))"

logger = logging.getLogger("worker")


class Leadership:
    """Makes this version the latest when it is the newest with a live worker.

    So a rollback needs nothing but workers of the old version: DBOS runs workflows that no
    version has begun only on the latest.
    """

    def __init__(self, settings: Settings, entries: list[Entry]) -> None:
        self._url = settings.database_url
        self._entries = entries
        self._application = settings.app_name
        self._parameters = {"application": settings.app_name, "version": settings.app_version}

    def __call__(self, connection: Connection) -> None:
        """Take the lead, in the transaction that `connection` is in, if nobody newer lives."""
        if self._leads(connection) or self._newer_live(connection):
            return
        connection.execute(tables.MAKE_LATEST_VERSION, self._parameters)
        logger.info("version %s leads now", self._parameters["version"])
        self._publish()

    def start(self) -> None:
        """Publish the catalog if this version leads, as one does that has never run before."""
        with connected(self._url, "dbos-functions catalog") as connection:
            leads = self._leads(connection)
        if leads:
            self._publish()

    def _publish(self) -> None:
        catalog.publish(
            self._entries,
            database_url=self._url,
            application=self._application,
            version=self._parameters["version"],
        )

    def _leads(self, connection: Connection) -> bool:
        return connection.execute(tables.IS_LATEST_VERSION, self._parameters).fetchone() == (True,)

    def _newer_live(self, connection: Connection) -> bool:
        newer = connection.execute(tables.NEWER_VERSIONS, self._parameters).fetchall()
        return any(not is_dead(connection, self._application, version) for (version,) in newer)


def is_dead(connection: Connection, application: str, version: str) -> bool:
    """Whether no worker of `version` lives, until the end of the transaction."""
    name = version_name(application, version)
    return connection.execute(IS_DEAD, (name,)).fetchone() == (True,)

"""Move the unfinished workflows of a version that nobody runs any more to the current one."""

from typing import NamedTuple

from . import tables
from .database import connected
from .errors import SameVersion, VersionAlive
from .settings import Settings
from .versions import is_dead


class Adopted(NamedTuple):
    """A workflow that is, or would be, moved."""

    workflow_id: str
    name: str
    status: str


def adopt(settings: Settings, version: str, *, do: bool) -> list[Adopted]:
    """List the unfinished workflows of `version`, and if `do`, move them to APP_VERSION.

    They go on from their last steps with the current code. Raises SameVersion, VersionAlive.
    """
    if version == settings.app_version:
        raise SameVersion(version=version)
    parameters = {
        "application": settings.app_name,
        "version": version,
        "current": settings.app_version,
    }
    with (
        connected(settings.database_url, "dbos-functions adopt") as connection,
        connection.transaction(),
    ):
        if not is_dead(connection, settings.app_name, version):
            raise VersionAlive(version=version)
        rows = connection.execute(tables.UNFINISHED, parameters).fetchall()
        if do:
            connection.execute(tables.ADOPT, parameters)
    return [Adopted(*row) for row in rows]

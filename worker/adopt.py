"""Move the unfinished workflows of a version that nobody runs any more to the current one."""

import time
from typing import NamedTuple

from . import tables
from .database import Connection, connected
from .errors import SameVersion, UnknownVersion, VersionAlive
from .lease import GRACE
from .rehearsal import would_not_replay
from .settings import Settings
from .versions import is_dead


class Adopted(NamedTuple):
    """A workflow that is, or would be, moved, or that stays."""

    workflow_id: str
    name: str
    status: str
    stays: str | None
    """Why it is not moved: it would not replay."""


def adopt(settings: Settings, version: str, *, do: bool) -> list[Adopted]:
    """List the unfinished workflows of `version`, and if `do`, move them to APP_VERSION.

    They go on from their last steps with the current code, which must have been found; those that
    it would not replay stay. Whether anybody runs the old one is looked at for GRACE seconds, since
    its workers may just be taking their leases back.

    Raises SameVersion, UnknownVersion, VersionAlive, psycopg.Error.
    """
    if version == settings.app_version:
        raise SameVersion(version=version)
    parameters = {
        "application": settings.app_name,
        "version": version,
        "current": settings.app_version,
    }
    with connected(settings.database_url, "dbos-functions adopt", seconds=600) as connection:
        known = [name for (name,) in connection.execute(tables.VERSIONS, parameters)]
        for each in (version, settings.app_version):
            if each not in known:
                raise UnknownVersion(version=each, known=", ".join(sorted(known)))
        end = time.monotonic() + (GRACE if do else 0)
        _check_dead(connection, settings, version)
        begun = connection.execute(tables.UNFINISHED, parameters).fetchall()
        names = {workflow_id: name for workflow_id, name, _ in begun}
        stays = would_not_replay(settings, connection, names)
        while time.monotonic() < end:
            time.sleep(0.25)
            _check_dead(connection, settings, version)
        with connection.transaction():
            _check_dead(connection, settings, version)
            rows = connection.execute(tables.UNFINISHED, parameters).fetchall()
            if do:
                connection.execute(tables.ADOPT, parameters | {"stay": list(stays)})
    return [
        Adopted(workflow_id, name, status, stays.get(workflow_id))
        for workflow_id, name, status in rows
    ]


def _check_dead(connection: Connection, settings: Settings, version: str) -> None:
    if not is_dead(connection, settings.app_name, version):
        raise VersionAlive(version=version)

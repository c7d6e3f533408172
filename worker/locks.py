"""The advisory locks by which workers know of each other.

Each is the 64-bit hash that Postgres makes of a name. None is ever waited for: a session that
waits in `pg_advisory_lock` would block another worker's migration.
"""

from .database import Connection

TRY = "select pg_try_advisory_xact_lock(hashtextextended(%s, 0))"

PROBE = """
select case when pg_try_advisory_lock(hashtextextended(%(name)s, 0))
    then pg_advisory_unlock(hashtextextended(%(name)s, 0)) else false end
"""

SHARE = "select pg_try_advisory_lock_shared(hashtextextended(%s, 0))"

UNSHARE = "select pg_advisory_unlock_shared(hashtextextended(%s, 0))"

CATALOG = "dbos-functions catalog"


def lease_name(application: str, executor_id: str) -> str:
    """What an executor holds for itself alone as long as it lives."""
    return f"dbos-functions executor {application} {executor_id}"


def version_name(application: str, version: str) -> str:
    """What all executors of a version hold together as long as they live."""
    return f"dbos-functions version {application} {version}"


def clock_name(application: str, version: str) -> str:
    """What executors of a version hold together that take nothing since their clocks are wrong."""
    return f"dbos-functions clock {application} {version}"


def retention_name(application: str) -> str:
    """What the worker holds that deletes old workflows."""
    return f"dbos-functions retention {application}"


def threads_name(application: str, version: str) -> str:
    """What those executors of a version hold that take nothing more that needs a thread."""
    return f"dbos-functions threads {application} {version}"


def turns_name(application: str) -> str:
    """What the worker holds that lets suspects have their turn."""
    return f"dbos-functions turns {application}"


def is_free(connection: Connection, name: str) -> bool:
    """Whether nobody holds a lock at this moment."""
    return connection.execute(PROBE, {"name": name}).fetchone() == (True,)


def try_lock(connection: Connection, name: str) -> bool:
    """Take a lock until the end of the transaction, if nobody holds it."""
    return connection.execute(TRY, (name,)).fetchone() == (True,)


def share(connection: Connection, name: str) -> None:
    """Hold a lock together with others, until `unshare` or the end of the session."""
    connection.execute(SHARE, (name,))


def unshare(connection: Connection, name: str) -> None:
    """Hold a lock no longer that one holds together with others."""
    connection.execute(UNSHARE, (name,))

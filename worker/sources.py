"""A warning when the source of a workflow was changed while runs of it are under way."""

import hashlib
import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any

from . import tables
from .catalog import Entry
from .database import connected
from .settings import Settings

logger = logging.getLogger("worker")


def digest(function: Callable[..., Any]) -> str | None:
    """The SHA-256 of a function's source, decorators included; None if there is no source.

    It sees nothing of what the function calls.
    """
    try:
        return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()
    except OSError:
        return None


def warn_of_changes(settings: Settings, entries: Iterable[Entry]) -> None:
    """Log which workflows have another source than the one that was published under the same
    version, while runs of them are under way. Raises psycopg.Error."""
    known = {each.name: each.source_digest for each in entries if each.source_digest}
    parameters = {
        "application": settings.app_name,
        "version": settings.app_version,
        "names": list(known),
        "digests": list(known.values()),
    }
    with connected(settings.database_url, "dbos-functions sources") as connection:
        changed = connection.execute(tables.CHANGED_SOURCES, parameters).fetchall()
    for name, runs in changed:
        if runs:
            logger.warning(
                "the source of the workflow %r is another than when a worker of version %s last "
                "started, and %d of its runs have begun: those whose steps it does not call in the "
                "same order are held; put it back, or give what is new another APP_VERSION",
                name,
                settings.app_version,
                runs,
            )

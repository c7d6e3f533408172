"""What stands in place of dbos's own: one named function each, with the reason why.

`install` puts all of it in place when a worker starts; importing this module changes nothing.
Each can be put in place by itself. What is replaced is named, so a release of dbos that has
renamed it stops the start with an AttributeError.
"""

from collections.abc import Callable
from typing import Any

from dbos import (
    DBOSPortableJSONSerializer,
    _client,
    _context,
    _core,
    _dbos,
    _debouncer,
    _enqueue_options,
    _sys_db,
)
from dbos._sys_db_postgres import PostgresSystemDatabase

from . import outcomes
from .clock import Clock
from .listener import Listener

Replacement = Callable[[], None]

_MADE_BY = "__made_by__"


def install() -> None:
    """Put every replacement in place; those that are, stay as they are."""
    for replacement in REPLACEMENTS:
        replacement()


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put what `make` makes of `owner.name` in its place, once."""
    original = getattr(owner, name)
    made_by: tuple[Any, ...] = getattr(original, _MADE_BY, ())
    if make not in made_by:
        replacement = make(original)
        setattr(replacement, _MADE_BY, (*made_by, make))
        setattr(owner, name, replacement)


def store_only_portable_json() -> None:
    """DBOS writes NaN, which is no JSON, and half a character, which Postgres refuses."""
    replace(DBOSPortableJSONSerializer, "serialize", outcomes.portable)


def look_when_listening(listener: Listener) -> None:
    """DBOS listens again a second after its session has ended, and misses what came meanwhile."""
    replace(PostgresSystemDatabase, "_notification_listener", listener.instead_of)


REPLACEMENTS: tuple[Replacement, ...] = (store_only_portable_json,)

TIMED = (_client, _context, _core, _dbos, _debouncer, _enqueue_options, _sys_db)
"""The modules of dbos that call `time.time()`."""


def tell_the_time_of(clock: Clock) -> None:
    """DBOS delays, cancels and wakes by the clock of the machine that it runs on."""
    for module in TIMED:
        replace(module, "time", clock.in_place_of)


def leave_sweeps_to_others(clock: Clock) -> None:
    """The one process that sweeps keeps the others from it, also while its own clock is wrong."""
    replace(PostgresSystemDatabase, "background_job_lock", clock.while_right)

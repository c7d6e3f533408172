"""Runs that are held, since their code has changed: they wait in their queue, and are not taken.

Such a run is ENQUEUED, with a row in `catalog.unreplayable` that says what does not match, and when
it was last tried. The claim of DBOS leaves it out for TRIED_SECONDS; then, when a worker of its
version starts, and when somebody resumes it, it is tried again. `tried_at` is `-infinity` when
somebody wants it to be tried at once. A row means nothing once its run is no longer ENQUEUED.
"""

import functools
import logging
import math
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from dbos._sys_db import SystemDatabase, db_retry
from sqlalchemy import Engine

from . import tables
from .database import Connection, connected
from .portable import is_portable
from .settings import Settings

LOOK_SECONDS = 5.0
"""From one look at what is held to the next: as often as a probe may ask."""

Conditions = Callable[..., list[Any]]

_claims_partitions = ContextVar("claims_partitions", default=False)
"""Whether a claim of many partitions at once is under way here, for which DBOS has no gate."""

logger = logging.getLogger("worker")


class Mismatch(NamedTuple):
    """What a run has recorded as one of its operations, and what its code calls instead."""

    function_id: int
    recorded: str
    expected: str | None
    """A name, or in parentheses what else does not match; None where the code has ended before."""

    def __str__(self) -> str:
        return (
            f"step {self.function_id} is recorded as {self.recorded!r}, and the code {self._does}"
        )

    @property
    def _does(self) -> str:
        if self.expected is None:
            return "ends before it"
        is_a_name = not self.expected.startswith("(")
        return f"calls {self.expected!r}" if is_a_name else f"goes on differently {self.expected}"


_has_catalog: WeakKeyDictionary[SystemDatabase, bool] = WeakKeyDictionary()


def applies_to(database: SystemDatabase) -> bool:
    """Whether `database` is one of this project's, and not what DBOS's own tests run on."""
    applies = _has_catalog.get(database)
    if applies is None:
        applies = is_portable(database.serializer) and _look_for_catalog(database.engine)
        _has_catalog[database] = applies
    return applies


def _look_for_catalog(engine: Engine) -> bool:
    if engine.dialect.name != "postgresql":
        return False
    with engine.connect() as connection:
        return bool(connection.execute(tables.HAS_CATALOG).scalar())


def gated(conditions: Conditions) -> Conditions:
    """Have DBOS's claim of a queue, or of a partition, leave out what is held."""

    @functools.wraps(conditions)
    def claim_gate(database: SystemDatabase, *args: Any) -> list[Any]:
        more = [tables.NOT_HELD] if applies_to(database) else []
        return [*conditions(database, *args), *more]

    return claim_gate


def sweeping(claim: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """Note that DBOS claims of many partitions at once."""

    @functools.wraps(claim)
    def start_queued_partitioned_workflows(*args: Any, **options: Any) -> list[str]:
        token = _claims_partitions.set(True)
        try:
            return claim(*args, **options)
        finally:
            _claims_partitions.reset(token)

    return start_queued_partitioned_workflows


def scoped(conditions: Conditions) -> Conditions:
    """Have each statement of such a claim leave out what is held."""

    @functools.wraps(conditions)
    def scoped_and_not_held(database: SystemDatabase, table: Any) -> list[Any]:
        claims = _claims_partitions.get() and applies_to(database)
        return [*conditions(database, table), *([tables.NOT_HELD] if claims else [])]

    return scoped_and_not_held


class Held:
    """How many runs of this version are held, as a duty of the lease finds out.

    It also clears the catalog of what it knows of runs that have ended."""

    def __init__(self, settings: Settings) -> None:
        self.count = 0
        self._looked_at = -math.inf
        self._parameters = {
            "application": settings.app_name,
            "version": settings.app_version,
        }

    def __call__(self, connection: Connection) -> None:
        """Count what is held, and forget what was executed further, or has ended."""
        if time.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        connection.execute(tables.FORGET)
        row = connection.execute(tables.HELD, self._parameters).fetchone()
        self.count = int(row[0]) if row else 0


@db_retry()
def put_aside(engine: Engine, workflow_id: str, owner: str | None, mismatch: Mismatch) -> None:
    """Return a run to its queue, if it is still that of `owner`, with the reason why it is held."""
    parameters = {"workflow_id": workflow_id, "owner": owner, **mismatch._asdict()}
    with engine.begin() as connection:
        row = connection.execute(tables.PUT_ASIDE, parameters).first()
    if row and row.new:
        logger.warning("workflow %s (%s) is held: %s", workflow_id, row.name, mismatch)


def try_again(settings: Settings) -> None:
    """Have all that is held of this version tried at once, as its code may be another now."""
    parameters = {"application": settings.app_name, "version": settings.app_version}
    with connected(settings.database_url, "dbos-functions held") as connection:
        connection.execute(tables.TRY_AGAIN, parameters)

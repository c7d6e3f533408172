"""What an execution of a run finds recorded, and what of that its code has called so far."""

import json
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from dbos._context import get_local_dbos_context

from . import tables
from .deliveries import Deliveries
from .held import Mismatch

if TYPE_CHECKING:
    from .order import Order

WAITS = ("DBOS.recv", "DBOS.getEvent")
"""Operations that take two numbers: the second is that of a `DBOS.sleep`, their timeout, and is
recorded when they begin, the first when they end."""

GET_RESULT = "DBOS.getResult"

PATCH = "DBOS.patch-"

ORDER_SECONDS = 2.0
"""How long an operation waits for those before it to be looked at: that takes milliseconds, unless
the code calls them in another order each time."""


def place_of_result(ctx: Any) -> tuple[str, int] | None:
    """The run that gets the result of another, and the number under which DBOS records that; None
    outside of its code, as in a step, where DBOS records nothing. `ctx` is what DBOS was given."""
    caller = ctx or get_local_dbos_context()
    if caller is None or not (ctx or caller.is_workflow()):
        return None
    return caller.workflow_id, caller.function_id if ctx else caller.function_id + 1


class Replay:
    """One execution of a run; its operations may be called in several threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._names: dict[int, str] | None = None
        self._timeouts: set[int] = set()
        self.last = 0
        """The last number that is recorded."""
        self.deliveries = Deliveries()
        """The order of what async code was given, and is given."""
        self.order: Order | None = None
        """What gives it to the code of an async run."""
        self._left: set[int] = set()
        """What is recorded and was not called yet; without what DBOS does not look at."""

    def load(self, conn: sa.Connection, workflow_id: str) -> None:
        """Read what is recorded, unless that was done."""
        with self._changed:
            if self._names is None:
                # Not built anew each time, as it is read for every execution.
                parameters = {"workflow": workflow_id}
                found = conn.exec_driver_sql(tables.RECORDED_NAMES, parameters).fetchall()
                recorded = [row for row in found if row[0] is not None]
                has_order = len(recorded) < len(found)
                ordered = conn.exec_driver_sql(tables.DELIVERIES, parameters) if has_order else ()
                self.read(recorded, ordered)

    def read(self, recorded: Iterable[Any], ordered: Iterable[Any] = ()) -> None:
        """Take what is recorded: number, name, when it was completed, until when it sleeps; and the
        order of what async code was given."""
        names = {}
        for number, name, completed_at, until in recorded:
            names[number] = name
            if until is not None and _is_timeout(completed_at, until):
                self._timeouts.add(number)
        self.last = max(names, default=0)
        self.deliveries.read(ordered, self.last)
        self._names, self._left = names, set(filter(self._is_looked_at(names), names))

    def begins(self, function_id: int, name: str) -> bool:
        """Whether a step or a child is begun for the first time: nothing is recorded of it.

        What DBOS itself does as a step may be repeated after an error of the database, when it
        has recorded something meanwhile.
        """
        return not self.has_recorded(function_id) and not name.startswith("DBOS.")

    def has_recorded(self, function_id: int | None) -> bool:
        """Whether an earlier execution has recorded an operation."""
        return function_id in (self._names or {})

    @property
    def is_loaded(self) -> bool:
        """Whether it is known what is recorded."""
        return self._names is not None

    @property
    def is_over(self) -> bool:
        """Whether the code has called all that is recorded, and is not where the run has waited."""
        waits = any(self.waits_at(number - 1) for number in self._timeouts)
        return not self._left and not waits

    def note(self, function_id: int) -> None:
        """Note that an operation was called which is recorded."""
        with self._changed:
            self._left.discard(function_id)
            self._changed.notify_all()

    def wake(self) -> None:
        """Have whoever waits see that the run was stopped."""
        with self._changed:
            self._changed.notify_all()

    def wait_for_those_before(self, function_id: int, stopped: Callable[[], bool]) -> None:
        """Wait until all that is recorded with lower numbers was called, or the run was stopped.

        What begins at the same time, as in `asyncio.gather`, is looked at in any order.
        """
        with self._changed:
            if not self._changed.wait_for(
                lambda: stopped() or all(number > function_id for number in self._left),
                ORDER_SECONDS,
            ):
                self._left.clear()

    def mismatch(self, function_id: int, name: str) -> Mismatch | None:
        """What does not fit where the code calls an operation that is recorded under another name,
        or is not recorded while the run has waited there."""
        recorded = (self._names or {}).get(function_id)
        if self.waits_at(function_id) and name not in WAITS:
            return Mismatch(function_id, " or ".join(WAITS), name)
        if recorded not in (None, name):
            return Mismatch(function_id, str(recorded), name)
        return None

    def waits_at(self, function_id: int) -> bool:
        """Whether the run has waited with an operation, which is recorded only at its end."""
        return function_id + 1 in self._timeouts and function_id not in (self._names or {})

    def rest(self, last: int) -> Mismatch | None:
        """The first of what is recorded beyond the last number that the code has used."""
        rest = [number for number in self._names or {} if number > last]
        return Mismatch(min(rest), (self._names or {})[min(rest)], None) if rest else None

    def _is_looked_at(self, names: dict[int, str]) -> Callable[[int], bool]:
        def is_looked_at(number: int) -> bool:
            name, before = names[number], names.get(number - 1)
            if name == "DBOS.sleep":
                return before not in WAITS and (before is not None or number not in self._timeouts)
            return name != GET_RESULT and not name.startswith(PATCH)

        return is_looked_at


def _is_timeout(completed_at: int | None, until: str) -> bool:
    """Whether a sleep is the timeout of a wait, which is completed when it begins. One by itself is
    completed at its end, in milliseconds of the epoch, which its output says in seconds."""
    return completed_at is not None and completed_at + 1 < float(json.loads(until)) * 1000

"""The deliveries of an execution: those that are recorded, and those that are noted to be recorded.

`order.py` tells what they are for. The rows live as long as their run: whoever resumes or forks it,
also when it has ended, needs them.
"""

from collections.abc import Iterable
from itertools import takewhile
from typing import Any, NamedTuple

from . import tables


class Delivery(NamedTuple):
    """Results that were handed over together, a call that was cancelled, or a beginning: a second
    call was made before the first had its result."""

    place: int
    """How many deliveries of the run came before."""
    number: int
    """The last number that DBOS had given to an operation."""
    tickets: tuple[int, ...] = ()
    """The tickets of the calls; a beginning has none."""
    cancelled_after: float | None = None
    """How many seconds the call was in flight, if it was cancelled."""


OWN = Delivery(place=-1, number=-1)
"""Says that a run has an order of its own, also when there is nothing in it."""


class Deliveries:
    """The deliveries of one execution, by their places."""

    def __init__(self) -> None:
        self.recorded: dict[int, Delivery] = {}
        """The deliveries of the executions before, as far as something recorded was called after
        them. The others mean nothing: they may come in another order, or were not forked."""
        self._by_ticket: dict[int, Delivery] = {}
        self._notes: dict[int, Delivery] = {}
        """The deliveries that are not known to be recorded. Their numbers ascend."""
        self._is_unsettled = False
        """Whether the rows are not exactly `recorded`: some are those of the run from which this
        one was forked, or mean nothing and would seem to, as soon as more is recorded."""

    def read(self, rows: Iterable[Any], last: int) -> None:
        """Take what was read with `tables.DELIVERIES`; `last` is the last number that is
        recorded."""
        found = [
            (Delivery(place, number, tuple(tickets), cancelled_after), inherited)
            for place, number, tickets, cancelled_after, inherited in sorted(rows)
        ]
        self.recorded = {each.place: each for each, _ in found if each.number < last}
        self._by_ticket = {
            ticket: each for each in self.recorded.values() for ticket in each.tickets
        }
        self._is_unsettled = any(inherited or each.number >= last for each, inherited in found)
        for place in self.recorded:
            self._notes.pop(place, None)

    @property
    def last(self) -> int:
        """The last place that is recorded."""
        return max(self.recorded, default=-1)

    @property
    def seconds(self) -> float:
        """How long the calls were in flight, together, that were cancelled."""
        return sum(each.cancelled_after or 0 for each in self.recorded.values())

    def of_ticket(self, ticket: int) -> Delivery | None:
        """The recorded delivery of a call; the later one if it has two."""
        return self._by_ticket.get(ticket)

    @property
    def are_recorded(self) -> bool:
        """Whether there is nothing to record."""
        return not self._notes and not self._is_unsettled

    def add(self, delivery: Delivery) -> None:
        """Note a delivery, unless it is recorded."""
        if delivery.place not in self.recorded:
            self._notes[delivery.place] = delivery

    def withdraw(self, place: int, ticket: int, cancelled_after: float) -> bool:
        """Note that a call was cancelled whose result was noted a moment ago; whether that has to
        be a delivery of its own, as others were handed over in the same."""
        noted = self._notes.get(place)
        if noted is None:
            return False
        others = tuple(each for each in noted.tickets if each != ticket)
        correct = {"tickets": others} if others else {"cancelled_after": cancelled_after}
        self._notes[place] = noted._replace(**correct)
        return bool(others)

    def record(self, connection: Any, workflow_id: str, number: int) -> list[Delivery]:
        """Record the deliveries after which the code called the operation after `number`, in a
        transaction that has locked the run; returns them. In any thread."""
        notes = [*self._notes.values()]
        settles = self._is_unsettled  # After the notes are copied: `confirm` changes it first.
        deliveries = [*takewhile(lambda each: each.number <= number, notes)]
        if settles:
            deliveries = [*self.recorded.values(), *deliveries] or [OWN]
        if deliveries:
            _write(connection, workflow_id, deliveries, settles)
        return deliveries

    def confirm(self, recorded: list[Delivery]) -> None:
        """Forget deliveries that were recorded, as that is committed."""
        if recorded:
            self._is_unsettled = False
        for each in recorded:
            if self._notes.get(each.place) is each:
                del self._notes[each.place]


def _write(
    connection: Any, workflow_id: str, deliveries: list[Delivery], are_all_there_is: bool
) -> None:
    parameters = {
        "workflow_id": workflow_id,
        "are_all_there_is": are_all_there_is,
        "places": [each.place for each in deliveries],
        "numbers": [each.number for each in deliveries],
        "tickets": [f"{{{','.join(map(str, each.tickets))}}}" for each in deliveries],
        "cancelled_after": [each.cancelled_after for each in deliveries],
    }
    connection.execute(tables.RECORD_DELIVERIES, parameters)

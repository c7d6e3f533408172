"""What is recorded of the order in which the results of operations came back to async code.

`order.py` tells what it is for. The rows live as long as their run: whoever resumes or forks it,
also when it has ended, needs them.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from . import tables


class Delivery(NamedTuple):
    """Results that were handed over together, or a call that was cancelled."""

    place: int
    """How many deliveries of the run came before."""
    number: int
    """The last number that DBOS had given to an operation."""
    tickets: tuple[int, ...]
    """Of the calls whose results they are; none as long as nothing was handed over."""
    since: int | None = None
    """That number when a second call was made before the first had its result, if nothing was
    handed over since then."""
    cancelled_after: float | None = None
    """How many seconds the call was in flight, if it was cancelled."""

    def known(self, last: int) -> "Delivery | None":
        """What of this was followed by something recorded, when `last` is the last number of that.

        The rest means nothing: it may come in another order, or was rewound or not forked."""
        if self.number < last:
            return self
        if self.since is not None and self.since < last:
            return Delivery(self.place, self.since, (), self.since)
        return None


def known(rows: Iterable[Any], last: int) -> tuple[dict[int, Delivery], bool]:
    """The deliveries in what is read with `tables.DELIVERIES`, by their places, and whether they
    are those of the run from which this one was forked."""
    found = [*rows]
    deliveries = (
        Delivery(place, number, tuple(tickets), since, cancelled_after).known(last)
        for place, number, tickets, since, cancelled_after, _ in found
    )
    known = {each.place: each for each in deliveries if each}
    return known, bool(known) and any(row[-1] for row in found)


def write(connection: Any, workflow_id: str, deliveries: Iterable[Delivery]) -> None:
    """Record deliveries, and forget what is there at later places.

    The caller has locked the run."""
    each = sorted(deliveries)
    parameters = {
        "workflow_id": workflow_id,
        "last": each[-1].place,
        "places": [delivery.place for delivery in each],
        "numbers": [delivery.number for delivery in each],
        "tickets": [f"{{{','.join(map(str, delivery.tickets))}}}" for delivery in each],
        "since": [delivery.since for delivery in each],
        "cancelled_after": [delivery.cancelled_after for delivery in each],
    }
    connection.execute(tables.RECORD_DELIVERIES, parameters)

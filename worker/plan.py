"""What is to be handed over next to the code of an async run, by what is recorded of its order."""

from .deliveries import Delivery
from .flight import Flight, Operation
from .replay import Replay


class Plan:
    """Compares the deliveries that are recorded with the operations that are in flight.

    The methods are given the place of the next delivery, and the last number that DBOS has given
    to an operation."""

    def __init__(self, replay: Replay, flight: Flight) -> None:
        self._replay, self._deliveries, self._flight = replay, replay.deliveries, flight
        self._looked_at = 0
        """The place up to which nothing is on its way to the number of the next."""

    def at(self, place: int | None) -> Delivery | None:
        """The delivery that is recorded at a place."""
        return None if place is None else self._deliveries.recorded.get(place)

    def lacks(self, beginning: Delivery) -> bool:
        """Whether the calls of the code were recorded in another order than this."""
        return self.at(beginning.place) != beginning and beginning.place <= self._deliveries.last

    def of(self, place: int, operation: Operation) -> Delivery | None:
        """The delivery of an operation, if it is recorded and still to come."""
        planned = self._deliveries.of_ticket(operation.ticket)
        return planned if planned and planned.place >= place else None

    def has_result(self, place: int, operation: Operation) -> bool:
        """Whether the code was then given the result of an operation, and is not yet now. If its
        result is recorded and its end is not, nothing depends on how the code was told of it."""
        planned = self.of(place, operation)
        if planned is None:
            return self._replay.has_recorded(operation.result_number)
        return planned.cancelled_after is None

    def due(self, place: int, number: int, begun: int | None) -> list[Operation]:
        """What is to be handed over now; `begun` is the place where several calls began."""
        planned = self.at(place)
        if planned is None:
            lacks_calls = self.at(begun) and number < self._replay.last
            return [] if lacks_calls else self._flight.next()
        if number != planned.number or not self._have_come(planned):
            return []
        return [self._flight[ticket] for ticket in planned.tickets]

    def is_coming(self, place: int, number: int) -> bool:
        """Whether DBOS has yet to find what is to be handed over, as without Postgres."""
        planned = self.at(place)
        return planned is not None and planned.number == number and self._will_come(planned)

    def _have_come(self, planned: Delivery) -> bool:
        """Whether all has come that is to be handed over before the code calls anything more. A
        beginning never has: the code takes its place.

        What comes late would otherwise be late for code that waits outside of steps."""
        cancelled = planned.cancelled_after is not None
        if not planned.tickets or not all(
            self._flight.has_come(ticket, cancelled=cancelled) for ticket in planned.tickets
        ):
            return False
        place = max(planned.place, self._looked_at)
        while (later := self.at(place + 1)) and later.number == planned.number:
            if self._will_come(later):
                break
            place += 1
        self._looked_at = place
        return later is None or later.number != planned.number

    def _will_come(self, planned: Delivery) -> bool:
        is_result = planned.cancelled_after is None
        return is_result and any(map(self._flight.will_come, planned.tickets))

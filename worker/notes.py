"""What an execution has noted of its order, until that is recorded."""

from collections.abc import Iterable
from typing import Any

from . import deliveries
from .deliveries import Delivery
from .replay import Replay


class Notes:
    """The deliveries of one execution that are not known to be recorded, by their places."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._notes: dict[int, Delivery] = {}

    @property
    def are_empty(self) -> bool:
        """Whether there is nothing to record."""
        return not self._notes and not self._replay.inherited

    def begin(self, place: int, number: int) -> None:
        """Note that several calls are in flight from now on."""
        self._notes[place] = Delivery(place, number, (), number)

    def add(
        self,
        place: int,
        number: int,
        tickets: tuple[int, ...],
        cancelled_after: float | None = None,
    ) -> None:
        """Note a delivery, unless it is recorded."""
        planned = self._replay.deliveries.get(place)
        if planned and planned.tickets:
            return
        begun = planned or self._notes.get(place)
        since = begun.since if begun else None
        self._notes[place] = Delivery(place, number, tickets, since, cancelled_after)

    def record(self, connection: Any, workflow_id: str, number: int) -> list[Delivery]:
        """Record them, if any was made before the code called the operation after `number`, in a
        transaction that has locked the run; returns those. In any thread."""
        notes, replay = [*self._notes.values()], self._replay
        if not replay.inherited and all(each.number > number for each in notes):
            return []
        replay.load(connection, workflow_id)
        notes = [each for each in notes if each.tickets or each.place not in replay.deliveries]
        if replay.inherited:
            noted = {each.place for each in notes}
            notes += [each for place, each in replay.deliveries.items() if place not in noted]
        if notes:
            deliveries.write(connection, workflow_id, notes)
        return notes

    def confirm(self, recorded: Iterable[Delivery]) -> None:
        """Forget what was recorded, as that is committed."""
        for each in recorded:
            self._replay.inherited = False
            if self._notes.get(each.place) is each:
                del self._notes[each.place]

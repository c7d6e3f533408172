"""The order in which the results of operations come back to the code of an async run.

DBOS numbers the operations of a run as its code calls them. What async code calls next may depend
on which of several results came first, so another execution has to be given them in the same order.

Each call that async code awaits has a ticket: they are counted as the code makes them. Results that
have come are handed over together, as a delivery; then the code goes on for some turns of the event
loop before the next one. A delivery is noted with its place among all, and with the number that
DBOS had last given to an operation. It is recorded before anything that was called after it.

While a run does one thing at a time, nothing needs to be noted. When a second call is made before
the first has its result, that is noted, too. In a replay, a delivery is held until the code has
called as much as it had then. What has no recorded place comes after all that is recorded was
called: nothing that was recorded depends on it.
"""

import asyncio
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from .deliveries import Delivery
from .flight import Flight, Operation
from .held import Mismatch
from .notes import Notes
from .replay import Replay

TURNS = 12
"""Turns of the event loop from one delivery to the next. A task goes on in the next turn, and its
end is known two turns later to who waits for it, as `asyncio.gather`; so all have gone on by then,
also with tasks that wait for tasks that wait for tasks."""

PATIENCE_SECONDS = 60.0
"""How long a replay waits for code that calls nothing. Longer than most of what code may wait for
outside of steps, such as an answer by HTTP."""


under_way: ContextVar[Operation | None] = ContextVar("under_way", default=None)
"""The operation that this code is a part of."""


class Order:
    """The order of one execution. All but `record` and `stop` is for the event loop."""

    def __init__(
        self,
        context: Any,
        replay: Replay,
        load: Callable[[], None],
        flush: Callable[[], None],
        deviated: Callable[[Mismatch], BaseException],
    ) -> None:
        """`load` has the replay read what is recorded, `flush` records what is noted; `deviated`
        stops the run, and returns what is raised in its code."""
        self.context, self._replay = context, replay
        self._load, self._flush, self._deviated = load, flush, deviated
        self.loop = asyncio.get_running_loop()
        self._tickets = self._place = 0
        self._notes = Notes(replay)
        self._flight = Flight()
        self._cancelled: dict[int, float] = {}
        """The calls that were cancelled and have no place yet, and after how many seconds."""
        self._several = False
        """Whether several calls were in flight, and not all of them have ended."""
        self._noted = False
        """Whether that is recorded."""
        self._turns = 0
        """How many there are until the next delivery."""
        self._goes_on = False
        """Whether what is due is looked for in the next turn."""
        self._timer: asyncio.TimerHandle | None = None
        self.closed = False

    def enter(self, *, taken: int = 0, around: bool = False) -> Operation:
        """Note that an operation is called, which has taken so many numbers already."""
        self._tickets += 1
        number = self.context.function_id - taken
        operation = Operation(self, self._tickets, number, around)
        if self._flight and not self._several:
            self._several = True
            self._notes.begin(self._place, number)
        self._flight.begin(operation)
        self._go_on_soon()  # When it has taken its number.
        return operation

    async def arrive(self, operation: Operation, *, ends: bool = True) -> None:
        """Wait until the result of an operation is to be handed over.

        Raises what stops the run. An operation that does not end here arrives once more."""
        operation.ends = ends
        if not self._replay.is_loaded:
            await asyncio.to_thread(self._load)
        if self.closed:
            return
        if not (self._several or self._place in self._replay.deliveries):
            self._flight.hand_over(operation.ticket)
            self._place += 1
            return
        future = self._flight.come(operation)
        self._go_on_soon()  # When this waits: all go on in the order of a delivery.
        try:
            await future
        except asyncio.CancelledError:
            if future.cancelled():
                self.leave(operation, cancelled=True)
            raise
        operation.number = self.context.function_id

    def leave(self, operation: Operation, *, cancelled: bool) -> None:
        """Note that nobody waits for an operation any more."""
        if self._flight.leave(operation.ticket) and cancelled and not self.closed:
            self._cancelled[operation.ticket] = time.monotonic() - operation.begun
            self._place_cancelled()
            self._go_on()

    def record(self, connection: Any, workflow_id: str) -> None:
        """Record what is noted, in a transaction that records something of the run."""
        operation = under_way.get()
        if operation is None or operation.order is not self:
            self._notes.record(connection, workflow_id, self.context.function_id)
        else:
            operation.recorded += self._notes.record(connection, workflow_id, operation.number)

    def confirm(self, operation: Operation) -> None:
        """Forget what was recorded with an operation, whose transaction is committed."""
        self._notes.confirm(operation.recorded)

    def flush(self) -> None:
        """Record what is noted at once. In any thread."""
        if not self._notes.are_empty:
            self._flush()

    def stop(self, error: BaseException) -> None:
        """Raise an error in the code that waits; from any thread."""
        self.loop.call_soon_threadsafe(self.close, error)

    def close(self, error: BaseException | None = None) -> None:
        """Let go of all that waits."""
        self.closed = True
        if self._timer:
            self._timer.cancel()
        self._flight.end(error)

    def _go_on_soon(self) -> None:
        if self._flight.has_waiting and not self._turns and not self._goes_on:
            self._goes_on = True
            self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._goes_on = False
        if self._turns or self.closed:
            return
        self._place_cancelled()
        if tickets := () if self._turns else self._due():
            self._deliver(tickets)
        elif self._flight.has_waiting and self._timer is None:
            planned = self._replay.deliveries.get(self._place)
            seconds = PATIENCE_SECONDS + ((planned and planned.cancelled_after) or 0)
            self._timer = self.loop.call_later(seconds, self._lose_patience, self._progress)

    def _due(self) -> tuple[int, ...]:
        """The tickets of what is to be handed over now."""
        planned, number = self._replay.deliveries.get(self._place), self.context.function_id
        if planned is None or not planned.tickets:
            return () if self._lacks_calls else self._flight.waiting
        if number > planned.number:
            self._deviate(planned.number, "(operations in another order)")
        is_due = number == planned.number and planned.cancelled_after is None
        return planned.tickets if is_due and self._have_come(planned) else ()

    @property
    def _lacks_calls(self) -> bool:
        """Whether what has no recorded place has to wait until more was called."""
        noted = self._noted or self._place in self._replay.deliveries
        return noted and self.context.function_id < self._replay.last

    def _have_come(self, planned: Delivery) -> bool:
        """Whether all has come that is to be handed over before the code calls anything more.

        What comes late would otherwise be late for code that waits outside of steps."""
        if not all(map(self._flight.has_come, planned.tickets)):
            return False
        place, known = self._place, self._replay.deliveries
        while (later := known.get(place := place + 1)) and later.number == planned.number:
            if later.cancelled_after is None and any(map(self._flight.will_come, later.tickets)):
                return False
        return True

    def _deliver(self, tickets: tuple[int, ...]) -> None:
        self._notes.add(self._place, self.context.function_id, tickets)
        for ticket in tickets:
            self._flight.hand_over(ticket)
        self._advance()

    def _turn(self) -> None:
        self._turns -= 1
        if self._turns:
            self.loop.call_soon(self._turn)
        else:
            self._go_on()

    def _place_cancelled(self) -> None:
        while self._cancelled:
            planned = self._replay.deliveries.get(self._place)
            if planned is None or not planned.tickets:
                if self._lacks_calls:
                    return
                ticket = next(iter(self._cancelled))
                number, seconds = self.context.function_id, self._cancelled[ticket]
                self._notes.add(self._place, number, (ticket,), seconds)
            else:
                ticket = planned.tickets[0]
                if planned.cancelled_after is None or ticket not in self._cancelled:
                    return
            del self._cancelled[ticket]
            self._advance()

    def _advance(self) -> None:
        self._noted = self._noted or self._place in self._replay.deliveries
        self._place += 1
        if not self._flight:
            self._several = self._noted = False
        if not self._turns:
            self.loop.call_soon(self._turn)
        self._turns = TURNS

    def _lose_patience(self, before: tuple[int, ...]) -> None:
        self._timer = None
        if self._flight.has_waiting and before == self._progress and not self._is_coming:
            self._deviate(self.context.function_id, f"(nothing for {PATIENCE_SECONDS:g} s)")
        else:
            self._go_on()

    @property
    def _progress(self) -> tuple[int, ...]:
        return self._tickets, self._place, self.context.function_id

    @property
    def _is_coming(self) -> bool:
        """Whether DBOS has yet to find what is to be handed over, as without Postgres."""
        planned = self._replay.deliveries.get(self._place)
        if planned is None or planned.number != self.context.function_id:
            return False
        return planned.cancelled_after is None and any(map(self._flight.will_come, planned.tickets))

    def _deviate(self, number: int, calls: str) -> None:
        """Stop the run: what the code was given in another order could be given to others."""
        rest = self._replay.rest(number)
        recorded = rest or Mismatch(number + 1, "nothing", None)
        self.close(self._deviated(recorded._replace(expected=calls)))

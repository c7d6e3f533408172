"""The order in which the results of operations come back to the code of an async run.

DBOS numbers the operations of a run as its code calls them. What async code calls next may depend
on which of several results came first, so another execution has to be given them in the same order.

Each call that async code awaits has a ticket: they are counted as the code makes them. Results that
have come are handed over together, as a delivery; then the code goes on for some turns of the event
loop before the next one. A delivery is noted with its place among all, and with the number that
DBOS had last given to an operation. It is recorded before anything that was called after it.

While a run does one thing at a time, nothing needs to be noted: each result comes before the next
call. When a second call is made before the first has its result, that is noted, too.

In a replay, a delivery is held until the code has called as much as it had then. What has no
recorded place comes after all that is recorded was called: nothing that was recorded depends on it.
"""

import asyncio
import time
from collections.abc import Callable
from contextvars import ContextVar
from itertools import count
from typing import Any

from . import deliveries
from .deliveries import Delivery
from .held import Mismatch
from .replay import Replay

TURNS = 12
"""Turns of the event loop from one delivery to the next. A task goes on in the next turn, and its
end is known two turns later to who waits for it, as `asyncio.gather`; so all have gone on by then,
also with tasks that wait for tasks that wait for tasks."""

PATIENCE_SECONDS = 60.0
"""How long a replay waits for code that calls nothing. Longer than most of what code may wait for
outside of steps, such as an answer by HTTP."""


class Operation:
    """One call that async code awaits."""

    def __init__(self, order: "Order", ticket: int, around: bool) -> None:
        self.order, self.ticket, self.around = order, ticket, around
        """`around` is whether other calls are made within it, as in `DBOS.asyncio_wait`."""
        self.begun = time.monotonic()
        self.ends = True
        self.recorded: list[Delivery] = []
        """The deliveries that were recorded with it."""


under_way: ContextVar[Operation | None] = ContextVar("under_way", default=None)
"""The operation that this code is a part of."""


class Order:
    """The order of one execution. All but `record` and `stop` is for the event loop."""

    def __init__(
        self,
        context: Any,
        replay: Replay,
        load: Callable[[], None],
        deviated: Callable[[Mismatch], BaseException],
    ) -> None:
        """`load` has the replay read what is recorded; `deviated` stops the run, and returns what
        is raised in its code."""
        self.context, self._replay = context, replay
        self._load, self._deviated = load, deviated
        self._loop = asyncio.get_running_loop()
        self._tickets = self._place = 0
        self._unrecorded: dict[int, Delivery] = {}
        self._in_flight: dict[int, Operation] = {}
        self._arrived: dict[int, asyncio.Future[None]] = {}
        self._cancelled: dict[int, float] = {}
        """The calls that were cancelled and have no place yet, and after how many seconds."""
        self._several = False
        """Whether several calls were in flight, and not all of them have ended."""
        self._noted = False
        """Whether that is recorded."""
        self._turns = 0
        """How many there are until the next delivery."""
        self._timer: asyncio.TimerHandle | None = None
        self.closed = False

    def enter(self, *, taken: int = 0, around: bool = False) -> Operation:
        """Note that an operation is called, which has taken so many numbers already."""
        self._tickets += 1
        operation = Operation(self, self._tickets, around)
        if self._in_flight and not self._several:
            self._several = True
            number = self.context.function_id - taken
            self._unrecorded[self._place] = Delivery(self._place, number, (), number)
        self._in_flight[operation.ticket] = operation
        if self._arrived:
            self._loop.call_soon(self._go_on)  # When it has taken its number.
        return operation

    async def arrive(self, operation: Operation, *, ends: bool = True) -> None:
        """Wait until the result of an operation is to be handed over.

        Raises what stops the run. An operation that does not end here arrives once more."""
        operation.ends = ends
        if not self._replay.is_loaded:
            await asyncio.to_thread(self._load)
        if self.closed:
            return
        if not (self._several or self._arrived or self._place in self._replay.deliveries):
            self._pass(operation.ticket)
            return
        future = self._arrived[operation.ticket] = self._loop.create_future()
        self._loop.call_soon(self._go_on)  # When this waits: all go on in the order of a delivery.
        try:
            await future
        except asyncio.CancelledError:
            if future.cancelled():
                self.leave(operation, cancelled=True)
            raise

    def leave(self, operation: Operation, *, cancelled: bool) -> None:
        """Note that nobody waits for an operation any more."""
        self._arrived.pop(operation.ticket, None)
        if self._in_flight.pop(operation.ticket, None) and cancelled and not self.closed:
            self._cancelled[operation.ticket] = time.monotonic() - operation.begun
            self._place_cancelled()
            self._go_on()

    def record(self, connection: Any, workflow_id: str) -> None:
        """Record what is not recorded yet, in a transaction that records something of the run."""
        rows = [*self._unrecorded.values()]
        if not rows and not self._replay.inherited:
            return
        self._replay.load(connection, workflow_id)
        known = self._replay.deliveries
        rows = [each for each in rows if each.tickets or each.place not in known]
        if self._replay.inherited:
            rows += [each for place, each in known.items() if place not in self._unrecorded]
        if rows:
            deliveries.write(connection, workflow_id, rows)
        operation = under_way.get()
        if operation and operation.order is self:
            operation.recorded = rows

    def confirm(self, operation: Operation) -> None:
        """Note that what was recorded with an operation is committed."""
        for each in operation.recorded:
            self._replay.inherited = False
            if self._unrecorded.get(each.place) is each:
                del self._unrecorded[each.place]

    def stop(self, error: BaseException) -> None:
        """Raise an error in the code that waits; from any thread."""
        self._loop.call_soon_threadsafe(self.close, error)

    def close(self, error: BaseException | None = None) -> None:
        """Let go of all that waits."""
        self.closed = True
        if self._timer:
            self._timer.cancel()
        for future in self._arrived.values():
            if not future.done():
                future.set_exception(error) if error else future.set_result(None)
        self._arrived.clear()

    def _go_on(self) -> None:
        if self._turns or self.closed:
            return
        self._place_cancelled()
        if self._turns:
            return
        if tickets := self._next():
            self._deliver(tickets)
        elif self._arrived and self._timer is None:
            planned = self._replay.deliveries.get(self._place)
            seconds = PATIENCE_SECONDS + ((planned and planned.cancelled_after) or 0)
            self._timer = self._loop.call_later(seconds, self._lose_patience, self._progress)

    def _next(self) -> tuple[int, ...]:
        """The tickets of what is to be handed over now."""
        planned, number = self._replay.deliveries.get(self._place), self.context.function_id
        if planned is None or not planned.tickets:
            come = (ticket for ticket, future in self._arrived.items() if not future.done())
            return () if self._lacks_calls else tuple(come)
        if number > planned.number:
            self._deviate(planned.number, "something else at this time")
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
        if not all(self._has_come(ticket) for ticket in planned.tickets):
            return False
        for place in count(self._place + 1):
            later = self._replay.deliveries.get(place)
            if later is None or later.number != planned.number:
                return True
            if later.cancelled_after is None and not all(map(self._may_be_next, later.tickets)):
                return False
        raise AssertionError

    def _has_come(self, ticket: int) -> bool:
        future = self._arrived.get(ticket)
        return future is not None and not future.done()

    def _may_be_next(self, ticket: int) -> bool:
        operation = self._in_flight.get(ticket)
        return operation is None or operation.around or self._has_come(ticket)

    def _deliver(self, tickets: tuple[int, ...]) -> None:
        self._note(tickets)
        for ticket in tickets:
            if self._in_flight[ticket].ends:
                del self._in_flight[ticket]
            self._arrived.pop(ticket).set_result(None)
        self._advance()

    def _turn(self) -> None:
        self._turns -= 1
        if self._turns:
            self._loop.call_soon(self._turn)
        else:
            self._go_on()

    def _pass(self, ticket: int) -> None:
        """Hand over the one result that there can be."""
        if self._in_flight[ticket].ends:
            del self._in_flight[ticket]
        self._place += 1

    def _place_cancelled(self) -> None:
        while self._cancelled:
            planned = self._replay.deliveries.get(self._place)
            if planned is None or not planned.tickets:
                if self._lacks_calls:
                    return
                ticket = next(iter(self._cancelled))
                self._note((ticket,), self._cancelled[ticket])
            else:
                ticket = planned.tickets[0]
                if planned.cancelled_after is None or ticket not in self._cancelled:
                    return
            del self._cancelled[ticket]
            self._advance()

    def _note(self, tickets: tuple[int, ...], cancelled_after: float | None = None) -> None:
        """Note a delivery, unless it is recorded."""
        planned = self._replay.deliveries.get(self._place)
        if planned and planned.tickets:
            return
        begun = planned or self._unrecorded.get(self._place)
        self._unrecorded[self._place] = Delivery(
            self._place,
            self.context.function_id,
            tickets,
            begun.since if begun else None,
            cancelled_after,
        )

    def _advance(self) -> None:
        self._noted = self._noted or self._place in self._replay.deliveries
        self._place += 1
        if not self._in_flight:
            self._several = self._noted = False
        if not self._turns:
            self._loop.call_soon(self._turn)
        self._turns = TURNS

    @property
    def _progress(self) -> tuple[int, ...]:
        return self._tickets, self._place, self.context.function_id

    def _lose_patience(self, before: tuple[int, ...]) -> None:
        self._timer = None
        if self._arrived and before == self._progress and not self._turns:
            self._deviate(self.context.function_id, f"nothing for {PATIENCE_SECONDS:g} s")
        else:
            self._go_on()

    def _deviate(self, number: int, calls: str) -> None:
        """Stop the run: what the code was given in another order could be given to others."""
        rest = self._replay.rest(number)
        recorded = rest or Mismatch(number + 1, "nothing", None)
        self.close(self._deviated(recorded._replace(expected=calls)))

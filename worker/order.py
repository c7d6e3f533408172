"""The order in which the results of operations come back to the code of an async run.

DBOS numbers the operations of a run as its code calls them. What async code calls next may depend
on which of several results came first, so another execution has to be given them in the same order.

Each call that async code awaits has a ticket: they are counted as the code makes them. Results that
have come are handed over together, as a delivery; then the code goes on for some turns of the event
loop before the next one. A call that was cancelled is a delivery by itself: its code goes on when
the delivery has its turn. Each is noted with its place among all, and with the last number that
DBOS had given to an operation. It is recorded with the first operation that was called after it.

While a run does one thing at a time, nothing is noted but what was cancelled. When a second call is
made before the first has its result, that beginning takes a place, too. In a replay, a delivery is
held until the code has called as much as it had then. What has no recorded place comes after all
that is recorded was called: nothing that was recorded depends on it.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from .deliveries import Delivery
from .flight import Abandonment, Flight, Operation, under_way
from .held import Mismatch
from .plan import Plan
from .replay import Replay

T = TypeVar("T")

TURNS = 12
"""Turns of the event loop from one delivery to the next. A task goes on in the next turn, and its
end is known two turns later to who waits for it, as `asyncio.gather`: there is time for five tasks
that wait for each other. Code that takes more turns until it calls something, as one with many
`asyncio.sleep(0)`, may be given the next delivery before."""

PATIENCE_SECONDS = 60.0
"""How long a replay waits for code that calls nothing. Longer than most of what code may wait for
outside of steps, such as an answer by HTTP."""

ANOTHER_ORDER = "(operations in another order)"


class Order:
    """The order of one execution. All but `record`, `flush` and `stop` is for the event loop."""

    def __init__(
        self,
        context: Any,
        replay: Replay,
        load: Callable[[], None],
        flush: Callable[[], None],
        deviated: Callable[[Mismatch], BaseException],
    ) -> None:
        """`load` has the replay read what is recorded, `flush` records what is noted; `deviated`
        stops the run, and returns what is raised in its code. The code runs in another task than
        this; when this one is cancelled, the order no longer matters."""
        self.context, self._replay, self._deliveries = context, replay, replay.deliveries
        self._load, self._flush, self._deviated = load, flush, deviated
        self.loop, self._abandoned = asyncio.get_running_loop(), Abandonment()
        self._tickets = self._place = 0
        self._flight = Flight()
        self._plan = Plan(replay, self._flight)
        self._begun: int | None = None
        """The place where several calls were in flight, until all of them have ended."""
        self._turns = 0
        """How many there are until the next delivery."""
        self._goes_on = self.closed = False
        """`_goes_on` is whether what is due is looked for in the next turn."""
        self._loading: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._owed: Counter[asyncio.Task[Any] | None] = Counter()
        """How many cancellations each task has not been told of yet."""
        self.error: BaseException | None = None
        """What has stopped the run."""
        self.tasks = 0
        """How many the code has made."""

    def enter(self, *, taken: int = 0, around: bool = False) -> Operation:
        """Note that an operation is called, which has taken so many numbers already."""
        self._tickets += 1
        number = self.context.function_id - taken
        operation = Operation(self, self._tickets, number, taken=taken, around=around)
        if self._flight and self._begun is None:
            self._begin(operation.number)
        self._flight.begin(operation)
        self._go_on_soon()  # When it has taken its number.
        return operation

    async def arrive(self, operation: Operation, *, ends: bool = True) -> None:
        """Wait until the result of an operation is to be handed over.

        Raises what stops the run. An operation that does not end here arrives once more."""
        operation.ends = ends
        if self.closed:
            return
        if self._is_sequential:
            self._flight.hand_over(operation)
            self._place += 1
            return
        while not await self._handed_over(operation):
            pass
        operation.number = self.context.function_id

    async def _handed_over(self, operation: Operation) -> bool:
        """Wait for that, or until the code cancels what it was given then."""
        future = self._flight.come(operation)
        self._go_on_soon()  # When this waits: all go on in the order of a delivery.
        try:
            await future
        except asyncio.CancelledError:
            place = self._place if future.cancelled() else operation.place
            if not self._gives(place, operation):
                if future.cancelled():
                    await self.leave(operation, cancelled=True)
                else:
                    await self._correct(operation)
                raise
            self._owe_cancellation()
        return future.done() and not future.cancelled()

    async def made(self, operation: Operation, call: Coroutine[Any, Any, T]) -> T:
        """Await a call as it was made then.

        A call that was cancelled is not made again: the code cancels it once more. When the code
        cancels a call whose result is recorded, as timers may end before that has come, it is given
        the result, and the cancellation with the call that was cancelled."""
        if operation.result_number is None:
            return await call
        if self._plan.has_result(self._place, operation):
            return await self._despite_cancellation(call)
        planned = self._plan.of(self._place, operation)
        if planned is None or planned.cancelled_after is None:
            return await call
        call.close()
        if self._owed[asyncio.current_task()]:
            self._owed[asyncio.current_task()] -= 1
            raise asyncio.CancelledError
        await asyncio.sleep(planned.cancelled_after + PATIENCE_SECONDS)
        raise self._deviate(self.context.function_id, _nothing())

    async def _despite_cancellation(self, call: Coroutine[Any, Any, T]) -> T:
        task = self.loop.create_task(call)
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                if self.closed or self._abandoned:
                    task.cancel()
                    raise
                self._owe_cancellation()
        return task.result()

    def _gives(self, place: int, operation: Operation) -> bool:
        lives = not (self.closed or self._abandoned)
        return lives and self._plan.has_result(place, operation)

    def _owe_cancellation(self) -> None:
        self._owed[asyncio.current_task()] += 1

    async def leave(self, operation: Operation, *, cancelled: bool) -> None:
        """Note that nobody waits for an operation any more. If the code has cancelled it, wait
        until it is to be told so; raises what stops the run."""
        counts = cancelled and operation in self._flight
        if not counts or self.closed or self._abandoned:
            self._flight.leave(operation)
            return
        operation.cancelled_after = time.monotonic() - operation.begun
        future = self._flight.come(operation)
        if self._plan.has_result(self._place, operation):
            self._deviate(self.context.function_id, ANOTHER_ORDER)
        self._go_on_soon()
        while not (future.done() or self._abandoned):
            with suppress(asyncio.CancelledError):  # It is about to be raised.
                await asyncio.wait([future])
        self._flight.leave(operation)
        if future.done():
            future.result()

    def record(self, connection: Any, workflow_id: str) -> None:
        """Record what is noted, in a transaction that records something of the run."""
        self._replay.load(connection, workflow_id)
        operation = under_way.get()
        if operation is None or operation.order is not self or operation.around:
            self._deliveries.record(connection, workflow_id, self.context.function_id)
            return
        number = operation.number
        operation.recorded += self._deliveries.record(connection, workflow_id, number)

    def confirm(self, operation: Operation) -> None:
        """Forget what was recorded with an operation, whose transaction is committed."""
        self._deliveries.confirm(operation.recorded)

    def flush(self) -> None:
        """Record what is noted at once. In any thread."""
        if not self._deliveries.are_recorded:
            self._flush()

    def stop(self, error: BaseException) -> None:
        """Raise an error in the code that waits; from any thread."""
        self.loop.call_soon_threadsafe(self.close, error)

    def close(self, error: BaseException | None = None) -> None:
        """Let go of all that waits."""
        self.closed = True
        self.error = self.error or error
        if self._timer:
            self._timer.cancel()
        self._flight.end(error)

    @property
    def _is_sequential(self) -> bool:
        is_planned = self._plan.at(self._place) is not None
        return self._begun is None and self._replay.is_loaded and not is_planned

    def _begin(self, number: int) -> None:
        beginning = Delivery(self._place, number)
        if self._plan.lacks(beginning):
            self._deviate(number, ANOTHER_ORDER)
        self._deliveries.add(beginning)
        self._begun = self._place
        self._place += 1

    async def _correct(self, operation: Operation) -> None:
        """Note that a call was cancelled in the turn in which its result was handed over: its code
        knows only that. It stays a result if that is recorded by now."""
        self._flight.leave(operation)
        if self.closed or self._abandoned:
            return
        seconds = time.monotonic() - operation.begun
        if self._deliveries.withdraw(operation.place, operation.ticket, seconds):
            self._flight.begin(operation)
            await self.leave(operation, cancelled=True)

    def _go_on_soon(self) -> None:
        if self._flight.has_waiting and not self._turns and not self._goes_on:
            self._goes_on = True
            self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._goes_on = False
        if self._turns or self.closed or not self._flight.has_waiting:
            return
        if not self._replay.is_loaded:
            self._load_soon()
        elif due := self._due():
            self._deliver(due)
        elif self._timer is None and not self.closed:
            planned = self._plan.at(self._place)
            seconds = PATIENCE_SECONDS + ((planned and planned.cancelled_after) or 0)
            self._timer = self.loop.call_later(seconds, self._lose_patience, self._progress)

    def _load_soon(self) -> None:
        if self._loading is None:
            # Not by the loop, which would count it as a task of the code.
            self._loading = asyncio.Task(asyncio.to_thread(self._load), loop=self.loop)
            self._loading.add_done_callback(self._loaded)

    def _loaded(self, loading: asyncio.Task[None]) -> None:
        self._loading = None
        if error := loading.exception():
            self._flight.end(error)
        self._go_on()

    def _due(self) -> list[Operation]:
        planned, number = self._plan.at(self._place), self.context.function_id
        if planned and number > planned.number:
            self._deviate(planned.number, ANOTHER_ORDER)
        return [] if self.closed else self._plan.due(self._place, number, self._begun)

    def _deliver(self, operations: list[Operation]) -> None:
        tickets, after = tuple(each.ticket for each in operations), operations[0].cancelled_after
        if self._begun is not None or after is not None:
            number = self.context.function_id
            self._deliveries.add(Delivery(self._place, number, tickets, after))
        for each in operations:
            each.place = self._place
            self._flight.hand_over(each)
        self._place += 1
        if not self._flight:
            self._begun = None
        self._turns = TURNS
        self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turns -= 1
        if self._turns:
            self.loop.call_soon(self._turn)
        else:
            self._go_on()

    def _lose_patience(self, before: tuple[int, ...]) -> None:
        self._timer = None
        number = self.context.function_id
        is_slow = before != self._progress or self._plan.is_coming(self._place, number)
        if self._flight.has_waiting and not is_slow:
            self._deviate(number, _nothing())
        else:
            self._go_on()

    @property
    def _progress(self) -> tuple[int, ...]:
        return self._tickets, self._place, self.context.function_id

    def _deviate(self, number: int, calls: str) -> BaseException:
        """Stop the run: what the code was given in another order could be given to others."""
        rest = self._replay.rest(number)
        mismatch = rest or Mismatch(number + 1, "nothing", None)
        error = self._deviated(mismatch._replace(expected=calls))
        self.close(error)
        return error


def _nothing() -> str:
    return f"(nothing for {PATIENCE_SECONDS:g} s)"

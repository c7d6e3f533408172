"""The operations that the code of an async run has in flight."""

import asyncio
import time
from contextvars import ContextVar
from typing import Any

from .deliveries import Delivery


class Operation:
    """One call that async code awaits."""

    def __init__(self, order: Any, ticket: int, number: int, *, taken: int, around: bool) -> None:
        """`number` is the last one before its own. `taken` is how many numbers DBOS has given it
        before it is awaited; its result has the last of them. `around` is whether other calls are
        made within it, as in `DBOS.asyncio_wait`."""
        self.order, self.ticket, self.number, self.around = order, ticket, number, around
        self.result_number = number + taken if taken else None
        self.begun = time.monotonic()
        self.come: asyncio.Future[None] | None = None
        """What the call waits for when its result has come, or when it was cancelled."""
        self.cancelled_after: float | None = None
        """How many seconds the call was in flight, if it was cancelled."""
        self.ends = True
        """Whether it ends when it is handed over; else its result comes once more."""
        self.place = 0
        """The place of its delivery."""
        self.recorded: list[Delivery] = []
        """The deliveries that were recorded with it."""

    @property
    def waits(self) -> bool:
        """Whether the call waits to be handed over."""
        return self.come is not None and not self.come.done()


under_way: ContextVar[Operation | None] = ContextVar("under_way", default=None)
"""The operation that this code is a part of."""


class Abandonment:
    """Watches the task in which this is made, which awaits the task of a run's code."""

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self._before = self._cancellations

    def __bool__(self) -> bool:
        """Whether the run itself is cancelled, as by its parent or at the end of the process, and
        not by its own code."""
        return self._cancellations > self._before

    @property
    def _cancellations(self) -> int:
        return self._task.cancelling() if self._task else 0


class Flight:
    """Operations by their tickets, and which of them wait to be handed over."""

    def __init__(self) -> None:
        self._operations: dict[int, Operation] = {}
        self._come: dict[int, Operation] = {}
        """Some of them, in the order in which they came."""

    def __bool__(self) -> bool:
        return bool(self._operations)

    def __getitem__(self, ticket: int) -> Operation:
        return self._operations[ticket]

    def __contains__(self, operation: Operation) -> bool:
        return operation.ticket in self._operations

    def begin(self, operation: Operation) -> None:
        """Have an operation be in flight."""
        self._operations[operation.ticket] = operation

    def come(self, operation: Operation) -> asyncio.Future[None]:
        """What is done as soon as an operation, which has come, is handed over."""
        operation.come = asyncio.get_running_loop().create_future()
        self._come[operation.ticket] = operation
        return operation.come

    @property
    def has_waiting(self) -> bool:
        """Whether code may wait for what has come."""
        return bool(self._come)

    def next(self) -> list[Operation]:
        """What is handed over next as it comes: all results, or one call that was cancelled."""
        waiting = [each for each in self._come.values() if each.waits]
        if waiting and waiting[0].cancelled_after is not None:
            return waiting[:1]
        return [each for each in waiting if each.cancelled_after is None]

    def has_come(self, ticket: int, *, cancelled: bool) -> bool:
        """Whether the result of an operation has come, or whether it was cancelled."""
        operation = self._come.get(ticket)
        if operation is None or not operation.waits:
            return False
        return cancelled is (operation.cancelled_after is not None)

    def will_come(self, ticket: int) -> bool:
        """Whether it is in flight, and waits for nothing that the code has to do."""
        operation = self._operations.get(ticket)
        return operation is not None and not operation.around and not operation.waits

    def hand_over(self, operation: Operation) -> None:
        """Have the code go on with the result of an operation, or with its cancellation."""
        self._come.pop(operation.ticket, None)
        if operation.ends or operation.cancelled_after is not None:
            del self._operations[operation.ticket]
        if operation.come:
            operation.come.set_result(None)

    def leave(self, operation: Operation) -> None:
        """Let an operation go that nobody waits for."""
        self._come.pop(operation.ticket, None)
        self._operations.pop(operation.ticket, None)

    def end(self, error: BaseException | None) -> None:
        """Wake all code that waits."""
        for operation in [*self._come.values()]:
            self.leave(operation)
            if operation.come and not operation.come.done():
                operation.come.set_exception(error) if error else operation.come.set_result(None)

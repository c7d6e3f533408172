"""The operations that the code of an async run has in flight."""

import asyncio
import time
from typing import Any

from .deliveries import Delivery


class Operation:
    """One call that async code awaits."""

    def __init__(self, order: Any, ticket: int, number: int, around: bool) -> None:
        self.order, self.ticket, self.number, self.around = order, ticket, number, around
        """`number` is the last one before its own; `around` is whether other calls are made within
        it, as in `DBOS.asyncio_wait`."""
        self.begun = time.monotonic()
        self.ends = True
        """Whether it ends when it is handed over; else its result comes once more."""
        self.recorded: list[Delivery] = []
        """The deliveries that were recorded with it."""


class Flight:
    """Operations by their tickets, and what wakes the code for which a result has come."""

    def __init__(self) -> None:
        self._operations: dict[int, Operation] = {}
        self._come: dict[int, asyncio.Future[None]] = {}

    def __bool__(self) -> bool:
        return bool(self._operations)

    def begin(self, operation: Operation) -> None:
        """Have an operation be in flight."""
        self._operations[operation.ticket] = operation

    def come(self, operation: Operation) -> asyncio.Future[None]:
        """What is done as soon as the result of an operation, which has come, is handed over."""
        future = asyncio.get_running_loop().create_future()
        self._come[operation.ticket] = future
        return future

    @property
    def has_waiting(self) -> bool:
        """Whether code may wait for what has come."""
        return bool(self._come)

    @property
    def waiting(self) -> tuple[int, ...]:
        """The tickets of what has come, in that order; without what was cancelled."""
        return tuple(ticket for ticket, future in self._come.items() if not future.done())

    def has_come(self, ticket: int) -> bool:
        """Whether the result of an operation has come."""
        future = self._come.get(ticket)
        return future is not None and not future.done()

    def will_come(self, ticket: int) -> bool:
        """Whether it is in flight, and waits for nothing that the code has to do."""
        operation = self._operations.get(ticket)
        return operation is not None and not operation.around and not self.has_come(ticket)

    def hand_over(self, ticket: int) -> None:
        """Hand the result of an operation over."""
        if self._operations[ticket].ends:
            del self._operations[ticket]
        if future := self._come.pop(ticket, None):
            future.set_result(None)

    def leave(self, ticket: int) -> bool:
        """Let an operation go that nobody waits for; whether it was in flight."""
        self._come.pop(ticket, None)
        return self._operations.pop(ticket, None) is not None

    def end(self, error: BaseException | None) -> None:
        """Wake all code that waits."""
        for ticket in self.waiting:
            future = self._come[ticket]
            future.set_exception(error) if error else future.set_result(None)
        self._come.clear()

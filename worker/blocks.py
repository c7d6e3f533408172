"""Context managers around code of users, whose exceptions may refuse any change.

Those of contextlib set `__traceback__` of an exception that passes through them. A frozen dataclass
refuses that, so FrozenInstanceError would be raised in its place, and no `except` would catch it.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def block(function: Callable[P, Iterator[T]]) -> Callable[P, AbstractContextManager[T]]:
    """Make a context manager of a generator function, as `contextlib.contextmanager` does."""

    @functools.wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> "Block[T]":
        return Block(function(*args, **kwargs))

    return make


class Block(AbstractContextManager[T], Generic[T]):
    """One execution of such a generator function, which yields once and suppresses nothing."""

    def __init__(self, iterator: Iterator[T]) -> None:
        self._iterator = iterator

    def __enter__(self) -> T:
        """Go on to the `yield`; returns what that yields."""
        return next(self._iterator)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Go on after the `yield`, or raise there what was raised in the block."""
        if error is None:
            next(self._iterator, None)
            return
        try:
            self._iterator.throw(error)  # type: ignore[attr-defined]
        except BaseException as raised:
            # Python makes a RuntimeError of a StopIteration that leaves a generator.
            made_of_it = isinstance(error, StopIteration) and raised.__cause__ is error
            if raised is not error and not made_of_it:
                raise
        BaseException.with_traceback(error, traceback)  # As it was, without the frames in here.


def within(watch: Callable[[], Any], function: Callable[[], Any]) -> Callable[[], Any]:
    """A function, or coroutine function, that executes another one in a block."""
    if inspect.iscoroutinefunction(function):

        async def watched_async() -> Any:
            with watch():
                return await function()

        return watched_async

    def watched() -> Any:
        with watch():
            return function()

    return watched

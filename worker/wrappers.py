"""Wrappers around functions of users, which hide nothing of what they wrap."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

Wrapper = TypeVar("Wrapper", bound=Callable[..., Any])


def wraps(function: Callable[..., Any]) -> Callable[[Wrapper], Wrapper]:
    """`functools.wraps`, which leaves the wrapper no hints of its own.

    It copies those of `function`, but a partial, an instance or a builtin class may have none.
    Whoever looks for the hint of the result then goes on to `__wrapped__`.
    """

    def decorate(wrapper: Wrapper) -> Wrapper:
        wrapper.__annotations__ = {}
        return functools.wraps(function)(wrapper)  # type: ignore[return-value]

    return decorate

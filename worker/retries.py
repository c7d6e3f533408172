"""DBOS tries again within seconds what the database did not let it do."""

import functools
from collections.abc import Callable
from types import CellType
from typing import Any

MOST_SECONDS = 4.0
"""Backoff at most, of which DBOS waits half to one and a half. It would grow to 60 seconds, and
hold up a workflow for one and a half minutes when the database has long been back; the pool keeps
those who try from being too many."""

NAME = "max_backoff"
"""The variable of the decorator that says how long it waits at most, in seconds."""

Retry = Callable[..., Any]


def capped(retry: Retry) -> Retry:
    """Make of DBOS's decorator one that never waits long."""

    @functools.wraps(retry)
    def retry_soon(
        initial_backoff: float = 1.0, max_backoff: float = MOST_SECONDS, **options: Any
    ) -> Any:
        return retry(initial_backoff, min(max_backoff, MOST_SECONDS), **options)

    return retry_soon


def cap(owner: type) -> None:
    """Do the same to the methods of a class that it has decorated already."""
    for method in vars(owner).values():
        if bound := most(method):
            bound.cell_contents = min(bound.cell_contents, MOST_SECONDS)


def most(method: Any) -> CellType | None:
    """Where DBOS's decorator keeps how long it waits at most, also below what replaced it."""
    while method is not None:
        code = getattr(method, "__code__", None)
        if code and NAME in code.co_freevars:
            cell: CellType = method.__closure__[code.co_freevars.index(NAME)]
            return cell
        method = getattr(method, "__wrapped__", None)
    return None

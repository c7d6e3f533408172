"""The tasks of async runs, which a set has in the same order in every execution.

`asyncio.wait` gives sets of tasks, a `TaskGroup` that gives up goes through one, and so does
`asyncio.as_completed`. Python tells tasks apart by their address in memory, and so these sets would
have another order each time, and with it what the code of a workflow calls for each.
"""

import asyncio
import functools
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

NextNumber = Callable[[], tuple[str, int] | None]
"""The run whose code makes a task, and how many it has made; None where it is none's."""


class RunTask(asyncio.Task[Any]):
    """A task of the code of a run; its hash is the same in every execution."""

    hash_value: int

    def __hash__(self) -> int:
        return self.hash_value


def numbering(next_number: NextNumber) -> Callable[..., asyncio.Task[Any]]:
    """A task factory that makes such tasks for runs, and the usual ones for all else."""

    def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        numbered = next_number()
        if numbered is None:
            return asyncio.Task(coroutine, loop=loop, **options)
        run, number = numbered
        task = RunTask.__new__(RunTask)
        # Before asyncio puts it into a set; the tasks of several runs shall not have the same.
        task.hash_value = zlib.crc32(run.encode()) << 24 | number
        task.__init__(coroutine, loop=loop, **options)  # type: ignore[misc]
        return task

    return make


def in_turn(as_completed: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Make of `asyncio.as_completed` one that begins coroutines in the order of its argument."""

    @functools.wraps(as_completed)
    def as_completed_in_turn(fs: Iterable[Any], **options: Any) -> Iterator[Any]:
        if asyncio.isfuture(fs) or asyncio.iscoroutine(fs):
            return as_completed(fs, **options)
        return as_completed([asyncio.ensure_future(each) for each in fs], **options)

    return as_completed_in_turn

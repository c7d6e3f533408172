"""What DBOS sleeps with, and waits for a child with, such that it ends with the run that waits."""

import asyncio
import functools
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

from dbos import _sys_db
from dbos._utils import LoopAwareEvent

from .waiters import RunOf, waiting_for

LONGEST_SECONDS = 100 * 365.25 * 24 * 3600
"""A hundred years: whoever waits longer waits until that ends, or the run is cancelled. Python's
clocks, and the times that DBOS records, end soon after."""


def _event() -> LoopAwareEvent:
    """What the module of DBOS that waits makes, and not what that was made of."""
    event: LoopAwareEvent = vars(_sys_db)["LoopAwareEvent"]()
    return event


def bounded(record_sleep: Callable[..., float]) -> Callable[..., float]:
    """Make of what records until when a run sleeps, or waits at most, one that is never refused."""

    @functools.wraps(record_sleep)
    def record(database: Any, run: str, function_id: int, seconds: float, **options: Any) -> float:
        return record_sleep(database, run, function_id, min(seconds, LONGEST_SECONDS), **options)

    return record


class Sleeps:
    """The module `time`, on which `sleep` is another one."""

    def __init__(self, module: Any, sleep: Callable[[float], None]) -> None:
        self._module = module
        self.sleep = sleep

    def __getattr__(self, name: str) -> Any:
        """Everything else is the module's."""
        return getattr(self._module, name)


def time_with(run_of: RunOf, time: Any) -> Sleeps:
    """Make of the module `time` one whose `sleep` ends."""

    def sleep(seconds: float) -> None:
        with waiting_for(run_of()) as run:
            if run is None:
                time.sleep(seconds)
            else:
                _event().wait(min(seconds, LONGEST_SECONDS))

    return Sleeps(time, sleep)


def asyncio_with(run_of: RunOf, asyncio: ModuleType) -> SimpleNamespace:
    """Make of the module `asyncio` one whose `sleep` ends."""

    async def sleep(seconds: float) -> None:
        with waiting_for(run_of()) as run:
            if run is None or seconds <= 0:
                await asyncio.sleep(seconds)
            else:
                await _event().wait_async(min(seconds, LONGEST_SECONDS))

    return SimpleNamespace(**vars(asyncio) | {"sleep": sleep})


def futures(get_result: Callable[..., Any]) -> Callable[..., Any]:
    """Make of DBOS's wait for a child in another thread of this process one that ends."""

    @functools.wraps(get_result)
    def wait_and_get(handle: Any, polling_interval: float) -> Any:
        done = _event()
        handle.future.add_done_callback(lambda _: done.set())
        done.wait(LONGEST_SECONDS)
        return get_result(handle, polling_interval)

    return wait_and_get


async def until_done(child: asyncio.Future[Any]) -> None:
    """Wait for a child on this event loop; raises what ends the wait with the run."""
    done = _event()
    child.add_done_callback(lambda _: done.set())
    await done.wait_async(LONGEST_SECONDS)

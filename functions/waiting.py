"""Wait for workflows without holding a connection: one look at Postgres serves all who wait."""

import asyncio
import math
import signal
import time
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from .client import engine, use_client, was_heard
from .tables import Version, versions

T = TypeVar("T")

LONGEST = 30.0
"""Seconds that anybody may wait."""

TICK = 0.02
"""Seconds between two moments at which somebody's look may be due."""

SLOWEST = 0.5
"""Seconds between two looks for somebody who has waited for long."""

MAX_LOOKS_APART = 2
"""How many workflows are looked at alone at the same time, so that others find a connection."""


class Leaving(TimeoutError):
    """The server is about to end, so nobody can wait here any longer."""


NOTHING = Version("", finished=False)
"""What somebody has seen who has not looked yet."""


@dataclass(eq=False)
class _Waiter:
    workflow_id: str
    seen: Version
    answer: asyncio.Future[Version | None]
    since: float = field(default_factory=time.monotonic)
    due: float = 0.0

    def postpone(self, now: float) -> None:
        """Look more and more rarely, the longer it takes."""
        self.due = now + min(SLOWEST, (now - self.since) / 10)


class Watch:
    """Looks at the workflows that somebody waits for, all at once and only when it is due.

    When Postgres refuses that, or it takes too long, each is looked at alone, and from then on
    apart from the others if it was the one that is to blame.
    """

    def __init__(self) -> None:
        self._waiters: set[_Waiter] = set()
        self._looking: asyncio.Task[None] | None = None
        self._costly: set[str] = set()
        self._apart: set[asyncio.Task[None]] = set()
        self._few = asyncio.Semaphore(MAX_LOOKS_APART)

    async def change(self, workflow_id: str, seen: Version = NOTHING) -> Version | None:
        """Wait until the workflow is no longer as `seen`; None when it does not exist.

        Raises DatabaseUnavailable, NoWorkerYet, Leaving.
        """
        waiter = _Waiter(workflow_id, seen, asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            return await waiter.answer
        finally:
            self._waiters.discard(waiter)

    async def _look(self) -> None:
        while self._waiters:
            if _is_leaving():
                _tell(self._waiters, Leaving())
            now = time.monotonic()
            due = [each for each in self._waiters if each.due <= now]
            self._look_apart([each for each in due if each.workflow_id in self._costly])
            if together := [each for each in due if each.workflow_id not in self._costly]:
                await self._look_for(together)
            await asyncio.sleep(TICK)

    def _look_apart(self, waiters: list[_Waiter]) -> None:
        """Look at each workflow alone, while the others are looked at."""
        for waiter in waiters:
            waiter.due = math.inf  # Until this look has ended.
        for workflow_id in {each.workflow_id for each in waiters}:
            own = [each for each in waiters if each.workflow_id == workflow_id]
            task = asyncio.create_task(self._look_alone(workflow_id, own))
            self._apart.add(task)
            task.add_done_callback(self._apart.discard)

    async def _look_alone(self, workflow_id: str, waiters: list[_Waiter]) -> None:
        async with self._few:
            await self._look_for(waiters)

    async def _look_for(self, waiters: list[_Waiter]) -> None:
        ids = sorted({each.workflow_id for each in waiters})
        try:
            found = await use_client(lambda _: versions(engine(), ids))
        except Exception as error:  # Whoever waits has to answer it.
            if not was_heard(error):
                _tell(waiters, error)
            elif len(ids) > 1:
                self._look_apart(waiters)
            else:
                self._costly |= {*ids}
                _tell(waiters, error)
            return
        for waiter in waiters:
            version = found.get(waiter.workflow_id)
            waiter.postpone(time.monotonic())
            if version != waiter.seen and not waiter.answer.done():
                waiter.answer.set_result(version)


def _tell(waiters: Iterable[_Waiter], error: Exception) -> None:
    for waiter in waiters:
        if not waiter.answer.done():
            waiter.answer.set_exception(error)


def _is_leaving() -> bool:
    """Whether uvicorn has been told to end; it would wait for all who wait here."""
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return bool(getattr(server, "should_exit", False))


@cache
def watch() -> Watch:
    """The watch of this instance."""
    return Watch()


async def finished(workflow_id: str, seconds: float) -> bool:
    """Wait some seconds for a workflow to end; whether it has, or does not exist any longer.

    Raises DatabaseUnavailable, NoWorkerYet.
    """
    version: Version | None = NOTHING
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while version and not version.finished:
                version = await watch().change(workflow_id, version)
            return True
    return False


async def unless_gone(request: Request, waiting: Coroutine[Any, Any, T]) -> T:
    """What `waiting` returns; raises ClientDisconnect as soon as the caller goes away."""
    gone = asyncio.create_task(_gone(request))
    task = asyncio.create_task(waiting)
    try:
        await asyncio.wait({gone, task}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        task.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

"""Which runs do nothing but wait, so that they are not blamed when their worker dies.

A sync run that waits in `recv` or `get_event`, or sleeps, has said so in its last row. One that
waits for another workflow has not, nor has an async one that does several things at once. So the
worker counts, for each run, its waits and its steps in flight. What has only waited for a moment
is said in `catalog.waits`, once a second for all; that row is void as soon as the run records
anything, is claimed again, or begins a step beside the wait. A run in which steps and waits are
in flight together is marked there before the later one begins: its last row tells nothing.

What the code of an async workflow does between its steps, while another task of it waits, is seen
by nobody.
"""

import asyncio
import functools
import inspect
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from dbos import error as dbos_error
from dbos._context import get_local_dbos_context
from sqlalchemy import Engine, TextClause
from sqlalchemy.exc import SQLAlchemyError

from . import tables
from .database import Connection
from .settings import Settings

MOMENT_SECONDS = 1.0
"""A wait that is over sooner costs no statement."""

LOST = (dbos_error.DBOSWorkflowCancelledError, dbos_error.DBOSWorkflowConflictIDError)
"""What DBOS raises when an execution has its run no longer."""

Waiter = Callable[..., str | None]
"""Which run waits, from the arguments of a method that waits."""


@dataclass
class Activity:
    """What one run has in flight in this process."""

    waits: int = 0
    steps: int = 0
    sleeps: int = 0
    changed_at: float = 0.0
    said: bool = False
    """Whether `catalog.waits` may say that it waits."""
    stale: bool = False
    """Whether that was said before the last change, which may have made it void."""
    marked: bool = False
    """Whether `catalog.waits` says that it does several things at once."""

    @property
    def over(self) -> bool:
        """Whether nothing is in flight, and nothing has to be taken back."""
        return not (self.waits or self.steps or self.sleeps or self.said)

    @property
    def mixed(self) -> bool:
        """Whether steps and waits are in flight together, as never in a sync run."""
        return self.steps > 0 and (self.waits > 0 or self.sleeps > 0)


@dataclass
class Sleep:
    """One call of `DBOS.sleep`, which may be given up while a thread still records it."""

    run: str | None = None
    """The run that it has put to sleep, once that is recorded."""
    over: bool = False


_sleep: ContextVar[Sleep | None] = ContextVar("sleep", default=None)


class Waits:
    """Says which runs of this executor only wait."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._executor_id = settings.executor_id
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._lock = threading.RLock()
        self._runs: defaultdict[str, Activity] = defaultdict(Activity)

    def __call__(self, connection: Connection) -> None:
        """Say what has begun to wait, and forget what waits no longer."""
        ended, begun = self._news()
        self._forget(connection, ended)
        if begun:
            parameters = {"workflows": begun, "executor": self._executor_id}
            connection.execute(tables.SAY_WHAT_WAITS, parameters)
            # What has gone on meanwhile may have begun something that nobody has recorded.
            self._forget(connection, self._changed(begun))

    def _news(self) -> tuple[list[str], list[str]]:
        latest = time.monotonic() - MOMENT_SECONDS
        with self._lock:
            self._runs = defaultdict(Activity, {r: a for r, a in self._runs.items() if not a.over})
            ended = [run for run, each in self._runs.items() if each.said and not each.waits]
            begun = [
                run
                for run, each in self._runs.items()
                if each.waits and not each.steps and each.changed_at <= latest
                if each.stale or not each.said
            ]
            self._note(ended, said=False)
            self._note(begun, said=True)
        return ended, begun

    def _changed(self, said: list[str]) -> list[str]:
        with self._lock:
            late = [run for run in said if self._runs[run].stale]
            self._note(late, said=False)
        return late

    def _note(self, runs: Iterable[str], *, said: bool) -> None:
        for run in runs:
            self._runs[run].said, self._runs[run].stale = said, False

    def _forget(self, connection: Connection, runs: list[str]) -> None:
        if runs:
            connection.execute(tables.FORGET_WAITS, {"workflows": runs})

    def around(self, waiter: Waiter, wait: Callable[..., Any]) -> Callable[..., Any]:
        """In place of a method of DBOS that waits."""

        @functools.wraps(wait)
        def waiting(database: Any, *args: Any, **kwargs: Any) -> Any:
            run = waiter(*args, **kwargs)
            if run is None:
                return wait(database, *args, **kwargs)
            self._write(run, self._change(run, waits=1))
            try:
                result = wait(database, *args, **kwargs)
            except LOST:  # Whatever was said of it is void.
                self._change(run, waits=-1)
                raise
            except BaseException:
                self._write(run, self._change(run, waits=-1, recorded=False))
                raise
            self._change(run, waits=-1)
            return result

        return waiting

    def around_async(
        self, waiter: Waiter, wait: Callable[..., Awaitable[Any]]
    ) -> Callable[..., Awaitable[Any]]:
        """In place of a coroutine of DBOS that waits."""

        @functools.wraps(wait)
        async def waiting(database: Any, *args: Any, **kwargs: Any) -> Any:
            run = waiter(*args, **kwargs)
            if run is None:
                return await wait(database, *args, **kwargs)
            await self._write_async(run, self._change(run, waits=1))
            try:
                result = await wait(database, *args, **kwargs)
            except LOST:
                self._change(run, waits=-1)
                raise
            except BaseException:
                await self._write_async(run, self._change(run, waits=-1, recorded=False))
                raise
            self._change(run, waits=-1)
            return result

        return waiting

    def stepping(self, invoke_step: Callable[..., Any]) -> Callable[..., Any]:
        """In place of what begins a step."""

        @functools.wraps(invoke_step)
        def invoke(dbos: Any, context: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
            run: str = context.workflow_id

            async def step() -> Any:
                await self._write_async(run, self._change(run, steps=1))
                try:
                    return await invoke_step(dbos, context, function, *args, **kwargs)
                finally:
                    self._change(run, steps=-1)

            if inspect.iscoroutinefunction(function):
                return step()
            self._write(run, self._change(run, steps=1))
            try:
                return invoke_step(dbos, context, function, *args, **kwargs)
            finally:
                self._change(run, steps=-1)

        return invoke

    def sleeping(self, sleep: Callable[..., None]) -> Callable[..., None]:
        """In place of `DBOS.sleep`, after which a run sleeps no longer."""

        @functools.wraps(sleep)
        def sleeping(*args: Any, **kwargs: Any) -> None:
            with self._asleep():
                sleep(*args, **kwargs)

        return sleeping

    def sleeping_async(
        self, sleep: Callable[..., Awaitable[None]]
    ) -> Callable[..., Awaitable[None]]:
        """In place of `DBOS.sleep_async`. Nothing is awaited here before DBOS is called: the calls
        beside it would come in another order than in a replay that does not wait for this."""

        @functools.wraps(sleep)
        async def sleeping(*args: Any, **kwargs: Any) -> None:
            with self._asleep():
                await sleep(*args, **kwargs)

        return sleeping

    def falling_asleep(self, record_sleep: Callable[..., float]) -> Callable[..., float]:
        """In place of what records until when a run sleeps, or waits at most."""

        @functools.wraps(record_sleep)
        def record(database: Any, run: str, *args: Any, **kwargs: Any) -> float:
            sleep = _sleep.get()
            if sleep and kwargs.get("project_completion_time"):
                self._write(run, self._fall_asleep(sleep, run))
            return record_sleep(database, run, *args, **kwargs)

        return record

    @contextmanager
    def _asleep(self) -> Iterator[None]:
        sleep = Sleep()
        token = _sleep.set(sleep)
        try:
            yield
        finally:
            _sleep.reset(token)
            self._wake(sleep)

    def _fall_asleep(self, sleep: Sleep, run: str) -> TextClause | None:
        with self._lock:
            if sleep.over:
                return None
            sleep.run = run
            return self._change(run, sleeps=1)

    def _wake(self, sleep: Sleep) -> None:
        with self._lock:
            sleep.over = True
            if sleep.run is not None:
                self._change(sleep.run, sleeps=-1)

    def _change(
        self,
        run: str,
        *,
        waits: int = 0,
        steps: int = 0,
        sleeps: int = 0,
        recorded: bool = True,
    ) -> TextClause | None:
        """Count what begins or ends; returns what has to be written before anything goes on."""
        with self._lock:
            activity = self._runs[run]
            activity.waits += waits
            activity.steps += steps
            activity.sleeps += sleeps
            activity.changed_at, activity.stale = time.monotonic(), True
            if activity.mixed and not activity.marked:
                activity.marked, activity.said = True, False
                return tables.SAY_SEVERAL_AT_ONCE
            if activity.said and (activity.mixed or not recorded):
                activity.said = False
                return tables.NO_LONGER_WAITS
            return None

    def _write(self, run: str, statement: TextClause | None) -> None:
        """Without Postgres, the run that is affected is forgiven one death too many."""
        if statement is not None:
            with suppress(SQLAlchemyError), self._engine.connect() as connection:
                connection.execute(statement, {"workflow_id": run})

    async def _write_async(self, run: str, statement: TextClause | None) -> None:
        if statement is not None:
            await asyncio.to_thread(self._write, run, statement)


def receiver(workflow_uuid: str, *_: Any, **__: Any) -> str | None:
    """The run that waits in `recv`."""
    return workflow_uuid


def asker(
    target: str, key: str, timeout: float = 0, caller_ctx: Any = None, **_: Any
) -> str | None:
    """The run that waits in `get_event`, if it is one."""
    return caller_ctx and str(caller_ctx["workflow_uuid"])


def caller(
    awaited: str | list[str], *_: Any, fail_if_missing: bool = False, **__: Any
) -> str | None:
    """The run that waits for the end of others.

    A child that is called directly is waited for in its own context. So is a run that somebody
    else executes by now, but then it must not be missing.
    """
    context = get_local_dbos_context()
    if context is None or not context.is_workflow():
        return None
    if context.workflow_id != awaited:
        return context.workflow_id
    return None if fail_if_missing else context.parent_workflow_id or None

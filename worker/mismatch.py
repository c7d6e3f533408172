"""A run whose code no longer calls what it has recorded is stopped, and put aside.

DBOS numbers the operations of a run and records each by name. When another name is recorded than
the code calls, DBOS raises an error that becomes the outcome of the run; here the run is stopped
instead, by an exception that no handler of the user's is for, and held (see `held`). From the
mismatch on nothing of it is recorded and none of its steps begins, also if its code catches
everything, or goes on in other tasks.
"""

import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any
from weakref import WeakValueDictionary

import sqlalchemy as sa
from dbos import error as dbos_error
from dbos._context import get_local_dbos_context
from dbos._sys_db import SystemDatabase, db_retry

from . import tables
from .blocks import block, within
from .held import Mismatch, applies_to, put_aside
from .order import Order
from .replay import GET_RESULT, WAITS, Replay, place_of_result

MOST_STOPPED = 10_000
"""How many stopped runs are remembered. The oldest have nothing under way any more."""


class CodeChanged(dbos_error.DBOSBaseException):
    """Stops a run that does not replay."""

    def __init__(self, workflow_id: str, mismatch: Mismatch) -> None:
        self.workflow_id, self.mismatch = workflow_id, mismatch
        super().__init__(str(mismatch))


class Mismatches:
    """Looks for them in what the runs of this process call, and stops those runs."""

    def __init__(self) -> None:
        self._replays: WeakValueDictionary[str, Replay] = WeakValueDictionary()
        """Executions refer to theirs: DBOS does not say when it gives up a cancelled one."""
        self._stopped: dict[str, Mismatch] = {}
        """Until they are executed here again, for what a stopped run has left under way."""
        self._waits_later = ContextVar("waits_later", default=False)

    def checked(self, check: Callable[..., Any]) -> Callable[..., Any]:
        """Have DBOS's look at what is recorded of an operation stop the run on a mismatch."""

        @functools.wraps(check)
        def check_replay(
            database: SystemDatabase,
            workflow_id: str,
            function_id: int,
            function_name: str,
            conn: sa.Connection,
        ) -> Any:
            self._raise_if_stopped(workflow_id)
            replay = self._replays.get(workflow_id)
            if replay is None or not applies_to(database):
                return check(database, workflow_id, function_id, function_name, conn)
            replay.load(conn, workflow_id)
            self._check_name(workflow_id, replay, function_id, function_name)
            if self._waits_later.get() and replay.begins(function_id, function_name):
                _raise_if_cancelled(conn, workflow_id)
                return None
            recorded = check(database, workflow_id, function_id, function_name, conn)
            if recorded is not None:
                replay.note(function_id)
            elif not self._waits_later.get():
                self._wait_for_those_before(workflow_id, replay, function_id)
            return recorded

        return check_replay

    def begun(self, check: Callable[..., Any]) -> Callable[..., Any]:
        """Have what begins after that look, such as a step, wait without a connection."""

        @functools.wraps(check)
        def check_operation_execution(
            database: SystemDatabase, workflow_id: str, function_id: int, *args: Any, **more: Any
        ) -> Any:
            token = self._waits_later.set(True)
            try:
                recorded = check(database, workflow_id, function_id, *args, **more)
            finally:
                self._waits_later.reset(token)
            if recorded is None and (replay := self._replays.get(workflow_id)):
                self._wait_for_those_before(workflow_id, replay, function_id)
            return recorded

        return check_operation_execution

    def owned(self, check_owner: Callable[..., None]) -> Callable[..., None]:
        """Have DBOS record nothing of a run that was stopped, and the order of async runs."""

        @functools.wraps(check_owner)
        def check_owner_unless_stopped(
            database: SystemDatabase, conn: sa.Connection, workflow_id: str, owner_xid: str
        ) -> None:
            self._raise_if_stopped(workflow_id)
            check_owner(database, conn, workflow_id, owner_xid)
            replay = self._replays.get(workflow_id)
            if replay and replay.order:
                replay.order.record(conn, workflow_id)

        return check_owner_unless_stopped

    def fetched(self, record: Callable[..., None]) -> Callable[..., None]:
        """Have DBOS look what is recorded where a run gets the result of another, as it does
        elsewhere; it would leave what is there and go on."""

        @functools.wraps(record)
        def record_get_result(
            database: SystemDatabase,
            result_workflow_id: str,
            output: str | None,
            error: str | None,
            serialization: str | None,
            ctx: Any = None,
            **more: Any,
        ) -> None:
            if place := place_of_result(ctx):
                workflow_id, number = place
                if replay := self._replays.get(workflow_id):
                    self._check_name(workflow_id, replay, number, GET_RESULT)
            record(database, result_workflow_id, output, error, serialization, ctx, **more)

        return record_get_result

    def patched(self, patch: Callable[..., bool]) -> Callable[..., bool]:
        """Have `DBOS.patch` see that a run has come further that waits there; DBOS would record
        its mark in the place of the wait."""

        @functools.wraps(patch)
        def patch_unless_waiting(
            database: SystemDatabase, *, workflow_id: str, function_id: int, patch_name: str
        ) -> bool:
            if self._waits_at(database, workflow_id, function_id):
                return False
            return patch(
                database, workflow_id=workflow_id, function_id=function_id, patch_name=patch_name
            )

        return patch_unless_waiting

    def named(self, name: Callable[..., str | None]) -> Callable[..., str | None]:
        """The same for `DBOS.patch_async`, which looks by itself."""

        @functools.wraps(name)
        def get_checkpoint_name(
            database: SystemDatabase, *, workflow_id: str, function_id: int
        ) -> str | None:
            if self._waits_at(database, workflow_id, function_id):
                return WAITS[0]
            return name(database, workflow_id=workflow_id, function_id=function_id)

        return get_checkpoint_name

    def ended(self, make: Callable[..., Any]) -> Callable[..., Any]:
        """Have DBOS take no outcome of a run that was stopped, nor of one that has ended before
        all that it has recorded was replayed."""

        @functools.wraps(make)
        def get_workflow_invocation(dbos: Any, status: Any, *args: Any, **more: Any) -> Any:
            workflow_id: str = status["workflow_uuid"]
            replay = self._replays[workflow_id] = Replay()
            self._stopped.pop(workflow_id, None)
            invoke = make(dbos, status, *args, **more)
            watch = functools.partial(self._watch, dbos._sys_db, workflow_id, replay)
            return lambda function: invoke(within(watch, function))

        return get_workflow_invocation

    def order(self, dbos: Any, context: Any) -> Order | None:
        """The order of the async run that begins in a context."""
        workflow_id, database = context.workflow_id, dbos._sys_db
        replay = self._replays.get(workflow_id)
        if replay is None or not applies_to(database):
            return None
        load = functools.partial(_load, database, replay, workflow_id)
        flush = functools.partial(_lock, database, workflow_id, context.owner_xid)
        stop = functools.partial(self._stop, workflow_id)
        replay.order = Order(context, replay, load, flush, stop)
        return replay.order

    @block
    def _watch(self, database: SystemDatabase, workflow_id: str, replay: Replay) -> Iterator[None]:
        context = get_local_dbos_context()
        assert context  # DBOS enters it before.
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
        if not isinstance(error, dbos_error.DBOSBaseException):
            self._note(workflow_id, replay.rest(context.function_id))
        if self._replays.get(workflow_id) is replay:
            del self._replays[workflow_id]
        if mismatch := self._stopped.get(workflow_id):
            put_aside(database.engine, workflow_id, context.owner_xid, mismatch)
            raise CodeChanged(workflow_id, mismatch) from error
        if error:
            raise error

    def _wait_for_those_before(self, workflow_id: str, replay: Replay, function_id: int) -> None:
        replay.wait_for_those_before(function_id, lambda: workflow_id in self._stopped)
        self._raise_if_stopped(workflow_id)

    def _waits_at(self, database: SystemDatabase, workflow_id: str, function_id: int) -> bool:
        replay = self._replays.get(workflow_id)
        if replay is None or not applies_to(database):
            return False
        _load(database, replay, workflow_id)
        return replay.waits_at(function_id)

    def _check_name(self, workflow_id: str, replay: Replay, function_id: int, name: str) -> None:
        if self._note(workflow_id, replay.mismatch(function_id, name)):
            replay.wake()
            if replay.order:
                replay.order.stop(CodeChanged(workflow_id, self._stopped[workflow_id]))
        self._raise_if_stopped(workflow_id)

    def _stop(self, workflow_id: str, mismatch: Mismatch) -> CodeChanged:
        self._note(workflow_id, mismatch)
        return CodeChanged(workflow_id, self._stopped[workflow_id])

    def _note(self, workflow_id: str, mismatch: Mismatch | None) -> bool:
        if mismatch:
            self._stopped.setdefault(workflow_id, mismatch)
        if len(self._stopped) > MOST_STOPPED:
            self._stopped.pop(next(iter(self._stopped)), None)
        return mismatch is not None

    def _raise_if_stopped(self, workflow_id: str) -> None:
        if mismatch := self._stopped.get(workflow_id):
            raise CodeChanged(workflow_id, mismatch)


def _raise_if_cancelled(conn: sa.Connection, workflow_id: str) -> None:
    """What is left to see of an operation that is begun for the first time."""
    status = conn.exec_driver_sql(tables.STATUS, {"workflow": workflow_id}).scalar()
    if status is None:  # As DBOS raises where it records something of a run that was deleted.
        raise dbos_error.DBOSWorkflowConflictIDError(workflow_id)
    if status == "CANCELLED":
        raise dbos_error.DBOSWorkflowCancelledError(f"Workflow {workflow_id} is cancelled.")


@db_retry()
def _load(database: SystemDatabase, replay: Replay, workflow_id: str) -> None:
    with database.engine.connect() as connection:
        replay.load(connection, workflow_id)


@db_retry()
def _lock(database: SystemDatabase, workflow_id: str, owner_xid: str) -> None:
    """Lock a run as whoever records something of it does, with which its order is recorded."""
    with database.engine.begin() as connection:
        database._check_owner_txn(connection, workflow_id, owner_xid)

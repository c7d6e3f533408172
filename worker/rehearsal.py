"""Replays runs in memory, with the code that is here, to see whether they would go on.

DBOS executes the workflow on a system database that only knows what the run has recorded. Whatever
is not recorded ends the rehearsal before it does anything: so no step runs, and nothing is written.
What a workflow does outside of steps happens, as in each replay.
"""

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer
from dbos import error as dbos_error
from dbos._context import get_local_dbos_context
from dbos._core import WorkflowHandleFuture, execute_dequeued_workflow
from dbos._sys_db_postgres import PostgresSystemDatabase
from psycopg.rows import dict_row

from . import internals, tables
from .database import Connection
from .held import Mismatch
from .order import Order
from .portable import PORTABLE
from .replay import GET_RESULT, WAITS, Replay
from .settings import Settings
from .threads import Pools

REHEARSAL_SECONDS = 5.0
"""How long the code of one run may take to be replayed, beside the timeouts of what it has called:
those begin anew. It waits for nothing else that is recorded."""


class Ended(dbos_error.DBOSBaseException):
    """Ends a rehearsal: beyond this the run has recorded nothing."""

    def __init__(self) -> None:
        super().__init__("it would replay so far")


class Run:
    """One run, what it has recorded, and what its rehearsal finds."""

    def __init__(
        self, status: Any, recorded: list[dict[str, Any]], ordered: Iterable[Any] = ()
    ) -> None:
        self.workflow_id: str = status["workflow_uuid"]
        self.status: Any = status | {"status": "PENDING", "recovery_attempts": 0}
        self.rows = {row["function_id"]: row for row in recorded}
        self.replay = Replay()
        names = (
            (row["function_id"], row["function_name"], row["completed_at"], row["until"])
            for row in recorded
        )
        self.replay.read(names, ordered)
        self.mismatch: Mismatch | None = None

    def deviated(self, mismatch: Mismatch) -> Ended:
        """What ends the rehearsal as the code is given things in another order."""
        self.mismatch = self.mismatch or mismatch
        return Ended()

    def check(self, function_id: int, name: str) -> None:
        """End the rehearsal if something else is recorded than is called."""
        self.mismatch = self.mismatch or self.replay.mismatch(function_id, name)
        if self.mismatch:
            self.replay.wake()
            raise Ended

    def recorded(self, function_id: int, name: str) -> dict[str, Any]:
        """What is recorded of an operation; ends the rehearsal if nothing is, or nothing else."""
        self.check(function_id, name)
        row = self.rows.get(function_id)
        if row is None:
            self.replay.wait_for_those_before(function_id, lambda: self.mismatch is not None)
            raise Ended
        self.replay.note(function_id)
        if function_id == max(self.rows) and self.replay.is_over:
            raise Ended
        return row

    def result_of(self, workflow_id: str) -> dict[str, Any]:
        """The result of another workflow that the run has got; ends the rehearsal if it has not."""
        for _, row in sorted(self.rows.items()):
            if row["function_name"] == GET_RESULT and row["child_workflow_id"] == workflow_id:
                return row
        raise Ended


class Nowhere:
    """An engine that leads to no database."""

    def __init__(self, dialect: Any) -> None:
        self.dialect = dialect

    @contextlib.contextmanager
    def begin(self) -> Iterator["Nowhere"]:
        """A transaction in which every statement ends the rehearsal."""
        yield self

    def __getattr__(self, name: str) -> Any:
        raise Ended


class RehearsalDatabase(PostgresSystemDatabase):
    """The system database of a rehearsal: DBOS's own, with nothing behind it but a run."""

    def __init__(self, real: Any) -> None:
        vars(self).update(vars(real))
        self.engine = Nowhere(real.engine.dialect)  # type: ignore[assignment]
        self.run = Run({"workflow_uuid": ""}, [])

    def _of(self, *workflow_ids: str) -> Run:
        """The run; what the code of an earlier one has left under way ends."""
        if self.run.workflow_id not in workflow_ids:
            raise Ended
        return self.run

    def _check_operation_execution_txn(
        self, workflow_id: str, function_id: int, function_name: str, conn: Any
    ) -> Any:
        return self._of(workflow_id).recorded(function_id, function_name)

    def record_sleep(self, workflow_uuid: str, function_id: int, seconds: float, **_: Any) -> float:
        """The seconds to sleep: none."""
        self._of(workflow_uuid).recorded(function_id, "DBOS.sleep")
        return 0.0

    def await_workflow_result(self, workflow_id: str, *_: Any, **__: Any) -> Any:
        """What the run has got from another workflow."""
        context = get_local_dbos_context()
        assert context
        run = self._of(context.workflow_id, context.parent_workflow_id)
        recorded: Any = run.result_of(workflow_id)
        return self._replay_recorded(recorded, GET_RESULT)

    async def await_workflow_result_async(self, workflow_id: str, *_: Any, **__: Any) -> Any:
        """The same for a coroutine."""
        return self.await_workflow_result(workflow_id)

    def record_get_result(
        self,
        result_workflow_id: str,
        output: Any,
        error: Any,
        serialization: Any,
        ctx: Any = None,
        **_: Any,
    ) -> None:
        """Check that it was got at this place."""
        context = ctx or get_local_dbos_context()
        if ctx is None and context and context.is_workflow():
            context.function_id += 1
        if context and context.is_workflow():
            self._of(context.workflow_id).recorded(context.function_id, GET_RESULT)

    def get_checkpoint_name(self, *, workflow_id: str, function_id: int) -> str | None:
        """What is recorded where `DBOS.patch` is called."""
        run = self._of(workflow_id)
        if run.replay.waits_at(function_id):
            return WAITS[0]
        row = run.rows.get(function_id)
        return str(row["function_name"]) if row else None

    def patch(self, *, workflow_id: str, function_id: int, patch_name: str) -> bool:
        """Whether the run has passed a patch; ends the rehearsal if it has not come that far."""
        name = self.get_checkpoint_name(workflow_id=workflow_id, function_id=function_id)
        if name is None:
            self._of(workflow_id).recorded(function_id, patch_name)
        return name == patch_name

    def deprecate_patch(self, *, workflow_id: str, function_id: int, patch_name: str) -> bool:
        """Whether the run has passed a patch."""
        name = self.get_checkpoint_name(workflow_id=workflow_id, function_id=function_id)
        return name == patch_name

    def update_workflow_outcome(self, workflow_id: str, *_: Any, **__: Any) -> bool:
        """Note what is recorded beyond the end that the code has come to."""
        run, context = self._of(workflow_id), get_local_dbos_context()
        if context and context.workflow_id == workflow_id:
            run.mismatch = run.mismatch or run.replay.rest(context.function_id)
        return True


def rehearse(dbos: Any, run: Run) -> str | None:
    """Replay a run; returns why it would not replay, or None if it would."""
    dbos._sys_db.run = run
    problems: list[str] = []
    thread = threading.Thread(target=_execute, args=[dbos, run, problems], daemon=True)
    thread.start()
    seconds = REHEARSAL_SECONDS + run.replay.deliveries.seconds
    thread.join(seconds)
    if thread.is_alive():
        return f"its code runs for longer than {seconds:g} s without a step"
    return str(run.mismatch) if run.mismatch else next(iter(problems), None)


def _execute(dbos: Any, run: Run, problems: list[str]) -> None:
    under_way = set(dbos._workflow_tasks)
    try:
        handle = execute_dequeued_workflow(dbos, run.status, "rehearsal")
    except Ended:
        return
    except Exception as error:  # Its name is unknown, or its arguments do not fit.
        problems.append(str(error))
        return
    if isinstance(handle, WorkflowHandleFuture):
        handle.future.exception()
    while any(not task.done() for task in {*dbos._workflow_tasks} - under_way):
        time.sleep(0.001)


def would_not_replay(
    settings: Settings, connection: Connection, names: Mapping[str, str]
) -> dict[str, str]:
    """Why runs would not replay, by id, for those that would not; `names` are their workflows', by
    id. What has recorded nothing begins anew, and need not be rehearsed.

    The workflows have been found, and this process is no worker. Raises psycopg.Error.
    """
    with _rehearsing(settings) as (dbos, real):
        reasons = {
            workflow_id: _unknown(dbos, name) or _rehearsed(dbos, real, connection, workflow_id)
            for workflow_id, name in names.items()
        }
    return {workflow_id: reason for workflow_id, reason in reasons.items() if reason}


def _unknown(dbos: Any, name: str) -> str | None:
    known = name in dbos._registry.workflow_info_map
    return None if known else f"the code has no workflow {name!r}"


def _rehearsed(dbos: Any, real: Any, connection: Connection, workflow_id: str) -> str | None:
    with connection.cursor(row_factory=dict_row) as cursor:
        recorded = cursor.execute(tables.RECORDED, {"workflow": workflow_id}).fetchall()
    status = real.get_workflow_status(workflow_id) if recorded else None
    if status is None:
        return None
    ordered = connection.execute(tables.DELIVERIES, {"workflow": workflow_id}).fetchall()
    run = Run(status, recorded, ordered)
    return _not_portable(run) or rehearse(dbos, run)


def _nothing() -> None: ...


def _order(dbos: Any, context: Any) -> Order | None:
    run: Run = dbos._sys_db.run
    if context.workflow_id != run.workflow_id:
        return None
    return Order(context, run.replay, _nothing, _nothing, run.deviated)


@contextlib.contextmanager
def _rehearsing(settings: Settings) -> Iterator[tuple[Any, Any]]:
    """DBOS as workflows see it, with nothing behind it; and what reads the status of runs."""
    serializer = DBOSPortableJSONSerializer()
    client = DBOSClient(
        system_database_url=settings.database_url,
        serializer=serializer,
        application_name=settings.app_name,
    )
    config: DBOSConfig = {
        "name": settings.app_name,
        "system_database_url": settings.database_url,
        "application_version": settings.app_version,
        "executor_id": settings.executor_id,
        "serializer": serializer,
        "log_level": "CRITICAL",
    }
    dbos: Any = DBOS(config=config)
    internals.install()  # So that the code is told what it is told in a worker.
    internals.give_results_in_order(_order)
    try:
        dbos._sys_db_field = RehearsalDatabase(client._sys_db)
        dbos._executor_field = Pools(internals.claim_of)
        dbos._background_event_loop.start(dbos._executor_field)
        yield dbos, client._sys_db
    finally:
        client.destroy()


def _not_portable(run: Run) -> str | None:
    """Why a run cannot be read here: nothing is unpickled."""
    kinds = {run.status["serialization"], *(row["serialization"] for row in run.rows.values())}
    if other := kinds - {None, PORTABLE}:
        return f"what it has recorded is {', '.join(sorted(map(str, other)))}"
    return None

"""What stands in place of dbos's own: one named function each, with the reason why.

`install` puts all of it in place when a worker starts; importing this module changes nothing.
Each can be put in place by itself. What is replaced is named, so a release of dbos that has
renamed it stops the start with an AttributeError.
"""

import asyncio
import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from dbos import (
    DBOS,
    DBOSPortableJSONSerializer,
    _client,
    _context,
    _core,
    _datasource,
    _dbos,
    _debouncer,
    _enqueue_options,
    _outcome,
    _queue,
    _serialization,
    _sys_db,
    _workflow_commands,
)
from dbos._datasource import AsyncSQLAlchemyDatasource, SQLAlchemyDatasource
from dbos._serialization import DefaultSerializer
from dbos._sys_db import SystemDatabase
from dbos._sys_db_postgres import PostgresSystemDatabase

from . import (
    callers,
    cancellations,
    children,
    failures,
    foreign,
    handles,
    held,
    limits,
    lost,
    messages,
    misuse,
    operations,
    order,
    outcomes,
    ownership,
    reports,
    retries,
    sleeps,
    steps,
    tasks,
    threads,
    waiters,
    waits,
)
from .cancellations import Cancellations
from .capacity import Capacity
from .clock import Clock
from .listener import Listener
from .mismatch import Mismatches
from .ownership import Ownership
from .running import Running

Replacement = Callable[[], None]

_MADE_BY = "__made_by__"


def install() -> None:
    """Put every replacement in place; those that are, stay as they are."""
    for replacement in REPLACEMENTS:
        replacement()


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put what `make` makes of `owner.name` in its place, once."""
    original = getattr(owner, name)
    made_by: tuple[Any, ...] = getattr(original, _MADE_BY, ())
    # Partial objects are never equal to each other.
    maker = (make.func, *make.args) if isinstance(make, functools.partial) else make
    if maker not in made_by:
        replacement = make(original)
        setattr(replacement, _MADE_BY, (*made_by, maker))
        bound = isinstance(inspect.getattr_static(owner, name), classmethod)
        setattr(owner, name, staticmethod(replacement) if bound else replacement)


def never_pickle() -> None:
    """DBOS reads and writes pickles where a row or a caller says so, whatever it was given."""
    replace(DefaultSerializer, "deserialize", foreign.never_unpickling)
    replace(DefaultSerializer, "serialize", foreign.never_pickling)
    replace(_datasource, "DBOSDefaultSerializer", foreign.portable_by_default)


def refuse_a_name_twice() -> None:
    """DBOS only warns in one file, and the second workflow takes over the runs of the first."""
    replace(_dbos.DBOSRegistry, "register_wf_function", misuse.one_of_a_name)


def refuse_foreign_arguments() -> None:
    """DBOS executes a run whose row names another form, and leaves one that it cannot read."""
    replace(_queue, "execute_dequeued_workflow", foreign.refused)


def record_what_is_not_read() -> None:
    """DBOS leaves a message that it cannot read for the next `recv`, which cannot either."""
    replace(SystemDatabase, "recv_consume", foreign.consumed)
    replace(SystemDatabase, "get_event_consume", foreign.consumed)
    replace(_sys_db, "deserialize_value", foreign.kept_unread)
    replace(_sys_db, "serialize_value_as", foreign.recorded_unread)


def store_only_portable_json() -> None:
    """DBOS writes NaN, which is no JSON, and half a character, which Postgres refuses."""
    replace(DBOSPortableJSONSerializer, "serialize", outcomes.portable)


def look_when_listening(listener: Listener) -> None:
    """DBOS listens again a second after its session has ended, and misses what came meanwhile."""
    replace(PostgresSystemDatabase, "_notification_listener", listener.instead_of)


def keep_results_of_steps() -> None:
    """DBOS gives a caller what a step returned, and after a takeover what JSON made of it."""
    replace(_core, "invoke_step", steps.kept_results)


def keep_results_of_transactions() -> None:
    """A datasource has a checkpoint of its own, before that of the step."""
    replace(SQLAlchemyDatasource, "run_tx_step", steps.kept_transactions)
    replace(AsyncSQLAlchemyDatasource, "run_tx_step_async", steps.kept_transactions)


def refuse_workflows_in_steps() -> None:
    """DBOS has an `assert` without a word for it."""
    replace(_context.DBOSContext, "create_start_workflow_child", callers.outside_of_steps)


def refuse_unknown_queues() -> None:
    """DBOS enqueues into a queue of any name, where nobody ever looks."""
    replace(_core, "_init_workflow", callers.initialized)
    replace(_core, "_persist_enqueue_with_options", callers.persisted)


def store_arguments_by_hint() -> None:
    """DBOS writes datetimes to the millisecond, naive ones as UTC, and nothing that is unusual."""
    replace(_core, "_init_workflow", children.stored_arguments)
    replace(_core, "_build_enqueue_with_options", children.stored_elsewhere)


def begin_with_stored_arguments() -> None:
    """DBOS gives a workflow what its caller passed, and after a takeover what JSON made of it."""
    replace(_core, "_dropping_datasource_checkpoints", children.begun_as_stored)
    replace(_core, "coerce_portable_args_to_hints", children.loaded_arguments)


def keep_results_of_workflows() -> None:
    """DBOS gives a parent what its child returned, and after a takeover what JSON made of it."""
    replace(_core, "_get_wf_invoke_func", children.stored_result)
    replace(_core, "serialize_value", children.serialized_by_type)
    replace(SystemDatabase, "check_workflow_result", children.loaded_result)
    replace(SystemDatabase, "call_function_as_step", children.recorded_as_stored)
    replace(SystemDatabase, "call_coroutine_as_step", children.recorded_as_stored)


def tell_values_of_any_type() -> None:
    """DBOS refuses most of what JSON can hold, and changes times, in events and the like."""
    replace(_dbos, "set_event", messages.plain_events)
    replace(_dbos, "write_stream", messages.plain_streams)
    replace(_dbos, "send_bulk", messages.plain_messages)


def limit_what_is_told() -> None:
    """DBOS stores a value of any size, and whoever reads it has to hold it."""
    replace(_sys_db, "serialize_value", limits.limited)
    for what, name, step in (
        ("the event", "set_event", "DBOS.setEvent"),
        ("a value of the stream", "write_stream", "DBOS.writeStream"),
    ):
        recorded = functools.partial(limits.limited_values, what, step)
        replace(SystemDatabase, f"{name}_from_workflow", recorded)
        within_step = functools.partial(limits.limited_values, what, None)
        replace(SystemDatabase, f"{name}_from_step", within_step)
    replace(SystemDatabase, "send_bulk", limits.limited_messages)


def receive_signals_as_declared() -> None:
    """DBOS knows no types of messages."""
    replace(SystemDatabase, "recv", messages.declared_signals)
    replace(SystemDatabase, "recv_async", messages.declared_signals)


TIMED = (_client, _context, _core, _dbos, _debouncer, _enqueue_options, _sys_db)
"""The modules of dbos that call `time.time()`."""


def tell_the_time_of(clock: Clock) -> None:
    """DBOS delays, cancels and wakes by the clock of the machine that it runs on."""
    for module in TIMED:
        replace(module, "time", clock.in_place_of)


def leave_sweeps_to_others(clock: Clock) -> None:
    """The one process that sweeps keeps the others from it, also while its own clock is wrong."""
    replace(PostgresSystemDatabase, "background_job_lock", clock.while_right)


def share_out_threads() -> None:
    """DBOS has one pool without bound for all: runs that wait, steps, and what it writes."""
    replace(_dbos, "ThreadPoolExecutor", _pools)


def _pools(_: object) -> Callable[..., threads.Pools]:
    return functools.partial(threads.Pools, claim_of)


def claim_of(function: object, arguments: tuple[Any, ...]) -> threads.Claim | None:
    """Which sync run a call that DBOS has its pool make executes, if it does."""
    if function is not _core._execute_workflow_wthread:
        return None
    _, status, _, context, *_ = arguments
    return status["workflow_uuid"], context.owner_xid or ""


def write_with_clerks() -> None:
    """Steps that take long would leave no thread to write the outcomes of async runs."""
    for module in (_core, _dbos, _debouncer, _outcome, _queue, _sys_db, _workflow_commands):
        replace(module, "asyncio", _with_clerks)
    # They ask Postgres in the midst of DBOS's code.
    for module in (handles, operations, order, ownership, waits):
        replace(module, "asyncio", _with_clerks)


def _with_clerks(asyncio: ModuleType) -> Any:
    return threads.with_clerks(asyncio, _pools_at_hand, _runs_users_code)


def _pools_at_hand() -> object:
    return getattr(_dbos._dbos_global_instance, "_executor_field", None)


def _runs_users_code(function: Callable[..., Any]) -> bool:
    """Whether it is what DBOS hands to a thread for a sync step."""
    return getattr(function, "__qualname__", "").startswith("run_step_async.")


def let_go_of_lost_runs() -> None:
    """A run that another worker has would poll for its end, and a sync one hold its thread."""
    replace(_core, "_get_wf_invoke_func", lost.let_go)


def start_queues_patiently() -> None:
    """A queue for which no thread can be started would end the thread that starts them all."""
    replace(_queue, "threading", threads.patient)


def tell_dispatches(dispatched: Callable[[str], object]) -> None:
    """To start what one look at a queue has claimed may take long: tell of each workflow."""

    def make(execute: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(execute)
        def execute_and_tell(dbos: Any, status: Any, owner_xid: str) -> Any:
            try:
                return execute(dbos, status, owner_xid)
            finally:
                dispatched(status["queue_name"])

        return execute_and_tell

    replace(_queue, "execute_dequeued_workflow", make)


def is_async(workflow: Any) -> bool:
    """Whether a workflow holds no thread; before Python 3.12, DBOS hides that from `inspect`."""
    return inspect.iscoroutinefunction(workflow.__orig_func)


def bound_claims(system_database: Any, capacity: Capacity) -> None:
    """DBOS bounds what runs at the same time by queue, but not how many threads that holds."""
    name = system_database.tables.workflow_status.c.name
    replace(system_database, "start_queued_workflows", capacity.bound)
    replace(system_database, "start_queued_partitioned_workflows", capacity.bound_partitioned)
    replace(system_database, "_claim_gate", functools.partial(capacity.gate, name))


def store_exceptions_as_themselves() -> None:
    """DBOS stores only name and message of one, so a replay raises a PortableWorkflowError."""
    for module in (_core, _datasource, _serialization, _sys_db):
        replace(module, "serialize_exception", failures.serialized)
        replace(module, "deserialize_exception", failures.deserialized)


def raise_from_steps_what_replays_raise() -> None:
    """DBOS raises what a step raised in its first execution, and what was stored of it later."""
    replace(_core, "invoke_step", failures.alike_in_replays)


def raise_from_children_what_replays_raise() -> None:
    """A parent gets what its child raised at first, and what was stored of it later."""
    replace(_core, "_get_wf_invoke_func", failures.alike_for_parents)


def report_what_callers_may_not_read() -> None:
    """DBOS logs what a workflow failed with, and neither which step nor what a workflow catches."""
    replace(SystemDatabase, "record_operation_result", reports.of_steps)
    replace(SystemDatabase, "record_get_result", reports.of_results)
    replace(SystemDatabase, "update_workflow_outcome", reports.of_workflows)


def try_again_soon() -> None:
    """DBOS waits up to 90 s before it tries again, also when the database has long been back."""
    replace(_sys_db, "db_retry", retries.capped)
    retries.cap(_sys_db.SystemDatabase)
    retries.cap(PostgresSystemDatabase)


WAITERS: dict[str, waits.Waiter] = {
    "recv": waits.receiver,
    "get_event": waits.asker,
    "await_workflow_result": waits.caller,
    "await_first_workflow_id": waits.caller,
}
"""The methods of DBOS's database that wait; each has an async twin."""


def know_what_waits(runs: waits.Waits) -> None:
    """DBOS does not say what is in flight, and of a wait for another workflow there is no row."""
    database = _sys_db.SystemDatabase
    for name, waiter in WAITERS.items():
        replace(database, name, functools.partial(runs.around, waiter))
        replace(database, f"{name}_async", functools.partial(runs.around_async, waiter))
    replace(DBOS, "sleep", runs.sleeping)
    replace(DBOS, "sleep_async", runs.sleeping_async)
    replace(database, "record_sleep", runs.falling_asleep)
    replace(_core, "invoke_step", runs.stepping)


def wait_a_hundred_years_at_most() -> None:
    """DBOS cannot record a later time, so a run that asks for one would fail."""
    replace(SystemDatabase, "record_sleep", sleeps.bounded)


SLEEPING: tuple[tuple[ModuleType, waiters.RunOf], ...] = (
    (_sys_db, waiters.waited_for),
    (_dbos, waiters.executed),
    (_outcome, waiters.attempted),
)
"""The modules of DBOS that sleep for a run: to look again whether another has ended, in
`DBOS.sleep`, and before a further attempt at a step."""


def end_waits_of_lost_runs(runs: Cancellations) -> None:
    """DBOS lets a cancelled run wait to the end, which may be days away."""
    database = _sys_db.SystemDatabase
    for name, waiter in WAITERS.items():
        replace(database, name, functools.partial(waiters.around, waiter))
        replace(database, f"{name}_async", functools.partial(waiters.around_async, waiter))
    replace(_sys_db, "LoopAwareEvent", runs.events)
    for module, run_of in SLEEPING:
        replace(module, "time", functools.partial(sleeps.time_with, run_of))
        replace(module, "asyncio", functools.partial(sleeps.asyncio_with, run_of))
    replace(_core.WorkflowHandleFuture, "_get_result", sleeps.futures)
    replace(_core, "_dropping_datasource_checkpoints", waiters.called)
    replace(_core, "_get_wf_invoke_func", cancellations.caller_ended)


def leave_out_what_is_held() -> None:
    """DBOS claims whatever is enqueued, also what did not replay a moment ago."""
    replace(_sys_db.SystemDatabase, "_claim_gate", held.gated)
    replace(_sys_db.SystemDatabase, "start_queued_partitioned_workflows", held.sweeping)
    replace(_sys_db.SystemDatabase, "_scoped", held.scoped)


REPLACEMENTS: tuple[Replacement, ...] = (
    never_pickle,
    refuse_foreign_arguments,
    record_what_is_not_read,
    store_only_portable_json,
    share_out_threads,
    write_with_clerks,
    let_go_of_lost_runs,
    start_queues_patiently,
    store_exceptions_as_themselves,
    raise_from_steps_what_replays_raise,
    raise_from_children_what_replays_raise,
    report_what_callers_may_not_read,
    keep_results_of_steps,
    keep_results_of_transactions,
    refuse_workflows_in_steps,
    refuse_unknown_queues,
    store_arguments_by_hint,
    begin_with_stored_arguments,
    keep_results_of_workflows,
    tell_values_of_any_type,
    limit_what_is_told,
    receive_signals_as_declared,
    try_again_soon,
    wait_a_hundred_years_at_most,
    leave_out_what_is_held,
)


def begin_steps_only_as_owner(ownership: Ownership) -> None:
    """DBOS begins a step without asking who owns its workflow, and then refuses the result."""
    replace(_queue, "generate_uuid", ownership.claiming)
    replace(_core, "_init_workflow", ownership.starting)
    replace(_core, "invoke_step", ownership.beginning)
    replace(_sys_db.SystemDatabase, "call_function_as_step", ownership.calling)


def note_what_is_executed(running: Running) -> None:
    """DBOS does not say which thread executes what, and knows no children that were called.

    It comes after `begin_with_stored_arguments`, which does not hand on the function with its name.
    """
    replace(_core, "_dropping_datasource_checkpoints", running.executing)
    replace(_core, "_get_wf_invoke_func", running.finishing)
    replace(_core, "invoke_step", running.beginning)


OrderOf = Callable[[Any, Any], order.Order | None]

UNORDERED = ("patch_async", "deprecate_patch_async")
"""They come and go with releases while a run is under way, so they have no place in its order; DBOS
refuses them beside other calls."""


def give_results_in_order(order_of: OrderOf) -> None:
    """DBOS gives async code what it awaits whenever that comes, so a replay may number what is
    called then in another way.

    It comes after all that changes `invoke_step`: what is called takes its place at once.
    """
    executing = functools.partial(operations.executing, order_of)
    replace(_core, "_dropping_datasource_checkpoints", executing)
    replace(_core, "invoke_step", operations.steps)
    replace(_outcome.Pending, "__call__", operations.children)
    replace(_dbos, "read_stream_async", operations.streams)
    replace(_dbos.StepReservation, "run_async", operations.in_order)
    replace(_queue.Queue, "enqueue_async", operations.in_order)
    replace(_debouncer.Debouncer, "debounce_async", operations.in_order)
    replace(SQLAlchemyDatasource, "run_tx_step", operations.transactions)
    replace(AsyncSQLAlchemyDatasource, "run_tx_step_async", operations.transactions)
    replace(AsyncSQLAlchemyDatasource, "run_tx_step_async", operations.in_order)
    for handle in (_core.WorkflowHandleAsyncTask, _core.WorkflowHandleAsyncPolling):
        replace(handle, "_get_result", handles.results)
        replace(handle, "get_status", handles.statuses)
    for name in [name for name in vars(DBOS) if name.endswith("_async")]:
        if name not in UNORDERED and inspect.iscoroutinefunction(getattr(DBOS, name)):
            replace(DBOS, name, operations.in_order)
    replace(DBOS, "asyncio_wait", operations.around_others)
    replace(_context.DBOSContext, "end_workflow", operations.still_known)
    replace(asyncio, "as_completed", tasks.in_turn)


def stop_where_the_code_changed(mismatches: Mismatches) -> None:
    """DBOS has a run fail whose code calls something else than it has recorded."""
    replace(_sys_db.SystemDatabase, "_check_operation_execution_txn", mismatches.checked)
    replace(_sys_db.SystemDatabase, "check_operation_execution", mismatches.begun)
    replace(_sys_db.SystemDatabase, "_check_owner_txn", mismatches.owned)
    replace(_sys_db.SystemDatabase, "record_get_result", mismatches.fetched)
    replace(_sys_db.SystemDatabase, "patch", mismatches.patched)
    replace(_sys_db.SystemDatabase, "get_checkpoint_name", mismatches.named)
    replace(_core, "_get_wf_invoke_func", mismatches.ended)

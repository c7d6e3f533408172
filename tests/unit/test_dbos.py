"""What is assumed of dbos that it does not promise: one sentence and one test each.

An upgrade that breaks an assumption fails here, and says which.
"""

import asyncio
import functools
import gc
import importlib
import inspect
import json
import math
import pkgutil
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import dbos
import pytest
from dbos import (
    DBOSClient,
    DBOSPortableJSONSerializer,
    Serializer,
    _core,
    _dbos,
    _debouncer,
    _event_loop,
    _outcome,
    _queue,
    _sys_db,
    _workflow_commands,
)
from dbos import error as dbos_error
from dbos._sys_db import SystemDatabase, ThreadSafeEventDict
from dbos._sys_db_postgres import PostgresSystemDatabase
from dbos._utils import LoopAwareEvent

from local_dev.bench.stage import APPLICATION, enqueue
from tests.conftest import NewDatabase
from tests.rows import declare_queue, hold, record, update
from worker import internals, lost, mismatch, retries, threads
from worker.clock import Clock, steady
from worker.held import Mismatch
from worker.listener import Listener
from worker.mismatch import CodeChanged, Mismatches

PROGRAM = """
from dbos import DBOSPortableJSONSerializer
from worker import internals

before = DBOSPortableJSONSerializer.serialize
assert before.__module__ == "dbos._serialization", "importing has replaced it"
for _ in range(2):
    internals.install()
once = DBOSPortableJSONSerializer.serialize
internals.install()
assert before is not once is DBOSPortableJSONSerializer.serialize
"""


def test_replacements_are_put_in_place_once_and_not_by_import(root: Path) -> None:
    """Importing the worker changes nothing in dbos; installing twice changes it once."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


FRAMEWORK = """
import uvicorn
from functions_framework import aio
from functions import internals, target

before = aio.Route
internals.limit_headers()
internals.route_every_method()
for http in "auto", "httptools":
    config = uvicorn.Config(target, http=http)
    config.load()
    assert config.http_protocol_class.__name__ == "LimitedHttp"

async def function(request): ...

app = aio._create_asgi_app_with_function(function, "http", False)
methods = {route.path: route.methods for route in app.routes}
assert isinstance(app.routes[0], before)
assert methods["/"] == methods["/{path:path}"] == set() != methods["/robots.txt"]
"""


def test_functions_framework_takes_its_protocol_and_its_routes_from_these_names(root: Path) -> None:
    """uvicorn from a table, by "auto"; Starlette's Route from its own module."""
    command = [sys.executable, "-c", FRAMEWORK]

    done = subprocess.run(command, cwd=root, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_dbos_serializes_portable_values_with_a_method_of_this_class() -> None:
    """Results and steps, events and errors all pass through it, whatever is configured."""
    internals.store_only_portable_json()

    with pytest.raises(ValueError, match="NaN is not portable JSON"):
        DBOSPortableJSONSerializer().serialize(math.nan)
    assert json.loads(DBOSPortableJSONSerializer().serialize("\ud800")) == "\ud800"


UNPICKLES = """
import pickle, sys
from dbos import SQLAlchemyDatasource
from dbos._serialization import DBOSDefaultSerializer, DefaultSerializer
from {package} import internals

text = DBOSDefaultSerializer.serialize(1)
assert DBOSDefaultSerializer.deserialize(text) == 1, "importing has replaced it"
for _ in range(2):
    internals.{replacement}()
for serializer in (DBOSDefaultSerializer, DefaultSerializer()):
    try:
        serializer.deserialize(text)
    except Exception as error:
        assert "py_pickle" in str(error)
    else:
        sys.exit("unpickled")
if "{package}" == "worker":
    serializer = SQLAlchemyDatasource.create("sqlite://").serializer
    assert serializer.name() == "portable_json"
"""


@pytest.mark.parametrize(
    ("package", "replacement"), [("worker", "never_pickle"), ("functions", "never_unpickle")]
)
def test_dbos_unpickles_in_one_method_only(root: Path, package: str, replacement: str) -> None:
    """Every serializer that reads `py_pickle` is of this class, also that of a datasource."""
    sources = {path: path.read_text() for path in Path(dbos.__file__).parent.rglob("*.py")}
    pickling = [
        (path.stem, found)
        for path in sources
        for found in re.findall(
            r"import \w*pickle|\bpickle\.\w+|PickleType|marshal|shelve", sources[path]
        )
    ]
    program = UNPICKLES.format(package=package, replacement=replacement)

    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)

    module = "_serialization"
    assert pickling == [
        (module, "import pickle"),
        (module, "pickle.dumps"),
        (module, "pickle.loads"),
    ]
    assert done.returncode == 0, done.stderr


def test_dbos_consumes_messages_and_events_in_these_methods() -> None:
    """They read with `deserialize_value`, and record what they have read in the form that it had,
    with `serialize_value_as`; the latter is used nowhere else in that module."""
    sources = [
        inspect.getsource(inspect.unwrap(getattr(SystemDatabase, name)))
        for name in ("recv_consume", "get_event_consume")
    ]

    for source in sources:
        assert source.count("serialize_value_as(") == 1
        assert "return message" in source or "return value" in source
    assert inspect.getsource(_sys_db).count("serialize_value_as(") == 2


def test_dbos_executes_what_it_has_claimed_with_one_function_of_its_queues() -> None:
    """It is given the row as it is, and the token of the claim."""
    execute = inspect.unwrap(vars(_queue)["execute_dequeued_workflow"])

    assert list(signature(execute).parameters) == ["dbos", "status", "owner_xid"]
    assert inspect.getsource(_queue).count("execute_dequeued_workflow(") == 1
    assert "serialization" in _sys_db.WorkflowStatusInternal.__annotations__


def test_dbos_starts_every_workflow_with_a_context_that_this_method_makes() -> None:
    """Called, started or enqueued, and before anything is awaited."""
    starting: list[Any] = [
        *(_queue.Queue.enqueue_async, dbos.DBOS.start_workflow_async),
        *(dbos.DBOS.enqueue_workflow_with_options_async, _core.enqueue_workflow_with_options),
        *(_core.start_workflow, _core.workflow_wrapper),
    ]

    sources = [inspect.getsource(function) for function in starting]

    assert all("DBOSContext.create_start_workflow_child(" in source for source in sources)


def test_dbos_stores_what_is_enqueued_with_one_of_two_functions() -> None:
    """Both are told the queue, and neither is asked for what is recorded."""
    sources = inspect.getsource(_core)

    assert len(re.findall(r"(?<!def )\b_init_workflow[(,]", sources)) == 3
    assert len(re.findall(r"(?<!def )\b_persist_enqueue_with_options[(,]", sources)) == 2
    assert {"queue"} <= signature(_core._init_workflow).parameters.keys()


def test_dbos_listens_in_one_method_of_this_class() -> None:
    """The thread that DBOS starts for it goes on in what is put in its place."""
    listen = PostgresSystemDatabase._notification_listener

    internals.look_when_listening(Listener())

    instead = PostgresSystemDatabase._notification_listener
    assert instead.__wrapped__ is listen  # type: ignore[attr-defined]
    assert (
        "_notification_listener"
        in PostgresSystemDatabase.run_notification_listener.__code__.co_names
    )


def test_dbos_knows_for_what_each_waits() -> None:
    """By workflow and topic, or key; what is set there wakes all who wait for the same."""
    waiting, one, other = ThreadSafeEventDict(), LoopAwareEvent(), LoopAwareEvent()
    for event in (one, other):
        waiting.add("run::topic", event, ("run", "topic", None))

    [(payload, components, signal)] = waiting.snapshot()
    signal.set()

    assert (payload, components) == ("run::topic", ("run", "topic", None))
    assert waiting.get(payload) is signal
    assert one.is_set()
    assert other.is_set()


def test_dbos_tells_the_time_in_these_modules_only() -> None:
    """By `time.time()`, the module's `time` being the whole module; but schedules, whose next time
    is a `datetime.now()`."""
    sources = {path: path.read_text() for path in Path(dbos.__file__).parent.rglob("*.py")}

    def modules(pattern: str) -> set[str]:
        return {f"dbos.{path.stem}" for path in sources if re.search(pattern, sources[path])}

    assert modules(r"\btime\.time(_ns)?\(\)") == {each.__name__ for each in internals.TIMED}
    assert modules(r"from time import|import time as|datetime\.(utc)?now\(") == {"dbos._scheduler"}


def test_dbos_asks_its_modules_for_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time anew, so that another `time` in a module is all that it takes."""
    for module in internals.TIMED:
        monkeypatch.setattr(module, "time", time)  # For afterwards.
    clock = Clock()
    clock.learn(told=1_000_000.0, sent=(now := steady()), received=now)

    for _ in range(2):
        internals.tell_the_time_of(clock)

    for module in internals.TIMED:
        assert getattr(module, "time").time() == pytest.approx(1_000_000, abs=60)  # noqa: B009
    assert getattr(_sys_db, "time").sleep is time.sleep  # noqa: B009


def test_dbos_sweeps_under_this_lock_alone() -> None:
    """Both sweeps, and nothing else, are done by the one process that holds it."""
    source = (Path(dbos.__file__).parent / "_workflow_commands.py").read_text()
    used = [
        path.stem
        for path in Path(dbos.__file__).parent.rglob("*.py")
        for _ in re.finditer(
            r"(?<!def )\b(transition_delayed_workflows|cancel_timed_out_workflows"
            r"|background_job_lock|_run_background_jobs)\(",
            path.read_text(),
        )
    ]

    assert used == ["_workflow_commands"] * 4
    assert source.index("background_job_lock(") < source.index("transition_delayed_workflows(")
    assert [*signature(PostgresSystemDatabase.background_job_lock).parameters][1:] == ["job_name"]


ALONE = """
import sys
from worker import internals

getattr(internals, sys.argv[1])()
from dbos import DBOS, DBOSConfig

with_step = lambda x: 2 * x

@DBOS.workflow()
async def child(x: int) -> int:
    return await DBOS.run_step_async(None, with_step, x)

@DBOS.workflow()
def sync(x: int) -> int:
    return DBOS.run_step(None, with_step, x)

@DBOS.workflow()
async def parent() -> int:
    handle = await DBOS.start_workflow_async(child, 1)
    return await child(10) + await handle.get_result()

DBOS(config={"name": "alone", "system_database_url": "sqlite:///" + sys.argv[2]})
DBOS.launch()
DBOS.register_queue("q", polling_interval_sec=0.01)
assert DBOS.start_workflow(sync, 4).get_result() == 8
assert DBOS.enqueue_workflow("q", sync, 5).get_result() == 10
assert DBOS.enqueue_workflow("q", parent).get_result() == 22
DBOS.destroy()
"""


@pytest.mark.parametrize(
    "replacement",
    [
        "share_out_threads",
        "write_with_clerks",
        "let_go_of_lost_runs",
        "start_queues_patiently",
        "keep_results_of_steps",
        "keep_results_of_transactions",
        "store_arguments_by_hint",
        "begin_with_stored_arguments",
        "keep_results_of_workflows",
        "tell_values_of_any_type",
        "receive_signals_as_declared",
        "report_what_callers_may_not_read",
    ],
)
def test_each_replacement_works_without_the_others(
    root: Path, tmp_path: Path, replacement: str
) -> None:
    """Also with pickle, on SQLite, as dbos runs its own tests."""
    command = [sys.executable, "-c", ALONE, replacement, str(tmp_path / "alone.sqlite")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr


def test_dbos_makes_one_thread_pool_of_this_class_and_hands_it_to_its_event_loop() -> None:
    """Sync runs are submitted as `_execute_workflow_wthread`, all else comes from asyncio."""
    source = inspect.getsource(_dbos.DBOS._launch)

    assert source.count("ThreadPoolExecutor(") == 1
    assert "_background_event_loop.start(self._executor_field)" in source
    assert "set_default_executor(self._executor)" in inspect.getsource(_event_loop)
    assert [*inspect.signature(_core._execute_workflow_wthread).parameters][:4] == [
        "dbos",
        "status",
        "func",
        "ctx",
    ]
    for start in (_core.execute_dequeued_workflow, _core.start_workflow):
        assert "_executor.submit(" in inspect.getsource(start)


def test_dbos_hands_users_code_to_a_thread_in_one_function_only() -> None:
    """All else that its modules hand to `asyncio.to_thread` is short: it reads and writes."""
    source = inspect.getsource(_core.run_step_async)

    assert source.count("asyncio.to_thread(") == 2
    assert source.count("asyncio.to_thread(lambda: cast(R, invoke()))") == 1
    for module in (_core, _dbos, _debouncer, _outcome, _queue, _sys_db, _workflow_commands):
        internals.write_with_clerks()
        assert module.asyncio.CancelledError is asyncio.CancelledError


def test_what_wraps_the_operations_of_async_runs_waits_for_no_step() -> None:
    """The threads for steps may be busy for hours, and an operation begins with such a call."""
    internals.write_with_clerks()

    sources = {path.stem: path.read_text() for path in Path(threads.__file__).parent.glob("*.py")}
    names = {each for each, text in sources.items() if "asyncio.to_thread(" in text} - {"threads"}

    assert {"handles", "operations", "order", "ownership", "waits"} <= names
    for name in names:
        module: Any = importlib.import_module(f"worker.{name}")
        assert module.asyncio.to_thread.__module__ == threads.__name__, name
    in_executors = {name for name, text in sources.items() if "run_in_executor(" in text}
    assert in_executors == {"server"}  # Which has nothing to do with runs.


def test_clerks_are_not_asked_for_what_takes_long() -> None:
    """`to_thread` of dbos's own modules goes to the clerks, the users' to the default pool."""
    pools = threads.Pools(internals.claim_of)
    own = threads.with_clerks(asyncio, lambda: pools, lambda function: function is not name)

    def name() -> str:
        return threading.current_thread().name

    def other() -> str:
        return threading.current_thread().name

    async def names() -> list[str]:
        asyncio.get_running_loop().set_default_executor(pools)
        return [await own.to_thread(name), await own.to_thread(other)]

    assert asyncio.run(names()) == ["clerk", "step"]


def test_dbos_waits_for_the_outcome_of_a_lost_run_with_a_deferred_result() -> None:
    """And has whoever waits for a run that was cancelled here look into the database."""
    deferred = _outcome.DeferredResult(lambda: 1, None)  # type: ignore[arg-type]
    get = lost.let_go(lambda *_: lambda function: deferred)

    status = {"status": "PENDING", "workflow_uuid": "run"}
    rows: dict[str, object] = {"run": "a row"}
    dbos = SimpleNamespace(_sys_db=SimpleNamespace(get_workflow_status=rows.get))
    lose = get(dbos, status, lambda: None)

    ends = lose(lambda: None)
    rows.clear()

    with pytest.raises(dbos_error.DBOSNonExistentWorkflowError):
        lose(lambda: None)
    assert get(None, {"status": "PENDING"})(lambda: None) is deferred
    with pytest.raises(dbos_error.DBOSWorkflowCancelledError):
        ends.resolve()
    with pytest.raises(dbos_error.DBOSWorkflowCancelledError):
        asyncio.run(ends.resolve_async())
    for path in (_core._execute_workflow_wthread, _core._execute_workflow_async):
        assert "_get_wf_invoke_func(dbos, status, entry.release)" in inspect.getsource(path)
    for handle in (_core.WorkflowHandleFuture, _core.WorkflowHandleAsyncTask):
        assert "except (DBOSWorkflowCancelledError," in inspect.getsource(handle._get_result)


def test_dbos_looks_again_after_a_queue_thread_that_is_not_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So one that could not be started is started later."""

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading, "_start_new_thread", refuse)
    thread = threads.patient(threading).Thread(target=print)
    thread.start()

    assert not thread.is_alive()
    assert "not queue_threads[queue_name].is_alive()" in inspect.getsource(_queue.queue_thread)


def test_dbos_executes_what_it_has_claimed_with_a_function_of_this_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each call tells that the worker makes progress, also one that fails."""
    told: list[str] = []
    name = "execute_dequeued_workflow"
    monkeypatch.setattr(_queue, name, getattr(_queue, name))
    internals.tell_dispatches(told.append)

    with pytest.raises(AttributeError):
        getattr(_queue, name)(None, {"queue_name": "q", "workflow_uuid": None}, "x")

    assert told == ["q"]
    assert f"{name}(" in inspect.getsource(_queue.queue_worker_thread)


def test_dbos_claims_with_these_methods_and_adds_its_gate_to_the_query() -> None:
    """The fifth argument of a claim is how many workflows of the queue run here already."""
    claim = _sys_db.SystemDatabase.start_queued_workflows
    partitioned = _sys_db.SystemDatabase.start_queued_partitioned_workflows

    assert [*inspect.signature(claim).parameters][:6] == [
        "self",
        "queue",
        "executor_id",
        "app_version",
        "queue_partition_key",
        "local_running_count",
    ]
    assert [*inspect.signature(partitioned).parameters][4] == "max_tasks"
    assert "queue._worker_concurrency - local_running_count" in inspect.getsource(claim)
    assert "self._claim_gate(" in inspect.getsource(claim)


def test_these_modules_of_dbos_have_the_functions_for_exceptions() -> None:
    """Each has imported them by name, so each has to get another."""
    internals.store_exceptions_as_themselves()

    names = [f"dbos.{module.name}" for module in pkgutil.iter_modules(dbos.__path__)]
    modules = [importlib.import_module(name) for name in names if "kafka" not in name]
    functions = [
        getattr(module, name)
        for module in modules
        for name in ("serialize_exception", "deserialize_exception")
        if hasattr(module, name)
    ]

    assert len(functions) == 8
    assert {function.__module__ for function in functions} == {"dbos._serialization"}
    assert all(internals._MADE_BY in vars(function) for function in functions)


def test_dbos_stores_each_error_with_one_of_three_methods() -> None:
    """From their arguments it is known of which step it is, but of the result of a child, whose
    number is the next one unless a context comes with it."""
    database = SystemDatabase

    outcome = list(signature(database.update_workflow_outcome).parameters)
    fetched = inspect.getsource(inspect.unwrap(database.record_get_result))
    assert outcome == ["self", "workflow_id", "status", "output", "error", "owner_xid"]
    assert list(signature(database.record_operation_result).parameters)[:2] == ["self", "result"]
    assert fetched.count("ctx.function_id += 1") == 1
    assert fetched.index("if ctx is None or not ctx.is_workflow()") < fetched.index("+= 1")
    assert {"workflow_uuid", "function_id", "error"} <= {
        *_sys_db.OperationResultInternal.__annotations__
    }
    assert inspect.getsource(_core).count("self.dbos._sys_db.record_get_result") == 8


EXCEPTIONS = (
    "store_exceptions_as_themselves",
    "raise_from_steps_what_replays_raise",
    "raise_from_children_what_replays_raise",
)


def test_dbos_stores_an_exception_right_before_it_raises_it(root: Path, tmp_path: Path) -> None:
    """`invoke_step` and `_get_wf_invoke_func` are looked up whenever a step or workflow begins."""
    seen = caught(root, tmp_path, "json", *EXCEPTIONS)

    disconnected, local, *_ = seen["first"]
    assert seen["first"] == seen["later"]
    assert {tuple(told[:2]) for _, told in disconnected} == {(f"{FAILURES}.Disconnected", "cut")}
    assert {tuple(told[:2]) for _, told in local} == {(PORTABLE_ERROR, "local")}
    assert seen["outside"][1][1][0] == f"{FAILURES}.local.<locals>.Local"


def test_exceptions_that_are_pickled_are_dbos_own_matter(root: Path, tmp_path: Path) -> None:
    """What is put in place for them changes nothing."""
    seen = caught(root, tmp_path, "pickle", *EXCEPTIONS)

    assert seen == caught(root, tmp_path, "pickle")


@pytest.mark.parametrize("replacement", EXCEPTIONS[1:])
def test_exceptions_are_stored_as_dbos_does_without_the_replacement_for_it(
    replacement: str, root: Path, tmp_path: Path
) -> None:
    """Each replacement is harmless by itself."""
    seen = caught(root, tmp_path, "json", replacement)

    disconnected, *_ = seen["first"]
    assert {told[0] for _, told in disconnected} == {f"{FAILURES}.Disconnected"}
    assert {told[0] for _, told in seen["later"][0]} == {PORTABLE_ERROR}


FAILURES = "tests.workflows.failures"

PORTABLE_ERROR = "dbos._serialization.PortableWorkflowError"


def caught(root: Path, directory: Path, *arguments: str) -> Any:
    """What the program `tests.caught` says that workflows catch."""
    url = f"sqlite:///{directory}/{len(list(directory.iterdir()))}"
    done = subprocess.run(
        [sys.executable, "-m", "tests.caught", url, *arguments],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_dbos_waits_between_two_tries_as_long_as_a_variable_of_its_decorator_says() -> None:
    """Both where it has decorated its methods, and where it decorates while it works."""
    internals.try_again_soon()

    owners = (SystemDatabase, PostgresSystemDatabase)
    methods = [
        most for owner in owners for each in vars(owner).values() if (most := retries.most(each))
    ]
    decorated = retries.most(_sys_db.db_retry(sys_db=None)(lambda: None))
    assert decorated
    assert len(methods) > 30
    assert {each.cell_contents for each in [*methods, decorated]} == {retries.MOST_SECONDS}


OWNERS = """
import sys
from types import SimpleNamespace

from dbos import DBOS
from worker import internals
from worker.ownership import Owner, Ownership

guarded = []


class Noting(Ownership):
    def guard(self, function, context, owner_of):
        assert isinstance(context.owner_xid, Owner), context.owner_xid
        guarded.append(context.workflow_id + ":" + function.__name__)
        return super().guard(function, context, owner_of)


lease = SimpleNamespace(session=1, held_since=lambda session: session == 1)
internals.begin_steps_only_as_owner(Noting(lease))


@DBOS.step()
def a_step():
    pass


@DBOS.step()
async def an_async_step():
    pass


def a_function():
    pass


@DBOS.workflow()
def child():
    a_step()


@DBOS.workflow()
async def parent():
    await an_async_step()
    await DBOS.run_step_async(None, a_function)
    await DBOS.cancel_workflow_async("nobody")
    await (await DBOS.start_workflow_async(child_async)).get_result()


@DBOS.workflow()
async def child_async():
    await an_async_step()


@DBOS.workflow()
def parent_sync():
    child()
    DBOS.start_workflow(child).get_result()


DBOS(config={"name": "owners", "system_database_url": "sqlite:///" + sys.argv[1]})
DBOS.launch()
DBOS.register_queue("queue", polling_interval_sec=0.1)
handles = [DBOS.enqueue_workflow("queue", each) for each in (parent, parent_sync)]
names = {handle.workflow_id: "parent" for handle in handles}
for handle in handles:
    handle.get_result(polling_interval_sec=0.1)
DBOS.destroy()
for each in guarded:
    workflow, function = each.split(":")
    for id, name in names.items():
        workflow = workflow.replace(id, name)
    print(workflow, function)
"""


def test_every_step_of_dbos_is_begun_by_what_asks_for_the_owner(root: Path, tmp_path: Path) -> None:
    """Whatever the way in which its workflow was begun, the owner knows since when it is one."""
    command = [sys.executable, "-c", OWNERS, str(tmp_path / "owners.sqlite")]

    done = subprocess.run(command, cwd=root, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [
        "parent a_function",
        "parent an_async_step",
        "parent fn",
        "parent-1 a_step",
        "parent-3 a_step",
        "parent-4 an_async_step",
    ]


MARKS = """
import asyncio
import sys
import threading
import time

from dbos import DBOS
from worker import internals
from worker.running import Running

running = Running()
internals.note_what_is_executed(running)


def note():
    assert {DBOS.workflow_id} - {None} <= running.workflows()
    print(*(running.of(threading.get_native_id()) or ("", "nothing", 0, ""))[1:])


@DBOS.step()
def a_step():
    note()


@DBOS.step(name="async", timeout_seconds=60)
async def an_async_step():
    note()
    await asyncio.sleep(0)
    note()


@DBOS.workflow(name="child")
def child():
    note()
    a_step()


@DBOS.workflow(name="one")
def one():
    note()
    a_step()
    child()
    note()


@DBOS.workflow(name="other")
async def other():
    note()
    await an_async_step()
    await DBOS.run_step_async({"name": "function"}, note)
    note()


DBOS(config={"name": "marks", "system_database_url": "sqlite:///" + sys.argv[1]})
DBOS.launch()
DBOS.register_queue("queue", polling_interval_sec=0.1)
for each in (one, other):
    DBOS.enqueue_workflow("queue", each).get_result(polling_interval_sec=0.1)
while running.workflows():
    time.sleep(0.01)
note()
DBOS.destroy()
"""


def test_what_dbos_executes_is_marked(root: Path, tmp_path: Path) -> None:
    """Workflow, number and name of the step, in the thread that executes its code; a child that is
    called, which DBOS does not count as active, is known to be executed."""
    command = [sys.executable, "-c", MARKS, str(tmp_path / "marks.sqlite")]

    done = subprocess.run(command, cwd=root, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert [line.rstrip() for line in done.stdout.splitlines()] == [
        "one 0",
        "one 1 a_step",
        "child 0",
        "child 1 a_step",
        "one 0",
        "other 0",
        "other 1 async",
        "other 1 async",
        "other 2 function",
        "other 0",
        "nothing 0",
    ]


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("recv", ["workflow_uuid"]),
        ("get_event", ["target_uuid", "key", "timeout_seconds", "caller_ctx"]),
        ("await_workflow_result", ["workflow_id", "polling_interval", "fail_if_missing"]),
        ("await_first_workflow_id", ["workflow_ids", "polling_interval"]),
    ],
)
@pytest.mark.parametrize("suffix", ["", "_async"])
def test_whatever_waits_in_dbos_waits_in_these_methods(
    method: str, parameters: list[str], suffix: str
) -> None:
    """From their arguments, or their context, it is known which run waits."""
    found = list(inspect.signature(getattr(_sys_db.SystemDatabase, method + suffix)).parameters)

    assert found[1 : 1 + len(parameters)] == parameters


def test_dbos_sleeps_for_a_run_in_these_modules() -> None:
    """Others sleep in threads of DBOS's own, or between two tries of a transaction."""
    sources = {path.stem: path.read_text() for path in Path(dbos.__file__).parent.glob("*.py")}
    sleeping = {name for name in sources if re.search(r"\b(time|asyncio)\.sleep\(", sources[name])}

    assert sleeping - {each.__name__.removeprefix("dbos.") for each, _ in internals.SLEEPING} == {
        "_core",
        "_datasource",
        "_debug_trigger",
        "_docker_pg_helper",
        "_sys_db_postgres",
    }
    assert "await asyncio.sleep(_PREEMPTIBLE_POLL_INTERVAL_SEC)" in sources["_core"]
    assert len(re.findall(r"\b(time|asyncio)\.sleep\(", sources["_core"])) == 1


def test_dbos_waits_for_what_comes_with_this_class_of_this_module() -> None:
    """Whatever waits looks it up there, and awaits it or waits for it with these methods."""
    sources = {path.stem: path.read_text() for path in Path(dbos.__file__).parent.glob("*.py")}

    assert {name for name in sources if "LoopAwareEvent()" in sources[name]} == {"_sys_db"}
    assert list(signature(LoopAwareEvent.wait).parameters) == ["self", "timeout"]
    assert list(signature(LoopAwareEvent.wait_async).parameters) == ["self", "timeout"]


def test_dbos_waits_for_a_child_in_another_thread_in_one_method() -> None:
    """Without a look whether the one who waits is cancelled."""
    get_result = inspect.unwrap(_core.WorkflowHandleFuture._get_result)

    assert list(signature(get_result).parameters) == ["self", "polling_interval_sec"]
    assert inspect.getsource(_core).count("self.future.result()") == 1
    assert "self.future.result()" in inspect.getsource(get_result)


def test_dbos_wraps_the_body_of_a_child_that_is_called_in_the_context_of_its_caller() -> None:
    """And in its own context the body of what was enqueued or started."""
    wraps, enters = "_dropping_datasource_checkpoints(", "EnterDBOSWorkflow("
    called = inspect.getsource(_core.workflow_wrapper)
    others = _core._execute_workflow_wthread, _core._execute_workflow_async

    assert called.index(wraps) < called.index(enters)
    for each in map(inspect.getsource, others):
        assert each.index(enters) < each.index(wraps)


def test_dbos_takes_the_token_from_a_run_that_is_cancelled_or_resumed() -> None:
    """So an execution knows that it has its run no longer, also when that is resumed at once."""
    for method in ("cancel_workflows", "resume_workflows"):
        assert "owner_xid=None" in inspect.getsource(getattr(SystemDatabase, method))
    assert "owner_xid=None" in inspect.getsource(SystemDatabase.cancel_timed_out_workflows)


def test_dbos_records_the_end_of_a_sleep_and_of_a_timeout_with_one_method() -> None:
    """Only a sleep is recorded as if it had ended then: its row tells it from a timeout."""
    sleep = inspect.signature(_sys_db.SystemDatabase.record_sleep).parameters

    assert list(sleep)[1:] == [
        "workflow_uuid",
        "function_id",
        "seconds",
        "project_completion_time",
    ]
    assert "project_completion_time=True" in inspect.getsource(_core.record_sleep)
    assert "project_completion_time" not in inspect.getsource(_sys_db.SystemDatabase.recv_setup)
    assert "project_completion_time" not in inspect.getsource(
        _sys_db.SystemDatabase.get_event_setup
    )


def test_dbos_begins_each_step_with_one_function() -> None:
    """It is looked up each time, and is told the context of its workflow before the step."""
    parameters = list(inspect.signature(_core.invoke_step).parameters)

    assert parameters[:3] == ["dbos", "step_ctx", "func"]
    assert "invoke_step(" in inspect.getsource(_core.run_step)
    assert "invoke_step(" in inspect.getsource(_core.run_step_async)
    assert "invoke_step(" in inspect.getsource(_core.decorate_step)


Told = dict[str, Any]


@pytest.fixture(scope="module")
def told(root: Path, new_database: NewDatabase, template: str) -> Told:
    """What the program `kept` has told: by each workflow, first and when all was recorded."""
    command = [sys.executable, "-m", "tests.unit.kept", new_database(template)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


PRICE = "Decimal('1.10')"


def test_dbos_invokes_every_step_in_one_place(told: Told) -> None:
    """`_core.invoke_step` runs what is decorated and what is not, sync and async, and retries."""
    assert told["steps"] == [f"({PRICE}, {PRICE})"] * 2
    assert told["async"] == [[PRICE, "'text'", PRICE, PRICE, PRICE, PRICE]] * 2
    assert told["outside"] == PRICE


def test_whatever_is_called_as_a_step_keeps_its_hint(told: Told) -> None:
    """A partial, a class or an instance, inside of all that a worker wraps a step in."""
    assert told["callables"] == [f"[{PRICE}, Invoice(price={PRICE}), {PRICE}, {PRICE}]"] * 2


def test_dbos_runs_every_transaction_in_one_place(told: Told) -> None:
    """`run_tx_step` of a datasource stores a result in a checkpoint of its own."""
    assert told["transactions"] == [PRICE] * 2


def test_dbos_begins_every_workflow_in_two_places(told: Told) -> None:
    """`_init_workflow` stores arguments; `_dropping_datasource_checkpoints` wraps the body.

    A workflow of another queue or process is enqueued by `_build_enqueue_with_options`, and
    reads its arguments by `coerce_portable_args_to_hints`.
    """
    invoice = f"Invoice(price={PRICE})"
    given = f"({PRICE}, 3.0, (), {{}})"

    assert told["children"] == [[invoice, [invoice, given], [invoice, given], [invoice, given]]] * 2


def test_dbos_ends_every_workflow_in_one_place(told: Told) -> None:
    """`_get_wf_invoke_func` stores a result, `check_workflow_result` reads it for a parent.

    So it is for async workflows that are started synchronously, steps that are started, methods;
    and where only an id is given, the parent gets JSON.
    """
    sold = f"('shop', {PRICE})"

    assert told["other children"] == [[PRICE, PRICE, "'1.10'", sold, sold, "'ignored hints'"]] * 2
    assert told["unannounced"] == ["1.10", {"price": "1.10"}]


def test_dbos_checks_arguments_as_they_were_stored(told: Told) -> None:
    """Called, started or enqueued: `validate_args` is given JSON, and reads it as JSON."""
    given = repr((UUID(int=1), datetime(2026, 1, 1), datetime(2026, 1, 1)))

    assert told["published"] == [[given] * 3] * 2


def test_dbos_records_for_the_reader_only_what_a_parent_got(told: Told) -> None:
    """`serialize_value` need not know its type: a later execution asks the child again."""
    results = r"[b'\xff\x00'], zoneinfo.ZoneInfo(key='Europe/Paris')"

    assert told["told by hint only"] == [f"[{', '.join([results] * 5)}]"] * 2


@pytest.mark.parametrize("teller", ["set_event", "write_stream", "send_bulk"])
def test_dbos_serializes_what_is_told_before_it_writes(teller: str) -> None:
    """In `_sys_db.serialize_value`; `_raise_recorded_error` gives a replay what was refused."""
    names = ["_send_bulk_txn"] if teller == "send_bulk" else [f"{teller}_from_workflow"]
    sources = [inspect.getsource(getattr(SystemDatabase, name)) for name in names]
    if teller != "send_bulk":
        sources.append(inspect.getsource(getattr(SystemDatabase, f"{teller}_from_step")))

    for source in sources:
        before, _, after = source.partition("serialize_value(")
        assert ".execute(" not in before
        assert after
    assert "_raise_recorded_error" in inspect.getsource(SystemDatabase.send_bulk)


def test_dbos_asks_for_a_status_in_one_place(told: Told) -> None:
    """`call_function_as_step` records what a workflow has seen of another one."""
    seen = [f"Invoice(price={PRICE})", "WorkflowStatus", "ERROR", True, [{"price": "1.10"}]]

    assert told["statuses"] == [seen] * 2


REFUSALS = [
    "ValueLost: the result of the step 'unhinted' is a Decimal that would come back as a str: the",
    "ValueLost: the result of the workflow 'lossy_child' is a tuple that would come back as a list",
    "ValueLost: an argument of the workflow 'loose_child' is a str that would come back as an int:",
    "ValueLost: an argument of the workflow 'loose_child' is a Decimal that does not fit",
    "TypeError: Object of type object is not portable JSON serializable: the event 'event' is an o",
    "TypeError: Object of type object is not portable JSON serializable: the message to 'topic' is",
]


def test_what_json_would_change_is_refused_at_once(told: Told) -> None:
    """Each error names what it is about, its type and the remedy; no step is tried again."""
    first, later = told["refusals"]

    assert [sentence.partition(": ")[2] for sentence in first] == [
        sentence.partition(": ")[2] for sentence in later
    ]
    assert all(sentence.startswith(start) for sentence, start in zip(first, REFUSALS, strict=True))
    assert told["calls"].count("unhinted") == 1
    assert told["announced"].startswith(
        "ValueLost: the result of the workflow 'announced' is a str"
    )


@contextmanager
def system_database(url: str, serializer: Serializer | None = None) -> Iterator[SystemDatabase]:
    """What DBOS does its work with, in portable JSON as a worker has it."""
    client = DBOSClient(
        system_database_url=url,
        serializer=serializer or DBOSPortableJSONSerializer(),
        application_name=APPLICATION,
    )
    try:
        yield client._sys_db
    finally:
        client.destroy()


@pytest.mark.parametrize(
    "limits",
    [{}, {"concurrency": 5}, {"partition_concurrency": 5}, {"partition_concurrency": 1}],
    ids=["a queue", "a fleet", "a partition", "all partitions"],
)
def test_dbos_asks_for_more_conditions_when_it_claims(
    database: str, limits: dict[str, Any]
) -> None:
    """`_claim_gate`, or for a claim of all partitions at once `_scoped`, gives them."""
    internals.leave_out_what_is_held()
    declare_queue(database, "task_queue", **limits)
    held, tried_before, other = enqueue(database, 3)
    hold(database, held)
    hold(database, tried_before, tried="now() - interval '61 seconds'")
    partitions = "p" if limits == {"partition_concurrency": 5} else None
    for number, each in enumerate([held, tried_before, other]):
        update(database, each, queue_partition_key=partitions or str(number))

    with system_database(database) as dbos:
        queue = dbos.get_queue("task_queue")
        assert queue
        claim: dict[str, Any] = {"owner_xid": "owner", "is_latest_version": True}
        if limits == {"partition_concurrency": 1}:
            claimed = dbos.start_queued_partitioned_workflows(queue, "executor", "1", **claim)
        else:
            claimed, _ = dbos.start_queued_workflows(
                queue, "executor", "1", partitions, 0, 0, **claim
            )

    assert set(claimed) == {tried_before, other}


def test_dbos_looks_at_each_operation_with_one_method(database: str) -> None:
    """What it raises on another name is an Exception, which the code of a workflow may catch."""
    internals.stop_where_the_code_changed(Mismatches())
    workflow_id, pickled = enqueue(database, 2)
    for each in (workflow_id, pickled):
        record(database, each, 1, "recorded", output="1")

    with system_database(database) as dbos:
        execution = begin_execution(dbos, workflow_id)
        with pytest.raises(CodeChanged, match=r"step 1 is recorded as 'recorded', and .* 'called'"):
            dbos.check_operation_execution(workflow_id, 1, "called")
        with pytest.raises(CodeChanged):
            dbos.check_operation_execution(workflow_id, 2, "more of it")
        with pytest.raises(CodeChanged):
            dbos._check_owner_txn(None, workflow_id, "owner")  # type: ignore[arg-type]
        assert execution
    with (
        system_database(database, PicklesNothing()) as dbos,
        pytest.raises(dbos_error.DBOSUnexpectedStepError),
    ):
        begin_execution(dbos, pickled)
        dbos.check_operation_execution(pickled, 1, "called")

    assert not issubclass(CodeChanged, Exception)


def test_dbos_numbers_what_is_called_in_these_places_only() -> None:
    """With `snapshot_step_ctx`, before a coroutine first waits; patches and results of handles,
    which it numbers later, are known by name."""
    found = [
        path.stem
        for path in sorted(Path(dbos.__file__).parent.glob("*.py"))
        for _ in re.finditer(r"\bfunction_id \+= 1", path.read_text())
    ]

    assert found == ["_context"] * 3 + ["_dbos"] * 4 + ["_sys_db"]
    assert "ctx.function_id += 1" in inspect.getsource(SystemDatabase.record_get_result)
    for name in ("run_step_async", "recv_async", "sleep_async", "send_async", "get_event_async"):
        source = inspect.getsource(getattr(dbos.DBOS, name))
        before, _, after = source.partition("snapshot_step_context(")
        assert after, name
        assert not re.findall(r"await (?!.*_configure)", before.partition('"""')[0]), name


@pytest.mark.parametrize("handle", ["WorkflowHandleAsyncTask", "WorkflowHandleAsyncPolling"])
def test_a_handle_of_dbos_records_a_result_when_it_has_come(handle: str) -> None:
    """It waits, makes JSON of it, and records it; all of that is done anew in order."""
    source = inspect.getsource(getattr(_core, handle)._get_result)

    assert source.count("await ") == (4 if handle == "WorkflowHandleAsyncTask" else 3)
    assert source.count("self.dbos._sys_db.record_get_result,") == 2
    assert list(signature(SystemDatabase.record_get_result).parameters)[1:6] == [
        "result_workflow_id",
        "output",
        "error",
        "serialization",
        "ctx",
    ]


IN_ORDER = """
from dbos import DBOS, _core
from worker import internals

def order_of(dbos, context): ...

before = {name: getattr(DBOS, name) for name in vars(DBOS) if name.endswith("_async")}
internals.give_results_in_order(order_of)
once = _core._dropping_datasource_checkpoints
internals.give_results_in_order(order_of)
assert _core._dropping_datasource_checkpoints is once, "one run would have two orders"
same = [name for name, method in before.items() if getattr(DBOS, name) == method]
assert {*same} == {"read_stream_async", *internals.UNORDERED}, same
assert DBOS.recv_async.__wrapped__ == before["recv_async"]
"""


def test_whatever_is_awaited_of_dbos_is_given_in_order(root: Path) -> None:
    """Every public coroutine function but those for patches; a stream is read by a function of its
    own."""
    done = subprocess.run(
        [sys.executable, "-c", IN_ORDER], cwd=root, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr


def begin_execution(dbos: SystemDatabase, workflow_id: str) -> Any:
    """What DBOS keeps of an execution until it has ended, or is given up."""
    instance: Any = SimpleNamespace(_sys_db=dbos)
    status: Any = {"workflow_uuid": workflow_id}
    return _core._get_wf_invoke_func(instance, status)


def test_dbos_gives_up_a_cancelled_execution_without_a_word(database: str) -> None:
    """`Pending._wrap` does not call what it has got from `_get_wf_invoke_func`."""
    mismatches = Mismatches()
    begin = mismatches.ended(lambda dbos, status: lambda function: function())
    context: Any = SimpleNamespace(workflow_id="cancelled", owner_xid="owner", function_id=0)

    async def cancel() -> int:
        with system_database(database) as system:
            instance: Any = SimpleNamespace(_sys_db=system)

            async def sleep() -> None:
                assert mismatches.order(instance, context)
                await asyncio.sleep(60)

            prepare = functools.partial(begin, instance, {"workflow_uuid": "cancelled"})
            task = asyncio.create_task(_outcome.Pending._wrap(sleep, prepare))
            await asyncio.sleep(0.2)
            under_way = len(mismatches._replays)
            task.cancel()
            await asyncio.wait([task])
            return under_way

    assert asyncio.run(cancel()) == 1
    gc.collect()
    assert len(mismatches._replays) == 0


def test_a_run_that_is_stopped_is_forgotten_after_many_others() -> None:
    """Nothing of it is under way any more then."""
    mismatches = Mismatches()

    for number in range(mismatch.MOST_STOPPED + 1):
        mismatches._stop(f"{number}", Mismatch(1, "a", "b"))

    assert len(mismatches._stopped) == mismatch.MOST_STOPPED
    assert f"{mismatch.MOST_STOPPED}" in mismatches._stopped


class PicklesNothing(DBOSPortableJSONSerializer):
    """A serializer that is not this project's."""

    def name(self) -> str:
        """Another name."""
        return "another"


def test_a_wait_records_its_timeout_first_and_unlike_a_sleep(database: str) -> None:
    """As the operation that follows, completed when it begins and not when it is over."""
    internals.stop_where_the_code_changed(Mismatches())
    waits, sleeps = enqueue(database, 2)

    with system_database(database) as dbos:
        dbos.record_sleep(waits, 2, 600)
        dbos.record_sleep(sleeps, 2, 600, project_completion_time=True)
        executions = [begin_execution(dbos, each) for each in (waits, sleeps)]
        fits = [
            dbos.check_operation_execution(waits, 1, "DBOS.recv"),
            dbos.check_operation_execution(waits, 1, "DBOS.getEvent"),
            dbos.check_operation_execution(sleeps, 1, "a step beside it"),
        ]
        with pytest.raises(CodeChanged, match="the code calls 'a step'"):
            dbos.check_operation_execution(waits, 1, "a step")

    assert all(executions)
    assert fits == [None] * 3

"""What those who run workers need: roles, health, metrics, logs, traces, idle mode."""

import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import psycopg
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from local_dev.bench.processes import DEADLINE, python, run, wait_until, worker
from local_dev.bench.proxy import Proxy
from tests.calls import finished, launched
from tests.conftest import acting
from tests.fleet import Fleet
from tests.processes import ALL, free_port, serve


def test_health_says_why_a_worker_takes_nothing(workers: Fleet) -> None:
    """200 while it works; 503 without Postgres' word, and while it drains. It is alive then."""
    port = str(free_port())
    with (
        Proxy(workers.database) as network,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE) as client,
    ):
        settings = {"DBOS_SYSTEM_DATABASE_URL": network.url, "DRAIN_TIMEOUT": "600"}
        process = workers.start(HEALTH_PORT=port, **settings)
        workers.launch(count=1, steps=1000, seconds=0.1)
        process.wait_until(lambda: workers.runs(process))
        well = client.get("/healthz")
        elsewhere = client.get("/")
        with network.frozen():
            wait_until(lambda: client.get("/healthz").status_code == 503)
            ill = client.get("/healthz")
            alive = client.get("/livez")
        wait_until(lambda: client.get("/healthz").status_code == 200)
        process.popen.send_signal(signal.SIGTERM)
        wait_until(lambda: client.get("/healthz").text == "draining\n")
        draining = client.get("/healthz")
        still_alive = client.get("/livez")

    assert (well.status_code, well.text) == (200, "ok\n")
    assert elsewhere.status_code == 404
    assert (ill.status_code, ill.text) == (503, "the lease is not held\n")
    assert draining.status_code == 503
    assert (alive.status_code, still_alive.status_code) == (200, 200)


def test_silent_connections_hold_up_no_probe(workers: Fleet) -> None:
    """Nor do they hold threads, however many they are."""
    process = workers.start(HEALTH_PORT=(port := str(free_port())))
    wait_until(lambda: httpx2.get(f"http://127.0.0.1:{port}/healthz").status_code == 200)
    tasks = Path(f"/proc/{process.popen.pid}/task")
    before = len([*tasks.iterdir()])

    with ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(socket.create_connection(("127.0.0.1", int(port)), DEADLINE))
        probe = httpx2.get(f"http://127.0.0.1:{port}/healthz", timeout=DEADLINE)
        metrics = httpx2.get(f"http://127.0.0.1:{port}/metrics", timeout=DEADLINE)
        during = len([*tasks.iterdir()])

    assert (probe.status_code, metrics.status_code) == (200, 200)
    assert during < before + 50


def test_metrics_tell_what_a_worker_has_done(workers: Fleet) -> None:
    """Counted once, however often they are asked for."""
    process = workers.start(HEALTH_PORT=(port := str(free_port())))
    workers.launch(count=3, steps=2, seconds=0.1)
    workers.wait_until_finished()
    broken = workers.enqueue("exits")
    wait_until(lambda: workers.status(broken) == "ERROR")
    workers.query(
        "insert into dbos.workflow_status (workflow_uuid, status, name, queue_name, "
        "application_name, application_version) "
        "values ('waits', 'ENQUEUED', 'ledger', 'task_queue', 'dbos-functions', 'another') "
        "returning 1"
    )

    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE) as client:
        metrics = [client.get("/metrics").text.splitlines() for _ in range(2)][-1]
    process.stop(signal.SIGTERM)

    assert {
        'dbos_functions_workflows_finished_total{status="SUCCESS",workflow="ledger"} 3.0',
        'dbos_functions_workflows_finished_total{status="ERROR",workflow="exits"} 1.0',
        'dbos_functions_workflow_duration_seconds_count{workflow="ledger"} 3.0',
        'dbos_functions_step_duration_seconds_count{step="entry"} 6.0',
        'dbos_functions_step_duration_seconds_bucket{le="0.03",step="entry"} 0.0',
        'dbos_functions_queue_depth{queue="task_queue"} 1.0',
        'dbos_functions_queue_depth{queue="order_queue"} 0.0',
        'dbos_functions_queue_oldest_seconds{queue="order_queue"} 0.0',
        'dbos_functions_workflows_running{queue="task_queue"} 0.0',
        "dbos_functions_takeovers_total 0.0",
        "dbos_functions_lease_held 1.0",
        "dbos_functions_threads_held 0.0",
    } <= set(metrics)


def test_logs_are_json_lines_with_the_workflow(workers: Fleet) -> None:
    """When nobody watches on a terminal, from the first line to the last."""
    process = workers.start()
    fails = workers.enqueue("exits")
    wait_until(lambda: workers.status(fails) == "ERROR")
    process.stop(signal.SIGTERM)

    lines = [json.loads(line) for line in process.said().splitlines()]

    assert all(line.keys() >= {"time", "level", "logger", "workflow_id"} for line in lines)
    assert {line["workflow_id"] for line in lines} == {None, fails}
    assert lines[-1]["message"] == "stopping: nothing is running"


def test_a_port_in_use_is_refused(workers: Fleet) -> None:
    """One sentence names the variable."""
    workers.start(HEALTH_PORT=(port := str(free_port())))

    second = workers.begin(HEALTH_PORT=port)

    assert second.popen.wait(DEADLINE) == 1
    assert f"worker: nothing can listen on HEALTH_PORT {port}: " in second.said()


def test_a_database_holds_one_application(workers: Fleet) -> None:
    """DBOS wants queues and versions to be unique; one sentence says so before it is too late."""
    workers.start().stop(signal.SIGTERM)

    other = workers.begin(APP_NAME="another", APP_VERSION="2")

    assert other.popen.wait(DEADLINE) == 1
    assert other.said() == (
        "worker: the database belongs to the application 'dbos-functions', "
        "and APP_NAME is 'another'\n"
    )
    assert workers.query("select version_name from dbos.application_versions") == [("1",)]


@contextmanager
def collector() -> Iterator[tuple[str, list[Span]]]:
    """What takes traces: its URL, and the spans that it was given."""
    spans: list[Span] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest()
            request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", spans
        server.shutdown()


def test_the_trace_of_a_launch_goes_on_in_the_workflow(root: Path, environ: dict[str, str]) -> None:
    """Workflow and step are spans of the trace that the caller has named."""
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

    with (
        collector() as (endpoint, spans),
        worker(root, environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}) as process,
        serve(ALL, root, environ) as functions,
    ):
        headers = {"traceparent": f"00-{trace}-{parent}-01"}
        answer = functions.post("/launch/greeting", headers=headers)
        finished(functions, answer.headers["Location"])
        process.stop(signal.SIGTERM)

    by_name = {span.name: span for span in spans if span.trace_id.hex() == trace}
    assert by_name.keys() >= {"greeting", "generate_greeting"}
    assert by_name["greeting"].parent_span_id.hex() == parent
    assert by_name["generate_greeting"].parent_span_id == by_name["greeting"].span_id


def test_roles_may_do_what_they_have_to_and_no_more(
    root: Path, empty_database: str, roles: tuple[str, str]
) -> None:
    """`migrate` grants it; with MIGRATE=false neither needs anything else."""
    worker_role, functions_role = roles
    owner = {"DBOS_SYSTEM_DATABASE_URL": empty_database}
    as_worker = {"DBOS_SYSTEM_DATABASE_URL": acting(worker_role, empty_database)}
    as_functions = {"DBOS_SYSTEM_DATABASE_URL": acting(functions_role, empty_database)}
    options = ("--worker-role", worker_role, "--functions-role", functions_role)

    too_early = migrate(root, as_worker | {"MIGRATE": "false"})
    unknown = migrate(root, owner, "migrate", "--worker-role", "nobody")
    twice = [migrate(root, owner, "migrate", *options) for _ in range(2)]
    with (
        worker(root, as_worker | {"MIGRATE": "false", "RETENTION_DAYS": "1"}),
        serve(ALL, root, as_functions | {"AUTH": "none"}) as functions,
    ):
        end = finished(functions, launched(functions, "report", length=2))
        controlled = control(functions)

    assert too_early[0] == 1
    assert "run python -m worker migrate" in too_early[1]
    assert unknown[1].startswith("worker: there is no role 'nobody' in the database")
    assert twice == [(0, ""), (0, "")]
    assert end["status"] == "SUCCESS"
    assert controlled == "CANCELLED"
    for statement in (
        "create table dbos.mine (a int)",
        "create function dbos.mine() returns int language sql as 'select 1'",
        "create trigger mine before update on dbos.dbos_migrations "
        "for each row execute function suppress_redundant_updates_trigger()",
        "truncate dbos.workflow_events",
        "truncate catalog.workflows",
        "update dbos.dbos_migrations set version = 1",
        "insert into dbos.dbos_migrations values (0)",
        "delete from dbos.dbos_migrations",
        "update catalog.hash_seed set seed = 1",
    ):
        with (
            psycopg.connect(as_worker["DBOS_SYSTEM_DATABASE_URL"]) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement.encode())
    with psycopg.connect(empty_database) as connection:
        more = connection.execute(
            "select grantee, table_name from information_schema.role_table_grants "
            "where grantee = any(%s) and privilege_type in ('TRIGGER', 'TRUNCATE', 'REFERENCES')",
            ([worker_role, functions_role],),
        ).fetchall()
    assert more == []
    for statement in (
        "create table dbos.mine (a int)",
        "create table catalog.mine (a int)",
        "create trigger mine before insert on dbos.workflow_status "
        "for each row execute function suppress_redundant_updates_trigger()",
        "create schema mine",
        "drop table dbos.workflow_status",
        "delete from dbos.workflow_status",
        "truncate dbos.workflow_status",
        "delete from dbos.notifications",
        "update dbos.workflow_status set name = 'another'",
        "update dbos.workflow_status set authenticated_user = 'another'",
        "update dbos.workflow_output set output = '1'",
        "update dbos.notifications set message = '1'",
        "update dbos.queues set concurrency = 1",
        "insert into dbos.operation_outputs (workflow_uuid) values ('1')",
        "select inputs from dbos.workflow_input",
        "select output from dbos.operation_outputs",
        "select seed from catalog.hash_seed",
        "insert into catalog.workflows values ('a', 'b', 'c', 'd', '{}', '{}', '1')",
    ):
        with (
            psycopg.connect(as_functions["DBOS_SYSTEM_DATABASE_URL"]) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement.encode())


def control(functions: httpx2.Client) -> str:
    """Use all the functions; returns how the workflow that they were used on has ended."""
    key = {"Idempotency-Key": "key"}
    url = functions.post("/launch/order?deduplication_id=1", headers=key).headers["Location"]
    path = url.removeprefix("/status")
    assert functions.post("/launch/order?deduplication_id=1").status_code == 409
    assert functions.post("/launch/greeting", json=[{}, {}], headers=key).status_code == 202
    assert functions.post(f"/signal{path}/other", json=1, headers=key).status_code == 202
    assert functions.post(f"/cancel{path}?cancel_children=true").status_code == 202
    assert functions.post(f"/resume{path}").status_code == 202
    for reading in (f"/steps{path}", f"/explain{path}", "/list", f"{url}?wait=0.2"):
        assert functions.get(reading).status_code == 200
    functions.post(f"/cancel{path}")
    events = functions.get(url, headers={"Accept": "text/event-stream"})
    assert "event: end" in events.text
    return str(functions.get(url).json()["status"])


def migrate(root: Path, environ: dict[str, str], *options: str) -> tuple[int, str]:
    """`python -m worker`: its exit code and what it says."""
    with run(*python("-m", "worker", *options), cwd=root, environ=environ) as process:
        return process.popen.wait(DEADLINE), process.said()


def test_idle_mode_leaves_nothing_to_do(workers: Fleet) -> None:
    """`--until-idle` works the queues empty, also of what a dead worker has left; exit code 0."""
    victim = workers.start()
    workers.launch(count=6, steps=20, seconds=1)
    victim.wait_until(lambda: workers.runs(victim, 6))
    victim.stop(signal.SIGKILL)
    workers.launch(count=60, steps=1, seconds=0)

    workers.hurry()
    process = workers.begin("--until-idle")
    code = process.popen.wait(DEADLINE)

    assert code == 0
    assert 1 <= workers.check() <= 6


def test_idle_mode_can_be_stopped(workers: Fleet) -> None:
    """SIGTERM hands over what is left."""
    workers.launch(count=2, steps=1000, seconds=0.1)
    process = workers.begin("--until-idle", DRAIN_TIMEOUT="0.1")
    process.wait_until(lambda: workers.runs(process, 2))

    code = process.stop(signal.SIGTERM)

    assert code == 0
    assert [workers.status(each) for each in workers.launched] == ["ENQUEUED"] * 2


def test_old_workflows_are_deleted(workers: Fleet) -> None:
    """With all that belongs to them; not those that a running parent may ask for."""
    workers.start().stop(signal.SIGTERM)
    row = (
        "insert into dbos.workflow_status (workflow_uuid, status, name, application_name, "
        "parent_workflow_id, completed_at) values (%s, %s, 'x', 'dbos-functions', %s, %s) "
        "returning 1"
    )
    day = 24 * 60 * 60 * 1000
    now = workers.query("select (extract(epoch from now()) * 1000)::bigint")[0][0]
    for number in range(450):
        workers.query(row, f"old-{number}", "SUCCESS", None, now - 3 * day)
    workers.query(row, "young", "ERROR", None, now - day)
    workers.query(row, "running", "DELAYED", None, None)
    workers.query(row, "child", "SUCCESS", "running", now - 3 * day)
    workers.query("insert into dbos.workflow_output values ('old-0', '1', null, 0) returning 1")

    workers.start(RETENTION_DAYS="2")
    wait_until(lambda: len(workers.query("select 1 from dbos.workflow_status")) == 3)

    left = workers.query("select workflow_uuid from dbos.workflow_status order by 1")
    assert left == [("child",), ("running",), ("young",)]
    assert workers.query("select * from dbos.workflow_output") == []

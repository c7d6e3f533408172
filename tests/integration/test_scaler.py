"""The query by which KEDA starts workers: how many are needed, in every situation."""

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from ruamel.yaml import YAML

from local_dev.bench.stage import enqueue
from tests.project import ROOT
from tests.rows import begin, declare_queue, hold, update
from worker.migrate import migrate
from worker.queues import INTERNAL, ORDERS, QUEUES, REPORTS, TASKS

KEDA = ROOT / "worker" / "deploy" / "kubernetes" / "keda"

QUERY: str = YAML(typ="safe", pure=True).load(KEDA / "scaledobject.yaml")["spec"]["triggers"][0][
    "metadata"
]["query"]

Needed = Callable[[], int]


@pytest.fixture
def role(database: str) -> Iterator[str]:
    """A role without any rights."""
    name = f"scaler_{urlsplit(database).path.removeprefix('/')}"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"create role {name} login".encode())
        yield name
        connection.execute(f"drop owned by {name}".encode())
        connection.execute(f"drop role {name}".encode())


@pytest.fixture
def scaler(database: str, role: str) -> str:
    """The URL for a role that may do what `scaler.sql` grants, once workers have started."""
    for queue in QUEUES:
        declare_queue(
            database,
            queue.name,
            worker_concurrency=queue.worker_concurrency,
            concurrency=queue.global_concurrency,
        )
    grants = (KEDA / "scaler.sql").read_text().replace("to scaler", f"to {role}")
    with psycopg.connect(database) as connection:
        connection.execute(grants.encode())
    return database.replace("//postgres@", f"//{role}@")


@pytest.fixture
def needed(scaler: str) -> Needed:
    """Asks how many workers are needed, as KEDA does."""
    return lambda: ask(scaler)


def ask(url: str) -> int:
    """What the query returns."""
    with psycopg.connect(url) as connection:
        row = connection.execute(QUERY.encode()).fetchone()
    assert row
    assert type(row[0]) is int
    return row[0]


def test_nobody_is_needed_for_nothing(needed: Needed) -> None:
    """Zero, not null, which KEDA would not understand."""
    assert needed() == 0


@pytest.mark.parametrize(
    ("queue", "count", "workers"),
    [
        (TASKS.name, 1, 1),
        (TASKS.name, 50, 1),
        (TASKS.name, 51, 2),
        (TASKS.name, 500, 10),
        (ORDERS.name, 1000, 1),
        (ORDERS.name, 1001, 2),
        (REPORTS.name, 500, 1),
        (INTERNAL, 500, 1),
        ("nobody's", 500, 0),
    ],
)
def test_a_queue_needs_as_many_as_run_it_at_once(
    database: str, needed: Needed, queue: str, count: int, workers: int
) -> None:
    """As `worker/queues.py` says; what is in no queue of a worker's needs none."""
    enqueue(database, count, queue=queue)

    assert needed() == workers


def test_a_limit_of_the_fleet_limits_the_workers(database: str, needed: Needed) -> None:
    """More could not run more."""
    declare_queue(database, "limited", worker_concurrency=1, concurrency=3)
    enqueue(database, 20, queue="limited")

    assert needed() == 3


def test_a_worker_serves_all_queues_at_once(database: str, needed: Needed) -> None:
    """The fullest one decides."""
    enqueue(database, 60, queue=TASKS.name)
    enqueue(database, 1500, queue=ORDERS.name)

    assert needed() == 2


@pytest.mark.parametrize("queue", [TASKS.name, None, "nobody's"])
def test_what_runs_needs_a_worker(database: str, needed: Needed, queue: str | None) -> None:
    """Also what waits for hours, or whose worker died: if nobody lives, nobody takes over."""
    [workflow_id] = enqueue(database, 1)
    begin(database, workflow_id)
    update(database, workflow_id, queue_name=queue)

    assert needed() == 1


def test_what_runs_counts_for_its_queue(database: str, needed: Needed) -> None:
    """So that nobody is sent away who runs something."""
    for workflow_id in enqueue(database, 51):
        begin(database, workflow_id)

    assert needed() == 2


@pytest.mark.parametrize(("seconds", "workers"), [(-1, 1), (20, 1), (60, 0)])
def test_a_delayed_one_needs_a_worker_when_it_is_due(
    database: str, needed: Needed, seconds: float, workers: int
) -> None:
    """Half a minute early, since one has to start."""
    [workflow_id] = enqueue(database, 1)
    due = int((time.time() + seconds) * 1000)
    update(database, workflow_id, status="DELAYED", delay_until_epoch_ms=due)

    assert needed() == workers


@pytest.mark.parametrize(
    "status", ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
)
def test_what_has_ended_needs_nobody(database: str, needed: Needed, status: str) -> None:
    """However it did."""
    [workflow_id] = enqueue(database, 1)
    update(database, workflow_id, status=status)

    assert needed() == 0


@pytest.mark.parametrize("status", ["ENQUEUED", "PENDING", "DELAYED"])
@pytest.mark.parametrize(
    ("columns", "workers"),
    [
        ({"application_version": "1"}, 1),
        ({"application_version": None}, 1),
        ({"application_version": "2"}, 0),
        ({"application_name": None}, 1),
        ({"application_name": "another"}, 0),
    ],
    ids=str,
)
def test_only_what_these_workers_would_take_counts(
    database: str, needed: Needed, status: str, columns: dict[str, Any], workers: int
) -> None:
    """Not what waits for another version, or belongs to another application."""
    [workflow_id] = enqueue(database, 1)
    update(database, workflow_id, status=status, delay_until_epoch_ms=1, **columns)

    assert needed() == workers


@pytest.mark.parametrize(
    ("tried", "workers"), [("now()", 0), ("now() - interval '1 day'", 0), ("'-infinity'", 1)]
)
def test_what_is_held_needs_nobody(database: str, needed: Needed, tried: str, workers: int) -> None:
    """Its code has changed, so a worker could do nothing; unless somebody wants it to be tried."""
    [workflow_id] = enqueue(database, 1)
    hold(database, workflow_id, tried=tried)

    assert needed() == workers


def test_its_role_can_do_nothing_else(scaler: str) -> None:
    """It is in a Secret of the cluster."""
    for statement in (
        "select inputs from dbos.workflow_input",
        "select authenticated_user from dbos.workflow_status",
        "select output from dbos.workflow_output",
        "update dbos.workflow_status set status = 'CANCELLED'",
        "insert into dbos.workflow_status (workflow_uuid) values ('1')",
    ):
        with (
            psycopg.connect(scaler) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement.encode())


def test_the_role_of_the_functions_will_do(database: str, role: str) -> None:
    """Who has no third one may use that."""
    migrate(database, functions_role=role)
    declare_queue(database, TASKS.name, worker_concurrency=50)
    enqueue(database, 51)

    assert ask(database.replace("//postgres@", f"//{role}@")) == 2


@pytest.mark.parametrize("count", [3, 100])
def test_what_has_ended_is_not_even_read(database: str, scaler: str, count: int) -> None:
    """It is asked every few seconds, also of a million finished ones."""
    enqueue(database, 20_000)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("update dbos.workflow_status set status = 'SUCCESS'")
        enqueue(database, count)
        connection.execute("vacuum analyze dbos.workflow_status")

    with psycopg.connect(scaler) as connection:
        explain = "explain (analyze, format json) "
        row = connection.execute((explain + QUERY).encode()).fetchone()

    assert row
    scans = [node for node in nodes(row[0][0]["Plan"]) if reads_workflows(node)]
    assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Only Scan"}
    assert sum(rows_read(node) for node in scans) == count


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All nodes of a plan."""
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def rows_read(node: dict[str, Any]) -> float:
    """How many rows a node has looked at, those included that were not what it looks for."""
    removed = [node.get(f"Rows Removed by {by}", 0) for by in ("Filter", "Index Recheck")]
    return float((node["Actual Rows"] + sum(removed)) * node["Actual Loops"])


def reads_workflows(node: dict[str, Any]) -> bool:
    """Whether a node reads the table."""
    return node.get("Relation Name") == "workflow_status"

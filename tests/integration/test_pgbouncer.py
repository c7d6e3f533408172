"""The functions behind PgBouncer in transaction mode, as serverless platforms need it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import Pooler
from tests.rows import alive, begin, finish

from .conftest import Serve


@pytest.fixture
def pgbouncer(pooler: Pooler) -> Iterator[str]:
    """The URL of `database` through a PgBouncer with two server connections."""
    with pooler(size=2) as url:
        yield url


def test_launch_and_status_work_in_transaction_mode(serve: Serve, pgbouncer: str) -> None:
    """Statement after statement may be run by another connection."""
    with serve(pgbouncer) as functions, ThreadPoolExecutor(10) as callers:
        launches = list(callers.map(lambda _: functions.post("/launch/greeting"), range(50)))
        urls = [answer.headers["Location"] for answer in launches]
        statuses = list(callers.map(functions.get, urls))

    assert {answer.status_code for answer in launches} == {202}
    assert {answer.json()["status"] for answer in statuses} == {"ENQUEUED"}


def test_the_control_surface_works_in_transaction_mode(
    serve: Serve, pgbouncer: str, database: str
) -> None:
    """Also what is more than one statement, and what looks at locks."""
    with serve(pgbouncer) as functions, alive(database, "1"):
        batch = functions.post("/launch/greeting", json=[{}] * 20).json()["workflows"]
        id = batch[0]["workflow_id"]
        begin(database, id)
        explained = functions.get(f"/explain/{id}").json()
        answers = [
            functions.post(f"/signal/{id}/topic", json=1, headers={"Idempotency-Key": "1"}),
            functions.post(f"/cancel/{id}?cancel_children=true"),
            functions.post(f"/resume/{id}"),
            functions.get(f"/steps/{id}"),
            functions.get("/list?limit=5&status=ENQUEUED"),
            functions.get("/list?limit=5&progress=true"),
            functions.get(f"/status/{id}?wait=0.3&events=true"),
        ]
        finish(database, id, "SUCCESS")
        events = functions.get(f"/status/{id}", headers={"Accept": "text/event-stream"})

    assert explained["reason"] == "running"
    assert [answer.status_code for answer in answers] == [202] * 3 + [200] * 4
    assert "event: end" in events.text

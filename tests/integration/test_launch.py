"""`launch` against a real database, without a worker: what it enqueues, what it refuses."""

import json
from collections.abc import Mapping
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from starlette.testclient import TestClient

from functions.client import engine
from local_dev.bench.processes import wait_until
from worker import catalog as published
from worker.catalog import Entry

JSON = {"Content-Type": "application/json"}


def enqueued(database: str) -> list[dict[str, Any]]:
    """The workflows in the database, with their inputs."""
    query = """
        select s.status, s.queue_name, s.application_name, s.serialization, i.inputs
        from dbos.workflow_status s join dbos.workflow_input i using (workflow_uuid)
    """
    with psycopg.connect(database, row_factory=dict_row) as connection:
        return connection.execute(query).fetchall()


def test_a_launch_answers_202_and_where_to_follow_it(functions: TestClient) -> None:
    """The body, `Location` and `Retry-After` of the contract."""
    answer = functions.post("/launch/greeting", json={"name": "World"})

    body = answer.json()
    url = f"/status/{body['workflow_id']}"
    assert answer.status_code == 202
    assert answer.headers["Location"] == url
    assert answer.headers["Retry-After"] == "1"
    assert body == {
        "workflow_id": body["workflow_id"],
        "workflow": "greeting",
        "status": "ENQUEUED",
        "links": {"status": url},
    }


def test_the_workflow_is_enqueued_as_portable_json(functions: TestClient, database: str) -> None:
    """Any worker, of any language, can read it; it belongs to the application."""
    functions.post("/launch/greeting", json={"name": "Wörld"})

    [row] = enqueued(database)
    assert json.loads(row["inputs"]) == {"positionalArgs": [], "namedArgs": {"name": "Wörld"}}
    assert row["serialization"] == "portable_json"
    assert (row["status"], row["queue_name"], row["application_name"]) == (
        "ENQUEUED",
        "task_queue",
        "dbos-functions",
    )


def test_no_body_means_no_arguments(functions: TestClient, database: str) -> None:
    """The workflow's own defaults apply."""
    assert functions.post("/launch/greeting").status_code == 202
    assert json.loads(enqueued(database)[0]["inputs"])["namedArgs"] == {}


@pytest.mark.parametrize(
    ("workflow", "arguments", "pointers"),
    [
        ("greeting", {"name": 1}, ["/name"]),
        ("greeting", {"name": None}, ["/name"]),
        ("greeting", {"a/b~c": 1}, ["/a~1b~0c"]),
        ("greeting", {"name": 1, "x": 2, "y": 3}, ["/name", "/x", "/y"]),
        ("greeting", [], [""]),
        ("greeting", [{"name": "World"}, {"name": 1}], ["/1/name"]),
        ("order", {"quantity": 0}, ["/quantity"]),
        ("order", {"quantity": 1.5, "payment_timeout": "1"}, ["/payment_timeout", "/quantity"]),
        ("order", {"payment_timeout": 1e300}, ["/payment_timeout"]),
        ("report", {"length": 1001}, ["/length"]),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    functions: TestClient, database: str, workflow: str, arguments: Any, pointers: list[str]
) -> None:
    """422 points at each of them, and nothing is enqueued."""
    answer = functions.post(f"/launch/{workflow}", json=arguments)

    body = answer.json()
    assert answer.status_code == body["status"] == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert sorted(error["pointer"] for error in body["errors"]) == pointers
    assert all(error["message"] for error in body["errors"])
    assert enqueued(database) == []


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("/launch/greeting", JSON, b"{", 400),
        ("/launch/greeting", JSON, b'{"name":"\\ud800"}', 400),
        ("/launch/greeting?delay=x", JSON, b"{}", 400),
        ("/launch/greeting?%00=", JSON, b"{}", 400),
        ("/launch/unknown", JSON, b"{}", 404),
        ("/launch/greeting/", JSON, b"{}", 404),
        ("/launch/", JSON, b"{}", 404),
        ("/launch", JSON, b"{}", 404),
        ("/launch/%00", JSON, b"{}", 404),
        ("/launch/greeting%0A", JSON, b"{}", 404),
        ("/launch/" + "x" * 5000, JSON, b"{}", 404),
        ("/elsewhere", JSON, b"{}", 404),
        ("/launch/greeting", {"Content-Type": "text/plain"}, b"{}", 415),
        ("/launch/greeting", {}, b"{}", 415),
        ("/launch/greeting", JSON, b" " * 2**20 + b"{}", 413),
    ],
)
def test_what_is_malformed_is_refused(
    functions: TestClient,
    database: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    status: int,
) -> None:
    """Each with its own 4xx as a problem (RFC 9457), and nothing is enqueued."""
    answer = functions.post(path, content=body, headers=headers)

    problem = answer.json()
    assert answer.status_code == problem["status"] == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert {"type", "title", "detail"} < problem.keys()
    assert len(answer.content) < 1000
    assert enqueued(database) == []


def test_an_unknown_workflow_names_the_known_ones(functions: TestClient, database: str) -> None:
    """Both for people and for programs: those that are published, whatever a fork has."""
    entries = [Entry(name, "task_queue", "", {"type": "object"}, {}) for name in ("pear", "apple")]
    with psycopg.connect(database) as connection:
        published.publish(connection, entries, application="dbos-functions", version="1")

    problem = functions.post("/launch/apples").json()

    assert problem["workflows"] == ["apple", "pear"]
    assert "apple, pear" in problem["detail"]


def test_an_unknown_parameter_is_named(functions: TestClient) -> None:
    """So that a typo is not silently ignored."""
    assert "'dealy'" in functions.post("/launch/greeting?dealy=1").json()["detail"]


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "BREW"]
)
def test_other_methods_are_refused(functions: TestClient, method: str) -> None:
    """405 says which is allowed."""
    answer = functions.request(method, "/launch/greeting")

    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"


def test_a_workflow_published_just_now_can_be_launched(
    functions: TestClient, database: str
) -> None:
    """The catalog is read again, at most once a second, before a call is refused."""
    assert functions.post("/launch/greeting").status_code == 202
    schema = {"type": "object", "properties": {"new": {}}, "required": ["new"]}
    entries = [Entry(name, "task_queue", "", schema, {}) for name in ("greeting", "added")]
    with psycopg.connect(database) as connection:
        published.publish(connection, entries, application="dbos-functions", version="2")

    wait_until(lambda: functions.post("/launch/added", json={"new": 1}).status_code == 202)
    changed = functions.post("/launch/greeting", json={"new": 1})

    assert changed.status_code == 202


def test_every_connection_is_given_back(functions: TestClient) -> None:
    """Also after errors: the client of each invocation is destroyed."""
    for path in ("/launch/greeting", "/launch/unknown", "/launch/order?x="):
        functions.post(path)
    functions.get("/status/unknown")

    assert engine().pool.checkedout() == 0  # type: ignore[attr-defined]

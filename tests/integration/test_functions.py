"""What holds for every function, whatever it does."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from functions.asgi import FUNCTIONS
from functions.client import engine
from tests.rows import update

from .conftest import Serve
from .test_access import ACCESS, key

Request = tuple[str, str, Any]

EVENTS = {"Accept": "text/event-stream"}

ONE: dict[str, Request] = {
    "status": ("GET", "/status/{id}", None),
    "events": ("GET", "/status/{id}", EVENTS),
    "wait": ("GET", "/status/{id}?wait=0.1", None),
    "steps": ("GET", "/steps/{id}", None),
    "explain": ("GET", "/explain/{id}", None),
    "cancel": ("POST", "/cancel/{id}", None),
    "resume": ("POST", "/resume/{id}", None),
    "signal": ("POST", "/signal/{id}/topic", 1),
}
"""A request of every function that is about one workflow."""

ALL: dict[str, Request] = {
    **ONE,
    "launch": ("POST", "/launch/greeting", {}),
    "batch": ("POST", "/launch/greeting", [{}]),
    "list": ("GET", "/list", None),
    "openapi": ("GET", "/openapi.json", None),
}

AWAY = "postgresql://someone:a-password@127.0.0.1:1/somewhere"


def send(functions: TestClient, request: Request, id: str = "any", **headers: str) -> Any:
    """Send a request about the workflow `id`."""
    method, path, body = request
    if body is EVENTS:
        body, headers = None, EVENTS | headers
    return functions.request(method, path.format(id=id), json=body, headers=headers)


@pytest.fixture
def functions(serve: Serve, database: str) -> Iterator[TestClient]:
    """The functions, with short streams."""
    with serve(database, EVENTS_SECONDS="0.1") as client:
        yield client


@pytest.fixture
def guarded(serve: Serve, database: str) -> Iterator[TestClient]:
    """The functions for those who have a key."""
    with serve(database, EVENTS_SECONDS="0.1", **ACCESS) as client:
        yield client


def test_every_function_is_tested_here() -> None:
    """So that a new one is not forgotten."""
    assert {function.__name__ for function in FUNCTIONS} <= ALL.keys()


@pytest.mark.parametrize("name", ALL)
def test_an_unknown_parameter_is_named(functions: TestClient, name: str) -> None:
    """400, before anything else is looked at."""
    method, path, body = ALL[name]
    unknown = f"{path}{'&' if '?' in path else '?'}verbose=1"

    answer = send(functions, (method, unknown, body))

    assert answer.status_code == 400
    assert "'verbose'" in answer.json()["detail"]


@pytest.mark.parametrize("name", ALL)
def test_another_method_is_refused(functions: TestClient, name: str) -> None:
    """405 says which are allowed; HEAD is, wherever GET is."""
    method, path, body = ALL[name]
    allowed = "GET, HEAD" if method == "GET" else "POST"

    answer = send(functions, ("POST" if method == "GET" else "GET", path, body))

    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize("method", ["QUERY", "PROPFIND", "TRACE", "BREW"])
@pytest.mark.parametrize("name", ALL)
def test_a_method_that_no_function_has_is_refused(
    functions: TestClient, name: str, method: str
) -> None:
    """405 with those that are allowed, whether or not HTTP has it."""
    usual, path, _ = ALL[name]
    allowed = "GET, HEAD" if usual == "GET" else "POST"

    answer = functions.request(method, path.format(id="any"))

    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert answer.json()["type"] == "urn:dbos-functions:problem:method-not-allowed"


@pytest.mark.parametrize("method", ["GET", "QUERY", "BREW"])
def test_an_unknown_path_is_not_found_with_any_method(functions: TestClient, method: str) -> None:
    """404: there is nothing that would allow another one."""
    answer = functions.request(method, "/nowhere")

    assert answer.status_code == 404
    assert "Allow" not in answer.headers


@pytest.mark.parametrize("name", [name for name in ALL if ALL[name][0] == "GET"])
def test_head_is_get_without_a_body(functions: TestClient, name: str) -> None:
    """The same status."""
    id = functions.post("/launch/greeting").json()["workflow_id"]
    _, path, _ = ALL[name]

    answer = send(functions, ("HEAD", path, None), id)

    assert answer.status_code == 200


@pytest.mark.parametrize("name", ALL)
def test_a_database_that_is_away_is_a_503(serve: Serve, name: str) -> None:
    """With `Retry-After`, and nothing of where it is."""
    with serve(AWAY) as functions:
        answer = send(functions, ALL[name])

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Content-Type"] == "application/problem+json"
    for secret in ("127.0.0.1", "someone", "password", "somewhere"):
        assert secret not in answer.text


@pytest.mark.parametrize("name", ALL)
def test_before_any_worker_has_started_there_is_a_503(
    serve: Serve, empty_database: str, name: str
) -> None:
    """It says so."""
    with serve(empty_database) as functions:
        answer = send(functions, ALL[name])

    assert answer.status_code == 503
    assert "No worker" in answer.json()["detail"]


@pytest.mark.parametrize("name", ALL)
def test_without_a_key_there_is_a_401(guarded: TestClient, name: str) -> None:
    """With the challenge, and whether or not the workflow exists."""
    answer = send(guarded, ALL[name])

    assert answer.status_code == 401
    assert "WWW-Authenticate" in answer.headers


@pytest.mark.parametrize("name", ONE)
def test_a_workflow_of_somebody_else_is_not_found(guarded: TestClient, name: str) -> None:
    """404, as if it did not exist; for an administrator it does."""
    id = guarded.post("/launch/greeting", headers=key("alice")).json()["workflow_id"]

    others = send(guarded, ONE[name], id, **key("bob"))
    unknown = send(guarded, ONE[name], "unknown", **key("bob"))
    administrators = send(guarded, ONE[name], id, **key("carol"))

    assert others.status_code == 404
    assert others.json()["detail"].replace(id, "unknown") == unknown.json()["detail"]
    assert administrators.status_code in (200, 202, 409)


@pytest.mark.parametrize("name", ONE)
def test_what_belongs_to_nobody_is_for_administrators(
    guarded: TestClient, database: str, name: str
) -> None:
    """As what other clients have enqueued."""
    id = guarded.post("/launch/greeting", headers=key("alice")).json()["workflow_id"]
    update(database, id, authenticated_user=None)

    assert send(guarded, ONE[name], id, **key("alice")).status_code == 404
    assert send(guarded, ONE[name], id, **key("carol")).status_code != 404


def test_events_of_somebody_else_are_not_found(guarded: TestClient) -> None:
    """404 before anything is sent."""
    url = guarded.post("/launch/greeting", headers=key("alice")).headers["Location"]

    answer = guarded.get(url, headers=key("bob") | {"Accept": "text/event-stream"})

    assert answer.status_code == 404


def test_each_caller_lists_their_own(guarded: TestClient) -> None:
    """An administrator lists all."""
    ids = {
        name: guarded.post("/launch/greeting", headers=key(name)).json()["workflow_id"]
        for name in ("alice", "bob")
    }

    listed = {
        name: [
            each["workflow_id"]
            for each in guarded.get("/list", headers=key(name)).json()["workflows"]
        ]
        for name in ("alice", "bob", "carol")
    }

    assert listed == {
        "alice": [ids["alice"]],
        "bob": [ids["bob"]],
        "carol": [ids["bob"], ids["alice"]],
    }


def test_keys_and_duplicates_are_those_of_one_caller(guarded: TestClient) -> None:
    """Nobody can find, replay or block what is somebody else's."""
    url = "/launch/greeting?deduplication_id=one"
    idempotency = {"Idempotency-Key": "one"}

    answers = [
        guarded.post(url, headers=key(name) | idempotency) for name in ("alice", "bob", "alice")
    ]
    signals = [
        guarded.post(
            f"/signal/{answers[0].json()['workflow_id']}/topic",
            json=name,
            headers=key(name) | idempotency,
        ).status_code
        for name in ("alice", "carol")
    ]

    ids = [answer.json()["workflow_id"] for answer in answers]
    assert ids[0] == ids[2] != ids[1]
    assert ["Idempotency-Replayed" in answer.headers for answer in answers] == [False, False, True]
    assert signals == [202, 202]


@pytest.mark.parametrize("name", ONE)
def test_a_workflow_of_another_application_is_not_found(
    functions: TestClient, database: str, name: str
) -> None:
    """Its own functions control it."""
    id = functions.post("/launch/greeting").json()["workflow_id"]
    update(database, id, application_name="another")

    assert send(functions, ONE[name], id).status_code == 404


def test_a_catalog_of_older_workers_is_a_503(functions: TestClient, database: str) -> None:
    """Until the first new worker has started."""
    with psycopg.connect(database) as connection:
        connection.execute("alter table catalog.workflows drop column signals")

    answer = functions.post("/launch/greeting")

    assert (answer.status_code, answer.json()["title"]) == (503, "Catalog outdated")


def test_nothing_is_kept_by_caches(functions: TestClient) -> None:
    """Whoever else asks through the same proxy may be somebody else."""
    id = functions.post("/launch/greeting").json()["workflow_id"]
    for request in (*ALL.values(), ("GET", "/status/unknown", None)):
        answer = send(functions, request, id)
        assert answer.headers["Cache-Control"].removeprefix("private, ") in ("no-store", "no-cache")


def test_every_connection_is_given_back(functions: TestClient, database: str) -> None:
    """Whatever was asked, however it was answered."""
    id = functions.post("/launch/greeting").json()["workflow_id"]
    for request in ALL.values():
        send(functions, request, id)
        send(functions, request, "unknown")

    assert engine().pool.checkedout() == 0  # type: ignore[attr-defined]


def test_tables_that_have_changed_are_noticed(functions: TestClient, database: str) -> None:
    """A column that an upgrade of dbos takes away is an error in the log, not a wrong answer."""
    id = functions.post("/launch/greeting").json()["workflow_id"]
    with psycopg.connect(database) as connection:
        connection.execute("alter table dbos.operation_outputs rename child_workflow_id to child")

    assert functions.get(f"/steps/{id}").status_code == 500

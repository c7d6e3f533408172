"""`status` against a real database, without a worker."""

import base64
import pickle
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from dbos import DBOSClient
from dbos._serialization import DBOSDefaultSerializer
from starlette.testclient import TestClient

from tests.rows import finish, record

FIELDS = [
    *("workflow_id", "workflow", "queue", "status"),
    *("created_at", "updated_at", "started_at", "completed_at"),
    *("attempts", "application_version", "progress"),
]


def launch(functions: TestClient) -> str:
    """The id of a new workflow."""
    return str(functions.post("/launch/greeting").json()["workflow_id"])


def test_a_workflow_that_waits_has_a_status(functions: TestClient) -> None:
    """All fields of the contract, and when to ask again."""
    workflow_id = launch(functions)

    answer = functions.get(f"/status/{workflow_id}")

    body = answer.json()
    assert answer.status_code == 200
    assert answer.headers["Retry-After"] == "1"
    assert list(body) == [*FIELDS, "links"]
    assert body["workflow_id"] == workflow_id
    assert (body["workflow"], body["queue"]) == ("greeting", "task_queue")
    assert (body["status"], body["attempts"], body["progress"]) == ("ENQUEUED", 0, None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["created_at"])
    assert body["started_at"] is body["completed_at"] is None
    assert body["links"] == {"status": f"/status/{workflow_id}"}


def test_a_cancelled_workflow_need_not_be_asked_for_again(
    functions: TestClient, database: str
) -> None:
    """Terminal states have no `Retry-After`, result or error."""
    workflow_id = launch(functions)
    client = DBOSClient(system_database_url=database)
    client.cancel_workflow(workflow_id)
    client.destroy()

    answer = functions.get(f"/status/{workflow_id}")

    assert answer.json()["status"] == "CANCELLED"
    assert list(answer.json()) == [*FIELDS, "links"]
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize(
    ("output", "serialization", "result"),
    [
        ('{"a":[1,"é",null]}', "portable_json", {"a": [1, "é", None]}),
        ("NaN", "portable_json", None),
        ("[1e999,Infinity]", "portable_json", [None, None]),
        ('"\\ud800"', "portable_json", "\ud800"),
        ("gASVBgAAAAAAAACMAmhplC4=", "py_pickle", None),
        ('{"json":1}', "js_superjson", None),
        (None, "portable_json", None),
        ("[" * 500_000 + "]" * 500_000, "portable_json", None),
        ("9" * 5000, "portable_json", None),
        ("not JSON", "portable_json", None),
    ],
)
def test_any_result_can_be_shown(
    functions: TestClient, database: str, output: str | None, serialization: str, result: Any
) -> None:
    """What is no JSON becomes null; nothing is ever unpickled, nothing is a 5xx."""
    workflow_id = launch(functions)
    finish(database, workflow_id, "SUCCESS", output=output, serialization=serialization)

    answer = functions.get(f"/status/{workflow_id}")

    assert answer.status_code == 200
    assert answer.json()["result"] == result
    assert "error" not in answer.json()


class Mark:
    """A value whose pickle creates a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("reading", ["status", "steps", "explain", "list"])
def test_functions_unpickle_nothing(
    functions: TestClient, database: str, tmp_path: Path, reading: str
) -> None:
    """Neither what they answer with, nor what else the rows hold; DBOS itself cannot any more."""
    mark = tmp_path / "unpickled"
    text = base64.b64encode(pickle.dumps(Mark(mark))).decode()
    workflow_id = launch(functions)
    finish(database, workflow_id, "ERROR", output=text, error=text, serialization="py_pickle")
    columns: dict[str, Any] = {"output": text, "error": text, "serialization": "py_pickle"}
    record(database, workflow_id, 1, "step", **columns)

    answer = functions.get("/list" if reading == "list" else f"/{reading}/{workflow_id}")
    with pytest.raises(Exception, match="py_pickle"):
        DBOSDefaultSerializer.deserialize(text)

    assert answer.status_code == 200
    assert not mark.exists()


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (
            '{"name":"OutOfStock","message":"none left","code":1,"public":true}',
            {"name": "OutOfStock", "message": "none left"},
        ),
        ('{"name":"OSError","message":"a secret","python":{"args":["a secret"]}}', "OSError"),
        ("null", "Error"),
    ],
)
def test_a_failed_workflow_shows_its_error(
    functions: TestClient, database: str, error: str, shown: dict[str, str] | str
) -> None:
    """200: it is the workflow that failed, not the function. The rest is in its worker's log."""
    workflow_id = launch(functions)
    finish(database, workflow_id, "ERROR", error=error)

    answer = functions.get(f"/status/{workflow_id}")

    assert answer.status_code == 200
    told = answer.json()["error"]
    assert told == shown or (told["name"], told["reference"]) == (shown, workflow_id)
    assert "secret" not in answer.text
    assert "result" not in answer.json()


@pytest.mark.parametrize(
    "workflow_id",
    ["unknown", "", " ", "a/b", "\0", "x" * 1025, "' or 1=1 --", "../..", "☃", "%s", "\ufffd"],
)
def test_an_unknown_id_is_not_found(functions: TestClient, workflow_id: str) -> None:
    """However hostile."""
    answer = functions.get(f"/status/{quote(workflow_id, safe='')}")

    assert answer.status_code == answer.json()["status"] == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert len(answer.content) < 500


@pytest.mark.parametrize("workflow_id", ["a/b", "☃ & co?", "x" * 1024])
def test_an_id_that_another_client_chose_is_found(
    functions: TestClient, database: str, workflow_id: str
) -> None:
    """And its link leads back to it."""
    client = DBOSClient(system_database_url=database)
    client.enqueue(
        {"workflow_name": "greeting", "queue_name": "task_queue", "workflow_id": workflow_id}
    )
    client.destroy()

    body = functions.get(f"/status/{quote(workflow_id, safe='')}").json()

    assert body["workflow_id"] == workflow_id
    assert functions.get(body["links"]["status"]).json() == body


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(functions: TestClient, method: str) -> None:
    """405 says which are allowed."""
    answer = functions.request(method, "/status/unknown")

    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD"


def test_an_unknown_parameter_is_refused(functions: TestClient) -> None:
    """400 names it."""
    answer = functions.get("/status/unknown?verbose")

    assert answer.status_code == 400
    assert "'verbose'" in answer.json()["detail"]

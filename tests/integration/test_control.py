"""`cancel`, `resume` and `signal` against a real database, without a worker."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from functions.access import Caller
from functions.client import dbos_client
from functions.signals import Signal, send
from tests.rows import begin, finish, hold, update

from .test_waiting import launched

KEY = {"Idempotency-Key": "pay once"}

ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]

UNENDED = ["ENQUEUED", "DELAYED", "PENDING"]

Act = Callable[[TestClient, str], Any]

ACTS: dict[str, Act] = {
    "cancel": lambda functions, id: functions.post(f"/cancel/{id}"),
    "resume": lambda functions, id: functions.post(f"/resume/{id}"),
    "signal": lambda functions, id: functions.post(f"/signal/{id}/topic", json=1),
}


def messages(database: str) -> list[tuple[str, str, Any]]:
    """To whom which messages were sent, and about what."""
    query = "select destination_uuid, topic, message from dbos.notifications"
    with psycopg.connect(database) as connection:
        return [(to, topic, json.loads(text)) for to, topic, text in connection.execute(query)]


@pytest.mark.parametrize("status", UNENDED)
def test_what_has_not_ended_can_be_cancelled(
    functions: TestClient, database: str, status: str
) -> None:
    """202 with the new state, and where to see it."""
    workflow_id = launched(functions)
    update(database, workflow_id, status=status)

    answer = functions.post(f"/cancel/{workflow_id}")

    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/status/{workflow_id}"
    assert answer.json() == {
        "workflow_id": workflow_id,
        "workflow": "greeting",
        "status": "CANCELLED",
        "links": {"status": f"/status/{workflow_id}"},
    }


@pytest.mark.parametrize(
    ("act", "status"),
    [
        *(("cancel", status) for status in ENDED),
        *(("signal", status) for status in ENDED),
        *(("resume", status) for status in ("SUCCESS", "ERROR", *UNENDED)),
    ],
)
def test_another_state_does_not_allow_it(
    functions: TestClient, database: str, act: str, status: str
) -> None:
    """409 names the state, and nothing changes."""
    workflow_id = launched(functions)
    update(database, workflow_id, status=status)

    answer = ACTS[act](functions, workflow_id)

    assert answer.status_code == 409
    assert status in answer.json()["detail"]
    assert functions.get(f"/status/{workflow_id}").json()["status"] == status
    assert messages(database) == []


@pytest.mark.parametrize("act", ACTS)
def test_an_unknown_workflow_is_not_found(functions: TestClient, act: str) -> None:
    """404 before anything is done."""
    assert ACTS[act](functions, "unknown").status_code == 404


@pytest.mark.parametrize("path", ["/cancel", "/resume/", "/signal/a", "/signal/a/", "/signal//t"])
def test_half_a_path_is_not_found(functions: TestClient, path: str) -> None:
    """404, whatever is missing."""
    assert functions.post(path, json=1).status_code == 404


@pytest.mark.parametrize("children", [True, False])
def test_children_are_cancelled_if_that_is_wanted(
    functions: TestClient, database: str, children: bool
) -> None:
    """By default they go on."""
    parent, child = launched(functions), launched(functions)
    update(database, child, parent_workflow_id=parent)

    functions.post(f"/cancel/{parent}?cancel_children={str(children).lower()}")

    status = functions.get(f"/status/{child}").json()["status"]
    assert status == ("CANCELLED" if children else "ENQUEUED")


@pytest.mark.parametrize("status", ["CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"])
def test_what_was_stopped_goes_on_in_its_own_queue(
    functions: TestClient, database: str, status: str
) -> None:
    """Where its limits apply, and with all attempts ahead."""
    workflow_id = launched(functions, "order")
    update(database, workflow_id, status=status, queue_name=None, recovery_attempts=6)

    answer = functions.post(f"/resume/{workflow_id}")

    now = functions.get(f"/status/{workflow_id}").json()
    assert (answer.status_code, answer.json()["status"]) == (202, "ENQUEUED")
    assert (now["status"], now["queue"], now["attempts"]) == ("ENQUEUED", "order_queue", 0)


@pytest.mark.parametrize("value", [{"paid": True}, {"paid": False, "by": ["é", None]}])
def test_a_signal_is_sent(functions: TestClient, database: str, value: Any) -> None:
    """Also before the workflow waits for it."""
    workflow_id = launched(functions, "order")

    answer = functions.post(f"/signal/{workflow_id}/payment", json=value)

    assert (answer.status_code, answer.json()["status"]) == (202, "ENQUEUED")
    assert answer.headers["Location"] == f"/status/{workflow_id}"
    assert messages(database) == [(workflow_id, "payment", value)]


@pytest.mark.parametrize("value", [None, 0, "", [], {"a": [1.5]}, True])
def test_a_signal_can_be_any_json(functions: TestClient, database: str, value: Any) -> None:
    """Where the workflow has not declared what it wants."""
    workflow_id = launched(functions)
    json_type = {"Content-Type": "application/json"}

    url, content = f"/signal/{workflow_id}/☃ 1", json.dumps(value)
    answer = functions.post(url, content=content, headers=json_type)

    assert answer.status_code == 202
    assert messages(database) == [(workflow_id, "☃ 1", value)]


@pytest.mark.parametrize(
    ("value", "pointer"), [({"paid": "yes"}, "/paid"), ({}, "/paid"), (True, "")]
)
def test_a_signal_has_to_fit_what_is_declared(
    functions: TestClient, database: str, value: Any, pointer: str
) -> None:
    """422 points at what is wrong, and nothing is sent."""
    workflow_id = launched(functions, "order")

    answer = functions.post(f"/signal/{workflow_id}/payment", json=value)

    assert (answer.status_code, answer.json()["title"]) == (422, "Invalid signal")
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert messages(database) == []


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", {"Content-Type": "application/json"}, 400),
        (b"{", {"Content-Type": "application/json"}, 400),
        (b"1", {}, 415),
        (b"1", {"Content-Type": "application/json", "Idempotency-Key": ""}, 400),
    ],
)
def test_a_malformed_signal_is_refused(
    functions: TestClient, database: str, content: bytes, headers: dict[str, str], status: int
) -> None:
    """And not sent."""
    url = f"/signal/{launched(functions)}/topic"

    assert functions.post(url, content=content, headers=headers).status_code == status
    assert messages(database) == []


def test_a_signal_with_a_key_is_sent_once(functions: TestClient, database: str) -> None:
    """Of twenty at the same time one arrives; a replay is answered also after the end."""
    workflow_id = launched(functions, "order")
    url = f"/signal/{workflow_id}/payment"
    with ThreadPoolExecutor(20) as callers:
        pay = partial(functions.post, url, json={"paid": True}, headers=KEY)
        answers = list(callers.map(lambda _: pay(), range(20)))
    finish(database, workflow_id, "SUCCESS")
    replayed = functions.post(url, json={"paid": True}, headers=KEY)

    assert {answer.status_code for answer in answers} == {202}
    assert messages(database) == [(workflow_id, "payment", {"paid": True})]
    assert (replayed.status_code, replayed.headers["Idempotency-Replayed"]) == (202, "true")


def test_a_second_attempt_sends_nothing_twice(functions: TestClient, database: str) -> None:
    """As after a connection that died when the first had been committed; not even after the end."""
    workflow_id = launched(functions)
    signal = Signal(workflow_id, "topic", {"a": 1}, Caller(None), key=None)
    with dbos_client() as client:
        send(signal, client)
        finish(database, workflow_id, "SUCCESS")
        again = send(signal, client)

    assert again[1] is False
    assert messages(database) == [(workflow_id, "topic", {"a": 1})]


def test_a_key_is_for_one_signal(functions: TestClient, database: str) -> None:
    """422 with another value; another topic or another workflow is another signal."""
    one, other = launched(functions), launched(functions)
    functions.post(f"/signal/{one}/topic", json=True, headers=KEY)

    assert functions.post(f"/signal/{one}/topic", json=1, headers=KEY).status_code == 422
    assert functions.post(f"/signal/{one}/other", json=1, headers=KEY).status_code == 202
    assert functions.post(f"/signal/{other}/topic", json=1, headers=KEY).status_code == 202
    assert sorted(messages(database), key=str) == sorted(
        [(one, "topic", True), (one, "other", 1), (other, "topic", 1)], key=str
    )


@pytest.mark.parametrize("status", ["ENQUEUED", "CANCELLED"])
def test_what_is_held_is_tried_at_once_when_it_is_resumed(
    functions: TestClient, database: str, status: str
) -> None:
    """Also when it was cancelled meanwhile."""
    workflow_id = launched(functions)
    hold(database, workflow_id)
    update(database, workflow_id, status=status)

    answer = functions.post(f"/resume/{workflow_id}")

    with psycopg.connect(database) as connection:
        query = "select tried_at = '-infinity' from catalog.unreplayable"
        assert connection.execute(query).fetchall() == [(True,)]
    assert (answer.status_code, answer.json()["status"]) == (202, "ENQUEUED")


def test_resuming_at_the_same_time_has_one_winner(functions: TestClient, database: str) -> None:
    """What runs already must not be started again."""
    workflow_id = launched(functions)
    functions.post(f"/cancel/{workflow_id}")
    with ThreadPoolExecutor(20) as callers:
        answers = list(callers.map(lambda _: functions.post(f"/resume/{workflow_id}"), range(20)))

    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [202] + [409] * 19
    refused = [answer.json()["detail"] for answer in answers if answer.status_code == 409]
    assert all("is ENQUEUED" in detail for detail in refused)


def test_cancelling_at_the_same_time_has_one_winner(functions: TestClient, database: str) -> None:
    """Everybody is told how it is: cancelled, or cancelled already."""
    workflow_id = launched(functions)
    begin(database, workflow_id)
    with ThreadPoolExecutor(10) as callers:
        answers = list(callers.map(lambda _: functions.post(f"/cancel/{workflow_id}"), range(10)))

    assert {answer.status_code for answer in answers} <= {202, 409}
    assert 202 in {answer.status_code for answer in answers}

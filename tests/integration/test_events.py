"""`status` as server-sent events."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from local_dev.bench.processes import wait_until
from local_dev.bench.proxy import Proxy
from tests.calls import Event, parsed
from tests.rows import begin, finish, report_progress, write_stream

from .conftest import Serve
from .test_waiting import launched, waiters

EVENTS = {"Accept": "text/event-stream"}


def read(functions: TestClient, workflow_id: str, last: str | None = None) -> list[Event]:
    """All events until the server closes the stream."""
    headers = EVENTS | ({"Last-Event-ID": last} if last else {})
    answer = functions.get(f"/status/{workflow_id}", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    return list(parsed(answer.text.split("\n")))


def test_a_finished_workflow_is_told_at_once(functions: TestClient, database: str) -> None:
    """Its status as `status` has it, its progress, its streams in order, and the end."""
    workflow_id = launched(functions)
    report_progress(database, workflow_id, {"done": 2})
    write_stream(database, workflow_id, "lines", "a", {"b": "\n\r"}, "__DBOS_STREAM_CLOSED__")
    write_stream(database, workflow_id, "other", None)
    finish(database, workflow_id, "SUCCESS", output='"result"')

    told = read(functions, workflow_id)

    assert [event.name for event in told] == ["status", "progress", *3 * ["stream"], "end"]
    assert told[0].data == functions.get(f"/status/{workflow_id}").json()
    assert told[1].data == {"done": 2}
    assert [event.data for event in told[2:5]] == [
        {"key": "lines", "offset": 0, "value": "a"},
        {"key": "lines", "offset": 1, "value": {"b": "\n\r"}},
        {"key": "other", "offset": 0, "value": None},
    ]
    assert told[5].data == {"status": "SUCCESS"}


def test_what_happens_is_told_when_it_happens(functions: TestClient, database: str) -> None:
    """From the first state to the last, without asking."""
    workflow_id = launched(functions)
    with ThreadPoolExecutor() as caller:
        reading = caller.submit(read, functions, workflow_id)
        wait_until(waiters)
        begin(database, workflow_id)
        report_progress(database, workflow_id, 1)
        for number in range(3):
            write_stream(database, workflow_id, "lines", number, begin=number)
        finish(database, workflow_id, "ERROR", error="{}")
        told = reading.result()

    statuses = [event.data["status"] for event in told if event.name == "status"]
    assert (statuses[0], statuses[-1]) == ("ENQUEUED", "ERROR")
    assert [event.data for event in told if event.name == "progress"] == [1]
    assert [event.data["value"] for event in told if event.name == "stream"] == [0, 1, 2]
    assert told[-1].name == "end"


def test_every_event_can_be_resumed_from(functions: TestClient, database: str) -> None:
    """What comes after it is told again, and nothing else."""
    workflow_id = launched(functions)
    report_progress(database, workflow_id, "half")
    write_stream(database, workflow_id, "a", 1, 2)
    write_stream(database, workflow_id, "b", 3)
    finish(database, workflow_id, "SUCCESS")
    told = read(functions, workflow_id)

    for number, event in enumerate(told[:-1], start=1):
        resumed = read(functions, workflow_id, event.id)
        assert [each.data for each in resumed] == [each.data for each in told[number:]]


def test_who_has_seen_the_end_is_sent_away(functions: TestClient, database: str) -> None:
    """204 tells an EventSource not to come back; after a `resume` it goes on."""
    workflow_id = launched(functions)
    functions.post(f"/cancel/{workflow_id}")
    last = read(functions, workflow_id)[-1].id
    headers = EVENTS | {"Last-Event-ID": last}

    assert functions.get(f"/status/{workflow_id}", headers=headers).status_code == 204

    functions.post(f"/resume/{workflow_id}")
    finish(database, workflow_id, "SUCCESS")
    assert [event.name for event in read(functions, workflow_id, last)] == ["status", "end"]


def test_a_stream_closes_itself(serve: Serve, database: str) -> None:
    """With `reconnect`, from which it can be resumed."""
    with serve(database, EVENTS_SECONDS="0.5") as functions:
        workflow_id = launched(functions)
        first = read(functions, workflow_id)
        again = read(functions, workflow_id, first[-1].id)

    assert [event.name for event in first] == ["status", "reconnect"]
    assert [event.name for event in again] == ["reconnect"]


def test_a_long_stream_is_complete(functions: TestClient, database: str) -> None:
    """Also where it is more than what is read at once."""
    workflow_id = launched(functions)
    with psycopg.connect(database) as connection:
        connection.execute(
            'insert into dbos.streams (workflow_uuid, key, value, "offset", function_id,'
            " serialization) select %s, k, n, n, 1, 'portable_json'"
            " from generate_series(0, 1499) n, (values ('a'), ('b')) keys (k)",
            (workflow_id,),
        )
    finish(database, workflow_id, "SUCCESS")

    told = read(functions, workflow_id)

    values = [(event.data["key"], event.data["value"]) for event in told if event.name == "stream"]
    assert values == [(key, number) for key in "ab" for number in range(1500)]
    assert told[-1].name == "end"


def test_an_outage_ends_no_stream(serve: Serve, database: str) -> None:
    """What happens meanwhile is told when Postgres is back."""
    with Proxy(database) as proxy, serve(proxy.url) as functions, ThreadPoolExecutor() as caller:
        workflow_id = launched(functions)
        reading = caller.submit(read, functions, workflow_id)
        wait_until(waiters)
        with proxy.refusing():
            finish(database, workflow_id, "SUCCESS")
            assert functions.get(f"/status/{workflow_id}").status_code == 503

        assert [event.name for event in reading.result()] == ["status", "status", "end"]


def test_a_workflow_that_is_deleted_has_an_end(functions: TestClient, database: str) -> None:
    """Nobody waits for it for ever."""
    workflow_id = launched(functions)
    with ThreadPoolExecutor() as caller:
        reading = caller.submit(read, functions, workflow_id)
        wait_until(waiters)
        with psycopg.connect(database) as connection:
            connection.execute("delete from dbos.workflow_status")

        assert reading.result()[-1].data == {"status": None}


@pytest.mark.parametrize(
    "offsets",
    [{"\0": 1}, {"\ud800": 1}, {"a\0b": 1}, [[1, 2]], [[None, 1]], {"a": True}, {"a": -1}],
)
def test_an_id_that_postgres_could_not_take_is_refused(
    functions: TestClient, database: str, offsets: Any
) -> None:
    """Also where there are streams to look for."""
    workflow_id = launched(functions)
    write_stream(database, workflow_id, "lines", 1)
    last = base64.urlsafe_b64encode(json.dumps(["", "", offsets, ""]).encode()).decode()

    answer = functions.get(f"/status/{workflow_id}", headers=EVENTS | {"Last-Event-ID": last})

    assert answer.status_code == 400


@pytest.mark.parametrize(
    "accept",
    ["text/event-stream;q=0", "text/event-stream; q=0.0", "application/json", "*/*", "x" * 999],
)
def test_who_does_not_ask_for_events_is_not_sent_any(functions: TestClient, accept: str) -> None:
    """JSON is for everybody else."""
    answer = functions.get(f"/status/{launched(functions)}", headers={"Accept": accept})

    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("last", ["x", "W10=", "bnVsbA==", "é", "WyIiLCAiIiwgeyJhIjogLTF9LCAiIl0="])
def test_an_id_that_is_none_is_refused(functions: TestClient, last: str) -> None:
    """400 names the header."""
    headers = {b"Accept": b"text/event-stream", b"Last-Event-ID": last.encode()}
    answer = functions.get(f"/status/{launched(functions)}", headers=headers)

    assert answer.status_code == 400
    assert "Last-Event-ID" in answer.json()["detail"]


def test_an_unknown_workflow_has_no_events(functions: TestClient) -> None:
    """404 as a problem, not as an event."""
    answer = functions.get("/status/unknown", headers=EVENTS)

    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_head_opens_no_stream(functions: TestClient) -> None:
    """Its headers, and nothing to wait for."""
    answer = functions.head(f"/status/{launched(functions)}", headers=EVENTS)

    assert (answer.status_code, answer.content) == (200, b"")


def many_streams(database: str, workflow_id: str, number: int, padding: int = 0) -> None:
    """Write one value to each of so many streams, with keys of so many characters more."""
    with psycopg.connect(database) as connection:
        connection.execute(
            'insert into dbos.streams (workflow_uuid, key, value, "offset", function_id,'
            " serialization) select %s, lpad(n::text, 6, '0') || repeat('x', %s), n, 0, 1,"
            " 'portable_json' from generate_series(0, %s - 1) n",
            (workflow_id, padding, number),
        )


@pytest.mark.parametrize("padding", [0, 1000])
def test_of_very_many_streams_the_first_are_told(
    functions: TestClient, database: str, padding: int
) -> None:
    """As many as fit into the id of an event, from which a client goes on."""
    workflow_id = launched(functions)
    many_streams(database, workflow_id, 5_000, padding)
    finish(database, workflow_id, "SUCCESS")

    told = read(functions, workflow_id)
    again = read(functions, workflow_id, told[-2].id)

    values = [event.data["value"] for event in told if event.name == "stream"]
    assert values == list(range(len(values)))
    assert len(values) == (100 if padding == 0 else 5)
    assert max(len(event.id or "") for event in told) <= 8192
    assert [event.name for event in again] == ["end"]


def test_a_large_id_is_refused(functions: TestClient, database: str) -> None:
    """400 names the header and the limit."""
    headers = EVENTS | {"Last-Event-ID": "A" * 1_240_000}

    answer = functions.get(f"/status/{launched(functions)}", headers=headers)

    assert answer.status_code == 400
    assert "at most 8192 characters" in answer.json()["detail"]


def test_streams_that_a_caller_makes_up_do_not_come_back(
    functions: TestClient, database: str
) -> None:
    """An event's id has only those that the workflow has."""
    workflow_id = launched(functions)
    write_stream(database, workflow_id, "lines", 1, 2)
    finish(database, workflow_id, "SUCCESS")
    offsets = {"lines": 1} | {f"made up {number}": 1 for number in range(100)}
    last = base64.urlsafe_b64encode(json.dumps(["", "", offsets, ""]).encode()).decode()

    told = read(functions, workflow_id, last)

    assert [event.data["value"] for event in told if event.name == "stream"] == [2]
    ids = [base64.urlsafe_b64decode((event.id or "") + "==") for event in told]
    assert not any(b"made up" in each for each in ids)

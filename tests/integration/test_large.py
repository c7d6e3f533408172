"""What is larger than workers of this project store: it is told by its size, and never read."""

import json
from typing import Any

import psycopg
import pytest
from sqlalchemy import event
from starlette.testclient import TestClient

from functions.client import engine
from functions.tables import MAX_EVENTS, MAX_LISTED_BYTES, MAX_PAGE_BYTES, MAX_STEPS
from tests.rows import finish, record, report_progress, set_event, update, write_stream
from worker.migrate import migrate

from .conftest import Serve
from .test_events import read
from .test_waiting import launched

MIB = 1024 * 1024


def text_of(size: int) -> str:
    """A JSON text of so many bytes."""
    return json.dumps("x" * (size - 2))


def execute(database: str, statement: str, *parameters: Any) -> None:
    """Do something to the database."""
    with psycopg.connect(database) as connection:
        connection.execute(statement.encode(), parameters)


@pytest.fixture
def fetched(functions: TestClient) -> list[int]:
    """How many bytes each value has that Postgres has sent."""
    sizes: list[int] = []

    def note(_: Any, cursor: Any, *__: Any) -> None:
        if result := cursor.pgresult:
            columns = range(result.nfields)
            for row in range(result.ntuples):
                sizes.extend(len(result.get_value(row, each) or b"") for each in columns)

    event.listen(engine(), "after_cursor_execute", note)
    return sizes


def test_a_result_that_is_too_large_is_told_by_its_size(
    functions: TestClient, database: str, fetched: list[int]
) -> None:
    """200, and not a byte of it leaves Postgres."""
    workflow_id = launched(functions)
    finish(database, workflow_id, "SUCCESS", output=text_of(4 * MIB + 1))

    answer = functions.get(f"/status/{workflow_id}")

    assert answer.status_code == 200
    assert answer.json()["result"] is None
    assert answer.json()["result_bytes"] == 4 * MIB + 1
    assert 0 < sum(fetched) < 5000


def test_a_result_of_the_limit_is_shown(functions: TestClient, database: str) -> None:
    """Whole, and without a size."""
    workflow_id = launched(functions)
    finish(database, workflow_id, "SUCCESS", output=text_of(4 * MIB))

    body = functions.get(f"/status/{workflow_id}").json()

    assert len(body["result"]) == 4 * MIB - 2
    assert "result_bytes" not in body


def test_the_limit_is_a_setting(serve: Serve, database: str) -> None:
    """Of results one, of what workflows tell the other."""
    with serve(database, MAX_RESULT_BYTES="2000", MAX_VALUE_BYTES="1024") as functions:
        workflow_id = launched(functions)
        report_progress(database, workflow_id, "x" * 1023)
        finish(database, workflow_id, "SUCCESS", output=text_of(2001))
        body = functions.get(f"/status/{workflow_id}").json()

    assert (body["result"], body["result_bytes"]) == (None, 2001)
    assert (body["progress"], body["progress_bytes"]) == (None, 1025)


def test_an_error_that_is_too_large_is_told_by_a_sentence(
    functions: TestClient, database: str
) -> None:
    """In `status`, and of a step in `steps`, where others are shown."""
    workflow_id = launched(functions)
    error = json.dumps({"name": "ValueError", "message": "x" * 5 * MIB})
    small = {"name": "ValueError", "message": "small"}
    record(database, workflow_id, 1, "large", error=error)
    record(database, workflow_id, 2, "small", error=json.dumps(small | {"public": True}))
    finish(database, workflow_id, "ERROR", error=error)

    status = functions.get(f"/status/{workflow_id}").json()
    steps = functions.get(f"/steps/{workflow_id}").json()["steps"]

    large = {"name": "Error", "message": f"The error is too large: {len(error)} bytes."}
    assert status["error"] == large
    assert [each["error"] for each in steps] == [large, small]


def test_only_so_many_bytes_of_errors_are_read(functions: TestClient, database: str) -> None:
    """A run has many steps; the first errors are shown."""
    workflow_id = launched(functions)
    error = json.dumps({"name": "ValueError", "message": "x" * MIB})
    for number in range(6):
        record(database, workflow_id, number, "step", error=error)

    steps = functions.get(f"/steps/{workflow_id}").json()["steps"]

    assert [each["error"]["name"] for each in steps] == ["ValueError"] * 3 + ["Error"] * 3


def test_only_so_many_steps_are_shown(functions: TestClient, database: str) -> None:
    """`more` says that there are others."""
    workflow_id = launched(functions)
    execute(
        database,
        "insert into dbos.operation_outputs (workflow_uuid, function_id, function_name) "
        "select %s, n, repeat('x', 100000) from generate_series(1, %s) n",
        *(workflow_id, MAX_STEPS + 1),
    )

    body = functions.get(f"/steps/{workflow_id}").json()

    assert (len(body["steps"]), body["more"]) == (MAX_STEPS, True)
    assert len(body["steps"][0]["name"]) == 1024


def test_progress_that_is_too_large_is_told_by_its_size(
    functions: TestClient, database: str, fetched: list[int]
) -> None:
    """Also to whoever follows the events, as soon as it has become so."""
    workflow_id = launched(functions)
    report_progress(database, workflow_id, "x" * MIB)
    finish(database, workflow_id, "SUCCESS")

    told = read(functions, workflow_id)

    assert [each.name for each in told] == ["status", "end"]
    assert (told[0].data["progress"], told[0].data["progress_bytes"]) == (None, MIB + 2)
    assert sum(fetched) < 5000


def test_a_value_of_a_stream_that_is_too_large_is_told_by_its_size(
    functions: TestClient, database: str, fetched: list[int]
) -> None:
    """In its place among the others."""
    workflow_id = launched(functions)
    write_stream(database, workflow_id, "lines", "a", "x" * MIB, "b")
    finish(database, workflow_id, "SUCCESS")

    told = [each.data for each in read(functions, workflow_id) if each.name == "stream"]

    assert told == [
        {"key": "lines", "offset": 0, "value": "a"},
        {"key": "lines", "offset": 1, "value": None, "value_bytes": MIB + 2},
        {"key": "lines", "offset": 2, "value": "b"},
    ]
    assert sum(fetched) < 5000


def test_streams_of_large_values_are_read_in_parts(
    functions: TestClient, database: str, fetched: list[int]
) -> None:
    """All of them are told in order, and never much more than a page is in memory."""
    workflow_id = launched(functions)
    for key in ("a", "b"):
        write_stream(database, workflow_id, key, *[f"{n}".rjust(MIB - 2) for n in range(6)])
    finish(database, workflow_id, "SUCCESS")

    told = [each.data for each in read(functions, workflow_id) if each.name == "stream"]

    assert [(each["key"], int(each["value"])) for each in told] == [
        (key, number) for key in ("a", "b") for number in range(6)
    ]
    assert sum(fetched) < 13 * MIB
    assert MAX_PAGE_BYTES == 4 * MIB


def test_all_events_are_shown_when_they_are_asked_for(functions: TestClient, database: str) -> None:
    """By their keys, `progress` among them; the entity tag tells when one has changed."""
    workflow_id = launched(functions)
    report_progress(database, workflow_id, 1)
    set_event(database, workflow_id, "é", "'[1]'")
    set_event(database, workflow_id, "nothing", "'null'")

    first = functions.get(f"/status/{workflow_id}?events=true")
    tag = {"If-None-Match": first.headers["ETag"]}
    same = functions.get(f"/status/{workflow_id}?events=true", headers=tag)
    execute(database, "update dbos.workflow_events set value = '2' where key = 'nothing'")
    changed = functions.get(f"/status/{workflow_id}?events=true", headers=tag)
    without = functions.get(f"/status/{workflow_id}?events=false").json()

    assert first.json()["events"] == {"progress": 1, "é": [1], "nothing": None}
    assert {*first.json()} - {*without} == {"events"}
    assert (same.status_code, changed.status_code) == (304, 200)
    assert changed.json()["events"]["nothing"] == 2


def test_a_workflow_that_has_told_nothing_has_no_events(functions: TestClient) -> None:
    """An empty object."""
    workflow_id = launched(functions)

    assert functions.get(f"/status/{workflow_id}?events=true").json()["events"] == {}


def test_events_come_with_the_end_that_was_waited_for(functions: TestClient, database: str) -> None:
    """`wait` and `events` go together."""
    workflow_id = launched(functions)
    set_event(database, workflow_id, "key", "'1'")
    finish(database, workflow_id, "SUCCESS")

    body = functions.get(f"/status/{workflow_id}?events=true&wait=5").json()

    assert (body["status"], body["events"]) == ("SUCCESS", {"key": 1})


def test_only_so_many_bytes_of_events_are_read(
    functions: TestClient, database: str, fetched: list[int]
) -> None:
    """What is too large, alone or with those before it, is told by its size."""
    workflow_id = launched(functions)
    for key in "abcdef":
        set_event(database, workflow_id, key, f"to_json(repeat('x', {MIB - 2}))")
    set_event(database, workflow_id, "aa", f"to_json(repeat('x', {50 * MIB}))")
    set_event(database, workflow_id, "k" * 3000, "'1'")

    body = functions.get(f"/status/{workflow_id}?events=true").json()

    assert [key for key, value in body["events"].items() if value] == ["a", "b", "c", "d"]
    assert body["events_bytes"] == {"aa": 50 * MIB + 2, "e": MIB, "f": MIB}
    assert sum(fetched) < 4 * MIB + 5000


def test_only_so_many_events_are_shown(functions: TestClient, database: str) -> None:
    """`more_events` says that there are others."""
    workflow_id = launched(functions)
    execute(
        database,
        "insert into dbos.workflow_events (workflow_uuid, key, value, serialization) "
        "select %s, n, n, 'portable_json' from generate_series(1, %s) n",
        *(workflow_id, MAX_EVENTS + 1),
    )

    body = functions.get(f"/status/{workflow_id}?events=true").json()

    assert (len(body["events"]), body["more_events"]) == (MAX_EVENTS, True)


@pytest.mark.parametrize("query", ["events=1", "events=", "events=true&events=true", "events=TRUE"])
def test_events_are_true_or_false(functions: TestClient, query: str) -> None:
    """Anything else is 400."""
    answer = functions.get(f"/status/{launched(functions)}?{query}")

    assert answer.status_code == 400
    assert "'events'" in answer.json()["detail"]


def test_a_stream_of_events_takes_no_such_parameter(functions: TestClient) -> None:
    """It would promise what the stream does not tell."""
    headers = {"Accept": "text/event-stream"}
    answer = functions.get(f"/status/{launched(functions)}?events=true", headers=headers)

    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:dbos-functions:problem:not-with-event-stream"


def test_a_list_shows_progress_when_it_is_asked_for(functions: TestClient, database: str) -> None:
    """In the same order; what is large is told by its size, as a page has many."""
    ids = [launched(functions) for _ in range(4)]
    report_progress(database, ids[0], {"done": 1})
    report_progress(database, ids[1], "x" * MAX_LISTED_BYTES)
    report_progress(database, ids[2], None)

    page = functions.get("/list?progress=true&limit=3").json()
    rest = functions.get(f"/list?progress=true&cursor={page['next_cursor']}").json()
    without = functions.get("/list?progress=false").json()

    listed = [*page["workflows"], *rest["workflows"]]
    assert [each["workflow_id"] for each in listed] == ids[::-1]
    assert [each["progress"] for each in listed] == [None, None, None, {"done": 1}]
    assert [each.get("progress_bytes") for each in listed] == [
        *(None, None),
        *(MAX_LISTED_BYTES + 2, None),
    ]
    assert not [each for each in without["workflows"] if "progress" in each]


@pytest.mark.parametrize("query", ["progress=1", "progress=", "progress=true&progress=false"])
def test_progress_is_true_or_false(functions: TestClient, query: str) -> None:
    """Anything else is 400."""
    answer = functions.get(f"/list?{query}")

    assert answer.status_code == 400
    assert "'progress'" in answer.json()["detail"]


def test_a_signal_is_as_large_as_it_is_stored(serve: Serve, database: str) -> None:
    """1e15 is 18 bytes there; one that is larger than MAX_VALUE_BYTES is refused."""
    with serve(database, MAX_VALUE_BYTES="1024") as functions:
        url = f"/signal/{launched(functions)}/topic"
        headers = {"Content-Type": "application/json"}
        few = functions.post(url, content=f"[{','.join(['1e15'] * 50)}]", headers=headers)
        many = functions.post(url, content=f"[{','.join(['1e15'] * 60)}]", headers=headers)

    assert few.status_code == 202
    assert (many.status_code, many.json()["title"]) == (413, "Value too large")


def test_a_message_that_is_too_large_is_not_the_signal(
    functions: TestClient, database: str
) -> None:
    """A key whose message cannot be read was used for another one."""
    url = f"/signal/{launched(functions)}/topic"
    headers = {"Idempotency-Key": "key", "Content-Type": "application/json"}
    functions.post(url, content="null", headers=headers)
    execute(database, "update dbos.notifications set message = to_json(repeat('x', 10000000))")

    again = functions.post(url, content="null", headers=headers)

    assert again.status_code == 422


def test_the_least_role_is_enough(serve: Serve, database: str) -> None:
    """For all that is read, with its sizes."""
    execute(database, "drop role if exists reader")
    execute(database, "create role reader login")
    migrate(database, functions_role="reader")

    with serve(database.replace("postgres@", "reader@")) as functions:
        workflow_id = launched(functions)
        report_progress(database, workflow_id, "x" * MIB)
        record(database, workflow_id, 1, "step", error="{}")
        write_stream(database, workflow_id, "lines", "a")
        finish(database, workflow_id, "SUCCESS", output="1")
        answers = [
            functions.get(f"/status/{workflow_id}?events=true"),
            functions.get(f"/steps/{workflow_id}"),
            functions.get("/list?progress=true"),
            functions.get(f"/status/{workflow_id}", headers={"Accept": "text/event-stream"}),
        ]
        waited = functions.post("/launch/greeting?wait=0.1")

    assert [answer.status_code for answer in answers] == [200] * 4
    assert waited.status_code == 202


def test_names_are_shown_up_to_a_length(functions: TestClient, database: str) -> None:
    """Whoever else writes into the table may write anything."""
    workflow_id = launched(functions)
    update(database, workflow_id, name="n" * 5 * MIB, application_version="v" * 5 * MIB)

    for path in (f"/status/{workflow_id}", "/list", "/list?progress=true"):
        assert len(functions.get(path).content) < 5000

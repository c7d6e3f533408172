"""What a launch can be told beside its arguments: when, once, together, in which order."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from starlette.testclient import TestClient

from tests.rows import declare_queue, finish, update
from worker import catalog as published
from worker.catalog import Entry

KEY = {"Idempotency-Key": "order 1 of Ms. O'Brien"}


def rows(database: str) -> list[dict[str, Any]]:
    """All workflows, in the order in which they were inserted."""
    query = "select *, ctid from dbos.workflow_status order by ctid"
    with psycopg.connect(database, row_factory=dict_row) as connection:
        return connection.execute(query).fetchall()


def test_a_repeated_launch_is_answered_with_the_first(functions: TestClient, database: str) -> None:
    """The same key and arguments, whatever their order: one workflow, and the header says so."""
    first = functions.post("/launch/order", json={"item": "a", "quantity": 2}, headers=KEY)
    finish(database, first.json()["workflow_id"], "SUCCESS")

    again = functions.post("/launch/order", json={"quantity": 2, "item": "a"}, headers=KEY)

    assert (first.status_code, again.status_code) == (202, 202)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert again.json() == first.json() | {"status": "SUCCESS"}
    assert len(rows(database)) == 1


def test_twenty_identical_launches_at_once_are_one(functions: TestClient, database: str) -> None:
    """One is launched, nineteen are replays, also with a deduplication id."""
    with ThreadPoolExecutor(20) as callers:
        url = "/launch/greeting?deduplication_id=d"
        answers = list(callers.map(lambda _: functions.post(url, headers=KEY), range(20)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["workflow_id"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 19
    assert len(rows(database)) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"name": "a"}, {"name": "b"}),
        ({}, {"name": "World"}),
        ({"name": "a"}, [{"name": "a"}]),
        ([{"name": "a"}], {"name": "a"}),
        ([{"name": "a"}], [{"name": "a"}, {"name": "b"}]),
        ([{"name": "a"}, {"name": "b"}], [{"name": "a"}]),
    ],
)
def test_a_key_is_for_one_body(
    functions: TestClient, database: str, first: Any, second: Any
) -> None:
    """422 for another, and nothing is enqueued; nor has a batch the key of a single launch."""
    functions.post("/launch/greeting", json=first, headers=KEY)
    before = rows(database)

    answer = functions.post("/launch/greeting", json=second, headers=KEY)

    assert answer.status_code == 422
    assert answer.json()["title"] == "Idempotency key reused"
    assert rows(database) == before


def test_a_key_is_for_one_workflow(functions: TestClient, database: str) -> None:
    """The same key for another one launches that."""
    for workflow in ("greeting", "order"):
        answer = functions.post(f"/launch/{workflow}", headers=KEY)
        assert "Idempotency-Replayed" not in answer.headers

    assert [row["name"] for row in rows(database)] == ["greeting", "order"]


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\tb"])
def test_a_malformed_key_is_refused(functions: TestClient, key: str) -> None:
    """400 names the header."""
    answer = functions.post("/launch/greeting", headers={b"Idempotency-Key": key.encode()})

    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json()["detail"]


def test_a_batch_keeps_its_order(functions: TestClient, database: str) -> None:
    """One answer for all, in the order of the body; each has its own arguments."""
    calls = [{"name": str(number)} for number in range(100)]

    answer = functions.post("/launch/greeting?priority=7", json=calls)

    ids = [each["workflow_id"] for each in answer.json()["workflows"]]
    with psycopg.connect(database) as connection:
        query = "select workflow_uuid, inputs from dbos.workflow_input"
        inputs = {row[0]: json.loads(row[1])["namedArgs"] for row in connection.execute(query)}
    assert answer.status_code == 202
    assert [inputs[each] for each in ids] == calls
    in_queue = sorted(rows(database), key=lambda row: row["created_at"])
    assert [row["workflow_uuid"] for row in in_queue] == ids
    assert {row["priority"] for row in rows(database)} == {7}
    assert answer.json()["workflows"][0] == {
        "workflow_id": ids[0],
        "workflow": "greeting",
        "status": "ENQUEUED",
        "links": {"status": f"/status/{ids[0]}"},
    }


def test_a_batch_is_all_or_nothing(functions: TestClient, database: str) -> None:
    """One call that does not fit refuses all, with the pointer to it."""
    answer = functions.post("/launch/greeting", json=[{}, {"name": 1}, 2])
    assert answer.json()["errors"] == [{"pointer": "/2", "message": "is not a JSON object"}]

    answer = functions.post("/launch/greeting", json=[{}, {"name": 1}])
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/1/name"]

    assert rows(database) == []


def test_a_batch_that_cannot_be_stored_leaves_nothing(functions: TestClient, database: str) -> None:
    """One transaction: what the database refuses in the middle undoes what was before."""
    with psycopg.connect(database) as connection:
        connection.execute("alter table dbos.workflow_input add check (inputs not like '%bad%')")

    answer = functions.post("/launch/greeting", json=[{"name": "good"}, {"name": "bad"}])

    assert answer.status_code == 500
    assert rows(database) == []


@pytest.mark.parametrize("size", [0, 1001])
def test_the_size_of_a_batch_is_limited(functions: TestClient, size: int) -> None:
    """1 to 1,000."""
    answer = functions.post("/launch/greeting", json=[{}] * size)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == ""


def test_a_repeated_batch_is_answered_with_the_first(functions: TestClient, database: str) -> None:
    """As a whole, and in its order."""
    calls = [{"name": str(number)} for number in range(30)]
    first = functions.post("/launch/greeting", json=calls, headers=KEY)

    again = functions.post("/launch/greeting", json=calls, headers=KEY)

    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(rows(database)) == 30


@pytest.mark.parametrize("deleted", [0, 1, 2])
def test_a_batch_that_was_deleted_in_part_is_not_replayed(
    functions: TestClient, database: str, deleted: int
) -> None:
    """409: an answer with holes would be taken for another order."""
    launched = functions.post("/launch/greeting", json=[{}] * 3, headers=KEY).json()["workflows"]
    with psycopg.connect(database) as connection:
        statement = "delete from dbos.workflow_status where workflow_uuid = %s"
        connection.execute(statement, (launched[deleted]["workflow_id"],))

    same = functions.post("/launch/greeting", json=[{}] * 3, headers=KEY)
    other = functions.post("/launch/greeting", json=[{"name": "other"}] * 3, headers=KEY)

    assert (same.status_code, same.json()["title"]) == (409, "Replay incomplete")
    assert (other.status_code, other.json()["title"]) == (422, "Idempotency key reused")
    assert len(rows(database)) == 2


def test_a_batch_is_stored_like_single_launches(functions: TestClient, database: str) -> None:
    """All but ids, times and tokens: what DBOS writes for one, it finds for all."""
    url = "/launch/order?delay=60&timeout=5&priority=3"
    functions.post(url, json={"item": "é"})
    functions.post(url, json=[{"item": "é"}, {"item": "é"}])

    own = {"workflow_uuid", "creator_xid", "ctid", "created_at", "updated_at"}
    own |= {"delay_until_epoch_ms"}
    stored = [{name: row[name] for name in row.keys() - own} for row in rows(database)]
    with psycopg.connect(database) as connection:
        inputs = [
            json.loads(row[0])
            for row in connection.execute("select inputs from dbos.workflow_input")
        ]
    assert stored[0] == stored[1] == stored[2]
    assert inputs == [{"positionalArgs": [], "namedArgs": {"item": "é"}}] * 3
    assert len({row["workflow_uuid"] for row in rows(database)}) == 3
    assert len({row["creator_xid"] for row in rows(database)}) == 3


def test_a_duplicate_cannot_be_returned_for_a_key(functions: TestClient) -> None:
    """Nothing could tell later what the key was answered with."""
    url = "/launch/greeting?deduplication_id=one&on_duplicate=return"

    answer = functions.post(url, headers=KEY)

    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json()["detail"]


@pytest.mark.parametrize("character", ["x", "é", "\U00020000"])
def test_the_longest_texts_can_be_stored(functions: TestClient, character: str) -> None:
    """Whatever their characters are."""
    text = "".join(character + str(number % 10) for number in range(256))

    answer = functions.post("/launch/greeting", params={"deduplication_id": text})

    assert answer.status_code == 202


def test_options_are_stored(functions: TestClient, database: str) -> None:
    """As DBOS wants them: milliseconds, numbers, texts."""
    url = "/launch/greeting?timeout=1.5&priority=3&deduplication_id=one&wait=0"
    functions.post(url)

    [row] = rows(database)
    assert row["workflow_timeout_ms"] == 1500
    assert (row["priority"], row["deduplication_id"]) == (3, "one")
    assert (row["status"], row["authenticated_user"]) == ("ENQUEUED", None)


def test_a_delayed_launch_waits(functions: TestClient, database: str) -> None:
    """It is DELAYED, and `status` says when asking again is worth it."""
    launched = functions.post("/launch/greeting?delay=90")
    status = functions.get(launched.headers["Location"])

    [row] = rows(database)
    assert launched.json()["status"] == status.json()["status"] == "DELAYED"
    assert 80_000 < row["delay_until_epoch_ms"] - row["created_at"] <= 91_000
    assert launched.headers["Retry-After"] == "90"
    assert 80 <= int(status.headers["Retry-After"]) <= 90


def test_no_delay_is_no_delay(functions: TestClient) -> None:
    """Zero seconds are not worth a detour."""
    assert functions.post("/launch/greeting?delay=0").json()["status"] == "ENQUEUED"


def test_an_active_duplicate_is_named(functions: TestClient, database: str) -> None:
    """409 with the id of the workflow that there is; or 202 with it, if that is wanted."""
    first = functions.post("/launch/greeting?deduplication_id=one").json()["workflow_id"]

    refused = functions.post("/launch/greeting?deduplication_id=one&on_duplicate=reject")
    returned = functions.post("/launch/greeting?deduplication_id=one&on_duplicate=return")

    assert (refused.status_code, refused.json()["workflow_id"]) == (409, first)
    assert (returned.status_code, returned.json()["workflow_id"]) == (202, first)
    assert returned.headers["Location"] == f"/status/{first}"
    assert "Idempotency-Replayed" not in returned.headers
    assert len(rows(database)) == 1


def test_a_duplicate_of_what_has_ended_is_launched(functions: TestClient, database: str) -> None:
    """Only active workflows hold their deduplication id."""
    first = functions.post("/launch/greeting?deduplication_id=one").json()["workflow_id"]
    functions.post(f"/cancel/{first}")

    answer = functions.post("/launch/greeting?deduplication_id=one")

    assert answer.status_code == 202
    assert answer.json()["workflow_id"] != first


def test_a_partitioned_queue_wants_a_key(functions: TestClient, database: str) -> None:
    """Without one DBOS would never start it; on other queues it would mean nothing."""
    declare_queue(database, "tenants", partition_concurrency=1)
    entry = Entry("tenant", "tenants", "", {"type": "object"}, {}, partitioned=True)
    with psycopg.connect(database) as connection:
        published.add(connection, [entry], application="dbos-functions", version="1")

    assert functions.post("/launch/tenant").status_code == 400
    assert functions.post("/launch/tenant?partition_key=a").status_code == 202
    both = functions.post("/launch/tenant?partition_key=a&deduplication_id=b")
    assert (both.status_code, "deduplication_id" in both.json()["detail"]) == (400, True)
    assert functions.post("/launch/greeting?partition_key=a").status_code == 400
    assert [row["queue_partition_key"] for row in rows(database)] == ["a"]


@pytest.mark.parametrize(
    "parameter",
    [
        *("delay=-1", "delay=1e", "delay=", "delay=nan", "delay=1&delay=2", "delay=99999999999"),
        *("timeout=0", "timeout=x", "priority=0", "priority=1.5", "priority=2147483648"),
        *("deduplication_id=", "deduplication_id=%00", "deduplication_id=" + "x" * 513),
        *("on_duplicate=maybe", "on_duplicate=maybe&deduplication_id=1"),
        *("wait=31", "wait=-1", "wait=", "partition_key=%20", "priority=%D9%A1"),
    ],
)
def test_a_malformed_parameter_is_named(
    functions: TestClient, database: str, parameter: str
) -> None:
    """400 says which, and nothing is enqueued."""
    answer = functions.post(f"/launch/greeting?{parameter}")

    assert answer.status_code == 400
    assert repr(parameter.partition("=")[0]) in answer.json()["detail"]
    assert rows(database) == []


@pytest.mark.parametrize("choice", ["reject", "return"])
@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
def test_without_a_deduplication_id_there_is_no_duplicate(
    functions: TestClient, database: str, choice: str, headers: dict[str, str]
) -> None:
    """What to do with one makes no difference then, also for many."""
    url = f"/launch/greeting?on_duplicate={choice}"

    one = functions.post(url, headers=headers)
    many = functions.post(url, json=[{}, {}])

    assert (one.status_code, many.status_code) == (202, 202)
    assert [row["deduplication_id"] for row in rows(database)] == [None] * 3


@pytest.mark.parametrize("parameter", ["wait=1", "deduplication_id=1"])
def test_what_is_for_one_launch_is_refused_for_many(functions: TestClient, parameter: str) -> None:
    """A batch has no single end to wait for, and would be its own duplicate."""
    answer = functions.post(f"/launch/greeting?{parameter}", json=[{}])

    assert answer.status_code == 400
    assert "batch" in answer.json()["detail"]


def test_the_pause_grows_with_the_queue(functions: TestClient, database: str) -> None:
    """`Retry-After` is longer deep in a queue, and short again when it runs."""
    functions.post("/launch/greeting", json=[{}] * 200)
    last = functions.post("/launch/greeting?priority=1").headers["Location"]

    deep = functions.get(last).headers["Retry-After"]
    update(database, last.rpartition("/")[2], status="PENDING")

    assert (deep, functions.get(last).headers["Retry-After"]) == ("3", "1")

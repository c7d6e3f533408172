"""`?wait=`, entity tags and `Retry-After`: how to follow a workflow without asking all the time."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from sqlalchemy.event import listen, remove
from starlette.requests import ClientDisconnect, Request
from starlette.testclient import TestClient
from starlette.types import Message

from functions.client import engine
from functions.waiting import unless_gone, watch
from local_dev.bench.processes import wait_until
from tests.rows import finish, report_progress, write_stream

from .conftest import Serve


def launched(functions: TestClient, workflow: str = "greeting") -> str:
    """The id of a new workflow."""
    return str(functions.post(f"/launch/{workflow}").json()["workflow_id"])


def newest(database: str) -> str | None:
    """The id of the last workflow in the database."""
    query = "select workflow_uuid from dbos.workflow_status order by created_at desc limit 1"
    with psycopg.connect(database) as connection:
        row = connection.execute(query).fetchone()
    return row[0] if row else None


def waiters() -> int:
    """How many requests wait at this moment."""
    return len(watch()._waiters)


def test_status_waits_for_the_end(functions: TestClient, database: str) -> None:
    """The answer comes when the workflow has ended, not when the time is over."""
    workflow_id = launched(functions)
    with ThreadPoolExecutor() as caller:
        answer = caller.submit(functions.get, f"/status/{workflow_id}?wait=30")
        wait_until(waiters)
        assert not answer.done()
        finish(database, workflow_id, "SUCCESS", output='"done"')

        assert answer.result().json()["result"] == "done"
        assert "Retry-After" not in answer.result().headers
    assert waiters() == 0


def test_status_answers_when_the_time_is_over(functions: TestClient) -> None:
    """200 with what there is."""
    answer = functions.get(f"/status/{launched(functions)}?wait=0.1")

    assert (answer.status_code, answer.json()["status"]) == (200, "ENQUEUED")
    assert answer.headers["Retry-After"] == "1"


def test_launch_waits_for_the_end(functions: TestClient, database: str) -> None:
    """200 with the status, as if it had been asked for."""
    with ThreadPoolExecutor() as caller:
        answer = caller.submit(functions.post, "/launch/greeting?wait=30")
        wait_until(waiters)
        finish(database, wait_until(lambda: newest(database)), "ERROR", error='{"name":"N"}')

        status = answer.result()
    assert status.status_code == 200
    assert status.json()["error"]["name"] == "N"
    assert status.json() == functions.get(f"/status/{newest(database)}").json()


def test_launch_answers_202_when_the_time_is_over(functions: TestClient) -> None:
    """The workflow goes on."""
    answer = functions.post("/launch/greeting?wait=0.1")

    assert answer.status_code == 202
    assert functions.get(answer.headers["Location"]).status_code == 200


def test_a_replay_can_be_waited_for(functions: TestClient, database: str) -> None:
    """The same key waits for the same workflow."""
    key = {"Idempotency-Key": "k"}
    workflow_id = functions.post("/launch/greeting", headers=key).json()["workflow_id"]
    finish(database, workflow_id, "SUCCESS", output="1")

    answer = functions.post("/launch/greeting?wait=5", headers=key)

    assert (answer.status_code, answer.json()["result"]) == (200, 1)
    assert answer.headers["Idempotency-Replayed"] == "true"


def test_a_hundred_who_wait_hold_no_connection_and_delay_nobody(
    serve: Serve, database: str
) -> None:
    """With a single connection for all, launches and looks go on between their looks."""
    with serve(database, POOL_SIZE="1") as functions, ThreadPoolExecutor(101) as callers:
        ids = [launched(functions) for _ in range(5)]
        urls = [f"/status/{ids[number % 5]}?wait=30" for number in range(100)]
        waiting = [callers.submit(functions.get, url) for url in urls]
        wait_until(lambda: waiters() == 100)

        wait_until(lambda: engine().pool.checkedout() == 0)  # type: ignore[attr-defined]
        assert functions.post("/launch/greeting").status_code == 202
        assert not any(answer.done() for answer in waiting)
        for workflow_id in ids:
            finish(database, workflow_id, "SUCCESS")
        assert {answer.result().json()["status"] for answer in waiting} == {"SUCCESS"}


def test_one_look_serves_all(functions: TestClient, database: str) -> None:
    """Twenty who wait for twenty workflows cost one statement at a time."""
    ids = [launched(functions) for _ in range(20)]
    looks: list[int] = []

    def count(*arguments: Any) -> None:
        looks.append(len(arguments[3].get("workflow_ids", ())))

    listen(engine(), "before_cursor_execute", count)
    with ThreadPoolExecutor(20) as callers:
        answers = [callers.submit(functions.get, f"/status/{id}?wait=30") for id in ids]
        wait_until(lambda: waiters() == 20)
        looks.clear()
        wait_until(lambda: sum(looks) >= 100)  # Everybody has been looked for five times.
        remove(engine(), "before_cursor_execute", count)
        statements = len(looks)
        for workflow_id in ids:
            finish(database, workflow_id, "SUCCESS")
        assert all(answer.result().status_code == 200 for answer in answers)

    assert statements <= 20  # One by one, it would be a hundred.


def test_a_workflow_that_is_deleted_meanwhile_is_waited_for_no_longer(
    functions: TestClient, database: str
) -> None:
    """404, as if it had never been."""
    workflow_id = launched(functions)
    with ThreadPoolExecutor() as caller:
        answer = caller.submit(functions.get, f"/status/{workflow_id}?wait=30")
        wait_until(waiters)
        with psycopg.connect(database) as connection:
            connection.execute("delete from dbos.workflow_status")

        assert answer.result().status_code == 404


def test_a_caller_who_goes_away_is_noticed() -> None:
    """At once; nothing waits any longer for somebody who will not read the answer."""
    going = asyncio.Event()

    async def receive() -> Message:
        await going.wait()
        return {"type": "http.disconnect"}

    async def wait() -> None:
        going.set()
        await asyncio.sleep(60)

    with pytest.raises(ClientDisconnect):
        asyncio.run(unless_gone(Request({"type": "http"}, receive), wait()))


def test_what_has_not_changed_is_not_sent_again(functions: TestClient, database: str) -> None:
    """304 for the tag of the last answer, 200 with another tag after any change."""
    url = f"/status/{launched(functions)}"
    first = functions.get(url)
    tag = first.headers["ETag"]

    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = functions.get(url, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == tag
        assert again.headers["Retry-After"] == "1"

    report_progress(database, url.rpartition("/")[2], {"done": 1})
    changed = functions.get(url, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["progress"]) == (200, {"done": 1})
    assert changed.headers["ETag"] != tag


def test_a_run_with_very_many_streams_is_waited_for(functions: TestClient, database: str) -> None:
    """And neither it nor any other is answered 503 for that."""
    many, others = launched(functions), [launched(functions) for _ in range(20)]
    with psycopg.connect(database) as connection:
        connection.execute(
            'insert into dbos.streams (workflow_uuid, key, value, "offset", function_id)'
            " select %s, n, n, 0, 1 from generate_series(1, 200000) n",
            (many,),
        )
    with ThreadPoolExecutor(21) as callers:
        waiting = [callers.submit(functions.get, f"/status/{id}?wait=30") for id in (many, *others)]
        wait_until(lambda: waiters() == 21)
        for workflow_id in (many, *others):
            finish(database, workflow_id, "SUCCESS")
        answers = [each.result() for each in waiting]

    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["status"] for answer in answers} == {"SUCCESS"}


@pytest.mark.parametrize("fault", ["pg_sleep(60) is not null", "t.function_id / 0 = 1"])
def test_one_that_cannot_be_looked_at_fails_alone(
    functions: TestClient, database: str, fault: str
) -> None:
    """Whoever waits for another one is answered as if it were not there."""
    bad, others = launched(functions), [launched(functions) for _ in range(20)]
    write_stream(database, bad, "lines", 1)
    with psycopg.connect(database) as connection:
        connection.execute("alter table dbos.streams rename to streams_before")
        connection.execute(
            "create view dbos.streams as select * from dbos.streams_before t"
            f" where workflow_uuid <> '{bad}' or {fault}".encode()
        )
    with ThreadPoolExecutor(21) as callers:
        waiting = [callers.submit(functions.get, f"/status/{id}?wait=30") for id in others]
        failing = callers.submit(finished_or_not, functions, bad)
        failed = failing.result()
        assert not any(each.done() for each in waiting)
        for workflow_id in others:
            finish(database, workflow_id, "SUCCESS")
        answers = [each.result() for each in waiting]

    assert failed >= 500
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["status"] for answer in answers} == {"SUCCESS"}


def finished_or_not(functions: TestClient, workflow_id: str) -> int:
    """The status code for somebody who waits."""
    return int(functions.get(f"/status/{workflow_id}?wait=30").status_code)

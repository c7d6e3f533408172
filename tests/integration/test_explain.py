"""`explain`: the truth from the tables and the locks, for each reason there is."""

import json
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from functions.explanation import REASONS
from functions.tables import MAX_ERROR_BYTES
from local_dev.bench.stage import APPLICATION
from tests.rows import alive, begin, declare_queue, end_worker, finish, hold, record, update
from worker.locks import clock_name, share, threads_name

from .test_waiting import launched

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def explained(functions: TestClient, workflow_id: str) -> tuple[str, str, dict[str, Any]]:
    """The reason, the sentence and the facts."""
    answer = functions.get(f"/explain/{workflow_id}")
    body = answer.json()
    assert answer.status_code == 200, body
    assert body["reason"] in REASONS
    assert body["explanation"].endswith(".")
    assert "executor" not in answer.text  # Its name may be that of a host.
    return body["reason"], body["explanation"], body["facts"]


def enqueued(functions: TestClient, database: str, **limits: Any) -> str:
    """The id of a new workflow in a queue with these limits."""
    declare_queue(database, "task_queue", **limits)
    return launched(functions)


def running(functions: TestClient, database: str, number: int, **columns: Any) -> None:
    """Have workflows executed."""
    for _ in range(number):
        workflow_id = launched(functions)
        begin(database, workflow_id)
        update(database, workflow_id, **columns) if columns else None


def test_it_is_delayed(functions: TestClient, database: str) -> None:
    """Until when, and whether anybody is there to start it then."""
    workflow_id = functions.post("/launch/greeting?delay=600").json()["workflow_id"]

    reason, sentence, facts = explained(functions, workflow_id)
    assert reason == "delayed"
    until = facts["delayed_until"]
    assert sentence == f"It is delayed until {until}; no worker is alive at the moment."
    with alive(database, "1"):
        assert explained(functions, workflow_id)[1] == f"It is delayed until {until}."
        update(database, workflow_id, name="renamed")
        assert "no worker has published" in explained(functions, workflow_id)[1]


def test_it_waits_to_be_tried_apart(functions: TestClient, database: str) -> None:
    """It was executed by workers that died, and may be to blame."""
    workflow_id = launched(functions)
    later = 2**42
    suspect = {"status": "DELAYED", "recovery_attempts": 2, "delay_until_epoch_ms": later}
    update(database, workflow_id, **suspect)

    with alive(database, "1"):
        reason, sentence, _ = explained(functions, workflow_id)

    assert reason == "delayed"
    assert sentence == "It waits to be tried apart from others, since its workers died."


def test_no_worker_is_alive(functions: TestClient, database: str) -> None:
    """The first thing to know, and the facts count what waits."""
    ahead = [enqueued(functions, database) for _ in range(3)]

    assert explained(functions, ahead[-1])[:2] == ("no_live_worker", "No worker is alive.")
    facts = explained(functions, ahead[-1])[2]
    assert (facts["ahead"], facts["live_workers"], facts["queue"]) == (2, [], "task_queue")


def test_only_other_versions_are_alive(functions: TestClient, database: str) -> None:
    """Both versions are named: what is bound to one, and what goes to the one that leads."""
    bound, free = enqueued(functions, database), enqueued(functions, database)
    update(database, bound, application_version="old")

    with alive(database, "2", "3"):
        reason, sentence, facts = explained(functions, bound)
    assert reason == "no_live_worker_of_version"
    assert sentence == ("It waits for a worker of version 'old'; those alive are of '3' and '2'.")
    assert facts["live_workers"] == [
        {"version": "3", "workers": 1},
        {"version": "2", "workers": 1},
    ]

    with alive(database, "1"):
        reason, sentence, _ = explained(functions, free)
    assert reason == "no_live_worker_of_version"
    assert "version '3'; those alive are of '1'" in sentence


def test_it_waits_in_the_queue(functions: TestClient, database: str) -> None:
    """Behind how many: older ones, and those with a lower number of priority."""
    first = enqueued(functions, database)
    second = launched(functions)
    low = functions.post("/launch/greeting?priority=5").json()["workflow_id"]
    last = launched(functions)

    with alive(database, "1"):
        assert explained(functions, first)[:2] == (
            "queued",
            "It is the next in the queue 'task_queue'.",
        )
        assert explained(functions, second)[1] == (
            "1 workflow is ahead of it in the queue 'task_queue'."
        )
        assert explained(functions, last)[2]["ahead"] == 2
        assert explained(functions, low)[1] == (
            "3 workflows are ahead of it in the queue 'task_queue'."
        )


@pytest.mark.parametrize(
    ("limits", "reason", "said"),
    [
        ({"concurrency": 2}, "concurrency_limit", "executes 2 at most"),
        ({"worker_concurrency": 2}, "worker_concurrency_limit", "as the live workers may"),
        (
            {"rate_limit_max": 2, "rate_limit_period_sec": 60.0},
            "rate_limit",
            "starts 2 in 60.0 s at most",
        ),
        ({"partition_concurrency": 2}, "concurrency_limit", "executes 2 of a partition at most"),
        ({"partition_worker_concurrency": 2}, "worker_concurrency_limit", "of a partition"),
        (
            {"partition_rate_limit_max": 2, "partition_rate_limit_period_sec": 60.0},
            "rate_limit",
            "starts 2 of a partition in 60.0 s at most",
        ),
        ({"concurrency": 3, "worker_concurrency": 3}, "queued", "next"),
        ({"rate_limit_max": 3, "rate_limit_period_sec": 60.0}, "queued", "next"),
    ],
)
def test_a_limit_is_reached(
    functions: TestClient, database: str, limits: dict[str, Any], reason: str, said: str
) -> None:
    """Which one, and only if it is."""
    partition = {"queue_partition_key": "p"}
    started = {"rate_limited": True, "started_at_epoch_ms": 9_999_999_999_999}
    running(functions, database, 2, **started, **partition)
    workflow_id = enqueued(functions, database, **limits)
    update(database, workflow_id, **partition)

    with alive(database, "1"):
        found, sentence, facts = explained(functions, workflow_id)

    assert (found, said in sentence) == (reason, True), sentence
    assert facts["running"] == 2
    assert limits.items() <= facts.items()


def test_no_live_worker_has_a_thread(functions: TestClient, database: str) -> None:
    """A limit of all of them, and so not reached as long as one of them has some left."""
    workflow_id = enqueued(functions, database)
    hold = "select pg_advisory_lock_shared(hashtextextended(%s, 0))"

    with (
        alive(database, "1"),
        alive(database, "1", executor="other"),
        psycopg.connect(database) as one,
        psycopg.connect(database) as other,
    ):
        one.execute(hold, (threads_name("dbos-functions", "1"),))
        half = explained(functions, workflow_id)[0]
        other.execute(hold, (threads_name("dbos-functions", "1"),))
        whole = explained(functions, workflow_id)[:2]

    assert half == "queued"
    assert whole == (
        "worker_threads_limit",
        "Every live worker executes as many sync workflows as it has threads for.",
    )


def test_only_what_is_really_ahead_counts(functions: TestClient, database: str) -> None:
    """Not what waits for workers of another version, or of another application."""
    ahead = [enqueued(functions, database) for _ in range(3)]
    update(database, ahead[0], application_version="0")
    update(database, ahead[1], application_name="another")
    workflow_id = launched(functions)

    with alive(database, "1"):
        assert explained(functions, workflow_id)[2]["ahead"] == 1
        update(database, workflow_id, application_version="0")
        assert explained(functions, workflow_id)[2]["ahead"] == 1


def test_its_name_is_unknown(functions: TestClient, database: str) -> None:
    """As after a workflow was renamed."""
    workflow_id = enqueued(functions, database)
    update(database, workflow_id, name="renamed")

    with alive(database, "1"):
        assert "no worker has published" in explained(functions, workflow_id)[1]


def test_far_off_times_are_shown_as_far_off(functions: TestClient, database: str) -> None:
    """RFC 3339 ends with the year 9999."""
    workflow_id = launched(functions)
    update(database, workflow_id, status="DELAYED", delay_until_epoch_ms=2**62)

    assert "9999-12-31T23:59:59.000Z" in explained(functions, workflow_id)[1]
    update(database, workflow_id, created_at=-(10**15))
    created_at = functions.get(f"/status/{workflow_id}").json()["created_at"]
    assert created_at == "0001-01-01T00:00:00.000Z"
    assert functions.get(f"/status/{workflow_id}").headers["Retry-After"] == "3600"


def test_its_queue_does_not_exist(functions: TestClient, database: str) -> None:
    """Nobody polls what nobody has declared; DBOS's own queue is always there."""
    workflow_id = launched(functions)

    with alive(database, "1"):
        assert explained(functions, workflow_id)[0] == "no_queue"
        update(database, workflow_id, queue_name="_dbos_internal_queue")
        assert explained(functions, workflow_id)[0] == "queued"


def test_it_has_no_partition_key(functions: TestClient, database: str) -> None:
    """As another client may have enqueued it."""
    workflow_id = enqueued(functions, database, partition_concurrency=1)

    with alive(database, "1"):
        assert explained(functions, workflow_id)[0] == "no_partition_key"


@pytest.mark.parametrize(
    ("workers", "said"),
    [
        (("1",), "another one is about to take it over"),
        ((), "and neither is any other"),
        (("2",), "and neither is any other of version '1'"),
    ],
)
def test_its_worker_is_dead(
    functions: TestClient, database: str, workers: tuple[str, ...], said: str
) -> None:
    """And whether there is another one for it."""
    workflow_id = enqueued(functions, database)
    begin(database, workflow_id, executor="dead")
    who: AbstractContextManager[None] = alive(database, *workers) if workers else nullcontext()

    with who:
        reason, sentence, facts = explained(functions, workflow_id)

    assert (reason, facts["owner_alive"]) == ("owner_dead", False)
    assert said in sentence


def test_it_is_running(functions: TestClient, database: str) -> None:
    """Which step, and since when: the start of the workflow, or the end of the step before."""
    workflow_id = enqueued(functions, database)
    begin(database, workflow_id)

    with alive(database, "1"):
        assert explained(functions, workflow_id)[:2] == (
            "running",
            "It has been executing step 1 since 1970-01-01T00:00:01.000Z.",
        )
        record(database, workflow_id, 1, "first")
        reason, sentence, facts = explained(functions, workflow_id)

    assert (reason, facts["step"]) == ("running", 2)
    assert sentence == "It has been executing step 2 since 1970-01-01T00:00:01.500Z."


def test_it_waits_for_a_signal(functions: TestClient, database: str) -> None:
    """DBOS records the time limit of `recv` one step after the one that is still open."""
    workflow_id = enqueued(functions, database)
    begin(database, workflow_id)
    record(database, workflow_id, 1, "reserve")
    record(database, workflow_id, 3, "DBOS.sleep")

    with alive(database, "1"):
        assert explained(functions, workflow_id)[0] == "waiting_for_signal"
        record(database, workflow_id, 2, "DBOS.recv")
        assert explained(functions, workflow_id)[0] == "running"


def test_it_sleeps(functions: TestClient, database: str) -> None:
    """DBOS records the end of a sleep when it begins."""
    workflow_id = enqueued(functions, database)
    begin(database, workflow_id)
    record(database, workflow_id, 1, "DBOS.sleep", completed_at_epoch_ms=32_503_680_000_000)

    with alive(database, "1"):
        assert explained(functions, workflow_id)[:2] == (
            "sleeping",
            "It sleeps until 3000-01-01T00:00:00.000Z.",
        )


def test_it_has_children(functions: TestClient, database: str) -> None:
    """How many of them have not ended; whether it waits for them, nothing tells."""
    parent = enqueued(functions, database)
    begin(database, parent)
    for _ in range(2):
        update(database, launched(functions), parent_workflow_id=parent)

    with alive(database, "1"):
        reason, sentence, _ = explained(functions, parent)

    assert reason == "running"
    assert sentence.endswith(", and 2 of its children are unfinished.")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("SUCCESS", "finished"),
        ("ERROR", "failed"),
        ("CANCELLED", "cancelled"),
        ("MAX_RECOVERY_ATTEMPTS_EXCEEDED", "given_up"),
    ],
)
def test_it_has_ended(functions: TestClient, database: str, status: str, reason: str) -> None:
    """When, and whether it can be resumed."""
    workflow_id = launched(functions)
    finish(database, workflow_id, status)

    found, sentence, _ = explained(functions, workflow_id)

    assert found == reason
    assert "1970-01-01T00:00:00.001Z" in sentence
    assert ("resumed" in sentence) == (reason in ("cancelled", "given_up"))


@pytest.mark.parametrize(
    ("name", "certain", "place"),
    [
        ("charge", True, "in step 3 (charge)"),
        ("charge", False, "perhaps in step 3 (charge)"),
        (None, True, "after step 3"),
    ],
)
def test_its_last_worker_was_ended(
    functions: TestClient, database: str, name: str | None, certain: bool, place: str
) -> None:
    """As code held the GIL: where, and how certain that is."""
    workflow_id = enqueued(functions, database)
    end_worker(database, workflow_id, 3, name, certain)

    with alive(database, "1"):
        reason, sentence, facts = explained(functions, workflow_id)

    at = "1970-01-01T00:00:00.001Z"
    assert reason == "queued"
    assert sentence.endswith(
        f". Its last worker was ended at {at}, because code held the GIL {place}."
    )
    assert (facts["gil_held_at"], facts["gil_held_in_step"]) == (at, 3)


def test_an_unknown_workflow_is_not_explained(functions: TestClient) -> None:
    """404."""
    assert functions.get("/explain/unknown").status_code == 404


def test_the_clocks_of_all_workers_are_wrong(functions: TestClient, database: str) -> None:
    """Of those that could execute it; one whose clock is right takes it."""
    waiting = enqueued(functions, database)
    delayed = functions.post("/launch/greeting?delay=600").json()["workflow_id"]

    with wrong_clock(database, "1"):
        reason, sentence, facts = explained(functions, waiting)
        later = explained(functions, delayed)
        with alive(database, "1", executor="other"):
            beside = explained(functions, waiting)[0]
        with alive(database, "0", "1", executor="other"):
            update(database, waiting, application_version="0")
            other_version = explained(functions, waiting)[0]

    assert reason == "clocks_wrong"
    assert sentence == (
        "It waits for a worker of version '1' whose clock is right; the clocks of those alive "
        "differ from that of Postgres, so they take nothing."
    )
    assert facts["live_workers"] == [{"version": "1", "workers": 1}]
    assert facts["workers_with_wrong_clocks"] == 1
    assert later[0] == "delayed"
    assert "since the clocks of all live workers are wrong" in later[1]
    assert (beside, other_version) == ("queued", "queued")


@contextmanager
def wrong_clock(database: str, version: str) -> Iterator[None]:
    """A worker of this version is alive, and takes nothing."""
    with alive(database, version), psycopg.connect(database) as connection:
        share(connection, clock_name(APPLICATION, version))
        yield


@pytest.mark.parametrize(
    ("expected", "tried", "said"),
    [
        ("b", "now()", "calls 'b'; it is tried again when a worker of that version starts"),
        (None, "now()", "ends before it; it is tried again when a worker of that version"),
        ("b", "'-infinity'", "calls 'b'; it is tried again as soon as a worker takes it."),
        ("(another order)", "now()", "goes on differently (another order); it is tried again"),
    ],
)
def test_its_code_has_changed(
    functions: TestClient, database: str, expected: str | None, tried: str, said: str
) -> None:
    """What is recorded, and what the code calls instead; whoever lives."""
    workflow_id = enqueued(functions, database)
    update(database, workflow_id, application_version="1")
    hold(database, workflow_id, expected=expected, tried=tried)

    reason, sentence, facts = explained(functions, workflow_id)

    assert reason == "code_changed"
    assert "step 2 is recorded as 'a', and the code of version '1'" in sentence
    assert said in sentence
    assert (facts["step"], facts["recorded_step"], facts.get("expected_step")) == (2, "a", expected)
    assert ("tried_at" in facts) == (tried == "now()")


def test_what_is_held_is_ahead_of_nobody(functions: TestClient, database: str) -> None:
    """Unless it is to be tried at once."""
    held, again, last = [enqueued(functions, database) for _ in range(3)]
    hold(database, held)
    hold(database, again, tried="'-infinity'")

    with alive(database, "1"):
        assert explained(functions, last)[2]["ahead"] == 1
        update(database, held, status="CANCELLED")
        assert explained(functions, held)[0] == "cancelled"


PUBLIC = {"name": "OutOfStock", "message": "none left.", "public": True}

SECRET = {"name": "OSError", "message": "a secret"}

RETRIED = {"name": "Retries", "message": "in vain", "public": True, "attempts": 3, "cause": SECRET}

LARGE = SECRET | {"data": "x" * MAX_ERROR_BYTES}


@pytest.mark.parametrize(
    ("error", "place", "reason"),
    [
        (PUBLIC, "", ", with OutOfStock: none left."),
        (PUBLIC | {"step": 2}, " in step 2 (pay)", ", with OutOfStock: none left."),
        (PUBLIC | {"step": 9}, " in step 9", ", with OutOfStock: none left."),
        (SECRET, "", ", with OSError; its worker's log has the reason under the reference '{}'."),
        (
            RETRIED | {"step": 2},
            " in step 2 (pay), in the last of 3 attempts",
            ", with OSError; its worker's log has the reason under the reference '{}/2'.",
        ),
        (
            LARGE,
            "",
            f", with Error: The error is too large: {len(json.dumps(LARGE))} bytes.",
        ),
    ],
    ids=["public", "step", "unknown step", "secret", "retried", "large"],
)
def test_it_failed(
    functions: TestClient, database: str, error: dict[str, Any], place: str, reason: str
) -> None:
    """In which step, after how many attempts, with what: as callers may read it."""
    workflow_id = launched(functions)
    record(database, workflow_id, 2, "pay", error=json.dumps(SECRET))
    finish(database, workflow_id, "ERROR", error=json.dumps(error))

    _, sentence, facts = explained(functions, workflow_id)

    told = functions.get(f"/status/{workflow_id}").json()["error"]
    assert re.fullmatch(f"It failed at {TIME}(.*)", sentence)
    assert sentence.partition("Z")[2] == f"{place}{reason.format(workflow_id)}"
    assert "secret" not in f"{sentence} {facts}"
    assert facts.get("failed_step") == error.get("step")
    assert facts.get("failed_step_name") == ("pay" if "(pay)" in place else None)
    assert facts["error"] == told

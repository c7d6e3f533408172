"""Callers read no message but public ones; the log of the worker has the others."""

import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local_dev.bench.processes import wait_until, worker
from tests.calls import finished, launched
from tests.fleet import Fleet
from tests.interruptions import INTERRUPTIONS
from tests.processes import ALL, serve

SECRET = "insert into card values"

FAILED_STEP = {"step": 2, "retries": 2, "body": None, "child": 3, "enqueued": 3}
"""The number of the step that fails the workflow, after one whose error it catches."""

DECLINED = {"name": "Declined", "message": "declined: stolen"}


def told(functions: httpx2.Client, url: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    """What `status` and `explain` tell of a workflow that has failed, and all that callers read."""
    status = finished(functions, url)
    workflow_id = status["workflow_id"]
    steps = functions.get(f"/steps/{workflow_id}")
    explained = functions.get(f"/explain/{workflow_id}")
    events = functions.get(url, headers={"Accept": "text/event-stream"})
    read = "".join(each.text for each in (steps, explained, events))
    return status, explained.json(), f"{status} {read}"


def reports(log: str, reference: str) -> int:
    """How often an exception was logged under a reference."""
    return len(re.findall(rf"reference {re.escape(repr(reference))}", log))


@pytest.mark.parametrize("workflow", ["secrets", "secrets_async"])
def test_what_callers_do_not_read_is_in_the_log(
    workflow: str, project: Path, environ: dict[str, str]
) -> None:
    """Once, under the reference that `status` and `steps` tell; the marked messages are shown."""
    with worker(project, environ) as process, serve(ALL, project, environ) as functions:
        hidden = {way: launched(functions, workflow, way=way, kind="secret") for way in FAILED_STEP}
        public = {way: launched(functions, workflow, way=way, kind="public") for way in FAILED_STEP}
        secrets = {way: told(functions, url) for way, url in hidden.items()}
        shown = {way: told(functions, url) for way, url in public.items()}
        steps = {way: functions.get(f"/steps/{url[8:]}").json() for way, url in hidden.items()}
        log = process.said()

    for way, (status, explained, read) in secrets.items():
        number, workflow_id = FAILED_STEP[way], status["workflow_id"]
        reference = f"{workflow_id}/{number}" if number else workflow_id
        error = status["error"].get("cause", status["error"])
        failed = [each["error"] for each in steps[way]["steps"] if each["error"]]
        assert (error["name"], error["reference"]) == ("OSError", reference), way
        assert SECRET not in read, way
        assert reports(log, reference) == 1, way
        assert reports(log, f"{workflow_id}/1") == 1, way
        assert reference in explained["explanation"]
        assert explained["facts"].get("failed_step") == number
        assert failed[1:] == ([status["error"]] if number else [])
    for way, (status, explained, read) in shown.items():
        assert status["error"].get("cause", status["error"]) == DECLINED, way
        assert "declined: stolen" in explained["explanation"]
        assert SECRET not in read, way
    status, explained, _ = secrets["retries"]
    assert (status["error"]["attempts"], "cause" in status["error"]) == (3, True)
    name = steps["retries"]["steps"][1]["name"]
    assert (
        f"in step 2 ({name}), in the last of 3 attempts, with OSError" in explained["explanation"]
    )


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_a_replay_fails_with_the_same_reference(interruption: str, workers: Fleet) -> None:
    """It leads to the step, which another worker has executed; what is caught is what it was."""
    victim = workers.start(DRAIN_TIMEOUT="0")
    workflow_id = workers.enqueue("caught_twice")
    wait_until(lambda: rows(workers, "workflow_events", "value", workflow_id))

    INTERRUPTIONS[interruption](workers, victim, [workflow_id])
    workers.send(workflow_id, "go")
    workers.wait_until_finished()

    assert SECRET in rows(workers, "workflow_events", "value", workflow_id)[0]
    (stored,) = rows(workers, "workflow_output", "error", workflow_id)
    assert '"step": 1' in stored
    assert SECRET in stored
    assert reports(victim.said(), f"{workflow_id}/1") == 1


def rows(workers: Fleet, table: str, column: str, workflow_id: str) -> list[str]:
    """A column of the rows that a table has of a workflow."""
    statement = f"select {column} from dbos.{table} where workflow_uuid = %s"
    return [value for (value,) in workers.query(statement, workflow_id)]

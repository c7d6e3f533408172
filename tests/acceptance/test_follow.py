"""Follow a workflow through the death of its worker, with real processes on both sides."""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from dbos import DBOSClient, DBOSPortableJSONSerializer

from local_dev.bench.processes import DEADLINE, python, run, wait_until, worker
from tests.calls import Event, finished, launched, parsed
from tests.processes import ALL, answers, free_port, serve

ALONE = python(
    *("-m", "functions_framework", "--source", "functions/main.py"),
    *("--target", "status", "--port", "{port}"),
)


def test_explain_tells_what_becomes_of_a_workflow(project: Path, environ: dict[str, str]) -> None:
    """No worker, executed, abandoned, executed again: as it is at each moment."""
    with serve(ALL, project, environ) as functions:
        url = launched(functions, "order", payment_timeout=600)
        path = url.removeprefix("/status")
        explained(functions, path, "no_live_worker")
        with worker(project, environ) as first:
            explained(functions, path, "waiting_for_signal")
            first.stop(signal.SIGKILL)
            dead = explained(functions, path, "owner_dead")
        with worker(project, environ | {"APP_VERSION": "2"}):
            stranded = explained(functions, path, "owner_dead", "no_live_worker_of_version")
        with worker(project, environ):
            explained(functions, path, "waiting_for_signal")
            assert functions.post(f"/signal{path}/payment", json={"paid": True}).status_code == 202
            end = finished(functions, url)

    assert dead["explanation"].endswith("and neither is any other.")
    assert "version '1'" in stranded["explanation"]
    assert (end["status"], end["attempts"]) == ("SUCCESS", 1)  # It waited when its worker died.


def explained(functions: httpx2.Client, path: str, *reasons: str) -> dict[str, Any]:
    """The explanation, once it has one of these reasons."""

    def look() -> dict[str, Any] | None:
        body: dict[str, Any] = functions.get(f"/explain{path}").json()
        return body if body["reason"] in reasons else None

    return wait_until(look)


def test_a_report_is_followed_live_through_the_death_of_its_worker(
    project: Path, environ: dict[str, str]
) -> None:
    """Its lines arrive one by one, each once, over as many connections as it takes."""
    environ = environ | {"EVENTS_SECONDS": "1.5"}
    told: list[Event] = []
    with serve(ALL, project, environ) as functions:
        with worker(project, environ) as first:
            url = launched(functions, "report", length=6)
            for event in events(functions, url):
                told.append(event)
                if len(lines(told)) == 2:
                    break
            first.stop(signal.SIGKILL)
        with worker(project, environ):
            while told[-1].name != "end":
                told += events(functions, url, told[-1].id)
        result = functions.get(url).json()["result"]

    assert lines(told) == result["lines"]
    assert len(lines(told)) == 6
    assert "reconnect" in {event.name for event in told}


def lines(told: list[Event]) -> list[str]:
    """What has arrived of a report."""
    return [event.data["value"] for event in told if event.name == "stream"]


def events(functions: httpx2.Client, url: str, last: str = "") -> Iterator[Event]:
    """The events of one connection, as they arrive."""
    headers = {"Accept": "text/event-stream", "Last-Event-ID": last}
    with functions.stream("GET", url, headers=headers) as answer:
        assert answer.status_code == 200
        yield from parsed(answer.iter_lines())


@pytest.mark.parametrize("command", [ALL, ALONE], ids=["all", "alone"])
def test_functions_stop_although_somebody_waits(
    project: Path, environ: dict[str, str], command: tuple[str, ...]
) -> None:
    """With the server the streams and the waits end, however long they were to last."""
    port = free_port()
    path = "/status" if command is ALL else ""
    with (
        run(
            *[part.format(port=port) for part in command],
            cwd=project,
            environ=environ | {"EVENTS_SECONDS": "3600"},
        ) as server,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE) as functions,
        worker(project, environ),
        ThreadPoolExecutor() as caller,
    ):
        server.wait_until(lambda: answers(functions))
        client = DBOSClient(
            system_database_url=environ["DBOS_SYSTEM_DATABASE_URL"],
            serializer=DBOSPortableJSONSerializer(),
        )
        client.enqueue({"workflow_name": "waits", "queue_name": "task_queue", "workflow_id": "w"})
        client.destroy()
        stream = events(functions, f"{path}/w")
        assert next(stream).name == "status"
        waiting = caller.submit(functions.get, f"{path}/w?wait=30")
        wait_until(lambda: functions.get(f"{path}/w").json()["status"] == "PENDING")

        asked = time.monotonic()
        server.popen.send_signal(signal.SIGTERM)
        rest = [event.name for event in stream]
        answer = waiting.result()
        server.popen.wait(DEADLINE)

    assert rest[-1] == "reconnect"
    assert (answer.status_code, answer.json()["status"]) == (200, "PENDING")
    assert time.monotonic() - asked < 25  # Of the thirty seconds that it was to wait.

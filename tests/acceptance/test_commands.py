"""The documented commands as real processes, from a launch to its result."""

import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from dbos import DBOSClient, EnqueueOptions, WorkflowSerializationFormat

from local_dev.bench.processes import DEADLINE, python, run, wait_until, worker
from tests.calls import finished, launched
from tests.processes import ALL, one, serve
from worker.options import UNLOADABLE


def test_a_launch_leads_to_a_result(root: Path, environ: dict[str, str]) -> None:
    """Launch, follow `Location`, read the result."""
    with worker(root, environ), serve(ALL, root, environ) as functions:
        body = finished(functions, launched(functions, "greeting", name="World"))

    assert (body["status"], body["result"], body["attempts"]) == ("SUCCESS", "Hello, World!", 1)
    assert body["created_at"] <= body["started_at"] <= body["completed_at"]
    assert body["application_version"] == "1"


def test_functions_can_be_served_one_by_one(root: Path, environ: dict[str, str]) -> None:
    """Each sees only its own argument; STATUS_URL tells `launch` where `status` is."""
    with worker(root, environ), serve(one("status"), root, environ) as status:
        environ |= {"STATUS_URL": str(status.base_url)}
        with serve(one("launch"), root, environ) as launch:
            answer = launch.post("/greeting", json={"name": "World"})
            body = finished(status, answer.headers["Location"])
            known = body["workflow_id"]
            elsewhere = launch.post("/launch/greeting"), status.get(f"/status/{known}")
            wrong = launch.get("/greeting"), status.post(f"/{known}")

    assert body["result"] == "Hello, World!"
    assert answer.headers["Location"] == f"{environ['STATUS_URL']}/{known}"
    assert answer.json()["links"] == {"status": answer.headers["Location"]}
    assert [answer.status_code for answer in elsewhere] == [404, 404]
    assert [answer.status_code for answer in wrong] == [405, 405]
    assert {answer.headers["Content-Type"] for answer in (*elsewhere, *wrong)} == {
        "application/problem+json"
    }


@pytest.mark.parametrize("command", [ALL, one("launch"), one("status")])
def test_functions_refuse_to_start_without_a_policy(
    root: Path, database: str, command: tuple[str, ...]
) -> None:
    """One sentence names the variable."""
    environ = {"DBOS_SYSTEM_DATABASE_URL": database}

    with run(*[part.format(port=0) for part in command], cwd=root, environ=environ) as process:
        code = process.popen.wait(DEADLINE)
        said = process.said()

    assert code != 0
    assert said.startswith("functions: AUTH must be set")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "worker: DBOS_SYSTEM_DATABASE_URL must be set"),
        ("postgresql://x:secret@127.0.0.1:1/x", "worker: the database in DBOS_SYSTEM_DATABASE_URL"),
    ],
)
def test_a_worker_refuses_to_start_without_a_database(root: Path, url: str, sentence: str) -> None:
    """It says why, and keeps the password to itself."""
    environ = {"DBOS_SYSTEM_DATABASE_URL": url}

    with run(*python("-m", "worker"), cwd=root, environ=environ) as process:
        code = process.popen.wait(DEADLINE)
        said = process.said()

    assert code == 1
    assert said.startswith(sentence)
    assert said.count("worker: ") == 1
    assert "secret" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("file", "source", "sentence"),
    [
        (
            "workflows/mine.py",
            "from worker import workflow\n@workflow\ndef f(): ...",
            ":2: @workflow",
        ),
        (
            "workflows/mine.py",
            "def f(:",
            ":1: worker.workflows.mine cannot be loaded: SyntaxError: ",
        ),
        ("workflows/__init__.py", "\nimport missing", ":2: ModuleNotFoundError: No module named "),
        ("queues.py", "QUEUES = (\n  TASK,\n)", ":2: NameError: name 'TASK' is not defined"),
        ("queues.py", "QUEUES = (", ":1: SyntaxError: '(' was never closed"),
    ],
)
def test_a_worker_says_which_line_of_the_users_stops_it(
    project: Path, environ: dict[str, str], file: str, source: str, sentence: str
) -> None:
    """In one sentence, without a traceback, also in the files beside the workflows."""
    (project / "worker" / file).write_text(source)

    with run(*python("-m", "worker"), cwd=project, environ=environ) as process:
        code = process.popen.wait(DEADLINE)
        said = process.said()

    assert code == UNLOADABLE
    assert said.startswith(f"worker: worker/{file}{sentence}")
    assert said.count("\n") == 1


def test_a_first_worker_makes_the_database(root: Path, server: str) -> None:
    """Functions that wait for it answer 503 until then."""
    environ = {
        "DBOS_SYSTEM_DATABASE_URL": server.replace("/postgres?", "/made_by_worker?"),
        "AUTH": "none",
    }
    with serve(ALL, root, environ) as functions:
        before = functions.post("/launch/greeting")
        with worker(root, environ):
            wait_until(lambda: functions.post("/launch/greeting").status_code == 202)

    assert before.status_code == 503


def test_odd_workflows_end_in_clear_errors(project: Path, environ: dict[str, str]) -> None:
    """None stays PENDING, and the worker lives on."""
    odd = {
        "step_not_portable": "TypeError: Object of type object is not portable JSON serializable",
        "result_not_portable": "TypeError: Object of type object is not portable JSON serializable",
        "step_not_a_number": "ValueError: Infinity is not portable JSON",
        "not_a_number": "ValueError: NaN is not portable JSON",
        "half_a_character": "PublicError: \ud800",
        "child_fails": "PublicError: \ud800",
        "exits": "WorkflowExited: worker.workflows.odd.exits ended with SystemExit; ",
        "interrupted": "WorkflowExited: worker.workflows.odd.interrupted ended with Keyboard",
    }

    with worker(project, environ), serve(ALL, project, environ) as functions:
        followed = {name: launched(functions, name) for name in odd}
        errors = {name: finished(functions, url)["error"] for name, url in followed.items()}
        fine = finished(functions, launched(functions, "greeting"))

    for name, start in odd.items():
        assert f"{errors[name]['name']}: {errors[name]['message']}".startswith(start)
    assert fine["status"] == "SUCCESS"


def test_a_call_that_cannot_go_well_is_an_error_with_its_line(
    project: Path, environ: dict[str, str]
) -> None:
    """From within a step, or to a queue that does not exist, where it would wait for ever."""
    file = project / "worker" / "workflows" / "misled.py"
    lines = dict(marked(file))

    with worker(project, environ), serve(ALL, project, environ) as functions:
        followed = {name: launched(functions, name) for name in lines}
        errors = {name: finished(functions, url)["error"] for name, url in followed.items()}
        fine = finished(functions, launched(functions, "to_a_queue_of_its_own"))

    assert len(lines) == 6
    for name, line in lines.items():
        kind = "WorkflowInStep" if "step" in name else "UnknownQueue"
        problem = "a step cannot call" if "step" in name else "the queue 'nowhere' does not exist"
        assert errors[name]["name"] == kind
        assert errors[name]["message"].startswith(f"worker/workflows/misled.py:{line}: {problem}")
    assert fine["status"] == "SUCCESS"


def test_a_worker_without_its_event_loop_ends(project: Path, environ: dict[str, str]) -> None:
    """The platform starts it again; what ends it again and again is given up."""
    environ |= {"EXECUTOR_ID": "the-same"}
    with serve(ALL, project, environ) as functions:
        with worker(project, environ) as process:
            poison = launched(functions, "ends_the_event_loop")
            first = process.popen.wait(DEADLINE)
        with run(*python("-m", "worker"), cwd=project, environ=environ) as process:
            second = process.popen.wait(DEADLINE)
        with worker(project, environ):
            given_up = finished(functions, poison)
            fine = finished(functions, launched(functions, "typed", items=[], day="2026-11-22"))

    assert (first, second) == (1, 1)
    assert given_up["status"] == "MAX_RECOVERY_ATTEMPTS_EXCEEDED"
    assert fine["status"] == "SUCCESS"


def test_arguments_arrive_as_their_types(project: Path, environ: dict[str, str]) -> None:
    """Classes and dates in, JSON out, in an async workflow."""
    with worker(project, environ), serve(ALL, project, environ) as functions:
        items = [{"sku": "a", "quantity": 2}, {"sku": "b"}]
        body = finished(functions, launched(functions, "typed", items=items, day="2026-11-22"))
        refused = functions.post("/launch/typed", json={"items": [{}], "day": "tomorrow"})

    assert body["result"] == {"total": 3, "weekday": 7, "copy": False}
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/items/0/sku", "/day"]


def test_any_client_is_served(root: Path, environ: dict[str, str], database: str) -> None:
    """Positional arguments in portable JSON, as TypeScript sends them; no application named."""
    client = DBOSClient(system_database_url=database)
    options: EnqueueOptions = {
        "workflow_name": "greeting",
        "queue_name": "task_queue",
        "serialization_type": WorkflowSerializationFormat.PORTABLE,
    }
    served_id = client.enqueue(options, "TypeScript").workflow_id
    refused_id = client.enqueue(options, {"not": "a name"}).workflow_id
    client.destroy()

    with worker(root, environ), serve(ALL, root, environ) as functions:
        served = finished(functions, f"/status/{served_id}")
        wrong = finished(functions, f"/status/{refused_id}")

    assert served["result"] == "Hello, TypeScript!"
    assert wrong["error"]["message"].endswith("name: Input should be a valid string")


def test_a_stopped_worker_lets_its_workflow_finish(project: Path, environ: dict[str, str]) -> None:
    """SIGTERM: what runs is finished, what waits stays enqueued, exit code 0."""
    with serve(ALL, project, environ) as functions:
        with worker(project, environ) as process:
            path = project / "journal"
            url = launched(functions, "journal", path=str(path), steps=4, seconds=0.3)
            wait_until(path.exists)
            process.popen.send_signal(signal.SIGTERM)
            wait_until(lambda: process.said("draining"))
            later = launched(functions, "greeting")
            code = process.popen.wait(DEADLINE)
        body = functions.get(url).json()
        waiting = functions.get(later).json()

    assert code == 0
    assert (body["status"], body["attempts"]) == ("SUCCESS", 1)
    assert waiting["status"] == "ENQUEUED"


def test_a_worker_stops_after_its_drain_timeout(project: Path, environ: dict[str, str]) -> None:
    """SIGINT: exit code 0 also then; the next worker goes on with what is left."""
    path = project / "journal"
    with serve(ALL, project, environ) as functions:
        with worker(project, environ | {"DRAIN_TIMEOUT": "0.2"}) as process:
            url = launched(functions, "journal", path=str(path), steps=2, seconds=1)
            wait_until(path.exists)
            code = process.stop(signal.SIGINT)
        left = functions.get(url).json()
        with worker(project, environ):
            body = finished(functions, url)

    assert (code, left["status"]) == (0, "ENQUEUED")
    assert (body["status"], body["result"], body["attempts"]) == ("SUCCESS", [1, 2], 1)


def test_a_killed_worker_loses_nothing(project: Path, environ: dict[str, str]) -> None:
    """SIGKILL: the next worker goes on from the last step; only the one in flight runs again."""
    environ |= {"EXECUTOR_ID": "the-same"}
    path = project / "journal"
    with serve(ALL, project, environ) as functions:
        with worker(project, environ) as process:
            url = launched(functions, "journal", path=str(path), steps=6, seconds=0.5)
            wait_until(lambda: path.exists() and len(path.read_text().split()) == 3)
            process.stop(signal.SIGKILL)
        with worker(project, environ):
            body = finished(functions, url)

    assert (body["status"], body["attempts"]) == ("SUCCESS", 2)
    assert body["result"] == [1, 2, 3, 4, 5, 6]
    assert path.read_text().split() == ["1", "2", "3", "3", "4", "5", "6"]


def test_an_old_version_leaves_the_catalog_to_the_newest(
    root: Path, environ: dict[str, str], database: str
) -> None:
    """A worker of an old release that is started again does not take new workflows back."""
    for version in ("1", "2", "1"):
        with worker(root, environ | {"APP_VERSION": version}):
            pass

    with psycopg.connect(database) as connection:
        versions = connection.execute("select distinct application_version from catalog.workflows")
        assert versions.fetchall() == [("2",)]


def marked(file: Path) -> Iterator[tuple[str, int]]:
    """The comments at the ends of lines, and the numbers of these."""
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        if "  # " in line:
            yield line.rpartition("  # ")[2], number

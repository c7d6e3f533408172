"""Workflows whose code was changed under the same version are held, and not failed."""

import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local_dev.bench.processes import DEADLINE, wait_until
from tests.calls import finished, launched
from tests.fleet import Fleet
from tests.processes import ALL, free_port, serve

ENDS = ["pack", "label", "deliver"]


@pytest.fixture
def functions(project: Path, environ: dict[str, str]) -> Iterator[httpx2.Client]:
    """All functions."""
    with serve(ALL, project, environ) as client:
        yield client


@dataclass(frozen=True)
class Changed:
    """A change of the code, and what is said of a workflow that it does not fit."""

    old: str
    new: str
    said: str


SYNC = {
    "a step is added": Changed(
        "        done += [label(path)]\n",
        "        insure(path)\n        done += [label(path)]\n",
        "step 2 is recorded as 'label', and the code of version '1' calls 'insure'",
    ),
    "a step is added before the wait": Changed(
        "        DBOS.recv(",
        "        insure(path)\n        DBOS.recv(",
        "step 3 is recorded as 'DBOS.recv or DBOS.getEvent', and the code of version '1' calls "
        "'insure'",
    ),
    "a step is removed": Changed(
        "        done += [label(path)]\n",
        "",
        "step 2 is recorded as 'label', and the code of version '1' calls 'DBOS.recv'",
    ),
    "it ends before": Changed(
        "        done += [label(path)]\n",
        "        return done\n",
        "step 2 is recorded as 'label', and the code of version '1' ends before it",
    ),
    "it fails before": Changed(
        "        done += [label(path)]\n",
        "        raise ValueError(path)\n",
        "step 2 is recorded as 'label', and the code of version '1' calls 'undo'",
    ),
}

ASYNC = {
    "a step is added to coroutines": Changed(
        "        done += [await DBOS.run_step_async(",
        "        await DBOS.run_step_async({'name': 'insure'}, note, path, 'insure')\n"
        "        done += [await DBOS.run_step_async(",
        "step 2 is recorded as 'label', and the code of version '1' calls 'insure'",
    ),
    "steps are added at once": Changed(
        "        done += [await DBOS.run_step_async(",
        "        import asyncio\n"
        "        await asyncio.gather(*(DBOS.run_step_async({'name': 'insure'}, note, path,"
        " 'insure') for _ in range(9)), return_exceptions=True)\n"
        "        done += [await DBOS.run_step_async(",
        "and the code of version '1' calls 'insure'",
    ),
}

CASES = [("parcel", name) for name in SYNC] + [("parcel_async", name) for name in ASYNC]


@pytest.mark.parametrize(("name", "change"), CASES, ids=lambda value: value)
def test_what_does_not_replay_is_held_until_its_code_is_back(
    workers: Fleet, functions: httpx2.Client, name: str, change: str
) -> None:
    """Nothing is undone, nothing runs twice, and the worker holds nothing of it."""
    changed = (SYNC | ASYNC)[change]
    journal = workers.project / "journal"
    url = begun(workers, functions, name, journal)

    original = edit(workers.project, changed)
    second = workers.start()
    wait_until(lambda: explained(functions, url)["reason"] == "code_changed")
    held, status = explained(functions, url), functions.get(url).json()
    undisturbed = finished(functions, launched(functions, "greeting"))
    second.stop(signal.SIGTERM)
    restore(workers.project, original)
    workers.start()
    functions.post(f"/signal/{url.split('/')[-1]}/go", json=True)
    ended = finished(functions, url)

    assert second.said(f"the source of the workflow '{name}' is another")
    assert changed.said in held["explanation"]
    assert (status["status"], status["attempts"]) == ("ENQUEUED", 0)
    assert undisturbed["status"] == "SUCCESS"
    assert second.said("(parcel") and second.said("stopping: nothing is running")
    assert (ended["status"], ended["result"]) == ("SUCCESS", ENDS)
    assert journal.read_text().split() == ENDS


def test_the_result_of_a_child_is_not_taken_for_a_recorded_step(
    workers: Fleet, functions: httpx2.Client
) -> None:
    """DBOS looks at all other operations whether they are what is recorded."""
    first = workers.start()
    child = launched(functions, "greeting").split("/")[-1]
    finished(functions, f"/status/{child}")
    first.stop(signal.SIGTERM)
    url = begun(workers, functions, "parcel", workers.project / "journal")
    step = "        done += [label(path)]\n"
    got = f"        DBOS.retrieve_workflow({child!r}, existing_workflow=False).get_result()\n"
    edit(workers.project, Changed(step, got, ""))

    workers.start()
    wait_until(lambda: explained(functions, url)["reason"] == "code_changed")

    assert (
        "as 'label', and the code of version '1' calls 'DBOS.getResult'"
        in (explained(functions, url)["explanation"])
    )


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (
            "parcel",
            "        DBOS.recv(",
            "        if DBOS.patch('insured'):\n            insure(path)\n        DBOS.recv(",
        ),
        (
            "parcel_async",
            "        await DBOS.recv_async(",
            "        if await DBOS.patch_async('insured'):\n            insure(path)\n"
            "        await DBOS.recv_async(",
        ),
    ],
)
def test_a_patch_lets_what_waits_go_on(
    workers: Fleet, functions: httpx2.Client, name: str, old: str, new: str
) -> None:
    """DBOS's own way to change code under the same version: what has begun before goes on."""
    journal = workers.project / "journal"
    url = begun(workers, functions, name, journal)
    edit(workers.project, Changed(old, new, ""))
    workers.start(APP_VERSION="2").stop(signal.SIGTERM)
    adopted = adopt(workers)

    workers.start()
    functions.post(f"/signal/{url.split('/')[-1]}/go", json=True)
    ended = finished(functions, url)

    assert adopted[1].endswith("that --yes would move to version 2: 1\n")
    assert (ended["status"], ended["result"]) == ("SUCCESS", ENDS)


def test_it_is_tried_at_once_when_it_is_resumed(workers: Fleet, functions: httpx2.Client) -> None:
    """Else once a minute, or when a worker starts."""
    url = begun(workers, functions, "parcel", workers.project / "journal")
    workflow_id = url.split("/")[-1]
    edit(workers.project, SYNC["a step is added"])
    workers.start()
    wait_until(lambda: explained(functions, url)["reason"] == "code_changed")
    tried = explained(functions, url)["facts"]["tried_at"]

    again = functions.post(f"/resume/{workflow_id}")

    wait_until(lambda: explained(functions, url)["facts"].get("tried_at", tried) > tried)
    assert (again.status_code, again.json()["status"]) == (202, "ENQUEUED")


def test_it_can_be_cancelled_and_resumed(workers: Fleet, functions: httpx2.Client) -> None:
    """To be cancelled ends it; to be resumed then tries it again."""
    url = begun(workers, functions, "parcel", workers.project / "journal")
    workflow_id = url.split("/")[-1]
    edit(workers.project, SYNC["a step is added"])
    workers.start()
    wait_until(lambda: explained(functions, url)["reason"] == "code_changed")
    tried = explained(functions, url)["facts"]["tried_at"]

    cancelled = functions.post(f"/cancel/{workflow_id}")
    ended = finished(functions, url)
    refused = functions.post(f"/signal/{workflow_id}/go", json=True)
    functions.post(f"/resume/{workflow_id}")

    wait_until(lambda: explained(functions, url)["facts"].get("tried_at", tried) > tried)
    assert (cancelled.status_code, ended["status"]) == (202, "CANCELLED")
    assert refused.status_code == 409


def test_what_is_held_is_shown_and_does_not_keep_a_worker(
    workers: Fleet, functions: httpx2.Client
) -> None:
    """It is healthy, has nothing to wait for, and its metrics count it apart."""
    url = begun(workers, functions, "parcel", workers.project / "journal")
    edit(workers.project, SYNC["a step is added"])
    port = str(free_port())
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE) as worker:
        workers.start(HEALTH_PORT=port)
        wait_until(lambda: "1 workflow is held" in worker.get("/healthz").text)
        health, metrics = worker.get("/healthz"), worker.get("/metrics").text
    workers.begin("--until-idle").popen.wait(DEADLINE)

    assert (health.status_code, health.text.split("\n")[0]) == (200, "ok")
    assert 'workflows_unreplayable{queue="task_queue",workflow="parcel"} 1.0' in metrics
    assert 'queue_depth{queue="task_queue"} 0.0' in metrics
    assert explained(functions, url)["reason"] == "code_changed"


@pytest.mark.parametrize(("name", "change"), CASES, ids=lambda value: value)
def test_adopt_says_what_would_not_replay_and_leaves_it(
    workers: Fleet, functions: httpx2.Client, name: str, change: str
) -> None:
    """It replays in memory: no step runs, nothing is written."""
    changed = (SYNC | ASYNC)[change]
    journal = workers.project / "journal"
    url = begun(workers, functions, name, journal)
    workflow_id = url.split("/")[-1]
    original = edit(workers.project, changed)
    workers.start(APP_VERSION="2").stop(signal.SIGTERM)
    before = workers.query("select * from dbos.workflow_status, dbos.operation_outputs")

    dry_run = adopt(workers)
    unchanged = workers.query("select * from dbos.workflow_status, dbos.operation_outputs")
    done = adopt(workers, "--yes")
    restore(workers.project, original)
    again = adopt(workers, "--yes")

    said = changed.said.replace(" of version '1'", "")
    for code, text in (dry_run, done):
        assert code == 0
        assert re.search(f"{workflow_id} {name} \\w+ stays: .*{said}", text), text
    assert dry_run[1].endswith("version 2: 0\nworkflows that do not replay, and would stay: 1\n")
    assert done[1].endswith("moved to version 2: 0\nworkflows that do not replay, and stay: 1\n")
    assert again[1].endswith("workflows of version 1 moved to version 2: 1\n")
    assert before == unchanged
    assert journal.read_text().split() == ENDS[:2]


@pytest.mark.parametrize("name", ["variety", "variety_async"])
def test_what_did_not_change_replays(workers: Fleet, functions: httpx2.Client, name: str) -> None:
    """Whatever it does: in a takeover, and when it is adopted; and a change at its end is seen."""
    first = workers.start()
    url = launched(functions, name)
    wait_until(partial(waits_at_its_end, functions, url))
    first.stop(signal.SIGKILL)
    second = workers.start()
    wait_until(partial(waits_at_its_end, functions, url))
    second.stop(signal.SIGTERM)
    end = Changed("    # The end.\n", "    fail()\n    # The end.\n", "")
    workers.start(APP_VERSION="2").stop(signal.SIGTERM)

    moves = adopt(workers)
    original = edit(workers.project, end, "variety", every=True)
    stays = adopt(workers)
    restore(workers.project, original, "variety")
    adopt(workers, "--yes")
    workers.start(APP_VERSION="2")
    functions.post(f"/signal/{url.split('/')[-1]}/go", json="went")
    ended = finished(functions, url)

    assert moves[1].endswith("that --yes would move to version 2: 1\n")
    assert stays[1].endswith("workflows that do not replay, and would stay: 1\n")
    assert ended["status"] == "SUCCESS", ended
    assert "went" in ended["result"]
    assert ended["application_version"] == "2"


def test_adopt_leaves_what_it_cannot_replay(workers: Fleet, functions: httpx2.Client) -> None:
    """Code that does not come to its next step in time, and workflows that are unknown."""
    first = workers.start()
    file = workers.project / "dawdle"
    urls = [launched(functions, "dawdles", path=str(file)), launched(functions, "variety")]
    for url in urls:
        wait_until(partial(waits, functions, url))
    first.stop(signal.SIGKILL)
    file.touch()
    edit(
        workers.project,
        Changed("async def variety_async", "async def renamed_async", ""),
        "variety",
    )
    edit(workers.project, Changed("def variety()", "def renamed()", ""), "variety")
    workers.start(APP_VERSION="2").stop(signal.SIGTERM)

    code, text = adopt(workers)

    assert code == 0
    assert "dawdles PENDING stays: its code runs for longer than 5 s without a step\n" in text
    assert "variety PENDING stays: the code has no workflow 'variety'\n" in text


def waits(functions: httpx2.Client, url: str) -> bool:
    """Whether a workflow waits for its signal."""
    return bool(explained(functions, url)["reason"] == "waiting_for_signal")


def waits_at_its_end(functions: httpx2.Client, url: str) -> bool:
    """Whether it does so beyond its patch, and not in one of the short waits before."""
    steps = functions.get(url.replace("/status/", "/steps/")).json()["steps"]
    patched = any(step["name"].startswith("DBOS.patch-") for step in steps)
    return patched and waits(functions, url)


def adopt(workers: Fleet, *options: str) -> tuple[int, str]:
    """`python -m worker adopt 1` for version 2: its exit code and what it says."""
    process = workers.begin("adopt", "1", *options, APP_VERSION="2")
    return process.popen.wait(DEADLINE), process.said()


def begun(workers: Fleet, functions: httpx2.Client, name: str, journal: Path) -> str:
    """Where to follow a workflow that waits, and whose worker was killed."""
    first = workers.start()
    url = launched(functions, name, path=str(journal))
    wait_until(partial(waits, functions, url))
    first.stop(signal.SIGKILL)
    return url


def edit(project: Path, changed: Changed, module: str = "parcel", *, every: bool = False) -> str:
    """Change the code, in one place or in `every`; returns what it was."""
    file = project / "worker" / "workflows" / f"{module}.py"
    original = file.read_text()
    assert original.count(changed.old) == 1 or every
    file.write_text(original.replace(changed.old, changed.new))
    return original


def restore(project: Path, original: str, module: str = "parcel") -> None:
    """Have the code be again what it was."""
    (project / "worker" / "workflows" / f"{module}.py").write_text(original)


def explained(functions: httpx2.Client, url: str) -> dict[str, Any]:
    """Why the workflow is where it is."""
    answer = functions.get(url.replace("/status/", "/explain/"))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())

"""`python -m local_dev`: everything on one machine with one command."""

import os
import signal
from pathlib import Path

import pytest

from local_dev.bench.processes import DEADLINE, python, run, wait_until
from tests.calls import finished, launched
from tests.processes import local_dev


def test_it_serves_the_page_and_the_functions(project: Path) -> None:
    """And says where; refuses a second one; Ctrl-C ends it and leaves nothing behind."""
    with local_dev(project) as (process, client):
        page = client.get("/")
        body = finished(client, launched(client, "greeting", name="World"))
        missing = client.get("/missing")
        wrong = client.post("/"), client.post("/local_dev")
        port = str(client.base_url.port)
        same_data = outcome(project, "--port", "0")
        same_port = outcome(project, "--port", port, "--data", "elsewhere")
        running = pids(project)
        code = process.stop(signal.SIGINT)
        said = process.said()

    assert "<title>dbos-functions</title>" in page.text
    assert body["result"] == "Hello, World!"
    assert missing.headers["Content-Type"] == "application/problem+json"
    assert [answer.status_code for answer in wrong] == [405, 405]
    assert same_data == (1, "local_dev: another local_dev is running on .local_dev\n")
    assert same_port[0] == 1
    assert same_port[1].startswith(f"local_dev: port {port} cannot be used")
    assert f"page: {client.base_url}" in said
    assert code == 0
    assert "Traceback" not in said
    assert running.keys() == {"worker", "functions"}
    assert not any(map(alive, running.values()))
    assert not (project / ".local_dev" / "postgres" / "postmaster.pid").exists()


def test_it_refuses_an_access_policy_that_it_would_ignore(
    project: Path,
) -> None:
    """One sentence, instead of a page that everybody may use."""
    with run(*python("-m", "local_dev", "--port", "0"), cwd=project, environ={"AUTH": "jwt"}) as it:
        code = it.popen.wait(DEADLINE)
        said = it.said()

    assert code == 1
    assert "local_dev: its page has no key or token, so AUTH can only be none here" in said
    assert "Traceback" not in said


def test_a_killed_worker_is_started_again_and_its_workflow_goes_on(project: Path) -> None:
    """The demo that people try first."""
    journal = project / "journal"
    with local_dev(project) as (_, client):
        url = launched(client, "journal", path=str(journal), steps=4, seconds=0.5)
        wait_until(lambda: journal.exists() and len(journal.read_text().split()) == 2)
        os.kill(pids(project)["worker"], signal.SIGKILL)
        body = finished(client, url)

    assert (body["status"], body["result"], body["attempts"]) == ("SUCCESS", [1, 2, 3, 4], 2)
    assert journal.read_text().split() == ["1", "2", "2", "3", "4"]


def test_a_new_file_is_a_new_workflow_and_runs_survive_a_restart(project: Path) -> None:
    """Also when local_dev is killed: Linux ends its processes, the next one takes the data over."""
    with local_dev(project) as (process, client):
        before = launched(client, "greeting", name="before")
        finished(client, before)
        (project / "worker" / "workflows" / "added.py").write_text(
            "from worker import workflow\n\n\n"
            "@workflow()\ndef double(number: int) -> int:\n    return 2 * number\n"
        )
        wait_until(lambda: client.post("/launch/double", json={"number": 1}).status_code == 202)
        running = pids(project)
        process.popen.kill()
        wait_until(lambda: not any(map(alive, running.values())))
    with local_dev(project) as (process, client):
        after = finished(client, launched(client, "double", number=21))
        kept = client.get(before).json()
        hung_up = process.stop(signal.SIGHUP)

    assert after["result"] == 42
    assert kept["result"] == "Hello, before!"
    assert hung_up == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--port", "eighty"], "local_dev: port eighty cannot be used"),
        (["--data", "with space"], "local_dev: its PostgreSQL takes no path with a space"),
        (["--data", "worker/__main__.py"], "local_dev: the data cannot be kept in worker"),
    ],
)
def test_options_that_cannot_be_used_are_refused(
    project: Path, options: list[str], sentence: str
) -> None:
    """One sentence and a non-zero exit."""
    code, said = outcome(project, *("--port", "0"), *options)

    assert code == 1
    assert said.startswith(sentence)
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense", "local_dev: DBOS_SYSTEM_DATABASE_URL must be set to a URL like"),
        ("postgresql://127.0.0.1:1/x", "local_dev: the database in DBOS_SYSTEM_DATABASE_URL"),
    ],
)
def test_a_database_that_cannot_be_used_is_refused(project: Path, url: str, sentence: str) -> None:
    """One sentence and a non-zero exit."""
    code, said = outcome(project, "--port", "0", DBOS_SYSTEM_DATABASE_URL=url)

    assert code == 1
    assert said.startswith(sentence)
    assert "Traceback" not in said


def outcome(project: Path, *options: str, **environ: str) -> tuple[int, str]:
    """The exit code and output of a local_dev that ends by itself."""
    command = python("-m", "local_dev", *options)
    with run(*command, cwd=project, environ=environ) as process:
        return process.popen.wait(DEADLINE), process.said()


def pids(project: Path) -> dict[str, int]:
    """The process ids of the worker and the functions."""
    return {path.stem: int(path.read_text()) for path in (project / ".local_dev").glob("*.pid")}


def alive(pid: int) -> bool:
    """Whether the process `pid` still runs."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False

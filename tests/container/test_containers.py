"""What the images do when they run: not as root, on a read-only root, as PID 1."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

from local_dev.bench.processes import DEADLINE, wait_until
from local_dev.bench.proxy import Proxy
from tests.calls import finished, launched
from tests.processes import answers, free_port

from .containers import Container, container
from .images import Image

pytestmark = pytest.mark.container

Images = dict[str, Image]

UNREACHABLE = "postgresql://nobody@127.0.0.1:1/none"


def test_a_workflow_goes_through_both(images: Images, proxy: Proxy) -> None:
    """Launched over HTTP, executed, followed to its result."""
    with worker(images, proxy), functions(images, proxy.url) as (_, client):
        status = finished(client, launched(client, "greeting", name="Ada"))

    assert (status["status"], status["result"]) == ("SUCCESS", "Hello, Ada!")


def test_a_worker_that_is_stopped_hands_over(images: Images, proxy: Proxy) -> None:
    """It exits with 0, and what it executed is finished by the next one."""
    with functions(images, proxy.url) as (_, client):
        with worker(images, proxy, DRAIN_TIMEOUT="0.5") as first:
            url = launched(client, "order", item="book", quantity=1)
            wait_until(lambda: client.get(url).json()["progress"])
            exit_code = first.stop()
        handed_over = client.get(url).json()
        with worker(images, proxy):
            client.post(f"/signal/{handed_over['workflow_id']}/payment", json={"paid": True})
            status = finished(client, url)

    assert exit_code == 0
    assert handed_over["status"] == "ENQUEUED"
    assert (status["status"], status["result"]["state"]) == ("SUCCESS", "shipped")


def test_functions_stop_while_somebody_follows(images: Images, proxy: Proxy) -> None:
    """An event stream ends with them."""
    with functions(images, proxy.url) as (process, client):
        url = launched(client, "greeting")
        with client.stream("GET", url, headers={"Accept": "text/event-stream"}) as events:
            next(events.iter_lines())
            exit_code = process.stop()

    assert exit_code == 0


def test_nobody_is_root(images: Images, proxy: Proxy) -> None:
    """Neither process has any other id than that of the image, and neither can write."""
    with worker(images, proxy) as one, functions(images, proxy.url) as (other, _):
        ids = one.ids() | other.ids()
        writing = [each.execute("touch", "/tmp/file") for each in (one, other)]

    assert ids == {"65532"}
    assert all("Read-only file system" in each.stderr for each in writing)


def test_a_worker_is_healthy_unless_it_hangs(images: Images, proxy: Proxy) -> None:
    """Without Postgres it is not ready, but a restart would be no help."""
    with worker(images, proxy) as process, httpx2.Client(timeout=DEADLINE) as client:
        ready = f"http://127.0.0.1:{process.environ['HEALTH_PORT']}/healthz"
        wait_until(lambda: client.get(ready).status_code == 200)
        with proxy.frozen():
            wait_until(lambda: client.get(ready).status_code == 503)
            without_postgres = process.healthy()
        os.kill(process.pid, signal.SIGSTOP)
        frozen = process.healthy()
        os.kill(process.pid, signal.SIGCONT)

    assert without_postgres
    assert not frozen


def test_functions_are_healthy_as_long_as_they_answer(images: Images) -> None:
    """Without Postgres and without a key, too; not before they listen."""
    settings = {"AUTH": "api_key", "API_KEYS": '{"ada": "%s"}' % ("0" * 64)}
    with functions(images, UNREACHABLE, **settings) as (process, client):
        answer = client.get("/openapi.json")
        well = process.healthy()
        elsewhere = process.image.config["Healthcheck"]["Test"][1:]
        ill = process.execute("env", f"UVICORN_PORT={free_port()}", *elsewhere)

    assert answer.status_code == 401
    assert "Server" not in answer.headers
    assert well
    assert ill.returncode == 1


def test_without_settings_each_says_which_it_needs(image: Image) -> None:
    """Nothing in an image stands in for what a deployment has to decide."""
    with container(image) as process:
        exit_code = process.process.popen.wait(DEADLINE)
        said = process.process.said()

    assert exit_code != 0
    assert "DBOS_SYSTEM_DATABASE_URL must be set" in said


@contextmanager
def worker(images: Images, proxy: Proxy, **settings: str) -> Iterator[Container]:
    """The worker's image, ready to execute."""
    settings |= {"DBOS_SYSTEM_DATABASE_URL": proxy.url, "HEALTH_PORT": str(free_port())}
    with container(images["worker"], **settings) as started:
        started.process.wait_until(lambda: started.process.said("executes"))
        yield started


@contextmanager
def functions(
    images: Images, database: str, **settings: str
) -> Iterator[tuple[Container, httpx2.Client]]:
    """The image of the functions, on this machine's loopback only."""
    port = str(free_port())
    settings = {"AUTH": "none"} | settings
    settings |= {"DBOS_SYSTEM_DATABASE_URL": database}
    settings |= {"UVICORN_HOST": "127.0.0.1", "UVICORN_PORT": port}
    with (
        container(images["functions"], **settings) as started,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE) as client,
    ):
        started.process.wait_until(lambda: answers(client))
        yield started, client

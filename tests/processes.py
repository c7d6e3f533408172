"""The documented commands as real processes, on ports of this test process."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2

from local_dev.bench.processes import DEADLINE, Environ, Process, python, run

PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))

PORTS = iter(range(20_000 + 1_000 * PROCESS, 21_000 + 1_000 * PROCESS))
"""Of this test process alone, and not those that the system gives to connections."""

PROTOCOL = ("--http", "functions.protocol:LimitedHttp")
"""What limits headers, in every command that serves all functions."""

ALL = python("-m", "uvicorn", "functions.asgi:app", *PROTOCOL, "--port", "{port}")
"""All functions behind one server."""


def one(target: str, source: str = "functions/main.py") -> tuple[str, ...]:
    """functions-framework serves one function."""
    framework = Path(python()[0]).parent / "functions-framework"
    return (str(framework), "--source", source, "--target", target, "--port", "{port}")


@contextmanager
def serve(command: tuple[str, ...], cwd: Path, environ: Environ) -> Iterator[httpx2.Client]:
    """`command` as an HTTP server on a port of its own, which `{port}` stands for."""
    port = free_port()
    command = tuple(part.format(port=port) for part in command)
    with (
        run(*command, cwd=cwd, environ=environ) as process,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE) as client,
    ):
        process.wait_until(lambda: answers(client))
        yield client


@contextmanager
def local_dev(project: Path) -> Iterator[tuple[Process, httpx2.Client]]:
    """`python -m local_dev` in `project`, once functions and worker are up."""
    port = free_port()
    command = python("-m", "local_dev", "--port", str(port))
    with (
        run(*command, cwd=project, environ={}) as process,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE) as client,
    ):
        try:
            process.wait_until(lambda: answers(client))
            process.wait_until(lambda: client.get("/local_dev").status_code == 200)
            yield process, client
        finally:
            if process.popen.poll() is None:
                process.stop(signal.SIGTERM)


def answers(client: httpx2.Client) -> bool:
    """Whether anything answers at all."""
    try:
        client.get("/")
    except httpx2.TransportError:
        return False
    return True


def free_port() -> int:
    """A port that nothing listens on, and that nobody else is given meanwhile."""
    for port in PORTS:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")

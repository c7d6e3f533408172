"""The documented commands as real processes."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import httpx2

T = TypeVar("T")

DEADLINE = 60.0
"""Seconds that anything may take on a busy machine."""

PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))

PORTS = iter(range(20_000 + 1_000 * PROCESS, 21_000 + 1_000 * PROCESS))
"""Of this test process alone, and not those that the system gives to connections."""

Environ = Mapping[str, str]


class Process:
    """A command that runs, and what it has said so far."""

    def __init__(self, command: tuple[str, ...], cwd: Path, environ: Environ) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in close)
        settings = {"DBOS_SYSTEM_DATABASE_URL", "AUTH", "APP_NAME", "STATUS_URL"}
        inherited = {name: value for name, value in os.environ.items() if name not in settings}
        self.popen = subprocess.Popen(
            command,
            cwd=cwd,
            env=inherited | dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def said(self, text: str = "") -> str:
        """Everything it has printed, if `text` is in it; else nothing."""
        self._log.seek(0)
        output = self._log.read()
        return output if text in output else ""

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition, or fail with what the process has said when it ends first."""
        wait_until(lambda: self.popen.poll() is not None or condition())
        assert self.popen.poll() is None, self.said()

    def stop(self, number: int) -> int:
        """Send the signal `number`; returns the exit code."""
        self.popen.send_signal(number)
        return self.popen.wait(DEADLINE)

    def close(self) -> None:
        """Kill what is left of it and of its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        self._log.close()


@contextmanager
def run(*command: str, cwd: Path, environ: Environ) -> Iterator[Process]:
    """A process for the time of the block."""
    process = Process(command, cwd, environ)
    try:
        yield process
    finally:
        process.close()


def python(*arguments: str) -> tuple[str, ...]:
    """A command for this Python."""
    return (sys.executable, *arguments)


ALL = python("-m", "uvicorn", "functions.asgi:app", "--port", "{port}")
"""All functions behind one server."""


@contextmanager
def worker(cwd: Path, environ: Environ) -> Iterator[Process]:
    """`python -m worker`, ready to execute."""
    with run(*python("-m", "worker"), cwd=cwd, environ=environ) as process:
        process.wait_until(lambda: process.said("executes"))
        yield process


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


def wait_until(condition: Callable[[], T | None], deadline: float = DEADLINE) -> T:
    """What `condition` returns once that is true."""
    end = time.monotonic() + deadline
    while not (result := condition()):
        assert time.monotonic() < end, f"not true within {deadline} s"
        time.sleep(0.05)
    return result

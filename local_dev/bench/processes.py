"""Commands as processes of their own, and what they print."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

DEADLINE = 60.0
"""Seconds that anything may take on a busy machine."""

Environ = Mapping[str, str]


class Process:
    """A command that runs, and what it has said so far."""

    def __init__(self, command: tuple[str, ...], cwd: Path, environ: Environ) -> None:
        self._log = tempfile.TemporaryFile("a+")  # noqa: SIM115 (closed in close)
        settings = {
            "DBOS_SYSTEM_DATABASE_URL",
            "AUTH",
            "APP_NAME",
            "STATUS_URL",
            "POLLING_INTERVAL",
            "PYTHONHASHSEED",
        }
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

    def wait_until(self, condition: Callable[[], object], pause: float = 0.05) -> None:
        """Wait for a condition, or fail with what the process has said when it ends first."""
        wait_until(lambda: self.popen.poll() is not None or condition(), pause=pause)
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


def together(stack: ExitStack, *blocks: AbstractContextManager[T]) -> list[T]:
    """Enter several blocks at the same time, as starting a process takes a second."""
    with ThreadPoolExecutor() as threads:
        return list(threads.map(stack.enter_context, blocks))


def python(*arguments: str) -> tuple[str, ...]:
    """A command for this Python."""
    return (sys.executable, *arguments)


@contextmanager
def worker(cwd: Path, environ: Environ) -> Iterator[Process]:
    """`python -m worker`, ready to execute."""
    with run(*python("-m", "worker"), cwd=cwd, environ=environ) as process:
        process.wait_until(lambda: process.said("executes"))
        yield process


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def listens(port: int) -> bool:
    """Whether something listens on a port of 127.0.0.1."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def wait_until(
    condition: Callable[[], T | None], deadline: float = DEADLINE, pause: float = 0.05
) -> T:
    """What `condition` returns once that is true, looking every `pause` seconds."""
    end = time.monotonic() + deadline
    while not (result := condition()):
        assert time.monotonic() < end, f"not true within {deadline} s"
        time.sleep(pause)
    return result

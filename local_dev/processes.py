"""Child processes that start again when they end or when their code changes."""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Self

from watchfiles import PythonFilter, watch

from worker.options import UNLOADABLE

from .words import Words, last_sentence

CHECK = 500
"""Milliseconds between two looks at whether a process has ended."""

PAUSE = 5.0
"""Seconds at least from one start to the next, unless the code has changed."""

PATIENCE = 10.0
"""Seconds that a process has to stop."""

INSTALLED = Path(sysconfig.get_path("purelib"))
"""Where `uv add` puts packages. Its own time changes with each, later than `uv.lock` does."""

TRACEBACK = "Traceback (most recent call last):"
"""What Python says before anything else of a process whose modules it cannot import."""

logger = logging.getLogger("local_dev")


class Process:
    """`python -m ...` that lives as long as its `with` block, whatever happens to it."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        code: str,
        environ: Mapping[str, str],
        pid_files: Path,
        installed: Path = INSTALLED,
    ) -> None:
        self.name = name
        self._command = [sys.executable, "-m", *command]
        self.code = Path(code).resolve()
        self._installed = installed
        self._environ = {**os.environ, **environ}
        self._pid_file = pid_files / f"{name}.pid"
        self._end_file = pid_files / f"{name}.end"

    def __enter__(self) -> Self:
        self._end_file.unlink(missing_ok=True)
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._pid_file.unlink(missing_ok=True)
        self._end_file.unlink(missing_ok=True)

    def look(self, changed: Iterable[Path]) -> None:
        """Start again if one of the `changed` files is its code, or if it has ended.

        What could not even be loaded is not started again before its code has changed, or what
        is installed.
        """
        rested = time.monotonic() - self._started_at >= PAUSE
        if any(path.is_relative_to(self.code) for path in changed):
            logger.info("%s: its code has changed, starting it again", self.name)
            self._stop()
            self._end_file.unlink(missing_ok=True)
            self._start()
        elif self._process.poll() is None:
            if rested:
                self._end_file.unlink(missing_ok=True)
        else:
            if self._pid_file.exists():
                self._tell_end()
            if rested and (not self._unloadable or self._installed_at() != self._loaded_at):
                logger.info("%s: starting it again", self.name)
                self._start()

    def _start(self) -> None:
        self._words = Words()
        # A session of its own: Ctrl-C reaches only local_dev, which stops things in order.
        self._process = subprocess.Popen(
            self._command,
            env=self._environ,
            stderr=self._words.spoken,
            start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        self._words.listen()
        self._unloadable = False
        self._loaded_at = self._installed_at()
        self._started_at = time.monotonic()
        _write(self._pid_file, str(self._process.pid))

    def _installed_at(self) -> int:
        """When a package was added or removed, in nanoseconds."""
        return self._installed.stat().st_mtime_ns

    def _tell_end(self) -> None:
        """Log how it has ended, and write it down for the page."""
        code, said = self._process.returncode, self._words.all()
        self._unloadable = code == UNLOADABLE or (code == 1 and said.startswith(TRACEBACK))
        ending = f"{_ending(code)} and is started again"
        if self._unloadable:
            ending = "could not be loaded and waits for a change of its code"
        logger.info("%s: %s", self.name, ending)
        reason = f" It said: {last_sentence(said)}" if code > 0 and said else ""
        _write(self._end_file, f"The {self.name} {ending}.{reason}")
        self._pid_file.unlink(missing_ok=True)

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def running(processes: Iterable[Process]) -> Iterator[list[Process]]:
    """The processes, started in order and stopped in reverse."""
    with ExitStack() as stack:
        yield [stack.enter_context(process) for process in processes]


def keep_alive(processes: Sequence[Process], stop: Event) -> None:
    """Look after the processes and their code until `stop` is set."""
    for changes in watch(
        *[process.code for process in processes],
        watch_filter=PythonFilter(),
        stop_event=stop,
        rust_timeout=CHECK,
        yield_on_timeout=True,
    ):
        for process in processes:
            process.look([Path(path) for _, path in changes])


def _end_with_parent() -> None:
    """Have Linux end this process when local_dev is killed and cannot do it."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _ending(returncode: int) -> str:
    if returncode < 0:
        return f"was killed by {signal.Signals(-returncode).name}"
    return f"ended with exit code {returncode}"


def _write(path: Path, text: str) -> None:
    """Put `text` into a file that others read meanwhile."""
    written = path.with_suffix(f"{path.suffix}.new")
    written.write_text(text)
    written.replace(path)

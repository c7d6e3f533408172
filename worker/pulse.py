"""The pulse of this process: without it the process ends, before its lease can be taken.

It beats in a thread of its own, which needs the GIL and nothing else: as long as any code of this
process holds the GIL, it does not beat, and neither can the lease be kept. `faulthandler` has a
thread that needs no GIL. That one ends the process, and prints what each thread was doing, unless
it is told by each beat to wait again.
"""

import faulthandler
import logging
import math
import os
import subprocess
import sys
import threading
import time

from . import witness
from .executor import Executor
from .settings import Settings

BEAT_SECONDS = 0.5
"""From one beat to the next; each starts a thread of `faulthandler`."""

END_SECONDS = 4.5
"""Silence after which the process ends. The lease was kept a second before that began, at the
earliest, and Postgres ends it after six seconds; half a second is left for the traceback."""

BLOCKED_SECONDS = 5.0
"""How long the event loop may be blocked before that is logged."""

AGAIN_SECONDS = 60.0
"""How long a witness has to live if another is to be started after it."""

logger = logging.getLogger("worker")


class Pulse:
    """The beats of this process, and the process that is its witness."""

    def __init__(self, settings: Settings, executor: Executor) -> None:
        self._settings = settings
        self._running = executor.marks
        self._executor = executor
        self._witness: subprocess.Popen[bytes] | None = None
        self._called_at = -math.inf
        self._armed = True
        self._asked_at: float | None = None
        self._loop_thread = 0
        self._told = False

    def start(self) -> None:
        """Beat from now on."""
        self._call_witness()
        threading.Thread(target=self._keep_beating, name="pulse", daemon=True).start()

    def _keep_beating(self) -> None:
        beaten_at = time.monotonic()
        while True:
            silent_seconds, beaten_at = time.monotonic() - beaten_at, time.monotonic()
            if silent_seconds >= END_SECONDS and not _debugged():
                # It woke up before the thread of faulthandler did.
                logger.critical("the process stood still for %.1f s, and so ends", silent_seconds)
                os._exit(1)
            self._running.beat()
            self._put_off_the_end()
            self._look_at_event_loop()
            self._look_at_witness()
            time.sleep(BEAT_SECONDS)

    def _put_off_the_end(self) -> None:
        if _debugged():
            faulthandler.cancel_dump_traceback_later()
            return
        try:
            faulthandler.dump_traceback_later(END_SECONDS, exit=True, file=sys.stderr)
            self._armed = True
        except RuntimeError:  # It cannot start its thread.
            if self._armed:
                logger.warning("code that holds the GIL would go unnoticed: no thread for that")
            self._armed = False

    def _look_at_event_loop(self) -> None:
        """Ask the event loop for a sign of life, and tell once when it gives none."""
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at, self._told = now, False  # Before it may come round.
            if not self._executor.call_soon(self._come_round):
                self._asked_at = None
        elif now - self._asked_at >= BLOCKED_SECONDS and not self._told:
            self._told = True
            logger.warning(
                "the event loop has not come round for %g s, so that no async workflow goes on; "
                "it executes %s",
                BLOCKED_SECONDS,
                self._running.of(self._loop_thread) or "nothing of a workflow",
            )

    def _come_round(self) -> None:
        self._loop_thread = threading.get_native_id()
        self._asked_at = None

    def _look_at_witness(self) -> None:
        if self._witness is None or self._witness.poll() is None:
            return
        logger.warning("the worker's witness has ended: exit code %d", self._witness.returncode)
        self._witness = None
        if time.monotonic() - self._called_at > AGAIN_SECONDS:
            self._call_witness()

    def _call_witness(self) -> None:
        """Start the process that tells what was executed when this one no longer can."""
        descriptor = self._running.descriptor
        self._called_at = time.monotonic()
        command = [sys.executable, "-I", witness.__file__, str(os.getpid()), str(descriptor)]
        try:
            self._witness = subprocess.Popen(
                [*command, self._settings.executor_id],
                stdin=subprocess.PIPE,  # The system closes it when this process ends.
                stdout=subprocess.DEVNULL,
                pass_fds=[descriptor],
                env={**os.environ, "DBOS_SYSTEM_DATABASE_URL": self._settings.database_url},
            )
        except OSError as error:
            logger.warning("the worker has no witness: %s", error.strerror)


def _debugged() -> bool:
    """Whether a debugger is attached that halts all threads at a breakpoint."""
    return "pydevd" in sys.modules

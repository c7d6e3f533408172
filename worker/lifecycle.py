"""From the signal to stop to the end of the process."""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from .executor import Executor
from .settings import Settings
from .takeover import hand_over

logger = logging.getLogger("worker")


@contextmanager
def stop_signals(*numbers: signal.Signals, twice: bool = False) -> Iterator[threading.Event]:
    """An event that the signals set; if `twice`, a second signal ends the process at once."""
    stop = threading.Event()

    def on_signal(*_: object) -> None:
        if twice and stop.is_set():
            os._exit(0)
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait(stop: threading.Event) -> None:
    """Wait for a signal to stop.

    Awake now and then: Linux may hand a signal to another thread, and Python then does not
    call the handler before the main thread wakes up.
    """
    while not stop.wait(0.5):
        pass


def drain(executor: Executor, settings: Settings) -> None:
    """Take nothing new, let running workflows finish for DRAIN_TIMEOUT seconds, and hand the
    rest over to other workers, which go on from the last steps.

    The process has to end at once then: what still runs here has lost its workflow.
    """
    executor.close()
    logger.info("draining: running workflows have %g s to finish", settings.drain_timeout)
    deadline = time.monotonic() + settings.drain_timeout
    time.sleep(min(0.2, settings.drain_timeout))  # What was just claimed has begun by then.
    while executor.running() and time.monotonic() < deadline:
        time.sleep(0.05)
    try:
        hand_over(settings)
    except psycopg.Error as error:
        logger.warning("not all could be handed over, others have to notice: %s", error)


def end(code: int = 0) -> None:
    """End the process without waiting for the threads of workflows that it has lost."""
    logging.shutdown()
    os._exit(code)

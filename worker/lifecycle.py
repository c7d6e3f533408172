"""From the signal to stop to the end of the process."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import psycopg

from .errors import EXPECTED, sentence
from .executor import Executor
from .queues import QUEUES
from .settings import Settings
from .takeover import hand_over

UNDER_WAY = 1.0
"""Seconds that a claim may take to begin."""

logger = logging.getLogger("worker")


@contextmanager
def stop_signals(*numbers: signal.Signals, twice: bool = False) -> Iterator[threading.Event]:
    """An event that the signals set; if `twice`, a second signal ends the process at once."""
    stop = threading.Event()

    def on_signal() -> None:
        if twice and stop.is_set():
            os._exit(0)
        stop.set()

    with _handling(numbers, on_signal):
        yield stop


@contextmanager
def exit_signals(*numbers: signal.Signals) -> Iterator[None]:
    """The signals end the process at once, with exit code 0: it has nothing to lose yet."""
    with _handling(numbers, lambda: os._exit(0)):
        yield


@contextmanager
def _handling(numbers: Iterable[signal.Signals], handler: Callable[[], object]) -> Iterator[None]:
    before = {number: signal.signal(number, lambda *_: handler()) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def wait(stop: threading.Event) -> None:
    """Wait for a signal to stop.

    Awake now and then: Linux may hand a signal to another thread, and Python then does not
    call the handler before the main thread wakes up.
    """
    while not stop.wait(0.5):
        pass


def drain(executor: Executor, settings: Settings, flush: Callable[[], None]) -> None:
    """Take nothing new, let running workflows finish for DRAIN_TIMEOUT seconds, and hand the
    rest over to other workers, which go on from the last steps.

    The process has to end at once then: what still runs here has lost its workflow.
    """
    deadline = time.monotonic() + settings.drain_timeout
    executor.close([queue.name for queue in QUEUES], seconds=UNDER_WAY)
    if executor.running():
        logger.info("draining: running workflows have %g s to finish", settings.drain_timeout)
    else:
        logger.info("stopping: nothing is running")
    while executor.running() and time.monotonic() < deadline:
        time.sleep(0.05)
    flush()
    try:
        hand_over(settings)
    except psycopg.Error as error:
        logger.warning("not all could be handed over, others have to notice: %s", error)


@contextmanager
def handed_over_on_failure(executor: Executor, settings: Settings) -> Iterator[None]:
    """End the process with exit code 1 on an error, as soon as others have what it claimed.

    Python would wait for the workflows that run here, and these for what has failed.
    """
    try:
        yield
    except Exception as error:
        executor.close([], seconds=0)
        known = isinstance(error, EXPECTED)
        logger.critical("the worker ends: %s", sentence(error), exc_info=not known)
        with suppress(psycopg.Error):
            hand_over(settings)
        end(1)


def end(code: int = 0) -> None:
    """End the process without waiting for the threads of workflows that it has lost."""
    logging.shutdown()
    os._exit(code)

"""One look for all queues, where DBOS would ask each of them several questions."""

import logging
import threading
import time

from sqlalchemy import Engine

from .tables import FULL

PATIENCE = 5.0
"""Seconds that an empty queue is waited for; then DBOS reads its limits again."""

logger = logging.getLogger("worker")


class Lookout:
    """Looks every POLLING_INTERVAL seconds which queues have something."""

    def __init__(self, engine: Engine, polling_interval: float) -> None:
        self._polling_interval = polling_interval
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._changed = threading.Condition()
        self._asked: set[str] = set()
        self._full: set[str] = set()
        self._wakes = 0
        self._closed = False

    def start(self) -> None:
        """Look from now on, in a thread."""
        threading.Thread(target=self._keep_looking, name="lookout", daemon=True).start()

    def wake(self) -> None:
        """Have whoever waits for a queue look there."""
        with self._changed:
            self._wakes += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait(self, queue: str) -> bool:
        """Wait up to PATIENCE seconds; whether there may be something in `queue`."""
        with self._changed:
            self._asked.add(queue)
            wakes = self._wakes
            return self._changed.wait_for(
                lambda: self._closed or self._wakes > wakes or queue in self._full, PATIENCE
            )

    def _keep_looking(self) -> None:
        failing = False
        while not self._closed:
            time.sleep(self._polling_interval)
            with self._changed:
                asked = list(self._asked)
            try:
                full, failing = self._look(asked), False
            except Exception as error:  # Without looks this worker would take nothing any more.
                if not failing:
                    logger.warning("cannot look at the queues: %s", type(error).__name__)
                full, failing = set(asked), True
            with self._changed:
                self._full = full
                self._changed.notify_all()

    def _look(self, queues: list[str]) -> set[str]:
        with self._engine.connect() as connection:
            return set(connection.execute(FULL, {"queues": queues}).scalars())

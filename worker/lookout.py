"""One look for all queues, where DBOS would ask each of them several questions."""

import threading
import time

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from .settings import Settings
from .tables import FULL

PATIENCE = 5.0
"""Seconds that an empty queue is waited for; then DBOS reads its limits again."""


class Lookout:
    """Looks every POLLING_INTERVAL seconds which queues have something for this worker."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
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
        """Wait up to PATIENCE seconds; whether `queue` may have something for this worker."""
        with self._changed:
            self._asked.add(queue)
            wakes = self._wakes
            return self._changed.wait_for(
                lambda: self._closed or self._wakes > wakes or queue in self._full, PATIENCE
            )

    def _keep_looking(self) -> None:
        while not self._closed:
            time.sleep(self._settings.polling_interval)
            with self._changed:
                asked = list(self._asked)
            try:
                full = self._look(asked)
            except SQLAlchemyError:
                full = set(asked)  # Nobody knows; DBOS, which asks now, says what is wrong.
            with self._changed:
                self._full = full
                self._changed.notify_all()

    def _look(self, queues: list[str]) -> set[str]:
        parameters = {
            "queues": queues,
            "application": self._settings.app_name,
            "version": self._settings.app_version,
        }
        with self._engine.connect() as connection:
            return set(connection.execute(FULL, parameters).scalars())

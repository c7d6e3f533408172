"""Locks by which the functions know why a worker that lives takes nothing."""

from collections.abc import Callable

from .clock import Clock
from .database import Connection
from .executor import Executor
from .lease import Duty
from .locks import clock_name, share, threads_name, unshare
from .settings import Settings


class Sign:
    """One such lock. A duty of the lease, whose session holds the lock while the sign is up."""

    def __init__(self, name: str, is_up: Callable[[], bool]) -> None:
        self._name = name
        self._is_up = is_up
        self._held_on: Connection | None = None

    def __call__(self, connection: Connection) -> None:
        """Hold the lock, or not, as things are now."""
        up, held = self._is_up(), self._held_on is connection
        if up and not held:
            share(connection, self._name)
            self._held_on = connection
        elif held and not up:
            unshare(connection, self._name)
            self._held_on = None


def signs(settings: Settings, clock: Clock, executor: Executor) -> list[Duty]:
    """What this worker has to say of itself."""
    application, version = settings.app_name, settings.app_version
    return [
        Sign(clock_name(application, version), lambda: not clock.is_right),
        Sign(threads_name(application, version), lambda: executor.full),
    ]

"""What the probes of a platform are told."""

import time
from types import SimpleNamespace
from typing import cast

import pytest

from worker.clock import Clock
from worker.executor import Executor
from worker.health import POLLED, Health
from worker.held import Held
from worker.lease import Lease
from worker.queues import QUEUES

NOW, LONG_AGO = 0.0, POLLED + 1
"""Seconds since the queues were polled."""


@pytest.mark.parametrize(
    ("polled", "held", "closed", "starved", "ready", "alive"),
    [
        (NOW, True, False, False, True, True),
        (LONG_AGO, True, False, False, False, False),
        (LONG_AGO, False, False, False, False, True),
        (LONG_AGO, True, True, False, False, True),
        (None, True, False, False, False, True),
        (NOW, True, False, True, False, True),
    ],
    ids=["works", "stuck", "without Postgres", "draining", "starting", "without threads"],
)
def test_only_a_stuck_worker_is_to_be_started_again(
    polled: float | None, held: bool, closed: bool, starved: bool, ready: bool, alive: bool
) -> None:
    """One that waits for Postgres goes on by itself; a restart would only delay it."""
    ages = {} if polled is None else {queue.name: polled for queue in QUEUES}
    polled_at = {name: time.monotonic() - age for name, age in ages.items()}
    executor = cast(Executor, SimpleNamespace(closed=closed, polled_at=polled_at, starved=starved))
    lease = cast(Lease, SimpleNamespace(held=held, clock=Clock()))
    health = Health(executor, lease, cast(Held, SimpleNamespace(count=0)))

    assert (health.problem() is None, health.stuck() is None) == (ready, alive)

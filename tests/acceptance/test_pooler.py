"""Workers behind PgBouncer: a session of their own is enough, a shared one is not."""

import signal

import pytest

from local_dev.bench.processes import DEADLINE
from tests.conftest import Pooler
from tests.fleet import Fleet

BOTH = 30
"""Connections to the server that are enough for two workers."""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_is_taken_over_behind_a_pooler_in_session_mode(
    workers: Fleet, pooler: Pooler, number: signal.Signals
) -> None:
    """The lease ends with the client, or when Postgres has not heard of it."""
    with pooler(mode="session", size=BOTH) as url:
        victim = workers.start(DBOS_SYSTEM_DATABASE_URL=url)
        workers.launch(count=12, steps=20, seconds=1)
        victim.wait_until(lambda: workers.runs(victim, 12))
        other = workers.start(DBOS_SYSTEM_DATABASE_URL=url)

        victim.popen.send_signal(number)
        other.wait_until(lambda: other.said("taken over from"))
        workers.finish()

        assert 1 <= workers.check() <= 12
        assert workers.taken_over_by(other) == {workers.executor_id(victim)}


@pytest.mark.parametrize("size", [1, 2, 20])
def test_a_worker_refuses_a_pooler_in_transaction_mode(
    workers: Fleet, pooler: Pooler, size: int
) -> None:
    """With a sentence and exit code 1."""
    with pooler(size=size) as url:
        refused = workers.begin(DBOS_SYSTEM_DATABASE_URL=url)
        code = refused.popen.wait(DEADLINE)

    assert code == 1
    assert refused.said() == (
        "worker: DBOS_SYSTEM_DATABASE_URL leads to a pooler in transaction mode; "
        "use a direct connection\n"
    )

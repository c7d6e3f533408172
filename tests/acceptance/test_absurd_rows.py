"""A worker goes on beside rows that make no sense, but that the functions' role may write."""

from tests.fleet import Fleet
from tests.rows import update


def test_attempts_that_cannot_be_counted_hold_up_nobody_else(workers: Fleet) -> None:
    """DBOS adds one when it claims all that waits in a queue, and Postgres has no such number."""
    odd = workers.enqueue("greeting")
    update(workers.database, odd, recovery_attempts=2**63 - 1)
    process = workers.start()

    other = workers.enqueue("greeting")
    process.wait_until(lambda: workers.status(other) == "SUCCESS")

    assert workers.status(odd) == "ENQUEUED"

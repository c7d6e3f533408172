"""Who waits for a connection to the database gets one in turn."""

import time
from collections.abc import Iterator
from threading import Thread

import pytest
from sqlalchemy.exc import TimeoutError

from local_dev.bench.processes import wait_until
from worker import database as database_module
from worker.database import Pool
from worker.turns import having_waited


@pytest.fixture
def pool(database: str) -> Iterator[Pool]:
    """A pool of one connection."""
    pool = Pool(database, "turns", size=1)
    yield pool
    pool.engine.dispose()


def waiting(pool: Pool) -> int:
    """How many wait for a connection."""
    return len(pool.engine.pool._pool._waiting)  # type: ignore[attr-defined]


def test_who_has_waited_longest_is_the_next(pool: Pool) -> None:
    """Not who gives a connection back and wants the next one at once, as a workflow does."""
    served = []

    def work(name: int) -> None:
        with pool.engine.connect():
            served.append(name)

    threads = [Thread(target=work, args=(number,)) for number in range(4)]
    with pool.engine.connect():
        for number, thread in enumerate(threads, 1):
            thread.start()
            wait_until(lambda number=number: waiting(pool) == number)  # type: ignore[misc]
    work(4)
    for thread in threads:
        thread.join()

    assert served == [0, 1, 2, 3, 4]


def test_who_has_waited_elsewhere_before_is_served_before(pool: Pool) -> None:
    """What an async run asks for waits for a clerk at first; that counts, but only once."""
    served = []
    earlier = time.monotonic()

    def work(name: str) -> None:
        with pool.engine.connect():
            served.append(name)

    def work_as_clerk() -> None:
        with having_waited(earlier):
            work("clerk")
            work("clerk again")

    sync, clerk = Thread(target=work, args=["sync"]), Thread(target=work_as_clerk)
    with pool.engine.connect():
        for number, thread in enumerate((sync, clerk), 1):
            thread.start()
            wait_until(lambda number=number: waiting(pool) == number)  # type: ignore[misc]
    sync.join()
    clerk.join()

    assert served == ["clerk", "sync", "clerk again"]


def test_who_waits_too_long_gives_up_and_is_passed_over(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection stays for those who come later."""
    monkeypatch.setattr(database_module, "TURN_SECONDS", 0.1)
    pool = Pool(database, "turns", size=1)

    with pool.engine.connect(), pytest.raises(TimeoutError):
        pool.engine.connect()
    with pool.engine.connect() as connection:
        usable = connection.exec_driver_sql("select 1").scalar()

    assert usable == 1
    assert waiting(pool) == 0
    pool.engine.dispose()

"""A worker's clock on a real Postgres, and how the functions get to know that it is wrong."""

import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from worker.clock import Clock, steady
from worker.database import Connection
from worker.lease import Lease
from worker.locks import clock_name, is_free
from worker.settings import Settings
from worker.signs import Sign

SIGN = clock_name("dbos-functions", "1")


@pytest.fixture
def settings(database: str) -> Settings:
    """Those of a worker."""
    return Settings.from_env({"DBOS_SYSTEM_DATABASE_URL": database})


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    """A connection like that of the lease."""
    with psycopg.connect(database, autocommit=True) as one:
        yield one


@pytest.fixture
def other(database: str) -> Iterator[Connection]:
    """A connection of somebody else."""
    with psycopg.connect(database, autocommit=True) as one:
        yield one


def set_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Have the clock of this machine be wrong by some seconds."""
    right = time.time() - steady()
    monkeypatch.setattr(time, "time", lambda: steady() + right + seconds)


def test_a_lease_that_is_taken_or_beats_has_asked_for_the_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nobody takes anything before the clocks were compared."""
    lease = Lease(settings)

    with monkeypatch.context() as patch:
        set_clock(patch, 7200)
        before = lease.clock.offset
        lease.take()
        taken = lease.clock.offset
    set_clock(monkeypatch, -100)
    lease._beat([])
    beaten = lease.clock.offset
    lease.release()

    assert before == pytest.approx(0, abs=1)
    assert taken == pytest.approx(7200, abs=5)
    assert beaten == pytest.approx(-100, abs=5)


def test_setting_the_clock_of_the_machine_moves_no_time(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres's clock is told between two others of its answers."""
    clock = Clock()
    clock.ask(connection)

    set_clock(monkeypatch, 7200)
    earlier = connection.execute("select extract(epoch from clock_timestamp())").fetchone()
    told = clock.now()
    later = connection.execute("select extract(epoch from clock_timestamp())").fetchone()

    assert earlier
    assert later
    assert earlier[0] - 1 < told < later[0] + 1


def wrong(clock: Clock) -> Callable[[], bool]:
    """Whether the machine's clock is wrong."""
    return lambda: not clock.is_right


def test_the_sign_is_held_while_the_clock_is_wrong(
    connection: Connection,
    other: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However often it is looked at, and by others beside."""
    clock = Clock()
    clock.ask(connection)
    sign, another = Sign(SIGN, wrong(clock)), Sign(SIGN, wrong(clock))
    free = []

    for seconds in (0, 7200, 7200, 0, -7200):
        with monkeypatch.context() as patch:
            set_clock(patch, seconds)
            sign(connection)
        free.append(is_free(other, SIGN))
    with monkeypatch.context() as patch:
        set_clock(patch, 7200)
        another(other)
    held = other.execute("select count(*) from pg_locks where locktype = 'advisory'").fetchone()

    assert free == [True, False, False, True, False]
    assert held == (2,)


def test_the_sign_is_held_on_the_session_of_the_lease_that_is_back(
    database: str, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of a session ends with it."""
    clock = Clock()
    sign = Sign(SIGN, wrong(clock))
    free = []

    for _ in range(2):
        with (
            psycopg.connect(database, autocommit=True) as connection,
            monkeypatch.context() as patch,
        ):
            clock.ask(connection)
            set_clock(patch, 7200)
            sign(connection)
            free.append(is_free(other, SIGN))

    assert free == [False, False]

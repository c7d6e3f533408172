"""What a worker asks of Postgres: little while there is nothing to do, and never too late."""

import threading
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from local_dev.bench.processes import wait_until
from local_dev.bench.proxy import Proxy
from local_dev.bench.stage import enqueue
from tests.rows import update
from worker import database as worker_database
from worker import lookout
from worker.database import Pool
from worker.lookout import Lookout
from worker.tables import FULL


@pytest.fixture
def pool(proxy: Proxy) -> Iterator[Pool]:
    """A worker's pool with one connection at the other end of the wire."""
    pool = Pool(proxy.url, "test", size=1)
    use(pool)
    yield pool
    pool.engine.dispose()


@pytest.fixture
def watched(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lookout]:
    """A lookout that nobody waits long for."""
    monkeypatch.setattr(lookout, "PATIENCE", 1.0)
    watched = Lookout(pool.engine, polling_interval=0.02)
    watched.start()
    yield watched
    watched.close()
    wait_until(lambda: all(each.name != "lookout" for each in threading.enumerate()))


def use(pool: Pool) -> None:
    """Use a connection for one statement."""
    with pool.engine.connect() as connection:
        connection.execute(text("select 1"))


def session_of(connection: Connection) -> int:
    """The process of Postgres at the other end of a connection."""
    return int(connection.execute(text("select pg_backend_pid()")).scalar_one())


def end_session(url: str, session: int) -> None:
    """End a session as an administrator does."""
    with psycopg.connect(url) as connection:
        connection.execute("select pg_terminate_backend(%s, 5000)", [session])


def test_a_queue_is_full_when_there_is_something_to_take(watched: Lookout, database: str) -> None:
    """Only that queue."""
    enqueue(database, 1)

    assert watched.wait("task_queue")
    assert not watched.wait("order_queue")


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "PENDING"},
        {"status": "DELAYED"},
        {"queue_name": "another"},
    ],
)
def test_what_is_not_in_the_queue_does_not_count(
    watched: Lookout, database: str, columns: dict[str, str]
) -> None:
    """It runs, is for later, or is in another one."""
    update(database, enqueue(database, 1)[0], **columns)

    assert not watched.wait("task_queue")


def test_whoever_waits_is_told_at_once_when_the_worker_stops(watched: Lookout) -> None:
    """And does not wait again."""
    watched.close()

    assert watched.wait("task_queue")


def test_without_postgres_nobody_waits(watched: Lookout, proxy: Proxy) -> None:
    """DBOS has to notice it, too."""
    with proxy.refusing():
        wait_until(lambda: watched.wait("task_queue"))


def test_a_look_that_fails_is_not_the_last(
    watched: Lookout, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it was; meanwhile DBOS asks by itself."""
    broken = monkeypatch.context()
    with broken as patch:
        patch.setattr(watched, "_look", lambda _: 1 / 0)
        wait_until(lambda: watched.wait("order_queue"))

    wait_until(lambda: not watched.wait("order_queue"))
    enqueue(database, 1)
    assert watched.wait("task_queue")


def test_a_look_reads_no_backlog(database: str) -> None:
    """Only the first rows of an index, for each queue."""
    enqueue(database, 20_000, queue="another_queue")
    enqueue(database, 20_000, queue="task_queue")
    parameters = {"queues": ["task_queue", "order_queue"]}
    engine = create_engine(make_url(database).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        connection.execute(text("analyze dbos.workflow_status"))
        plan = connection.execute(
            text(f"explain (analyze, buffers, format json) {FULL.text}"), parameters
        ).scalar_one()
    engine.dispose()

    assert plan[0]["Plan"]["Shared Hit Blocks"] < 20


def test_a_connection_in_use_is_not_looked_at(pool: Pool, proxy: Proxy) -> None:
    """BEGIN, the statement, ROLLBACK."""
    before = proxy.round_trips

    use(pool)

    assert proxy.round_trips - before == 3


def test_another_connection_is_made_in_one_round_trip_more_than_that_takes(
    proxy: Proxy, database: str
) -> None:
    """What limits its transactions."""
    with psycopg.connect(proxy.url):
        to_connect = proxy.round_trips
    pool = Pool(proxy.url, "test", size=2)
    with pool.engine.connect():  # The first one has more to ask.
        before = proxy.round_trips
        with pool.engine.connect():
            after = proxy.round_trips
    pool.engine.dispose()

    assert after - before == to_connect + 1


def test_a_connection_that_is_lost_costs_no_other_one(database: str) -> None:
    """SQLAlchemy would replace all of them."""
    pool = Pool(database, "test", size=2)
    with pool.engine.connect() as lost, pool.engine.connect() as other:
        kept = session_of(other)
        end_session(database, session_of(lost))
        with pytest.raises(OperationalError):
            lost.execute(text("select 1"))
    with pool.engine.connect() as one, pool.engine.connect() as another:
        sessions = {session_of(one), session_of(another)}
    pool.engine.dispose()

    assert kept in sessions


def test_when_one_connection_is_lost_others_are_looked_at(proxy: Proxy) -> None:
    """They may be lost, too, as when Postgres restarts; then only one asks in vain."""
    pool = Pool(proxy.url, "test", size=3)
    with pool.engine.connect() as one:
        with pool.engine.connect(), pool.engine.connect():
            pass
        proxy.cut()
        with pytest.raises(OperationalError):
            one.execute(text("select 1"))
    with pool.engine.connect() as one, pool.engine.connect() as two, pool.engine.connect() as three:
        answers = [each.execute(text("select 1")).scalar() for each in (one, two, three)]
    pool.engine.dispose()

    assert answers == [1, 1, 1]


@pytest.mark.parametrize("rested", [True, False], ids=["after a rest", "after a cut"])
def test_a_connection_that_has_died_is_replaced(
    pool: Pool, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, rested: bool
) -> None:
    """Nobody gets an error for it."""
    if rested:
        monkeypatch.setattr(worker_database, "RESTED", 0.0)
        proxy.cut()
    else:
        pool.cut()

    use(pool)

    assert proxy.connections == 2

"""The functions and their database: how much they ask of it, and what they do without it."""

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import cast

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.testclient import TestClient

from functions import pool as pool_module
from functions.client import dbos_client, engine, statements
from functions.pool import PAUSE, PatientPool
from functions.tables import versions
from local_dev.bench.processes import wait_until
from local_dev.bench.proxy import Proxy
from tests.rows import finish
from worker.migrate import migrate

from .conftest import Serve

SESSIONS = """
select count(*) from pg_stat_activity
where datname = current_database() and application_name = 'dbos-functions'
"""


@pytest.fixture
def functions(serve: Serve, proxy: Proxy) -> Iterator[TestClient]:
    """The functions at the other end of the wire, warm."""
    with serve(proxy.url) as client:
        assert client.post("/launch/greeting").status_code == 202
        yield client


def test_a_warm_launch_is_frugal(functions: TestClient, proxy: Proxy) -> None:
    """No new connection; BEGIN, two INSERTs and COMMIT."""
    before = (proxy.connections, proxy.round_trips)

    assert functions.post("/launch/greeting").status_code == 202

    assert proxy.connections == before[0]
    assert 0 < proxy.round_trips - before[1] <= 4


def test_a_delay_costs_one_round_trip(functions: TestClient, proxy: Proxy) -> None:
    """It is counted from what Postgres's clock says."""
    functions.post("/launch/greeting?delay=60")
    before = proxy.round_trips

    assert functions.post("/launch/greeting?delay=60").status_code == 202

    assert 0 < proxy.round_trips - before <= 5


def test_a_look_for_all_who_wait_is_one_round_trip(functions: TestClient, proxy: Proxy) -> None:
    """The limit of its time comes with it, and holds for nothing else."""
    ids = [functions.post("/launch/greeting").json()["workflow_id"] for _ in range(3)]
    before = proxy.round_trips

    seen = versions(engine(), ids)

    assert proxy.round_trips - before == 1
    assert seen.keys() == set(ids)
    with engine().connect() as connection:
        assert connection.scalar(text("show statement_timeout")) == "0"


@pytest.mark.parametrize("query", ["status=ENQUEUED&workflow=a%25'%5Cb", "progress=true"])
def test_a_page_is_one_round_trip(functions: TestClient, proxy: Proxy, query: str) -> None:
    """Whatever it is filtered by."""
    before = proxy.round_trips

    assert functions.get(f"/list?{query}").status_code == 200

    assert proxy.round_trips - before == 1


@pytest.mark.parametrize(("status", "most"), [("SUCCESS", 1), ("ENQUEUED", 2)])
def test_a_warm_status_is_frugal(
    functions: TestClient, proxy: Proxy, database: str, status: str, most: int
) -> None:
    """One look, and another one at the queue while it waits there."""
    location = functions.post("/launch/greeting").headers["Location"]
    if status == "SUCCESS":
        finish(database, location.removeprefix("/status/"), status, output='"Hello"')
    functions.get(location)
    before = (proxy.connections, proxy.round_trips)

    answer = functions.get(location)

    assert answer.json()["status"] == status
    assert proxy.connections == before[0]
    assert 0 < proxy.round_trips - before[1] <= most


def test_the_clients_of_an_instance_compile_their_statements_once(functions: TestClient) -> None:
    """Each would do it again, since it lives for one invocation."""
    with dbos_client() as client:
        prepared = client._sys_db._prepared_statements
        functions.post("/launch/greeting")
        after_one = dict(prepared)
        functions.post("/launch/greeting")

    assert prepared is statements()
    assert len(after_one) == 2
    assert all(prepared[key] is compiled for key, compiled in after_one.items())


@pytest.mark.parametrize("attribute", ["_gone", "engine"], ids=["gone", "something else"])
def test_a_launch_needs_no_private_attribute(
    functions: TestClient, monkeypatch: pytest.MonkeyPatch, attribute: str
) -> None:
    """With another DBOS each client compiles its own, and nothing else is touched."""
    monkeypatch.setattr("functions.client.PREPARED", attribute)
    statements().clear()

    launch = functions.post("/launch/greeting")

    assert launch.status_code == 202
    assert statements() == {}


def test_a_large_batch_is_as_frugal_as_a_small_one(functions: TestClient, proxy: Proxy) -> None:
    """Round trips do not grow with it, so that a network with a delay does no harm."""
    trips = []
    for size in (2, 100):
        before = proxy.round_trips
        assert functions.post("/launch/greeting", json=[{}] * size).status_code == 202
        trips.append(proxy.round_trips - before)

    assert 0 < max(trips) <= 10  # Two for each workflow, it would be 200.


def test_dead_connections_do_not_show(functions: TestClient, proxy: Proxy) -> None:
    """An instance that was frozen wakes up with them; the launch is tried on a new one."""
    proxy.cut()
    launch = functions.post("/launch/greeting")
    proxy.cut()
    status = functions.get(launch.headers["Location"])

    assert (launch.status_code, status.status_code) == (202, 200)


@pytest.mark.parametrize("outage", ["refusing", "frozen"])
def test_a_database_that_is_away_is_a_503(functions: TestClient, proxy: Proxy, outage: str) -> None:
    """Never a hang, and back to normal by itself."""
    with getattr(proxy, outage)():
        away = [functions.post("/launch/greeting"), functions.get("/status/any")]
    proxy.cut()
    back = functions.post("/launch/greeting")

    assert [answer.status_code for answer in away] == [503, 503]
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in away)
    assert away[0].json()["title"] == "Database unavailable"
    assert back.status_code == 202


def test_a_launch_that_was_refused_does_not_come_true_later(
    functions: TestClient, proxy: Proxy, database: str
) -> None:
    """Whoever obeys `Retry-After` would otherwise get it twice."""
    with proxy.frozen():
        refused = functions.post("/launch/greeting")
    wait_until(lambda: engine().pool.checkedout() == 0)  # type: ignore[attr-defined]

    with psycopg.connect(database) as connection:
        count = connection.execute("select count(*) from dbos.workflow_status").fetchone()
    assert refused.status_code == 503
    assert count == (1,)  # That of the fixture.


def test_nothing_of_the_database_leaks(functions: TestClient, proxy: Proxy) -> None:
    """No host, no SQL, no traceback in the answer."""
    with proxy.refusing():
        answer = functions.post("/launch/greeting")

    for secret in ("127.0.0.1", "postgres", "select", "insert", "Traceback"):
        assert secret not in answer.text


def test_an_exhausted_pool_is_a_503(functions: TestClient) -> None:
    """Whoever finds no connection in time is told to come back."""
    with ExitStack() as taken:
        for _ in range(engine().pool.size()):  # type: ignore[attr-defined]
            taken.enter_context(engine().connect())
        exhausted = functions.post("/launch/greeting")
    again = functions.post("/launch/greeting")

    assert (exhausted.status_code, again.status_code) == (503, 202)
    assert "Retry-After" in exhausted.headers


def test_many_at_once_share_the_pool(functions: TestClient, proxy: Proxy) -> None:
    """Never more connections than POOL_SIZE."""
    with ThreadPoolExecutor(20) as callers:
        answers = list(callers.map(lambda _: functions.post("/launch/greeting"), range(60)))

    assert {answer.status_code for answer in answers} == {202}
    assert proxy.connections <= 5


def test_without_further_connections_those_there_are_suffice(serve: Serve, database: str) -> None:
    """Where Postgres gives fewer than POOL_SIZE, nobody is sent away for it."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("drop role if exists limited")
        connection.execute("create role limited login connection limit 1")
    migrate(database, functions_role="limited")
    url = database.replace("postgres@", "limited@")

    with serve(url) as functions, ThreadPoolExecutor(10) as callers:
        functions.post("/launch/greeting")
        answers = list(callers.map(lambda _: functions.post("/launch/greeting"), range(50)))

    assert {answer.status_code for answer in answers} == {202}


def test_a_restart_with_fewer_connections_leaves_those_there_are(
    serve: Serve, database: str
) -> None:
    """What has died does not stand before what is alive."""
    url = database.replace("postgres@", "restarted@")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("drop role if exists restarted")
        connection.execute("create role restarted login connection limit 5")
        migrate(database, functions_role="restarted")

        with serve(url) as functions, ThreadPoolExecutor(10) as callers:
            before = list(callers.map(lambda _: functions.post("/launch/greeting"), range(50)))
            connection.execute("alter role restarted connection limit 1")
            sessions = "from pg_stat_activity where usename = 'restarted'"
            connection.execute(f"select pg_terminate_backend(pid) {sessions}")
            wait_until(lambda: not connection.execute(f"select {sessions}").fetchall())
            crowd = list(callers.map(lambda _: functions.post("/launch/greeting"), range(50)))
            after = [functions.post("/launch/greeting") for _ in range(5)]

    assert {answer.status_code for answer in before + crowd + after} == {202}


@pytest.mark.parametrize(("method", "path"), [("POST", "/launch/greeting"), ("GET", "/status/x")])
def test_before_any_worker_has_started_there_is_a_503(
    serve: Serve, empty_database: str, method: str, path: str
) -> None:
    """It says so, and when to come back."""
    with serve(empty_database) as functions:
        answer = functions.request(method, path)

    assert answer.status_code == 503
    assert "No worker" in answer.json()["detail"]
    assert "Retry-After" in answer.headers


def test_a_catalog_of_another_application_does_not_count(
    serve: Serve, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application is named, since APP_NAME may be the mistake."""
    monkeypatch.setenv("APP_NAME", "another")

    with serve(database) as functions:
        answer = functions.post("/launch/greeting")

    assert answer.status_code == 503
    assert "'another'" in answer.json()["detail"]


@contextmanager
def role(database: str, name: str, limit: int) -> Iterator[str]:
    """A role of the functions with a limit of connections; the URL of the database for it."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"create role {name} login connection limit {limit}".encode())
        migrate(database, functions_role=name)
        yield database.replace("postgres@", f"{name}@")
        connection.execute(f"drop owned by {name}".encode())
        connection.execute(f"drop role {name}".encode())


def sessions(database: str) -> int:
    """How many connections the functions have to a database."""
    with psycopg.connect(database) as connection:
        row = connection.execute(SESSIONS).fetchone()
    assert row
    return int(row[0])


def test_what_a_crowd_has_needed_is_given_back(functions: TestClient, database: str) -> None:
    """All but one connection, without another request."""
    with ThreadPoolExecutor(20) as callers:
        list(callers.map(lambda _: functions.post("/launch/greeting"), range(60)))
    crowd = sessions(database)

    wait_until(lambda: sessions(database) == 1)

    assert crowd > 1


def test_an_instance_that_was_frozen_gives_back_with_its_first_request(
    functions: TestClient, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had no time to before."""
    with ThreadPoolExecutor(20) as callers:
        list(callers.map(lambda _: functions.post("/launch/greeting"), range(60)))
    pool = cast(PatientPool, engine().pool)
    wait_until(lambda: pool._timer is not None)
    cast(Timer, pool._timer).cancel()
    before = sessions(database)
    monkeypatch.setattr(pool_module, "SPARE_SECONDS", 0.0)

    functions.post("/launch/greeting")
    wait_until(lambda: sessions(database) == 1)

    assert before > 1


def test_steady_requests_make_no_new_connection(
    functions: TestClient, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For many times what a connection beyond the first may rest."""
    monkeypatch.setattr(pool_module, "SPARE_SECONDS", 0.3)
    with ThreadPoolExecutor(2) as callers:
        list(callers.map(lambda _: functions.post("/launch/greeting"), range(4)))
        before = proxy.connections
        end = time.monotonic() + 2
        while time.monotonic() < end:
            functions.post("/launch/greeting")

    assert proxy.connections == before


def test_without_a_connection_one_is_waited_for(serve: Serve, database: str) -> None:
    """An instance that Postgres gives none asks again, until its deadline."""
    with (
        role(database, "waiting", limit=1) as url,
        serve(url) as functions,
        ThreadPoolExecutor(1) as callers,
    ):
        with psycopg.connect(url):
            waiting = callers.submit(functions.post, "/launch/greeting")
            with suppress(TimeoutError):
                waiting.result(timeout=1)  # Its answer before that would be 503.
        answer = waiting.result()

    assert answer.status_code == 202


def test_an_instance_without_a_connection_does_not_wait_for_ever(
    serve: Serve, database: str
) -> None:
    """It says when to come back, before the platform gives up."""
    with role(database, "refused", limit=1) as url, psycopg.connect(url), serve(url) as functions:
        answer = functions.post("/launch/greeting")

    assert answer.status_code == 503
    assert "Retry-After" in answer.headers


def test_an_instance_under_load_leaves_others_a_connection(database: str) -> None:
    """Its connections never rest, but where there are no others it gives one back."""
    with role(database, "crowded", limit=4) as url, ExitStack() as stack:
        busy, late = (pool_of(url, stack) for _ in range(2))
        over = threading.Event()

        def load() -> None:
            while not over.is_set():
                # With more callers than connections, one that asks in vain is no matter here.
                with suppress(PoolTimeout, OperationalError), busy.connect() as connection:
                    connection.execute(text("select pg_sleep(0.01)"))

        callers = stack.enter_context(ThreadPoolExecutor(6))
        stack.callback(over.set)
        loads = [callers.submit(load) for _ in range(6)]
        wait_until(lambda: busy.pool.checkedout() == 4)  # type: ignore[attr-defined]

        with late.connect() as connection:
            served = connection.execute(text("select 1")).scalar()
        over.set()
        for each in loads:
            each.result()

    assert served == 1


def pool_of(url: str, stack: ExitStack) -> Engine:
    """The connections of an instance."""
    made = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        poolclass=PatientPool,
        pool_size=10,
        max_overflow=0,
        pool_timeout=PAUSE,
        pool_use_lifo=True,
    )
    stack.callback(made.dispose)
    return made


def test_postgres_ends_the_transaction_of_a_frozen_function(
    serve: Serve, database: str, root: Path
) -> None:
    """With the timeout that the page gives their role; the functions know it as a lost
    connection, which is tried again."""
    page = (root / "worker" / "README.md").read_text()
    [setting] = re.findall(r"alter role functions set (\S+ = )'10s';", page)
    with role(database, "frozen", limit=5) as url:
        with psycopg.connect(database) as connection:
            connection.execute(f"alter role frozen set {setting}'200ms'".encode())
        with serve(url), pytest.raises(DBAPIError) as ended, engine().begin() as frozen:
            frozen.execute(text("select 1 from dbos.workflow_status for update"))
            wait_until(lambda: sessions(database) == 0)
            frozen.execute(text("select 1"))

    assert ended.value.connection_invalidated

"""The functions and their database: how much they ask of it, and what they do without it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest
from starlette.testclient import TestClient

from functions.client import dbos_client, engine, statements
from local_dev.bench.processes import wait_until
from local_dev.bench.proxy import Proxy
from tests.rows import finish
from worker.migrate import migrate

from .conftest import Serve


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

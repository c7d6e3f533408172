"""The listener with DBOS's own waiters, on a network that a test breaks."""

import threading
from collections.abc import Iterator

import psycopg
import pytest
from dbos import DBOSPortableJSONSerializer
from dbos._sys_db_postgres import PostgresSystemDatabase
from dbos._utils import LoopAwareEvent

from local_dev.bench.processes import wait_until
from local_dev.bench.proxy import Proxy
from worker import listener as listener_module
from worker.database import Pool
from worker.listener import Listener

MANY = 5_000

SEND = """
insert into dbos.notifications (message_uuid, destination_uuid, topic, message, serialization)
values (gen_random_uuid(), %s, 'topic', '1', 'portable_json')
"""

RUN = "insert into dbos.workflow_status (workflow_uuid, status) values (%s, 'PENDING')"


class Listening:
    """A listener in a thread, and what waits for it."""

    def __init__(self, url: str) -> None:
        self.listener = Listener()
        self.pool = Pool(url, "a listener", size=2)
        self.database = PostgresSystemDatabase(
            system_database_url=url,
            engine_kwargs={},
            engine=self.pool.engine,
            schema=None,
            serializer=DBOSPortableJSONSerializer(),
            executor_id="this",
        )
        listen = self.listener.instead_of(PostgresSystemDatabase._notification_listener)
        self._thread = threading.Thread(target=listen, args=[self.database])
        self._thread.start()

    def wait_for(self, workflow_id: str) -> LoopAwareEvent:
        """Wait as `recv` does."""
        payload, components = self.database._waiter(workflow_id, "topic")
        waiting = LoopAwareEvent()
        self.database.notifications_map.add(payload, waiting, components)
        return waiting

    def close(self) -> None:
        """End as DBOS does."""
        self.database._run_background_processes = False
        self.database._cleanup_connections()
        self._thread.join()
        self.pool.engine.dispose()


@pytest.fixture
def listening(proxy: Proxy) -> Iterator[Listening]:
    """A listener that is there."""
    started = Listening(proxy.url)
    wait_until(lambda: started.database.notification_conn)
    yield started
    started.close()


def send(url: str, workflow_id: str) -> None:
    """Send a workflow a message."""
    with psycopg.connect(url) as connection:
        connection.execute(RUN, [workflow_id])
        connection.execute(SEND, [workflow_id])


def test_one_look_is_for_all_who_wait(listening: Listening, proxy: Proxy, database: str) -> None:
    """However many they are, and it wakes nobody who has nothing to receive."""
    waiting = {f"run-{number}": listening.wait_for(f"run-{number}") for number in range(MANY)}

    with proxy.refusing():
        send(database, "run-7")
        before = proxy.round_trips
    waiting["run-7"].wait(30)

    assert [run for run, woken in waiting.items() if woken.is_set()] == ["run-7"]
    assert listening.listener.reconnects == 1
    assert proxy.round_trips - before < 30


def test_a_session_that_says_nothing_is_replaced(
    listening: Listening, proxy: Proxy, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not only listened to, but asked."""
    monkeypatch.setattr(listener_module, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(listener_module, "ANSWER_SECONDS", 0.5)
    waiting = listening.wait_for("run")

    proxy.strand()
    send(database, "run")

    assert waiting.wait(30)
    assert listening.listener.reconnects == 1


def test_a_session_is_replaced_while_all_connections_are_in_use(
    listening: Listening, database: str
) -> None:
    """Far from the database, who listens would wait for its turn while messages come."""
    waiting = listening.wait_for("run")
    listens = listening.database.notification_conn
    assert listens
    assert listens.dbapi_connection
    session = listens.dbapi_connection.info.backend_pid

    with listening.pool.engine.connect(), listening.pool.engine.connect():
        with psycopg.connect(database) as connection:
            connection.execute("select pg_terminate_backend(%s)", [session])
        send(database, "run")
        woken = waiting.wait(30)

    assert woken


def test_what_was_told_to_nobody_is_found_by_a_look(
    listening: Listening, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an error of the database in DBOS's own look."""
    monkeypatch.setattr(listener_module, "LOOK_SECONDS", 0.2)
    send(database, "first")
    assert listening.wait_for("first").wait(30)
    send(database, "second")

    waiting = listening.wait_for("second")

    assert waiting.wait(30)
    assert listening.listener.reconnects == 0

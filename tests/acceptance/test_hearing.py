"""Who waits hears what comes, whatever becomes of the session that listens."""

import time

import httpx2
import psycopg

from local_dev.bench.processes import wait_until
from local_dev.bench.proxy import Proxy
from tests.fleet import Fleet
from tests.processes import free_port

LISTENER = "datname = current_database() and query ~* '^\\s*(listen|select n, false)'"
"""Which session listens, by what was asked in it last."""

END = f"select pg_terminate_backend(pid) from pg_stat_activity where {LISTENER}"

SEND = """
insert into dbos.notifications (message_uuid, destination_uuid, topic, message, serialization)
select gen_random_uuid(), workflow_uuid, 'topic', '"heard"', 'portable_json'
from dbos.workflow_status where workflow_uuid = any(%(receivers)s)
"""

WRITE = """
with event as (
    insert into dbos.workflow_events (workflow_uuid, key, value, serialization)
    values (%(of)s, 'key', '"heard"', 'portable_json')
)
insert into dbos.streams (workflow_uuid, key, "offset", value, function_id, serialization)
values (%(of)s, 'key', 0, '"heard"', 1, 'portable_json')
"""

WAITING = """
select count(*) from dbos.operation_outputs
where function_name = 'DBOS.sleep' or function_name = 'DBOS.setEvent'
"""

SOON_SECONDS = 10.0
"""Generous on a busy machine; DBOS looks for itself after 60."""


class Waiting:
    """Workflows that wait for a signal, an event or a stream, and one that is told nothing."""

    def __init__(self, workers: Fleet) -> None:
        self._workers = workers
        self.untold = workers.enqueue("hears_signal_async")
        self.receivers = [workers.enqueue(f"hears_signal{way}") for way in ("", "_async")]
        self.all = self.receivers + [
            workers.enqueue(f"hears_{what}{way}", of=self.untold)
            for what in ("event", "stream")
            for way in ("", "_async")
        ]
        wait_until(lambda: workers.query(WAITING) == [(7,)])

    def told(self, connection: psycopg.Connection) -> None:
        """Tell them, with one commit, but without the word to those who listen for events."""
        parameters = {"receivers": self.receivers, "of": self.untold}
        connection.execute(SEND, parameters)
        connection.execute(WRITE, parameters)

    def heard(self) -> bool:
        """Whether all of them have."""
        return {self._workers.status(each) for each in self.all} == {"SUCCESS"}

    def results(self) -> set[str]:
        """What they have heard."""
        outputs = "select output from dbos.workflow_output where workflow_uuid = any(%s)"
        return {output for (output,) in self._workers.query(outputs, self.all)}


def test_what_comes_while_nobody_listens_is_heard_soon(workers: Fleet) -> None:
    """The session is ended in the moment in which it is told; who is told nothing goes on to
    wait."""
    process = workers.start(HEALTH_PORT=(port := str(free_port())))
    waiting = Waiting(workers)

    with psycopg.connect(workers.database) as connection:
        ended = connection.execute(END).fetchall()
        waiting.told(connection)
    told = time.monotonic()
    wait_until(waiting.heard)
    metrics = httpx2.get(f"http://127.0.0.1:{port}/metrics").text

    assert ended == [(True,)]
    assert time.monotonic() - told < SOON_SECONDS
    assert waiting.results() == {'"heard"'}
    assert workers.status(waiting.untold) == "PENDING"
    assert "dbos_functions_listener_reconnects_total 1.0" in metrics
    assert process.said("nobody listens until it is back")


def test_what_comes_during_a_cut_is_heard_soon_after(workers: Fleet) -> None:
    """Nothing comes through the connections that there were, and nothing says so."""
    with Proxy(workers.database) as network:
        workers.start(DBOS_SYSTEM_DATABASE_URL=network.url)
        waiting = Waiting(workers)

        network.strand()
        with psycopg.connect(workers.database) as connection:
            waiting.told(connection)
        told = time.monotonic()
        wait_until(waiting.heard)

    assert time.monotonic() - told < 3 * SOON_SECONDS
    assert waiting.results() == {'"heard"'}
    assert workers.status(waiting.untold) == "PENDING"

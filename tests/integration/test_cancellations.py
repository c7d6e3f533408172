"""How a worker learns that a run that waits is cancelled, and what that costs."""

import threading
from collections.abc import Iterator

import psycopg
import pytest
from dbos import error as dbos_error
from dbos._utils import LoopAwareEvent
from sqlalchemy import create_engine, make_url, text

from local_dev.bench.processes import wait_until
from local_dev.bench.proxy import Proxy
from local_dev.bench.stage import enqueue
from worker import cancellations as module
from worker.cancellations import Cancellations
from worker.database import Pool
from worker.tables import LOST
from worker.waiters import Run, waiting_for

INSERT = """
insert into dbos.workflow_status (workflow_uuid, status, name, owner_xid)
select format('run %%s', n), 'PENDING', 'w', 'mine' from generate_series(1, %s) n
"""

CHANGE = "update dbos.workflow_status set status = %s, owner_xid = %s where workflow_uuid = 'run 1'"


class Waiting:
    """Threads that wait, each for a run, and what their waits were ended by."""

    def __init__(self, cancellations: Cancellations) -> None:
        self._event = cancellations.events(LoopAwareEvent)
        self._events: list[LoopAwareEvent] = []
        self.ended: dict[str, str] = {}

    def start(self, run: str, owner: str | None = "mine") -> threading.Thread:
        """Wait for a run from now on."""
        event = self._event()
        self._events.append(event)
        thread = threading.Thread(target=self._wait, args=(event, run, owner))
        thread.start()
        return thread

    def _wait(self, event: LoopAwareEvent, run: str, owner: str | None) -> None:
        try:
            with waiting_for(Run(run, owner)):
                event.wait(60.0)
        except dbos_error.DBOSBaseException as error:
            self.ended[run] = type(error).__name__

    def let_go(self) -> None:
        """Have all of them go on."""
        for event in self._events:
            event.set()


@pytest.fixture
def pool(proxy: Proxy) -> Iterator[Pool]:
    """A worker's pool at the other end of a wire, and ten runs of that worker."""
    with psycopg.connect(proxy.url) as connection:
        connection.execute(INSERT, [10])
    pool = Pool(proxy.url, "test", size=1)
    yield pool
    pool.engine.dispose()


@pytest.fixture
def waiting(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Iterator[Waiting]:
    """Waits that are looked after all the time."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.02)
    cancellations = Cancellations(pool.engine)
    cancellations.start()
    waiting = Waiting(cancellations)
    yield waiting
    waiting.let_go()
    wait_until(lambda: not cancellations._waits)


@pytest.mark.parametrize(
    ("status", "owner", "error"),
    [
        ("CANCELLED", None, "DBOSWorkflowCancelledError"),
        ("ENQUEUED", None, "DBOSWorkflowConflictIDError"),
        ("PENDING", "of another", "DBOSWorkflowConflictIDError"),
    ],
    ids=["cancelled", "resumed", "taken over"],
)
def test_a_wait_ends_when_its_run_is_lost(
    waiting: Waiting, proxy: Proxy, status: str, owner: str | None, error: str
) -> None:
    """And no other wait."""
    thread, other = waiting.start("run 1"), waiting.start("run 2")

    with psycopg.connect(proxy.url) as connection:
        connection.execute(CHANGE, [status, owner])
    thread.join(10.0)

    assert waiting.ended == {"run 1": error}
    assert other.is_alive()


def test_a_run_whose_owner_is_not_known_is_lost_when_it_is_cancelled(
    waiting: Waiting, proxy: Proxy
) -> None:
    """As that of a parent in whose child somebody waits."""
    threads = [waiting.start(run, owner=None) for run in ("run 1", "run 2", "deleted")]

    with psycopg.connect(proxy.url) as connection:
        connection.execute(CHANGE, ["CANCELLED", None])
    threads[0].join(10.0)
    threads[2].join(10.0)

    assert set(waiting.ended) == {"run 1", "deleted"}


def test_a_look_that_fails_is_not_the_last(
    waiting: Waiting, proxy: Proxy, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What was cancelled meanwhile ends when Postgres is back."""
    thread = waiting.start("run 1")

    with proxy.refusing(), psycopg.connect(database) as connection:
        proxy.cut()
        wait_until(lambda: "cannot look" in caplog.text)
        connection.execute(CHANGE, ["CANCELLED", None])
    thread.join(30.0)

    assert waiting.ended == {"run 1": "DBOSWorkflowCancelledError"}


def test_postgres_is_asked_once_for_all_that_waits(
    pool: Pool, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not at all while nothing does."""
    cancellations = Cancellations(pool.engine)
    waiting = Waiting(cancellations)
    cancellations._look()  # There is a connection from now on.
    before = proxy.round_trips
    cancellations._look()
    at_rest = proxy.round_trips - before

    threads = [waiting.start(f"run {n}") for n in range(1, 11)]
    wait_until(lambda: len(cancellations._waits) == len(threads))
    cancellations._look()
    first = proxy.round_trips
    cancellations._look()
    for_all = proxy.round_trips - first
    waiting.let_go()
    for thread in threads:
        thread.join(10.0)

    assert at_rest == 0
    assert for_all == 1


def test_a_look_reads_only_the_rows_of_what_waits(database: str) -> None:
    """However many others there are."""
    enqueue(database, 20_000)
    with psycopg.connect(database) as session:
        session.execute(INSERT, [10])
    parameters = {"runs": [f"run {n}" for n in range(1, 11)], "owners": ["mine"] * 10}
    engine = create_engine(make_url(database).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        connection.execute(text("analyze dbos.workflow_status"))
        plan = connection.execute(
            text(f"explain (analyze, buffers, format json) {LOST.text}"), parameters
        ).scalar_one()
    engine.dispose()

    assert plan[0]["Plan"]["Shared Hit Blocks"] < 60

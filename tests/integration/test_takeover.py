"""Who is alive, who is dead, and what becomes of the workflows of the dead."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

import worker.database as database_module
from local_dev.bench.processes import wait_until
from local_dev.bench.proxy import Proxy
from tests.rows import update
from worker import lease, orphans
from worker.clock import steady
from worker.database import Connection, Pool, all_rows, connect
from worker.errors import LeaseHeld
from worker.executor import Executor
from worker.lease import Lease
from worker.locks import is_free, try_lock
from worker.orphans import Orphans
from worker.settings import Settings
from worker.takeover import TakeOver, hand_over

Row = tuple[Any, ...]

INSERT = """
insert into dbos.workflow_status (
    workflow_uuid, status, name, executor_id, application_name, application_version,
    recovery_attempts, queue_name, owner_xid, started_at_epoch_ms
) values (
    %s, 'PENDING', %s, %s, %s, %s, %s, %s, 'owner',
    (extract(epoch from now()) * 1000)::bigint - 60000
)
"""


@pytest.fixture
def settings(database: str) -> Settings:
    """Those of the worker that looks for dead ones."""
    return Settings.from_env({"DBOS_SYSTEM_DATABASE_URL": database, "EXECUTOR_ID": "this"})


@pytest.fixture
def insert(database: str) -> Callable[..., None]:
    """Inserts a workflow that an executor executes."""

    def insert_one(
        workflow_id: str,
        executor: str = "dead",
        *,
        application: str = "dbos-functions",
        version: str = "1",
        attempts: int = 1,
        queue: str | None = "task_queue",
        name: str = "w",
    ) -> None:
        with psycopg.connect(database) as connection:
            values = (workflow_id, name, executor, application, version, attempts, queue)
            connection.execute(INSERT, values)

    return insert_one


def look(settings: Settings) -> None:
    """Take over what dead executors have left."""
    with psycopg.connect(settings.database_url) as connection:
        TakeOver(settings)(connection)


def statuses(settings: Settings) -> dict[str, str]:
    """The status of each workflow."""
    with psycopg.connect(settings.database_url) as connection:
        rows = connection.execute("select workflow_uuid, status from dbos.workflow_status")
        return dict(rows.fetchall())


def row(settings: Settings, columns: str) -> Row:
    """Some columns of the only workflow."""
    with psycopg.connect(settings.database_url) as connection:
        found = connection.execute(f"select {columns} from dbos.workflow_status".encode())
        return found.fetchall()[0]


def test_only_the_workflows_of_the_dead_are_taken_over(
    settings: Settings, insert: Callable[..., None]
) -> None:
    """Whoever holds a lease is alive, and this executor looks after its own."""
    alive = Lease(replace(settings, executor_id="alive"))
    alive.take()
    for executor in ("dead", "another-dead", "alive", "this"):
        insert(executor, executor)
    insert("foreign", "dead", application="another")

    look(settings)
    alive.release()

    assert statuses(settings) == {
        "dead": "ENQUEUED",
        "another-dead": "ENQUEUED",
        "alive": "PENDING",
        "this": "PENDING",
        "foreign": "PENDING",
    }


def test_what_is_taken_over_can_be_claimed_again(
    settings: Settings, insert: Callable[..., None]
) -> None:
    """By a worker of its version; the old owner has lost it."""
    insert("one", version="0")

    look(settings)

    columns = "queue_name, application_version, owner_xid, started_at_epoch_ms, recovery_attempts"
    assert row(settings, columns) == ("task_queue", "0", None, None, 1)


def test_what_was_in_no_queue_goes_to_that_of_dbos(
    settings: Settings, insert: Callable[..., None]
) -> None:
    """Such as a child that was started directly."""
    insert("one", queue=None)

    look(settings)

    assert row(settings, "queue_name") == ("_dbos_internal_queue",)


@pytest.mark.parametrize(
    ("attempts", "status"), [(5, "DELAYED"), (6, "MAX_RECOVERY_ATTEMPTS_EXCEEDED")]
)
def test_after_five_takeovers_a_workflow_is_given_up(
    settings: Settings, insert: Callable[..., None], attempts: int, status: str
) -> None:
    """The first attempt was no takeover."""
    insert("one", attempts=attempts)

    look(settings)

    assert row(settings, "status, owner_xid") == (status, None)
    assert (row(settings, "completed_at")[0] is None) == (status == "DELAYED")
    assert (row(settings, "queue_name")[0] is None) == (status != "DELAYED")


def test_a_locked_workflow_holds_up_no_other(
    settings: Settings, insert: Callable[..., None]
) -> None:
    """A worker that is frozen in a transaction loses the rest at once, that one soon."""
    insert("locked")
    insert("free")

    with psycopg.connect(settings.database_url) as frozen:
        one = "select from dbos.workflow_status where workflow_uuid = 'locked' for update"
        frozen.execute(one)
        look(settings)
        during = statuses(settings)
    look(settings)

    assert during == {"locked": "PENDING", "free": "ENQUEUED"}
    assert statuses(settings) == {"locked": "ENQUEUED", "free": "ENQUEUED"}


def test_an_executor_is_taken_over_by_one_at_a_time(
    settings: Settings, insert: Callable[..., None]
) -> None:
    """And it cannot come back while that lasts."""
    insert("one")
    back = Lease(replace(settings, executor_id="dead"))

    with psycopg.connect(settings.database_url) as first, first.transaction():
        taking = TakeOver(settings)
        taking(first)
        with psycopg.connect(settings.database_url) as second:
            second.execute("set statement_timeout = '5s'")
            late = TakeOver(replace(settings, executor_id="late"))
            late(second)
        blocked = back._try_to_take()
    returned = back._try_to_take()
    back.release()

    assert (taking.workflows, late.workflows) == (1, 0)
    assert blocked == ["dbos-functions executor dbos-functions dead"]
    assert returned == []


def test_who_takes_its_lease_back_keeps_its_workflows(
    settings: Settings, insert: Callable[..., None]
) -> None:
    """A worker whose connection was reset is not dead, so there is a second look."""
    insert("one")
    back = Lease(replace(settings, executor_id="dead"))

    def between_two_looks() -> float:
        back.take()
        return back.taking_seconds

    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        TakeOver(settings, between_two_looks)(connection)
    held = back.held
    back.release()

    assert held
    assert statuses(settings) == {"one": "PENDING"}


def test_where_nobody_is_dead_a_look_is_one_round_trip(settings: Settings, proxy: Proxy) -> None:
    """Far from Postgres, all that a worker does once a second adds up."""
    with connect(proxy.url, "test") as connection:
        before = proxy.round_trips
        TakeOver(settings)(connection)
        after = proxy.round_trips

    assert after - before == 1


def test_handing_over_is_no_takeover(settings: Settings, insert: Callable[..., None]) -> None:
    """However often a workflow that waits for days is handed over, it is not given up."""
    insert("one", "this", attempts=6)

    hand_over(settings)

    assert row(settings, "status, recovery_attempts") == ("ENQUEUED", 5)


def test_what_an_earlier_process_has_left_is_enqueued(
    settings: Settings, insert: Callable[..., None]
) -> None:
    """A process that starts with its executor id knows that it is dead."""
    insert("one", "this", version="0")

    TakeOver(settings).own()

    assert row(settings, "status, application_version") == ("ENQUEUED", "0")


def test_a_lease_is_held_by_one(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is released."""
    monkeypatch.setattr(lease, "PATIENCE", 0.1)
    first, second = Lease(settings), Lease(settings)

    first.take()
    with pytest.raises(LeaseHeld, match="'this'"):
        second.take()
    held = first.held, second.held
    first.release()
    second.take()
    second_held = first.held, second.held
    second.release()

    assert held == (True, False)
    assert second_held == (False, True)


def test_applications_do_not_share_leases(settings: Settings) -> None:
    """Two applications in one database may name their executors alike."""
    first, second = Lease(settings), Lease(replace(settings, app_name="another"))

    first.take()
    second.take()

    assert first.held
    assert second.held
    first.release()
    second.release()


def test_a_lease_is_trusted_only_for_a_while(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was frozen must not believe that it still holds it."""
    monkeypatch.setattr(lease, "GRACE", 0.5)
    monkeypatch.setattr(lease, "TRUST", 60.0)
    one = Lease(settings)

    one.take()
    at_once = one.held, one.settled
    wait_until(lambda: one.settled)
    later = one.held, one.settled
    monkeypatch.setattr(lease, "TRUST", 0.5)
    wait_until(lambda: not one.held)
    too_late = one.held, one.settled
    one.release()

    assert at_once == (True, False)
    assert later == (True, True)
    assert too_late == (False, False)


def test_postgres_ends_the_session_of_a_silent_holder(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is how a frozen worker loses its lease."""
    monkeypatch.setattr(lease, "LIFETIME", 0.2)
    silent, next_one = Lease(settings), Lease(settings)

    silent.take()
    next_one.take()

    assert next_one.held
    next_one.release()
    silent.release()


def test_postgres_ends_the_transaction_of_a_silent_holder(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that froze while it was taking others over."""
    monkeypatch.setattr(database_module, "IDLE_TRANSACTION", 0.2)
    silent, next_one = Lease(settings), Lease(settings)

    silent.take()
    assert silent._connection
    silent._connection.execute("begin")
    next_one.take()

    assert next_one.held
    next_one.release()
    silent.release()


def test_a_duty_that_fails_does_not_cost_the_lease(settings: Settings) -> None:
    """It is put off, whatever the database has against it."""
    one, tried = Lease(settings), []

    def duty(connection: Connection) -> None:
        tried.append(connection)
        connection.execute("select 1 / 0")

    one.take()
    one._do(duty, one._connection)  # type: ignore[arg-type]
    one._beat([])

    assert tried
    assert one.held
    one.release()


def test_a_session_that_was_cut_off_is_ended_by_its_own_process(settings: Settings) -> None:
    """It does not have to wait until Postgres notices."""
    one = Lease(settings)
    one.take()
    cut_off = one._connection

    one.take()

    assert cut_off
    assert one.held
    with pytest.raises(psycopg.OperationalError):
        cut_off.execute("select 1")
    cut_off.close()
    one.release()


def test_a_session_whose_answer_was_lost_is_ended_by_its_own_process(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hold the locks, though nobody has heard that it got them."""
    one, cut_off = Lease(settings), []

    def ask_and_hear_nothing(connection: Connection, *arguments: Any) -> list[list[Row]]:
        all_rows(connection, *arguments)
        cut_off.append(connection)
        raise psycopg.OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(lease, "all_rows", ask_and_hear_nothing)
        for _ in range(2):
            with pytest.raises(psycopg.OperationalError):
                one._try_to_take()
    missing = one._try_to_take()

    assert missing == []
    assert one.held
    for connection in cut_off:
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
        connection.close()
    one.release()


def test_a_lease_is_taken_in_one_round_trip(settings: Settings, proxy: Proxy) -> None:
    """Until then, others may take the workflows over; to connect, there is another one."""
    one = Lease(replace(settings, database_url=proxy.url))
    with psycopg.connect(proxy.url):
        to_connect = proxy.round_trips

    one.take()
    taken = proxy.round_trips
    one.release()

    assert taken == 2 * to_connect + 1


def test_a_lease_gives_signs_of_life_between_duties_that_take_long(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Far from Postgres, each duty does."""
    monkeypatch.setattr(lease, "GRACE", 0.0)
    monkeypatch.setattr(lease, "HEARTBEAT", 0.0)
    monkeypatch.setattr(lease, "SILENCE", 0.02)
    one, times = Lease(settings), []

    def take_long(_: Connection) -> None:
        time.sleep(0.05)
        times.append(steady())

    def look(_: Connection) -> None:
        times.append(one._alive_at)

    one.take()
    one._beat([take_long, look])
    one.release()

    ended, alive_at = times
    assert alive_at >= ended


class Listener:
    """An executor that executes nothing and knows only `w`."""

    def __init__(self) -> None:
        self.polls: Counter[str] = Counter()
        self.turns = 0
        self.had_no_thread: set[tuple[str, str]] = set()

    def turned_away(self) -> set[tuple[str, str]]:
        """What it had no thread for."""
        return self.had_no_thread

    def running(self) -> set[str]:
        """Nothing."""
        return set()

    def knows(self, workflow: str) -> bool:
        """Whether it is `w`."""
        return workflow == "w"

    def turn(self) -> None:
        """The loop is always free."""
        self.turns += 1


def test_a_claim_is_an_orphan_when_its_queue_was_polled_again(
    settings: Settings, insert: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the thread of its queue is busy, it may yet be started."""
    monkeypatch.setattr(orphans, "SUSPICION", 0.0)
    insert("one", "this")
    executor = Listener()
    looks = Orphans(settings, cast(Executor, executor))

    seen = []
    for polls in (1, 2, 2, 3):
        executor.polls["task_queue"] = polls
        with psycopg.connect(settings.database_url) as connection:
            looks(connection)
        seen.append(statuses(settings)["one"])

    assert seen == ["PENDING", "PENDING", "PENDING", "ENQUEUED"]


@pytest.fixture
def look_on(
    settings: Settings, insert: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    """Looks whether the run `one` has stopped, as an executor that executes nothing; twice is too
    often."""
    monkeypatch.setattr(orphans, "SUSPICION", 0.0)
    monkeypatch.setattr(orphans, "MANY", 1)
    insert("one", "this", attempts=9)
    executor = Listener()
    looks = Orphans(settings, cast(Executor, executor))

    def look_thrice() -> None:
        for _ in range(3):
            executor.polls["task_queue"] += 1
            with psycopg.connect(settings.database_url) as connection:
                looks(connection)

    return look_thrice


def test_a_run_that_stops_now_and_then_is_not_to_blame(
    settings: Settings, look_on: Callable[[], None]
) -> None:
    """Its worker lives: its attempts do not count, unless it stops again and again."""
    seen = []
    for owner in ("first", "second"):
        claimed = {"status": "PENDING", "executor_id": "this", "owner_xid": owner}
        update(settings.database_url, "one", **claimed)
        look_on()
        seen.append(row(settings, "status, recovery_attempts"))

    assert seen == [("ENQUEUED", 8), ("MAX_RECOVERY_ATTEMPTS_EXCEEDED", 7)]


def test_a_run_whose_row_is_locked_has_stopped_once(
    settings: Settings, look_on: Callable[[], None]
) -> None:
    """However often it was tried to put it back."""
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("select from dbos.workflow_status for update")
        look_on()
    look_on()

    assert row(settings, "status, recovery_attempts") == ("ENQUEUED", 8)


def test_what_had_no_thread_is_put_back_at_once_and_not_to_blame(
    settings: Settings, insert: Callable[..., None]
) -> None:
    """Its attempt does not count; another claim of the same workflow is left alone."""
    insert("one", "this", attempts=3)
    insert("other", "this", attempts=3)
    executor = Listener()
    executor.had_no_thread = {("one", "owner"), ("other", "an earlier claim")}
    looks = Orphans(settings, cast(Executor, executor))

    with psycopg.connect(settings.database_url) as connection:
        looks(connection)

    with psycopg.connect(settings.database_url) as connection:
        rows = connection.execute(
            "select workflow_uuid, status, recovery_attempts from dbos.workflow_status"
        ).fetchall()
    assert sorted(rows) == [("one", "ENQUEUED", 2), ("other", "PENDING", 3)]


def test_a_stranger_is_left_to_others_for_a_while(
    settings: Settings, insert: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And given up in the end."""
    looks = Orphans(settings, cast(Executor, Listener()))
    seen = []

    for _ in range(2):
        insert("one", "this", name="unheard-of")
        with psycopg.connect(settings.database_url) as connection:
            looks(connection)
        seen.append(row(settings, "status, recovery_attempts, application_version"))
        monkeypatch.setattr(orphans, "UNKNOWN", 0.0)
        with psycopg.connect(settings.database_url) as connection:
            connection.execute("delete from dbos.workflow_status")

    assert seen == [("DELAYED", 0, None), ("MAX_RECOVERY_ATTEMPTS_EXCEEDED", 0, None)]


def test_a_workflow_that_got_further_begins_to_count_anew(
    settings: Settings, insert: Callable[..., None]
) -> None:
    """Its workers died, but not of it."""
    insert("one", attempts=6)
    with psycopg.connect(settings.database_url) as connection:
        connection.execute(
            "insert into dbos.operation_outputs (workflow_uuid, function_id, function_name, "
            "retention_timestamp) values ('one', 1, 'step', 9000000000000)"
        )

    look(settings)

    assert row(settings, "status, recovery_attempts") == ("ENQUEUED", 1)


def test_cutting_connections_that_are_gone_does_no_harm(settings: Settings) -> None:
    """A worker that comes back from a cut of its network does it with those that it had."""
    pool = Pool(settings.database_url, "test", size=2)
    one, two = pool.engine.connect(), pool.engine.connect()
    one.exec_driver_sql("select 1")

    two.invalidate()
    for _ in range(3):
        pool.cut()
        time.sleep(0.1)

    with pytest.raises(OperationalError):
        one.exec_driver_sql("select 1")
    pool.engine.dispose()


def test_an_exclusive_look_at_a_lock_leaves_it_free(settings: Settings) -> None:
    """Those who ask whether a version lives must not be taken for it."""
    with (
        psycopg.connect(settings.database_url) as one,
        psycopg.connect(settings.database_url) as two,
    ):
        looks = [is_free(one, "a"), is_free(two, "a"), is_free(one, "a")]
        try_lock(one, "a")
        held = is_free(two, "a")

    assert looks == [True, True, True]
    assert not held

"""Which runs a death is counted for, who is tried apart, and who is given up."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from worker.settings import Settings
from worker.takeover import TakeOver, hand_over

Insert = Callable[..., None]

NOW = "(extract(epoch from now()) * 1000)::bigint"

INSERT = f"""
insert into dbos.workflow_status (
    workflow_uuid, status, name, executor_id, application_name, application_version,
    recovery_attempts, queue_name, owner_xid, started_at_epoch_ms
) values (%s, 'PENDING', 'w', %s, 'dbos-functions', '1', %s, 'task_queue', 'owner', {NOW} - %s)
"""

RECORD = f"""
insert into dbos.operation_outputs (
    workflow_uuid, function_id, function_name, output, completed_at_epoch_ms, retention_timestamp
) values (
    %(workflow)s, %(number)s, %(name)s,
    case when %(ends)s::float is not null then (extract(epoch from now()) + %(ends)s)::text end,
    {NOW} - 300000 + case when %(exact)s then (%(ends)s + 300) * 1000 else 0 end,
    {NOW} - 300000
)
"""

SAY = "insert into catalog.waits (workflow_uuid, owner_xid, operations) values (%s, %s, %s)"


@pytest.fixture
def settings(database: str) -> Settings:
    """Those of the worker that looks for dead ones."""
    return Settings.from_env({"DBOS_SYSTEM_DATABASE_URL": database, "EXECUTOR_ID": "this"})


@pytest.fixture
def insert(database: str) -> Insert:
    """Inserts a run that an executor executes: the attempt, and how long it has lasted."""

    def insert_one(
        workflow_id: str, attempts: int, *, executor: str = "dead", seconds: float = 60
    ) -> None:
        with psycopg.connect(database) as connection:
            connection.execute(INSERT, (workflow_id, executor, attempts, seconds * 1000))

    return insert_one


@pytest.fixture
def record(database: str) -> Insert:
    """Records an operation, five minutes ago: a step, or until when a sleep or a wait lasts."""

    def record_one(
        workflow_id: str, number: int, *, ends: float | None = None, sleeps: bool = False
    ) -> None:
        parameters = {"workflow": workflow_id, "number": number, "ends": ends, "exact": sleeps}
        name = {"name": "step" if ends is None else "DBOS.sleep"}
        with psycopg.connect(database) as connection:
            connection.execute(RECORD, parameters | name)

    return record_one


def look(settings: Settings, statement: str | None = None, *parameters: Any) -> None:
    """Execute a statement, if there is one; then take over, and give turns."""
    with psycopg.connect(settings.database_url) as connection:
        if statement:
            connection.execute(statement.encode(), parameters)
        TakeOver(settings)(connection)


def found(settings: Settings) -> dict[str, tuple[str, int]]:
    """The status of each run, and the attempts that count."""
    with psycopg.connect(settings.database_url) as connection:
        rows = connection.execute(
            "select workflow_uuid, status, recovery_attempts from dbos.workflow_status"
        )
        return {run: (status, attempts) for run, status, attempts in rows}


def having_turns(settings: Settings) -> set[str]:
    """The runs that may be claimed."""
    return {run for run, (status, _) in found(settings).items() if status == "ENQUEUED"}


CLAIM = f"""
update dbos.workflow_status set status = 'PENDING', executor_id = %s, owner_xid = 'owner',
    recovery_attempts = recovery_attempts + 1, started_at_epoch_ms = {NOW}
where status = 'ENQUEUED'
"""

LATER = """
update dbos.workflow_status set updated_at = updated_at - 60000,
    started_at_epoch_ms = started_at_epoch_ms - 60000
"""


def live(settings: Settings, executor: str) -> None:
    """Have an executor claim what is enqueued."""
    with psycopg.connect(settings.database_url) as connection:
        connection.execute(CLAIM.encode(), (executor,))


@pytest.mark.parametrize("ends", [86400.0, -100.0])
def test_a_run_that_waits_for_a_signal_is_never_blamed(
    settings: Settings, insert: Insert, record: Insert, ends: float
) -> None:
    """Also past its timeout: while that is not recorded, the run has not gone on."""
    insert("waits", 7)
    record("waits", 1)
    record("waits", 3, ends=ends)

    look(settings)

    assert found(settings) == {"waits": ("ENQUEUED", 6)}


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        (86400.0, ("ENQUEUED", 6)),
        (-4.0, ("ENQUEUED", 6)),
        (-30.0, ("MAX_RECOVERY_ATTEMPTS_EXCEEDED", 7)),
        (-100.0, ("MAX_RECOVERY_ATTEMPTS_EXCEEDED", 7)),
    ],
)
def test_a_run_that_sleeps_is_never_blamed(
    settings: Settings, insert: Insert, record: Insert, ends: float, expected: tuple[str, int]
) -> None:
    """Nor one whose sleep ended between the death of its worker and now."""
    insert("sleeps", 7)
    record("sleeps", 1, ends=ends, sleeps=True)

    look(settings)

    assert found(settings) == {"sleeps": expected}


def test_a_sleep_that_was_over_before_excuses_nothing(
    settings: Settings, insert: Insert, record: Insert
) -> None:
    """What kills its worker right after a sleep does so again and again."""
    insert("poison", 6, seconds=2)
    record("poison", 1, ends=-4.0, sleeps=True)

    look(settings)

    assert found(settings) == {"poison": ("MAX_RECOVERY_ATTEMPTS_EXCEEDED", 6)}


@pytest.mark.parametrize(
    ("owner", "operations", "expected"),
    [
        ("owner", 1, ("ENQUEUED", 5)),
        ("owner", 0, ("MAX_RECOVERY_ATTEMPTS_EXCEEDED", 6)),
        ("former", 1, ("MAX_RECOVERY_ATTEMPTS_EXCEEDED", 6)),
        (None, 1, ("MAX_RECOVERY_ATTEMPTS_EXCEEDED", 6)),
    ],
)
def test_a_wait_that_a_worker_has_said_excuses_until_anything_is_recorded(
    settings: Settings,
    insert: Insert,
    record: Insert,
    owner: str | None,
    operations: int,
    expected: tuple[str, int],
) -> None:
    """Nor does it in the next execution of the run."""
    insert("parent", 6)
    record("parent", 1)

    look(settings, SAY, "parent", owner, operations)

    assert found(settings) == {"parent": expected}


def test_a_run_that_does_several_things_at_once_is_not_excused_by_its_last_row(
    settings: Settings, insert: Insert, record: Insert
) -> None:
    """The step before it is not recorded, since it is what kills the worker."""
    insert("poison", 6)
    record("poison", 2, ends=86400.0, sleeps=True)
    several = "insert into catalog.waits (workflow_uuid, several_at_once) values (%s, true)"

    look(settings, several, "poison")

    assert found(settings) == {"poison": ("MAX_RECOVERY_ATTEMPTS_EXCEEDED", 6)}


def test_an_attempt_of_ten_minutes_begins_to_count_anew_twenty_times(
    settings: Settings, insert: Insert
) -> None:
    """A run that kills its worker after eleven minutes is given up in the end."""
    insert("slow", 6, seconds=660)

    seen = []
    for _ in range(21):
        look(settings)
        seen.append(found(settings)["slow"])
        with psycopg.connect(settings.database_url) as connection:
            connection.execute("update dbos.workflow_status set recovery_attempts = 5")
        live(settings, "dead")
        with psycopg.connect(settings.database_url) as connection:
            connection.execute(LATER.replace("60000", "660000").encode())

    assert seen[:20] == [("ENQUEUED", 1)] * 20
    assert seen[20] == ("MAX_RECOVERY_ATTEMPTS_EXCEEDED", 6)


def test_after_one_death_all_go_on_at_once(settings: Settings, insert: Insert) -> None:
    """Machines fail."""
    for number in range(5):
        insert(f"run-{number}", 1)

    look(settings)

    assert len(having_turns(settings)) == 5


def test_suspects_have_their_turn_in_groups_one_after_the_other(
    settings: Settings, insert: Insert
) -> None:
    """The next when the one before has got further, has ended, or has run for a while."""
    for number in range(20):
        insert(f"run-{number}", 2)

    look(settings)
    first = having_turns(settings)
    live(settings, "this")
    look(settings)
    meanwhile = having_turns(settings)
    look(settings, LATER)
    second = having_turns(settings)

    assert len(first) == 5
    assert meanwhile == set()
    assert len(second) == 4
    assert not first & second


def test_after_a_shared_turn_suspects_have_one_each(settings: Settings, insert: Insert) -> None:
    """After a respite, in which their workers are started again."""
    for number in range(4):
        insert(f"run-{number}", 3)

    look(settings)
    at_once = having_turns(settings)
    look(settings, LATER)
    later = having_turns(settings)

    assert set(found(settings).values()) <= {("DELAYED", 3), ("ENQUEUED", 3)}
    assert at_once == set()
    assert len(later) == 1


def test_nobody_is_given_up_for_a_death_that_suspects_share(
    settings: Settings, insert: Insert
) -> None:
    """They are tried again, each for longer than before."""
    insert("one", 6)
    insert("two", 4)
    insert("alone", 6, executor="another")

    look(settings)

    assert found(settings) == {
        "one": ("DELAYED", 5),
        "two": ("DELAYED", 3),
        "alone": ("MAX_RECOVERY_ATTEMPTS_EXCEEDED", 6),
    }
    with psycopg.connect(settings.database_url) as connection:
        shared = connection.execute("select shared_deaths from catalog.suspects").fetchall()
    assert shared == [(1,), (1,)]


def test_the_last_death_is_twice_put_down_to_what_ran_beside(
    settings: Settings, insert: Insert
) -> None:
    """Not more often, or in a busy fleet nothing would ever be given up."""
    insert("poison", 6)

    seen = []
    for _ in range(3):
        insert("beside", 1)
        look(settings)
        seen.append(found(settings)["poison"][0])
        look(settings, "delete from dbos.workflow_status where workflow_uuid = 'beside'")
        look(settings, LATER)
        live(settings, "dead")

    assert seen == ["DELAYED", "DELAYED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


def test_a_death_that_was_shared_leaves_the_doubts_as_they_are(
    settings: Settings, insert: Insert
) -> None:
    """What dies beside other suspects, and then beside a new run, is not given up."""
    insert("unlucky", 6)

    seen = []
    for other, attempts in [("suspect", 2), ("suspect", 2), ("new", 1), ("new", 1), ("new", 1)]:
        insert(other, attempts)
        look(settings)
        seen.append(found(settings)["unlucky"][0])
        look(settings, "delete from dbos.workflow_status where workflow_uuid = %s", other)
        with psycopg.connect(settings.database_url) as connection:
            connection.execute(
                "update dbos.workflow_status set status = 'PENDING', recovery_attempts = 6"
            )

    assert seen == ["DELAYED"] * 4 + ["MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


def test_what_may_just_have_woken_is_a_doubt(
    settings: Settings, insert: Insert, record: Insert
) -> None:
    """It is not blamed, since it may have slept when its worker died, but it may have done it."""
    insert("suspect", 6)
    insert("woken", 1)
    record("woken", 1, ends=-4.0, sleeps=True)

    look(settings)

    assert found(settings) == {"suspect": ("DELAYED", 5), "woken": ("ENQUEUED", 0)}


def test_who_waits_beside_a_suspect_leaves_it_alone(
    settings: Settings, insert: Insert, record: Insert
) -> None:
    """A thousand approvals do not keep a poison from being given up."""
    insert("poison", 6)
    insert("waits", 6)
    record("waits", 2, ends=86400.0)

    look(settings)

    assert found(settings) == {
        "poison": ("MAX_RECOVERY_ATTEMPTS_EXCEEDED", 6),
        "waits": ("ENQUEUED", 5),
    }


def test_one_turn_is_enough_for_a_limit_of_one(settings: Settings, insert: Insert) -> None:
    """MAX_TAKEOVERS=1 still wants a death alone."""
    strict = Settings.from_env(
        {"DBOS_SYSTEM_DATABASE_URL": settings.database_url, "MAX_TAKEOVERS": "1"}
    )
    insert("one", 2)
    insert("two", 2)

    look(strict)
    shared = {status for status, _ in found(settings).values()}
    live(settings, "dead")
    look(strict)

    assert shared == {"DELAYED", "ENQUEUED"}
    assert sorted(status for status, _ in found(settings).values()) == [
        "ENQUEUED",
        "MAX_RECOVERY_ATTEMPTS_EXCEEDED",
    ]


def test_a_run_that_is_resumed_has_been_counted_for_nothing(
    settings: Settings, insert: Insert
) -> None:
    """Resuming sets its attempts to none, and that is all that it has to do."""
    insert("resumed", 1)
    known = "insert into catalog.suspects values ('resumed', 20, 20, 20)"

    look(settings, known)

    assert found(settings) == {"resumed": ("ENQUEUED", 1)}


def test_suspects_wait_on_for_as_long_as_somebody_gives_turns(
    settings: Settings, insert: Insert
) -> None:
    """Should nobody do so any more, DBOS enqueues them."""
    insert("one", 3)
    look(settings)
    until = "select delay_until_epoch_ms - 10000 from dbos.workflow_status"
    with psycopg.connect(settings.database_url) as connection:
        before = connection.execute(until).fetchall()[0][0]
        connection.execute(
            "update dbos.workflow_status set delay_until_epoch_ms = %s", (before - 5000,)
        )

    look(settings)

    with psycopg.connect(settings.database_url) as connection:
        after = connection.execute(until).fetchall()[0][0]
    assert after >= before


def test_handing_over_counts_for_nobody(settings: Settings, insert: Insert) -> None:
    """Whatever is executed."""
    insert("one", 6, executor="this")
    insert("two", 6, executor="this")

    hand_over(settings)

    assert found(settings) == {"one": ("ENQUEUED", 5), "two": ("ENQUEUED", 5)}

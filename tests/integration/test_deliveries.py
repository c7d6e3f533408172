"""The rows in which the order of async code is recorded."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, create_engine

from local_dev.bench.stage import enqueue
from tests.rows import record, update
from worker.deliveries import OWN, Delivery
from worker.replay import Replay

FIRST, SECOND, THIRD = (
    Delivery(0, 1),
    Delivery(1, 3, (2, 1)),
    Delivery(2, 4, (3,), 1.5),
)


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """Makes connections as DBOS does."""
    engine = create_engine(database.replace("postgresql://", "postgresql+psycopg://", 1))
    yield engine
    engine.dispose()


def loaded(engine: Engine, workflow_id: str) -> Replay:
    """What an execution of a run finds."""
    replay = Replay()
    with engine.connect() as connection:
        replay.load(connection, workflow_id)
    return replay


def written(engine: Engine, replay: Replay, workflow_id: str, *deliveries: Delivery) -> list[Any]:
    """The rows of a run after an execution of it has recorded deliveries, too."""
    for each in deliveries:
        replay.deliveries.add(each)
    with engine.begin() as connection:
        replay.deliveries.record(connection, workflow_id, 9)
        rows = connection.exec_driver_sql(
            "select place, number, tickets, cancelled_after from catalog.deliveries "
            "where workflow_uuid = %(id)s order by place",
            {"id": workflow_id},
        )
        return [Delivery(place, number, tuple(each), after) for place, number, each, after in rows]


def test_what_is_written_is_read(engine: Engine, database: str) -> None:
    """By the next execution, as far as it is followed by something recorded."""
    [workflow_id] = enqueue(database, 1)

    rows = written(engine, loaded(engine, workflow_id), workflow_id, FIRST, SECOND, THIRD)
    for number in range(1, 5):
        record(database, workflow_id, number, "step")
    replay = loaded(engine, workflow_id)

    assert rows == [FIRST, SECOND, THIRD]
    assert replay.deliveries.recorded == {0: FIRST, 1: SECOND}


def test_a_call_that_is_cancelled_no_longer_is_written_anew(engine: Engine, database: str) -> None:
    """The result has come in its place this time."""
    [workflow_id] = enqueue(database, 1)
    replay = loaded(engine, workflow_id)
    written(engine, replay, workflow_id, FIRST, SECOND, THIRD)

    came = THIRD._replace(cancelled_after=None)

    assert written(engine, replay, workflow_id, came) == [FIRST, SECOND, came]
    assert written(engine, replay, workflow_id, THIRD) == [FIRST, SECOND, THIRD]


@pytest.mark.parametrize(("steps", "kept"), [(0, [OWN]), (1, [OWN]), (2, [FIRST])])
def test_what_a_rewind_has_discarded_is_deleted(
    engine: Engine, database: str, steps: int, kept: list[Delivery]
) -> None:
    """DBOS deletes the operations only, and the next execution may note nothing."""
    [workflow_id] = enqueue(database, 1)
    written(engine, loaded(engine, workflow_id), workflow_id, FIRST, SECOND, THIRD)
    for number in range(1, steps + 1):
        record(database, workflow_id, number, "step")

    assert written(engine, loaded(engine, workflow_id), workflow_id) == kept


def test_a_fork_of_a_fork_finds_the_order_of_the_first(engine: Engine, database: str) -> None:
    """Unless one between them has an order of its own, even an empty one."""
    first, second, third = enqueue(database, 3)
    written(engine, loaded(engine, first), first, FIRST, SECOND)
    update(database, second, forked_from=first)
    update(database, third, forked_from=second)
    record(database, third, 2, "step")

    found = loaded(engine, third).deliveries.recorded
    own = written(engine, loaded(engine, second), second)

    assert (found, own) == ({0: FIRST}, [OWN])
    assert loaded(engine, third).deliveries.recorded == {OWN.place: OWN}


def test_a_run_without_an_order_is_asked_for_it_once(engine: Engine, database: str) -> None:
    """The names of what is recorded come with whether there is an order."""
    [workflow_id] = enqueue(database, 1)
    record(database, workflow_id, 1, "step")
    with psycopg.connect(database) as connection:
        connection.execute("alter table catalog.deliveries rename column tickets to away")

    replay = loaded(engine, workflow_id)

    assert (replay.last, replay.deliveries.are_recorded) == (1, True)

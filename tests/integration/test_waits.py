"""What a worker says of the runs that only wait, and when it takes that back."""

import asyncio
from collections.abc import Callable, Iterator
from contextvars import copy_context
from functools import partial
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from dbos import error as dbos_error

from worker import sleeps
from worker import waits as waits_module
from worker.database import Pool
from worker.settings import Settings
from worker.waits import Waits, receiver

INSERT = """
insert into dbos.workflow_status (workflow_uuid, status, name, executor_id, owner_xid)
values ('one', 'PENDING', 'w', 'this', 'owner')
"""


RECORD = """
insert into dbos.operation_outputs (workflow_uuid, function_id, function_name)
values ('one', 1, 'DBOS.recv')
"""

OPERATIONS = "select operations from catalog.waits"


@pytest.fixture
def settings(database: str) -> Settings:
    """Those of a worker that executes one run."""
    with psycopg.connect(database) as connection:
        connection.execute(INSERT)
    return Settings.from_env({"DBOS_SYSTEM_DATABASE_URL": database, "EXECUTOR_ID": "this"})


@pytest.fixture
def waits(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Waits]:
    """Says at once what waits."""
    monkeypatch.setattr(waits_module, "MOMENT_SECONDS", 0.0)
    pool = Pool(settings.database_url, "test", size=2)
    yield Waits(settings, pool.engine)
    pool.engine.dispose()


def said(settings: Settings, waits: Waits | None = None) -> list[tuple[Any, ...]]:
    """What stands in the database, once the worker has said what it has to say."""
    with psycopg.connect(settings.database_url) as connection:
        if waits:
            waits(connection)
        rows = connection.execute("select owner_xid, several_at_once from catalog.waits")
        return rows.fetchall()


def test_what_waits_is_said_and_forgotten(settings: Settings, waits: Waits) -> None:
    """The row is void before it is gone, since what has been waited for is recorded."""

    def recv(_: object, run: str) -> list[tuple[Any, ...]]:
        return said(settings, waits)

    during = waits.around(receiver, recv)(None, "one")
    after = said(settings, waits)
    said(settings, waits)

    assert during == [("owner", False)]
    assert after == []
    assert not waits._runs


def test_a_wait_that_begins_as_another_ends_is_said_again(settings: Settings, waits: Waits) -> None:
    """What was said of the other is void as soon as that is recorded."""

    def operations(_: object, run: str) -> list[tuple[Any, ...]]:
        said(settings, waits)
        with psycopg.connect(settings.database_url) as connection:
            return connection.execute(OPERATIONS).fetchall()

    first = waits.around(receiver, operations)(None, "one")
    with psycopg.connect(settings.database_url) as connection:
        connection.execute(RECORD)
    second = waits.around(receiver, operations)(None, "one")

    assert (first, second) == ([(0,)], [(1,)])


def test_a_wait_that_is_cut_short_is_taken_back_at_once(settings: Settings, waits: Waits) -> None:
    """Nothing is recorded of it, and the code goes on."""

    async def recv(_: object, run: str) -> None:
        assert said(settings, waits) == [("owner", False)]
        await asyncio.sleep(60)

    async def cut_short() -> list[tuple[Any, ...]]:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waits.around_async(receiver, recv)(None, "one"), 0.5)
        return said(settings)

    assert asyncio.run(cut_short()) == [(None, False)]


def test_a_step_beside_a_wait_takes_it_back_before_it_begins(
    settings: Settings, waits: Waits
) -> None:
    """It may be what kills the worker, and is recorded only when it has ended."""

    async def step() -> list[tuple[Any, ...]]:
        return said(settings, waits)

    async def invoke_step(_: object, context: object, function: Any) -> Any:
        return await function()

    async def recv(_: object, run: str) -> Any:
        assert said(settings, waits) == [("owner", False)]
        return await waits.stepping(invoke_step)(None, SimpleNamespace(workflow_id="one"), step)

    async def main() -> Any:
        return await waits.around_async(receiver, recv)(None, "one")

    during = asyncio.run(main())

    assert during == [(None, True)]


def fall_asleep(waits: Waits, seconds: float) -> None:
    """Record a sleep of the run, as DBOS does."""
    record = waits.falling_asleep(lambda *_, **__: seconds)
    record(None, "one", 1, seconds, project_completion_time=True)


def test_a_sleep_beside_a_step_tells_nothing(settings: Settings, waits: Waits) -> None:
    """Its row is the last one, but the run does not only sleep."""

    def invoke_step(*_: Any) -> None:
        waits.sleeping(partial(fall_asleep, waits))(60.0)

    waits.stepping(invoke_step)(None, SimpleNamespace(workflow_id="one"), print)

    assert said(settings) == [(None, True)]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_sleep_that_is_cut_short_is_over(settings: Settings, waits: Waits, kind: str) -> None:
    """The run may be resumed, and is not asleep in the steps before it."""

    def sleep(seconds: float) -> None:
        fall_asleep(waits, seconds)
        raise dbos_error.DBOSWorkflowCancelledError("cancelled")

    async def sleep_async(seconds: float) -> None:
        sleep(seconds)

    async def main() -> None:
        await waits.sleeping_async(sleep_async)(600.0)

    with pytest.raises(dbos_error.DBOSWorkflowCancelledError):
        asyncio.run(main()) if kind == "async" else waits.sleeping(sleep)(600.0)
    waits.stepping(lambda *_: None)(None, SimpleNamespace(workflow_id="one"), print)

    assert said(settings, waits) == []
    assert not waits._runs


def test_a_sleep_that_is_recorded_when_it_is_over_is_none(settings: Settings, waits: Waits) -> None:
    """An async one that was given up may still be recorded in a thread, and would never end."""
    recording: list[Callable[[], None]] = []

    def sleep(seconds: float) -> None:
        recording.append(partial(copy_context().run, fall_asleep, waits, seconds))

    waits.sleeping(sleep)(60.0)
    recording[0]()
    waits.stepping(lambda *_: None)(None, SimpleNamespace(workflow_id="one"), print)

    assert said(settings, waits) == []
    assert not waits._runs


def test_steps_one_after_the_other_cost_nothing(settings: Settings, waits: Waits) -> None:
    """A run without waits is not written down."""
    waits.stepping(lambda *_: said(settings, waits))(
        None, SimpleNamespace(workflow_id="one"), print
    )

    assert said(settings, waits) == []
    assert not waits._runs


def test_a_sleep_for_ever_ends_in_a_hundred_years() -> None:
    """Python's clocks, and what DBOS records, would not hold the time."""
    recorded = sleeps.bounded(lambda _database, _run, _number, seconds, **_: seconds)

    assert recorded(None, "one", 1, 1e300) == sleeps.LONGEST_SECONDS
    assert recorded(None, "one", 1, 60.0) == 60.0

"""What async code is given, and when, in a first execution and in a replay of it."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from worker import operations, order, tables
from worker.deliveries import Delivery
from worker.held import Mismatch
from worker.order import Order
from worker.replay import Replay

Rows = dict[int, Delivery]


class Catalog:
    """A connection to the rows of one run; does what `tables.RECORD_DELIVERIES` says."""

    def __init__(self, rows: Rows) -> None:
        self.rows = dict(rows)

    def execute(self, statement: Any, parameters: dict[str, Any]) -> None:
        """Write what is noted."""
        assert statement is tables.RECORD_DELIVERIES
        tickets = [tuple(json.loads(f"[{each[1:-1]}]")) for each in parameters["tickets"]]
        columns = (parameters["places"], parameters["numbers"], tickets)
        written = {
            each.place: each for each in map(Delivery, *columns, parameters["cancelled_after"])
        }
        kept = {} if parameters["are_all_there_is"] else self.rows
        self.rows = {**kept, **written}


class Stopped(Exception):
    """Raised in code whose order is another than the recorded one."""


def nothing() -> None: ...


class Execution:
    """One execution of some code; its operations take as long as chance will have it."""

    def __init__(
        self, before: "Execution | None" = None, upto: int = 0, *, forks: bool = False
    ) -> None:
        """`upto` is the last number that an execution before has recorded."""
        self.names: list[str] = []
        self.recorded = before.names[:upto] if before else []
        self.mismatch: Mismatch | None = None
        self._context = SimpleNamespace(function_id=0)
        self._replay = Replay()
        found = before.rows if before else {}
        self._catalog = Catalog({} if forks else found)
        rows = [(*each, forks) for each in found.values()]
        self._replay.read([(n, name, 0, None) for n, name in enumerate(self.recorded, 1)], rows)

    @property
    def rows(self) -> Rows:
        """The order that is recorded."""
        return self._catalog.rows

    def run(self, code: "Code") -> Any:
        """What the code returns."""
        return asyncio.run(self._run(code))

    async def _run(self, code: "Code") -> Any:
        self._order = Order(self._context, self._replay, nothing, nothing, self._deviated)
        try:
            return await asyncio.wait_for(code(self), 10)
        finally:
            self._order.close()

    async def call(self, name: str, seconds: float | None = None) -> str:
        """An operation, which returns its name; like a step, it records what is not recorded."""
        operation = self._order.enter()
        self._context.function_id += 1
        self.names.append(name)
        number = self._context.function_id
        return await operations.awaited(operation, self._execute(name, number, seconds))

    async def _execute(self, name: str, number: int, seconds: float | None) -> str:
        if number <= len(self.recorded):
            assert name == self.recorded[number - 1]
            seconds = None
        await asyncio.sleep(random.random() / 200 if seconds is None else seconds)
        if number > len(self.recorded):
            self._order.record(self._catalog, "workflow")
        return name

    def _deviated(self, mismatch: Mismatch) -> Stopped:
        self.mismatch = mismatch
        return Stopped()


Code = Callable[[Execution], Awaitable[Any]]


async def gathered(run: Execution) -> Any:
    """Chains, in a gather of gathers."""

    async def chain(name: str) -> list[str]:
        return [await run.call(f"{name}.{n}") for n in range(4)]

    async def twice(name: str) -> tuple[list[str], list[str]]:
        return await asyncio.gather(chain(f"{name}.a"), chain(f"{name}.b"))

    return [await run.call("first"), await asyncio.gather(*map(twice, "xyz"))]


async def first_completed(run: Execution) -> Any:
    """Whatever comes first is followed by the next."""
    tasks = {asyncio.create_task(run.call(f"{n}")) for n in range(5)}
    seen: list[str] = []
    while tasks:
        done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        seen += sorted(task.result() for task in done)
        seen += [await run.call(f"after {' '.join(seen)}")]
    return seen


async def as_completed(run: Execution) -> Any:
    """The same with `as_completed`."""
    calls = [asyncio.create_task(run.call(f"{n}")) for n in range(6)]
    return [await run.call(f"after {await each}") for each in asyncio.as_completed(calls)]


async def grouped(run: Execution) -> Any:
    """Tasks that start tasks, in a group."""
    seen: list[str] = []

    async def work(depth: int, name: str) -> None:
        seen.append(await run.call(name))
        if depth:
            for n in range(2):
                group.create_task(work(depth - 1, f"{len(seen)} {name}.{n}"))

    async with asyncio.TaskGroup() as group:
        for n in range(3):
            group.create_task(work(2, f"{n}"))
    return seen


async def cancelled(run: Execution) -> Any:
    """What takes too long is called again, beside others."""

    async def patient(name: str) -> str:
        try:
            return await asyncio.wait_for(run.call(name, 0.2), 0.05)
        except TimeoutError:
            return await run.call(f"{name} again")

    async def chain(name: str) -> list[str]:
        return [await run.call(f"{name}.{n}") for n in range(5)]

    return await asyncio.gather(chain("x"), patient("p"), chain("y"))


async def patient(run: Execution, name: str, seconds: float) -> str:
    """Call what never comes, and then something else."""
    try:
        return await asyncio.wait_for(run.call(name, 9), seconds)
    except TimeoutError:
        return await run.call(f"{name} again")


async def cancelled_after_others(run: Execution) -> Any:
    """What is cancelled later when all of it is executed, is cancelled first in a replay."""

    async def later() -> str:
        for n in range(3):
            await run.call(f"{n}", 0.04)
        return await patient(run, "later", 0.1)

    return await asyncio.gather(patient(run, "first", 0.15), later())


async def cancelled_together(run: Execution) -> Any:
    """The same timeout for several calls, and one in the middle of a chain."""

    async def chain() -> list[str]:
        return [await run.call(f"{n}", 0.01) for n in range(9)]

    names = "abcdef"
    return await asyncio.gather(chain(), *(patient(run, name, 0.05) for name in names))


CODES = [
    gathered,
    first_completed,
    as_completed,
    grouped,
    cancelled,
    cancelled_after_others,
    cancelled_together,
]


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.__name__)
def test_a_replay_gives_everything_in_the_recorded_order(code: Code) -> None:
    """However far the first execution has come: what is recorded is called by the same number."""
    for _ in range(4):
        first = Execution()
        first.run(code)
        for upto in {1, 3, 6, len(first.names) - 2, len(first.names)}:
            replay = Execution(first, upto)
            replay.run(code)

            assert (upto, replay.mismatch) == (upto, None)
            assert replay.names[:upto] == first.names[:upto]


def test_one_after_the_other_notes_nothing() -> None:
    """A sequential run has no order to record."""

    async def sequence(run: Execution) -> None:
        for n in range(5):
            await run.call(f"{n}")

    first = Execution()
    first.run(sequence)

    assert first.rows == {}


def test_what_never_comes_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that has changed does not wait for ever."""
    monkeypatch.setattr(order, "PATIENCE_SECONDS", 0.2)

    async def changed(run: Execution) -> Any:
        await run.call("first")
        await asyncio.gather(run.call("x.a.0"), run.call("x.b.0"))

    first = Execution()
    first.run(gathered)
    replay = Execution(first, 10)

    with pytest.raises(Stopped):
        replay.run(changed)

    assert replay.mismatch == Mismatch(4, first.names[3], "(nothing for 0.2 s)")

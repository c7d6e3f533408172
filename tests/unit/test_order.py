"""What async code is given, and when, in a first execution and in a replay of it."""

import asyncio
import gc
import json
import random
import threading
import weakref
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from worker import handles, operations, order, tables
from worker.deliveries import OWN, Deliveries, Delivery
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
        self.made: list[str] = []
        """The calls that were not only made by the code, but executed."""
        self.recorded = before.names[:upto] if before else []
        self.mismatch: Mismatch | None = None
        self.slow = False
        """Whether nothing comes that is recorded."""
        self._context = SimpleNamespace(function_id=0)
        self._replay = Replay()
        found = before.rows if before else {}
        self._catalog = Catalog({} if forks else found)
        """A fork finds the rows of another run."""
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

    async def call(
        self,
        name: str,
        seconds: float | None = None,
        *,
        around: bool = False,
        answers: bool = False,
    ) -> str:
        """An operation, which returns its name; like a step, it records what is not recorded. It
        may answer its cancellation with a result."""
        self._context.function_id += 1
        operation = self._order.enter(taken=1, around=around)
        self.names.append(name)
        number = self._context.function_id
        execution = self._execute(name, number, seconds, answers)
        return str(await operations.awaited(operation, execution))

    async def _execute(self, name: str, number: int, seconds: float | None, answers: bool) -> str:
        if self.mismatch:
            raise Stopped
        self.made.append(name)
        if number <= len(self.recorded):
            assert name == self.recorded[number - 1]
            seconds = 60 if self.slow else None
        try:
            await asyncio.sleep(random.random() / 200 if seconds is None else seconds)
        except asyncio.CancelledError:
            if not answers or number <= len(self.recorded):
                raise
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


async def limited(run: Execution) -> Any:
    """What comes within its limit has to wait, in a replay, for another limit to end."""

    async def within() -> str:
        await run.call("before", 0.28)
        return await asyncio.wait_for(run.call("within", 0.01), 0.1)

    return await asyncio.gather(patient(run, "patient", 0.25), within())


async def answered(run: Execution) -> Any:
    """A step that is cancelled returns something all the same."""

    async def stop(task: asyncio.Task[str]) -> str:
        for n in range(3):
            await run.call(f"{n}", 0.01)
        task.cancel()
        return await task

    task = asyncio.create_task(run.call("answers", 9, answers=True))
    return await asyncio.gather(stop(task), run.call("other"))


CODES = [
    limited,
    answered,
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


def test_an_answer_is_given_though_nothing_was_recorded_after_it() -> None:
    """The step answered its cancellation, and then its worker died."""

    async def answered_at_once(run: Execution) -> str:
        task = asyncio.create_task(run.call("answers", 9, answers=True))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        return await task

    first = Execution()
    answer = first.run(answered_at_once)

    assert Execution(first, 1).run(answered_at_once) == answer


def test_what_was_cancelled_is_not_executed_again() -> None:
    """What a step does before it is cancelled, it does once."""
    first = Execution()
    first.run(limited)
    replay = Execution(first, len(first.names))
    replay.run(limited)

    assert first.made.count("patient") == 1
    assert "patient" not in replay.made


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


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ("b", "calls 'b'"),
        (None, "ends before it"),
        ("(another order)", "goes on differently (another order)"),
    ],
)
def test_a_mismatch_says_what_the_code_does(expected: str | None, said: str) -> None:
    """What stands in parentheses is not the name of a step."""
    mismatch = Mismatch(2, "a", expected)

    assert str(mismatch) == f"step 2 is recorded as 'a', and the code {said}"


def test_the_timeouts_of_a_run_take_their_time_again() -> None:
    """A rehearsal gives it as much more."""
    deliveries = Deliveries()
    deliveries.read([(0, 1, [1], 2.0, False), (1, 1, [2], None, False), (2, 1, [3], 4.5, False)], 2)

    assert deliveries.seconds == 6.5


def test_an_error_of_a_handle_is_freed_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its traceback does not refer to a frame that refers to it."""

    class Failed(Exception): ...

    async def fail(*args: Any) -> None:
        raise Failed

    async def nothing_recorded(*args: Any) -> None: ...

    monkeypatch.setattr(handles, "TURNS", 0)
    monkeypatch.setattr(handles, "_result", fail)
    monkeypatch.setattr(handles, "_record", nothing_recorded)

    def failure() -> "weakref.ref[Failed]":
        operation: Any = None
        try:
            handles._recorded(None, 1, operation).send(None)
        except Failed as error:
            return weakref.ref(error)
        raise AssertionError

    gc.disable()
    try:
        assert failure()() is None
    finally:
        gc.enable()


async def sequential(run: Execution) -> None:
    """One after the other."""
    for n in range(6):
        await run.call(f"{n}")


@pytest.mark.parametrize("forks", [True, False], ids=["forked", "rewound"])
def test_the_order_of_another_history_is_not_taken_for_the_own(forks: bool) -> None:
    """A gather began at the second step; the code from there on is sequential now."""

    async def gathers(run: Execution) -> None:
        await run.call("0")
        await asyncio.gather(*(run.call(f"{n}") for n in range(1, 6)))
        await run.call("last")

    first = Execution()
    first.run(gathers)
    second = Execution(first, 1, forks=forks)
    second.run(sequential)
    third = Execution(second, 6)
    third.run(sequential)

    assert second.rows == {OWN.place: OWN}
    assert (third.names, third.mismatch) == (second.names, None)


def test_a_fork_records_the_order_that_it_has_from_its_origin() -> None:
    """Of the origin it knows what was followed by something that is forked."""
    first = Execution()
    first.run(gathered)
    forked = Execution(first, 14, forks=True)
    forked.run(gathered)
    again = Execution(forked, len(forked.names))
    again.run(gathered)

    known = {place: each for place, each in first.rows.items() if each.number < 14}
    assert known.items() <= forked.rows.items()
    assert (again.names, again.mismatch) == (forked.names, None)


def test_an_operation_records_what_was_noted_before_it_was_called() -> None:
    """What is noted later may come in another order, as nothing recorded depends on it."""
    deliveries, catalog = Deliveries(), Catalog({})
    for place, number in enumerate([3, 4, 4, 6]):
        deliveries.add(Delivery(place, number, (place + 1,)))

    recorded = [
        [each.place for each in deliveries.record(catalog, "workflow", number)]
        for number in (2, 4, 4)
    ]
    deliveries.confirm(deliveries.record(catalog, "workflow", 4))
    rest = deliveries.record(catalog, "workflow", 9)

    assert recorded == [[], [0, 1, 2], [0, 1, 2]]
    assert [each.place for each in rest] == [3]
    assert [*catalog.rows] == [0, 1, 2, 3]


ROW = Delivery(place=3, number=7, tickets=(5, 4))


@pytest.mark.parametrize("inherited", [True, False], ids=["inherited", "own"])
@pytest.mark.parametrize(("last", "known"), [(8, True), (7, False), (0, False)])
def test_what_nothing_recorded_depends_on_has_no_place(
    last: int, known: bool, inherited: bool
) -> None:
    """It was not forked, was rewound, or is to come anew: the first record says so."""
    deliveries, catalog = Deliveries(), Catalog({} if inherited else {3: ROW})

    deliveries.read([(*ROW, inherited)], last)
    settles = not deliveries.are_recorded
    deliveries.record(catalog, "workflow", last)

    assert deliveries.recorded == ({3: ROW} if known else {})
    assert settles is (inherited or not known)
    assert catalog.rows == ({3: ROW} if known else {-1: OWN})


def test_what_is_called_within_another_operation_records_the_order() -> None:
    """Tasks that `DBOS.asyncio_wait` makes belong to it, also when it has ended."""

    async def waits(run: Execution) -> None:
        operation = run._order.enter(around=True)
        run._context.function_id += 1
        run.names.append("wait")

        async def call_and_record() -> None:
            await asyncio.gather(run.call("a"), run.call("b"))
            run._order.record(run._catalog, "workflow")  # As a sync step does.

        await operations.awaited(operation, call_and_record())

    run = Execution()
    run.run(waits)

    assert {ticket for each in run.rows.values() for ticket in each.tickets} == {2, 3}


def test_a_result_that_was_given_is_given_again_however_fast_a_timer_is() -> None:
    """The timer was slower than the result, and is faster in the replay."""

    async def patient_chain(run: Execution, seconds: float) -> Any:
        async def chain() -> list[str]:
            return [await run.call(f"{n}", 0.01) for n in range(4)]

        async def patient() -> str:
            return await asyncio.wait_for(run.call("patient", 0.025), seconds)

        return await asyncio.gather(chain(), patient())

    first = Execution()
    results = first.run(lambda run: patient_chain(run, 1))
    replay = Execution(first, 5)

    assert replay.run(lambda run: patient_chain(run, 0.0001)) == results
    assert replay.mismatch is None


def test_what_is_cancelled_in_the_turn_of_its_result_is_noted_as_cancelled() -> None:
    """Its code was told that, and nothing of the result."""

    async def too_late(run: Execution) -> Any:
        task = asyncio.create_task(run.call("late", 0.01))
        hand_over = run._order._flight.hand_over

        def cancel_and_hand_over(operation: Any) -> None:
            hand_over(operation)
            if operation.ticket == 1:
                task.cancel()

        run._order._flight.hand_over = cancel_and_hand_over  # type: ignore[method-assign]
        await asyncio.gather(task, run.call("other", 0.03), return_exceptions=True)
        return await run.call("after")

    run = Execution()
    run.run(too_late)

    assert [(each.tickets, each.cancelled_after is not None) for each in run.rows.values()] == [
        ((), False),
        ((1,), True),
        ((2,), False),
    ]


def test_a_run_that_is_cancelled_itself_is_not_held() -> None:
    """A parent has cancelled it while it was replayed; nothing of it matters any more."""

    async def chains(run: Execution) -> Any:
        return await asyncio.gather(*(run.call(f"{n}", 5) for n in range(3)), run.call("quick"))

    first = Execution()
    first.names, first._catalog = (
        ["0", "1", "2", "quick", "after"],
        Catalog({0: Delivery(0, 1), 1: Delivery(1, 4, (1,)), 2: Delivery(2, 4, (2, 3, 4))}),
    )
    replay = Execution(first, 5)
    replay.slow = True

    async def abandon() -> float:
        task = asyncio.create_task(replay._run(chains))
        await asyncio.sleep(0.05)
        begun = asyncio.get_running_loop().time()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return asyncio.get_running_loop().time() - begun

    assert asyncio.run(abandon()) < 1
    assert replay.mismatch is None


def test_a_cancellation_while_the_rows_are_read_is_kept() -> None:
    """The call is not handed over to code that no longer waits for it."""
    loading, loaded = threading.Event(), threading.Event()

    async def cancels() -> tuple[bool, list[tuple[Any, ...]]]:
        context, replay = SimpleNamespace(function_id=1), Replay()

        def load() -> None:
            loading.set()
            loaded.wait(10)
            replay.read([])

        given = Order(context, replay, load, nothing, lambda mismatch: Stopped())
        task = asyncio.create_task(given.arrive(given.enter(taken=1)))
        await asyncio.to_thread(loading.wait, 10)
        task.cancel()
        await asyncio.sleep(0.01)
        loaded.set()
        await asyncio.wait([task], timeout=10)
        noted = replay.deliveries.record(Catalog({}), "workflow", 9)
        return task.cancelled(), [each[:3] for each in noted]

    assert asyncio.run(cancels()) == (True, [(0, 1, (1,))])


def test_what_is_cancelled_in_the_turn_of_several_results_is_noted_by_itself() -> None:
    """The other results stay where they are."""
    deliveries = Deliveries()
    deliveries.add(Delivery(1, 4, (1, 2, 3)))

    apart = [deliveries.withdraw(1, ticket, 0.5) for ticket in (2, 1, 3)]

    assert apart == [True, True, False]
    assert deliveries.record(Catalog({}), "workflow", 9) == [Delivery(1, 4, (3,), 0.5)]

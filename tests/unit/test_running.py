"""What each thread and each coroutine executes is known from outside at any moment."""

import asyncio
import mmap
import threading
from collections.abc import Callable

import pytest

from worker.running import Running
from worker.witness import Mark, read, suspects

OUTER = Mark("id", "workflow")
INNER = Mark("id", "workflow", 1, "step")
OTHER = Mark("other", "workflow", 2, "ställ")


@pytest.fixture
def running() -> Running:
    """The marks of this process."""
    return Running()


@pytest.fixture
def outside(running: Running) -> Callable[[], list[Mark]]:
    """What the witness reads."""
    memory = mmap.mmap(running.descriptor, 0, access=mmap.ACCESS_READ)
    return lambda: list(read(memory).values())


def test_a_step_is_marked_within_its_workflow(
    running: Running, outside: Callable[[], list[Mark]]
) -> None:
    """And after it the workflow again, and after that nothing."""
    seen = []

    with running.marked(OUTER):
        seen.append(outside())
        with running.marked(INNER):
            seen.append(outside())
        seen.append(outside())
    seen.append(outside())

    assert seen == [[OUTER], [INNER], [OUTER], []]
    assert running.of(threading.get_native_id()) is None


def test_each_thread_has_its_own_mark(running: Running, outside: Callable[[], list[Mark]]) -> None:
    """As workflows that are not async have."""
    begun, end = threading.Event(), threading.Event()

    def execute() -> None:
        with running.marked(OTHER):
            begun.set()
            end.wait()

    thread = threading.Thread(target=execute)
    with running.marked(INNER):
        thread.start()
        begun.wait()
        both = outside()
        of_thread = running.of(thread.native_id or 0)
        end.set()
        thread.join()
        one = outside()

    assert sorted(both) == [INNER, OTHER]
    assert of_thread == OTHER
    assert one == [INNER]


def test_a_coroutine_is_marked_only_while_it_goes_on(
    running: Running, outside: Callable[[], list[Mark]]
) -> None:
    """Two that wait for each other show in turns, and neither while the event loop waits."""
    seen: list[list[Mark]] = []

    async def look(times: int) -> int:
        for _ in range(times):
            seen.append(outside())
            await asyncio.sleep(0)
        return times

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError

    async def execute() -> list[int]:
        both = running.driven(look(2), INNER), running.driven(look(2), OTHER)
        results = list(await asyncio.gather(*both))
        seen.append(outside())
        with pytest.raises(ValueError):
            await running.driven(fail(), OUTER)
        return results

    results = asyncio.run(execute())

    assert results == [2, 2]
    assert seen == [[INNER], [OTHER], [INNER], [OTHER], []]


def test_a_coroutine_can_be_cancelled_and_clean_up(running: Running) -> None:
    """The cancellation reaches it where it waits."""
    cleaned = []

    async def wait() -> None:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            cleaned.append(True)
            raise

    async def execute() -> None:
        async def drive() -> None:
            await running.driven(wait(), INNER)

        task = asyncio.create_task(drive())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(execute())

    assert cleaned == [True]


def test_a_mark_that_is_too_long_is_left_out(
    running: Running, outside: Callable[[], list[Mark]]
) -> None:
    """A name of thousands of characters is known inside only."""
    with running.marked(Mark("id", "w" * 5000)):
        assert outside() == []


@pytest.mark.parametrize(
    ("used", "marks", "certain"),
    [
        ({1: 2.0, 2: 0.01}, [INNER], True),
        ({1: 2.0, 2: 1.9}, [INNER, OTHER], False),
        ({1: 0.01, 2: 0.0}, [INNER, OTHER], False),
        ({1: 0.01, 3: 2.0}, [], True),
        ({}, [INNER, OTHER], False),
    ],
)
def test_who_used_the_cpu_is_suspected(
    used: dict[int, float], marks: list[Mark], certain: bool
) -> None:
    """All are if none has; nobody is if it was a thread that executes no workflow."""
    found = suspects({1: INNER, 2: OTHER}, {}, used)

    assert (found.marks, found.certain) == (marks, certain)

"""Threads that start when there is work, and end when there is none."""

import threading
from concurrent.futures import wait

import pytest

from local_dev.bench.processes import wait_until
from worker import threads
from worker.threads import Threads


def named(name: str) -> int:
    """How many threads have a name."""
    return sum(thread.name == name for thread in threading.enumerate())


def refuse(*_: object) -> None:
    """What the system does to a process that may have no more threads."""
    raise RuntimeError("can't start new thread")


def test_no_more_threads_than_there_may_be() -> None:
    """What comes meanwhile waits for one of them."""
    pool = Threads("t", most=2)
    together = threading.Barrier(3)
    begun = [pool.submit(together.wait) for _ in range(2)]

    later = pool.submit(threading.get_ident)
    assert not later.done()
    together.wait()

    assert wait([*begun, later], 10).not_done == set()


def test_threads_without_work_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but those that are kept."""
    monkeypatch.setattr(threads, "IDLE_SECONDS", 0.01)
    pool = Threads("ends", keep=1)
    together = threading.Barrier(4)

    wait([pool.submit(together.wait) for _ in range(4)], 10)

    wait_until(lambda: named("ends") == 1)
    assert pool.submit(lambda: 1).result(10) == 1


def test_all_threads_end_when_they_are_not_needed_any_more() -> None:
    """Also those that are kept, and at once; what has been submitted is done first."""
    pool = Threads("closed", keep=2)
    pool.supply(spare=2)
    alive = [thread for thread in threading.enumerate() if thread.name == "closed"]

    done = pool.submit(lambda: 1)
    pool.close()
    for thread in alive:
        thread.join(5)

    assert len(alive) == 2
    assert not any(thread.is_alive() for thread in alive)
    assert done.result(0) == 1


def test_work_waits_for_a_thread_where_none_can_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not refused, and is not lost."""
    pool = Threads("t")
    with monkeypatch.context() as patch:
        patch.setattr(threading, "_start_new_thread", refuse)
        future = pool.submit(lambda: 1)
        refused = pool.refused_at
    assert not future.done()

    pool.supply()

    assert future.result(10) == 1
    assert refused > 0


def test_work_that_needs_a_thread_now_is_refused_and_never_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody else does it, and it must not be done twice."""
    pool = Threads("t")
    done: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(threading, "_start_new_thread", refuse)
        with pytest.raises(RuntimeError):
            pool.submit_now(lambda: done.append(1))

    pool.submit(lambda: done.append(2)).result(10)

    assert done == [2]


def test_a_call_that_ends_its_thread_ends_only_itself() -> None:
    """As `sys.exit()` in a step would."""
    pool = Threads("t", most=1)

    failed = pool.submit(exit)

    assert isinstance(failed.exception(10), SystemExit)
    assert pool.submit(lambda: 1).result(10) == 1
